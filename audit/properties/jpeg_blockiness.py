"""How visible the blocks of JPEG compression are.

Source: the idea of comparing steps on the 8-pixel grid with steps off it is that of Wang, Sheikh, Bovik.
No-reference perceptual quality assessment of JPEG compressed images. ICIP 2002; the ratio here is simpler, and the
grid's position is found, since turned and cropped pictures have it elsewhere.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from audit.properties import ImageFacts, both_count, in_unit, luma, normalised, solved

__all__ = ["JpegBlockiness"]

_BLOCK = 8
_FLAT = 1e-9
"""Mean step below which a picture has no structure at all."""
_BEST, _WORST = 98, 4
"""Qualities between which the normalisation looks."""


@dataclass(frozen=True)
class JpegBlockiness:
    """How much larger steps are on the 8-pixel grid than off it, as a share; 0 without blocks, mostly below 3.

    Small values, below about 0.2, are chance: the grid is taken where the steps are largest.
    """

    name = "JPEG blockiness"
    version = "steps on the grid 2"
    one_way = 1

    def measure(self, image: np.ndarray, facts: ImageFacts, where: np.ndarray | None = None) -> float:
        """Blockiness of a uint8 (H, W, 3) image, at least 0; NaN below 24 pixels a side, or without structure."""
        return _blockiness(luma(in_unit(image)), where)

    def normalise(self, images: np.ndarray, target: float, where: np.ndarray | None = None) -> np.ndarray:
        """Images of blockiness `target` or above, by JPEG compression of the best quality that reaches it.

        Compression can only add blocks: an image above the target, or one in which they cannot be measured,
        stays as it is.

        Args:
            images: float32 (B, H, W, 3) in [0, 1].
            target: blockiness, at least 0.
            where: bool (B, H, W), the pixels that are to have it; None is all.
        """
        return normalised(_compressed_to, images, target, where)


def _blockiness(grey: np.ndarray, where: np.ndarray | None) -> float:
    """Mean over both axes of the excess of the largest of the eight phases over their median.

    A phase is its median line, weighted by the pixels that count: compression marks every line of the grid, while the
    edge of a frame or a line of text is one large step on one line, and no trace of compression.
    """
    if min(grey.shape) < 3 * _BLOCK:
        return float("nan")
    excess = []
    for axis in (0, 1):
        # A slope steps everywhere: what a step has more than its neighbours is the block's.
        steps = np.abs(np.diff(grey, axis=axis))
        counts = np.ones(steps.shape, dtype=bool) if where is None else both_count(where, axis)
        sums, numbers = np.where(counts, steps, 0.0).sum(axis=1 - axis), counts.sum(axis=1 - axis)
        lines = np.divide(sums, numbers, out=np.zeros(len(sums)), where=numbers > 0)
        weights = np.where(lines > _FLAT, numbers, 0)  # bars and plain walls have no structure
        if min(weights[phase::_BLOCK].sum() for phase in range(_BLOCK)) == 0:
            return float("nan")
        phases = np.array([_median(lines[phase::_BLOCK], weights[phase::_BLOCK]) for phase in range(_BLOCK)])
        if not np.median(phases) > _FLAT:
            return float("nan")
        excess.append(phases.max() / np.median(phases) - 1)
    return float(np.mean(excess))


def _median(values: np.ndarray, weights: np.ndarray) -> float:
    """The smallest value that at least half of the weight does not exceed."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])


def _compressed_to(image: np.ndarray, target: float, where: np.ndarray | None) -> np.ndarray:
    if not _blockiness(luma(image), where) < target:
        return image

    def compress(step: float) -> np.ndarray:
        return _compressed(image, round(_BEST + (_WORST - _BEST) * step))

    def blockiness(changed: np.ndarray) -> float:
        value = _blockiness(luma(changed), where)
        return np.inf if np.isnan(value) else value  # nothing but flat blocks is left

    return solved(compress, blockiness, target)


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """The image after JPEG compression, float32 (H, W, 3) in [0, 1]."""
    memory = io.BytesIO()
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(memory, "JPEG", quality=quality)
    return np.asarray(Image.open(memory), dtype=np.float32) / np.float32(255)
