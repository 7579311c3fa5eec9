"""Audits in processes of their own, with what they cost: processor time and calls of the model, by phase.

    python -m benchmarks._audit_costs RUN run --data ... --out RUN

An audit that is interrupted goes on when it is started again; its costs add up, start by start, in `RUN.costs`.
"""

import argparse
import contextlib
import functools
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Costs = dict[str, dict[str, float]]
"""Phase -> kind -> amount."""
PHASES = {
    "_plan": "reading the dataset",
    "_reuse": "comparing with the earlier run",
    "_ask_model": "loading the model",
    "_score": "scoring",
    "_sample": "drawing",
    "_discover": "search for unnamed confounds",
    "_intervene": "interventions",
    "_certify": "trust certificate",
    "_show": "exemplars",
    "judge": "verdicts, risks",
    "write_report": "report",
}
"""Functions of `pipelines.run` by what they do; the innermost that runs is charged."""
GRADIENTS = ("gradients", "directional", "layer")
"""Purposes of `Classifier._run` that take a gradient; the others are forward passes."""


def options_of(text: str | None, n_images: int, **others: float | str) -> argparse.Namespace:
    """The command line of a script that measures audits.

    Args:
        text: what the script is about.
        n_images: images that are drawn unless told otherwise.
        others: further options, by name, with their defaults.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    for name, default in {"images": n_images, **others}.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser.parse_args()


def audit(out: Path, folder: Path, model: Path, settings: Sequence[str], *more: str) -> None:
    """An audit of a drawn dataset in one process of its own, unless it is finished."""
    if (out / "report").exists():
        return
    arguments = ["run", "--data", str(folder / "manifest.csv"), "--model", str(model), "--out", str(out)]
    arguments += ["--classes", str(folder / "classes.txt"), "--workers", "0", *more]
    arguments += [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "benchmarks._audit_costs", str(out), *arguments]
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(f"{out}: exit code {code}; the same command goes on")


def costs_of(out: Path) -> Costs:
    """The costs of an audit by phase, of all its starts."""
    total: Costs = defaultdict(lambda: defaultdict(float))
    lines = out.with_name(f"{out.name}.costs").read_text().splitlines()
    for line in lines:
        for phase, costs in json.loads(line).items():
            for name, value in costs.items():
                total[phase][name] += value
    total["starts"]["n"] = len(lines)
    return total


def _audited(out: Path, arguments: Sequence[str]) -> int:
    """Runs an audit here; adds a line with its costs, by phase, to a file beside the run."""
    costs: Costs = defaultdict(lambda: defaultdict(float))
    stack = ["the rest"]
    with _counted(costs, stack):
        from pipelines.cli import main as command

        code = command(list(arguments))
    known = sum(phase["seconds"] for phase in costs.values())
    costs["start of Python and TensorFlow, and the rest"]["seconds"] = time.process_time() - known
    with out.with_name(f"{out.name}.costs").open("a") as file:
        file.write(json.dumps(costs) + "\n")
    return code


@contextlib.contextmanager
def _counted(costs: Costs, stack: list[str]) -> Iterator[None]:
    """Counts rows and processor time of what runs inside, by the innermost phase."""
    import pipelines.run as steps
    from audit.classifier import Classifier

    asked = Classifier._run
    clock = [0.0]

    def spend() -> None:
        """Gives the time since the last change of phase to the phase that was on."""
        now = time.process_time()
        if stack[-1] != "the rest":
            costs[stack[-1]]["seconds"] += now - clock[0]
        clock[0] = now

    def timed(function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **options: Any) -> Any:
            spend()
            stack.append(phase)
            try:
                return function(*args, **options)
            finally:
                spend()
                stack.pop()

        return wrapped

    def run(self: Any, purpose: str, layer: str, *arrays: np.ndarray) -> Any:
        kind = "gradients" if purpose in GRADIENTS else "forward passes"
        costs[stack[-1]][kind] += len(arrays[0])
        return asked(self, purpose, layer, *arrays)

    Classifier._run = run  # type: ignore[method-assign]
    for name, phase in PHASES.items():
        setattr(steps, name, timed(getattr(steps, name), phase))
    yield


if __name__ == "__main__":
    sys.exit(_audited(Path(sys.argv[1]), sys.argv[2:]))
