"""What the trust certificate does to explainers and models, and how it compares maps.

Maps are compared on a coarse grid by rank. Single pixels of gradient maps are noise, which would let every
comparison of two maps come out near 0, whatever the explainer; ranks do not depend on scale or sharpening.
"""

import dataclasses
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats
from scipy.ndimage import uniform_filter

from audit.attributions import AttributionMethod
from audit.classifier import Classifier
from audit.nulls import edge_maps

COMPARED_GRID = 28
"""Cells a side on which maps are compared: 8 pixels each at 224."""
PLACES = (
    (0.2, 0.45),
    (0.45, 0.8),
    (0.8, 0.55),
    (0.55, 0.2),
    (0.25, 0.7),
    (0.7, 0.8),
    (0.75, 0.3),
    (0.3, 0.25),
)
"""Centres (y, x) of disturbances; none is near its own mirror image in both axes."""

ROUGH_GRADIENTS = 17
"""Gradients that a path may spend where maps are only compared with each other."""
ROUGH_COPIES = 8
"""Noisy copies of smoothgrad there."""
ROUGH_ERROR = 0.2
"""Error budget there; a path whose error is within it earlier stops."""

_BLOCKS = 3


def pooled(maps: np.ndarray, n_cells: int) -> np.ndarray:
    """Means over cells of a grid of at most `n_cells` a side, float64 (B, h, w), of maps (B, H, W)."""
    values = maps.astype(np.float64)
    for axis in (1, 2):
        starts, counts = cells_of_line(values.shape[axis], n_cells)
        shape = (1, -1, 1) if axis == 1 else (1, 1, -1)
        values = np.add.reduceat(values, starts, axis=axis) / counts.reshape(shape)
    return np.asarray(values)


