"""How bright an image is: its mean luma."""

from dataclasses import dataclass

import numpy as np

from audit.properties import ImageFacts, average, in_unit, luma, normalised, seen, solved

__all__ = ["Brightness"]


@dataclass(frozen=True)
class Brightness:
    """Mean luma, in [0, 1]."""

    name = "brightness"
    version = "mean luma 1"
    one_way = 0

    def measure(self, image: np.ndarray, facts: ImageFacts, where: np.ndarray | None = None) -> float:
        """Mean luma of a uint8 (H, W, 3) image, in [0, 1]."""
        return _mean_luma(in_unit(image), where)

    def normalise(self, images: np.ndarray, target: float, where: np.ndarray | None = None) -> np.ndarray:
        """Images of mean luma `target`, by one offset for all pixels and colours, clipped at black and white.

        An offset keeps contrast and colour differences where nothing is clipped. Every target in [0, 1] is
        reached.

        Args:
            images: float32 (B, H, W, 3) in [0, 1].
            target: mean luma, in [0, 1].
            where: bool (B, H, W), the pixels that are to have it; None is all.
        """
        return normalised(_shifted, images, target, where)


def _mean_luma(image: np.ndarray, where: np.ndarray | None) -> float:
    return average(luma(seen(image, where)))


def _shifted(image: np.ndarray, target: float, where: np.ndarray | None) -> np.ndarray:
    def shift(step: float) -> np.ndarray:
        return np.asarray(np.clip(image + np.float32(2 * step - 1), 0, 1))

    return solved(shift, lambda changed: _mean_luma(changed, where), target)
