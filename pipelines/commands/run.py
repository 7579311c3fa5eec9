"""`rightreasons run`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from audit.errors import ConfigError
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
    metadata: Annotated[
        Path | None,
        typer.Option(
            help="explanation_metadata.json or an ExplanationSpec: its method, tensors, preprocessing."
        ),
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="local processes, or dask for a cluster.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Address of the dask scheduler, tcp://host:8786.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", help="Score only this part, such as 3/16, for `merge`.")
    ] = None,
    reuse: Annotated[
        Path | None,
        typer.Option(
            "--reuse",
            help="An earlier run, or a folder of runs (the newest fitting one): unchanged samples keep their scores.",
        ),
    ] = None,
    sample: Annotated[
        bool,
        typer.Option(
            "--sample", help="Make maps of as many samples a class as its verdict needs: run.sampling."
        ),
    ] = False,
    settings: Settings = None,
    force_new: Annotated[
        bool, typer.Option("--force-new", help="Drop what another audit left in the run folder.")
    ] = False,
    retry_crashed: Annotated[
        bool,
        typer.Option(
            "--retry-crashed",
            help="Try images again that are in quarantine because their workers were lost, say for want of memory.",
        ),
    ] = False,
) -> int:
    """Audit a model on a dataset; resumes by itself where it was interrupted."""
    from pipelines.parts import parse_part
    from pipelines.progress import Progress
    from pipelines.run import audit, score_part
    from pipelines.terminal import tell, tell_path

    chosen = [
        f"run.{key}={json.dumps(value)}"
        for key, value in (("engine", engine), ("scheduler", scheduler))
        if value
    ]
    chosen += ["run.sampling=true"] if sample else []
    chosen += settings or []
    loaded = configured(
        config, data, model, classes, masks, methods, splits, per_class, workers, chosen, metadata
    )
    folder = out or Path("runs") / (config.stem if config else loaded.data.path.stem)
    console = make_console()
    if shard is not None and reuse is not None:
        raise ConfigError(
            "--reuse takes scores over from an earlier run, and --shard is a part of one; give one of them"
        )
    if shard is not None and retry_crashed:
        raise ConfigError(
            "--retry-crashed finishes a whole run, and --shard is a part of one; merge the parts, then give "
            "--retry-crashed to `rightreasons run` on the merged run"
        )
    if shard is not None:
        part = parse_part(shard)
        n_own, n_all = score_part(loaded, folder, part, progress=Progress(console), is_new=force_new)
        tell_path(f"Part {part.number} of {part.of}: {n_own} of {n_all} samples", folder, console)
        return DONE
    finished = audit(
        loaded,
        folder,
        progress=Progress(console),
        is_new=force_new,
        reuse=reuse,
        retries_crashed=retry_crashed,
    )
    tell(finished, folder / "report" / "index.html", console)
    return DONE
