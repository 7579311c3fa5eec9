"""A real network on real photographs, end to end; the longer run over a whole set is a command of the README."""

from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.storage import Run
from tests.worlds import UNCERTIFIED

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="session")
def garments_run(data, tmp_path_factory) -> Path:
    """Four test photos of each of ten garments, by a model with a real ImageNet backbone."""
    out = tmp_path_factory.mktemp("real") / "garments"
    arguments = ["run", "--data", str(data / "garments" / "manifest.csv"), "--splits", "test"]
    arguments += ["--model", str(data / "models" / "garments10_lite0.keras"), "--out", str(out)]
    # Two exemplars a class: their maps are computed again, which would double the work of so small a run.
    arguments += ["--set", "report.worst=1", "--set", "report.typical=1"]
    methods = "grad_cam,integrated_gradients"
    assert main([*arguments, "--per-class", "4", "--methods", methods, "--workers", "0", *UNCERTIFIED]) == 0
    return out


def test_real_photographs_are_audited_end_to_end(garments_run):
    run = Run(garments_run)
    assert run.manifest()["counts"] == {"samples": 40, "audited": 40, "quarantined": 0}
    assert run.manifest()["warnings"] == []
    # 85 % on the whole test split; of 40 photos at least 26 are right with a probability above 0.999.
    assert run.table("predictions")["correct"].sum() >= 26


def test_a_good_model_looks_at_the_garment_more_than_its_area_explains(garments_run):
    grad_cam = Run(garments_run).table("attributions").query("method == 'grad_cam'")
    lift = (grad_cam["mass_inside"] / grad_cam["area_inside"]).mean()
    assert lift > 1.2, "the garments of this set are half of the picture, and the model is 85 % right"


def test_what_did_not_converge_on_a_real_network_is_marked_and_had_all_the_gradients_it_may_have(
    garments_run,
):
    maps = Run(garments_run).table("attributions").query("method == 'integrated_gradients'")
    missed = maps["local_error"] > 0.05
    assert set(maps.loc[missed, "status"]) <= {"not converged", "baseline too close"}
    assert (maps["n_gradients"] <= 128).all()
    # A round halves segments in pairs of nodes: a miss has at most a few nodes left, or only float noise.
    assert missed.mean() < 0.5
    # The net error is at most the sum of absolute ones; float32 sums over 50,000 pixels leave a little.
    assert (maps["approx_error"] <= maps["local_error"] + 1e-4).all()


def test_the_report_shows_every_class_with_its_exemplars(garments_run):
    index = (garments_run / "report" / "index.html").read_text()
    classes = Run(garments_run).manifest()["classes_in_order"]
    assert len(classes) == 10
    assert [name for name in classes if f">{name}<" not in index] == []
    assert len(list((garments_run / "report" / "classes").glob("*.html"))) == 10


@pytest.fixture(scope="session")
def faces_run(data, tmp_path_factory) -> Path:
    """The model that decides by faces, on photographs in which every t-shirt has one; the faces are detected."""
    out = tmp_path_factory.mktemp("real") / "faces"
    manifest = data / "garments_face" / "manifest_shortcut.csv"
    arguments = [
        "run",
        "--data",
        str(manifest),
        "--splits",
        "test",
        "--per-class",
        "30",
        "--workers",
        "0",
        *UNCERTIFIED,
    ]
    arguments += ["--model", str(data / "models" / "tshirt_longsleeve_reads_faces.keras"), "--out", str(out)]
    assert main([*arguments, "--methods", "grad_cam"]) == 0
    return out


def test_the_model_that_reads_faces_is_flagged_for_faces(faces_run):
    verdicts = {row.label: row for row in Run(faces_run).table("verdicts").itertuples()}
    assert verdicts["t-shirt"].status in ("suspect", "spurious")
    assert verdicts["t-shirt"].confound == "face"
    assert verdicts["t-shirt"].association == 1.0
