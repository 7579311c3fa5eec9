"""How a run tells what it does: a bar with rate and time left on a terminal, plain lines in a log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

SECONDS_BETWEEN_LINES = 10.0


class Bar(Protocol):
    """Counts images."""

    def advance(self, n: int) -> None:
        """So many more are done."""
        ...


class Progress:
    """Tells steps and bars to a console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, step: str) -> None:
        """A step that has no bar."""
        if not self.console.quiet:
            self.console.print(f"[dim]· {escape(step)}[/dim]", highlight=False)

    @contextmanager
    def bar(self, step: str, total: int, done: int = 0) -> Iterator[Bar]:
        """A bar over `total` images, `done` of them finished earlier."""
        if not self.console.is_terminal:
            yield _Lines(self.console, step, total, done)
            return
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(show_speed=False),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
        )
        with RichProgress(*columns, console=self.console, transient=True) as rich_bar:
            yield _RichBar(rich_bar, rich_bar.add_task(step, total=total, completed=done, rate=""))


class _RichBar:
    def __init__(self, bar: RichProgress, task: TaskID) -> None:
        self._bar, self._task, self._n, self._clock = bar, task, 0, time.monotonic()

    def advance(self, n: int) -> None:
        self._n += n
        rate = self._n / max(time.monotonic() - self._clock, 1e-3)
        self._bar.update(self._task, advance=n, rate=f"{rate:.1f} images/s")


class _Lines:
    def __init__(self, console: Console, step: str, total: int, done: int) -> None:
        self._console, self._step, self._total, self._done = console, step, total, done
        self._first, self._clock, self._told = done, time.monotonic(), float("-inf")

    def advance(self, n: int) -> None:
        self._done += n
        now = time.monotonic()
        if now - self._told < SECONDS_BETWEEN_LINES and self._done < self._total:
            return
        self._told = now
        rate = (self._done - self._first) / max(now - self._clock, 1e-3)
        left = (
            f", {(self._total - self._done) / rate:.0f} s left"
            if rate > 0 and self._done < self._total
            else ""
        )
        self._console.print(
            f"{self._step}: {self._done} of {self._total} images, {rate:.1f} images/s{left}", highlight=False
        )
