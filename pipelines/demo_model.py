"""A small network for the drawn photos, and its training: seconds on two cores, the same from the same seed.

Every source of chance has a seed of its own, so no global random state is set.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.demo_world import CLASSES, SIZE

_FILTERS = ((16, 5, 2), (32, 3, 2), (48, 3, 2), (64, 3, 1), (64, 3, 1))
"""Filters, kernel size and stride of each block; the last map is SIZE / 8 wide, fine enough to point with."""
BATCH_SIZE = 32
_LEARNING_RATE = 3e-3
_SHIFT = 6
"""Training photos are moved by up to so many pixels."""


@dataclass(frozen=True)
class Pictures:
    """Labelled photos in memory.

    Attributes:
        images: uint8 (N, SIZE, SIZE, 3).
        labels: int64 (N,), index into CLASSES.
        has_face: bool (N,), whether one was drawn.
    """

    images: np.ndarray
    labels: np.ndarray
    has_face: np.ndarray


def read(manifest: Path, split: str) -> Pictures:
    """The photos of one split of a manifest."""
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    images = np.empty((len(rows), SIZE, SIZE, 3), np.uint8)
    for index, row in enumerate(rows):
        with Image.open(manifest.parent / row["path"]) as image:
            images[index] = np.asarray(image)
    labels = np.array([CLASSES.index(row["label"]) for row in rows], np.int64)
    return Pictures(images, labels, np.array([row["has_face"] == "yes" for row in rows]))


def train(pictures: Pictures, *, n_steps: int, seed: int, advance: Callable[[int], None]) -> Any:
    """A network trained on the pictures.

    Args:
        pictures: what it learns from.
        n_steps: batches to learn from; the learning rate falls to zero over them.
        seed: of the first weights, the order and the augmentation.
        advance: is told how many pictures each step took.

    Returns:
        A compiled `keras.Model` from float32 (B, SIZE, SIZE, 3) in [0, 255] to probabilities (B, 2).
    """
    import keras

    model = _network(seed)
    falling = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, n_steps)
    model.compile(keras.optimizers.Adam(falling), "sparse_categorical_crossentropy")
    rng = np.random.default_rng([seed, 1])
    waiting = np.empty(0, np.int64)
    for _ in range(n_steps):
        if len(waiting) < BATCH_SIZE:
            waiting = np.concatenate([waiting, rng.permutation(len(pictures.labels))])
        chosen, waiting = waiting[:BATCH_SIZE], waiting[BATCH_SIZE:]
        model.train_on_batch(_augmented(pictures.images[chosen], rng), pictures.labels[chosen])
        advance(len(chosen))
    return model


def is_right(model: Any, pictures: Pictures) -> np.ndarray:
    """bool (N,), whether the model names the picture rightly."""
    scores = model.predict(pictures.images.astype(np.float32), batch_size=BATCH_SIZE, verbose=0)
    return np.asarray(scores.argmax(axis=1) == pictures.labels)


def _network(seed: int) -> Any:
    """Convolutions, the mean over space, and a softmax."""
    import keras
    from keras import layers

    def start(place: int) -> Any:
        return keras.initializers.HeNormal(seed=1000 * seed + place)

    inputs = layers.Input((SIZE, SIZE, 3), name="photo")
    features = layers.Rescaling(1 / 127.5, offset=-1.0, name="to_minus_one_to_one")(inputs)
    for place, (filters, kernel, stride) in enumerate(_FILTERS):
        features = layers.Conv2D(
            filters,
            kernel,
            stride,
            padding="same",
            use_bias=False,
            kernel_initializer=start(place),
            name=f"conv_{place}",
        )(features)
        # A few hundred steps are too few for the usual momentum of 0.99 to forget the first weights.
        features = layers.BatchNormalization(momentum=0.9, name=f"norm_{place}")(features)
        features = layers.ReLU(name=f"relu_{place}")(features)
    pooled = layers.GlobalAveragePooling2D(name="mean")(features)
    # From zero the weights of the two classes stay opposite, so that a score holds nothing but what tells them
    # apart; a common part, which softmax ignores and training leaves as it was drawn, would blur every map.
    outputs = layers.Dense(
        len(CLASSES), activation="softmax", kernel_initializer="zeros", name="probabilities"
    )(pooled)
    return keras.Model(inputs, outputs, name="shoes_or_t_shirt")


def _augmented(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8 images as float32 in [0, 255], mirrored, moved, brighter or darker, and shifted in colour."""
    padded = np.pad(images, ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0)), mode="reflect")
    changed = np.empty(images.shape, np.float32)
    for index, image in enumerate(padded):
        top, left = rng.integers(0, 2 * _SHIFT + 1, 2)
        moved = image[top : top + SIZE, left : left + SIZE]
        changed[index] = moved[:, ::-1] if rng.uniform() < 0.5 else moved
    factors = rng.uniform(0.8, 1.2, (len(images), 1, 1, 1)) * rng.uniform(0.9, 1.1, (len(images), 1, 1, 3))
    return np.clip(changed * factors.astype(np.float32), 0, 255)
