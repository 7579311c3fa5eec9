"""`rightreasons mlflow`."""

from typing import Annotated

import typer

from pipelines.commands import DONE, RunFolder, make_console

EXAMPLE = "rightreasons mlflow runs/monday --tracking http://mlflow:5000 --experiment garments"


def command(
    run_folder: RunFolder,
    tracking: Annotated[
        str | None,
        typer.Option("--tracking", help="Address of the tracking server; by default MLFLOW_TRACKING_URI."),
    ] = None,
    experiment: Annotated[
        str, typer.Option("--experiment", help="Made where the server has none of that name.")
    ] = "rightreasons",
) -> int:
    """Log a finished run to MLflow: settings, numbers by class, report and tables."""
    from pipelines.tracking import log

    run_id = log(run_folder, tracking, experiment)
    make_console().print(f"MLflow run {run_id} in {experiment}", markup=False, highlight=False)
    return DONE
