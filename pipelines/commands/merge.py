"""`rightreasons merge`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import DONE, Workers, make_console

EXAMPLE = "rightreasons merge parts/1 parts/2 --out runs/monday"


def command(
    parts: Annotated[list[Path], typer.Argument(metavar="PART...", help="Folders of `run --shard`.")],
    out: Annotated[Path, typer.Option(help="Folder of the whole run.")],
    workers: Workers = None,
) -> int:
    """Join the parts of an array job into one run, and finish it; what no part has scored is scored here."""
    from pipelines.parts import gather
    from pipelines.progress import Progress
    from pipelines.run import audit
    from pipelines.terminal import tell

    console = make_console()
    config = gather(parts, out)
    if workers is not None:
        config = config.model_copy(update={"run": config.run.model_copy(update={"workers": workers})})
    finished = audit(config, out, progress=Progress(console))
    tell(finished, out / "report" / "index.html", console)
    return DONE
