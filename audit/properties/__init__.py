"""Global properties of an image, one file each: what has no region and may yet be what a model decides by.

A property measures one image. Where pixels can be changed so that the property takes a given value, it also
normalises: the decision before and after says whether the model uses it. Size, aspect ratio, file type and camera
are facts of the file that a model's input no longer shows; they have no normalisation, so they can be bound to a
class but not be tested by intervention.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

GREY = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in luma. Source: ITU-R BT.601, sec. 2.5.1."""


@dataclass(frozen=True)
class ImageFacts:
    """What is known of a file besides its pixels.

    Attributes:
        width, height: of the stored image, in pixels, before any resizing.
        format: file format as the decoder names it: "JPEG", "PNG".
        exif_camera: make and model; None where the file does not say.
        n_bytes: size of the file.
    """

    width: int
    height: int
    format: str
    exif_camera: str | None
    n_bytes: int


Normalisation = Callable[[np.ndarray, float], np.ndarray]
"""(float32 (B, H, W, 3) in [0, 1], target) -> images whose property has the target's value, same shape and range."""


class GlobalProperty(Protocol):
    """A frozen dataclass; `version` changes when its values may."""

    @property
    def name(self) -> str:
        """As reports show it: `brightness`."""
        ...

    @property
    def version(self) -> str:
        """Part of the cache key of its values."""
        ...

    @property
    def normalise(self) -> Normalisation | None:
        """Brings each image to the target, as near as pixels in [0, 1] allow; None where pixels cannot."""
        ...

    def measure(self, image: np.ndarray, facts: ImageFacts) -> float | str:
        """The property of an upright uint8 (H, W, 3) RGB image: a number, or for a categorical one a name.

        A number is NaN where the property is not measurable.
        """
        ...


def in_unit(image: np.ndarray) -> np.ndarray:
    """A uint8 image as float64 in [0, 1]."""
    return np.asarray(image, dtype=np.float64) / 255.0


def luma(images: np.ndarray) -> np.ndarray:
    """Weighted sum of the colours, (..., H, W, 3) to (..., H, W)."""
    return np.asarray(images @ GREY)


def solved(
    change: Callable[[float], np.ndarray], value: Callable[[np.ndarray], float], target: float
) -> np.ndarray:
    """`change(x)` for the x in [0, 1] at which its `value`, which grows with x, meets `target`.

    Clipping at black and white makes a property's answer to a change bend, so it is solved by bisection instead
    of a formula; where no x reaches the target, the nearest end is returned.
    """
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if value(change(middle)) < target:
            low = middle
        else:
            high = middle
    return change(high)


_HALVINGS = 12
"""Leaves 1 / 4096 of the range, less than the step of an 8-bit picture."""
