"""The run folder: whole or not at all, checked on write and read, one writer."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from audit import tables as schema
from audit.errors import RunError, StorageError
from audit.types import Exemplar
from pipelines import storage
from pipelines.storage import Run, write_text


def predictions(*sample_ids: str) -> pd.DataFrame:
    row = {"path": "p", "label": "a", "split": "", "predicted": "a", "confidence": 0.9, "margin": 0.8}
    row |= {"entropy": 0.1, "correct": True, "digest": "d"}
    return schema.frame(schema.PREDICTIONS, [{"sample_id": sample_id, **row} for sample_id in sample_ids])


def shard_tables(*sample_ids: str) -> dict[str, pd.DataFrame]:
    return {table.name: schema.frame(table, []) for table in schema.SAMPLE_TABLES} | {
        "predictions": predictions(*sample_ids)
    }


def test_shards_merge_in_the_order_of_the_plan_whatever_the_order_of_writing(tmp_path):
    run = Run(tmp_path)
    run.write_shard(2, shard_tables("e"))
    run.write_shard(0, shard_tables("a", "b"))
    run.write_shard(1, shard_tables("c", "d"))
    assert list(run.merge_shards()["predictions"]["sample_id"]) == ["a", "b", "c", "d", "e"]
    assert list(run.table("predictions")["sample_id"]) == ["a", "b", "c", "d", "e"]


def test_a_shard_that_is_written_twice_keeps_its_first_version(tmp_path):
    run = Run(tmp_path)
    run.write_shard(0, shard_tables("a"))
    run.write_shard(0, shard_tables("b"))
    assert list(run.merge_shards()["predictions"]["sample_id"]) == ["a"]
    assert [entry.name for entry in run.shards.iterdir()] == ["00000"]


def test_the_same_tables_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        Run(tmp_path / name).write_shard(0, shard_tables("a", "b"))
    one, two = (tmp_path / name / "shards/00000/predictions.parquet" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


class CrashError(Exception):
    """Stands for the power going off."""


N_TABLES = len(schema.SAMPLE_TABLES)


@pytest.mark.parametrize("nth", range(N_TABLES + 4))
def test_a_crash_at_any_step_of_writing_a_shard_leaves_it_whole_or_absent(tmp_path, monkeypatch, nth):
    run, calls, real = Run(tmp_path), [], storage._sync

    def sync(path):
        calls.append(path)
        if len(calls) == nth + 1:
            raise CrashError
        real(path)

    monkeypatch.setattr(storage, "_sync", sync)
    if nth < N_TABLES + 2:  # the tables, the partial folder, the folder of shards
        with pytest.raises(CrashError):
            run.write_shard(0, shard_tables("a"))
    else:
        run.write_shard(0, shard_tables("a"))
    monkeypatch.undo()
    assert run.finished_shards() == ({0} if nth >= N_TABLES + 1 else set())
    run.clear_partial()
    run.write_shard(0, shard_tables("a"))
    assert list(run.merge_shards()["predictions"]["sample_id"]) == ["a"]


def test_a_full_disk_is_one_sentence_with_the_path(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "_sync", full)
    with pytest.raises(StorageError, match=r"00000: cannot be written: No space left on device .*bytes free"):
        Run(tmp_path).write_shard(0, shard_tables("a"))


def test_replacing_a_text_never_shows_a_part_of_it(tmp_path, monkeypatch):
    path = tmp_path / "manifest.json"
    write_text(path, "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(CrashError()))
    with pytest.raises(CrashError):
        write_text(path, "new")
    assert path.read_text() == "old"


def test_a_damaged_table_is_refused_with_its_path(tmp_path):
    run = Run(tmp_path)
    run.write_shard(0, shard_tables("a"))
    (run.shards / "00000" / "predictions.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(RunError, match=r"predictions.parquet: cannot be read as Parquet"):
        run.merge_shards()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda f: f.assign(confidence=1.5),
            r"column confidence: expected a finite number in \[0, 1\], found 1.5",
        ),
        (lambda f: f.assign(margin=np.nan), "column margin: a value is missing in row 0"),
        (lambda f: f.assign(correct=1), "column correct: expected bool, found int64"),
        (lambda f: f.drop(columns="entropy"), "missing: entropy"),
        (lambda f: f.assign(extra=1), "unknown: extra"),
        (lambda f: pd.concat([f, f], ignore_index=True), r"the key \['a'\] occurs more than once"),
    ],
)
def test_a_table_that_breaks_its_schema_is_not_written(tmp_path, change, words):
    with pytest.raises(RunError, match=words):
        Run(tmp_path).write_table("predictions", change(predictions("a")))
    assert not (tmp_path / "tables" / "predictions.parquet").exists()


def test_a_second_writer_is_refused_and_a_dead_one_leaves_no_lock(tmp_path):
    code = "import sys, os; from pathlib import Path; from pipelines.storage import Run\n"
    code += f"with Run(Path({str(tmp_path)!r})).locked():\n"
    code += "    print('in', flush=True); sys.stdin.readline(); os.kill(os.getpid(), 9)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "in\n"
        with pytest.raises(RunError, match="another run is writing"), Run(tmp_path).locked():
            pass
        other.communicate("\n")
    with Run(tmp_path).locked():
        pass


def test_a_run_of_another_schema_version_is_refused(tmp_path):
    write_text(tmp_path / "manifest.json", '{"schema_version": 0}')
    with pytest.raises(RunError, match="expected schema version"):
        Run(tmp_path).manifest()


def test_exemplars_come_back_as_they_were(tmp_path):
    exemplar = Exemplar(
        sample_id="a/<b>.jpg",
        label="t-shirt",
        predicted="shoes",
        role="worst",
        image=np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
        foreground=np.array([[0, 1], [255, 0]], dtype=np.uint8),
        regions={"face": np.array([[True, False], [False, False]])},
        maps={"grad_cam": np.array([[0.5, -1.0], [0.0, 2.0]], dtype=np.float32)},
    )
    run = Run(tmp_path)
    run.write_exemplars([exemplar])
    (read,) = run.read_exemplars()
    assert (read.sample_id, read.label, read.predicted, read.role) == (
        "a/<b>.jpg",
        "t-shirt",
        "shoes",
        "worst",
    )
    for name in ("image", "foreground"):
        np.testing.assert_array_equal(getattr(read, name), getattr(exemplar, name))
    np.testing.assert_array_equal(read.regions["face"], exemplar.regions["face"])
    np.testing.assert_array_equal(read.maps["grad_cam"], exemplar.maps["grad_cam"])
