"""A model that misses small t-shirts: the run says so, and a pool is asked for small ones."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipelines.cli import main
from pipelines.storage import Run
from tests.worlds import BLUE, CLASSES, GREEN, GREY, SIDE, UNCERTIFIED, model_reading

SMALL, LARGE = (4, 5, 6), (13, 14, 15)
N_SMALL, N_LARGE = 12, 20


def draw(folder: Path, name: str, colour: np.ndarray, side: int, rng: np.random.Generator) -> None:
    image = np.empty((SIDE, SIDE, 3), np.uint8)
    image[:] = GREY
    image += rng.integers(0, 8, image.shape, dtype=np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    top, left = rng.integers(1, SIDE - side, 2)
    mask[top : top + side, left : left + side] = 255
    image[mask > 0] = colour
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / f"{name}.png")
    Image.fromarray(mask).save(folder / f"{name}.mask.png")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Shoes of any size, t-shirts small or large; the network calls green of more than 8 % of a picture a t-shirt."""
    folder, rng = tmp_path_factory.mktemp("sizes"), np.random.default_rng(0)
    lines = ["path,label,split,mask_path"]
    sizes = [("t-shirt", GREEN, SMALL, N_SMALL), ("t-shirt", GREEN, LARGE, N_LARGE)]
    sizes += [("shoes", BLUE, (*SMALL, *LARGE), 32)]
    for label, colour, sides, n in sizes:
        for index in range(n):
            name = f"{label}-{sides[0]}-{index:02}" if label == "t-shirt" else f"{label}-{index:02}"
            draw(folder / "images", name, colour, sides[index % len(sides)], rng)
            lines.append(f"images/{name}.png,{label},test,images/{name}.mask.png")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    network = model_reading("garment")
    # Greenness of the garment is 0.4 at least, so 8 % of the picture have a mean of 0.03 or more.
    weights, _ = network.get_layer("scores").get_weights()
    network.get_layer("scores").set_weights([weights, np.array([3.0, -3.0])])
    network.save(folder / "model.keras")
    out = folder / "run"
    arguments = ["run", "--data", str(folder / "manifest.csv"), "--model", str(folder / "model.keras")]
    arguments += ["--classes", str(folder / "classes.txt"), "--out", str(out), "--workers", "0", *UNCERTIFIED]
    arguments += ["--methods", "grad_cam", "--set", "confounds.use=['global']"]
    assert main([*arguments, "--set", "interventions.use=[]"]) == 0
    return out


def test_the_run_says_which_slice_is_missed_and_what_evens_it_out(run):
    slices = Run(run).table("weak_slices")
    weak = slices[slices["is_weak"] & (slices["trait"] == "object size")]
    (row,) = weak.to_dict("records")
    assert (row["label"], row["name"], row["n"], row["n_right"]) == ("t-shirt", "a small object", 12, 0)
    assert (row["n_rest"], row["n_rest_right"]) == (20, 20)
    # Between 36 and 169 of 1,024 pixels.
    assert row["threshold"] == pytest.approx((36 + 169) / 2 / 1024)
    wishes = Run(run).table("suggestions")
    (wish,) = wishes[wishes["kind"] == "add to weak slice"].to_dict("records")
    assert (wish["confound"], wish["n_now"], wish["n_class"], wish["n_to_add"]) == (
        "a small object",
        12,
        32,
        8,
    )


def test_the_report_shows_it(run):
    page = (run / "report" / "suggestions.html").read_text()
    assert "is recognised with a small object too" in re.sub("<[^>]*>", "", page)
    (of_class,) = [path for path in (run / "report" / "classes").glob("*.html") if path.stem == "t-shirt"]
    assert "Recognised less often" in of_class.read_text()


def test_a_pool_without_a_readable_picture_is_one_sentence(run, tmp_path, capsys):
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "broken.jpg").write_bytes(b"no picture")
    assert (
        main(["suggest", str(run), "--pool", str(tmp_path / "pool"), "--out", str(tmp_path / "list.csv")])
        == 3
    )
    assert "none of 1 pictures could be read" in " ".join(capsys.readouterr().err.split())


def test_a_pool_gives_small_ones(run, tmp_path):
    rng = np.random.default_rng(1)
    for name, colour, sides in (
        ("small", GREEN, SMALL),
        ("large", GREEN, LARGE),
        ("shoes", BLUE, (*SMALL, *LARGE)),
    ):
        for index in range(12):
            draw(tmp_path / "drawn", f"{name}-{index:02}", colour, sides[index % len(sides)], rng)
    pool = tmp_path / "pool"
    pool.mkdir()
    for path in (tmp_path / "drawn").glob("*-??.png"):
        path.rename(pool / path.name)
    out = tmp_path / "list.csv"
    assert main(["suggest", str(run), "--pool", str(pool), "--n", "8", "--out", str(out)]) == 0
    rows = pd.read_csv(out)
    asked = rows[rows["kind"] == "add to weak slice"]
    assert len(asked) == 8
    assert set(asked["label"]) == {"t-shirt"}
    assert {Path(path).name.split("-")[0] for path in asked["path"]} == {"small"}
    assert asked["reason"].str.contains("with a small object, as far as the model's features tell").all()
