"""How sharp an image is: the share of its fine structure that is finer than a slight blur.

Source: the idea of comparing a picture with its re-blurred self is that of Crete, Dolmiere, Ladret, Nicolas. The
blur effect. SPIE 6492, 2007; the ratio of gradient energies here is simpler.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from audit.properties import ImageFacts, in_unit, luma, solved

__all__ = ["Sharpness"]

_REBLUR = 1.0
"""Standard deviation in pixels of the blur a picture is compared with."""
_STRONGEST = 8.0
"""Strongest blur of the normalisation, standard deviation in pixels."""
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

    def measure(self, image: np.ndarray, facts: ImageFacts) -> float:
        """Sharpness of a uint8 (H, W, 3) image, in [0, 1]; NaN for one without structure."""
        return _sharpness(luma(in_unit(image)))

    def normalise(self, images: np.ndarray, target: float) -> np.ndarray:
        """Images of sharpness `target` or below, by the least Gaussian blur that reaches it.

        Blurring can only take away: an image below the target, or without structure, stays as it is.

        Args:
            images: float32 (B, H, W, 3) in [0, 1].
            target: sharpness, in [0, 1].
        """
        return np.stack([_softened(image, target) for image in images]).astype(np.float32)


def _sharpness(grey: np.ndarray) -> float:
    energy = _gradient_energy(grey)
    if not energy > _FLAT:
        return float("nan")
    return 1 - _gradient_energy(ndimage.gaussian_filter(grey, _REBLUR, mode="nearest")) / energy


def _gradient_energy(grey: np.ndarray) -> float:
    """Mean squared step between neighbours."""
    steps = [np.diff(grey, axis=axis).ravel() for axis in (0, 1)]
    both = np.concatenate(steps)
    return float(np.square(both, dtype=np.float64).mean()) if len(both) else 0.0


def _softened(image: np.ndarray, target: float) -> np.ndarray:
    sharpness = _sharpness(luma(image))
    if not sharpness > target:
        return image

    def keep_sharp(step: float) -> np.ndarray:
        sigma = _STRONGEST * (1 - step)
        return np.asarray(np.clip(ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest"), 0, 1))

    return solved(keep_sharp, lambda changed: _sharpness(luma(changed)), target)
