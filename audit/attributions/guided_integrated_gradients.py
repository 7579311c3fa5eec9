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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from audit import baselines
from audit.attributions._paths import Integral, attribution_batch
from audit.classifier import Classifier
from audit.errors import ConfigError
from audit.types import AttributionBatch

__all__ = ["GuidedIntegratedGradients"]

_LOCKSTEP_CALLS = 2
"""Images walked together, in calls of the classifier: memory does not grow with the batch."""

_THREADS = 2
"""Images whose next step is worked out at once; NumPy lets go of the interpreter meanwhile."""

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
        n_together = _LOCKSTEP_CALLS * classifier.batch_size
        integrals = [
            integral
            for start in starts
            for first in range(0, len(images), n_together)
            for integral in self._walk(
                classifier,
                start[first : first + n_together],
                images[first : first + n_together],
                targets[first : first + n_together],
            )
        ]
        return attribution_batch(
            integrals,
            distances=baselines.score_distance(classifier, images, starts, targets),
            error_budget=self.error_budget,
        )

    def _walk(
        self, classifier: Classifier, starts: np.ndarray, images: np.ndarray, targets: np.ndarray
    ) -> list[Integral]:
        """Some images, side by side from their baselines to themselves."""
        ways = images.astype(np.float64) - starts
        lengths = np.abs(ways)
        progress = np.zeros(ways.shape)
        maps = np.zeros(images.shape[:3])
        quadratures = np.zeros((self.n_steps, len(images)))
        scores = np.zeros((self.n_steps + 1, len(images)))
        points = starts

        def advance(step: int, gradients: np.ndarray, i: int) -> np.ndarray:
            moved = self._step(step + 1, progress[i], lengths[i], gradients[i])
            change = np.einsum("hwc,hwc,hwc->hw", moved - progress[i], ways[i], gradients[i])
            maps[i] += change
            quadratures[step, i] = change.sum()
            progress[i] = moved
            return np.asarray(starts[i] + moved * ways[i], dtype=np.float32)

        with ThreadPoolExecutor(_THREADS) as pool:
            for step in range(self.n_steps):
                scores[step], gradients = classifier.input_gradients(points, targets)
                points = np.stack(list(pool.map(partial(advance, step, gradients), range(len(images)))))
        scores[-1] = classifier.scores(images, targets)
        residuals = np.abs(quadratures - np.diff(scores, axis=0)).sum(axis=0)
        differences = scores[-1] - scores[0]
        return [Integral(maps[i], differences[i], residuals[i], self.n_steps) for i in range(len(images))]

    def _step(self, step: int, progress: np.ndarray, lengths: np.ndarray, gradient: np.ndarray) -> np.ndarray:
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
        needed = alpha * whole - np.vdot(lengths, moved)
        size = np.abs(gradient)
        # A value without a way has arrived wherever it is.
        np.copyto(size, np.inf, where=(moved >= ahead) | (lengths == 0.0))
        nth = int(self.fraction * (size.size - 1))
        while needed > _ARRIVED * whole:
            chosen = (size <= np.partition(size, nth, axis=None)[nth]) & np.isfinite(size)
            room = np.where(chosen, ahead - moved, 0.0)
            reach = np.vdot(lengths, room)
            if reach == 0.0:
                break
            moved = moved + min(needed / reach, 1.0) * room
            needed -= reach
            np.copyto(size, np.inf, where=chosen)
        return np.asarray(moved)
