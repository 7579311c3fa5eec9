"""Which way the colours of an image lean: towards red (warm) or blue (cold).

Source: the grey-world assumption, Buchsbaum. A spatial processor model for object colour perception. Journal of the
Franklin Institute 310(1), 1980: the mean of a picture is grey unless the light has a colour.
"""

from dataclasses import dataclass

import numpy as np

from audit.properties import ImageFacts, in_unit, solved

__all__ = ["ColourCast"]


@dataclass(frozen=True)
class ColourCast:
    """Mean red minus mean blue, in [-1, 1]: above 0 warm, below 0 cold, 0 neutral."""

    name = "colour cast"
    version = "red minus blue 1"

    def measure(self, image: np.ndarray, facts: ImageFacts) -> float:
        """Mean red minus mean blue of a uint8 (H, W, 3) image, in [-1, 1]."""
        return _cast(in_unit(image))

    def normalise(self, images: np.ndarray, target: float) -> np.ndarray:
        """Images of cast `target`: red raised and blue lowered by offsets that keep the luma, or the reverse.

        Every target in [-1, 1] is approached; what is clipped moves brightness a little.

        Args:
            images: float32 (B, H, W, 3) in [0, 1].
            target: mean red minus mean blue, in [-1, 1].
        """
        return np.stack([_tinted(image, target) for image in images]).astype(np.float32)


_TINT = np.array([0.114, 0.0, -0.299], dtype=np.float32) / (0.114 + 0.299)
"""Red up by the luma weight of blue and blue down by that of red: the luma stays, red minus blue grows by 1."""


def _cast(image: np.ndarray) -> float:
    return float(image[..., 0].mean() - image[..., 2].mean())


def _tinted(image: np.ndarray, target: float) -> np.ndarray:
    def tint(step: float) -> np.ndarray:
        return np.asarray(np.clip(image + np.float32(8 * step - 4) * _TINT, 0, 1))

    return solved(tint, _cast, target)
