"""Runs every shard to its end on workers that may die, hang or be killed.

joblib alone loses a whole call to one dead worker, so the loop is ours: shards are idempotent, each round submits what
is not on the disk yet, and a broken round is planned again. A shard that was being worked on in two broken rounds is
worked on alone and in halves, until the one image that breaks workers is found and quarantined.
Phases differ in their `Tasks`: what is done, and where its shards are kept.
"""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Protocol

import pandas as pd

from audit import tables as schema
from audit.errors import RunError
from audit.types import Sample
from pipelines.engine import ShardRecord, Work, audit_shard, quarantine, score_samples
from pipelines.engines import Engine, TaskLostError, WorkersLostError
from pipelines.readers._annotations import Fault
from pipelines.storage import Run, ShardFolder

DEATHS_BEFORE_RESCUE = 2
ROUNDS_WITHOUT_PROGRESS = 2
HANG_FACTOR = 20
"""A round in which nothing finishes for so many times the median shard hangs."""


CRASHED = "worker crash"
"""The reason of `quarantine` that may pass: a machine short of memory kills workers, too."""


def quarantined(sample: Sample, detail: str) -> dict[str, pd.DataFrame]:
    """The score tables of a sample that no worker survives: a row of `quarantine`."""
    detail = f"{detail}; the same command with --retry-crashed tries it again"
    fault = Fault(sample.sample_id, sample.image_path, sample.label or "", CRASHED, detail)
    return {schema.QUARANTINE.name: quarantine([fault])}


def forget_crashed(run: Run) -> int:
    """Forgets the shards in which an image was given up for its workers; returns how many images those were.

    The shards are scored anew as a whole; draws of samples and the certificate, which chose without those images, too.
    """
    n_crashed = 0
    for index in sorted(run.finished_shards()):
        n_own = int((run.scored.read(index)[schema.QUARANTINE.name]["reason"] == CRASHED).sum())
        if n_own:
            run.scored.forget(index)
        n_crashed += n_own
    if n_crashed:
        run.attributed.forget_all()
        run.drop_table(schema.CERTIFICATE.name)
    return n_crashed


@dataclass(frozen=True)
class Tasks:
    """What workers are asked to do.

    Attributes:
        audit: works on a shard and stores its tables.
        score: the tables of some of a shard's samples.
        give_up: the tables of one sample that no worker survives, with what happened to them.
        folder: where a run keeps the shards of this phase.
    """

    audit: Callable[[Work, Any], ShardRecord] = audit_shard
    score: Callable[[Work, Sequence[Any]], dict[str, pd.DataFrame]] = score_samples
    give_up: Callable[[Any, str], dict[str, pd.DataFrame]] = quarantined
    folder: Callable[[Run], ShardFolder] = attrgetter("scored")


class Piece(Protocol):
    """A shard of any phase: what is worked on, and the faults that were known before."""

    @property
    def index(self) -> int: ...  # noqa: D102

    @property
    def samples(self) -> Sequence[Any]: ...  # noqa: D102

    @property
    def faults(self) -> Sequence[Fault]: ...  # noqa: D102


