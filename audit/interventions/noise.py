"""Noise on the object against noise on the background: which of them the decision rests on."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from audit.interventions import Donors, Link, Picture, Scope, Subjects, Variant

__all__ = ["Noise"]


@dataclass(frozen=True)
class Noise:
    """Adds noise of equal energy to the object, or to the background (the control).

    A model that reads the object suffers more from noise on it; one that reads the background, from noise there.
    How much noise a model bears is its own matter, so the comparison is a remark and carries no verdict.

    Attributes:
        strength: root mean square of the noise over the whole picture, of the range [0, 1]; what lies on a small
            part is stronger there.

    Source: relative foreground sensitivity of Moayeri, Pope, Balaji, Feizi 2022, arXiv:2201.10766.
    """

    link: ClassVar[Link] = Link.REMARK
    scope: ClassVar[Scope] = Scope.BACKGROUND
    subjects: ClassVar[Subjects] = Subjects.OF_CLASS
    n_own: ClassVar[int] = 0
    n_other: ClassVar[int] = 0
    is_far: ClassVar[bool] = True
    sentence: ClassVar[str] = (
        "With noise on the object {turned} of {label} photos are still taken for {label}, with as much noise on the "
        "background {control_turned}{sensitivity} ({tail})."
    )

    strength: float = 0.15

    @property
    def n_variants(self) -> int:
        """One."""
        return 1

    def __call__(self, picture: Picture, _donors: Donors, seed: int) -> tuple[Variant, ...]:
        """See `Intervention`."""
        if not picture.is_annotated:
            return (Variant("noise", None, None, "the object is not annotated"),)
        drawn = np.random.default_rng(seed).standard_normal(picture.image.shape, dtype=np.float32)
        after, control = (
            self._noisy(picture.image, drawn, part) for part in (picture.protected, ~picture.protected)
        )
        return (Variant("noise", after, control),)

    def _noisy(self, image: np.ndarray, drawn: np.ndarray, part: np.ndarray) -> np.ndarray:
        """The image with noise on a part, of one energy whatever its size."""
        noise = np.where(part[..., None], drawn, np.float32(0))
        scale = self.strength / np.sqrt(np.square(noise, dtype=np.float64).mean())
        return np.asarray(np.clip(image + np.float32(scale) * noise, 0, 1))
