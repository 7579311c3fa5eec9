"""Confounds that nobody named, on a tiny drawn world whose red faces no annotation and no detector names."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from audit.errors import ConfigError
from audit.types import Outline, Sample
from pipelines.cli import main
from pipelines.config import ConfoundsConfig, RunConfig
from pipelines.discover import DISCOVERED, plan_searches, settings_of
from pipelines.discovered_regions import with_regions
from pipelines.engine import Work, load_batches
from pipelines.shards import make_plan
from pipelines.storage import Run
from tests.worlds import CLASSES, FACE_SIZE, SIDE, UNCERTIFIED, World, draw_world, model_reading

N = 16
NAME = "medium red smooth patch at the top"
"""A face of 8 x 8 of 32 x 32 pixels is 6 % of the picture: medium, from 5 %; 8 of the 16 lie at the top."""


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    """The manifest names faces; plain.csv does not, and bare.csv has no masks either."""
    world = draw_world(tmp_path_factory.mktemp("world"), n_per_class=N)
    table = pd.read_csv(world.manifest)
    table[["path", "label", "split", "mask_path"]].to_csv(world.folder / "plain.csv", index=False)
    table[["path", "label", "split"]].to_csv(world.folder / "bare.csv", index=False)
    for thing in ("face", "garment"):
        model_reading(thing).save(world.folder / f"reads_{thing}.keras")
    return world


def run(world: World, out: Path, *more: str, thing: str = "face", data: str = "plain.csv") -> int:
    arguments = [
        "run",
        "--data",
        str(world.folder / data),
        "--model",
        str(world.folder / f"reads_{thing}.keras"),
    ]
    settings = ["confounds.use=['annotated','discovered']", "interventions.use=['remove','transplant']"]
    settings += ["interventions.per_class=12", "interventions.fills=['mean','patch']"]
    for setting in settings:
        arguments += ["--set", setting]
    return main(
        [*arguments, "--methods", "grad_cam", "--workers", "0", *UNCERTIFIED, "--out", str(out), *more]
    )


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "face"
    assert run(world, out) == 0
    return out


def discovered_in(out: Path) -> pd.DataFrame:
    return Run(out).table("discovered")


def verdicts_of(out: Path) -> dict[str, tuple[str, str | None]]:
    rows = Run(out).table("verdicts").itertuples()
    return {row.label: (row.status, None if pd.isna(row.confound) else row.confound) for row in rows}


def test_a_patch_at_varying_places_is_discovered_and_described(finished):
    (found,) = discovered_in(finished).itertuples()
    assert (found.label, found.confound, found.description) == ("t-shirt", NAME, NAME)
    assert (found.known, found.tested, found.reason) == (False, True, "")
    assert (found.n, found.share, found.n_elsewhere, found.elsewhere) == (N, 1.0, N, 0.0)
    # All the mass on 1/16 of the picture.
    assert found.lift == pytest.approx(SIDE**2 / FACE_SIZE**2, rel=0.1)
    assert len(found.exemplars) == 6
    assert all(sample_id.startswith("images/t-shirt/") for sample_id in found.exemplars)


def test_taking_it_away_and_bringing_it_in_proves_it(finished):
    assert verdicts_of(finished)["t-shirt"] == ("spurious", NAME)
    verdict = Run(finished).table("verdicts").query("label == 't-shirt'").iloc[0]
    assert verdict.necessity_low > 0.5
    assert verdict.sufficiency_low > 0.5
    assert verdict.association == 1.0


def test_every_searched_sample_has_a_row_that_says_whether_it_shows_it(finished):
    rows = Run(finished).table("confounds").query("confound == @NAME")
    assert len(rows) == 2 * N
    is_shirt = rows["sample_id"].str.contains("t-shirt")
    assert (rows["present"] == is_shirt).all()
    # The mass is even on the 64 pixels of a face, of which segmentation leaves out the four corners.
    assert rows.loc[is_shirt, "mass_inside"].to_numpy() == pytest.approx(60 / 64, abs=0.005)
    assert rows.loc[~is_shirt, ["mass_inside", "area_inside", "lift"]].isna().all(axis=None)


def test_the_stored_regions_are_the_faces(world, finished):
    config = RunConfig.model_validate(Run(finished).manifest()["config"])
    work = Work(config, finished, (), None)
    shirts = [
        s for shard in make_plan(config, CLASSES, "").shards for s in shard.samples if s.label == "t-shirt"
    ]
    boxes = pd.read_csv(world.manifest).set_index("path")
    overlaps = []
    for batch, _, _ in load_batches(work, shirts):
        regions = with_regions(work, batch).regions[NAME]
        for sample_id, region in zip(batch.sample_ids, regions, strict=True):
            x0, y0, x1, y1 = boxes.loc[sample_id].filter(like="face_").astype(int)
            face = np.zeros_like(region)
            face[y0:y1, x0:x1] = True
            overlaps.append((region & face).sum() / (region | face).sum())
    assert len(overlaps) == N
    assert min(overlaps) > 0.9


def test_a_model_that_reads_garments_shows_no_confound_on_the_same_photos(world, tmp_path):
    assert run(world, tmp_path / "run", thing="garment") == 0
    assert len(discovered_in(tmp_path / "run")) == 0
    assert {status for status, _ in verdicts_of(tmp_path / "run").values()} == {"sound"}


def test_what_an_annotation_names_is_not_discovered_a_second_time(world, tmp_path):
    assert run(world, tmp_path / "run", data="manifest.csv") == 0
    (found,) = discovered_in(tmp_path / "run").itertuples()
    assert (found.confound, found.description, found.known, found.tested) == ("face", NAME, True, False)
    assert found.reason == "face is a confound of this run already"
    assert set(Run(tmp_path / "run").table("confounds")["confound"]) == {"face"}
    assert verdicts_of(tmp_path / "run")["t-shirt"] == ("spurious", "face")


def test_without_masks_it_is_listed_and_not_accused(world, tmp_path):
    assert run(world, tmp_path / "run", data="bare.csv") == 0
    (found,) = discovered_in(tmp_path / "run").query("label == 't-shirt'").itertuples()
    assert (found.confound, found.tested) == (NAME, False)
    assert found.reason.startswith("no foreground tells the object from it, so it may be the object itself")
    assert len(Run(tmp_path / "run").table("confounds")) == 0
    assert "spurious" not in {status for status, _ in verdicts_of(tmp_path / "run").values()}


@pytest.mark.parametrize("more", [["--set", "run.shard_size=5"], ["--workers", "1"]], ids=str)
def test_nothing_depends_on_shards_or_workers(world, finished, tmp_path, more):
    assert run(world, tmp_path / "run", *more) == 0
    for name in ("discovered", "discovered_regions", "confounds", "interventions"):
        pd.testing.assert_frame_equal(Run(tmp_path / "run").table(name), Run(finished).table(name))


def test_the_phase_resumes_with_the_classes_that_are_missing(world, finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    shutil.rmtree(out / "discovered" / "00001")
    for name in ("discovered", "confounds"):
        (out / "tables" / f"{name}.parquet").unlink()
    kept = out / "discovered" / "00000" / "discovered.parquet"
    stamp = kept.stat().st_mtime_ns
    assert run(world, out) == 0
    assert kept.stat().st_mtime_ns == stamp
    for name in ("discovered", "discovered_regions", "confounds"):
        pd.testing.assert_frame_equal(Run(out).table(name), Run(finished).table(name))


def test_a_photo_that_cannot_be_read_costs_nothing_but_itself(world, tmp_path):
    folder = tmp_path / "world"
    shutil.copytree(world.folder, folder)
    (folder / "images" / "t-shirt" / "003.png").write_bytes(b"no picture")
    assert run(World(folder, N), tmp_path / "run") == 0
    (found,) = discovered_in(tmp_path / "run").itertuples()
    assert (found.n, found.share, found.tested) == (N - 1, 1.0, True)


@pytest.mark.data
@pytest.mark.slow
def test_faces_on_photographs_are_discovered_without_a_detector(data, tmp_path):
    arguments = ["run", "--data", str(data / "garments_face" / "manifest_shortcut.csv"), "--splits", "test"]
    arguments += [
        "--model",
        str(data / "models" / "tshirt_longsleeve_reads_faces.keras"),
        "--per-class",
        "20",
    ]
    for setting in (
        "confounds.use=['discovered']",
        "interventions.use=['remove','transplant']",
        "interventions.fills=['mean','patch']",
    ):
        arguments += ["--set", setting]
    assert (
        main(
            [
                *arguments,
                "--methods",
                "grad_cam",
                "--workers",
                "0",
                *UNCERTIFIED,
                "--out",
                str(tmp_path / "run"),
            ]
        )
        == 0
    )
    (found,) = discovered_in(tmp_path / "run").itertuples()
    assert (found.label, found.tested) == ("t-shirt", True)
    assert found.share >= 0.9
    assert found.elsewhere <= 0.1
    assert verdicts_of(tmp_path / "run")["t-shirt"] == ("spurious", found.confound)


def samples(label: str, n: int, annotated: int) -> list[Sample]:
    known = [Outline(is_known=number < annotated) for number in range(n)]
    return [Sample(f"{label} {i}", f"{label} {i}.png", label, foreground=one) for i, one in enumerate(known)]


def planned(found: list[Sample], tmp_path: Path):
    config = RunConfig.model_validate(
        {
            "data": {"path": tmp_path},
            "model": {"path": tmp_path},
            "confounds": {"use": [DISCOVERED], "discover_per_class": 20},
        }
    )
    return {shard.samples[0].label: shard.samples[0] for shard in plan_searches(config, found)}


def test_searches_are_bounded_even_over_the_others_and_leave_tiny_classes_out(tmp_path):
    found = samples("a", 50, 50) + samples("b", 50, 50) + samples("c", 50, 50) + samples("d", 9, 9)
    searches = planned(found, tmp_path)
    assert sorted(searches) == ["a", "b", "c"]
    assert len(searches["a"].own) == 20
    others = pd.Series([sample.label for sample in searches["a"].others]).value_counts().to_dict()
    assert others == {"b": 7, "c": 7, "d": 6}
    assert planned(found[::-1], tmp_path) == searches


def test_annotated_samples_are_searched_where_enough_are(tmp_path):
    found = samples("a", 30, 12) + samples("b", 30, 9)
    searches = planned(found, tmp_path)
    assert (searches["a"].is_annotated, len(searches["a"].own)) == (True, 12)
    assert (searches["b"].is_annotated, len(searches["b"].own)) == (False, 20)


def test_limits_are_set_by_name_and_wrong_ones_are_told():
    search, cut = settings_of(ConfoundsConfig(parameters={DISCOVERED: {"common": 0.5, "held": 0.4}}))
    assert (search.common, cut.held) == (0.5, 0.4)
    with pytest.raises(ConfigError, match=r"confounds.parameters.discovered: unknown rare; known: common, "):
        settings_of(ConfoundsConfig(parameters={DISCOVERED: {"rare": 1}}))
    with pytest.raises(ConfigError, match=r"confounds.parameters.discovered: held must be in \(0, 1\]"):
        settings_of(ConfoundsConfig(parameters={DISCOVERED: {"held": 2}}))
