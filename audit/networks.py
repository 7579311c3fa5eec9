"""Networks behind the Classifier: a Keras model walked operation by operation, and a frozen TensorFlow graph.

Both end before the final softmax or sigmoid. Where outputs are probabilities and their activation cannot be
found (it is inside a subclassed model), logits are recovered as log p or log(p / (1 - p)).
"""

import copy
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from audit._graph_nodes import SCOPE, before_activation, is_spatial, kernels, on_the_way, spatial_operations
from audit._keras_steps import (
    INPUT,
    Fold,
    Step,
    convolved,
    is_depthwise,
    is_foldable_norm,
    outputs_of,
    taken_apart,
    takes_a_norm,
    variables_of,
    whole,
)
from audit.errors import ModelError

TOLERANCE = 1e-4
"""Largest difference of a walk's outputs from the model's own, relative to the largest output."""


class KerasNetwork:
    """A Keras model for inference, with batch norms folded into the convolutions before them.

    Functional and Sequential models, nested to any depth, are walked; other models are called as a whole and
    have no feature layers. The result of the walk is held against the model's own on two random images: where
    they differ, the model is called as a whole; where folding makes a difference, batch norms stay.

    Attributes:
        image_shape: height and width.
        n_outputs: outputs before the final activation.
        feature_layers: names of spatial layers on the way to the output; nested ones as "backbone/name".
        weight_groups: names of layers with weights.
        activation: "softmax" or "sigmoid", what turns the outputs into probabilities; None if unknown.
        is_folded: batch norms are folded.
    """

    image_shape: tuple[int, int]
    n_outputs: int
    feature_layers: tuple[str, ...]
    weight_groups: tuple[str, ...]
    activation: str | None
    is_folded: bool

    def __init__(self, model: Any, image_shape: tuple[int, int] | None = None, outputs: str = "auto") -> None:
        """Takes a model apart; the model stays as it is.

        Args:
            model: keras.Model with one image input (N, H, W, 3) and one output (N, K).
            image_shape: height and width where the model leaves them open.
            outputs: "auto", "softmax", "sigmoid" or "logits": what the model's outputs are.

        Raises:
            ModelError: the model is of another form.
        """
        # A subclassed model does not state its input.
        is_stated = bool(getattr(model, "inputs", None))
        stated = model.input_shape if is_stated else (None, *(image_shape or (None, None)), 3)
        self.image_shape = image_shape_of(stated, image_shape)
        probe = _probe(self.image_shape)
        self._replaced: dict[int, np.ndarray] = {}
        self._folds: dict[int, Fold] = {}
        self._steps, self._output, self.activation = taken_apart(model)
        if any(getattr(step.operation, "data_format", "") == "channels_first" for step in self._steps):
            raise ModelError(
                "expected a model with channels last, (N, H, W, C); found layers with channels first"
            )
        own = _own_outputs(model, probe)
        values = self._values(probe)
        if not _agree(_activated(values[self._output], self.activation), own):
            self._steps, self._output, self.activation = (whole(model),), 1, None
            values = self._values(probe)
        logits = values[self._output]
        self._folds = self._constants()
        self.is_folded = bool(self._folds) and _agree(self._values(probe)[self._output], logits)
        if not self.is_folded:
            self._folds = {}
        self.activation, self._recovers = _recovery(self.activation, outputs, np.asarray(logits))
        self.n_outputs = _n_outputs(tuple(logits.shape), self.activation)
        self.feature_layers = tuple(
            step.name for step in self._steps if is_spatial(tuple(values[step.writes[0]].shape))
        )
        self.weight_groups = tuple(step.name for step in self._weighted())

    def __call__(self, inputs: Any, layers: Sequence[str] = ()) -> tuple[Any, list[Any]]:
        """Outputs (B, n_outputs) before softmax or sigmoid, and the outputs of `layers`."""
        values = self._values(inputs, frozenset(layers))
        keys = {step.name: step.writes[0] for step in self._steps}
        logits = values[self._output]
        return _logits_of(logits, self.activation) if self._recovers else logits, [
            values[keys[layer]] for layer in layers
        ]

    def randomised(self, groups: Sequence[str], seed: int) -> "KerasNetwork":
        """The same network with the weights of `groups` drawn anew, by permuting the values they have.

        So each kernel keeps its mean and spread, and activations stay alive. Vectors of one layer are
        permuted alike, so that a batch norm keeps the ratios of its scale and its variance. The draw of a
        group depends on the seed and the group alone.
        """
        drawn = copy.copy(self)
        drawn._replaced = dict(self._replaced)
        for step in self._weighted():
            if step.name in groups:
                rng = np.random.default_rng([seed, self.weight_groups.index(step.name)])
                variables = variables_of(step.operation)
                permuted = permuted_weights([self._weight(variable) for variable in variables], rng)
                drawn._replaced.update(
                    {id(variable): value for variable, value in zip(variables, permuted, strict=True)}
                )
        if self.is_folded:
            drawn._folds = drawn._constants()
        return drawn

    def _values(self, inputs: Any, wanted: frozenset[str] = frozenset()) -> dict[int, Any]:
        """Values of a walk by key; a convolution that a batch norm absorbed has none unless it is wanted."""
        import keras

        values = {INPUT: inputs}
        absorbed = {
            fold.source
            for fold in self._folds.values()
            if fold.source is not None and self._steps[fold.source].name not in wanted
        }
        mapping = [(v, self._replaced[id(v)]) for v in self._all_variables() if id(v) in self._replaced]
        with keras.StatelessScope(state_mapping=mapping):
            for index, step in enumerate(self._steps):
                if index in absorbed:
                    continue
                fold = self._folds.get(index)
                if fold is None or (fold.source is not None and fold.source not in absorbed):
                    outputs = outputs_of(step, values)
                elif fold.source is None:
                    outputs = [values[next(iter(step.reads.values()))] * fold.scale + fold.offset]
                else:
                    source = self._steps[fold.source]
                    outputs = [convolved(source.operation, values[next(iter(source.reads.values()))], fold)]
                values.update(zip(step.writes, outputs, strict=True))
        return values

    def _constants(self) -> dict[int, Fold]:
        """Index of a batch norm's step -> the constants that take its place."""
        readers: dict[int, list[int]] = {}
        producers = {key: index for index, step in enumerate(self._steps) for key in step.writes}
        for index, step in enumerate(self._steps):
            for key in step.reads.values():
                readers.setdefault(key, []).append(index)
        folds = {}
        for index, step in enumerate(self._steps):
            if is_foldable_norm(step):
                (key,) = step.reads.values()
                source = producers.get(key)
                is_alone = readers[key] == [index] and key != self._output
                takes = source is not None and is_alone and takes_a_norm(self._steps[source].operation)
                folds[index] = self._fold(step.operation, source if takes else None)
        return folds

    def _fold(self, norm: Any, source: int | None) -> Fold:
        """The constants of a batch norm; computed in float64, rounded once."""
        import tensorflow as tf

        mean, variance = self._weight(norm.moving_mean), self._weight(norm.moving_variance)
        scale = (self._weight(norm.gamma) if norm.scale else 1.0) / np.sqrt(variance + norm.epsilon)
        offset = (self._weight(norm.beta) if norm.center else 0.0) - mean * scale
        if source is not None:
            layer = self._steps[source].operation
            kernel = self._weight(layer.kernel)
            if layer.use_bias:
                offset = offset + self._weight(layer.bias) * scale
            # The output channels of a depthwise kernel (h, w, C, multiplier) are its last two axes.
            scale = kernel * scale.reshape(kernel.shape[2:] if is_depthwise(layer) else (-1,))
        return Fold(source, tf.constant(scale, tf.float32), tf.constant(offset, tf.float32))

    def _weight(self, variable: Any) -> np.ndarray:
        """float64 values of a variable in this network."""
        import keras

        value = self._replaced.get(id(variable))
        return np.asarray(keras.ops.convert_to_numpy(variable) if value is None else value, dtype=np.float64)

    def _weighted(self) -> Iterator[Step]:
        """The steps with weights, each operation once."""
        seen = set()
        for step in self._steps:
            if variables_of(step.operation) and id(step.operation) not in seen:
                seen.add(id(step.operation))
                yield step

    def _all_variables(self) -> Iterator[Any]:
        return itertools.chain.from_iterable(variables_of(step.operation) for step in self._weighted())


