"""The trust certificate: broken explainers and models fail, sound ones pass, nothing passes unmeasured."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from audit import _certificate_filling as filling
from audit import _certificate_outlines as outlines
from audit import _certificate_probes as probes
from audit.attributions._smoothgrad import SmoothGrad
from audit.attributions.blur_integrated_gradients import BlurIntegratedGradients
from audit.attributions.grad_cam import GradCam
from audit.attributions.gradient import Gradient
from audit.attributions.integrated_gradients import IntegratedGradients
from audit.certificate import CHECKS, DEFAULT_LIMITS, certify, trusted
from audit.classifier import Classifier, Head
from audit.keras_network import KerasNetwork
from audit.tables import CERTIFICATE, frame
from audit.types import BACKGROUND, FOREGROUND, IGNORE
from tests.audit import broken
from tests.classifiers import AS_IT_IS, linear_classifier

SIDE = 32
N_IMAGES = 24
SOUND = {
    "gradient": Gradient(),
    "grad_cam": GradCam(),
    "integrated_gradients": IntegratedGradients(),
    "blur_integrated_gradients": BlurIntegratedGradients(),
}
SEEDS = np.arange(N_IMAGES, dtype=np.uint64)


def drawn(n_images: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Discs, crosses and frames, each kind in its own hue, on noisy ground: images, labels, foreground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    hues = np.array([[0.9, 0.3, 0.2], [0.3, 0.8, 0.3], [0.25, 0.4, 0.95]])
    labels = np.arange(n_images) % 3
    images, masks = [], []
    for label in labels:
        centre, radius = rng.uniform(9, SIDE - 9, 2), rng.uniform(6, 8)
        dy, dx = np.abs(y - centre[0]), np.abs(x - centre[1])
        far = np.maximum(dy, dx)
        shapes = (dy**2 + dx**2 <= radius**2, (np.minimum(dy, dx) < 0.35 * radius) & (far <= radius))
        mask = (*shapes, (far <= radius) & (far > 0.5 * radius))[label]
        image = rng.random(3) * 0.6 + rng.normal(0, 0.06, (SIDE, SIDE, 3))
        image[mask] = hues[label] + rng.normal(0, 0.12, 3) + rng.normal(0, 0.04, (int(mask.sum()), 3))
        images.append(np.clip(image, 0, 1))
        masks.append(np.where(mask, FOREGROUND, BACKGROUND))
    return np.float32(images), labels.astype(np.int64), np.uint8(masks)


@pytest.fixture(scope="session")
def network() -> KerasNetwork:
    """A small network that has learned the shapes."""
    import keras

    keras.utils.set_random_seed(0)
    images, labels, _ = drawn(900, seed=1)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((SIDE, SIDE, 3)),
            layers.Conv2D(12, 3, padding="same", strides=2, activation="relu"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(24, 3, padding="same", strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss)
    model.fit(images, labels, epochs=14, batch_size=32, verbose=0)
    return KerasNetwork(model)


@pytest.fixture(scope="session")
def classifier(network: KerasNetwork) -> Classifier:
    return Classifier(network, AS_IT_IS, batch_size=32)


def certificate(classifier: Classifier, methods: dict, **changes: np.ndarray) -> pd.DataFrame:
    images, labels, foreground = drawn(N_IMAGES, seed=7)
    foreground = changes.get("foreground", foreground)
    return certify(classifier, methods, images, labels, SEEDS, foreground, DEFAULT_LIMITS)


def broken_methods() -> dict:
    """Every fault by "fault|method"."""
    made = {f"{fault}|no model": method for fault, method in broken.WITHOUT_MODEL.items()}
    for name in ("gradient", "grad_cam", "integrated_gradients"):
        sound = broken.Remembered(SOUND[name])
        made |= {
            f"{fault}|{name}": broken.Altered(sound, change) for fault, change in broken.ALTERATIONS.items()
        }
        made |= {
            f"{fault}|{name}": broken.Misled(sound, change) for fault, change in broken.MISLEADINGS.items()
        }
    ig = SOUND["integrated_gradients"]
    made["magnitudes|integrated_gradients"] = broken.Altered(ig, broken.ABSOLUTE["magnitudes"])
    made["few steps|integrated_gradients"] = IntegratedGradients(n_steps=2)
    return made


@pytest.fixture(scope="session")
def rows(classifier: Classifier) -> pd.DataFrame:
    """The certificate of sound methods and of every fault, made once."""
    return certificate(classifier, SOUND | broken_methods())


def failed(rows: pd.DataFrame, method: str) -> set[str]:
    return set(rows.loc[(rows["method"] == method) & ~rows["passed"], "check"])


def test_the_network_has_learned_the_shapes(classifier):
    images, labels, _ = drawn(N_IMAGES, seed=7)
    assert (classifier.logits(images).argmax(axis=1) == labels).mean() >= 0.9


def test_sound_methods_on_a_sound_model_pass_every_check(rows):
    assert {method: failed(rows, method) for method in SOUND} == {method: set() for method in SOUND}
    assert trusted(rows) >= frozenset(SOUND)


def test_at_least_95_percent_of_broken_explainers_are_caught(rows):
    faults = set(broken_methods())
    missed = trusted(rows) & faults
    assert len(missed) <= 0.05 * len(faults), sorted(missed)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("shifted|gradient", "location"),
        ("transposed|gradient", "location"),
        ("mirrored|gradient", "location"),
        ("mirrored|grad_cam", "location"),
        ("signs turned|gradient", "faithfulness"),
        ("another image's|gradient", "repeatability"),
        ("unseeded noise|no model", "repeatability"),
        ("half are zero|gradient", "degenerate"),
        ("constant|gradient", "degenerate"),
        ("not finite|gradient", "degenerate"),
        ("random weights|gradient", "looked_at"),
        ("channels swapped|grad_cam", "looked_at"),
        ("image mirrored|gradient", "looked_at"),
        ("next class|integrated_gradients", "score_agreement"),
        ("magnitudes|integrated_gradients", "score_agreement"),
        ("one class|gradient", "label_sensitivity"),
        ("predicted class|grad_cam", "label_sensitivity"),
        ("few steps|integrated_gradients", "completeness"),
        ("few steps|integrated_gradients", "convergence"),
    ],
)
def test_a_fault_fails_the_check_meant_for_it(rows, fault, check):
    assert check in failed(rows, fault)


@pytest.mark.parametrize("fault", ["edges", "brightness", "centre", "seeded noise"])
def test_an_explainer_without_a_model_correlates_fully_with_itself_on_random_weights(rows, fault):
    of_fault = rows[rows["method"] == f"{fault}|no model"].set_index("check")
    assert of_fault.loc["randomisation_cascading", "value"] == pytest.approx(1.0)
    assert not of_fault.loc["randomisation_cascading", "passed"]
    assert of_fault.loc["faithfulness_random_model", "value"] == 0.0
    assert not of_fault.loc["faithfulness_random_model", "passed"]


def test_an_edge_detector_correlates_fully_with_edges(rows):
    of_fault = rows[rows["method"] == "edges|no model"].set_index("check")
    assert of_fault.loc["edge_correlation", "value"] == pytest.approx(1.0)
    assert not of_fault.loc["edge_correlation", "passed"]


def test_dropout_left_on_fails_repeatability(network):
    restless = Classifier(broken.Restless(network), AS_IT_IS, batch_size=32)
    assert "repeatability" in failed(certificate(restless, {"it": Gradient()}), "it")


def test_a_model_with_random_weights_fails_whatever_explains_it(classifier):
    untrained = classifier.randomised(classifier.weight_groups, 5)
    assert "model_trained" in failed(certificate(untrained, {"it": Gradient()}), "it")


def test_a_model_fed_bgr_fails_the_colours(network):
    swapped = Classifier(network, replace(AS_IT_IS, is_reversed=True), batch_size=32)
    assert "model_colours" in failed(certificate(swapped, {"it": Gradient()}), "it")


def test_moved_masks_fail_the_alignment_and_right_ones_do_not(classifier, rows):
    _, _, foreground = drawn(N_IMAGES, seed=7)
    moved = np.roll(foreground, (5, 5), axis=(1, 2))
    assert "mask_alignment" in failed(certificate(classifier, {"it": Gradient()}, foreground=moved), "it")
    assert "mask_alignment" not in failed(rows, "gradient")


def test_checks_that_do_not_apply_say_so_and_hold_nothing_against_the_method(classifier):
    unannotated = np.full((N_IMAGES, SIDE, SIDE), IGNORE, np.uint8)
    rows = certificate(classifier, {"it": Gradient()}, foreground=unannotated).set_index("check")
    apart = rows[rows["reason"].str.startswith("Does not apply: ")]
    of_paths = {"completeness", "convergence", "score_agreement", "baseline"}
    assert set(apart.index) == of_paths | {"mask_alignment"}
    assert apart["value"].isna().all()
    assert apart["passed"].all()
    assert rows.drop(apart.index)["value"].notna().all()


def test_every_method_has_a_row_for_every_check(rows):
    for method in SOUND:
        assert list(rows.loc[rows["method"] == method, "check"]) == list(CHECKS)


def test_every_check_applies_to_a_complete_method_with_masks(rows):
    of_method = rows[rows["method"] == "integrated_gradients"]
    assert of_method["value"].notna().all()


def test_what_cannot_be_measured_fails_with_a_reason(rows):
    of_fault = rows[rows["method"] == "zero|no model"].set_index("check")
    assert np.isnan(of_fault.loc["image_sensitivity", "value"])
    assert not of_fault.loc["image_sensitivity", "passed"]
    assert of_fault.loc["image_sensitivity", "reason"].startswith("Could not be measured.")


def test_a_certificate_repeats_bit_by_bit(classifier):
    first, second = (certificate(classifier, {"it": Gradient()}) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_a_method_is_trusted_only_if_every_check_passed():
    def row(method: str, check: str, passed: bool) -> dict:
        return {
            "method": method,
            "check": check,
            "value": 0.0,
            "limit": 0.0,
            "passed": passed,
            "reason": "because",
        }

    rows = frame(
        CERTIFICATE, [row("a", "x", True), row("a", "y", True), row("b", "x", True), row("b", "y", False)]
    )
    assert trusted(rows) == frozenset({"a"})
    assert trusted(frame(CERTIFICATE, [])) == frozenset()


def test_fewer_than_four_images_are_refused():
    classifier = linear_classifier(np.ones((2, 8, 8, 3)))
    images, labels = np.zeros((3, 8, 8, 3), np.float32), np.zeros(3, np.int64)
    seeds, foreground = np.zeros(3, np.uint64), np.zeros((3, 8, 8), np.uint8)
    with pytest.raises(ValueError, match="at least 4 images"):
        certify(classifier, {}, images, labels, seeds, foreground, DEFAULT_LIMITS)


def test_rank_correlation_ignores_scale_and_is_nan_for_a_flat_map():
    up = np.arange(16.0).reshape(1, 4, 4)
    first = np.concatenate([up, up, up, np.ones_like(up)])
    second = np.concatenate([up**3, -up, 2 * up + 5, up])
    np.testing.assert_allclose(probes.rank_correlations(first, second), [1, -1, 1, np.nan])


def test_pooled_cells_are_means():
    maps = np.array([[[1.0, 3, 0, 0], [1, 3, 0, 8]]])
    np.testing.assert_array_equal(probes.pooled(maps, 2), [[[2, 0], [2, 4]]])


@pytest.mark.parametrize("move", [(0, 0), (6, 0), (0, -8), (4, 5)])
def test_displacement_is_the_distance_of_the_change_from_its_cause(move):
    _, squares = probes.disturbed(np.zeros((8, 64, 64, 3), np.float32))
    changes = np.roll(squares, move, axis=(1, 2)).astype(float)
    assert probes.displacement(changes, squares) == pytest.approx(np.hypot(*move) / 64, abs=0.03)


def test_displacement_of_maps_that_do_not_change_is_unknown():
    _, squares = probes.disturbed(np.zeros((8, 64, 64, 3), np.float32))
    assert np.isnan(probes.displacement(np.zeros((8, 64, 64)), squares))


def test_a_disturbance_changes_every_value_of_its_square_by_a_half_and_no_other():
    images = np.random.default_rng(0).random((3, 16, 16, 3), np.float32)
    changed, squares = probes.disturbed(images)
    np.testing.assert_allclose(np.abs(changed - images)[squares], 0.5, atol=1e-6)
    np.testing.assert_array_equal(changed[~squares], images[~squares])
    assert squares.sum(axis=(1, 2)).tolist() == [16, 16, 16]


def test_filling_the_cells_that_carry_the_score_first_gives_the_greatest_area():
    weights = np.zeros((2, 28, 28, 3))
    weights[0, :14, :14] = 1.0
    classifier = linear_classifier(weights)
    images = np.random.default_rng(0).random((4, 28, 28, 3), np.float32)
    images[:, :14, :14] *= 0.2
    images[:, :14, :14] += 0.8
    best, worst = np.tile(weights[0, :, :, 0], (4, 1, 1)), np.tile(-weights[0, :, :, 0], (4, 1, 1))
    areas = [
        filling.area_between(
            filling.filled_logits(classifier, images, filling.filling_orders(maps, 0))[..., 0]
        )
        for maps in (best, worst)
    ]
    assert (areas[0] > areas[1]).all()


def test_equal_values_are_filled_in_an_order_that_the_seed_decides():
    flat = np.zeros((2, 28, 28))
    first, again, other = (filling.filling_orders(flat, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(np.sort(first, axis=1), np.tile(np.arange(14 * 14), (2, 1)))


@pytest.mark.parametrize(("head", "expected"), [(Head.SOFTMAX, 2 - np.log(np.e + 1)), (Head.SIGMOID, 2.0)])
def test_log_odds(head, expected):
    found = filling.log_odds(np.array([[2.0, 1.0, 0.0]]), np.array([0]), head)
    np.testing.assert_allclose(found, [expected])


def test_a_path_made_roughly_stops_early_and_one_without_a_path_stays_the_same_object():
    cheap = probes.rough(IntegratedGradients(max_gradients=200, error_budget=0.05))
    assert cheap == IntegratedGradients(max_gradients=17, error_budget=0.2)
    assert probes.rough(IntegratedGradients(n_steps=200)).n_steps == 16
    assert probes.rough(IntegratedGradients(n_steps=8)).n_steps == 8
    sound = GradCam()
    assert probes.rough(sound) is sound
    smooth = probes.rough(SmoothGrad(IntegratedGradients(), n_samples=25))
    assert smooth == SmoothGrad(IntegratedGradients(max_gradients=17, error_budget=0.2), n_samples=8)


def test_maps_that_are_only_compared_cost_at_most_17_gradients_each(network):
    counted = Counted(Classifier(network, AS_IT_IS, batch_size=32))
    n = 8
    images, labels, foreground = drawn(n, seed=7)
    method = IntegratedGradients(error_budget=1e-9, max_gradients=65)
    certify(counted, {"it": method}, images, labels, SEEDS[:n], foreground, DEFAULT_LIMITS)
    # Its own maps in full; for itself, another class and the disturbed roughly; a quarter twice more.
    assert counted.n_gradients <= n * 65 + 3 * n * 17 + 2 * (n // 4) * 17
    assert counted.n_gradients > n * 33


@dataclass
class Counted:
    """A classifier that counts the gradients asked of it, not those of its randomised copies."""

    classifier: Classifier
    n_gradients: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.classifier, name)

    def directional_gradients(
        self, images: np.ndarray, directions: np.ndarray, targets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        self.n_gradients += len(images)
        return self.classifier.directional_gradients(images, directions, targets)


@pytest.mark.parametrize("polarity", ["positive", "absolute"])
def test_cells_are_ordered_by_the_mass_that_the_audit_counts(polarity):
    maps = np.array([[[-3.0, 1.0], [0.0, 2.0]]])
    expected = {"positive": [[0, 1], [0, 2]], "absolute": [[3, 1], [0, 2]]}[polarity]
    np.testing.assert_array_equal(filling.evidence_for(maps, polarity), [expected])


def test_mass_against_the_target_comes_last():
    maps = np.array([[[-3.0, 1.0], [0.0, 2.0]]])
    np.testing.assert_array_equal(filling.evidence_for(maps, "negative"), [[[-3, 0], [0, 0]]])


def test_turned_signs_are_no_fault_where_the_audit_counts_magnitudes(classifier):
    images, labels, foreground = drawn(N_IMAGES, seed=7)
    methods = {"it": Gradient(), "turned": broken.Altered(Gradient(), broken.ALTERATIONS["signs turned"])}
    rows = certify(
        classifier, methods, images, labels, SEEDS, foreground, DEFAULT_LIMITS, polarity="absolute"
    ).set_index(["method", "check"])
    assert rows.loc[("it", "faithfulness"), "value"] == rows.loc[("turned", "faithfulness"), "value"]


def disc(move: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A white disc of radius 16 on black, 64 x 64, and its mask, moved."""
    y, x = np.mgrid[:64, :64]
    disc = (y - 31.5) ** 2 + (x - 31.5) ** 2 <= 16**2
    images = np.repeat(disc[None, ..., None], 3, axis=-1).astype(np.float32)
    return images, np.roll(np.where(disc, FOREGROUND, BACKGROUND), move, axis=1)[None].astype(np.uint8)


