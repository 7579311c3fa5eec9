import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from audit import metrics
from audit.metrics import SharedInterestCase
from audit.types import BACKGROUND, FOREGROUND, IGNORE

B, F, X = BACKGROUND, FOREGROUND, IGNORE
NAN = np.nan

# Whole numbers, so that sums and their shares are exact and shuffling cannot change them.
masses = arrays(np.float32, (2, 4, 5), elements=st.integers(0, 9).map(float))
foregrounds = arrays(np.uint8, (2, 4, 5), elements=st.sampled_from([B, F, X]))
SCORES = (
    metrics.mass_inside,
    metrics.pointing_hit,
    metrics.rank_accuracy,
    metrics.map_entropy,
    lambda mass, foreground: metrics.iou(metrics.binarise(mass, foreground), foreground),
    lambda mass, foreground: metrics.saliency_coverage(metrics.binarise(mass, foreground), foreground),
    lambda mass, foreground: metrics.ground_truth_coverage(metrics.binarise(mass, foreground), foreground),
)


def one(rows):
    return np.array([rows])


@pytest.mark.parametrize(
    ("polarity", "expected"), [("positive", [2, 0, 0]), ("negative", [0, 3, 0]), ("absolute", [2, 3, 0])]
)
def test_polarity_says_which_sign_is_mass(polarity, expected):
    np.testing.assert_array_equal(metrics.to_mass(one([[2.0, -3.0, 0.0]]), polarity), one([expected]))


def test_another_polarity_is_refused():
    with pytest.raises(ValueError, match="'both'"):
        metrics.to_mass(np.zeros((1, 2, 2)), "both")


@pytest.mark.parametrize(
    ("mass", "foreground", "expected"),
    [
        ([[1, 1]], [[F, B]], 0.5),
        ([[3, 1]], [[F, B]], 0.75),
        ([[0, 5]], [[F, B]], 0.0),
        ([[1, 1, 9]], [[F, B, X]], 0.5),  # ignored mass counts on neither side
        ([[0, 0]], [[F, B]], NAN),  # no mass
        ([[0, 0, 1]], [[F, B, X]], NAN),  # no mass on counted pixels
        ([[1, 1]], [[B, B]], NAN),  # no foreground
        ([[1, 1]], [[F, F]], NAN),  # everything is foreground
        ([[1, 9]], [[F, X]], NAN),  # everything that counts is foreground
        ([[1, 1]], [[X, X]], NAN),  # not annotated
    ],
)
def test_mass_inside(mass, foreground, expected):
    np.testing.assert_array_equal(metrics.mass_inside(one(mass), one(foreground)), [expected])


def test_rows_of_a_batch_do_not_mix():
    mass = np.array([[[1, 1]], [[3, 1]], [[0, 0]]])
    foreground = np.array([[[F, B]]] * 3)
    np.testing.assert_array_equal(metrics.mass_inside(mass, foreground), [0.5, 0.75, NAN])


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 2, 2\).*\(1, 2, 3\)"):
        metrics.mass_inside(np.ones((1, 2, 2)), np.ones((1, 2, 3)))


@pytest.mark.parametrize(
    ("foreground", "expected"),
    [([[F, B, B, B]], 0.25), ([[F, B, X, X]], 0.5), ([[B, B]], NAN), ([[F, F]], NAN), ([[X, X]], NAN)],
)
def test_area_inside(foreground, expected):
    np.testing.assert_array_equal(metrics.area_inside(one(foreground)), [expected])


def test_lift_is_mass_over_area():
    shares = np.array([0.3, NAN, 0.3, 0.0]), np.array([0.1, 0.1, NAN, 0.5])
    np.testing.assert_allclose(metrics.lift(*shares), [3.0, NAN, NAN, 0.0])


