"""The object on backgrounds of other classes; the control is the object on another background of its own class."""

from dataclasses import dataclass
from typing import ClassVar

from audit.interventions import Donors, Link, Picture, Scope, Subjects, Variant
from audit.interventions._fills import feather_of, laid_on
from audit.interventions._scenes import first_scene

__all__ = ["SwapBackground"]


@dataclass(frozen=True)
class SwapBackground:
    """Cuts the object out along its mask and lays it on another picture's background.

    Both the changed picture and the control are cut and pasted in the same way, so that the effect, the
    background gap, is that of the class of the background.

    Attributes:
        feather: width of the soft edge, as a share of the picture's longer side.

    Source: the background gap of Xiao, Engstrom, Ilyas, Madry 2021, arXiv:2006.09994 (mixed-same against
    mixed-random), per sample and as a probability.
    """

    link: ClassVar[Link] = Link.NECESSITY
    scope: ClassVar[Scope] = Scope.BACKGROUND
    subjects: ClassVar[Subjects] = Subjects.OF_CLASS
    n_own: ClassVar[int] = 3
    n_other: ClassVar[int] = 3
    sentence: ClassVar[str] = (
        "On backgrounds of other classes the {label} probability {moves}, on other backgrounds of its own class "
        "{control_moves} ({tail})."
    )

    feather: float = 0.01

    @property
    def n_variants(self) -> int:
        """One."""
        return 1

    def __call__(self, picture: Picture, donors: Donors, _seed: int) -> tuple[Variant, ...]:
        """See `Intervention`."""
        own, other = first_scene(donors.own), first_scene(donors.other)
        if not picture.is_annotated or own is None or other is None:
            return (
                Variant(
                    "background", None, None, "no annotated object, or no donor with enough plain background"
                ),
            )
        feather = feather_of(picture.image, self.feather)
        nothing = picture.protected & False
        after, control = (
            laid_on(under, picture.image, picture.protected, feather, kept=nothing) for under in (other, own)
        )
        return (Variant("background", after, control),)
