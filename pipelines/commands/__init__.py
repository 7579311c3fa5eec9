"""The subcommands, one file each: `command`, the function that typer calls, and `EXAMPLE`, a line for its --help.

A file here is a subcommand of its name; nothing lists it. What a command needs is imported when it runs, so that --help
stays quick. This module has what several of them share: options, exit codes, the console.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.config import RunConfig

DONE, GATE_FAILED, WRONG_INPUT, UNUSABLE, INTERNAL = 0, 1, 2, 3, 4
INTERRUPTED, TERMINATED = 130, 143
"""Exit codes, a contract."""

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
ConfigFile = Annotated[
    Path | None, typer.Argument(metavar="[AUDIT.TOML]", help="Configuration; `rightreasons init` writes one.")
]
Data = Annotated[Path | None, typer.Option("--data", help="Folder, manifest or annotation file.")]
Model = Annotated[Path | None, typer.Option("--model", help=".keras, .h5 or SavedModel.")]
Classes = Annotated[Path | None, typer.Option("--classes", help="Class names, one a line in output order.")]
Masks = Annotated[Path | None, typer.Option("--masks", help="Folder of mask PNGs that mirrors the images.")]
Methods = Annotated[str | None, typer.Option("--methods", help="Attribution methods, separated by commas.")]
Splits = Annotated[str | None, typer.Option("--splits", help="Splits to audit, separated by commas.")]
PerClass = Annotated[int | None, typer.Option("--per-class", help="At most so many samples a class.")]
Workers = Annotated[int | None, typer.Option("--workers", help="Worker processes; 0 works in this process.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Any key: section.key=value; may be repeated.")
]


def make_console() -> "Console":
    """Where a command speaks: coloured on a terminal, plain elsewhere."""
    from rich.console import Console

    return Console()


def configured(
    config: Path | None,
    data: Path | None = None,
    model: Path | None = None,
    classes: Path | None = None,
    masks: Path | None = None,
    methods: str | None = None,
    splits: str | None = None,
    per_class: int | None = None,
    workers: int | None = None,
    settings: list[str] | None = None,
    metadata: Path | None = None,
) -> "RunConfig":
    """The configuration: file, then a hosted service's metadata, then options, then --set.

    Raises:
        ConfigError: as `pipelines.config.load` and `pipelines.explanation_metadata.read`.
    """
    from pipelines.config import load, parse_override

    options: dict[str, Any] = {
        "data.path": data,
        "model.path": model,
        "model.classes": classes,
        "data.masks": masks,
        "attributions.methods": methods and [name.strip() for name in methods.split(",")],
        "data.splits": splits and [name.strip() for name in splits.split(",")],
        "data.per_class": per_class,
        "run.workers": workers,
    }
    overrides = [(key, value) for key, value in options.items() if value is not None]
    overrides += [parse_override(setting) for setting in settings or []]
    loaded = load(config, overrides)
    if metadata is None:
        return loaded
    from pipelines.explanation_metadata import config_overrides, read

    return load(config, config_overrides(read(metadata), loaded.model) + overrides)
