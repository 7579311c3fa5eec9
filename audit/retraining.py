"""How far trainings that differ in their seed alone lie apart: what a change must exceed to be more than that.

A retrained network looks elsewhere by a little, truly so. How much, no two runs can tell; runs of further trainings of
the reference, on the same data with other seeds, can.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from audit._pairs import Pairs, all_pairs, match
from audit.types import AuditRun

SeedNoise = Mapping[tuple[str, str, str], float]
"""(label, method, statistic) -> the largest difference of two trainings, as a share, that another seed explains."""


def seed_noise(
    reference: AuditRun, retrained: Sequence[AuditRun], level: float, minimum_pairs: int
) -> SeedNoise:
    """Bounds on the difference of two trainings that differ in their seed alone.

    Args:
        reference: the run of the released model.
        retrained: runs of further trainings of it, on the same samples.
        level: share of such differences that a bound holds, such as 0.95.
        minimum_pairs: fewer samples of a class tell nothing of it.

    Returns:
        A bound for each class, method and statistic that was paired in every one of the runs.
    """
    paired = [all_pairs(reference, other, match(reference, other)[0]) for other in retrained]
    return bounds([list(pairs) for pairs in paired], level, minimum_pairs)


def bounds(paired: Sequence[Sequence[Pairs]], level: float, minimum_pairs: int) -> SeedNoise:
    """As `seed_noise`, from the pairs of the reference with each further training.

    The reference's mean and those of the k others are draws of one distribution a class, of variance s^2; two trainings
    differ by at most t(level) * s * sqrt(2). A few draws may lie close together by chance, so s is the class's own or
    that of all classes together, whichever is larger, with the k degrees of freedom of one class: classes of one
    network move together.

    Source: the prediction interval of Student's t for a single future observation against another, Hahn and Meeker,
    Statistical Intervals, 1991, ch. 4.
    """
    moves: dict[tuple[str, str], dict[str, list[float]]] = {}
    for pairs in (pairs for of_one in paired for pairs in of_one):
        if not pairs.obstacle and len(pairs.reference) >= minimum_pairs:
            by_class = moves.setdefault((pairs.method, pairs.statistic), {})
            by_class.setdefault(pairs.label, []).append(float((pairs.candidate - pairs.reference).mean()))
    found = {}
    for (method, statistic), by_class in moves.items():
        # The reference itself is the draw that has moved by nothing.
        variances = {
            label: float(np.var([0.0, *each], ddof=1))
            for label, each in by_class.items()
            if len(each) == len(paired)
        }
        for label, own in variances.items():
            spread = math.sqrt(max(own, float(np.mean(list(variances.values())))))
            reach = float(stats.t.ppf((1 + level) / 2, len(paired)))
            found[label, method, statistic] = reach * spread * math.sqrt(2)
    return found
