"""A host that is lost: it answers no more, as after a cut cable or a power failure, and nobody closes its connections.

With network namespaces and a link that is taken down: `python -m benchmarks.two_hosts`.
"""

import os
import signal
import time

import pytest

from pipelines.execute import Crew, Tasks, execute
from pipelines.storage import Run
from tests.pipelines.test_dask import Cluster, engine
from tests.pipelines.test_execute import audit, score, shards_of, work_in

TTL_SECONDS, WATCHDOG_SECONDS = 20, 300.0
"""The first is longer than a busy worker takes to load TensorFlow: one that is silent for so long counts as lost."""


@pytest.fixture
def cluster(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", f"{TTL_SECONDS}s")
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    yield started
    started.stop()  # kills the process groups, with a worker that is stopped


def falls_silent(work, shard):
    """Scores a shard; the first worker to be given the sample `silent` stops in the middle, like a host unplugged."""
    marker = work.out / "silent.stopped"
    if any(sample.sample_id == "silent" for sample in shard.samples) and not marker.exists():
        Run(work.out).begin_shard(shard.index)
        marker.touch()
        time.sleep(2)  # in the middle of its shard: what the host finished before has long been fetched
        os.kill(os.getpid(), signal.SIGSTOP)
    return audit(work, shard)


def test_a_host_that_falls_silent_costs_its_shard_only(cluster):
    out = cluster.folder
    begun = time.monotonic()
    with Crew(engine(cluster), WATCHDOG_SECONDS) as crew:
        shards = shards_of(("a",), ("silent", "b"), ("c",), ("d",), ("e",))
        execute(work_in(out), shards, crew, lambda _: None, Tasks(falls_silent, score))
    assert (out / "silent.stopped").exists()
    assert time.monotonic() - begun < WATCHDOG_SECONDS  # the cluster noticed, before the watchdog would
    tables = Run(out).merge_shards()
    assert list(tables["predictions"]["sample_id"]) == ["a", "silent", "b", "c", "d", "e"]
    assert len(tables["quarantine"]) == 0
    # What the lost host had finished was not done again. Its own shard may be: a host that a busy machine keeps from
    # answering for so long counts as lost too.
    scored = sorted((out / "log").read_text().split())
    assert "1" in scored
    assert [one for one in scored if one != "1"] == ["0", "2", "3", "4"]
