"""One way from the stored image to the model's input, taken by image, masks, polygons and boxes alike.

Outlines are drawn on the stored grid and turned upright like the image (or drawn upright, if the size that
they state says so), cut or padded by the same window, and read at the same pixel centres: the image
bilinearly, masks at the nearest pixel. Nothing else in the program resizes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from audit.types import BACKGROUND, FOREGROUND, IGNORE, Box, MaskFile, Outline, RunLengths
from pipelines.images import ImageFault, Size, decode_mask, oriented
from pipelines.readers._annotations import checked_box, checked_polygon

Window = tuple[int, int, int, int]
"""(left, top, width, height) in upright pixels; it reaches beyond the image where that is padded."""


@dataclass(frozen=True)
class Geometry:
    """How one image becomes the model's input.

    Attributes:
        stored_size: (width, height) of the stored image.
        orientation: 1 to 8, its EXIF orientation, or 1 where that is ignored.
        target: (height, width) of the model's input.
        mode: "stretch" takes the whole image, "crop" its centre in the target's aspect, "pad" lays it on the
            centre of a black window in the target's aspect. Windows are whole pixels, as Keras cuts them.
        antialias: average when shrinking.
    """

    stored_size: Size
    orientation: int
    target: tuple[int, int]
    mode: Literal["stretch", "crop", "pad"]
    antialias: bool

    @property
    def upright_size(self) -> Size:
        """(width, height) of the image after it was turned."""
        width, height = self.stored_size
        return (height, width) if self.orientation >= 5 else (width, height)

    @property
    def window(self) -> Window:
        """The part of the upright image that fills the target.

        Source: the crop and pad boxes of keras.utils.image_dataset_from_directory (`crop_to_aspect_ratio`,
            `pad_to_aspect_ratio`), in whole numbers instead of float32.
        """
        width, height = self.upright_size
        rows, columns = self.target
        across, down = height * columns // rows, width * rows // columns
        if self.mode == "crop":
            across, down = max(1, min(width, across)), max(1, min(height, down))
        elif self.mode == "pad":  # as much on either side, so an odd pixel is left out
            across = width + 2 * (max(0, across - width) // 2)
            down = height + 2 * (max(0, down - height) // 2)
        else:
            across, down = width, height
        left, top = int((width - across) / 2), int((height - down) / 2)
        return left, top, across, down

    def image(self, upright: np.ndarray) -> np.ndarray:
        """The model's input: float32 (h, w, 3) in [0, 1] of upright uint8 (H, W, 3).

        Without antialiasing this is tf.image.resize(bilinear) of the window, up to float32 rounding.
        """
        pixels = self._smooth(upright) if self.antialias else self._bilinear(upright)
        return np.asarray(pixels, dtype=np.float32) / np.float32(255)

    def mask(self, upright: np.ndarray) -> np.ndarray:
        """(h, w) of an upright mask (H, W), its values as they are; padding is 0."""
        width, height = self.upright_size
        if upright.shape != (height, width):
            raise ValueError(f"expected an upright mask of shape {(height, width)}, found {upright.shape}")
        left, top, across, down = self.window
        rows = _take(upright, top + _nearest(down, self.target[0]), axis=0)
        return _take(rows, left + _nearest(across, self.target[1]), axis=1)

    def outline(self, outline: Outline) -> np.ndarray:
        """uint8 (h, w) of BACKGROUND, FOREGROUND and IGNORE; all IGNORE where nothing is annotated.

        Raises:
            ImageFault: a mask is missing, unreadable or of another size, the annotation states another size,
                or a shape is malformed or wholly outside.
        """
        if not outline.is_annotated:
            return np.full(self.target, IGNORE, dtype=np.uint8)
        width, height = self.upright_size if outline.is_relative else self._frame(outline)
        drawn = np.full((height, width), BACKGROUND, dtype=np.uint8)
        scale = (width, height) if outline.is_relative else (1, 1)
        for box in outline.boxes:
            _draw_box(drawn, _scaled(box, scale))
        for points in outline.polygons:
            _draw_polygon(drawn, _scaled(points, scale))
        upright = np.array(drawn if outline.is_relative else self._upright(drawn, "outline"))
        for lengths in outline.run_lengths:
            upright[self._upright(decode_run_lengths(lengths), "run lengths")] = FOREGROUND
        if outline.mask:
            values = self._mask_values(outline.mask)
            upright = np.where(values == BACKGROUND, upright, values)
        return self.mask(upright)

    def _frame(self, outline: Outline) -> Size:
        """(width, height) that the outline's coordinates refer to: the stored image, or the upright one."""
        if outline.size is None:
            return self.stored_size
        sizes = tuple(dict.fromkeys((self.stored_size, self.upright_size)))
        if outline.size not in sizes:
            expected = " or ".join(f"{width} x {height}" for width, height in sizes)
            raise ImageFault(
                "annotation of another size",
                f"expected an annotation of {expected} pixels (width x height) as its image, found one of "
                f"{outline.size[0]} x {outline.size[1]}; outlines are never resized",
            )
        return outline.size

    def _mask_values(self, mask: MaskFile) -> np.ndarray:
        """Upright uint8 of BACKGROUND, FOREGROUND, IGNORE of a mask file."""
        sizes = tuple(dict.fromkeys((self.stored_size, self.upright_size)))
        n_pixels = self.stored_size[0] * self.stored_size[1]
        stored, is_exact = decode_mask(Path(mask.path), sizes=sizes, max_pixels=n_pixels)
        values = self._upright(stored, mask.path)
        if not is_exact and (mask.foreground or mask.ignore):
            raise ImageFault(
                "inexact mask",
                f"{mask.path}: expected a format that keeps the values of data.mask_foreground and "
                "data.mask_ignore, "
                "such as PNG, found a JPEG",
            )
        is_foreground = np.isin(values, mask.foreground) if mask.foreground else values > 0
        kinds = np.where(is_foreground, FOREGROUND, BACKGROUND)
        return np.where(np.isin(values, mask.ignore), IGNORE, kinds).astype(np.uint8)

    def _upright(self, mask: np.ndarray, name: str) -> np.ndarray:
        """A mask (H, W) upright; one that has only the upright image's size is upright already."""
        size = (mask.shape[1], mask.shape[0])
        if size == self.stored_size:
            return oriented(mask, self.orientation)
        if size == self.upright_size:
            return mask
        raise ImageFault(
            "mask of another size",
            f"{name}: expected {self.stored_size[0]} x {self.stored_size[1]} pixels (width x height) as "
            "the image, "
            f"found {size[0]} x {size[1]}; masks are never resized",
        )

    def _bilinear(self, upright: np.ndarray) -> np.ndarray:
        """float32 (h, w, 3), 0 to 255, between the pixels around each target centre; the window's edge
        repeats.

        Padding is never allocated: an image of 20,000 x 1 pixels would be padded to 20,000 x 20,000.
        """
        left, top, across, down = self.window
        y0, y1, y_share = _neighbours(down, self.target[0])
        x0, x1, x_share = _neighbours(across, self.target[1])
        x_weight = x_share[:, np.newaxis]
        rows = []
        for ys in (y0, y1):
            taken = _take(upright, top + ys, axis=0)
            before = _take(taken, left + x0, axis=1).astype(np.float32)
            rows.append(before + (_take(taken, left + x1, axis=1) - before) * x_weight)
        upper, lower = rows
        return np.asarray(upper + (lower - upper) * y_share[:, np.newaxis, np.newaxis])

    def _smooth(self, upright: np.ndarray) -> np.ndarray:
        """uint8 (h, w, 3), averaged where it shrinks; the axis without padding goes first."""
        left, top, across, down = self.window
        height, width = upright.shape[:2]
        rows, columns = self.target
        inside = upright[max(top, 0) : max(top, 0) + down, max(left, 0) : max(left, 0) + across]
        is_high, is_wide = down > height, across > width
        first = _resized(inside, (width if is_wide else columns, height if is_high else rows))
        padded = np.zeros((down if is_high else rows, across if is_wide else columns, 3), dtype=np.uint8)
        at_y, at_x = -min(top, 0), -min(left, 0)
        padded[at_y : at_y + first.shape[0], at_x : at_x + first.shape[1]] = first
        return _resized(padded, (columns, rows))


