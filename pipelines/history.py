"""A folder of runs -> one table of them over time, a page of trends, and which old ones a retention rule lets go."""

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from audit.errors import AuditError, RunError
from audit.types import AuditRun
from pipelines.compare import COMPARED, SCORED, finished
from pipelines.judge import verdicts_of
from pipelines.storage import PARTIAL, Run, digest, storing
from pipelines.terminal import SHORT, WIDE, tell_path
from reports import numbers
from reports.history_site import UnusableRun
from reports.trends import HistoryRow, PastRun

FOLDER = "history"
"""Where the page is written, in the folder of runs."""
N_EARLIER = 11
"""Earlier runs that the report of a run draws a trend over."""
DELETED = ".deleted"
"""Ending of a run that is being deleted; what has it is no run any more."""
_OWN_ENTRIES = {
    "manifest.json",
    "shards",
    "reused",
    "attributed",
    "sheets",
    "interventions",
    "tables",
    "exemplars",
    "demonstrations",
    "discovered",
    "report",
    "lock",
    "cache",
    "pool",
    "unlabelled",
    "report.html",
}
"""What a run folder consists of; a folder with anything else in it is not deleted."""


@dataclass(frozen=True)
class History:
    """The runs of a folder.

    Attributes:
        runs: the finished ones, the oldest first.
        unusable: the others, with the reason.
    """

    runs: tuple[PastRun, ...]
    unusable: tuple[UnusableRun, ...]

    def table(self) -> pd.DataFrame:
        """A row per run, class and method."""
        return pd.DataFrame(
            [
                {"run": run.name, "started": run.started, "model_digest": run.model_digest}
                | {"data_digest": run.data_digest, "data": run.data}
                | {name: getattr(row, name) for name in HistoryRow.__dataclass_fields__}
                for run in self.runs
                for row in run.rows
            ]
        )


@dataclass(frozen=True)
class Retention:
    """What a rule would do.

    Attributes:
        delete: folders to delete, the oldest first.
        kept: folders that the rule would delete and that stay, with the reason.
    """

    delete: tuple[Path, ...]
    kept: tuple[tuple[Path, str], ...]


