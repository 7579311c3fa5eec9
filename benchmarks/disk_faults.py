"""Lets the disk fail at each write of a run in turn, and fill up; each time the same command must finish the run.

    python -m benchmarks.disk_faults [--every 1] [--sizes 10]

A tiny audit is run in this process once for each step that touches the run folder: opening a file to write, syncing,
renaming, making and removing folders, writing a table. At that step the disk fails: full (the table is cut off in the
middle), input/output error, read-only, or the power goes off (nothing after it is executed). A failing disk has to be
exit code 4 with one sentence; the same command, run again, has to give the tables of an unbroken run, byte for byte.
With leave to mount, the run folder then lies on file systems of `--sizes` sizes that are all too small. Markdown to
stdout; the exit code is 1 where anything is wrong. Half an hour on two cores; --every 10 takes a tenth of it.
"""

import argparse
import contextlib
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd

from benchmarks._tiny_run import leftovers, prepare, results_of, run_here

INTERNAL = 4
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_EVENTS = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.utime", "shutil.rmtree")


class PowerCutError(BaseException):
    """The power goes off: nothing of the program may catch it."""


KINDS: dict[str, BaseException] = {
    "full": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "input/output error": OSError(errno.EIO, os.strerror(errno.EIO)),
    "read-only": OSError(errno.EROFS, os.strerror(errno.EROFS)),
    "power cut": PowerCutError(),
}


class Disk:
    """Counts the writes below a folder, and fails one of them.

    Attributes:
        folder: below which writes count.
        nth: the write that fails, from 1; None: none does.
        fault: what is raised there.
        steps: what was written, a word and a path each.
    """

    def __init__(self, folder: Path, nth: int | None = None, fault: BaseException | None = None) -> None:
        self.folder, self.nth, self.fault = str(folder), nth, fault
        self.steps: list[str] = []

    def write(self, word: str, path: Any) -> None:
        """Counts one write; raises the fault where it is the chosen one."""
        name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if not name.startswith(self.folder):
            return
        self.steps.append(f"{word} {name.removeprefix(self.folder)}")
        if len(self.steps) == self.nth and self.fault is not None:
            raise self.fault.with_traceback(None)


