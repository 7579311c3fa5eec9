"""`rightreasons demo`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import make_console

EXAMPLE = "rightreasons demo --out demo"


def command(
    out: Annotated[Path, typer.Option(help="Folder for the drawn photos, the models and both runs.")] = Path(
        "demo"
    ),
    seed: Annotated[int, typer.Option(help="Of the drawing and the training.")] = 0,
) -> int:
    """The whole story on drawn data: train, audit, fix the data, audit again, compare."""
    from pipelines.demo import tell

    return tell(out, console=make_console(), seed=seed)
