"""How large the stored image is."""

from dataclasses import dataclass

import numpy as np

from audit.properties import ImageFacts

__all__ = ["ImageSize"]


@dataclass(frozen=True)
class ImageSize:
    """Side in pixels of the square with as many pixels as the stored image.

    No normalisation: every image is brought to the model's input size before the model sees it. What is left of
    the size there is sharpness and blockiness, which have one.
    """

    name = "image size"
    version = "side of the square 1"
    one_way = 0
    normalise = None

    def measure(self, image: np.ndarray, facts: ImageFacts, where: np.ndarray | None = None) -> float:
        """Square root of width times height, in pixels."""
        return float(np.sqrt(facts.width * facts.height))
