"""Two run folders -> the folder of their comparison: the table `changes`, a manifest, a page. No model is needed."""

import json
import math
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from audit import tables as schema
from audit.changes import compare
from audit.errors import ConfigError, RunError
from audit.types import AuditRun, ChangeKind, ChangeLimits, ClassChange, Comparison
from pipelines.config import parse_override
from pipelines.judge import load
from pipelines.shards import changed
from pipelines.storage import Run
from pipelines.terminal import SHORT, WIDE, tell_path
from reports import change_words, numbers

SIDES = ("reference", "candidate")
COMPARED, SCORED = "compared", "scored"
"""States of a manifest: of a comparison, of a finished run."""
SIGNS = {
    ChangeKind.WORSENED: ("▼", "bold red"),
    ChangeKind.IMPROVED: ("▲", "green"),
    ChangeKind.INCOMPARABLE: ("?", "cyan"),
    ChangeKind.UNCHANGED: ("=", "default"),
}


class CompareConfig(BaseModel):
    """`compare.*`: the lines that a comparison draws."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    q: float = Field(0.05, gt=0, lt=1, description="false discovery rate over everything that was compared")
    minimum_change: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="a smaller mean change is none; above what training on with another seed brings "
        "(benchmarks/compare.py); networks trained from scratch scatter more, so raise it for them",
    )
    ruled_out: float = Field(
        0.1, gt=0, le=1, description="unchanged means that the interval excludes a change of this size"
    )
    minimum_pairs: int = Field(10, ge=2, description="fewer pairs are not compared")

    def limits(self) -> ChangeLimits:
        """The values that `audit` takes."""
        return ChangeLimits(self.q, self.minimum_change, self.ruled_out, self.minimum_pairs)


def settings_of(overrides: Sequence[str]) -> CompareConfig:
    """The configuration from `compare.key=value` settings.

    Raises:
        ConfigError: another section, an unknown key or a wrong value.
    """
    values: dict[str, Any] = {}
    for setting in overrides:
        dotted, value = parse_override(setting)
        section, _, key = dotted.partition(".")
        if section != "compare" or key not in CompareConfig.model_fields:
            near = get_close_matches(key, list(CompareConfig.model_fields), n=1, cutoff=0.5)
            hint = f"did you mean 'compare.{near[0]}'?" if near else ""
            known = ", ".join(f"compare.{name}" for name in CompareConfig.model_fields)
            raise ConfigError(f"--set: unknown key {dotted!r}; {hint or f'known here: {known}'}")
        values[key] = value
    try:
        return CompareConfig.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        raise ConfigError(
            f"--set: compare.{fault['loc'][0]}: {fault['msg']}, found {fault['input']!r}"
        ) from None


def finished(path: Path) -> AuditRun:
    """The finished run in a folder.

    Raises:
        RunError: no run folder, another schema version, a comparison, or a run that is not finished.
    """
    run = Run(path)
    state = run.manifest().get("state")
    if state == COMPARED:
        raise RunError(f"{path}: expected the folder of a run, found that of a comparison")
    if state != SCORED:
        raise RunError(
            f"{path}: expected a finished run, found one in the state {state!r}; the same `rightreasons run` "
            "finishes it"
        )
    return load(run)


def compared(
    reference: AuditRun, candidate: AuditRun, config: CompareConfig, retrained: Sequence[AuditRun] = ()
) -> Comparison:
    """The comparison of two finished runs."""
    return compare(reference, candidate, config.limits(), _differences(reference, candidate), retrained)


def compare_runs(
    reference: Path,
    candidate: Path,
    out: Path,
    config: CompareConfig,
    console: Console,
    retrained: Sequence[Path] = (),
) -> Comparison:
    """Compares two run folders, stores the comparison in `out` and tells it.

    Args:
        retrained: runs of further trainings of the reference that differ from it in their seed alone.

    Raises:
        RunError: a run cannot be used, or `out` holds something else than a comparison.
    """
    first = finished(reference)
    others = [finished(path) for path in retrained]
    for path, other in zip(retrained, others, strict=True):
        if other.manifest["scoring"]["model_digest"] == first.manifest["scoring"]["model_digest"]:
            raise RunError(
                f"--retrain {path}: expected a run of another training of the reference, found one of the same model"
            )
    comparison = compared(first, finished(candidate), config, others)
    page = store(comparison, out, (reference, candidate))
    tell(comparison, page, console)
    return comparison


def store(comparison: Comparison, out: Path, paths: tuple[Path, Path]) -> Path:
    """Writes the folder of a comparison; returns its page.

    Raises:
        RunError: `out` holds something else than a comparison.
    """
    from pipelines.compared_samples import choose
    from reports.compare_site import render

    folder = Run(out)
    _check_free(folder)
    reference, candidate = (tuple(Run(path).read_sheets()) for path in paths)
    pairs = choose(comparison, (reference, candidate))
    with folder.locked():
        folder.write_manifest(_manifest(comparison, paths))
        folder.write_table(schema.CHANGES.name, schema.frame(schema.CHANGES, comparison.changes))
        return folder.write_report(render(comparison, pairs, _links(folder, paths)))


def _links(folder: Run, paths: tuple[Path, Path]) -> dict[str, str]:
    """Where the reports of both runs are, seen from the page of the comparison; only those that exist."""
    pages = {side: Run(path).report / "index.html" for side, path in zip(SIDES, paths, strict=True)}
    return {
        side: quote(os.path.relpath(page.resolve(), folder.report.resolve()))
        for side, page in pages.items()
        if page.is_file()
    }


def _check_free(folder: Run) -> None:
    if not folder.path.exists() or not any(folder.path.iterdir()):
        return
    if _state(folder) != COMPARED:
        raise RunError(
            f"{folder.path}: expected a new or empty folder for the comparison, found files of something else in it; "
            "choose another with --out"
        )


def _state(folder: Run) -> str | None:
    """The state in a manifest of whatever schema version: an old comparison may be written anew."""
    try:
        values = json.loads(folder.manifest_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values.get("state") if isinstance(values, dict) else None


def _manifest(comparison: Comparison, paths: tuple[Path, Path]) -> dict[str, Any]:
    """The comparison's facts."""
    sides = {}
    for side, run, path in zip(SIDES, (comparison.reference, comparison.candidate), paths, strict=True):
        sides[side] = {
            "name": run.name,
            "path": str(path),
            "fingerprint": run.manifest["fingerprint"],
            "model_digest": run.manifest["scoring"]["model_digest"],
            "started": run.manifest["started"],
        }
    return {
        "schema_version": schema.SCHEMA_VERSION,
        "state": COMPARED,
        "compared": datetime.now(UTC).isoformat(timespec="seconds"),
        **sides,
        "limits": {name: getattr(comparison.limits, name) for name in CompareConfig.model_fields},
        "seed_noise": {
            " ".join(word for word in key if word): bound
            for key, bound in sorted(comparison.seed_noise.items())
        },
        "classes": {label: str(kind) for label, kind in comparison.kinds.items()},
        "n_pairs": comparison.n_pairs,
        "unpaired": {reason: list(ids) for reason, ids in comparison.unpaired.items()},
        "differences": list(comparison.differences),
    }