class GraphNetwork:
    """A frozen TensorFlow graph: variables are constants, functions are inlined.

    Attributes:
        image_shape: height and width.
        n_outputs: outputs before the final activation.
        feature_layers: names of operations with a spatial output on the way from the input to the output.
        weight_groups: names of constants of two or more dimensions that were kernels.
        activation: "softmax" or "sigmoid", what turns the outputs into probabilities; None if unknown.
    """

    image_shape: tuple[int, int]
    n_outputs: int
    feature_layers: tuple[str, ...]
    weight_groups: tuple[str, ...]
    activation: str | None

    def __init__(
        self, graph: Any, ends: tuple[str, str], image_shape: tuple[int, int], outputs: str = "auto"
    ) -> None:
        """Looks through a graph.

        Args:
            graph: tf.compat.v1.GraphDef without variables.
            ends: tensor names of the image input (N, H, W, 3) and of the output (N, K).
            image_shape: height and width.
            outputs: "auto", "softmax", "sigmoid" or "logits": what the outputs are.

        Raises:
            ModelError: the output is not (N, K).
        """
        import tensorflow as tf

        self.image_shape = image_shape
        self._graph = graph
        self._input, output = ends
        nodes = {node.name: node for node in graph.node}
        self._output, self.activation = before_activation(nodes, output)
        self._recovers = False
        probe = _probe(image_shape)
        traced = tf.function(lambda inputs: self(inputs)[0], autograph=False).get_concrete_function(
            tf.TensorSpec(probe.shape, tf.float32)
        )
        logits = traced(tf.constant(probe)).numpy()
        self.activation, self._recovers = _recovery(self.activation, outputs, logits)
        self.n_outputs = _n_outputs(logits.shape, self.activation)
        way = on_the_way(nodes, self._input, self._output)
        self.feature_layers = tuple(spatial_operations(traced.graph, way))
        self.weight_groups = tuple(kernels(nodes, way))

    def __call__(self, inputs: Any, layers: Sequence[str] = ()) -> tuple[Any, list[Any]]:
        """Outputs (B, n_outputs) before softmax or sigmoid, and the outputs of `layers`."""
        import tensorflow as tf

        wanted = [self._output, *(f"{layer}:0" for layer in layers)]
        logits, *activations = tf.graph_util.import_graph_def(
            self._graph, input_map={self._input: inputs}, return_elements=wanted, name=SCOPE
        )
        return _logits_of(logits, self.activation) if self._recovers else logits, activations

    def randomised(self, groups: Sequence[str], seed: int) -> "GraphNetwork":
        """The same network with the kernels of `groups` drawn anew, by permuting the values they have.

        So each kernel keeps its mean and spread. The draw of a group depends on the seed and the group alone.
        """
        import tensorflow as tf

        graph = tf.compat.v1.GraphDef()
        graph.CopyFrom(self._graph)
        for node in graph.node:
            if node.name in groups:
                rng = np.random.default_rng([seed, self.weight_groups.index(node.name)])
                (permuted,) = permuted_weights([tf.make_ndarray(node.attr["value"].tensor)], rng)
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(permuted))
        drawn = copy.copy(self)
        drawn._graph = graph
        return drawn


