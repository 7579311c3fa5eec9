"""The object on backgrounds of other classes; the control is the object on another background of its own class."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from audit.interventions import REPEAT, Donors, Link, Picture, Scope, Subjects, Variant
from audit.interventions._fills import feather_of, laid_on
from audit.interventions._scenes import scenes

__all__ = ["SwapBackground"]

_FILL = "background"


@dataclass(frozen=True)
class SwapBackground:
    """Cuts the object out along its mask and lays it on backgrounds of other pictures, one pair after the other.

    A background has much that is its own besides its class, so one pair says little: the mean over several has
    less of that.

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
    is_far: ClassVar[bool] = False
    sentence: ClassVar[str] = (
        "On backgrounds of other classes the {label} probability {moves}, on other backgrounds of its own class "
        "{control_moves}; {turned} of {label} photos are then recognised against {control_turned} ({tail})."
    )

    feather: float = 0.01

    @property
    def n_variants(self) -> int:
        """As many as donors."""
        return min(self.n_own, self.n_other)

    def __call__(self, picture: Picture, donors: Donors, _seed: int) -> tuple[Variant, ...]:
        """See `Intervention`."""
        pairs = list(zip(scenes(donors.own), scenes(donors.other), strict=False))
        if not picture.is_annotated or not pairs:
            return (
                Variant(_FILL, None, None, "no annotated object, or no donor with enough plain background"),
            )
        return tuple(
            Variant(
                _FILL if number == 0 else f"{_FILL}{REPEAT}{number + 1}",
                self._on(other, picture),
                self._on(own, picture),
            )
            for number, (own, other) in enumerate(pairs)
        )

    def _on(self, background: np.ndarray, picture: Picture) -> np.ndarray:
        """The object on a background."""
        feather = feather_of(picture.image, self.feather)
        return laid_on(background, picture.image, picture.protected, feather, kept=picture.protected & False)
