"""Model files: every format gives the same numbers, every fault a sentence, and nothing runs unasked."""

import hashlib
import json
import os
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from audit.classifier import Head
from audit.errors import ConfigError, ModelError
from pipelines.config import ModelConfig
from pipelines.models import load_classifier, model_digest, preprocessing_of, read_classes

SIZE = 12
RNG = np.random.default_rng(0)
IMAGES = RNG.random((5, SIZE, SIZE, 3), dtype=np.float32)
TARGETS = np.array([0, 1, 2, 0, 1])
NAMES = ["hat", "shirt", "shoe"]


def convolutional(activation: str | None = "softmax", units: int = 3, size: int | None = SIZE) -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    images = keras.Input((size, size, 3), name="photo")
    x = layers.Rescaling(1 / 127.5, offset=-1)(images)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="map")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, layers.Dense(units, activation=activation, name="classes")(x))
    rng = np.random.default_rng(1)
    norm = model.get_layer("norm")
    norm.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in norm.get_weights()])
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """One model in every format."""
    folder = tmp_path_factory.mktemp("models")
    model = convolutional()
    paths = {name: folder / f"model{name}" for name in (".keras", ".h5", "_exported", "_saved")}
    model.save(paths[".keras"])
    model.save(paths[".h5"])
    model.export(paths["_exported"], verbose=False)
    tf.saved_model.save(model, str(paths["_saved"]))
    return paths


def load(path: Path, **settings):
    config = ModelConfig(path=path, **{"classes": NAMES, **settings})
    return load_classifier(config, batch_size=4, callers=1)


def relative(found, expected) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


# Formats.


@pytest.mark.parametrize("name", [".h5", "_exported", "_saved"])
def test_every_format_gives_the_logits_and_gradients_of_the_keras_file(files, name):
    expected, found = load(files[".keras"]).classifier, load(files[name]).classifier
    assert found.head is Head.SOFTMAX
    assert relative(found.logits(IMAGES), expected.logits(IMAGES)) < 1e-4
    assert (
        relative(found.input_gradients(IMAGES, TARGETS)[1], expected.input_gradients(IMAGES, TARGETS)[1])
        < 1e-4
    )
    for mine, theirs in zip(
        found.layer_gradients(IMAGES, TARGETS), expected.layer_gradients(IMAGES, TARGETS), strict=True
    ):
        assert relative(mine, theirs) < 1e-4


@pytest.mark.parametrize("name", [".keras", ".h5", "_exported", "_saved"])
def test_the_probabilities_are_those_of_keras_on_the_same_pixels(files, name):
    expected = convolutional()(IMAGES * 255, training=False)
    np.testing.assert_allclose(load(files[name]).classifier.probabilities(IMAGES), expected, atol=1e-5)


def test_the_last_feature_map_of_each_format(files):
    assert load(files[".keras"]).classifier.feature_layer == "map"
    assert load(files["_exported"]).classifier.feature_layer.endswith("Relu")


def test_a_feature_layer_can_be_chosen_and_an_unknown_one_is_refused(files):
    assert load(files[".keras"], feature_layer="norm").classifier.feature_layer == "norm"
    with pytest.raises(ModelError, match=r"did you mean 'map'"):
        load(files[".keras"], feature_layer="mapp")


def test_the_kernels_of_a_saved_model_can_be_randomised(files):
    classifier = load(files["_exported"]).classifier
    before = classifier.logits(IMAGES)
    drawn = classifier.randomised(classifier.weight_groups, 0)
    assert len(classifier.weight_groups) == 2
    assert np.abs(drawn.logits(IMAGES) - before).max() > 1e-3
    np.testing.assert_array_equal(classifier.logits(IMAGES), before)
    np.testing.assert_array_equal(
        drawn.logits(IMAGES), classifier.randomised(classifier.weight_groups, 0).logits(IMAGES)
    )


def test_what_was_loaded_is_described_for_the_manifest(files):
    loaded = load(files[".keras"])
    assert json.loads(json.dumps(loaded.description)) == loaded.description
    assert loaded.description["is_folded"] is True
    assert loaded.description["image_shape"] == [SIZE, SIZE]
    assert loaded.digest == hashlib.sha256(files[".keras"].read_bytes()).hexdigest()


