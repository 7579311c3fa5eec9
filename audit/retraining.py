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

SeedNoise = Mapping[tuple[str, str], float]
"""(method, statistic) -> the largest difference of two trainings, as a share, that another seed explains."""


def seed_noise(reference: AuditRun, retrained: Sequence[AuditRun], level: float) -> SeedNoise:
    """Bounds on the difference of two trainings that differ in their seed alone.

    Args:
        reference: the run of the released model.
        retrained: runs of further trainings of it, on the same samples.
        level: share of such differences that a bound holds, such as 0.95.

    Returns:
        A bound for each method and statistic that was paired in every one of the runs, pooled over the classes.
    """
    paired = [all_pairs(reference, other, match(reference, other)[0]) for other in retrained]
    return bounds([list(pairs) for pairs in paired], level)


def bounds(paired: Sequence[Sequence[Pairs]], level: float) -> SeedNoise:
    """As `seed_noise`, from the pairs of the reference with each further training.

    The reference's mean and those of the others are k + 1 draws of one distribution a class; their variances are pooled
    over C classes to s^2 with C * k degrees of freedom. Two trainings then differ by at most t(level) * s * sqrt(2).

    Source: the prediction interval of Student's t for a single future observation against another, Hahn and Meeker,
    Statistical Intervals, 1991, ch. 4.
    """
    moves: dict[tuple[str, str], dict[str, list[float]]] = {}
    for pairs in (pairs for of_one in paired for pairs in of_one):
        if not pairs.obstacle and len(pairs.reference):
            by_class = moves.setdefault((pairs.method, pairs.statistic), {})
            by_class.setdefault(pairs.label, []).append(float((pairs.candidate - pairs.reference).mean()))
    found = {}
    for key, by_class in moves.items():
        # The reference itself is the draw that has moved by nothing.
        draws = [[0.0, *each] for each in by_class.values() if len(each) == len(paired)]
        if draws:
            freedom = len(draws) * len(paired)
            pooled = math.sqrt(float(np.mean([np.var(each, ddof=1) for each in draws])))
            found[key] = float(stats.t.ppf((1 + level) / 2, freedom)) * pooled * math.sqrt(2)
    return found