@pytest.mark.parametrize(
    ("region", "foreground", "mass_share", "area_share"),
    [
        ([[1, 0, 0, 0]], [[B, B, F, F]], 0.4, 0.25),
        ([[1, 0, 1, 0]], [[B, B, F, F]], 0.4, 0.25),  # the part on the object is the object's
        ([[0, 0, 1, 1]], [[B, B, F, F]], NAN, NAN),  # all of it is on the object
        ([[0, 0, 0, 0]], [[B, B, F, F]], NAN, NAN),  # not there
        ([[1, 0, 0, 0]], [[B, X, F, F]], 0.5, 1 / 3),  # ignored pixels count on neither side
        ([[1, 0, 0, 0]], [[X, B, F, F]], NAN, NAN),  # only on ignored pixels
        ([[1, 0, 1, 0]], [[X, X, X, X]], 0.7, 0.5),  # without a mask everything counts
        ([[1, 0, 0, 0]], [[B, B, B, B]], 0.4, 0.25),  # annotated, and the object is not there
    ],
)
def test_region_shares(region, foreground, mass_share, area_share):
    found = metrics.region_shares(one([[4.0, 2.0, 3.0, 1.0]]), one(region).astype(bool), one(foreground))
    np.testing.assert_allclose(found, [[mass_share], [area_share]])


def test_a_region_on_a_map_without_mass_has_an_area_only():
    found = metrics.region_shares(
        np.zeros((1, 1, 4)), one([[True, False, False, False]]), one([[B, B, F, F]])
    )
    np.testing.assert_array_equal(found, [[NAN], [0.25]])


@pytest.mark.parametrize(
    ("mass", "expected"),
    [
        ([[5, 1, 1]], 1.0),
        ([[1, 5, 1]], 0.0),
        ([[5, 5, 1]], 0.5),  # two share the maximum, one of them on the object
        ([[2, 1, 9]], 1.0),  # the ignored pixel is not the maximum
        ([[0, 0, 9]], NAN),
    ],
)
def test_pointing_hit(mass, expected):
    np.testing.assert_array_equal(metrics.pointing_hit(one(mass), one([[F, B, X]])), [expected])


@pytest.mark.parametrize(
    ("mass", "expected"),
    [
        ([[9, 8, 1, 0, 0]], 1.0),
        ([[9, 1, 8, 0, 0]], 0.5),
        ([[1, 0, 9, 8, 0]], 0.0),
        ([[9, 3, 3, 3, 0]], (1 + 1 / 3) / 2),  # three tie for the second place, one of them on the object
        ([[4, 4, 4, 4, 4]], 0.5),  # chance: 2 of 4 counted pixels
        ([[0, 0, 0, 0, 9]], NAN),
    ],
)
def test_rank_accuracy(mass, expected):
    np.testing.assert_allclose(metrics.rank_accuracy(one(mass), one([[F, F, B, B, X]])), [expected])


def test_the_binarised_map_is_a_deviation_above_the_mean():
    # mean 2, deviation sqrt((4 + 4 + 4 + 4 + 64) / 5) = 4: the cut-off is 6.
    mass = np.array([[[0.0, 0.0, 0.0, 0.0, 10.0]], [[6.0, 6.0, 6.0, 0.0, 0.0]]])
    marked = metrics.binarise(mass, np.full((2, 1, 5), B))
    # The second: mean 3.6, deviation 2.9: 6.5 is above the maximum, so the maximum is the cut-off.
    np.testing.assert_array_equal(marked[:, 0], [[0, 0, 0, 0, 1], [1, 1, 1, 0, 0]])


def test_a_map_without_mass_marks_nothing():
    foreground = one([[F, B, X]])
    marked = metrics.binarise(one([[0.0, 0.0, 1.0]]), foreground)
    assert not marked.any()
    assert np.isnan(metrics.iou(marked, foreground)).all()


def test_ignored_pixels_are_never_marked():
    marked = metrics.binarise(one([[1.0, 0.0, 50.0]]), one([[F, B, X]]))
    np.testing.assert_array_equal(marked, one([[True, False, False]]))


def test_overlaps_of_the_marked_pixels():
    marked = one([[True, True, True, False, False, False]])
    foreground = one([[B, F, F, F, F, B]])
    assert metrics.iou(marked, foreground) == [2 / 5]
    assert metrics.saliency_coverage(marked, foreground) == [2 / 3]
    assert metrics.ground_truth_coverage(marked, foreground) == [2 / 4]


