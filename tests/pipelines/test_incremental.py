"""A run that takes over what an earlier one knows: the same tables as from scratch, and nothing of anything else."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from audit.classifier import Classifier
from audit.types import MaskFile, Outline, Sample
from pipelines import incremental, origins
from pipelines.cli import main
from pipelines.config import RunConfig, validate
from pipelines.engine import Work
from pipelines.memory import Memory, arrays_from_bytes, arrays_to_bytes, rows_from_bytes, rows_to_bytes
from pipelines.models import model_digest
from pipelines.run import work_of
from pipelines.shards import Plan, _samples_digest, make_plan
from pipelines.storage import Run
from tests.worlds import CLASSES, UNCERTIFIED, World, draw_world, model_reading

N = 14
FEW = ["--set", "interventions.use=[]"]
CHANGED = 4
"""Photos that differ between the two days, of each kind one: pixels of each class, a mask, a new one."""


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    """Yesterday's photos; faces have no name, so that they are discovered."""
    world = draw_world(tmp_path_factory.mktemp("yesterday"), n_per_class=N)
    table = pd.read_csv(world.manifest)
    table[["path", "label", "split", "mask_path"]].to_csv(world.manifest, index=False)
    for thing in ("face", "garment"):
        model_reading(thing).save(world.folder / f"reads_{thing}.keras")
    return world


@pytest.fixture(scope="module")
def today(world, tmp_path_factory) -> World:
    """The same photos in another folder: two were edited, one has another mask, one is new, one is gone."""
    folder = tmp_path_factory.mktemp("today") / "photos"
    shutil.copytree(world.folder, folder)
    for name in ("t-shirt/003", "shoes/005"):
        edit(folder / f"images/{name}.png")
    edit(folder / "masks/t-shirt/007.png")
    for kind in ("images", "masks"):
        shutil.copy(folder / f"{kind}/shoes/001.png", folder / f"{kind}/shoes/900.png")
    edit(folder / "images/shoes/900.png")
    table = pd.read_csv(folder / "manifest.csv")
    new = table[table["path"] == "images/shoes/001.png"].replace("shoes/001", "shoes/900", regex=True)
    table = pd.concat([table[table["path"] != "images/shoes/002.png"], new])
    table.to_csv(folder / "manifest.csv", index=False)
    return World(folder, N)


def edit(path: Path) -> None:
    """Turns a picture's corner over: another file, much the same picture."""
    pixels = np.array(Image.open(path))
    pixels[:2, :2] = 255 - pixels[:2, :2]
    Image.fromarray(pixels).save(path)


def run(world: World, out: Path, *more: str, thing: str = "face") -> int:
    model = world.folder / f"reads_{thing}.keras"
    arguments = ["run", "--data", str(world.manifest), "--model", str(model), "--out", str(out)]
    for setting in (
        "confounds.use=['annotated','global','discovered','background']",
        "interventions.per_class=10",
        "interventions.minimum_separation=0",
        "attributions.untrained_per_class=4",
        "report.worst=2",
        "report.typical=2",
        "run.shard_size=8",
    ):
        arguments += ["--set", setting]
    return main([*arguments, "--methods", "grad_cam", "--workers", "0", *UNCERTIFIED, *more])


n_asked: dict[Path, int] = {}
"""Images that the model was asked about in the runs of the fixtures."""


def counted_run(world: World, out: Path, *more: str) -> Path:
    """A run whose calls of the model are counted."""
    whole, asked = Classifier._run, []

    def counted(self, purpose, layer, *arrays):
        asked.append(len(arrays[0]))
        return whole(self, purpose, layer, *arrays)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classifier, "_run", counted)
        assert run(world, out, *more) == 0
    n_asked[out] = sum(asked)
    return out


@pytest.fixture(scope="module")
def yesterdays(world, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "yesterday"
    assert run(world, out) == 0
    return out


@pytest.fixture(scope="module")
def from_scratch(today, tmp_path_factory) -> Path:
    return counted_run(today, tmp_path_factory.mktemp("runs") / "scratch")


@pytest.fixture(scope="module")
def taken_over(today, yesterdays, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "today"
    return counted_run(today, out, "--reuse", str(yesterdays))


def tables_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "tables").glob("*.parquet"))}


def n_taken(out: Path) -> int:
    return Run(out).manifest()["reuse"]["samples"]


