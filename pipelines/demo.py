"""The whole story on drawn data: train, audit, choose photos out of a pool as suggested, train and audit again.

The folder then holds photos/ (with manifest.csv, pool.csv, mended.csv and probe.csv), before.keras, after.keras,
run_before/ and run_after/. The probe shows the same drawn garments with a face and without: accuracy on
it says what the network decides by, beside what the audit says.
"""

import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from audit.errors import ConfigError
from audit.suggestions import WITH
from audit.types import AuditRun, ClassVerdict, Suggestion
from pipelines.config import RunConfig, validate
from pipelines.demo_world import CLASSES, SHIRT, SHOES, Request, World, write, write_manifest
from pipelines.progress import Progress
from pipelines.quiet import load_tensorflow
from pipelines.storage import Run, storing
from pipelines.terminal import ORDER, SIGNS, headline, tell_path
from reports import numbers

CONFOUND = "face"
METHODS = ("grad_cam", "integrated_gradients")
MARKER = "MADE_BY_DEMO.txt"
"""In a folder with this file a rerun may replace what `MADE` names, and nothing else."""
MADE = ("photos", "before.keras", "after.keras", "run_before", "run_after")
_NOTE = (
    "This folder was made by `rightreasons demo`. Running it again replaces\n"
    f"{', '.join(MADE)} here and leaves everything else alone.\n"
)
_TURNED = 0.2
"""A gain in accuracy above it is shown in colour."""


@dataclass(frozen=True)
class Size:
    """How large the story is.

    Attributes:
        n_train: training photos of a class.
        n_test: test photos of a class.
        n_probe: probe photos of a class and kind (with a face, without).
        n_steps: training steps on the photos as they are.
        n_steps_mended: training steps on the mended ones, which are more.
    """

    n_train: int
    n_test: int
    n_probe: int
    n_steps: int
    n_steps_mended: int


FULL = Size(n_train=150, n_test=50, n_probe=40, n_steps=100, n_steps_mended=260)
QUICK = Size(n_train=24, n_test=12, n_probe=6, n_steps=6, n_steps_mended=6)


@dataclass(frozen=True)
class Chapter:
    """One trained network and what was found out about it.

    Attributes:
        run: its audit.
        probe: accuracy by (label, whether a face is there), on the probe photos.
    """

    run: AuditRun
    probe: Mapping[tuple[str, bool], float]


@dataclass(frozen=True)
class Stage:
    """What every chapter shares."""

    out: Path
    world: World
    size: Size
    progress: Progress

    @property
    def console(self) -> Console:
        """Where the story is told."""
        return self.progress.console

    @property
    def photos(self) -> Path:
        """Folder of the photos and their manifests."""
        return self.out / "photos"

    def report(self, name: str) -> Path:
        """First page of a chapter's report."""
        return self.out / f"run_{name}" / "report" / "index.html"

    def tick(self, text: str) -> None:
        """Says that a step is done."""
        self.console.print(f"[green]✓[/] {text}", highlight=False)


def tell(out: Path, *, console: Console, quick: bool = False, seed: int = 0) -> int:
    """Runs the story in `out` and tells it on the console.

    Args:
        out: a new or empty folder, or one that an earlier demo made.
        console: where to.
        quick: a few photos and steps, to see it run; the network learns nothing then.
        seed: of the drawing and the training.

    Returns:
        The exit code 0.

    Raises:
        ConfigError: `out` holds something else.
    """
    clock = time.monotonic()
    stage = Stage(out, World(seed), QUICK if quick else FULL, Progress(console))
    prepare(out)
    console.print("\n[bold]A network learns to tell shoes from t-shirts. What does it decide by?[/]\n")
    rows = _draw(stage)
    before = _chapter(stage, "before", "manifest.csv", stage.size.n_steps)
    _tell_finding(before, stage)
    wishes = [wish for wish in before.run.suggestions if wish.confound == CONFOUND]
    if wishes:
        _mend(stage, rows, mending(wishes, stage.size.n_train))
        after = _chapter(stage, "after", "mended.csv", stage.size.n_steps_mended)
        _tell_change(before, after, console)
    else:
        console.print("The audit asks for no other photos, so the story ends here.\n")
    took = numbers.duration(time.monotonic() - clock)
    console.print(f"[dim]The whole story took {took}.[/]", highlight=False)
    if wishes:
        tell_path("Report after the mending", stage.report("after"), console)
    tell_path("Report to open first", stage.report("before"), console)
    return 0


