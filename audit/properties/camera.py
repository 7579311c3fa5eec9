"""Which camera took an image: classes photographed with different cameras differ in more than their objects."""

from dataclasses import dataclass

import numpy as np

from audit.properties import ImageFacts

__all__ = ["Camera"]


@dataclass(frozen=True)
class Camera:
    """Make and model as EXIF states them: a category.

    No normalisation: the model's input does not hold it, only the camera's colours and sharpness.
    """

    name = "camera"
    version = "exif 1"
    one_way = 0
    normalise = None

    def measure(self, image: np.ndarray, facts: ImageFacts, where: np.ndarray | None = None) -> str:
        """The camera; "unknown" where the file does not say, which is a category of its own."""
        return facts.exif_camera or "unknown"
