"""What to crop away or recolour on photos that exist, so that they no longer show what a class leans on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from audit._verdict_texts import percent
from audit.bonds import Bond
from audit.pool_views import with_margin
from audit.properties._all import global_properties

CROP, RECOLOUR = "crop", "recolour"
LOST_ONE_IN = 10
"""A crop may lose one in so many of the object's pixels: annotations are rough, and a cut sleeve leaves a shirt."""
WORTH = 0.8
"""Share of a crop that must be left where it loses the thing's margin too."""


@dataclass(frozen=True)
class Crop:
    """A part of a picture, x1 and y1 excluded.

    Attributes:
        x0, y0, x1, y1: pixels.
        size: (height, width) of the picture, in pixels.
        held: share of the object's pixels on it, at least 1 - 1 / LOST_ONE_IN.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    size: tuple[int, int]
    held: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 as shares of width and height."""
        height, width = self.size
        return self.x0 / width, self.y0 / height, self.x1 / width, self.y1 / height

    @property
    def keeps(self) -> float:
        """Share of the picture's area that stays."""
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)

    def of(self, values: np.ndarray) -> np.ndarray:
        """The part of (H, W, ...) values."""
        return values[self.y0 : self.y1, self.x0 : self.x1]


def safe_crop(labelled: np.ndarray, thing: np.ndarray) -> Crop | None:
    """The crop that keeps the object and leaves the thing: of all that do, by search, not by rule of thumb.

    Each crop that loses few of the object's pixels holds a core of rows and columns, so a thing that touches the core
    leaves none, and every other pixel of the thing is left of it, right of it, above or below. For each first and
    last row the widest crop is then known. Of these the one that holds most of the object comes first, then the
    largest.

    Args:
        labelled: bool (H, W), the object.
        thing: bool (H, W), what is to go; nowhere on the object.

    Returns:
        The crop, without any pixel of the thing; None where there is no object, or no crop holds enough of it.
    """
    if not labelled.any():
        return None
    (top, bottom), (left, right) = _core(labelled.sum(axis=1)), _core(labelled.sum(axis=0))
    is_blocked: np.ndarray = np.asarray(thing[:, left:right].any(axis=1))
    if is_blocked[top:bottom].any():
        return None
    height, width = thing.shape
    before = left - _first(thing[:, :left][:, ::-1])
    after = right + _first(thing[:, right:])
    first = top - int(_first(is_blocked[None, :top][:, ::-1])[0])
    last = bottom + int(_first(is_blocked[None, bottom:])[0])
    own = int(before[top:bottom].max()), int(after[top:bottom].min())
    up, up_x0, up_x1 = _outwards(own, before[first:top][::-1], after[first:top][::-1])
    down, down_x0, down_x1 = _outwards(own, before[bottom:last], after[bottom:last])
    x0, x1 = np.maximum.outer(up_x0, down_x0), np.minimum.outer(up_x1, down_x1)
    y0, y1 = np.broadcast_arrays((top - up)[:, None], (bottom + down)[None, :])
    crops = np.stack([x0, y0, x1, y1], axis=-1).reshape(-1, 4)
    n_object, n_held = int(labelled.sum()), _pixels_on(labelled, crops)
    area = (crops[:, 2] - crops[:, 0]) * (crops[:, 3] - crops[:, 1])
    best = int(np.lexsort((area, n_held))[-1])
    if n_object - n_held[best] > n_object // LOST_ONE_IN:
        return None
    a, b, c, d = (int(side) for side in crops[best])
    return Crop(a, b, c, d, (height, width), int(n_held[best]) / n_object)


def lies_on(labelled: np.ndarray, thing: np.ndarray) -> bool:
    """Whether so much of a thing lies on the object that no crop takes it away: more than one pixel in LOST_ONE_IN."""
    return bool(LOST_ONE_IN * (labelled & thing).sum() > thing.sum())


def crop_without(labelled: np.ndarray, thing: np.ndarray) -> Crop | None:
    """The safe crop without the thing; without its margin too where that costs nothing of the object and little else.

    With a margin, since a face ends at the chin for a detector.
    """
    near, far = (safe_crop(labelled, region) for region in (thing, with_margin(thing) & ~labelled))
    is_better = near and far and far.held >= near.held and far.keeps >= WORTH * near.keeps
    return far if is_better else near