def test_tables_are_those_of_a_run_from_scratch_bit_for_bit(taken_over, from_scratch):
    assert n_taken(taken_over) == 2 * N - CHANGED
    assert (
        sum(len(Run(taken_over).scored.read(i)["predictions"]) for i in Run(taken_over).finished_shards())
        == CHANGED
    )
    found, expected = tables_of(taken_over), tables_of(from_scratch)
    assert [name for name in expected if found.get(name) != expected[name]] == []
    assert found.keys() == expected.keys()


def test_things_were_discovered_and_interventions_run_in_the_comparison(from_scratch):
    tables = Run(from_scratch).all_tables()
    assert len(tables["discovered"].query("tested"))
    assert {"remove", "transplant", "normalise", "impose"} <= set(tables["interventions"]["kind"])


def test_exemplars_are_those_of_a_run_from_scratch(taken_over, from_scratch):
    pairs = list(zip(Run(taken_over).read_exemplars(), Run(from_scratch).read_exemplars(), strict=True))
    for found, expected in pairs:
        assert (found.sample_id, found.role) == (expected.sample_id, expected.role)
        assert found.regions.keys() == expected.regions.keys()
        np.testing.assert_array_equal(found.maps["grad_cam"], expected.maps["grad_cam"])


def test_paths_are_those_of_today(taken_over, today):
    assert Run(taken_over).table("predictions")["path"].str.startswith(str(today.folder)).all()


def test_the_model_is_asked_about_what_changed_and_little_more(taken_over, from_scratch):
    # A seventh of the photos changed; each is asked about, and lends pixels to others.
    assert n_asked[taken_over] < n_asked[from_scratch] / 2


def test_nothing_changed_nothing_is_asked(world, yesterdays, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("the model was asked")

    monkeypatch.setattr(Classifier, "_run", refuse)
    assert run(world, tmp_path / "again", "--reuse", str(yesterdays)) == 0
    assert tables_of(tmp_path / "again") == tables_of(yesterdays)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("run", "seed", 1),
        ("run", "batch_size", 4),
        ("attributions", "polarity", "absolute"),
        ("attributions", "methods", ["gradient"]),
        ("confounds", "use", ["annotated"]),
        ("model", "value_range", (-1.0, 1.0)),
        ("data", "exif", "ignore"),
    ],
)
def test_settings_of_a_score_are_part_of_its_origin(world, section, key, value):
    config = RunConfig.model_validate({"data": {"path": world.manifest}, "model": {"path": "model.keras"}})
    changed = config.model_copy(update={section: getattr(config, section).model_copy(update={key: value})})
    settings = [
        incremental.settings_of(make_plan(one, CLASSES, digest))
        for one, digest in ((config, "a"), (changed, "a"), (config, "b"))
    ]
    assert len(set(settings)) == 3  # the third is another model
    elsewhere = config.model_copy(update={"model": config.model.model_copy(update={"path": "copy.keras"})})
    assert incremental.settings_of(make_plan(elsewhere, CLASSES, "a")) == settings[0]


def test_no_score_comes_from_another_model_and_what_differs_is_told(world, yesterdays, tmp_path):
    assert run(world, tmp_path / "other", "--reuse", str(yesterdays), *FEW, thing="garment") == 0
    assert n_taken(tmp_path / "other") == 0
    (warning,) = Run(tmp_path / "other").manifest()["reuse"]["notes"]
    assert "its settings differ" in warning
    assert "model_digest" in warning


def planned_again(out: Path) -> tuple[Plan, Work]:
    """The plan and the work of a run, as they are now."""
    config = validate(Run(out).manifest()["config"], "the run")
    plan = make_plan(config, CLASSES, model_digest(config.model.path))
    return plan, work_of(config, out, plan)


def test_no_score_comes_from_another_version_of_a_package_or_of_the_program(
    yesterdays, tmp_path, monkeypatch
):
    plan, work = planned_again(yesterdays)
    found, notes = incremental.find_earlier(yesterdays, tmp_path, plan)
    assert (found and found.path, notes) == (yesterdays, ())
    assert incremental.take_over(Run(tmp_path / "same"), work, plan, found).n == 2 * N

    monkeypatch.setattr(origins, "versions", lambda *_: {"tensorflow": "0.1"})
    other = origins.program.__wrapped__()
    for module in (origins, incremental):
        monkeypatch.setattr(module, "program", lambda: other)
    nothing, (warning,) = incremental.find_earlier(yesterdays, tmp_path, plan)
    assert nothing is None
    assert "another version of the program or of a package" in warning
    assert incremental.take_over(Run(tmp_path / "other"), work, plan, found).n == 0