def permuted_weights(weights: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """The weights of a layer with their values in another order, the same for all vectors of one length."""
    orders: dict[int, np.ndarray] = {}
    drawn = []
    for weight in weights:
        if weight.ndim < 2:
            order = orders.setdefault(weight.size, rng.permutation(weight.size))
        else:
            order = rng.permutation(weight.size)
        drawn.append(weight.ravel()[order].reshape(weight.shape).astype(np.float32))
    return drawn


def _probe(image_shape: tuple[int, int]) -> np.ndarray:
    """Two random images, one in [0, 1], one in [0, 255]: a model is fed one or the other."""
    images = np.random.default_rng(0).random((2, *image_shape, 3), dtype=np.float32)
    return np.asarray(images * np.array([1, 255]).reshape(2, 1, 1, 1), dtype=np.float32)


def image_shape_of(found: Any, asked: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of a model's input.

    Args:
        found: shape of the input as the model states it, None where it leaves an axis open.
        asked: height and width of the configuration, if it has any.

    Raises:
        ModelError: the input has not three channels, is left open, or is not of the size asked for.
    """
    if not isinstance(found, tuple) or len(found) != 4 or found[3] not in (3, None):
        raise ModelError(f"expected one input of RGB images, (N, height, width, 3); the model takes {found}")
    own = found[1:3]
    if asked is None and None in own:
        raise ModelError(
            "the model leaves the size of its input open; give model.input_size = [height, width]"
        )
    if asked is not None and any(mine not in (None, wanted) for mine, wanted in zip(own, asked, strict=True)):
        raise ModelError(
            f"model.input_size is {list(asked)}, but the model's input is (height, width) = {own}"
        )
    height, width = asked or own
    return int(height), int(width)


def _n_outputs(shape: tuple[int, ...], activation: str | None) -> int:
    if len(shape) != 2:
        raise ModelError(
            f"expected an output of one row of classes an image, (N, K); the model gives {shape}"
        )
    if activation == "softmax" and shape[1] == 1:
        raise ModelError(
            "the model ends in a softmax over one unit, which is always 1; a binary model ends in a sigmoid"
        )
    return int(shape[1])


def _own_outputs(model: Any, probe: np.ndarray) -> Any:
    import keras

    outputs = keras.tree.flatten(model(probe, training=False))
    if len(outputs) != 1:
        raise ModelError(f"expected a model with one output, the classes; found {len(outputs)} outputs")
    return outputs[0]


def _agree(found: Any, expected: Any) -> bool:
    """Whether outputs are the same but for rounding."""
    difference = np.abs(np.asarray(found) - np.asarray(expected)).max()
    return bool(difference <= TOLERANCE * np.abs(np.asarray(expected)).max())


def _activated(logits: Any, activation: str | None) -> Any:
    import tensorflow as tf

    if activation == "softmax":
        return tf.nn.softmax(logits)
    return tf.nn.sigmoid(logits) if activation == "sigmoid" else logits


def _recovery(found: str | None, stated: str, values: np.ndarray) -> tuple[str | None, bool]:
    """The activation that gives the model's outputs, and whether `values` still lie behind it.

    Raises:
        ModelError: what is stated contradicts what was found.
    """
    if found is not None:
        if stated not in ("auto", found):
            raise ModelError(
                f"model.outputs is {stated!r}, but the model ends in a {found}; leave model.outputs away"
            )
        return found, False
    if stated == "logits" or values.ndim != 2:
        return None, False
    are_shares = bool(((values >= 0) & (values <= 1)).all())
    are_distributions = (
        are_shares and values.shape[1] > 1 and bool(np.allclose(values.sum(axis=1), 1, atol=1e-3))
    )
    if stated in ("auto", "softmax") and are_distributions:
        return "softmax", True
    if stated == "sigmoid" and are_shares:
        return "sigmoid", True
    return (None if stated == "auto" else stated), False


def _logits_of(probabilities: Any, activation: str | None) -> Any:
    """Logits that give the probabilities; at 0 and 1, where there are none, those of the nearest float32."""
    import tensorflow as tf

    held = tf.clip_by_value(tf.cast(probabilities, tf.float32), float(np.finfo(np.float32).tiny), 1.0)
    if activation == "softmax":
        return tf.math.log(held)
    return tf.math.log(held) - tf.math.log(tf.maximum(1.0 - held, float(np.finfo(np.float32).epsneg)))
