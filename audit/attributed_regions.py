"""Where a map is heavy outside of the object: regions with their looks, their share of the mass, and their crops.

A map is coarser than the picture, most of all the maps of Grad-CAM, so what it marks is brought to the segments of
the picture, and what lies within half a cell of the object is left out: there a map cannot tell the two apart.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.segmentation import felzenszwalb

from audit.region_words import RegionFacts, describe_region
from audit.types import FOREGROUND, IGNORE

_SEGMENT_SCALE = 100.0
"""How coarse segments are, in grey levels of 255: finer than objects, coarser than texture."""
_NOISE_WINDOW = 3
"""Side of the median filter before segmentation: a Gaussian would make segments of every edge."""
_SEGMENT_SIZE = 0.001
"""Least share of the picture that a segment has."""
_LONGEST_SIDE = 128
"""Larger pictures are segmented on every second, third, ... pixel: it takes time with the pixels."""
_LARGEST_SEGMENT = 0.2
"""A larger segment is a ground, not a thing."""
_GRAINS = 32
"""Cells a side of the finest structure that is taken for a part of a map."""
_BESIDE = 0.1
"""A named thing is beside a region up to that share of the longer side."""
_SMALLEST_CROP = 0.1
"""A crop has at least that share of the picture's sides: what is blown up from a few pixels looks like nothing."""


@dataclass(frozen=True)
class AttributedRegion:
    """One attributed region of one sample.

    Attributes:
        sample: index of the sample.
        mask: its pixels, bool (H, W).
        mass_share, area_share: its shares of the counted mass and pixels, in [0, 1].
        facts: what it looks like.
        named: the thing that an annotation or a detector names there already, or None.
        beside: the named thing next to it, or None.
    """

    sample: int
    mask: np.ndarray
    mass_share: float
    area_share: float
    facts: RegionFacts
    named: str | None
    beside: str | None


@dataclass(frozen=True)
class RegionSettings:
    """How regions are cut out of a map.

    Attributes:
        held: share of the mass outside of the object that regions hold, in (0, 1].
        n_largest: regions of one picture at most.
        smallest: smaller regions are left out, as a share of the picture's pixels.
    """

    held: float = 0.6
    n_largest: int = 3
    smallest: float = 0.002

    def __post_init__(self) -> None:
        if not 0 < self.held <= 1:
            raise ValueError(f"held must be in (0, 1], got {self.held:g}")
        if self.n_largest < 1:
            raise ValueError(f"n_largest must be at least 1, got {self.n_largest}")


def regions_of(
    sample: int,
    image: np.ndarray,
    mass: np.ndarray,
    foreground: np.ndarray,
    things: Mapping[str, np.ndarray],
    resolution: tuple[int, int],
    settings: RegionSettings,
) -> list[AttributedRegion]:
    """The attributed regions of one picture, the heaviest first.

    Args:
        sample: index that they carry.
        image: float (H, W, 3) in [0, 1].
        mass: (H, W), non-negative.
        foreground: uint8 (H, W) of BACKGROUND, FOREGROUND, IGNORE; where nothing is annotated all counts as outside.
        things: bool (H, W) by name, what annotations and detectors name.
        resolution: (rows, columns) of the map before it was enlarged.
        settings: how.

    Returns:
        At most `n_largest`, that do not overlap; none where there is no mass outside.
    """
    is_free = free_pixels(foreground, resolution)
    total = mass[_counted(foreground)].sum(dtype=np.float64)
    blobs = heavy_parts(np.where(is_free, smoothed(mass, resolution), 0.0), settings)
    if not blobs or not total > 0:
        return []
    segments = _segments(image)
    found: list[AttributedRegion] = []
    taken = np.zeros(mass.shape, dtype=bool)
    for blob in blobs:
        mask = snapped(blob, mass, segments) & is_free & ~taken
        if mask.sum() >= settings.smallest * mass.size:
            taken |= mask
            mass_share = float(mass[mask].sum(dtype=np.float64) / total)
            area_share = float(mask.sum() / _counted(foreground).sum())
            named = named_thing(mask, things)
            beside = thing_beside(mask, {name: thing for name, thing in things.items() if name != named})
            facts = describe_region(image, mask)
            found.append(AttributedRegion(sample, mask, mass_share, area_share, facts, named, beside))
    return found


