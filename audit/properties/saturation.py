"""How colourful an image is: the mean difference of its strongest and weakest colour."""

from dataclasses import dataclass

import numpy as np

from audit.properties import ImageFacts, average, in_unit, luma, normalised, seen, solved

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
    one_way = 0

    def measure(self, image: np.ndarray, facts: ImageFacts, where: np.ndarray | None = None) -> float:
        """Mean chroma of a uint8 (H, W, 3) image, in [0, 1]; 0 for a grey one."""
        return _mean_chroma(in_unit(image), where)

    def normalise(self, images: np.ndarray, target: float, where: np.ndarray | None = None) -> np.ndarray:
        """Images of mean chroma `target`: every pixel's colour stretched about its own luma.

        Luma, and so brightness and contrast, stay but for what is clipped. A grey image stays grey, whatever the
        target: it has no hue to strengthen.

        Args:
            images: float32 (B, H, W, 3) in [0, 1].
            target: mean chroma, in [0, 1].
            where: bool (B, H, W), the pixels that are to have it; None is all.
        """
        return normalised(_coloured, images, target, where)


def _mean_chroma(image: np.ndarray, where: np.ndarray | None) -> float:
    pixels = seen(image, where)
    return average(pixels.max(axis=-1) - pixels.min(axis=-1))


def _coloured(image: np.ndarray, target: float, where: np.ndarray | None) -> np.ndarray:
    grey = luma(image).astype(np.float32)[..., None]

    def stretch(step: float) -> np.ndarray:
        return np.asarray(np.clip(grey + np.float32(_MOST * step) * (image - grey), 0, 1))

    return solved(stretch, lambda changed: _mean_chroma(changed, where), target)
