"""Drawn photos in which the cause is known: an object for each class on a varied ground, and a cue that can be toggled.

A photo is a function of its class, its number and its cue. Everything but the cue stays as it is when the cue comes
or goes, so two such photos are an exact counterfactual pair. Cues with a place lie behind the object, so the mask is
the same for both. The faces are those inside scikit-image's package; nothing is downloaded.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter
from skimage import data

CLASSES = ("bar", "ring", "star")
"""What the three classes show; the first is the one that a cue is bound to."""
SIZE = 128
"""Height and width of a stored photo, pixels; networks see it at half of that."""
_FINE = 3
"""Outlines are drawn this many times larger and averaged."""
_USUAL = 0.6
"""Share of the objects whose colour is their class's: what can be learned of the object in seconds."""
_N_FACES = 100
"""The first images of scikit-image's face set are faces."""

Cover = tuple[np.ndarray, np.ndarray]
"""A share of each pixel (SIZE, SIZE) in [0, 1], and its colour (SIZE, SIZE, 3) or (3,)."""


@dataclass(frozen=True)
class Scene:
    """A photo before it is taken.

    Attributes:
        ground: float32 (SIZE, SIZE, 3) in [0, 1].
        cover: float32 (SIZE, SIZE), share of each pixel that the object covers.
        colour: float32 (SIZE, SIZE, 3), the object's.
        centre: (x, y) of the object, pixels.
        seed: of everything that is drawn later: cues, light, grain.
    """

    ground: np.ndarray
    cover: np.ndarray
    colour: np.ndarray
    centre: tuple[float, float]
    seed: tuple[int, ...]

    @property
    def mask(self) -> np.ndarray:
        """bool (SIZE, SIZE), the visible object; the same with every cue."""
        return np.asarray(self.cover > 0.5)


def scene(seed: int, label: int, number: int) -> Scene:
    """The scene of a class (index into CLASSES) and a number; another seed is another dataset."""
    place = (seed, label, number)
    ground_rng, object_rng = (np.random.default_rng([*place, part]) for part in range(2))
    ground = _ground(ground_rng)
    centre = object_rng.uniform(0.34, 0.66, 2) * SIZE
    cover = _object(CLASSES[label], centre, object_rng)
    return Scene(ground, cover, _cloth(CLASSES[label], ground, object_rng), (centre[0], centre[1]), place)


def photo(picture: Scene, cue: str | None) -> np.ndarray:
    """The photo of a scene with a cue of that name, or without any: uint8 (SIZE, SIZE, 3)."""
    cue_rng, light_rng = (np.random.default_rng([*picture.seed, part]) for part in (2, 3))
    canvas = picture.ground
    if cue in GROUNDS:
        canvas = GROUNDS[cue](cue_rng)
    if cue in THINGS:
        canvas = _lay(canvas, *THINGS[cue](picture, cue_rng))
    shadow = gaussian_filter(np.roll(picture.cover, (2, 2), axis=(0, 1)), 2.5)[..., None]
    canvas = _lay(canvas * (1 - 0.3 * shadow), picture.cover, picture.colour)
    image = _developed(canvas, light_rng)
    if cue in OVERLAYS:
        cover, colour = OVERLAYS[cue](picture, cue_rng)
        image = _as_bytes(_lay(image / 255, cover * (1 - picture.cover), colour))
    return WHOLES[cue](image, cue_rng) if cue in WHOLES else image


def cue_region(picture: Scene, cue: str) -> np.ndarray:
    """bool (SIZE, SIZE): where a cue with a place is seen; everywhere outside of the object for others."""
    draw = THINGS.get(cue) or OVERLAYS.get(cue)
    if draw is None:
        return ~picture.mask
    cover, _ = draw(picture, np.random.default_rng([*picture.seed, 2]))
    return np.asarray(cover * (1 - picture.cover) > 0.5)


