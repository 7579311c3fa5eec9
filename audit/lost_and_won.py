"""How many predictions two runs of one dataset have right over all classes, and which way the others changed."""

from collections.abc import Collection

from scipy import stats

from audit.types import AuditRun, Hits


def count(reference: AuditRun, candidate: AuditRun, left_out: Collection[str]) -> Hits | None:
    """What became of the predictions; None without a pair or where a run keeps no predictions.

    Args:
        reference, candidate: the runs.
        left_out: samples that have no partner.

    Source: McNemar, Psychometrika 12 (1947); exact: of `lost + won` fair coins, as far from even or farther.
    """
    if not all("predictions" in run.tables for run in (reference, candidate)):
        return None
    before, after = (
        run.tables["predictions"]
        .set_index("sample_id")["correct"]
        .astype(bool)
        .drop(list(left_out), errors="ignore")
        for run in (reference, candidate)
    )
    after = after.reindex(before.index)
    if before.empty:
        return None
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    p_value = float(stats.binomtest(lost, lost + won).pvalue) if lost + won else 1.0
    return Hits(len(before), float(before.mean()), float(after.mean()), lost, won, p_value)
