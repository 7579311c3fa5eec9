"""Grad-CAM and Grad-CAM++ where they can be worked out by hand, and the gradient."""

import numpy as np
import pytest

from audit.attributions._maps import enlarge, statuses
from audit.attributions.grad_cam import GradCam
from audit.attributions.grad_cam_plus_plus import GradCamPlusPlus
from audit.attributions.gradient import Gradient
from audit.errors import ModelError
from audit.types import MapStatus
from tests.classifiers import ClosedForm as Network
from tests.classifiers import classifier_of, gap_classifier, linear_classifier

RNG = np.random.default_rng(0)
KERNELS = RNG.normal(size=(1, 1, 3, 4)).astype(np.float32)
HEAD = RNG.normal(size=(4, 2)).astype(np.float32)
IMAGES = RNG.random((3, 6, 8, 3), dtype=np.float32)
TARGETS = np.array([0, 1, 1])
SEEDS = np.zeros(3, dtype=np.uint64)


def test_the_gradient_of_a_linear_model_is_its_weights_summed_over_channels():
    weights = RNG.normal(size=(2, 6, 8, 3))
    found = Gradient()(linear_classifier(weights), IMAGES, TARGETS, SEEDS)
    np.testing.assert_allclose(found.maps, weights[TARGETS].sum(axis=-1), atol=1e-5)
    assert found.maps.dtype == np.float32
    assert found.resolution == (6, 8)
    assert found.n_gradients.tolist() == [1, 1, 1]
    assert np.isnan(found.approx_error).all()
    assert np.isnan(found.local_error).all()


@pytest.mark.parametrize("relu", [True, False])
def test_grad_cam_of_an_averaged_linear_head_is_the_weighted_sum_of_its_maps(relu):
    found = GradCam(relu=relu)(gap_classifier(KERNELS, HEAD, (6, 8)), IMAGES, TARGETS, SEEDS)
    maps = np.maximum(IMAGES @ KERNELS[0, 0], 0)
    expected = np.einsum("bhwc,cb->bhw", maps, HEAD[:, TARGETS]) / 48
    np.testing.assert_allclose(
        found.maps, np.maximum(expected, 0) if relu else expected, rtol=1e-4, atol=1e-7
    )


def test_a_coarse_map_reports_its_resolution_and_has_the_images_size():
    kernels = RNG.random((2, 2, 3, 4))
    found = GradCam()(gap_classifier(kernels, np.abs(HEAD), (6, 8), pool=2), IMAGES, TARGETS, SEEDS)
    assert found.resolution == (3, 4)
    assert found.maps.shape == (3, 6, 8)
    assert set(found.status) == {MapStatus.OK}


def test_grad_cam_moves_with_the_image():
    classifier = gap_classifier(KERNELS, HEAD, (6, 8))
    moved = GradCam(relu=False)(classifier, np.roll(IMAGES, (2, 3), axis=(1, 2)), TARGETS, SEEDS).maps
    still = GradCam(relu=False)(classifier, IMAGES, TARGETS, SEEDS).maps
    np.testing.assert_allclose(moved, np.roll(still, (2, 3), axis=(1, 2)), atol=1e-7)


@pytest.mark.parametrize("method", [GradCam(), GradCamPlusPlus()])
def test_a_map_without_anything_for_the_class_is_empty(method):
    against = gap_classifier(np.ones((1, 1, 3, 4)), -np.ones((4, 2)), (6, 8))
    found = method(against, IMAGES, TARGETS, SEEDS)
    assert set(found.status) == {MapStatus.EMPTY}
    assert not found.maps.any()


@pytest.mark.parametrize("method", [GradCam(), GradCamPlusPlus()])
def test_a_model_without_a_feature_map_is_refused_in_a_sentence(method):
    with pytest.raises(ModelError, match="no spatial feature map"):
        method(linear_classifier(np.ones((2, 6, 8, 3))), IMAGES, TARGETS, SEEDS)


def weighted_cells(cell_weights: np.ndarray) -> Network:
    """logit_0 = sum(cell_weights * A), logit_1 = 0; the one map A is the red channel."""

    def compute(inputs, _):
        import tensorflow as tf

        maps = tf.identity(inputs[..., :1])
        logit = tf.reduce_sum(maps[..., 0] * np.float32(cell_weights), axis=[1, 2])
        return tf.stack([logit, 0 * logit], axis=1), {"maps": maps}

    return Network(cell_weights.shape, 2, compute, feature_layers=("maps",))


def test_grad_cam_plus_plus_of_a_2_by_2_map_worked_by_hand():
    # A = [[1, 2], [0, 1]], sum 4; gradients g = [[1, 0.5], [0, -1]].
    # alpha = g^2 / (2 g^2 + 4 g^3): 1/6, 1/4, 0/0 = 0, 1/(2 - 4) = -1/2; the last meets relu(g) = 0.
    # weight = 1/6 * 1 + 1/4 * 0.5 = 7/24; map = 7/24 * A.
    image = np.zeros((1, 2, 2, 3), dtype=np.float32)
    image[0, ..., 0] = [[1, 2], [0, 1]]
    classifier = classifier_of(weighted_cells(np.array([[1, 0.5], [0, -1]])))
    found = GradCamPlusPlus()(classifier, image, np.array([0]), SEEDS[:1])
    np.testing.assert_allclose(found.maps[0], np.array([[7, 14], [0, 7]]) / 24, rtol=1e-6)


def test_grad_cam_plus_plus_counts_a_gradient_without_a_closed_form_as_nothing():
    # g = -0.5 and sum(A) = 4: 2 g^2 + 4 g^3 = 0.5 - 0.5 = 0.
    image = np.ones((1, 2, 2, 3), dtype=np.float32)
    classifier = classifier_of(weighted_cells(np.full((2, 2), -0.5)))
    found = GradCamPlusPlus(relu=False)(classifier, image, np.array([0]), SEEDS[:1])
    assert found.maps.tolist() == [[[0, 0], [0, 0]]]


def test_enlarging_takes_pixels_as_areas():
    # Two cells to four pixels: centres at -1/4, 1/4, 3/4, 5/4 of the old grid, the ends held.
    np.testing.assert_allclose(enlarge(np.array([[[0.0, 4.0]]]), (1, 4)), [[[0, 1, 3, 4]]])
    np.testing.assert_allclose(enlarge(np.array([[[2.0]]]), (2, 3)), np.full((1, 2, 3), 2.0))


def test_enlarging_to_the_same_size_changes_nothing():
    maps = RNG.normal(size=(2, 5, 7)).astype(np.float32)
    np.testing.assert_array_equal(enlarge(maps, (5, 7)), maps)


def test_a_zero_map_is_empty_and_any_other_is_ok():
    maps = np.zeros((3, 2, 2))
    maps[1, 0, 0] = -1e-12
    maps[2, 0, 0] = np.nan
    assert statuses(maps).tolist() == [MapStatus.EMPTY, MapStatus.OK, MapStatus.EMPTY]
