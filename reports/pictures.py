"""One map over one image as the hosted services drew it: pixels, outlines, and regions for maps of regions.

Source: the procedure of outlines (close small gaps, drop small areas, keep the areas that hold most of the mass, draw
their borders) follows the description of the visualizations of Integrated Gradients by its authors; numbers are ours.
"""

import io

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import binary_closing, gaussian_filter, label, sum_labels
from skimage.measure import find_contours
from skimage.morphology import disk

from reports.visualization import FAINTEST, Visualization, colors, signed_strength

_KEPT_MASS = 0.9
"""Outlines go round the largest areas that hold this share of the drawn mass together."""

_SMALL_HOLE = 0.004
"""Share of the picture."""

_WEAKEST = 0.25
"""A single picture shows where its map is cut off; figures of a report fade out there."""

_SUPERSAMPLING = 4
_GREY = np.array([0.299, 0.587, 0.114])
_QUALITY = 92


def draw(image: np.ndarray, attribution: np.ndarray, visualization: Visualization) -> np.ndarray:
    """The map over the image.

    Args:
        image: uint8 (H, W, 3); the model's input, or the photo that it was cut from.
        attribution: float (h, w), signed; it is brought to the image's size, or with `translate` to `resized_shape`
            and laid at that place of the image, cut where it reaches beyond.
        visualization: how.

    Returns:
        uint8 (H, W, 3), or of `resized_shape` where there is no `translate`.
    """
    strength = _lifted(_cleaned(signed_strength(attribution, visualization), visualization.type))
    shape = visualization.resized_shape or image.shape[:2]
    under = image if visualization.translate is not None else _resized_image(image, shape)
    placed = _placed(_resized(strength, shape, visualization.type), under.shape[:2], visualization.translate)
    if visualization.type == "outlines":
        return _with_outlines(under, placed, visualization)
    drawn = _blended(under, placed, visualization)
    return _with_seams(drawn, placed) if visualization.type == "regions" else drawn


def encode(picture: np.ndarray, output_format: str) -> bytes:
    """A picture, uint8 (H, W, 3), as a "jpeg" or "png" file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, output_format, quality=_QUALITY, subsampling=0, optimize=True)
    return buffer.getvalue()


def _lifted(strength: np.ndarray) -> np.ndarray:
    """Strengths with the weakest that is drawn at _WEAKEST, or the top 2 % of a map would hardly show."""
    lifted: np.ndarray = np.sign(strength) * (_WEAKEST + (1 - _WEAKEST) * np.abs(strength))
    return lifted


def _cleaned(strength: np.ndarray, kind: str) -> np.ndarray:
    """For outlines: the areas that hold most of the mass, smoothed within; other kinds as they are."""
    if kind != "outlines":
        return strength
    positive, negative = _areas(np.maximum(strength, 0)), _areas(np.maximum(-strength, 0))
    return np.where(positive >= negative, positive, -negative)


def _areas(strength: np.ndarray) -> np.ndarray:
    """The strengths (H, W) >= 0 of the largest connected areas, smoothed; 0 outside them."""
    if not strength.any():
        return strength
    size = max(strength.shape)
    # Scattered pixels become areas: a share of the picture, so that pictures of all sizes look alike.
    smooth = gaussian_filter(strength, size / 90, mode="nearest")
    closed = np.asarray(binary_closing(smooth > 0.5 * smooth[strength > 0].mean(), disk(max(1, size // 75))))
    areas, n_areas = label(_without_small_holes(closed))
    mass = np.asarray(sum_labels(strength, areas, np.arange(1, n_areas + 1)))
    order = np.argsort(-mass, kind="stable")
    n_kept = int(np.searchsorted(np.cumsum(mass[order]), _KEPT_MASS * mass.sum())) + 1
    kept = np.isin(areas, order[:n_kept] + 1) & (areas > 0)
    if not kept.any():
        return np.zeros_like(strength)
    shade: np.ndarray = np.where(kept, np.clip(smooth / smooth[kept].max(), FAINTEST, 1), 0.0)
    return shade


def _without_small_holes(mask: np.ndarray) -> np.ndarray:
    """A mask with holes filled that are too small to be seen as a shape of their own."""
    holes, n_holes = label(~mask)
    sizes = np.asarray(sum_labels(np.ones(mask.shape), holes, np.arange(1, n_holes + 1)))
    small = np.flatnonzero(sizes < _SMALL_HOLE * mask.size) + 1
    return mask | np.isin(holes, small)


def _resized_image(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if image.shape[:2] == tuple(shape):
        return image
    return np.asarray(Image.fromarray(image).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def _resized(strength: np.ndarray, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Strengths at another size: nearest where areas of one value must stay so, else bilinear."""
    if strength.shape == tuple(shape):
        return strength
    how = Image.Resampling.NEAREST if kind == "regions" else Image.Resampling.BILINEAR
    return np.asarray(
        Image.fromarray(strength.astype(np.float32)).resize((shape[1], shape[0]), how), dtype=np.float64
    )


