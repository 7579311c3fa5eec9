"""Classifiers in NumPy whose scores and gradients are worked out by hand: fast, and exact where floats
are."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from audit.classifier import Head

ScoreAndGradient = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass
class FakeClassifier:
    """Two classes: class 0 scores `function`, class 1 its negative; images float (B, H, W, 3)."""

    function: ScoreAndGradient
    image_shape: tuple[int, int] = (4, 4)
    batch_size: int = 4
    callers: int = 1
    n_classes: int = 2
    head: Head = Head.SOFTMAX
    feature_layer: str | None = None
    rows: list[int] = field(default_factory=list)

    def logits(self, images):
        score = self.function(np.asarray(images, np.float64))[0]
        return np.stack([score, -score], axis=1).astype(np.float32)

    def probabilities(self, images):
        score = self.function(np.asarray(images, np.float64))[0]
        return np.exp(-np.logaddexp(0, np.stack([-2 * score, 2 * score], axis=1)))

    def scores(self, images, targets):
        return self.logits(images)[np.arange(len(targets)), targets].astype(np.float64)

    def input_gradients(self, images, targets):
        assert images.dtype == np.float32
        self.rows.append(len(images))
        score, gradient = self.function(images.astype(np.float64))
        sign = np.where(targets == 0, 1.0, -1.0)
        return sign * score, (sign[:, None, None, None] * gradient).astype(np.float32)

    def directional_gradients(self, images, directions, targets):
        scores, gradients = self.input_gradients(images, targets)
        return scores, (gradients.astype(np.float64) * directions).sum(axis=-1).astype(np.float32)


def _sum(values):
    return values.sum(axis=(1, 2, 3))


def linear(weights):
    """score = sum(weights * image)."""
    return lambda images: (_sum(weights * images), np.broadcast_to(weights, images.shape))


def quadratic(weights):
    """score = sum(weights * image ** 2)."""
    return lambda images: (_sum(weights * images**2), 2 * weights * images)


def product(first, second):
    """score = a * b of two values, each given by (y, x, channel)."""

    def function(images):
        a, b = images[:, *first], images[:, *second]
        gradient = np.zeros_like(images)
        gradient[:, *first], gradient[:, *second] = b, a
        return a * b, gradient

    return function


def ramp(weights, knee, slope=1.0):
    """score = slope * max(sum(weights * image) - knee, 0)."""

    def function(images):
        above = _sum(weights * images) - knee
        return slope * np.maximum(above, 0), slope * weights * (above > 0)[:, None, None, None]

    return function


def along(weights, curve, derivative):
    """score = curve(sum(weights * image)), with its derivative."""

    def function(images):
        place = _sum(weights * images)
        return curve(place), derivative(place)[:, None, None, None] * weights

    return function
