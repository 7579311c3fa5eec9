"""The screen: what maps, counts and nulls say about each confound of each class."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from audit import statistics
from audit.sampling import Estimates
from audit.types import Interval, VerdictLimits


@dataclass(frozen=True)
class Finding:
    """What the screen and the counts say about one confound in one class by one method.

    Attributes:
        n_class, n_with: samples of the class that were looked through for it, and those that show it.
        n_others, n_others_with: the same of other classes.
        n_measured: samples of the class that show it and whose map has mass, possibly none; the next four are
            over these.
        mass, area: mean share of the mass and of the picture on it.
        edges: mean share of an edge map on it; NaN where unknown.
        untrained, n_untrained: mean share of the mass of the model with random weights, over those samples.
        untrained_excess: mean of mass share minus the untrained model's, paired.
        excess: mean of mass share minus the larger of area share and edge share, paired: what neither the thing's
            size nor its edges explain.
        p_value, q_value: of the excess being above 0.
        n_to_bound: samples of the class that show it after which the excess is told from delta, or from 0.
        association: P(confound | class) - P(confound | other classes).
    """

    label: str
    method: str
    confound: str
    n_class: int
    n_with: int
    n_others: int
    n_others_with: int
    n_measured: int
    mass: float
    area: float
    edges: float
    untrained: float
    n_untrained: int
    untrained_excess: Interval
    excess: Interval
    p_value: float
    q_value: float
    n_to_bound: float
    association: Interval

    @property
    def lift(self) -> float:
        """Mean mass over mean area: the mean lift of the samples, each weighted by its area."""
        return self.mass / self.area

    def is_associated(self, limits: VerdictLimits) -> bool:
        """Whether it is bound to the class, with enough samples on either side to say so."""
        is_known = min(self.n_class, self.n_others) >= limits.minimum_samples
        return is_known and self.association.low > 0

    def passes_screen(self, limits: VerdictLimits) -> bool:
        """Whether it draws more mass than its area, its edges and an untrained model explain."""
        has_null = self.n_untrained >= limits.minimum_samples
        return (
            self.lift >= limits.minimum_lift
            and self.excess.mean >= limits.minimum_effect
            and self.q_value <= limits.q
            and (self.untrained_excess.low > 0 or not has_null)
        )

    def is_unbound(self, limits: VerdictLimits) -> bool:
        """Whether it is known not to be bound to the class; an interval that is merely wide does not tell.

        A class that shows it no more often than others may have few others: the interval counts, not its middle,
        and it must end below `unbound`.
        """
        is_known = min(self.n_class, self.n_others) >= limits.minimum_samples
        return is_known and self.association.high <= limits.unbound

    def is_rare(self, limits: VerdictLimits) -> bool:
        """Whether so few samples show it that no verdict on the class can rest on them, and nothing accuses it.

        Few of many: nine of ten are most of the class, however few.
        """
        most = limits.unbound * self.n_class
        is_seldom = self.n_with < limits.minimum_samples and self.n_with <= most
        return is_seldom and not self.is_associated(limits) and not self.passes_screen(limits)

    def is_harmless(self, limits: VerdictLimits) -> bool:
        """Draws no more mass than delta beyond its area and edges, is not bound to the class, or is rare in it."""
        return self.excess.high < limits.delta or self.is_unbound(limits) or self.is_rare(limits)


def presence(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Which samples show which confound: bool, a row per row of `predictions`, a column per confound.

    A sample without a row for a confound does not show it. Presence is a fact of the picture, the same for
    every method.
    """
    confounds, sample_ids = tables["confounds"], tables["predictions"]["sample_id"]
    shown = confounds[confounds["present"]]
    return pd.DataFrame(
        {
            name: sample_ids.isin(shown.loc[shown["confound"] == name, "sample_id"])
            for name in sorted(confounds["confound"].unique())
        },
        index=sample_ids.index,
    )


