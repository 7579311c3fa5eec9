"""`suggest`: a run of a model that reads faces, and a pool whose truth is in its file names."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.suggestions import WITH, WITHOUT
from pipelines.cli import main
from pipelines.config import DataConfig
from pipelines.pool_looks import packed, unpacked
from pipelines.storage import Run
from pipelines.unlabelled import pool_samples
from tests.worlds import (
    COLOURS,
    FACE_SIZE,
    GARMENT_SIZE,
    GREY,
    RED,
    SIDE,
    UNCERTIFIED,
    World,
    draw_world,
    model_reading,
)

DETECTOR = """
from dataclasses import dataclass
import numpy as np

__all__ = ["Reddish"]

@dataclass(frozen=True)
class Reddish:
    confound: str = "face"
    version: str = "1"

    def __call__(self, image):
        return (image[..., 0] > 180) & (image[..., 1] < 80)
"""
N_KIND = 12


def draw(path: Path, label: str, has_face: bool, rng: np.random.Generator) -> None:
    """A garment at the bottom, with or without a face at the top."""
    image = np.empty((SIDE, SIDE, 3), np.uint8)
    image[:] = GREY
    image += rng.integers(0, 8, image.shape, dtype=np.uint8)
    left, top = rng.integers(0, SIDE - GARMENT_SIZE), rng.integers(SIDE // 2, SIDE - GARMENT_SIZE)
    image[top : top + GARMENT_SIZE, left : left + GARMENT_SIZE] = COLOURS[label]
    if has_face:
        x, y = rng.integers(0, SIDE - FACE_SIZE), rng.integers(0, SIDE // 2 - FACE_SIZE)
        image[y : y + FACE_SIZE, x : x + FACE_SIZE] = RED
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    world = draw_world(tmp_path_factory.mktemp("world"), n_per_class=14)
    model_reading("face").save(world.folder / "model.keras")
    (world.folder / "reddish.py").write_text(DETECTOR)
    return world


@pytest.fixture(scope="module")
def pool(world, tmp_path_factory) -> Path:
    """Every kind N_KIND times, a copy of an audited photo, the same new photo twice, and a file that is no picture."""
    folder, rng = tmp_path_factory.mktemp("pool"), np.random.default_rng(5)
    for label in COLOURS:
        for has_face in (False, True):
            for number in range(N_KIND):
                draw(
                    folder / f"{label}-{'face' if has_face else 'plain'}-{number:02d}.png",
                    label,
                    has_face,
                    rng,
                )
    (folder / "copy of shoes.png").write_bytes((world.folder / "images/shoes/003.png").read_bytes())
    (folder / "t-shirt-plain-twice.png").write_bytes((folder / "t-shirt-plain-00.png").read_bytes())
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def audited(world: World, out: Path, use: str) -> Path:
    arguments = ["run", "--data", str(world.manifest), "--model", str(world.folder / "model.keras")]
    arguments += [
        "--out",
        str(out),
        "--workers",
        "0",
        *UNCERTIFIED,
        "--methods",
        "grad_cam",
        "--set",
        f"confounds.use={use}",
    ]
    assert main([*arguments, "--set", "interventions.use=['remove']"]) == 0
    return out


@pytest.fixture(scope="module")
def by_detector(world, tmp_path_factory) -> Path:
    without_boxes = world.folder / "plain.csv"
    rows = list(csv.DictReader(world.manifest.open(newline="")))
    lines = ["path,label,split,mask_path", *(f"{r['path']},{r['label']},test,{r['mask_path']}" for r in rows)]
    without_boxes.write_text("\n".join(lines) + "\n")
    out = tmp_path_factory.mktemp("runs") / "detector"
    arguments = [
        "run",
        "--data",
        str(without_boxes),
        "--model",
        str(world.folder / "model.keras"),
        "--out",
        str(out),
    ]
    arguments += [
        "--classes",
        str(world.folder / "classes.txt"),
        "--workers",
        "0",
        *UNCERTIFIED,
        "--methods",
        "grad_cam",
    ]
    arguments += [
        "--set",
        f"confounds.use=['{world.folder / 'reddish.py'}']",
        "--set",
        "interventions.use=['remove']",
    ]
    assert main(arguments) == 0
    return out


def suggest(run: Path, pool: Path, out: Path, *more: str) -> list[dict[str, str]]:
    assert main(["suggest", str(run), "--pool", str(pool), "--out", str(out), *more]) == 0
    return list(csv.DictReader(out.open(newline=""))) if out.suffix == ".csv" else []


def kinds_of(rows) -> list[tuple[str, str]]:
    """(what the file is, what it is listed for)."""
    return [(Path(row["path"]).name.rpartition("-")[0], row["kind"]) for row in rows]


def test_what_contradicts_the_confound_is_suggested_on_both_sides(by_detector, pool, tmp_path):
    rows = suggest(by_detector, pool, tmp_path / "list.csv", "--n", "16")
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 17)]
    # The model calls every one of them by the face; the reading without it tells the garments apart.
    assert set(kinds_of(rows)) == {("t-shirt-plain", WITHOUT), ("shoes-face", WITH)}
    assert {(row["label"], row["predicted"]) for row in rows} == {("t-shirt", "shoes"), ("shoes", "t-shirt")}
    assert all("face" in row["reason"] for row in rows)
    # Each reads as another class than the model says, so it is at least as probably wrong.
    assert all(float(row["risk"]) >= float(row["likely"]) > 0.5 for row in rows)


def test_copies_are_left_out_and_unreadable_files_are_counted(by_detector, pool, tmp_path, capsys):
    rows = suggest(by_detector, pool, tmp_path / "list.csv", "--n", "60")
    names = [Path(row["path"]).name for row in rows]
    assert len(names) == len(set(names)) <= 2 * N_KIND
    assert "copy of shoes.png" not in names
    assert not {"t-shirt-plain-00.png", "t-shirt-plain-twice.png"} <= set(names)
    said = " ".join(capsys.readouterr().out.split())
    assert int(re.search(r"(\d+) pictures are copies of labelled or other ones", said)[1]) >= 2
    assert "1 picture could not be read" in said


def test_without_a_detector_the_features_tell_the_confound(world, pool, tmp_path, capsys):
    run = audited(world, tmp_path / "run", "['annotated']")
    rows = suggest(run, pool, tmp_path / "list.csv", "--n", "12")
    assert set(kinds_of(rows)) == {("t-shirt-plain", WITHOUT), ("shoes-face", WITH)}
    assert all("as far as the model's features tell" in row["reason"] for row in rows)
    assert "No detector looks for face in the pool" in " ".join(capsys.readouterr().out.split())
    # What was looked at once is not looked at again.
    stamps = {path: path.stat().st_mtime_ns for path in (run / "pool").rglob("*.parquet")}
    suggest(run, pool, tmp_path / "other.csv", "--n", "3")
    assert {path: path.stat().st_mtime_ns for path in (run / "pool").rglob("*.parquet")} == stamps


def test_the_list_is_written_for_labelling_tools(by_detector, pool, tmp_path):
    suggest(by_detector, pool, tmp_path / "tasks.json", "--n", "4", "--format", "label_studio")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert len(tasks) == 4
    assert tasks[0]["predictions"][0]["result"][0]["value"]["choices"][0] in COLOURS
    assert tasks[0]["data"]["image"].startswith("/data/local-files/?d=")
    suggest(by_detector, pool, tmp_path / "samples.json", "--n", "4", "--format", "fiftyone")
    samples = json.loads((tmp_path / "samples.json").read_text())["samples"]
    assert {sample["predicted"]["_cls"] for sample in samples} == {"Classification"}
    assert all(Path(sample["filepath"]).is_file() and "ground_truth" not in sample for sample in samples)
    suggest(by_detector, pool, tmp_path / "coco.json", "--n", "4", "--format", "coco")
    document = json.loads((tmp_path / "coco.json").read_text())
    assert [(image["width"], image["height"]) for image in document["images"]] == [(SIDE, SIDE)] * 4
    assert {category["name"] for category in document["categories"]} == set(COLOURS)


def test_the_sheet_needs_nothing_but_itself(by_detector, pool, tmp_path):
    suggest(by_detector, pool, tmp_path / "list.csv", "--n", "4")
    page = (tmp_path / "list.html").read_text()
    assert page.count('src="data:image/webp;base64,') == 4
    # The name of SVG's namespace is no address that anything is loaded from.
    assert "http" not in page.replace("http-equiv", "").replace("xmlns='http://www.w3.org/2000/svg'", "")


def test_a_pool_without_pictures_or_a_missing_option_is_one_sentence(by_detector, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert (
        main(
            ["suggest", str(by_detector), "--pool", str(tmp_path / "empty"), "--out", str(tmp_path / "a.csv")]
        )
        == 3
    )
    assert "expected pictures, found none" in capsys.readouterr().err
    assert main(["suggest", str(by_detector)]) == 2


def test_a_pool_may_be_a_table_of_paths(by_detector, pool, tmp_path):
    # A picture that is named twice is one.
    (pool / "table.csv").write_text("path\nt-shirt-plain-03.png\n./t-shirt-plain-03.png\nshoes-face-04.png\n")
    rows = suggest(by_detector, pool / "table.csv", tmp_path / "list.csv", "--n", "9")
    assert sorted(kinds_of(rows)) == [("shoes-face", WITH), ("t-shirt-plain", WITHOUT)]
    assert Run(by_detector).exists()


def test_the_dataset_itself_may_lie_in_the_pool(world, pool, tmp_path, capsys):
    """Where the ids of labelled photos are their paths, as those of the pool's pictures are."""
    photos = [
        (str(world.folder / row["path"]), row["label"])
        for row in csv.DictReader(world.manifest.open(newline=""))
    ]
    table = tmp_path / "labelled.csv"
    table.write_text("path,label\n" + "".join(f"{path},{label}\n" for path, label in photos))
    run = tmp_path / "run"
    arguments = ["run", "--data", str(table), "--model", str(world.folder / "model.keras"), "--out", str(run)]
    arguments += ["--classes", str(world.folder / "classes.txt"), "--workers", "0", *UNCERTIFIED]
    arguments += ["--methods", "grad_cam", "--set", "data.allow_outside=true"]
    arguments += ["--set", f"confounds.use=['{world.folder / 'reddish.py'}']"]
    assert main([*arguments, "--set", "interventions.use=['remove']"]) == 0
    own, both = tmp_path / "own.csv", tmp_path / "both.csv"
    own.write_text("path\n" + "".join(f"{path}\n" for path, _ in photos))
    both.write_text(own.read_text() + "".join(f"{path}\n" for path in sorted(pool.glob("*.png"))))
    capsys.readouterr()
    rows = suggest(run, both, tmp_path / "list.csv", "--n", "16")
    assert set(kinds_of(rows)) == {("t-shirt-plain", WITHOUT), ("shoes-face", WITH)}
    said = " ".join(capsys.readouterr().out.split())
    # Its 28 photos, one copy of them, and one picture of the pool that is there twice.
    assert int(re.search(r"(\d+) pictures are copies of labelled or other ones", said)[1]) >= 30
    assert main(["suggest", str(run), "--pool", str(own), "--out", str(tmp_path / "no.csv")]) == 3
    assert "found only the 28 that the dataset has already" in " ".join(capsys.readouterr().err.split())


