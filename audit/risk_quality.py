"""How good an estimate of risk is: does it rank errors above right predictions, and does it come true?"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from audit import statistics
from audit.types import Interval

CONFIDENT = 0.9
"""Confidence above which an error is a confident one."""
_EDGES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Bins of risk: narrow where most predictions are."""


@dataclass(frozen=True)
class Reliability:
    """Predictions of nearly one risk.

    Attributes:
        low, high: ends of the bin, the upper one included.
        n: predictions.
        risk: mean risk.
        wrong: share that was wrong, with interval.
    """

    low: float
    high: float
    n: int
    risk: float
    wrong: Interval


@dataclass(frozen=True)
class Ranking:
    """How well risk ranks errors, beside 1 - confidence on the same predictions.

    Attributes:
        n, n_wrong: predictions, and wrong ones.
        auroc, auroc_of_confidence: chance that an error ranks above a right prediction, ties counting half.
        gain: the first minus the second, with a paired interval.
        aurc, aurc_of_confidence: mean share of errors among the least risky, over all sizes of that group.
    """

    n: int
    n_wrong: int
    auroc: Interval
    auroc_of_confidence: Interval
    gain: Interval
    aurc: float
    aurc_of_confidence: float


def ranking(is_wrong: np.ndarray, risks: np.ndarray, confidence: np.ndarray, level: float) -> Ranking:
    """Risk beside maximum probability.

    Args:
        is_wrong: bool (N,).
        risks: float (N,) in [0, 1], the higher the more likely wrong.
        confidence: float (N,), largest probability.
        level: of the intervals.

    Returns:
        Intervals are NaN throughout where all predictions are right, or all wrong.
    """
    doubt = 1 - confidence
    return Ranking(
        n=len(is_wrong),
        n_wrong=int(is_wrong.sum()),
        auroc=auroc(is_wrong, risks, level),
        auroc_of_confidence=auroc(is_wrong, doubt, level),
        gain=auroc_gain(is_wrong, risks, doubt, level),
        aurc=aurc(is_wrong, risks),
        aurc_of_confidence=aurc(is_wrong, doubt),
    )


def auroc(is_wrong: np.ndarray, risks: np.ndarray, level: float) -> Interval:
    """Chance that an error has a higher risk than a right prediction, ties counting half, with its interval.

    Returns:
        In [0, 1]; NaN throughout without an error or without a right prediction.

    Source: see `statistics.separation`, of which this is (1 + separation) / 2.
    """
    apart = statistics.separation(risks[is_wrong], risks[~is_wrong], level)
    return Interval(*((1 + end) / 2 for end in (apart.mean, apart.low, apart.high)))


def auroc_gain(is_wrong: np.ndarray, risks: np.ndarray, others: np.ndarray, level: float) -> Interval:
    """AUROC of `risks` minus AUROC of `others` on the same predictions, with its interval.

    Returns:
        In [-1, 1]; NaN throughout without an error or without a right prediction, the ends where there is only one.

    Source: DeLong, DeLong, Clarke-Pearson 1988, Biometrics 44, 837-845, for two correlated curves.
    """
    n_wrong, n_right = int(is_wrong.sum()), int((~is_wrong).sum())
    if not n_wrong or not n_right:
        return statistics.NOT_MEASURED
    wrong, right = (
        one - other
        for one, other in zip(_placements(is_wrong, risks), _placements(is_wrong, others), strict=True)
    )
    mean = float(wrong.mean())
    if min(n_wrong, n_right) < 2:
        return Interval(mean, math.nan, math.nan)
    error = math.sqrt(float(wrong.var(ddof=1)) / n_wrong + float(right.var(ddof=1)) / n_right)
    margin = float(stats.norm.ppf((1 + level) / 2)) * error
    return Interval(mean, max(-1.0, mean - margin), min(1.0, mean + margin))


def aurc(is_wrong: np.ndarray, risks: np.ndarray) -> float:
    """Area under the risk-coverage curve: the mean over k of the share of errors among the k least risky.

    Predictions of equal risk enter with their mean, the expectation over all orders of them.

    Returns:
        In [0, 1], the lower the better; NaN without a prediction.

    Source: Geifman, Uziel, El-Yaniv. Bias-Reduced Uncertainty Estimation. ICLR 2019, arXiv:1805.08206.
    """
    if not len(is_wrong):
        return math.nan
    _, group, sizes = np.unique(risks, return_inverse=True, return_counts=True)
    means = np.bincount(group, weights=is_wrong.astype(np.float64)) / sizes
    errors = np.repeat(means, sizes)
    return float(np.mean(np.cumsum(errors) / np.arange(1, len(errors) + 1)))


def reliability(is_wrong: np.ndarray, risks: np.ndarray, level: float) -> tuple[Reliability, ...]:
    """What became of predictions by their risk; bins without any are left out."""
    bins = np.clip(np.searchsorted(_EDGES, risks, side="left") - 1, 0, len(_EDGES) - 2)
    found = []
    for number in np.unique(bins):
        own = bins == number
        found.append(
            Reliability(
                low=_EDGES[number],
                high=_EDGES[number + 1],
                n=int(own.sum()),
                risk=float(risks[own].mean()),
                wrong=statistics.proportion_interval(int(is_wrong[own].sum()), int(own.sum()), level),
            )
        )
    return tuple(found)


def _placements(is_wrong: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each error the share of right predictions below it, of each right one the share of errors above it."""
    wrong, right = scores[is_wrong], scores[~is_wrong]
    ranks = stats.rankdata(np.concatenate([wrong, right]))
    below = (ranks[: len(wrong)] - stats.rankdata(wrong)) / len(right)
    above = 1 - (ranks[len(wrong) :] - stats.rankdata(right)) / len(wrong)
    return below, above
