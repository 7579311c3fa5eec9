"""`rightreasons risk`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import DONE, RunFolder, make_console

EXAMPLE = "rightreasons risk runs/monday --pool unlabelled --out risks.csv"


def command(
    run_folder: RunFolder,
    pool: Annotated[
        Path, typer.Option("--pool", help="Folder of unlabelled pictures, or a table with the column path.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="File for the list; its ending chooses csv, parquet or json.")
    ],
) -> int:
    """Say on which unlabelled pictures the model of a run is probably wrong, and what accuracy to expect."""
    from rich.markup import escape
    from rich.padding import Padding

    import pipelines.exporters as exporters
    from audit import plugins
    from pipelines.progress import Progress
    from pipelines.storage import Run, storing
    from pipelines.terminal import tell_path
    from pipelines.unlabelled import assess_pictures, sentences

    console = make_console()
    # Hours of looking must not end in a wrong word.
    exporter = plugins.find(exporters, out.suffix.lstrip(".").lower())()
    found = assess_pictures(Run(run_folder), pool, progress=Progress(console))
    with storing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        exporter(found.table, out)
    first, *others = sentences(found)
    console.print(f"\n[bold]{first}[/]\n", highlight=False)
    for sentence in others:
        console.print(Padding(f"• {escape(sentence)}", (0, 0, 0, 2)), highlight=False)
    console.print()
    tell_path("List", out, console)
    return DONE
