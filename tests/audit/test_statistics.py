import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import statistics

shares = st.lists(st.floats(0, 1), min_size=2, max_size=30).map(np.array)


def test_a_mean_of_yes_or_no_alone_has_the_exact_interval():
    # All no: the upper end solves (1 - p) ** 10 = 0.025.
    interval = statistics.mean_share(np.zeros(10), 0.95)
    assert (interval.mean, interval.low) == (0.0, 0.0)
    assert interval.high == pytest.approx(1 - 0.025**0.1)


def test_all_yes_mirrors_all_no():
    no, yes = statistics.mean_share(np.zeros(7), 0.9), statistics.mean_share(np.ones(7), 0.9)
    assert (yes.low, yes.high) == (pytest.approx(1 - no.high), 1.0)


def test_in_the_middle_and_with_many_values_the_interval_is_the_usual_one():
    values = np.tile([0.4, 0.6], 500)  # deviation 0.1: 1.96 * 0.1 / sqrt(1000) = 0.0062
    interval = statistics.mean_share(values, 0.95)
    assert interval.mean == pytest.approx(0.5)
    assert interval.low == pytest.approx(0.5 - 0.0062, abs=2e-4)
    assert interval.high == pytest.approx(0.5 + 0.0062, abs=2e-4)


def test_equal_values_have_no_width():
    assert statistics.mean_share(np.full(5, 0.25), 0.95) == statistics.Interval(0.25, 0.25, 0.25)


def test_what_is_not_known_is_left_out_and_one_value_has_no_interval():
    interval = statistics.mean_share(np.array([np.nan, 0.3]), 0.95)
    assert interval.mean == 0.3
    assert math.isnan(interval.low)
    assert math.isnan(statistics.mean_share(np.array([np.nan]), 0.95).mean)


@settings(deadline=None)
@given(shares)
def test_the_interval_of_a_mean_lies_in_range_around_the_mean(values):
    interval = statistics.mean_share(values, 0.95)
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1


@settings(deadline=None)
@given(shares, st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(values, random):
    shuffled = values.copy()
    random.shuffle(shuffled)
    one, other = statistics.mean_share(values, 0.95), statistics.mean_share(shuffled, 0.95)
    assert (other.low, other.high) == (pytest.approx(one.low, abs=1e-6), pytest.approx(one.high, abs=1e-6))


def test_coverage_near_zero_with_few_samples():
    rng = np.random.default_rng(0)
    draws = rng.beta(1.0, 19.0, (600, 10))  # mean 0.05, skewed
    intervals = [statistics.mean_share(values, 0.95) for values in draws]
    assert np.mean([interval.low <= 0.05 <= interval.high for interval in intervals]) > 0.92


def test_a_paired_difference_by_hand():
    # Differences 1, 2, 3: mean 2, deviation 1, Student's quantile for 2 degrees 4.3027.
    interval = statistics.paired_difference(np.array([2, 4, 6, np.nan]), np.array([1, 2, 3, 0]), 0.95)
    margin = 4.30265 / math.sqrt(3)
    assert interval.mean == 2.0
    assert (interval.low, interval.high) == (
        pytest.approx(2 - margin, rel=1e-5),
        pytest.approx(2 + margin, rel=1e-5),
    )


def test_pairing_cancels_what_the_samples_share():
    first = np.array([0.1, 0.5, 0.9])
    interval = statistics.paired_difference(first + 0.05, first, 0.95)
    assert interval.low == pytest.approx(0.05)


def test_p_greater_by_hand():
    # t = 2 / (1 / sqrt 3) = 3.4641 with 2 degrees: the tail is (1 - t / sqrt(t ** 2 + 2)) / 2.
    t = 2 * math.sqrt(3)
    expected = (1 - t / math.sqrt(t**2 + 2)) / 2
    assert statistics.p_greater(np.array([1, 2, 3]), np.zeros(3)) == pytest.approx(expected)
    assert statistics.p_greater(np.zeros(3), np.array([1, 2, 3])) == pytest.approx(1 - expected)


def test_without_spread_p_is_that_of_the_sign_test():
    assert statistics.p_greater(np.ones(4), np.zeros(4)) == 1 / 16
    assert statistics.p_greater(np.zeros(4), np.zeros(4)) == 1.0
    assert math.isnan(statistics.p_greater(np.ones(1), np.zeros(1)))


def test_the_score_interval_of_a_published_case():
    interval = statistics.proportion_interval(81, 263, 0.95)  # Newcombe 1998, table I
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [((56, 70, 48, 80), 0.0524, 0.3339), ((9, 10, 3, 10), 0.1705, 0.8090), ((10, 10, 0, 10), 0.6075, 1.0)],
)
def test_the_difference_of_proportions_in_published_cases(counts, low, high):
    interval = statistics.proportion_difference(*counts, 0.95)  # Newcombe 1998, table II, method 10
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_a_difference_with_an_empty_group_is_not_measured():
    assert math.isnan(statistics.proportion_difference(3, 5, 0, 0, 0.95).mean)


