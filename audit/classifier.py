"""The only seam to a model: logits, probabilities, gradients; numpy in and out, a traced graph a purpose."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Protocol

import numpy as np

from audit.errors import ModelError


class Head(StrEnum):
    """What the network's outputs before the final activation mean."""

    SOFTMAX = "softmax"
    """One of K classes."""
    SIGMOID = "sigmoid"
    """K independent classes (multi-label)."""
    BINARY = "binary"
    """One output z for two classes: the columns of the logits are -z and z; probabilities are sigmoids."""


@dataclass(frozen=True)
class Preprocessing:
    """Images in [0, 1] to the model's input: channel order first, then `image * scale + offset`.

    Attributes:
        scale: per channel of the model's input.
        offset: per channel of the model's input.
        is_reversed: the model's input is BGR.
    """

    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    is_reversed: bool = False


class Network(Protocol):
    """A differentiable TensorFlow function, called only while a graph is traced."""

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of the input."""
        ...

    @property
    def n_outputs(self) -> int:
        """Outputs before the final activation."""
        ...

    @property
    def feature_layers(self) -> tuple[str, ...]:
        """Names of layers whose output is spatial, (B, h, w, C), in order from input to output."""
        ...

    @property
    def weight_groups(self) -> tuple[str, ...]:
        """Names of layers with weights, in order from input to output."""
        ...

    def __call__(self, inputs: Any, layers: Sequence[str] = ()) -> tuple[Any, list[Any]]:
        """Outputs (B, n_outputs) before softmax or sigmoid, and the outputs of `layers`."""
        ...

    def randomised(self, groups: Sequence[str], seed: int) -> "Network":
        """The same network with the weights of `groups` drawn anew."""
        ...


class Classifier:
    """A network with its preprocessing, run in calls of one fixed batch shape.

    Every method takes any number of rows B, splits them into calls of `batch_size` rows, pads the last one,
    and returns rows that do not depend on the others of their call. "Score" is what is explained: the
    target's logit, or its probability where `explain` is "probability". Several threads may call at once.

    Attributes:
        n_classes: K; 2 for a binary head.
        image_shape: height and width of the images.
        head: what the outputs mean.
        batch_size: rows of every call of the network; halved for good where a call exhausts the memory.
        callers: calls that are best in flight at once.
        feature_layer: the layer of `features` and `layer_gradients` by default; None where none is spatial.
    """

    n_classes: int
    image_shape: tuple[int, int]
    head: Head
    batch_size: int
    callers: int
    feature_layer: str | None

    def __init__(
        self,
        network: Network,
        preprocessing: Preprocessing,
        *,
        head: Head = Head.SOFTMAX,
        explain: str = "logit",
        batch_size: int = 16,
        callers: int = 2,
        feature_layer: str | None = None,
    ) -> None:
        _check_options(network, head, explain, batch_size, callers)
        self.n_classes = 2 if head is Head.BINARY else network.n_outputs
        self.image_shape = network.image_shape
        self.head = head
        self.batch_size = batch_size
        self.feature_layer = feature_layer or next(reversed(network.feature_layers), None)
        self._network = network
        self._preprocessing = preprocessing
        self._explain = explain
        self.callers = callers
        self._functions: dict[tuple[int, str, str], Callable[..., Any]] = {}
        self._lock = threading.Lock()
        if feature_layer is not None:
            self._check_layer(feature_layer)

    @property
    def feature_layers(self) -> tuple[str, ...]:
        """Layers that `layer_gradients` accepts, in order from input to output."""
        return self._network.feature_layers

    @property
    def weight_groups(self) -> tuple[str, ...]:
        """Groups of weights that `randomised` accepts, in order from input to output."""
        return self._network.weight_groups

    def randomised(self, groups: Sequence[str], seed: int) -> "Classifier":
        """The same classifier with the weights of `groups` drawn anew; this one stays as it is.

        Raises:
            ValueError: a group is unknown.
        """
        unknown = [group for group in groups if group not in self.weight_groups]
        if unknown:
            raise ValueError(
                f"weight groups {unknown} are unknown; the network has {', '.join(self.weight_groups)}"
            )
        return Classifier(
            self._network.randomised(groups, seed),
            self._preprocessing,
            head=self.head,
            explain=self._explain,
            batch_size=self.batch_size,
            callers=self.callers,
            feature_layer=self.feature_layer,
        )

    def logits(self, images: np.ndarray) -> np.ndarray:
        """float32 (B, K) of images float32 (B, H, W, 3) in [0, 1]."""
        (logits,) = self._run("logits", "", self._checked_images(images))
        return logits

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """float64 (B, K) in [0, 1]; rows sum to 1 unless the head is SIGMOID."""
        return self._probabilities_of(self.logits(images))

    def scores(self, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """float64 (B,), the explained score."""
        wanted = self._checked_targets(targets, images)
        return self._scores_of(self.logits(images), wanted)

    def input_gradients(self, images: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores float64 (B,) and the gradient of the score by the image, float32 (B, H, W, 3)."""
        rows, wanted = self._checked_images(images), self._checked_targets(targets, images)
        logits, gradients = self._run("gradients", "", rows, wanted)
        return self._scores_of(logits, wanted), gradients

    def directional_gradients(
        self, images: np.ndarray, directions: np.ndarray, targets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores float64 (B,) and gradient * direction summed over channels, float32 (B, H, W)."""
        rows, wanted = self._checked_images(images), self._checked_targets(targets, images)
        if directions.shape != images.shape:
            raise ValueError(f"directions {directions.shape} and images {images.shape} must have one shape")
        logits, products = self._run(
            "directional", "", rows, wanted, np.asarray(directions, dtype=np.float32)
        )
        return self._scores_of(logits, wanted), products

    def layer_gradients(
        self, images: np.ndarray, targets: np.ndarray, layer: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Activations and score gradients float32 (B, h, w, C) of `layer`, by default the last spatial one.

        Raises:
            ModelError: the network has no such layer, or no spatial layer at all.
        """
        rows, wanted = self._checked_images(images), self._checked_targets(targets, images)
        activations, gradients = self._run("layer", self._layer(layer), rows, wanted)
        return activations, gradients

    def features(self, images: np.ndarray) -> np.ndarray:
        """float32 (B, D), the last spatial feature map averaged over space (the model's own embedding).

        Raises:
            ModelError: the network has no spatial layer.
        """
        return self._run("features", self._layer(None), self._checked_images(images))[0]

    def feature_statistics(self, images: np.ndarray) -> np.ndarray:
        """float32 (B, 3 * D), mean, standard deviation and largest value over space of the last spatial feature map.

        Raises:
            ModelError: the network has no spatial layer.
        """
        return np.concatenate(self._run("features", self._layer(None), self._checked_images(images)), axis=1)

    def _probabilities_of(self, logits: np.ndarray) -> np.ndarray:
        values = logits.astype(np.float64)
        if self.head is Head.SOFTMAX:
            return np.asarray(np.exp(values - np.logaddexp.reduce(values, axis=1, keepdims=True)))
        return np.asarray(np.exp(-np.logaddexp(0.0, -values)))

    def _scores_of(self, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        values = logits.astype(np.float64) if self._explain == "logit" else self._probabilities_of(logits)
        return np.asarray(values[np.arange(len(targets)), targets])

    def _run(self, purpose: str, layer: str, *arrays: np.ndarray) -> list[np.ndarray]:
        """Rows of the outputs of a traced function; calls that exhaust the memory are made again with half the rows.

        Raises:
            ModelError: one row alone exhausts the memory, or the network takes no other number of rows.
        """
        import tensorflow as tf

        while True:
            rows = self.batch_size
            try:
                return self._run_in(rows, purpose, layer, *arrays)
            except (MemoryError, tf.errors.ResourceExhaustedError):
                if rows == 1 or getattr(self._network, "n_rows", None) is not None:
                    raise ModelError(
                        f"expected memory for a call of the model with {rows} pictures, found too little; use fewer "
                        "workers, or a machine with more memory"
                    ) from None
                with self._lock:  # another caller may have halved it already
                    self.batch_size = min(self.batch_size, rows // 2)

    def _run_in(self, rows: int, purpose: str, layer: str, *arrays: np.ndarray) -> list[np.ndarray]:
        """Rows of the outputs, in calls of `rows` rows, up to `callers` of them at once."""
        function = self._function(rows, purpose, layer)
        n_rows = len(arrays[0])

        def call(start: int) -> list[np.ndarray]:
            stop = min(start + rows, n_rows)
            outputs = function(*(_padded(array[start:stop], rows) for array in arrays))
            return [output.numpy()[: stop - start] for output in outputs]

        # An empty batch makes one call of padding, which knows the shapes of what it returns.
        starts = range(0, max(n_rows, 1), rows)
        if len(starts) == 1 or self.callers == 1:
            calls = [call(start) for start in starts]
        else:
            # Two calls in flight use two cores better than one call split over them.
            with ThreadPoolExecutor(min(self.callers, len(starts))) as pool:
                calls = list(pool.map(call, starts))
        return calls[0] if len(calls) == 1 else [np.concatenate(parts) for parts in zip(*calls, strict=True)]

    def _function(self, rows: int, purpose: str, layer: str) -> Callable[..., Any]:
        """The traced function of a purpose, traced once in the life of this object for a number of rows."""
        with self._lock:
            if (rows, purpose, layer) not in self._functions:
                self._functions[rows, purpose, layer] = self._trace(rows, purpose, layer)
            return self._functions[rows, purpose, layer]

    def _trace(self, rows: int, purpose: str, layer: str) -> Callable[..., Any]:
        import tensorflow as tf

        images = tf.TensorSpec((rows, *self.image_shape, 3), tf.float32)
        targets = tf.TensorSpec((rows,), tf.int64)
        body, signature = {
            "logits": (self._logits_graph, [images]),
            "gradients": (self._gradients_graph, [images, targets]),
            "directional": (self._directional_graph, [images, targets, images]),
            "layer": (lambda *inputs: self._layer_graph(layer, *inputs), [images, targets]),
            "features": (lambda inputs: self._features_graph(layer, inputs), [images]),
        }[purpose]
        # Not compiled by XLA, which is many times slower on CPUs.
        traced = tf.function(body, input_signature=signature, autograph=False, jit_compile=False)
        concrete = traced.get_concrete_function()

        def function(*arrays: np.ndarray) -> Any:
            return concrete(*(tf.constant(array) for array in arrays))

        return function

    def _forward(self, images: Any, layers: Sequence[str] = ()) -> tuple[Any, list[Any]]:
        """Logits (B, K) and layer outputs of a tensor of images."""
        import tensorflow as tf

        ordered = tf.reverse(images, axis=[-1]) if self._preprocessing.is_reversed else images
        inputs = ordered * tf.constant(self._preprocessing.scale, tf.float32)
        outputs, activations = self._network(
            inputs + tf.constant(self._preprocessing.offset, tf.float32), layers
        )
        logits = tf.cast(outputs, tf.float32)
        return tf.concat([-logits, logits], axis=1) if self.head is Head.BINARY else logits, activations

    def _score_graph(self, logits: Any, targets: Any) -> Any:
        import tensorflow as tf

        values = logits
        if self._explain == "probability":
            values = tf.nn.softmax(logits) if self.head is Head.SOFTMAX else tf.nn.sigmoid(logits)
        # Summed over rows: each row's gradient then is its own, since no row reads another.
        return tf.reduce_sum(tf.gather(values, targets, axis=1, batch_dims=1))

    def _logits_graph(self, images: Any) -> list[Any]:
        return [self._forward(images)[0]]

    def _gradients_graph(self, images: Any, targets: Any) -> list[Any]:
        import tensorflow as tf

        logits, _ = self._forward(images)
        (gradient,) = tf.gradients(self._score_graph(logits, targets), images, unconnected_gradients="zero")
        return [logits, gradient]

    def _directional_graph(self, images: Any, targets: Any, directions: Any) -> list[Any]:
        import tensorflow as tf

        logits, gradient = self._gradients_graph(images, targets)
        return [logits, tf.reduce_sum(gradient * directions, axis=-1)]

    def _layer_graph(self, layer: str, images: Any, targets: Any) -> list[Any]:
        import tensorflow as tf

        logits, (activation,) = self._forward(images, [layer])
        (gradient,) = tf.gradients(
            self._score_graph(logits, targets), activation, unconnected_gradients="zero"
        )
        return [tf.cast(activation, tf.float32), tf.cast(gradient, tf.float32)]

    def _features_graph(self, layer: str, images: Any) -> list[Any]:
        import tensorflow as tf

        _, (activation,) = self._forward(images, [layer])
        values = tf.cast(activation, tf.float32)
        return [of(values, axis=[1, 2]) for of in (tf.reduce_mean, tf.math.reduce_std, tf.reduce_max)]

    def _layer(self, layer: str | None) -> str:
        """A checked layer name, by default the last spatial one."""
        if layer is not None:
            return self._check_layer(layer)
        if self.feature_layer is None:
            raise ModelError(
                "the model has no spatial feature map (a layer's output of height x width > 1), which "
                "grad_cam and the model's features need; use a gradient method such as integrated_gradients"
            )
        return self.feature_layer

    def _check_layer(self, layer: str) -> str:
        layers = self._network.feature_layers
        if layer not in layers:
            near = get_close_matches(layer, layers, n=1, cutoff=0.5)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            found = ", ".join(layers[-5:]) or "none"
            raise ModelError(
                f"the model has no spatial layer {layer!r}{hint}; its last spatial layers are: {found}"
            )
        return layer

    def _checked_images(self, images: np.ndarray) -> np.ndarray:
        expected = (*self.image_shape, 3)
        if images.ndim != 4 or images.shape[1:] != expected or not np.issubdtype(images.dtype, np.floating):
            raise ValueError(f"images must be float32 (B, *{expected}), found {images.dtype} {images.shape}")
        return np.asarray(images, dtype=np.float32)

    def _checked_targets(self, targets: np.ndarray, images: np.ndarray) -> np.ndarray:
        if targets.shape != images.shape[:1] or not np.issubdtype(targets.dtype, np.integer):
            expected = f"int64 ({len(images)},)"
            raise ValueError(f"targets must be {expected}, found {targets.dtype} {targets.shape}")
        if ((targets < 0) | (targets >= self.n_classes)).any():
            raise ValueError(
                f"targets must lie in [0, {self.n_classes}), found {targets.min()} to {targets.max()}"
            )
        return np.asarray(targets, dtype=np.int64)


def _check_options(network: Network, head: Head, explain: str, batch_size: int, callers: int) -> None:
    if explain not in ("logit", "probability"):
        raise ValueError(f"explain must be 'logit' or 'probability', found {explain!r}")
    if batch_size < 1 or callers < 1:
        raise ValueError(f"batch_size and callers must be at least 1, found {batch_size} and {callers}")
    expected = {Head.BINARY: network.n_outputs == 1, Head.SOFTMAX: network.n_outputs >= 2, Head.SIGMOID: True}
    if not expected[head]:
        raise ValueError(f"a {head} head does not go with {network.n_outputs} outputs")


def _padded(rows: np.ndarray, n_rows: int) -> np.ndarray:
    """`rows` with rows of zeros behind them, n_rows in all."""
    if len(rows) == n_rows:
        return rows
    padded = np.zeros((n_rows, *rows.shape[1:]), dtype=rows.dtype)
    padded[: len(rows)] = rows
    return padded
