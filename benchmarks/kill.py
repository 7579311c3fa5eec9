"""Kills a run with SIGKILL at random moments; the same command must then give the tables of an unbroken run.

    python -m benchmarks.kill [--kills 50] [--seed 0]

A tiny audit runs in a process of its own, with one worker process. Moments are drawn evenly between the appearance of
the run folder (before it there is nothing to break) and the end of an unbroken run; every second kill takes the worker
along, as a machine that loses its power does, the others the parent alone. Then no process of the run may live longer
than ten seconds, shards that were finished may not be touched again, and the run that the same command resumes has the
tables and exemplars of the unbroken run, byte for byte. Markdown to stdout; the exit code is 1 where anything differs.
About ten seconds a kill on two cores.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks._tiny_run import leftovers, prepare, results_of, run_here

ORPHAN_SECONDS = 10.0
START_SECONDS = 300.0
_PROGRAM = "import sys; from pipelines.cli import main; sys.exit(main(sys.argv[1:]))"


@dataclass(frozen=True)
class Kill:
    """What became of one kill.

    Attributes:
        seconds: after the run folder appeared.
        n_shards: scored shards that were finished then.
        phase: the last thing that existed of the run: a folder, a table or the report.
        wrong: what is not as it should be.
    """

    seconds: float
    n_shards: int
    phase: str
    wrong: tuple[str, ...]


def start(arguments: list[str], out: Path) -> subprocess.Popen[bytes]:
    """The run in a process and a session of its own, its words in `said(out)`; returns when the run folder is there."""
    with said(out).open("w") as words:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *arguments, "--workers", "1", "--out", str(out)],
            stdout=subprocess.DEVNULL,
            stderr=words,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while not (out / "manifest.json").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the run ended with exit code {process.poll()} before it began")
        time.sleep(0.005)
    return process


def said(out: Path) -> Path:
    """The file of what a run in a process of its own says on stderr."""
    return out.with_name(f"{out.name}.stderr")


def is_deserted(session: int) -> bool:
    """Whether no process of a session is left, at the latest after ORPHAN_SECONDS."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while time.monotonic() < deadline:
        if not any(int(fields[3]) == session and fields[0] != "Z" for fields in _processes()):
            return True
        time.sleep(0.1)
    return False


def kill_and_resume(
    arguments: list[str], out: Path, seconds: float, is_whole: bool, expected: dict[str, str]
) -> Kill:
    """Kills a run `seconds` after it appeared, the worker along where `is_whole`, and resumes it in this process."""
    process = start(arguments, out)
    time.sleep(seconds)
    if is_whole:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    wrong = [] if is_deserted(process.pid) else [f"a worker lives after {ORPHAN_SECONDS:.0f} s"]
    before = _stamps(out)
    phase = _phase(out)
    code, words = run_here(arguments, out)
    if code:
        wrong.append(f"resuming: exit code {code}: {words[-600:]}")
    if {path: stamp for path, stamp in _stamps(out).items() if path in before} != before:
        wrong.append("a finished shard was written again")
    if results_of(out) != expected:
        wrong.append("other results than those of an unbroken run")
    wrong += [f"left behind: {name}" for name in leftovers(out)]
    n_shards = len({path.parent for path in before if path.parent.parent.name == "shards"})
    return Kill(seconds, n_shards, phase, tuple(wrong))


def kills(
    arguments: list[str], folder: Path, n_kills: int, seed: int, longest: float, expected: dict[str, str]
) -> Iterator[Kill]:
    """Kills at moments drawn from the seed, each of a new run."""
    rng = random.Random(seed)
    for number in range(n_kills):
        moment = rng.uniform(0, longest)
        yield kill_and_resume(arguments, folder / f"out{number}", moment, number % 2 == 1, expected)


def unbroken(arguments: list[str], out: Path) -> tuple[float, dict[str, str]]:
    """Seconds from the appearance of the run folder to the end of an unbroken run, and its results."""
    process = start(arguments, out)
    begun = time.monotonic()
    if process.wait() != 0:
        raise RuntimeError(f"the unbroken run ended with exit code {process.returncode}")
    return time.monotonic() - begun, results_of(out)


def _processes() -> Iterator[list[str]]:
    """State, parent, group and session of every process."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            yield path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue


def _stamps(out: Path) -> dict[Path, int]:
    """Times of the files of finished shards of every phase."""
    return {
        path: path.stat().st_mtime_ns
        for phase in ("shards", "interventions")
        for path in (out / phase).glob("*/*.parquet")
        if path.parent.name.isdigit()
    }


def _phase(out: Path) -> str:
    """The last part of a run that exists."""
    order = (
        "manifest.json",
        "shards",
        "tables",
        "interventions",
        "exemplars",
        "tables/verdicts.parquet",
        "report",
    )
    return next(name for name in reversed(order) if (out / name).exists())


def main() -> int:
    """Prints a row for each kill."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    n_wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        arguments = prepare(Path(folder))
        longest, expected = unbroken(arguments, Path(folder) / "unbroken")
        print(f"an unbroken run takes {longest:.1f} s from its folder to its end; seed {options.seed}\n")
        print("| kill | after, s | the last thing there | shards finished | then |\n|---|---|---|---|---|")
        found = kills(arguments, Path(folder), options.kills, options.seed, longest, expected)
        for number, kill in enumerate(found, start=1):
            then = "; ".join(kill.wrong) or "the same tables"
            print(f"| {number} | {kill.seconds:.2f} | {kill.phase} | {kill.n_shards} | {then} |", flush=True)
            n_wrong += bool(kill.wrong)
    print(f"\n{options.kills} kills, {n_wrong} of them with something wrong")
    return 1 if n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
