"""Grad-CAM: the feature maps of a layer, each weighted by the mean gradient of the score by it.

The map is as coarse as the layer (often 7 x 7) and is enlarged bilinearly; its resolution is reported.
Source: Selvaraju et al. Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization.
ICCV 2017, eq. 1 and 2. arXiv:1610.02391
"""

from dataclasses import dataclass

import numpy as np

from audit.attributions._maps import enlarge, without_path
from audit.classifier import Classifier
from audit.types import AttributionBatch

__all__ = ["GradCam"]


@dataclass(frozen=True)
class GradCam:
    """Grad-CAM of one layer.

    Attributes:
        layer: name of a spatial layer, nested ones as "backbone/name"; the classifier's own by default.
        relu: keep what speaks for the class alone, as the paper does; without it the map is signed.
    """

    layer: str | None = None
    relu: bool = True

    def __call__(
        self, classifier: Classifier, images: np.ndarray, targets: np.ndarray, seeds: np.ndarray
    ) -> AttributionBatch:
        """Maps in score per cell of the layer, enlarged; EMPTY where nothing speaks for the class.

        Raises:
            ModelError: the model has no such layer, or no spatial layer at all.
        """
        activations, gradients = classifier.layer_gradients(images, targets, self.layer)
        weights = gradients.mean(axis=(1, 2), dtype=np.float64)
        coarse = np.einsum("bhwc,bc->bhw", activations, weights)
        kept = np.maximum(coarse, 0.0) if self.relu else coarse
        return without_path(enlarge(kept, classifier.image_shape), coarse.shape[1:])
