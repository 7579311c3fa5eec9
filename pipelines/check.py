"""Looks before the run: reads everything, attributes a few samples, says what would fail and how long it would take."""

import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from audit.errors import UnusableError
from audit.model_checks import warnings
from audit.tables import TABLES, joined
from pipelines.config import RunConfig
from pipelines.engine import Work, score_samples, workshop
from pipelines.models import model_digest
from pipelines.shards import Plan, make_plan
from reports import numbers

SAMPLES_PER_CLASS = 8
"""Enough to see a wrong label order or a wrong value range, few enough to wait for."""


def check_audit(config: RunConfig, console: Console) -> None:
    """Tells what the run would meet.

    Raises:
        AuditError: it would not even start.
    """
    # A few samples are attributed whole, whether the run will draw them or not.
    config = config.model_copy(update={"run": config.run.model_copy(update={"sampling": False})})
    with tempfile.TemporaryDirectory() as folder:
        console.print("[dim]· loading the model[/]")
        classes = workshop(Work(config, Path(folder), (), None)).classes
        plan = make_plan(config, classes, model_digest(config.model.path))
        _tell_samples(plan, console)
        few = config.data.model_copy(update={"per_class": SAMPLES_PER_CLASS})
        trial = make_plan(config.model_copy(update={"data": few}), classes, "")
        work = Work(config, Path(folder), plan.region_names, None)
        shop = workshop(work)
        console.print(
            f"[dim]· attributing {trial.n_samples} samples with {', '.join(shop.methods)}[/]", highlight=False
        )
        score_samples(
            work, trial.shards[0].samples[:1]
        )  # traces the graphs, so that the time below is that of the run
        clock = time.monotonic()
        parts = [score_samples(work, shard.samples) for shard in trial.shards]
        seconds = (time.monotonic() - clock) / max(1, trial.n_samples)
    predictions = sum(len(part["predictions"]) for part in parts)
    if not predictions:
        raise UnusableError(f"{config.data.path}: none of {trial.n_samples} samples could be read")
    _tell_trial(plan, parts, seconds, console)


def _tell_samples(plan: Plan, console: Console) -> None:
    samples = [sample for shard in plan.shards for sample in shard.samples]
    faults = [fault for shard in plan.shards for fault in shard.faults]
    total = Counter(sample.label for sample in samples)
    annotated = Counter(sample.label for sample in samples if sample.foreground.is_annotated)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("class")
    table.add_column("samples", justify="right")
    table.add_column("with foreground", justify="right")
    for name in plan.classes:
        table.add_row(escape(name), numbers.count(total[name]), numbers.count(annotated[name]))
    console.print(table)
    empty = [name for name in plan.classes if not total[name]]
    if empty:
        console.print(
            f"[yellow]No sample[/] of {len(empty)} classes: {escape(numbers.enumerate_words(empty, 6))}",
            highlight=False,
        )
    if plan.region_names:
        console.print(f"Annotated regions: {escape(', '.join(plan.region_names))}", highlight=False)
    for reason, number in Counter(fault.reason for fault in faults).items():
        console.print(f"[yellow]To be quarantined:[/] {number} × {escape(reason)}", highlight=False)


def _tell_trial(plan: Plan, parts: list[dict[str, pd.DataFrame]], seconds: float, console: Console) -> None:
    tables = {name: joined(TABLES[name], [part[name] for part in parts]) for name in parts[0]}
    predictions, quarantine = tables["predictions"], tables["quarantine"]
    accuracy = numbers.share(float(predictions["correct"].mean()))
    console.print(f"Accuracy on {len(predictions)} of them: {accuracy}", highlight=False)
    for sentence in warnings(predictions, plan.classes):
        console.print(f"[bold red]Warning:[/] {escape(sentence)}", highlight=False)
    for row in quarantine.head(10).itertuples():
        console.print(
            f"[yellow]Quarantined:[/] {escape(str(row.path))}: {escape(str(row.detail))}", highlight=False
        )
    for method, statuses in tables["attributions"].groupby("method")["status"]:
        counted = ", ".join(f"{status} {number}" for status, number in statuses.value_counts().items())
        console.print(f"{escape(str(method))}: {counted}", highlight=False)
    console.print(
        f"The run: {numbers.count(plan.n_samples)} images, {seconds:.2f} s each with one worker, "
        f"about {numbers.duration(seconds * plan.n_samples)}",
        highlight=False,
    )