def test_an_origin_changes_with_everything_that_a_score_depends_on_and_not_with_the_place_of_a_file(tmp_path):
    mask = tmp_path / "mask.png"
    mask.write_bytes(b"mask")
    copy = tmp_path / "copy.png"
    copy.write_bytes(b"mask")
    other = tmp_path / "other.png"
    other.write_bytes(b"mast")

    def said(sample_id="a", label="shoe", path=mask, boxes=(), regions=None, split="", image="a.png"):
        outline = Outline(mask=MaskFile(str(path)), boxes=boxes)
        return origins.annotation_digest(Sample(sample_id, image, label, split, outline, regions or {}))

    assert said() == said(path=copy) == said(split="test") == said(image="elsewhere/a.png")
    different = {
        said(sample_id="b"),
        said(label="shirt"),
        said(path=other),
        said(path=tmp_path / "none"),
        said(boxes=((0, 0, 1, 1),)),
        said(regions={"face": Outline(boxes=((0, 0, 1, 1),))}),
        said(regions={"face": Outline(mask=MaskFile(str(other)))}),
    }
    assert len(different | {said()}) == 8
    base = {"is_drawn": False, "rows": 16}
    made = [
        origins.origin("s", "a", "i", **base),
        origins.origin("t", "a", "i", **base),
        origins.origin("s", "b", "i", **base),
        origins.origin("s", "a", "j", **base),
        origins.origin("s", "a", "i", **base | {"is_drawn": True}),
        origins.origin("s", "a", "i", **base | {"rows": 8}),
    ]
    assert len(set(made)) == 6


def test_what_is_damaged_is_computed_again_with_a_warning(world, yesterdays, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(yesterdays, damaged)
    path = damaged / "shards" / "00001" / "attributions.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    (damaged / "cache" / "results.db").write_bytes(b"SQLite format 3\0" + b"no database" * 1000)
    assert run(world, tmp_path / "next", "--reuse", str(damaged)) == 0
    assert n_taken(tmp_path / "next") == 2 * N - 8
    shard, memory = Run(tmp_path / "next").manifest()["warnings"]
    assert "is computed again, since it is damaged" in shard
    assert "results.db is damaged" in memory
    assert tables_of(tmp_path / "next") == tables_of(yesterdays)


def test_fewer_rows_a_call_are_noted_and_their_scores_are_not_taken_over(world, tmp_path, monkeypatch):
    whole = Classifier._run_in

    def with_little_memory(self, rows, *arguments):
        if rows > 4:
            raise MemoryError
        return whole(self, rows, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "_run_in", with_little_memory)
        assert run(world, tmp_path / "small", *FEW, "--set", "confounds.use=[]") == 0
    assert Run(tmp_path / "small").manifest()["effective_batch_size"] == 4
    # Rows of other calls round differently, so a run with memory enough would not give the same bits.
    plan, work = planned_again(tmp_path / "small")
    assert incremental.take_over(Run(tmp_path / "next"), work, plan, Run(tmp_path / "small")).n == 0


def test_the_history_of_a_run_that_took_scores_over_is_that_of_a_run_from_scratch(
    yesterdays, taken_over, from_scratch, tmp_path
):
    trends = []
    for second in (taken_over, from_scratch):
        runs = tmp_path / second.name
        for name, run_folder in (("first", yesterdays), ("second", second)):
            shutil.copytree(run_folder, runs / name)
        assert main(["history", str(runs), "-o", str(runs / "h.csv")]) == 0
        trends.append(pd.read_csv(runs / "h.csv").drop(columns=["started", "data"]))
    pd.testing.assert_frame_equal(*trends)
    assert list(trends[0]["run"]) == ["first", "first", "second", "second"]


def test_the_third_night_learns_from_the_newest_run_of_the_same_settings_in_a_folder(
    today, taken_over, tmp_path
):
    runs = tmp_path / "runs"
    for name, changes in (("monday", {"started": "2026-01-01"}), ("tuesday", {"settings": "others"})):
        shutil.copytree(taken_over, runs / name)
        Run(runs / name).write_manifest(Run(taken_over).manifest() | {"started": "2026-01-02"} | changes)
    (runs / "history").mkdir()
    assert run(today, runs / "wednesday", "--reuse", str(runs)) == 0
    assert Path(Run(runs / "wednesday").manifest()["reuse"]["path"]).name == "monday"
    assert n_taken(runs / "wednesday") == 2 * N
    assert tables_of(runs / "wednesday") == tables_of(taken_over)


def test_an_interrupted_run_goes_on_with_what_it_took_over_though_the_earlier_run_is_gone(
    today, taken_over, tmp_path
):
    out = tmp_path / "run"
    shutil.copytree(taken_over, out)
    manifest = Run(out).manifest()
    gone = manifest["reuse"] | {"path": str(tmp_path / "gone")}
    Run(out).write_manifest(manifest | {"reuse": gone, "state": "begun"})
    for phase in ("shards", "discovered", "interventions", "tables", "exemplars", "cache"):
        shutil.rmtree(out / phase)
    assert run(today, out) == 0
    assert n_taken(out) == 2 * N - CHANGED
    assert tables_of(out) == tables_of(taken_over)


@pytest.mark.parametrize("more", [["--reuse", "nowhere"], ["--reuse", ".", "--shard", "1/2"]], ids=str)
def test_what_cannot_be_reused_is_one_sentence(world, tmp_path, capsys, more):
    assert run(world, tmp_path / "run", *more) in (2, 3)
    assert "--reuse" in capsys.readouterr().err


def test_a_value_comes_back_as_it_was_and_a_damaged_one_does_not(tmp_path):
    rows = [{"a": 0.1 + 0.2, "b": None, "c": float("nan"), "d": True, "e": "é", "f": np.float64(1e-300)}]
    back = rows_from_bytes(rows_to_bytes(rows))
    assert repr(back) == repr([{**rows[0], "f": 1e-300}])
    arrays = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}
    np.testing.assert_array_equal(arrays_from_bytes(arrays_to_bytes(arrays))["x"], arrays["x"])

    first, second = Memory(tmp_path / "a.db"), Memory(tmp_path / "b.db", earlier=tmp_path / "a.db")
    first.keep({"one": b"1", "two": b"2"})
    assert second.recall(["one", "three"]) == {"one": b"1"}
    (tmp_path / "a.db").unlink()
    assert second.recall(["one", "two"]) == {"one": b"1"}  # what was asked for was copied
    import sqlite3

    with sqlite3.connect(tmp_path / "b.db") as connection:
        connection.execute("UPDATE results SET value = substr(value, 1, 32) || x'39' WHERE key = 'one'")
    assert second.recall(["one"]) == {}


