"""`rightreasons doctor`."""

from pipelines.commands import DONE, WRONG_INPUT, make_console

EXAMPLE = "rightreasons doctor"


def command() -> int:
    """Say what this machine and installation are, and what is wrong with them."""
    from pipelines.doctor import examine

    return DONE if examine(make_console()) else WRONG_INPUT
