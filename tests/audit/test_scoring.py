import math

import numpy as np
import pytest

from audit import scoring
from audit.scoring import Outcome, Scoring
from audit.types import BACKGROUND, FOREGROUND, IGNORE, AttributionBatch, Batch, MapStatus, Sample

B, F, X = BACKGROUND, FOREGROUND, IGNORE
SCORING = Scoring(classes=("shoes", "t-shirt"), polarity="positive")


def samples():
    return [
        Sample("a", "photos/a.jpg", "shoes", split="test"),
        Sample("b", "photos/b.jpg", "t-shirt"),
    ]


def attribution(maps):
    n = len(maps)
    return AttributionBatch(
        maps=np.asarray(maps, dtype=np.float32),
        status=np.array([MapStatus.OK] * n, dtype=object),
        approx_error=np.full(n, np.nan),
        local_error=np.full(n, np.nan),
        n_gradients=np.full(n, 3),
        resolution=(2, 2),
    )


def batch(foreground, regions=None, images=None):
    n, height, width = np.shape(foreground)
    corner = np.zeros((n, height, width, 3), dtype=np.float32)
    corner[:, 0, 0] = 1.0
    return Batch(
        sample_ids=tuple("abcdefgh"[:n]),
        images=corner if images is None else images,
        labels=np.arange(n) % 2,
        foreground=np.array(foreground, dtype=np.uint8),
        regions={name: np.array(region, dtype=bool) for name, region in (regions or {}).items()},
    )


def outcome(maps, **methods):
    n = len(maps)
    right = np.eye(2)[np.arange(n) % 2]
    return Outcome(
        probabilities=right, targets=np.arange(n) % 2, attributions=methods or {"grad_cam": attribution(maps)}
    )


def test_predictions_by_hand():
    table = scoring.score_predictions(
        samples(), ["d1", "d2"], np.array([[0.75, 0.25], [0.5, 0.5]]), SCORING.classes
    )
    assert list(table["predicted"]) == ["shoes", "shoes"]
    assert list(table["correct"]) == [True, False]
    assert list(table["confidence"]) == [0.75, 0.5]
    assert list(table["margin"]) == [0.5, 0.0]
    assert list(table["split"]) == ["test", ""]
    assert table["entropy"][0] == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * math.log(4))
    assert table["entropy"][1] == pytest.approx(math.log(2))


def test_the_entropy_of_independent_classes_is_that_of_their_shares():
    table = scoring.score_predictions(
        samples(), ["", ""], np.array([[0.9, 0.9], [0.0, 0.0]]), SCORING.classes
    )
    np.testing.assert_allclose(table["entropy"], [math.log(2), 0.0])


def test_predictions_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="2 samples"):
        scoring.score_predictions(samples(), ["d1", "d2"], np.ones((3, 2)), SCORING.classes)


def test_attributions_by_hand():
    maps = [[[3, 1], [0, -9]]]  # the negative value is no mass
    table = scoring.score_attributions(batch([[[F, B], [B, B]]]), outcome(maps), SCORING)
    row = table.iloc[0]
    assert (row["sample_id"], row["method"], row["target"], row["status"]) == ("a", "grad_cam", "shoes", "ok")
    assert (row["mass_inside"], row["area_inside"], row["lift"]) == (0.75, 0.25, 3.0)
    assert (row["pointing_hit"], row["rank_accuracy"], row["iou"]) == (1.0, 1.0, 1.0)
    assert row["shared_interest_case"] == "human aligned"
    assert row["n_gradients"] == 3
    assert row["reason"] == ""
    assert np.isnan(row["untrained_mass_inside"])


def test_the_untrained_null_is_kept_where_it_is_given():
    done = outcome([[[3, 1], [0, 0]]])
    given = Outcome(
        done.probabilities,
        done.targets,
        done.attributions,
        {"grad_cam": np.array([[[2, 3], [0, 0]]], dtype=np.float32)},
    )
    table = scoring.score_attributions(batch([[[F, B], [B, B]]]), given, SCORING)
    assert table["untrained_mass_inside"][0] == 0.4


