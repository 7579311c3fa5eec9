"""Pictures of other classes given a class's typical brightness, tint, sharpness; the control is changed as much."""

from dataclasses import dataclass
from typing import ClassVar

from audit.interventions import Donors, Link, Picture, Scope, Subjects, Variant
from audit.interventions._properties import brought

__all__ = ["Impose"]


@dataclass(frozen=True)
class Impose:
    """Brings a global property to what is typical of the class in question, the reverse of `normalise`.

    Source: own construction; for the control see `audit.interventions._properties.brought`.
    """

    link: ClassVar[Link] = Link.SUFFICIENCY
    scope: ClassVar[Scope] = Scope.PROPERTY
    subjects: ClassVar[Subjects] = Subjects.OF_OTHERS
    n_own: ClassVar[int] = 0
    n_other: ClassVar[int] = 0
    is_far: ClassVar[bool] = False
    sentence: ClassVar[str] = (
        "The {confound} of {label} photos turns {turned} of {others} into {label}, as large a change of another kind "
        "{control_turned}; the {label} probability {moves}, with the control {control_moves} ({tail})."
    )

    @property
    def n_variants(self) -> int:
        """The whole picture, the surroundings."""
        return 2

    def __call__(self, picture: Picture, _donors: Donors, seed: int) -> tuple[Variant, ...]:
        """See `Intervention`."""
        return brought(picture, seed)
