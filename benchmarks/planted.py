"""Planted cues: does the verdict find what a network really relies on, and accuse nothing else? Markdown on stdout.

    python -m benchmarks.planted --out DIR [--seeds 0 1 2 3] [--jobs 2]    goes on where it was
    python -m benchmarks.planted --out DIR --only-report                   the tables again from what is stored
    python -m benchmarks.planted --out DIR --quick                         two cells, to see it run

Photos are drawn (`_planted_world`), small networks trained (`_planted_models`), and each audited by the program itself
(`_planted_cells`). What a network truly relies on is measured by drawing each photo with the cue and without. Cut-offs
are chosen on the even seeds, everything else is reported on the odd ones.
"""

import argparse
import functools
import itertools
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks._planted_cells import ABSENT, PLANTED, Cell, Settings, Studio, plan, work
from benchmarks._planted_models import Forge
from benchmarks._planted_world import CLASSES, CUES

CONFOUNDS = ("annotated", "faces", "text", "border", "corner_mark", "global", "discovered", "background")
"""All that an audit can look for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cells that are missing and prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of cells; finished ones are kept")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3], help="even ones calibrate")
    parser.add_argument("--cues", nargs="*", default=list(CUES), choices=CUES, help="which cues")
    parser.add_argument("--kinds", nargs="*", help="which kinds of cells")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--confounds", nargs="*", default=list(CONFOUNDS), help="what audits look for")
    parser.add_argument("--quick", action="store_true", help="one planted and one control cell, small")
    parser.add_argument("--only-report", action="store_true", help="no cell is run")
    chosen = parser.parse_args(arguments)
    settings = Settings(chosen.out, tuple(chosen.confounds))
    cells = plan(chosen.seeds, chosen.cues)
    if chosen.kinds:
        cells = [cell for cell in cells if cell.kind in chosen.kinds]
    if chosen.quick:
        settings = replace(settings, n_train=40, n_audited=14, n_steps=30)
        cells = [
            Cell(PLANTED, "corner patch", 1.0, 1),
            Cell(ABSENT, "corner patch", 1.0, 1),
        ]
    n_failed = 0 if chosen.only_report else _run(cells, settings, chosen.jobs)
    from benchmarks._planted_report import report

    print(report(chosen.out, seeds=sorted({cell.seed for cell in cells})))
    return 1 if n_failed else 0


def _run(cells: Sequence[Cell], settings: Settings, jobs: int) -> int:
    """Every missing cell; those of one seed and cue share their photos and go to one process. Returns the failures."""
    todo = [cell for cell in cells if not (settings.out / "cells" / cell.name / "cell.json").exists()]
    groups = [tuple(group) for _, group in itertools.groupby(todo, key=lambda cell: (cell.seed, cell.cue))]
    tasks = [(group, settings) for group in groups]
    if jobs == 1:
        return sum(map(_run_group, tasks))
    # Fresh processes now and then: traced graphs of finished networks are not given back.
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=8) as pool:
        return sum(pool.imap_unordered(_run_group, tasks))


def _run_group(task: tuple[Sequence[Cell], Settings]) -> int:
    """The cells of one seed and cue; returns how many failed: the others still count."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    cells, settings = task
    studio, n_failed = _studio(cells[0].seed, settings), 0
    for cell in cells:
        started = time.monotonic()
        try:
            outcome = work(cell, studio)
        except Exception:
            print(f"{cell.name} failed:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
            n_failed += 1
            continue
        took = ", ".join(f"{name} {seconds:.1f}" for name, seconds in outcome["seconds"].items())
        true = outcome["truth"][CLASSES[0]]
        print(
            f"{cell.name}: {time.monotonic() - started:.1f} s ({took}); truth {true['necessity']:.2f} "
            f"{true['sufficiency']:.2f}, accuracy {true['accuracy']:.2f}",
            file=sys.stderr,
            flush=True,
        )
    studio.forget(cells[0].cue)
    return n_failed


@functools.lru_cache(maxsize=4)
def _studio(seed: int, settings: Settings) -> Studio:
    """Kept while a process lives: drawing the scenes of a seed takes as long as a cell."""
    return Studio(seed, settings, _forge())


@functools.lru_cache(maxsize=1)
def _forge() -> Forge:
    """One a process, since tracing its training step takes as long as training."""
    return Forge(len(CLASSES))


if __name__ == "__main__":
    sys.exit(main())
