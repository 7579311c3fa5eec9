"""What networks of both kinds share: shapes of their two ends, logits behind probabilities, weights drawn anew.

Where outputs are probabilities and their activation cannot be found (it is inside a subclassed model), logits are
recovered as log p or log(p / (1 - p)).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from audit.errors import ModelError

TOLERANCE = 1e-4
"""Largest difference of outputs that are the same but for rounding, relative to the largest output."""


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


def probe_images(image_shape: tuple[int, int]) -> np.ndarray:
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


def class_rows(outputs: Any, n_rows: int | None) -> Any:
    """Outputs as rows of classes, (N, K).

    One number an image, (N,), is one class; spatial axes of size 1, (N, 1, 1, K), are left away. Where calls
    have a fixed number of rows and that is 1, a row without its first axis is one as well. Other shapes stay.
    """
    import tensorflow as tf

    rank = outputs.shape.rank
    if n_rows == 1 and rank in (0, 1):
        return tf.reshape(outputs, (1, -1))
    if rank == 1:
        return tf.expand_dims(outputs, -1)
    if rank == 4 and outputs.shape[1] == 1 and outputs.shape[2] == 1:
        return tf.squeeze(outputs, [1, 2])
    return outputs


def activated(logits: Any, activation: str | None) -> Any:
    """What the model gives for these logits."""
    import tensorflow as tf

    if activation == "softmax":
        return tf.nn.softmax(logits)
    return tf.nn.sigmoid(logits) if activation == "sigmoid" else logits


def agree(found: Any, expected: Any) -> bool:
    """Whether outputs are the same but for rounding."""
    mine, theirs = np.asarray(found), np.asarray(expected)
    if mine.shape != theirs.shape:
        return False
    return bool(np.abs(mine - theirs).max() <= TOLERANCE * np.abs(theirs).max())


def n_outputs_of(shape: tuple[int, ...], activation: str | None) -> int:
    """K of outputs (N, K).

    Raises:
        ModelError: another rank, or a softmax over one unit, which is always 1.
    """
    if len(shape) != 2:
        raise ModelError(
            f"expected an output of one row of classes an image, (N, K); the model gives {shape}"
        )
    if activation == "softmax" and shape[1] == 1:
        raise ModelError(
            "the model ends in a softmax over one unit, which is always 1; a binary model ends in a sigmoid"
        )
    return int(shape[1])


def recovery(found: str | None, stated: str, values: np.ndarray) -> tuple[str | None, bool]:
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


def logits_of(probabilities: Any, activation: str | None) -> Any:
    """Logits that give the probabilities; at 0 and 1, where there are none, those of the nearest float32."""
    import tensorflow as tf

    held = tf.clip_by_value(tf.cast(probabilities, tf.float32), float(np.finfo(np.float32).tiny), 1.0)
    if activation == "softmax":
        return tf.math.log(held)
    return tf.math.log(held) - tf.math.log(tf.maximum(1.0 - held, float(np.finfo(np.float32).epsneg)))
