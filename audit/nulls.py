"""What mass inside would be without any model: by edges. By area it is `metrics.area_inside`."""

import numpy as np
from skimage.color import rgb2gray
from skimage.filters import sobel

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
