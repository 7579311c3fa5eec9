"""The page of a history: every class over the runs as a line with its interval, and the table of all numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reports import environment, single_site
from reports.trends import PastRun, trend_chart, trends


@dataclass(frozen=True)
class UnusableRun:
    """A run folder that has no place in the table, and why."""

    name: str
    reason: str


def render(name: str, runs: Sequence[PastRun], unusable: Sequence[UnusableRun]) -> dict[str, str | bytes]:
    """The page, self-contained: file name -> content; open `index.html`.

    Args:
        name: of the folder.
        runs: the oldest first.
        unusable: what the folder holds besides.
    """
    templates = environment.make()
    templates.globals["trend_chart"] = lambda trend: trend_chart(trend, runs)
    values: dict[str, Any] = {
        "past_runs": list(runs),
        "newest_first": list(reversed(runs)),
        "trends": trends(runs),
        "unusable": list(unusable),
    }
    return dict(single_site.render(templates, "history", name, values))
