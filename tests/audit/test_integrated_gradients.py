import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.attributions.integrated_gradients import IntegratedGradients
from audit.classifier import Classifier, Preprocessing
from audit.errors import ConfigError
from audit.keras_network import KerasNetwork
from audit.types import MapStatus
from tests.audit.fake_classifiers import FakeClassifier, along, linear, product, quadratic, ramp

RNG = np.random.default_rng(7)
WEIGHTS = RNG.normal(size=(4, 4, 3))
IMAGES = RNG.random((5, 4, 4, 3), dtype=np.float32)
TARGETS = np.zeros(5, np.int64)
SEEDS = np.arange(5, dtype=np.uint64)
MEAN = np.full((4, 4, 3), 1 / 48)


def explain(function, images=IMAGES, targets=None, seeds=None, batch_size=4, **fields):
    classifier = FakeClassifier(function, batch_size=batch_size)
    targets = np.zeros(len(images), np.int64) if targets is None else targets
    seeds = np.arange(len(images), dtype=np.uint64) if seeds is None else seeds
    return IntegratedGradients(**fields)(classifier, images, targets, seeds)


def white(n_images=1):
    return np.ones((n_images, 4, 4, 3), np.float32)


def test_of_a_linear_model_maps_are_gradient_times_the_way_from_the_baseline():
    result = explain(linear(WEIGHTS), baseline="grey")

    np.testing.assert_allclose(result.maps, (WEIGHTS * (IMAGES - 0.5)).sum(-1), atol=1e-6)
    assert result.maps.dtype == np.float32
    assert result.resolution == (4, 4)


def test_of_a_linear_model_the_first_nine_gradients_suffice():
    result = explain(linear(WEIGHTS))

    assert list(result.n_gradients) == [9] * 5
    assert (result.local_error < 1e-5).all()


def test_of_a_quadratic_model_one_trapezoid_is_exact():
    result = explain(quadratic(WEIGHTS), n_steps=1)

    np.testing.assert_allclose(result.maps, (WEIGHTS * IMAGES**2).sum(-1), atol=1e-6)
    assert list(result.n_gradients) == [2] * 5
    assert (result.approx_error < 1e-5).all()


def test_of_a_product_both_factors_get_half():
    image = np.zeros((1, 4, 4, 3), np.float32)
    image[0, 0, 0, 0], image[0, 2, 3, 1] = 0.5, 0.8

    result = explain(product((0, 0, 0), (2, 3, 1)), image)

    assert result.maps[0, 0, 0] == pytest.approx(0.2)
    assert result.maps[0, 2, 3] == pytest.approx(0.2)
    assert np.count_nonzero(result.maps) == 2


def test_maps_sum_to_the_score_difference_over_channels_not_their_mean():
    cubic = along(WEIGHTS, lambda place: place**3, lambda place: 3 * place**2)

    result = explain(cubic, error_budget=0.001)

    difference = (WEIGHTS * IMAGES).sum((1, 2, 3)) ** 3
    np.testing.assert_allclose(result.maps.sum((1, 2)), difference, rtol=2e-3)
    assert (result.approx_error <= result.local_error + 1e-6).all()


def test_the_target_chooses_the_score():
    targets = np.array([0, 1, 0, 1, 0])

    result = explain(linear(WEIGHTS), targets=targets)

    sign = np.where(targets == 0, 1, -1)[:, None, None]
    np.testing.assert_allclose(result.maps, sign * (WEIGHTS * IMAGES).sum(-1), atol=1e-6)


def test_two_equal_functions_written_differently_get_equal_maps():
    square = along(WEIGHTS, lambda place: place**2, lambda place: 2 * place)
    expanded = along(
        WEIGHTS, lambda place: (place + 1) * (place - 1) + 1, lambda place: (place + 1) + (place - 1)
    )

    np.testing.assert_allclose(explain(square).maps, explain(expanded).maps, rtol=1e-5, atol=1e-6)


def test_exchangeable_pixels_of_equal_value_get_equal_shares():
    weights = WEIGHTS.copy()
    weights[1, 1] = weights[3, 0]
    images = IMAGES.copy()
    images[:, 1, 1] = images[:, 3, 0]

    result = explain(along(weights, np.tanh, lambda place: 1 / np.cosh(place) ** 2), images)

    np.testing.assert_allclose(result.maps[:, 1, 1], result.maps[:, 3, 0], rtol=1e-5)


def test_a_pixel_that_the_model_does_not_read_gets_nothing():
    weights = WEIGHTS.copy()
    weights[2, 1] = 0

    result = explain(along(weights, np.tanh, lambda place: 1 / np.cosh(place) ** 2))

    assert (result.maps[:, 2, 1] == 0).all()
    assert (result.maps[:, 0, 0] != 0).all()


