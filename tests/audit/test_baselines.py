import numpy as np
import pytest

from audit import baselines
from audit.classifier import Head
from audit.errors import ConfigError
from tests.audit.fake_classifiers import FakeClassifier, along, linear

IMAGES = np.random.default_rng(1).random((3, 4, 4, 3), dtype=np.float32)
SEEDS = np.array([1, 2, 2**64 - 1], dtype=np.uint64)
MEAN = np.full((4, 4, 3), 1 / 48)


@pytest.mark.parametrize(
    ("choice", "levels"),
    [
        ("black", [0]),
        ("white", [1]),
        ("black_white", [0, 1]),
        ("grey", [0.5]),
        (0.25, [0.25]),
        (1, [1]),
        (("white", 0.25), [1, 0.25]),
        (["grey", "black_white"], [0.5, 0, 1]),
    ],
)
def test_levels_and_their_names(choice, levels):
    built = baselines.build(choice, IMAGES, SEEDS)

    assert [float(one.max()) for one in built] == levels
    assert [float(one.min()) for one in built] == levels
    assert all(one.shape == IMAGES.shape and one.dtype == np.float32 for one in built)


def test_random_baselines_come_from_the_samples_own_seed():
    (whole,) = baselines.build("random", IMAGES, SEEDS)
    (alone,) = baselines.build("random", IMAGES[1:2], SEEDS[1:2])

    np.testing.assert_array_equal(alone[0], whole[1])
    assert (whole[0] != whole[1]).any()
    assert whole.min() >= 0
    assert whole.max() <= 1


def test_a_blurred_baseline_keeps_a_constant_image_and_flattens_any_other():
    flat = np.full((1, 32, 32, 3), 0.7, np.float32)
    point = np.zeros((1, 32, 32, 3), np.float32)
    point[0, 16, 16] = 1

    (unchanged,) = baselines.build("blurred", flat, SEEDS[:1])
    (spread,) = baselines.build("blurred", point, SEEDS[:1])

    np.testing.assert_allclose(unchanged, 0.7, rtol=1e-6)
    # The width is 20 / 224 * 32 = 2.857 pixels; the peak of its Gaussian is 1 / (2 pi 2.857 ** 2).
    assert spread.max() == pytest.approx(1 / (2 * np.pi * 2.857**2), rel=0.01)


def test_a_given_picture_is_used_for_every_image():
    picture = IMAGES[0]

    (built,) = baselines.build(picture, IMAGES, SEEDS)

    assert built.shape == IMAGES.shape
    np.testing.assert_array_equal(built[2], picture)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("gray", "Did you mean 'grey'"),
        (1.5, "lies in"),
        (-0.1, "lies in"),
        ([], "at least one"),
        (np.zeros((2, 2, 3)), "input's shape"),
        (np.full((4, 4, 3), 255.0), "divide"),
        (np.full((4, 4, 3), np.nan), "values in"),
    ],
)
def test_what_cannot_be_a_baseline_is_refused_with_the_reason(choice, message):
    with pytest.raises(ConfigError, match=message):
        baselines.build(choice, IMAGES, SEEDS)


def test_a_baseline_without_an_opinion_is_uninformative():
    # Scores s and -s are probabilities sigmoid(+-2 s): black scores 0, so one half each.
    found = baselines.uninformative(FakeClassifier(linear(MEAN)), np.zeros((1, 4, 4, 3), np.float32))

    np.testing.assert_allclose(found.probabilities, [0.5, 0.5])
    assert found.chance == 0.5
    assert found.distance == 0
    assert found.is_uninformative


def test_a_baseline_that_is_a_sign_of_a_class_is_not():
    # White scores 1: sigmoid(2) = 0.8808 for class 0, so 0.3808 from chance, for both classes alike.
    found = baselines.uninformative(FakeClassifier(linear(MEAN)), np.ones((1, 4, 4, 3), np.float32))

    assert found.distance == pytest.approx(0.3808, abs=1e-4)
    assert found.worst_class in (0, 1)
    assert not found.is_uninformative
    assert baselines.uninformative(
        FakeClassifier(linear(MEAN)), np.ones((1, 4, 4, 3), np.float32), limit=0.4
    ).is_uninformative


def test_with_independent_classes_none_of_them_is_no_opinion():
    class Independent(FakeClassifier):
        def probabilities(self, images):
            return np.tile([[0.01, 0.02]], (len(images), 1))

    quiet = baselines.uninformative(Independent(linear(MEAN), head=Head.SIGMOID), IMAGES)

    assert quiet.is_uninformative
    assert quiet.chance == 0.5
    assert not baselines.uninformative(Independent(linear(MEAN)), IMAGES).is_uninformative


def test_score_distance_is_in_probability_and_against_the_mean_of_the_baselines():
    curve = along(MEAN, lambda a: a, np.ones_like)
    images = np.full((2, 4, 4, 3), 0.5, np.float32)
    black, white = baselines.build("black_white", images, SEEDS[:2])

    def probability(score):
        return 1 / (1 + np.exp(-2 * score))

    one = baselines.score_distance(FakeClassifier(curve), images, [black], np.array([0, 1]))
    both = baselines.score_distance(FakeClassifier(curve), images, [black, white], np.array([0, 1]))

    np.testing.assert_allclose(one, probability(0.5) - 0.5, rtol=1e-6)
    np.testing.assert_allclose(both, probability(0.5) - (0.5 + probability(1.0)) / 2, rtol=1e-6)


def test_a_choice_is_checked_before_there_is_an_image():
    baselines.check(("black", 0.5, np.zeros((8, 8, 3))))
    with pytest.raises(ConfigError, match="Did you mean 'white'"):
        baselines.check(("black", "whit"))
    with pytest.raises(ConfigError, match="at least one"):
        baselines.check(())
