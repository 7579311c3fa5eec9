"""How well a global property tells a class from the others: the association of what has no region."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from audit import statistics
from audit.properties._all import global_properties
from audit.types import Interval

CLOSE = 0.5
"""Separation from which a property that cannot be tested is worth naming: three of four pairs are told apart."""

SPREAD = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that a report shows of a property."""


@dataclass(frozen=True)
class Bond:
    """One property and one class.

    Attributes:
        label: the class.
        confound: name of the property.
        n_class, n_others: samples in which it could be measured.
        separation: of a number, |2 AUC - 1|: 1 where every sample of the class has more (or every one less) than
            every other sample, 0 as by chance. Of a category, the difference of its shares.
        distance: of a number, the difference of the means in standard deviations, which goes on where the separation
            ends at 1; 0 for a category.
        is_higher: the class has the larger values; for a category, the larger share.
        own, others: typical values (see `typical`); NaN for a category.
        category: the one whose share differs most, empty for a number.
        share, others_share: of the samples that have it; NaN for a number.
        spread, others_spread: values at the shares SPREAD of either group; empty for a category.
        is_changeable: pixels can be changed so that the property has another value.
        follow_p, follow_q: of predictions not following it: of the class's samples those that have the class's
            value are recognised no more often, and of the others those that have it are taken for the class no more
            often; NaN where there is nothing to compare.
    """

    label: str
    confound: str
    n_class: int
    n_others: int
    separation: Interval
    distance: float
    is_higher: bool
    own: float
    others: float
    category: str
    share: float
    others_share: float
    is_changeable: bool
    spread: tuple[float, ...] = ()
    others_spread: tuple[float, ...] = ()
    follow_p: float = math.nan
    follow_q: float = math.nan

    def is_followed(self, q: float) -> bool:
        """Whether predictions go with it in these data, over and above the label."""
        return self.follow_q <= q

    def is_bound(self, minimum: float) -> bool:
        """Whether it tells the class for sure, and by at least so much."""
        return self.separation.low > 0 and self.separation.mean >= minimum

    def has(self, values: np.ndarray) -> np.ndarray:
        """bool: which numbers are nearer to what is typical of the class than of the others; NaN is neither."""
        middle = (self.own + self.others) / 2
        return np.asarray(values > middle if self.is_higher else values < middle)


def bonds(tables: Mapping[str, pd.DataFrame], level: float) -> tuple[Bond, ...]:
    """Every measured property of every class, the closest bonds of a class first; none where none was measured.

    Args:
        tables: `predictions` and, where properties were measured, `properties`.
        level: confidence of the intervals.
    """
    if "properties" not in tables or not len(tables["properties"]):
        return ()
    known = global_properties()
    rows = tables["properties"].merge(
        tables["predictions"][["sample_id", "label", "predicted"]], on="sample_id", validate="many_to_one"
    )
    found: list[Bond] = []
    for name, group in rows.groupby("property", sort=True):
        measured = group[group["value"].notna() | group["category"].notna()]
        is_changeable = str(name) in known and known[str(name)].normalise is not None
        for label in sorted(measured["label"].unique()):
            is_class = (measured["label"] == label).to_numpy()
            if is_class.all():
                continue
            make = _of_categories if measured["category"].notna().any() else _of_numbers
            column = "category" if make is _of_categories else "value"
            values = measured[column].to_numpy()
            bond = make(str(label), str(name), values[is_class], values[~is_class], level, is_changeable)
            has = bond.has(values) if make is _of_numbers else values == bond.category
            taken = (measured["predicted"] == label).to_numpy()
            found.append(dataclasses.replace(bond, follow_p=_follow_p(has, taken, is_class)))
    q_values = statistics.false_discovery_rates(np.array([bond.follow_p for bond in found]))
    adjusted = [dataclasses.replace(bond, follow_q=float(q)) for bond, q in zip(found, q_values, strict=True)]
    return tuple(sorted(adjusted, key=_closest_first))


def _closest_first(bond: Bond) -> tuple[str, float, float, str]:
    """A tint makes pictures more colourful too; of bonds that are about as close, the one that stands out is meant."""
    return bond.label, -round(bond.separation.mean, 1), -bond.distance, bond.confound


def _follow_p(has: np.ndarray, taken: np.ndarray, is_class: np.ndarray) -> float:
    """p value of predictions not following a property, from the class's samples and from all others.

    Args:
        has: bool (N,), samples with the value that is typical of the class.
        taken: bool (N,), samples that are taken for the class.
        is_class: bool (N,).

    Source: Fisher's exact test, one-sided, on either side; the smaller p value, doubled (Bonferroni).
    """
    p_values = [
        statistics.p_more_often(taken[side & has], taken[side & ~has]) for side in (is_class, ~is_class)
    ]
    known = [p for p in p_values if not math.isnan(p)]
    return min(1.0, len(known) * min(known)) if known else math.nan


def _of_numbers(
    label: str, name: str, own: np.ndarray, others: np.ndarray, level: float, is_changeable: bool
) -> Bond:
    own, others = own.astype(np.float64), others.astype(np.float64)
    apart = statistics.separation(own, others, level)
    is_higher = apart.mean >= 0
    shown = apart if is_higher else Interval(-apart.mean, -apart.high, -apart.low)
    return Bond(
        label=label,
        confound=name,
        n_class=len(own),
        n_others=len(others),
        separation=shown,
        distance=_distance(own, others),
        is_higher=is_higher,
        own=typical(own, float(np.median(others)), is_higher),
        others=float(np.median(others)),
        category="",
        share=math.nan,
        others_share=math.nan,
        is_changeable=is_changeable,
        spread=_spread(own),
        others_spread=_spread(others),
    )


def _of_categories(
    label: str, name: str, own: np.ndarray, others: np.ndarray, level: float, is_changeable: bool
) -> Bond:
    def counts(category: str) -> tuple[int, int, int, int]:
        return int((own == category).sum()), len(own), int((others == category).sum()), len(others)

    def difference(category: str) -> float:
        hits, n, other_hits, other_n = counts(category)
        return hits / n - other_hits / other_n

    # Of two categories that exclude each other both differ alike; the one that the class has more of is named.
    category = max(sorted({*own, *others}), key=difference)
    hits, n, other_hits, other_n = counts(category)
    return Bond(
        label=label,
        confound=name,
        n_class=n,
        n_others=other_n,
        separation=statistics.proportion_difference(hits, n, other_hits, other_n, level),
        distance=0.0,
        is_higher=True,
        own=math.nan,
        others=math.nan,
        category=category,
        share=hits / n,
        others_share=other_hits / other_n,
        is_changeable=is_changeable,
    )


def _spread(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in np.quantile(values, SPREAD))


def _distance(own: np.ndarray, others: np.ndarray) -> float:
    """|difference of means| over the root of the mean variance; infinite where neither group varies."""
    difference = abs(float(own.mean() - others.mean()))
    spread = math.sqrt((float(own.var()) + float(others.var())) / 2)
    return difference / spread if spread > 0 else math.inf if difference > 0 else 0.0


def typical(own: np.ndarray, others: float, is_higher: bool) -> float:
    """The value that makes samples of a class unlike the others.

    The median of those samples of the class that lie beyond the others' median: where only a part of the class has
    a tint, the median of all would be a tint that no sample has.
    """
    beyond = own[own > others] if is_higher else own[own < others]
    return float(np.median(beyond)) if len(beyond) else float(np.median(own))
