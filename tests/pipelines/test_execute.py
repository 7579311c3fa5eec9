"""The outer loop over shards: workers that die, hang, are poisoned or never start."""

import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from audit import tables as schema
from audit.errors import RunError
from audit.types import Sample
from pipelines.config import RunConfig, RunConfigSection
from pipelines.engine import ShardRecord, Work
from pipelines.engines.local import Local
from pipelines.execute import Crew, Tasks, execute, forget_crashed
from pipelines.shards import Shard
from pipelines.storage import Run

PATIENCE = 300.0


def score(work: Work, samples) -> dict[str, pd.DataFrame]:
    """Scores without a model: what a sample's id says happens."""
    for sample in samples:
        marker = work.out / f"{sample.sample_id}.visited"
        if sample.sample_id.startswith("poison") or (
            sample.sample_id.startswith("once") and not marker.exists()
        ):
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if sample.sample_id == "short" and (work.out / "memory is short").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if sample.sample_id.startswith("hang") and not marker.exists():
            marker.touch()
            time.sleep(3600)
    row = {"path": "p", "label": "a", "split": "", "predicted": "a", "confidence": 1.0, "margin": 1.0}
    row |= {"entropy": 0.0, "correct": True, "digest": "d"}
    frames = {table.name: schema.frame(table, []) for table in schema.SAMPLE_TABLES}
    frames["predictions"] = schema.frame(
        schema.PREDICTIONS, [{"sample_id": s.sample_id, **row} for s in samples]
    )
    return frames


def audit(work: Work, shard: Shard) -> ShardRecord:
    run = Run(work.out)
    run.begin_shard(shard.index)
    with (work.out / "log").open("a") as log:
        log.write(f"{shard.index}\n")
    run.write_shard(shard.index, score(work, shard.samples))
    return ShardRecord(shard.index, len(shard.samples), 0, 0.01)


def never_begins(work: Work, shard: Shard) -> ShardRecord:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def has_a_bug(work: Work, shard: Shard) -> ShardRecord:
    raise ZeroDivisionError("a bug")


def local(workers: int) -> Local:
    return Local(RunConfigSection(workers=workers))


def work_in(folder: Path) -> Work:
    config = RunConfig.model_validate({"data": {"path": "d"}, "model": {"path": "m"}})
    return Work(config, folder, (), None)


def shards_of(*names: tuple[str, ...]) -> list[Shard]:
    return [
        Shard(index, tuple(Sample(name, "p", "a") for name in group)) for index, group in enumerate(names)
    ]


def grow(megabytes: int) -> int:
    grow.kept = bytearray(megabytes * 2**20)  # stays with the worker
    return os.getpid()


def test_a_worker_that_grows_keeps_its_model():
    with Crew(local(1), PATIENCE) as crew:
        first = crew.result(grow, 1)
        for _ in range(3):
            assert crew.result(grow, 500) == first
            time.sleep(1.2)  # a replaced worker would leave after its next check, each second
        assert crew.result(grow, 1) == first


def test_every_shard_is_worked_on_once_and_told(tmp_path):
    told = []
    shards = shards_of(("a", "b"), ("c",), ("d", "e"))
    with Crew(local(2), PATIENCE) as crew:
        execute(work_in(tmp_path), shards, crew, told.append, Tasks(audit, score))
    assert sorted(record.index for record in told) == [0, 1, 2]
    assert sorted((tmp_path / "log").read_text().split()) == ["0", "1", "2"]
    assert list(Run(tmp_path).merge_shards()["predictions"]["sample_id"]) == ["a", "b", "c", "d", "e"]


def test_a_worker_that_is_killed_once_costs_only_what_was_under_way(tmp_path):
    shards = shards_of(("a",), ("b",), ("once", "c"), ("d",), ("e",), ("f",))
    with Crew(local(1), PATIENCE) as crew:
        execute(work_in(tmp_path), shards, crew, lambda _: None, Tasks(audit, score))
    tables = Run(tmp_path).merge_shards()
    assert list(tables["predictions"]["sample_id"]) == ["a", "b", "once", "c", "d", "e", "f"]
    assert len(tables["quarantine"]) == 0


