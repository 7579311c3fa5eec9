"""Small pictures: drawn while samples are scored, whoever scores them, and shown by the report."""

import json

import numpy as np
import pytest

from audit.scoring import Outcome
from audit.types import AttributionBatch, Batch
from pipelines import gallery
from pipelines.cli import main
from pipelines.storage import Run
from reports import sheets
from tests.worlds import UNCERTIFIED, World, draw_world, model_reading


@pytest.mark.parametrize(
    ("counts", "n_pictures", "expected"),
    [
        ({"a": 10, "b": 90}, 100, {"a": 1.0, "b": 1.0}),
        (
            {"a": 10, "b": 90},
            55,
            {"a": 1.0, "b": 0.5},
        ),  # 27 for a, which needs 10; the other 45 of 90 are left
        ({"a": 40, "b": 40}, 20, {"a": 0.25, "b": 0.25}),
        ({"a": 40}, 0, {"a": 0.0}),
        ({}, 5, {}),
    ],
)
def test_small_classes_are_drawn_whole_and_large_ones_share_the_rest(counts, n_pictures, expected):
    assert gallery.shares(counts, n_pictures) == expected


def batch_of(n: int) -> tuple[Batch, Outcome, dict[str, str]]:
    """Samples of which number i is a photo of grey i / 255, without mass."""
    ids = tuple(f"s{number:03d}" for number in range(n))
    images = np.stack([np.full((8, 8, 3), number / 255, dtype=np.float32) for number in range(n)])
    blank = np.zeros((n, 8, 8), dtype=np.uint8)
    maps = AttributionBatch(
        blank.astype(np.float32),
        np.full(n, "ok"),
        np.zeros(n),
        np.zeros(n),
        np.zeros(n, dtype=np.int64),
        (8, 8),
    )
    batch = Batch(ids, images, np.zeros(n, dtype=np.int64), blank, {})
    return (
        batch,
        Outcome(np.ones((n, 1)), np.zeros(n, dtype=np.int64), {"grad_cam": maps}),
        {s: f"d{s}" for s in ids},
    )


def test_an_album_stores_each_full_sheet_at_once_and_the_rest_when_it_is_closed(tmp_path):
    run = Run(tmp_path)
    album = gallery.Album(run, "positive")
    batch, outcome, digests = batch_of(2 * sheets.N_TILES + 5)
    is_drawn = np.ones(len(digests), dtype=bool)
    is_drawn[0] = False
    album.add(batch, outcome, digests, is_drawn)
    assert len(list(run.read_sheets())) == 2
    album.close()
    album.close()
    stored = list(run.read_sheets())
    assert sorted(len(sheet.sample_ids) for sheet in stored) == [4, sheets.N_TILES, sheets.N_TILES]
    drawn = {sample_id for sheet in stored for sample_id in sheet.sample_ids}
    assert drawn == set(batch.sample_ids[1:])


def test_a_sheet_comes_back_as_it_was_stored(tmp_path):
    tile = sheets.small(
        ("a\ud800\n<b>", "digest"),
        np.zeros((4, 6, 3), dtype=np.uint8),
        np.zeros((4, 6)),
        {},
        {"xrai": np.ones((4, 6))},
    )
    sheet = sheets.join([tile], (4, 6))
    Run(tmp_path).write_sheet(sheet)
    assert list(Run(tmp_path).read_sheets()) == [sheet]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    world = draw_world(tmp_path_factory.mktemp("world"))
    model_reading("face").save(world.folder / "reads_face.keras")
    return world


def run(world: World, *more: str) -> int:
    return main(
        [
            *("run", "--data", str(world.manifest), "--model", str(world.folder / "reads_face.keras")),
            *("--methods", "grad_cam", "--workers", "0", *UNCERTIFIED),
            *("--set", "confounds.use=['annotated']", "--set", "interventions.use=[]"),
            *(
                "--set",
                "attributions.untrained_per_class=0",
                "--set",
                "report.worst=2",
                "--set",
                "report.typical=0",
            ),
            *more,
        ]
    )


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    assert run(world, "--out", str(out)) == 0
    return Run(out)


def drawn_in(stored: Run) -> dict[str, str]:
    """Digest of the file by sample id, of every tile of the run's sheets."""
    return {
        sample_id: digest
        for sheet in stored.read_sheets()
        for sample_id, digest in zip(sheet.sample_ids, sheet.digests, strict=True)
    }


def core_of(stored: Run) -> dict:
    text = (stored.report / "gallery" / "samples.js").read_text()
    return json.loads(text.removeprefix("rightReasons(").removesuffix(");\n"))["core"]


def test_every_sample_is_drawn_from_the_file_that_was_scored(finished):
    predictions = finished.table("predictions")
    assert drawn_in(finished) == dict(zip(predictions["sample_id"], predictions["digest"], strict=True))
    assert len(predictions) == 48


def test_the_report_shows_a_picture_of_every_sample_and_has_the_files(finished):
    core = core_of(finished)
    assert min(core["sheet"]) == 0
    files = [name for sheet in core["sheets"] for name in sheet[1:]]
    assert len(files) == 2 * 3  # 48 samples are two sheets of 36: photo, things, grad_cam
    assert all((finished.report / name).stat().st_size > 0 for name in files)


def test_parts_and_their_merge_draw_what_one_run_draws(world, finished, tmp_path):
    shards = ["--set", "run.shard_size=20"]
    for part in ("1/2", "2/2"):
        assert run(world, "--out", str(tmp_path / part[0]), "--shard", part, *shards) == 0
    assert main(["merge", str(tmp_path / "1"), str(tmp_path / "2"), "--out", str(tmp_path / "whole")]) == 0
    assert drawn_in(Run(tmp_path / "whole")) == drawn_in(finished)


def test_only_so_many_are_drawn_and_the_exemplars_in_any_case(world, tmp_path):
    assert run(world, "--out", str(tmp_path / "none"), "--set", "report.thumbnails=0") == 0
    none = Run(tmp_path / "none")
    assert drawn_in(none) == {}
    core = core_of(none)
    shown = {core["ids"][at] for at, sheet in enumerate(core["sheet"]) if sheet >= 0}
    assert shown == {exemplar.sample_id for exemplar in none.read_exemplars()}
    assert len(shown) == 4  # two worst of two classes


def test_a_run_that_starts_anew_forgets_the_pictures(finished):
    folder = finished.path.parent / "copy"
    copy = Run(folder)
    for sheet in finished.read_sheets():
        copy.write_sheet(sheet)
    copy.clear_results()
    assert list(copy.read_sheets()) == []


def test_the_report_as_one_file_stands_beside_the_folder_and_shows_the_exemplars(finished, capsys):
    assert main(["report", str(finished.path), "--single-file"]) == 0
    path = finished.path / "report.html"
    assert capsys.readouterr().out.split()[-1] == str(path)
    text = path.read_text()
    assert text.startswith("<!doctype html>")
    assert text.count('id="page-') > 5
    assert text.count("data:image/webp;base64,") >= 2 * len(finished.read_exemplars())
    assert "gallery/samples.js" not in text
