"""Worker processes on this machine by joblib's loky, or this process itself."""

import os
from concurrent.futures import Executor, Future
from typing import Any

from pipelines.engine import start_worker


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


def start(workers: int) -> Executor:
    """An executor with that many processes; 0 works in this process."""
    if workers == 0:
        return InProcess()
    from joblib.externals.loky import ProcessPoolExecutor

    return ProcessPoolExecutor(  # type: ignore[no-any-return]
        max_workers=workers,
        initializer=start_worker,
        initargs=(os.getpid(),),
        env={"TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def stop(executor: Executor) -> None:
    """Ends the workers at once, also in the middle of a task."""
    if isinstance(executor, InProcess):
        return
    executor.shutdown(wait=False, kill_workers=True)  # type: ignore[call-arg]


def threads(workers: int) -> int | None:
    """TensorFlow threads for each of so many workers; None leaves the choice to TensorFlow."""
    return None if workers == 0 else max(1, (os.cpu_count() or 1) // workers)
