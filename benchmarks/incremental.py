"""What a night costs in which one image in a hundred changed, against a full run. Markdown to stdout.

    python -m benchmarks.incremental --out DIR [--images 1000] [--changed 0.01] [--set key=value ...]
    python -m benchmarks.incremental --out DIR --model DATA/models/garments10_lite0.keras --classes 10

Draws a dataset, trains a small network (or takes one of so many classes), audits it with all defaults; then edits half
of the changed photos, draws the other half anew, and audits again with --reuse. Each audit is a process of its own,
whose processor time and calls of the model are counted by phase; it works in its one process. An audit that is
interrupted goes on when the same command is given again, and its costs add up, start by start. The program must stay as
it is between both: scores of another version are never taken over. Takes about fifteen minutes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks._audit_costs import PHASES, Costs, audit, costs_of, options_of
from benchmarks._drawn_dataset import draw, train, write

FILTERS = (128, 256, 512)
"""Of the network that is trained: about 10 ms of one core a gradient, a third of what EfficientNet-Lite0 takes for 224
pixels. What every night costs whatever changed (starting, verdicts, the report) counts for less the larger it is."""


def main() -> None:
    """Prints a Markdown table."""
    options = options_of(__doc__, 1000, changed=0.01, classes=4, model="")
    folder = options.out / "photos"
    draw(folder, options.images, options.classes)
    own = options.out / "model.keras"
    model = Path(options.model).absolute() if options.model else train(own, options.classes, FILTERS)
    audit(options.out / "full", folder, model, options.settings)
    n_changed = max(1, round(options.changed * options.images))
    _change(folder, options.images, n_changed, options.classes)
    audit(options.out / "night", folder, model, options.settings, "--reuse", str(options.out / "full"))
    print(_table(options.images, n_changed, costs_of(options.out / "full"), costs_of(options.out / "night")))


def _change(folder: Path, n_images: int, n_changed: int, n_classes: int) -> None:
    """Edits half of the changed photos and draws the other half anew, once."""
    done = folder / "changed"
    if done.exists():
        return
    rng = np.random.default_rng(2)
    lines = (folder / "manifest.csv").read_text().splitlines()
    for place, number in enumerate(rng.permutation(n_images)[:n_changed].tolist()):
        path = folder / "images" / f"{number:06d}.png"
        if place % 2:
            pixels = np.array(Image.open(path))
            Image.fromarray(np.clip(pixels.astype(int) + 6, 0, 255).astype(np.uint8)).save(path)
        else:
            box = write(folder, path.name, number % n_classes, n_classes, rng)
            lines[number + 1] = ",".join([*lines[number + 1].split(",")[:3], *map(str, box)])
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    done.touch()


def _table(n_images: int, n_changed: int, full: Costs, night: Costs) -> str:
    """Costs by phase, of the full run and of the night, with their ratio."""
    kinds = ("seconds", "gradients", "forward passes")
    starts = int(full.pop("starts")["n"]), int(night.pop("starts")["n"])
    lines = [
        f"{n_images} images, {n_changed} changed; processor seconds; starts of the process: {starts[0]}, {starts[1]}",
        "",
        "| phase | " + " | ".join(f"{kind}, full | changed | ratio" for kind in kinds) + " |",
        "|---" * (1 + 3 * len(kinds)) + "|",
    ]
    phases = [phase for phase in [*PHASES.values(), *full] if phase in full or phase in night]
    lines += [
        _row(phase, [(full[phase][kind], night[phase][kind]) for kind in kinds])
        for phase in dict.fromkeys(phases)
    ]
    work = ("scoring", "search for unnamed confounds", "interventions", "trust certificate", "exemplars")
    for name, counted in (("these five: work on images", work), ("all", dict.fromkeys(phases))):
        sums = [tuple(sum(run[phase][kind] for phase in counted) for run in (full, night)) for kind in kinds]
        lines.append(_row(f"**{name}**", sums))
    return "\n".join(lines)


def _row(phase: str, pairs: Sequence[Sequence[float]]) -> str:
    cells = [
        f"{before:,.0f} | {after:,.0f} | {f'{after / before:.1%}' if before else ''}"
        for before, after in pairs
    ]
    return f"| {phase} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
