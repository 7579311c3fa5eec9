"""A finished run -> verdicts, suggestions, report: load, call `audit`, store. No model is needed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from audit import tables as schema
from audit.certificate import bar
from audit.chain import chain_tables
from audit.facts import class_facts, quarantine_facts
from audit.suggestions import suggest
from audit.types import AuditRun, ClassVerdict, Status, Suggestion
from audit.verdicts import gather
from audit.verdicts import judge as judge_evidence
from audit.weak_slices import slice_suggestions, weak_slices
from pipelines import risks
from pipelines.config import VerdictsConfig
from pipelines.storage import Run


def judge(run: Run, config: VerdictsConfig) -> None:
    """Draws the verdicts and suggestions from the run's score and intervention tables, and stores them.

    Raises:
        RunError: the run is not finished.
    """
    manifest = run.manifest()
    tables = {name: run.table(name) for name in ("predictions", "attributions", "confounds", "quarantine")}
    # What a run may be without.
    optional = (schema.INTERVENTIONS, schema.PROPERTIES, schema.PLACEMENTS, *risks.TABLES)
    for name in (table.name for table in optional):
        if run.has_table(name):
            tables[name] = run.table(name)
    limits = config.limits()
    evidence = gather(
        tables,
        manifest["classes_in_order"],
        manifest["methods"],
        limits,
        was_sampled="sampling" in manifest,
    )
    verdicts = judge_evidence(evidence)
    if run.has_table(schema.CERTIFICATE.name):
        verdicts = bar(verdicts, run.table(schema.CERTIFICATE.name))
    suggestions = suggest(verdicts, tables, limits)
    slices, weak = weak_slices(tables, limits)
    suggestions += slice_suggestions(weak, suggestions)
    run.write_table("verdicts", schema.frame(schema.VERDICTS, verdicts))
    run.write_table("suggestions", schema.frame(schema.SUGGESTIONS, suggestions))
    run.write_table(schema.WEAK_SLICES.name, slices)
    for name, links in chain_tables(evidence).items():
        run.write_table(name, links)
    manifest["config"]["verdicts"] = config.model_dump(mode="json")
    manifest["classes"] = class_facts(tables, manifest["classes_in_order"])
    manifest["quarantine"] = quarantine_facts(tables["quarantine"])
    if schema.FEATURES.name in tables:
        manifest |= risks.assess(run, tables, manifest["classes_in_order"], limits)
    run.write_manifest(manifest)


def load(run: Run) -> AuditRun:
    """The finished run as one value.

    Raises:
        RunError: the run is not finished.
    """
    manifest: dict[str, Any] = run.manifest()
    run.table("verdicts")
    tables = run.all_tables()
    return AuditRun(
        name=run.path.resolve().name,
        manifest=manifest,
        classes=tuple(manifest["classes_in_order"]),
        tables=tables,
        verdicts=verdicts_of(tables["verdicts"]),
        suggestions=schema.rows(tables["suggestions"], Suggestion),
        exemplars=run.read_exemplars(),
        demonstrations=run.read_demonstrations(),
    )


def verdicts_of(table: pd.DataFrame) -> tuple[ClassVerdict, ...]:
    """The rows of the table `verdicts`."""
    return tuple(replace(v, status=Status(v.status)) for v in schema.rows(table, ClassVerdict))


def write_report(run: Run) -> Path:
    """Renders the report anew, with the trend over the runs beside this one; returns its first page."""
    from pipelines.gallery import sheets_of
    from pipelines.history import up_to
    from reports.site import render

    finished = load(run)
    return run.write_report(render(finished, sheets_of(run, finished), up_to(run.path, finished)))


def write_single_file(run: Run) -> Path:
    """Renders the report as one file with the exemplars, without the gallery; returns its path."""
    from pipelines.history import up_to
    from reports import single_file
    from reports.site import render

    finished = load(run)
    text = single_file.join(render(finished, past=up_to(run.path, finished)), finished.name)
    return run.write_single_file(text)
