"""`rightreasons init`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import DONE, Classes, Masks, make_console

EXAMPLE = "rightreasons init --data photos --model model.keras"


def command(
    data: Annotated[Path, typer.Option(help="Folder, manifest or annotation file.")],
    model: Annotated[Path, typer.Option(help=".keras, .h5 or SavedModel.")],
    classes: Classes = None,
    masks: Masks = None,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("audit.toml"),
) -> int:
    """Write a commented audit.toml from a look at the dataset and the model."""
    from pipelines.starter import write_starter
    from pipelines.terminal import tell_path

    console = make_console()
    write_starter(data, model, classes, out, console, masks)
    tell_path("Configuration", out, console)
    console.print(f"Next: rightreasons check {out}", highlight=False, soft_wrap=True)
    return DONE
