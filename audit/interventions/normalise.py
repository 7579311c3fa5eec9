"""A global property brought to what is typical of the other classes; the control is changed as much the other way."""

from dataclasses import dataclass
from typing import ClassVar

from audit.interventions import Donors, Link, Picture, Scope, Subjects, Variant
from audit.interventions._properties import brought

__all__ = ["Normalise"]


@dataclass(frozen=True)
class Normalise:
    """Takes away what tells a class by its pictures' brightness, tint, sharpness and the like.

    Source: own construction; for the control see `audit.interventions._properties.brought`.
    """

    link: ClassVar[Link] = Link.NECESSITY
    scope: ClassVar[Scope] = Scope.PROPERTY
    subjects: ClassVar[Subjects] = Subjects.OF_CLASS
    n_own: ClassVar[int] = 0
    n_other: ClassVar[int] = 0
    is_far: ClassVar[bool] = False
    sentence: ClassVar[str] = (
        "With the {confound} of other classes the {label} probability {moves}, changed as much in another way "
        "{control_moves} ({tail})."
    )

    @property
    def n_variants(self) -> int:
        """The whole picture, the surroundings."""
        return 2

    def __call__(self, picture: Picture, _donors: Donors, seed: int) -> tuple[Variant, ...]:
        """See `Intervention`."""
        return brought(picture, seed)
