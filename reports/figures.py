"""One sample as a picture: the photo, a map over it, the outlines of the foreground and of named regions.

Outlines follow the contour of the mask in the size of the picture, so they stay crisp on a small image: a solid white
line round the foreground, a dashed yellow one round a region, both cased in dark so that they show on everything.
The options are those of `reports.visualization`; of its types only pixels are drawn here.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage.measure import find_contours

from audit.types import FOREGROUND
from reports.visualization import COLOR_MAPS, Visualization, colors, published, signed_strength

__all__ = [
    "COLOR_MAPS",
    "Visualization",
    "encode",
    "file_name",
    "legend",
    "overlay",
    "overlay_strength",
    "photo",
    "published",
    "scaled",
    "shared_strengths",
    "signed_strength",
    "with_lines",
]

DISPLAY_PIXELS = 320
"""Long side of a picture."""

_SUPERSAMPLING = 2
_DASH_PIXELS = 9.0
_FOREGROUND_COLOR, _REGION_COLOR, _CASING_COLOR = (255, 255, 255), (255, 221, 64), (10, 12, 16)


def photo(image: np.ndarray, foreground: np.ndarray, regions: Mapping[str, np.ndarray]) -> np.ndarray:
    """The image with outlines.

    Args:
        image: uint8 (H, W, 3).
        foreground: uint8 (H, W) of BACKGROUND, FOREGROUND, IGNORE.
        regions: bool (H, W) by name.

    Returns:
        uint8 (h, w, 3), the long side DISPLAY_PIXELS.
    """
    _require_one_shape(image, foreground, regions)
    return _outlined(_scaled_image(image), foreground, regions)


def overlay(
    image: np.ndarray,
    attribution: np.ndarray,
    foreground: np.ndarray,
    regions: Mapping[str, np.ndarray],
    visualization: Visualization,
) -> np.ndarray:
    """The image under a map, signed float (H, W), with outlines; the rest as in `photo`.

    A map without mass of the polarity draws nothing; values that are not finite draw nothing.
    """
    strength = signed_strength(attribution, visualization)
    return overlay_strength(image, strength, foreground, regions, visualization)


def overlay_strength(
    image: np.ndarray,
    strength: np.ndarray,
    foreground: np.ndarray,
    regions: Mapping[str, np.ndarray],
    visualization: Visualization,
) -> np.ndarray:
    """As `overlay`, of strengths (H, W) in [-1, 1] that were scaled already."""
    _require_one_shape(image, foreground, regions)
    if strength.shape != image.shape[:2]:
        raise ValueError(f"map {strength.shape} and image {image.shape[:2]} must have one shape (H, W)")
    under = _scaled_image(image)
    drawn = _blend(under, scaled(strength, under.shape[:2]), visualization)
    return _outlined(drawn, foreground, regions)


def shared_strengths(
    attributions: Sequence[np.ndarray], visualization: Visualization
) -> tuple[np.ndarray, ...]:
    """The strengths of maps that stand side by side, on one scale: equal colours are equal shares of the mass.

    Maps of two models have no common unit, so each is divided by its mean mass; the percentiles count the pixels of
    all maps.

    Args:
        attributions: float (H, W), signed; sizes may differ. A map of zeros draws nothing.
        visualization: polarity and percentiles, without a blur, which would need the maps one by one.

    Returns:
        float64 (H, W) in [-1, 1] for each map.
    """
    if visualization.blur_sigma > 0:
        raise ValueError(f"a shared scale knows no blur, found blur_sigma {visualization.blur_sigma:g}")
    finite = [np.where(np.isfinite(one), one, 0.0).astype(np.float64) for one in attributions]
    sizes = [float(_sided(one, visualization.polarity).mean()) for one in finite]
    flat = [one.ravel() / size if size > 0 else one.ravel() for one, size in zip(finite, sizes, strict=True)]
    strength = signed_strength(np.concatenate(flat)[None], visualization)[0]
    parts = np.split(strength, np.cumsum([one.size for one in finite])[:-1])
    return tuple(part.reshape(one.shape) for part, one in zip(parts, finite, strict=True))


def _sided(attribution: np.ndarray, polarity: str) -> np.ndarray:
    """The mass of a map by the polarity, (H, W), non-negative."""
    if polarity == "both":
        return np.asarray(np.abs(attribution))
    return np.asarray(np.maximum(attribution if polarity == "positive" else -attribution, 0.0))


def legend(visualization: Visualization, width: int = 256, height: int = 12) -> np.ndarray:
    """The colour scale from weak to strong (or negative to positive), uint8 (height, width, 3)."""
    first = {"positive": 0.0, "negative": 0.0, "both": -1.0}[visualization.polarity]
    last = {"positive": 1.0, "negative": -1.0, "both": 1.0}[visualization.polarity]
    return np.repeat(colors(np.linspace(first, last, width)[None], visualization.color_map), height, axis=0)


def with_lines(picture: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """A picture, uint8 (H, W, 3), under lines that were drawn before, uint8 (h, w, 4), brought to its size."""
    size = (picture.shape[1], picture.shape[0])
    over = Image.fromarray(lines, "RGBA").resize(size, Image.Resampling.BICUBIC)
    return np.asarray(Image.alpha_composite(Image.fromarray(picture).convert("RGBA"), over).convert("RGB"))


def encode(picture: np.ndarray) -> bytes:
    """A picture, uint8 (H, W, 3), as a WebP file."""
    buffer = io.BytesIO()
    # More effort (4, the default of the format) takes twice as long for files that are 3 % smaller.
    Image.fromarray(picture).save(buffer, "WEBP", quality=80, method=2)
    return buffer.getvalue()


def file_name(content: bytes) -> str:
    """A name by content: nothing of the data gets into a path, and equal pictures are one file."""
    return f"images/{hashlib.sha256(content).hexdigest()[:20]}.webp"


def _require_one_shape(image: np.ndarray, foreground: np.ndarray, regions: Mapping[str, np.ndarray]) -> None:
    for name, mask in {"foreground": foreground, **regions}.items():
        if mask.shape != image.shape[:2]:
            raise ValueError(f"{name} {mask.shape} and image {image.shape[:2]} must have one shape (H, W)")


def _scaled_image(image: np.ndarray) -> np.ndarray:
    """The image with its long side at DISPLAY_PIXELS."""
    height, width = image.shape[:2]
    scale = DISPLAY_PIXELS / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def scaled(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Float values (H, W) at another size, bilinear."""
    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def _blend(under: np.ndarray, strength: np.ndarray, visualization: Visualization) -> np.ndarray:
    """The coloured map over what the overlay type puts under it."""
    strength = strength.astype(np.float32)  # of 8 bits are shown in the end
    size = np.abs(strength)[..., None]
    # Weak pixels fade out, or the border of the drawn part would look like an edge of the map.
    alpha = visualization.opacity * np.minimum(1.0, 3 * size)
    grey = np.repeat((under @ np.array([0.299, 0.587, 0.114], np.float32))[..., None], 3, axis=-1)
    if visualization.overlay_type == "mask_black":
        blacked_out: np.ndarray = (under * size).round().astype(np.uint8)
        return blacked_out
    below = {"none": np.zeros_like(grey), "original": under, "grayscale": grey * 0.85}[
        visualization.overlay_type
    ]
    mixed = (1 - alpha) * below + alpha * colors(strength, visualization.color_map)
    drawn: np.ndarray = mixed.round().astype(np.uint8)
    return drawn