def _differences(reference: AuditRun, candidate: AuditRun) -> list[str]:
    """Settings, program and package versions in which the runs differ."""
    found = changed(reference.manifest["scoring"], candidate.manifest["scoring"])
    before, after = (run.manifest["versions"] for run in (reference, candidate))
    return found + changed(before, after, "version of ")


def tell(comparison: Comparison, page: Path, console: Console) -> None:
    """The comparison on one screen: the verdict, a row per class, method and statistic, the path to open."""
    console.print()
    first, *others = change_words.headline(comparison)
    gravest = min(comparison.kinds.values(), key=change_words.ORDER.index, default=ChangeKind.INCOMPARABLE)
    console.print(f"[{SIGNS[gravest][1]}]{escape(first)}[/]", highlight=False)
    for sentence in others:
        console.print(escape(sentence), highlight=False)
    if comparison.hits and comparison.hits.is_loss:
        console.print(f"[red]{change_words.loss_sentence(comparison.hits)}[/]", highlight=False)
    console.print()
    console.print(_table(comparison, is_wide=console.width >= WIDE), highlight=False)
    for text in _notes(comparison):
        console.print(Padding(f"• {escape(text)}", (0, 0, 0, 2)), highlight=False)
    n_unpaired = sum(len(ids) for ids in comparison.unpaired.values())
    reasons = "; ".join(f"{len(ids)} {reason}" for reason, ids in comparison.unpaired.items())
    console.print(
        f"[dim]{comparison.n_pairs} pairs of samples, {n_unpaired} without a partner"
        + (f" ({escape(reasons)})" if reasons else "")
        + "[/]",
        highlight=False,
    )
    tell_path("Comparison", page, console)


def _table(comparison: Comparison, *, is_wide: bool) -> Table:
    """A row per class, method and statistic; side issues that could not be compared are left to the page.

    A narrow terminal gets the short names of methods, and no interval.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("class", "statistic", "method"):
        table.add_column(name, no_wrap=name == "method")
    table.add_column("before → after", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    if is_wide:
        table.add_column("difference", justify="right", no_wrap=True)
        table.add_column("pairs", justify="right", no_wrap=True)
    labels = sorted(comparison.kinds, key=lambda label: change_words.ORDER.index(comparison.kinds[label]))
    for label in labels:
        for place, change in enumerate(_shown(comparison.changes, label)):
            cells = _cells(change, is_wide=is_wide)
            table.add_row(escape(label) if place == 0 else "", *cells[: len(table.columns) - 1])
    return table


def _shown(changes: Sequence[ClassChange], label: str) -> list[ClassChange]:
    return [
        change
        for change in changes
        if change.label == label and not (change.kind is ChangeKind.INCOMPARABLE and "." in change.statistic)
    ]


def _cells(change: ClassChange, *, is_wide: bool) -> tuple[str, ...]:
    sign, style = SIGNS[change.kind]
    is_effect = change.statistic.startswith(("necessity.", "sufficiency."))
    show = numbers.difference if is_effect else numbers.share
    return (
        escape(change_words.statistic_words(change.statistic)),
        escape(change.method if is_wide else SHORT.get(change.method, change.method)),
        f"{show(change.reference)} → {show(change.candidate)}",
        f"[{style}]{sign} {change.kind}[/]",
        numbers.difference_interval(change.difference, change.low, change.high),
        numbers.count(change.n),
    )


def _notes(comparison: Comparison) -> list[str]:
    """Why accuracy or mass inside of a class could not be compared, each reason once."""
    classes: dict[str, list[str]] = {}
    for change in comparison.changes:
        if change.kind is ChangeKind.INCOMPARABLE and "." not in change.statistic:
            more = (
                ""
                if math.isnan(change.n_needed)
                else f" About {numbers.count(change.n_needed)} pairs would tell."
            )
            what = f"{change_words.statistic_words(change.statistic)}{f', {change.method}' if change.method else ''}"
            classes.setdefault(f"{what}: {change.reason}{more}", []).append(change.label)
    return [f"{numbers.enumerate_words(labels)}, {text}" for text, labels in classes.items()]