def _core(counts: np.ndarray) -> tuple[int, int]:
    """First and end (excluded) row, or column, of what every crop holds, from the object's pixels in each."""
    n_before = np.concatenate([[0], np.cumsum(counts)])
    n_lost = n_before[-1] // LOST_ONE_IN
    first = np.searchsorted(n_before, n_lost, side="right") - 1
    return int(first), int(np.searchsorted(n_before, n_before[-1] - n_lost, side="left"))


def _first(marked: np.ndarray) -> np.ndarray:
    """int (N,): columns before the first marked one of each row of bool (N, M); M where none is."""
    with_end = np.concatenate([marked, np.ones((len(marked), 1), dtype=bool)], axis=1)
    return np.asarray(with_end.argmax(axis=1))


def _outwards(
    own: tuple[int, int], before: np.ndarray, after: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How far a crop may reach beyond the core in one direction, and how wide it then is at most.

    Args:
        own: first and end column of the widest crop of the core's rows.
        before, after: the same of each row beyond, the nearest first: int (N,).

    Returns:
        Rows to go, each the most for its width, and first and end columns: int (M,) each.
    """
    x0 = np.maximum.accumulate(np.concatenate([[own[0]], before]))
    x1 = np.minimum.accumulate(np.concatenate([[own[1]], after]))
    is_most = np.append((np.diff(x0) != 0) | (np.diff(x1) != 0), True)
    return np.flatnonzero(is_most), x0[is_most], x1[is_most]


def _pixels_on(labelled: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """int (N,): marked pixels of bool (H, W) on each of N crops (x0, y0, x1, y1)."""
    sums = np.zeros((labelled.shape[0] + 1, labelled.shape[1] + 1), dtype=np.int32)
    np.cumsum(labelled, axis=0, out=sums[1:, 1:])
    np.cumsum(sums, axis=1, out=sums)
    x0, y0, x1, y1 = crops.T
    return np.asarray(sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0])


def crop_text(crop: Crop, label: str, confound: str) -> str:
    """What to do, and what it brings."""
    stays = f"the {label} stays whole" if crop.held == 1 else f"{percent(crop.held)} of the {label} stay"
    return f"Crop to {_part(crop)}: {stays}, the {confound} goes."


def _part(crop: Crop) -> str:
    x0, y0, x1, y1 = crop.box
    gone = {"left": x0, "upper": y0, "right": 1 - x1, "lower": 1 - y1}
    cut = {side: share for side, share in gone.items() if share > 0}
    if len(cut) == 1:
        opposite = {"left": "right", "right": "left", "upper": "lower", "lower": "upper"}
        return f"the {opposite[next(iter(cut))]} {percent(crop.keeps)} of the photo"
    words = [f"its {side} {percent(share)}" for side, share in cut.items()]
    return f"the photo without {', '.join(words[:-1])} and {words[-1]}" if words else "the whole photo"


def can_reach(bond: Bond) -> bool:
    """Whether pixels can be changed from the class's own value to that of the others."""
    way = global_properties()[bond.confound].one_way
    return bond.is_changeable and way * (bond.others - bond.own) >= 0


def recolourings(bond: Bond, properties: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """What to bring to the other classes' value, the furthest from it first.

    Args:
        bond: of a class and a number that pixels can change.
        properties: `sample_id` and `value` of the class's samples; those without a number are passed over.

    Yields:
        sample_id, value, target and reason of those that have the class's own value.
    """
    own = properties[bond.has(properties["value"].to_numpy())]
    distance = (own["value"] - bond.others).abs()
    for row in own.loc[distance.sort_values(ascending=False, kind="stable").index].itertuples():
        verb = "Lower" if row.value > bond.others else "Raise"
        reason = (
            f"{verb} the {bond.confound} outside the object from {row.value:.3g} to {bond.others:.3g}, which is "
            "typical of the other classes."
        )
        yield {"sample_id": row.sample_id, "value": row.value, "target": bond.others, "reason": reason}
