"""A named thing taken out of a picture; the control takes as much out elsewhere."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from audit.errors import ConfigError
from audit.interventions import Donors, Link, Picture, Scope, Subjects, Variant
from audit.interventions._controls import alike, further_in, shifted
from audit.interventions._fills import FILLS, feather_of, grown, laid_on, widened

__all__ = ["Remove"]


@dataclass(frozen=True)
class Remove:
    """Fills the thing's place, in several ways; the object is never touched.

    The control fills a region of the same shape, moved to a place that overlaps neither the object nor the thing
    and is about as far from the object. What has no room elsewhere, as a frame has none, is compared with a strip of
    its size beside it.

    Attributes:
        fills: what stands in for the thing, by name.
        grow: margin around the thing that goes with it, as a share of its side.
        feather: width of the soft edge, as a share of the picture's longer side.

    Source: occlusion of Zeiler, Fergus 2014, arXiv:1311.2901, with several fills and a matched control.
    """

    link: ClassVar[Link] = Link.NECESSITY
    scope: ClassVar[Scope] = Scope.REGION
    subjects: ClassVar[Subjects] = Subjects.OF_CLASS
    n_own: ClassVar[int] = 0
    n_other: ClassVar[int] = 0
    is_far: ClassVar[bool] = False
    sentence: ClassVar[str] = (
        "Without the {confound} the {label} probability {moves}, without a control patch {control_moves} ({tail})."
    )

    fills: tuple[str, ...] = tuple(FILLS)
    grow: float = 0.1
    feather: float = 0.01

    def __post_init__(self) -> None:
        unknown = [name for name in self.fills if name not in FILLS]
        if unknown or not self.fills:
            raise ConfigError(
                f"interventions.fills: expected some of {', '.join(FILLS)}; found {list(self.fills)}"
            )

    @property
    def n_variants(self) -> int:
        """One a fill."""
        return len(self.fills)

    def __call__(self, picture: Picture, _donors: Donors, seed: int) -> tuple[Variant, ...]:
        """See `Intervention`."""
        hole = grown(picture.region, self.grow) & ~picture.protected
        if not hole.any():
            return tuple(Variant(name, None, None, "the thing is not on this picture") for name in self.fills)
        shift = alike(hole, picture.protected | hole, picture.protected, seed)
        if shift is not None:
            control: np.ndarray | None = shifted(hole, shift)
        else:
            gap = 2 * feather_of(picture.image, self.feather) + 1
            control = further_in(hole, picture.protected, gap)
        return tuple(self._variant(name, picture, hole, control, seed) for name in self.fills)

    def _variant(
        self, fill: str, picture: Picture, hole: np.ndarray, control: np.ndarray | None, seed: int
    ) -> Variant:
        if control is None:
            after = self._filled(fill, picture, hole, picture.protected, seed)
            return Variant(fill, after, None, "there is no room for a control region")
        # Neither fill may borrow from the place of the other.
        after = self._filled(fill, picture, hole, picture.protected | control, seed)
        without_control = self._filled(fill, picture, control, picture.protected | hole, seed)
        missing = "" if after is not None and without_control is not None else "there is nothing to fill with"
        return Variant(fill, after, without_control, missing)

    def _filled(
        self, fill: str, picture: Picture, hole: np.ndarray, unusable: np.ndarray, seed: int
    ) -> np.ndarray | None:
        """The picture with the hole filled, the fill fading out around it but not onto the object."""
        feather = feather_of(picture.image, self.feather)
        wide = widened(hole, feather) & ~picture.protected
        filled = FILLS[fill](picture.image, wide, unusable & ~wide, seed)
        if filled is None:
            return None
        return laid_on(picture.image, filled, hole, feather, kept=picture.protected)
