"""How a map is drawn: the options, the colours, and how strongly each pixel shows.

Source: the options and their defaults are those of the visualizations of AI Platform and Vertex Explainable AI.
Colours of viridis: van der Walt and Smith, 2015 (CC0), ten of its colours, interpolated.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

import numpy as np
from scipy.ndimage import gaussian_filter

_VIRIDIS = (
    "440154",
    "482878",
    "3e4989",
    "31688e",
    "26828e",
    "1f9e89",
    "35b779",
    "6ece58",
    "b5de2b",
    "fde725",
)
_PINK, _GREEN, _RED = ("ff4db2", "b8377f"), ("2c9c55", "35ff7f"), ("ff4b40", "b02a22")
_SEQUENTIAL: dict[str, tuple[str, ...]] = {"viridis": _VIRIDIS, "green": _GREEN, "red": _RED[::-1]}
_DIVERGING: dict[str, tuple[str, ...]] = {
    "pink_green": (*_PINK, "606060", *_GREEN),
    "red_green": (*_RED, "606060", *_GREEN),
    "pink_white_green": (*_PINK, "ffffff", *_GREEN),
}
COLOR_MAPS = (*_SEQUENTIAL, *_DIVERGING)

_PUBLISHED = {"integrated_gradients": "pink_green"}
"""The hosted services drew Integrated Gradients in pink_green, and in viridis what is not in this table."""

FAINTEST = 0.05
"""Strength of the weakest pixel that is drawn: it fades out, so that the border of the drawn part does not look like
an edge of the map, and yet is not zero, which is not drawn."""


@dataclass(frozen=True)
class Visualization:
    """How a map is drawn.

    Attributes:
        type: each pixel by itself; the outlines of areas; or areas of one value with lines between them, for maps
            of regions.
        polarity: which sign is drawn.
        clip_below_percentile: percentile of the attributed pixels below which nothing is drawn, in [0, 100).
        clip_above_percentile: percentile from which the colour is the strongest, in (0, 100].
        clip_by: percentiles of the pixels (rank), or of what they hold together (mass).
        color_map: one of COLOR_MAPS; the diverging ones give each sign a colour, the others draw both alike.
        overlay_type: what lies under the map: nothing, the photo, the photo in grey, or the photo blacked out where
            the map is weak.
        overlay_multiplier: share of the photo kept everywhere, in [0, 1], the map taking the rest; None keeps the
            photo whole where nothing is drawn.
        opacity: of the strongest colour, in (0, 1]; used where there is no overlay_multiplier.
        blur_sigma: standard deviation in pixels of the map by which it is blurred before it is clipped; pixels only.
        shade_within_outlines: fill the outlines; outlines only.
        output_format: of an encoded picture.
        resized_shape: (height, width) of the picture, or with `translate` of the map in it; None is the image's.
        translate: (x, y), pixels of the image at which the map has its origin.
    """

    type: Literal["pixels", "outlines", "regions"] = "pixels"
    polarity: Literal["positive", "negative", "both"] = "positive"
    clip_below_percentile: float = 62.0
    clip_above_percentile: float = 99.9
    clip_by: Literal["rank", "mass"] = "rank"
    color_map: str = "viridis"
    overlay_type: Literal["none", "original", "grayscale", "mask_black"] = "grayscale"
    overlay_multiplier: float | None = None
    opacity: float = 0.85
    blur_sigma: float = 0.0
    shade_within_outlines: bool = True
    output_format: Literal["jpeg", "png"] = "jpeg"
    resized_shape: tuple[int, int] | None = None
    translate: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(Visualization).items():
            _require_choice(name, getattr(self, name), get_args(hint))
        if self.color_map not in COLOR_MAPS:
            raise ValueError(f"color_map: expected one of {', '.join(COLOR_MAPS)}; found {self.color_map!r}")
        if not 0 <= self.clip_below_percentile < self.clip_above_percentile <= 100:
            raise ValueError(
                "clip percentiles: expected 0 <= below < above <= 100, found "
                f"{self.clip_below_percentile:g} and {self.clip_above_percentile:g}"
            )
        if not 0 < self.opacity <= 1:
            raise ValueError(f"opacity: expected a number in (0, 1], found {self.opacity:g}")
        if self.overlay_multiplier is not None and not 0 <= self.overlay_multiplier <= 1:
            raise ValueError(
                f"overlay_multiplier: expected a number in [0, 1], found {self.overlay_multiplier:g}"
            )
        if not 0 <= self.blur_sigma < float("inf"):
            raise ValueError(f"blur_sigma: expected pixels, 0 or more, found {self.blur_sigma:g}")
        if self.resized_shape is not None and min(self.resized_shape) < 1:
            raise ValueError(f"resized_shape: expected (height, width) above 0, found {self.resized_shape}")
        if self.translate is not None and min(self.translate) < 0:
            raise ValueError(f"translate: expected (x, y), neither below 0, found {self.translate}")


def published(method: str) -> Visualization:
    """The options that the hosted services drew a method (`name` or `name+smoothgrad`) with."""
    return Visualization(color_map=_PUBLISHED.get(method.partition("+")[0], "viridis"))


def signed_strength(attribution: np.ndarray, visualization: Visualization) -> np.ndarray:
    """How strongly each pixel is drawn.

    Percentiles count only pixels that have mass of the polarity: with 98 and 100 the top 2 % of those are drawn,
    with 0 and 100 all. Pixels of equal mass are drawn alike, also at the lower percentile.

    Args:
        attribution: float (H, W), signed; what is not finite is not drawn.
        visualization: polarity, percentiles, blur.

    Returns:
        float64 (H, W) in [-1, 1], the sign that of the map; 0 is not drawn, what is drawn is at least FAINTEST.
    """
    values = np.where(np.isfinite(attribution), attribution, 0.0).astype(np.float64)
    bounds = {"positive": (0, None), "negative": (None, 0), "both": (None, None)}[visualization.polarity]
    sided = values if bounds == (None, None) else np.clip(values, *bounds)
    if visualization.blur_sigma > 0:
        sided = gaussian_filter(sided, visualization.blur_sigma, mode="nearest")
    mass = np.abs(sided)
    attributed = mass[mass > 0]
    if not attributed.size:
        return np.zeros_like(values)
    cut_offs = {"rank": _by_rank, "mass": _by_mass}[visualization.clip_by]
    # Where nothing is clipped below, the scale starts at no mass, not at the least.
    below = visualization.clip_below_percentile
    low = cut_offs(attributed, below) if below > 0 else 0.0
    high = cut_offs(attributed, visualization.clip_above_percentile)
    # A map whose mass lies on fewer pixels than the upper percentile leaves out is still drawn in full colour.
    high = high if high > low else attributed.max()
    share = np.clip((mass - low) / (high - low), 0, 1) if high > low else np.ones_like(mass)
    shown = (mass >= low) & (mass > 0)
    strength: np.ndarray = np.where(shown, np.sign(sided) * np.maximum(share, FAINTEST), 0.0)
    return strength


def colors(strength: np.ndarray, color_map: str) -> np.ndarray:
    """Strengths in [-1, 1] (...) as uint8 colours (..., 3); a sequential map gives both signs one colour."""
    place = (strength + 1) / 2 if color_map in _DIVERGING else np.abs(strength)
    anchors = (_DIVERGING | _SEQUENTIAL)[color_map]
    table = np.array([tuple(bytes.fromhex(anchor)) for anchor in anchors], dtype=np.float64)
    at = np.linspace(0, 1, len(table))
    return np.stack([np.interp(place, at, table[:, c]) for c in range(3)], axis=-1).round().astype(np.uint8)


def _require_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Refuse a word that is none of the words of a Literal; other hints are left to their own checks."""
    if choices and all(isinstance(choice, str) for choice in choices) and value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}; found {value!r}")


def _by_rank(attributed: np.ndarray, percentile: float) -> float:
    """The mass that `percentile` percent of the pixels do not exceed."""
    return float(np.percentile(attributed, percentile))


def _by_mass(attributed: np.ndarray, percentile: float) -> float:
    """The least mass among the strongest pixels that hold 100 - `percentile` percent of the mass together."""
    falling = np.sort(attributed)[::-1]
    held = np.cumsum(falling)
    wanted = held[-1] * (100.0 - percentile) / 100.0
    return float(falling[min(int(np.searchsorted(held, wanted)), len(falling) - 1)])