def read(folder: Path) -> History:
    """The runs in the folders directly under `folder`; comparisons and folders of something else are passed over.

    Raises:
        RunError: no such folder, a run itself, or one without any run.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: expected a folder of runs, found no folder")
    if (folder / "manifest.json").exists():
        raise RunError(f"{folder}: expected a folder of runs, found a run; name the folder above it")
    runs: list[PastRun] = []
    unusable: list[UnusableRun] = []
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or path.name == FOLDER or not _looks_like_a_run(path):
            continue
        try:
            if path.name.endswith(DELETED):
                raise RunError("its deletion was interrupted; delete the folder")
            runs.append(_past_run(finished(path), path.name))
        except AuditError as error:
            unusable.append(UnusableRun(path.name, _without(path, str(error))))
    if not runs and not unusable:
        raise RunError(
            f"{folder}: expected folders of runs in it, found none; `rightreasons run --out` makes one"
        )
    return History(tuple(sorted(runs, key=lambda run: (run.started, run.name))), tuple(unusable))


def up_to(path: Path, run: AuditRun) -> tuple[PastRun, ...]:
    """The finished runs beside a run on the same dataset that started before it, the oldest first, and the run itself.

    What cannot be read is left out: that is told where the history itself is asked for.

    Args:
        path: folder of the run.
        run: the run itself.
    """
    folder, found = path.resolve().parent, []
    for manifest_path in folder.glob("*/manifest.json"):
        other = Run(manifest_path.parent)
        try:
            manifest = other.manifest()
            is_earlier = (
                manifest.get("state") == SCORED
                and manifest.get("data", {}).get("path") == run.manifest["data"]["path"]
                and manifest["started"] < run.manifest["started"]
            )
            if is_earlier:
                found.append((manifest["started"], other, manifest))
        except RunError:
            continue
    earlier = []
    for _, other, manifest in sorted(found, key=lambda entry: entry[0])[-N_EARLIER:]:
        try:
            tables = {"predictions": other.table("predictions")}
            verdicts = verdicts_of(other.table("verdicts"))
        except RunError:
            continue
        past = AuditRun(other.path.name, manifest, (), tables, verdicts, (), ())
        earlier.append(_past_run(past, other.path.name))
    return (*earlier, _past_run(run, run.name))


def write_page(folder: Path, history: History) -> Path:
    """Writes the page of trends into `folder`; returns it."""
    from reports.history_site import render

    page = Run(folder / FOLDER)
    with storing(page.path):
        page.path.mkdir(exist_ok=True)
    with page.locked():
        return page.write_report(render(folder.resolve().name, history.runs, history.unusable))


def retention(folder: Path, history: History, keep: int) -> Retention:
    """What keeping the newest `keep` finished runs means.

    Runs that are not finished are left alone: they can be resumed, and nobody knows for what they are kept.
    """
    delete, kept = [], []
    for run in history.runs[: max(0, len(history.runs) - keep)]:
        path = folder / run.name
        strangers = sorted(entry.name for entry in path.iterdir() if not _is_own(entry))
        if path.is_symlink():
            kept.append((path, "it is a link"))
        elif strangers:
            kept.append((path, f"it holds {numbers.enumerate_words(strangers)}, which no run writes"))
        else:
            delete.append(path)
    return Retention(tuple(delete), tuple(kept))


def delete(paths: Sequence[Path]) -> Iterator[Path]:
    """Deletes run folders; each is renamed first, so that what is half deleted is not taken for a run.

    Yields:
        Each deleted folder.

    Raises:
        RunError: another process writes the run, or the folder cannot be written.
    """
    for path in paths:
        going = path.with_name(path.name + DELETED)
        with storing(path):
            if going.exists():  # an earlier run of this name, whose deletion was interrupted
                shutil.rmtree(going)
            with Run(path).locked():
                path.rename(going)
            shutil.rmtree(going)
        yield path


def tell(history: History, page: Path, console: Console, notes: Sequence[str] = ()) -> None:
    """The history on one screen: the newest run first, what cannot be used, `notes`, the path to open last."""
    console.print()
    console.print(
        f"[bold]{numbers.plural(len(history.runs), 'finished run', 'finished runs')}[/]", highlight=False
    )
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    is_wide = console.width >= WIDE
    digests = ("model", "data") if is_wide else ()
    for column in ("started", "run", *digests, "class", "status"):
        table.add_column(column, no_wrap=column in ("started", *digests))
    for column in ("n", "accuracy", "mass inside"):
        table.add_column(column, justify="right", no_wrap=True)
    for run in reversed(history.runs):
        head: tuple[str, ...] = (
            run.started[:16].replace("T", " ") if is_wide else run.started[:10],
            escape(run.name),
        )
        head += (run.model_digest[:6], run.data_digest[:6]) if is_wide else ()
        for place, row in enumerate(run.rows):
            table.add_row(
                *(head if place == 0 else ("",) * len(head)),
                escape(row.label),
                f"{row.status} ({escape(SHORT.get(row.method, row.method))})",
                numbers.count(row.n),
                numbers.share(row.accuracy),
                numbers.interval(row.mass_inside, row.mass_inside_low, row.mass_inside_high),
            )
    console.print(table, highlight=False)
    for broken in history.unusable:
        console.print(
            Padding(f"• {escape(broken.name)}: {escape(broken.reason)}", (0, 0, 0, 2)), highlight=False
        )
    for note in notes:
        console.print(escape(note), highlight=False, soft_wrap=True)
    tell_path("History", page, console)


def retention_notes(plan: Retention, keep: int, *, is_done: bool) -> list[str]:
    """What the rule does, or would do, a line a folder."""
    notes = [f"Kept: {path}, {reason}" for path, reason in plan.kept]
    notes += [f"{'Deleted' if is_done else 'Would delete'}: {path}" for path in plan.delete]
    if not plan.delete:
        return [*notes, f"Nothing to delete: {numbers.plural(keep, 'run is', 'runs are')} to be kept."]
    return notes if is_done else [*notes, "Nothing was deleted; --delete does it."]


def _looks_like_a_run(path: Path) -> bool:
    """Whether a folder is, was or was to be a run; a comparison is not."""
    manifest = path / "manifest.json"
    if not manifest.exists():
        return (path / "shards").is_dir() or (path / "tables").is_dir() or path.name.endswith(DELETED)
    try:
        state = json.loads(manifest.read_text(encoding="utf-8")).get("state")
    except (OSError, ValueError, AttributeError):
        return True  # a broken manifest is a broken run, to be listed with its reason
    return bool(state != COMPARED)


def _without(path: Path, message: str) -> str:
    """A message without the path of the run that it stands beside."""
    return message.removeprefix(f"{path}: ").removeprefix(f"{path}/")


def _is_own(entry: Path) -> bool:
    return entry.name in _OWN_ENTRIES or PARTIAL in entry.name


def _past_run(run: AuditRun, name: str) -> PastRun:
    predictions = run.tables["predictions"]
    images = predictions[["sample_id", "digest"]].sort_values("sample_id").to_numpy().tolist()
    entries: dict[str, Any] = run.manifest.get("classes", {})
    labels = set(predictions["label"])
    return PastRun(
        name=name,
        started=run.manifest["started"],
        model_digest=run.manifest["scoring"]["model_digest"],
        data_digest=digest(images),
        data=str(run.manifest["data"]["path"]),
        n=len(predictions),
        accuracy=float(predictions["correct"].mean()) if len(predictions) else math.nan,
        rows=tuple(
            HistoryRow(
                label=verdict.label,
                method=verdict.method,
                n=verdict.n,
                accuracy=_or_nan(entries.get(verdict.label, {}).get("accuracy")),
                mass_inside=verdict.mass_inside,
                mass_inside_low=verdict.mass_inside_low,
                mass_inside_high=verdict.mass_inside_high,
                status=str(verdict.status),
                confound=verdict.confound or "",
            )
            for verdict in run.verdicts
            if verdict.label in labels
        ),
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
