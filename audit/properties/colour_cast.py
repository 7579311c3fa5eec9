"""Which way the colours of an image lean: towards red (warm) or blue (cold).

Source: the grey-world assumption, Buchsbaum. A spatial processor model for object colour perception. Journal of the
Franklin Institute 310(1), 1980: the mean of a picture is grey unless the light has a colour.
"""

from dataclasses import dataclass

import numpy as np

from audit.properties import ImageFacts, average, in_unit, normalised, seen, solved

__all__ = ["ColourCast"]


@dataclass(frozen=True)
class ColourCast:
    """Mean red minus mean blue, in [-1, 1]: above 0 warm, below 0 cold, 0 neutral."""

    name = "colour cast"
    version = "red minus blue 1"
    one_way = 0

    def measure(self, image: np.ndarray, facts: ImageFacts, where: np.ndarray | None = None) -> float:
        """Mean red minus mean blue of a uint8 (H, W, 3) image, in [-1, 1]."""
        return _cast(in_unit(image), where)

    def normalise(self, images: np.ndarray, target: float, where: np.ndarray | None = None) -> np.ndarray:
        """Images of cast `target`: red raised and blue lowered by offsets that keep the luma, or the reverse.

        Every target in [-1, 1] is approached; what is clipped moves brightness a little.

        Args:
            images: float32 (B, H, W, 3) in [0, 1].
            target: mean red minus mean blue, in [-1, 1].
            where: bool (B, H, W), the pixels that are to have it; None is all.
        """
        return normalised(_tinted, images, target, where)


_TINT = np.array([0.114, 0.0, -0.299], dtype=np.float32) / (0.114 + 0.299)
"""Red up by the luma weight of blue and blue down by that of red: the luma stays, red minus blue grows by 1."""


def _cast(image: np.ndarray, where: np.ndarray | None) -> float:
    pixels = seen(image, where)
    return average(pixels[:, 0]) - average(pixels[:, 2])


def _tinted(image: np.ndarray, target: float, where: np.ndarray | None) -> np.ndarray:
    def tint(step: float) -> np.ndarray:
        return np.asarray(np.clip(image + np.float32(8 * step - 4) * _TINT, 0, 1))

    return solved(tint, lambda changed: _cast(changed, where), target)
