"""What the page of risk shows: the most probable errors, how good the estimate is, doubtful labels and duplicates.

Nothing is computed here: rows are looked up and put in order.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audit.types import AuditRun

_N_ROWS = 50
"""Rows of a table that the page shows; `rightreasons export` gives them all."""
_N_OF_RIGHT = 10
"""Rows of risks where no prediction was wrong: a look, not a list to work through."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class RiskView:
    """The page.

    Attributes:
        quality: the manifest's figures of risk: note, all, confident, reliability.
        riskiest: the first rows of `risks`, with label, predicted, confidence and correct of `predictions`.
        n: samples.
        run: name of the run's folder, as a shell takes it.
        issues, duplicates: the first rows of these tables, leaks before other duplicates.
        issue_facts, duplicate_facts: the manifest's counts of them.
    """

    quality: Row
    riskiest: tuple[Row, ...]
    n: int
    run: str
    issues: tuple[Row, ...]
    issue_facts: Row
    duplicates: tuple[Row, ...]
    duplicate_facts: Row


def view(run: AuditRun) -> RiskView | None:
    """The page of a run; None where the run knows no risks."""
    if "risks" not in run.tables or "risk" not in run.manifest:
        return None
    n_shown = _N_ROWS if run.manifest["risk"]["all"]["n_wrong"] else _N_OF_RIGHT
    risks = run.tables["risks"].sort_values("rank").head(n_shown)
    columns = ["sample_id", "label", "predicted", "confidence", "correct"]
    joined = risks.merge(run.tables["predictions"][columns], on="sample_id", validate="one_to_one")
    # The page says once what stands behind the reason of every sample.
    joined["reason"] = joined["reason"].str.removesuffix(f" ({run.manifest['risk']['note']})")
    duplicates = run.tables["duplicates"].sort_values("leaks", ascending=False, kind="stable")
    return RiskView(
        quality=run.manifest["risk"],
        riskiest=_rows(joined),
        n=len(run.tables["risks"]),
        run=shlex.quote(run.name),
        issues=_rows(run.tables["label_issues"].head(_N_ROWS)),
        issue_facts=run.manifest["label_issues"],
        duplicates=_rows(duplicates.head(_N_ROWS)),
        duplicate_facts=run.manifest["duplicates"],
    )


def _rows(table: Any) -> tuple[Row, ...]:
    return tuple(table.to_dict("records"))
