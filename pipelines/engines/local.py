"""Worker processes on this machine by joblib's loky, or this process itself."""

import os
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.engine import start_worker

if TYPE_CHECKING:
    from pipelines.config import RunConfigSection

__all__ = ["Local"]


class InProcess(Executor):
    """Runs a task when it is submitted, here; for one-process audits such as the demo's."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A finished future."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # a future carries whatever its task raised
            future.set_exception(error)
        return future


@dataclass(frozen=True)
class Local:
    """Processes on this machine; the cores are shared out among them.

    Attributes:
        run: `workers` is their number; 0 works in this process.
    """

    run: "RunConfigSection"

    @property
    def slots(self) -> int:
        """The processes."""
        return self.run.workers

    @property
    def threads(self) -> int | None:
        """An equal part of the cores; in this process, what TensorFlow chooses."""
        return None if self.run.workers == 0 else max(1, (os.cpu_count() or 1) // self.run.workers)

    def start(self) -> Executor:
        """The processes, started when they are first asked."""
        if self.run.workers == 0:
            return InProcess()
        from joblib.externals.loky import ProcessPoolExecutor

        return ProcessPoolExecutor(  # type: ignore[no-any-return]
            max_workers=self.run.workers,
            initializer=start_worker,
            initargs=(os.getpid(),),
            env={"TF_CPP_MIN_LOG_LEVEL": "3"},
        )

    def stop(self, executor: Executor) -> None:
        """Kills the processes."""
        if not isinstance(executor, InProcess):
            executor.shutdown(wait=False, kill_workers=True)  # type: ignore[call-arg]
