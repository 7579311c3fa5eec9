"""How many gradients does a budget on the local error take, and do maps converge with it? Markdown to stdout.

    python -m benchmarks.convergence --data DIR [--images 24] [--sweep-images 3] [--nodes 2048] [--json FILE]

Real models and photographs, logits of the predicted class or of the label, black baseline. Of some of the images a
sweep of `--nodes` uniform steps gives the map to converge to and, taken every other step, every coarser uniform
trapezoid. The local error of uniform steps is summed over segments of four steps, as the program states it for
`n_steps`, and of eight: refined paths have segments of four and of eight. Images whose probability moves by less than
0.05 have the status "baseline too close" whatever their error; they are counted, and left in everything else.
"""

import argparse
import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from audit.attributions.blur_integrated_gradients import BlurIntegratedGradients
from audit.attributions.integrated_gradients import IntegratedGradients
from audit.classifier import Classifier, Preprocessing
from audit.keras_network import KerasNetwork
from audit.types import AttributionBatch, MapStatus

BUDGETS = (0.2, 0.1, 0.05)
BATCH = 16


@dataclass(frozen=True)
class Sweep:
    """Uniform steps over the straight paths of some images.

    Attributes:
        maps: float64 (B, H, W), of all steps.
        scores, slopes: float64 (B, n_steps + 1), score and directional derivative at the nodes.
    """

    maps: np.ndarray
    scores: np.ndarray
    slopes: np.ndarray

    def local_errors(self, n_steps: int, n_gaps: int) -> np.ndarray:
        """float64 (B,), of the uniform trapezoid with `n_steps`, which divides the number of steps.

        Args:
            n_gaps: steps of a segment.
        """
        stride = (self.scores.shape[1] - 1) // n_steps
        scores, slopes = self.scores[:, ::stride], self.slopes[:, ::stride]
        errors = 0.5 / n_steps * (slopes[:, 1:] + slopes[:, :-1]) - np.diff(scores, axis=1)
        residuals = np.abs(np.add.reduceat(errors, np.arange(0, n_steps, n_gaps), axis=1)).sum(axis=1)
        return np.asarray(residuals / np.abs(scores[:, -1] - scores[:, 0]))

    def steps_needed(self, wanted: np.ndarray, n_gaps: int) -> np.ndarray:
        """float64 (B,), the fewest uniform steps whose local error is `wanted`, a power of two; NaN: more."""
        needed = np.full(len(wanted), np.nan)
        n_steps = self.scores.shape[1] - 1
        while n_steps >= n_gaps:
            needed = np.where(self.local_errors(n_steps, n_gaps) <= wanted, n_steps, needed)
            n_steps //= 2
        return needed


@dataclass(frozen=True)
class Subject:
    """Images of one model.

    Attributes:
        name: of the model and of what is explained.
        images: float32 (B, H, W, 3).
        targets: int64 (B,).
    """

    name: str
    classifier: Classifier
    images: np.ndarray
    targets: np.ndarray

    def some(self, n_images: int) -> "Subject":
        """The same of fewer images, spread over all."""
        rows = np.array(_spread(list(range(len(self.images))), n_images))
        return Subject(self.name, self.classifier, self.images[rows], self.targets[rows])


def main() -> None:
    options = _options()
    subjects = list(_subjects(options.data, options.images))
    rows = [(*key, *row.values()) for key, row in _spent_rows(subjects)]
    print(_table(("method", "explained", "images", "budget", *_SPENT), rows), flush=True)
    if not options.sweep_images:
        return
    few = [subject.some(options.sweep_images) for subject in subjects]
    sweeps = [_sweep(subject, options.nodes) for subject in few]
    print("\n" + _uniform_table(few, sweeps, options.nodes), flush=True)
    against = [(*key, *row.values()) for key, row in _map_rows(few, sweeps)]
    print("\n" + _table(("integrated gradients of", "images", "budget", *_AGAINST), against))
    if options.json:
        options.json.write_text(
            json.dumps({"spent": rows, "against the sweep": against}, indent=1, default=str)
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with models/, coco128/ and garments/"
    )
    parser.add_argument("--images", type=int, default=24, help="photographs a model")
    parser.add_argument("--sweep-images", type=int, default=3, help="of these, how many are swept")
    parser.add_argument("--nodes", type=int, default=2048, help="uniform steps of the sweep, a power of two")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    return parser.parse_args()


def _subjects(data: Path, n_images: int) -> Iterable[Subject]:
    """Garments by label and by prediction, and the ImageNet network on the photographs of COCO."""
    classes = (data / "models" / "garments10_lite0.classes.txt").read_text().split()
    with (data / "garments" / "manifest.csv").open(newline="") as file:
        rows = _spread([row for row in csv.DictReader(file) if row["split"] == "test"], n_images)
    classifier = _classifier(data / "models" / "garments10_lite0.keras")
    images = np.stack([_image(data / "garments" / row["path"], classifier.image_shape) for row in rows])
    labels = np.array([classes.index(row["label"]) for row in rows])
    yield Subject("garments10_lite0, label", classifier, images, labels)
    yield Subject(
        "garments10_lite0, prediction", classifier, images, classifier.logits(images).argmax(axis=1)
    )
    classifier = _classifier(data / "models" / "efficientnet_lite0.keras")
    paths = _spread(sorted((data / "coco128").rglob("*.jpg")), n_images)
    images = np.stack([_image(path, classifier.image_shape) for path in paths])
    yield Subject(
        "efficientnet_lite0, prediction", classifier, images, classifier.logits(images).argmax(axis=1)
    )


def _spread(items: list, n_items: int) -> list:
    return [items[i] for i in np.linspace(0, len(items) - 1, n_items).astype(int)]


