"""Frozen graphs: where they can be cut and where they end; batch norms that go into kernels change no number."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from audit._graph_folding import folded
from audit._graph_nodes import between, narrow_places
from audit.classifier import Head
from audit.errors import ModelError
from audit.graph_network import GraphNetwork
from tests.classifiers import classifier_of

SIZE = 6
RNG = np.random.default_rng(0)
IMAGES = RNG.random((3, SIZE, SIZE, 3), dtype=np.float32)
TARGETS = np.array([0, 1, 1])
KERNEL = RNG.normal(size=(3, 3, 3, 4)).astype(np.float32)
BY_CHANNEL = RNG.normal(size=(3, 3, 3, 2)).astype(np.float32)
SCALE, SHIFT, MEAN = (RNG.uniform(0.5, 2, 4).astype(np.float32) for _ in range(3))
HEAD = RNG.normal(size=(4, 2)).astype(np.float32)


def graph_of(build: Callable[[Any], Any], n_rows: int | None = None) -> Any:
    """GraphDef of a function of `pixels`; its result is `scores`."""
    with tf.Graph().as_default() as graph:
        pixels = tf.compat.v1.placeholder(tf.float32, (n_rows, SIZE, SIZE, 3), name="pixels")
        tf.identity(build(pixels), name="scores")
    return graph.as_graph_def()


def network_of(build: Callable[[Any], Any], **options: Any) -> GraphNetwork:
    return GraphNetwork(graph_of(build), ("pixels:0", "scores:0"), (SIZE, SIZE), **options)


def pooled(maps: Any) -> Any:
    return tf.reduce_mean(tf.nn.relu(maps, name="maps"), [1, 2]) @ HEAD


def normed(values: Any) -> Any:
    norm = tf.compat.v1.nn.fused_batch_norm(
        values, SCALE, SHIFT, MEAN, SCALE + 1, is_training=False, name="norm"
    )
    return norm[0]


def fused(pixels: Any) -> Any:
    return pooled(normed(tf.nn.conv2d(pixels, KERNEL, 1, "SAME", name="conv")))


def with_bias(pixels: Any) -> Any:
    return pooled(normed(tf.nn.bias_add(tf.nn.conv2d(pixels, KERNEL, 2, "VALID", name="conv"), SHIFT)))


def decomposed(pixels: Any) -> Any:
    factor = tf.math.rsqrt(tf.constant(SCALE) + 0.1) * SHIFT
    scaled = tf.nn.conv2d(pixels, KERNEL, 1, "SAME", name="conv") * factor
    return pooled(tf.add(scaled, SHIFT - MEAN * factor, name="norm"))


def divided(pixels: Any) -> Any:
    return pooled((tf.nn.conv2d(pixels, KERNEL, 1, "SAME", name="conv") - MEAN) / SCALE)


def depthwise(pixels: Any) -> Any:
    maps = tf.nn.depthwise_conv2d(pixels, BY_CHANNEL, (1, 1, 1, 1), "SAME", name="conv")
    weight = np.arange(1, 7, dtype=np.float32)
    return tf.reduce_mean(tf.nn.relu(maps * weight + 0.5, name="maps"), [1, 2]) @ np.tile(HEAD[:3], (2, 1))


def dense(pixels: Any) -> Any:
    flat = tf.reshape(pixels, (-1, SIZE * SIZE * 3))
    return (
        tf.matmul(flat, np.tile(HEAD.T, (1, SIZE * SIZE * 3 // 4)), transpose_b=True) * SCALE[:2] + SHIFT[:2]
    )


FOLDABLE = {
    "fused": fused,
    "with_bias": with_bias,
    "decomposed": decomposed,
    "divided": divided,
    "depthwise": depthwise,
    "dense": dense,
}


def as_written(build: Callable[[Any], Any]) -> tuple[np.ndarray, np.ndarray]:
    """Scores and gradients of the graph as it is written."""
    with tf.GradientTape() as tape:
        pixels = tf.constant(IMAGES)
        tape.watch(pixels)
        scores = build(pixels)
        total = tf.reduce_sum(tf.gather(scores, TARGETS, axis=1, batch_dims=1))
    return scores.numpy(), tape.gradient(total, pixels).numpy()


def assert_near(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", FOLDABLE)
def test_a_folded_graph_has_the_scores_and_gradients_of_the_graph_as_it_is_written(name):
    network = network_of(FOLDABLE[name])
    assert network.is_folded
    expected_scores, expected_gradients = as_written(FOLDABLE[name])
    classifier = classifier_of(network)
    assert_near(classifier.logits(IMAGES), expected_scores)
    assert_near(classifier.input_gradients(IMAGES, TARGETS)[1], expected_gradients)


def operations(graph: Any) -> list[str]:
    return [node.op for node in graph.node]


@pytest.mark.parametrize("name", FOLDABLE)
def test_no_scale_is_left_behind_a_kernel(name):
    found, _ = folded(graph_of(FOLDABLE[name]), "pixels:0", "scores:0")
    assert not {"Mul", "FusedBatchNormV3", "RealDiv", "Sub", "AddV2"}.intersection(operations(found))


def test_what_a_fold_takes_in_by_hand():
    # 2 * (1 * x) + 3, halved: kernel 1, bias 1.5.
    def build(pixels):
        one = np.eye(3, dtype=np.float32).reshape(1, 1, 3, 3)
        maps = (tf.nn.conv2d(pixels, one, 1, "SAME") * 2.0 + 3.0) / 2.0
        return tf.reduce_mean(maps, [1, 2])

    found, absorbed = folded(graph_of(build), "pixels:0", "scores:0")
    values = {
        node.name: tf.make_ndarray(node.attr["value"].tensor) for node in found.node if node.op == "Const"
    }
    np.testing.assert_array_equal(values["truediv/kernel_folded"], np.eye(3).reshape(1, 1, 3, 3))
    np.testing.assert_array_equal(values["truediv/bias_folded"], [1.5, 1.5, 1.5])
    assert absorbed == {"Conv2D", "mul", "add"}


def shared(pixels: Any) -> Any:
    maps = tf.nn.conv2d(pixels, KERNEL, 1, "SAME")
    return pooled(normed(maps) + maps)


def by_place(pixels: Any) -> Any:
    return pooled(tf.nn.conv2d(pixels, KERNEL, 1, "SAME") * np.ones((SIZE, SIZE, 4), np.float32))


def only_a_bias(pixels: Any) -> Any:
    return pooled(tf.nn.bias_add(tf.nn.conv2d(pixels, KERNEL, 1, "SAME"), SHIFT))


@pytest.mark.parametrize("build", [shared, by_place, only_a_bias])
def test_what_is_no_scale_of_one_kernel_stays(build):
    assert folded(graph_of(build), "pixels:0", "scores:0") is None
    assert_near(classifier_of(network_of(build)).logits(IMAGES), as_written(build)[0])


def test_a_batch_norm_in_training_stays():
    with tf.Graph().as_default() as graph:
        pixels = tf.compat.v1.placeholder(tf.float32, (None, SIZE, SIZE, 3), name="pixels")
        maps = tf.nn.conv2d(pixels, KERNEL, 1, "SAME")
        norm = tf.raw_ops.FusedBatchNormV3(
            x=maps, scale=SCALE, offset=SHIFT, mean=[], variance=[], is_training=True
        )
        tf.identity(pooled(norm.y), name="scores")
    assert folded(graph.as_graph_def(), "pixels:0", "scores:0") is None


def test_feature_layers_keep_their_names_and_values_where_a_fold_took_them_in():
    network = network_of(fused)
    assert network.feature_layers == ("conv", "norm", "maps")
    classifier = classifier_of(network)
    activations, _ = classifier.layer_gradients(IMAGES, TARGETS, "conv")
    assert_near(activations, tf.nn.conv2d(IMAGES, KERNEL, 1, "SAME").numpy())
    normed_maps, found = classifier.layer_gradients(IMAGES, TARGETS, "norm")
    assert_near(normed_maps, normed(tf.nn.conv2d(IMAGES, KERNEL, 1, "SAME")).numpy())
    assert_near(found, (normed_maps > 0) * HEAD.T[TARGETS][:, None, None] / SIZE**2)


def test_a_randomised_network_is_that_of_the_permuted_kernels():
    classifier = classifier_of(network_of(fused))
    assert len(classifier.weight_groups) == 2
    drawn = classifier.randomised(classifier.weight_groups[:1], 0)
    assert np.abs(drawn.logits(IMAGES) - classifier.logits(IMAGES)).max() > 1e-2
    np.testing.assert_array_equal(
        drawn.logits(IMAGES), classifier.randomised(classifier.weight_groups[:1], 0).logits(IMAGES)
    )


def test_an_activation_behind_a_reshape_is_found():
    network = network_of(lambda pixels: tf.reshape(tf.nn.softmax(fused(pixels)), (-1, 2)))
    assert network.activation == "softmax"
    assert_near(classifier_of(network).logits(IMAGES), as_written(fused)[0])


def test_an_activation_whose_rows_are_put_together_anew_is_left_alone():
    # Two softmaxes of two make rows of four: their logits are no logits of the rows.
    def pairs(pixels):
        scores = fused(pixels)
        both = tf.reshape(tf.stack([scores, scores], 1), (-1, 2))
        return tf.reshape(tf.nn.softmax(both), (-1, 4))

    network = network_of(pairs, outputs="logits")
    assert network.n_outputs == 4
    assert network.activation is None


def test_a_sigmoid_in_disguise_has_to_be_stated():
    def disguised(pixels):
        return 1 / (1 + tf.exp(-fused(pixels) / 10))

    with pytest.raises(ModelError, match=r"may be probabilities or scores; state model\.outputs"):
        network_of(disguised)
    network = network_of(disguised, outputs="sigmoid")
    assert_near(classifier_of(network, head=Head.SIGMOID).logits(IMAGES), as_written(fused)[0] / 10)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1), (-1, 1, 1, 1)])
def test_one_score_an_image_is_a_binary_model_in_any_shape(shape):
    network = network_of(lambda pixels: tf.reshape(fused(pixels)[:, :1], shape))
    assert network.n_outputs == 1


def test_a_graph_of_three_rows_a_call_says_so():
    graph = graph_of(fused, n_rows=3)
    network = GraphNetwork(graph, ("pixels:0", "scores:0"), (SIZE, SIZE))
    assert network.n_rows == 3
    assert network_of(fused).n_rows is None


def test_rows_that_a_reshape_fixes_are_found_by_trying():
    def one_row(pixels):
        return tf.reshape(fused(pixels), (1, 2))

    assert network_of(one_row).n_rows == 1
    assert network_of(lambda pixels: fused(pixels)[0]).n_rows == 1


def test_a_graph_is_cut_inside_and_what_comes_before_is_left_away():
    def build(pixels):
        return fused(tf.multiply(pixels, 3.0, name="tripled"))

    part, given = between(graph_of(build), "tripled:0", "scores:0")
    assert "pixels" not in {node.name for node in part.node}
    network = GraphNetwork(graph_of(build), ("tripled:0", "scores:0"), (SIZE, SIZE))
    assert given != "pixels:0"
    assert_near(classifier_of(network).logits(IMAGES), as_written(fused)[0])


def test_an_output_that_does_not_depend_on_the_input_is_refused():
    with pytest.raises(ModelError, match=r"'scores:0' does not depend on the input 'maps:0'"):
        between(
            graph_of(lambda pixels: [pooled(pixels[..., :1] * SCALE), pixels[:, 0, 0]][1]),
            "maps:0",
            "scores:0",
        )


def test_narrow_places_are_those_that_every_path_goes_through():
    def build(pixels):
        scaled = tf.multiply(pixels, 2.0, name="scaled")
        parts = tf.add(tf.abs(scaled, name="left"), tf.square(scaled, name="right"), name="joined")
        return fused(tf.subtract(parts, 1.0, name="centred"))

    graph = graph_of(build)
    nodes = {node.name: node for node in graph.node}
    # "left" and "right" can each be gone around; behind the convolution nothing is looked for.
    assert narrow_places(nodes, "pixels:0", "scores:0") == ["pixels:0", "scaled:0", "joined:0", "centred:0"]
