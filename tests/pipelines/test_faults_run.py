"""Faults in the middle of a whole run: disks that fail, signals, kills, clocks, damaged files.

docs/faults.md says which fault is tested where. The long sweeps are `python -m benchmarks.disk_faults` and
`python -m benchmarks.kill`.
"""

import itertools
import json
import resource
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks._tiny_run import leftovers, prepare, results_of, run_here
from benchmarks.disk_faults import KINDS, Disk, broken_off, faulty, finished
from benchmarks.kill import is_deserted, kill_and_resume, said, start
from pipelines import engine
from pipelines.cli import main
from pipelines.storage import Run
from tests.worlds import model_reading

ODD = {"TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8", "LANG": "de_DE.UTF-8", "PYTHONHASHSEED": "7"}
"""What the processes that are broken off live with; the one that finishes their run does not."""


@dataclass(frozen=True)
class Tiny:
    """An audit that takes seconds.

    Attributes:
        folder: holds the world, the model and `whole`, a finished run. Its name is what people call folders.
        arguments: of `rightreasons run`, without --out.
        expected: the results of the finished run.
        n_writes: how often it touched its folder.
    """

    folder: Path
    arguments: list[str]
    expected: dict[str, str]
    n_writes: int

    @property
    def out(self) -> Path:
        return self.folder / "out"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Tiny:
    folder = tmp_path_factory.mktemp("runs") / "my photos 😀 à l'été"
    folder.mkdir()
    arguments = prepare(folder)
    disk = Disk(folder / "out")
    with faulty(disk):
        assert run_here(arguments, folder / "out") == (0, "")
    (folder / "out").rename(folder / "whole")
    scores = Run(folder / "whole").table("attributions")["mass_inside"]
    assert scores.notna().sum() >= 6, "a run without scores would be the same after any fault"
    return Tiny(folder, arguments, results_of(folder / "whole"), len(disk.steps))


@pytest.fixture
def out(tiny) -> Path:
    """Where no run is yet; always the same place, since a process that changes it loads its model again."""
    shutil.rmtree(tiny.out, ignore_errors=True)
    return tiny.out


@pytest.fixture
def whole(tiny, out) -> Path:
    """A finished run."""
    shutil.copytree(tiny.folder / "whole", out)
    return out


@pytest.mark.parametrize(("number", "kind"), list(enumerate(KINDS)))
def test_whichever_write_fails_the_same_command_finishes_the_run(tiny, out, number, kind):
    nth = tiny.n_writes * (2 * number + 1) // 8  # another part of the run for each kind of fault
    disk = Disk(out, nth, KINDS[kind])
    assert broken_off(tiny.arguments, out, disk) == [], disk.steps[-1]
    assert finished(tiny.arguments, out, tiny.expected) == [], disk.steps[nth - 1]


def test_files_that_may_not_grow_are_one_sentence_and_room_lets_the_run_go_on(tiny, out):
    # The limit holds for what libraries write in C too; beyond it a write fails as on a full disk.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        code, words = run_here(tiny.arguments, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 4
    assert words.count("\n") == 1
    assert f"{out}" in words
    assert "bytes free" in words
    assert finished(tiny.arguments, out, tiny.expected) == []


def test_a_run_that_is_terminated_interrupted_and_killed_is_resumed_to_the_same_tables(
    tiny, out, monkeypatch
):
    for name, value in ODD.items():
        monkeypatch.setenv(name, value)
    arguments = [*tiny.arguments, "--set", "run.shard_size=1"]
    for sent, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        n_before = len(Run(out).finished_shards())
        process = start(arguments, out)
        # One more, and no later: under load the rest may be done before the signal is sent.
        while len(Run(out).finished_shards()) <= n_before and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(sent)
        assert process.wait(timeout=20) == code
        assert is_deserted(process.pid)
        assert said(out).read_text().endswith("what is finished is kept, the same command resumes\n")
        assert len(Run(out).finished_shards()) > n_before
    killed = kill_and_resume(arguments, out, seconds=2.0, is_whole=False, expected=tiny.expected)
    assert killed.wrong == ()
    assert killed.n_shards >= 2