def _placed(strength: np.ndarray, shape: tuple[int, ...], translate: tuple[int, int] | None) -> np.ndarray:
    """Strengths on a canvas (H, W) of zeros with their origin at (x, y), cut at its borders."""
    x, y = translate or (0, 0)
    canvas = np.zeros(shape)
    part = strength[: max(shape[0] - y, 0), : max(shape[1] - x, 0)]
    canvas[y : y + part.shape[0], x : x + part.shape[1]] = part
    return canvas


def _blended(under: np.ndarray, strength: np.ndarray, visualization: Visualization) -> np.ndarray:
    """The coloured map over what the overlay type puts under it."""
    size = np.abs(strength)[..., None]
    kept = visualization.overlay_multiplier
    if visualization.overlay_type == "mask_black":
        masked: np.ndarray = (under * (size if kept is None else kept + (1 - kept) * size)).round()
        return masked.astype(np.uint8)
    grey = np.repeat((under @ _GREY)[..., None], 3, axis=-1)
    below = {"none": np.zeros_like(grey), "original": under, "grayscale": grey}[visualization.overlay_type]
    painted = colors(strength, visualization.color_map)
    # Weak pixels fade out, or the border of the drawn part would look like an edge of the map.
    shown = np.minimum(1.0, 3 * size)
    if kept is None or visualization.overlay_type == "none":
        alpha = (1.0 if visualization.overlay_type == "none" else visualization.opacity) * shown
        mixed = (1 - alpha) * below + alpha * painted
    else:
        mixed = kept * below + (1 - kept) * shown * painted
    drawn: np.ndarray = mixed.round().astype(np.uint8)
    return drawn


def _with_outlines(under: np.ndarray, strength: np.ndarray, visualization: Visualization) -> np.ndarray:
    """Borders of the areas of each sign, shaded within if wished."""
    shading = strength if visualization.shade_within_outlines else np.zeros_like(strength)
    if visualization.overlay_type == "mask_black":
        # Outlines cut whole areas out of the dark, as a map of pixels cuts out pixels.
        shading = np.sign(strength)
    picture = _blended(under, shading, visualization)
    height, width = strength.shape
    canvas = Image.fromarray(picture).resize((width * _SUPERSAMPLING, height * _SUPERSAMPLING))
    pen = ImageDraw.Draw(canvas)
    thickness = round(max(1.5, max(height, width) / 150) * _SUPERSAMPLING)
    for sign in (-1.0, 1.0):
        ink = tuple(int(value) for value in colors(np.array(sign), visualization.color_map))
        for line in find_contours(np.pad((sign * strength > 0).astype(np.float32), 1), 0.5):
            # Padding closes the outline of what touches the border; the middle of pixel (0, 0) is (1, 1) there.
            points = np.clip((line[:, ::-1] - 0.5) * _SUPERSAMPLING, 0, np.array(canvas.size) - 1)
            pen.line([(x, y) for x, y in points.tolist()], fill=ink, width=thickness, joint="curve")
    return np.asarray(canvas.resize((width, height), Image.Resampling.LANCZOS))


def _with_seams(picture: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Dark lines between neighbouring areas of different strength."""
    seam = np.zeros(strength.shape, dtype=bool)
    seam[1:] |= strength[1:] != strength[:-1]
    seam[:, 1:] |= strength[:, 1:] != strength[:, :-1]
    return np.where(seam[..., None], (picture * 0.35).astype(np.uint8), picture)
