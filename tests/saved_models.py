"""Writers of model files of every kind, all of one network whose scores and gradients are known in closed form.

On a picture in [0, 1] the feature map is relu(picture @ KERNEL * SCALE + SHIFT), which is positive throughout, and
the logits are its mean over space @ HEAD + BIAS. So logits are linear in the picture's mean colour. Pictures are
SIZE pixels high and wide; each kind of file takes them in its own form.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 12
KERNEL = np.array([[1, 2, 0, 1], [0, 1, 3, 1], [2, 0, 1, 1]], dtype=np.float32)
"""(3, 4) of a convolution by single pixels."""
SCALE = np.array([1, 0.5, 2, 3], dtype=np.float32)
SHIFT = np.array([0.5, 0.25, 1, 0], dtype=np.float32)
HEAD = np.array([[1, 0, -1], [0, 2, 0], [1, -1, 0], [0, 0, 1]], dtype=np.float32)
BIAS = np.array([0.5, 0, -0.5], dtype=np.float32)
EPSILON = 1e-3


def logits(pictures: np.ndarray, units: int = 3) -> np.ndarray:
    """(N, units) of pictures (N, SIZE, SIZE, 3) in [0, 1]."""
    maps = pictures.astype(np.float64) @ KERNEL * SCALE + SHIFT
    return np.asarray(maps.mean(axis=(1, 2)) @ HEAD[:, :units] + BIAS[:units])


def gradients(targets: np.ndarray) -> np.ndarray:
    """(N, SIZE, SIZE, 3): of the target's logit by each pixel, everywhere the same."""
    by_colour = ((KERNEL * SCALE) @ HEAD).T[targets] / SIZE**2
    return np.broadcast_to(by_colour[:, None, None], (len(targets), SIZE, SIZE, 3))


def layer_gradients(targets: np.ndarray) -> np.ndarray:
    """(N, SIZE, SIZE, 4): of the target's logit by the feature map."""
    return np.broadcast_to((HEAD.T[targets] / SIZE**2)[:, None, None], (len(targets), SIZE, SIZE, 4))


def network(pictures: Any, activation: str | None, units: int = 3) -> Any:
    """Scores (N, units) of a tensor of pictures in [0, 1], with a batch norm of TensorFlow 1."""
    import tensorflow as tf

    mixed = tf.nn.conv2d(pictures, KERNEL.reshape(1, 1, 3, 4), 1, "SAME", name="conv")
    # A batch norm that comes to SCALE and SHIFT: a mean of 1 and a variance of 4 are taken into both.
    normed, _, _ = tf.compat.v1.nn.fused_batch_norm(
        mixed,
        SCALE * np.sqrt(np.float32(4 + EPSILON)),
        SHIFT + SCALE,
        np.ones(4, np.float32),
        np.full(4, 4, np.float32),
        epsilon=EPSILON,
        is_training=False,
        name="norm",
    )
    maps = tf.nn.relu(normed, name="maps")
    scores = tf.add(tf.reduce_mean(maps, [1, 2]) @ HEAD[:, :units], BIAS[:units], name="logits")
    functions: dict[str | None, Callable[..., Any]] = {"softmax": tf.nn.softmax, "sigmoid": tf.nn.sigmoid}
    return functions.get(activation, tf.identity)(scores, name="scores")


def keras_model(activation: str | None = "softmax", units: int = 3) -> Any:
    """The network in Keras, fed 0 to 255."""
    import keras

    layers = keras.layers
    images = keras.Input((SIZE, SIZE, 3), name="pixels")
    x = layers.Rescaling(1 / 255)(images)
    x = layers.Conv2D(4, 1, use_bias=False, name="conv")(x)
    x = layers.BatchNormalization(name="norm", epsilon=EPSILON)(x)
    x = layers.ReLU(name="maps")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, layers.Dense(units, activation=activation, name="head")(x))
    model.get_layer("conv").set_weights([KERNEL.reshape(1, 1, 3, 4)])
    model.get_layer("norm").set_weights(
        [SCALE * np.sqrt(np.float32(4 + EPSILON)), SHIFT + SCALE, np.ones(4), np.full(4, 4)]
    )
    model.get_layer("head").set_weights([HEAD[:, :units], BIAS[:units]])
    return model


def write_keras(path: Path, activation: str | None = "softmax", units: int = 3) -> Path:
    """A `.keras` file."""
    keras_model(activation, units).save(path.with_suffix(".keras"))
    return path.with_suffix(".keras")


def write_export(path: Path, activation: str | None = "softmax", units: int = 3) -> Path:
    """What `model.export` makes."""
    keras_model(activation, units).export(path, verbose=False)
    return path


