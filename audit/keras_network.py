"""A Keras model walked operation by operation, ending before the final softmax or sigmoid."""

import copy
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from audit._graph_nodes import is_spatial
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
from audit.network_ends import (
    activated,
    agree,
    class_rows,
    image_shape_of,
    logits_of,
    n_outputs_of,
    permuted_weights,
    probe_images,
    recovery,
)


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
        probe = probe_images(self.image_shape)
        self._replaced: dict[int, np.ndarray] = {}
        self._folds: dict[int, Fold] = {}
        self._steps, self._output, self.activation = taken_apart(model)
        if any(getattr(step.operation, "data_format", "") == "channels_first" for step in self._steps):
            raise ModelError(
                "expected a model with channels last, (N, H, W, C); found layers with channels first"
            )
        own = class_rows(_own_outputs(model, probe), None)
        values = self._values(probe)
        if not agree(activated(self._scores(values), self.activation), own):
            self._steps, self._output, self.activation = (whole(model),), 1, None
            values = self._values(probe)
        logits = self._scores(values)
        self._folds = self._constants()
        self.is_folded = bool(self._folds) and agree(self._scores(self._values(probe)), logits)
        if not self.is_folded:
            self._folds = {}
        self.activation, self._recovers = recovery(self.activation, outputs, np.asarray(logits))
        self.n_outputs = n_outputs_of(tuple(logits.shape), self.activation)
        self.feature_layers = tuple(
            step.name for step in self._steps if is_spatial(tuple(values[step.writes[0]].shape))
        )
        self.weight_groups = tuple(step.name for step in self._weighted())

    def __call__(self, inputs: Any, layers: Sequence[str] = ()) -> tuple[Any, list[Any]]:
        """Outputs (B, n_outputs) before softmax or sigmoid, and the outputs of `layers`."""
        values = self._values(inputs, frozenset(layers))
        keys = {step.name: step.writes[0] for step in self._steps}
        logits = self._scores(values)
        return logits_of(logits, self.activation) if self._recovers else logits, [
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

    def _scores(self, values: dict[int, Any]) -> Any:
        """The outputs of a walk as rows of classes."""
        return class_rows(values[self._output], None)

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


def _own_outputs(model: Any, probe: np.ndarray) -> Any:
    import keras

    outputs = keras.tree.flatten(model(probe, training=False))
    if len(outputs) != 1:
        raise ModelError(f"expected a model with one output, the classes; found {len(outputs)} outputs")
    return outputs[0]