def test_numbers_survive_packing_as_half_precision():
    values = np.array([[0.5, -2.0, 1e9]])
    np.testing.assert_array_equal(
        unpacked([packed(row) for row in values]), np.array([[0.5, -2.0, 65504]], np.float16)
    )


def risks_of(run: Path, pool: Path, out: Path) -> dict[str, dict[str, str]]:
    assert main(["risk", str(run), "--pool", str(pool), "--out", str(out)]) == 0
    return {Path(row["path"]).name: row for row in csv.DictReader(out.open(newline=""))}


def test_every_unlabelled_picture_gets_a_risk_and_the_folder_an_expected_accuracy(
    by_detector, pool, tmp_path, capsys
):
    rows = risks_of(by_detector, pool, tmp_path / "risks.csv")
    said = " ".join(capsys.readouterr().out.split())
    assert set(rows) == {path.name for path in pool.glob("*.png")}
    assert sorted(int(row["rank"]) for row in rows.values()) == list(range(1, len(rows) + 1))
    mean = np.mean([1 - float(row["risk"]) for row in rows.values()])
    assert f"Expected accuracy on {len(rows)} pictures: {100 * mean:.0f}" in said.replace("\u202f", " ")
    assert "1 picture could not be used, the first since:" in said


def test_a_confound_that_decides_is_not_taken_for_knowledge(by_detector, pool, tmp_path):
    rows = risks_of(by_detector, pool, tmp_path / "risks.csv").values()
    # In the run every t-shirt has a face and the model is never wrong; in the pool every second garment of either kind
    # has one, so that its answers, as sure as before, are wrong for a half.
    assert min(float(row["confidence"]) for row in rows) > 0.9
    assert 1 - np.mean([float(row["risk"]) for row in rows]) == pytest.approx(0.5, abs=0.1)


