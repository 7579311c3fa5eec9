"""Whether an image is wide or high."""

from dataclasses import dataclass

import numpy as np

from audit.properties import ImageFacts

__all__ = ["AspectRatio"]


@dataclass(frozen=True)
class AspectRatio:
    """Width over height of the upright image: above 1 wide, below 1 high.

    Taken from the upright image, not from the stored size, which a camera held sideways exchanges. No
    normalisation: the pixels of the model's input do not hold it; a stretched picture cannot be unstretched
    without another crop.
    """

    name = "aspect ratio"
    version = "width over height 1"
    normalise = None

    def measure(self, image: np.ndarray, facts: ImageFacts) -> float:
        """Width over height of a uint8 (H, W, 3) upright image of the stored resolution."""
        height, width = image.shape[:2]
        return float(width / height)
