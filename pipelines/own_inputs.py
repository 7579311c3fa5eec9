"""A model's own way from an encoded picture to its input: what it does to colours and places, measured.

A SavedModel that takes JPEG or PNG bytes decodes, resizes and scales by itself. Pictures then go through it as
they will in production, and what it does is found out by pictures whose pixels are known, because masks have to
follow the picture and maps are taken in pixels of [0, 1]. It has to be affine a channel, and to place pixels as
one of our own ways to resize does.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from audit.classifier import Preprocessing
from audit.errors import ModelError
from pipelines.geometry import Geometry

Read = Callable[[bytes], np.ndarray]
"""Encoded picture -> float32 (h, w, 3), what the network is fed."""

_GREY_LEVEL = 1 / 255
_COLOURS = (
    (0, 0, 0),
    (255, 255, 255),
    (255, 0, 0),
    (51, 51, 51),
    (128, 128, 128),
    (200, 30, 90),
)
"""The first three say what is done to colours, the others whether that is all."""
_SAYS_NOTHING = "Graph execution error:"
"""The first line of whatever goes wrong in a graph."""
_EXPORT = (
    "export the signatures xai_preprocess (bytes to pictures) and xai_model (pictures to scores), or a signature "
    "of float pictures"
)


@dataclass(frozen=True)
class OwnInputs:
    """A model's own preprocessing.

    Attributes:
        read: the preprocessing as the model has it.
        is_base64: it takes web-safe base64 of the file instead of the file.
        preprocessing: what it does to colours: from pixels in [0, 1] to what `read` gives.
        mode: where it puts pixels.
        target: (height, width) of what it gives.
    """

    read: Read
    is_base64: bool
    preprocessing: Preprocessing
    mode: Literal["stretch", "crop", "pad"]
    target: tuple[int, int]

    def image(self, upright: np.ndarray) -> np.ndarray:
        """float32 (h, w, 3), RGB, black 0 and white 1, of upright uint8 (H, W, 3).

        `preprocessing` turns it into the very numbers that the model itself makes of the picture, up to the
        rounding of float32; a resize that overshoots gives values beyond [0, 1].
        """
        return _pixels(self.read(_encoded(upright, self.is_base64)), self.preprocessing)


def measured(read: Read) -> OwnInputs:
    """What a preprocessing does.

    Raises:
        ModelError: it cannot read a PNG, or does more to a picture than scaling its channels and placing it by
            "stretch", "crop" or "pad".
    """
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)
    is_base64, shown = _first_read(read, grey)
    if shown.ndim != 3 or shown.shape[2] != 3:
        raise ModelError(
            f"its own preprocessing gives pictures of shape {shown.shape}, not (height, width, 3)"
        )
    target = (int(shown.shape[0]), int(shown.shape[1]))

    def fed(pixels: np.ndarray) -> np.ndarray:
        values = read(_encoded(pixels, is_base64))
        if values.shape != (*target, 3):
            raise ModelError(
                f"its own preprocessing gives pictures of different sizes, {target} and {values.shape[:2]}; "
                "export one that resizes to the network's size"
            )
        return values

    preprocessing = _measured_colours(fed, target)
    return OwnInputs(read, is_base64, preprocessing, _measured_mode(fed, target, preprocessing), target)


def _first_read(read: Read, pixels: np.ndarray) -> tuple[bool, np.ndarray]:
    """Whether the file has to be given as base64, and what came back."""
    import tensorflow as tf

    cause = ""
    for is_base64 in (False, True):
        try:
            return is_base64, read(_encoded(pixels, is_base64))
        except (tf.errors.OpError, ValueError) as error:
            lines = [line for line in str(error).splitlines() if line and line != _SAYS_NOTHING]
            cause = cause or next(iter(lines), "")
    raise ModelError(f"its own preprocessing cannot read a PNG file: {cause[:200]}; {_EXPORT}")


def _encoded(pixels: np.ndarray, is_base64: bool) -> bytes:
    """uint8 (H, W, 3) as PNG, without any loss; quickly packed rather than small."""
    import tensorflow as tf

    png = bytes(tf.io.encode_png(pixels, compression=1).numpy())
    return base64.urlsafe_b64encode(png).rstrip(b"=") if is_base64 else png


def _measured_colours(fed: Callable[[np.ndarray], np.ndarray], target: tuple[int, int]) -> Preprocessing:
    """Scale, offset and order of the channels, from pictures of one colour that are already of the target's size."""
    shown = [fed(np.full((*target, 3), colour, dtype=np.uint8)).astype(np.float64) for colour in _COLOURS]
    values = [picture.mean(axis=(0, 1)) for picture in shown]
    offset, scale = values[0], values[1] - values[0]
    size = np.abs(scale).min()
    if size > 0 and np.isfinite(scale).all():
        is_reversed = bool(abs((values[2] - offset)[2]) > abs((values[2] - offset)[0]))
        order = slice(None, None, -1 if is_reversed else None)
        expected = [np.array(colour)[order] / 255 * scale + offset for colour in _COLOURS]
        errors = [np.abs(picture - value).max() for picture, value in zip(shown, expected, strict=True)]
        if max(errors) <= _GREY_LEVEL * size:
            return Preprocessing(_three(scale), _three(offset), is_reversed)
    raise ModelError(
        "its own preprocessing does more to colours than a scale and an offset a channel, so that pictures "
        f"cannot be changed and shown in pixels; {_EXPORT}, with anything else inside the network"
    )


