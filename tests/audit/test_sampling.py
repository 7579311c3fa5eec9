"""Intervals that hold at every moment of drawing samples."""

import math

import numpy as np
import pytest

from audit import statistics
from audit.sampling import Estimates, running_mean, running_p
from audit.types import Status
from audit.verdicts import gather, judge
from tests.audit.test_verdicts import LIMITS, SHOES, Group, tables_of

LOOKS = (10, 16, 24, 36, 54, 81, 120, 180)


def draw(kind: str, rng: np.random.Generator, n: int) -> np.ndarray:
    """Values in [0, 1] of a kind of distribution."""
    if kind == "yes or no":
        return (rng.random(n) < 0.05).astype(float)
    return rng.beta(0.5, 5.0, n) if kind == "skewed" else rng.uniform(0.4, 0.8, n)


@pytest.mark.parametrize(("kind", "mean"), [("yes or no", 0.05), ("skewed", 1 / 11), ("flat", 0.6)])
def test_whoever_looks_again_and_again_is_seldom_misled(kind, mean):
    rng = np.random.default_rng(0)
    misled = {"running": 0, "fixed": 0}
    for _ in range(100):
        values = draw(kind, rng, max(LOOKS))
        for name in misled:
            intervals = [
                running_mean(values[:n], 0.9)
                if name == "running"
                else statistics.paired_difference(values[:n], np.zeros(n), 0.9)
                for n in LOOKS
            ]
            misled[name] += any(not one.low <= mean <= one.high for one in intervals)
    # One in ten is allowed; three standard deviations of a hundred such draws are nine.
    assert misled["running"] <= 19
    assert misled["fixed"] > 19  # which is why Student's interval is no guide to when to stop


def test_a_true_null_is_seldom_rejected_at_any_moment():
    rng = np.random.default_rng(1)
    rejected = 0
    for _ in range(200):
        values = rng.integers(0, 2, 180).astype(float)
        rejected += min(running_p(values[:n], 0.5) for n in LOOKS) <= 0.1
    assert rejected <= 33  # 20 expected at most; three standard deviations are 13


def test_constant_values_narrow_around_themselves_as_they_become_more():
    widths = []
    for n in (10, 100, 1000):
        interval = running_mean(np.full(n, 0.7), 0.95)
        assert interval.low < 0.7 < interval.high
        assert interval.mean == pytest.approx(0.7)
        widths.append(interval.high - interval.low)
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 0.02


def test_a_single_value_leaves_all_open_and_none_measures_nothing():
    one = running_mean(np.array([0.5]), 0.95)
    assert (one.low, one.high) == pytest.approx((0.0, 1.0))
    assert math.isnan(running_mean(np.array([np.nan]), 0.95).mean)
    assert math.isnan(running_p(np.array([]), 0.5))


def test_wealth_by_hand():
    # The first bet is sqrt(2 log(2 / 0.05) / (1/4 * 1 * log 2)) = 6.5, held to half of the wealth: 0.5 / 0.5 = 1.
    # The value 1 against a supposed mean of 0.5 then makes 1 + 1 * 0.5 = 1.5 of each unit.
    assert running_p(np.array([1.0]), 0.5) == pytest.approx(1 / 1.5)
    assert running_p(np.array([0.0]), 0.5) == 1.0


def test_differences_are_paired_and_their_signs_kept():
    partial = Estimates(0.95, was_sampled=True, n_left=1)
    first, second = np.full(400, 0.6), np.full(400, 0.2)
    more, less = partial.difference(first, second), partial.difference(second, first)
    assert more.mean == pytest.approx(0.4)
    assert 0.3 < more.low < 0.4 < more.high < 0.5
    assert (less.low, less.high) == pytest.approx((-more.high, -more.low), abs=1e-6)
    assert partial.p_greater(first, second) < 1e-6
    assert partial.p_greater(second, first) == 1.0


def test_a_run_that_does_not_sample_has_the_intervals_of_before_and_one_that_does_half_the_error():
    rng = np.random.default_rng(2)
    first, second = rng.uniform(0.4, 0.8, 50), rng.uniform(0.3, 0.7, 50)
    assert Estimates(0.9).difference(first, second) == statistics.paired_difference(first, second, 0.9)
    assert Estimates(0.9).share(first) == statistics.mean_share(first, 0.9)
    assert Estimates(0.9).p_greater(first, second) == statistics.p_greater(first, second)
    ended = Estimates(0.9, was_sampled=True)
    assert ended.difference(first, second) == statistics.paired_difference(first, second, 0.95)
    assert ended.p_greater(first, second) == 2 * statistics.p_greater(first, second)


