"""Records -> Markdown: the table of the benchmark, and how its cut-offs were chosen."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from audit.statistics import proportion_interval
from audit.types import Status, VerdictLimits
from benchmarks._planted_cells import ABSENT, FROZEN, IGNORED, MASKS, NO_MASKS, PATHS, STRENGTHS
from benchmarks._planted_records import CLEAN, RELIANT, Record, Stored, records, stored
from benchmarks._planted_rules import area_under_curve
from benchmarks._planted_world import CUES
from pipelines.config import VerdictsConfig

LEVEL = 0.95
"""Of every interval."""
MOST_FALSE = 0.05
"""Share of clean classes that a rule may flag on the calibration seeds."""
GRID = {
    "q": (0.01, 0.1),
    "minimum_change": (0.05, 0.15, 0.2),
    "delta": (0.03, 0.075, 0.1),
    "minimum_effect": (0.02, 0.1),
    "minimum_lift": (1.2, 2.0),
}
"""Limits that are tried beside the defaults, one at a time."""
OURS = "this program"


def report(out: Path, seeds: Sequence[int]) -> str:
    """The whole report: calibration on the even seeds, everything else on the odd ones."""
    limits = VerdictsConfig().limits()
    calibration, reported = [s for s in seeds if s % 2 == 0], [s for s in seeds if s % 2 == 1]
    chosen_on, shown_on = stored(out, calibration), stored(out, reported)
    even = _all_records(chosen_on, limits)
    odd = _all_records(shown_on, limits)
    every = _all_records(stored(out, reported, (MASKS, NO_MASKS, PATHS)), limits)
    parts = [
        _counts(odd, even),
        _comparison(even, odd),
        _by_cue(odd),
        _controls(odd),
        _by_effect(odd),
        _statuses(odd),
        _names(odd),
        _agreement(every, NO_MASKS),
        _agreement(every, PATHS),
        _calibration(chosen_on, limits),
        _misses(odd),
    ]
    return "\n\n".join(part for part in parts if part)


def cohens_kappa(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Agreement of two yes-or-no judgements beyond chance; NaN where chance alone would agree always.

    Source: Cohen. Educational and Psychological Measurement 20, 1960.
    """
    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if not len(one):
        return math.nan
    observed = float((one == other).mean())
    expected = float(one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean()))
    return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def cut_off(clean: Sequence[float], most_false: float = MOST_FALSE) -> float:
    """The lowest number above which at most the share `most_false` of the clean classes lies."""
    ordered = np.sort(np.asarray(clean, dtype=np.float64))[::-1]
    return float(ordered[math.floor(most_false * len(ordered))]) if len(ordered) else math.nan


def _all_records(found: Iterable[Stored], limits: VerdictLimits) -> list[Record]:
    return [record for one in found for record in records(one, limits)]