_disk: Disk | None = None


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: Python tells every opening and renaming here before it happens, and an error stops it."""
    if _disk is None:
        return
    if event == "open" and arguments[2] & _WRITING:
        _disk.write("open", arguments[0])
    elif event in _EVENTS:
        _disk.write(event, arguments[0])


sys.addaudithook(_listen)


@contextlib.contextmanager
def faulty(disk: Disk) -> Iterator[None]:
    """The disk while the block runs."""
    global _disk
    sync, store = os.fsync, pd.DataFrame.to_parquet

    def fsync(handle: int) -> None:
        disk.write("fsync", Path(f"/proc/self/fd/{handle}").readlink())
        sync(handle)

    def to_parquet(table: pd.DataFrame, path: Path, **options: Any) -> None:
        store(table, path, **options)
        try:
            disk.write("table", path)
        except BaseException:  # what fails in the middle leaves half a file
            os.truncate(path, Path(path).stat().st_size // 2)
            raise

    with mock.patch("os.fsync", fsync), mock.patch.object(pd.DataFrame, "to_parquet", to_parquet):
        _disk = disk
        try:
            yield
        finally:
            _disk = None


def broken_off(arguments: list[str], out: Path, disk: Disk) -> list[str]:
    """What is wrong with how a run ends on this disk; `out` is left as it was then."""
    try:
        with faulty(disk):
            code, said = run_here(arguments, out)
    except PowerCutError:
        return []
    if code == 0:
        return []  # a write that nothing depends on
    wrong = [f"exit code {code}"] if code != INTERNAL else []
    if said.count("\n") != 1 or not said.startswith("rightreasons: "):
        wrong.append(f"not one sentence: {said[-600:]}")
    return wrong


def finished(arguments: list[str], out: Path, expected: dict[str, str]) -> list[str]:
    """What is wrong after the same command was run again on a sound disk."""
    code, said = run_here(arguments, out)
    wrong = [f"resuming: exit code {code}: {said[-600:]}"] if code else []
    if results_of(out) != expected:
        wrong.append("other results than those of an unbroken run")
    return wrong + [f"left behind: {name}" for name in leftovers(out)]


def trial(
    arguments: list[str], out: Path, expected: dict[str, str], nth: int, fault: BaseException
) -> tuple[str, list[str]]:
    """The step that failed, and what is wrong."""
    shutil.rmtree(out, ignore_errors=True)
    disk = Disk(out, nth, fault)
    wrong = broken_off(arguments, out, disk) + finished(arguments, out, expected)
    return disk.steps[nth - 1] if len(disk.steps) >= nth else "never reached", wrong


def mount_tmpfs(folder: Path, kilobytes: int, *, again: bool) -> None:
    """A file system in memory."""
    options = f"{'remount,' if again else ''}size={kilobytes}k"
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, capture_output=True
    )


def on_a_small_disk(
    arguments: list[str], folder: Path, kilobytes: int, expected: dict[str, str]
) -> tuple[int, str, list[str]]:
    """A run on a file system of that size, then on a larger one: the first exit code, its words, what is wrong."""
    folder.mkdir()
    mount_tmpfs(folder, kilobytes, again=False)
    try:
        # The cache of detections lies there too.
        here = [*arguments, "--set", f"run.cache={folder / 'cache'}"]
        out = folder / "run"
        code, said = run_here(here, out)
        wrong = []
        if code not in (0, INTERNAL) or (code and said.count("\n") != 1):
            wrong.append(f"exit code {code}: {said[-600:]}")
        mount_tmpfs(folder, 100_000, again=True)
        return code, said.strip(), wrong + finished(here, out, expected)
    finally:
        subprocess.run(["umount", str(folder)], check=False)


def main() -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="fail only each so many-th write")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--sizes", type=int, default=10, help="file systems that are too small")
    options = parser.parse_args()
    n_wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        arguments, out = prepare(Path(folder)), Path(folder) / "out"
        unbroken = Disk(out)
        with faulty(unbroken):
            run_here(arguments, out)
        expected = results_of(out)
        kilobytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) // 1024
        print(f"{len(unbroken.steps)} writes, {kilobytes} kB\n")
        print("| fault | writes that failed | runs that did not finish as they should |\n|---|---|---|")
        for kind in options.kinds:
            chosen = range(1, len(unbroken.steps) + 1, options.every)
            found = [trial(arguments, out, expected, nth, KINDS[kind]) for nth in chosen]
            bad = [(step, wrong) for step, wrong in found if wrong]
            print(f"| {kind} | {len(found)} | {len(bad)} |", flush=True)
            for step, wrong in bad:
                print(f"{kind}, {step}: {'; '.join(wrong)}", file=sys.stderr, flush=True)
            n_wrong += len(bad)
        n_wrong += _small_disks(arguments, Path(folder), kilobytes, options.sizes, expected)
    return 1 if n_wrong else 0


def _small_disks(
    arguments: list[str], folder: Path, kilobytes: int, n_sizes: int, expected: dict[str, str]
) -> int:
    """Prints what becomes of runs on file systems that are too small; returns how many went wrong."""
    print("\n| size of the disk, kB | exit code | then, with space | said |\n|---|---|---|---|")
    n_wrong = 0
    for number in range(n_sizes):
        size = max(8, kilobytes * (number + 1) // (n_sizes + 1))
        try:
            code, said, wrong = on_a_small_disk(arguments, folder / f"disk{number}", size, expected)
        except subprocess.CalledProcessError as error:
            print(f"mounting is not allowed here: {error.stderr.decode().strip()}")
            return n_wrong
        n_wrong += bool(wrong)
        print(
            f"| {size} | {code} | {'; '.join(wrong) or 'the same tables'} | {said.replace(str(folder), '…')} |",
            flush=True,
        )
    return n_wrong


if __name__ == "__main__":
    sys.exit(main())
