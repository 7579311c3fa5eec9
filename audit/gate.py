"""Rules on a finished run -> outcomes, one per rule, class and method. What was not measured fails.

A rule names a statistic, a line and, if not all, the classes and methods it is about. Statistics:

    status, confound                        of the verdict, by method: `forbid`
    every other column of a verdict         mass_inside, mass_inside_low, necessity, n, …: `min`, `max`
    accuracy, samples, quarantined          of a class: share right, number audited, share in quarantine
    risk                                    of a class: mean estimated chance that a prediction is wrong
    risk_auroc                              of the run: chance that a wrong prediction has the higher risk
    coverage                                by method: measured samples over all samples of the class
    certificate, certificate.<check>        by method: share of the checks passed, the number of one check
    change                                  what became of a class against the reference: `forbid`
    change.<statistic>                      its difference (`min`, `max`), or what became of it (`forbid`); the
                                            beginning of a name stands for all statistics that begin with it
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from audit._gate_observations import Observation, accepted_of, observations
from audit.errors import ConfigError
from audit.gate_rules import Level as Level
from audit.gate_rules import Rule as Rule
from audit.gate_rules import Waiver as Waiver
from audit.gate_rules import require_meaning
from audit.types import AuditRun, ChangeKind, Comparison


class Outcome(StrEnum):
    """How a rule came out for one class and method."""

    FAILED = "failed"
    WARNED = "warned"
    WAIVED = "waived"
    PASSED = "passed"


@dataclass(frozen=True)
class GateResult:
    """How one rule came out for one class and method.

    Attributes:
        number: of the rule in its file, from 1.
        rule: the rule.
        label: class name; empty for what is not of a class.
        method: attribution method; empty for what is not of a method.
        statistic: the one that was held against the rule, in full.
        observed: the number or word; None where it was not measured.
        outcome: how it came out.
        reason: one sentence or none.
    """

    number: int
    rule: Rule
    label: str
    method: str
    statistic: str
    observed: float | str | None
    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class GateReport:
    """All results, and what else must stay visible: accepted confounds, waivers that ran out."""

    results: tuple[GateResult, ...]
    notes: tuple[str, ...]

    @property
    def has_passed(self) -> bool:
        """Whether no rule failed."""
        return all(result.outcome is not Outcome.FAILED for result in self.results)


def check(rules: Sequence[Rule], run: AuditRun, comparison: Comparison | None, today: str) -> GateReport:
    """Holds a run against rules.

    Args:
        rules: at least one.
        run: the finished run.
        comparison: of the run against its reference; needed by rules on `change`.
        today: as YYYY-MM-DD; a waiver holds until its last day is over.

    Raises:
        ConfigError: no rule, or one that cannot be meant: an unknown statistic, class, method or word.
    """
    if not rules:
        raise ConfigError(
            "expected at least one [[rule]], found none: a gate without rules would let all pass"
        )
    results: list[GateResult] = []
    for number, rule in enumerate(rules, start=1):
        require_meaning(number, rule, run, comparison)
        observed = observations(rule, run, comparison)
        results += [_result(number, rule, observation, today) for observation in observed]
    return GateReport(tuple(results), (*_accepted_notes(run), *_waiver_notes(rules, today)))


def _result(number: int, rule: Rule, observation: Observation, today: str) -> GateResult:
    outcome, reason = Outcome.PASSED, observation.reason
    if not observation.is_exempt and not _holds(rule, observation.value):
        outcome = Outcome.FAILED if rule.level is Level.ERROR else Outcome.WARNED
        if observation.value is None:
            reason = f"not measured: {observation.reason}"
        if rule.waiver is not None:
            is_valid = today <= rule.waiver.until
            outcome = Outcome.WAIVED if is_valid else outcome
            waived = (
                f"waived until {rule.waiver.until}"
                if is_valid
                else f"its waiver ran out on {rule.waiver.until}"
            )
            reason = "; ".join(filter(None, (reason, f"{waived}: {rule.waiver.reason}")))
    return GateResult(
        number=number,
        rule=rule,
        label=observation.label,
        method=observation.method,
        statistic=observation.statistic,
        observed=observation.value,
        outcome=outcome,
        reason=reason,
    )


def _holds(rule: Rule, value: float | str | None) -> bool:
    """Whether a value is on the right side; what is missing is not."""
    if value is None:
        return False
    if isinstance(value, str):
        # A class of which nothing can be said has not been shown to be as it should.
        return value != ChangeKind.INCOMPARABLE and value not in rule.forbidden
    if rule.minimum is not None:
        return value >= rule.minimum
    return rule.maximum is not None and value <= rule.maximum


def _accepted_notes(run: AuditRun) -> Iterator[str]:
    for label, confounds in accepted_of(run).items():
        for confound, reason in confounds.items():
            yield f"{confound} is accepted for {label}: {reason}"


def _waiver_notes(rules: Sequence[Rule], today: str) -> Iterator[str]:
    for number, rule in enumerate(rules, start=1):
        if rule.waiver is not None and today > rule.waiver.until:
            yield f"The waiver of rule {number} ({rule.text}) ran out on {rule.waiver.until}: {rule.waiver.reason}"
