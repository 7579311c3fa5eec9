"""Score tables -> ClassVerdicts: the chain of evidence, one function a link; the first that holds decides.

Attribution mass alone is a screen: it makes a class suspect, never spurious. A link that reads interventions
goes before `_a_confound_explains_it`. All intervals of a table hold together: each has the level 1 - q /
number of classes with samples. q values are adjusted over every class, method and confound that was looked
at.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from audit import statistics
from audit.types import ClassVerdict, Interval, MapStatus, Status, VerdictLimits

_SEVERITY = (Status.SPURIOUS, Status.SUSPECT, Status.UNDECIDED, Status.SOUND)


@dataclass(frozen=True)
class _Finding:
    """What the screen and the counts say about one confound in one class by one method.

    Attributes:
        n_class, n_with: samples of the class, and those that show it.
        n_others, n_others_with: samples of other classes, and those that show it.
        n_measured: samples of the class that show it and whose map has mass; the next four are over these.
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

    def is_harmless(self, limits: VerdictLimits) -> bool:
        """Draws no more mass than delta beyond its area, or is not bound to the class."""
        return self.excess.high < limits.delta or self.association.low <= 0


@dataclass(frozen=True)
class _Evidence:
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
    findings: tuple[_Finding, ...]
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
    def explanations(self) -> tuple[_Finding, ...]:
        """Confounds that draw mass and are bound to the class."""
        return tuple(f for f in self.findings if f.passes_screen(self.limits) and f.is_associated)


@dataclass(frozen=True)
class _Ruling:
    """What a link decides."""

    status: Status
    finding: _Finding | None
    n_needed: float
    reasons: tuple[str, ...]


def judge_classes(
    tables: Mapping[str, pd.DataFrame], classes: Sequence[str], methods: Sequence[str], limits: VerdictLimits
) -> tuple[ClassVerdict, ...]:
    """The verdict on every class by every method.

    Args:
        tables: `predictions`, `attributions` and `confounds` of a run.
        classes: the class names to judge; one without samples is undecided.
        methods: attribution methods as configured.
        limits: the lines that are drawn.

    Returns:
        One verdict per class and method, classes in the given order, then methods.
    """
    level = statistics.shared_level(limits.q, int(tables["predictions"]["label"].nunique()))
    findings = _all_findings(tables, classes, methods, limits, level)
    scores = tables["attributions"].merge(
        tables["predictions"][["sample_id", "label"]], on="sample_id", validate="many_to_one"
    )
    groups = dict(list(scores.groupby(["label", "method"])))
    empty = scores.iloc[:0]
    return tuple(
        _verdict(_evidence(label, method, groups.get((label, method), empty), findings, limits, level))
        for label in classes
        for method in methods
    )


def headline(verdicts: Sequence[ClassVerdict]) -> dict[str, ClassVerdict]:
    """The worst verdict of each class, in order of first occurrence; of equal ones the first method's."""
    worst: dict[str, ClassVerdict] = {}
    for verdict in verdicts:
        known = worst.get(verdict.label)
        if known is None or _SEVERITY.index(verdict.status) < _SEVERITY.index(known.status):
            worst[verdict.label] = verdict
    return worst


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


def percent(share: float) -> str:
    """A share in [0, 1] as whole per cent; 0 % and 100 % only for exactly that."""
    return f"{_hundredths(share)} %"


def points(association: float) -> str:
    """A difference of shares in [-1, 1] in signed whole percentage points; 0, 100 only for exactly that."""
    sign = "-" if association < 0 else "+"
    amount = _hundredths(abs(association))
    before, _, number = amount.rpartition(" ")
    return f"{before} {sign}{number}".strip()


def _hundredths(share: float) -> str:
    rounded = round(100 * share)
    if rounded == 0 and share > 0:
        return "under 1"
    if rounded == 100 and share < 1:
        return "over 99"
    return str(rounded)


def _all_findings(
    tables: Mapping[str, pd.DataFrame],
    classes: Sequence[str],
    methods: Sequence[str],
    limits: VerdictLimits,
    level: float,
) -> tuple[_Finding, ...]:
    """Every confound that occurs in a class, by method, with q values over all; the largest excess first."""
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
            _Finding(
                label=label,
                method=method,
                confound=confound,
                n_with=counts[0],
                n_class=counts[1],
                n_others_with=counts[2],
                n_others=counts[3],
                n_measured=len(mass),
                mass=float(mass.mean()),
                area=float(area.mean()),
                excess=excess,
                p_value=float(p_value),
                q_value=float(q_value),
                n_to_bound=_n_to_bound(mass - area, excess, limits, level),
                association=statistics.proportion_difference(*counts, level),
            )
        )
    return tuple(sorted(findings, key=lambda finding: (-finding.excess.mean, finding.confound)))


