"""`rightreasons suggest`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import DONE, RunFolder, make_console

EXAMPLE = "rightreasons suggest runs/monday --pool unlabelled --n 50 --out to_add.csv"


def command(
    run_folder: RunFolder,
    pool: Annotated[
        Path | None,
        typer.Option("--pool", help="Folder of unlabelled pictures, or a table with the column path."),
    ] = None,
    n: Annotated[
        int, typer.Option("--n", min=1, help="Pictures at most: of the list, or made of each kind.")
    ] = 50,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="File for the list; its ending chooses csv, parquet or json."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="coco, fiftyone, label_studio, …; by default as --out ends."),
    ] = None,
    counterfactuals: Annotated[
        Path | None,
        typer.Option("--counterfactuals", help="New folder for made pictures that contradict the findings."),
    ] = None,
) -> int:
    """Say which pictures of a pool to add so that findings are mended, or make pictures that contradict them."""
    from audit.errors import ConfigError
    from pipelines.storage import Run

    if (pool is None) != (out is None) or (pool is None and counterfactuals is None):
        raise ConfigError(
            "suggest: expected --pool DIR with --out FILE, or --counterfactuals DIR, found neither"
        )
    run, console = Run(run_folder), make_console()
    if pool is not None and out is not None:
        from pipelines.pool_outputs import suggest

        suggest(run, pool, n, (out, form), console)
    if counterfactuals is not None:
        from pipelines.counterfactuals import make_counterfactuals
        from pipelines.pool_outputs import tell_made
        from pipelines.progress import Progress

        made = make_counterfactuals(run, counterfactuals, n, progress=Progress(console))
        tell_made(made, counterfactuals, console)
    return DONE