def decode_run_lengths(lengths: RunLengths) -> np.ndarray:
    """bool (H, W) of COCO run lengths.

    pycocotools' decoder leaves pixels uninitialised where the counts are too short, so the counts are
    unpacked and checked here.

    Raises:
        ImageFault: the counts are malformed, or do not add up to the number of pixels.

    Source: the run lengths of the COCO API (cocodataset/cocoapi, maskApi): columns first, background first;
        as text each count is 5-bit groups from 48 on, low group first, counts from the third on relative to
        the last but one.
    """
    height, width = lengths.size
    counts = np.array(
        _unpack(lengths.counts) if isinstance(lengths.counts, str) else lengths.counts, dtype=object
    )
    if height < 1 or width < 1 or any(count < 0 for count in counts) or sum(counts) != height * width:
        raise ImageFault(
            "malformed annotation",
            f"expected run lengths of 0 and more that add up to {height} x {width} pixels, found a sum of "
            f"{sum(counts)}",
        )
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts.astype(np.int64)).reshape(width, height).T


def _unpack(text: str) -> list[int]:
    """The counts of a compressed COCO run-length text."""
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64:
            raise ImageFault(
                "malformed annotation", f"expected compressed run lengths, found the character {character!r}"
            )
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            signed = value - (1 << shift) if group & 16 else value
            counts.append(signed + (counts[-2] if len(counts) > 2 else 0))
            value, shift = 0, 0
    if shift:
        raise ImageFault("malformed annotation", "expected compressed run lengths, found them cut off")
    return counts