def prepare(out: Path) -> None:
    """Makes `out` ready: new, empty, or rid of what an earlier demo made there.

    Raises:
        ConfigError: it is a file, or a folder that no demo made.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out: expected a folder for the demo, found the file {out}; name another one")
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise ConfigError(
            f"--out: expected a new or empty folder, found {out} with files that no demo made; nothing was "
            "touched; name another one with --out"
        )
    with storing(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / MARKER).write_text(_NOTE, encoding="utf-8")
        for name in MADE:
            made = out / name
            if made.is_dir() and not made.is_symlink():
                shutil.rmtree(made)
            else:
                made.unlink(missing_ok=True)


def mending(wishes: Sequence[Suggestion], n_train: int) -> dict[tuple[str, bool], int]:
    """Photos to add to the training, by (label, whether with a face).

    The audit counted the test photos, `n_class` of a class; the training photos, `n_train` of a class, were
    gathered in the same way and get the same proportion.
    """
    return {(wish.label, wish.kind == WITH): round(wish.n_to_add * n_train / wish.n_class) for wish in wishes}


def pool_of(added: Mapping[tuple[str, bool], int]) -> dict[tuple[str, bool], int]:
    """Photos of a pool by (label, whether with a face): a tenth more than is asked for, and half as many others."""
    others = math.ceil(0.5 * max(added.values()))
    return {
        (label, has_face): math.ceil(1.1 * added[label, has_face]) if (label, has_face) in added else others
        for label in CLASSES
        for has_face in (False, True)
    }


def audit_config(out: Path, manifest: Path, model: Path) -> RunConfig:
    """The audit of one network, as a user's audit.toml would state it."""
    values: dict[str, Any] = {
        "data": {"reader": "manifest", "path": manifest.absolute(), "splits": ["test"]},
        "model": {"path": model.absolute(), "classes": list(CLASSES)},
        "attributions": {"methods": list(METHODS)},
        "confounds": {"use": ["faces"]},
        # Ten points mend this network, and the drawn pool is no larger than it has to be.
        "verdicts": {"association_targets": [0.1, 0.25, 0.5]},
        "run": {"workers": 0, "batch_size": 25, "cache": (out / "photos" / "found").absolute()},
    }
    return validate(values, where="demo")


def _draw(stage: Stage) -> list[dict[str, str]]:
    """Draws what a careless team has gathered, and the probe; returns the rows of the first manifest."""
    size = stage.size
    train, test = (
        _requests(split, {(SHOES, False): n, (SHIRT, True): n})
        for split, n in (("train", size.n_train), ("test", size.n_test))
    )
    kinds = [(label, has_face) for label in CLASSES for has_face in (False, True)]
    probe = _requests("probe", dict.fromkeys(kinds, size.n_probe))
    with stage.progress.bar("drawing", len(train) + len(test) + len(probe)) as bar, storing(stage.photos):
        rows = write(stage.world, train + test, stage.photos, bar.advance)
        probe_rows = write(stage.world, probe, stage.photos, bar.advance)
        write_manifest(rows, stage.photos / "manifest.csv")
        write_manifest(probe_rows, stage.photos / "probe.csv")
    stage.tick(f"drew {len(rows)} photos: every t-shirt is worn below a face, no shoe is near one")
    return rows


def _mend(stage: Stage, rows: Sequence[dict[str, str]], added: Mapping[tuple[str, bool], int]) -> None:
    """Draws an unlabelled pool, chooses from it what the audit asks for, and writes the manifest with it.

    Whoever labels the chosen photos sees what they show, so they get their true labels.
    """
    from pipelines.pool import suggest_from_pool

    requests = _requests("train", pool_of(added), start=stage.size.n_train)
    with stage.progress.bar("drawing", len(requests)) as bar, storing(stage.photos):
        drawn = write(stage.world, requests, stage.photos, bar.advance)
        lines = ["path", *(row["path"] for row in drawn)]
        (stage.photos / "pool.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = suggest_from_pool(
        Run(stage.out / "run_before"), stage.photos / "pool.csv", sum(added.values()), progress=stage.progress
    )
    by_path = {os.path.normpath((stage.photos / row["path"]).absolute()): row for row in drawn}
    chosen = [by_path[path] for path in found.table["path"]]
    with storing(stage.photos):
        write_manifest([*rows, *chosen], stage.photos / "mended.csv")
    kinds = Counter((row["label"], row["has_face"] == "yes") for row in chosen)
    parts = [f"{n} {label} photos {_with(has_face)} a face" for (label, has_face), n in kinds.most_common()]
    stage.tick(
        f"chose {len(chosen)} of {len(drawn)} unlabelled photos as suggested, which turned out to be "
        f"{numbers.enumerate_words(parts, len(parts))}, and added them to the training photos"
    )


def _requests(split: str, counts: Mapping[tuple[str, bool], int], start: int = 0) -> list[Request]:
    """So many photos of each (label, whether with a face), numbered from `start`."""
    return [
        Request(label, has_face, split, number)
        for (label, has_face), n in counts.items()
        for number in range(start, start + n)
    ]


