"""How colourful an image is: the mean difference of its strongest and weakest colour."""

from dataclasses import dataclass

import numpy as np

from audit.properties import ImageFacts, in_unit, luma, solved

__all__ = ["Saturation"]

_MOST = 16.0
"""Strongest stretching; a picture with less than a sixteenth of the target's colour is all but grey."""


@dataclass(frozen=True)
class Saturation:
    """Mean chroma, the largest minus the smallest of red, green and blue, in [0, 1].

    Chroma instead of the saturation of HSV: that one is undefined in black and leaps in the dark.
    """

    name = "saturation"
    version = "mean chroma 1"

    def measure(self, image: np.ndarray, facts: ImageFacts) -> float:
        """Mean chroma of a uint8 (H, W, 3) image, in [0, 1]; 0 for a grey one."""
        return _mean_chroma(in_unit(image))

    def normalise(self, images: np.ndarray, target: float) -> np.ndarray:
        """Images of mean chroma `target`: every pixel's colour stretched about its own luma.

        Luma, and so brightness and contrast, stay but for what is clipped. A grey image stays grey, whatever the
        target: it has no hue to strengthen.

        Args:
            images: float32 (B, H, W, 3) in [0, 1].
            target: mean chroma, in [0, 1].
        """
        return np.stack([_coloured(image, target) for image in images]).astype(np.float32)


def _mean_chroma(image: np.ndarray) -> float:
    return float((image.max(axis=-1) - image.min(axis=-1)).mean())


def _coloured(image: np.ndarray, target: float) -> np.ndarray:
    grey = luma(image).astype(np.float32)[..., None]

    def stretch(step: float) -> np.ndarray:
        return np.asarray(np.clip(grey + np.float32(_MOST * step) * (image - grey), 0, 1))

    return solved(stretch, _mean_chroma, target)