def _scaled(coordinates: tuple[float, ...], scale: tuple[int, int]) -> tuple[float, ...]:
    """(x, y, x, y, ...) times (width, height)."""
    return tuple(value * scale[index % 2] for index, value in enumerate(coordinates))


def _draw_box(drawn: np.ndarray, box: tuple[float, ...]) -> None:
    """Sets the pixels whose centre lies in the box, in an array of this module."""
    x0, y0, x1, y1 = checked_box(box)
    _check_overlap(drawn, (x0, y0, x1, y1), "box")
    height, width = drawn.shape
    columns = np.arange(width) + 0.5
    rows = np.arange(height) + 0.5
    inside_x, inside_y = (columns >= x0) & (columns < x1), (rows >= y0) & (rows < y1)
    drawn[np.ix_(inside_y, inside_x)] = FOREGROUND


def _draw_polygon(drawn: np.ndarray, points: tuple[float, ...]) -> None:
    """Sets the pixels whose centre lies in the polygon, in an array of this module."""
    checked = np.array(checked_polygon(points))
    xs, ys = checked[0::2], checked[1::2]
    _check_overlap(drawn, (xs.min(), ys.min(), xs.max(), ys.max()), "polygon")
    drawn[_inside(xs, ys, drawn.shape)] = FOREGROUND


def _inside(xs: np.ndarray, ys: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """bool (H, W): pixels whose centre lies in a closed polygon, by the even-odd rule, edges as of boxes.

    Each row notes the columns at which edges cross it and fills by parity. skimage.draw.polygon asks every
    pixel about every edge: 30 ms for a polygon of COCO, where this takes about 2.
    """
    height, width = shape
    next_xs, next_ys = np.roll(xs, -1), np.roll(ys, -1)
    first = np.clip(np.ceil(np.minimum(ys, next_ys) - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(ys, next_ys) - 0.5), 0, height).astype(np.int64)
    n_rows = last - first
    edges = np.repeat(np.arange(len(xs)), n_rows)
    rows = first[edges] + np.arange(len(edges)) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows)
    along = (rows + 0.5 - ys[edges]) / (next_ys - ys)[edges]
    crossings = xs[edges] + along * (next_xs - xs)[edges]
    columns = np.clip(np.ceil(crossings - 0.5), 0, width).astype(np.int64)
    parity = np.zeros((height, width + 1), dtype=np.uint8)
    np.bitwise_xor.at(parity, (rows, columns), 1)
    return np.bitwise_xor.accumulate(parity, axis=1)[:, :width].astype(bool)


def _check_overlap(drawn: np.ndarray, bounds: Box, kind: str) -> None:
    height, width = drawn.shape
    x0, y0, x1, y1 = bounds
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        raise ImageFault(
            f"{kind} outside the image",
            f"expected a {kind} on the {width} x {height} pixels (width x height) of its image, "
            "found it from "
            f"({x0:g}, {y0:g}) to ({x1:g}, {y1:g})",
        )


def _take(source: np.ndarray, indices: np.ndarray, *, axis: int) -> np.ndarray:
    """Rows (axis 0) or columns (axis 1) of an image or mask; 0 where an index lies beside it."""
    n_source = source.shape[axis]
    taken = np.take(source, indices, axis=axis, mode="clip")
    outside = (indices < 0) | (indices >= n_source)
    if outside.any():
        taken[outside if axis == 0 else (slice(None), outside)] = 0
    return taken


def _resized(pixels: np.ndarray, size: Size) -> np.ndarray:
    """uint8 (h, w, 3) by Pillow's bilinear filter, which widens with the shrinking."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BILINEAR))


def _neighbours(n_source: int, n_target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixel before, pixel after, and the share of the one after, for each target centre of one axis."""
    centres = (np.arange(n_target) + 0.5) * (n_source / n_target) - 0.5
    before = np.floor(centres).astype(np.int64)
    after_share = (centres - before).astype(np.float32)
    return np.maximum(before, 0), np.minimum(before + 1, n_source - 1), after_share


def _nearest(n_source: int, n_target: int) -> np.ndarray:
    """The pixel that holds each target centre of one axis; a centre on an edge takes the pixel after it."""
    return (2 * np.arange(n_target) + 1) * n_source // (2 * n_target)
