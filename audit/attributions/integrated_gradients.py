"""Integrated Gradients: the mean gradient on the straight path from a baseline to the image, times that path.

Completeness: a map sums to score(image) - score(baseline), up to `approx_error`. The integral is taken to an
error budget instead of a number of steps: trapezoid segments are halved where their error, which is known, is
large.
Source: Sundararajan, Taly, Yan. Axiomatic Attribution for Deep Networks. ICML 2017, sec. 3. arXiv:1703.01365
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audit import baselines
from audit.attributions._paths import Budget, Node, attribution_batch, integrate
from audit.classifier import Classifier
from audit.types import AttributionBatch

__all__ = ["IntegratedGradients"]


@dataclass(frozen=True)
class IntegratedGradients:
    """Integrated Gradients.

    Attributes:
        baseline: where paths start, see `audit.baselines.build`; maps of several are averaged.
        error_budget: local_error to go on to, as a share of the score difference.
        max_gradients: gradients a sample may spend on each baseline.
        n_steps: a fixed number of equal trapezoid segments (n_steps + 1 gradients) in place of the budget, as
            the
            hosted services had it; the status still says whether the budget was met.
    """

    baseline: baselines.Choice | Sequence[baselines.Choice] = "black"
    error_budget: float = 0.05
    max_gradients: int = 128
    n_steps: int | None = None

    def __post_init__(self) -> None:
        self._budget.check("integrated_gradients")
        baselines.check(self.baseline)

    @property
    def _budget(self) -> Budget:
        return Budget(self.error_budget, self.max_gradients, self.n_steps)

    def __call__(
        self, classifier: Classifier, images: np.ndarray, targets: np.ndarray, seeds: np.ndarray
    ) -> AttributionBatch:
        """Maps in units of the score; `_paths.attribution_batch` says how the status comes about."""
        starts = baselines.build(self.baseline, images, seeds)
        paths = _StraightPaths(
            classifier,
            np.concatenate(starts),
            np.concatenate([images - start for start in starts]),
            np.tile(targets, len(starts)),
        )
        return attribution_batch(
            integrate(classifier, paths, self._budget),
            image_shape=images.shape[1:3],
            distances=baselines.score_distance(classifier, images, starts, targets),
            error_budget=self.error_budget,
        )


@dataclass(frozen=True)
class _StraightPaths:
    """Straight lines; a direction never changes, so the graph contracts each gradient with it to (H, W)."""

    classifier: Classifier
    starts: np.ndarray
    directions: np.ndarray
    targets: np.ndarray

    @property
    def n_paths(self) -> int:
        return len(self.starts)

    @property
    def node_bytes(self) -> int:
        height, width = self.starts.shape[1:3]
        return int(4 * height * width)

    def evaluate(self, owners: np.ndarray, places: list[float]) -> list[Node]:
        directions = self.directions[owners]
        points = np.empty_like(directions)
        for point, direction, owner, place in zip(points, directions, owners, places, strict=True):
            # Row by row, so that a row is still in the processor's cache when its start is added.
            np.multiply(direction, np.float32(place), out=point)
            point += self.starts[owner]
        scores, maps = self.classifier.directional_gradients(points, directions, self.targets[owners])
        sums = maps.sum(axis=(1, 2), dtype=np.float64)
        # Copies, because a view would keep the maps of a whole call alive.
        return [
            Node(place, float(score), (float(slope), row.copy()))
            for place, score, slope, row in zip(places, scores, sums, maps, strict=True)
        ]

    def quadrature(self, left: Node, right: Node) -> float:
        slopes: float = left.values[0] + right.values[0]
        return 0.5 * (right.place - left.place) * slopes

    def share(self, before: Node, node: Node, after: Node) -> np.ndarray:
        return np.asarray(node.values[1] * np.float32(0.5 * (after.place - before.place)))