def test_pictures_are_looked_at_once_and_again_when_they_change(by_detector, pool, tmp_path, monkeypatch):
    import pipelines.unlabelled as unlabelled

    changing = tmp_path / "pool"
    changing.mkdir()
    for path in sorted(pool.glob("shoes-*.png")):
        (changing / path.name).write_bytes(path.read_bytes())
    first = risks_of(by_detector, changing, tmp_path / "first.csv")
    looked = []
    score = unlabelled.score_pictures
    monkeypatch.setattr(
        unlabelled,
        "score_pictures",
        lambda work, samples: looked.append(len(samples)) or score(work, samples),
    )
    assert risks_of(by_detector, changing, tmp_path / "again.csv") == first
    assert looked == []
    (changing / "shoes-face-00.png").write_bytes((pool / "t-shirt-plain-00.png").read_bytes())
    risks_of(by_detector, changing, tmp_path / "changed.csv")
    assert sum(looked) == len(first)


def test_risk_of_another_model_or_of_no_picture_is_one_sentence(by_detector, world, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    wrong = ["risk", str(by_detector), "--pool", str(tmp_path / "empty"), "--out", str(tmp_path / "r.csv")]
    assert main(wrong) == 3
    assert "expected pictures, found none" in capsys.readouterr().err
    (tmp_path / "empty" / "text.png").write_text("no picture")
    assert main(wrong) == 3
    assert "could use none of 1" in " ".join(capsys.readouterr().err.split())


def test_a_table_that_spells_a_picture_in_two_ways_names_it_once(pool):
    table = pool / "pool.csv"
    table.write_text("path\nshoes-plain-00.png\n./shoes-plain-00.png\nshoes-plain-01.png\n")
    found = [Path(sample.image_path).name for sample in pool_samples(table, DataConfig(path=pool))]
    table.unlink()
    assert found == ["shoes-plain-00.png", "shoes-plain-01.png"]
