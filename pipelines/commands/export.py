"""`rightreasons export`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import DONE, RunFolder, make_console

EXAMPLE = "rightreasons export runs/monday attributions -o attributions.csv"


def command(
    run_folder: RunFolder,
    table: Annotated[
        str, typer.Argument(help="predictions, attributions, confounds, interventions, verdicts, …")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="File; its ending chooses csv, parquet or json.")],
) -> int:
    """Write one table of a run as one file."""
    import pipelines.exporters as exporters
    from audit import plugins
    from pipelines.storage import Run, storing
    from pipelines.terminal import tell_path

    exporter = plugins.find(exporters, out.suffix.lstrip(".").lower())()
    rows = Run(run_folder).table(table)
    with storing(out):
        exporter(rows, out)
    tell_path(f"{len(rows)} rows", out, make_console())
    return DONE