def looked_at(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Which samples were looked through for which confound, present or not; as `presence`.

    What was discovered was looked for in some samples of each class only, and frequencies are of these.
    """
    return presence({**tables, "confounds": tables["confounds"].assign(present=True)})


def all_findings(
    tables: Mapping[str, pd.DataFrame],
    classes: Sequence[str],
    methods: Sequence[str],
    limits: VerdictLimits,
    level: float,
    *,
    was_sampled: bool = False,
) -> tuple[Finding, ...]:
    """Every confound that occurs in a class, by method, with q values over all; the largest excess first.

    One whose mass was never measured, since no map of the samples that show it has mass, comes last.
    """
    labels = tables["predictions"]["label"]
    n_with, n_looked_at = (table.groupby(labels).sum() for table in (presence(tables), looked_at(tables)))
    confounds = tables["confounds"]
    shown = confounds[
        confounds["present"] & confounds["mass_inside"].notna() & confounds["method"].isin(methods)
    ]
    shown = shown.merge(tables["predictions"][["sample_id", "label"]], on="sample_id", validate="many_to_one")
    groups = shown[shown["label"].isin(classes)].groupby(["label", "method", "confound"])
    keyed = [(key, _shares(group)) for key, group in groups]
    known = {key for key, _ in keyed}
    keyed += [
        ((label, method, confound), _shares(shown.iloc[:0]))
        for label in classes
        for method in methods
        for confound in n_with.columns
        if label in n_with.index
        and n_with.loc[label, confound] > 0
        and (label, method, confound) not in known
    ]
    waiting = _waiting(tables) if was_sampled else {}
    means = [Estimates(level, was_sampled, waiting.get((key[0], key[2]), 0)) for key, _ in keyed]
    p_values = np.array(
        [one.p_greater(shares.mass, shares.null) for one, (_, shares) in zip(means, keyed, strict=True)]
    )
    q_values = statistics.false_discovery_rates(p_values)
    findings = []
    for ((label, method, confound), shares), estimates, p_value, q_value in zip(
        keyed, means, p_values, q_values, strict=True
    ):
        counts = (
            int(n_with.loc[label, confound]),
            int(n_looked_at.loc[label, confound]),
            int(n_with[confound].sum() - n_with.loc[label, confound]),
            int(n_looked_at[confound].sum() - n_looked_at.loc[label, confound]),
        )
        excess = estimates.difference(shares.mass, shares.null)
        findings.append(
            Finding(
                label=label,
                method=method,
                confound=confound,
                n_with=counts[0],
                n_class=counts[1],
                n_others_with=counts[2],
                n_others=counts[3],
                n_measured=len(shares.mass),
                mass=mean(shares.mass),
                area=mean(shares.area),
                edges=known_mean(shares.edges),
                untrained=known_mean(shares.untrained),
                n_untrained=int((~np.isnan(shares.untrained)).sum()),
                # Which samples the untrained model is asked about does not depend on when one stops.
                untrained_excess=Estimates(level, was_sampled).difference(shares.mass, shares.untrained),
                excess=excess,
                p_value=float(p_value),
                q_value=float(q_value),
                n_to_bound=estimates.n_to_tell(
                    shares.mass, shares.null, limits.delta if excess.mean < limits.delta else 0.0
                ),
                association=statistics.proportion_difference(*counts, level),
            )
        )
    return tuple(sorted(findings, key=_order))


def _waiting(tables: Mapping[str, pd.DataFrame]) -> dict[tuple[str, str], int]:
    """By class and confound, samples that show the confound and were left out when maps were made."""
    confounds = tables["confounds"]
    has_map = (
        confounds["sample_id"].isin(tables["attributions"]["sample_id"]) | confounds["mass_inside"].notna()
    )
    left = confounds.loc[confounds["present"] & ~has_map, ["sample_id", "confound"]].drop_duplicates()
    named = left.merge(tables["predictions"][["sample_id", "label"]], on="sample_id", validate="many_to_one")
    return {(str(key[0]), str(key[1])): len(rows) for key, rows in named.groupby(["label", "confound"])}


@dataclass(frozen=True)
class _Shares:
    """Shares of one confound, class and method, float (N,) each; edges and untrained NaN where unknown."""

    mass: np.ndarray
    area: np.ndarray
    edges: np.ndarray
    untrained: np.ndarray

    @property
    def null(self) -> np.ndarray:
        """What the mass would be if the model had nothing to do with it: by size or by edges, the larger."""
        return np.asarray(np.fmax(self.area, self.edges))


def _shares(rows: pd.DataFrame) -> _Shares:
    names = ("mass_inside", "area_inside", "edge_mass_inside", "untrained_mass_inside")
    return _Shares(*(rows[name].to_numpy() for name in names))


def _order(finding: Finding) -> tuple[bool, float, str]:
    is_measured = finding.n_measured > 0
    return (not is_measured, -finding.excess.mean if is_measured else 0.0, finding.confound)


def known_mean(values: np.ndarray) -> float:
    return mean(values[~np.isnan(values)])


def mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan
