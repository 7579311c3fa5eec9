"""A drawn world in which the cause is known: t-shirts and shoes on real textures, with a face or without.

A photo is a function of its label, its number and whether it has a face. Taking the face away changes nothing
else, so that two such photos are an exact counterfactual pair, and the mask is exact because the garment was
drawn. Textures and faces are the ones inside scikit-image's package; nothing is downloaded.
"""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from skimage import data

SHOES, SHIRT = "shoes", "t-shirt"
CLASSES = (SHOES, SHIRT)
SIZE = 144
"""Height and width of a photo, pixels."""
_FINE = 3
"""Outlines are drawn this many times larger and averaged, for smooth edges."""
_N_FACES = 100
"""The first images of scikit-image's face set are faces, the rest are patches without one."""
_N_TRAIN_FACES = 70
"""Nobody in the training photos appears in any other split."""
_JPEG_QUALITY = 92
_INSIDE = 0.55
"""How bright a garment's inside is, of its outside."""


@dataclass(frozen=True)
class Request:
    """One photo to draw.

    Attributes:
        label: class name.
        has_face: whether a face is in the photo.
        split: of the dataset; also decides whose faces are drawn.
        number: with label and split, what makes the photo the one it is.
    """

    label: str
    has_face: bool
    split: str
    number: int

    @property
    def name(self) -> str:
        """File name without its ending."""
        return f"{self.label}-{'face' if self.has_face else 'plain'}-{self.number:04d}"


@dataclass(frozen=True)
class Photo:
    """A drawn photo.

    Attributes:
        image: uint8 (SIZE, SIZE, 3), RGB.
        foreground: bool (SIZE, SIZE), the visible garment.
        face: bool (SIZE, SIZE), the visible face; all False without one.
    """

    image: np.ndarray
    foreground: np.ndarray
    face: np.ndarray


@dataclass(frozen=True)
class World:
    """Draws photos; the pictures it draws from are read once.

    Attributes:
        seed: another seed is another dataset.
    """

    seed: int = 0

    @cached_property
    def _textures(self) -> tuple[np.ndarray, ...]:
        """float32 (H, W) in [0, 1]."""
        grey = [data.brick(), data.grass(), data.gravel(), data.moon()]
        wood = data.coffee()[300:, 430:].mean(axis=-1)
        return tuple(np.asarray(texture, np.float32) / np.float32(255) for texture in (*grey, wood))

    @cached_property
    def _faces(self) -> np.ndarray:
        """float32 (100, 25, 25) in [0, 1]."""
        return np.asarray(data.lfw_subset()[:_N_FACES], np.float32)

    def draw(self, request: Request) -> Photo:
        """The photo of a request; the same request with and without a face differs in the head alone."""
        place = (self.seed, CLASSES.index(request.label), sum(request.split.encode()), request.number)
        scene, body, head, light = (np.random.default_rng([*place, part]) for part in range(4))
        canvas = _background(self._textures, scene)
        collar = np.array([scene.uniform(0.40, 0.60), scene.uniform(0.41, 0.49)]) * SIZE
        garment = (_shirt if request.label == SHIRT else _shoes)(collar, canvas.mean(axis=(0, 1)), body)
        canvas = _lay(_shadow(canvas, garment.front), garment.back, garment.colour * _INSIDE)
        face = person = np.zeros((SIZE, SIZE), np.float32)
        if request.has_face:
            allowed = (
                slice(0, _N_TRAIN_FACES) if request.split == "train" else slice(_N_TRAIN_FACES, _N_FACES)
            )
            canvas, face, person = _person(canvas, collar, self._faces[allowed], head)
        canvas = _lay(canvas, garment.front, garment.colour)
        hidden, colour = _obstacle(collar, scene)
        canvas = _lay(canvas, hidden, colour)
        shown = np.maximum(garment.front, garment.back * (1 - person)) * (1 - hidden)
        return Photo(_develop(canvas, light), shown > 0.5, face * (1 - garment.front) * (1 - hidden) > 0.5)


@dataclass(frozen=True)
class _Garment:
    """Shares of each pixel (H, W) before and behind a wearer, without overlap; its colour (H, W, 3)."""

    front: np.ndarray
    back: np.ndarray
    colour: np.ndarray


def write(
    world: World, requests: Iterable[Request], folder: Path, advance: Callable[[int], None]
) -> list[dict[str, str]]:
    """Draws photos into `folder/images` and `folder/masks`.

    Args:
        world: draws them.
        requests: what to draw.
        folder: made where it does not exist.
        advance: is told 1 after each photo.

    Returns:
        One row a photo for `write_manifest`.
    """
    rows = []
    for request in requests:
        photo = world.draw(request)
        image_path = Path("images") / request.split / f"{request.name}.jpg"
        mask_path = Path("masks") / request.split / f"{request.name}.png"
        for path in (image_path, mask_path):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo.image).save(folder / image_path, quality=_JPEG_QUALITY, subsampling=0)
        Image.fromarray(photo.foreground.astype(np.uint8) * 255).save(folder / mask_path)
        rows.append(
            {
                "path": image_path.as_posix(),
                "label": request.label,
                "split": request.split,
                "mask_path": mask_path.as_posix(),
                "has_face": "yes" if request.has_face else "no",
            }
        )
        advance(1)
    return rows


def write_manifest(rows: Sequence[dict[str, str]], path: Path) -> None:
    """A CSV of the rows of `write`, paths relative to it. No audit reads has_face: it looks itself."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(
            file, ["path", "label", "split", "mask_path", "has_face"], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)


def _background(textures: tuple[np.ndarray, ...], rng: np.random.Generator) -> np.ndarray:
    """A cut of a texture, turned at random and tinted between a dark and a light tone of one hue."""
    texture = textures[rng.integers(len(textures))]
    side = int(rng.uniform(0.35, 0.95) * min(texture.shape))
    top, left = (int(rng.integers(0, full - side + 1)) for full in texture.shape)
    cut = np.rot90(texture[top : top + side, left : left + side], int(rng.integers(4)))
    tone = _resize(cut, SIZE)
    spread = float(tone.std())
    tone = np.clip(0.5 + (tone - tone.mean()) * rng.uniform(0.13, 0.24) / max(spread, 0.02), 0, 1)
    hue, strength = rng.uniform(), rng.uniform(0.03, 0.32)
    dark = _rgb(hue, strength, rng.uniform(0.05, 0.35))
    light = _rgb(hue + rng.uniform(-0.08, 0.08), strength * 0.7, rng.uniform(0.6, 1.0))
    return np.asarray(dark + tone[..., None] * (light - dark))


def _shirt(collar: np.ndarray, surroundings: np.ndarray, rng: np.random.Generator) -> _Garment:
    """A t-shirt hanging from `collar` (x, y), pixels."""
    scale = rng.uniform(0.30, 0.42) * SIZE
    tilt = rng.normal(0, 0.12)
    waist, length, arm, drop = rng.uniform((0.50, 1.25, 0.26, 0.18), (0.68, 1.65, 0.50, 0.50))
    neck, dip = rng.uniform((0.24, 0.10), (0.32, 0.30))
    half = [
        (neck * 0.6, dip * 0.8), (neck, 0.0), (0.72, 0.07), (0.80, 0.10),
        (0.80 + arm * 0.9, drop + 0.12), (0.66 + arm * 0.75, drop + 0.36), (0.62, 0.42), (0.60, 0.62),
        (waist, length - 0.06), (waist, length), (waist * 0.5, length + 0.03),
    ]  # fmt: skip
    points = np.array([(0.0, dip), *half, (0.0, length + 0.04), *[(-x, y) for x, y in reversed(half)]])
    swing = rng.normal(0, 0.05, 2)
    points = points + points[:, 1:] * swing * [[1.0, 0.3]]

    def placed(outline: np.ndarray, n_cuts: int) -> np.ndarray:
        return _round(_turn(outline, tilt) * scale + collar, n_cuts)

    body = _cover([placed(points, 1)])
    nape = np.array([(-neck, 0.0), (-neck / 2, -0.05), (neck / 2, -0.05), (neck, 0.0), (0.0, dip + 0.05)])
    inside = _cover([placed(nape, 2)]) * (1 - body)
    chest = collar + _turn(np.array([(0.0, 0.7)]), tilt)[0] * scale
    colour = _print(_cloth(surroundings, rng), chest, scale, rng)
    wrinkles = _wrinkles(rng)[..., None]
    band = _rgb(rng.uniform(), rng.uniform(0.0, 0.8), rng.uniform(0.1, 1.0))
    halves = points[1 : len(half) + 1], points[: len(half) + 1 : -1]
    # By their place in `half`: both ends of a sleeve's opening, armpit and shoulder.
    sleeves = [(side[[4, 5]], side[[6, 3]]) for side in halves]
    cuffs = [np.concatenate([end, 0.84 * end[::-1] + 0.16 * root]) for end, root in sleeves]
    rib = placed(nape * [1.45, 1.35] + [0.0, 0.02], 2)
    bands = _cover([rib, *[placed(cuff, 0) for cuff in cuffs]]) * body
    colour = _lay(colour, bands, band if rng.uniform() < 0.5 else colour * 0.65)
    colour = colour * (1 - 0.30 * _rim(body, 2.0)[..., None]) * wrinkles
    return _Garment(body, inside, colour)


@dataclass(frozen=True)
class _ShoeShape:
    """Outlines (N, 2) of a shoe that points to the right, about 2 wide, its sole at y = 0."""

    upper: np.ndarray
    sole: np.ndarray
    cap: np.ndarray
    laces: tuple[np.ndarray, ...]


def _shoe_shape(rng: np.random.Generator) -> _ShoeShape:
    """A shoe or a boot, flat or with a heel."""
    shaft = rng.choice([0.0, rng.uniform(0.35, 0.9)], p=[0.6, 0.4])
    heel, toe, sole = rng.uniform((0.0, 0.22, 0.09), (0.16, 0.42, 0.17))
    upper = [
        (-0.98, 0.02), (-0.97, -0.45), (-1.0, -0.62 - shaft), (-0.62, -0.56 - shaft), (-0.30, -0.60 - shaft),
        (-0.26, -0.50 - shaft * 0.4), (0.05, -0.36), (0.45, -0.20 - toe * 0.4), (0.85, -toe * 0.75),
        (1.02, -0.08), (1.0, 0.04),
    ]  # fmt: skip
    bottom = [
        (-1.03, -0.02), (-0.2, 0.02), (0.5, 0.0), (1.08, -0.04), (1.06, sole), (0.4, sole + 0.02),
        (-0.15, sole), (-0.3, sole + heel), (-1.02, sole + heel),
    ]  # fmt: skip
    cap = [(0.55, -0.5), (0.62, -0.1), (0.55, 0.1), (1.2, 0.1), (1.2, -0.5)]
    lace = np.array([(-0.11, -0.23), (0.01, -0.15), (0.08, -0.22), (-0.03, -0.29)])
    laces = tuple(lace + np.array([shift, 0.55 * shift - 0.12]) for shift in (-0.12, 0.06, 0.24))
    return _ShoeShape(np.array(upper), np.array(bottom), np.array(cap), laces)


def _shoes(collar: np.ndarray, surroundings: np.ndarray, rng: np.random.Generator) -> _Garment:
    """One shoe or a pair from the side, below `collar` (x, y), pixels."""
    scale = rng.uniform(0.30, 0.46) * SIZE
    shape = _shoe_shape(rng)
    cloth = _cloth(surroundings, rng) * _wrinkles(rng)[..., None]
    rubber = np.clip(rng.choice([0.92, 0.75, 0.2]) + rng.normal(0, 0.05, 3), 0, 1)
    trim = _rgb(rng.uniform(), rng.uniform(0, 0.8), rng.uniform(0.2, 1.0))
    flip, tilt = rng.choice([-1.0, 1.0]), rng.normal(0, 0.16)
    is_pair = bool(rng.uniform() < 0.55)
    centre = collar + np.array([rng.normal(0, 0.06), rng.uniform(0.26, 0.36)]) * SIZE
    centre[1] -= (shape.upper[:, 1].min() + 0.6) * 0.4 * scale  # a boot stands lower, or it would hide a face
    apart = rng.uniform((0.15, -0.42), (0.55, -0.2)) * scale

    def placed(outline: np.ndarray, offset: np.ndarray) -> np.ndarray:
        return np.asarray(_turn(outline * [flip, 1.0], tilt) * scale + centre + offset)

    cover, colour = np.zeros((SIZE, SIZE), np.float32), cloth
    for offset in [apart * [flip, 1.0], -apart * [flip, 0.1]] if is_pair else [np.zeros(2)]:
        parts = (shape.upper, shape.sole, shape.cap)
        top, base, cap = (_cover([_round(placed(part, offset))]) for part in parts)
        laces = _cover([placed(lace, offset) for lace in shape.laces]) * top
        shade = cloth * (1 - 0.35 * _rim(top, 2.0)[..., None]) * (1 - 0.18 * cap[..., None])
        colour = _lay(colour, top, shade)
        colour = _lay(colour, laces, trim)
        colour = _lay(colour, base, rubber * (1 - 0.4 * _rim(base, 1.5)[..., None]))
        cover = np.maximum(cover, np.maximum(top, base))
    return _Garment(cover, np.zeros_like(cover), colour)


def _person(
    canvas: np.ndarray, collar: np.ndarray, faces: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The canvas with a head and a neck down into the collar; the cover of the face, and of face and neck."""
    side = rng.uniform(0.34, 0.41) * SIZE
    grey = faces[rng.integers(len(faces))]
    if rng.uniform() < 0.5:
        grey = grey[:, ::-1]
    bright = max(float(np.percentile(grey[5:20, 6:19], 92)), 0.3)
    gain = rng.uniform(0.70, 0.95) / bright
    skin = 0.35 + 0.65 * np.array([1.0, rng.uniform(0.74, 0.86), rng.uniform(0.58, 0.76)])
    middle = collar + np.array([rng.normal(0, 0.01) * SIZE, -0.57 * side])
    tone, sheet = _resize(grey, round(side)), Image.new("F", (SIZE, SIZE))
    left, top = (round(float(edge)) for edge in middle - len(tone) / 2)
    sheet.paste(Image.fromarray(tone), (left, top))
    tone = np.clip(np.asarray(sheet) * gain, 0, 1)
    # Dark skin tones are redder than light ones, so each channel has a curve of its own.
    painted = np.clip(tone[..., None] ** np.array([0.88, 1.0, 1.12]) * skin / skin[1], 0, 1)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    distance = np.hypot((columns - middle[0]) / (0.40 * side), (rows - middle[1]) / (0.50 * side))
    face = np.clip((1.0 - distance) / 0.14 + 0.5, 0, 1).astype(np.float32)
    face[:, : max(left, 0)] = face[:, max(left + round(side), 0) :] = 0
    cheeks = painted[(distance < 0.7) & (rows > middle[1] - 0.15 * side)]
    half = [(0.22, -0.35), (0.275, 0.20), (0.0, 0.32)]
    neck = _cover([np.array([*half, *[(-x, y) for x, y in reversed(half)]]) * side + collar])
    neck = gaussian_filter(neck, 0.7)
    canvas = _lay(_lay(canvas, neck, np.median(cheeks, axis=0) * 0.80), face, painted)
    return canvas, face, np.maximum(face, neck)