def free_pixels(foreground: np.ndarray, resolution: tuple[int, int]) -> np.ndarray:
    """bool (H, W): pixels farther from the object than half a cell of the map, and not ignored.

    A map of a few cells cannot tell on which side of the object's edge its mass belongs.
    """
    is_object = foreground == FOREGROUND
    is_free = _counted(foreground) & ~is_object
    if not is_object.any():
        return np.asarray(is_free)
    reach = max(side / cells for side, cells in zip(foreground.shape, resolution, strict=True)) / 2
    return np.asarray(is_free & (ndimage.distance_transform_edt(~is_object) > reach))


def smoothed(mass: np.ndarray, resolution: tuple[int, int]) -> np.ndarray:
    """The mass as coarse as a map of 32 cells a side: gradients speckle, and a speckle is no part of anything.

    Args:
        mass: (H, W), non-negative.
        resolution: (rows, columns) of the map before it was enlarged; coarser maps are left as they are.
    """
    sigmas = [
        math.sqrt(max((side / _GRAINS) ** 2 - (side / cells) ** 2, 0.0))
        for side, cells in zip(mass.shape, resolution, strict=True)
    ]
    return np.asarray(ndimage.gaussian_filter(mass.astype(np.float64), sigmas)) if any(sigmas) else mass


def heavy_parts(mass: np.ndarray, settings: RegionSettings) -> list[np.ndarray]:
    """Connected parts that hold most of the mass.

    Pixels are taken from the heaviest on until they hold `held` of the mass; of their connected parts those with the
    most mass are returned.

    Args:
        mass: (H, W), non-negative.
        settings: `held`, `n_largest`, `smallest`.

    Returns:
        bool (H, W) masks, heaviest first; none where there is no mass.
    """
    values = mass.astype(np.float64)
    total = values.sum()
    if not total > 0:
        return []
    order = np.sort(values, axis=None)[::-1]
    least = order[min(int(np.searchsorted(np.cumsum(order), settings.held * total)), order.size - 1)]
    parts, n_parts = ndimage.label((values >= least) & (values > 0), structure=np.ones((3, 3)))
    numbers = np.arange(1, n_parts + 1)
    areas = np.bincount(parts.ravel(), minlength=n_parts + 1)[1:]
    masses = ndimage.sum_labels(values, parts, numbers)
    smallest = settings.smallest * mass.size
    heaviest = [index for index in np.argsort(-masses, kind="stable") if areas[index] >= smallest]
    return [parts == numbers[index] for index in heaviest[: settings.n_largest]]


