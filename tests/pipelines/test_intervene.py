"""The phase of interventions on a tiny drawn world: what is planned, what is computed, what is judged from it."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from audit.candidates import Candidate, candidates
from audit.errors import ConfigError
from pipelines.cli import main
from pipelines.config import InterventionsConfig, ModelConfig
from pipelines.intervention_plan import build
from pipelines.models import load_classifier
from pipelines.storage import Run
from tests.worlds import UNCERTIFIED, World, draw_world, model_reading

N = 14
FEW = ["--set", "interventions.per_class=10"]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    world = draw_world(tmp_path_factory.mktemp("world"), n_per_class=N)
    for thing in ("face", "garment"):
        model_reading(thing).save(world.folder / f"reads_{thing}.keras")
    return world


def run(world: World, out: Path, *more: str, thing: str = "face") -> int:
    model = world.folder / f"reads_{thing}.keras"
    arguments = [
        "run",
        "--data",
        str(world.manifest),
        "--model",
        str(model),
        "--out",
        str(out),
        "--workers",
        "0",
        *UNCERTIFIED,
    ]
    return main([*arguments, "--methods", "grad_cam", "--set", "confounds.use=['annotated']", *FEW, *more])


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "face"
    assert run(world, out) == 0
    return out


def verdict_of(out: Path, label: str):
    return Run(out).table("verdicts").query("label == @label").iloc[0]


def interventions_of(out: Path) -> pd.DataFrame:
    return Run(out).table("interventions")


def test_the_model_that_reads_faces_is_spurious_by_necessity_and_sufficiency(finished):
    verdict = verdict_of(finished, "t-shirt")
    assert (verdict.status, verdict.confound) == ("spurious", "face")
    assert verdict.necessity_low > 0.1
    assert verdict.sufficiency_low > 0.1
    assert any(
        reason.startswith("Without the face the t-shirt probability falls by") for reason in verdict.reasons
    )


def test_the_model_that_reads_garments_is_not_on_the_same_photos(world, tmp_path):
    assert run(world, tmp_path / "run", thing="garment") == 0
    assert set(Run(tmp_path / "run").table("verdicts")["status"]) == {"sound"}
    rows = interventions_of(tmp_path / "run").query("kind in ('remove', 'transplant')")
    assert (rows["score_after"] - rows["score_control"]).abs().max() < 0.01


def test_without_interventions_the_verdict_rests_on_maps_and_says_so(world, tmp_path):
    assert run(world, tmp_path / "run", "--set", "interventions.use=[]") == 0
    verdict = verdict_of(tmp_path / "run", "t-shirt")
    assert (verdict.status, verdict.confound) == ("suspect", "face")
    assert any(reason.startswith("No intervention was run") for reason in verdict.reasons)
    assert not Run(tmp_path / "run").has_table("interventions")


def test_every_group_keeps_to_its_bound_and_its_own_kind_of_samples(finished):
    rows = interventions_of(finished)
    groups = rows.groupby(["label", "confound", "kind"])["sample_id"].nunique()
    assert dict(groups) == {
        ("t-shirt", "face", "remove"): 10,
        ("t-shirt", "face", "thing_alone"): 10,
        ("t-shirt", "face", "transplant"): 10,
    }
    of = rows["sample_id"].str.extract(r"(t-shirt|shoes)")[0]
    is_transplant = rows["kind"] == "transplant"
    assert (of[is_transplant] == "shoes").all()
    assert (of[~is_transplant] == rows.loc[~is_transplant, "label"]).all()
    assert Counter(rows.loc[rows["kind"] == "remove", "fill"]) == dict.fromkeys(
        ("blur", "inpaint", "mean", "patch"), 10
    )


def test_forward_passes_are_bounded_by_taking_fewer_samples(world, tmp_path):
    # A sample of all groups costs 4 * 2 + 2 * 2 + 2 passes and 2 as they are: five fit into 80.
    assert run(world, tmp_path / "run", "--set", "interventions.max_passes=80") == 0
    assert Run(tmp_path / "run").manifest()["n_intervention_passes"] == 80
    rows = interventions_of(tmp_path / "run")
    assert set(rows.groupby(["label", "confound", "kind"])["sample_id"].nunique()) == {5}


@pytest.mark.parametrize("more", [["--set", "run.shard_size=5"], ["--workers", "1"]], ids=str)
def test_rows_do_not_depend_on_shards_or_workers(world, finished, tmp_path, more):
    assert run(world, tmp_path / "run", *more) == 0
    pd.testing.assert_frame_equal(interventions_of(tmp_path / "run"), interventions_of(finished))


def test_rows_depend_on_the_batch_size_by_rounding_alone(world, finished, tmp_path):
    assert run(world, tmp_path / "run", "--set", "run.batch_size=5") == 0
    pd.testing.assert_frame_equal(
        interventions_of(tmp_path / "run"), interventions_of(finished), rtol=1e-4, atol=1e-5
    )


def test_the_phase_resumes_with_the_shards_that_are_missing(world, finished, tmp_path):
    out = tmp_path / "run"
    assert run(world, out, "--set", "run.shard_size=6") == 0
    shards = Run(out).intervened.finished()
    assert len(shards) >= 3
    shutil.rmtree(out / "interventions" / "00001")
    (out / "tables" / "interventions.parquet").unlink()
    stamps = {
        path: path.stat().st_mtime_ns
        for folder in ("shards", "interventions")
        for path in (out / folder).rglob("*.parquet")
    }
    assert run(world, out, "--set", "run.shard_size=6") == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    assert Run(out).intervened.finished() == shards
    pd.testing.assert_frame_equal(interventions_of(out), interventions_of(finished))


def test_other_interventions_are_done_anew_without_another_attribution(world, finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    stamps = {path: path.stat().st_mtime_ns for path in (out / "shards").rglob("*.parquet")}
    assert (
        run(world, out, "--set", "interventions.use=['remove']", "--set", "interventions.fills=['mean']") == 0
    )
    rows = interventions_of(out)
    assert set(zip(rows["kind"], rows["fill"], strict=True)) == {("remove", "mean")}
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    assert Run(out).manifest()["config"]["interventions"]["use"] == ["remove"]


def test_switching_them_off_forgets_them(world, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    assert run(world, tmp_path / "run", "--set", "interventions.use=[]") == 0
    assert verdict_of(tmp_path / "run", "t-shirt").status == "suspect"


def test_judging_anew_reads_the_stored_interventions(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    assert main(["judge", str(tmp_path / "run"), "--set", "verdicts.minimum_change=0.999"]) == 0
    assert verdict_of(tmp_path / "run", "t-shirt").status == "suspect"
    assert main(["judge", str(tmp_path / "run"), "--set", "verdicts.minimum_change=0.1"]) == 0
    assert list(verdict_of(tmp_path / "run", "t-shirt").reasons) == list(
        verdict_of(finished, "t-shirt").reasons
    )


def test_the_report_shows_necessity_and_sufficiency(finished):
    page = next((finished / "report").rglob("*shirt*.html")).read_text()
    assert "spurious" in page
    necessity = page[page.index("Necessity") :]
    assert "not measured" not in necessity[: necessity.index("Error control")]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("interventions.use=['removes']", "Did you mean 'remove'"),
        ("interventions.fills=['magic']", "expected some of blur, inpaint, mean, patch"),
        ("interventions.parameters.remove={grown=1}", "unknown grown; known: feather, fills, grow"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_scored(world, tmp_path, capsys, setting, words):
    assert run(world, tmp_path / "run", "--set", setting) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run" / "shards").exists()


def test_parameters_reach_their_intervention():
    config = InterventionsConfig(use=["remove"], fills=["mean"], parameters={"remove": {"grow": 0.5}})
    assert (build(config)["remove"].grow, build(config)["remove"].fills) == (0.5, ("mean",))
    with pytest.raises(ConfigError):
        build(InterventionsConfig(use=["nothing"]))


def score_tables(shows: dict[tuple[str, str], list[bool]], excess: float = 0.0) -> dict[str, pd.DataFrame]:
    """Ten samples a class; which of them show a confound, by (label, confound)."""
    ids = {label: [f"{label} {number}" for number in range(10)] for label in ("a", "b")}
    predictions = pd.DataFrame(
        [(s, label) for label, names in ids.items() for s in names], columns=["sample_id", "label"]
    )
    rows = [
        (s, "m", confound, is_shown, 0.1 + excess, 0.1)
        for (label, confound), shown in shows.items()
        for s, is_shown in zip(ids[label], shown, strict=True)
    ]
    columns = ["sample_id", "method", "confound", "present", "mass_inside", "area_inside"]
    confounds = pd.DataFrame(rows, columns=columns)
    confounds.loc[~confounds["present"], ["mass_inside", "area_inside"]] = float("nan")
    return {"predictions": predictions, "confounds": confounds}


def test_candidates_are_common_enough_and_the_most_suspicious_come_first():
    tables = score_tables(
        {
            ("a", "everywhere"): [True] * 10,
            ("b", "everywhere"): [True] * 10,
            ("a", "bound"): [True] * 8 + [False] * 2,
            ("b", "bound"): [False] * 10,
            ("a", "rare"): [True] * 4 + [False] * 6,
        }
    )
    every = candidates(tables, minimum_shown=5, per_class=9)
    assert every == (Candidate("a", "bound"), Candidate("a", "everywhere"), Candidate("b", "everywhere"))
    assert candidates(tables, minimum_shown=5, per_class=1) == (
        Candidate("a", "bound"),
        Candidate("b", "everywhere"),
    )
    assert candidates(tables, minimum_shown=11, per_class=9) == ()


READS_FACES = "tshirt_longsleeve_reads_faces"


@pytest.fixture(scope="module")
def audited_photos(data, tmp_path_factory):
    """The audit of a network on photographs in which every t-shirt has a face; each is made once."""
    done: dict[tuple[str, str], Path] = {}

    def audited(model: str, folder: str) -> Path:
        if (model, folder) not in done:
            done[model, folder] = out = tmp_path_factory.mktemp(model) / "run"
            arguments = ["--data", str(data / folder / "manifest_shortcut.csv")]
            arguments += ["--model", str(data / "models" / f"{model}.keras"), "--methods", "grad_cam"]
            arguments += ["--splits", "test", "--workers", "0", "--set", "confounds.use=['annotated']"]
            assert main(["run", *arguments, *UNCERTIFIED, "--out", str(out)]) == 0
        return done[model, folder]

    return audited


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "folder", "is_spurious"),
    [
        (READS_FACES, "garments_face", True),
        ("tshirt_longsleeve_reads_garments", "garments_face", False),
        ("tshirt_shoes_sees_faces_uses_garments", "garments_face_easy", False),
    ],
)
def test_of_three_networks_on_photographs_only_the_one_that_reads_faces_is_spurious(
    audited_photos, model, folder, is_spurious
):
    verdict = verdict_of(audited_photos(model, folder), "t-shirt")
    assert (verdict.status == "spurious") is is_spurious
    assert (verdict.status, verdict.confound) == ("spurious", "face") or not is_spurious


def probability_of_shirt(data: Path, paths: list[Path]) -> np.ndarray:
    loaded = load_classifier(
        ModelConfig(path=data / "models" / f"{READS_FACES}.keras"), batch_size=16, callers=1
    )
    size = loaded.classifier.image_shape[::-1]
    photos = [Image.open(path).convert("RGB").resize(size, Image.Resampling.BILINEAR) for path in paths]
    images = np.stack([np.asarray(photo, dtype=np.float32) / 255 for photo in photos])
    return loaded.classifier.probabilities(images)[:, loaded.classes.index("t-shirt")]


@pytest.mark.data
@pytest.mark.slow
def test_measured_effects_come_near_to_those_of_swapping_the_photographs(data, audited_photos):
    verdict = verdict_of(audited_photos(READS_FACES, "garments_face"), "t-shirt")
    images = data / "garments_face" / "images"
    table = pd.read_csv(data / "garments_face" / "manifest_shortcut.csv").query("split == 'test'")
    for label, measured in (("t-shirt", verdict.necessity), ("longsleeve", verdict.sufficiency)):
        names = [Path(path).name for path in table.query("label == @label")["path"]]
        shown, hidden = (
            probability_of_shirt(data, [images / kind / label / name for name in names])
            for kind in ("face", "noface")
        )
        # A pasted face is less than a rendered one: measured 0.65 and 0.58 of 0.70 and 0.70.
        assert (shown - hidden).mean() == pytest.approx(measured, abs=0.15)
