"""What score and intervention tables say of one class by one method, gathered for the links of a verdict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from audit import statistics
from audit.effects import Effect
from audit.interventions import Link, Scope
from audit.types import Interval, MapStatus, VerdictLimits


@dataclass(frozen=True)
class Finding:
    """What the screen and the counts say about one confound in one class by one method.

    Attributes:
        n_class, n_with: samples of the class, and those that show it.
        n_others, n_others_with: samples of other classes, and those that show it.
        n_measured: samples of the class that show it and whose map has mass, possibly none; the next four are
            over these.
        mass, area: mean share of the mass and of the picture on it.
        excess: mean of mass share minus area share, paired.
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
    excess: Interval
    p_value: float
    q_value: float
    n_to_bound: float
    association: Interval

    @property
    def lift(self) -> float:
        """Mean mass over mean area: the mean lift of the samples, each weighted by its area."""
        return self.mass / self.area

    @property
    def is_associated(self) -> bool:
        return self.association.low > 0

    def passes_screen(self, limits: VerdictLimits) -> bool:
        return (
            self.lift >= limits.minimum_lift
            and self.excess.mean >= limits.minimum_effect
            and self.q_value <= limits.q
        )

    def is_unbound(self, limits: VerdictLimits) -> bool:
        """Whether it is known not to be bound to the class; an interval that is merely wide does not tell.

        Either the class does not show it more often at all, or not above the association that suggestions aim at.
        """
        if self.is_associated:
            return False
        return self.association.mean <= 0 or self.association.high <= limits.association_targets[0]

    def is_harmless(self, limits: VerdictLimits) -> bool:
        """Draws no more mass than delta beyond its area, or is not bound to the class."""
        return self.excess.high < limits.delta or self.is_unbound(limits)


def is_no_effect(effect: Effect, limits: VerdictLimits) -> bool:
    """Whether an effect lies within +-delta for sure, and by every fill on average: fills must not cancel."""
    delta = limits.delta
    is_within = effect.size.high < delta and effect.size.low > -delta
    return is_within and all(abs(mean) < delta for _, mean in effect.by_fill)


@dataclass(frozen=True)
class Evidence:
    """All that is known about one class by one method.

    Attributes:
        n_maps: samples whose map has mass.
        n_object: those of them where mass inside could be measured; the next four are over these.
        mass: mean mass inside the foreground.
        area, edges: mean share of the picture, and of an edge map, on the foreground.
        excess: mean of mass inside minus area inside, paired.
        n_for_excess: samples after which the excess is told from 0.
        poor_maps: number of maps by a status that casts doubt on them.
        findings: confounds that occur in the class, the largest excess first.
        effects: what interventions did to the probability of the class, the largest first.
        was_intervened: whether the run has interventions at all.
    """

    label: str
    method: str
    n_maps: int
    n_object: int
    mass: Interval
    area: float
    edges: float
    excess: Interval
    n_for_excess: float
    poor_maps: Mapping[str, int]
    findings: tuple[Finding, ...]
    effects: tuple[Effect, ...]
    was_intervened: bool
    limits: VerdictLimits

    @property
    def n(self) -> int:
        """Samples behind mass inside; without annotations, behind the confounds' shares."""
        return self.n_object or self.n_maps

    @property
    def is_object_measured(self) -> bool:
        """Whether enough samples tell of the object."""
        return self.n_object >= self.limits.minimum_samples

    @property
    def accepted(self) -> Mapping[str, str]:
        """Reasons by accepted confound."""
        return self.limits.accepted.get(self.label, {})

    @property
    def explanations(self) -> tuple[Finding, ...]:
        """Confounds that draw mass and are bound to the class."""
        return tuple(f for f in self.findings if f.passes_screen(self.limits) and f.is_associated)

    @property
    def confounds(self) -> tuple[str, ...]:
        """Everything that was looked at, the largest excess first, then the largest effects."""
        return tuple(
            dict.fromkeys([*(f.confound for f in self.findings), *(e.confound for e in self.effects)])
        )

    @property
    def proofs(self) -> tuple[Effect, ...]:
        """Effects that prove a confound, accepted or not; things before the background, which holds them."""
        proven = (effect for effect in self.effects if effect.is_proof(self.limits))
        return tuple(sorted(proven, key=lambda effect: effect.scope is Scope.BACKGROUND))

    def finding(self, confound: str) -> Finding | None:
        """What the screen says of a confound; None for what has no region."""
        return next((found for found in self.findings if found.confound == confound), None)

    def tested(self, confound: str) -> tuple[Effect, ...]:
        """The effects of a confound that verdicts may rest on and that were measured on enough samples."""
        return tuple(
            effect
            for effect in self.effects
            if effect.confound == confound and effect.carries and effect.is_measured(self.limits)
        )

    def unsettled(self, confound: str) -> tuple[Effect, ...]:
        """Those of the tested effects of a confound that may be more than none, in either direction."""
        return tuple(effect for effect in self.tested(confound) if not is_no_effect(effect, self.limits))

    def effect(self, confound: str | None, link: Link) -> Interval:
        """The largest effect of a confound in a link; not measured where there is none."""
        sizes = (e.size for e in self.effects if e.confound == confound and e.link is link)
        return next(sizes, statistics.NOT_MEASURED)

    def is_open(self, confound: str) -> bool:
        """Whether a confound stands in the way of calling the class sound.

        Interventions, where they were measured, outweigh the screen in both directions.
        """
        if confound in self.accepted:
            return False
        if self.tested(confound):
            return bool(self.unsettled(confound))
        found = self.finding(confound)
        return found is not None and not found.is_harmless(self.limits)


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