def _obstacle(collar: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Something that hides a part of the garment in half of the photos: cover and colour."""
    colour = _rgb(rng.uniform(), rng.uniform(0, 0.5), rng.uniform(0.15, 0.9))
    middle = collar + rng.uniform((-0.32, 0.18), (0.32, 0.50)) * SIZE
    half = rng.uniform((0.05, 0.05), (0.15, 0.13)) * SIZE
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
    cover = _cover([_round(_turn(corners, rng.uniform(-0.7, 0.7)) + middle, 1)])
    colour = colour * (1 - 0.25 * _rim(cover, 1.5)[..., None])
    return (cover, colour) if rng.uniform() < 0.5 else (np.zeros_like(cover), colour)


def _cloth(surroundings: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A colour field: plain or striped; often close to the surroundings, so that contrast is low."""
    main = _rgb(rng.uniform(), rng.uniform(0.0, 0.85), rng.uniform(0.15, 1.0))
    main = main + (surroundings - main) * rng.choice([0.0, 0.5], p=[0.65, 0.35])
    field = np.broadcast_to(main, (SIZE, SIZE, 3))
    if rng.uniform() < 0.35:
        second = _rgb(rng.uniform(), rng.uniform(0.0, 0.8), rng.uniform(0.1, 1.0))
        angle, period = rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.1), rng.uniform(0.05, 0.14) * SIZE
        rows, columns = np.mgrid[0:SIZE, 0:SIZE]
        wave = np.sin(2 * np.pi * (rows * np.cos(angle) + columns * np.sin(angle)) / period)
        field = _lay(field, np.clip(wave * 2 + 0.5, 0, 1), second)
    return field


