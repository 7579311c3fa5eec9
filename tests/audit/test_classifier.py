"""The seam to a model: what it returns, that rows are independent, and that folding changes nothing."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

from audit.classifier import Classifier, Head, Preprocessing
from audit.errors import ModelError
from audit.keras_network import KerasNetwork
from tests.classifiers import (
    AS_IT_IS,
    binary_classifier,
    classifier_of,
    gap_classifier,
    linear_classifier,
    quadratic_classifier,
)

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(3, 4, 5, 3)).astype(np.float32)
IMAGES = RNG.random((10, 4, 5, 3), dtype=np.float32)
TARGETS = np.arange(10) % 3
SIZE = 16
PHOTOS = RNG.random((11, SIZE, SIZE, 3), dtype=np.float32)


def with_random_norms(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(1)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    return model


def backbone_layers(images, dtype="float32"):
    """A convolution, a depthwise one and a separate norm: every case of folding."""
    layers = keras.layers
    x = layers.BatchNormalization(name="norm_first", dtype=dtype)(images)
    x = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False, name="conv", dtype=dtype)(x)
    x = layers.BatchNormalization(name="conv_norm", dtype=dtype)(x)
    x = layers.ReLU(name="conv_relu", dtype=dtype)(x)
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise", dtype=dtype)(x)
    x = layers.BatchNormalization(scale=False, name="depthwise_norm", dtype=dtype)(x)
    return layers.Activation("relu", name="last_map", dtype=dtype)(x)


def flat_model(dtype="float32") -> keras.Model:
    keras.utils.set_random_seed(0)
    images = keras.Input((SIZE, SIZE, 3), dtype=dtype)
    x = keras.layers.GlobalAveragePooling2D(dtype=dtype)(backbone_layers(images, dtype))
    x = keras.layers.Dense(8, name="hidden", dtype=dtype)(x)
    x = keras.layers.BatchNormalization(name="hidden_norm", dtype=dtype)(x)
    x = keras.layers.Dense(4, activation="softmax", name="classes", dtype=dtype)(x)
    return with_random_norms(keras.Model(images, x))


def nested_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inner = keras.Input((SIZE, SIZE, 3))
    backbone = keras.Model(inner, backbone_layers(inner), name="backbone")
    images = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.GlobalAveragePooling2D()(backbone(images, training=False))
    x = keras.layers.Dense(8, name="hidden")(x)
    x = keras.layers.BatchNormalization(name="hidden_norm")(x)
    head = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(4, name="classes"), keras.layers.Softmax()], name="head"
    )
    return with_random_norms(keras.Model(images, head(x)))


@pytest.fixture(scope="module")
def flat() -> keras.Model:
    return flat_model()


@pytest.fixture(scope="module")
def nested(flat) -> keras.Model:
    model = nested_model()
    model.set_weights(flat.get_weights())
    return model


def relative(found, expected) -> float:
    return float(np.abs(np.asarray(found) - np.asarray(expected)).max() / np.abs(np.asarray(expected)).max())


# Closed forms.


def test_the_gradient_of_a_linear_model_is_its_weights_and_the_score_its_logit():
    scores, gradients = linear_classifier(WEIGHTS).input_gradients(IMAGES, TARGETS)
    np.testing.assert_allclose(gradients, WEIGHTS[TARGETS], rtol=1e-6)
    np.testing.assert_allclose(scores, (WEIGHTS[TARGETS] * IMAGES).sum(axis=(1, 2, 3)), rtol=1e-4, atol=1e-5)
    assert (gradients.dtype, scores.dtype) == (np.float32, np.float64)


def test_preprocessing_is_part_of_the_gradient():
    network = linear_classifier(WEIGHTS)._network
    classifier = Classifier(
        network, Preprocessing((2.0, 4.0, 8.0), (1.0, 0.0, -1.0), is_reversed=True), batch_size=4
    )
    fed = IMAGES[..., ::-1] * np.float32([2, 4, 8]) + np.float32([1, 0, -1])
    expected = np.einsum("bhwc,khwc->bk", fed, WEIGHTS)
    np.testing.assert_allclose(classifier.logits(IMAGES), expected, rtol=1e-4, atol=1e-4)
    _, gradients = classifier.input_gradients(IMAGES, TARGETS)
    np.testing.assert_allclose(gradients, (WEIGHTS[TARGETS] * np.float32([2, 4, 8]))[..., ::-1], rtol=1e-6)


def test_a_directional_gradient_is_the_gradient_times_the_direction_summed_over_channels():
    classifier = quadratic_classifier(WEIGHTS)
    directions = RNG.normal(size=IMAGES.shape).astype(np.float32)
    scores, products = classifier.directional_gradients(IMAGES, directions, TARGETS)
    np.testing.assert_allclose(products, (2 * WEIGHTS[TARGETS] * IMAGES * directions).sum(axis=-1), atol=1e-5)
    np.testing.assert_array_equal(scores, classifier.scores(IMAGES, TARGETS))


def test_the_probability_of_a_class_is_explained_on_request():
    classifier = linear_classifier(WEIGHTS, explain="probability")
    scores, gradients = classifier.input_gradients(IMAGES, TARGETS)
    shares = classifier.probabilities(IMAGES)
    own = shares[np.arange(10), TARGETS]
    mean_weights = np.einsum("bk,khwc->bhwc", shares, WEIGHTS)
    np.testing.assert_array_equal(scores, own)
    np.testing.assert_allclose(
        gradients, own[:, None, None, None] * (WEIGHTS[TARGETS] - mean_weights), rtol=1e-3, atol=1e-6
    )


def test_probabilities_are_float64_and_sum_to_one_even_for_huge_logits():
    shares = linear_classifier(WEIGHTS * 1e4).probabilities(IMAGES)
    assert shares.dtype == np.float64
    assert np.isfinite(shares).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-12)


def test_one_output_stands_for_two_classes():
    classifier = binary_classifier(WEIGHTS[0])
    z = (WEIGHTS[0] * IMAGES).sum(axis=(1, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(classifier.logits(IMAGES), np.stack([-z, z], axis=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(classifier.probabilities(IMAGES)[:, 1], 1 / (1 + np.exp(-z)), rtol=1e-5)
    _, gradients = classifier.input_gradients(IMAGES[:2], np.array([0, 1]))
    np.testing.assert_allclose(gradients, [-WEIGHTS[0], WEIGHTS[0]], rtol=1e-6)


def test_the_probabilities_of_independent_classes_are_sigmoids():
    classifier = linear_classifier(WEIGHTS, head=Head.SIGMOID)
    logits = classifier.logits(IMAGES).astype(np.float64)
    np.testing.assert_allclose(classifier.probabilities(IMAGES), 1 / (1 + np.exp(-logits)), rtol=1e-12)


def test_features_are_the_last_map_averaged_over_space():
    kernels = RNG.normal(size=(1, 1, 3, 2)).astype(np.float32)
    classifier = gap_classifier(kernels, np.eye(2, dtype=np.float32), (4, 5))
    maps = np.maximum(IMAGES @ kernels[0, 0], 0)
    means, spreads, largest = (of(maps, axis=(1, 2)) for of in (np.mean, np.std, np.max))
    np.testing.assert_allclose(classifier.features(IMAGES), means, rtol=1e-5, atol=1e-6)
    statistics = np.concatenate([means, spreads, largest], axis=1)
    np.testing.assert_allclose(classifier.feature_statistics(IMAGES), statistics, rtol=1e-5, atol=1e-6)


# Rows.


def test_a_row_does_not_depend_on_the_rows_beside_it(flat):
    classifier = classifier_of(KerasNetwork(flat))
    targets = np.arange(11) % 4
    scores, gradients = classifier.input_gradients(PHOTOS, targets)
    shuffled = np.random.default_rng(3).permutation(11)
    other_scores, other_gradients = classifier.input_gradients(PHOTOS[shuffled], targets[shuffled])
    assert relative(other_gradients, gradients[shuffled]) < 1e-6
    np.testing.assert_allclose(other_scores, scores[shuffled], rtol=1e-6)


def test_batches_of_4_and_of_16_give_the_same_to_one_part_in_100_000(flat):
    network = KerasNetwork(flat)
    targets = np.arange(11) % 4
    small = classifier_of(network, batch_size=4).input_gradients(PHOTOS, targets)
    large = classifier_of(network, batch_size=16).input_gradients(PHOTOS, targets)
    assert relative(small[0], large[0]) < 1e-5
    assert relative(small[1], large[1]) < 1e-5


def test_two_calls_in_flight_give_the_same_bits_in_the_same_order(flat):
    network = KerasNetwork(flat)
    one = classifier_of(network, batch_size=2, callers=1).logits(PHOTOS)
    two = classifier_of(network, batch_size=2, callers=2).logits(PHOTOS)
    np.testing.assert_array_equal(one, two)


def test_an_empty_batch_gives_empty_results_of_the_right_shape():
    classifier = linear_classifier(WEIGHTS)
    scores, gradients = classifier.input_gradients(IMAGES[:0], TARGETS[:0])
    assert (scores.shape, gradients.shape) == ((0,), (0, 4, 5, 3))
    assert classifier.logits(IMAGES[:0]).shape == (0, 3)


def test_each_purpose_is_traced_once_whatever_the_number_of_rows():
    calls = []
    network = linear_classifier(WEIGHTS)._network
    compute = network.compute
    object.__setattr__(network, "compute", lambda *inputs: (calls.append(1), compute(*inputs))[1])
    classifier = classifier_of(network)
    for n_rows in (1, 4, 9):
        classifier.input_gradients(IMAGES[:n_rows], TARGETS[:n_rows])
    assert len(calls) == 1


@dataclass(frozen=True)
class Greedy:
    """A linear network that has memory for so many rows a call."""

    inner: object
    most: int

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def __call__(self, inputs, layers=()):
        import tensorflow as tf

        if inputs.shape[0] > self.most:
            raise tf.errors.ResourceExhaustedError(None, None, "no memory")
        return self.inner(inputs, layers)


def test_calls_that_exhaust_the_memory_are_made_again_with_half_the_rows():
    roomy = linear_classifier(WEIGHTS, batch_size=8)
    narrow = classifier_of(Greedy(roomy._network, 3), batch_size=8, callers=2)
    np.testing.assert_allclose(narrow.logits(IMAGES), roomy.logits(IMAGES), rtol=1e-6)
    assert narrow.batch_size == 2  # 8, then 4, then 2
    _, gradients = narrow.input_gradients(IMAGES, TARGETS)
    np.testing.assert_array_equal(gradients, WEIGHTS[TARGETS])


def test_a_model_too_large_for_one_row_says_so():
    full = classifier_of(Greedy(linear_classifier(WEIGHTS)._network, 0), batch_size=8)
    with pytest.raises(ModelError, match="memory for a call of the model with 1 pictures"):
        full.logits(IMAGES)


def test_arguments_are_left_as_they_are():
    images, targets = IMAGES.copy(), TARGETS.copy()
    linear_classifier(WEIGHTS).input_gradients(images, targets)
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(targets, TARGETS)


@pytest.mark.parametrize(
    ("images", "targets", "message"),
    [
        (IMAGES[:, :3], TARGETS, r"\(4, 5, 3\)"),
        ((IMAGES * 255).astype(np.uint8), TARGETS, "uint8"),
        (IMAGES, TARGETS[:3], r"\(10,\)"),
        (IMAGES, TARGETS.astype(float), "float64"),
        (IMAGES, TARGETS + 1, "1 to 3"),
        (IMAGES, TARGETS - 1, "-1 to 1"),
    ],
)
def test_a_wrong_call_says_what_was_expected_and_found(images, targets, message):
    with pytest.raises(ValueError, match=message):
        linear_classifier(WEIGHTS).input_gradients(images, targets)


def test_a_model_without_a_feature_map_says_so():
    with pytest.raises(ModelError, match="no spatial feature map"):
        linear_classifier(WEIGHTS).layer_gradients(IMAGES, TARGETS)


def test_an_unknown_layer_is_answered_with_the_nearest():
    classifier = gap_classifier(np.ones((1, 1, 3, 2)), np.eye(2), (4, 5))
    with pytest.raises(ModelError, match=r"'map'.*did you mean 'maps'"):
        classifier.layer_gradients(IMAGES, TARGETS % 2, "map")


def test_importing_the_seam_does_not_import_tensorflow():
    unwanted = "bool({'tensorflow', 'keras'} & set(sys.modules))"
    code = f"import sys, audit.classifier, pipelines.models; sys.exit({unwanted})"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# Keras models.


def test_a_final_softmax_is_dropped_and_its_probabilities_come_back(flat):
    network = KerasNetwork(flat)
    classifier = classifier_of(network)
    assert (network.activation, network.n_outputs) == ("softmax", 4)
    np.testing.assert_allclose(classifier.probabilities(PHOTOS), flat(PHOTOS, training=False), atol=1e-6)
    assert classifier.logits(PHOTOS).min() < 0


@pytest.mark.parametrize(
    ("ending", "activation"),
    [
        ([keras.layers.Dense(3)], None),
        ([keras.layers.Dense(3, activation="softmax")], "softmax"),
        ([keras.layers.Dense(3), keras.layers.Activation("softmax")], "softmax"),
        ([keras.layers.Dense(3), keras.layers.Softmax(), keras.layers.Activation("linear")], "softmax"),
        ([keras.layers.Dense(3, activation="sigmoid")], "sigmoid"),
        ([keras.layers.Dense(1, activation="sigmoid")], "sigmoid"),
    ],
)
def test_every_way_to_end_a_model_is_understood(ending, activation):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4, 5, 3)), keras.layers.Flatten(), *ending])
    network = KerasNetwork(model)
    dense = model.layers[1]
    kernel, bias = (np.asarray(weight) for weight in dense.get_weights())
    logits, _ = network(IMAGES)
    assert network.activation == activation
    np.testing.assert_allclose(logits, IMAGES.reshape(10, -1) @ kernel + bias, atol=1e-5)


def test_a_softmax_over_one_unit_is_refused():
    model = keras.Sequential(
        [keras.Input((4, 5, 3)), keras.layers.Flatten(), keras.layers.Dense(1, activation="softmax")]
    )
    with pytest.raises(ModelError, match="softmax over one unit"):
        KerasNetwork(model)


def test_folded_and_unfolded_are_equally_near_to_float64(flat):
    exact = flat_model("float64")
    exact.set_weights(flat.get_weights())
    bare = keras.Model(
        exact.input, keras.layers.Dense(4, dtype="float64", name="logits")(exact.layers[-2].output)
    )
    bare.layers[-1].set_weights(exact.layers[-1].get_weights())
    network = KerasNetwork(flat)
    folded, _ = network(PHOTOS)
    network._folds = {}
    unfolded, _ = network(PHOTOS)
    expected = np.asarray(bare(PHOTOS.astype(np.float64), training=False))
    assert relative(folded, expected) < 1e-5
    assert relative(unfolded, expected) < 1e-5


def test_norms_behind_convolutions_of_every_kind_are_folded_and_the_first_norm_is_a_multiply_add(flat):
    network = KerasNetwork(flat)
    sources = {network._steps[index].name: fold.source for index, fold in network._folds.items()}
    assert network.is_folded
    assert sources.pop("norm_first") is None
    assert {name: network._steps[source].name for name, source in sources.items()} == {
        "conv_norm": "conv",
        "depthwise_norm": "depthwise",
        "hidden_norm": "hidden",
    }


def test_a_norm_whose_convolution_is_read_elsewhere_leaves_the_convolution_alone():
    keras.utils.set_random_seed(0)
    images = keras.Input((SIZE, SIZE, 3))
    conv = keras.layers.Conv2D(3, 3, padding="same")(images)
    joined = keras.layers.Add()([conv, keras.layers.BatchNormalization()(conv)])
    x = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(joined))
    model = with_random_norms(keras.Model(images, x))
    logits, _ = KerasNetwork(model)(PHOTOS)
    assert relative(logits, model(PHOTOS, training=False)) < 1e-5


def test_a_nested_model_equals_the_flat_one(flat, nested):
    one, other = classifier_of(KerasNetwork(flat)), classifier_of(KerasNetwork(nested))
    targets = np.arange(11) % 4
    assert (one.feature_layer, other.feature_layer) == ("last_map", "backbone/last_map")
    assert relative(other.logits(PHOTOS), one.logits(PHOTOS)) < 1e-6
    assert relative(other.input_gradients(PHOTOS, targets)[1], one.input_gradients(PHOTOS, targets)[1]) < 1e-5
    for mine, theirs in zip(
        one.layer_gradients(PHOTOS, targets), other.layer_gradients(PHOTOS, targets), strict=True
    ):
        assert relative(theirs, mine) < 1e-5


def test_a_convolution_that_a_norm_absorbed_can_still_be_looked_at(flat):
    classifier = classifier_of(KerasNetwork(flat))
    activations, gradients = classifier.layer_gradients(PHOTOS, np.zeros(11, dtype=np.int64), "conv")
    plain = keras.Model(flat.input, flat.get_layer("conv").output)
    assert relative(activations, plain(PHOTOS, training=False)) < 1e-5
    assert np.abs(gradients).max() > 0


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, inputs):
        return keras.ops.softmax(self.dense(keras.ops.mean(inputs, axis=(1, 2))))


def test_a_subclassed_model_is_called_as_a_whole_and_its_probabilities_become_logits():
    model = Subclassed()
    model(PHOTOS)
    network = KerasNetwork(model, (SIZE, SIZE))
    classifier = classifier_of(network)
    assert (network.activation, network.feature_layers) == ("softmax", ())
    np.testing.assert_allclose(classifier.probabilities(PHOTOS), model(PHOTOS), atol=1e-6)


def test_a_model_for_grey_images_is_refused():
    model = keras.Sequential([keras.Input((4, 5, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(ModelError, match=r"RGB images.*\(None, 4, 5, 1\)"):
        KerasNetwork(model)


def test_dropout_is_off(flat):
    images = keras.Input((4, 5, 3))
    x = keras.layers.Dense(2)(keras.layers.Dropout(0.5)(keras.layers.Flatten()(images)))
    classifier = classifier_of(KerasNetwork(keras.Model(images, x)))
    np.testing.assert_array_equal(classifier.logits(IMAGES), classifier.logits(IMAGES))


# Randomised weights.


def test_randomised_weights_depend_on_the_seed_alone_and_leave_the_original_alone(nested):
    classifier = classifier_of(KerasNetwork(nested))
    before = classifier.logits(PHOTOS)
    groups = classifier.weight_groups[-2:]
    first, again, other = (classifier.randomised(groups, seed).logits(PHOTOS) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    assert np.abs(first - before).max() > 1e-3
    np.testing.assert_array_equal(classifier.logits(PHOTOS), before)


def test_randomising_keeps_a_kernels_values_and_touches_no_other_group(flat):
    network = KerasNetwork(flat)
    drawn = network.randomised(["conv"], 0)
    kernel = flat.get_layer("conv").kernel
    np.testing.assert_allclose(
        np.sort(drawn._weight(kernel).ravel()), np.sort(network._weight(kernel).ravel())
    )
    assert np.abs(drawn._weight(kernel) - network._weight(kernel)).max() > 0
    hidden = flat.get_layer("hidden").kernel
    np.testing.assert_array_equal(drawn._weight(hidden), network._weight(hidden))


def test_randomising_all_weights_keeps_the_network_alive(flat):
    classifier = classifier_of(KerasNetwork(flat))
    drawn = classifier.randomised(classifier.weight_groups, 0)
    _, gradients = drawn.input_gradients(PHOTOS, np.zeros(11, dtype=np.int64))
    assert np.isfinite(gradients).all()
    assert np.abs(gradients).max() > 0


def test_weights_of_an_unknown_group_cannot_be_randomised():
    with pytest.raises(ValueError, match="'tail'"):
        linear_classifier(WEIGHTS).randomised(["tail"], 0)


@pytest.mark.data
@pytest.mark.skipif("RIGHT_REASONS_DATA" not in os.environ, reason="RIGHT_REASONS_DATA is not set")
def test_the_garment_model_is_folded_and_its_last_map_is_found():
    model = keras.models.load_model(
        Path(os.environ["RIGHT_REASONS_DATA"]) / "models" / "garments10_lite0.keras"
    )
    network = KerasNetwork(model)
    classifier = Classifier(network, AS_IT_IS, batch_size=2)
    images = np.random.default_rng(0).random((2, 224, 224, 3), dtype=np.float32) * 255
    assert network.is_folded
    assert classifier.feature_layer == "head_bn_relu6"
    np.testing.assert_allclose(classifier.probabilities(images), model(images, training=False), atol=1e-5)
