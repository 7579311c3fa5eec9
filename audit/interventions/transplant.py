"""A named thing pasted into pictures of other classes; the control is a patch of the same donor without it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from audit.interventions import Donors, Link, Picture, Scope, Subjects, Variant
from audit.interventions._controls import Shift, elsewhere, nearest, shifted
from audit.interventions._fills import feather_of, grown, laid_on

__all__ = ["Transplant"]

_FILL = "pasted"


@dataclass(frozen=True)
class Transplant:
    """Pastes the thing, as a donor of the class shows it, where the donor has it.

    If that would cover the recipient's object, it is pasted at the nearest place where it does not. The control
    pastes a patch of the same shape, from a place of the same donor without thing and object, at the same place
    of the recipient. Donors are tried in turn until one fits. A thing that has no room elsewhere, as a frame has
    none, is compared with that part of the recipient's own mirror image: pixels as foreign to their place.

    Attributes:
        grow: margin around the thing that comes with it, as a share of its side.
        feather: width of the soft edge, as a share of the picture's longer side.

    Source: the idea of pasting a cue into other classes is that of backdoor and shortcut tests; place, control and
    soft edge are ours.
    """

    link: ClassVar[Link] = Link.SUFFICIENCY
    scope: ClassVar[Scope] = Scope.REGION
    subjects: ClassVar[Subjects] = Subjects.OF_OTHERS
    n_own: ClassVar[int] = 3
    n_other: ClassVar[int] = 0
    is_far: ClassVar[bool] = False
    sentence: ClassVar[str] = (
        "{a_confound} pasted into {others} turns {turned} of them into {label}, a control patch {control_turned}; "
        "the {label} probability {moves}, with the control {control_moves} ({tail})."
    )

    grow: float = 0.1
    feather: float = 0.01

    @property
    def n_variants(self) -> int:
        """One: there is one way to paste."""
        return 1

    def __call__(self, picture: Picture, donors: Donors, seed: int) -> tuple[Variant, ...]:
        """See `Intervention`."""
        immovable: Variant | None = None
        for donor in donors.own:
            cut = grown(donor.region, self.grow) & ~donor.protected
            place = nearest(cut, picture.protected) if cut.any() else None
            if place is None:
                continue
            target = shifted(cut, place)
            after = self._pasted(picture, donor, place, target)
            control = elsewhere(cut, donor.protected | cut, seed)
            if control is not None:
                back = (place[0] - control[0], place[1] - control[1])
                return (Variant(_FILL, after, self._pasted(picture, donor, back, target)),)
            mirrored = self._pasted(picture, _mirrored(picture), (0, 0), target)
            immovable = immovable or Variant(_FILL, after, mirrored)
        return (immovable or Variant(_FILL, None, None, "no donor's thing has room on this picture"),)

    def _pasted(self, picture: Picture, donor: Picture, shift: Shift, target: np.ndarray) -> np.ndarray:
        """The donor moved by a shift, laid on the picture at the target."""
        moved = shifted(donor.image, shift)
        outside = ~shifted(np.ones(target.shape, dtype=bool), shift)
        kept = picture.protected | shifted(donor.protected, shift) | outside
        return laid_on(picture.image, moved, target, feather_of(picture.image, self.feather), kept=kept)


def _mirrored(picture: Picture) -> Picture:
    """The picture with left and right exchanged."""
    return Picture(picture.image[:, ::-1], picture.foreground[:, ::-1], picture.region[:, ::-1])
