"""Classifiers in closed form, whose attributions can be worked out by hand; any test may use them.

Weights have the shape (K, H, W, 3). Images are taken as they are, without preprocessing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from audit.classifier import Classifier, Head, Preprocessing

AS_IT_IS = Preprocessing(scale=(1.0, 1.0, 1.0), offset=(0.0, 0.0, 0.0))


@dataclass(frozen=True)
class ClosedForm:
    """A Network: `compute(inputs, weights)` gives the outputs and the feature maps by name."""

    image_shape: tuple[int, int]
    n_outputs: int
    compute: Callable[[Any, Mapping[str, Any]], tuple[Any, Mapping[str, Any]]]
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    feature_layers: tuple[str, ...] = ()

    @property
    def weight_groups(self) -> tuple[str, ...]:
        return tuple(self.weights)

    def __call__(self, inputs: Any, layers: Sequence[str] = ()) -> tuple[Any, list[Any]]:
        outputs, maps = self.compute(
            inputs, {name: np.float32(value) for name, value in self.weights.items()}
        )
        return outputs, [maps[layer] for layer in layers]

    def randomised(self, groups: Sequence[str], seed: int) -> "ClosedForm":
        rng = np.random.default_rng(seed)
        drawn = {
            name: rng.permutation(value.ravel()).reshape(value.shape) if name in groups else value
            for name, value in self.weights.items()
        }
        return replace(self, weights=drawn)


def classifier_of(network: Any, **options: Any) -> Classifier:
    """A Classifier of a Network: images as they are, 4 rows a call, one caller; `options` override."""
    return Classifier(network, AS_IT_IS, **{"batch_size": 4, "callers": 1, **options})


def linear_classifier(weights: np.ndarray, **options: Any) -> Classifier:
    """logit_k = sum(weights_k * image)."""
    return classifier_of(_pixelwise(weights, lambda image: image), **options)


def quadratic_classifier(weights: np.ndarray, **options: Any) -> Classifier:
    """logit_k = sum(weights_k * image ** 2)."""
    return classifier_of(_pixelwise(weights, lambda image: image * image), **options)


def product_classifier(
    image_shape: tuple[int, int], first: tuple[int, int], second: tuple[int, int], **options: Any
) -> Classifier:
    """logit_0 = a * b with a and b the sums over channels of two pixels (y, x); logit_1 = 0."""

    def compute(inputs: Any, _: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
        import tensorflow as tf

        sums = tf.reduce_sum(inputs, axis=-1)
        product = sums[:, first[0], first[1]] * sums[:, second[0], second[1]]
        return tf.stack([product, tf.zeros_like(product)], axis=1), {}

    return classifier_of(ClosedForm(image_shape, 2, compute), **options)


def ramp_classifier(weights: np.ndarray, knee: float, **options: Any) -> Classifier:
    """logit_k = max(sum(weights_k * image) - knee, 0): flat, then a slope."""

    def compute(inputs: Any, values: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
        import tensorflow as tf

        return tf.nn.relu(tf.einsum("bhwc,khwc->bk", inputs, values["head"]) - knee), {}

    return classifier_of(ClosedForm(weights.shape[1:3], len(weights), compute, {"head": weights}), **options)


def gap_classifier(
    kernels: np.ndarray, head: np.ndarray, image_shape: tuple[int, int], pool: int = 1, **options: Any
) -> Classifier:
    """Feature map "maps" = relu(convolution), average over space, linear head: Grad-CAM in closed form.

    Args:
        kernels: (h, w, 3, C) of a convolution with zero padding and stride `pool`.
        head: (C, K) of the linear head, without bias.
        image_shape: height and width.
        pool: stride of the convolution, so that maps are `pool` times smaller than images.
        options: of the Classifier.
    """

    def compute(inputs: Any, values: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
        import tensorflow as tf

        maps = tf.nn.relu(tf.nn.conv2d(inputs, values["kernels"], strides=pool, padding="SAME"))
        return tf.reduce_mean(maps, axis=[1, 2]) @ values["head"], {"maps": maps}

    network = ClosedForm(image_shape, head.shape[1], compute, {"kernels": kernels, "head": head}, ("maps",))
    return classifier_of(network, **options)


def binary_classifier(weights: np.ndarray, **options: Any) -> Classifier:
    """One output z = sum(weights * image), weights (H, W, 3): logits are (-z, z)."""
    return classifier_of(_pixelwise(weights[None], lambda image: image), **{"head": Head.BINARY, **options})


def _pixelwise(weights: np.ndarray, function: Callable[[Any], Any]) -> ClosedForm:
    def compute(inputs: Any, values: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
        import tensorflow as tf

        return tf.einsum("bhwc,khwc->bk", function(inputs), values["head"]), {}

    return ClosedForm(weights.shape[1:3], len(weights), compute, {"head": weights})
