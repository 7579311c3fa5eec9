"""How many gradients does a budget on the local error take, and do maps converge with it? Markdown to stdout.

    python -m benchmarks.convergence --data DIR [--images 16] [--nodes 2048] [--json FILE]

Real models and photographs, logit of the predicted class, black baseline. A sweep of `--nodes` uniform steps
gives the map to converge to and, taken every other step, every coarser uniform trapezoid. Its local error is
summed over the same segments of two steps as that of the refined paths.
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
from audit.types import AttributionBatch

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

    def local_errors(self, n_steps: int) -> np.ndarray:
        """float64 (B,), of the uniform trapezoid with `n_steps`, which divides the number of steps."""
        stride = (self.scores.shape[1] - 1) // n_steps
        scores, slopes = self.scores[:, ::stride], self.slopes[:, ::stride]
        errors = 0.5 / n_steps * (slopes[:, 1:] + slopes[:, :-1]) - np.diff(scores, axis=1)
        residuals = np.abs(np.add.reduceat(errors, np.arange(0, n_steps, 2), axis=1)).sum(axis=1)
        return np.asarray(residuals / np.abs(scores[:, -1] - scores[:, 0]))

    def steps_needed(self, wanted: np.ndarray) -> np.ndarray:
        """float64 (B,), the fewest uniform steps whose local error is `wanted`, a power of two; NaN: more."""
        needed = np.full(len(wanted), np.nan)
        n_steps = self.scores.shape[1] - 1
        while n_steps >= 2:
            needed = np.where(self.local_errors(n_steps) <= wanted, n_steps, needed)
            n_steps //= 2
        return needed


def main() -> None:
    options = _options()
    results = []
    for name, paths in (
        ("efficientnet_lite0", _coco(options.data, options.images)),
        ("garments10_lite0", _garments(options.data, options.images)),
    ):
        classifier = _classifier(options.data / "models" / f"{name}.keras")
        images = np.stack([_image(path, classifier.image_shape) for path in paths])
        targets = classifier.logits(images).argmax(axis=1)
        results.append(
            (name, images, classifier, targets, _sweep(classifier, images, targets, options.nodes))
        )
        print(f"- {name}: {len(images)} photographs", flush=True)
    print("\n" + _uniform_table(results, options.nodes), flush=True)
    rows = list(_refined_rows(results))
    print(
        "\n"
        + _table(("method", "model", "budget", *rows[0][1]), ((*key, *row.values()) for key, row in rows))
    )
    if options.json:
        options.json.write_text(json.dumps([{"key": key, **row} for key, row in rows], indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with models/, coco128/ and garments/"
    )
    parser.add_argument("--images", type=int, default=16, help="photographs a model")
    parser.add_argument("--nodes", type=int, default=2048, help="uniform steps of the sweep, a power of two")
    parser.add_argument("--json", type=Path, help="also write the refined rows here")
    return parser.parse_args()


def _coco(data: Path, n_images: int) -> list[Path]:
    return _spread(sorted((data / "coco128").rglob("*.jpg")), n_images)


def _garments(data: Path, n_images: int) -> list[Path]:
    with (data / "garments" / "manifest.csv").open(newline="") as file:
        rows = [row["path"] for row in csv.DictReader(file) if row["split"] == "test"]
    return [data / "garments" / path for path in _spread(rows, n_images)]


def _spread(items: list, n_items: int) -> list:
    return [items[i] for i in np.linspace(0, len(items) - 1, n_items).astype(int)]


def _classifier(path: Path) -> Classifier:
    import keras

    network = KerasNetwork(keras.saving.load_model(path))
    return Classifier(network, Preprocessing((255.0,) * 3, (0.0,) * 3), batch_size=BATCH)


def _image(path: Path, shape: tuple[int, int]) -> np.ndarray:
    picture = Image.open(path).convert("RGB").resize(shape[::-1], Image.Resampling.BILINEAR)
    return np.asarray(picture, dtype=np.float32) / 255


def _sweep(classifier: Classifier, images: np.ndarray, targets: np.ndarray, n_steps: int) -> Sweep:
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


def _uniform_table(results: list, n_nodes: int) -> str:
    rows = []
    for name, _, _, _, sweep in results:
        n_steps = 32
        while n_steps <= n_nodes:
            errors = sweep.local_errors(n_steps)
            rows.append((name, n_steps, f"{np.median(errors):.3f}", f"{np.mean(errors <= 0.05):.0%}"))
            n_steps *= 2
    return _table(("uniform trapezoid on", "steps", "local error, median", "within 0.05"), rows)


def _refined_rows(results: list) -> Iterable[tuple[tuple[str, str, float], dict[str, str]]]:
    for name, images, classifier, targets, sweep in results:
        seeds = np.zeros(len(images), dtype=np.uint64)
        for budget in BUDGETS:
            found = IntegratedGradients(error_budget=budget)(classifier, images, targets, seeds)
            yield ("integrated gradients", name, budget), {**_spent(found, budget), **_against(found, sweep)}
        found = BlurIntegratedGradients()(classifier, images, targets, seeds)
        none = dict.fromkeys(("uniform / refined", "rank correlation", "relative L2"), "")
        yield ("blur integrated gradients", name, 0.05), {**_spent(found, 0.05), **none}


def _spent(found: AttributionBatch, budget: float) -> dict[str, str]:
    n = found.n_gradients
    return {
        "within": f"{np.mean(found.local_error <= budget):.0%}",
        "gradients, median": f"{np.median(n):.0f}",
        "95th percentile": f"{np.quantile(n, 0.95):.0f}",
        "most": f"{n.max()}",
        "approx. error, median": f"{np.median(found.approx_error):.3f}",
    }


def _against(found: AttributionBatch, sweep: Sweep) -> dict[str, str]:
    ratio = (sweep.steps_needed(found.local_error) + 1) / found.n_gradients
    missing = np.isnan(ratio)
    note = f" ({missing.sum()} beyond the sweep)" if missing.any() else ""
    middle = np.median(np.where(missing, np.inf, ratio))
    correlations = [_rank_correlation(*pair) for pair in zip(found.maps, sweep.maps, strict=True)]
    errors = np.linalg.norm(found.maps - sweep.maps, axis=(1, 2)) / np.linalg.norm(sweep.maps, axis=(1, 2))
    return {
        # What the sweep cannot reach needs more than its steps: the median holds as long as those are few.
        "uniform / refined": (f"{middle:.1f}" if np.isfinite(middle) else "more than the sweep") + note,
        "rank correlation": f"{np.median(correlations):.4f} (least {min(correlations):.4f})",
        "relative L2": f"{np.median(errors):.3f} (most {errors.max():.3f})",
    }


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(one.ravel())) for one in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def _table(header: tuple, rows: Iterable[tuple]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    main()
