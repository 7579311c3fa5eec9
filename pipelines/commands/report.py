"""`rightreasons report`."""

from typing import Annotated

import typer

from pipelines.commands import DONE, RunFolder, make_console

EXAMPLE = "rightreasons report runs/monday --single-file"

MANY_BYTES = 20_000_000
"""What many mail servers still take."""


def command(
    run_folder: RunFolder,
    single_file: Annotated[
        bool,
        typer.Option(
            "--single-file", help="One HTML file for mail, with the exemplars alone: RUN/report.html."
        ),
    ] = False,
) -> int:
    """Render the HTML again from a finished run."""
    from pipelines.judge import write_report, write_single_file
    from pipelines.storage import Run
    from pipelines.terminal import tell_path

    stored, console = Run(run_folder), make_console()
    stored.manifest()
    with stored.locked():
        path = write_single_file(stored) if single_file else write_report(stored)
    if single_file and path.stat().st_size > MANY_BYTES:
        console.print(
            f"[yellow]{path.stat().st_size / 1e6:.0f} MB[/] are much for a mail; a run with fewer exemplars "
            "(report.worst, report.typical, report.demonstrations) makes less",
            highlight=False,
        )
    tell_path("Report", path, console)
    return DONE
