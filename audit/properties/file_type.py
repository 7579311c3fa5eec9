"""Which format an image is stored in: classes collected from different places often differ in it."""

from dataclasses import dataclass

import numpy as np

from audit.properties import ImageFacts

__all__ = ["FileType"]


@dataclass(frozen=True)
class FileType:
    """Name of the file format: a category.

    No normalisation: the model's input does not hold it, only its traces (blockiness, sharpness), which have one.
    """

    name = "file type"
    version = "decoder's name 1"
    one_way = 0
    normalise = None

    def measure(self, image: np.ndarray, facts: ImageFacts, where: np.ndarray | None = None) -> str:
        """The format as the decoder names it, such as "JPEG"."""
        return facts.format
