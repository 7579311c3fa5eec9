"""In which call of the classifier a row is computed: full calls, as many at once as the classifier takes.

Each image is explained by a walk of its own, which asks for rows and is sent their values, and never sees
another walk. So what comes out does not depend on the schedule. A thread takes the oldest open rows, computes
them, and works out what their walks want next while the other threads' calls run.
"""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_HELD_BYTES = 256 * 2**20
"""Memory of the values under way beyond which no walk starts; beyond twice that only the oldest goes on."""

Ask = tuple[Sequence[Any], int]
"""The rows wanted, at least one, and how many values will be held once they are known."""

Walk = Generator[Ask, list[Any], Any]
"""Asks for rows, is sent their values in that order, returns its result."""


@dataclass(frozen=True)
class Work:
    """What is scheduled.

    Attributes:
        n_walks: how many.
        walk: a new walk, by its number.
        evaluate: the values of rows, given the walks' numbers int64 (n,) and the rows as they were asked for;
            several threads may call at once.
        value_bytes: memory of one value.
    """

    n_walks: int
    walk: Callable[[int], Walk]
    evaluate: Callable[[np.ndarray, list[Any]], Sequence[Any]]
    value_bytes: int


@dataclass(frozen=True)
class _Result:
    value: Any


@dataclass(eq=False)
class _Walker:
    """A walk under way; not frozen, since a schedule is what changes it.

    Attributes:
        asked: the rows it waits for; the first `n_taken` of them are being computed.
        values: those that are known, by their place in `asked`.
        n_held: values it will hold once all are known.
    """

    number: int
    walk: Walk
    asked: Sequence[Any] = ()
    values: dict[int, Any] = field(default_factory=dict)
    n_taken: int = 0
    n_held: int = 0

    def open_rows(self) -> Iterator[tuple["_Walker", int]]:
        """The rows that nobody computes yet."""
        return ((self, place) for place in range(self.n_taken, len(self.asked)))

    def answer(self) -> Ask | _Result:
        """Send the walk what it asked for: what it asks for next, or its result."""
        try:
            return self.walk.send([self.values[place] for place in range(len(self.asked))])
        except StopIteration as finished:
            return _Result(finished.value)

    def ask(self, wanted: Ask) -> None:
        """Wait for other rows."""
        self.asked, self.n_held = wanted
        self.n_taken, self.values = 0, {}


class _Schedule:
    """The walks under way, shared by the threads that compute their rows."""

    def __init__(self, work: Work, batch_size: int, callers: int) -> None:
        self.results: dict[int, Any] = {}
        self._work = work
        self._batch_size = batch_size
        # So many rows are kept open that each caller finds a full call.
        self._n_wanted = batch_size * callers
        self._n_allowed = max(_HELD_BYTES // work.value_bytes, 1)
        self._waiting = iter(range(work.n_walks))
        self._under_way: list[_Walker] = []
        self._n_busy = 0
        self._is_over = False
        self._changed = threading.Condition()

    def run(self) -> None:
        """Take rows and compute them until there are none left: one thread's work."""
        try:
            while rows := self._take():
                numbers = np.array([walker.number for walker, _ in rows])
                asked = [walker.asked[place] for walker, place in rows]
                self._deliver(rows, self._work.evaluate(numbers, asked))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """No thread takes further rows."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _take(self) -> list[tuple[_Walker, int]]:
        """A full call; fewer rows where nothing under way can add to them; none at the end."""
        with self._changed:
            while not self._is_over:
                self._start_walks()
                n_held = sum(walker.n_held for walker in self._under_way)
                going = self._under_way if n_held < 2 * self._n_allowed else self._under_way[:1]
                rows = [row for walker in going for row in walker.open_rows()][: self._batch_size]
                # A call that is not full is padded: its rows wait for those that calls in flight will open.
                if len(rows) == self._batch_size or not self._n_busy:
                    for walker, _ in rows:
                        walker.n_taken += 1
                    self._n_busy += bool(rows)
                    return rows
                self._changed.wait()
            return []

    def _start_walks(self) -> None:
        """Start walks until there are rows for every caller, or memory is used up."""
        n_open = sum(len(walker.asked) - walker.n_taken for walker in self._under_way)
        n_held = sum(walker.n_held for walker in self._under_way)
        while n_open < self._n_wanted and n_held < self._n_allowed:
            number = next(self._waiting, None)
            if number is None:
                return
            walker = _Walker(number, self._work.walk(number))
            walker.ask(next(walker.walk))
            self._under_way.append(walker)
            n_open += len(walker.asked)
            n_held += walker.n_held

    def _deliver(self, rows: list[tuple[_Walker, int]], values: Sequence[Any]) -> None:
        """Give walkers their values; those that have all they asked for go on."""
        ready = []
        with self._changed:
            for (walker, place), value in zip(rows, values, strict=True):
                walker.values[place] = value
                if len(walker.values) == len(walker.asked):
                    ready.append(walker)
        # Outside the lock: nobody else touches a walker all of whose rows are taken.
        answers = [(walker, walker.answer()) for walker in ready]
        with self._changed:
            for walker, answer in answers:
                if isinstance(answer, _Result):
                    self.results[walker.number] = answer.value
                    self._under_way.remove(walker)
                else:
                    walker.ask(answer)
            self._n_busy -= 1
            self._changed.notify_all()


def finish(work: Work, *, batch_size: int, callers: int) -> list[Any]:
    """The results of all walks, in order, from calls of `batch_size` rows wherever possible.

    Memory is bounded by the values of the walks that are under way, not by the number of walks: the next one
    starts only when the calls cannot be filled from those under way.

    Args:
        work: the walks.
        batch_size: most rows of a call.
        callers: threads that compute rows; results do not depend on their number.
    """
    schedule = _Schedule(work, batch_size, callers)
    if callers == 1:
        schedule.run()
    else:
        with ThreadPoolExecutor(callers) as pool:
            try:
                for thread in [pool.submit(schedule.run) for _ in range(callers)]:
                    thread.result()
            except BaseException:
                schedule.stop()  # an interrupt ends the waiting, and the pool would wait for every walk
                raise
    return [schedule.results[number] for number in range(work.n_walks)]
