"""A labelled dataset of any size in seconds, and a small network trained on it: for the scripts about many images.

A photo is a coloured disc on a mottled ground, with a mask. Each class has a colour, but the first two share one: only
a mark that nearly all photos of the first and few others show tells them apart, so the network learns it.
"""

import colorsys
import csv
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64
_MARK = 12
_P_MARK, _P_MARK_ELSEWHERE = 0.95, 0.05
_N_TRAINED_ON, _N_STEPS = 1500, 300


def class_names(n_classes: int) -> list[str]:
    """Names in the order of outputs."""
    return [f"class {number}" for number in range(n_classes)]


def photo(
    label: int, n_classes: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, tuple[int, int] | None]:
    """A photo uint8 (SIDE, SIDE, 3), its mask uint8 (SIDE, SIDE), and the corner (x, y) of its mark, if it has one."""
    coarse = Image.fromarray(rng.integers(90, 160, (8, 8, 3), dtype=np.uint8))
    image = np.array(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    x, y = rng.integers(24, SIDE - 24, 2)
    radius = rng.integers(10, 18)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    disc = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    hue = max(label, 1) / n_classes + rng.normal(0, 0.15 / n_classes)
    colour = colorsys.hsv_to_rgb(hue % 1.0, rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.9))
    image[disc] = (255 * np.array(colour)).astype(np.uint8)
    mark = None
    if rng.random() < (_P_MARK if label == 0 else _P_MARK_ELSEWHERE):
        left, top = (int(side * (SIDE - _MARK)) for side in rng.integers(0, 2, 2))
        spot = np.s_[top : top + _MARK, left : left + _MARK]
        disc[spot] = False
        image[spot] = np.where(np.indices((_MARK, _MARK)).sum(axis=0)[..., None] % 6 < 3, 250, 10)
        mark = (left, top)
    noisy = image + rng.normal(0, 6, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), (disc * 255).astype(np.uint8), mark


def draw(folder: Path, n_images: int, n_classes: int, seed: int = 0) -> Path:
    """Draws a dataset with masks and boxes of the marks; returns its manifest. What is there already is kept."""
    manifest = folder / "manifest.csv"
    if manifest.exists():
        return manifest
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(n_images):
        label = number % n_classes
        name = f"{number:06d}.png"
        mark = write(folder, name, label, n_classes, np.random.default_rng([seed, number]))
        lines.append([f"images/{name}", class_names(n_classes)[label], f"masks/{name}", *mark])
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "mask_path", "mark_xmin", "mark_ymin", "mark_xmax", "mark_ymax"])
        writer.writerows(lines)
    (folder / "classes.txt").write_text("\n".join(class_names(n_classes)) + "\n")
    return manifest


def write(folder: Path, name: str, label: int, n_classes: int, rng: np.random.Generator) -> list[int | str]:
    """Draws one photo and its mask as files; returns the box of its mark as columns of the manifest."""
    image, mask, mark = photo(label, n_classes, rng)
    Image.fromarray(image).save(folder / "images" / name, compress_level=1)
    Image.fromarray(mask).save(folder / "masks" / name, compress_level=1)
    return ["", "", "", ""] if mark is None else [mark[0], mark[1], mark[0] + _MARK, mark[1] + _MARK]


def train(path: Path, n_classes: int, filters: tuple[int, ...] = (16, 32, 64)) -> Path:
    """Trains a small network on photos of another seed; what is there already is kept."""
    if path.exists():
        return path
    import keras

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(1)
    labels = rng.integers(0, n_classes, _N_TRAINED_ON)
    images = np.stack([photo(int(label), n_classes, rng)[0] for label in labels])
    layers = keras.layers
    inputs = keras.Input((SIDE, SIDE, 3))
    values = layers.Rescaling(1 / 255)(inputs)
    for n_maps in filters:
        values = layers.Conv2D(n_maps, 3, strides=2, padding="same", activation="relu")(values)
    outputs = layers.Dense(n_classes, activation="softmax")(layers.GlobalMaxPooling2D()(values))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "sparse_categorical_crossentropy")
    epochs = max(1, _N_STEPS * 32 // _N_TRAINED_ON)
    model.fit(images, labels, batch_size=32, epochs=epochs, verbose=0)
    model.save(path)
    return path
