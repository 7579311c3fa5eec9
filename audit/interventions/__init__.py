"""Interventions, one file each; the file name is the name users type in `interventions.use`.

An intervention changes a picture in one respect and changes the same picture, in the same way, where that respect
is not concerned: the control. What the model then says of both differs by the thing alone, not by the traces that
any change of pixels leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from audit.properties import GlobalProperty
from audit.types import BACKGROUND, FOREGROUND, IGNORE

REPEAT = " #"
"""Stands in a fill's name before the number of a repetition."""

SURROUNDINGS = "surroundings"
"""Fill of a property that is changed around the object alone."""

WHOLE_BACKGROUND = "background"
"""Name of the confound that is everything but the object."""


class Link(StrEnum):
    """Which link of the chain an effect belongs to."""

    NECESSITY = "necessity"
    """Effect: class probability of the control minus that of the changed picture."""
    SUFFICIENCY = "sufficiency"
    """Effect: class probability of the changed picture minus that of the control."""
    REMARK = "remark"
    """As for sufficiency, but it carries no verdict: such pictures are too far from what the model was made for."""


class Scope(StrEnum):
    """What an intervention acts on."""

    REGION = "region"
    """A named thing that has pixels."""
    BACKGROUND = "background"
    """Everything but the object, on samples whose object is annotated."""
    PROPERTY = "property"
    """A global property of the picture, which has no pixels of its own."""


class Subjects(StrEnum):
    """Which pictures are changed."""

    OF_CLASS = "of the class in question, showing the confound"
    OF_OTHERS = "of other classes, not showing it"


@dataclass(frozen=True)
class Aim:
    """What a global property is to be brought to.

    Attributes:
        changed: the property; it has a normalisation.
        target: its value afterwards.
    """

    changed: GlobalProperty
    target: float


@dataclass(frozen=True)
class Picture:
    """One sample as arrays.

    Attributes:
        image: float32 (H, W, 3), RGB in [0, 1].
        foreground: uint8 (H, W) of BACKGROUND, FOREGROUND, IGNORE.
        region: bool (H, W), the confound outside of the foreground, nowhere where the sample does not show it; for
            a property the pixels it is measured on.
        aim: for interventions of the scope PROPERTY; None for all others.
    """

    image: np.ndarray
    foreground: np.ndarray
    region: np.ndarray
    aim: Aim | None = None

    @property
    def is_annotated(self) -> bool:
        """Whether the object is marked, and something is not object."""
        return bool((self.foreground == FOREGROUND).any() and (self.foreground == BACKGROUND).any())

    @property
    def protected(self) -> np.ndarray:
        """bool (H, W): the object and its uncertain border; nothing on a picture without annotation."""
        if not (self.foreground != IGNORE).any():
            return np.zeros(self.foreground.shape, dtype=bool)
        return np.asarray(self.foreground != BACKGROUND)


@dataclass(frozen=True)
class Donors:
    """Pictures that pixels may be taken from, in the order in which they are tried.

    Attributes:
        own: of the class in question, showing the confound.
        other: of other classes.
    """

    own: Sequence[Picture] = ()
    other: Sequence[Picture] = ()


@dataclass(frozen=True)
class Variant:
    """A changed picture and its control.

    Attributes:
        fill: what stands where pixels were taken away, or how they were; unique in an intervention. Fills that
            differ behind a REPEAT alone are repetitions of one.
        after: float32 (H, W, 3); None where it cannot be made.
        control: the same for the control.
        reason: why one of them is None; empty where neither is.
    """

    fill: str
    after: np.ndarray | None
    control: np.ndarray | None
    reason: str = ""


class Intervention(Protocol):
    """A frozen dataclass whose fields are parameters, and whose class says what it is for.

    Attributes:
        link: the link of the chain that its effect belongs to.
        scope: what it acts on.
        subjects: which pictures it changes.
        n_own, n_other: how many donors of either kind it may try.
        is_far: whether its pictures are so far from what the model was made for that it proves nothing; where no
            other intervention could be measured it can make a class suspect.
        sentence: what its effect says, with the names of `audit._verdict_texts.effect_text` in braces.
    """

    link: Link
    scope: Scope
    subjects: Subjects
    n_own: int
    n_other: int
    is_far: bool
    sentence: str

    @property
    def n_variants(self) -> int:
        """Variants that a call returns at most."""
        ...

    def __call__(self, picture: Picture, donors: Donors, seed: int) -> tuple[Variant, ...]:
        """The variants of one picture.

        Args:
            picture: what is changed; left as it is.
            donors: where pixels may come from; left as they are.
            seed: of the sample; whatever is drawn depends on it and on the arguments alone.
        """
        ...
