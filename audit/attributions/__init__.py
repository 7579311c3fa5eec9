"""Attribution methods, one file each; the file name is the name users type.

`smoothgrad` and the baselines work around others, so a method is written `name` or `name+smoothgrad`.
"""

from typing import Protocol

import numpy as np

from audit.classifier import Classifier
from audit.types import AttributionBatch


class AttributionMethod(Protocol):
    """A frozen dataclass whose fields are the method's parameters."""

    def __call__(
        self, classifier: Classifier, images: np.ndarray, targets: np.ndarray, seeds: np.ndarray
    ) -> AttributionBatch:
        """Attribution maps of a batch.

        Args:
            classifier: the model behind its seam.
            images: float32 (B, H, W, 3), RGB in [0, 1]; left as it is.
            targets: int64 (B,), the explained class of each image.
            seeds: uint64 (B,), from the run's seed and the sample id; a map depends on its own image, target
                and seed alone.
        """
        ...
