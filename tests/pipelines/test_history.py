"""`rightreasons history`: a folder of runs as a table and a page, and which old ones go."""

from dataclasses import replace

import pandas as pd
import pytest

from audit.tables import SCHEMA_VERSION
from audit.types import Status
from pipelines import history
from pipelines.cli import main
from pipelines.history import up_to
from pipelines.judge import load
from pipelines.storage import Run
from tests.paired import run_of, store, verdict

DAYS = ("2026-11-01", "2026-11-02", "2026-11-03")


def past(day, mass=0.6, status=Status.SOUND, **values):
    run = run_of({"shoe": [0.5] * 20})
    verdicts = (verdict("shoe", status=status, mass_inside=mass, **values),)
    return replace(run, manifest={**run.manifest, "started": f"{day}T03:00:00+00:00"}, verdicts=verdicts)


@pytest.fixture
def folder(tmp_path):
    runs = tmp_path / "runs"
    for name, day, mass in zip("cab", DAYS, (0.61, 0.52, 0.43), strict=True):
        store(past(day, mass), runs / name)
    return runs


def test_the_table_has_the_runs_in_the_order_of_their_start(folder, tmp_path):
    assert main(["history", str(folder), "-o", str(tmp_path / "h.csv")]) == 0
    table = pd.read_csv(tmp_path / "h.csv")
    assert list(table["run"]) == ["c", "a", "b"]
    assert list(table["mass_inside"]) == [0.61, 0.52, 0.43]
    assert list(table["n"]) == [20, 20, 20]
    assert set(table["model_digest"]) == {"0123456789abcdef"}
    assert table["data_digest"].nunique() == 1


def test_another_image_is_another_data_digest(folder, tmp_path):
    run = Run(folder / "a")
    table = run.table("predictions")
    run.write_table("predictions", table.assign(digest=["another", *table["digest"][1:]]))
    assert main(["history", str(folder), "-o", str(tmp_path / "h.json")]) == 0
    digests = pd.read_json(tmp_path / "h.json").set_index("run")["data_digest"]
    assert digests["b"] == digests["c"] != digests["a"]


def test_the_page_is_the_last_line_and_shows_a_line_from_first_to_last(folder, capsys):
    assert main(["history", str(folder)]) == 0
    page = folder / "history" / "report" / "index.html"
    assert capsys.readouterr().out.strip().splitlines()[-1] == f"History: {page}"
    words = (
        f"Mass inside of shoe by grad_cam over 3{chr(160)}runs: 61{chr(160)}% at first, 43{chr(160)}% at last"
    )
    assert words in page.read_text()


def test_a_second_look_is_the_same_and_takes_its_own_page_for_no_run(folder):
    def page():
        assert main(["history", str(folder)]) == 0
        return (folder / "history" / "report" / "index.html").read_bytes()

    assert page() == page()