@dataclass
class Crew:
    """The workers of a run: started when needed, replaced when lost.

    Attributes:
        engine: who they are.
        timeout_seconds: least time without any result before workers count as hanging.
    """

    engine: Engine
    timeout_seconds: float
    _executor: Executor | None = None
    _durations: list[float] = field(default_factory=list)

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        self.dismiss()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """A future of the function on one of the workers.

        Raises:
            WorkersLostError: they died.
        """
        if self._executor is None:
            self._executor = self.engine.start()
        try:
            return self._executor.submit(function, *arguments)
        except (BrokenExecutor, RuntimeError) as error:
            raise WorkersLostError(str(error)) from error

    def first_done(self, futures: set[Future[Any]]) -> set[Future[Any]]:
        """The futures that are finished; at least one.

        Raises:
            WorkersLostError: nothing finished in time.
        """
        patience = max([self.timeout_seconds, *(HANG_FACTOR * d for d in self._median())])
        done, _ = wait(futures, timeout=patience, return_when=FIRST_COMPLETED)
        if not done:
            raise WorkersLostError(f"no result for {patience:.0f} s")
        return done

    def result(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The function's result, run alone on a worker.

        Raises:
            WorkersLostError: the worker died or hangs.
        """
        future = self.submit(function, *arguments)
        self.first_done({future})
        return outcome(future)

    def took(self, seconds: float) -> None:
        """Learns how long a shard takes, so that a slow machine is not taken for a hanging one."""
        self._durations.append(seconds)

    def dismiss(self) -> None:
        """Ends the workers, also in the middle of a task."""
        if self._executor is not None:
            self.engine.stop(self._executor)
            self._executor = None

    def _median(self) -> list[float]:
        return [statistics.median(self._durations)] if self._durations else []


def outcome(future: Future[Any]) -> Any:
    """A finished future's result.

    Raises:
        WorkersLostError: its worker died.
        TaskLostError: workers died of it, and others took their place.
    """
    try:
        return future.result()
    except BrokenExecutor as error:
        raise WorkersLostError(str(error)) from error


def execute(
    work: Work,
    shards: Sequence[Piece],
    crew: Crew,
    on_shard: Callable[[ShardRecord], None],
    tasks: Tasks = Tasks(),
) -> None:
    """Works until every shard's folder exists; tells `on_shard` of each.

    Raises:
        RunError: two rounds came to nothing, and no shard can be blamed.
    """
    folder = tasks.folder(Run(work.out))
    deaths: Counter[int] = Counter()
    idle_rounds = 0
    while todo := [shard for shard in shards if shard.index not in folder.finished()]:
        suspects = [shard for shard in todo if deaths[shard.index] >= DEATHS_BEFORE_RESCUE]
        if suspects:
            on_shard(_rescue(work, suspects[0], crew, tasks))
            continue
        before = len(todo)
        lost = _round(work, todo, crew, on_shard, tasks, deaths)
        if lost is None:
            continue
        crew.dismiss()
        finished = folder.finished()
        begun = [
            shard.index for shard in todo if shard.index not in finished and folder.was_begun(shard.index)
        ]
        deaths.update(begun)
        idle_rounds = 0 if before > sum(shard.index not in finished for shard in todo) else idle_rounds + 1
        if idle_rounds >= ROUNDS_WITHOUT_PROGRESS and not begun:
            raise RunError(
                f"{work.out}: workers were lost {idle_rounds} times before they began any work ({lost}); "
                "is there memory enough for run.workers models at once?"
            )


def _round(
    work: Work,
    shards: Sequence[Piece],
    crew: Crew,
    on_shard: Callable[[ShardRecord], None],
    tasks: Tasks,
    deaths: Counter[int],
) -> WorkersLostError | None:
    """Submits shards and takes results; what broke the round, or None. At most a few shards are under way at once.

    A shard that alone was lost is noted in `deaths` as a suspect.
    """
    waiting = list(reversed(shards))
    for shard in shards:
        tasks.folder(Run(work.out)).forget_begun(shard.index)
    under_way: dict[Future[ShardRecord], Piece] = {}
    try:
        while waiting or under_way:
            while waiting and len(under_way) < max(1, 2 * crew.engine.slots):
                shard = waiting.pop()
                under_way[crew.submit(tasks.audit, work, shard)] = shard
            for future in crew.first_done(set(under_way)):
                shard = under_way.pop(future)
                try:
                    record = outcome(future)
                except TaskLostError:
                    deaths[shard.index] = DEATHS_BEFORE_RESCUE
                    continue
                crew.took(record.seconds)
                on_shard(record)
    except WorkersLostError as error:
        return error
    return None


def _rescue(work: Work, shard: Piece, crew: Crew, tasks: Tasks) -> ShardRecord:
    """Works on a shard alone and in halves; the single images that break workers are quarantined."""
    started = time.monotonic()
    folder = tasks.folder(Run(work.out))
    parts: list[dict[str, pd.DataFrame]] = [{schema.QUARANTINE.name: quarantine(shard.faults)}]
    stack: list[Sequence[Any]] = [shard.samples]
    while stack:
        samples = stack.pop()
        try:
            parts.append(crew.result(tasks.score, work, samples))
        except WorkersLostError as error:
            if not isinstance(error, TaskLostError):
                crew.dismiss()
            if len(samples) > 1:
                middle = len(samples) // 2
                stack += [samples[middle:], samples[:middle]]
                continue
            detail = f"the worker was lost on this image alone ({error or 'it was killed'})"
            parts.append(tasks.give_up(samples[0], detail))
    frames = {
        table.name: schema.joined(table, [part[table.name] for part in parts if table.name in part])
        for table in folder.tables
    }
    folder.write(shard.index, frames)
    n_lost = len(frames.get(schema.QUARANTINE.name, ()))
    n_all = len(shard.samples) + len(shard.faults)
    return ShardRecord(shard.index, n_all - n_lost, n_lost, time.monotonic() - started)
