"""`rightreasons export`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import DONE, RunFolder, make_console

EXAMPLE = "rightreasons export runs/monday attributions -o attributions.csv"


def command(
    run_folder: RunFolder,
    table: Annotated[
        str,
        typer.Argument(
            help="predictions, attributions, confounds, interventions, verdicts, findings, edits, …"
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="File; its ending chooses csv, parquet or json.")],
    form: Annotated[
        str | None,
        typer.Option(
            "--format", help="For tables of pictures: fiftyone, label_studio, coco; by default as --out ends."
        ),
    ] = None,
) -> int:
    """Write one table of a run as one file: `findings` has what is known of each picture, `edits` what to crop."""
    from rich.markup import escape
    from rich.padding import Padding

    import pipelines.exporters as exporters
    from audit import plugins
    from pipelines.made_tables import table_of
    from pipelines.storage import Run, storing
    from pipelines.terminal import tell_path

    exporter = plugins.find(exporters, form or out.suffix.lstrip(".").lower())()
    rows, sentences = table_of(Run(run_folder), table)
    with storing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        exporter(rows, out)
    console = make_console()
    for sentence in sentences:
        console.print(Padding(f"• {escape(sentence)}", (0, 0, 0, 2)), highlight=False)
    tell_path(f"{len(rows)} rows", out, console)
    return DONE
