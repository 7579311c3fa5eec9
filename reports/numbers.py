"""Numbers to text, one way each: shares, differences, intervals, ratios, counts, durations.

Everywhere NaN and None become a dash, which the filters of `environment.py` explain as "not measured". No
text breaks inside a number: spaces are no-break spaces.
"""

import math
from collections.abc import Sequence

DASH = "–"
SPACE = "\u00a0"
THIN = "\u202f"
MINUS = "−"


def is_missing(value: float | None) -> bool:
    """Whether there is no number to show."""
    return value is None or math.isnan(value)


def share(value: float | None) -> str:
    """A share in [0, 1] as whole per cent, `33 %`; 0 and 100 only for exactly that, else `<1 %`, `>99 %`."""
    if value is None or is_missing(value):
        return DASH
    return f"{_percent(value)}{SPACE}%"


def interval(mean: float | None, low: float | None, high: float | None) -> str:
    """A share with its interval: `33 % (29–37 %)`; without the ends where they were not measured."""
    if is_missing(mean):
        return DASH
    if low is None or high is None or is_missing(low) or is_missing(high):
        return f"{share(mean)} (no interval)"
    return f"{share(mean)} ({_percent(low)}–{_percent(high)}{SPACE}%)"


def difference(value: float | None) -> str:
    """A difference of two shares, in [-1, 1], in percentage points: `+98 pp`; `0 pp` for exactly that."""
    if value is None or is_missing(value):
        return DASH
    return f"{_points(value)}{SPACE}pp"


def difference_interval(mean: float | None, low: float | None, high: float | None) -> str:
    """A difference of shares with its interval: `+12 pp (+3 to +21 pp)`."""
    if is_missing(mean):
        return DASH
    if low is None or high is None or is_missing(low) or is_missing(high):
        return f"{difference(mean)} (no interval)"
    return f"{difference(mean)} ({_points(low)} to {_points(high)}{SPACE}pp)"


def ratio(value: float | None) -> str:
    """A ratio such as a lift: `3.2×`, `120×`."""
    if value is None or is_missing(value):
        return DASH
    return f"{value:.1f}×" if abs(value) < 99.95 else f"{count(value)}×"


def count(value: float | None) -> str:
    """A count with thin separators: `12 345`."""
    if value is None or is_missing(value):
        return DASH
    return f"{round(value):,}".replace(",", THIN)


def probability(value: float | None) -> str:
    """A q- or p-value to three places: `0.012`, `<0.001`."""
    if value is None or is_missing(value):
        return DASH
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def plain(value: float | None) -> str:
    """Any other number to three significant places."""
    if value is None or is_missing(value):
        return DASH
    return f"{value:.3g}".replace("-", MINUS)


def duration(seconds: float | None) -> str:
    """Seconds as people say them: `4.2 s`, `3 min 12 s`, `1 h 4 min`."""
    if seconds is None or is_missing(seconds):
        return DASH
    if seconds < 59.95:
        return f"{seconds:.1f}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{SPACE}min {rest}{SPACE}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{SPACE}h {minutes}{SPACE}min"


def plural(number: int, one: str, many: str) -> str:
    """The number with its noun or verb: `1 class`, `2 classes`."""
    return f"{count(number)}{SPACE}{one if number == 1 else many}"


def enumerate_words(words: Sequence[str], shown: int = 3, separator: str = ", ") -> str:
    """The first words, and how many more there are: `a, b, c and 4 more`."""
    head = separator.join(words[:shown])
    return head if len(words) <= shown else f"{head} and {count(len(words) - shown)} more"


def _percent(value: float) -> str:
    """Whole per cent without the sign; never rounds into 0 or 100."""
    rounded = round(100 * value)
    if rounded <= 0 < value:
        return "<1"
    if rounded >= 100 and value < 1:
        return ">99"
    return str(rounded)


def _points(value: float) -> str:
    """Signed percentage points without the unit: whole ones, tenths below 1; never rounds into 0."""
    if value == 0:
        return "0"
    sign = "+" if value > 0 else MINUS
    size = abs(100 * value)
    if size < 0.05:
        return f"<{sign}0.1" if value > 0 else f">{sign}0.1"
    return f"{sign}{size:.1f}" if size < 0.95 else f"{sign}{round(size)}"