def test_broken_and_unfinished_runs_are_listed_with_their_reason(folder, capsys):
    (folder / "a" / "manifest.json").write_text("{")
    run = Run(folder / "b")
    run.write_manifest({**run.manifest(), "state": "begun"})
    (folder / "empty" / "shards").mkdir(parents=True)
    (folder / "photos").mkdir()
    assert main(["history", str(folder)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "a: " in told
    assert "manifest.json: cannot be read" in told
    assert "b: expected a finished run, found one in the state 'begun'" in told
    assert "empty: expected a run folder, found no manifest.json" in told
    assert "photos" not in told
    page = (folder / "history" / "report" / "index.html").read_text()
    assert "3 others that cannot be used" in page.replace("\u00a0", " ")


def test_a_comparison_is_passed_over(folder, capsys):
    out = folder / "a_against_c"
    assert main(["compare", str(folder / "c"), str(folder / "a"), "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["history", str(folder)]) == 0
    assert "a_against_c" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words"), [("c", "found a run; name the folder above"), ("none", "found no folder")]
)
def test_what_is_no_folder_of_runs_is_one_sentence(folder, capsys, name, words):
    assert main(["history", str(folder / name)]) == 2
    assert words in capsys.readouterr().err


def test_an_empty_folder_is_one_sentence(tmp_path, capsys):
    assert main(["history", str(tmp_path)]) == 2
    assert "found none" in capsys.readouterr().err


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "history")


def test_retention_says_what_it_would_delete_and_deletes_nothing(folder, capsys):
    assert main(["history", str(folder), "--keep", "1"]) == 0
    told = capsys.readouterr().out
    assert f"Would delete: {folder / 'c'}\nWould delete: {folder / 'a'}\nNothing was deleted" in told
    assert names(folder) == ["a", "b", "c"]


def test_retention_deletes_the_oldest_where_it_is_told_to(folder, capsys):
    assert main(["history", str(folder), "--keep", "2", "--delete"]) == 0
    assert f"Deleted: {folder / 'c'}" in capsys.readouterr().out
    assert names(folder) == ["a", "b"]


def test_retention_touches_no_unfinished_run_and_nothing_that_is_not_its_own(folder, capsys):
    run = Run(folder / "c")
    run.write_manifest({**run.manifest(), "state": "begun"})
    (folder / "a" / "notes.txt").write_text("mine")
    store(past("2026-11-04"), folder / "d")
    assert main(["history", str(folder), "--keep", "1", "--delete"]) == 0
    assert names(folder) == ["a", "c", "d"]
    assert "notes.txt, which no run writes" in capsys.readouterr().out


def test_a_run_out_of_whose_pool_pictures_were_suggested_is_deleted_like_others(folder):
    for name in ("pool", "unlabelled"):
        (folder / "c" / name / "00000").mkdir(parents=True)
    (folder / "c" / "report.html").write_text("<!doctype html>")
    assert main(["history", str(folder), "--keep", "2", "--delete"]) == 0
    assert names(folder) == ["a", "b"]


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ("[]", "expected the facts of a run as a JSON object"),
        (
            '{"schema_version": VERSION, "state": "scored"}',
            "expected the facts of a finished run, found none",
        ),
    ],
)
def test_a_manifest_that_says_nothing_spoils_neither_the_history_nor_the_report_beside_it(
    folder, capsys, contents, words
):
    contents = contents.replace("VERSION", str(SCHEMA_VERSION))
    (folder / "c" / "manifest.json").write_text(contents)
    assert main(["history", str(folder)]) == 0
    assert words in " ".join(capsys.readouterr().out.split())
    assert [run.name for run in up_to(folder / "b", load(Run(folder / "b")))] == ["a", "b"]
    assert main(["judge", str(folder / "c")]) == 2
    assert words in capsys.readouterr().err


def test_a_run_behind_a_link_is_not_deleted(folder, tmp_path):
    store(past("2026-10-01"), tmp_path / "elsewhere")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    assert main(["history", str(folder), "--keep", "1", "--delete"]) == 0
    assert names(folder) == ["b", "linked"]
    assert (tmp_path / "elsewhere" / "manifest.json").exists()


def test_a_run_that_somebody_writes_is_not_deleted(folder, capsys):
    with Run(folder / "c").locked():
        assert main(["history", str(folder), "--keep", "2", "--delete"]) == 2
    assert "another run is writing this folder" in capsys.readouterr().err
    assert names(folder) == ["a", "b", "c"]


def test_an_interrupted_deletion_is_told_and_is_no_run(folder, capsys):
    (folder / "c").rename(folder / "c.deleted")
    assert main(["history", str(folder)]) == 0
    assert "c.deleted: its deletion was interrupted" in capsys.readouterr().out


def test_a_run_whose_name_an_interrupted_deletion_left_behind_is_deleted_with_it(folder):
    (folder / "c.deleted" / "shards").mkdir(parents=True)
    assert main(["history", str(folder), "--keep", "2", "--delete"]) == 0
    assert names(folder) == ["a", "b"]


def test_a_folder_that_cannot_be_written_is_one_sentence(folder, capsys):
    (folder / "history").write_text("in the way of the page's folder")
    assert main(["history", str(folder)]) == 4
    assert capsys.readouterr().err.startswith(f"rightreasons: {folder / 'history'}: cannot be written")


def test_deleting_without_saying_what_stays_is_refused(folder):
    assert main(["history", str(folder), "--delete"]) == 2
    assert main(["history", str(folder), "--keep", "0", "--delete"]) == 2
    assert names(folder) == ["a", "b", "c"]


def test_the_runs_up_to_one_are_the_earlier_ones_on_its_data_and_itself(folder):
    other = Run(folder / "c")
    other.write_manifest(other.manifest() | {"data": {"path": "elsewhere.csv"}})
    (folder / "broken").mkdir()
    (folder / "broken" / "manifest.json").write_text("{")
    assert [run.name for run in up_to(folder / "b", load(Run(folder / "b")))] == ["a", "b"]
    assert [run.name for run in up_to(folder / "a", load(Run(folder / "a")))] == ["a"]


def test_only_the_latest_of_many_earlier_runs_are_drawn(folder, monkeypatch):
    monkeypatch.setattr(history, "N_EARLIER", 1)
    assert [run.name for run in up_to(folder / "b", load(Run(folder / "b")))] == ["a", "b"]
