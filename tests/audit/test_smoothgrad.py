from dataclasses import dataclass

import numpy as np
import pytest

from audit.attributions._smoothgrad import SmoothGrad
from audit.attributions.gradient import Gradient
from audit.attributions.integrated_gradients import IntegratedGradients
from audit.errors import ConfigError
from audit.types import AttributionBatch, MapStatus
from tests.audit.fake_classifiers import FakeClassifier, linear, quadratic, ramp

RNG = np.random.default_rng(5)
WEIGHTS = RNG.normal(size=(4, 4, 3))
IMAGES = RNG.random((5, 4, 4, 3), dtype=np.float32)
TARGETS = np.zeros(5, np.int64)
SEEDS = np.arange(10, 15, dtype=np.uint64)


def explain(method, function, images=IMAGES, seeds=SEEDS, batch_size=4):
    classifier = FakeClassifier(function, batch_size=batch_size)
    return method(classifier, images, np.zeros(len(images), np.int64), seeds)


@pytest.mark.parametrize(
    "method", [Gradient(), IntegratedGradients(), IntegratedGradients(baseline="random")]
)
def test_without_noise_maps_are_exactly_those_of_the_method(method):
    smooth = explain(SmoothGrad(method, n_samples=7, sigma=0.0), ramp(WEIGHTS, knee=0.2))
    plain = explain(method, ramp(WEIGHTS, knee=0.2))

    np.testing.assert_array_equal(smooth.maps, plain.maps)
    np.testing.assert_array_equal(smooth.status, plain.status)
    np.testing.assert_array_equal(smooth.n_gradients, 7 * plain.n_gradients)
    np.testing.assert_allclose(smooth.local_error, plain.local_error, rtol=1e-12)


def test_noise_does_not_change_the_gradient_of_a_linear_model():
    smooth = explain(SmoothGrad(Gradient(), sigma=0.3), linear(WEIGHTS))

    np.testing.assert_allclose(smooth.maps, np.broadcast_to(WEIGHTS.sum(-1), (5, 4, 4)), rtol=1e-6)


def test_the_mean_gradient_of_a_square_is_that_at_the_mean_of_the_copies():
    # The gradient 2 w x is linear in x: n copies with noise of 0.1 leave a noise of 0.1 / sqrt(n) on x.
    smooth = explain(SmoothGrad(Gradient(), n_samples=2500, sigma=0.1), quadratic(np.ones((4, 4, 3))))

    # Three channels: 2 * (x0 + x1 + x2), standard error 2 * sqrt(3) * 0.1 / 50 = 0.007.
    errors = smooth.maps - 2 * IMAGES.sum(-1)
    assert np.abs(errors).max() < 5 * 0.007
    assert 0.7 * 0.007 < errors.std() < 1.3 * 0.007


def test_maps_keep_their_sign_unless_squared():
    signed = explain(SmoothGrad(Gradient(), n_samples=3), linear(-np.ones((4, 4, 3))))
    squared = explain(SmoothGrad(Gradient(), n_samples=3, squared=True), linear(-np.ones((4, 4, 3))))

    np.testing.assert_allclose(signed.maps, -3)
    np.testing.assert_allclose(squared.maps, 9)


def test_a_map_does_not_depend_on_the_samples_beside_it_or_the_size_of_calls():
    method = SmoothGrad(Gradient(), n_samples=6)
    order = np.array([2, 4, 0, 3, 1])
    whole = explain(method, quadratic(WEIGHTS))

    mixed = explain(method, quadratic(WEIGHTS), IMAGES[order], SEEDS[order], batch_size=1)
    alone = explain(method, quadratic(WEIGHTS), IMAGES[3:4], SEEDS[3:4])

    np.testing.assert_array_equal(mixed.maps, whole.maps[order])
    np.testing.assert_array_equal(alone.maps[0], whole.maps[3])


def test_another_seed_is_other_noise():
    method = SmoothGrad(Gradient(), n_samples=6)

    one, other = (explain(method, quadratic(WEIGHTS), seeds=seeds) for seeds in (SEEDS, SEEDS + np.uint64(1)))

    assert (one.maps != other.maps).any(axis=(1, 2)).all()


def test_copies_of_all_images_go_through_the_method_together():
    classifier = FakeClassifier(quadratic(WEIGHTS), batch_size=4)

    SmoothGrad(Gradient(), n_samples=8)(classifier, IMAGES[:4], TARGETS[:4], SEEDS[:4])

    assert classifier.rows == [32]


@dataclass(frozen=True)
class Scripted:
    """A method whose copies come out as told."""

    statuses: tuple[MapStatus, ...]
    local_errors: tuple[float, ...]
    error_budget: float = 0.05

    def __call__(self, classifier, images, targets, seeds):
        status = np.empty(len(images), dtype=object)
        status[:] = self.statuses
        is_empty = np.array([one is MapStatus.EMPTY for one in self.statuses])
        maps = np.where(is_empty[:, None, None], 0, np.ones(images.shape[:3])).astype(np.float32)
        errors = np.array(self.local_errors)
        return AttributionBatch(maps, status, errors, errors, np.full(len(images), 10), (4, 4))


GOOD, BAD, CLOSE, EMPTY = (
    MapStatus.CONVERGED,
    MapStatus.NOT_CONVERGED,
    MapStatus.BASELINE_TOO_CLOSE,
    MapStatus.EMPTY,
)


@pytest.mark.parametrize(
    ("statuses", "local_errors", "status"),
    [
        ((GOOD, GOOD, BAD), (0.02, 0.02, 0.08), GOOD),  # mean 0.04
        ((GOOD, GOOD, BAD), (0.02, 0.02, 0.50), BAD),  # mean 0.18
        ((BAD, BAD, GOOD), (0.06, 0.06, 0.01), GOOD),  # mean 0.043
        ((CLOSE, CLOSE, GOOD), (0.02, 0.02, 0.02), CLOSE),
        ((EMPTY, EMPTY, CLOSE), (0.02, 0.02, 0.02), CLOSE),  # the mean map is not empty
        ((EMPTY, EMPTY, EMPTY), (np.nan, np.nan, np.nan), EMPTY),
    ],
)
def test_the_status_of_the_mean_map(statuses, local_errors, status):
    method = SmoothGrad(Scripted(statuses, local_errors), n_samples=3)

    result = explain(method, linear(WEIGHTS), IMAGES[:1], SEEDS[:1])

    assert result.status[0] is status
    assert result.n_gradients[0] == 30


@pytest.mark.parametrize("fields", [{"n_samples": 0}, {"sigma": -0.1}, {"sigma": 1.5}])
def test_parameters_out_of_range_are_refused(fields):
    with pytest.raises(ConfigError, match="smoothgrad"):
        SmoothGrad(Gradient(), **fields)