@pytest.mark.parametrize(
    ("overlap", "saliency", "ground_truth", "if_right", "if_wrong"),
    [
        (0.5, 0.6, 0.7, SharedInterestCase.HUMAN_ALIGNED, SharedInterestCase.CONFUSER),
        (0.1, 0.9, 0.1, SharedInterestCase.SUFFICIENT_SUBSET, SharedInterestCase.INSUFFICIENT_SUBSET),
        (0.1, 0.1, 0.9, SharedInterestCase.CONTEXT_DEPENDENT, SharedInterestCase.CONTEXT_CONFUSION),
        (0.4, 0.5, 0.6, SharedInterestCase.CONTEXT_DEPENDENT, SharedInterestCase.CONTEXT_CONFUSION),
        (0.4, 0.6, 0.6, SharedInterestCase.SUFFICIENT_SUBSET, SharedInterestCase.INSUFFICIENT_SUBSET),
        (0.0, 0.0, 0.0, SharedInterestCase.SUFFICIENT_CONTEXT, SharedInterestCase.DISTRACTOR),
        (NAN, NAN, NAN, None, None),
    ],
)
def test_shared_interest_case(overlap, saliency, ground_truth, if_right, if_wrong):
    scores = (np.array([value, value]) for value in (overlap, saliency, ground_truth))
    assert list(metrics.shared_interest_case(np.array([True, False]), *scores)) == [if_right, if_wrong]


@pytest.mark.parametrize(
    ("mass", "foreground", "expected"),
    [
        ([[1, 1, 1, 1]], [[F, B, B, B]], 1.0),
        ([[7, 0, 0, 0]], [[F, B, B, B]], 0.0),
        ([[1, 1, 0, 0]], [[F, B, B, B]], 0.5),  # log 2 over log 4
        ([[1, 1, 5, 5]], [[F, B, X, X]], 1.0),
        ([[1, 1, 0, 0]], [[X, X, X, X]], 0.5),  # without a mask everything counts
        ([[0, 0, 0, 0]], [[F, B, B, B]], NAN),
        ([[1, 0, 0, 0]], [[F, X, X, X]], NAN),  # one pixel has no spread
    ],
)
def test_map_entropy(mass, foreground, expected):
    np.testing.assert_allclose(metrics.map_entropy(one(mass), one(foreground)), [expected], atol=1e-15)


@settings(deadline=None)
@given(masses, foregrounds)
def test_mass_inside_and_mass_outside_are_everything(mass, foreground):
    swapped = np.where(foreground == F, B, np.where(foreground == B, F, X))
    total = metrics.mass_inside(mass, foreground) + metrics.mass_inside(mass, swapped)
    assert np.all(np.isnan(total) | np.isclose(total, 1.0, rtol=1e-12))


# The same cases every time: a value that equals the cut-off in exact arithmetic may round to either side.
@pytest.mark.parametrize("score", SCORES)
@settings(deadline=None, derandomize=True)
@given(mass=masses, foreground=foregrounds)
def test_scores_are_shares_that_scaling_flipping_and_reordering_leave(score, mass, foreground):
    scores = score(mass, foreground)
    assert np.all(np.isnan(scores) | ((scores >= 0) & (scores <= 1)))
    np.testing.assert_allclose(score(mass * np.float32(4), foreground), scores, rtol=1e-12)
    np.testing.assert_allclose(score(mass[:, :, ::-1], foreground[:, :, ::-1]), scores, rtol=1e-12)
    np.testing.assert_array_equal(score(mass[::-1], foreground[::-1]), scores[::-1])


@settings(deadline=None)
@given(masses, foregrounds)
def test_scores_leave_their_arguments_alone(mass, foreground):
    before = mass.copy(), foreground.copy()
    for score in SCORES:
        score(mass, foreground)
    np.testing.assert_array_equal(mass, before[0])
    np.testing.assert_array_equal(foreground, before[1])
