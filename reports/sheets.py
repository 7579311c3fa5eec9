"""Small pictures of many samples, joined to sheets: what the gallery shows.

A sheet holds the same samples several times over, as pictures of their own, which a page lays one over the other: the
photo; each method's map in grey, from no mass (black) to the strongest, which the page colours; and the outlines, white
round the labelled object and dashed yellow round named other things, both cased in dark. A page could draw outlines
from masks, but then each took the browser ten times as long as the whole tile without them.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from audit.types import FOREGROUND
from reports.visualization import published, signed_strength

PHOTO, THINGS = "photo", "things"
PHOTO_PIXELS, MAP_PIXELS = 96, 48
"""Long sides. Maps are smooth, and are drawn larger than they are stored."""
COLUMNS = 6
N_TILES = COLUMNS**2
"""Tiles of a sheet. A page sorted by a score shows tiles of as many sheets as it shows samples, and a browser decodes
whole sheets, so they are small; a file for each sample would be many files."""
MARGIN = 1
"""Pixels round a tile that repeat its border, or an enlarged tile would show the edge of its neighbour."""
_DASH = 5
_FOREGROUND_INK, _THING_INK, _CASING_INK = (255, 255, 255, 255), (255, 221, 64, 255), (10, 12, 16, 255)


@dataclass(frozen=True)
class Small:
    """The small pictures of one sample.

    Attributes:
        sample_id: the sample.
        digest: of its image file; a picture is shown with the numbers of the same file only.
        photo: uint8 (h, w, 3), the long side PHOTO_PIXELS.
        things: uint8 (h, w, 4), of the same size: the outlines, transparent elsewhere.
        maps: uint8 (h, w) by method, the long side MAP_PIXELS.
    """

    sample_id: str
    digest: str
    photo: np.ndarray
    things: np.ndarray
    maps: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Sheet:
    """The small pictures of up to N_TILES samples, COLUMNS in a row: the photos as JPEG, the others as WebP.

    JPEG takes a third more bytes than WebP, and a tenth of the time; a run has the time for no more.

    Attributes:
        sample_ids: of the tiles, row by row.
        digests: of their image files.
        shape: (height, width) of the model's input, which all tiles have in small.
        pictures: PHOTO, THINGS and the methods -> file content, PHOTO first.
    """

    sample_ids: tuple[str, ...]
    digests: tuple[str, ...]
    shape: tuple[int, int]
    pictures: Mapping[str, bytes]

    @property
    def name(self) -> str:
        """By what it shows: two sheets of one name are the same."""
        seen = hashlib.sha256(repr((self.sample_ids, self.digests)).encode("utf-8", "backslashreplace"))
        return seen.hexdigest()[:16]


def small(
    sample: tuple[str, str],
    image: np.ndarray,
    foreground: np.ndarray,
    regions: Mapping[str, np.ndarray],
    masses: Mapping[str, np.ndarray],
) -> Small:
    """One sample, shrunk.

    Args:
        sample: its id, and the digest of its image file.
        image: uint8 (H, W, 3).
        foreground: uint8 (H, W) of BACKGROUND, FOREGROUND, IGNORE.
        regions: bool (H, W) by name.
        masses: by method, float (H, W), non-negative. Shrinking sums up mass, so grains of a map do not cancel.
    """
    coarse, fine = (_shrunk_size(image.shape[:2], side) for side in (MAP_PIXELS, PHOTO_PIXELS))
    other = np.zeros(image.shape[:2], dtype=bool)
    for region in regions.values():
        other |= region
    object_, thing = (_shrunk(mask * np.uint8(255), fine) > 127 for mask in (foreground == FOREGROUND, other))
    return Small(
        *sample,
        photo=_shrunk(image, fine),
        things=_outlines(object_, thing),
        maps={method: _grey(_shrunk(mass, coarse), method) for method, mass in masses.items()},
    )


def join(tiles: Sequence[Small], shape: tuple[int, int]) -> Sheet:
    """Tiles of one run, 1 to N_TILES of them, as a sheet; `shape` is (height, width) of the model's input."""
    if not 1 <= len(tiles) <= N_TILES:
        raise ValueError(f"expected 1 to {N_TILES} tiles for a sheet, found {len(tiles)}")
    pictures = {
        PHOTO: _encoded(_grid([tile.photo for tile in tiles]), "JPEG", quality=65),
        # Without loss, or lines would blur; of four colours, they are small.
        THINGS: _encoded(_grid([tile.things for tile in tiles]), "WEBP", lossless=True, method=0),
    }
    for method in tiles[0].maps:
        maps = _grid([tile.maps[method] for tile in tiles])
        pictures[method] = _encoded(maps, "WEBP", quality=60, method=2)
    ids, digests = tuple(tile.sample_id for tile in tiles), tuple(tile.digest for tile in tiles)
    return Sheet(ids, digests, shape, pictures)


