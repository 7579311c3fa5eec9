"""Global properties of an image, one file each: what has no region and may yet be what a model decides by.

A property measures one image as the model gets it, and where pixels can be changed so that the property takes a given
value, it also normalises: the decision before and after says whether the model uses it. Size, aspect ratio, file type
and camera are facts of the file that a model's input no longer shows; they have no normalisation, so they can be bound
to a class but not be tested by intervention.

Properties are measured outside of the object (`outside`): a class of dark things makes pictures dark, and that is the
class, not a confound of it. What is changed is the whole picture: a tint or a blur does not stop at an outline.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np

from audit.types import BACKGROUND, IGNORE
from audit.types import ImageFacts as ImageFacts

GREY = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in luma. Source: ITU-R BT.601, sec. 2.5.1."""

MARGIN = 1 / 8
"""Share of each side that counts as surroundings where nobody marked the object: few objects reach so far out."""

FEWEST_PIXELS = 0.02
"""Share of a picture that must lie outside of the object; with less, a property of the rest would be chance."""


class Normalisation(Protocol):
    """Brings images to a value of the property."""

    def __call__(self, images: np.ndarray, target: float, where: np.ndarray | None = None) -> np.ndarray:
        """Images of the same shape and range whose property, measured on `where`, has the target's value.

        Args:
            images: float32 (B, H, W, 3) in [0, 1]; left as they are.
            target: the value.
            where: bool (B, H, W), the pixels the property is measured on; None is all. All pixels are changed.
        """
        ...


class GlobalProperty(Protocol):
    """A frozen dataclass; `version` changes when its values may."""

    @property
    def name(self) -> str:
        """As reports show it: `brightness`."""
        ...

    @property
    def version(self) -> str:
        """Changes with the values."""
        ...

    @property
    def one_way(self) -> int:
        """1 where the normalisation only raises values, -1 where it only lowers them, else 0."""
        ...

    @property
    def normalise(self) -> Normalisation | None:
        """Brings each image to the target, as near as pixels in [0, 1] allow; None where pixels cannot."""
        ...

    def measure(self, image: np.ndarray, facts: ImageFacts, where: np.ndarray | None = None) -> float | str:
        """The property of an image: a number, or for a categorical one a name.

        A number is NaN where the property is not measurable.

        Args:
            image: uint8 (H, W, 3), RGB, as the model gets it.
            facts: of the file.
            where: bool (H, W), the pixels that count; None is all.
        """
        ...


def outside(foreground: np.ndarray, regions: Iterable[np.ndarray] = ()) -> np.ndarray:
    """The pixels that properties of pictures are measured on.

    Args:
        foreground: (B, H, W) of BACKGROUND, FOREGROUND, IGNORE.
        regions: bool (B, H, W) each, named things: what they bring is theirs, not the picture's.

    Returns:
        bool (B, H, W): the background; on an image that is not annotated the outer MARGIN of each side. Nowhere
        where fewer than FEWEST_PIXELS of the picture are left.
    """
    height, width = foreground.shape[1:]
    rows, columns = max(1, round(MARGIN * height)), max(1, round(MARGIN * width))
    margin = np.ones((height, width), dtype=bool)
    margin[rows : height - rows, columns : width - columns] = False
    is_annotated = (foreground != IGNORE).any(axis=(1, 2), keepdims=True)
    around = np.where(is_annotated, foreground == BACKGROUND, margin)
    for region in regions:
        around &= ~region
    is_enough = around.mean(axis=(1, 2), keepdims=True) >= FEWEST_PIXELS
    return np.asarray(around & is_enough)


def normalised(
    change: Callable[[np.ndarray, float, np.ndarray | None], np.ndarray],
    images: np.ndarray,
    target: float,
    where: np.ndarray | None,
) -> np.ndarray:
    """`change` of each image on its own, float32 (B, H, W, 3)."""
    masks = [None] * len(images) if where is None else list(where)
    changed = [change(image, target, mask) for image, mask in zip(images, masks, strict=True)]
    return np.stack(changed).astype(np.float32)


def seen(values: np.ndarray, where: np.ndarray | None) -> np.ndarray:
    """The values (H, W, ...) at the pixels that count, one after the other: (n, ...)."""
    return values.reshape(-1, *values.shape[2:]) if where is None else values[where]


def in_unit(image: np.ndarray) -> np.ndarray:
    """A uint8 image as float64 in [0, 1]."""
    return np.asarray(image, dtype=np.float64) / 255.0


def luma(images: np.ndarray) -> np.ndarray:
    """Weighted sum of the colours, (..., H, W, 3) to (..., H, W)."""
    return np.asarray(images @ GREY)


def both_count(where: np.ndarray, axis: int) -> np.ndarray:
    """bool, of the shape of differences along an axis of (H, W): both neighbours count."""
    one, other = (np.delete(where, end, axis=axis) for end in (0, -1))
    return np.asarray(one & other)


def average(values: np.ndarray) -> float:
    """The mean; NaN of nothing."""
    return float(values.mean()) if values.size else float("nan")


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
