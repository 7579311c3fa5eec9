import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from audit.attributions._blur import Blur, operator
from audit.attributions.blur_integrated_gradients import BlurIntegratedGradients
from audit.errors import ConfigError
from audit.types import MapStatus
from tests.audit.fake_classifiers import FakeClassifier, along, linear, quadratic, ramp

RNG = np.random.default_rng(11)
SHAPE = (12, 16)
WEIGHTS = RNG.normal(size=(*SHAPE, 3))
IMAGES = RNG.random((5, *SHAPE, 3), dtype=np.float32)


def explain(function, images=IMAGES, targets=None, batch_size=4, **fields):
    classifier = FakeClassifier(function, image_shape=SHAPE, batch_size=batch_size)
    targets = np.zeros(len(images), np.int64) if targets is None else targets
    seeds = np.arange(len(images), dtype=np.uint64)
    return BlurIntegratedGradients(**fields)(classifier, images, targets, seeds)


def widest(images=IMAGES, share=50 / 224):
    """The end of the path, blurred in float64 by another implementation: zero padding over blurred ones."""
    sigma = (share * 16, share * 16)

    def spread(plane):
        return gaussian_filter(plane.astype(np.float64), sigma, mode="constant")

    whole = spread(np.ones(SHAPE))
    return np.stack(
        [np.stack([spread(image[..., c]) / whole for c in range(3)], axis=-1) for image in images]
    )


@pytest.mark.parametrize("n_steps", [1, 2, 7, None])
def test_of_a_linear_model_maps_are_exact_whatever_the_nodes(n_steps):
    result = explain(linear(WEIGHTS), n_steps=n_steps)

    np.testing.assert_allclose(result.maps, (WEIGHTS * (IMAGES - widest())).sum(-1), atol=2e-6)
    assert (result.local_error < 1e-4).all()


def test_of_a_quadratic_model_maps_are_exact_too():
    # The trapezoid of 2 w z over a step is w (z_a + z_b) (z_a - z_b) = w (z_a^2 - z_b^2), and that
    # telescopes.
    result = explain(quadratic(WEIGHTS), n_steps=3)

    np.testing.assert_allclose(result.maps, (WEIGHTS * (IMAGES**2 - widest() ** 2)).sum(-1), atol=5e-6)


def test_maps_sum_to_the_score_of_the_image_minus_that_of_the_widest_blur():
    small = WEIGHTS / 20
    bent = along(small, np.tanh, lambda place: 1 / np.cosh(place) ** 2)

    result = explain(bent, error_budget=0.01)

    difference = np.tanh((small * IMAGES).sum((1, 2, 3))) - np.tanh((small * widest()).sum((1, 2, 3)))
    np.testing.assert_allclose(result.maps.sum((1, 2)), difference, rtol=0.011)
    assert (result.local_error <= 0.01).all()


def test_a_kink_is_found_by_halving():
    # The knee lies halfway between the scores of the image and of its widest blur.
    image, end = IMAGES[:1], widest()[:1]
    sign = np.sign((WEIGHTS * (image - end)).sum())
    knee = (sign * WEIGHTS * (image + end) / 2).sum()
    bent = ramp(sign * WEIGHTS, knee)

    result = explain(bent, image, error_budget=0.005)
    uniform = explain(bent, image, n_steps=8)

    assert uniform.local_error[0] > 0.005
    assert result.local_error[0] <= 0.005
    # Each halving of the gaps beside the kink takes four gradients; six of them make gaps of 1 / 512.
    assert 9 < result.n_gradients[0] <= 9 + 6 * 4


def test_an_image_of_one_colour_does_not_blur_and_so_is_empty():
    # Also its corners: zero padding would darken them and give them attribution.
    result = explain(linear(WEIGHTS), np.full((1, *SHAPE, 3), 0.6, np.float32))

    assert np.abs(result.maps).max() < 1e-5
    assert result.status[0] in (MapStatus.EMPTY, MapStatus.BASELINE_TOO_CLOSE)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_a_map_does_not_depend_on_the_batch_its_order_or_the_size_of_calls(batch_size):
    bent = ramp(WEIGHTS, knee=0.5)
    order = np.array([3, 0, 4, 2, 1])
    whole = explain(bent)

    mixed = explain(bent, IMAGES[order], batch_size=batch_size)

    np.testing.assert_array_equal(mixed.maps, whole.maps[order])
    np.testing.assert_array_equal(mixed.n_gradients, whole.n_gradients[order])


def test_the_target_chooses_the_score():
    result = explain(linear(WEIGHTS), targets=np.array([0, 1, 0, 1, 0]))

    sign = np.array([1, -1, 1, -1, 1])[:, None, None]
    np.testing.assert_allclose(result.maps, sign * (WEIGHTS * (IMAGES - widest())).sum(-1), atol=2e-6)


@pytest.mark.parametrize("sigma", [0.5, 2.0, 9.0])
def test_the_blur_is_that_of_scipy_divided_by_that_of_ones(sigma):
    ours = Blur(SHAPE)(IMAGES, sigma)

    np.testing.assert_allclose(ours, widest(share=sigma / 16), atol=1e-6)


def test_no_blur_is_the_image_itself_and_every_row_of_an_operator_sums_to_one():
    np.testing.assert_array_equal(Blur(SHAPE)(IMAGES, 0.0), IMAGES)
    np.testing.assert_array_equal(operator(5, 0.0), np.eye(5))
    np.testing.assert_allclose(operator(9, 3.0).sum(axis=1), 1, rtol=1e-12)
    # A width of 1 weighs a neighbour by exp(-1/2): in the corner of three, 1 / (1 + 0.60653 + 0.13534).
    assert operator(3, 1.0)[0, 0] == pytest.approx(0.57409, abs=1e-5)


@pytest.mark.parametrize("fields", [{"max_sigma": 50}, {"max_sigma": 0}, {"error_budget": 0}, {"n_steps": 0}])
def test_parameters_out_of_range_are_refused(fields):
    with pytest.raises(ConfigError, match="blur_integrated_gradients"):
        BlurIntegratedGradients(**fields)