def _classifier(path: Path) -> Classifier:
    import keras

    network = KerasNetwork(keras.saving.load_model(path))
    return Classifier(network, Preprocessing((255.0,) * 3, (0.0,) * 3), batch_size=BATCH)


def _image(path: Path, shape: tuple[int, int]) -> np.ndarray:
    picture = Image.open(path).convert("RGB").resize(shape[::-1], Image.Resampling.BILINEAR)
    return np.asarray(picture, dtype=np.float32) / 255


def _sweep(subject: Subject, n_steps: int) -> Sweep:
    classifier, images, targets = subject.classifier, subject.images, subject.targets
    places = np.arange(n_steps + 1) / n_steps
    weights = np.full(n_steps + 1, 1 / n_steps)
    weights[[0, -1]] /= 2
    maps = np.zeros(images.shape[:3])
    scores, slopes = np.zeros((2, len(images), n_steps + 1))
    for i, image in enumerate(images):
        for start in range(0, n_steps + 1, 2 * BATCH):
            rows = slice(start, min(start + 2 * BATCH, n_steps + 1))
            points = places[rows, None, None, None].astype(np.float32) * image
            directions = np.broadcast_to(image, points.shape)
            scores[i, rows], found = classifier.directional_gradients(
                points, directions, np.full(len(points), targets[i])
            )
            slopes[i, rows] = found.sum(axis=(1, 2), dtype=np.float64)
            maps[i] += np.tensordot(weights[rows], found, 1)
    return Sweep(maps, scores, slopes)


def _uniform_table(subjects: list[Subject], sweeps: list[Sweep], n_nodes: int) -> str:
    rows = []
    for subject, sweep in zip(subjects, sweeps, strict=True):
        n_steps = 32
        while n_steps <= n_nodes:
            four, eight = (sweep.local_errors(n_steps, n_gaps) for n_gaps in (4, 8))
            cells = (f"{np.median(four):.3f}", f"{np.mean(four <= 0.05):.0%}", f"{np.median(eight):.3f}")
            rows.append((subject.name, n_steps, *cells, f"{np.mean(eight <= 0.05):.0%}"))
            n_steps *= 2
    fours, eights = (f"local error over segments of {n}, median" for n in ("four", "eight"))
    return _table(("uniform trapezoid on", "steps", fours, "within 0.05", eights, "within 0.05"), rows)


_SPENT = (
    "within",
    "too close",
    "gradients, median",
    "95th percentile",
    "most",
    "local error, most",
    "approx. error, median",
)


def _spent_rows(subjects: list[Subject]) -> Iterable[tuple[tuple, dict[str, str]]]:
    methods = [
        *(("integrated gradients", IntegratedGradients(error_budget=budget), budget) for budget in BUDGETS),
        ("blur integrated gradients", BlurIntegratedGradients(), 0.05),
    ]
    for name, method, budget in methods:
        for subject in subjects:
            found = method(subject.classifier, subject.images, subject.targets, _seeds(subject))
            n = found.n_gradients
            values = (
                f"{np.mean(found.local_error <= budget):.0%}",
                f"{np.sum(found.status == MapStatus.BASELINE_TOO_CLOSE)}",
                f"{np.median(n):.0f}",
                f"{np.quantile(n, 0.95):.0f}",
                f"{n.max()}",
                f"{found.local_error.max():.3f}",
                f"{np.median(found.approx_error):.3f}",
            )
            yield (name, subject.name, len(n), budget), dict(zip(_SPENT, values, strict=True))


_AGAINST = (
    "gradients, median",
    "uniform / refined, segments of four",
    "of eight",
    "rank correlation, median (least)",
    "sum of abs. differences / of abs. values, median (most)",
)


def _map_rows(subjects: list[Subject], sweeps: list[Sweep]) -> Iterable[tuple[tuple, dict[str, str]]]:
    """How many uniform steps the same local error takes, and how near maps are to those of the sweep."""
    for subject, sweep in zip(subjects, sweeps, strict=True):
        for budget in BUDGETS:
            method = IntegratedGradients(error_budget=budget)
            found = method(subject.classifier, subject.images, subject.targets, _seeds(subject))
            correlations = [_rank_correlation(*pair) for pair in zip(found.maps, sweep.maps, strict=True)]
            errors = np.abs(found.maps - sweep.maps).sum(axis=(1, 2)) / np.abs(sweep.maps).sum(axis=(1, 2))
            values = (
                f"{np.median(found.n_gradients):.0f}",
                _times(sweep, found, 4),
                _times(sweep, found, 8),
                f"{np.median(correlations):.4f} ({min(correlations):.4f})",
                f"{np.median(errors):.3f} ({errors.max():.3f})",
            )
            yield (subject.name, len(errors), budget), dict(zip(_AGAINST, values, strict=True))


def _times(sweep: Sweep, found: AttributionBatch, n_gaps: int) -> str:
    """Uniform gradients for the same local error over those spent, median; "more" where the sweep is too coarse."""
    ratio = (sweep.steps_needed(found.local_error, n_gaps) + 1) / found.n_gradients
    middle = np.median(np.where(np.isnan(ratio), np.inf, ratio))
    beyond = f" ({np.isnan(ratio).sum()} beyond the sweep)" if np.isnan(ratio).any() else ""
    return (f"{middle:.1f}" if np.isfinite(middle) else "more") + beyond


def _seeds(subject: Subject) -> np.ndarray:
    return np.zeros(len(subject.images), dtype=np.uint64)


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(one.ravel())) for one in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def _table(header: tuple, rows: Iterable[tuple]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    main()
