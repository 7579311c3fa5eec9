"""Numbers as inline SVG, each with the same in words for those who do not see it.

Shapes are placed by attributes, and coloured by classes of `report.css`: the report's content security policy
allows no style attributes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup

from reports import numbers

_WIDTH, _HEIGHT = 200, 20
_MARGIN = 4

_SVG = Markup(
    '<svg class="bar" role="img" aria-label="{words}" viewBox="0 0 {width} {height}" '
    'width="{width}" height="{height}"><title>{words}</title>'
    '<rect class="track" x="{left}" y="8" width="{track}" height="4" rx="2"/>'
    "{shapes}</svg>"
)
_WHISKER = Markup('<rect class="whisker" x="{x}" y="5" width="{width}" height="10" rx="3"/>')
_POINT = Markup('<circle class="point" cx="{x}" cy="10" r="3.5"/>')
_ZERO = Markup('<path class="chance" d="M{x} 2V18"/>')
_TRIVIAL = Markup('<rect class="trivial" x="{x}" y="5" width="{width}" height="10"/>')
_RANGE = Markup('<path class="range" d="M{low} 10H{high}"/>')
_MIDDLE = Markup('<path class="median" d="M{x} 3V17"/>')

NULLS = {
    "area": ("by chance", Markup('<path class="chance" d="M{x} 2V18"/>')),
    "edges": ("by its edges", Markup('<path class="null" d="M{x} 9m-3.5 -6.5h7l-3.5 6.5z"/>')),
    "untrained": (
        "by an untrained model",
        Markup('<path class="null" d="M{x} 19.5m0 -7.5l3.5 3.75l-3.5 3.75l-3.5 -3.75z"/>'),
    ),
}
"""What mass would lie there without a model that has learned: words, and a shape of its own."""
_OFF_THE_LINE = {"edges": 4.25, "untrained": -5.75}
"""How far from the middle the shapes lie that stand above or below the line."""
_MOVED = Markup('<g transform="translate(0 {down})">{shape}</g>')


def interval_bar(
    mean: float | None,
    low: float | None,
    high: float | None,
    *,
    nulls: Mapping[str, float | None] | None = None,
    name: str = "mean",
) -> Markup:
    """A share in [0, 1] as a point with its interval on a line from 0 to 100 %, and its nulls as marks.

    Where there is no mean, the line is empty and says "not measured".

    Args:
        mean, low, high: the share and its interval.
        nulls: what it would be by area, edges, untrained: the keys of NULLS; those not measured are left out.
        name: what the share is of.
    """
    known = {key: value for key, value in (nulls or {}).items() if not numbers.is_missing(value)}
    words = (
        f"{name}: not measured"
        if numbers.is_missing(mean)
        else f"{name}: {numbers.interval(mean, low, high)}"
    )
    words += "".join(f"; {NULLS[key][0]} {numbers.share(value)}" for key, value in known.items())
    marks = [NULLS[key][1].format(x=_x(value or 0.0)) for key, value in known.items()]
    return _drawn(words, [*marks, *_estimate(mean, low, high)])


def difference_bar(
    mean: float | None,
    low: float | None,
    high: float | None,
    *,
    scale: float,
    trivial: float,
    name: str = "Difference",
) -> Markup:
    """A difference of shares as a point with its interval on a line from -scale to +scale.

    Args:
        mean, low, high: the difference and its interval.
        scale: where the line ends, as a share; see `scale_for`.
        trivial: differences up to this are too small to matter, and drawn as a band round zero.
        name: what it is.
    """
    is_missing = numbers.is_missing(mean)
    shown = "not measured" if is_missing else numbers.difference_interval(mean, low, high)
    band = _TRIVIAL.format(
        x=_x_of(-trivial, scale), width=round(_x_of(trivial, scale) - _x_of(-trivial, scale), 1)
    )
    placed = [None if v is None or math.isnan(v) else _share_of(v, scale) for v in (mean, low, high)]
    return _drawn(f"{name}: {shown}", [band, _ZERO.format(x=_WIDTH // 2), *_estimate(*placed)])


def scale_for(ends: Iterable[float]) -> float:
    """Where the lines of some differences end, as a share: the farthest end, up to the next 10 points."""
    farthest = max((abs(end) for end in ends if not math.isnan(end)), default=0.0)
    # Rounded first, or 0.30000000000000004 would be drawn on a line to 40 points.
    return max(0.1, math.ceil(round(10 * farthest, 6)) / 10)


def spread_bar(quantiles: Sequence[float], low: float, high: float, *, name: str) -> Markup:
    """The 5, 25, 50, 75 and 95 % quantiles of numbers on a line from `low` to `high`.

    A thin line holds nine of ten samples, a thick one the middle half, a mark the median.
    """
    if any(map(numbers.is_missing, quantiles)):
        return _drawn(f"{name}: not measured", [])
    least, first, median, third, most = quantiles
    words = (
        f"{name}: median {numbers.plain(median)}, half between {numbers.plain(first)} and {numbers.plain(third)}, "
        f"nine of ten between {numbers.plain(least)} and {numbers.plain(most)}"
    )
    width = high - low
    places = [
        _x((value - low) / width if width > 0 else 0.5) for value in (least, first, median, third, most)
    ]
    box = _WHISKER.format(x=places[1], width=max(1.0, round(places[3] - places[1], 1)))
    return _drawn(words, [_RANGE.format(low=places[0], high=places[4]), box, _MIDDLE.format(x=places[2])])


def null_mark(null: str) -> Markup:
    """The shape of a null, or of the "model" beside them, in the middle of a legend of 12 by 20."""
    shape = (_POINT if null == "model" else NULLS[null][1]).format(x=6)
    return _MOVED.format(down=_OFF_THE_LINE.get(null, 0), shape=shape)


def _drawn(words: str, shapes: Iterable[Markup]) -> Markup:
    return _SVG.format(
        words=words,
        width=_WIDTH,
        height=_HEIGHT,
        left=_MARGIN,
        track=_WIDTH - 2 * _MARGIN,
        shapes=Markup("").join(shapes),
    )


def _estimate(mean: float | None, low: float | None, high: float | None) -> list[Markup]:
    """A point in its interval; nothing without a mean, the point alone without an interval."""
    if mean is None or math.isnan(mean):
        return []
    whisker = _whisker(low, high)
    return [*([whisker] if whisker else []), _POINT.format(x=_x(mean))]


def _whisker(low: float | None, high: float | None) -> Markup | None:
    """The interval, at least wide enough to be seen."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return None
    return _WHISKER.format(x=_x(low), width=max(1.0, round(_x(high) - _x(low), 1)))


def _x(value: float) -> float:
    """Where a share lies on the line."""
    return round(_MARGIN + value * (_WIDTH - 2 * _MARGIN), 1)


def _share_of(value: float, scale: float) -> float:
    """A difference as a share of the line from -scale to +scale; what lies beyond ends at its end."""
    return (max(-1.0, min(1.0, value / scale)) + 1) / 2


def _x_of(value: float, scale: float) -> float:
    return _x(_share_of(value, scale))
