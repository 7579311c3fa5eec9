"""SavedModels of every kind: one network, the same scores, gradients and maps, in closed form."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.attributions.grad_cam import GradCam
from audit.classifier import Head
from audit.errors import ConfigError, ModelError
from audit.types import Outline, Sample
from pipelines.config import ModelConfig, RunConfig
from pipelines.inputs import load as load_batch
from pipelines.inputs import settings_from
from pipelines.models import LoadedModel, load_classifier
from tests import saved_models as written
from tests.saved_models import SIZE, WRITERS

RNG = np.random.default_rng(0)
IMAGES = RNG.random((5, SIZE, SIZE, 3), dtype=np.float32)
TARGETS = np.array([0, 1, 2, 0, 1])
NAMES = ["hat", "shirt", "shoe"]
TOLERANCE = 1e-5
"""Relative to the largest value: sums of 144 float32 products and one folded constant."""


def load(path: Path, **settings) -> LoadedModel:
    config = ModelConfig(path=path, **{"classes": NAMES, **settings})
    return load_classifier(config, batch_size=4, callers=1)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> dict[str, LoadedModel]:
    """The network from every kind of file."""
    folder = tmp_path_factory.mktemp("kinds")
    return {name: load(write(folder / name)) for name, write in WRITERS.items()}


def assert_near(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_of_file_gives_the_logits_in_closed_form(loaded, kind):
    assert loaded[kind].classifier.head is Head.SOFTMAX
    assert_near(loaded[kind].classifier.logits(IMAGES), written.logits(IMAGES))


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_of_file_gives_the_gradients_in_closed_form(loaded, kind):
    scores, found = loaded[kind].classifier.input_gradients(IMAGES, TARGETS)
    assert_near(found, written.gradients(TARGETS))
    assert_near(scores, written.logits(IMAGES)[np.arange(5), TARGETS])


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_of_file_gives_the_feature_map_and_grad_cam(loaded, kind):
    classifier = loaded[kind].classifier
    activations, found = classifier.layer_gradients(IMAGES, TARGETS)
    maps = IMAGES @ written.KERNEL * written.SCALE + written.SHIFT
    assert_near(activations, maps)
    assert_near(found, written.layer_gradients(TARGETS))
    # Grad-CAM: the maps weighted by the mean gradient, without what is negative.
    cam = np.maximum((maps * written.HEAD.T[TARGETS][:, None, None] / SIZE**2).sum(axis=-1), 0)
    assert_near(GradCam()(classifier, IMAGES, TARGETS, np.zeros(5, np.uint64)).maps, cam)


@pytest.mark.parametrize("kind", WRITERS)
def test_batch_norms_are_folded_in_every_kind_of_file(loaded, kind):
    assert loaded[kind].description["is_folded"] is True


@pytest.mark.parametrize("kind", WRITERS)
def test_several_sigmoids_are_independent_classes_in_every_kind_of_file(tmp_path, kind):
    classifier = load(WRITERS[kind](tmp_path / "m", "sigmoid")).classifier
    assert classifier.head is Head.SIGMOID
    assert_near(classifier.probabilities(IMAGES), 1 / (1 + np.exp(-written.logits(IMAGES))))


@pytest.mark.parametrize("kind", WRITERS)
def test_one_sigmoid_is_a_binary_model_in_every_kind_of_file(tmp_path, kind):
    classifier = load(WRITERS[kind](tmp_path / "m", "sigmoid", 1), classes=["no", "yes"]).classifier
    z = written.logits(IMAGES, 1)
    assert classifier.head is Head.BINARY
    assert_near(classifier.logits(IMAGES), np.concatenate([-z, z], axis=1))


def test_one_number_an_image_behind_a_sigmoid_is_a_binary_keras_model(tmp_path):
    import keras

    model = written.keras_model("sigmoid", 1)
    flat = keras.layers.Reshape(())(model.output)
    keras.Model(model.input, flat).save(tmp_path / "m.keras")
    found = load(tmp_path / "m.keras", classes=["no", "yes"])
    assert found.classifier.head is Head.BINARY
    assert found.classifier.feature_layer == "maps"
    assert_near(found.classifier.logits(IMAGES)[:, 1:], written.logits(IMAGES, 1))


# The model's own preprocessing.


def picture(height: int = 30, width: int = 40) -> np.ndarray:
    """A picture with structure in both directions."""
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["files", "pair"])
def test_a_picture_through_the_models_own_preprocessing_scores_as_in_production(loaded, tmp_path, kind):
    import tensorflow as tf

    pixels = picture()
    served = tf.saved_model.load(str(WRITERS[kind](tmp_path / "m"))).signatures["serving_default"]
    (expected,) = served(tf.constant([png(pixels)])).values()
    own = loaded[kind].own_inputs
    image = own.image(pixels)
    assert_near(image, tf.image.resize(pixels, (SIZE, SIZE)).numpy() / 255)
    np.testing.assert_allclose(
        loaded[kind].classifier.probabilities(image[None]), expected.numpy(), rtol=1e-5
    )


@pytest.mark.parametrize("kind", ["keras", "export", "floats", "uint8", "graph"])
def test_models_of_pixels_have_no_preprocessing_of_their_own(loaded, kind):
    assert loaded[kind].own_inputs is None


def test_colours_of_the_own_preprocessing_are_measured(loaded):
    for kind, is_reversed in (("files", False), ("pair", True)):
        found = loaded[kind].own_inputs.preprocessing
        assert found.is_reversed is is_reversed
        if kind == "pair":
            np.testing.assert_allclose(found.scale, [2, 2, 2], rtol=1e-5)
            np.testing.assert_allclose(found.offset, [-1, -1, -1], rtol=1e-5)


def test_base64_is_given_to_a_model_that_decodes_it(tmp_path):
    found = load(written.write_files(tmp_path / "m", is_base64=True))
    assert found.own_inputs.is_base64
    assert_near(found.classifier.logits(IMAGES), written.logits(IMAGES))


def central_square(pixels):
    import tensorflow as tf

    size = tf.minimum(tf.shape(pixels)[0], tf.shape(pixels)[1])
    top, left = (tf.shape(pixels)[0] - size) // 2, (tf.shape(pixels)[1] - size) // 2
    return tf.image.resize(pixels[top : top + size, left : left + size], (SIZE, SIZE))


def padded(pixels):
    import tensorflow as tf

    return tf.image.resize_with_pad(pixels, SIZE, SIZE)


def stretched_by_area(pixels):
    import tensorflow as tf

    return tf.image.resize(pixels, (SIZE, SIZE), method="area")


@pytest.mark.parametrize(
    ("place", "mode"), [(central_square, "crop"), (padded, "pad"), (stretched_by_area, "stretch")]
)
def test_where_the_own_preprocessing_puts_pixels_is_found_by_a_picture_of_ramps(tmp_path, place, mode):
    assert load(written.write_files(tmp_path / "m", place=place)).own_inputs.mode == mode


def mirrored(pixels):
    import tensorflow as tf

    return tf.image.resize(pixels, (SIZE, SIZE))[:, ::-1]


def corner(pixels):
    import tensorflow as tf

    return tf.cast(pixels[:SIZE, :SIZE], tf.float32)


def standardised(pixels):
    import tensorflow as tf

    return tf.image.per_image_standardization(tf.image.resize(pixels, (SIZE, SIZE)))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (mirrored, "mirrors pictures"),
        (corner, "no stretch, crop or pad"),
        (standardised, "more to colours than a scale and an offset"),
    ],
)
def test_preprocessing_that_masks_or_pixels_cannot_follow_is_refused(tmp_path, place, message):
    path = written.write_files(tmp_path / "m", place=place)
    with pytest.raises(ModelError, match=rf"{message}.*xai_preprocess") as caught:
        load(path)
    assert str(caught.value).startswith(str(path))


def test_settings_that_would_prepare_a_picture_twice_are_refused(tmp_path):
    path = written.write_files(tmp_path / "m")
    with pytest.raises(ConfigError, match=r"prepares pictures by itself; leave model\.value_range away"):
        load(path, value_range=(0, 1))


def test_batches_go_through_the_own_preprocessing_and_masks_through_the_same_geometry(loaded, tmp_path):
    import tensorflow as tf

    pixels = picture()
    (tmp_path / "a.png").write_bytes(png(pixels))
    sample = Sample("a", str(tmp_path / "a.png"), "hat", foreground=Outline(boxes=((20.0, 0.0, 40.0, 30.0),)))
    config = RunConfig(data={"path": tmp_path}, model={"path": tmp_path / "m"})
    own = loaded["pair"].own_inputs
    batch, _, faults = load_batch([sample], {"hat": 0}, None, settings_from(config, own.target, (), own))
    assert faults == ()
    assert_near(batch.images[0], tf.image.resize(pixels, (SIZE, SIZE)).numpy() / 255)
    assert (batch.foreground[0] == np.arange(SIZE)[None].repeat(SIZE, 0) // 6).all()


# What is chosen, and what is said where it is not clear.


def test_a_graph_without_signatures_is_used_by_the_names_of_its_tensors(tmp_path):
    path = written.write_graph(tmp_path / "m", with_signature=False)
    with pytest.raises(ModelError, match=r"expected a signature.*model\.input and model\.output"):
        load(path)
    found = load(path, input="pixels:0", output="logits:0")
    assert_near(found.classifier.logits(IMAGES), written.logits(IMAGES))
    assert found.classifier.feature_layer == "maps"


@pytest.mark.parametrize("is_resource", [False, True])
def test_variables_of_both_kinds_are_frozen(tmp_path, is_resource):
    path = written.write_graph(tmp_path / "m", is_resource=is_resource)
    assert_near(load(path).classifier.logits(IMAGES), written.logits(IMAGES))


def test_a_tensor_inside_the_graph_can_be_the_input(tmp_path):
    # "mul:0" is the picture in [0, 1], behind the variable.
    found = load(written.write_graph(tmp_path / "m"), input="mul:0", value_range=(0, 1))
    assert_near(found.classifier.logits(IMAGES), written.logits(IMAGES))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output": "score:0"}, r"no tensor 'score:0'; the nearest are 'scores:0'.*model\.output"),
        ({"input": "pixel:0", "output": "scores:0"}, r"no tensor 'pixel:0'; the nearest are 'pixels:0'"),
        ({"signature": "serving"}, r"no signature 'serving'; the nearest are 'serving_default'"),
        ({"input": "scores:0", "output": "pixels:0"}, r"does not depend on the input 'scores:0'"),
        ({"tags": ["gpu"]}, r"no part with the tags \['gpu'\]; its parts have: serve"),
    ],
)
def test_names_that_are_wrong_are_answered_with_the_nearest(tmp_path, settings, message):
    with pytest.raises(ModelError, match=message):
        load(written.write_graph(tmp_path / "m"), **settings)


def test_of_several_parts_the_one_for_serving_is_taken(tmp_path):
    path = written.write_graph(tmp_path / "m", tags=(("serve",), ("serve", "gpu")))
    assert_near(load(path).classifier.logits(IMAGES), written.logits(IMAGES))
    both = written.write_graph(tmp_path / "two", tags=(("serve", "a"), ("serve", "b")))
    with pytest.raises(
        ModelError, match=r"2 parts, with the tags: a, serve; b, serve; choose one with model\.tags"
    ):
        load(both)
    assert_near(load(both, tags=["serve", "b"]).classifier.logits(IMAGES), written.logits(IMAGES))


def test_a_model_of_one_row_a_call_is_run_row_by_row(tmp_path):
    classifier = load(written.write_graph(tmp_path / "m", n_rows=1)).classifier
    assert classifier.batch_size == 1
    assert_near(classifier.logits(IMAGES), written.logits(IMAGES))
    assert_near(classifier.input_gradients(IMAGES, TARGETS)[1], written.gradients(TARGETS))


def test_of_several_outputs_the_scores_are_named(tmp_path):
    def both(x):
        scores = written.network(x / 255, None)
        return {"a_scores": scores, "b_halves": scores / 2}

    path = written.write_functions(tmp_path / "m", serving_default=(both, written.floats()))
    with pytest.raises(ModelError, match=r"found a_scores float32 \(None, 3\), b_halves.*model\.output"):
        load(path)
    for name, factor in (("a_scores", 1), ("b_halves", 0.5)):
        assert_near(load(path, output=name).classifier.logits(IMAGES), factor * written.logits(IMAGES))


def test_of_several_signatures_the_default_is_taken_and_none_is_guessed(tmp_path):
    def scores(x):
        return {"scores": written.network(x / 255, None)}

    def halves(x):
        return {"scores": written.network(x / 255, None) / 2}

    path = written.write_functions(
        tmp_path / "m", alpha=(halves, written.floats()), beta=(scores, written.floats())
    )
    with pytest.raises(ModelError, match=r"found alpha and beta; choose one with model\.signature"):
        load(path)
    assert_near(load(path, signature="beta").classifier.logits(IMAGES), written.logits(IMAGES))
    path = written.write_functions(
        tmp_path / "d", alpha=(halves, written.floats()), serving_default=(scores, written.floats())
    )
    assert_near(load(path).classifier.logits(IMAGES), written.logits(IMAGES))


def test_a_second_input_that_nothing_gives_is_named(tmp_path):
    import tensorflow as tf

    def stronger(pixels, strength):
        return {"scores": written.network(pixels / 255, None) * strength}

    specs = [written.floats(), tf.TensorSpec((), tf.float32, name="strength")]
    written.write_functions(tmp_path / "m", serving_default=(stronger, specs))
    with pytest.raises(ModelError, match=r"also on 'strength:0', which nothing gives"):
        load(tmp_path / "m")


def test_names_of_a_saved_model_are_refused_for_a_keras_file(tmp_path):
    with pytest.raises(ConfigError, match=r"model\.input: goes with a SavedModel folder"):
        load(written.write_keras(tmp_path / "m"), input="pixels")


def test_a_truncated_saved_model_is_one_sentence(tmp_path):
    path = written.write_graph(tmp_path / "m")
    stored = path / "saved_model.pb"
    stored.write_bytes(stored.read_bytes()[: stored.stat().st_size // 2])
    with pytest.raises(ModelError, match=r"saved_model\.pb: damaged.*export the model again"):
        load(path)


def test_missing_variables_are_one_sentence(tmp_path):
    path = written.write_graph(tmp_path / "m")
    for file in (path / "variables").iterdir():
        file.unlink()
    with pytest.raises(ModelError, match="cannot be loaded as a SavedModel") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def calls_python(x):
    import tensorflow as tf

    return {"scores": tf.py_function(lambda v: v, [written.network(x / 255, None)], tf.float32)}


def test_a_saved_model_that_calls_python_is_refused(tmp_path):
    path = written.write_functions(tmp_path / "m", serving_default=(calls_python, written.floats()))
    with pytest.raises(ModelError, match=r"'EagerPyFunc'.*model\.trust"):
        load(path)
