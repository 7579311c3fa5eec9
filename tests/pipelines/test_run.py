"""The audit end to end on a tiny drawn world, through the command line: nothing is trained."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from audit.errors import RunError
from pipelines.cli import main
from pipelines.storage import Run
from tests.worlds import World, draw_world, model_reading

METHODS = "grad_cam,integrated_gradients"


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    world = draw_world(tmp_path_factory.mktemp("world"))
    for thing in ("face", "garment"):
        model_reading(thing).save(world.folder / f"reads_{thing}.keras")
    return world


def run(world: World, out: Path, *more: str, thing: str = "face") -> int:
    """`rightreasons run` in this process."""
    model = world.folder / f"reads_{thing}.keras"
    arguments = ["run", "--data", str(world.manifest), "--model", str(model), "--out", str(out)]
    return main(
        [*arguments, "--methods", METHODS, "--workers", "0", "--set", "confounds.use=['annotated']", *more]
    )


@pytest.fixture(scope="session")
def finished(world, tmp_path_factory) -> Path:
    """A finished run of the model that reads faces."""
    out = tmp_path_factory.mktemp("runs") / "face"
    assert run(world, out) == 0
    return out


def tables_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "tables").glob("*.parquet"))}


def verdicts_of(out: Path) -> dict[tuple[str, str], str]:
    table = Run(out).table("verdicts")
    return {(row.label, row.method): f"{row.status} {row.confound}" for row in table.itertuples()}


def test_the_model_that_reads_faces_is_spurious_by_faces(finished):
    verdicts = verdicts_of(finished)
    assert verdicts["t-shirt", "grad_cam"] == "spurious face"
    assert verdicts["t-shirt", "integrated_gradients"] == "spurious face"


def test_the_model_that_reads_garments_is_sound_on_the_same_photos(world, tmp_path):
    assert run(world, tmp_path / "run", thing="garment") == 0
    assert {status.split()[0] for status in verdicts_of(tmp_path / "run").values()} == {"sound"}


def test_integrated_gradients_lie_where_the_hand_set_weights_look(finished):
    # The t-shirt logit of this model is linear in the redness of each pixel, and only the face is red.
    confounds = Run(finished).table("confounds").query("method == 'integrated_gradients' and present")
    assert len(confounds) == 24
    assert confounds["mass_inside"].min() > 0.99
    assert confounds["area_inside"].max() <= 8 * 8 / 32**2


def test_the_suggestion_names_counts_that_the_association_asks_for(finished):
    suggestions = Run(finished).table("suggestions")
    counts = {(row.label, row.kind): (row.n_now, row.n_class) for row in suggestions.itertuples()}
    assert counts == {("t-shirt", "add without confound"): (0, 24), ("shoes", "add with confound"): (0, 24)}
    x, y = (int(suggestions.query("label == @label")["n_to_add"].iloc[0]) for label in ("t-shirt", "shoes"))
    assert 24 / (24 + x) - y / (24 + y) <= 0.05 < 24 / (24 + x - 1) - y / (24 + y)


def test_every_sample_is_audited_or_quarantined(finished):
    counts = Run(finished).manifest()["counts"]
    assert counts == {"samples": 48, "audited": 48, "quarantined": 0}


def test_the_report_stands_where_the_terminal_says(world, tmp_path, capsys):
    assert run(world, tmp_path / "run") == 0
    last = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert Path(last.removeprefix("Report: ")).read_text().lower().startswith("<!doctype html>")


@pytest.mark.parametrize(
    "more", [["--set", "run.shard_size=7"], ["--workers", "1"], ["--workers", "2"]], ids=str
)
def test_scores_do_not_depend_on_shards_or_workers(world, finished, tmp_path, more):
    assert run(world, tmp_path / "run", *more) == 0
    assert tables_of(tmp_path / "run") == tables_of(finished)


def test_scores_do_not_depend_on_the_batch_size(world, finished, tmp_path):
    # Another batch size may choose other kernels, which sum in another order: float32 rounding, nothing more.
    assert run(world, tmp_path / "run", "--set", "run.batch_size=5") == 0
    for name in ("predictions", "attributions", "confounds"):
        one, other = Run(tmp_path / "run").table(name), Run(finished).table(name)
        pd.testing.assert_frame_equal(one, other, rtol=1e-5, atol=1e-6)


def test_scores_do_not_depend_on_the_samples_beside_them(world, finished, tmp_path):
    # Half of the dataset, in another order of rows.
    table = pd.read_csv(world.manifest).iloc[::-2]
    table.to_csv(world.folder / "half.csv", index=False)
    assert run(world, tmp_path / "run", "--data", str(world.folder / "half.csv")) == 0
    half, whole = (
        Run(out).table("attributions").set_index(["sample_id", "method"])
        for out in (tmp_path / "run", finished)
    )
    pd.testing.assert_frame_equal(half, whole.loc[half.index])


def test_a_killed_run_is_resumed_without_repeating_finished_shards(world, finished, tmp_path):
    out = tmp_path / "run"
    arguments = [
        "run",
        "--data",
        str(world.manifest),
        "--model",
        str(world.folder / "reads_face.keras"),
        "--out",
        str(out),
    ]
    arguments += [
        "--methods",
        METHODS,
        "--workers",
        "1",
        "--set",
        "run.shard_size=4",
        "--set",
        "confounds.use=['annotated']",
    ]
    code = "import sys; from pipelines.cli import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        while len(Run(out).finished_shards()) < 3 and process.poll() is None:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    survivors = Run(out).finished_shards()
    assert 3 <= len(survivors) < 12, "the run was over before it could be killed"
    stamps = {
        index: (out / "shards" / f"{index:05d}" / "predictions.parquet").stat().st_mtime_ns
        for index in survivors
    }
    wait_for_workers_of(process.pid)
    assert main([*arguments[:-6], "--workers", "0", *arguments[-4:]]) == 0
    assert stamps == {
        index: (out / "shards" / f"{index:05d}" / "predictions.parquet").stat().st_mtime_ns
        for index in survivors
    }
    assert tables_of(out) == tables_of(finished)


def wait_for_workers_of(parent: int) -> None:
    """Until no process of the killed parent's session lives; ten seconds are promised."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        sessions = [
            path.read_text().rpartition(")")[2].split()
            for path in Path("/proc").glob("[0-9]*/stat")
            if path.exists()
        ]
        if not any(int(fields[3]) == parent and fields[0] != "Z" for fields in sessions):
            return
        time.sleep(0.2)
    raise AssertionError("workers outlived their parent by ten seconds")


