"""Two finished runs -> what became of every class: improved, worsened, unchanged or incomparable, paired by sample.

A change is called so where two things hold: it is not chance (q values over everything that was compared), and it is
large enough to matter. The second is needed because a retrained network looks elsewhere by a little, truly so and for
no reason anybody cares about; with enough images any such difference is certain. What is not called a change is
`unchanged` only where a change that would matter is ruled out, and `incomparable` otherwise.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from audit import statistics
from audit._pairs import ACCURACY, MASS_INSIDE, MASS_ON, Pairs, all_pairs, match
from audit.lost_and_won import count
from audit.retraining import SeedNoise, seed_noise
from audit.types import AuditRun, ChangeKind, ChangeLimits, ClassChange, Comparison, Interval

_SEVERITY = (ChangeKind.WORSENED, ChangeKind.IMPROVED, ChangeKind.INCOMPARABLE, ChangeKind.UNCHANGED)
_SMALLEST_TAIL = 1e-300
"""A p value of a t test can be smaller than any number; it is then this."""


def compare(
    reference: AuditRun,
    candidate: AuditRun,
    limits: ChangeLimits,
    differences: Sequence[str] = (),
    retrained: Sequence[AuditRun] = (),
) -> Comparison:
    """The comparison of two runs.

    Args:
        reference: the run of the released model or of the older data.
        candidate: the one to be judged.
        limits: the lines that are drawn.
        differences: settings in which the runs differ, in words.
        retrained: runs of further trainings of the reference that differ from it in their seed alone; a change must
            then exceed what lies between them.

    Returns:
        Changes in the order of the classes; accuracy first, then mass by method, then effects of interventions.
    """
    samples, unpaired = match(reference, candidate)
    noise = seed_noise(reference, retrained, 1 - limits.q, limits.minimum_pairs) if retrained else None
    changes = judge_pairs(list(all_pairs(reference, candidate, samples)), limits, noise)
    return Comparison(
        reference=reference,
        candidate=candidate,
        changes=changes,
        kinds=class_kinds(changes),
        n_pairs=len(samples),
        unpaired=unpaired,
        differences=tuple(differences),
        limits=limits,
        seed_noise=noise or {},
        hits=count(reference, candidate, {sample_id for ids in unpaired.values() for sample_id in ids}),
    )


def judge_pairs(
    everything: Sequence[Pairs], limits: ChangeLimits, noise: SeedNoise | None = None
) -> tuple[ClassChange, ...]:
    """What became of each statistic; false alarms are held over all that are given.

    Args:
        everything: the pairs.
        limits: the lines that are drawn.
        noise: what another seed brings, where further trainings were given; what they say nothing of is no change.
    """
    p_values = np.array([_p_value(pairs, limits) for pairs in everything])
    q_values = statistics.false_discovery_rates(p_values)
    return tuple(
        _change(pairs, float(q_value), limits, _noise_of(pairs, noise))
        for pairs, q_value in zip(everything, q_values, strict=True)
    )


def _noise_of(pairs: Pairs, noise: SeedNoise | None) -> float:
    """What another seed brings; without a bound where one was asked for, anything."""
    return 0.0 if noise is None else noise.get((pairs.label, pairs.method, pairs.statistic), math.inf)


def class_kinds(changes: Sequence[ClassChange]) -> dict[str, ChangeKind]:
    """What became of each class as a whole, in order of first occurrence: the gravest kind of its statistics.

    That something could not be compared counts for accuracy and mass inside alone: a confound on three photos says
    nothing of a class.
    """
    worst: dict[str, ChangeKind] = {}
    for change in changes:
        is_side_issue = change.statistic not in (ACCURACY, MASS_INSIDE)
        kind = change.kind
        if kind is ChangeKind.INCOMPARABLE and is_side_issue:
            kind = ChangeKind.UNCHANGED
        known = worst.get(change.label)
        if known is None or _SEVERITY.index(kind) < _SEVERITY.index(known):
            worst[change.label] = kind
    return worst


def paired_share_difference(first: np.ndarray, second: np.ndarray, level: float) -> Interval:
    """Difference of two proportions over the same samples, `mean(first) - mean(second)`, with its interval.

    Student's interval has no width where no sample changed its side, however few there are; this one has.

    Args:
        first, second: float (N,) of 0 and 1.
        level: confidence, such as 0.95.

    Returns:
        In [-1, 1]; NaN throughout for no pair.

    Source: method 10 of Newcombe 1998, Statistics in Medicine 17, 2635-2650.
    """
    n = len(first)
    if n == 0:
        return statistics.NOT_MEASURED
    both, neither = float((first * second).sum()), float(((1 - first) * (1 - second)).sum())
    only_first, only_second = float((first * (1 - second)).sum()), float(((1 - first) * second).sum())
    one = statistics.proportion_interval(int(first.sum()), n, level)
    other = statistics.proportion_interval(int(second.sum()), n, level)
    product = both * neither - only_first * only_second
    if product > 0:
        product = max(product - n / 2, 0.0)  # the continuity correction of the source
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    phi = product / math.sqrt(margins) if margins > 0 else 0.0
    difference = one.mean - other.mean
    below, above = one.mean - one.low, one.high - one.mean
    other_below, other_above = other.mean - other.low, other.high - other.mean
    low = difference - math.sqrt(max(below**2 - 2 * phi * below * other_above + other_above**2, 0.0))
    high = difference + math.sqrt(max(above**2 - 2 * phi * above * other_below + other_below**2, 0.0))
    return Interval(difference, max(low, -1.0), min(high, 1.0))


def _p_value(pairs: Pairs, limits: ChangeLimits) -> float:
    """Two-sided p value of no change; NaN where it is not compared."""
    if pairs.obstacle or len(pairs.reference) < limits.minimum_pairs:
        return math.nan
    if pairs.statistic == ACCURACY:
        # McNemar's exact test: of the samples that changed their side, as many one way as the other.
        lost = int((pairs.reference > pairs.candidate).sum())
        won = int((pairs.candidate > pairs.reference).sum())
        return float(stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0
    one_sided = min(
        statistics.p_greater(pairs.candidate, pairs.reference),
        statistics.p_greater(pairs.reference, pairs.candidate),
    )
    return min(1.0, max(2 * one_sided, _SMALLEST_TAIL))


def _change(pairs: Pairs, q_value: float, limits: ChangeLimits, noise: float) -> ClassChange:
    """One row of the table."""
    level = 1.0 - limits.q
    interval = paired_share_difference if pairs.statistic == ACCURACY else statistics.paired_difference
    size = interval(pairs.candidate, pairs.reference, level)
    if pairs.obstacle:
        size = statistics.NOT_MEASURED  # numbers of different questions have no difference
    kind, reason = _kind(pairs, size, q_value, limits, noise)
    return ClassChange(
        label=pairs.label,
        method=pairs.method,
        statistic=pairs.statistic,
        reference=_mean(pairs.reference),
        candidate=_mean(pairs.candidate),
        difference=size.mean,
        low=size.low,
        high=size.high,
        kind=kind,
        n=len(pairs.reference),
        q_value=q_value,
        n_needed=(
            _n_needed(pairs, size, limits)
            if kind is ChangeKind.INCOMPARABLE and not _has_turned(pairs, size, q_value, limits)
            else math.nan
        ),
        reason=reason,
    )


def _kind(
    pairs: Pairs, size: Interval, q_value: float, limits: ChangeLimits, noise: float
) -> tuple[ChangeKind, str]:
    """What became of it, and why it cannot be said or what to add."""
    n = len(pairs.reference)
    if pairs.obstacle:
        return ChangeKind.INCOMPARABLE, f"Not compared: {pairs.obstacle}."
    if n < limits.minimum_pairs:
        dropped = "".join(f"; {number} left out: {reason}" for reason, number in pairs.n_dropped.items())
        return ChangeKind.INCOMPARABLE, f"{n} pairs, {limits.minimum_pairs} are asked for{dropped}."
    gain = _gain(pairs)
    is_certain = q_value <= limits.q
    is_large = abs(gain) >= limits.minimum_change
    if _has_turned(pairs, size, q_value, limits):
        turned = f"from {_points(_mean(pairs.reference))} to {_points(_mean(pairs.candidate))} points"
        return (
            ChangeKind.INCOMPARABLE,
            f"The effect turned its sign, {turned}: neither better nor worse for sure.",
        )
    if is_certain and is_large and abs(gain) <= noise:
        bound = (
            f"another seed alone brings up to {100 * noise:.0f} points"
            if math.isfinite(noise)
            else "the further trainings do not tell what another seed alone brings"
        )
        return ChangeKind.INCOMPARABLE, f"{_points(size.mean)} points, certain, but {bound}."
    if is_certain and is_large:
        return (ChangeKind.IMPROVED if gain > 0 else ChangeKind.WORSENED), _remark(pairs)
    if not max(abs(size.low), abs(size.high)) < limits.ruled_out:
        wide = f"{_points(size.low)} to {_points(size.high)} points"
        return ChangeKind.INCOMPARABLE, f"Too few pairs to tell: the interval is {wide}."
    if is_certain:
        return ChangeKind.UNCHANGED, "A change that is certain, and too small to matter."
    return ChangeKind.UNCHANGED, _remark(pairs)


def _gain(pairs: Pairs) -> float:
    """How much better the candidate is, as a share; negative where it is worse.

    An effect of an intervention is a dependence on the confound whatever its sign, so it is better where it is
    nearer to none.
    """
    before, after = _mean(pairs.reference), _mean(pairs.candidate)
    if pairs.statistic in (ACCURACY, MASS_INSIDE):
        return after - before
    if pairs.statistic.startswith(MASS_ON + "."):
        return before - after
    return abs(before) - abs(after)


def _has_turned(pairs: Pairs, size: Interval, q_value: float, limits: ChangeLimits) -> bool:
    """Whether an effect of an intervention has the other sign for sure, and nobody knows whether it is stronger.

    That an effect moved far says nothing of its strength: from +20 to -20 points is far, and as strong as before. So
    pairs are compared with the sign of one side turned back.
    """
    is_share = pairs.statistic in (ACCURACY, MASS_INSIDE) or pairs.statistic.startswith(f"{MASS_ON}.")
    is_small = max(abs(size.low), abs(size.high)) < limits.ruled_out
    is_same_sign = _mean(pairs.reference) * _mean(pairs.candidate) >= 0
    if is_share or is_small or is_same_sign or not q_value <= limits.q:
        return False
    strength = statistics.paired_difference(-pairs.candidate, pairs.reference, 1.0 - limits.q)
    return strength.low <= 0 <= strength.high


def _n_needed(pairs: Pairs, size: Interval, limits: ChangeLimits) -> float:
    """Pairs that would decide, if they vary as these do; NaN where that cannot be told.

    So many pairs are enough for an interval that stands alone. Where there are as many already, what is left open are
    the other comparisons, or a test that is stricter than the interval, and there is no number to give.
    """
    if pairs.obstacle or math.isnan(size.mean):
        return math.nan
    room = max(limits.ruled_out - abs(size.mean), abs(size.mean))
    needed = statistics.n_for_margin(pairs.candidate - pairs.reference, room, 1.0 - limits.q)
    return max(needed, float(limits.minimum_pairs)) if needed > len(pairs.reference) else math.nan


def _remark(pairs: Pairs) -> str:
    """Which samples were left out, if any."""
    if not pairs.n_dropped:
        return ""
    return "Left out: " + "; ".join(f"{n} with {reason}" for reason, n in pairs.n_dropped.items()) + "."


def _points(share: float) -> str:
    return f"{100 * share:+.0f}"


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan
