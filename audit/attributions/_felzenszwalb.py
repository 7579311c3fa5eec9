"""Felzenszwalb-Huttenlocher segmentation of one image at several scales, with the labels of scikit-image.

scikit-image segments one scale a call, and each call smooths the image and sorts the edges anew. With numba
installed (the extra `fast`) that is done once for all scales, and so are the joins that all scales have in
common, some ten times faster in all. numba is not required: it brings 210 MB and seconds of compilation for
what happens once for each image. Labels are the same either way.
Source: Felzenszwalb, Huttenlocher. Efficient Graph-Based Image Segmentation. IJCV 59(2), 2004, sec. 4.
"""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.segmentation import felzenszwalb

_GREY_LEVELS = 255.0
"""scikit-image states a scale in grey levels."""


def label_maps(
    image: np.ndarray, scales: Sequence[float], smoothing: float, min_size: int
) -> list[np.ndarray]:
    """A label map for each scale, int (H, W), labels from 0 in the order of their first pixels.

    Args:
        image: float (H, W, C).
        scales: how large segments become; larger is coarser.
        smoothing: standard deviation of the Gaussian before, pixels.
        min_size: pixels a segment has at least.
    """
    if find_spec("numba") is None:
        return plain_label_maps(image, scales, smoothing, min_size)
    return compiled_label_maps(image, scales, smoothing, min_size)


def plain_label_maps(
    image: np.ndarray, scales: Sequence[float], smoothing: float, min_size: int
) -> list[np.ndarray]:
    """`label_maps` by scikit-image, scale by scale."""
    return [felzenszwalb(image, scale=scale, sigma=smoothing, min_size=min_size) for scale in scales]


def compiled_label_maps(
    image: np.ndarray, scales: Sequence[float], smoothing: float, min_size: int
) -> list[np.ndarray]:
    """`label_maps` by numba, all scales on one sorted list of edges."""
    from audit.attributions import _felzenszwalb_kernels as kernels

    ends, costs = _edges(image, smoothing)
    order, is_unique = kernels.ascending(costs)
    if not is_unique:
        # Among equal costs the order decides; this is the one scikit-image takes.
        order = np.argsort(costs).astype(np.int32)
    levels = [scale / _GREY_LEVELS for scale in scales]
    segments, *joined = kernels.join_for_all(ends, costs, order, min(levels))
    sizes, dearest, remaining_ends, remaining_costs = joined
    parts = remaining_ends, remaining_costs, sizes, dearest
    labels = [kernels.join(*parts, level, min_size) for level in levels]
    return [scale_labels[segments].reshape(image.shape[:2]) for scale_labels in labels]


def _edges(image: np.ndarray, smoothing: float) -> tuple[np.ndarray, np.ndarray]:
    """Edges int32 (E, 2) between the 8 neighbours, and their colour distances (E,)."""
    smooth = gaussian_filter(image.astype(np.float64), sigma=(smoothing, smoothing, 0))
    channels = np.ascontiguousarray(np.moveaxis(smooth, -1, 0))
    pixels = np.arange(channels[0].size, dtype=np.int32).reshape(channels[0].shape)
    pairs = [
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[1:, :], np.s_[:-1, :]),
        (np.s_[1:, 1:], np.s_[:-1, :-1]),
        (np.s_[1:, :-1], np.s_[:-1, 1:]),
    ]
    costs = [np.sqrt(sum((channel[a] - channel[b]) ** 2 for channel in channels)).ravel() for a, b in pairs]
    ends = [np.stack([pixels[a].ravel(), pixels[b].ravel()], axis=1) for a, b in pairs]
    return np.concatenate(ends), np.concatenate(costs)