def test_maps_move_with_image_and_model():
    shifted = explain(quadratic(np.roll(WEIGHTS, 1, axis=1)), np.roll(IMAGES, 1, axis=2))

    np.testing.assert_allclose(shifted.maps, np.roll(explain(quadratic(WEIGHTS)).maps, 1, axis=2), rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 64])
def test_a_map_does_not_depend_on_the_batch_its_order_or_the_size_of_calls(batch_size):
    bent = ramp(WEIGHTS, knee=0.3)
    whole = explain(bent)
    order = np.array([3, 0, 4, 2, 1])

    mixed = explain(bent, IMAGES[order], seeds=SEEDS[order], batch_size=batch_size)
    alone = explain(bent, IMAGES[2:3], seeds=SEEDS[2:3], batch_size=batch_size)

    np.testing.assert_array_equal(mixed.maps, whole.maps[order])
    np.testing.assert_array_equal(alone.maps[0], whole.maps[2])
    np.testing.assert_array_equal(mixed.n_gradients, whole.n_gradients[order])


def test_images_are_left_as_they_are():
    images = IMAGES.copy()

    explain(ramp(WEIGHTS, knee=0.3), images)

    np.testing.assert_array_equal(images, IMAGES)


def test_a_kink_is_found_by_halving_the_one_segment_that_holds_it():
    # F = max(a - 0.3, 0) on the way a from 0 to 1, total 0.7: all gaps between nodes are exact but the one
    # [a, b] with the kink, where the trapezoid errs by |(b - a) / 2 - (b - 0.3)|. At first that is [0.25,
    # 0.375]: 0.0125, within 5 % of 0.7. Below 1 % (0.007) the gaps beside it are halved twice, four nodes each
    # time: [0.25, 0.3125] errs by 0.01875 and [0.28125, 0.3125] by 0.003125.
    loose = explain(ramp(MEAN, knee=0.3), white())
    tight = explain(ramp(MEAN, knee=0.3), white(), error_budget=0.01)

    assert list(loose.n_gradients) == [9]
    assert loose.local_error[0] == pytest.approx(0.0125 / 0.7, rel=1e-4)
    assert list(tight.n_gradients) == [17]
    assert tight.local_error[0] == pytest.approx(0.003125 / 0.7, rel=1e-4)
    assert tight.status[0] is MapStatus.CONVERGED


def test_uniform_steps_need_fourteen_times_the_gradients_of_halving_at_a_steep_rise():
    # F = 1000 max(a - 0.999, 0), total 1: with nodes h apart the last segment gives 1000 h / 2, so its error
    # is within 5 % only for 475 to 526 uniform steps. Halving goes from h = 1/8 to 1/512 in six, four nodes
    # each: 0.977, error 2.3 %.
    steep = ramp(MEAN, knee=0.999, slope=1000.0)

    adaptive = explain(steep, white())
    uniform = explain(steep, white(), n_steps=150)
    enough = explain(steep, white(), n_steps=480)

    assert list(adaptive.n_gradients) == [33]
    assert adaptive.local_error[0] == pytest.approx(0.0234, abs=0.001)
    assert uniform.local_error[0] == pytest.approx(7 / 3, abs=0.01)
    assert uniform.status[0] is MapStatus.NOT_CONVERGED
    assert enough.status[0] is MapStatus.CONVERGED


def test_errors_that_cancel_are_small_in_approx_error_and_large_in_local_error():
    # F = a + 0.2 cos(2 pi a) has the slope 1 - 0.4 pi sin(2 pi a). Trapezoids with nodes at the eighths give the
    # integral of sin(2 pi a) over the first half, 1 / pi, as (2 sin(pi / 4) + 1) / 8. So the first four gaps, a
    # segment, err by 0.4 pi times the difference; the other four by as much, the other way.
    def curve(place):
        return place + 0.2 * np.cos(2 * np.pi * place)

    def slope(place):
        return 1 - 0.4 * np.pi * np.sin(2 * np.pi * place)

    result = explain(along(MEAN, curve, slope), white(), n_steps=8)

    half = 0.4 * np.pi * (1 / np.pi - (2 * np.sin(np.pi / 4) + 1) / 8)
    assert result.approx_error[0] < 1e-5
    assert result.local_error[0] == pytest.approx(2 * half, rel=1e-4)


def test_what_cannot_converge_stops_at_the_cap_and_is_marked():
    wild = along(MEAN, lambda a: a + np.sin(900 * a), lambda a: 1 + 900 * np.cos(900 * a))

    result = explain(wild, white(), max_gradients=40)

    assert list(result.n_gradients) == [37]
    assert result.status[0] is MapStatus.NOT_CONVERGED
    assert result.local_error[0] > 0.05