@pytest.mark.parametrize(
    ("values", "line"), [((0.5, 0.1), 0.2), ((0.0, 0.1, 0.3), 0.2), ((0.6,), 0.5), ((-0.5, 0.3), 0.0)]
)
def test_the_samples_that_would_tell_are_those_at_which_the_running_interval_first_leaves_the_line_out(
    values, line
):
    seen = np.array(values)
    partial = Estimates(0.95, was_sampled=True, n_left=10**9)
    first, second = np.maximum(seen, 0), np.maximum(-seen, 0)
    n = int(partial.n_to_tell(first, second, line))
    before, after = (
        partial.difference(np.resize(first, count), np.resize(second, count)) for count in (n - 1, n)
    )
    assert before.low <= line <= before.high
    assert not after.low <= line <= after.high
    # Student's interval of a fixed number of samples, all of the error its own, would promise too much.
    fixed = statistics.n_for_margin(seen, abs(seen.mean() - line), 0.95)
    assert math.isnan(fixed) or n > fixed


def test_where_all_samples_of_a_class_decide_before_the_running_interval_does_no_more_are_asked_for():
    seen, line = np.resize([0.5, 0.1], 20), 0.2
    none = np.zeros(20)
    at_end = Estimates(0.95, was_sampled=True).n_to_tell(seen, none, line)
    assert at_end == statistics.n_for_margin(seen, 0.1, 0.975)  # half of the error belongs to the end
    assert at_end > statistics.n_for_margin(seen, 0.1, 0.95) == Estimates(0.95).n_to_tell(seen, none, line)
    running = Estimates(0.95, was_sampled=True, n_left=10**9).n_to_tell(seen, none, line)
    assert running > at_end + 10
    for n_left, expected in ((5, at_end), (int(at_end) - 10, at_end + 10), (10**6, running)):
        assert Estimates(0.95, was_sampled=True, n_left=n_left).n_to_tell(seen, none, line) == expected


def test_a_mean_on_the_line_and_no_samples_have_no_number_that_would_tell():
    partial = Estimates(0.95, was_sampled=True, n_left=100)
    assert math.isnan(partial.n_to_tell(np.array([]), np.array([]), 0.1))
    assert math.isnan(partial.n_to_tell(np.array([0.5, 0.5]), np.zeros(2), 0.5))


def judged_when(n_drawn: int, n_left: int):
    """The verdict on t-shirts of whose maps some were made: mean mass inside 0.33 on an area of 0.3, +-0.2."""
    tables = tables_of(Group("t-shirt", n=n_drawn + n_left, object_mass=0.33, wobble=0.2), SHOES)
    waiting = [f"t-shirt-{index:03}" for index in range(n_drawn, n_drawn + n_left)]
    for name in ("attributions", "confounds"):
        tables[name] = tables[name][~tables[name]["sample_id"].isin(waiting)]
    return judge(gather(tables, ("t-shirt", "shoes"), ("grad_cam",), LIMITS, was_sampled=True))[0]


def test_an_undecided_verdict_of_a_run_that_sampled_asks_for_what_its_own_interval_needs():
    undecided = judged_when(20, 40)
    assert undecided.status is Status.UNDECIDED
    # All of the error would ask for about (2.26 * 0.205 / 0.03) ** 2 = 240 samples, half of it for a few more.
    assert 270 < undecided.n_needed < 300
    assert undecided.reasons[1] == f"About {undecided.n_needed:.0f} t-shirt photos would decide."
    assert judged_when(20, 0).n_needed == undecided.n_needed  # with all of them used it takes as many
    n = int(undecided.n_needed)
    assert judged_when(n + n % 2, 0).status is Status.SOUND
    # The deviation of 20 values of +-0.2 is 0.205, that of many 0.200: 5 % fewer samples would do in truth, not 10.
    assert judged_when(2 * int(0.45 * n), 0).status is Status.UNDECIDED
