"""Does `compare` see a drop that matters, and stay quiet over trainings that differ in their seed alone?

    python -m benchmarks.compare [--seeds 8] [--starts scratch common] [--further 2] [--out DIR]

Prints Markdown; trainings in DIR are kept and reused.

The small network of the demo is trained several times on one drawn dataset, from scratch and from common weights (as
a released network is trained on), each with a seed of its own for the order of the photos and their augmentation. Each
is audited on the same 200 test photos a class; comparisons get random 100 of them.

- *Seed alone*: every ordered pair of trainings as it is. Such networks do look elsewhere by a little: the differences
  are true, and uninteresting. So this asks whether the minimum relevant difference lies above them.
- *No difference*: the candidate's scores are moved until both means over all 200 photos are equal. What is called a
  change then is chance.
- *Planted drop*: the candidate's mass inside of one class and method is scaled until its mean over all 200 photos lies
  10 points below the reference's. The scatter from photo to photo stays that of two different trainings.

Each is done with the two runs alone and, "retrained", with further trainings as `--retrain` takes them.

Intervals (95 %) come from drawing trainings with replacement: pairs that share a training are not independent. Where
all comparisons or none came out so, that would have no width; there it is the score interval over pairs of trainings.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from audit._pairs import ACCURACY, MASS_INSIDE, Pairs
from audit.changes import judge_pairs
from audit.retraining import bounds
from audit.statistics import proportion_interval
from audit.types import ChangeKind, ChangeLimits, ClassChange
from pipelines.compare import CompareConfig

METHODS = ("grad_cam", "integrated_gradients")
STARTS = ("scratch", "common")
N_TRAIN, N_TEST = 90, 100
"""Photos of each class with a face, and without."""
N_STEPS, N_STEPS_ON, RATE_ON = 260, 130, 1e-3
N_COMPARED, N_DRAWS = 100, 1
DROP = 0.1
CALLED = (ChangeKind.WORSENED, ChangeKind.IMPROVED)


@dataclass(frozen=True)
class Outcome:
    """One row of one comparison: which trainings, how it was made, what it is of, whether it was called a change."""

    start: str
    reference: int
    candidate: int
    case: str
    what: str
    size: float
    is_called: bool
    is_worsened: bool


def train_and_audit(out: Path, starts: Sequence[str], n_seeds: int) -> None:
    """Trains and audits what `out` does not hold yet."""
    from pipelines import demo_model
    from pipelines.demo_world import CLASSES, Request, World, write, write_manifest
    from pipelines.quiet import load_tensorflow

    todo = [(start, seed) for start in starts for seed in range(n_seeds) if not _is_done(out, start, seed)]
    if not todo:
        return
    load_tensorflow()
    photos = out / "photos"
    if not (photos / "manifest.csv").exists():
        requests = [
            Request(label, has_face, split, number)
            for split, n in (("train", N_TRAIN), ("test", N_TEST))
            for label in CLASSES
            for has_face in (False, True)
            for number in range(n)
        ]
        write_manifest(write(World(0), requests, photos, lambda _: None), photos / "manifest.csv")
    pictures = demo_model.read(photos / "manifest.csv", "train")
    common = None
    for start, seed in todo:
        if start == "scratch":
            model = demo_model.train(pictures, n_steps=N_STEPS, seed=seed, advance=lambda _: None)
        else:
            if common is None:
                first = demo_model.train(pictures, n_steps=N_STEPS, seed=1000, advance=lambda _: None)
                common = first.get_weights()
            model = train_on(first, common, pictures, seed)
        path = out / start / f"{seed}.keras"
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)
        audit_one(out, path, out / start / str(seed), CLASSES)


def train_on(model: Any, weights: list[np.ndarray], pictures: Any, seed: int) -> Any:
    """The network from common weights, trained on with photos in an order of its own."""
    import keras

    from pipelines import demo_model

    model.set_weights(weights)
    falling = keras.optimizers.schedules.CosineDecay(RATE_ON, N_STEPS_ON)
    model.compile(keras.optimizers.Adam(falling), "sparse_categorical_crossentropy")
    rng = np.random.default_rng([seed, 2])
    for _ in range(N_STEPS_ON):
        chosen = rng.choice(len(pictures.labels), demo_model.BATCH_SIZE, replace=False)
        images = demo_model._augmented(pictures.images[chosen], rng)
        model.train_on_batch(images, pictures.labels[chosen])
    return model


def audit_one(out: Path, model: Path, run: Path, classes: tuple[str, ...]) -> None:
    from pipelines.config import validate
    from pipelines.progress import Progress
    from pipelines.run import audit

    values: dict[str, Any] = {
        "data": {"reader": "manifest", "path": out / "photos" / "manifest.csv", "splits": ["test"]},
        "model": {"path": model, "classes": list(classes)},
        "attributions": {"methods": list(METHODS)},
        "confounds": {"use": []},
        "interventions": {"use": []},
        "report": {"worst": 0, "typical": 0},
        "certificate": {"samples": 0},
        "run": {"workers": 0, "batch_size": 25},
    }
    audit(validate(values, where="benchmark"), run, progress=Progress(Console(quiet=True)))


def _is_done(out: Path, start: str, seed: int) -> bool:
    return (out / start / str(seed) / "tables" / "verdicts.parquet").exists()


@dataclass(frozen=True)
class Scores:
    """Scores of one training, samples in one order: mass inside by (label, method), right or wrong by (label, "")."""

    values: Mapping[tuple[str, str], np.ndarray]

    def scaled(self, key: tuple[str, str], mean: float) -> "Scores":
        """The scores with one statistic scaled to another mean over all samples; shares stay in [0, 1]."""
        values = self.values[key]
        for _ in range(20):  # what is cut off at 1 is made up for
            values = np.clip(values * (mean / np.nanmean(values)), 0.0, 1.0)
        return replace(self, values={**self.values, key: values})


def read(run: Path) -> Scores:
    """The scores of a stored run."""
    predictions = pd.read_parquet(run / "tables" / "predictions.parquet").sort_values("sample_id")
    rows = pd.read_parquet(run / "tables" / "attributions.parquet")
    rows = rows.merge(predictions[["sample_id", "label"]], on="sample_id", validate="many_to_one")
    groups = rows.sort_values("sample_id").groupby(["label", "method"])["mass_inside"]
    values = {(str(label), str(method)): group.to_numpy() for (label, method), group in groups}
    right = predictions.groupby("label")["correct"]
    return Scores(values | {(str(label), ""): group.to_numpy(np.float64) for label, group in right})


def outcomes(
    runs: Mapping[int, Scores], start: str, limits: ChangeLimits, n_further: int
) -> Iterator[Outcome]:
    """Every comparison of every ordered pair of trainings; `n_further` others are what `--retrain` is given."""
    for one, other in permutations(runs, 2):
        rng = np.random.default_rng([one, other, STARTS.index(start)])
        reference, candidate = runs[one], runs[other]
        target = {key: float(np.nanmean(values)) for key, values in reference.values.items() if key[1]}
        equal = candidate
        for key, mean in target.items():
            equal = equal.scaled(key, mean)
        cases: list[tuple[str, Scores, tuple[str, str] | None]] = [
            ("seed alone", candidate, None),
            ("no difference", equal, None),
        ]
        cases += [("planted drop", candidate.scaled(key, mean - DROP), key) for key, mean in target.items()]
        rest = [seed for seed in runs if seed not in (one, other)]
        further = rng.choice(rest, min(n_further, len(rest)), replace=False)
        for _ in range(N_DRAWS):
            drawn = rng.choice(2 * N_TEST, N_COMPARED, replace=False)
            between = bounds(
                [_pairs(reference, runs[seed], drawn) for seed in further], 1 - limits.q, limits.minimum_pairs
            )
            for case, changed, of in cases:
                pairs = _pairs(reference, changed, drawn)
                for words, noise in (("", None), (", retrained", between)):
                    for change in judge_pairs(pairs, limits, noise):
                        if of in (None, (change.label, change.method)):
                            yield _outcome(change, start, one, other, case + words)


def _pairs(reference: Scores, candidate: Scores, drawn: np.ndarray) -> list[Pairs]:
    """The same samples of both trainings."""
    return [
        Pairs(
            label,
            method,
            MASS_INSIDE if method else ACCURACY,
            values[drawn],
            candidate.values[label, method][drawn],
            {},
        )
        for (label, method), values in reference.values.items()
    ]


def _outcome(change: ClassChange, start: str, one: int, other: int, case: str) -> Outcome:
    what = f"{change.statistic} {change.method}".strip()
    is_worsened = change.kind is ChangeKind.WORSENED
    return Outcome(start, one, other, case, what, change.difference, change.kind in CALLED, is_worsened)


def share_with_interval(table: pd.DataFrame, column: str) -> str:
    """Share of rows, with the interval that the head of this file describes."""
    if table[column].nunique() == 1:
        n_pairs = len({frozenset(pair) for pair in zip(table["reference"], table["candidate"], strict=True)})
        found = proportion_interval(n_pairs * int(table[column].iloc[0]), n_pairs, 0.95)
        return f"{100 * found.mean:.1f} % ({100 * found.low:.1f}–{100 * found.high:.1f})"
    counts = table.groupby(["reference", "candidate"])[column].agg(["sum", "count"])
    seeds = sorted(set(table["reference"]) | set(table["candidate"]))
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(1000):
        weight = np.bincount(rng.integers(0, len(seeds), len(seeds)), minlength=len(seeds))
        by_seed = dict(zip(seeds, weight, strict=True))
        pair = np.array([by_seed[one] * by_seed[other] for one, other in counts.index])
        if pair.sum():
            shares.append((pair * counts["sum"]).sum() / (pair * counts["count"]).sum())
    low, high = np.percentile(shares, [2.5, 97.5])
    return f"{100 * table[column].mean():.1f} % ({100 * low:.1f}–{100 * high:.1f})"


def report(table: pd.DataFrame, spread: pd.DataFrame, n_seeds: int) -> Iterator[str]:
    """The Markdown."""
    yield f"{n_seeds} trainings a start, {N_COMPARED} images a class, {N_DRAWS} draws a pair.\n"
    yield "How far trainings lie apart in truth (standard deviation of a class's mean over 200 photos):\n"
    yield "| start | class | statistic | mean | standard deviation |\n|---|---|---|---|---|"
    for row in spread.itertuples():
        yield f"| {row.start} | {row.label} | {row.method} | {row.mean:.3f} | {row.deviation:.3f} |"
    yield "\nSeed alone, size of the difference (points of mass inside or accuracy) over the comparisons:\n"
    yield "| start | statistic | median | 90 % below | 95 % below | largest |\n|---|---|---|---|---|---|"
    alone = table[(table["case"] == "seed alone") & (table["minimum"] == table["minimum"].min())]
    for (start, what), rows in alone.groupby(["start", "what"], sort=False):
        ends = 100 * np.quantile(rows["size"].abs(), [0.5, 0.9, 0.95, 1.0])
        yield f"| {start} | {what} | " + " | ".join(f"{end:.1f}" for end in ends) + " |"
    yield "\n| start | minimum change | case | statistic | comparisons | called a change | called worsened |"
    yield "|---|---|---|---|---|---|---|"
    for (start, minimum, case, what), rows in table.groupby(["start", "minimum", "case", "what"], sort=False):
        called = "" if case.startswith("planted drop") else share_with_interval(rows, "is_called")
        yield (
            f"| {start} | {minimum:g} | {case} | {what} | {len(rows)} | {called} | "
            f"{share_with_interval(rows, 'is_worsened')} |"
        )


def spread_of(runs: Mapping[str, Mapping[int, Scores]]) -> pd.DataFrame:
    """Mean and standard deviation over trainings of a class's mean mass inside and accuracy."""
    rows = []
    for start, found in runs.items():
        for label, method in next(iter(found.values())).values:
            means = [np.nanmean(scores.values[label, method]) for scores in found.values()]
            rows.append((start, label, method or ACCURACY, np.mean(means), np.std(means, ddof=1)))
    return pd.DataFrame(rows, columns=["start", "label", "method", "mean", "deviation"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--starts", nargs="+", default=STARTS, choices=STARTS)
    parser.add_argument("--further", type=int, default=2, help="trainings that --retrain is given")
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--minimum-changes", type=float, nargs="+", default=[0.0, CompareConfig().minimum_change]
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = (chosen.out or Path(temporary)).absolute()
        train_and_audit(out, chosen.starts, chosen.seeds)
        runs = {
            start: {seed: read(out / start / str(seed)) for seed in range(chosen.seeds)}
            for start in chosen.starts
        }
    made = []
    for minimum in chosen.minimum_changes:
        limits = replace(CompareConfig().limits(), minimum_change=minimum)
        for start, found in runs.items():
            part = pd.DataFrame(outcomes(found, start, limits, chosen.further))
            made.append(part.assign(minimum=minimum))
    for line in report(pd.concat(made, ignore_index=True), spread_of(runs), chosen.seeds):
        print(line)


if __name__ == "__main__":
    main()
