"""The command line: one function a subcommand. Imports what a command needs when it runs, so that --help is quick."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from audit.errors import AuditError, StorageError, UnusableError

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.config import RunConfig

# What typer raises over a wrong command line. It carries click within itself or depends on it, as its version has it,
# so the class is reached through one that typer itself exports.
CommandLineError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
DONE, GATE_FAILED, WRONG_INPUT, UNUSABLE, INTERNAL = 0, 1, 2, 3, 4
INTERRUPTED, TERMINATED = 130, 143

app = typer.Typer(
    help="Is an image classifier right for the right reasons? Audits a Keras model over a whole labelled dataset.",
    epilog="Start with: rightreasons demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

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


@app.command(epilog="Example: rightreasons demo --out demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the drawn photos, the models and both runs.")] = Path(
        "demo"
    ),
    seed: Annotated[int, typer.Option(help="Of the drawing and the training.")] = 0,
) -> int:
    """The whole story on drawn data: train, audit, fix the data, audit again, compare."""
    from pipelines.demo import tell

    return tell(out, console=_console(), seed=seed)


@app.command(epilog="Example: rightreasons init --data photos --model model.keras")
def init(
    data: Annotated[Path, typer.Option(help="Folder, manifest or annotation file.")],
    model: Annotated[Path, typer.Option(help=".keras, .h5 or SavedModel.")],
    classes: Classes = None,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("audit.toml"),
) -> int:
    """Write a commented audit.toml from a look at the dataset and the model."""
    from pipelines.starter import write_starter
    from pipelines.terminal import tell_path

    console = _console()
    write_starter(data, model, classes, out, console)
    tell_path("Configuration", out, console)
    console.print(f"Next: rightreasons check {out}", highlight=False, soft_wrap=True)
    return DONE


@app.command(epilog="Example: rightreasons check audit.toml")
def check(
    config: ConfigFile = None,
    data: Data = None,
    model: Model = None,
    classes: Classes = None,
    masks: Masks = None,
    methods: Methods = None,
    splits: Splits = None,
    per_class: PerClass = None,
    settings: Settings = None,
) -> int:
    """Read everything, attribute a few samples, and say what would fail and how long the run would take."""
    from pipelines.check import check_audit

    loaded = _load(config, data, model, classes, masks, methods, splits, per_class, None, settings)
    check_audit(loaded, _console())
    return DONE


@app.command(epilog="Example: rightreasons run --data photos --model model.keras --out runs/monday")
def run(
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

    loaded = _load(config, data, model, classes, masks, methods, splits, per_class, workers, settings)
    folder = out or Path("runs") / (config.stem if config else loaded.data.path.stem)
    console = _console()
    finished = audit(loaded, folder, progress=Progress(console), is_new=force_new)
    tell(finished, folder / "report" / "index.html", console)
    return DONE


@app.command(epilog="Example: rightreasons judge runs/monday --set verdicts.q=0.01")
def judge(run_folder: RunFolder, settings: Settings = None) -> int:
    """Draw the verdicts again from stored scores, with other limits; no model needed."""
    from pipelines import judge as judging
    from pipelines.config import parse_override, validate
    from pipelines.storage import Run
    from pipelines.terminal import tell

    stored = Run(run_folder)
    values = stored.manifest()["config"]
    for setting in settings or []:
        dotted, value = parse_override(setting)
        section, _, key = dotted.partition(".")
        if section != "verdicts":
            raise typer.BadParameter(
                f"judge draws other lines, so it takes keys of [verdicts] alone; found {dotted!r}"
            )
        values["verdicts"][key] = value
    with stored.locked():
        judging.judge(stored, validate(values, "--set").verdicts)
        page = judging.write_report(stored)
    tell(judging.load(stored), page, _console())
    return DONE


@app.command(epilog="Example: rightreasons report runs/monday")
def report(run_folder: RunFolder) -> int:
    """Render the HTML again from a finished run."""
    from pipelines.judge import write_report
    from pipelines.storage import Run
    from pipelines.terminal import tell_path

    stored = Run(run_folder)
    stored.manifest()
    with stored.locked():
        tell_path("Report", write_report(stored), _console())
    return DONE


@app.command(epilog="Example: rightreasons export runs/monday attributions -o attributions.csv")
def export(
    run_folder: RunFolder,
    table: Annotated[
        str, typer.Argument(help="predictions, attributions, confounds, interventions, verdicts, …")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="File; its ending chooses csv, parquet or json.")],
) -> int:
    """Write one table of a run as one file."""
    import pipelines.exporters as exporters
    from audit import plugins
    from pipelines.storage import Run, storing
    from pipelines.terminal import tell_path

    exporter = plugins.find(exporters, out.suffix.lstrip(".").lower())()
    rows = Run(run_folder).table(table)
    with storing(out):
        exporter(rows, out)
    tell_path(f"{len(rows)} rows", out, _console())
    return DONE


@app.command(epilog="Example: rightreasons doctor")
def doctor() -> int:
    """Say what this machine and installation are, and what is wrong with them."""
    from pipelines.doctor import examine

    return DONE if examine(_console()) else WRONG_INPUT


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; the exit codes are a contract: 0 done, 1 gate failed, 2 wrong command line or configuration,
    3 input unusable, 4 internal error or disk, 130 and 143 interrupted and resumable.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(args=arguments, standalone_mode=False)
        return code if isinstance(code, int) else DONE
    except typer.Exit as ended:
        return ended.exit_code
    except CommandLineError as error:
        error.show()
        return WRONG_INPUT
    except StorageError as error:
        return _fail(error, INTERNAL)
    except UnusableError as error:
        return _fail(error, UNUSABLE)
    except AuditError as error:
        return _fail(error, WRONG_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted("interrupted", INTERRUPTED)
    except SystemExit as ended:
        if ended.code == TERMINATED:
            return _interrupted("terminated", TERMINATED)
        raise
    except Exception:
        # A bug of ours, not a fault of the user's: the traceback is what a report of it needs.
        import traceback

        traceback.print_exc()
        return INTERNAL


def _fail(error: AuditError, code: int) -> int:
    print(f"rightreasons: {error}", file=sys.stderr)
    return code


def _interrupted(word: str, code: int) -> int:
    print(f"rightreasons: {word}; what is finished is kept, the same command resumes", file=sys.stderr)
    return code


def _terminate(*_: object) -> NoReturn:
    raise SystemExit(TERMINATED)


def _console() -> "Console":
    from rich.console import Console

    return Console()


def _load(
    config: Path | None,
    data: Path | None,
    model: Path | None,
    classes: Path | None,
    masks: Path | None,
    methods: str | None,
    splits: str | None,
    per_class: int | None,
    workers: int | None,
    settings: list[str] | None,
) -> "RunConfig":
    """The configuration: file, then options, then --set."""
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
    return load(config, overrides + [parse_override(setting) for setting in settings or []])
