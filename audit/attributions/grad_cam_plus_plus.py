"""Grad-CAM++: the feature maps of a layer, weighted by positive gradients that each count by its alpha.

The explained function is Y = exp(S), S the score, whose derivatives by the layer A are powers of g = dS/dA
where the network behind A is piecewise linear: dY/dA = exp(S) g, and alpha = g^2 / (2 g^2 + sum(A) g^3), which
is 1 / (2 + sum(A) g). Where that denominator is 0, alpha is 0; where g is not positive, alpha does not count.
The factor exp(S) > 0 is common to a whole map and left out: it changes neither the order nor the shares of a
map, and overflows for large scores.
Source: Chattopadhyay, Sarkar, Howlader, Balasubramanian. Grad-CAM++: Generalized Gradient-based Visual
Explanations. WACV 2018, sec. 3.2 and 3.3. arXiv:1710.11063
"""

from dataclasses import dataclass

import numpy as np

from audit.attributions._maps import enlarge, without_path
from audit.classifier import Classifier
from audit.types import AttributionBatch

__all__ = ["GradCamPlusPlus"]


@dataclass(frozen=True)
class GradCamPlusPlus:
    """Grad-CAM++ of one layer.

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
        denominators = 2.0 + activations.sum(axis=(1, 2), keepdims=True) * gradients
        counts = (gradients > 0) & (denominators != 0)
        shares = np.divide(gradients, denominators, out=np.zeros_like(gradients), where=counts)
        weights = shares.sum(axis=(1, 2), dtype=np.float64)
        coarse = np.einsum("bhwc,bc->bhw", activations, weights)
        kept = np.maximum(coarse, 0.0) if self.relu else coarse
        return without_path(enlarge(kept, classifier.image_shape), coarse.shape[1:])
