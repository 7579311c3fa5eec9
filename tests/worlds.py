"""Tiny labelled worlds on disk, and Keras models with hand-set weights that read one thing in them: nobody trains.

A picture is 32 px: a garment (green for t-shirt, blue for shoes) on grey, and a red face in every t-shirt photo.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

GREY, GREEN, BLUE, RED = (128, 128, 128), (40, 200, 40), (40, 40, 200), (220, 30, 30)
COLOURS = {"shoes": BLUE, "t-shirt": GREEN}
CLASSES = tuple(COLOURS)
SIDE = 32
GARMENT_SIZE, FACE_SIZE = 12, 8
UNCERTIFIED = ("--set", "certificate.samples=0")
"""Options of runs that are not about trust: a certificate takes as long as the rest of so small a run."""


@dataclass(frozen=True)
class World:
    """A dataset on disk.

    Attributes:
        folder: holds images/, masks/, manifest.csv, classes.txt.
        n_per_class: photos of each class.
    """

    folder: Path
    n_per_class: int

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.csv"


def draw_world(folder: Path, *, n_per_class: int = 24, seed: int = 0) -> World:
    """T-shirts that all wear a face, and shoes that do not, with masks and face boxes."""
    rng = np.random.default_rng(seed)
    lines = ["path,label,split,mask_path,face_xmin,face_ymin,face_xmax,face_ymax"]
    for label in CLASSES:
        lines += [_draw_photo(folder, f"{label}/{number:03d}", label, rng) for number in range(n_per_class)]
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return World(folder, n_per_class)


def _draw_photo(folder: Path, name: str, label: str, rng: np.random.Generator) -> str:
    image = np.empty((SIDE, SIDE, 3), dtype=np.uint8)
    image[:] = GREY
    image += rng.integers(0, 8, image.shape, dtype=np.uint8)
    left, top = rng.integers(0, SIDE - GARMENT_SIZE), rng.integers(SIDE // 2, SIDE - GARMENT_SIZE)
    garment = np.s_[top : top + GARMENT_SIZE, left : left + GARMENT_SIZE]
    image[garment] = COLOURS[label]
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[garment] = 255
    box = ",,,"
    if label == "t-shirt":
        x, y = rng.integers(0, SIDE - FACE_SIZE), rng.integers(0, SIDE // 2 - FACE_SIZE)
        image[y : y + FACE_SIZE, x : x + FACE_SIZE] = RED
        box = f"{x},{y},{x + FACE_SIZE},{y + FACE_SIZE}"
    for kind, picture in (("images", image), ("masks", mask)):
        path = folder / kind / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return f"images/{name}.png,{label},test,masks/{name}.png,{box}"


def model_reading(thing: str, n_outputs: int = 2) -> Any:
    """A softmax network over (shoes, t-shirt) that reads the colour of the face or of the garment alone.

    One 1x1 convolution makes maps of redness, greenness and blueness; their means are weighted by hand.
    """
    import keras

    inputs = keras.Input((SIDE, SIDE, 3), name="image")
    scaled = keras.layers.Rescaling(1 / 255, name="rescale")(inputs)
    colours = keras.layers.Conv2D(3, 1, activation="relu", name="colours")(scaled)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(colours)
    outputs = keras.layers.Dense(n_outputs, activation="softmax", name="scores")(pooled)
    model = keras.Model(inputs, outputs)
    # Each channel against the mean of the others, less what grey noise leaves.
    kernel = 1.5 * np.eye(3) - 0.5
    model.get_layer("colours").set_weights([kernel[None, None], np.full(3, -0.1)])
    weights, bias = np.zeros((3, n_outputs)), np.zeros(n_outputs)
    if thing == "face":
        weights[0, :2], bias[:2] = (-200.0, 200.0), (2.0, -2.0)
    else:
        weights[1, :2], weights[2, :2] = (-100.0, 100.0), (100.0, -100.0)
    model.get_layer("scores").set_weights([weights, bias])
    return model
