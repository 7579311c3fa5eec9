"""What a region looks like, in numbers and in words: "small red smooth patch at the bottom right beside the face"."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_GREY = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class RegionFacts:
    """What a region looks like.

    Attributes:
        centre: (x, y) as shares of width and height, in [0, 1].
        size: share of the image's pixels.
        colour: mean (red, green, blue), in [0, 1].
        roughness: mean absolute step of luma between neighbours inside the region, in [0, 1].
        direction: share of that in steps from left to right, in [0, 1]; 0.5 without a direction, NaN without steps.
    """

    centre: tuple[float, float]
    size: float
    colour: tuple[float, float, float]
    roughness: float
    direction: float


def describe_region(image: np.ndarray, region: np.ndarray) -> RegionFacts:
    """What the region looks like.

    Args:
        image: float (H, W, 3) in [0, 1].
        region: bool (H, W), at least one pixel.

    Raises:
        ValueError: the region is empty, or the shapes differ.
    """
    if image.shape[:2] != region.shape or not region.any():
        raise ValueError(
            f"expected a region of shape {image.shape[:2]} with at least one pixel, found {region.shape}"
        )
    rows, columns = np.nonzero(region)
    height, width = region.shape
    red, green, blue = (float(value) for value in image[region].mean(axis=0))
    grey = image @ _GREY
    across = np.abs(np.diff(grey, axis=1))[region[:, 1:] & region[:, :-1]]
    down = np.abs(np.diff(grey, axis=0))[region[1:] & region[:-1]]
    # A step where there is no neighbour inside is not known; a region of one pixel has no texture.
    means = [float(steps.mean()) if len(steps) else 0.0 for steps in (across, down)]
    return RegionFacts(
        centre=(float((columns.mean() + 0.5) / width), float((rows.mean() + 0.5) / height)),
        size=float(region.mean()),
        colour=(red, green, blue),
        roughness=sum(means) / 2,
        direction=means[0] / sum(means) if sum(means) > 0 else math.nan,
    )


def describe(facts: Sequence[RegionFacts], beside: Sequence[str | None]) -> str:
    """Words for what regions have in common: size, colour, texture, place, and the named thing beside them.

    What they do not have in common is left out: a colour, texture or thing that fewer than half of them have; of the
    place it is said that it varies, where fewer than half of them lie in one of nine fields.

    Args:
        facts: of each region, at least one.
        beside: the named thing next to each, or None.
    """
    size = size_name(float(np.median([fact.size for fact in facts])))
    colour = _most_common([colour_name(fact.colour) for fact in facts])
    texture = _most_common([texture_name(fact.roughness, fact.direction) for fact in facts])
    place = _most_common([place_name(*fact.centre) for fact in facts])
    thing = _most_common(beside)
    noun = " ".join(filter(None, (size, colour, texture, "patch")))
    where = f"at the {place}" if place else "in varying places"
    return " ".join(filter(None, (noun, where, thing and f"beside the {thing}")))


def _most_common(words: Sequence[str | None]) -> str | None:
    """The word of at least half of them, the first in the alphabet of equals; None if there is none."""
    counts = {word: words.count(word) for word in sorted({word for word in words if word is not None})}
    best = max(counts, key=lambda word: counts[word], default=None)
    return best if best is not None and 2 * counts[best] >= len(words) else None


def place_name(x: float, y: float) -> str:
    """One of nine fields of the image: "top left", "centre", "bottom right"."""
    column = ("left", "", "right")[min(int(3 * x), 2)]
    row = ("top", "", "bottom")[min(int(3 * y), 2)]
    return " ".join(filter(None, (row, column))) or "centre"


def size_name(share: float) -> str:
    """ "tiny" (below 1 % of the pixels), "small" (5 %), "medium" (20 %) or "large"."""
    return next(
        (name for limit, name in ((0.01, "tiny"), (0.05, "small"), (0.2, "medium")) if share < limit), "large"
    )


def texture_name(roughness: float, direction: float) -> str:
    """ "smooth" (mean step below 0.02), "striped" (steps mostly along one axis) or "textured"."""
    if roughness < 0.02:
        return "smooth"
    return "striped" if abs(direction - 0.5) > 0.25 else "textured"


_HUES = (
    (20, "red"),
    (45, "orange"),
    (70, "yellow"),
    (165, "green"),
    (200, "cyan"),
    (260, "blue"),
    (290, "purple"),
    (340, "pink"),
    (361, "red"),
)
"""Upper ends of the hues' names, in degrees of the HSV circle."""


def colour_name(colour: tuple[float, float, float]) -> str:
    """A basic colour term for (red, green, blue) in [0, 1].

    Source: the eleven basic terms of Berlin, Kay. Basic Color Terms. 1969, and cyan; limits in HSV are our own.
    """
    red, green, blue = colour
    value, chroma = max(colour), max(colour) - min(colour)
    if value < 0.15:
        return "black"
    if chroma / value < 0.18:
        return "white" if value > 0.85 else "grey"
    if value == red:
        hue = (60 * (green - blue) / chroma) % 360
    elif value == green:
        hue = 60 * (blue - red) / chroma + 120
    else:
        hue = 60 * (red - green) / chroma + 240
    name = next(word for limit, word in _HUES if hue < limit)
    if name in ("red", "orange", "yellow") and 10 <= hue < 70 and value < 0.65:
        return "brown"
    return "pink" if name == "red" and value > 0.8 and chroma / value < 0.5 else name
