import numpy as np
import pytest

from audit.attributions.guided_integrated_gradients import GuidedIntegratedGradients
from audit.errors import ConfigError
from audit.types import MapStatus
from tests.audit.fake_classifiers import FakeClassifier, along, linear

RNG = np.random.default_rng(3)
WEIGHTS = RNG.normal(size=(4, 4, 3))
IMAGES = RNG.random((5, 4, 4, 3), dtype=np.float32)
TARGETS = np.zeros(5, np.int64)
SEEDS = np.arange(5, dtype=np.uint64)


def wave(images):
    """A score whose gradients change along the way, so that the order of the values does too."""
    place = (WEIGHTS * images).sum((1, 2, 3))[:, None, None, None]
    score = (np.sin(3 * images) * WEIGHTS).sum((1, 2, 3)) + np.sin(place[:, 0, 0, 0])
    return score, 3 * np.cos(3 * images) * WEIGHTS + np.cos(place) * WEIGHTS


def slow_guided(image, start, gradient_of, n_steps, fraction, max_dist):
    """The algorithm of the paper for one image, value by value, with sorted lists instead of arrays."""
    x, end, start = list(start), list(end_of(image)), list(start)
    total = sum(abs(e - s) for e, s in zip(end, start, strict=True))
    attribution = [0.0] * len(x)
    for step in range(1, n_steps + 1):
        gradient = gradient_of(np.array(x))
        alpha = step / n_steps
        low, high = max(alpha - max_dist, 0.0), min(alpha + max_dist, 1.0)
        before = list(x)
        for i, (s, e) in enumerate(zip(start, end, strict=True)):
            if e != s and (x[i] - s) / (e - s) < low:
                x[i] = s + low * (e - s)
        movable = [
            i
            for i, (s, e) in enumerate(zip(start, end, strict=True))
            if e != s and (x[i] - s) / (e - s) < high - 1e-12
        ]
        movable.sort(key=lambda i: abs(gradient[i]))
        size = int(fraction * (len(x) - 1)) + 1
        needed = sum(abs(e - v) for e, v in zip(end, x, strict=True)) - total * (1 - alpha)
        while needed > 1e-9 * total and movable:
            chosen, movable = movable[:size], movable[size:]
            reach = sum(abs(start[i] + high * (end[i] - start[i]) - x[i]) for i in chosen)
            share = min(1.0, needed / reach)
            for i in chosen:
                x[i] += share * (start[i] + high * (end[i] - start[i]) - x[i])
            needed -= reach
        for i in range(len(x)):
            attribution[i] += (x[i] - before[i]) * gradient[i]
    return np.array(attribution)


def end_of(image):
    return image.astype(np.float64).ravel()


def explain(function, images=IMAGES, batch_size=4, **fields):
    n_images = len(images)
    return GuidedIntegratedGradients(**fields)(
        FakeClassifier(function, batch_size=batch_size),
        images,
        np.zeros(n_images, np.int64),
        np.arange(n_images, dtype=np.uint64),
    )


def gradient_at(values):
    image = np.float32(values.reshape(1, 4, 4, 3)).astype(np.float64)
    return wave(image)[1].astype(np.float32).astype(np.float64).ravel()


@pytest.mark.parametrize(
    ("n_steps", "fraction", "max_dist"), [(25, 0.25, 0.02), (50, 0.25, 0.1), (10, 0.6, 0.5)]
)
def test_maps_are_those_of_the_papers_algorithm_done_slowly(n_steps, fraction, max_dist):
    result = explain(wave, baseline="grey", n_steps=n_steps, fraction=fraction, max_dist=max_dist)

    slow = [
        slow_guided(image, np.full(48, 0.5), gradient_at, n_steps, fraction, max_dist) for image in IMAGES
    ]
    np.testing.assert_allclose(result.maps, np.reshape(slow, (5, 4, 4, 3)).sum(-1), rtol=1e-5, atol=1e-6)
    assert list(result.n_gradients) == [n_steps] * 5


def test_of_a_linear_model_the_path_does_not_matter():
    result = explain(linear(WEIGHTS), n_steps=7)

    np.testing.assert_allclose(result.maps, (WEIGHTS * IMAGES).sum(-1), atol=1e-5)
    assert (result.approx_error < 1e-5).all()
    assert (result.local_error < 1e-5).all()