def test_a_finished_run_is_not_computed_again(world, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "shards").rglob("*.parquet")}
    assert run(world, tmp_path / "run") == 0
    assert before == {
        path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "shards").rglob("*.parquet")
    }


def test_another_audit_is_not_mixed_into_a_run(world, finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "run")
    assert run(world, tmp_path / "run", "--set", "run.seed=1") == 2
    assert "changed since: run.seed: 0 -> 1; choose another --out" in capsys.readouterr().err
    assert run(world, tmp_path / "run", "--set", "run.seed=1", "--force-new") == 0


def test_judging_with_other_limits_needs_no_model(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    assert main(["judge", str(tmp_path / "run"), "--set", "verdicts.minimum_samples=1000"]) == 0
    assert {status.split()[0] for status in verdicts_of(tmp_path / "run").values()} == {"undecided"}
    assert main(["judge", str(tmp_path / "run"), "--set", "verdicts.minimum_samples=10"]) == 0
    assert verdicts_of(tmp_path / "run") == verdicts_of(finished)


@pytest.mark.parametrize("ending", ["csv", "parquet", "json"])
def test_each_table_is_exported_with_class_names(finished, tmp_path, ending):
    path = tmp_path / f"table.{ending}"
    assert main(["export", str(finished), "attributions", "-o", str(path)]) == 0
    read = {
        "csv": pd.read_csv,
        "parquet": pd.read_parquet,
        "json": lambda p: pd.DataFrame(json.loads(p.read_text())),
    }
    table = read[ending](path)
    assert len(table) == 96
    assert set(table["target"]) == {"t-shirt", "shoes"}


def test_a_spreadsheet_does_not_run_a_file_name(tmp_path):
    from pipelines.exporters.csv import Csv

    Csv()(pd.DataFrame({"path": ["=cmd()", "a.jpg"], "margin": [-0.5, 0.5]}), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines() == ["path,margin", "'=cmd(),-0.5", "a.jpg,0.5"]


def copy_of(world: World, tmp_path: Path) -> Path:
    """The world's images as a folder per class, to be spoilt."""
    shutil.copytree(world.folder / "images", tmp_path / "images")
    shutil.copytree(world.folder / "masks", tmp_path / "masks")
    return tmp_path / "images"


def spoil_text(images: Path) -> str:
    (images / "shoes" / "000.png").rename(images / "shoes" / "000.jpg")
    (images / "shoes" / "000.jpg").write_text("this is no image")
    return "unreadable image"


def spoil_truncated(images: Path) -> str:
    path = images / "shoes" / "000.png"
    path.write_bytes(path.read_bytes()[:200])
    return "unreadable image"


def spoil_mask_size(images: Path) -> str:
    Image.new("L", (7, 5), 255).save(images.parent / "masks" / "shoes" / "000.png")
    return "mask of another size"


def spoil_missing_mask(images: Path) -> str:
    (images.parent / "masks" / "shoes" / "000.png").unlink()
    return "missing mask"


def spoil_label(images: Path) -> str:
    (images / "<script>alert(1)</script>".replace("/", "∕")).mkdir()
    (images / "shoes" / "000.png").rename(images / "<script>alert(1)<∕script>" / "000.png")
    return "unknown label"


@pytest.mark.parametrize(
    "spoil", [spoil_text, spoil_truncated, spoil_mask_size, spoil_missing_mask, spoil_label]
)
def test_one_bad_sample_is_quarantined_with_its_reason_and_costs_no_other(world, tmp_path, spoil):
    images = copy_of(world, tmp_path)
    reason = spoil(images)
    more = [
        "--data",
        str(images),
        "--masks",
        str(tmp_path / "masks"),
        "--classes",
        str(world.folder / "classes.txt"),
    ]
    assert run(world, tmp_path / "run", *more) == 0
    quarantine = Run(tmp_path / "run").table("quarantine")
    assert list(quarantine["reason"]) == [reason]
    assert Run(tmp_path / "run").manifest()["counts"] == {"samples": 48, "audited": 47, "quarantined": 1}


def test_more_quarantine_than_allowed_fails_the_run_with_exit_code_3(world, tmp_path, capsys):
    images = copy_of(world, tmp_path)
    for path in sorted(images.glob("shoes/*"))[:6]:
        path.write_text("no image")
    assert (
        run(world, tmp_path / "run", "--data", str(images), "--classes", str(world.folder / "classes.txt"))
        == 3
    )
    assert "6 of 48 samples are quarantined (unreadable image: 6)" in capsys.readouterr().err


def test_rows_that_cannot_be_read_and_are_added_later_are_not_overlooked(world, tmp_path, capsys):
    manifest = world.folder / "growing.csv"
    manifest.write_text(world.manifest.read_text())
    assert run(world, tmp_path / "run", "--data", str(manifest)) == 0
    swapped = "images/shoes/000.png,shoes,test,masks/shoes/000.png,5,5,1,1\n"
    manifest.write_text(
        manifest.read_text().replace("masks/shoes/000.png,,,,\n", swapped.partition("test,")[2])
    )
    assert run(world, tmp_path / "run", "--data", str(manifest)) == 2
    assert "holds another audit; changed since: the samples or their files" in capsys.readouterr().err


def test_images_on_which_the_model_says_nan_are_quarantined_and_the_others_audited(world, tmp_path):
    import keras

    model = model_reading("garment")
    pooled = model.get_layer("pool").output
    # Redness of a t-shirt photo is about 0.06, of the others 0: the logarithm of a negative number is NaN.
    broken = keras.layers.Softmax()(model.layers[-1](pooled) + keras.ops.log(0.02 - pooled[:, :1]))
    keras.Model(model.inputs, broken).save(tmp_path / "nan.keras")
    more = ["--model", str(tmp_path / "nan.keras"), "--set", "data.max_quarantine=0.6"]
    more += ["--methods", "integrated_gradients"]
    assert run(world, tmp_path / "run", *more, "--classes", str(world.folder / "classes.txt")) == 0
    quarantine = Run(tmp_path / "run").table("quarantine")
    assert set(quarantine["label"]) == {"t-shirt"}
    assert set(quarantine["reason"]) == {"model output not finite"}
    assert Run(tmp_path / "run").manifest()["counts"] == {"samples": 48, "audited": 24, "quarantined": 24}


def test_names_that_are_not_utf_8_are_audited_or_quarantined_like_others(world, tmp_path):
    images = copy_of(world, tmp_path)
    odd, broken = (images / "shoes" / os.fsdecode(name) for name in (b"\xff.png", b"\xfe.png"))
    (images / "shoes" / "000.png").rename(odd)
    broken.write_text("no image")
    classes = str(world.folder / "classes.txt")
    assert run(world, tmp_path / "run", "--data", str(images), "--classes", classes) == 0
    assert list(Run(tmp_path / "run").table("quarantine")["reason"]) == ["unreadable image"]
    assert Run(tmp_path / "run").manifest()["counts"] == {"samples": 49, "audited": 48, "quarantined": 1}


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--data", "nowhere"], 2, "nowhere: expected a dataset"),
        (["--data", "{empty}"], 3, "found an empty folder"),
        (["--model", "{world}/none.keras"], 2, "there is no such model"),
        (["--model", "{text}"], 2, "expected a .keras file, which is a zip archive, found something else"),
        (["--classes", "{three}"], 2, "the model has 2 classes, but 3 names are given"),
        (
            ["--classes", "{strangers}"],
            2,
            "does not know 48 of 48 labels; labels of the dataset: shoes, t-shirt; classes of the model: cat, dog",
        ),
        (["--splits", "train"], 2, "test"),
        (["--methods", "grad_camm"], 2, "grad_cam"),
        (["--set", "run.worker=1"], 2, "did you mean 'workers'"),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else None,
)
def test_a_wrong_input_is_one_clear_sentence(world, tmp_path, capsys, more, code, words):
    places = {
        "empty": tmp_path / "empty",
        "world": world.folder,
        "text": tmp_path / "text.keras",
        "three": tmp_path / "three.txt",
    }
    places["strangers"] = tmp_path / "strangers.txt"
    places["empty"].mkdir()
    places["text"].write_text("no model")
    places["three"].write_text("shoes\nt-shirt\nhat\n")
    places["strangers"].write_text("cat\ndog\n")
    model_classes = ["--classes", str(world.folder / "classes.txt")]
    assert run(world, tmp_path / "run", *model_classes, *(word.format(**places) for word in more)) == code
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_model_fed_with_swapped_names_is_a_loud_warning(world, tmp_path, capsys):
    swapped = tmp_path / "swapped.txt"
    swapped.write_text("t-shirt\nshoes\n")
    assert run(world, tmp_path / "run", "--classes", str(swapped)) == 0
    (warning,) = Run(tmp_path / "run").manifest()["warnings"]
    assert "order" in warning
    assert "Warning:" in capsys.readouterr().out


def test_the_starter_file_is_valid_and_check_says_what_the_run_will_meet(
    world, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arguments = ["--data", str(world.manifest), "--model", str(world.folder / "reads_face.keras")]
    arguments += ["--classes", str(world.folder / "classes.txt"), "--out", "audit.toml"]
    assert main(["init", *arguments]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "48 samples, 48 with foreground" in told
    assert "black is fed as 0, white as 255" in told
    assert main(["check", "audit.toml", "--methods", "grad_cam"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Annotated regions: face" in said
    assert "Accuracy on 16 of them: 100 %" in said
    assert main(["init", *arguments]) == 2


def test_a_folder_of_something_else_is_not_taken_for_a_run(world, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert run(world, tmp_path) == 2
    assert "found files of something else" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 2
    with pytest.raises(RunError, match=r"no manifest\.json"):
        Run(tmp_path).manifest()


def test_help_is_quick_because_nothing_heavy_is_imported():
    code = "import sys, pipelines.cli; print({'tensorflow', 'pandas', 'skimage'} & sys.modules.keys())"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "set()\n"
    )


@pytest.mark.parametrize("command", ["demo", "init", "check", "run", "judge", "report", "export", "doctor"])
def test_each_command_shows_an_example(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"Example: rightreasons {command}" in capsys.readouterr().out
