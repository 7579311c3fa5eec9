"""Features of a picture with two patches, of which a hand-set network reads red for one class, green for the other."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from audit.features import cell_shares, score_features
from audit.types import BACKGROUND, IGNORE, Batch
from tests.audit.fake_classifiers import FakeClassifier, linear
from tests.classifiers import gap_classifier

SIDE = 8
CLASSES = ("red", "green")
RED, GREEN = np.s_[0:2, 0:2], np.s_[6:8, 6:8]
SEEDS = np.zeros(1, dtype=np.uint64)


def classifier():
    """logit = sum of the red, or of the green, of all pixels."""
    kernels = np.eye(3)[None, None, :, :2]
    return gap_classifier(kernels, np.eye(2) * SIDE * SIDE, (SIDE, SIDE))


def batch(label: int = -1, foreground: int = IGNORE) -> Batch:
    """Four red pixels of 1 at the top left, marked as a thing, and four green ones of 0.5: logits 4 and 2."""
    image = np.zeros((1, SIDE, SIDE, 3), dtype=np.float32)
    image[0][RED] = (1, 0, 0)
    image[0][GREEN] = (0, 0.5, 0)
    thing = np.zeros((1, SIDE, SIDE), dtype=bool)
    thing[0][RED] = True
    return Batch(
        sample_ids=("a",),
        images=image,
        labels=np.array([label]),
        foreground=np.full((1, SIDE, SIDE), foreground, dtype=np.uint8),
        regions={"patch": thing, "text": np.zeros_like(thing)},
    )


def features(given: Batch) -> dict[str, pd.DataFrame]:
    model = classifier()
    return score_features(model, given, model.probabilities(given.images), CLASSES, SEEDS)


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def test_confidence_and_the_place_of_the_predicted_class_s_map():
    row = features(batch())["features"].iloc[0]
    assert row["predicted"] == "red"
    assert row["confidence"] == pytest.approx(sigmoid(2))
    assert row["margin"] == pytest.approx(2 * sigmoid(2) - 1)
    assert (row["cell_0_0"], row["cell_3_3"]) == (1.0, 0.0)
    # Four of 64 pixels share the mass evenly: log 4 / log 64.
    assert row["map_entropy"] == pytest.approx(1 / 3)
    # The gradient is felt on the same four pixels.
    assert row["disagreement"] == pytest.approx(0.0, abs=1e-6)


def test_things_have_their_share_of_mass_and_picture():
    things = features(batch())["things"].set_index("thing")
    assert things.loc["patch", ["present", "mass", "area"]].tolist() == [True, 1.0, 4 / 64]
    assert not things.loc["text", "present"]
    assert np.isnan(things.loc["text", "mass"])


def test_without_the_thing_the_model_says_the_other_class():
    rows = features(batch())["probabilities"].set_index("class_name")
    assert rows.loc["red", "probability"] == pytest.approx(sigmoid(2))
    # The black around the patch takes its place: logits 0 and 2.
    assert rows.loc["red", "without"] == pytest.approx(sigmoid(-2))
    assert rows["without"].sum() == pytest.approx(1.0)


def test_a_picture_without_any_thing_is_not_asked_without_it():
    nothing = dataclasses.replace(batch(), regions={"text": np.zeros((1, SIDE, SIDE), dtype=bool)})
    assert features(nothing)["probabilities"]["without"].isna().all()
    assert features(dataclasses.replace(batch(), regions={}))["things"].empty


@pytest.mark.parametrize("label", [0, 1])
def test_neither_label_nor_foreground_reaches_a_feature(label):
    # A map of the label would lie on the green patch where the label is green.
    known = batch(label, BACKGROUND)
    for name in ("features", "things", "probabilities"):
        pd.testing.assert_frame_equal(features(known)[name], features(batch())[name])


def test_without_feature_maps_there_is_one_method_and_no_disagreement():
    weights = np.zeros((SIDE, SIDE, 3))
    weights[GREEN] = 1.0
    model = FakeClassifier(linear(weights), image_shape=(SIDE, SIDE))
    given = batch()
    found = score_features(model, given, model.probabilities(given.images), CLASSES, SEEDS)["features"]
    assert np.isnan(found["disagreement"].iloc[0])
    assert found["cell_3_3"].iloc[0] == 1.0


def test_the_highest_ten_probabilities_and_that_of_the_label_are_kept():
    probabilities = np.linspace(0, 1, 12)[None] / 6
    given = batch(label=0)
    model = FakeClassifier(linear(np.zeros((SIDE, SIDE, 3))), image_shape=(SIDE, SIDE), n_classes=12)
    names = [f"c{number:02d}" for number in range(12)]
    bare = dataclasses.replace(given, regions={})
    found = score_features(model, bare, probabilities, names, SEEDS)["probabilities"]
    assert list(found["class_name"]) == [*names[:1:-1], "c00"]


def test_cells_by_hand_and_not_of_pictures_smaller_than_them():
    mass = np.arange(6, dtype=np.float64).reshape(1, 2, 3)
    # Columns 0 | 1, 2 of rows 0 | 1: sums 0, 1 + 2, 3, 4 + 5 of 15.
    np.testing.assert_allclose(cell_shares(mass, 2)[0], [[0, 3 / 15], [3 / 15, 9 / 15]])
    assert np.isnan(cell_shares(np.zeros((1, 2, 2)), 2)).all()
    with pytest.raises(ValueError, match="at least 4 by 4 pixels"):
        cell_shares(mass, 4)
