"""`rightreasons judge`."""

import typer

from pipelines.commands import DONE, RunFolder, Settings, make_console

EXAMPLE = "rightreasons judge runs/monday --set verdicts.q=0.01"


def command(run_folder: RunFolder, settings: Settings = None) -> int:
    """Draw the verdicts again from stored scores, with other limits; no model needed."""
    from pipelines import judge as judging
    from pipelines.config import parse_override, put, validate
    from pipelines.storage import Run
    from pipelines.terminal import tell

    stored = Run(run_folder)
    values = stored.manifest()["config"]
    for setting in settings or []:
        dotted, value = parse_override(setting)
        if not dotted.startswith("verdicts."):
            raise typer.BadParameter(
                f"judge draws other lines, so it takes keys of [verdicts] alone; found {dotted!r}"
            )
        put(values, dotted, value)
    with stored.locked():
        judging.judge(stored, validate(values, "--set").verdicts)
        page = judging.write_report(stored)
    tell(judging.load(stored), page, make_console())
    return DONE
