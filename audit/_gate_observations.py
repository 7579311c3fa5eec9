"""What a run says to a rule: one observation per class and method, at least one, missing ones with their reason."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from audit.gate_rules import CERTIFICATE, CHANGE, RISK, RISK_AUROC, WORDS, Rule, classes_of
from audit.risk_quality import auroc
from audit.tables import RISKS
from audit.types import AuditRun, ChangeKind, ClassVerdict, Comparison, Status

_OF_CONFOUND = ("lift", "association", "necessity", "sufficiency")
"""Beginnings of the statistics that are of a verdict's confound, and missing where there is none."""
_NO_RISKS = "the run has no risk for each of its samples; estimate them with `rightreasons judge`"
_LEVEL = 0.95
"""Of the interval that comes with the order of risk and is not held against a rule."""


@dataclass(frozen=True)
class Observation:
    """A statistic of one class and method; `reason` says why it is missing, or why it need not be held."""

    label: str
    method: str
    statistic: str
    value: float | str | None
    reason: str = ""
    is_exempt: bool = False


def observations(rule: Rule, run: AuditRun, comparison: Comparison | None) -> Iterator[Observation]:
    """Everything that a rule is about: at least one observation, so that nothing passes by being absent."""
    labels = rule.classes or classes_of(rule, run, comparison)
    methods = rule.methods or tuple(run.manifest["methods"])
    head, _, rest = rule.statistic.partition(".")
    if head == CHANGE:
        assert comparison is not None
        yield from _of_change(rule, rest, labels, comparison)
    elif head == CERTIFICATE:
        yield from _of_certificate(rule, rest, methods, run)
    elif head == RISK:
        yield from (_of_risk(label, run) for label in labels)
    elif head == RISK_AUROC:
        yield _of_risk_order(labels, run)
    elif rule.statistic in ("accuracy", "samples", "quarantined"):
        yield from (_of_class(rule.statistic, label, run) for label in labels)
    else:
        found = {(verdict.label, verdict.method): verdict for verdict in run.verdicts}
        for label in labels:
            for method in methods:
                verdict = found.get((label, method))
                if verdict is None:
                    reason = "the run has no verdict on it; draw the verdicts with `rightreasons judge`"
                    yield Observation(label, method, rule.statistic, None, reason)
                else:
                    yield _of_verdict(rule.statistic, verdict, run)


def _of_class(statistic: str, label: str, run: AuditRun) -> Observation:
    rows = run.tables["predictions"].query("label == @label")
    n, n_quarantined = len(rows), int((run.tables["quarantine"]["label"] == label).sum())
    if statistic == "samples":
        return Observation(label, "", statistic, float(n))
    if statistic == "quarantined":
        share = n_quarantined / (n + n_quarantined) if n + n_quarantined else None
        return Observation(label, "", statistic, share, "" if share is not None else _no_sample(label))
    accuracy = float(rows["correct"].mean()) if n else None
    return Observation(label, "", statistic, accuracy, "" if n else _no_sample(label))


def _of_risk(label: str, run: AuditRun) -> Observation:
    """The mean risk of a class's samples: one minus the accuracy that is to be expected of it."""
    rows = _with_risks((label,), run)
    if rows is None:
        return Observation(label, "", RISK, None, _NO_RISKS)
    value = _or_none(float(rows["risk"].mean()))
    return Observation(label, "", RISK, value, "" if value is not None else _no_sample(label))


def _of_risk_order(labels: Sequence[str], run: AuditRun) -> Observation:
    """How well risk tells wrong predictions from right ones, over the samples of all the classes."""
    rows = _with_risks(labels, run)
    if rows is None:
        return Observation("", "", RISK_AUROC, None, _NO_RISKS)
    is_wrong = ~rows["correct"].to_numpy(dtype=bool)
    value = _or_none(auroc(is_wrong, rows["risk"].to_numpy(), _LEVEL).mean)
    reason = f"{int(is_wrong.sum())} of {len(rows)} predictions are wrong, so there is nothing to tell apart"
    return Observation("", "", RISK_AUROC, value, "" if value is not None else reason)


def _with_risks(labels: Sequence[str], run: AuditRun) -> pd.DataFrame | None:
    """Predictions of some classes with their risks; None where the run has not estimated the risk of each."""
    if RISKS.name not in run.tables:
        return None
    rows = run.tables["predictions"].query("label in @labels")
    risks = run.tables[RISKS.name][["sample_id", "risk"]]
    joined = rows.merge(risks, on="sample_id", how="left", validate="one_to_one")
    return None if joined["risk"].isna().any() else joined


