"""Workers of a dask cluster, started by the user: `dask scheduler`, and `dask worker tcp://…` on each host.

Tasks go through futures and bring back small records; the shards themselves are written by the workers, so the run
folder, the dataset and the model have to be at the same paths on every host. Only one task at a time runs in a worker
process, which keeps the model: a host is filled by several processes (`--nworkers`), each with its GPU where there
are some (`CUDA_VISIBLE_DEVICES=0 dask worker … --resources GPU=1`, `run.resources = {GPU = 1}`).
"""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit.errors import ConfigError, RunError
from pipelines.engines import TaskLostError
from pipelines.quiet import load_tensorflow

if TYPE_CHECKING:
    from pipelines.config import RunConfigSection

__all__ = ["Dask"]

CONNECT_SECONDS = 30
_ONE_AT_A_TIME = threading.Lock()


class Cluster(Executor):
    """The cluster as an executor of `concurrent.futures`.

    Attributes:
        client: connected to the scheduler.
        resources: what each task needs of a worker, such as {"GPU": 1}.
    """

    def __init__(self, client: Any, resources: dict[str, float]) -> None:
        self.client = client
        self.resources = resources
        self._tasks: dict[str, Any] = {}

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future of the task on one of the workers.

        Raises:
            BrokenExecutor: the scheduler is gone.
        """
        future: Future[Any] = Future()
        if self.client.status != "running":
            raise BrokenExecutor(f"the scheduler is gone (client {self.client.status})")
        task = self.client.submit(_call, fn, args, kwargs, pure=False, resources=self.resources or None)
        self._tasks[task.key] = task

        def pass_on(done: Any) -> None:
            self._tasks.pop(done.key, None)
            _pass_on(done, future)

        task.add_done_callback(pass_on)
        return future

    def abandon(self) -> None:
        """Cancels what is under way and restarts the workers that were at it: a running task hears nothing else."""
        keys = set(self._tasks)
        if not keys or self.client.status != "running":
            return
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            busy = [worker for worker, running in self.client.processing().items() if keys & set(running)]
            self.client.cancel(list(self._tasks.values()), force=True)
            if busy:
                self.client.restart_workers(busy, raise_for_error=False)


@dataclass(frozen=True)
class Dask:
    """A cluster that is running already.

    Attributes:
        run: `scheduler` is its address, `resources` what each task needs of a worker.
    """

    run: "RunConfigSection"

    @property
    def slots(self) -> int:
        """As many tasks under way as keep the workers of a middling cluster busy; shards wait at the scheduler."""
        return _SLOTS

    @property
    def threads(self) -> int | None:
        """Left to the workers: TF_NUM_INTRAOP_THREADS of their environment."""
        return None

    def start(self) -> Executor:
        """A connection to the scheduler.

        Raises:
            ConfigError: dask is not installed, or no address is given.
            RunError: nobody answers at the address.
        """
        try:
            from distributed import Client
        except ImportError:
            raise ConfigError(
                "run.engine = dask needs the package distributed: pip install 'rightreasons[cluster]'"
            ) from None
        if not self.run.scheduler:
            raise ConfigError("run.engine = dask: expected --scheduler tcp://HOST:8786, found none")
        try:
            client = Client(self.run.scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            cause = " ".join(str(error).split()) or type(error).__name__
            raise RunError(
                f"{self.run.scheduler}: no dask scheduler answers there ({cause}); start `dask scheduler` and run the "
                "same command again: what is finished is kept"
            ) from None
        return Cluster(client, dict(self.run.resources))

    def stop(self, executor: Executor) -> None:
        """Cancels what is under way and closes the connection; the cluster stays up."""
        if isinstance(executor, Cluster):
            executor.abandon()
            executor.client.close(timeout=CONNECT_SECONDS)


_SLOTS = 256


def _call(function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """The task, in a worker. Threads of one worker share the model, which is not made for two callers of two shards."""
    with _ONE_AT_A_TIME:
        load_tensorflow()
        return function(*arguments, **options)


def _pass_on(task: Any, future: Future[Any]) -> None:
    """The outcome of a dask future as one of `concurrent.futures`; a lost worker or scheduler as BrokenExecutor."""
    from distributed.scheduler import KilledWorker

    # dask gives a task to other workers first, so that one lost worker costs nobody else anything.
    if future.cancelled():
        return
    if task.status == "finished":
        try:
            future.set_result(task.result(timeout=CONNECT_SECONDS))
        except (OSError, TimeoutError) as error:
            future.set_exception(BrokenExecutor(f"the result was lost: {error}"))
        return
    raised = task.exception(timeout=CONNECT_SECONDS) if task.status == "error" else None
    if isinstance(raised, KilledWorker):
        future.set_exception(TaskLostError("several workers were lost on it"))
    elif raised is None:
        future.set_exception(BrokenExecutor(f"a worker or the scheduler was lost ({task.status})"))
    else:
        future.set_exception(raised)