def all_findings(
    tables: Mapping[str, pd.DataFrame],
    classes: Sequence[str],
    methods: Sequence[str],
    limits: VerdictLimits,
    level: float,
) -> tuple[Finding, ...]:
    """Every confound that occurs in a class, by method, with q values over all; the largest excess first.

    One whose mass was never measured, since no map of the samples that show it has mass, comes last.
    """
    labels = tables["predictions"]["label"]
    n_by_label = labels.value_counts()
    n_with = presence(tables).groupby(labels).sum()
    confounds = tables["confounds"]
    shown = confounds[
        confounds["present"] & confounds["mass_inside"].notna() & confounds["method"].isin(methods)
    ]
    shown = shown.merge(tables["predictions"][["sample_id", "label"]], on="sample_id", validate="many_to_one")
    groups = shown[shown["label"].isin(classes)].groupby(["label", "method", "confound"])
    keyed = [(key, group["mass_inside"].to_numpy(), group["area_inside"].to_numpy()) for key, group in groups]
    known = {key for key, _, _ in keyed}
    keyed += [
        ((label, method, confound), np.array([]), np.array([]))
        for label in classes
        for method in methods
        for confound in n_with.columns
        if label in n_with.index
        and n_with.loc[label, confound] > 0
        and (label, method, confound) not in known
    ]
    p_values = np.array([statistics.p_greater(mass, area) for _, mass, area in keyed])
    q_values = statistics.false_discovery_rates(p_values)
    findings = []
    for ((label, method, confound), mass, area), p_value, q_value in zip(
        keyed, p_values, q_values, strict=True
    ):
        counts = (
            int(n_with.loc[label, confound]),
            int(n_by_label[label]),
            int(n_with[confound].sum() - n_with.loc[label, confound]),
            int(n_by_label.sum() - n_by_label[label]),
        )
        excess = statistics.paired_difference(mass, area, level)
        findings.append(
            Finding(
                label=label,
                method=method,
                confound=confound,
                n_with=counts[0],
                n_class=counts[1],
                n_others_with=counts[2],
                n_others=counts[3],
                n_measured=len(mass),
                mass=_mean(mass),
                area=_mean(area),
                excess=excess,
                p_value=float(p_value),
                q_value=float(q_value),
                n_to_bound=_n_to_bound(mass - area, excess, limits, level),
                association=statistics.proportion_difference(*counts, level),
            )
        )
    return tuple(sorted(findings, key=_order))


def _order(finding: Finding) -> tuple[bool, float, str]:
    is_measured = finding.n_measured > 0
    return (not is_measured, -finding.excess.mean if is_measured else 0.0, finding.confound)


def _n_to_bound(difference: np.ndarray, excess: Interval, limits: VerdictLimits, level: float) -> float:
    """Samples with the confound after which its excess is below delta for sure, or above 0 for sure."""
    margin = limits.delta - excess.mean if excess.mean < limits.delta else excess.mean
    return statistics.n_for_margin(difference, margin, level)


def evidence(
    label: str,
    method: str,
    scores: pd.DataFrame,
    findings: tuple[Finding, ...],
    effects: tuple[Effect, ...] | None,
    limits: VerdictLimits,
    level: float,
) -> Evidence:
    """What is known about one class by one method; `scores` are its rows, effects None where none was looked for."""
    measured = scores[scores["mass_inside"].notna()]
    mass, area = measured["mass_inside"].to_numpy(), measured["area_inside"].to_numpy()
    excess = statistics.paired_difference(mass, area, level)
    statuses = scores["status"].value_counts()
    good = (MapStatus.OK, MapStatus.CONVERGED)
    return Evidence(
        label=label,
        method=method,
        n_maps=int(scores["map_entropy"].notna().sum()),
        n_object=len(measured),
        mass=statistics.mean_share(mass, level),
        area=_mean(area),
        edges=_mean(measured["edge_mass_inside"].dropna().to_numpy()),
        excess=excess,
        n_for_excess=statistics.n_for_margin(mass - area, abs(excess.mean), level),
        poor_maps={str(status): int(n) for status, n in sorted(statuses.items()) if status not in good},
        findings=tuple(f for f in findings if f.label == label and f.method == method),
        effects=tuple(effect for effect in effects or () if effect.label == label),
        was_intervened=effects is not None,
        limits=limits,
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan
