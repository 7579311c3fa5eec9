"""Where else a shape fits into a picture: the place of a control region, and of a pasted thing."""

import numpy as np
from scipy.signal import fftconvolve

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


def nearest(shape: np.ndarray, blocked: np.ndarray) -> Shift | None:
    """The smallest shift that brings a shape to a free place, (0, 0) where it is at one; arguments as above."""
    shifts = _free_shifts(shape, blocked)
    if not len(shifts):
        return None
    down, right = shifts[np.argmin((shifts**2).sum(axis=1))]
    return int(down), int(right)


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
    rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    if not len(rows):
        raise ValueError("the shape has no pixel")
    crop = shape[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    covered = fftconvolve(blocked.astype(np.float64), crop[::-1, ::-1].astype(np.float64), mode="valid")
    # Counts of pixels, exact but for the rounding of the transform.
    return np.asarray(np.argwhere(covered < 0.5) - (rows[0], columns[0]))