def test_a_clock_that_runs_backwards_changes_nothing_and_nothing_is_written_beside_the_photographs(
    tiny, out, monkeypatch
):
    before = {path: path.stat().st_mtime_ns for path in (tiny.folder / "world").rglob("*")}
    engine._workshop.cache_clear()  # loading a model looks at the clock
    hours = itertools.count(1_000_000_000, -3600)
    monkeypatch.setattr(
        time, "time", lambda: float(next(hours))
    )  # every look at the clock is an hour earlier
    assert run_here(tiny.arguments, out) == (0, "")
    assert next(hours) < 1_000_000_000
    assert results_of(out) == tiny.expected
    assert {path: path.stat().st_mtime_ns for path in (tiny.folder / "world").rglob("*")} == before


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("shards/00001/attributions.parquet", "wiped"),
        ("shards/00001/attributions.parquet", "cut"),
        ("shards/00001/attributions.parquet", "gone"),
        ("tables/predictions.parquet", "wiped"),
    ],
)
def test_a_damaged_table_is_refused_and_made_again_where_its_folder_is_removed(tiny, whole, name, damage):
    path = whole / name
    contents = bytearray(path.read_bytes())
    third = len(contents) // 3
    contents[third : third + 64] = bytes(64)
    {
        "wiped": lambda: path.write_bytes(contents),
        "cut": lambda: path.write_bytes(contents[: len(contents) // 2]),
        "gone": path.unlink,
    }[damage]()
    code, words = run_here(tiny.arguments, whole)
    # Tables of the run are made of the shards each time; of a shard nothing is left to make it of.
    assert code == (2 if name.startswith("shards") else 0), words
    assert (f"remove the folder {path.parent} and run the same command again" in words) is (code == 2)
    shutil.rmtree(path.parent)
    assert finished(tiny.arguments, whole, tiny.expected) == []


def test_any_flipped_bit_of_a_stored_table_is_noticed_or_changes_no_value(tiny, whole):
    path = whole / "tables" / "attributions.parquet"
    sound = path.read_bytes()
    table = Run(whole).table("attributions")
    rng = np.random.default_rng(0)
    outcomes = {"refused": 0, "the same": 0, "another": 0}
    for place in rng.choice(len(sound), 150, replace=False):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        outcomes[_outcome(whole, table)] += 1
    assert outcomes["another"] == 0
    assert outcomes["refused"] > 50


def _outcome(folder: Path, table: pd.DataFrame) -> str:
    from audit.errors import RunError

    try:
        return "the same" if Run(folder).table("attributions").equals(table) else "another"
    except RunError:
        return "refused"


def test_damaged_pictures_of_a_run_are_named_and_made_again(tiny, whole):
    (whole / "exemplars" / "00000.npz").write_bytes(b"PK no archive")
    code, words = run_here(tiny.arguments, whole)
    assert (code, words.count("\n")) == (2, 1)
    assert f"remove the folder {whole / 'exemplars'}" in words
    shutil.rmtree(whole / "exemplars")
    assert finished(tiny.arguments, whole, tiny.expected) == []


def test_a_damaged_cache_of_detections_is_named(tiny, out):
    cache = tiny.folder / "broken cache"
    cache.mkdir()
    (cache / "regions.db").write_bytes(b"SQLite format 3\0 but not really" * 50)
    code, words = run_here(tiny.arguments, out, "--set", f"run.cache={cache}")
    assert (code, words.count("\n")) == (4, 1)
    assert str(cache / "regions.db") in words
    (cache / "regions.db").unlink()
    assert run_here(tiny.arguments, out, "--set", f"run.cache={cache}") == (0, "")
    assert results_of(out) == tiny.expected


def test_a_model_that_says_the_same_of_everything_is_never_sound_and_never_passes(
    tiny, out, tmp_path, capsys
):
    model = model_reading("face")
    model.get_layer("scores").set_weights([np.zeros((3, 2)), np.zeros(2)])
    model.save(tmp_path / "constant.keras")
    shutil.copy(tiny.folder / "world" / "classes.txt", tmp_path / "constant.classes.txt")
    assert run_here(tiny.arguments, out, "--model", str(tmp_path / "constant.keras"))[0] == 0
    attributions = Run(out).table("attributions")
    assert attributions["mass_inside"].isna().all()
    assert set(attributions["status"]) == {"empty"}
    assert "sound" not in set(Run(out).table("verdicts")["status"])
    rules = tmp_path / "gate.toml"
    rules.write_text('[[rule]]\nstatistic = "mass_inside"\nmin = 0.0\n')
    assert main(["gate", str(out), "--rules", str(rules)]) == 1
    for path in out.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=pytest.fail)  # NaN and Infinity are no JSON


def test_masks_that_are_empty_full_or_of_other_values_cost_no_other_sample(tiny, out):
    masks = tiny.folder / "masks"
    shutil.copytree(tiny.folder / "world" / "masks", masks)
    first, second, third = sorted((masks / "t-shirt").glob("*.png"))[:3]
    Image.new("L", (32, 32), 0).save(first)
    Image.new("L", (32, 32), 255).save(second)
    Image.fromarray((np.asarray(Image.open(third)) > 0).astype(np.uint8)).save(
        third
    )  # 0 and 1 instead of 0 and 255
    arguments = [*tiny.arguments, "--data", str(tiny.folder / "world" / "images"), "--masks", str(masks)]
    assert run_here([*arguments, "--classes", str(tiny.folder / "world" / "classes.txt")], out)[0] == 0
    table = Run(out).table("attributions").set_index("sample_id")
    empty, full, ones = (table.loc[f"t-shirt/{path.name}"] for path in (first, second, third))
    whole = Run(tiny.folder / "whole").table("attributions").set_index("sample_id")
    assert not np.isnan(ones["mass_inside"])
    assert np.isnan(empty["mass_inside"])
    assert empty["reason"]
    assert np.isnan(full["mass_inside"])  # all of the mass lies on everything: that says nothing
    assert full["reason"]
    for score in ("mass_inside", "area_inside"):
        assert ones[score] == whole.loc[f"images/t-shirt/{third.name}", score]
    counts = Run(out).manifest()["counts"]
    assert (counts["samples"], counts["audited"] + counts["quarantined"]) == (12, 12)
    assert leftovers(out) == []
