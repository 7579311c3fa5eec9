"""How shards are executed: each file gives an executor of `concurrent.futures`; `execute.py` does not know which.

The file name is what users type in `run.engine`.
"""

from concurrent.futures import Executor
from typing import Protocol


class WorkersLostError(Exception):
    """Workers died or hang; what they were at is lost."""


class TaskLostError(WorkersLostError):
    """Every worker that was given this task died of it; the workers are there again, and other tasks go on."""


class Engine(Protocol):
    """A frozen dataclass with one field, the `[run]` section."""

    @property
    def slots(self) -> int:
        """Tasks that can run at once; 0 runs them in this process."""
        ...

    @property
    def threads(self) -> int | None:
        """TensorFlow threads for each worker; None leaves the choice to TensorFlow."""
        ...

    def start(self) -> Executor:
        """Workers. A worker that dies shows as a BrokenExecutor of its task's future, or as a TaskLostError
        where the engine has tried the task on others.

        Raises:
            RunError: there are none to be had.
        """
        ...

    def stop(self, executor: Executor) -> None:
        """Ends the tasks at once, also in the middle, and lets the executor go."""
        ...
