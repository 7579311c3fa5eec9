"""Guided Integrated Gradients: a path that first moves the pixels to which the score is least sensitive.

Straight paths pass through pictures where gradients are large for no reason of the image; this path goes
around them, but never further than `max_dist` from the straight one. Images are walked in lockstep, so that
every gradient call is a batch; each image's path is its own. Paths fork at ties of float32 gradients: equal
to the published algorithm for equal gradients, but two correct float32 networks can give visibly different
maps.
Completeness: the gradients at the start of each step times the step sum to score(image) - score(baseline), up
to `approx_error`; the scores on the way are known, so the error of each step is too (`local_error`).
Source: Kapishnikov et al. Guided Integrated Gradients: an Adaptive Path Method for Removing Noise. CVPR 2021,
sec. 4, algorithm 1. arXiv:2106.09788
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audit import baselines
from audit.attributions._paths import Integral, attribution_batch
from audit.attributions._schedule import Walk, Work, finish
from audit.classifier import Classifier
from audit.errors import ConfigError
from audit.types import AttributionBatch

__all__ = ["GuidedIntegratedGradients"]

_HELD_ARRAYS = 6
"""Arrays of float64 that a path holds on its way."""

_LAST = np.int32(np.iinfo(np.int32).max)
"""Comes after the bits of every number."""

_ARRIVED = 1e-9
"""Distances closer than this share are equal; the algorithm is stated in real numbers."""


@dataclass(frozen=True)
class GuidedIntegratedGradients:
    """Guided Integrated Gradients.

    Attributes:
        baseline: where paths start, see `audit.baselines.build`; maps of several are averaged.
        n_steps: gradients a sample spends on each baseline; the published default. A path cannot be refined,
            since
            other steps make another path.
        fraction: share of the pixel values that one selection moves, those with the smallest gradients.
        max_dist: how far a value may be from the straight path, as a share of it.
        error_budget: local_error that counts as CONVERGED.
    """

    baseline: baselines.Choice | Sequence[baselines.Choice] = "black"
    n_steps: int = 200
    fraction: float = 0.25
    max_dist: float = 0.02
    error_budget: float = 0.05

    def __post_init__(self) -> None:
        if self.n_steps < 1:
            raise ConfigError(f"guided_integrated_gradients: n_steps must be at least 1, got {self.n_steps}")
        if not 0.0 < self.fraction <= 1.0:
            raise ConfigError(
                f"guided_integrated_gradients: fraction lies above 0, up to 1; got {self.fraction:g}"
            )
        if not 0.0 <= self.max_dist <= 1.0:
            raise ConfigError(f"guided_integrated_gradients: max_dist lies in [0, 1], got {self.max_dist:g}")
        if not self.error_budget > 0:
            raise ConfigError(
                f"guided_integrated_gradients: error_budget must be above 0, got {self.error_budget:g}"
            )
        baselines.check(self.baseline)

    def __call__(
        self, classifier: Classifier, images: np.ndarray, targets: np.ndarray, seeds: np.ndarray
    ) -> AttributionBatch:
        """Maps in units of the score, for n_steps gradients a sample and baseline, and a forward pass."""
        starts = baselines.build(self.baseline, images, seeds)
        scores = classifier.scores(images, targets)
        paths = _GuidedPaths(self, classifier, np.concatenate(starts), images, targets, scores)
        held_bytes = int(_HELD_ARRAYS * 8 * np.prod(images.shape[1:]))
        work = Work(len(paths.starts), paths.walk, paths.evaluate, held_bytes)
        return attribution_batch(
            finish(work, batch_size=classifier.batch_size, callers=classifier.callers),
            image_shape=images.shape[1:3],
            distances=baselines.score_distance(classifier, images, starts, targets),
            error_budget=self.error_budget,
        )

    def step(self, step: int, progress: np.ndarray, lengths: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Where one image's path is after a step: the sum of its distances to the end has fallen by 1 /
        n_steps.

        Values more than max_dist behind the straight path are brought up; then those with the smallest
        gradients go as far as max_dist ahead of it, `fraction` of all values at a time, the last of them in
        part.

        Args:
            step: from 1 to n_steps.
            progress: float64 (H, W, C), how much of its own way each value has gone, in [0, 1].
            lengths: float64 (H, W, C), how long each value's way is.
            gradient: float32 (H, W, C).
        """
        alpha = step / self.n_steps
        ahead = min(alpha + self.max_dist, 1.0)
        moved = np.maximum(progress, max(alpha - self.max_dist, 0.0))
        whole = lengths.sum()
        needed = alpha * whole - _product(lengths, moved)
        # The bits of numbers that are not negative are ordered as the numbers are, and sort faster.
        size = np.abs(gradient).view(np.int32)
        # A value without a way has arrived wherever it is.
        has_arrived = (moved >= ahead) | (lengths == 0.0)
        size |= has_arrived.astype(np.int32) * _LAST
        nth = int(self.fraction * (size.size - 1))
        while needed > _ARRIVED * whole:
            limit = min(np.partition(size, nth, axis=None)[nth], _LAST - 1)
            chosen = size <= limit
            room = ahead - moved
            room *= chosen
            reach = _product(lengths, room)
            if reach == 0.0:
                break
            room *= min(needed / reach, 1.0)
            moved += room
            needed -= reach
            size |= chosen.astype(np.int32) * _LAST
        return np.asarray(moved)


def _product(first: np.ndarray, second: np.ndarray) -> float:
    """The sum of products of two arrays; NumPy's own dot product starts threads that the model's wait for."""
    return float(np.einsum("hwc,hwc->", first, second))


@dataclass(frozen=True)
class _GuidedPaths:
    """One path a row of `starts`; the images and targets repeat, once for each baseline."""

    method: GuidedIntegratedGradients
    classifier: Classifier
    starts: np.ndarray
    images: np.ndarray
    targets: np.ndarray
    scores: np.ndarray

    def evaluate(self, owners: np.ndarray, points: list[np.ndarray]) -> list[tuple[float, np.ndarray]]:
        """Score and gradient at points of the paths."""
        targets = self.targets[owners % len(self.images)]
        return list(zip(*self.classifier.input_gradients(np.stack(points), targets), strict=True))

    def walk(self, number: int) -> Walk:
        """From a baseline to its image, asking for the gradient at one point after another."""
        start, row = self.starts[number], number % len(self.images)
        way = self.images[row].astype(np.float64) - start
        lengths = np.abs(way)
        progress, total = np.zeros_like(way), np.zeros_like(way)
        point = start
        scores, quadratures = [], []
        for step in range(1, self.method.n_steps + 1):
            ((score, gradient),) = yield [point], 1
            moved = self.method.step(step, progress, lengths, gradient)
            change = moved - progress
            change *= way
            change *= gradient
            total += change
            scores.append(score)
            quadratures.append(change.sum())
            progress, point = moved, (moved * way + start).astype(np.float32)
        differences = np.diff([*scores, self.scores[row]])
        return Integral(
            map=total.sum(axis=-1).astype(np.float32),
            difference=float(differences.sum()),
            residual=float(np.abs(quadratures - differences).sum()),
            n_gradients=self.method.n_steps,
        )