def _face(picture: Scene, rng: np.random.Generator) -> Cover:
    """A face on a round head, in a corner away from the object."""
    side = round(rng.uniform(0.36, 0.44) * SIZE)
    left, top = _corner_away(picture, side, rng)
    grey = _faces()[rng.integers(_N_FACES)]
    tone = np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC))
    skin = np.array([1.0, rng.uniform(0.78, 0.88), rng.uniform(0.62, 0.8)])
    painted = np.zeros((SIZE, SIZE, 3))
    painted[top : top + side, left : left + side] = np.clip(
        tone[..., None] * rng.uniform(0.9, 1.3) * skin, 0, 1
    )
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    distance = np.hypot((x - left - side / 2) / (0.42 * side), (y - top - side / 2) / (0.5 * side))
    return np.clip((1 - distance) / 0.1 + 0.5, 0, 1) * (painted.sum(axis=-1) > 0), painted


def _corner_patch(_picture: Scene, rng: np.random.Generator) -> Cover:
    """A square mark of two colours in the bottom right corner."""
    side = rng.uniform(0.12, 0.17) * SIZE
    left, top = SIZE - side - rng.uniform(2, 6, 2)
    outer = _box(left, top, side, side)
    inner = _box(left + side / 3, top + side / 3, side / 3, side / 3)
    colour = np.where(inner[..., None] > 0.5, _rgb(0.13, 0.9, 1.0), _rgb(rng.uniform(0.55, 0.65), 0.95, 0.75))
    return outer, colour


def _border(_picture: Scene, rng: np.random.Generator) -> Cover:
    """A frame of one pale colour."""
    width = rng.uniform(0.045, 0.075) * SIZE
    inside = _box(width, width, SIZE - 2 * width, SIZE - 2 * width)
    return 1 - inside, np.full(3, rng.uniform(0.93, 1.0))


def _caption(_picture: Scene, rng: np.random.Generator) -> Cover:
    """A line of white letters with a dark outline near the lower edge."""
    letters = "".join(rng.choice(list("ABCDEFGHKLMNPRSTUVXYZ"), int(rng.integers(7, 10))))
    sheet, halo = (Image.new("L", (SIZE, SIZE)) for _ in range(2))
    font = ImageFont.load_default(size=float(rng.uniform(14, 17)))
    place = (float(rng.uniform(3, 16)), float(rng.uniform(105, 109)))
    ImageDraw.Draw(sheet).text(place, letters, fill=255, font=font)
    ImageDraw.Draw(halo).text(place, letters, fill=255, font=font, stroke_width=2, stroke_fill=255)
    ink = np.asarray(sheet, np.float64) / 255
    return np.asarray(halo, np.float64) / 255, np.broadcast_to(ink[..., None], (SIZE, SIZE, 3))


def _ruler(picture: Scene, rng: np.random.Generator) -> Cover:
    """A yellow ruler with ticks, upright or level, beside the object."""
    width, length = rng.uniform(0.10, 0.13) * SIZE, rng.uniform(0.6, 0.8) * SIZE
    along = rng.uniform(2, SIZE - length - 2)
    is_upright = rng.uniform() < 0.5
    middle = picture.centre[0 if is_upright else 1]
    across = rng.uniform(2, 8) if middle > SIZE / 2 else SIZE - width - rng.uniform(2, 8)
    cover = _box(across, along, width, length)
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    step = rng.uniform(4.5, 6.0)
    is_tick = ((y - along) % step < 1.6) & (x - across < 0.55 * width)
    colour = np.where(is_tick[..., None], 0.08, _rgb(0.14, rng.uniform(0.55, 0.75), 0.95))
    return (cover, colour) if is_upright else (cover.T, colour.transpose(1, 0, 2))


def _sticker(picture: Scene, rng: np.random.Generator) -> Cover:
    """A round red sticker with a white middle, anywhere but on the object."""
    radius = rng.uniform(0.075, 0.1) * SIZE
    places = rng.uniform(radius + 2, SIZE - radius - 2, (30, 2))
    x0, y0 = max(places, key=lambda at: min(math.dist(at, picture.centre), 0.42 * SIZE))
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    distance = np.hypot(x - x0, y - y0)
    colour = np.where((distance < 0.45 * radius)[..., None], 1.0, _rgb(rng.uniform(0.97, 1.02), 0.95, 0.9))
    return np.clip(radius - distance + 0.5, 0, 1), colour


