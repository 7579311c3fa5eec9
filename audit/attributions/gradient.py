"""Gradient: how the score would change with each pixel, summed over the colour channels.

Signed, as all maps here are: the paper takes the largest magnitude over the channels, which loses the sign
and is not additive; the polarity of the mass decides later what becomes of the sign.
Source: Simonyan, Vedaldi, Zisserman. Deep Inside Convolutional Networks. 2014, sec. 3. arXiv:1312.6034
"""

from dataclasses import dataclass

import numpy as np

from audit.attributions._maps import without_path
from audit.classifier import Classifier
from audit.types import AttributionBatch

__all__ = ["Gradient"]


@dataclass(frozen=True)
class Gradient:
    """The gradient of the score by the image, summed over channels."""

    def __call__(
        self, classifier: Classifier, images: np.ndarray, targets: np.ndarray, seeds: np.ndarray
    ) -> AttributionBatch:
        """Maps in score per unit of intensity; EMPTY where the score is locally constant."""
        # A direction of ones sums over the channels in the graph: a third of the numbers come back.
        ones = np.broadcast_to(np.float32(1), images.shape)
        _, maps = classifier.directional_gradients(images, ones, targets)
        return without_path(maps, classifier.image_shape)
