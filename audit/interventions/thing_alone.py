"""A named thing alone, everything else filled; the control is a patch of the same picture alone."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import ndimage

from audit.interventions import Donors, Link, Picture, Scope, Subjects, Variant
from audit.interventions._controls import alike, shifted
from audit.interventions._fills import feather_of, grown, laid_on

__all__ = ["ThingAlone"]

_BLUR = 1 / 8
"""Standard deviation of the blurred rest, as a share of the picture's longer side: no thing is left of it."""


@dataclass(frozen=True)
class ThingAlone:
    """Asks what the thing brings without the object and its surroundings.

    What stands in for the rest is its mean colour, or its blur. The control keeps a region of the same shape
    instead, neither on the thing nor on the object and about as far from the object. Such pictures are far from
    what the model was made for: a network that saw a face in every photo of a class takes a face alone for the class,
    though it decides by the garment where there is one. So the effect alone proves nothing.

    Attributes:
        grow: margin around the thing that stays with it, as a share of its side.
        feather: width of the soft edge, as a share of the picture's longer side.

    Source: the sufficiency of what an explanation marks, as in Fong, Vedaldi 2017, arXiv:1704.03296 (preservation),
    with a matched control patch.
    """

    link: ClassVar[Link] = Link.SUFFICIENCY
    scope: ClassVar[Scope] = Scope.REGION
    subjects: ClassVar[Subjects] = Subjects.OF_CLASS
    n_own: ClassVar[int] = 0
    n_other: ClassVar[int] = 0
    is_far: ClassVar[bool] = True
    sentence: ClassVar[str] = (
        "{a_confound} alone, with everything else filled, gets a {label} probability of {after}, a control patch "
        "alone {control} ({tail})."
    )

    grow: float = 0.1
    feather: float = 0.01

    @property
    def n_variants(self) -> int:
        """Mean colour, blur."""
        return 2

    def __call__(self, picture: Picture, _donors: Donors, seed: int) -> tuple[Variant, ...]:
        """See `Intervention`."""
        kept = grown(picture.region, self.grow) & ~picture.protected
        if not kept.any():
            reason = "the thing is not on this picture"
            return (Variant("mean", None, None, reason), Variant("blur", None, None, reason))
        shift = alike(kept, picture.protected | kept, picture.protected, seed)
        missing = "" if shift is not None else "there is no room for a control region"
        return tuple(
            Variant(
                fill,
                self._alone(picture, kept, canvas),
                None if shift is None else self._alone(picture, shifted(kept, shift), canvas),
                missing,
            )
            for fill, canvas in self._canvases(picture, kept).items()
        )

    def _canvases(self, picture: Picture, kept: np.ndarray) -> dict[str, np.ndarray]:
        """What stands in for the rest, by fill: neither shows the thing, so both sides have the same."""
        rest = ~kept if not kept.all() else kept
        mean = picture.image[rest].mean(axis=0)
        without = np.where(kept[..., None], mean, picture.image)
        sigma = _BLUR * max(picture.image.shape[:2])
        blurred = ndimage.gaussian_filter(without, sigma=(sigma, sigma, 0), mode="nearest")
        return {"mean": np.broadcast_to(mean, picture.image.shape).astype(np.float32), "blur": blurred}

    def _alone(self, picture: Picture, shape: np.ndarray, canvas: np.ndarray) -> np.ndarray:
        feather = feather_of(picture.image, self.feather)
        return laid_on(canvas, picture.image, shape, feather, kept=picture.protected & ~shape)
