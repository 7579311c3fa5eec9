"""A frozen TensorFlow graph, ending before the final softmax or sigmoid."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from audit._graph_folding import folded
from audit._graph_nodes import (
    SCOPE,
    attribute,
    before_activation,
    between,
    ends_in_a_sum,
    kernels,
    on_the_way,
    spatial_operations,
)
from audit.errors import ModelError
from audit.network_ends import (
    activated,
    agree,
    class_rows,
    logits_of,
    n_outputs_of,
    permuted_weights,
    probe_images,
    recovery,
)


class GraphNetwork:
    """A frozen TensorFlow graph: variables are constants, functions are inlined, batch norms are folded.

    The outputs without the final activation and those of the folded graph are held against the graph's own
    on two random images: where they differ, the graph ends where it ended, and batch norms stay.

    Attributes:
        image_shape: height and width.
        n_outputs: outputs before the final activation.
        n_rows: rows that every call must have; None where any number goes.
        feature_layers: names of operations with a spatial output on the way from the input to the output.
        weight_groups: names of constants of two or more dimensions that were kernels.
        activation: "softmax" or "sigmoid", what turns the outputs into probabilities; None if unknown.
        is_folded: batch norms are folded.
    """

    image_shape: tuple[int, int]
    n_outputs: int
    n_rows: int | None
    feature_layers: tuple[str, ...]
    weight_groups: tuple[str, ...]
    activation: str | None
    is_folded: bool

    def __init__(
        self, graph: Any, ends: tuple[str, str], image_shape: tuple[int, int], outputs: str = "auto"
    ) -> None:
        """Looks through a graph.

        Args:
            graph: tf.compat.v1.GraphDef without variables.
            ends: tensor names of the image input, float32 (N, H, W, 3), and of the output, (N, K) or (N,). The
                input may lie inside the graph; what comes before it is left away.
            image_shape: height and width.
            outputs: "auto", "softmax", "sigmoid" or "logits": what the outputs are.

        Raises:
            ModelError: the output is not a row of classes an image, or depends on another input too.
        """
        self.image_shape = image_shape
        self._output, self.activation = ends[1], None
        self._graph, self._input = between(graph, *ends)
        self._folded: Any = None
        self._absorbed: frozenset[str] = frozenset()
        self._recovers = False
        probe = probe_images(image_shape)
        self.n_rows = self._required_rows(probe)
        own, _ = self._probed(probe)
        nodes = {node.name: node for node in self._graph.node}
        self._output, self.activation = before_activation(nodes, ends[1])
        logits, traced = self._probed(probe)
        if not agree(activated(logits, self.activation), own):
            self._output, self.activation = ends[1], None
            logits, traced = self._probed(probe)
        way = on_the_way(nodes, self._input, self._output)
        self.feature_layers = tuple(spatial_operations(traced, way))
        self.weight_groups = tuple(kernels(nodes, way))
        self._fold()
        if self.is_folded and not agree(self._probed(probe)[0], logits):
            self._folded, self._absorbed, self.is_folded = None, frozenset(), False
        self.activation, self._recovers = recovery(self.activation, outputs, logits)
        if outputs == "auto" and self.activation is None and not ends_in_a_sum(nodes, self._output):
            _check_no_shares(logits)
        self.n_outputs = n_outputs_of(logits.shape, self.activation)

    def __call__(self, inputs: Any, layers: Sequence[str] = ()) -> tuple[Any, list[Any]]:
        """Outputs (B, n_outputs) before softmax or sigmoid, and the outputs of `layers`."""
        import tensorflow as tf

        # A layer that a fold took in exists only in the graph as it was.
        is_plain = self._folded is None or not self._absorbed.isdisjoint(layers)
        wanted = [self._output, *(f"{layer}:0" for layer in layers)]
        logits, *activations = tf.graph_util.import_graph_def(
            self._graph if is_plain else self._folded,
            input_map={self._input: inputs},
            return_elements=wanted,
            name=SCOPE,
        )
        rows = class_rows(logits, self.n_rows)
        return logits_of(rows, self.activation) if self._recovers else rows, activations

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
        if self.is_folded:
            drawn._fold()
        return drawn

    def _fold(self) -> None:
        found = folded(self._graph, self._input, self._output)
        self.is_folded = found is not None
        self._folded, self._absorbed = found or (None, frozenset())

    def _required_rows(self, probe: np.ndarray) -> int | None:
        """Rows that every call must have, as the input states or as calls of two rows and of one show."""
        import tensorflow as tf

        (node,) = [node for node in self._graph.node if f"{node.name}:0" == self._input]
        stated = [axis.size for axis in attribute(node, "shape").shape.dim][:1]
        if stated and stated[0] > 0:
            return int(stated[0])
        for images, n_rows in ((probe, None), (probe[:1], 1)):
            try:
                outputs = self._evaluated(images, n_rows)[0]
                if n_rows is None and outputs.shape[1:] == (1,):
                    # A row of two numbers looks like two rows of one; it does not look like three.
                    images = np.concatenate([probe, probe[:1]])
                    outputs = self._evaluated(images, n_rows)[0]
            except (ValueError, tf.errors.InvalidArgumentError) as error:
                cause = next(iter(str(error).splitlines()), "")
            else:
                if len(outputs) == len(images):
                    return n_rows
                cause = f"{len(images)} images give outputs of shape {outputs.shape}"
        raise ModelError(f"the model cannot be run on images {self.image_shape}: {cause[:300]}")

    def _probed(self, probe: np.ndarray) -> tuple[np.ndarray, Any]:
        """Outputs of the probe images, and the graph that was traced for them."""
        size = self.n_rows or len(probe)
        calls = [np.resize(probe[start:], (size, *probe.shape[1:])) for start in range(0, len(probe), size)]
        outputs = [self._evaluated(call, self.n_rows) for call in calls]
        return np.concatenate([rows for rows, _ in outputs])[: len(probe)], outputs[0][1]

    def _evaluated(self, images: np.ndarray, n_rows: int | None) -> tuple[np.ndarray, Any]:
        """Outputs of one call with `n_rows` as the required rows."""
        import tensorflow as tf

        called = copy.copy(self)
        called.n_rows = n_rows
        traced = tf.function(lambda inputs: called(inputs)[0], autograph=False).get_concrete_function(
            tf.TensorSpec(images.shape, tf.float32)
        )
        return np.atleast_1d(traced(tf.constant(images)).numpy()), traced.graph


def _check_no_shares(outputs: np.ndarray) -> None:
    """Refuses to guess where outputs may be probabilities of an activation that is not recognised."""
    if ((outputs >= 0) & (outputs <= 1)).all():
        raise ModelError(
            "its outputs lie in [0, 1] and come from no final layer that is known, so they may be probabilities or "
            'scores; state model.outputs = "sigmoid" or "logits"'
        )