def test_false_discovery_rates_by_hand():
    # Sorted 0.01, 0.02, 0.04 of 3: 0.03, 0.03, 0.04.
    found = statistics.false_discovery_rates(np.array([0.04, np.nan, 0.01, 0.02]))
    np.testing.assert_allclose(found, [0.04, np.nan, 0.03, 0.03])
    assert np.isnan(statistics.false_discovery_rates(np.array([np.nan]))).all()


def test_the_sample_size_is_the_smallest_that_is_narrow_enough():
    values = np.array([0.0, 1.0, 2.0])  # deviation 1
    # n = 18: 2.1098 / sqrt(18) = 0.4973; n = 17: 2.1199 / sqrt(17) = 0.5142.
    assert statistics.n_for_margin(values, 0.5, 0.95) == 18
    assert math.isnan(statistics.n_for_margin(values, 0.0, 0.95))
    assert math.isnan(statistics.n_for_margin(np.ones(3), 0.5, 0.95))


@pytest.mark.parametrize("margin", [1e-17, 1e-200, 5e-324])
def test_a_margin_that_is_rounding_error_has_no_sample_size(margin):
    assert math.isnan(statistics.n_for_margin(np.array([0.0, 1.0, 2.0]), margin, 0.95))


def test_the_level_is_shared_by_all_that_are_looked_at():
    assert statistics.shared_level(0.05, 10) == pytest.approx(0.995)
    assert statistics.shared_level(0.05, 0) == 0.95


def test_separation_by_hand():
    own, others = np.array([1.0, 3.0]), np.array([2.0, 2.0])
    found = statistics.separation(own, others, 0.95)
    # One of own is below both, one above: AUC 1/2. Placements of own are 0 and 1 (variance 1/2), those of the others
    # 1/2 and 1/2: the error is 2 * 1.96 * sqrt(1/4) = 1.96, more than there is.
    assert (found.mean, found.low, found.high) == (0.0, -1.0, 1.0)
    assert statistics.separation(own, own, 0.95).mean == 0.0
    assert math.isnan(statistics.separation(own, np.array([]), 0.95).mean)


def test_the_interval_of_a_separation_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    # Two normals a deviation apart: AUC = Phi(1 / sqrt(2)) = 0.7602.
    truth, hits = 2 * 0.76025 - 1, 0
    for _ in range(400):
        found = statistics.separation(rng.normal(1, 1, 40), rng.normal(0, 1, 40), 0.9)
        hits += found.low <= truth <= found.high
    # 0.9 within three standard errors of 0.015.
    assert 0.855 <= hits / 400 <= 0.945


def test_p_more_often_by_hand():
    yes, no = np.ones(5, dtype=bool), np.zeros(15, dtype=bool)
    assert statistics.p_more_often(yes, no) == pytest.approx(1 / math.comb(20, 5))
    assert statistics.p_more_often(no, yes) == 1.0
    assert math.isnan(statistics.p_more_often(yes, yes))
    assert math.isnan(statistics.p_more_often(yes, no[:0]))