def snapped(blob: np.ndarray, mass: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """The segments that a blob means, or the blob itself where it means none.

    A segment is meant that lies in the blob for the most part, or that holds most of the blob without being a
    ground; together they must hold a third of the blob's mass.

    Args:
        blob: bool (H, W), with a pixel.
        mass: (H, W), non-negative.
        segments: int (H, W), labels from 0.
    """
    areas = np.bincount(segments.ravel())
    inside = np.bincount(segments[blob], minlength=len(areas))
    is_thing = areas <= _LARGEST_SEGMENT * segments.size
    is_meant = is_thing & ((2 * inside >= areas) | ((2 * inside >= blob.sum()) & (areas <= 4 * blob.sum())))
    meant = is_meant[segments]
    return meant if 3 * mass[meant & blob].sum() >= mass[blob].sum() else blob


def named_thing(mask: np.ndarray, things: Mapping[str, np.ndarray]) -> str | None:
    """The named thing that a region is: half of it lies on the thing, or holds half of a thing not much smaller.

    Args:
        mask: bool (H, W), with a pixel.
        things: bool (H, W) by name.
    """
    shares = {}
    for name, thing in things.items():
        common, area = int((mask & thing).sum()), int(thing.sum())
        is_it = 2 * common >= mask.sum() or (2 * common >= area and 4 * area >= mask.sum())
        if common and is_it:
            shares[name] = common
    return max(sorted(shares), key=lambda name: shares[name], default=None)


def thing_beside(mask: np.ndarray, things: Mapping[str, np.ndarray]) -> str | None:
    """The nearest named thing within a tenth of the longer side, or None; arguments as of `named_thing`."""
    shown = {name: thing for name, thing in things.items() if thing.any()}
    if not shown:
        return None
    distance = ndimage.distance_transform_edt(~mask)
    nearest = {name: float(distance[thing].min()) for name, thing in shown.items()}
    best = min(sorted(nearest), key=lambda name: nearest[name])
    return best if nearest[best] <= _BESIDE * max(mask.shape) else None


def crop(image: np.ndarray, mask: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """The region's box blown up to the picture's size, the object in it painted over with the region's mean colour.

    Args:
        image: float32 (H, W, 3) in [0, 1].
        mask: bool (H, W), with a pixel.
        foreground: uint8 (H, W).

    Returns:
        float32 (H, W, 3), what the model is asked to describe.
    """
    painted = np.where((foreground == FOREGROUND)[..., None], image[mask].mean(axis=0), image)
    rows, columns = (_span(np.flatnonzero(mask.any(axis=axis)), mask.shape[1 - axis]) for axis in (1, 0))
    return _blown_up(painted, rows, columns)


def _segments(image: np.ndarray) -> np.ndarray:
    """int (H, W), labels from 0, of an image (H, W, 3) in [0, 1]."""
    height, width = image.shape[:2]
    step = -(-max(height, width) // _LONGEST_SIDE)
    quiet = ndimage.median_filter(
        image[::step, ::step], size=(_NOISE_WINDOW, _NOISE_WINDOW, 1), mode="nearest"
    )
    smallest = max(2, round(_SEGMENT_SIZE * quiet[..., 0].size))
    labels = felzenszwalb(quiet, scale=_SEGMENT_SCALE, sigma=0, min_size=smallest)
    return np.asarray(labels.repeat(step, axis=0).repeat(step, axis=1)[:height, :width])


def _span(places: np.ndarray, length: int) -> tuple[float, float]:
    """Start and end of what the crop takes of one axis, within the picture."""
    least = min(length, max(1.0, _SMALLEST_CROP * length))
    start, end = float(places[0]), float(places[-1] + 1)
    if end - start < least:
        start = min(max((start + end - least) / 2, 0.0), length - least)
        end = start + least
    return start, end


def _blown_up(image: np.ndarray, rows: tuple[float, float], columns: tuple[float, float]) -> np.ndarray:
    """A box of the picture at the picture's size, bilinear between pixel centres."""
    height, width = image.shape[:2]
    below, above, down = _between(rows, height)
    left, right, across = _between(columns, width)
    lines = image[below] + (image[above] - image[below]) * down[:, None, None]
    return np.asarray(lines[:, left] + (lines[:, right] - lines[:, left]) * across[:, None], dtype=np.float32)


def _between(span: tuple[float, float], length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixel before, pixel after and share of the latter for `length` even steps through the span."""
    start, end = span
    centres = start + (np.arange(length) + 0.5) * (end - start) / length - 0.5
    # What lies beside the box does not shine into it.
    centres = np.clip(centres, np.ceil(start), np.floor(end) - 1)
    before = np.floor(centres).astype(np.int64)
    return before, np.minimum(before + 1, length - 1), (centres - before).astype(np.float32)


def _counted(foreground: np.ndarray) -> np.ndarray:
    """bool (H, W): the pixels that count; all where nothing is annotated."""
    is_counted = foreground != IGNORE
    return np.asarray(is_counted if is_counted.any() else np.ones_like(is_counted))
