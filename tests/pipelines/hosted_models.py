"""SavedModels as the hosted services took them, small enough to be checked by hand, and their metadata.

The classes are "left", "right" and "none" of a picture of 16 x 16: the brightness of a half times WEIGHT, and 0.
"""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

SIZE = 16
WEIGHT = 0.01
NAMES = ["left", "right", "none"]


def weights() -> np.ndarray:
    """float32 (3, 16, 16, 3)."""
    values = np.zeros((3, SIZE, SIZE, 3), np.float32)
    values[0, :, : SIZE // 2] = WEIGHT
    values[1, :, SIZE // 2 :] = WEIGHT
    return values


def scores_of(pixels: Any) -> Any:
    """Probabilities of pictures in [0, 1]."""
    return tf.nn.softmax(tf.einsum("bhwc,khwc->bk", pixels, tf.constant(weights())))


def decoded(files: Any) -> Any:
    """Pictures in [0, 1] of JPEG or PNG bytes."""

    def one(contents: Any) -> Any:
        photo = tf.io.decode_image(contents, channels=3, expand_animations=False)
        return tf.image.resize(tf.cast(photo, tf.float32) / 255.0, (SIZE, SIZE))

    return tf.map_fn(one, files, fn_output_signature=tf.TensorSpec((SIZE, SIZE, 3), tf.float32))


class Pixels(tf.Module):
    """Float pictures in, probabilities out."""

    @tf.function(input_signature=[tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32, name="pixels")])
    def serve(self, pixels):
        return {"scores": scores_of(pixels)}


class Logits(tf.Module):
    """Float pictures in, logits out."""

    @tf.function(input_signature=[tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32, name="pixels")])
    def serve(self, pixels):
        return {"scores": tf.einsum("bhwc,khwc->bk", pixels, tf.constant(weights()))}


class Scalar(tf.Module):
    """Float pictures in, one probability out."""

    @tf.function(input_signature=[tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32, name="pixels")])
    def serve(self, pixels):
        value = tf.einsum("bhwc,hwc->b", pixels, tf.constant(weights()[0] - weights()[1]))
        return {"scores": tf.sigmoid(value[:, None])}


class Files(tf.Module):
    """File bytes in, probabilities out, and the pair for explanations."""

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="bytes")])
    def serve(self, bytes):  # noqa: A002
        return {"scores": scores_of(decoded(bytes))}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="bytes")])
    def preprocess(self, bytes):  # noqa: A002
        return {"pixels": decoded(bytes)}

    @tf.function(input_signature=[tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32, name="pixels")])
    def model(self, pixels):
        return {"scores": scores_of(pixels)}


def save_pixels(folder: Path) -> Path:
    return _saved(Pixels(), folder, "serve")


def save_logits(folder: Path) -> Path:
    return _saved(Logits(), folder, "serve")


def save_scalar(folder: Path) -> Path:
    return _saved(Scalar(), folder, "serve")


def save_strings(folder: Path) -> Path:
    """A serving_default of strings alone."""
    return _saved(Files(), folder, "serve")


def save_pair(folder: Path) -> Path:
    """xai_preprocess and xai_model beside a serving_default of strings."""
    module = Files()
    signatures = {
        "serving_default": module.serve,
        "xai_preprocess": module.preprocess,
        "xai_model": module.model,
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def save_graph(folder: Path) -> Path:
    """A graph of TensorFlow 1 with the tensors input_pixels:0 and probabilities:0."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        pixels = tf.compat.v1.placeholder(tf.float32, (None, SIZE, SIZE, 3), name="input_pixels")
        scores = tf.identity(scores_of(pixels), name="probabilities")
        tf.compat.v1.saved_model.simple_save(session, str(folder), {"x": pixels}, {"y": scores})
    return folder


def _saved(module: tf.Module, folder: Path, function: str) -> Path:
    tf.saved_model.save(module, str(folder), signatures={"serving_default": getattr(module, function)})
    return folder


def ai_platform(**image: Any) -> dict[str, Any]:
    """An explanation_metadata.json for `save_pixels`; keywords add to the input."""
    return {
        "framework": "tensorflow2",
        "inputs": {
            "image": {
                "input_tensor_name": "pixels",
                "modality": "image",
                "domain": {"min": 0, "max": 1},
                **image,
            }
        },
        "outputs": {"probability": {"output_tensor_name": "scores", "index_name_mapping": NAMES}},
    }


def vertex(parameters: dict[str, Any] | None = None, **image: Any) -> dict[str, Any]:
    """An ExplanationSpec for `save_pixels` in camelCase; keywords add to the input."""
    return {
        "parameters": parameters or {"integratedGradientsAttribution": {"stepCount": 10}},
        "metadata": {
            "inputs": {
                "image": {
                    "inputTensorName": "pixels",
                    "modality": "image",
                    "featureValueDomain": {"minValue": 0, "maxValue": 1},
                    **image,
                }
            },
            "outputs": {"probability": {"outputTensorName": "scores", "indexDisplayNameMapping": NAMES}},
        },
    }


def written(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def photo(left: int = 200, right: int = 50, size: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    """uint8 (H, W, 3): two grey halves."""
    pixels = np.full((*size, 3), right, np.uint8)
    pixels[:, : size[1] // 2] = left
    return pixels


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def b64(contents: bytes) -> str:
    return base64.b64encode(contents).decode("ascii")
