"""How strong the contrast of an image is: the standard deviation of its luma."""

from dataclasses import dataclass

import numpy as np

from audit.properties import ImageFacts, in_unit, luma, normalised, seen, solved

__all__ = ["Contrast"]

_MOST = 16.0
"""Strongest stretching; an image with less than a sixteenth of the target's contrast is all but constant."""


@dataclass(frozen=True)
class Contrast:
    """Standard deviation of luma (root-mean-square contrast), in [0, 0.5]."""

    name = "contrast"
    version = "deviation of luma 1"
    one_way = 0

    def measure(self, image: np.ndarray, facts: ImageFacts, where: np.ndarray | None = None) -> float:
        """Standard deviation of the luma of a uint8 (H, W, 3) image, in [0, 0.5]."""
        return _deviation(in_unit(image), where)

    def normalise(self, images: np.ndarray, target: float, where: np.ndarray | None = None) -> np.ndarray:
        """Images of contrast `target`: every pixel's luma stretched about the mean, its colour kept.

        Brightness stays but for what is clipped. A constant image stays as it is; a target that clipping or the
        strongest stretching (16 times) cannot reach is approached.

        Args:
            images: float32 (B, H, W, 3) in [0, 1].
            target: standard deviation of luma, in [0, 0.5].
            where: bool (B, H, W), the pixels that are to have it; None is all.
        """
        return normalised(_stretched, images, target, where)


def _deviation(image: np.ndarray, where: np.ndarray | None) -> float:
    pixels = luma(seen(image, where))
    return float(pixels.std()) if pixels.size else float("nan")


def _stretched(image: np.ndarray, target: float, where: np.ndarray | None) -> np.ndarray:
    grey = luma(image).astype(np.float32)
    deviation = (grey - grey.mean())[..., None]

    def stretch(step: float) -> np.ndarray:
        return np.asarray(np.clip(image + (np.float32(_MOST * step) - 1) * deviation, 0, 1))

    return solved(stretch, lambda changed: _deviation(changed, where), target)
