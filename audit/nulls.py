"""What mass inside would be without a model that has learned: by edges, by random weights. By area it is
`metrics.area_inside`."""

from collections.abc import Mapping

import numpy as np
from skimage.color import rgb2gray
from skimage.filters import sobel

from audit.attributions import AttributionMethod
from audit.classifier import Classifier
from audit.metrics import mass_inside


def edge_maps(images: np.ndarray) -> np.ndarray:
    """Edge strength of pictures: what a gradient method shows of a network that has learned nothing.

    Args:
        images: float (B, H, W, 3), RGB in [0, 1].

    Returns:
        float (B, H, W), non-negative: Sobel magnitude of the luminance.

    Source: edge detectors as a null for maps, Adebayo et al. 2018, arXiv:1810.03292.
    """
    return np.stack([sobel(rgb2gray(image)) for image in images])


def edge_mass_inside(images: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Mass inside of the edge map of each picture.

    Args:
        images: float (B, H, W, 3), RGB in [0, 1].
        foreground: (B, H, W) of BACKGROUND, FOREGROUND, IGNORE.

    Returns:
        float64 (B,) in [0, 1]; NaN where the picture has no edges or the foreground is not measurable.
    """
    return mass_inside(edge_maps(images), foreground)


def untrained_maps(
    classifier: Classifier,
    methods: Mapping[str, AttributionMethod],
    images: np.ndarray,
    targets: np.ndarray,
    seeds: np.ndarray,
) -> dict[str, np.ndarray]:
    """What each method shows of a model that has learned nothing.

    Args:
        classifier: with random weights, as `Classifier.randomised` makes it.
        methods: by name as configured; a few steps of a path are enough, since only shares of mass are taken.
        images: float32 (B, H, W, 3), RGB in [0, 1].
        targets: int64 (B,), the explained classes.
        seeds: uint64 (B,), of the samples' own noise.

    Returns:
        float32 (B, H, W) by method, signed.

    Source: the model randomisation test of Adebayo et al. 2018, arXiv:1810.03292, as a null for shares of mass.
    """
    return {name: method(classifier, images, targets, seeds).maps for name, method in methods.items()}
