"""A frozen TensorFlow graph, ending before the final softmax or sigmoid."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from audit._graph_nodes import SCOPE, before_activation, kernels, on_the_way, spatial_operations
from audit.network_ends import logits_of, n_outputs_of, permuted_weights, probe_images, recovery


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
        probe = probe_images(image_shape)
        traced = tf.function(lambda inputs: self(inputs)[0], autograph=False).get_concrete_function(
            tf.TensorSpec(probe.shape, tf.float32)
        )
        logits = traced(tf.constant(probe)).numpy()
        self.activation, self._recovers = recovery(self.activation, outputs, logits)
        self.n_outputs = n_outputs_of(logits.shape, self.activation)
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
        return logits_of(logits, self.activation) if self._recovers else logits, activations

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