def test_the_one_image_that_kills_workers_is_found_and_quarantined(tmp_path):
    shards = shards_of(("a",), ("b", "c", "d", "poison", "e", "f", "g", "h"), ("i",))
    with Crew(local(1), PATIENCE) as crew:
        execute(work_in(tmp_path), shards, crew, lambda _: None, Tasks(audit, score))
    tables = Run(tmp_path).merge_shards()
    assert list(tables["predictions"]["sample_id"]) == ["a", "b", "c", "d", "e", "f", "g", "h", "i"]
    assert tables["quarantine"][["sample_id", "reason"]].values.tolist() == [["poison", "worker crash"]]
    # Twice with its shard, then 8 -> 4 -> 2 -> 1: at most 3 + log2(8) workers are spent on it.
    assert (tmp_path / "log").read_text().split().count("1") == 2


def test_an_image_given_up_for_a_passing_reason_is_tried_again_when_that_is_asked_for(tmp_path):
    # Neither shard nor image can be scored while the machine is short of memory; "a" was scored before.
    shards = shards_of(("a",), ("short", "b"))
    run = Run(tmp_path)
    with Crew(local(1), PATIENCE) as crew:
        (tmp_path / "memory is short").touch()
        execute(work_in(tmp_path), shards, crew, lambda _: None, Tasks(audit, score))
        assert list(run.merge_shards()["quarantine"]["sample_id"]) == ["short"]
        (tmp_path / "memory is short").unlink()
        execute(work_in(tmp_path), shards, crew, lambda _: None, Tasks(audit, score))
        assert list(run.merge_shards()["predictions"]["sample_id"]) == ["a", "b"]
        assert forget_crashed(run) == 1
        assert run.finished_shards() == {0}
        execute(work_in(tmp_path), shards, crew, lambda _: None, Tasks(audit, score))
    tables = run.merge_shards()
    assert list(tables["predictions"]["sample_id"]) == ["a", "short", "b"]
    assert len(tables["quarantine"]) == 0
    assert (forget_crashed(run), run.finished_shards()) == (0, {0, 1})


def test_a_worker_that_hangs_is_replaced(tmp_path):
    shards = shards_of(("a",), ("hang",), ("b",))
    started = time.monotonic()
    # The patience has to cover the start of a worker on a busy machine.
    with Crew(local(1), 15.0) as crew:
        execute(work_in(tmp_path), shards, crew, lambda _: None, Tasks(audit, score))
    assert list(Run(tmp_path).merge_shards()["predictions"]["sample_id"]) == ["a", "hang", "b"]
    assert time.monotonic() - started < 120


def test_workers_that_die_before_any_work_stop_the_run_with_one_sentence(tmp_path):
    with Crew(local(1), PATIENCE) as crew, pytest.raises(RunError, match="before they began"):
        execute(work_in(tmp_path), shards_of(("a",)), crew, lambda _: None, Tasks(never_begins, score))


def test_a_bug_in_a_task_is_raised_and_not_tried_again(tmp_path):
    with Crew(local(1), PATIENCE) as crew, pytest.raises(ZeroDivisionError):
        execute(work_in(tmp_path), shards_of(("a",), ("b",)), crew, lambda _: None, Tasks(has_a_bug, score))


def test_finished_shards_are_not_worked_on_again(tmp_path):
    shards = shards_of(("a",), ("b",))
    work = work_in(tmp_path)
    audit(work, shards[0])
    with Crew(local(0), PATIENCE) as crew:
        execute(work, shards, crew, lambda _: None, Tasks(audit, score))
    assert (tmp_path / "log").read_text().split() == ["0", "1"]
