"""Means of samples that are drawn one after another until they suffice: intervals that hold whenever one stops.

Looking again and again until an interval happens to be short enough makes intervals of a fixed number of samples wrong
more often than they say. These hold at all moments together, for any values in a known range: wealth that a bettor
against a supposed mean has won, which by chance alone seldom becomes large. They are wider than Student's.

Source: Waudby-Smith, Ramdas. Estimating means of bounded random variables by betting. JRSS B 86, 2024, sec. 4.4:
the hedged capital with predictable plug-in bets. arXiv:2010.09686
"""

import math
from dataclasses import dataclass

import numpy as np

from audit import statistics
from audit.types import Interval

_MOST = 0.5
"""Share of the wealth that is risked at most: c of the source; losing all would end the game."""
_MOST_DRAWN = 10**6
"""More draws than this are no advice."""
_BISECTIONS = 40
"""Halvings of [0, 1] in search of an interval's end: finer than float32."""


@dataclass(frozen=True)
class Estimates:
    """How means of what maps show are estimated, and how sure.

    Attributes:
        level: confidence of each interval, such as 0.95.
        was_sampled: samples were drawn until they sufficed. Half of the error then belongs to all moments at which one
            could have stopped, half to the end where all samples of a class are used.
        n_left: samples that are left at such a moment. Values must then stand in the order in which they were drawn.
    """

    level: float
    was_sampled: bool = False
    n_left: int = 0

    @property
    def is_partial(self) -> bool:
        """Whether this is a moment at which more could be drawn."""
        return self.n_left > 0

    @property
    def own_level(self) -> float:
        """Confidence of an interval of this kind."""
        return (1.0 + self.level) / 2 if self.was_sampled else self.level

    def share(self, values: np.ndarray) -> Interval:
        """Mean of numbers in [0, 1]; see `statistics.mean_share`."""
        if self.is_partial:
            return running_mean(values, self.own_level)
        return statistics.mean_share(values, self.own_level)

    def difference(self, first: np.ndarray, second: np.ndarray) -> Interval:
        """Mean of `first - second`, both in [0, 1], paired; see `statistics.paired_difference`."""
        if self.is_partial:
            return _stretched(running_mean(_halved(first, second), self.own_level))
        return statistics.paired_difference(first, second, self.own_level)

    def p_greater(self, first: np.ndarray, second: np.ndarray) -> float:
        """p value of the mean of `first - second` not being above 0; see `statistics.p_greater`."""
        p_value = (
            running_p(_halved(first, second), 0.5) if self.is_partial else statistics.p_greater(first, second)
        )
        return min(1.0, 2 * p_value) if self.was_sampled else p_value

    def n_to_tell(self, first: np.ndarray, second: np.ndarray, line: float) -> float:
        """How many samples there must be for the interval of `difference` to leave out `line`, if they vary like these.

        With samples left, either as many draws as the running interval needs, or so many samples that the interval at
        the end of all of them does, whichever comes first.

        Args:
            first, second: those of `difference`.
            line: in (-1, 1).

        Returns:
            A whole number; NaN where the line is hit exactly, and for fewer than 2 samples unless some are left.
        """
        halved, supposed = _known(_halved(first, second)), (1.0 + line) / 2
        if not len(halved):
            return math.nan
        at_end = statistics.n_for_margin(halved, abs(float(halved.mean()) - supposed), self.own_level)
        if not self.is_partial:
            return at_end
        running = running_n(halved, supposed, self.own_level)
        # NaN of the maximum stays, NaN of the minimum does not: whichever is known.
        return float(np.fmin(running, np.maximum(at_end, len(halved) + self.n_left)))