def test_without_freedom_it_is_the_left_sum_on_the_straight_path():
    # Of x ** 2 from black, ten left points give sum(k / 10 * 2 / 10 for k in 0..9) = 0.9 of the whole.
    def squares(images):
        return (WEIGHTS * images**2).sum((1, 2, 3)), 2 * WEIGHTS * images

    result = explain(squares, n_steps=10, max_dist=0.0)

    np.testing.assert_allclose(result.maps, 0.9 * (WEIGHTS * IMAGES**2).sum(-1), rtol=1e-4, atol=1e-6)
    # Each of the ten steps errs by a tenth of a tenth of the whole: with one sign, so both errors are 0.1.
    np.testing.assert_allclose(result.approx_error, 0.1, rtol=1e-3)
    np.testing.assert_allclose(result.local_error, 0.1, rtol=1e-3)


def test_values_with_small_gradients_move_first():
    # Half the values have no gradient: with all freedom they are where they belong after two of four steps,
    # before the score has moved at all.
    weights = np.zeros((4, 4, 3))
    weights[:2] = 1 / 24
    seen = []

    def squared(images):
        place = (weights * images).sum((1, 2, 3))
        seen.append(place[0])
        return place**2, 2 * place[:, None, None, None] * weights + 1e-3 * weights

    explain(squared, np.ones((1, 4, 4, 3), np.float32), n_steps=4, fraction=0.25, max_dist=1.0)

    # The image's own score is asked for first; four gradients follow.
    np.testing.assert_allclose(seen[:5], [1, 0, 0, 0, 0.5], atol=1e-6)


def test_a_map_does_not_depend_on_the_batch_or_its_order():
    order = np.array([4, 2, 0, 1, 3])
    whole = explain(wave, n_steps=20)

    mixed = explain(wave, IMAGES[order], n_steps=20, batch_size=1)

    np.testing.assert_array_equal(mixed.maps, whole.maps[order])


def test_an_image_that_is_the_baseline_is_empty():
    result = explain(wave, np.zeros((1, 4, 4, 3), np.float32), n_steps=5)

    assert result.status[0] is MapStatus.EMPTY
    assert (result.maps == 0).all()


def test_maps_of_several_baselines_are_averaged():
    black, bright = explain(wave, n_steps=9), explain(wave, n_steps=9, baseline="white")

    both = explain(wave, n_steps=9, baseline=("black", 1.0))

    np.testing.assert_allclose(both.maps, (black.maps + bright.maps) / 2, atol=1e-6)
    assert list(both.n_gradients) == [18] * 5


def test_the_status_holds_the_local_error_against_the_budget():
    steep = along(WEIGHTS, np.exp, np.exp)

    strict = explain(steep, n_steps=5, error_budget=0.001)
    loose = explain(steep, n_steps=5, error_budget=10.0)

    assert MapStatus.NOT_CONVERGED in strict.status
    assert MapStatus.NOT_CONVERGED not in loose.status


@pytest.mark.parametrize(
    "fields", [{"n_steps": 0}, {"fraction": 0}, {"max_dist": 1.5}, {"error_budget": -1}, {"baseline": "x"}]
)
def test_parameters_out_of_range_are_refused(fields):
    with pytest.raises(ConfigError):
        GuidedIntegratedGradients(**fields)


def test_maps_are_those_of_the_published_package(monkeypatch):
    core = pytest.importorskip("saliency.core", reason="the peer package saliency is not installed")
    quantile = np.quantile

    def renamed(values, share, interpolation="linear"):
        """The argument that the package still calls by its old name, which NumPy dropped."""
        return quantile(values, share, method=interpolation)

    monkeypatch.setattr(np, "quantile", renamed)

    def call(values, call_model_args=None, expected_keys=None):
        return {core.base.INPUT_OUTPUT_GRADIENTS: wave(np.float32(values).astype(np.float64))[1]}

    theirs = core.GuidedIG().GetMask(
        IMAGES[0].astype(np.float64), call, {}, x_steps=40, fraction=0.25, max_dist=0.05
    )

    ours = explain(wave, IMAGES[:1], n_steps=40, max_dist=0.05)
    np.testing.assert_allclose(ours.maps[0], theirs.sum(-1), rtol=1e-4, atol=1e-5)