def cut(tiles: Sequence[Small], shape: tuple[int, int]) -> list[Sheet]:
    """Any number of tiles as sheets."""
    return [join(tiles[start : start + N_TILES], shape) for start in range(0, len(tiles), N_TILES)]


def places(drawn: Sequence[Sheet], digests: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """(sheet, tile) of each sample whose picture is of the file that was scored; the first sheet counts.

    Args:
        drawn: sheets.
        digests: of the image files that were scored, by sample id.
    """
    found: dict[str, tuple[int, int]] = {}
    for number, sheet in enumerate(drawn):
        for tile, (sample_id, digest) in enumerate(zip(sheet.sample_ids, sheet.digests, strict=True)):
            if digests.get(sample_id) == digest:
                found.setdefault(sample_id, (number, tile))
    return found


def cut_out(sheet: Sheet, tile: int) -> Small:
    """One sample of a sheet again, but for what JPEG and WebP lost."""
    parts = {kind: _cut(content, tile, sheet, kind) for kind, content in sheet.pictures.items()}
    photo, things = np.asarray(parts.pop(PHOTO)), np.asarray(parts.pop(THINGS).convert("RGBA"))
    maps = {method: np.asarray(part.convert("L")) for method, part in parts.items()}
    return Small(sheet.sample_ids[tile], sheet.digests[tile], photo, things, maps)


def _cut(content: bytes, tile: int, sheet: Sheet, kind: str) -> Image.Image:
    """The place of a tile on one picture of a sheet."""
    side = PHOTO_PIXELS if kind in (PHOTO, THINGS) else MAP_PIXELS
    width, height = _shrunk_size(sheet.shape, side)
    left, top = (
        number * (pixels + 2 * MARGIN) + MARGIN
        for number, pixels in ((tile % COLUMNS, width), (tile // COLUMNS, height))
    )
    with Image.open(io.BytesIO(content)) as whole:
        return whole.crop((left, top, left + width, top + height))


def _shrunk_size(shape: tuple[int, ...], long_side: int) -> tuple[int, int]:
    """(width, height) with the sides in proportion."""
    height, width = shape
    scale = long_side / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shrunk(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture, uint8 or float, as the means over boxes."""
    values = picture if picture.dtype == np.uint8 else picture.astype(np.float32)
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BOX))


def _outlines(foreground: np.ndarray, thing: np.ndarray) -> np.ndarray:
    """The lines round two masks, bool (h, w), as uint8 (h, w, 4)."""
    drawn = np.zeros((*foreground.shape, 4), dtype=np.uint8)
    y, x = np.ogrid[: foreground.shape[0], : foreground.shape[1]]
    is_dash = (x + y) // _DASH % 2 == 0
    for mask, ink, is_drawn in ((foreground, _FOREGROUND_INK, True), (thing, _THING_INK, is_dash)):
        wider = _dilated(mask)
        drawn[_dilated(wider) & ~mask] = _CASING_INK
        drawn[wider & ~mask & is_drawn] = ink
    return drawn


def _dilated(mask: np.ndarray) -> np.ndarray:
    """The mask with the pixels beside it."""
    wider = mask.copy()
    wider[1:] |= mask[:-1]
    wider[:-1] |= mask[1:]
    wider[:, 1:] |= mask[:, :-1]
    wider[:, :-1] |= mask[:, 1:]
    return wider


def _grey(mass: np.ndarray, method: str) -> np.ndarray:
    """Mass (h, w) as strengths of the published visualization, 0 to 255."""
    strength: np.ndarray = np.rint(255 * signed_strength(mass, published(method))).astype(np.uint8)
    return strength


def _grid(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one shape, COLUMNS in a row, each with its margin."""
    around = [(MARGIN, MARGIN)] * 2 + [(0, 0)] * (pictures[0].ndim - 2)
    cells = [np.pad(picture, around, mode="edge") for picture in pictures]
    n_missing = -len(cells) % COLUMNS
    cells += [np.zeros_like(cells[0])] * n_missing
    rows = [np.concatenate(cells[at : at + COLUMNS], axis=1) for at in range(0, len(cells), COLUMNS)]
    return np.concatenate(rows, axis=0)


def _encoded(picture: np.ndarray, form: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, form, **options)
    return buffer.getvalue()
