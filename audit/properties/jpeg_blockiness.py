"""How visible the blocks of JPEG compression are.

Source: the idea of comparing steps on the 8-pixel grid with steps off it is that of Wang, Sheikh, Bovik.
No-reference perceptual quality assessment of JPEG compressed images. ICIP 2002; the ratio here is simpler, and the
grid's position is found, since turned and cropped pictures have it elsewhere.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from audit.properties import ImageFacts, in_unit, luma, solved

__all__ = ["JpegBlockiness"]

_BLOCK = 8
_FLAT = 1e-9
"""Mean step below which a picture has no structure at all."""
_BEST, _WORST = 98, 4
"""Qualities between which the normalisation looks."""


@dataclass(frozen=True)
class JpegBlockiness:
    """How much larger steps are on the 8-pixel grid than off it, as a share; 0 without blocks, mostly below 3.

    Small values, below about 0.1, are chance: the grid is taken where the steps are largest.
    """

    name = "JPEG blockiness"
    version = "steps on the grid 1"

    def measure(self, image: np.ndarray, facts: ImageFacts) -> float:
        """Blockiness of a uint8 (H, W, 3) image, at least 0; NaN below 24 pixels a side, or without structure."""
        return _blockiness(luma(in_unit(image)))

    def normalise(self, images: np.ndarray, target: float) -> np.ndarray:
        """Images of blockiness `target` or above, by JPEG compression of the best quality that reaches it.

        Compression can only add blocks: an image above the target, or one in which they cannot be measured,
        stays as it is.

        Args:
            images: float32 (B, H, W, 3) in [0, 1].
            target: blockiness, at least 0.
        """
        return np.stack([_compressed_to(image, target) for image in images]).astype(np.float32)


def _blockiness(grey: np.ndarray) -> float:
    """Mean over both axes of the excess of the largest of the eight phases' mean steps over their median."""
    if min(grey.shape) < 3 * _BLOCK:
        return float("nan")
    excess = []
    for axis in (0, 1):
        # A slope steps everywhere: what a step has more than its neighbours is the block's.
        steps = np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis)
        phases = np.array([steps[phase::_BLOCK].mean() for phase in range(_BLOCK)])
        if not np.median(phases) > _FLAT:
            return float("nan")
        excess.append(phases.max() / np.median(phases) - 1)
    return float(np.mean(excess))


def _compressed_to(image: np.ndarray, target: float) -> np.ndarray:
    if not _blockiness(luma(image)) < target:
        return image

    def compress(step: float) -> np.ndarray:
        return _compressed(image, round(_BEST + (_WORST - _BEST) * step))

    def blockiness(changed: np.ndarray) -> float:
        value = _blockiness(luma(changed))
        return np.inf if np.isnan(value) else value  # nothing but flat blocks is left

    return solved(compress, blockiness, target)


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """The image after JPEG compression, float32 (H, W, 3) in [0, 1]."""
    memory = io.BytesIO()
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(memory, "JPEG", quality=quality)
    return np.asarray(Image.open(memory), dtype=np.float32) / np.float32(255)
