"""The background alone, against the background of another class alone; and the object alone."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from audit.interventions import Donors, Link, Picture, Scope, Subjects, Variant
from audit.interventions._fills import feather_of, laid_on
from audit.interventions._scenes import scene, scenes

__all__ = ["KeepAlone"]

_BACKGROUND_ALONE, _OBJECT_ALONE = "object", "background"
"""What is filled: the other side of what is kept."""


@dataclass(frozen=True)
class KeepAlone:
    """Takes the object away and asks what the background alone brings; and the other way round.

    Attributes:
        feather: width of the soft edge around the object alone, as a share of the picture's longer side.

    Source: the only-background and only-foreground sets of Xiao, Engstrom, Ilyas, Madry 2021, arXiv:2006.09994;
    the control, a background of another class treated in the same way, is ours.
    """

    link: ClassVar[Link] = Link.REMARK
    scope: ClassVar[Scope] = Scope.BACKGROUND
    subjects: ClassVar[Subjects] = Subjects.OF_CLASS
    n_own: ClassVar[int] = 0
    n_other: ClassVar[int] = 3
    is_far: ClassVar[bool] = True
    sentence: ClassVar[str] = (
        "With the object's place filled, the background of {label} photos alone gets a {label} probability of "
        "{after}, backgrounds of other classes {control} ({tail})."
    )

    feather: float = 0.01

    @property
    def n_variants(self) -> int:
        """Background alone, object alone."""
        return 2

    def __call__(self, picture: Picture, donors: Donors, _seed: int) -> tuple[Variant, ...]:
        """See `Intervention`; the object alone has no control."""
        if not picture.is_annotated:
            reason = "the object is not annotated"
            return (
                Variant(_BACKGROUND_ALONE, None, None, reason),
                Variant(_OBJECT_ALONE, None, None, reason),
            )
        own, other = scene(picture), next(scenes(donors.other), None)
        missing = "" if own is not None and other is not None else "too little background is seen"
        return (
            Variant(_BACKGROUND_ALONE, own, other, missing),
            Variant(_OBJECT_ALONE, self._object_alone(picture), None, "the object alone has no control"),
        )

    def _object_alone(self, picture: Picture) -> np.ndarray:
        """The object on the mean colour of its background."""
        canvas = np.broadcast_to(picture.image[~picture.protected].mean(axis=0), picture.image.shape)
        feather = feather_of(picture.image, self.feather)
        return laid_on(canvas, picture.image, picture.protected, feather, kept=picture.protected & False)