def test_the_digest_of_a_folder_follows_contents_and_names(tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "a").write_text("1")
    first = model_digest(tmp_path)
    (tmp_path / "variables" / "a").rename(tmp_path / "b")
    assert model_digest(tmp_path) != first
    (tmp_path / "b").rename(tmp_path / "variables" / "a")
    assert model_digest(tmp_path) == first


# Heads.


def test_a_single_sigmoid_is_a_binary_model_with_two_names(tmp_path):
    convolutional("sigmoid", 1).save(tmp_path / "m.keras")
    loaded = load(tmp_path / "m.keras", classes=["cat", "dog"])
    expected = convolutional("sigmoid", 1)(IMAGES * 255, training=False)[:, 0]
    assert loaded.classifier.head is Head.BINARY
    np.testing.assert_allclose(loaded.classifier.probabilities(IMAGES)[:, 1], expected, atol=1e-5)
    with pytest.raises(ModelError, match=r"2 classes \(one output stands for two.*but 1 names"):
        load(tmp_path / "m.keras", classes=["dog"])


@pytest.mark.parametrize("exported", [False, True])
def test_several_sigmoids_are_independent_classes(tmp_path, exported):
    model = convolutional("sigmoid")
    path = tmp_path / ("folder" if exported else "m.keras")
    model.export(path, verbose=False) if exported else model.save(path)
    classifier = load(path).classifier
    assert classifier.head is Head.SIGMOID
    np.testing.assert_allclose(
        classifier.probabilities(IMAGES), model(IMAGES * 255, training=False), atol=1e-5
    )


def test_outputs_that_are_logits_are_taken_as_they_are_or_as_stated(tmp_path):
    convolutional(None).save(tmp_path / "m.keras")
    assert load(tmp_path / "m.keras").classifier.head is Head.SOFTMAX
    assert load(tmp_path / "m.keras", outputs="sigmoid").classifier.head is Head.SIGMOID


def test_a_statement_about_the_outputs_that_is_wrong_is_refused(files):
    with pytest.raises(ModelError, match=r"'sigmoid', but the model ends in a softmax"):
        load(files[".keras"], outputs="sigmoid")


def test_an_open_input_size_must_be_given(tmp_path):
    convolutional(size=None).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match=r"model.input_size"):
        load(tmp_path / "m.keras")
    assert load(tmp_path / "m.keras", input_size=(20, 30)).classifier.image_shape == (20, 30)


def test_an_open_input_size_of_a_saved_model_must_be_given(tmp_path):
    convolutional(size=None).export(tmp_path / "m", verbose=False)
    with pytest.raises(ModelError, match=r"model.input_size"):
        load(tmp_path / "m")
    classifier = load(tmp_path / "m", input_size=(SIZE, SIZE)).classifier
    expected = convolutional(size=None)(IMAGES * 255, training=False)
    np.testing.assert_allclose(classifier.probabilities(IMAGES), expected, atol=1e-5)


# Safety.


def test_a_lambda_layer_is_refused_and_does_not_run(tmp_path):
    canary = tmp_path / "canary"
    path = str(canary)
    images = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Lambda(lambda v: (open(path, "w").close(), v)[1])(images)  # noqa: PTH123
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(images, x)
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
    canary.unlink(missing_ok=True)
    for name in ("m.keras", "m.h5"):
        with pytest.raises(ModelError, match=r"holds Python code.*model.trust"):
            load(tmp_path / name)
    assert not canary.exists()
    assert load(tmp_path / "m.keras", trust=True).classifier.logits(IMAGES).shape == (5, 3)
    assert canary.exists()


class WritesAFile(tf.Module):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = str(path)

    @tf.function(input_signature=[tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32)])
    def __call__(self, images):
        tf.io.write_file(self.path, "it ran")
        return tf.reduce_mean(images, axis=[1, 2])


def test_a_saved_model_that_writes_a_file_is_refused_and_the_file_is_not_written(tmp_path):
    module = WritesAFile(tmp_path / "canary")
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.__call__)
    (tmp_path / "canary").unlink(missing_ok=True)
    with pytest.raises(ModelError, match=r"'WriteFile'.*model.trust"):
        load(tmp_path / "m")
    assert not (tmp_path / "canary").exists()


