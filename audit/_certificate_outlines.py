"""Do the outlines of masks lie on the edges of their pictures?"""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt

from audit.nulls import edge_maps
from audit.types import BACKGROUND, FOREGROUND, IGNORE


def outline_strengths(images: np.ndarray, foreground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How strong the picture's edges are along the outline of each foreground, there and around.

    Args:
        images: float32 (B, H, W, 3).
        foreground: uint8 (B, H, W); an ignored rim between object and background is cut in its middle.

    Returns:
        Mean edge strength on the outline float64 (B,), and on eight copies of it, moved by 1/16 of the longer
        side in each direction, float64 (B, 8). NaN where there is no outline, or it is a box: boxes touch
        objects in few points.
    """
    strength = edge_maps(images)
    here, around = np.full(len(images), np.nan), np.full((len(images), 8), np.nan)
    step = max(round(max(images.shape[1:3]) / 16), 1)
    moves = [(y, x) for y in (-step, 0, step) for x in (-step, 0, step) if (y, x) != (0, 0)]
    for index, picture in enumerate(foreground):
        outline = _outline(picture)
        if not outline.any() or _is_box(picture == FOREGROUND):
            continue
        here[index] = _mean_on(strength[index], outline, (0, 0))
        around[index] = [_mean_on(strength[index], outline, move) for move in moves]
    return here, around


def _outline(foreground: np.ndarray) -> np.ndarray:
    """bool (H, W): foreground pixels next to background, where ignored ones belong to the nearer of both."""
    is_ignored = foreground == IGNORE
    if is_ignored.any() and not is_ignored.all():
        nearest = distance_transform_edt(is_ignored, return_distances=False, return_indices=True)
        foreground = foreground[tuple(nearest)]
    inside, outside = foreground == FOREGROUND, foreground == BACKGROUND
    near = np.zeros_like(inside)
    near[1:] |= outside[:-1]
    near[:-1] |= outside[1:]
    near[:, 1:] |= outside[:, :-1]
    near[:, :-1] |= outside[:, 1:]
    return np.asarray(inside & near)


def _is_box(mask: np.ndarray) -> bool:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return bool(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all())


def _mean_on(strength: np.ndarray, outline: np.ndarray, move: Sequence[int]) -> float:
    """Mean edge strength on an outline moved by (y, x), as far as it stays on the picture."""
    rows, columns = np.nonzero(outline)
    rows, columns = rows + move[0], columns + move[1]
    is_on = (rows >= 0) & (rows < strength.shape[0]) & (columns >= 0) & (columns < strength.shape[1])
    return float(strength[rows[is_on], columns[is_on]].mean()) if is_on.any() else 0.0