def test_a_run_is_of_other_data_when_the_mask_of_a_region_changed_and_not_only_that_of_the_object(tmp_path):
    mask = tmp_path / "mask.png"
    samples = [Sample("a", "a.png", "shoe", regions={"face": Outline(mask=MaskFile(str(mask)))})]
    found = []
    for contents in (b"one", b"three"):
        mask.write_bytes(contents)
        found.append(_samples_digest(samples))
    assert found[0] != found[1]


def test_pictures_inside_a_record_file_are_taken_over_unless_they_changed(world, tmp_path):
    from tests.pipelines.test_tfrecord import write

    table = pd.read_csv(world.manifest)
    pictures = [(world.folder / path).read_bytes() for path in table["path"]]
    labels = [label.encode() for label in table["label"]]

    def audited(name: str, *more: str) -> Path:
        (tmp_path / name).mkdir()
        records = [{"image": [one], "label": [label]} for one, label in zip(pictures, labels, strict=True)]
        write(tmp_path / name / "photos.tfrecord", *records)
        out = tmp_path / name / "run"
        plain = ["--set", "confounds.use=['background']", *FEW, "--methods", "grad_cam", "--workers", "0"]
        data = ["--data", str(tmp_path / name), "--model", str(world.folder / "reads_face.keras")]
        assert main(["run", *data, "--out", str(out), *plain, *UNCERTIFIED, *more]) == 0
        return out

    first = audited("first")
    edited = tmp_path / "edited.png"
    edited.write_bytes(pictures[3])
    edit(edited)
    pictures[3] = edited.read_bytes()  # of another length, so every later picture lies elsewhere in the file
    again, scratch = audited("again", "--reuse", str(first)), audited("scratch")
    assert n_taken(again) == 2 * N - 1
    found, expected = (Run(out).table("predictions").drop(columns="path") for out in (again, scratch))
    pd.testing.assert_frame_equal(found, expected)
    found, expected = (Run(out).table("attributions") for out in (again, scratch))
    pd.testing.assert_frame_equal(found, expected)