def test_an_operation_that_is_not_part_of_tensorflow_is_named(files, tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    stored = saved_model_pb2.SavedModel.FromString((files["_exported"] / "saved_model.pb").read_bytes())
    stored.meta_graphs[0].graph_def.node[0].op = "StealKeys"
    (tmp_path / "saved_model.pb").write_bytes(stored.SerializeToString())
    with pytest.raises(ModelError, match=r"'StealKeys'.*not part of TensorFlow"):
        load(tmp_path)


# Faults.


class Doubled(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2


def unknown_layer(folder: Path) -> Path:
    images = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(Doubled()(images)))
    keras.Model(images, x).save(folder / "custom.keras")
    return folder / "custom.keras"


def truncated(folder: Path, name: str) -> Path:
    path = folder / name
    convolutional().save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def text(folder: Path) -> Path:
    path = folder / "text.keras"
    path.write_text("not a model")
    return path


def grey(folder: Path) -> Path:
    path = folder / "grey.keras"
    keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]).save(path)
    return path


def exported_grey(folder: Path) -> Path:
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.export(folder / "grey", verbose=False)
    return folder / "grey"


def broken_folder(folder: Path) -> Path:
    (folder / "saved_model.pb").write_bytes(b"\xff\xff not a graph")
    return folder


def two_outputs(folder: Path) -> Path:
    images = keras.Input((SIZE, SIZE, 3))
    means = keras.layers.GlobalAveragePooling2D()(images)
    heads = [keras.layers.Dense(3, name=name)(means) for name in ("kinds", "colours")]
    keras.Model(images, heads).save(folder / "two.keras")
    return folder / "two.keras"


def pipe(folder: Path) -> Path:
    """Whoever opens it waits for a writer that never comes."""
    os.mkfifo(folder / "pipe.keras")
    return folder / "pipe.keras"


def link_to_a_device(folder: Path) -> Path:
    """It never ends."""
    (folder / "zero.h5").symlink_to("/dev/zero")
    return folder / "zero.h5"


def bomb(folder: Path) -> Path:
    path = folder / "bomb.keras"
    convolutional().save(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros", bytes(150_000_000))
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.keras", "there is no such model"),
        (lambda folder: folder, "expected a SavedModel folder"),
        (lambda folder: Path(__file__), r"\.keras or \.h5 file"),
        (lambda folder: truncated(folder, "half.keras"), "expected a .keras file.*a part of one"),
        (lambda folder: truncated(folder, "half.h5"), "cannot be loaded"),
        (text, "expected a .keras file, which is a zip archive"),
        (two_outputs, "expected a model with one output, the classes; found 2: kinds, colours"),
        (pipe, "found a pipe, a device or a socket"),
        (link_to_a_device, "found a pipe, a device or a socket"),
        (bomb, r"refused: \d+ bytes that unpack to 1\d{8}, more than 100 times"),
        (broken_folder, "damaged"),
        (unknown_layer, "custom layer.*Doubled.*model.export"),
        (exported_grey, r"RGB images.*the model takes \(None, 4, 4, 1\)"),
        (grey, r"RGB images, \(N, height, width, 3\); the model takes \(None, 4, 4, 1\)"),
    ],
)
def test_a_model_that_cannot_be_used_is_one_sentence_that_names_the_file(tmp_path, make, message):
    path = make(tmp_path)
    with pytest.raises(ModelError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


# Class names.


def test_class_names_that_do_not_fit_the_outputs_give_both_numbers(files):
    with pytest.raises(ModelError, match=r"3 classes, but 2 names are given: hat, shirt"):
        load(files[".keras"], classes=["hat", "shirt"])


def test_missing_class_names_say_where_they_were_looked_for(files):
    with pytest.raises(ModelError, match=r"its 3 classes are missing.*model\.classes\.txt"):
        load(files[".keras"], classes=None)


@pytest.mark.parametrize("name", ["m.classes.txt", "classes.txt", "class_names.txt", "labels.txt"])
def test_class_names_are_found_beside_the_model(tmp_path, name):
    (tmp_path / name).write_text("hat\nshirt\nshoe\n\n", encoding="utf-8-sig")
    assert read_classes(ModelConfig(path=tmp_path / "m.keras")) == ("hat", "shirt", "shoe")


def test_a_models_own_class_file_wins_over_a_shared_one(tmp_path):
    (tmp_path / "classes.txt").write_text("a\nb")
    (tmp_path / "m.classes.txt").write_text("c\nd")
    assert read_classes(ModelConfig(path=tmp_path / "m.keras")) == ("c", "d")


def test_class_names_are_found_in_the_metadata_of_a_keras_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3", "class_names": NAMES}))
    assert read_classes(ModelConfig(path=tmp_path / "m.keras")) == tuple(NAMES)


def test_class_names_in_a_pipe_are_refused_and_nobody_waits(tmp_path):
    with pytest.raises(ModelError, match="expected a file of class names, found a pipe"):
        read_classes(ModelConfig(path=tmp_path / "m.keras", classes=pipe(tmp_path)))


def test_no_class_names_anywhere_is_none(tmp_path):
    assert read_classes(ModelConfig(path=tmp_path / "m.keras")) is None


@pytest.mark.parametrize(
    ("names", "message"),
    [("hat\nhat\n", "more than once: hat"), ("hat\n\nshoe\n", "line 2 is empty"), ("", "line 1 is empty")],
)
def test_class_names_that_cannot_be_told_apart_are_refused(tmp_path, names, message):
    (tmp_path / "names.txt").write_text(names)
    with pytest.raises(ModelError, match=message):
        read_classes(ModelConfig(path=tmp_path / "m.keras", classes=tmp_path / "names.txt"))


def test_a_class_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"names\.txt: there is no such file"):
        read_classes(ModelConfig(path=tmp_path / "m.keras", classes=tmp_path / "names.txt"))


