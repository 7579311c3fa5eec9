"""Runs over time: what is kept of each, and the course of a class as a chart."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from reports import numbers

_WIDTH, _HEIGHT = 400, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 12, 10, 24
_SHAPES = {
    "spurious": "M{x} {y}m-5 -5h10v10h-10z",
    "suspect": "M{x} {y}m0 -6l6 11h-12z",
    "undecided": "M{x} {y}m0 -6l6 6l-6 6l-6 -6z",
    "sound": "M{x} {y}m-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
}
"""A shape a status, so that colour never speaks alone."""

_SVG = Markup(
    '<svg role="img" aria-label="{words}" viewBox="0 0 {width} {height}"><title>{words}</title>'
    "{grid}{bands}{lines}{points}{ends}</svg>"
)
_GRID = Markup(
    '<path class="grid" d="M{left} {y}H{right}"/>'
    '<text class="axis" x="{text_x}" y="{text_y}" text-anchor="end">{text}</text>'
)
_BAND = Markup('<path class="band" d="M{x} {low}V{high}"/>')
_LINE = Markup('<path class="line" d="{path}"/>')
_POINT = Markup('<path class="shape {status}" d="{path}"><title>{words}</title></path>')
_END = Markup('<text class="axis" x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>')


@dataclass(frozen=True)
class HistoryRow:
    """One class by one method in one run; NaN where it was not measured."""

    label: str
    method: str
    n: int
    accuracy: float
    mass_inside: float
    mass_inside_low: float
    mass_inside_high: float
    status: str
    confound: str


@dataclass(frozen=True)
class PastRun:
    """One finished run.

    Attributes:
        name: of its folder.
        started: ISO 8601, UTC.
        model_digest: SHA-256 of the model file.
        data_digest: SHA-256 over the ids and image digests of the samples.
        data: path of the dataset.
        n, accuracy: samples audited, and the share of them that is right.
        rows: one per class with samples and method.
    """

    name: str
    started: str
    model_digest: str
    data_digest: str
    data: str
    n: int
    accuracy: float
    rows: tuple[HistoryRow, ...]


@dataclass(frozen=True)
class Trend:
    """One class by one method over all runs; None where a run lacks it."""

    label: str
    method: str
    rows: tuple[HistoryRow | None, ...]


def trends(runs: Sequence[PastRun]) -> list[Trend]:
    """Each class and method of any run, in the order of the newest run that has it."""
    keys = dict.fromkeys((row.label, row.method) for run in reversed(runs) for row in run.rows)
    found = [{(row.label, row.method): row for row in run.rows} for run in runs]
    return [
        Trend(label, method, tuple(rows.get((label, method)) for rows in found)) for label, method in keys
    ]


def trend_chart(trend: Trend, runs: Sequence[PastRun]) -> Markup:
    """Mass inside over the runs, 0 to 100 %: a line with intervals; a run without it is a gap."""
    places = [_x(number, len(runs)) for number in range(len(runs))]
    shown = [
        (x, row, run)
        for x, row, run in zip(places, trend.rows, runs, strict=True)
        if row is not None and not numbers.is_missing(row.mass_inside)
    ]
    return _SVG.format(
        words=_words(trend, shown),
        width=_WIDTH,
        height=_HEIGHT,
        grid=Markup("").join(_grid(share) for share in (0.0, 0.5, 1.0)),
        bands=Markup("").join(_band(x, row) for x, row, _ in shown),
        lines=_lines(trend, places),
        points=Markup("").join(_point(x, row, run) for x, row, run in shown),
        ends=_ends(runs),
    )


def _x(number: int, n: int) -> float:
    """Where a run lies; runs are equally far apart, whatever the time between them."""
    return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * ((number + 0.5) / n), 1)


def _y(share: float) -> float:
    return round(_TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM), 1)


def _grid(share: float) -> Markup:
    y = _y(share)
    return _GRID.format(
        left=_LEFT, right=_WIDTH - _RIGHT, y=y, text_x=_LEFT - 5, text_y=y + 4, text=numbers.share(share)
    )


def _band(x: float, row: HistoryRow) -> Markup:
    if numbers.is_missing(row.mass_inside_low) or numbers.is_missing(row.mass_inside_high):
        return Markup("")
    return _BAND.format(x=x, low=_y(row.mass_inside_low), high=_y(row.mass_inside_high))


def _lines(trend: Trend, places: Sequence[float]) -> Markup:
    """A stroke between neighbouring runs that both have a number."""
    strokes = [
        f"M{x} {_y(one.mass_inside)}L{next_x} {_y(other.mass_inside)}"
        for (x, one), (next_x, other) in pairwise(zip(places, trend.rows, strict=True))
        if one is not None
        and other is not None
        and not numbers.is_missing(one.mass_inside)
        and not numbers.is_missing(other.mass_inside)
    ]
    return _LINE.format(path="".join(strokes)) if strokes else Markup("")


def _point(x: float, row: HistoryRow, run: PastRun) -> Markup:
    path = _SHAPES.get(row.status, _SHAPES["undecided"]).format(x=x, y=_y(row.mass_inside))
    mass = numbers.interval(row.mass_inside, row.mass_inside_low, row.mass_inside_high)
    return _POINT.format(status=row.status, path=path, words=f"{run.name}: {mass}, {row.status}")


def _ends(runs: Sequence[PastRun]) -> Markup:
    """The days of the first and the last run under the line."""
    y = _HEIGHT - 7
    first = _END.format(x=_LEFT, y=y, anchor="start", text=runs[0].started[:10])
    if len(runs) == 1:
        return first
    return first + _END.format(x=_WIDTH - _RIGHT, y=y, anchor="end", text=runs[-1].started[:10])


def _words(trend: Trend, shown: Sequence[tuple[float, HistoryRow, PastRun]]) -> str:
    """The line for those who do not see it: where it starts, where it ends."""
    name = f"Mass inside of {trend.label} by {trend.method}"
    if not shown:
        return f"{name}: not measured in any run"
    (_, first, _), (_, last, _) = shown[0], shown[-1]
    over = numbers.plural(len(shown), "run", "runs")
    return f"{name} over {over}: {numbers.share(first.mass_inside)} at first, {numbers.share(last.mass_inside)} at last"
