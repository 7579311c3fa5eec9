"""Which samples a comparison shows: those of typical change and those of the largest, with the pictures of both runs.

No model is asked: a sample can be shown where both runs kept it as an exemplar, or in small on their sheets.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from audit.types import AuditRun, Comparison, Exemplar
from reports import sheets
from reports.compare_site import LARGEST, TYPICAL, Pair
from reports.sheets import Sheet, Small

N_TYPICAL, N_LARGEST = 3, 3
"""Samples a class."""
_Kept = Exemplar | tuple[Sheet, int]


def choose(comparison: Comparison, drawn: tuple[Sequence[Sheet], Sequence[Sheet]]) -> tuple[Pair, ...]:
    """The samples of each class that changed like the median, then those that changed most; ids break ties.

    What changes is the mass inside by the first method of both runs; where a class has none, the mass on confounds.

    Args:
        comparison: of two runs.
        drawn: the sheets of the reference and of the candidate.
    """
    runs = (comparison.reference, comparison.candidate)
    pairs = _paired(*runs)
    methods = [name for name in runs[0].manifest["methods"] if name in runs[1].manifest["methods"]]
    if pairs.empty or not methods:
        return ()
    pairs = pairs.assign(difference=_differences(runs, pairs, methods[0]))
    kept = _kept(runs, drawn)
    is_drawn = pairs["sample_id"].isin(kept)
    chosen = []
    for label in comparison.kinds:
        own = pairs[(pairs["label"] == label) & pairs["difference"].notna()]
        chosen += [
            Pair(sample_id, label, role, difference, *map(_opened, kept[sample_id]))
            for sample_id, role, difference in _ranked(own, own[is_drawn.reindex(own.index)])
        ]
    return tuple(chosen)


def _paired(reference: AuditRun, candidate: AuditRun) -> pd.DataFrame:
    """sample_id and label of what both runs audited: the same picture, the same label."""
    columns = ["sample_id", "label", "digest"]
    first, second = (run.tables["predictions"][columns] for run in (reference, candidate))
    return first.merge(second, on=columns, validate="one_to_one")


def _differences(runs: tuple[AuditRun, AuditRun], pairs: pd.DataFrame, method: str) -> np.ndarray:
    """Candidate minus reference for each pair; NaN where either is not measured.

    A class is asked for its mass inside; without any, for the mass on what is visible beside the object.
    """
    inside, on_things = (
        pairs["sample_id"].map(measure(runs[1], method)) - pairs["sample_id"].map(measure(runs[0], method))
        for measure in (_inside, _on_things)
    )
    has_any = inside.notna().groupby(pairs["label"]).transform("any")
    return np.asarray(inside.where(has_any, on_things), dtype=np.float64)


def _inside(run: AuditRun, method: str) -> pd.Series:
    table = run.tables["attributions"]
    return table[table["method"] == method].set_index("sample_id")["mass_inside"]


def _on_things(run: AuditRun, method: str) -> pd.Series:
    table = run.tables["confounds"]
    own = table[(table["method"] == method) & table["present"]]
    return own.groupby("sample_id")["mass_inside"].max()


def _ranked(own: pd.DataFrame, drawn: pd.DataFrame) -> list[tuple[str, str, float]]:
    """(sample_id, role, difference) of the drawn pairs nearest to the median of all, then of the largest."""
    distance = (drawn["difference"] - own["difference"].median()).abs()
    typical = _first(drawn.assign(key=distance), N_TYPICAL)
    left = drawn.drop(typical.index)
    largest = _first(left.assign(key=-left["difference"].abs()), N_LARGEST)
    return [
        (row.sample_id, role, float(row.difference))
        for rows, role in ((typical, TYPICAL), (largest, LARGEST))
        for row in rows.itertuples()
    ]


def _first(rows: pd.DataFrame, n: int) -> pd.DataFrame:
    return rows.sort_values(["key", "sample_id"]).head(n)


def _kept(
    runs: tuple[AuditRun, AuditRun], drawn: tuple[Sequence[Sheet], Sequence[Sheet]]
) -> dict[str, tuple[_Kept, _Kept]]:
    """What both runs have of a sample: their exemplars, else its places on their sheets."""
    full, small = [], []
    for run, some in zip(runs, drawn, strict=True):
        places = sheets.places(some, dict(run.tables["predictions"][["sample_id", "digest"]].to_numpy()))
        small.append({sample_id: (some[sheet], tile) for sample_id, (sheet, tile) in places.items()})
        full.append({exemplar.sample_id: exemplar for exemplar in run.exemplars})
    found: dict[str, tuple[_Kept, _Kept]] = {}
    for first, second in (small, full):
        found |= {
            sample_id: (first[sample_id], second[sample_id]) for sample_id in first.keys() & second.keys()
        }
    return found


def _opened(kept: _Kept) -> Exemplar | Small:
    return kept if isinstance(kept, Exemplar) else sheets.cut_out(*kept)