def test_an_outline_on_its_edges_is_stronger_than_any_moved_copy_and_a_moved_one_is_not():
    here, around = outlines.outline_strengths(*disc())
    assert here[0] > around[0].max()
    here, around = outlines.outline_strengths(*disc(move=8))
    assert here[0] < around[0].max()


def test_an_ignored_rim_is_cut_in_its_middle():
    images, foreground = disc()
    inside, outside = (
        ndimage.binary_erosion(part, iterations=2)
        for part in (foreground[0] == FOREGROUND, foreground[0] == BACKGROUND)
    )
    trimap = np.where(inside, FOREGROUND, np.where(outside, BACKGROUND, IGNORE)).astype(np.uint8)[None]
    here, around = outlines.outline_strengths(images, trimap)
    assert here[0] > around[0].max()


def test_boxes_have_no_outline_to_judge():
    foreground = np.zeros((1, 32, 32), np.uint8)
    foreground[0, 8:20, 8:20] = FOREGROUND
    images = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    here, around = outlines.outline_strengths(images, foreground)
    assert np.isnan(here).all()
    assert np.isnan(around).all()


@pytest.mark.data
def test_grad_cam_is_trusted_on_a_real_model_and_a_wrong_one_is_not():
    root = os.environ.get("RIGHT_REASONS_DATA")
    if not root:
        pytest.skip("RIGHT_REASONS_DATA is not set")
    from benchmarks.certificate import SETS, load, sample

    classifier, classes = load(Path(root), "garments10_lite0")
    images, labels, foreground = sample(Path(root), SETS["garments val"], classes, 8)
    sound = broken.Remembered(GradCam())
    methods = {"grad_cam": sound, "mirrored": broken.Altered(sound, broken.ALTERATIONS["mirrored"])}
    rows = certify(classifier, methods, images, labels, SEEDS[:8], foreground, DEFAULT_LIMITS)
    assert failed(rows, "grad_cam") == set()
    assert trusted(rows) == frozenset({"grad_cam"})