# Preprocessing: what the model is fed for a pixel of red 1, green 0.5, blue 0.


@pytest.mark.parametrize(
    ("settings", "fed"),
    [
        ({}, (255.0, 127.5, 0.0)),
        ({"value_range": (-1, 1)}, (1.0, 0.0, -1.0)),
        ({"value_range": (0, 1), "colour_order": "bgr"}, (0.0, 0.5, 1.0)),
        ({"preset": "tf"}, (1.0, 0.0, -1.0)),
        ({"preset": "torch"}, (0.515 / 0.229, 0.044 / 0.224, -0.406 / 0.225)),
        ({"preset": "caffe"}, (-103.939, 127.5 - 116.779, 255 - 123.68)),
        ({"mean": [0.5, 0.25, 0.0], "std": [0.5, 0.25, 1.0]}, (1.0, 1.0, 0.0)),
        ({"mean": [0.5, 0.25, 0.0], "std": [0.5, 0.25, 1.0], "colour_order": "bgr"}, (0.0, 1.0, 1.0)),
    ],
)
def test_preprocessing(settings, fed):
    found = preprocessing_of(ModelConfig(path="m.keras", **settings))
    pixel = np.array([1.0, 0.5, 0.0])[:: -1 if found.is_reversed else 1]
    np.testing.assert_allclose(pixel * found.scale + found.offset, fed, atol=1e-9)


@pytest.mark.parametrize("preset", ["tf", "torch", "caffe"])
def test_presets_are_those_of_keras_applications(preset):
    found = preprocessing_of(ModelConfig(path="m.keras", preset=preset))
    ordered = IMAGES[..., ::-1] if found.is_reversed else IMAGES
    # Keras writes into the array it is given.
    expected = keras.applications.imagenet_utils.preprocess_input((IMAGES * 255).copy(), mode=preset)
    np.testing.assert_allclose(ordered * found.scale + found.offset, expected, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"mean": [0.5, 0.5, 0.5]},
        {"mean": [0.5], "std": [0.5]},
        {"mean": [0, 0, 0], "std": [1, 0, 1]},
        {"preset": "tf", "mean": [0, 0, 0], "std": [1, 1, 1]},
        {"preset": "tf", "value_range": (0, 1)},
    ],
)
def test_preprocessing_that_contradicts_itself_is_refused(settings):
    with pytest.raises(ConfigError, match=r"model"):
        preprocessing_of(ModelConfig(path="m.keras", **settings))
