"""Confound detectors, one file each; the file name is the name users type in `confounds.use`."""

from typing import Protocol

import numpy as np


class ConfoundDetector(Protocol):
    """A frozen dataclass; `confound` is the name of what it finds, `version` changes when its findings may."""

    @property
    def confound(self) -> str:
        """Name of the thing found, as reports show it: `face`."""
        ...

    @property
    def version(self) -> str:
        """Part of the cache key of its findings."""
        ...

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Where the thing lies: bool (H, W) for an upright uint8 (H, W, 3) RGB image of any size."""
        ...
