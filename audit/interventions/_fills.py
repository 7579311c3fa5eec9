"""What stands where pixels were taken away, and how it is laid into a picture.

Every fill of one region is a function of the picture, the region, the pixels that must not be used, and a seed. None
is neutral: blurring leaves the thing's colour, a mean leaves an even spot, inpainting a smooth one, a patch repeats
the picture. Several together, each against its control, are less likely to agree by chance.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
from scipy import ndimage
from skimage.restoration import inpaint_biharmonic
from skimage.transform import resize

from audit.interventions._controls import elsewhere, shifted

MAX_INPAINTED = 256
"""Pixels of a region that are solved for; a larger one is solved on a coarser grid, as the result is smooth anyway."""

Fill = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray | None]
"""(image (H, W, 3), region bool (H, W), unusable bool (H, W), seed) -> image with the region filled, or None."""


def blur(image: np.ndarray, region: np.ndarray, _unusable: np.ndarray, _seed: int) -> np.ndarray:
    """The region blurred until nothing smaller than half of its side is left."""
    sigma = math.sqrt(region.sum()) / 2
    blurred = ndimage.gaussian_filter(image, sigma=(sigma, sigma, 0), mode="nearest")
    return _put(image, blurred, region)


def mean(image: np.ndarray, region: np.ndarray, unusable: np.ndarray, _seed: int) -> np.ndarray | None:
    """The mean colour of what surrounds the region; None where nothing usable does."""
    width = max(2, round(math.sqrt(region.sum()) / 4))
    usable = ~(region | unusable)
    ring = ndimage.binary_dilation(region, iterations=width) & usable
    around = ring if ring.any() else usable
    return _put(image, image[around].mean(axis=0), region) if around.any() else None


def inpaint(image: np.ndarray, region: np.ndarray, _unusable: np.ndarray, _seed: int) -> np.ndarray | None:
    """The smoothest surface through what surrounds the region; None where the region is everything.

    Source: biharmonic inpainting as in scikit-image (Damelin, Hoang 2018), here on the coarsest grid that leaves
    at most MAX_INPAINTED pixels to solve for.
    """
    if region.all():
        return None
    step = math.ceil(math.sqrt(region.sum() / MAX_INPAINTED))
    rows, columns = _window(region, margin=4 * step)
    coarse, unknown = _coarsened(image[rows, columns], region[rows, columns], step)
    if unknown.all():
        return spread(image, region)
    smooth = np.clip(inpaint_biharmonic(coarse, unknown, channel_axis=-1), 0.0, 1.0)
    height, width = unknown.shape
    fine = resize(smooth, (height * step, width * step, 3), order=1, mode="edge", anti_aliasing=False)
    filled = image.copy()
    window = region[rows, columns]
    filled[rows, columns][window] = fine[: window.shape[0], : window.shape[1]][window]
    return filled


def patch(image: np.ndarray, region: np.ndarray, unusable: np.ndarray, seed: int) -> np.ndarray | None:
    """Pixels of another place of the same picture, of the region's shape; None where there is no room."""
    shift = elsewhere(region, unusable | region, seed)
    return None if shift is None else _put(image, shifted(image, (-shift[0], -shift[1])), region)


FILLS: Mapping[str, Fill] = {"blur": blur, "inpaint": inpaint, "mean": mean, "patch": patch}
"""By the name that users type in `interventions.fills`."""


def spread(image: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The region filled with the nearest colours outside of it, blurred; for regions of any size but everything.

    Raises:
        ValueError: the region is everything.
    """
    if region.all():
        raise ValueError("nothing is left outside of the region to fill it with")
    nearest = ndimage.distance_transform_edt(region, return_distances=False, return_indices=True)
    sigma = math.sqrt(region.sum()) / 8
    soft = ndimage.gaussian_filter(image[tuple(nearest)], sigma=(sigma, sigma, 0), mode="nearest")
    return _put(image, soft, region)


def grown(region: np.ndarray, share: float) -> np.ndarray:
    """The region with a margin of `share` of its side (the root of its area): boxes and detections cut things close."""
    margin = round(share * math.sqrt(region.sum()))
    return np.asarray(ndimage.maximum_filter(region, 2 * margin + 1, mode="constant")) if margin else region


def widened(region: np.ndarray, pixels: int) -> np.ndarray:
    """The region and everything within so many pixels of it."""
    return np.asarray(ndimage.distance_transform_edt(~region) <= pixels)


def laid_on(
    under: np.ndarray, over: np.ndarray, shape: np.ndarray, feather: int, *, kept: np.ndarray
) -> np.ndarray:
    """`over` on `under` within a shape, fading out over `feather` pixels around it, so that it brings no new edge.

    Args:
        under, over: float32 (H, W, 3).
        shape: bool (H, W), where `over` is seen whole.
        feather: pixels.
        kept: bool (H, W), where `under` stays untouched outside of the shape.

    Returns:
        float32 (H, W, 3).
    """
    distance = ndimage.distance_transform_edt(~shape)
    weight = np.maximum(0.0, 1.0 - distance / (feather + 1))
    weight[kept & ~shape] = 0.0
    alpha = weight[..., None].astype(np.float32)
    return np.asarray(np.where(alpha > 0, under + alpha * (over - under), under), dtype=np.float32)


def feather_of(image: np.ndarray, share: float) -> int:
    """Pixels of a feather that is a share of the picture's longer side."""
    return round(share * float(max(image.shape[:2])))


def _put(image: np.ndarray, values: np.ndarray, region: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(region[..., None], values, image), dtype=np.float32)


def _window(region: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Rows and columns of the region with a margin around it."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    top, left = max(0, rows[0] - margin), max(0, columns[0] - margin)
    return slice(top, rows[-1] + 1 + margin), slice(left, columns[-1] + 1 + margin)


def _coarsened(image: np.ndarray, region: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of blocks of known pixels, and which blocks hold unknown ones: float (h, w, 3), bool (h, w)."""
    height, width = (math.ceil(side / step) * step for side in region.shape)
    room = ((0, height - region.shape[0]), (0, width - region.shape[1]))
    padded = np.pad(image.astype(np.float64), (*room, (0, 0)), mode="edge")
    blocks = np.pad(region, room, mode="edge").reshape(height // step, step, width // step, step)
    unknown = np.asarray(blocks.any(axis=(1, 3)))
    coarse = padded.reshape(height // step, step, width // step, step, 3).mean(axis=(1, 3))
    return np.where(unknown[..., None], 0.0, coarse), unknown
