"""Small networks for the drawn photos: trained in a second or two, the same from the same seed.

One traced training step serves all networks of a process: a network is a set of weights that is put in, trained and
taken out. Tracing anew for each of some hundred networks would take longer than training them.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

INPUT = 64
"""Height and width that the networks see, pixels."""
_FILTERS = ((16, 5, 2), (24, 3, 2), (32, 3, 1))
"""Filters, kernel size and stride of each block; the last map is INPUT / 4 wide."""
_READING = 8
"""Width of the layer before the classes: all that a frozen backbone passes on."""
_BATCH = 32
_LEARNING_RATE = 4e-3
_SHIFT = 3
"""Training photos are moved by up to so many pixels."""

Weights = list[np.ndarray]


def seen(images: np.ndarray) -> np.ndarray:
    """Stored photos uint8 (N, 2h, 2w, 3) as the networks see them: float32 (N, h, w, 3) in [0, 255].

    The mean of two by two pixels is what bilinear sampling at half the size gives.
    """
    n, height, width, _ = images.shape
    blocks = images.reshape(n, height // 2, 2, width // 2, 2, 3)
    return np.asarray(blocks.mean(axis=(2, 4), dtype=np.float32))


class Forge:
    """Trains networks one after the other, and asks them."""

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes

    @cached_property
    def _model(self) -> Any:
        """float32 (B, INPUT, INPUT, 3) in [0, 255] -> probabilities (B, K)."""
        import keras
        from keras import layers

        inputs = layers.Input((INPUT, INPUT, 3), name="photo")
        features = layers.Rescaling(1 / 127.5, offset=-1.0, name="to_minus_one_to_one")(inputs)
        for place, (filters, kernel, stride) in enumerate(_FILTERS):
            features = layers.Conv2D(
                filters, kernel, stride, padding="same", use_bias=False, name=f"conv_{place}"
            )(features)
            features = layers.BatchNormalization(momentum=0.9, name=f"norm_{place}")(features)
            features = layers.ReLU(name=f"relu_{place}")(features)
        # The largest value over space: in so few steps a mean over space learns nothing that is small.
        pooled = layers.GlobalMaxPooling2D(name="largest")(features)
        reading = layers.Dense(_READING, name="reading")(pooled)
        outputs = layers.Dense(self.n_classes, activation="softmax", name="probabilities")(reading)
        return keras.Model(inputs, outputs, name="bar_ring_or_star")

    @cached_property
    def _plain(self) -> Weights:
        """The weights before any training; kernels are drawn anew for each seed."""
        return [np.array(values) for values in self._model.get_weights()]

    @cached_property
    def _optimizer(self) -> Any:
        import keras

        made = keras.optimizers.Adam(_LEARNING_RATE)
        made.build(self._model.trainable_variables)
        return made

    @cached_property
    def _step(self) -> Any:
        import keras
        import tensorflow as tf

        model, optimizer = self._model, self._optimizer

        @tf.function
        def step(images: Any, labels: Any, rate: Any) -> None:
            optimizer.learning_rate.assign(rate)
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(
                    keras.losses.sparse_categorical_crossentropy(labels, model(images, training=True))
                )
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

        return step

    @cached_property
    def _ask(self) -> Any:
        import keras
        import tensorflow as tf

        layers = [self._model.get_layer(name).output for name in (f"relu_{len(_FILTERS) - 1}", "reading")]
        network = keras.Model(self._model.inputs, [*layers, self._model.outputs[0]])
        return tf.function(lambda images: network(images, training=False))

    def start(self, seed: int) -> Weights:
        """The weights that training of this seed begins with."""
        rng = np.random.default_rng([seed, 11])
        return [
            rng.normal(0, np.sqrt(2 / np.prod(values.shape[:-1])), values.shape).astype(np.float32)
            if values.ndim > 1
            else values
            for values in self._plain
        ]

    def train(
        self, images: np.ndarray, labels: np.ndarray, *, n_steps: int, seed: int, first: Weights | None = None
    ) -> Weights:
        """The weights of a network trained on photos.

        Args:
            images: float32 (N, INPUT, INPUT, 3) in [0, 255].
            labels: int64 (N,).
            n_steps: batches of 32; the learning rate falls to zero over them.
            seed: of the first weights, the order and the augmentation.
            first: weights to train on instead.
        """
        self._model.set_weights(self.start(seed) if first is None else first)
        for variable in self._optimizer.variables:
            if "learning_rate" not in variable.path:
                variable.assign(np.zeros(variable.shape, variable.dtype))
        rng = np.random.default_rng([seed, 12])
        waiting = np.empty(0, np.int64)
        for number in range(n_steps):
            if len(waiting) < _BATCH:
                waiting = np.concatenate([waiting, rng.permutation(len(labels))])
            chosen, waiting = waiting[:_BATCH], waiting[_BATCH:]
            rate = np.float32(_LEARNING_RATE * (1 + np.cos(np.pi * number / n_steps)) / 2)
            self._step(_augmented(images[chosen], rng), labels[chosen], rate)
        return [np.array(values) for values in self._model.get_weights()]

    def with_new_head(self, backbone: Weights, images: np.ndarray, labels: np.ndarray) -> Weights:
        """The weights of a network whose last layer alone was fitted to photos; everything else is the backbone's."""
        from sklearn.linear_model import LogisticRegression

        self._model.set_weights(backbone)
        reading = self.reading(images)
        fitted = LogisticRegression(C=10.0, max_iter=2000).fit(reading, labels)
        return [*backbone[:-2], fitted.coef_.T.astype(np.float32), fitted.intercept_.astype(np.float32)]

    def reading(self, images: np.ndarray) -> np.ndarray:
        """What the layer before the classes says of photos, by the weights put in last: float32 (N, 8)."""
        return self._outputs(images)[1]

    def probabilities(self, weights: Weights, images: np.ndarray) -> np.ndarray:
        """float32 (N, K) of photos (N, INPUT, INPUT, 3) in [0, 255]."""
        self._model.set_weights(weights)
        return self._outputs(images)[2]

    def maps(self, weights: Weights, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Grad-CAM of the last feature map for the target's logit, in closed form: float32 (N, h, w), non-negative.

        Source: Selvaraju et al. Grad-CAM. ICCV 2017, eq. 1-2. The largest over space has slope 1 at
        one place of each channel, so a channel's mean slope is the dense layers' product over the number of places.
        """
        self._model.set_weights(weights)
        features = self._outputs(images)[0]
        to_reading, to_classes = weights[-4], weights[-2]
        slope = (to_reading @ to_classes).T[targets]
        return np.asarray(np.maximum((features * slope[:, None, None, :]).sum(axis=-1), 0))

    def save(self, weights: Weights, path: Path, classes: Sequence[str]) -> None:
        """The network as a `.keras` file, with its class names beside it."""
        self._model.set_weights(weights)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._model.save(path)
        path.with_name(f"{path.stem}.classes.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")

    def _outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """Last feature map, reading and probabilities, in batches of one shape."""
        parts = []
        for start in range(0, len(images), 128):
            batch = images[start : start + 128]
            padded = np.concatenate([batch, np.zeros((128 - len(batch), *batch.shape[1:]), batch.dtype)])
            parts.append([np.asarray(output)[: len(batch)] for output in self._ask(padded)])
        return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _augmented(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Photos mirrored, moved together, and a little brighter or darker each."""
    is_mirrored = rng.uniform(size=len(images)) < 0.5
    turned = np.where(is_mirrored[:, None, None, None], images[:, :, ::-1], images)
    padded = np.pad(turned, ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0)), mode="edge")
    top, left = rng.integers(0, 2 * _SHIFT + 1, 2)
    factors = rng.uniform(0.9, 1.1, (len(images), 1, 1, 1)).astype(np.float32)
    return np.asarray(np.clip(padded[:, top : top + INPUT, left : left + INPUT] * factors, 0, 255))