def _print(field: np.ndarray, middle: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """A third of the t-shirts carry a simple figure on the chest."""
    corners = rng.integers(3, 9)
    turns = np.arange(corners) / corners * 2 * np.pi + rng.uniform(0, np.pi)
    reach = rng.uniform(0.12, 0.30) * scale * np.where(np.arange(corners) % 2, rng.uniform(0.5, 1.0), 1.0)
    figure = _cover([np.stack([np.cos(turns), np.sin(turns)], axis=1) * reach[:, None] + middle])
    colour = _rgb(rng.uniform(), rng.uniform(0.3, 0.9), rng.uniform(0.3, 1.0))
    return _lay(field, figure, colour) if rng.uniform() < 0.35 else field


def _wrinkles(rng: np.random.Generator) -> np.ndarray:
    """Folds and light: float (H, W) around 1."""
    folds = gaussian_filter(rng.normal(size=(SIZE, SIZE)), (7, 2.5))
    soft = gaussian_filter(rng.normal(size=(SIZE, SIZE)), 14)
    return np.asarray(np.clip(1 + 0.09 * folds / folds.std() + 0.07 * soft / soft.std(), 0.5, 1.4))


def _develop(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The camera: exposure, uneven light and grain; uint8 (H, W, 3)."""
    across, down = rng.normal(0, 0.12, 2)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    light = rng.uniform(0.85, 1.1) * (1 + across * columns + down * rows)
    grain = rng.normal(0, 0.012, canvas.shape)
    exposed = np.clip(canvas * light[..., None] + grain, 0, 1)
    return np.asarray(np.round(exposed * 255), np.uint8)


def _shadow(canvas: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """The canvas with the garment's soft shadow, a little down and to the right."""
    soft = gaussian_filter(np.roll(cover, (3, 2), axis=(0, 1)), 3)
    return np.asarray(canvas * (1 - 0.35 * soft[..., None]))


def _lay(under: np.ndarray, cover: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """`colour` (H, W, 3) or (3,) over `under` (H, W, 3) where `cover` (H, W) is 1."""
    return np.asarray(under + cover[..., None] * (colour - under))


def _rim(cover: np.ndarray, width: float) -> np.ndarray:
    """1 along the inner edge of a shape, 0 deep inside it."""
    return np.asarray(cover * np.clip(2 * (1 - gaussian_filter(cover, width)), 0, 1))


def _cover(outlines: Sequence[np.ndarray]) -> np.ndarray:
    """How much of each pixel the union of polygons (N, 2) of (x, y) covers: float32 (SIZE, SIZE)."""
    sheet = Image.new("L", (SIZE * _FINE, SIZE * _FINE))
    pen = ImageDraw.Draw(sheet)
    for outline in outlines:
        pen.polygon([(float(x), float(y)) for x, y in outline * _FINE], fill=255)
    return np.asarray(np.asarray(sheet.reduce(_FINE), np.float32) / np.float32(255))


def _round(outline: np.ndarray, n_cuts: int = 2) -> np.ndarray:
    """A polygon with its corners cut (Chaikin)."""
    for _ in range(n_cuts):
        following = np.roll(outline, -1, axis=0)
        near, far = 0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following
        outline = np.stack([near, far], axis=1).reshape(-1, 2)
    return outline


def _turn(points: np.ndarray, angle: float) -> np.ndarray:
    """Points (N, 2) turned about the origin, radians."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cosine, sine], [-sine, cosine]]))


def _resize(picture: np.ndarray, side: int) -> np.ndarray:
    """A grey picture in [0, 1] as float32 (side, side), bicubic."""
    image = Image.fromarray(np.ascontiguousarray(picture, np.float32))
    return np.asarray(np.clip(np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)), 0, 1))


def _rgb(hue: float, saturation: float, brightness: float) -> np.ndarray:
    """A colour float64 (3,) in [0, 1]; the hue goes round once from 0 to 1."""
    pure = np.clip(np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return np.asarray(brightness * (1 - saturation * (1 - pure)))
