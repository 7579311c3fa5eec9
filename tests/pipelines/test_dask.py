"""The outer loop on a dask cluster: two worker processes and a scheduler on this machine."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from audit.errors import ConfigError, RunError
from pipelines.config import RunConfigSection
from pipelines.engines.dask import Dask
from pipelines.execute import Crew, Tasks, execute
from pipelines.storage import Run
from tests.pipelines.test_execute import audit, score, shards_of, work_in
from tests.pipelines.test_run import finished, run, tables_of, world  # noqa: F401

PATIENCE = 60.0
HERE = Path(__file__).parent


class Cluster:
    """A scheduler and workers as a user starts them."""

    def __init__(self, folder: Path, n_workers: int = 2) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.folder, self.processes = folder, []
        self.scheduler = self._start("scheduler", "--port", self.address.rsplit(":", 1)[1], "--no-dashboard")
        self._start("worker", self.address, "--nworkers", str(n_workers), "--nthreads", "1", "--no-dashboard")

    def _start(self, *arguments: str) -> subprocess.Popen:
        # Functions of test modules travel by name, as those of an installed program do.
        path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments],
            env=os.environ | {"PYTHONPATH": path, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"},
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / f"{arguments[0]}.log").open("w"),
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    yield started
    started.stop()


def engine(cluster) -> Dask:
    return Dask(RunConfigSection(engine="dask", scheduler=cluster.address))


def run_shards(cluster, folder, *names):
    told = []
    with Crew(engine(cluster), PATIENCE) as crew:
        execute(work_in(folder), shards_of(*names), crew, told.append, Tasks(audit, score))
    return told


def test_every_shard_is_worked_on_once(cluster, tmp_path):
    told = run_shards(cluster, tmp_path, ("a", "b"), ("c",), ("d",))
    assert sorted(record.index for record in told) == [0, 1, 2]
    assert list(Run(tmp_path).merge_shards()["predictions"]["sample_id"]) == ["a", "b", "c", "d"]


def test_a_worker_killed_once_costs_its_shard_only(cluster, tmp_path):
    run_shards(cluster, tmp_path, ("a",), ("once", "b"), ("c",))
    assert list(Run(tmp_path).merge_shards()["predictions"]["sample_id"]) == ["a", "once", "b", "c"]
    assert (tmp_path / "log").read_text().split().count("1") == 2


def test_an_image_that_kills_every_worker_is_quarantined_alone(cluster, tmp_path):
    run_shards(cluster, tmp_path, ("a", "poison"), ("b",))
    tables = Run(tmp_path).merge_shards()
    assert list(tables["predictions"]["sample_id"]) == ["a", "b"]
    assert list(tables["quarantine"]["sample_id"]) == ["poison"]


def test_an_audit_on_the_cluster_has_the_tables_of_one_process(cluster, world, finished, tmp_path):  # noqa: F811
    where = ["--engine", "dask", "--scheduler", cluster.address, "--set", "run.shard_size=16"]
    assert run(world, tmp_path / "run", *where) == 0
    assert tables_of(tmp_path / "run") == tables_of(finished)


def test_a_lost_scheduler_leaves_what_is_finished(tmp_path):
    own = Cluster(tmp_path, n_workers=1)
    try:
        crew = Crew(engine(own), PATIENCE)
        assert crew.result(abs, -1) == 1
        os.killpg(own.scheduler.pid, signal.SIGKILL)
        own.scheduler.wait()
        with pytest.raises(RunError, match="no dask scheduler answers"):
            execute(work_in(tmp_path), shards_of(("a",)), crew, print, Tasks(audit, score))
    finally:
        own.stop()


def test_no_address_and_no_scheduler_are_said_in_a_sentence(monkeypatch):
    with pytest.raises(ConfigError, match="--scheduler"):
        Dask(RunConfigSection(engine="dask")).start()
    monkeypatch.setattr("pipelines.engines.dask.CONNECT_SECONDS", 1)
    with pytest.raises(RunError, match="no dask scheduler answers there"):
        Dask(RunConfigSection(engine="dask", scheduler="tcp://127.0.0.1:1")).start()
