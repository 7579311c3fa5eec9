"""Maps of as many samples as a verdict needs, on a tiny drawn world."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from pipelines.cli import main
from pipelines.storage import Run
from tests.worlds import UNCERTIFIED, World, draw_world, model_reading

N = 80


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    world = draw_world(tmp_path_factory.mktemp("world"), n_per_class=N)
    model_reading("garment").save(world.folder / "model.keras")
    return world


def run(world: World, out: Path, *more: str) -> int:
    arguments = ["run", "--data", str(world.manifest), "--model", str(world.folder / "model.keras")]
    for setting in (
        "confounds.use=['annotated']",
        "interventions.per_class=10",
        "run.first_draw=16",
        "report.worst=2",
        "report.typical=2",
        "attributions.untrained_per_class=4",
    ):
        arguments += ["--set", setting]
    return main(
        [*arguments, "--methods", "grad_cam", "--workers", "0", *UNCERTIFIED, "--out", str(out), *more]
    )


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert run(world, out) == 0
    return out


@pytest.fixture(scope="module")
def sampled(world, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "sampled"
    assert run(world, out, "--sample") == 0
    return out


def tables_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "tables").glob("*.parquet"))}


def test_verdicts_are_those_of_all_samples_at_fewer_gradients(whole, sampled):
    for out in (whole, sampled):
        verdicts = Run(out).table("verdicts")
        assert dict(zip(verdicts["label"], verdicts["status"], strict=True)) == {
            "shoes": "sound",
            "t-shirt": "sound",
        }
    assert Run(whole).manifest()["n_gradients"] == 2 * N
    assert Run(sampled).manifest()["n_gradients"] < 1.5 * N


def test_how_many_samples_were_used_is_said_in_the_verdict_the_manifest_and_the_report(sampled):
    counts = Run(sampled).manifest()["sampling"]
    attributions = Run(sampled).table("attributions")
    verdicts = Run(sampled).table("verdicts").set_index("label")
    report = "".join(page.read_text() for page in (sampled / "report").rglob("*.html"))
    for label, found in counts.items():
        assert 16 <= found["attributed"] < found["of"] == N
        assert (attributions["target"] == label).sum() == found["attributed"] == verdicts.loc[label, "n"]
        words = f"Maps were made of {found['attributed']} of {N} {label} photos, drawn at random until they sufficed"
        assert any(reason.startswith(words) for reason in verdicts.loc[label, "reasons"])
        assert words in report


def test_what_needs_no_map_is_known_of_every_sample(whole, sampled):
    pd.testing.assert_frame_equal(Run(sampled).table("predictions"), Run(whole).table("predictions"))
    found, expected = (
        Run(out).table("confounds").sort_values("sample_id")[["sample_id", "present", "area_inside"]]
        for out in (sampled, whole)
    )
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected.reset_index(drop=True))


def test_the_scores_of_what_was_drawn_are_those_of_a_whole_run(whole, sampled):
    found = Run(sampled).table("attributions").set_index("sample_id")
    expected = Run(whole).table("attributions").set_index("sample_id").loc[found.index]
    # Which samples the untrained model is asked about is the same: the first that are drawn.
    pd.testing.assert_frame_equal(found, expected)
    assert found["untrained_mass_inside"].notna().any()


def test_intervals_are_wider_than_those_of_as_many_samples_that_were_fixed_before(sampled):
    from audit import statistics

    level = statistics.shared_level(0.05, 2)
    for verdict in Run(sampled).table("verdicts").itertuples():
        rows = Run(sampled).table("attributions").query("target == @verdict.label")
        fixed = statistics.mean_share(rows["mass_inside"].to_numpy(), level)
        assert verdict.mass_inside_low < fixed.low


def test_an_interrupted_draw_goes_on_with_the_same_rounds(world, sampled, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(sampled, out)
    shutil.rmtree(out / "attributed" / "00001")
    shutil.rmtree(out / "cache")
    assert run(world, out, "--sample") == 0
    assert tables_of(out) == tables_of(sampled)


def test_drawn_maps_are_taken_over_from_an_earlier_run_bit_for_bit(world, sampled, tmp_path, monkeypatch):
    from audit.classifier import Classifier

    def refuse(*_):
        raise AssertionError("the model was asked")

    monkeypatch.setattr(Classifier, "_run", refuse)
    assert run(world, tmp_path / "next", "--sample", "--reuse", str(sampled)) == 0
    assert tables_of(tmp_path / "next") == tables_of(sampled)


def test_a_whole_run_takes_no_scores_over_from_one_that_sampled(world, sampled, tmp_path):
    assert run(world, tmp_path / "next", "--reuse", str(sampled), "--set", "interventions.use=[]") == 0
    assert Run(tmp_path / "next").manifest()["reuse"]["samples"] == 0
    assert len(Run(tmp_path / "next").table("attributions")) == 2 * N
