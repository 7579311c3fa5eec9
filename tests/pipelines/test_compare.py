"""`rightreasons compare` on stored runs: folder, table, page, terminal, and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from audit.types import Exemplar
from pipelines.cli import main
from pipelines.storage import Run
from tests.paired import METHOD, configured, run_of, store

SPREAD = np.tile([0.0, 0.2], 20)


def exemplar(number: int, predicted: str = "shoe") -> Exemplar:
    image = np.full((16, 16, 3), 90, np.uint8)
    foreground = np.zeros((16, 16), np.uint8)
    foreground[4:12, 4:12] = 1
    return Exemplar(
        f"shoe/{number:03d}",
        "shoe",
        predicted,
        "worst",
        image,
        foreground,
        {},
        {METHOD: np.eye(16, dtype=np.float32)},
    )


@pytest.fixture
def runs(tmp_path):
    reference = run_of({"shoe": 0.5 + SPREAD, "boot": 0.4 + SPREAD})
    candidate = run_of({"shoe": 0.35 + SPREAD, "boot": 0.4 + SPREAD}, wrong={"boot": 15})
    return (
        store(reference, tmp_path / "released", [exemplar(0), exemplar(1)]),
        store(candidate, tmp_path / "new", [exemplar(1, "boot"), exemplar(2)]),
    )


def compare(runs, out, *more):
    return main(["compare", *map(str, runs), "--out", str(out), *more])


def test_a_comparison_says_first_what_worsened_and_ends_with_the_page(runs, tmp_path, capsys):
    assert compare(runs, tmp_path / "out") == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0] == "2 of 2 classes worsened: shoe, boot."
    assert lines[1].startswith("Beside that, 15 of ")
    assert "predictions were lost and 0 won (p < 0.001)." in lines[1]  # 2 of 2^15 ways
    assert lines[-1] == f"Comparison: {tmp_path / 'out' / 'report' / 'index.html'}"
    assert (tmp_path / "out" / "report" / "index.html").exists()


def test_the_table_has_a_row_per_class_method_and_statistic_and_is_exported(runs, tmp_path):
    assert compare(runs, tmp_path / "out") == 0
    table = Run(tmp_path / "out").table("changes").set_index(["label", "method", "statistic"])
    assert table["kind"].to_dict() == {
        ("shoe", "", "accuracy"): "unchanged",
        ("shoe", METHOD, "mass_inside"): "worsened",
        ("boot", "", "accuracy"): "worsened",
        ("boot", METHOD, "mass_inside"): "unchanged",
    }
    assert table.loc[("shoe", METHOD, "mass_inside"), "difference"] == pytest.approx(-0.15)
    assert main(["export", str(tmp_path / "out"), "changes", "-o", str(tmp_path / "new" / "c.csv")]) == 0
    assert len(pd.read_csv(tmp_path / "new" / "c.csv")) == 4


def test_the_manifest_names_both_runs_and_what_differs(runs, tmp_path):
    Run(runs[1]).write_manifest({**Run(runs[1]).manifest(), "versions": {"rightreasons": "0.2.0"}})
    assert compare(runs, tmp_path / "out") == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["state"] == "compared"
    assert (manifest["reference"]["name"], manifest["candidate"]["name"]) == ("released", "new")
    assert manifest["classes"] == {"shoe": "worsened", "boot": "worsened"}
    assert manifest["differences"] == ["version of rightreasons: '0.1.0' -> '0.2.0'"]


def test_the_page_shows_samples_of_both_runs_before_and_after(runs, tmp_path):
    assert compare(runs, tmp_path / "out") == 0
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    assert page.index("2 of 2 classes worsened") < page.index("Pairs of samples") < page.index("−15")
    assert page.count("<figure") == 1  # shoe/001 is the one sample that both show
    assert f"Map of {METHOD} over the photo of sample shoe/001, reference" in page
    assert f"Map of {METHOD} over the photo of sample shoe/001, candidate" in page
    assert len(list((tmp_path / "out" / "report" / "images").iterdir())) == 2  # one map, its scale


def test_a_comparison_is_made_anew_and_comes_out_the_same(runs, tmp_path):
    def page():
        assert compare(runs, tmp_path / "out") == 0
        return (tmp_path / "out" / "report" / "index.html").read_bytes()

    assert page() == page()


def test_the_line_of_what_matters_can_be_moved(runs, tmp_path):
    assert compare(runs, tmp_path / "out", "--set", "compare.minimum_change=0.2") == 0
    table = Run(tmp_path / "out").table("changes")
    kinds = dict(zip(zip(table["label"], table["statistic"], strict=True), table["kind"], strict=True))
    assert kinds["shoe", "mass_inside"] == "incomparable"  # 15 points are not ruled out, and do not matter
    assert kinds["boot", "accuracy"] == "worsened"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("compare.minimum_chnge=0.1", "did you mean 'compare.minimum_change'?"),
        ("verdicts.q=0.1", "did you mean 'compare.q'?"),
        ("compare.q=2", "compare.q: Input should be less than 1, found 2"),
    ],
)
def test_a_wrong_setting_is_one_sentence(runs, tmp_path, capsys, setting, words):
    assert compare(runs, tmp_path / "out", "--set", setting) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def broken(runs, how):
    """The candidate's folder, spoilt."""
    folder = Run(runs[1])
    if how == "unfinished":
        folder.write_manifest({**folder.manifest(), "state": "begun"})
    if how == "another schema":
        folder.write_manifest({**folder.manifest(), "schema_version": 0})
    if how == "no manifest":
        folder.manifest_path.unlink()
    if how == "no verdicts":
        folder.drop_table("verdicts")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("unfinished", "expected a finished run, found one in the state 'begun'"),
        ("another schema", "expected schema version"),
        ("no manifest", "expected a run folder, found no manifest.json"),
        ("no verdicts", "has no table 'verdicts' yet"),
    ],
)
def test_a_run_that_cannot_be_compared_is_one_sentence(runs, tmp_path, capsys, how, words):
    broken(runs, how)
    assert compare(runs, tmp_path / "out") == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_comparison_overwrites_nothing_else(runs, tmp_path, capsys):
    before = (runs[0] / "manifest.json").read_bytes()
    assert compare(runs, runs[0]) == 2
    assert "choose another with --out" in capsys.readouterr().err
    assert (runs[0] / "manifest.json").read_bytes() == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    assert compare(runs, tmp_path / "notes") == 2


def test_a_comparison_is_no_run(runs, tmp_path, capsys):
    assert compare(runs, tmp_path / "out") == 0
    assert compare((runs[0], tmp_path / "out"), tmp_path / "again") == 2
    assert "found that of a comparison" in capsys.readouterr().err


def test_the_reason_of_what_cannot_be_compared_is_told(tmp_path, capsys):
    reference = run_of({"shoe": [0.5] * 40})
    candidate = replace(configured(reference, "attributions", polarity="absolute"), name="new")
    runs = store(reference, tmp_path / "one"), store(candidate, tmp_path / "other")
    assert compare(runs, tmp_path / "out") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "attributions.polarity is positive in the reference and absolute in the candidate" in told