def running_mean(values: np.ndarray, level: float) -> Interval:
    """Mean of numbers in [0, 1] with an interval that holds at every moment of drawing them.

    Args:
        values: float (N,) in [0, 1] in the order of drawing, each independent of those before; NaN is left out.
        level: confidence that all intervals from the first value on hold.

    Returns:
        Mean and ends in [0, 1]; NaN throughout without any value.
    """
    known = _known(values)
    if not len(known):
        return statistics.NOT_MEASURED
    mean = float(known.mean())
    to_exceed = math.log(2 / (1 - level))  # the wealth is split between bets on more and bets on less
    bets = _bets(known, 1 - level)
    low = _end(known, bets, to_exceed)
    high = 1.0 - _end(1.0 - known, bets, to_exceed)
    return Interval(mean, min(low, mean), max(high, mean))


def running_p(values: np.ndarray, supposed: float) -> float:
    """p value, at every moment of drawing, of the mean of numbers in [0, 1] not being above `supposed`.

    Args:
        values: as for `running_mean`.
        supposed: in (0, 1).

    Returns:
        In (0, 1]: the reciprocal of the largest wealth so far; NaN without any value.
    """
    known = _known(values)
    if not len(known):
        return math.nan
    return math.exp(-max(0.0, _largest_wealth(known, _bets(known, 0.05), supposed)))


def running_n(values: np.ndarray, supposed: float, level: float) -> float:
    """How many values must be drawn for the interval of `running_mean` to leave out `supposed`.

    The bettor of that interval plays on with the values that are known, over and over, until the wealth is enough:
    the number for values that vary as these do.

    Args:
        values, level: those of `running_mean`.
        supposed: in (0, 1).

    Returns:
        A whole number; NaN without any value, where their mean is `supposed`, or above 10^6.

    Source: the wealth of sec. 4.4, see above; that the future repeats the past is the plug-in rule of sample sizes.
    """
    known = _known(values)
    if not len(known) or known.mean() == supposed:
        return math.nan
    if known.mean() < supposed:
        known, supposed = 1.0 - known, 1.0 - supposed
    n = 256
    while n <= 8 * _MOST_DRAWN:
        drawn = np.resize(known, n)
        # The two sides of an interval bet alike: the variance of values and of what they lack of 1 are the same.
        is_enough = _wealth(drawn, _bets(drawn, 1 - level), supposed) >= math.log(2 / (1 - level))
        if is_enough.any():
            reached = int(is_enough.argmax()) + 1
            return float(reached) if reached <= _MOST_DRAWN else math.nan
        n *= 8
    return math.nan


def _bets(values: np.ndarray, error: float) -> np.ndarray:
    """float (N,): what is bet on each value, from the mean and variance of the values before it alone."""
    n = np.arange(1, len(values) + 1)
    means = (0.5 + np.cumsum(values)) / (n + 1)
    variances = (0.25 + np.cumsum((values - means) ** 2)) / (n + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    return np.asarray(np.sqrt(2 * math.log(2 / error) / (before * n * np.log(n + 1))))


def _wealth(values: np.ndarray, bets: np.ndarray, supposed: float) -> np.ndarray:
    """float (N,): logarithm of the wealth after each value of betting that the mean is above `supposed`, from 1."""
    stakes = np.minimum(bets, _MOST / supposed)
    return np.cumsum(np.log1p(stakes * (values - supposed)))


def _largest_wealth(values: np.ndarray, bets: np.ndarray, supposed: float) -> float:
    """The largest of `_wealth`."""
    return float(_wealth(values, bets, supposed).max())


def _end(values: np.ndarray, bets: np.ndarray, to_exceed: float) -> float:
    """The largest mean against which betting on more wins enough; wealth falls with the supposed mean."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _largest_wealth(values, bets, middle) >= to_exceed:
            low = middle
        else:
            high = middle
    return low


def _halved(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Differences of shares, in [-1, 1], brought to [0, 1]."""
    return (1.0 + np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)) / 2


def _stretched(interval: Interval) -> Interval:
    """The interval of differences from that of `_halved` ones."""
    return Interval(*(2 * end - 1 for end in (interval.mean, interval.low, interval.high)))


def _known(values: np.ndarray) -> np.ndarray:
    numbers = np.asarray(values, dtype=np.float64)
    return np.clip(numbers[~np.isnan(numbers)], 0.0, 1.0)
