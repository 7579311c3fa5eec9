"""Whether an image is wide or high."""

from dataclasses import dataclass

import numpy as np

from audit.properties import ImageFacts

__all__ = ["AspectRatio"]


@dataclass(frozen=True)
class AspectRatio:
    """Width over height of the upright image: above 1 wide, below 1 high.

    Of the file, since the model's input has one shape for all; upright, as a camera held sideways is no other. No
    normalisation: the pixels of the model's input do not hold it; a stretched picture cannot be unstretched
    without another crop.
    """

    name = "aspect ratio"
    version = "width over height 1"
    one_way = 0
    normalise = None

    def measure(self, image: np.ndarray, facts: ImageFacts, where: np.ndarray | None = None) -> float:
        """Width over height of the file's upright image."""
        return facts.width / facts.height
