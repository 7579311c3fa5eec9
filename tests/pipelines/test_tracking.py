"""`rightreasons mlflow` against MLflow's own store of files."""

import math
import time

import pytest

from audit.types import Status
from pipelines.cli import main
from pipelines.tracking import metrics_of
from tests.paired import run_of, store, verdict

mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")


@pytest.fixture
def server(tmp_path, monkeypatch):
    # Servers keep their runs in a database; the store of files is the one that needs no server.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return f"file://{tmp_path / 'mlruns'}"


@pytest.fixture
def run(tmp_path):
    made = run_of({"shoe": [0.5] * 20, "boot": [0.25] * 20}, wrong={"boot": 5})
    folder = store(made, tmp_path / "monday")
    (folder / "report").mkdir()
    (folder / "report" / "index.html").write_text("<!doctype html>")
    return folder


def logged(server):
    client = mlflow.MlflowClient(server)
    experiment = client.get_experiment_by_name("garments").experiment_id
    return client, client.search_runs([experiment])


def test_a_run_is_logged_with_its_numbers_and_its_report(run, server):
    assert main(["mlflow", str(run), "--tracking", server, "--experiment", "garments"]) == 0
    client, (found,) = logged(server)
    assert (found.info.run_name, found.info.status) == ("monday", "FINISHED")
    metrics = found.data.metrics
    assert (metrics["audited"], metrics["quarantined"], metrics["accuracy_overall"]) == (40, 0, 35 / 40)
    assert (metrics["accuracy/boot"], metrics["verdicts/sound"]) == (0.75, 2)
    assert metrics["mass_inside/shoe/grad_cam"] == 0.6  # of the verdict that the fixture puts down
    assert "necessity/shoe/grad_cam" not in metrics  # not measured
    assert found.data.params["methods"] == "grad_cam"
    names = {
        item.path
        for part in ("", "report", "tables")
        for item in client.list_artifacts(found.info.run_id, part)
    }
    assert {"manifest.json", "report/index.html", "tables/predictions.parquet"} <= names


def test_logging_twice_makes_one_run(run, server, capsys):
    for _ in range(2):
        assert main(["mlflow", str(run), "--tracking", server, "--experiment", "garments"]) == 0
    first, second = capsys.readouterr().out.strip().splitlines()
    assert first == second
    assert len(logged(server)[1]) == 1


def test_class_names_of_any_characters_keep_their_numbers_apart():
    made = run_of({"a*b": [0.5] * 4, "a?b": [0.5] * 4, "/": [0.5] * 4}, wrong={"a?b": 2})
    metrics = metrics_of(made)
    assert (metrics["accuracy/a_b"], metrics["accuracy/a_b_"], metrics["accuracy/_"]) == (1.0, 0.5, 1.0)
    assert not any(math.isnan(value) for value in metrics.values())
    assert metrics["verdicts/spurious"] == sum(v.status is Status.SPURIOUS for v in made.verdicts) == 0
    assert verdict("a*b").label in made.classes


def test_class_names_that_are_longer_than_mlflow_allows_keep_their_numbers_apart(run, server, tmp_path):
    long = ["x" * 250 + end for end in "ab"]
    folder = store(run_of({label: [0.5] * 4 for label in long}), tmp_path / "long")
    assert main(["mlflow", str(folder), "--tracking", server, "--experiment", "garments"]) == 0
    (found,) = logged(server)[1]
    assert {"mass_inside/" + "x" * 100 + f"{end}/grad_cam" for end in ("", "_")} <= set(found.data.metrics)


def test_what_cannot_be_logged_is_one_sentence(run, server, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["mlflow", str(run)]) == 2
    assert "expected --tracking" in capsys.readouterr().err
    assert main(["mlflow", str(tmp_path), "--tracking", server]) == 2
    assert "manifest.json" in capsys.readouterr().err
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    begun = time.monotonic()
    assert main(["mlflow", str(run), "--tracking", "http://127.0.0.1:1"]) == 2
    assert time.monotonic() - begun < 60  # by default MLflow tries for four minutes
    words = capsys.readouterr().err
    assert words.startswith("rightreasons: http://127.0.0.1:1: the run cannot be logged there")
    assert words.count("\n") == 1
