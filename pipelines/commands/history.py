"""`rightreasons history`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import DONE, make_console

EXAMPLE = "rightreasons history runs --keep 30"


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that holds run folders.")],
    table: Annotated[
        Path | None, typer.Option("-o", "--table", help="File; its ending chooses csv, parquet or json.")
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(min=1, help="Say which finished runs but the newest so many would be deleted."),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="With --keep: delete them.")] = False,
) -> int:
    """Show the runs of a folder over time, as a table and a page of trends."""
    import pipelines.exporters as exporters
    from audit import plugins
    from pipelines import history
    from pipelines.storage import storing

    if delete and keep is None:
        raise typer.BadParameter("--delete goes with --keep N, which says what stays")
    export = None if table is None else plugins.find(exporters, table.suffix.lstrip(".").lower())()
    found = history.read(folder)
    notes: list[str] = []
    if keep is not None:
        plan = history.retention(folder, found, keep)
        notes = history.retention_notes(plan, keep, is_done=delete)
        if delete and list(history.delete(plan.delete)):
            found = history.read(folder)
    if table is not None and export is not None:
        with storing(table):
            table.parent.mkdir(parents=True, exist_ok=True)
            export(found.table(), table)
    history.tell(found, history.write_page(folder, found), make_console(), notes)
    return DONE
