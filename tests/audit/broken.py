"""Explainers and models with one deliberate fault each; the certificate has to catch them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from audit.attributions import AttributionMethod
from audit.attributions._maps import without_path
from audit.classifier import Classifier
from audit.nulls import edge_maps
from audit.types import AttributionBatch

Maps = np.ndarray
Misleading = Callable[[Classifier, Maps, Maps], tuple[Classifier, Maps, Maps]]


@dataclass(frozen=True)
class Remembered:
    """A method that is not run twice: broken explainers share the maps of the sound one they are made of.

    A remembered answer asks the model for its scores of the same pictures, for a watching classifier to see.
    """

    method: AttributionMethod
    _known: dict[tuple[str, int, int, bytes], tuple[Classifier, AttributionBatch]] = field(
        default_factory=dict
    )

    def __call__(
        self, classifier: Classifier, images: np.ndarray, targets: np.ndarray, seeds: np.ndarray
    ) -> AttributionBatch:
        """The method's maps."""
        real = getattr(classifier, "classifier", classifier)
        key = (repr(self.method), id(real), hash(images.tobytes()), targets.tobytes())
        if key not in self._known:
            self._known[key] = (real, self.method(classifier, images, targets, seeds))
        else:
            classifier.scores(images, targets)
        return self._known[key][1]


@dataclass(frozen=True)
class Altered:
    """A sound method whose maps are changed: `change(maps, images)`."""

    method: AttributionMethod
    change: Callable[[Maps, Maps], Maps]

    def __call__(self, classifier: Classifier, images: Maps, targets: Maps, seeds: Maps) -> AttributionBatch:
        batch = self.method(classifier, images, targets, seeds)
        return replace(batch, maps=np.ascontiguousarray(self.change(batch.maps, images), dtype=np.float32))


@dataclass(frozen=True)
class Misled:
    """A sound method that is given something else: `change(classifier, images, targets)`."""

    method: AttributionMethod
    change: Misleading

    def __call__(self, classifier: Classifier, images: Maps, targets: Maps, seeds: Maps) -> AttributionBatch:
        return self.method(*self.change(classifier, images, targets), seeds)


@dataclass(frozen=True)
class WithoutModel:
    """Maps of the picture alone: `draw(images)`."""

    draw: Callable[[Maps], Maps]

    def __call__(self, classifier: Classifier, images: Maps, targets: Maps, seeds: Maps) -> AttributionBatch:
        return without_path(np.asarray(self.draw(images), dtype=np.float32), classifier.image_shape)


@dataclass(frozen=True)
class Noise:
    """Uniform noise; `is_seeded` draws it from the sample's seed, so that it repeats."""

    is_seeded: bool
    _rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    def __call__(self, classifier: Classifier, images: Maps, targets: Maps, seeds: Maps) -> AttributionBatch:
        rngs = [np.random.default_rng(int(seed)) if self.is_seeded else self._rng for seed in seeds]
        maps = [rng.random(images.shape[1:3], np.float32) - 0.5 for rng in rngs]
        return without_path(np.stack(maps), classifier.image_shape)


@dataclass(frozen=True)
class Restless:
    """A network that multiplies its input by dropout on every call, as in training."""

    network: Any
    rate: float = 0.3

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.network, name)

    def __call__(self, inputs: Any, layers: Sequence[str] = ()) -> tuple[Any, list[Any]]:
        import tensorflow as tf

        outputs, maps = self.network(tf.nn.dropout(inputs, self.rate), layers)
        return outputs, maps

    def randomised(self, groups: Sequence[str], seed: int) -> "Restless":
        return Restless(self.network.randomised(groups, seed), self.rate)


def centre(images: Maps) -> Maps:
    """The same bell in the middle of every picture, (B, H, W)."""
    n_images, height, width = images.shape[:3]
    y, x = (np.linspace(-1, 1, size) for size in (height, width))
    return np.tile(np.exp(-2 * (y[:, None] ** 2 + x**2)), (n_images, 1, 1))


def _half_zero(maps: Maps, images: Maps) -> Maps:
    is_kept = (images.mean(axis=(1, 2, 3)) * 1e4).astype(int) % 2 == 0
    return np.where(is_kept[:, None, None], maps, 0)


def _shifted(maps: Maps, share: float) -> Maps:
    return np.roll(maps, (round(share * maps.shape[1]), round(share * maps.shape[2])), axis=(1, 2))


ALTERATIONS: dict[str, Callable[[Maps, Maps], Maps]] = {
    "shifted": lambda maps, _: _shifted(maps, 0.15),
    "transposed": lambda maps, _: maps.transpose(0, 2, 1),
    "mirrored": lambda maps, _: maps[:, :, ::-1],
    "upside down": lambda maps, _: maps[:, ::-1],
    "rotated": lambda maps, _: np.rot90(maps, 2, axes=(1, 2)),
    "signs turned": lambda maps, _: -maps,
    "another image's": lambda maps, _: np.roll(maps, 1, axis=0),
    "half are zero": _half_zero,
    "constant": lambda maps, _: np.ones_like(maps),
    "not finite": lambda maps, _: np.full_like(maps, np.nan),
}
"""What can be done to a map of any method."""

ABSOLUTE: dict[str, Callable[[Maps, Maps], Maps]] = {"magnitudes": lambda maps, _: np.abs(maps)}
"""A fault of complete methods only: gradients are often shown so."""


def redrawn(n_groups: int | None) -> Misleading:
    """The method is given the model with its last groups of weights drawn anew; None draws all of them."""
    made: dict[int, tuple[Classifier, Classifier]] = {}

    def change(model: Classifier, images: Maps, targets: Maps) -> tuple[Classifier, Maps, Maps]:
        real = getattr(model, "classifier", model)
        if id(real) not in made:
            groups = model.weight_groups
            made[id(real)] = (real, real.randomised(groups[-(n_groups or len(groups)) :], 99))
        return made[id(real)][1], images, targets

    return change


def _swapped(model: Classifier, images: Maps, targets: Maps) -> tuple[Classifier, Maps, Maps]:
    return model, np.ascontiguousarray(images[..., ::-1]), targets


def _mirrored(model: Classifier, images: Maps, targets: Maps) -> tuple[Classifier, Maps, Maps]:
    return model, np.ascontiguousarray(images[:, :, ::-1]), targets


MISLEADINGS: dict[str, Misleading] = {
    "random weights": redrawn(None),
    "random head": redrawn(1),
    "channels swapped": _swapped,
    "image mirrored": _mirrored,
    "next class": lambda model, images, targets: (model, images, (targets + 1) % model.n_classes),
    "one class": lambda model, images, targets: (model, images, np.zeros_like(targets)),
    "predicted class": lambda model, images, targets: (model, images, model.logits(images).argmax(axis=1)),
}
"""What a method can be given in place of what it is asked about."""

WITHOUT_MODEL: dict[str, AttributionMethod] = {
    "edges": WithoutModel(edge_maps),
    "brightness": WithoutModel(lambda images: images.mean(axis=-1)),
    "centre": WithoutModel(centre),
    "seeded noise": Noise(is_seeded=True),
    "unseeded noise": Noise(is_seeded=False),
    "zero": WithoutModel(lambda images: np.zeros(images.shape[:3])),
}
"""Explainers that never ask the model."""