def _measured_mode(
    fed: Callable[[np.ndarray], np.ndarray], target: tuple[int, int], preprocessing: Preprocessing
) -> Literal["stretch", "crop", "pad"]:
    """Which of our ways to place pixels it is, on a wide and on a tall picture, to about a pixel."""
    height, width = target
    ramps = [_ramps(2 * height, 3 * width), _ramps(3 * height, 2 * width)]
    shown = [_pixels(fed(ramp), preprocessing) for ramp in ramps]
    modes: tuple[Literal["stretch", "crop", "pad"], ...] = ("stretch", "crop", "pad")
    for mode in modes:
        if all(_fits(picture, ramp, mode) for picture, ramp in zip(shown, ramps, strict=True)):
            return mode
    is_mirrored = _fits(shown[0][:, ::-1], ramps[0], "stretch") or _fits(shown[0][::-1], ramps[0], "stretch")
    done = "mirrors pictures" if is_mirrored else "moves pixels in a way that is no stretch, crop or pad"
    raise ModelError(
        f"its own preprocessing {done}, so that masks cannot follow; {_EXPORT}, with a plain resize"
    )


def _ramps(height: int, width: int) -> np.ndarray:
    """uint8 (height, width, 3): red grows to the right, green downwards; blue is grey."""
    down, across = (np.arange(n) + 0.5 for n in (height, width))
    red = np.broadcast_to(across / width, (height, width))
    green = np.broadcast_to((down / height)[:, None], (height, width))
    shares = np.stack([red, green, np.full_like(red, 0.5)], axis=-1)
    return np.round(shares * 255).astype(np.uint8)


def _fits(picture: np.ndarray, ramp: np.ndarray, mode: Literal["stretch", "crop", "pad"]) -> bool:
    """Whether every pixel is found at most one and a half pixels from where `mode` puts it."""
    target = (picture.shape[0], picture.shape[1])
    expected = Geometry((ramp.shape[1], ramp.shape[0]), 1, target, mode, antialias=False).image(ramp)
    around = np.pad(expected, ((1, 1), (1, 1), (0, 0)), mode="edge")
    moved = [around[top : top + target[0], left : left + target[1]] for top in range(3) for left in range(3)]
    apart = np.min([np.abs(picture - place).max(axis=-1) for place in moved], axis=0)
    return bool(apart.max() <= 2 * _GREY_LEVEL + 0.5 / min(target))


def _pixels(fed: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """RGB pixels, black 0 and white 1, of what the network is fed."""
    pixels = (fed - np.array(preprocessing.offset)) / np.array(preprocessing.scale)
    return np.ascontiguousarray(pixels[..., ::-1] if preprocessing.is_reversed else pixels, dtype=np.float32)


def _three(values: np.ndarray) -> tuple[float, float, float]:
    return (float(values[0]), float(values[1]), float(values[2]))