def _chapter(stage: Stage, name: str, manifest: str, n_steps: int) -> Chapter:
    """Trains on the training photos of a manifest, audits on its test photos."""
    load_tensorflow()
    from pipelines import demo_model
    from pipelines.run import audit

    path, model_path = stage.photos / manifest, stage.out / f"{name}.keras"
    pictures = demo_model.read(path, "train")
    with stage.progress.bar("training", n_steps * demo_model.BATCH_SIZE) as bar:
        model = demo_model.train(pictures, n_steps=n_steps, seed=stage.world.seed, advance=bar.advance)
    with storing(model_path):
        model.save(model_path)
    accuracy = float(demo_model.is_right(model, demo_model.read(path, "test")).mean())
    stage.tick(
        f"trained a network on {len(pictures.labels)} photos: it names {numbers.share(accuracy)} of the test "
        "photos rightly"
    )
    probe = demo_model.read(stage.photos / "probe.csv", "probe")
    is_right = demo_model.is_right(model, probe)
    accuracies = {
        (label, has_face): float(is_right[(probe.labels == index) & (probe.has_face == has_face)].mean())
        for index, label in enumerate(CLASSES)
        for has_face in (False, True)
    }
    run = audit(audit_config(stage.out, path, model_path), stage.out / f"run_{name}", progress=stage.progress)
    stage.tick(f"audited it on the test photos in {numbers.duration(run.manifest['seconds'])}")
    return Chapter(run, accuracies)


def _tell_finding(chapter: Chapter, stage: Stage) -> None:
    """What the first audit found, and what it suggests."""
    console = stage.console
    console.print(f"\n{headline(chapter.run.verdicts)}\n", highlight=False)
    console.print(Padding(_verdicts(chapter.run), (0, 0, 1, 2)), highlight=False)
    texts = [_where_it_looks(chapter.run, v) for v in chapter.run.verdicts if v.confound == CONFOUND][:1]
    texts += dict.fromkeys(wish.text for wish in chapter.run.suggestions)
    for text in texts:
        console.print(Padding(f"• {escape(text)}", (0, 0, 0, 2)), highlight=False)
    console.print()
    tell_path("Report", stage.report("before"), console)
    console.print()


def _verdicts(run: AuditRun) -> Table:
    """A row per class and method, narrow enough for 80 columns; the report has the rest."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("class", "verdict", "because of", "method"):
        table.add_column(name, no_wrap=True)
    for name in ("lift", "accuracy"):
        table.add_column(name, justify="right", no_wrap=True)
    for verdict in sorted(
        run.verdicts, key=lambda v: (ORDER.index(v.status), v.confound != CONFOUND, v.label)
    ):
        sign, style = SIGNS[verdict.status]
        table.add_row(
            verdict.label,
            f"[{style}]{sign} {verdict.status}[/]",
            verdict.confound or "",
            verdict.method,
            numbers.ratio(verdict.lift),
            numbers.share(run.manifest["classes"][verdict.label]["accuracy"]),
        )
    return table


def _where_it_looks(run: AuditRun, verdict: ClassVerdict) -> str:
    """The finding in one sentence."""
    mass, area = (numbers.share(value) for value in share_on_confound(run, verdict.label, verdict.method))
    return (
        f"For {verdict.label} the network looks at the {CONFOUND}: {mass} of the {verdict.method} mass lies "
        f"on it, though it covers {area} of the picture."
    )


def _tell_change(before: Chapter, after: Chapter, console: Console) -> None:
    """Before and after, side by side."""
    console.print(f"\n{headline(after.run.verdicts)}\n", highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    table.add_column("")
    for name in ("before", "after"):
        table.add_column(name, justify="right", no_wrap=True)
    for cells in _changes(before, after):
        table.add_row(*cells)
    console.print(Padding(table, (0, 0, 1, 2)), highlight=False)


def _changes(before: Chapter, after: Chapter) -> Iterator[tuple[str, str, str]]:
    """Rows of the last table: what, before, after."""
    for method in METHODS:
        mass = [
            numbers.share(share_on_confound(chapter.run, SHIRT, method)[0]) for chapter in (before, after)
        ]
        yield f"{method} mass on the face, t-shirt photos", mass[0], mass[1]
    for kind in ((SHIRT, True), (SHIRT, False), (SHOES, False), (SHOES, True)):
        was, now = before.probe[kind], after.probe[kind]
        styles = ("[red]", "[green]") if now - was > _TURNED else ("[default]", "[default]")
        shown = [f"{style}{numbers.share(value)}[/]" for style, value in zip(styles, (was, now), strict=True)]
        yield f"accuracy on {kind[0]} photos {_with(kind[1])} a face", shown[0], shown[1]


def share_on_confound(run: AuditRun, label: str, method: str) -> tuple[float, float]:
    """Mean share of the mass and of the picture on the face in photos of a class; NaN where none has one."""
    labels = run.tables["predictions"][["sample_id", "label"]]
    rows = run.tables["confounds"].merge(labels, on="sample_id", validate="many_to_one")
    is_meant = (rows["label"] == label) & (rows["method"] == method) & (rows["confound"] == CONFOUND)
    rows = rows[is_meant & rows["present"]]
    return float(rows["mass_inside"].mean()), float(rows["area_inside"].mean())


def _with(has_face: bool) -> str:
    return "with" if has_face else "without"
