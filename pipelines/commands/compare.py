"""`rightreasons compare`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import DONE, make_console

EXAMPLE = "rightreasons compare runs/released runs/candidate --out comparisons/candidate"


def command(
    reference: Annotated[
        Path, typer.Argument(metavar="REFERENCE", help="Run of the released model, or of the older data.")
    ],
    candidate: Annotated[Path, typer.Argument(metavar="CANDIDATE", help="Run of the one to be judged.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder; by default CANDIDATE_against_REFERENCE beside the candidate.")
    ] = None,
    retrain: Annotated[
        list[Path] | None,
        typer.Option(
            help="Run of another training of REFERENCE that differs in its seed alone; may be repeated. A change must "
            "then exceed what lies between such trainings."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="compare.q, compare.minimum_change, …: key=value; may be repeated."),
    ] = None,
) -> int:
    """Say per class what improved, worsened or stayed, paired by sample."""
    from pipelines.compare import compare_runs, settings_of

    folder = (
        out or candidate.resolve().parent / f"{candidate.resolve().name}_against_{reference.resolve().name}"
    )
    compare_runs(reference, candidate, folder, settings_of(settings or []), make_console(), retrain or [])
    return DONE
