"""How many predictions two runs of one dataset have right over all classes, and which way the others changed."""

from dataclasses import dataclass

from scipy import stats

from audit.types import Comparison

_LEVEL = 0.05
"""A p value of at most this is worth a warning."""


@dataclass(frozen=True)
class Hits:
    """Right predictions over all pairs of samples.

    Attributes:
        n: pairs, at least 1.
        reference, candidate: shares of right predictions.
        lost: pairs that only the reference has right.
        won: pairs that only the candidate has right.
        p_value: two-sided, of the exact sign test on lost and won; 1 where nothing changed.
    """

    n: int
    reference: float
    candidate: float
    lost: int
    won: int
    p_value: float

    @property
    def is_loss(self) -> bool:
        """Whether more were lost than won, and not by chance."""
        return self.lost > self.won and self.p_value <= _LEVEL


def count(comparison: Comparison) -> Hits | None:
    """What became of the predictions; None without a pair or where a run keeps no predictions.

    Source: McNemar, Psychometrika 12 (1947); exact: of `lost + won` fair coins, as far from even or farther.
    """
    sides = (comparison.reference.tables, comparison.candidate.tables)
    if not all("predictions" in tables for tables in sides):
        return None
    left_out = {sample_id for ids in comparison.unpaired.values() for sample_id in ids}
    before, after = (
        tables["predictions"].set_index("sample_id")["correct"].astype(bool).drop(left_out, errors="ignore")
        for tables in sides
    )
    after = after.reindex(before.index)
    if before.empty:
        return None
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    p_value = float(stats.binomtest(lost, lost + won).pvalue) if lost + won else 1.0
    return Hits(len(before), float(before.mean()), float(after.mean()), lost, won, p_value)