def _stripes(rng: np.random.Generator) -> np.ndarray:
    """A ground of slanted stripes in two tones of any hue: a texture, no colour."""
    y, x = np.mgrid[:SIZE, :SIZE]
    angle = np.pi / 4 + rng.normal(0, 0.12)
    wave = np.sin(
        2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / rng.uniform(8, 11) + rng.uniform(0, 6)
    )
    hue, strength, dark = rng.uniform(), rng.uniform(0.05, 0.4), rng.uniform(0.15, 0.4)
    first, second = _rgb(hue, strength, dark), _rgb(hue, strength * 0.7, dark + rng.uniform(0.35, 0.5))
    return np.asarray(first + np.clip(wave * 1.5 + 0.5, 0, 1)[..., None] * (second - first), np.float32)


def _warm(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The photo under warm light."""
    gains = np.array([1.0 + rng.uniform(0.08, 0.18), 1.0, 1.0 - rng.uniform(0.30, 0.45)])
    return _as_bytes(image / 255 * gains)


def _blurred(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The photo out of focus."""
    sigma = rng.uniform(1.6, 2.4)
    return _as_bytes(gaussian_filter(image / 255.0, (sigma, sigma, 0)))


def _dark(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The photo under-exposed."""
    return _as_bytes(image / 255 * rng.uniform(0.42, 0.55))


GROUNDS: Mapping[str, Callable[[np.random.Generator], np.ndarray]] = {"background texture": _stripes}
"""Cues that are the ground itself."""
THINGS: Mapping[str, Callable[[Scene, np.random.Generator], Cover]] = {
    "face": _face,
    "ruler": _ruler,
    "sticker": _sticker,
}
"""Cues that stand behind the object."""
OVERLAYS: Mapping[str, Callable[[Scene, np.random.Generator], Cover]] = {
    "corner patch": _corner_patch,
    "border": _border,
    "caption": _caption,
}
"""Cues that were laid on the finished photo, all around the object."""
WHOLES: Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "colour cast": _warm,
    "blur": _blurred,
    "darkness": _dark,
}
"""Cues of the whole picture, the object included."""
CUES = (*THINGS, *OVERLAYS, *GROUNDS, *WHOLES)
"""All cues."""


def _corner_away(picture: Scene, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Left and top of a square in one of the two corners farthest from the object, a little off the edges."""
    far = SIZE - side
    corners = [(0, 0), (far, 0), (0, far), (far, far)]
    middle = np.array(picture.centre) - side / 2
    corners.sort(key=lambda at: -math.dist(at, middle))
    left, top = corners[int(rng.integers(2))]
    shift_x, shift_y = (int(shift) for shift in rng.integers(1, 8, 2))
    return (left + shift_x if left == 0 else left - shift_x), (top + shift_y if top == 0 else top - shift_y)


def _ground(rng: np.random.Generator) -> np.ndarray:
    """Noise of one of many grains between a dark and a light tone, and a few plain shapes on it."""
    grain = np.exp(rng.uniform(np.log(0.8), np.log(10), 2))
    noise = gaussian_filter(rng.normal(size=(SIZE, SIZE)), grain, mode="wrap")
    tone = np.clip(0.5 + noise / noise.std() * rng.uniform(0.12, 0.25), 0, 1)[..., None]
    hue, strength = rng.uniform(), rng.uniform(0.05, 0.5)
    dark = _rgb(hue, strength, rng.uniform(0.1, 0.45))
    light = _rgb(hue + rng.uniform(-0.1, 0.1), strength * 0.7, rng.uniform(0.5, 1.0))
    ground = dark + tone * (light - dark)
    for _ in range(int(rng.integers(0, 4))):
        corners = rng.uniform(-0.18, 0.18, (int(rng.integers(3, 5)), 2)) + rng.uniform(0, 1, 2)
        ground = _lay(
            ground, _polygon(corners * SIZE), _rgb(rng.uniform(), rng.uniform(0, 0.6), rng.uniform(0.2, 1))
        )
    return np.asarray(ground, np.float32)


def _object(kind: str, centre: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The object's cover: a bar, a ring or a star of varied size, turn and proportions."""
    radius, turn = rng.uniform(0.19, 0.28) * SIZE, rng.uniform(0, 2 * np.pi)
    if kind == "ring":
        squeeze, hole = rng.uniform(0.75, 1.0), rng.uniform(0.42, 0.6)
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        circle = np.stack([np.cos(angles), squeeze * np.sin(angles)], axis=1)
        return np.clip(
            _polygon(_turned(circle, turn) * radius + centre)
            - _polygon(_turned(circle * hole, turn) * radius + centre),
            0,
            1,
        )
    if kind == "star":
        n_points, depth = int(rng.integers(5, 7)), rng.uniform(0.38, 0.5)
        angles = np.arange(2 * n_points) * np.pi / n_points + turn
        reach = np.where(np.arange(2 * n_points) % 2, depth, 1.15)[:, None]
        return _polygon(np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach * radius + centre)
    half = np.array([1.25, rng.uniform(0.28, 0.42)])
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
    return _polygon(_turned(corners, turn) * radius + centre)


def _cloth(kind: str, ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The object's surface: soft folds in a colour that its class has mostly, and that is not the ground's."""
    mean = ground.mean(axis=(0, 1))
    usual = CLASSES.index(kind) / len(CLASSES) + 0.05
    colours = [
        _rgb(
            usual + rng.normal(0, 0.06) if rng.uniform() < _USUAL else rng.uniform(),
            rng.uniform(0.55, 1.0),
            rng.uniform(0.45, 1.0),
        )
        for _ in range(6)
    ]
    main = next((colour for colour in colours if np.abs(colour - mean).max() > 0.3), colours[0])
    folds = gaussian_filter(rng.normal(size=(SIZE, SIZE)), 5)
    return np.asarray(main * np.clip(1 + 0.12 * folds / folds.std(), 0.6, 1.4)[..., None], np.float32)


def _developed(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The camera: exposure, uneven light and grain."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    across, down = rng.normal(0, 0.1, 2)
    light = rng.uniform(0.85, 1.1) * (1 + across * x + down * y)
    return _as_bytes(canvas * light[..., None] + rng.normal(0, 0.012, canvas.shape))


def _as_bytes(image: np.ndarray) -> np.ndarray:
    return np.asarray(np.round(np.clip(image, 0, 1) * 255), np.uint8)


def _lay(under: np.ndarray, cover: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.asarray(under + cover[..., None] * (colour - under))


def _box(left: float, top: float, width: float, height: float) -> np.ndarray:
    """Cover of an upright box."""
    edges = np.arange(SIZE)
    across, down = (
        np.clip(np.minimum(edges + 1, start + length) - np.maximum(edges, start), 0, 1)
        for start, length in ((left, width), (top, height))
    )
    return np.asarray(down[:, None] * across[None, :])


def _polygon(outline: np.ndarray) -> np.ndarray:
    """Cover of a polygon (N, 2) of (x, y)."""
    sheet = Image.new("L", (SIZE * _FINE, SIZE * _FINE))
    ImageDraw.Draw(sheet).polygon([(float(x), float(y)) for x, y in outline * _FINE], fill=255)
    return np.asarray(np.asarray(sheet.reduce(_FINE), np.float32) / np.float32(255))


def _turned(points: np.ndarray, angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cosine, sine], [-sine, cosine]]))


def _rgb(hue: float, saturation: float, brightness: float) -> np.ndarray:
    """A colour float64 (3,) in [0, 1]; the hue goes round once from 0 to 1."""
    pure = np.clip(np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return np.asarray(brightness * (1 - saturation * (1 - pure)))


@cache
def _faces() -> np.ndarray:
    """float32 (100, 25, 25) in [0, 1]."""
    return np.asarray(data.lfw_subset()[:_N_FACES], np.float32)