def rank_correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each pair of maps, on the coarse grid.

    Args:
        first, second: (B, H, W).

    Returns:
        float64 (B,) in [-1, 1]; NaN where either map is constant or not finite.

    Source: the measure of Adebayo et al. Sanity Checks for Saliency Maps. NeurIPS 2018, arXiv:1810.03292.
    """
    one, other = _ranks(first), _ranks(second)
    lengths = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    return np.asarray(
        np.divide((one * other).sum(axis=1), lengths, out=np.full(len(one), np.nan), where=lengths > 0)
    )


def between_images(maps: np.ndarray) -> np.ndarray:
    """Rank correlation of the maps of every two different images, float64 (B (B - 1) / 2,); NaN as above."""
    first, second = np.triu_indices(len(maps), k=1)
    return rank_correlations(maps[first], maps[second])


def content_maps(images: np.ndarray) -> dict[str, np.ndarray]:
    """What can be seen without any model, (B, H, W) by name: edges, brightness, darkness."""
    brightness = images.mean(axis=-1, dtype=np.float64)
    return {"edges": edge_maps(images), "brightness": brightness, "darkness": 1.0 - brightness}


def rough(method: AttributionMethod) -> AttributionMethod:
    """The method with less to spend: for maps that are compared with others made in the same way.

    A map need not have converged to tell whether it follows the weights or the target: both maps of a pair
    have the same error, so a pair that ought to be equal still is. Fields are known by their names, also of
    methods within methods; a method without any such field is returned as it is, the same object.
    """
    caps = {"max_gradients": ROUGH_GRADIENTS, "n_steps": ROUGH_GRADIENTS - 1, "n_samples": ROUGH_COPIES}
    changes: dict[str, Any] = {}
    for item in dataclasses.fields(method):  # type: ignore[arg-type]
        value = getattr(method, item.name)
        if item.name == "method":
            changes[item.name] = rough(value)
        elif item.name == "error_budget":
            changes[item.name] = max(value, ROUGH_ERROR)
        elif item.name in caps and value is not None:
            changes[item.name] = min(value, caps[item.name])
    changes = {name: value for name, value in changes.items() if value is not getattr(method, name)}
    return dataclasses.replace(method, **changes) if changes else method  # type: ignore[type-var]


@dataclass(frozen=True)
class Randomised:
    """Classifiers with weights drawn anew, shared by all methods.

    Weights are redrawn in up to three blocks of consecutive layers, so the cost does not grow with depth.

    Attributes:
        cascading: the last block, the last two, ... all of them.
        independent: one block at a time, the last one first; the first of both is the same object.
    """

    cascading: tuple[Classifier, ...]
    independent: tuple[Classifier, ...]


def randomised(classifier: Classifier, seed: int) -> Randomised:
    """Randomised copies of a classifier; both tuples are empty where it has no weights."""
    groups = classifier.weight_groups
    blocks = [list(block) for block in np.array_split(np.array(groups, dtype=object), _BLOCKS) if len(block)]
    alone = [classifier.randomised(block, seed) for block in reversed(blocks)]
    cascade = [
        classifier.randomised([group for block in blocks[-n:] for group in block], seed)
        for n in range(2, len(blocks) + 1)
    ]
    return Randomised((*alone[:1], *cascade), tuple(alone))


@dataclass
class Watched:
    """A classifier that remembers how near the pictures it was asked about came to some candidates.

    Everything else is the classifier's own. Distances are taken on the coarse grid, where noise that a method
    adds to a picture averages out.

    Attributes:
        classifier: the classifier that answers.
        candidates: float32 (V, B, H, W, 3): versions of the pictures.
        nearest: float64 (V, B), squared distance of the nearest picture asked about; inf before the first.
    """

    classifier: Classifier
    candidates: np.ndarray
    nearest: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self._coarse = np.stack([_coarse(version) for version in self.candidates])
        self.nearest = np.full(self.candidates.shape[:2], np.inf)
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.classifier, name)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """As of the classifier."""
        self._see(images)
        return self.classifier.logits(images)

    def scores(self, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """As of the classifier."""
        self._see(images)
        return self.classifier.scores(images, targets)

    def input_gradients(self, images: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As of the classifier."""
        self._see(images)
        return self.classifier.input_gradients(images, targets)

    def directional_gradients(
        self, images: np.ndarray, directions: np.ndarray, targets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """As of the classifier."""
        self._see(images)
        return self.classifier.directional_gradients(images, directions, targets)

    def layer_gradients(
        self, images: np.ndarray, targets: np.ndarray, layer: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As of the classifier."""
        self._see(images)
        return self.classifier.layer_gradients(images, targets, layer)

    def _see(self, images: np.ndarray) -> None:
        if not len(images):
            return
        asked = _coarse(images)
        for version, candidates in enumerate(self._coarse):
            squares = (
                (asked**2).sum(axis=1)[:, None] - 2.0 * asked @ candidates.T + (candidates**2).sum(axis=1)
            )
            near = squares.min(axis=0)
            # Path methods ask from several threads.
            with self._lock:
                self.nearest[version] = np.minimum(self.nearest[version], near)


def versions(images: np.ndarray) -> np.ndarray:
    """The pictures as they are, with blue and red exchanged, mirrored, upside down: (4, B, H, W, 3)."""
    return np.stack([images, images[..., ::-1], images[:, :, ::-1], images[:, ::-1]])


def disturbed(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pictures with one square a quarter of the side wide shifted by half the value range, and where it is.

    Every value changes by 0.5, whatever the picture shows there.

    Returns:
        Pictures float32 (B, H, W, 3) in [0, 1], and bool (B, H, W).
    """
    n_images, height, width = images.shape[:3]
    squares = np.zeros((n_images, height, width), dtype=bool)
    for index in range(n_images):
        y, x = PLACES[index % len(PLACES)]
        top, left = round((y - 0.125) * height), round((x - 0.125) * width)
        squares[index, top : top + max(height // 4, 1), left : left + max(width // 4, 1)] = True
    moved = np.where(images < 0.5, images + 0.5, images - 0.5)
    return np.where(squares[..., None], moved, images).astype(np.float32), squares


def displacement(changes: np.ndarray, squares: np.ndarray) -> float:
    """How far the changes of maps lie from the squares that caused them, averaged over images.

    Each change is moved such that its square lies in the middle; the mean of all is searched for the place a
    square has to be moved to in order to hold most of the change.

    Args:
        changes: (B, H, W), absolute change of each map.
        squares: bool (B, H, W), one square each, of one size.

    Returns:
        Distance as a share of the longer side; NaN where no map changes.
    """
    height, width = changes.shape[1:]
    totals = changes.sum(axis=(1, 2), dtype=np.float64)
    sums, counts = np.zeros((2 * height, 2 * width)), np.zeros((2 * height, 2 * width))
    for index in np.flatnonzero((totals > 0) & np.isfinite(totals)):
        rows, columns = np.nonzero(squares[index])
        top, left = (
            height - (rows.min() + rows.max() + 1) // 2,
            width - (columns.min() + columns.max() + 1) // 2,
        )
        sums[top : top + height, left : left + width] += changes[index] / totals[index]
        counts[top : top + height, left : left + width] += 1.0
    if not counts.any():
        return float("nan")
    size = (int(squares[0].any(axis=1).sum()), int(squares[0].any(axis=0).sum()))
    # Places that few images cover would win by one image's accident.
    is_covered = counts >= 0.5 * counts.max()
    mean = np.divide(sums, counts, out=np.zeros_like(sums), where=is_covered)
    # Twice, so that the window has a peak: a box alone is as full anywhere around a smaller spot.
    density = uniform_filter(uniform_filter(mean, size, mode="constant"), size, mode="constant")
    y, x = np.unravel_index(int(np.argmax(density)), density.shape)
    return float(np.hypot(y - height, x - width) / max(height, width))


def cells_of_line(size: int, n_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """First pixel and number of pixels of each cell of a line."""
    edges = np.linspace(0, size, min(n_cells, size) + 1).round().astype(np.int64)
    return edges[:-1], np.diff(edges)


def _ranks(maps: np.ndarray) -> np.ndarray:
    """Centred ranks of the coarse maps, float64 (B, n_cells); NaN where a map is not finite."""
    coarse = pooled(maps, COMPARED_GRID).reshape(len(maps), -1)
    # Sums over cells differ in their last digits; what differs by rounding alone is a tie.
    spread = np.abs(coarse).max(axis=1, keepdims=True)
    unit = np.divide(coarse, spread, out=np.zeros_like(coarse), where=spread > 0)
    ranks = stats.rankdata(np.round(unit, 6), axis=1)
    ranks[~np.isfinite(coarse).all(axis=1)] = np.nan
    return np.asarray(ranks - ranks.mean(axis=1, keepdims=True))


def _coarse(images: np.ndarray) -> np.ndarray:
    """float64 (B, n), images on the coarse grid."""
    channels = [pooled(images[..., channel], COMPARED_GRID) for channel in range(3)]
    return np.stack(channels, axis=-1).reshape(len(images), -1)
