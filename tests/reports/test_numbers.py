import math

import pytest

from reports import numbers

NB, THIN = "\u00a0", "\u202f"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.333, f"33{NB}%"),
        (0.0, f"0{NB}%"),
        (0.004, f"<1{NB}%"),
        (1.0, f"100{NB}%"),
        (0.9999, f">99{NB}%"),
        (0.994, f"99{NB}%"),
        (math.nan, "–"),
        (None, "–"),
    ],
)
def test_a_share_is_whole_per_cent_and_0_and_100_stand_for_exactly_that(value, expected):
    assert numbers.share(value) == expected


@pytest.mark.parametrize(
    ("mean", "low", "high", "expected"),
    [
        (0.33, 0.29, 0.37, f"33{NB}% (29–37{NB}%)"),
        (0.02, 0.001, 1.0, f"2{NB}% (<1–100{NB}%)"),
        (0.33, math.nan, math.nan, f"33{NB}% (no interval)"),
        (math.nan, 0.2, 0.4, "–"),
    ],
)
def test_an_interval_stands_behind_its_mean(mean, low, high, expected):
    assert numbers.interval(mean, low, high) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.983, "+98"),
        (-0.03, "−3"),
        (0.0, "0"),
        (0.004, "+0.4"),
        (0.0096, "+1"),
        (0.0001, "<+0.1"),
        (-0.0001, ">−0.1"),
    ],
)
def test_a_difference_has_a_sign_and_is_0_only_where_there_is_none(value, expected):
    assert numbers.difference(value) == f"{expected}{NB}pp"


def test_a_difference_shows_both_ends_with_their_signs():
    assert numbers.difference_interval(0.12, -0.03, 0.21) == f"+12{NB}pp (−3 to +21{NB}pp)"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (999, "999"), (1204, f"1{THIN}204"), (1234567, f"1{THIN}234{THIN}567"), (math.nan, "–")],
)
def test_counts_have_thin_separators(value, expected):
    assert numbers.count(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(9.42, "9.4×"), (1234.0, f"1{THIN}234×"), (math.nan, "–")])
def test_a_ratio_has_one_place_until_it_is_large(value, expected):
    assert numbers.ratio(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(0.0004, "<0.001"), (0.012, "0.012"), (None, "–")])
def test_a_small_probability_is_not_rounded_to_nothing(value, expected):
    assert numbers.probability(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (4.2, f"4.2{NB}s"),
        (59.97, f"1{NB}min 0{NB}s"),
        (192.4, f"3{NB}min 12{NB}s"),
        (3840, f"1{NB}h 4{NB}min"),
    ],
)
def test_a_duration_is_said_as_people_say_it(seconds, expected):
    assert numbers.duration(seconds) == expected


@pytest.mark.parametrize(("value", "expected"), [(-1.5, "−1.5"), (0.12345, "0.123"), (math.nan, "–")])
def test_other_numbers_have_three_places(value, expected):
    assert numbers.plain(value) == expected


def test_a_long_list_says_how_many_more_there_are():
    assert numbers.enumerate_words(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert numbers.enumerate_words(["a", "b"]) == "a, b"
