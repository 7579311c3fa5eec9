"""Risks, label issues and duplicates of a run: stored with it, and told by its manifest."""

import numpy as np
import pandas as pd
import pytest

from audit import tables
from pipelines import risks
from pipelines.config import VerdictsConfig
from pipelines.judge import judge
from pipelines.storage import Run
from tests.audit.drawn_evidence import CLASSES, SHIFTED, drawn
from tests.paired import frame, manifest_of

N = 400


@pytest.fixture(scope="module")
def found():
    """Tables of a run of 400 pictures, of which the first two are one file in two splits."""
    evidence, labels, _ = drawn(N, SHIFTED, seed=0)
    ids, predicted = evidence.features["sample_id"], evidence.features["predicted"]
    # Hashes far apart but for the first two.
    hashes = np.random.default_rng(0).integers(0, 2**64, N, dtype=np.uint64)
    hashes[1] = hashes[0]
    features = evidence.features.assign(picture_hash=[f"{int(one):016x}" for one in hashes])
    predictions = [
        {
            "sample_id": sample_id,
            "path": f"{sample_id}.png",
            "label": label,
            "split": "train" if number == 1 else "test",
            "predicted": own,
            "confidence": confidence,
            "correct": own == label,
            "digest": "0" if number < 2 else str(number),
        }
        for number, (sample_id, label, own, confidence) in enumerate(
            zip(ids, labels, predicted, features["confidence"], strict=True)
        )
    ]
    attributions = [
        {"sample_id": sample_id, "method": "grad_cam", "area_inside": 0.005 if number == 7 else 0.2}
        for number, sample_id in enumerate(ids)
    ]
    return {
        "predictions": frame(tables.PREDICTIONS, predictions),
        "attributions": frame(tables.ATTRIBUTIONS, attributions),
        "confounds": frame(tables.CONFOUNDS, []),
        "quarantine": frame(tables.QUARANTINE, []),
        "features": tables.check(features, tables.FEATURES),
        "things": tables.check(evidence.things, tables.THINGS),
        "probabilities": tables.check(evidence.probabilities, tables.PROBABILITIES),
    }


@pytest.fixture
def run(found, tmp_path) -> Run:
    run = Run(tmp_path / "run")
    run.path.mkdir()
    run.write_manifest(manifest_of(CLASSES, ("grad_cam",)))
    for name, table in found.items():
        run.write_table(name, table)
    return run


def test_judging_stores_risks_and_tells_how_good_they_are(run, found):
    judge(run, VerdictsConfig())
    stored, told = run.table("risks"), run.manifest()["risk"]
    assert len(stored) == N
    assert told["note"] == ""
    assert told["all"]["n_wrong"] == int((~found["predictions"]["correct"]).sum())
    assert 0.5 < told["all"]["auroc"]["mean"] < 1
    assert sum(one["n"] for one in told["reliability"]) == N


def test_judging_stores_doubtful_labels_and_duplicates(run, found):
    judge(run, VerdictsConfig())
    ids = list(found["predictions"]["sample_id"])
    issues = run.table("label_issues").set_index("sample_id")
    assert "covers under 1 % of the picture" in issues.loc[ids[7], "reason"]
    doubles = run.table("duplicates")
    assert sorted(doubles["sample_id"]) == ids[:2]
    manifest = run.manifest()
    assert manifest["duplicates"] == {"n": 2, "leaks": 2, "redundant": 0}
    assert manifest["label_issues"] == {
        "n": len(issues),
        "looked_for": True,
        "untrusted": [],
        "left_out": 1,
    }


def test_the_same_run_is_judged_the_same_again(run):
    judge(run, VerdictsConfig())
    once = (run.tables / "risks.parquet").read_bytes()
    judge(run, VerdictsConfig())
    assert (run.tables / "risks.parquet").read_bytes() == once


def test_what_cannot_be_measured_is_null_in_the_manifest(run, found):
    right = found["predictions"].assign(correct=True, label=found["predictions"]["predicted"])
    run.write_table("predictions", right)
    judge(run, VerdictsConfig())
    told = run.manifest()["risk"]
    assert told["note"].startswith("only 0 of 400 predictions are wrong")
    assert told["all"]["auroc"] == {"mean": None, "low": None, "high": None}
    pd.testing.assert_series_equal(
        run.table("risks")["risk"], 1 - found["features"]["confidence"], check_names=False
    )


def test_is_wrong_follows_the_order_of_the_features(found):
    backwards = found["features"].iloc[::-1]
    np.testing.assert_array_equal(
        risks.is_wrong(found["predictions"], backwards), ~found["predictions"]["correct"].to_numpy()[::-1]
    )


def test_a_row_that_is_kept_for_its_label_alone_tells_risk_nothing():
    names = [f"c{k:02}" for k in range(11)]
    shares = [0.2, *[0.08] * 9, 0.01]
    table = pd.DataFrame({"sample_id": "a", "class_name": names, "probability": shares, "without": np.nan})
    found = risks.without_labels(table)
    assert list(found["class_name"]) == names[:10]
    # Highest with the things or without.
    table.loc[10, "without"] = 0.5
    assert "c10" in set(risks.without_labels(table)["class_name"])
