"""Where else a shape fits into a picture: the place of a control region, and of a pasted thing."""

import numpy as np
from scipy import ndimage
from scipy.signal import fftconvolve

ALIKE = 0.1
"""Share of the free places among which a matched control is drawn: few enough to match, enough to vary."""

Shift = tuple[int, int]
"""Rows down and columns to the right."""


def elsewhere(shape: np.ndarray, blocked: np.ndarray, seed: int) -> Shift | None:
    """A shift that brings a shape to a free place, drawn evenly from all there are.

    Args:
        shape: bool (H, W), somewhere True.
        blocked: bool (H, W), pixels that the shifted shape must not cover.
        seed: of the draw.

    Returns:
        The shift; None where there is no room.
    """
    shifts = _free_shifts(shape, blocked)
    if not len(shifts):
        return None
    down, right = shifts[np.random.default_rng(seed).integers(len(shifts))]
    return int(down), int(right)


def alike(shape: np.ndarray, blocked: np.ndarray, things: np.ndarray, seed: int) -> Shift | None:
    """As `elsewhere`, but drawn from the places that are about as far from other things as the shape is now.

    A spot right beside an object changes what the object looks like, one far away does not; a control that was
    drawn from everywhere would not show that.

    Args:
        shape, blocked, seed: as for `elsewhere`.
        things: bool (H, W), the pixels whose distance counts; where there are none, all places are alike.

    Returns:
        A shift out of the ALIKE share of free places whose mean distance differs least; None without room.
    """
    shifts = _free_shifts(shape, blocked)
    if not len(shifts):
        return None
    if things.any():
        distances = _mean_distances(shape, shifts, things)
        now = float(ndimage.distance_transform_edt(~things)[shape].mean())
        order = np.argsort(np.abs(distances - now), kind="stable")
        shifts = shifts[order[: max(1, round(ALIKE * len(shifts)))]]
    down, right = shifts[np.random.default_rng(seed).integers(len(shifts))]
    return int(down), int(right)


def nearest(shape: np.ndarray, blocked: np.ndarray) -> Shift | None:
    """The smallest shift that brings a shape to a free place, (0, 0) where it is at one; arguments as above."""
    shifts = _free_shifts(shape, blocked)
    if not len(shifts):
        return None
    down, right = shifts[np.argmin((shifts**2).sum(axis=1))]
    return int(down), int(right)


def further_in(shape: np.ndarray, blocked: np.ndarray, gap: int) -> np.ndarray | None:
    """As many free pixels as the shape has, as near to it as a gap allows: the control of what cannot be moved.

    A frame around a picture fits nowhere else. The strip beside it is as large and nearly as long, lies as far out
    as anything else in the picture, and has the same fill taken to it.

    Args:
        shape: bool (H, W), somewhere True.
        blocked: bool (H, W), pixels that must not be taken.
        gap: pixels of distance that are kept from the shape, so that its soft edge is not in the strip.

    Returns:
        bool (H, W); None where fewer than half as many pixels are free.
    """
    distance = ndimage.distance_transform_edt(~shape)
    free = np.flatnonzero((distance > gap) & ~blocked)
    n = int(shape.sum())
    if 2 * len(free) < n:
        return None
    nearest_first = free[np.argsort(distance.ravel()[free], kind="stable")]
    strip = np.zeros(shape.shape, dtype=bool)
    strip.ravel()[nearest_first[:n]] = True
    return strip


def shifted(array: np.ndarray, shift: Shift) -> np.ndarray:
    """A copy of an array (H, W, ...) moved by a shift; what comes in from outside is 0, what leaves is lost."""
    height, width = array.shape[:2]
    down, right = shift
    moved = np.zeros_like(array)
    if abs(down) < height and abs(right) < width:
        moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = array[
            max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
        ]
    return moved


def _free_shifts(shape: np.ndarray, blocked: np.ndarray) -> np.ndarray:
    """int (N, 2): all shifts at which the shape lies within the picture and covers no blocked pixel."""
    crop, corner = _cropped(shape)
    covered = fftconvolve(blocked.astype(np.float64), crop[::-1, ::-1].astype(np.float64), mode="valid")
    # Counts of pixels, exact but for the rounding of the transform.
    return np.asarray(np.argwhere(covered < 0.5) - corner)


def _mean_distances(shape: np.ndarray, shifts: np.ndarray, things: np.ndarray) -> np.ndarray:
    """float (N,): mean distance in pixels of the shifted shape's pixels from the things."""
    crop, corner = _cropped(shape)
    distance = ndimage.distance_transform_edt(~things)
    sums = fftconvolve(distance, crop[::-1, ::-1].astype(np.float64), mode="valid")
    places = shifts + corner
    # Rounded, so that the rounding of the transform does not order equal distances.
    return np.asarray(np.round(sums[places[:, 0], places[:, 1]] / crop.sum(), 6))


def _cropped(shape: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """The shape's bounding box, and the row and column of its first pixel."""
    rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    if not len(rows):
        raise ValueError("the shape has no pixel")
    return shape[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], (int(rows[0]), int(columns[0]))
