"""`rightreasons report`."""

from pipelines.commands import DONE, RunFolder, make_console

EXAMPLE = "rightreasons report runs/monday"


def command(run_folder: RunFolder) -> int:
    """Render the HTML again from a finished run."""
    from pipelines.judge import write_report
    from pipelines.storage import Run
    from pipelines.terminal import tell_path

    stored = Run(run_folder)
    stored.manifest()
    with stored.locked():
        tell_path("Report", write_report(stored), make_console())
    return DONE
