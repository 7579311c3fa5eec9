"""Two hosts on one machine: an audit on a dask cluster across two network namespaces, and one host unplugged.

    python -m benchmarks.two_hosts          # needs leave to make network namespaces (root)

Two namespaces with an address each, joined by a pair of virtual cables. The first holds the scheduler, the program and
a worker, the second another worker; both see the same folders, as hosts with a network file system do. The audit runs
once undisturbed, and once while the second host's link is taken down after the first finished shard; then its worker
counts as lost after `worker-ttl`, and its shards are worked on by the first. Both runs have to have the tables of a run
in one process, byte for byte. Markdown to stdout; the exit code is 1 where anything differs.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks._tiny_run import prepare, results_of, run_here
from pipelines.storage import Run

HOSTS = {"rr-one": "10.213.0.1", "rr-two": "10.213.0.2"}
PORT = 8786
TTL_SECONDS = 15
_PROGRAM = "import sys; from pipelines.cli import main; sys.exit(main(sys.argv[1:]))"


def ip(*words: str) -> None:
    """`ip`, whose refusal is an error with its words."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@contextlib.contextmanager
def hosts() -> Iterator[None]:
    """The two namespaces and the cable between them."""
    first, second = HOSTS
    try:
        for host in HOSTS:
            ip("netns", "add", host)
        ip("link", "add", first, "netns", first, "type", "veth", "peer", "name", second, "netns", second)
        for host, address in HOSTS.items():
            ip("-n", host, "address", "add", f"{address}/24", "dev", host)
            ip("-n", host, "link", "set", "lo", "up")
            ip("-n", host, "link", "set", host, "up")
        yield
    finally:
        for host in HOSTS:
            with contextlib.suppress(RuntimeError):
                ip("netns", "del", host)


def on(host: str, log: Path, *command: str) -> subprocess.Popen[bytes]:
    """A command on one of the hosts, in a session of its own."""
    settings = {
        "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{TTL_SECONDS}s",
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
    }
    with log.open("wb") as words:
        return subprocess.Popen(
            ["ip", "netns", "exec", host, sys.executable, *command],
            env=os.environ | settings,
            stdout=words,
            stderr=words,
            start_new_session=True,
            cwd=log.parent,
        )


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """A scheduler and a worker on the first host, a worker on the second; its address."""
    address = f"tcp://{HOSTS['rr-one']}:{PORT}"
    started = [
        on(
            "rr-one",
            folder / "scheduler.log",
            "-m",
            "dask",
            "scheduler",
            "--port",
            str(PORT),
            "--no-dashboard",
        )
    ]
    for host, at in HOSTS.items():
        options = ("--host", at, "--nthreads", "1", "--no-dashboard", "--name", host)
        started.append(on(host, folder / f"{host}.log", "-m", "dask", "worker", address, *options))
    try:
        yield address
    finally:
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def audit(
    arguments: list[str], folder: Path, out: Path, *, is_unplugged: bool
) -> tuple[int, float, int, str]:
    """Runs on the cluster: exit code, seconds, shards finished when the link went down, the last words."""
    with cluster(folder) as address:
        log = folder / f"{out.name}.log"
        begun = time.monotonic()
        command = ("-c", _PROGRAM, *arguments, "--engine", "dask", "--scheduler", address, "--out", str(out))
        process = on("rr-one", log, *command)
        n_finished = 0
        if is_unplugged:
            while process.poll() is None and not (n_finished := len(Run(out).finished_shards())):
                time.sleep(0.01)
            ip("-n", "rr-two", "link", "set", "rr-two", "down")
        try:
            code = process.wait(timeout=400)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if is_unplugged:
            ip("-n", "rr-two", "link", "set", "rr-two", "up")
        return code, time.monotonic() - begun, n_finished, log.read_text(errors="replace")[-300:]


def workers_of(folder: Path) -> str:
    """Which hosts registered with the scheduler, by its log."""
    log = (folder / "scheduler.log").read_text(errors="replace")
    return " and ".join(host for host in HOSTS if f"name: {host}" in log) or "none"


def main() -> int:
    """Prints the table."""
    n_wrong = 0
    with tempfile.TemporaryDirectory() as made, hosts():
        folder = Path(made)
        arguments = [*prepare(folder, n_per_class=24), "--set", "run.shard_size=2"]
        run_here(arguments, folder / "alone")
        expected = results_of(folder / "alone")
        print(
            "| second host | hosts | exit code | seconds | shards finished before | tables |\n|---|---|---|---|---|---|"
        )
        for is_unplugged in (False, True):
            out = folder / ("unplugged" if is_unplugged else "undisturbed")
            code, seconds, n_finished, words = audit(arguments, folder, out, is_unplugged=is_unplugged)
            is_same = results_of(out) == expected
            before, tables = (n_finished if is_unplugged else ""), ("the same bytes" if is_same else "others")
            row = f"| {out.name} | {workers_of(folder)} | {code} | {seconds:.0f} | {before} | {tables} |"
            print(row, flush=True)
            if code or not is_same:
                n_wrong += 1
                print(words, file=sys.stderr)
    return 1 if n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