def test_noise_of_the_scores_is_not_refined():
    # A score of 1e6 carries float32 noise of 0.06; a difference of 0.9 cannot be resolved to 1e-6.
    noisy = along(
        MEAN, lambda a: np.float32(1e6 + 0.9 * a).astype(np.float64), lambda a: np.full_like(a, 0.9)
    )

    result = explain(noisy, white(), error_budget=1e-6)

    assert list(result.n_gradients) == [9]
    assert result.local_error[0] > 1e-6


def test_an_image_that_is_the_baseline_is_empty_and_has_no_errors():
    result = explain(linear(WEIGHTS), np.zeros((1, 4, 4, 3), np.float32))

    assert result.status[0] is MapStatus.EMPTY
    assert (result.maps == 0).all()
    assert np.isnan([result.approx_error[0], result.local_error[0]]).all()


def test_a_small_move_of_the_probability_is_too_close_whatever_the_logits_say():
    # Probabilities are sigmoids of 2 * score: 10 -> 11 moves the logit by 1 and the probability by 2e-9.
    saturated = along(MEAN, lambda a: 10 + a, np.ones_like)

    result = explain(saturated, white())

    assert result.status[0] is MapStatus.BASELINE_TOO_CLOSE
    assert result.local_error[0] < 1e-4


def test_maps_of_several_baselines_are_averaged_and_their_gradients_counted():
    black, bright = explain(quadratic(WEIGHTS)), explain(quadratic(WEIGHTS), baseline="white")

    both = explain(quadratic(WEIGHTS), baseline="black_white")

    np.testing.assert_allclose(both.maps, (black.maps + bright.maps) / 2, atol=1e-6)
    np.testing.assert_array_equal(both.n_gradients, black.n_gradients + bright.n_gradients)


def test_calls_are_full_until_the_last_rounds():
    classifier = FakeClassifier(ramp(WEIGHTS, knee=0.3, slope=9.0))
    images = RNG.random((40, 4, 4, 3), dtype=np.float32)

    IntegratedGradients(error_budget=0.01)(
        classifier, images, np.zeros(40, np.int64), np.arange(40, dtype=np.uint64)
    )

    rows = np.array(classifier.rows)
    assert (rows[:-5] % 4 == 0).all()
    assert np.ceil(rows / 4).sum() * 4 < 1.05 * rows.sum()


def test_where_memory_is_short_paths_wait_and_maps_stay_the_same(monkeypatch):
    bent = ramp(WEIGHTS, knee=0.3, slope=9.0)
    images = RNG.random((12, 4, 4, 3), dtype=np.float32)
    whole = explain(bent, images, error_budget=0.01)
    monkeypatch.setattr("audit.attributions._schedule._HELD_BYTES", 12 * 4 * 4 * 4)

    short = explain(bent, images, error_budget=0.01)

    np.testing.assert_array_equal(short.maps, whole.maps)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif("RIGHT_REASONS_DATA" not in os.environ, reason="RIGHT_REASONS_DATA names no real data")
def test_on_a_real_network_the_budget_holds_and_the_batch_does_not_matter():
    keras = pytest.importorskip("keras")
    data = Path(os.environ["RIGHT_REASONS_DATA"])
    network = KerasNetwork(keras.saving.load_model(data / "models" / "garments10_lite0.keras"))
    classifier = Classifier(network, Preprocessing((255.0,) * 3, (0.0,) * 3), batch_size=8)
    paths = sorted((data / "coco128").rglob("*.jpg"))[:3]
    images = np.stack(
        [np.float32(Image.open(path).convert("RGB").resize((224, 224))) / 255 for path in paths]
    )
    targets = classifier.logits(images).argmax(axis=1)
    method = IntegratedGradients(error_budget=0.2)

    batch = method(classifier, images, targets, np.arange(3, dtype=np.uint64))
    alone = method(classifier, images[1:2], targets[1:2], np.ones(1, dtype=np.uint64))

    assert (batch.local_error <= 0.2).all()
    assert (batch.approx_error <= batch.local_error + 1e-6).all()
    assert (batch.n_gradients <= 60).all()
    np.testing.assert_array_equal(alone.maps[0], batch.maps[1])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"error_budget": 0}, "error_budget must be above 0"),
        ({"max_gradients": 8}, "at least 9"),
        ({"n_steps": 0}, "n_steps must be at least 1"),
        ({"baseline": "blak"}, "Did you mean 'black'"),
        ({"baseline": 2.0}, "grey level lies in"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(fields, message):
    with pytest.raises(ConfigError, match=message):
        IntegratedGradients(**fields)
