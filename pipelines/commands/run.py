"""`rightreasons run`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import (
    DONE,
    Classes,
    ConfigFile,
    Data,
    Masks,
    Methods,
    Model,
    PerClass,
    Settings,
    Splits,
    Workers,
    configured,
    make_console,
)

EXAMPLE = "rightreasons run --data photos --model model.keras --out runs/monday"


def command(
    config: ConfigFile = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; by default runs/<configuration or data name>.")
    ] = None,
    data: Data = None,
    model: Model = None,
    classes: Classes = None,
    masks: Masks = None,
    methods: Methods = None,
    splits: Splits = None,
    per_class: PerClass = None,
    workers: Workers = None,
    settings: Settings = None,
    force_new: Annotated[
        bool, typer.Option("--force-new", help="Drop what another audit left in the run folder.")
    ] = False,
) -> int:
    """Audit a model on a dataset; resumes by itself where it was interrupted."""
    from pipelines.progress import Progress
    from pipelines.run import audit
    from pipelines.terminal import tell

    loaded = configured(config, data, model, classes, masks, methods, splits, per_class, workers, settings)
    folder = out or Path("runs") / (config.stem if config else loaded.data.path.stem)
    console = make_console()
    finished = audit(loaded, folder, progress=Progress(console), is_new=force_new)
    tell(finished, folder / "report" / "index.html", console)
    return DONE
