"""A finished run -> a run of an MLflow server: settings, numbers by class, the report and the tables."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audit.errors import ConfigError, RunError
from audit.types import AuditRun, Status
from pipelines.compare import finished
from pipelines.storage import Run

ORIGIN = "rightreasons.run"
"""The tag that tells whether a run was logged before."""
_NOT_ALLOWED = re.compile(r"[^\w\-. ]", re.ASCII)
_LONGEST_VALUE = 500
_LONGEST_NAME = 100
"""Characters of a class name in the name of a number: with statistic and method, MLflow takes 250."""


def log(folder: Path, uri: str | None, experiment: str) -> str:
    """Logs a finished run; one that was logged before, whole, is left as it is.

    Args:
        folder: of the run.
        uri: of the tracking server; None takes MLFLOW_TRACKING_URI.
        experiment: made where the server has none of that name.

    Returns:
        The id of the MLflow run.

    Raises:
        ConfigError: MLflow is not installed, or no server is named.
        RunError: the run is not finished, or the server refuses.
    """
    run = finished(folder)
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        raise ConfigError(
            "mlflow: expected --tracking http://HOST:5000 or MLFLOW_TRACKING_URI, found neither"
        )
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nobody else is told of an audit
    # By default MLflow waits for some minutes before it says that there is no server.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise ConfigError(
            "mlflow: needs the package mlflow-skinny: pip install 'rightreasons[mlflow]'"
        ) from None
    try:
        return _logged(MlflowClient(uri), run, folder, experiment)
    except (MlflowException, OSError) as error:  # the errors of requests are OSErrors
        cause = " ".join(str(error).split())
        raise RunError(
            f"{uri}: the run cannot be logged there: {cause}; try the same command again"
        ) from None


def metrics_of(run: AuditRun) -> dict[str, float]:
    """Numbers by the name under which MLflow keeps them; what was not measured is left out."""
    predictions = run.tables["predictions"]
    accuracies = predictions.groupby("label")["correct"].mean()
    found = {"audited": len(predictions), "quarantined": len(run.tables["quarantine"])}
    found |= {"accuracy_overall": predictions["correct"].mean()}
    keys = _keys(run.classes)
    for status in Status:
        found[f"verdicts/{status}"] = sum(verdict.status is status for verdict in run.verdicts)
    found |= {f"accuracy/{keys[label]}": accuracies.get(label) for label in run.classes}
    for verdict in run.verdicts:
        for name in ("mass_inside", "lift", "necessity", "sufficiency"):
            method = _NOT_ALLOWED.sub("_", verdict.method)
            found[f"{name}/{keys[verdict.label]}/{method}"] = getattr(verdict, name)
    # NaN is the one number that differs from itself.
    return {name: float(value) for name, value in found.items() if value is not None and value == value}


def _logged(client: Any, run: AuditRun, folder: Path, name: str) -> str:
    from mlflow.entities import Metric, Param

    known = client.get_experiment_by_name(name)
    experiment = known.experiment_id if known else client.create_experiment(name)
    origin = f"{run.manifest['fingerprint']} {run.manifest['started']}"
    there = client.search_runs(
        [experiment], f"tags.`{ORIGIN}` = '{origin}' and attributes.status = 'FINISHED'"
    )
    if there:
        return str(there[0].info.run_id)
    made = client.create_run(experiment, run_name=run.name, tags={ORIGIN: origin})
    run_id = str(made.info.run_id)
    status = "FAILED"
    try:
        params = [Param(key, value[:_LONGEST_VALUE]) for key, value in _params(run)]
        client.log_batch(run_id, params=params)
        stamp = made.info.start_time
        metrics = [Metric(key, value, stamp, 0) for key, value in metrics_of(run).items()]
        for start in range(0, len(metrics), 1000):  # the most that a server takes at once
            client.log_batch(run_id, metrics=metrics[start : start + 1000])
        stored = Run(folder)
        client.log_artifact(run_id, str(stored.manifest_path))
        for part in (stored.tables, stored.report):
            if part.is_dir():
                client.log_artifacts(run_id, str(part), part.name)
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status)
    return run_id


def _params(run: AuditRun) -> Iterator[tuple[str, str]]:
    """What was audited, and how."""
    config = run.manifest["config"]
    yield "data", str(run.manifest["data"]["path"])
    yield "model", str(config["model"].get("path", ""))
    yield "model_digest", str(run.manifest["scoring"]["model_digest"])
    yield "methods", ", ".join(run.manifest["methods"])
    yield "fingerprint", str(run.manifest["fingerprint"])


def _keys(labels: tuple[str, ...]) -> dict[str, str]:
    """Class names in the characters that MLflow allows, each its own."""
    keys: dict[str, str] = {}
    for label in labels:
        key = _NOT_ALLOWED.sub("_", label)[:_LONGEST_NAME].strip(". ") or "_"
        while key in keys.values():
            key += "_"
        keys[label] = key
    return keys