def _n_to_bound(difference: np.ndarray, excess: Interval, limits: VerdictLimits, level: float) -> float:
    """Samples with the confound after which its excess is below delta for sure, or above 0 for sure."""
    margin = limits.delta - excess.mean if excess.mean < limits.delta else excess.mean
    return statistics.n_for_margin(difference, margin, level)


def _evidence(
    label: str,
    method: str,
    scores: pd.DataFrame,
    findings: tuple[_Finding, ...],
    limits: VerdictLimits,
    level: float,
) -> _Evidence:
    """What is known about one class by one method; `scores` are its rows."""
    measured = scores[scores["mass_inside"].notna()]
    mass, area = measured["mass_inside"].to_numpy(), measured["area_inside"].to_numpy()
    excess = statistics.paired_difference(mass, area, level)
    statuses = scores["status"].value_counts()
    good = (MapStatus.OK, MapStatus.CONVERGED)
    return _Evidence(
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
        limits=limits,
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _too_few_samples(evidence: _Evidence) -> _Ruling | None:
    """Nothing is said about a class that was hardly looked at."""
    needed = evidence.limits.minimum_samples
    if evidence.n_maps >= needed:
        return None
    reason = f"Only {evidence.n_maps} {evidence.label} photos could be measured; a verdict asks for {needed}."
    return _Ruling(Status.UNDECIDED, None, needed, (reason,))


def _a_confound_explains_it(evidence: _Evidence) -> _Ruling | None:
    """A confound that nobody accepted draws mass and is bound to the class."""
    open_ones = [finding for finding in evidence.explanations if finding.confound not in evidence.accepted]
    if not open_ones:
        return None
    reasons = [text for finding in open_ones for text in (_screen_text(finding), _counts_text(finding))]
    reasons.append(
        "No intervention was run, so this shows where the model looks, not yet what it decides by."
    )
    return _Ruling(Status.SUSPECT, open_ones[0], math.nan, tuple(reasons))


def _it_looks_elsewhere(evidence: _Evidence) -> _Ruling | None:
    """The object gets no more mass than its area, and nothing named explains it."""
    if not evidence.is_object_measured or not evidence.excess.high <= 0 or evidence.explanations:
        return None
    reason = "The mass lies outside of the object, and no named thing explains it."
    return _Ruling(Status.SUSPECT, None, math.nan, (reason, _object_text(evidence)))


def _it_looks_at_the_object(evidence: _Evidence) -> _Ruling | None:
    """The object gets more mass than its area, and every confound is accepted or harmless."""
    if not evidence.is_object_measured or not evidence.excess.low > 0 or _blocking(evidence):
        return None
    return _Ruling(Status.SOUND, None, math.nan, (_object_text(evidence),))


def _it_stays_open(evidence: _Evidence) -> _Ruling:
    """What is missing for a verdict, and how many samples would bring it."""
    blocking = _blocking(evidence)
    reasons, needed = [], [_n_for_confound(finding, evidence.limits) for finding in blocking]
    if not evidence.is_object_measured:
        needed.append(math.nan)  # what is missing is annotation, not photos
        reasons.append(
            f"{evidence.n_object or 'None'} of {evidence.n_maps} {evidence.label} photos with a map have a "
            "foreground that could be measured, so too little is known about the object itself."
        )
    elif not evidence.excess.low > 0:
        needed.append(evidence.n_for_excess if evidence.excess.high > 0 else math.nan)
        reasons.append(f"The object does not clearly get more mass than its area: {_object_text(evidence)}")
    else:
        reasons.append(_object_text(evidence))
    for finding in blocking:
        reasons += [
            f"Whether {finding.confound} matters stays open: {_screen_text(finding)}",
            _counts_text(finding),
        ]
    n_needed = max(needed) if not any(map(math.isnan, needed)) else math.nan
    if not math.isnan(n_needed):
        reasons.append(f"About {n_needed:.0f} {evidence.label} photos would decide.")
    return _Ruling(Status.UNDECIDED, blocking[0] if blocking else None, n_needed, tuple(reasons))


_LINKS: tuple[Callable[[_Evidence], _Ruling | None], ...] = (
    _too_few_samples,
    _a_confound_explains_it,
    _it_looks_elsewhere,
    _it_looks_at_the_object,
)


def _verdict(evidence: _Evidence) -> ClassVerdict:
    """The ruling of the first link that holds, with everything else that is worth knowing."""
    rulings = (link(evidence) for link in _LINKS)
    ruling = next((found for found in rulings if found is not None), None) or _it_stays_open(evidence)
    accepted = [finding for finding in evidence.explanations if finding.confound in evidence.accepted]
    named = ruling.finding or (accepted[0] if accepted else None)
    return ClassVerdict(
        label=evidence.label,
        method=evidence.method,
        status=ruling.status,
        confound=named.confound if named else None,
        n=evidence.n,
        mass_inside=evidence.mass.mean,
        mass_inside_low=evidence.mass.low,
        mass_inside_high=evidence.mass.high,
        lift=named.lift if named else math.nan,
        association=named.association.mean if named else math.nan,
        necessity=math.nan,
        necessity_low=math.nan,
        necessity_high=math.nan,
        sufficiency=math.nan,
        sufficiency_low=math.nan,
        sufficiency_high=math.nan,
        q_value=named.q_value if named else math.nan,
        n_needed=ruling.n_needed,
        reasons=(*ruling.reasons, *_remarks(evidence, ruling)),
    )


def _blocking(evidence: _Evidence) -> list[_Finding]:
    """Confounds that stand in the way of calling the class sound."""
    return [
        finding
        for finding in evidence.findings
        if finding.confound not in evidence.accepted and not finding.is_harmless(evidence.limits)
    ]


def _n_for_confound(finding: _Finding, limits: VerdictLimits) -> float:
    """Samples of the class that would decide about a confound, at its present frequency."""
    is_certain = finding.excess.mean >= limits.delta and finding.q_value <= limits.q
    if is_certain or math.isnan(finding.association.mean):
        return math.nan  # more samples of the class would not move it over a line
    if math.isnan(finding.n_to_bound):
        return math.nan
    return float(math.ceil(finding.n_to_bound * finding.n_class / finding.n_with))


def _remarks(evidence: _Evidence, ruling: _Ruling) -> list[str]:
    """What did not decide: the object beside a confound, accepted and half-fitting ones, doubtful maps."""
    remarks = []
    if ruling.finding is not None and ruling.status is Status.SUSPECT and evidence.n_object:
        remarks.append(_object_text(evidence))
    for finding in evidence.findings:
        remarks += _finding_remarks(finding, evidence)
    for status, n in evidence.poor_maps.items():
        remarks.append(f"{n} of the maps of {evidence.label} photos: {status}.")
    return remarks


def _finding_remarks(finding: _Finding, evidence: _Evidence) -> list[str]:
    """What to say about a confound that did not decide the status."""
    draws_mass = finding.passes_screen(evidence.limits)
    if finding.confound in evidence.accepted:
        accepted = f"{finding.confound} is accepted: {evidence.accepted[finding.confound]}"
        return [accepted, _screen_text(finding), _counts_text(finding)]
    if draws_mass and not finding.is_associated:
        bound = "is not bound to the class" if finding.n_others else "cannot be compared with other classes"
        return [f"{finding.confound} draws mass but {bound}: {_screen_text(finding)}", _counts_text(finding)]
    if finding.is_associated and finding.is_harmless(evidence.limits):
        little = f"{finding.confound} is bound to the class but draws hardly more mass than its area"
        return [f"{little}: {_screen_text(finding)}", _counts_text(finding)]
    return []


def _screen_text(finding: _Finding) -> str:
    return (
        f"{percent(finding.mass)} of the attribution mass lies on {finding.confound}, which covers "
        f"{percent(finding.area)} of the picture (lift {finding.lift:.1f}, n = {finding.n_measured})."
    )


def _counts_text(finding: _Finding) -> str:
    return (
        f"{finding.confound} is in {finding.n_with} of {finding.n_class} {finding.label} photos and in "
        f"{finding.n_others_with} of {finding.n_others} others."
    )


def _object_text(evidence: _Evidence) -> str:
    edges = "" if math.isnan(evidence.edges) else f"; an edge map would put {percent(evidence.edges)} there"
    return (
        f"{percent(evidence.mass.mean)} of the attribution mass lies on the object, which covers "
        f"{percent(evidence.area)} of the picture (lift {evidence.mass.mean / evidence.area:.1f}, "
        f"n = {evidence.n_object}){edges}."
    )