def _outlined(picture: np.ndarray, foreground: np.ndarray, regions: Mapping[str, np.ndarray]) -> np.ndarray:
    """The picture with the outlines drawn in, smoothed by drawing larger and shrinking; the rest stays as it is."""
    height, width = picture.shape[:2]
    # Pixels that are repeated and then averaged come back unchanged; a finer filter would blur them, and takes longer.
    larger = (width * _SUPERSAMPLING, height * _SUPERSAMPLING)
    canvas = Image.fromarray(picture).resize(larger, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(canvas)
    for line in _contours(foreground == FOREGROUND, canvas.size):
        _draw_line(draw, [line], _FOREGROUND_COLOR)
    for mask in regions.values():
        for line in _contours(mask, canvas.size):
            _draw_line(draw, list(_dashes(line, _DASH_PIXELS * _SUPERSAMPLING)), _REGION_COLOR)
    for name, mask in regions.items():
        _draw_tag(draw, name, mask, canvas.size)
    return np.asarray(canvas.reduce(_SUPERSAMPLING))


def _contours(mask: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """The closed outlines of a mask (H, W) as (n, 2) points (x, y) of a canvas of `size` (width, height)."""
    scale = np.array([size[0] / mask.shape[1], size[1] / mask.shape[0]])
    # Padding closes the outline of what touches the border; the middle of pixel (0, 0) is (1, 1) there.
    lines = find_contours(np.pad(mask.astype(np.float32), 1), 0.5)
    inset = 3.0 * _SUPERSAMPLING
    return [np.clip((line[:, ::-1] - 0.5) * scale, inset, np.array(size) - 1 - inset) for line in lines]


def _dashes(line: np.ndarray, length: float) -> Iterator[np.ndarray]:
    """Every other piece of `length` along a line."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    for start in np.arange(0.0, along[-1], 2 * length):
        at = np.linspace(start, min(start + length, along[-1]), 8)
        yield np.stack([np.interp(at, along, line[:, 0]), np.interp(at, along, line[:, 1])], axis=-1)


def _draw_line(draw: ImageDraw.ImageDraw, lines: list[np.ndarray], color: tuple[int, int, int]) -> None:
    """Lines with a dark casing under all of them."""
    for ink, width in ((_CASING_COLOR, 6), (color, 3)):
        for line in lines:
            draw.line(
                [(x, y) for x, y in line.tolist()], fill=ink, width=width * _SUPERSAMPLING, joint="curve"
            )


def _draw_tag(draw: ImageDraw.ImageDraw, name: str, mask: np.ndarray, size: tuple[int, int]) -> None:
    """The region's name above it, or inside where there is no room above."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return
    font = ImageFont.load_default(16 * _SUPERSAMPLING)
    text = " ".join(name.split())[:24]
    box = draw.textbbox((0, 0), text, font=font)
    pad = 3 * _SUPERSAMPLING
    width, height = box[2] + 2 * pad, box[3] + 2 * pad
    x = min(columns.min() * size[0] / mask.shape[1], max(0, size[0] - width))
    y = rows.min() * size[1] / mask.shape[0] - height
    y = y if y >= 0 else min(rows.min() * size[1] / mask.shape[0], size[1] - height)
    draw.rectangle((x, y, x + width, y + height), fill=_CASING_COLOR)
    draw.text((x + pad, y + pad), text, font=font, fill=_REGION_COLOR)
