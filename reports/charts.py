"""Numbers as inline SVG, each with the same in words for those who do not see it.

Shapes are placed by attributes, and coloured by classes of `report.css`: the report's content security policy
allows no style attributes.
"""

from markupsafe import Markup

from reports import numbers

_WIDTH, _HEIGHT = 200, 20
_MARGIN = 4

_BAR = Markup(
    '<svg class="bar" role="img" aria-label="{words}" viewBox="0 0 {width} {height}" '
    'width="{width}" height="{height}"><title>{words}</title>'
    '<rect class="track" x="{left}" y="8" width="{track}" height="4" rx="2"/>'
    "{chance}{whisker}{point}</svg>"
)
_CHANCE = Markup('<path class="chance" d="M{x} 2V18"/>')
_WHISKER = Markup('<rect class="whisker" x="{x}" y="5" width="{width}" height="10" rx="3"/>')
_POINT = Markup('<circle class="point" cx="{x}" cy="10" r="3.5"/>')


def interval_bar(
    mean: float | None,
    low: float | None,
    high: float | None,
    *,
    chance: float | None = None,
    name: str = "mean",
) -> Markup:
    """A share in [0, 1] as a point with its interval on a line from 0 to 100 %, and chance as a mark.

    Where there is no mean, the line is empty and says "not measured".
    """
    words = (
        f"{name}: not measured"
        if numbers.is_missing(mean)
        else f"{name}: {numbers.interval(mean, low, high)}"
    )
    if not numbers.is_missing(chance):
        words += f"; by chance {numbers.share(chance)}"
    return _BAR.format(
        words=words,
        width=_WIDTH,
        height=_HEIGHT,
        left=_MARGIN,
        track=_WIDTH - 2 * _MARGIN,
        chance=_placed(_CHANCE, chance),
        whisker=_whisker(low, high) if not numbers.is_missing(mean) else "",
        point=_placed(_POINT, mean),
    )


def _x(value: float) -> float:
    """Where a share lies on the line."""
    return round(_MARGIN + value * (_WIDTH - 2 * _MARGIN), 1)


def _placed(shape: Markup, value: float | None) -> Markup:
    """A shape at a value, or nothing."""
    return Markup("") if value is None or numbers.is_missing(value) else shape.format(x=_x(value))


def _whisker(low: float | None, high: float | None) -> Markup:
    """The interval, or nothing; at least wide enough to be seen."""
    if low is None or high is None or numbers.is_missing(low) or numbers.is_missing(high):
        return Markup("")
    return _WHISKER.format(x=_x(low), width=max(1.0, round(_x(high) - _x(low), 1)))