@pytest.mark.parametrize(
    ("maps", "foreground", "reason"),
    [
        ([[1, 1], [1, 1]], [[X, X], [X, X]], "the foreground is not annotated"),
        ([[1, 1], [1, 1]], [[B, B], [B, B]], "the foreground is empty"),
        ([[1, 1], [1, 1]], [[F, F], [F, X]], "the foreground is everything"),
        ([[0, 0], [-1, 0]], [[F, B], [B, B]], "the map has no mass on counted pixels"),
        ([[np.nan, 1], [1, 1]], [[F, B], [B, B]], "the map has values that are not finite"),
        (
            [[0, 0], [0, 0]],
            [[X, X], [X, X]],
            "the map has no mass on counted pixels; the foreground is not annotated",
        ),
    ],
)
def test_a_missing_score_has_its_reason(maps, foreground, reason):
    table = scoring.score_attributions(batch([foreground]), outcome([maps]), SCORING)
    assert table["reason"][0] == reason
    assert np.isnan(table["mass_inside"][0])


def test_a_picture_without_edges_says_so_and_keeps_its_other_scores():
    flat = batch([[[F, B], [B, B]]], images=np.full((1, 2, 2, 3), 0.5, dtype=np.float32))
    table = scoring.score_attributions(flat, outcome([[[3, 1], [0, 0]]]), SCORING)
    assert (table["mass_inside"][0], table["reason"][0]) == (0.75, "the picture has no edges")


def test_every_method_has_a_row_a_sample():
    maps = [[[3, 1], [0, 0]], [[0, 0], [1, 1]]]
    done = outcome(maps, grad_cam=attribution(maps), gradient=attribution(maps[::-1]))
    table = scoring.score_attributions(batch([[[F, B], [B, B]]] * 2), done, SCORING)
    assert list(zip(table["method"], table["sample_id"], strict=True)) == [
        ("grad_cam", "a"),
        ("grad_cam", "b"),
        ("gradient", "a"),
        ("gradient", "b"),
    ]
    assert list(table["mass_inside"]) == [0.75, 0.0, 0.0, 0.75]


def test_confounds_by_hand():
    regions = {"face": [[[0, 1], [0, 0]], [[0, 0], [0, 0]]], "logo": [[[1, 0], [0, 0]], [[0, 0], [1, 1]]]}
    scene = batch([[[F, B], [B, B]], [[X, X], [X, X]]], regions)
    maps = [[[3, 1], [0, 0]], [[1, 1], [1, 1]]]
    table = scoring.score_confounds(scene, outcome(maps), SCORING).set_index(["confound", "sample_id"])
    assert list(table["present"]) == [True, False, False, True]  # the logo of a is on the object
    assert tuple(table.loc[("face", "a"), ["mass_inside", "area_inside", "lift"]]) == (0.25, 0.25, 1.0)
    assert tuple(table.loc[("logo", "b"), ["mass_inside", "area_inside", "lift"]]) == (0.5, 0.5, 1.0)
    assert table.loc[("face", "b"), ["mass_inside", "area_inside", "lift"]].isna().all()


def test_a_confound_on_a_map_without_mass_is_present_and_not_measured():
    scene = batch([[[F, B], [B, B]]], {"face": [[[0, 1], [0, 0]]]})
    row = scoring.score_confounds(scene, outcome([[[0, 0], [0, 0]]]), SCORING).iloc[0]
    assert (row["present"], row["area_inside"]) == (True, 0.25)
    assert np.isnan(row["mass_inside"])


def test_a_score_does_not_depend_on_the_samples_beside_it():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(4, 6, 6))
    images = rng.random((4, 6, 6, 3)).astype(np.float32)
    foreground = rng.choice([B, F, X], (4, 6, 6))
    whole = batch(foreground, {"face": foreground == B}, images)
    alone = Batch(
        ("d",), images[3:], np.array([1]), whole.foreground[3:], {"face": whole.regions["face"][3:]}
    )
    together = outcome(maps)
    single = Outcome(together.probabilities[3:], together.targets[3:], {"grad_cam": attribution(maps[3:])})
    for score in (scoring.score_attributions, scoring.score_confounds):
        of_four, of_one = score(whole, together, SCORING), score(alone, single, SCORING)
        assert of_four.iloc[[3]].reset_index(drop=True).equals(of_one)


def test_without_regions_the_confound_table_is_empty():
    assert scoring.score_confounds(batch([[[F, B], [B, B]]]), outcome([[[1, 1], [1, 1]]]), SCORING).empty