def write_functions(path: Path, holds: Any = None, **functions: tuple[Callable[[Any], Any], Any]) -> Path:
    """A SavedModel of functions, a signature each: name=(function, spec or specs); `holds` has their variables."""
    import tensorflow as tf

    module = tf.Module()
    module.holds = holds
    traced = {
        name: tf.function(
            function, input_signature=spec if isinstance(spec, list) else [spec], autograph=False
        )
        for name, (function, spec) in functions.items()
    }
    for name, function in traced.items():
        setattr(module, name, function)
    tf.saved_model.save(module, str(path), signatures=traced)
    return path


def floats(n: int | None = None) -> Any:
    """Float pictures, n at a time."""
    import tensorflow as tf

    return tf.TensorSpec((n, SIZE, SIZE, 3), tf.float32, name="pixels")


def files(name: str = "image_bytes") -> Any:
    """Any number of files."""
    import tensorflow as tf

    return tf.TensorSpec((None,), tf.string, name=name)


def write_floats(path: Path, activation: str | None = "softmax", units: int = 3) -> Path:
    """A signature of float pictures in 0 to 255."""
    return write_functions(
        path, serving_default=(lambda x: {"scores": network(x / 255, activation, units)}, floats())
    )


def write_bytes(path: Path, activation: str | None = "softmax", units: int = 3) -> Path:
    """A signature of uint8 pictures."""
    import tensorflow as tf

    def scores(pictures: Any) -> Any:
        return {"scores": network(tf.cast(pictures, tf.float32) / 255, activation, units)}

    spec = tf.TensorSpec((None, SIZE, SIZE, 3), tf.uint8, name="pixels")
    return write_functions(path, serving_default=(scores, spec))


def decoded(encoded: Any, place: Callable[[Any], Any] | None = None, is_base64: bool = False) -> Any:
    """Files as pictures in [-1, 1]; `place` brings them to the size, by default `tf.image.resize`."""
    import tensorflow as tf

    def one(file: Any) -> Any:
        pixels = tf.io.decode_image(
            tf.io.decode_base64(file) if is_base64 else file, channels=3, expand_animations=False
        )
        placed = place(pixels) if place else tf.image.resize(pixels, (SIZE, SIZE))
        return tf.ensure_shape(placed, (SIZE, SIZE, 3))

    return tf.map_fn(one, encoded, fn_output_signature=tf.float32) / 127.5 - 1


def write_files(
    path: Path,
    activation: str | None = "softmax",
    units: int = 3,
    place: Callable[[Any], Any] | None = None,
    is_base64: bool = False,
) -> Path:
    """A signature of file bytes, and nothing else."""

    def scores(encoded: Any) -> Any:
        return {"scores": network((decoded(encoded, place, is_base64) + 1) / 2, activation, units)}

    return write_functions(path, serving_default=(scores, files()))


def write_pair(path: Path, activation: str | None = "softmax", units: int = 3) -> Path:
    """File bytes in `serving_default`, and the pair that explanations need; channels are BGR in between."""

    def preprocess(encoded: Any) -> Any:
        return {"pixels": decoded(encoded)[..., ::-1]}

    def scores(pictures: Any) -> Any:
        return {"scores": network((pictures[..., ::-1] + 1) / 2, activation, units)}

    return write_functions(
        path,
        serving_default=(lambda encoded: scores(preprocess(encoded)["pixels"]), files()),
        xai_preprocess=(preprocess, files()),
        xai_model=(scores, floats()),
    )


def write_graph(
    path: Path,
    activation: str | None = "softmax",
    units: int = 3,
    *,
    is_resource: bool = True,
    n_rows: int | None = None,
    with_signature: bool = True,
    tags: tuple[tuple[str, ...], ...] = (("serve",),),
) -> Path:
    """A graph of TensorFlow 1 with variables, tensors `pixels:0` (0 to 255) and `scores:0`."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        pixels = v1.placeholder(tf.float32, (n_rows, SIZE, SIZE, 3), name="pixels")
        v1.placeholder_with_default(False, (), name="is_training")
        weight = v1.get_variable("weight", initializer=np.float32(1 / 255), use_resource=is_resource)
        scores = network(pixels * weight, activation, units)
        if units == 1:
            scores = tf.squeeze(scores, 1, name="flat")
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(path))
        signature = v1.saved_model.predict_signature_def({"image": pixels}, {"probabilities": scores})
        signatures = {"serving_default": signature} if with_signature else {}
        builder.add_meta_graph_and_variables(session, list(tags[0]), signature_def_map=signatures)
        for others in tags[1:]:
            builder.add_meta_graph(list(others), signature_def_map=signatures)
        builder.save()
    return path


WRITERS: dict[str, Callable[..., Path]] = {
    "keras": write_keras,
    "export": write_export,
    "floats": write_floats,
    "uint8": write_bytes,
    "files": write_files,
    "pair": write_pair,
    "graph": write_graph,
}
"""One writer a kind of file: (path, activation, units) -> the file or folder."""
