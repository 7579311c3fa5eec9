"""What another seed brings, and changes held against it."""

import numpy as np
import pytest

from audit.changes import compare
from audit.retraining import seed_noise
from audit.types import ChangeKind, ChangeLimits
from tests.paired import METHOD, run_of

LIMITS = ChangeLimits(q=0.05, minimum_change=0.05, ruled_out=0.1, minimum_pairs=10)
SHOE = np.tile([0.4, 0.6], 10)
WOBBLE = np.tile([0.01, -0.01], 10)
KEY = ("shoe", METHOD, "mass_inside")


def moved(*shifts):
    """One run a shift, of 20 shoes."""
    return [run_of({"shoe": SHOE + shift + WOBBLE}) for shift in shifts]


def kind_of(candidate, retrained):
    changes = compare(run_of({"shoe": SHOE}), candidate, LIMITS, retrained=retrained).changes
    (found,) = [change for change in changes if (change.method, change.statistic) == KEY[1:]]
    return found.kind, found.reason


def test_the_bound_is_student_s_interval_for_the_difference_of_two_trainings():
    bound = seed_noise(run_of({"shoe": SHOE}), moved(0.02, -0.02), 0.95, 10)[KEY]
    # Draws 0, 0.02, -0.02: deviation 0.02 with two degrees of freedom, quantile 4.303.
    assert bound == pytest.approx(4.303 * 0.02 * np.sqrt(2), rel=1e-3)


def test_a_class_has_its_own_spread_or_that_of_all_if_it_is_larger():
    others = [
        run_of({"shoe": SHOE + one, "hat": SHOE + other}) for one, other in ((0.02, 0.04), (-0.02, -0.04))
    ]
    bounds = seed_noise(run_of({"shoe": SHOE, "hat": SHOE}), others, 0.95, 10)
    # Variances 0.0004 and 0.0016, 0.001 together; quantile 4.303 of two degrees of freedom.
    assert bounds[KEY] == pytest.approx(4.303 * np.sqrt(0.001) * np.sqrt(2), rel=1e-3)
    assert bounds["hat", *KEY[1:]] == pytest.approx(4.303 * 0.04 * np.sqrt(2), rel=1e-3)


def test_a_class_of_few_samples_bounds_nothing():
    (other,) = moved(0.02)
    assert seed_noise(run_of({"shoe": SHOE}), [other], 0.95, 21) == {}


def test_a_change_that_no_further_training_tells_of_is_not_called_one():
    (candidate,) = moved(-0.1)
    blind = run_of({"hat": SHOE})
    kind, reason = kind_of(candidate, [blind])
    assert kind is ChangeKind.INCOMPARABLE
    assert (
        reason == "-10 points, certain, but the further trainings do not tell what another seed alone brings."
    )


def test_a_change_no_larger_than_another_seed_brings_is_not_called_one():
    (candidate,) = moved(-0.1)
    assert kind_of(candidate, []) == (ChangeKind.WORSENED, "")
    kind, reason = kind_of(candidate, moved(0.02, -0.02))
    assert kind is ChangeKind.INCOMPARABLE
    assert reason == "-10 points, certain, but another seed alone brings up to 12 points."


def test_a_larger_change_is_still_called():
    (candidate,) = moved(-0.1)
    assert kind_of(candidate, moved(0.005, -0.005))[0] is ChangeKind.WORSENED


def test_without_further_trainings_nothing_is_bounded():
    assert seed_noise(run_of({"shoe": SHOE}), [], 0.95, 10) == {}