def _of_verdict(statistic: str, verdict: ClassVerdict, run: AuditRun) -> Observation:
    label, method = verdict.label, verdict.method

    def seen(value: float | str | None, reason: str = "", *, is_exempt: bool = False) -> Observation:
        return Observation(label, method, statistic, value, reason, is_exempt)

    if statistic == "coverage":
        n_all = _of_class("samples", label, run).value
        quarantined = int((run.tables["quarantine"]["label"] == label).sum())
        total = float(n_all or 0) + quarantined
        return seen(verdict.n / total) if total else seen(None, _no_sample(label))
    if statistic == "n":
        return seen(float(verdict.n))
    if statistic == "n_needed" and verdict.status is not Status.UNDECIDED:
        return seen(None, "it is decided", is_exempt=verdict.n > 0)
    if verdict.n == 0:
        return seen(None, f"no {label} sample could be measured")
    is_of_confound = statistic in WORDS or statistic.startswith(_OF_CONFOUND)
    accepted = accepted_of(run).get(label, {})
    if is_of_confound and verdict.confound is not None and verdict.confound in accepted:
        value = verdict.confound if statistic == "confound" else getattr(verdict, statistic)
        return seen(
            _or_none(value), f"{verdict.confound} is accepted: {accepted[verdict.confound]}", is_exempt=True
        )
    if statistic == "status":
        others = [v.method for v in run.verdicts if v.label == label and v.is_trusted]
        if not verdict.is_trusted and others:
            reason = f"{method} is not trusted on this model, {others[0]} speaks for {label}"
            return seen(str(verdict.status), reason, is_exempt=True)
        return seen(str(verdict.status))
    if is_of_confound and verdict.confound is None:
        return _without_confound(statistic, verdict, run, seen)
    if statistic == "confound":
        return seen(verdict.confound)
    value = _or_none(getattr(verdict, statistic))
    return seen(value, "" if value is not None else "it was not measured in this run")


def _without_confound(
    statistic: str, verdict: ClassVerdict, run: AuditRun, seen: Callable[..., Observation]
) -> Observation:
    """There is no number of a confound where none was found; that passes only where it was looked for."""
    needs_interventions = statistic.startswith(("necessity", "sufficiency"))
    if needs_interventions and "interventions" not in run.tables:
        return seen(None, "no intervention was run")
    if verdict.status is Status.UNDECIDED:
        return seen(None, f"no confound is named, and {verdict.label} is undecided")
    return seen(None, "no confound was found", is_exempt=True)


def _of_certificate(rule: Rule, name: str, methods: Sequence[str], run: AuditRun) -> Iterator[Observation]:
    table = run.tables.get("certificate")
    for method in methods:
        if table is None:
            reason = "the run has no trust certificate; make one with --set certificate.samples=16"
            yield Observation("", method, rule.statistic, None, reason)
            continue
        rows = table[table["method"] == method]
        if name:
            rows = rows[rows["check"] == name]
        if not len(rows):
            yield Observation("", method, rule.statistic, None, f"{name or method} was not certified")
        elif name:
            value = _or_none(float(rows["value"].iloc[0]))
            yield Observation("", method, rule.statistic, value, str(rows["reason"].iloc[0]))
        else:
            failed = ", ".join(rows.loc[~rows["passed"].astype(bool), "check"])
            share = float(rows["passed"].mean())
            yield Observation("", method, rule.statistic, share, f"it fails {failed}" if failed else "")


def _of_change(rule: Rule, name: str, labels: Sequence[str], comparison: Comparison) -> Iterator[Observation]:
    """The changes of each class that a name stands for; a class without any was not compared."""
    accepted = accepted_of(comparison.candidate)
    for label in labels:
        if not name:
            yield _whole_change(label, comparison)
            continue
        found = [
            change
            for change in comparison.changes
            if change.label == label
            and (change.statistic == name or change.statistic.startswith(f"{name}."))
            and (not rule.methods or not change.method or change.method in rule.methods)
        ]
        if not found:
            yield Observation(label, "", rule.statistic, None, "neither run measured it for this class")
        for change in found:
            statistic = f"{CHANGE}.{change.statistic}"
            confound = _confound_of(change.statistic)
            if confound in accepted.get(label, {}):
                reason = f"{confound} is accepted: {accepted[label][confound]}"
                yield Observation(label, change.method, statistic, str(change.kind), reason, is_exempt=True)
            elif change.kind is ChangeKind.INCOMPARABLE:
                yield Observation(label, change.method, statistic, None, change.reason.rstrip("."))
            else:
                value = str(change.kind) if rule.forbidden else change.difference
                yield Observation(label, change.method, statistic, value, change.reason.rstrip("."))


def _whole_change(label: str, comparison: Comparison) -> Observation:
    """What became of a class; an improvement in one thing does not make up for another that nobody could compare."""
    kind = comparison.kinds.get(label)
    if kind is None:
        return Observation(label, "", CHANGE, None, "neither run has a sample of this class")
    unknown = [
        f"{change.statistic} {change.method}".strip() + f": {change.reason.rstrip('.')}"
        for change in comparison.changes
        if change.label == label and change.kind is ChangeKind.INCOMPARABLE and "." not in change.statistic
    ]
    if unknown and kind is not ChangeKind.WORSENED:
        return Observation(label, "", CHANGE, None, unknown[0])
    return Observation(label, "", CHANGE, str(kind))


def _confound_of(statistic: str) -> str:
    """The confound in the name of a change: mass_on.<confound>, <link>.<confound>.<intervention>."""
    head, _, rest = statistic.partition(".")
    return rest if head == "mass_on" else rest.rpartition(".")[0]


def accepted_of(run: AuditRun) -> Mapping[str, Mapping[str, str]]:
    """Accepted confounds, {class: {confound: reason}}, as the verdicts were drawn with."""
    accepted: Mapping[str, Mapping[str, str]] = run.manifest["config"]["verdicts"].get("accepted", {})
    return accepted


def _no_sample(label: str) -> str:
    return f"no {label} sample is in the run; where that is meant, name the others in `classes`"


def _or_none(value: float | str | None) -> float | str | None:
    return None if isinstance(value, float) and math.isnan(value) else value
