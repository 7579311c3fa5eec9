"""The Jinja environment: everything is escaped, an unknown name is an error, a number is shown one way."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from reports import charts, numbers

_MISSING = Markup(
    '<span class="missing" title="not measured">–<span class="unseen"> not measured</span></span>'
)
_NAME = Markup("<bdi>{}</bdi>")


def make() -> Environment:
    """The environment of the report's templates, with its filters.

    `share`, `difference`, `ratio`, `count`, `probability`, `plain`, `duration` show a number, or a dash that
    says
    "not measured"; `interval` and `difference_interval` take (mean, low, high); `name` shows what data call
    something, so that its writing direction cannot spill over; `code_name` what users type; `setting` shows a
    value of a configuration. The test `measured` is false for NaN and None.
    """
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for show in (
        numbers.share,
        numbers.difference,
        numbers.ratio,
        numbers.count,
        numbers.probability,
        numbers.plain,
        numbers.duration,
        numbers.interval,
        numbers.difference_interval,
    ):
        environment.filters[show.__name__] = _explained(show)
    environment.filters["name"] = name
    environment.filters["code_name"] = code_name
    environment.filters["setting"] = setting
    environment.filters["fragment"] = fragment
    environment.tests["measured"] = lambda value: not numbers.is_missing(value)
    for chart in (charts.interval_bar, charts.difference_bar, charts.spread_bar):
        environment.globals[chart.__name__] = chart
    environment.globals["null_mark"] = charts.null_mark
    environment.globals["plural"] = numbers.plural
    return environment


def name(text: str | None) -> Markup:
    """What the data call something, isolated from the writing direction around it."""
    if text is None:
        return _MISSING
    return _NAME.format(text if text.strip() else "(empty name)")


def code_name(text: str) -> Markup:
    """A name that users type, such as `integrated_gradients`, which may break after its underscores only."""
    return Markup("_<wbr>").join(escape(text).split("_"))


def fragment(text: str) -> str:
    """A text as part of an address, as the gallery reads it."""
    return quote(text, safe="", errors="backslashreplace")


def setting(value: Any) -> str:
    """A value of a configuration as text."""
    if isinstance(value, str):
        return value or '""'
    return json.dumps(value, ensure_ascii=False, default=str)


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested values as (dotted key, value), in their order; an empty mapping stays as it is."""
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            pairs += flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", value))
    return pairs


def _explained(show: Callable[..., str]) -> Callable[..., str]:
    """The function, with a dash that says why it is one."""

    def shown(*values: float | None) -> str:
        text = show(*values)
        return _MISSING if text == numbers.DASH else text

    return shown
