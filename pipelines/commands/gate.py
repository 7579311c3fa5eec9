"""`rightreasons gate`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import DONE, GATE_FAILED, RunFolder, make_console

EXAMPLE = "rightreasons gate runs/candidate --rules gate.toml --reference runs/released --junit gate.xml"


def command(
    run_folder: RunFolder,
    rules: Annotated[Path, typer.Option(help="TOML file of [[rule]] entries.")],
    reference: Annotated[
        Path | None, typer.Option(help="Run to compare with; rules on change.<statistic> need it.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="JUnit XML to write.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="JSON to write.")] = None,
    code_quality: Annotated[Path | None, typer.Option(help="GitLab code quality JSON to write.")] = None,
    annotations: Annotated[
        str, typer.Option(help="auto, none, github or azure: lines that the CI system shows beside a change.")
    ] = "auto",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="compare.q, compare.minimum_change, …: key=value; may be repeated."),
    ] = None,
) -> int:
    """Hold a run against rules; exit code 1 where it fails. What was not measured fails."""
    from pipelines import gate, gate_outputs
    from pipelines.compare import settings_of

    if annotations not in ("auto", *gate_outputs.ANNOTATIONS):
        known = ", ".join(("auto", *gate_outputs.ANNOTATIONS))
        raise typer.BadParameter(f"--annotations: expected one of {known}; found {annotations!r}")
    held = gate.hold(run_folder, rules, reference, settings_of(settings or []), gate.today())
    gate_outputs.write(held, junit, json_file, code_quality)
    system = gate_outputs.ci_system(os.environ) if annotations == "auto" else annotations
    gate_outputs.tell(held, make_console(), gate_outputs.annotations(held, system))
    return DONE if held.report.has_passed else GATE_FAILED
