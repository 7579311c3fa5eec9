"""Made pictures and findings of a run of a model that reads faces, with the faces annotated."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.interventions._fills import laid_on
from pipelines.cli import main
from pipelines.counterfactuals import DONATED, FILLED, OWN, SPLIT, origins_of
from tests.worlds import RED, UNCERTIFIED, World, draw_world, model_reading


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    world = draw_world(tmp_path_factory.mktemp("world"), n_per_class=14)
    model_reading("face").save(world.folder / "model.keras")
    return world


@pytest.fixture(scope="module")
def run(world, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    arguments = [
        "run",
        "--data",
        str(world.manifest),
        "--model",
        str(world.folder / "model.keras"),
        "--out",
        str(out),
    ]
    arguments += [
        "--workers",
        "0",
        *UNCERTIFIED,
        "--methods",
        "grad_cam",
        "--set",
        "confounds.use=['annotated']",
    ]
    assert main([*arguments, "--set", "interventions.use=['remove']"]) == 0
    return out


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def is_red(image: np.ndarray) -> np.ndarray:
    return (np.abs(image.astype(int) - RED).max(axis=-1) < 30).any()


@pytest.fixture(scope="module")
def made(run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made") / "pictures"
    assert main(["suggest", str(run), "--counterfactuals", str(out), "--n", "6"]) == 0
    return out


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "manifest.csv").open(newline="")))


def test_faces_are_taken_from_shirts_and_brought_to_shoes(made):
    rows = rows_of(made)
    assert [(row["label"], row["change"]) for row in rows] == [("t-shirt", "remove")] * 6 + [
        ("shoes", "transplant")
    ] * 6 + [("t-shirt", "crop")] * 6
    assert [bool(is_red(pixels(made / row["path"]))) for row in rows] == [False] * 6 + [True] * 6 + [
        False
    ] * 6
    assert {row["split"] for row in rows} == {SPLIT}
    assert len({row["sample_id"] for row in rows}) == 18


def part_of(row: dict[str, str]) -> tuple[slice, slice]:
    """Rows and columns of a photo of 32 pixels that a made picture shows."""
    x0, y0, x1, y1 = (round(32 * float(side)) for side in (row["crop"] or "0 0 1 1").split())
    return slice(y0, y1), slice(x0, x1)


def test_each_made_picture_says_what_it_is_made_from(made, world):
    for row in rows_of(made):
        image, origins = pixels(made / row["path"]), pixels(made / row["origins_path"])
        window = part_of(row)
        photo = pixels(Path(row["made_from_path"]))[window]
        np.testing.assert_array_equal(image[origins == OWN], photo[origins == OWN])
        assert row["change"] == "crop" or 0 < (origins != OWN).mean() < 0.5
        assert row["change"] != "crop" or (origins == OWN).all()
        # The object is the photo's own, and its mask goes along.
        mask = pixels(made / row["mask_path"])
        np.testing.assert_array_equal(
            mask, pixels(world.folder / "masks" / Path(row["made_from"]).relative_to("images"))[window]
        )
        assert (origins[mask == 255] == OWN).all()
        assert bool(row["donors"]) == (row["change"] == "transplant")
        if row["donors"]:
            donor = pixels(world.folder / row["donors"])
            np.testing.assert_array_equal(image[origins == DONATED], donor[origins == DONATED])


def test_made_pictures_are_no_test_split(made, world, tmp_path, capsys):
    arguments = ["run", "--data", str(made / "manifest.csv"), "--model", str(world.folder / "model.keras")]
    arguments += ["--out", str(tmp_path / "r"), "--workers", "0", *UNCERTIFIED, "--methods", "grad_cam"]
    arguments += ["--classes", str(world.folder / "classes.txt"), "--set", "confounds.use=[]"]
    assert main([*arguments, "--splits", "test"]) == 2
    assert f"found '{SPLIT}'" in " ".join(capsys.readouterr().err.split())


def test_made_pictures_never_lie_among_photos(run, world, tmp_path, capsys):
    assert main(["suggest", str(run), "--counterfactuals", str(world.folder / "images" / "more")]) == 2
    assert "must not mix with photos" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["suggest", str(run), "--counterfactuals", str(tmp_path)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_origins_tell_own_made_up_and_donated_pixels():
    image, donor = np.zeros((1, 3, 3), np.float32), np.ones((1, 3, 3), np.float32)
    after = np.array([[[0.0] * 3, [1.0] * 3, [0.5] * 3]], np.float32)
    assert origins_of(image, after, donor).tolist() == [[OWN, DONATED, FILLED]]


def test_rounding_makes_no_pixel_a_made_up_one():
    rng = np.random.default_rng(0)
    image, donor = ((rng.integers(256, size=(20, 40, 3)) / 255).astype(np.float32) for _ in range(2))
    left = np.zeros((20, 40), bool)
    left[:, :20] = True
    after = laid_on(image, donor, left, 0, kept=left & False)
    origins = origins_of(image, after, donor)
    assert (origins[left] == DONATED).all()
    assert (origins[~left] == OWN).all()


def test_findings_carry_prediction_verdict_and_boxes_to_labelling_tools(run, tmp_path, world):
    out = tmp_path / "samples.json"
    assert main(["export", str(run), "findings", "-o", str(out), "--format", "fiftyone"]) == 0
    samples = {s["sample_id"]: s for s in json.loads(out.read_text())["samples"]}
    assert len(samples) == 28
    worn = [s for s in samples.values() if s["ground_truth"]["label"] == "t-shirt"]
    assert {s["status"] for s in worn} == {"spurious"}
    assert {s["regions"]["detections"][0]["label"] for s in worn} == {"face"}
    assert not any("regions" in s for s in samples.values() if s["ground_truth"]["label"] == "shoes")
    boxes = {row["path"]: row for row in csv.DictReader(world.manifest.open(newline=""))}
    for sample_id, sample in samples.items():
        if "regions" in sample:
            # The face's box in the manifest, which no garment of this world reaches, over 32 pixels.
            left, top, width, height = sample["regions"]["detections"][0]["bounding_box"]
            row = boxes[sample_id]
            expected = [float(row[f"face_{end}"]) / 32 for end in ("xmin", "ymin", "xmax", "ymax")]
            np.testing.assert_allclose([left, top, left + width, top + height], expected, atol=1 / 128)
    tasks = tmp_path / "tasks.json"
    assert main(["export", str(run), "findings", "-o", str(tasks), "--format", "label_studio"]) == 0
    kinds = [result["type"] for result in json.loads(tasks.read_text())[-1]["predictions"][0]["result"]]
    assert kinds == ["choices", "rectanglelabels"]


def test_edits_cut_the_face_off_and_leave_as_much_of_the_photo_as_can_be(run, world, tmp_path, capsys):
    out = tmp_path / "edits.csv"
    assert main(["export", str(run), "edits", "-o", str(out)]) == 0
    assert "t-shirt, face: 14 of 14 photos that show it can be cropped." in " ".join(
        capsys.readouterr().out.split()
    )
    edits = list(csv.DictReader(out.open(newline="")))
    assert {(row["label"], row["kind"], row["confound"], row["value"]) for row in edits} == {
        ("t-shirt", "crop", "face", "")
    }
    assert len(edits) == 14
    known = {row["path"]: row for row in csv.DictReader(world.manifest.open(newline=""))}
    for row in edits:
        x0, y0, x1, y1 = (round(32 * float(row[side])) for side in ("x0", "y0", "x1", "y1"))
        part = pixels(Path(row["path"]))[y0:y1, x0:x1]
        assert not is_red(part)
        assert (part[..., 1].astype(int) - part[..., 0] > 100).sum() == 144  # the garment, whole
        left, right, bottom = (
            int(known[row["sample_id"]][f"face_{end}"]) for end in ("xmin", "xmax", "ymax")
        )
        columns = np.flatnonzero(pixels(world.folder / known[row["sample_id"]]["mask_path"]).any(axis=0))
        # Garments lie below the face or beside it; for the face's margin a fifth of the crop may go too.
        most = max(32 - bottom, left * (columns.max() < left), (32 - right) * (columns.min() >= right)) / 32
        assert 0.8 * most <= float(row["keeps"]) <= most
    assert [float(row["keeps"]) for row in edits] == sorted(
        (float(row["keeps"]) for row in edits), reverse=True
    )


def test_crops_are_boxes_for_labelling_tools(run, tmp_path):
    made = {}
    for form in ("json", "coco", "label_studio", "fiftyone"):
        out = tmp_path / f"{form}.json"
        assert main(["export", str(run), "edits", "-o", str(out), "--format", form]) == 0
        made[form] = json.loads(out.read_text())
    first = made["json"][0]
    box = [first["x0"], first["y0"], first["x1"] - first["x0"], first["y1"] - first["y0"]]
    assert (first["value"], first["target"]) == (None, None)
    np.testing.assert_allclose(made["coco"]["annotations"][0]["bbox"], [32 * side for side in box])
    assert made["coco"]["categories"][0]["name"] == "crop"
    (prediction,) = made["label_studio"][0]["predictions"]
    (rectangle,) = prediction["result"]
    assert rectangle["value"]["rectanglelabels"] == ["crop"]
    assert rectangle["value"]["width"] == pytest.approx(100 * box[2])
    (detection,) = made["fiftyone"]["samples"][0]["regions"]["detections"]
    assert detection == {"_cls": "Detection", "label": "crop", "bounding_box": pytest.approx(box)}


def test_where_the_object_is_not_annotated_no_photo_is_cropped_and_the_reason_is_told(
    run, world, tmp_path, capsys
):
    bare = tmp_path / "bare.csv"
    with world.manifest.open(newline="") as stream:
        rows = [row | {"mask_path": ""} for row in csv.DictReader(stream)]
    for row in rows:
        row["path"] = str(world.folder / row["path"])
    with bare.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    arguments = ["run", "--data", str(bare), "--model", str(world.folder / "model.keras")]
    arguments += ["--out", str(tmp_path / "run"), "--workers", "0", *UNCERTIFIED, "--methods", "grad_cam"]
    arguments += ["--classes", str(world.folder / "classes.txt"), "--set", "confounds.use=['annotated']"]
    assert (
        main([*arguments, "--set", "data.allow_outside=true", "--set", "interventions.use=['remove']"]) == 0
    )
    capsys.readouterr()
    assert main(["export", str(tmp_path / "run"), "edits", "-o", str(tmp_path / "edits.csv")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "0 of 14 photos that show it can be cropped. Of 14 the object is not annotated" in told
    assert len((tmp_path / "edits.csv").read_text().splitlines()) == 1


def test_an_unknown_table_is_answered_with_all_that_can_be_had(run, tmp_path, capsys):
    assert main(["export", str(run), "edit", "-o", str(tmp_path / "a.csv")]) != 0
    told = " ".join(capsys.readouterr().err.split())
    assert all(name in told for name in ("predictions", "duplicates, findings, edits", "found 'edit'"))


def test_a_table_without_pictures_has_no_form_for_labelling_tools(run, tmp_path, capsys):
    assert main(["export", str(run), "verdicts", "-o", str(tmp_path / "a.json"), "--format", "coco"]) == 2
    assert "expected a table with a picture in each row" in " ".join(capsys.readouterr().err.split())
