"""The command line: finds the subcommands, and turns what they raise into one sentence and an exit code."""

import importlib
import pkgutil
import signal
import sys
from typing import Any, NoReturn

import typer

from audit.errors import AuditError, StorageError, UnusableError
from pipelines import commands
from pipelines.commands import DONE, INTERNAL, INTERRUPTED, TERMINATED, UNUSABLE, WRONG_INPUT

# What typer raises over a wrong command line. It carries click within itself or depends on it, as its version has it,
# so the class is reached through one that typer itself exports.
CommandLineError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
STORY = [
    "demo",
    "init",
    "check",
    "run",
    "judge",
    "report",
    "explain",
    "suggest",
    "compare",
    "gate",
    "history",
    "export",
]
"""Order of the commands in --help; others follow by name."""

app = typer.Typer(
    help="Is an image classifier right for the right reasons? Audits a Keras model over a whole labelled dataset.",
    epilog="Start with: rightreasons demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _register() -> None:
    """Makes every file of `pipelines.commands` a subcommand."""
    found = [module.name for module in pkgutil.iter_modules(commands.__path__)]
    for name in sorted(found, key=lambda name: (STORY.index(name) if name in STORY else len(STORY), name)):
        module = importlib.import_module(f"{commands.__name__}.{name}")
        app.command(name, epilog=f"Example: {module.EXAMPLE}")(module.command)


_register()


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; the exit codes are a contract: 0 done, 1 gate failed, 2 wrong command line or configuration,
    3 input unusable, 4 internal error or disk, 130 and 143 interrupted and resumable.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(args=arguments, standalone_mode=False)
        if code == INTERRUPTED:  # newer versions of typer turn an interrupt into its exit code
            raise KeyboardInterrupt
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
    # Names of files may hold line breaks and what a terminal takes for commands.
    sentence = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(error))
    print(f"rightreasons: {sentence}", file=sys.stderr)
    return code


def _interrupted(word: str, code: int) -> int:
    print(f"rightreasons: {word}; what is finished is kept, the same command resumes", file=sys.stderr)
    return code


def _terminate(*_: object) -> NoReturn:
    raise SystemExit(TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
