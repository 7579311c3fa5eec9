"""How sharp an image is: the share of its fine structure that is finer than a slight blur.

Source: the idea of comparing a picture with its re-blurred self is that of Crete, Dolmiere, Ladret, Nicolas. The
blur effect. SPIE 6492, 2007; the ratio of gradient energies here is simpler.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from audit.properties import ImageFacts, both_count, in_unit, luma, normalised, solved

__all__ = ["Sharpness"]

_REBLUR = 1.0
"""Standard deviation in pixels of the blur a picture is compared with."""
_STRONGEST = 8.0
"""Strongest blur of the normalisation, standard deviation in pixels."""
_CLEAR = 2
"""Pixels that the blur reaches: two standard deviations. What does not count is kept that far away."""
_FLAT = 1e-6
"""Mean squared step below which a picture has no structure: 8-bit rounding alone gives more."""


@dataclass(frozen=True)
class Sharpness:
    """Share of the gradient energy that a blur of one pixel takes away, in [0, 1].

    Near 1 for single-pixel detail, about 0.2 for a picture blurred by two pixels. A ratio, so contrast does not
    enter.
    """

    name = "sharpness"
    version = "gradient energy lost to a blur 1"
    one_way = -1

    def measure(self, image: np.ndarray, facts: ImageFacts, where: np.ndarray | None = None) -> float:
        """Sharpness of a uint8 (H, W, 3) image, in [0, 1]; NaN for one without structure."""
        return _sharpness(luma(in_unit(image)), where)

    def normalise(self, images: np.ndarray, target: float, where: np.ndarray | None = None) -> np.ndarray:
        """Images of sharpness `target` or below, by the least Gaussian blur that reaches it.

        Blurring can only take away: an image below the target, or without structure, stays as it is.

        Args:
            images: float32 (B, H, W, 3) in [0, 1].
            target: sharpness, in [0, 1].
            where: bool (B, H, W), the pixels that are to have it; None is all.
        """
        return normalised(_softened, images, target, where)


def _sharpness(grey: np.ndarray, where: np.ndarray | None) -> float:
    energy = _gradient_energy(grey, where)
    if not energy > _FLAT:
        return float("nan")
    blurred = ndimage.gaussian_filter(grey, _REBLUR, mode="nearest", radius=_CLEAR)
    return 1 - _gradient_energy(blurred, where) / energy


def _gradient_energy(grey: np.ndarray, where: np.ndarray | None) -> float:
    """Mean squared step between neighbours that both count."""
    clear = (
        None
        if where is None
        else ndimage.binary_erosion(where, np.ones((3, 3)), iterations=_CLEAR, border_value=1)
    )
    steps = []
    for axis in (0, 1):
        step = np.diff(grey, axis=axis)
        steps.append(step.ravel() if clear is None else step[both_count(clear, axis)])
    both = np.concatenate(steps)
    return float(np.square(both, dtype=np.float64).mean()) if len(both) else 0.0


def _softened(image: np.ndarray, target: float, where: np.ndarray | None) -> np.ndarray:
    sharpness = _sharpness(luma(image), where)
    if not sharpness > target:
        return image

    def keep_sharp(step: float) -> np.ndarray:
        sigma = _STRONGEST * (1 - step)
        return np.asarray(np.clip(ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest"), 0, 1))

    return solved(keep_sharp, lambda changed: _sharpness(luma(changed), where), target)
