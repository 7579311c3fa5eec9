"""Slices of a class that are recognised less often than the rest of it: by size, place and shape of the object, by
global properties; and how many photos of them would even it out.

A slice is the lowest or the highest third of a class's samples by one number, or one category that at most half of them
have. Nothing is searched beyond that: every slice that is looked at counts in the false discovery rate.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from audit import statistics
from audit.suggestions import N_EXEMPLARS, WEAK
from audit.tables import WEAK_SLICES, frame
from audit.types import Interval, Suggestion, VerdictLimits

LOW, HIGH = "low", "high"
_MOST = 0.5
"""A slice has a smaller share of its class; what most samples are like is the class, not a slice of it."""
_NAMES = {
    ("object size", LOW): ("a small object", "covers less than {share} of the picture"),
    ("object size", HIGH): ("a large object", "covers more than {share} of the picture"),
    ("object row", LOW): (
        "the object near the top",
        "has its centre in the upper {share} of the picture",
    ),
    ("object row", HIGH): ("the object near the bottom", "has its centre in the lower {rest} of the picture"),
    ("object column", LOW): (
        "the object on the left",
        "has its centre in the left {share} of the picture",
    ),
    ("object column", HIGH): ("the object on the right", "has its centre in the right {rest} of the picture"),
    ("object shape", LOW): ("a narrow object", "is less than {threshold:.2g} times as wide as high"),
    ("object shape", HIGH): ("a wide object", "is more than {threshold:.2g} times as wide as high"),
    ("object cut", "yes"): ("the object cut off", "reaches to the picture's edge"),
    ("object cut", "no"): ("the whole object", "does not reach to the picture's edge"),
}
"""By trait and side: the slice in a few words, and what the object in it does."""


@dataclass(frozen=True)
class Slice:
    """One slice of one class beside the rest of the class.

    Attributes:
        label: the class.
        trait, side, threshold: as in the table WEAK_SLICES.
        name: the slice in a few words, such as "a small object".
        words: what its photos are like, behind the word "photos".
        members: its sample ids, sorted; wrongly recognised ones first.
        n_class: samples of the class, also those in which the trait could not be measured.
        n_right: members that are recognised.
        rest: sample ids of the others in which the trait could be measured.
        n_rest_right: those of them that are recognised.
        difference: accuracy of the slice minus that of the rest.
        p_value: of the slice not being worse (Fisher's exact test, one-sided); NaN where all are alike.
    """

    label: str
    trait: str
    side: str
    threshold: float
    name: str
    words: str
    members: tuple[str, ...]
    n_class: int
    n_right: int
    rest: tuple[str, ...]
    n_rest_right: int
    difference: Interval
    p_value: float


def weak_slices(
    tables: Mapping[str, pd.DataFrame], limits: VerdictLimits
) -> tuple[pd.DataFrame, tuple[Slice, ...]]:
    """Every slice that was looked at, and the weak ones.

    Args:
        tables: `predictions`, and `placements` and `properties` where they were measured.
        limits: `minimum_samples` that slice and rest need, `minimum_change` of accuracy that is worth naming, and `q`.

    Returns:
        The table WEAK_SLICES, and of its rows with `is_weak` the slices; by class, the surest first.
    """
    labels = tables["predictions"]["label"]
    level = statistics.shared_level(limits.q, int(labels.nunique()))
    found = [
        one
        for label in sorted(labels.unique())
        for one in _slices(str(label), tables, level)
        if min(len(one.members), len(one.rest)) >= limits.minimum_samples
    ]
    q_values = statistics.false_discovery_rates(np.array([one.p_value for one in found]))
    is_weak = [
        bool(q <= limits.q and -one.difference.mean >= limits.minimum_change)
        for one, q in zip(found, q_values, strict=True)
    ]
    rows = frame(WEAK_SLICES, map(_row, found, q_values, is_weak))
    weak = [one for one, is_one in zip(found, is_weak, strict=True) if is_one]
    return rows, tuple(sorted(weak, key=lambda one: (one.label, one.p_value, one.name)))


def slice_suggestions(weak: tuple[Slice, ...], wished: tuple[Suggestion, ...]) -> tuple[Suggestion, ...]:
    """Photos of the surest weak slice of each class, as many as would make it as large as the rest of the class.

    What lies behind a weak slice is not known, so the number is a rule, not an estimate: it evens out how often a
    network sees either side. Of a class's other slices nothing is asked, since the same photos are often in several.

    Args:
        weak: of `weak_slices`.
        wished: what is suggested already; a class that is bound to the slice's own property is asked for it there.
    """
    wished_for = {(one.label, one.confound) for one in wished}
    surest: dict[str, Slice] = {}
    for one in weak:
        if (one.label, one.trait) not in wished_for:
            surest.setdefault(one.label, one)
    return tuple(_suggestion(one) for one in surest.values())


def _suggestion(one: Slice) -> Suggestion:
    n, n_rest = len(one.members), len(one.rest)
    text = (
        f"Add about {n_rest - n} {one.label} photos {one.words} (now {n} of {one.n_class}): of these "
        f"{one.n_right} of {n} are recognised, of the others {one.n_rest_right} of {n_rest}. Then there are as many of "
        "them as of the others."
    )
    return Suggestion(one.label, WEAK, one.name, n, one.n_class, n_rest - n, text, one.members[:N_EXEMPLARS])


def _slices(label: str, tables: Mapping[str, pd.DataFrame], level: float) -> Iterator[Slice]:
    """Every slice of a class, whatever its size."""
    predictions = tables["predictions"]
    own = predictions[predictions["label"] == label].set_index("sample_id")["correct"]
    for trait, values in _traits(tables, own.index):
        for side, threshold, is_in in _sides(values):
            members, rest = own[is_in.index[is_in]], own[is_in.index[~is_in]]
            name, words = _words(label, trait, side, threshold)
            yield Slice(
                label,
                trait,
                side,
                threshold,
                name,
                words,
                tuple(members.index[np.argsort(members.to_numpy(), kind="stable")]),
                len(own),
                int(members.sum()),
                tuple(rest.index),
                int(rest.sum()),
                statistics.proportion_difference(
                    int(members.sum()), len(members), int(rest.sum()), len(rest), level
                ),
                statistics.p_more_often(~members.to_numpy(dtype=bool), ~rest.to_numpy(dtype=bool)),
            )


def _traits(tables: Mapping[str, pd.DataFrame], ids: pd.Index) -> Iterator[tuple[str, pd.Series]]:
    """Names, and numbers or categories by sorted sample id, of the samples in which they were measured."""
    if "placements" in tables:
        placed = tables["placements"].set_index("sample_id")
        placed = placed.loc[sorted(ids.intersection(placed.index))]
        for name in placed.columns:
            yield f"object {name}", placed[name]
    if "properties" in tables:
        measured = tables["properties"][tables["properties"]["sample_id"].isin(ids)]
        for name, rows in measured.groupby("property", sort=True):
            by_id = rows.set_index("sample_id").sort_index()
            is_category = by_id["category"].notna().any()
            yield str(name), by_id["category" if is_category else "value"].dropna()


def _sides(values: pd.Series) -> Iterator[tuple[str, float, pd.Series]]:
    """The slices of one trait: the side, the threshold, and which samples are in it, bool by sample id."""
    if not len(values):
        return
    if not pd.api.types.is_numeric_dtype(values.dtype):
        sides = [(str(one), np.nan, values == one) for one in sorted(values.unique())]
    else:
        low, high = np.quantile(values, [1 / 3, 2 / 3])
        # Where the third ends among equal values that would make it too large, it ends before them.
        is_low, is_high = (
            third if third.mean() < _MOST else beyond
            for third, beyond in ((values <= low, values < low), (values >= high, values > high))
        )
        sides = [
            (side, _between(values, is_in), is_in)
            for side, is_in in ((LOW, is_low), (HIGH, is_high))
            if is_in.any()
        ]
    yield from (side for side in sides if 0 < side[2].mean() < _MOST)


def _between(values: pd.Series, is_in: pd.Series) -> float:
    """Halfway between the samples in a slice and the nearest that is not."""
    inside, rest = values[is_in], values[~is_in]
    ends = (inside.max(), rest.min()) if inside.max() < rest.min() else (inside.min(), rest.max())
    return float(sum(ends) / 2)


def _words(label: str, trait: str, side: str, threshold: float) -> tuple[str, str]:
    """The slice in a few words, and what its photos are like."""
    if (trait, side) in _NAMES:
        name, words = _NAMES[trait, side]
        shares = {"share": _percent(threshold), "rest": _percent(1 - threshold)}
        return name, f"in which the {label} {words.format(threshold=threshold, **shares)}"
    if not math.isnan(threshold):
        article = "an" if trait[:1].lower() in "aeiou" else "a"
        return (
            f"{side} {trait}",
            f"with {article} {trait} {'below' if side == LOW else 'above'} {threshold:.3g}",
        )
    return f"{trait} {side}", f"whose {trait} is {side}"


def _percent(share: float) -> str:
    """A share as per cent, below ten with a digit more: objects of 1.2 and of 1.8 % differ much."""
    return f"{100 * share:.{1 if share < 0.1 else 0}f} %"


def _row(one: Slice, q_value: float, is_weak: bool) -> dict[str, object]:
    return {
        "label": one.label,
        "trait": one.trait,
        "side": one.side,
        "name": one.name,
        "threshold": one.threshold,
        "n": len(one.members),
        "n_right": one.n_right,
        "accuracy": one.n_right / len(one.members),
        "n_rest": len(one.rest),
        "n_rest_right": one.n_rest_right,
        "accuracy_rest": one.n_rest_right / len(one.rest),
        "difference": one.difference.mean,
        "difference_low": one.difference.low,
        "difference_high": one.difference.high,
        "q_value": q_value,
        "is_weak": is_weak,
    }
