"""What stands in the way of calling a class sound: which confounds, why, and how many samples would tell."""

import math

from audit import statistics
from audit._evidence import Evidence
from audit._findings import Finding
from audit._verdict_texts import counts_text, effect_text, interval_text, screen_text
from audit.effects import Effect


def blocking(evidence: Evidence) -> list[str]:
    """Confounds that stand in the way of calling the class sound."""
    return [confound for confound in evidence.confounds if evidence.is_open(confound)]


def open_texts(confound: str, evidence: Evidence) -> list[str]:
    """Why nothing is decided about a confound."""
    finding, tested = evidence.finding(confound), evidence.tested(confound)
    counts = [counts_text(finding)] if finding else []
    if not tested:
        assert finding is not None  # only what was tested or screened stands in the way
        return [f"Whether {confound} matters stays open: {screen_text(finding)}", *counts]
    return [
        f"Whether {confound} matters stays open: {effect_text(effect)[:-1]}; {interval_text(effect)}."
        for effect in evidence.unsettled(confound)
    ] + counts


def n_for_confound(confound: str, evidence: Evidence) -> float:
    """Samples of the class that would decide about a confound, at its present frequency."""
    finding, unsettled = evidence.finding(confound), evidence.unsettled(confound)
    if unsettled:
        return max((_n_for_effect(effect, finding) for effect in unsettled), key=_nan_last)
    assert finding is not None  # only what was tested or screened stands in the way
    draws_mass = finding.excess.mean >= evidence.limits.delta
    is_associated = finding.is_associated(evidence.limits)
    is_settled = draws_mass and (finding.q_value <= evidence.limits.q or not is_associated)
    if is_settled or math.isnan(finding.association.mean) or math.isnan(finding.n_to_bound):
        return math.nan  # more of its mass would not decide: the lift is too low, or its bond is open
    return float(math.ceil(finding.n_to_bound * finding.n_class / finding.n_with))


def _n_for_effect(effect: Effect, finding: Finding | None) -> float:
    """Samples of the class that would decide an effect: not all have room for a control, or show the confound."""
    if math.isnan(effect.n_to_bound):
        return math.nan
    n = effect.n_to_bound * effect.n_tried / effect.n
    if finding is not None and effect.subjects == (effect.label,):
        n *= finding.n_class / finding.n_with
    return float(math.ceil(n)) if n <= statistics.MOST_SAMPLES else math.nan


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value
