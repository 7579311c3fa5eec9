"""The report of large runs in a headless browser: sizes, first paint, filters. Markdown to stdout.

    python -m benchmarks.report [--samples 1000 10000 100000] [--methods 2] [--keep FOLDER]

Makes the tables of a run by drawing numbers (ten classes, two confounds), and sheets of drawn pictures, 20,000 samples
at most, as `report.thumbnails` has it; no model is involved. Renders the report, opens `gallery.html` from the folder
in Chromium, and times what a user does, five times each, until the frame is painted (scrolling: the 95th percentile of
the frames). Takes five minutes on two cores, most of it for drawing. Needs `playwright` and the browser `chromium`.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from audit import tables
from audit.types import AuditRun
from reports import sheets, site
from reports.sheets import Sheet, Small
from tests.paired import frame, verdict
from tests.reports.conftest import MANIFEST

N_CLASSES, N_PICTURES, REPEATS, SCROLL_STEPS = 10, 20_000, 5, 60
CONFOUNDS = ("face", "text")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")

ACTIONS = {
    "class": ("class", ["class 3", "class 4", ""]),
    "prediction": ("answer", ["wrong", "right", ""]),
    "case": ("case", ["distractor", "human aligned", ""]),
    "confound": ("thing", ["with face", "less face", ""]),
    "status": ("status", ["sound", ""]),
    "sort": ("sort", ["confidence", "on:face", "mass_inside"]),
    "method": ("method", ["integrated_gradients", "grad_cam"]),
    "search": ("q", ["c3", "c31", "zz", ""]),
}
"""What is done: the control, and the values it is given in turn; the first round is not counted."""

TIMED = """async ([id, value]) => {
  const control = document.getElementById(id), started = performance.now();
  control.value = value;
  control.dispatchEvent(new Event(control.tagName === "SELECT" ? "change" : "input", {bubbles: true}));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - started;
}"""
SCROLLED = """async () => {
  const grid = document.getElementById("grid"), frames = [];
  let last = performance.now();
  for (let step = 0; step < STEPS; step += 1) {
    grid.scrollTop += grid.clientHeight / 2;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  return frames.sort((one, other) => one - other)[Math.floor(0.95 * STEPS)];
}""".replace("STEPS", str(SCROLL_STEPS))


def main() -> None:
    """Prints two Markdown tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--methods", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="where the reports are left to look at")
    options = parser.parse_args()
    print("| samples | rendering, s | gallery.html, kB | scripts, kB | CSV, MB | pictures, MB | files |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        for n_samples in options.samples:
            print(_made(n_samples, options.methods, folder / str(n_samples)), flush=True)
        print(
            f"\n| samples | ms of | first paint | usable | {' | '.join(ACTIONS)} | scroll | nodes | heap, MB |"
        )
        print(f"|{'---|' * (len(ACTIONS) + 7)}")
        for n_samples in options.samples:
            print(_looked_at(n_samples, folder / str(n_samples)), flush=True)


def _made(n_samples: int, n_methods: int, folder: Path) -> str:
    """Writes a report; its row of the first table."""
    methods = ("grad_cam", "integrated_gradients", "xrai", "smoothgrad")[:n_methods]
    run = _run_of(n_samples, methods)
    drawn = _sheets(run, methods)
    started = time.process_time()
    files = site.render(run, drawn)
    seconds = time.process_time() - started
    shutil.rmtree(folder, ignore_errors=True)
    sizes: dict[str, float] = {}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        sizes[path.suffix] = sizes.get(path.suffix, 0) + path.stat().st_size
    pictures = sum(size for suffix, size in sizes.items() if suffix in (".webp", ".jpg")) / 1e6
    page = (folder / "gallery.html").stat().st_size / 1e3
    return (
        f"| {n_samples:,} | {seconds:.1f} | {page:.0f} | {sizes['.js'] / 1e3:.0f} | {sizes['.csv'] / 1e6:.1f} | "
        f"{pictures:.1f} | {len(files)} |"
    )


def _looked_at(n_samples: int, folder: Path) -> str:
    """Opens a report; its two rows of the second table, medians: by the clock, and the page's own processor time."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        openings = []
        for number in range(REPEATS):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            spent = _processor(page)
            page.goto((folder / "gallery.html").as_uri())
            page.wait_for_selector("html[data-ready=gallery]")
            usable = page.evaluate("performance.getEntriesByName('gallery usable')[0].startTime")
            page.wait_for_timeout(200)
            paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            openings.append((paint, usable, spent()))
            if number < REPEATS - 1:
                page.close()
        times = [_timed(page, spent, *action) for action in ACTIONS.values()]
        before = spent()
        scroll = (page.evaluate(SCROLLED), (spent() - before) / SCROLL_STEPS)
        nodes = page.evaluate("document.querySelectorAll('*').length")
        heap = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
        browser.close()
    paint, usable, opened = (statistics.median(column) for column in zip(*openings, strict=True))
    by_clock = [paint, usable, *(clock for clock, _ in times), scroll[0]]
    by_processor = [opened, *(processor for _, processor in times), scroll[1]]
    return (
        f"| {n_samples:,} | the clock | {' | '.join(f'{number:.0f}' for number in by_clock)} | {nodes} | {heap:.0f} |\n"
        f"| | the page's thread | | {' | '.join(f'{number:.0f}' for number in by_processor)} | | |"
    )


def _processor(page: Any) -> Callable[[], float]:
    """A function that returns the processor time of the page's main thread so far, ms, whatever runs beside it."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")

    return spent


def _timed(page: Any, spent: Callable[[], float], control: str, values: list[str]) -> tuple[float, float]:
    """Milliseconds from the change of a control to the painted frame: by the clock, and of the page's thread."""
    clocks, processors = [], []
    for value in values * REPEATS:
        before = spent()
        clocks.append(page.evaluate(TIMED, [control, value]))
        processors.append(spent() - before)
    return statistics.median(clocks[len(values) :]), statistics.median(processors[len(values) :])


def _run_of(n_samples: int, methods: tuple[str, ...]) -> AuditRun:
    """A run of drawn numbers."""
    rng = np.random.default_rng(0)
    labels = tuple(f"class {number}" for number in range(N_CLASSES))
    label = rng.integers(0, N_CLASSES, n_samples)
    predicted = np.where(rng.random(n_samples) < 0.9, label, rng.integers(0, N_CLASSES, n_samples))
    ids = np.array([f"photos/c{kind}/{number:06d}.jpg" for number, kind in enumerate(label)], dtype=object)
    words = np.array(labels, dtype=object)
    predictions = pd.DataFrame(
        {
            "sample_id": ids,
            "path": "/a/dataset/somewhere/" + ids,
            "label": words[label],
            "split": "test",
            "predicted": words[predicted],
            **{name: rng.random(n_samples) for name in ("confidence", "margin", "entropy")},
            "correct": label == predicted,
            "digest": ids,
        }
    )
    found = {
        "predictions": predictions,
        "attributions": pd.concat([_attributions(ids, words[label], name, rng) for name in methods]),
        "confounds": pd.concat(
            [_confounds(ids, name, thing, rng) for name in methods for thing in CONFOUNDS]
        ),
        "quarantine": frame(tables.QUARANTINE, []),
    }
    counts = {"samples": n_samples, "audited": n_samples, "quarantined": 0}
    manifest = MANIFEST | {"methods": list(methods), "counts": counts, "classes": {}, "quarantine": {}}
    verdicts = tuple(verdict(name, method) for name in labels for method in methods)
    return AuditRun(f"{n_samples} samples", manifest, labels, found, verdicts, (), ())


def _attributions(ids: np.ndarray, labels: np.ndarray, method: str, rng: np.random.Generator) -> pd.DataFrame:
    """The scores of a method, drawn."""
    cases = np.array(["human aligned", "distractor", "sufficient subset", "confuser"], dtype=object)
    columns: dict[str, object] = {}
    for column in tables.ATTRIBUTIONS.columns:
        columns[column.name] = rng.random(len(ids)) if column.kind == "float64" else 0
    columns |= {"sample_id": ids, "method": method, "target": labels, "status": "ok", "reason": ""}
    columns["shared_interest_case"] = cases[rng.integers(0, len(cases), len(ids))]
    return pd.DataFrame(columns)


def _confounds(ids: np.ndarray, method: str, thing: str, rng: np.random.Generator) -> pd.DataFrame:
    """A confound that a third of the samples show."""
    present = np.random.default_rng(len(thing)).random(len(ids)) < 1 / 3
    columns: dict[str, object] = {"sample_id": ids, "method": method, "confound": thing, "present": present}
    for column in tables.CONFOUNDS.columns:
        if column.kind == "float64":
            columns[column.name] = np.where(present, rng.random(len(ids)), np.nan)
    return pd.DataFrame(columns)


def _sheets(run: AuditRun, methods: tuple[str, ...]) -> list[Sheet]:
    """Sheets of drawn pictures: blurred patches of colour, a round object, and a hill for each map."""
    rng = np.random.default_rng(1)
    ids = list(run.tables["predictions"]["sample_id"][:N_PICTURES])
    y, x = np.mgrid[: sheets.MAP_PIXELS, : sheets.MAP_PIXELS] / sheets.MAP_PIXELS
    parts = [ids[start : start + sheets.N_TILES] for start in range(0, len(ids), sheets.N_TILES)]
    return [sheets.join([_tile(name, methods, (x, y), rng) for name in part], (224, 224)) for part in parts]


def _tile(
    sample_id: str, methods: tuple[str, ...], grid: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> Small:
    ground = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    photo = np.asarray(ground.resize((sheets.PHOTO_PIXELS, sheets.PHOTO_PIXELS), Image.Resampling.BICUBIC))
    cx, cy = rng.uniform(0.3, 0.7, 2)
    distance = (grid[0] - cx) ** 2 + (grid[1] - cy) ** 2
    things = sheets._outlines(_enlarged(distance < 0.06), np.zeros(photo.shape[:2], dtype=bool))
    hill = (255 * np.exp(-distance / 0.04)).astype(np.uint8)
    return Small(sample_id, sample_id, photo, things, dict.fromkeys(methods, hill))


def _enlarged(mask: np.ndarray) -> np.ndarray:
    """A mask of a map's size in a photo's size."""
    times = sheets.PHOTO_PIXELS // sheets.MAP_PIXELS
    return mask.repeat(times, axis=0).repeat(times, axis=1)


if __name__ == "__main__":
    main()
