"""Finished runs put down by hand, without a model: what comparing, gating and the history are tested on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from audit import tables
from audit.types import AuditRun, ClassVerdict, Exemplar, Status
from pipelines.storage import Run

METHOD = "grad_cam"
NAN = math.nan


def row_of(table: tables.Table, **values: Any) -> dict[str, Any]:
    """A row of a table with something valid in every column that is not named."""
    blanks = {"str": "", "float64": NAN, "int64": 0, "bool": False, "list": []}
    row = {
        column.name: blanks[column.kind] if column.missing or column.kind != "float64" else 0.0
        for column in table.columns
    }
    return {**row, **values}


def frame(table: tables.Table, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    return tables.frame(table, [row_of(table, **row) for row in rows])


def ids(label: str, n: int) -> list[str]:
    return [f"{label}/{number:03d}" for number in range(n)]


def run_of(
    masses: Mapping[str, Sequence[float]],
    *,
    wrong: Mapping[str, int] | None = None,
    classes: Sequence[str] | None = None,
    methods: Sequence[str] = (METHOD,),
    name: str = "run",
) -> AuditRun:
    """A run whose samples have these masses inside (by every method), the first `wrong` of a class mistaken."""
    samples = [
        (sample, label, mass)
        for label, row in masses.items()
        for sample, mass in zip(ids(label, len(row)), row, strict=True)
    ]
    n_wrong = wrong or {}
    predictions = [
        {
            "sample_id": sample,
            "path": f"{sample}.png",
            "label": label,
            "predicted": label,
            "correct": int(sample.rpartition("/")[2]) >= n_wrong.get(label, 0),
            "digest": f"digest of {sample}",
        }
        for sample, label, _ in samples
    ]
    attributions = [
        {"sample_id": sample, "method": method, "target": label, "status": "ok"}
        | {"mass_inside": mass, "area_inside": 0.25, "map_entropy": 0.5}
        for sample, label, mass in samples
        for method in methods
    ]
    known = tuple(classes or masses)
    return AuditRun(
        name=name,
        manifest=manifest_of(known, methods),
        classes=known,
        tables={
            "predictions": frame(tables.PREDICTIONS, predictions),
            "attributions": frame(tables.ATTRIBUTIONS, attributions),
            "confounds": frame(tables.CONFOUNDS, []),
            "quarantine": frame(tables.QUARANTINE, []),
        },
        verdicts=tuple(
            verdict(label, method, n=len(masses.get(label, ()))) for label in known for method in methods
        ),
        suggestions=(),
        exemplars=(),
    )


def verdict(label: str, method: str = METHOD, status: Status = Status.SOUND, **values: Any) -> ClassVerdict:
    numbers = {column.name: NAN for column in tables.VERDICTS.columns if column.kind == "float64"}
    numbers |= {"mass_inside": 0.6, "mass_inside_low": 0.55, "mass_inside_high": 0.65}
    return ClassVerdict(
        **{
            "label": label,
            "method": method,
            "status": status,
            "confound": None,
            "n": 20,
            "reasons": (),
            **numbers,
            **values,
        }
    )


def manifest_of(classes: Sequence[str], methods: Sequence[str]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "attributions": {"target": "label", "polarity": "positive", "error_budget": 0.05, "parameters": {}},
        "model": {"explain": "logit"},
        "interventions": {"parameters": {}},
        "verdicts": {"accepted": {}},
    }
    return {
        "schema_version": tables.SCHEMA_VERSION,
        "state": "scored",
        "fingerprint": "f",
        "scoring": {"model_digest": "0123456789abcdef", "attributions": config["attributions"]},
        "config": config,
        "classes_in_order": list(classes),
        "methods": list(methods),
        "started": "2026-11-02T03:00:00+00:00",
        "seconds": 1.0,
        "data": {"path": "photos", "region_names": []},
        "versions": {"rightreasons": "0.1.0"},
        "classes": {},
        "warnings": [],
    }


def configured(run: AuditRun, section: str, **values: Any) -> AuditRun:
    """The run with other settings in one section of its configuration."""
    config = run.manifest["config"]
    return replace(
        run, manifest={**run.manifest, "config": {**config, section: {**config[section], **values}}}
    )


def with_table(run: AuditRun, table: tables.Table, rows: Sequence[Mapping[str, Any]]) -> AuditRun:
    return replace(run, tables={**run.tables, table.name: frame(table, rows)})


def store(run: AuditRun, path: Path, exemplars: Sequence[Exemplar] = ()) -> Path:
    """Writes the run folder of a run."""
    folder = Run(path)
    path.mkdir(parents=True, exist_ok=True)
    folder.write_manifest(run.manifest)
    for name, table in run.tables.items():
        folder.write_table(name, table)
    folder.write_table("verdicts", tables.frame(tables.VERDICTS, run.verdicts))
    folder.write_table("suggestions", tables.frame(tables.SUGGESTIONS, run.suggestions))
    folder.write_exemplars(exemplars)
    return path
