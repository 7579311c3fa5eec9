"""Tables that no run stores: made out of the others when somebody asks for them."""

from collections.abc import Callable, Mapping

import pandas as pd

from audit import tables as schema
from audit.errors import RunError
from pipelines.edits import edits
from pipelines.findings import findings
from pipelines.storage import Run

MADE: Mapping[str, Callable[[Run], tuple[pd.DataFrame, tuple[str, ...]]]] = {
    schema.FINDINGS.name: lambda run: (findings(run), ()),
    schema.EDITS.name: edits,
}
"""A table's name -> its rows, and sentences that a reader of them needs."""


def table_of(run: Run, name: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A table of a run, stored or made, and sentences on it.

    Raises:
        RunError: there is no such table, the run has none yet, or it is not finished.
    """
    if name in MADE:
        return MADE[name](run)
    if name not in schema.TABLES:
        raise RunError(f"expected a table out of {', '.join([*schema.TABLES, *MADE])}; found {name!r}")
    return run.table(name), ()
