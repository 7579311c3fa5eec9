"""How bright an image is: its mean luma."""

from dataclasses import dataclass

import numpy as np

from audit.properties import ImageFacts, in_unit, luma, solved

__all__ = ["Brightness"]


@dataclass(frozen=True)
class Brightness:
    """Mean luma, in [0, 1]."""

    name = "brightness"
    version = "mean luma 1"

    def measure(self, image: np.ndarray, facts: ImageFacts) -> float:
        """Mean luma of a uint8 (H, W, 3) image, in [0, 1]."""
        return float(luma(in_unit(image)).mean())

    def normalise(self, images: np.ndarray, target: float) -> np.ndarray:
        """Images of mean luma `target`, by one offset for all pixels and colours, clipped at black and white.

        An offset keeps contrast and colour differences where nothing is clipped. Every target in [0, 1] is
        reached.

        Args:
            images: float32 (B, H, W, 3) in [0, 1].
            target: mean luma, in [0, 1].
        """
        return np.stack([_shifted(image, target) for image in images]).astype(np.float32)


def _shifted(image: np.ndarray, target: float) -> np.ndarray:
    def shift(step: float) -> np.ndarray:
        return np.asarray(np.clip(image + np.float32(2 * step - 1), 0, 1))

    return solved(shift, lambda changed: float(luma(changed).mean()), target)