def _counts(odd: Sequence[Record], even: Sequence[Record]) -> str:
    lines = [
        "### What was measured",
        "",
        "| seeds | networks | classes | reliant | clean | told by absence | unclear |",
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for name, found in (("calibration (even)", even), ("reported (odd)", odd)):
        truths = [record.truth for record in found]
        cells = len({record.cell for record in found})
        counts = [truths.count(kind) for kind in ("reliant", "clean", "told by absence", "unclear")]
        lines.append(f"| {name} | {cells} | {len(found)} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def _comparison(even: Sequence[Record], odd: Sequence[Record]) -> str:
    """Our verdict and the simpler rules."""
    lines = ["### Verdict against simpler rules", ""]
    lines += [
        "| rule | AUROC | power | false discoveries | seen, not used, flagged |",
        "|---|---|---|---|---|",
    ]
    unused = [record for record in odd if record.truth == CLEAN and record.kind in (IGNORED, FROZEN)]
    for name, score in _rules_of(odd).items():
        reliant, clean = _split(odd)
        area = area_under_curve(np.array([score(r) for r in reliant]), np.array([score(r) for r in clean]))
        if name == OURS:
            is_flagged: Callable[[Record], bool] = _is_flagged
        else:
            cut = cut_off([score(r) for r in even if r.truth == CLEAN])
            is_flagged = _above(score, cut)
        shares = [share(map(is_flagged, group)) for group in (reliant, clean, unused)]
        lines.append(f"| {name} | {area:.3f} | {' | '.join(shares)} |")
    lines += [
        "",
        f"Power and false discoveries with {LEVEL:.0%} score intervals. Ours: status `spurious`. Simpler rules:",
    ]
    lines.append(f"the cut-off flags at most {MOST_FALSE:.0%} of the clean classes of the calibration seeds.")
    return "\n".join(lines)


def _rules_of(found: Sequence[Record]) -> dict[str, Callable[[Record], float]]:
    names = list(found[0].rules) if found else []
    return {OURS: lambda record: record.score} | {name: _rule(name) for name in names}


def _rule(name: str) -> Callable[[Record], float]:
    return lambda record: record.rules[name]


def _above(score: Callable[[Record], float], cut: float) -> Callable[[Record], bool]:
    return lambda record: score(record) > cut


def _is_flagged(record: Record) -> bool:
    return record.is_flagged


def _split(found: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    listed = list(found)
    return [r for r in listed if r.truth == RELIANT], [r for r in listed if r.truth == CLEAN]


def share(hits: Iterable[bool]) -> str:
    """A share with its interval and counts, as text."""
    listed = list(hits)
    interval = proportion_interval(sum(listed), len(listed), LEVEL)
    if not listed:
        return "none"
    return f"{interval.mean:.0%} [{interval.low:.0%}, {interval.high:.0%}] ({sum(listed)}/{len(listed)})"


def _by_cue(odd: Sequence[Record]) -> str:
    lines = [
        "### Power by cue and strength",
        "",
        "Reliant classes flagged, and (in brackets) true effects on average.",
        "",
    ]
    lines.append("| cue | " + " | ".join(f"{strength:g}" for strength in STRENGTHS) + " | all kinds |")
    lines.append("|---|" + "---|" * (len(STRENGTHS) + 1))
    reliant, _ = _split(odd)
    for cue in _cues_of(odd):
        own = [record for record in reliant if record.cue == cue]
        cells = [
            _cell([r for r in own if r.kind == "planted" and r.strength == strength])
            for strength in STRENGTHS
        ]
        lines.append(f"| {cue} | {' | '.join(cells)} | {share(r.is_flagged for r in own)} |")
    return "\n".join(lines)


def _cues_of(found: Sequence[Record]) -> list[str]:
    """The cues that were tried, in their usual order."""
    return [cue for cue in CUES if any(record.cue == cue for record in found)]


def _cell(found: Sequence[Record]) -> str:
    if not found:
        return "-"
    return f"{sum(r.is_flagged for r in found)}/{len(found)} ({np.mean([r.effect for r in found]):.2f})"


def _controls(odd: Sequence[Record]) -> str:
    lines = [
        "### False discoveries on clean classes",
        "",
        "| control | networks | classes flagged | networks flagged |",
    ]
    lines.append("|---|---|---|---|")
    for kind in (ABSENT, IGNORED, FROZEN, "planted"):
        _, clean = _split(record for record in odd if record.kind == kind)
        by_cell = [list(group) for _, group in itertools.groupby(clean, key=lambda record: record.cell)]
        any_flagged = [any(record.is_flagged for record in group) for group in by_cell]
        lines.append(
            f"| {kind} | {len(by_cell)} | {share(r.is_flagged for r in clean)} | {share(any_flagged)} |"
        )
    return "\n".join(lines)


def _by_effect(odd: Sequence[Record]) -> str:
    lines = ["### Flagged by true effect", "", "| true effect | flagged |", "|---|---|"]
    edges = (-1.0, 0.05, 0.1, 0.2, 0.4, 1.01)
    for low, high in itertools.pairwise(edges):
        own = [r for r in odd if low <= r.effect < high and r.kind != ABSENT]
        lines.append(f"| {low:g} to {min(high, 1):g} | {share(r.is_flagged for r in own)} |")
    return "\n".join(lines)


def _statuses(odd: Sequence[Record]) -> str:
    lines = ["### Statuses", "", "| truth | " + " | ".join(Status) + " |", "|---|" + "---|" * len(Status)]
    for truth in ("reliant", "clean", "told by absence", "unclear"):
        own = [record.status for record in odd if record.truth == truth]
        lines.append(f"| {truth} | {' | '.join(str(own.count(str(status))) for status in Status)} |")
    return "\n".join(lines)


def _names(odd: Sequence[Record]) -> str:
    lines = ["### Is the right thing named?", "", "Flagged reliant classes.", ""]
    lines += ["| cue | right name | or what the cue changes too | named instead |", "|---|---|---|---|"]
    found = [record for record in odd if record.truth == RELIANT and record.is_flagged]
    for cue in (*_cues_of(odd), None):
        own = [record for record in found if cue in (None, record.cue)]
        others = sorted({str(r.confound) for r in own if not r.is_named}) if cue else []
        right, loose = share(r.is_named for r in own), share(r.is_named_loosely for r in own)
        lines.append(f"| {cue or 'all'} | {right} | {loose} | {', '.join(others)} |")
    return "\n".join(lines)


def _agreement(every: Sequence[Record], audit: str) -> str:
    """How far audits of another kind agree with those by masks and grad_cam."""
    reference = {(r.cell, r.label): r for r in every if r.audit == MASKS}
    pairs = [
        (reference[r.cell, r.label], r) for r in every if r.audit == audit and (r.cell, r.label) in reference
    ]
    if not pairs:
        return ""
    reliant, clean = _split(record for _, record in pairs)
    lines = [f"### Audit: {audit}", "", f"{len(pairs)} classes, of the same status: "]
    lines[-1] += share(a.status == b.status for a, b in pairs) + "."
    lines += ["", "| counted as flagged | kappa | power | false discoveries |", "|---|---|---|---|"]
    for statuses in ((Status.SPURIOUS,), (Status.SPURIOUS, Status.SUSPECT)):
        flagged = [[record.status in statuses for record in pair] for pair in pairs]
        kappa = cohens_kappa([one for one, _ in flagged], [other for _, other in flagged])
        hits, false = (share(record.status in statuses for record in group) for group in (reliant, clean))
        lines.append(f"| {' or '.join(statuses)} | {kappa:.2f} | {hits} | {false} |")
    both = [(a, b) for a, b in pairs if a.is_flagged and b.status in (Status.SPURIOUS, Status.SUSPECT)]
    same = share(a.confound == b.confound for a, b in both)
    lines += [
        "",
        f"Of those that masks call spurious and that are flagged in any way here, the same name: {same}.",
    ]
    return "\n".join(lines)


def _calibration(found: Sequence[Stored], limits: VerdictLimits) -> str:
    """Power and false discoveries on the calibration seeds by other limits."""
    tried = [(name, replace(limits, **{name: value})) for name, values in GRID.items() for value in values]
    lines = ["### Limits, on the calibration seeds", ""]
    lines += [
        "| changed | q | minimum_change | delta | minimum_effect | minimum_lift | power | false | AUROC "
        "| clean called sound | reliant called sound |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, values in [("defaults", limits), *tried]:
        made = _all_records(found, values)
        reliant, clean = _split(made)
        area = area_under_curve(np.array([r.score for r in reliant]), np.array([r.score for r in clean]))
        numbers = (values.q, values.minimum_change, values.delta, values.minimum_effect, values.minimum_lift)
        flagged = [share(map(_is_flagged, group)) for group in (reliant, clean)]
        sound = [share(r.status == Status.SOUND for r in group) for group in (clean, reliant)]
        cells = [name, *(f"{number:g}" for number in numbers), *flagged, f"{area:.3f}", *sound]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _misses(odd: Sequence[Record]) -> str:
    lines = ["### Wrong on the reported seeds", ""]
    for record in odd:
        is_missed = record.truth == RELIANT and not record.is_flagged
        if is_missed or (record.truth == CLEAN and record.is_flagged):
            what = "missed" if is_missed else "accused"
            lines.append(
                f"- {what}: {record.cell}, {record.label}: true {record.necessity:.2f}, {record.sufficiency:.2f}; "
                f"{record.status}, {record.confound}"
            )
    return "\n".join(lines)
