"""The planted benchmark: its world is an exact counterfactual, its statistics are right, and it runs."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import _planted_rules as rules
from benchmarks import planted
from benchmarks._planted_cells import ABSENT, FROZEN, IGNORED, MASKS, PLANTED, assigned, plan, shares
from benchmarks._planted_models import seen
from benchmarks._planted_records import CLEAN, MIRROR, RELIANT, UNCLEAR, true_kind
from benchmarks._planted_report import cohens_kappa, cut_off
from benchmarks._planted_world import CUES, OVERLAYS, SIZE, THINGS, cue_region, photo, scene


@pytest.mark.parametrize("cue", [*THINGS, *OVERLAYS])
def test_a_cue_with_a_place_changes_no_pixel_elsewhere(cue):
    picture = scene(3, 1, 7)
    changed = (photo(picture, cue) != photo(picture, None)).any(axis=-1)
    draw = THINGS.get(cue) or OVERLAYS[cue]
    touched = draw(picture, np.random.default_rng([*picture.seed, 2]))[0] * (1 - picture.cover) > 0
    assert changed[cue_region(picture, cue)].mean() > 0.9
    assert not (changed & ~touched).any()


@pytest.mark.parametrize("cue", [None, *CUES])
def test_a_photo_is_a_function_of_its_scene_and_its_cue(cue):
    np.testing.assert_array_equal(photo(scene(0, 2, 5), cue), photo(scene(0, 2, 5), cue))


def test_no_cue_with_a_place_lies_on_the_object():
    picture = scene(1, 0, 0)
    assert not any((cue_region(picture, cue) & picture.mask).any() for cue in CUES)
    assert 0.01 < picture.mask.mean() < 0.3


def test_networks_see_the_mean_of_two_by_two_pixels():
    image = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    image[0, :2, :2] = [[[0, 0, 8]] * 2, [[4, 0, 8]] * 2]
    np.testing.assert_array_equal(seen(image)[0, 0, 0], [2, 0, 8])


@pytest.mark.parametrize(
    ("strength", "expected"), [(1.0, (1.0, 0.0, 0.0)), (0.8, (0.8, 0.1, 0.1)), (0.5, (0.5, 0.25, 0.25))]
)
def test_the_weakest_strength_leaves_half_of_the_bond_in_the_other_classes(strength, expected):
    assert shares(strength) == pytest.approx(expected)


def test_exactly_the_wanted_share_of_each_class_gets_the_cue():
    has_cue = assigned((0.5, 0.25, 0.0), 8, np.random.default_rng(0)).reshape(3, 8)
    assert has_cue.sum(axis=1).tolist() == [4, 2, 0]


def test_there_are_as_many_clean_controls_as_planted_cells_and_three_kinds_of_them():
    kinds = [cell.kind for cell in plan([0, 1]) if cell.audit == MASKS]
    assert kinds.count(PLANTED) == len(kinds) / 2 == 2 * len(CUES) * 4
    assert set(kinds) == {PLANTED, ABSENT, IGNORED, FROZEN}


def test_the_first_cells_of_a_plan_hold_every_cue_at_its_strongest_with_three_controls():
    first = plan([1, 0])[: 4 * 2 * len(CUES)]
    kinds = {(cell.cue, cell.seed): [] for cell in first}
    for cell in first:
        kinds[cell.cue, cell.seed].append((cell.kind, cell.strength))
    assert set(kinds) == {(cue, seed) for cue in CUES for seed in (0, 1)}
    assert all(
        found == [(PLANTED, 1.0), (IGNORED, 1.0), (FROZEN, 1.0), (ABSENT, 1.0)] for found in kinds.values()
    )


@pytest.mark.parametrize(
    ("kind", "necessity", "sufficiency", "expected"),
    [
        (PLANTED, 0.30, 0.02, RELIANT),
        (PLANTED, 0.02, 0.30, RELIANT),
        (PLANTED, 0.10, 0.00, RELIANT),
        (IGNORED, 0.04, -0.04, CLEAN),
        (IGNORED, 0.07, 0.00, UNCLEAR),
        (PLANTED, -0.30, -0.20, MIRROR),
        (ABSENT, 0.30, 0.30, CLEAN),  # nothing in the photos is bound to a class
    ],
)
def test_what_a_class_truly_is_follows_from_toggling_the_cue(kind, necessity, sufficiency, expected):
    assert true_kind(kind, necessity, sufficiency) == expected


def test_mass_outside_and_shared_interest_are_means_over_the_class():
    rows = pd.DataFrame(
        {
            "label": ["a", "a", "b"],
            "mass_inside": [0.2, 0.6, 1.0],
            "shared_interest_case": ["sufficient context", "human aligned", "human aligned"],
        }
    )
    assert rules.mass_outside(rows) == pytest.approx({"a": 0.6, "b": 0.0})
    assert rules.shared_interest(rows) == pytest.approx({"a": 0.5, "b": 0.0})


def test_a_thing_found_on_every_photo_of_a_class_and_on_half_of_the_others_is_bound_by_a_half():
    labels = pd.Series({"1": "a", "2": "a", "3": "b", "4": "b"})
    confounds = pd.DataFrame(
        {"confound": "face", "sample_id": ["1", "2", "3", "4"], "present": [True, True, True, False]}
    )
    assert rules.bound_detections(confounds, labels) == pytest.approx({"a": 0.5, "b": 0.0})


def test_area_under_curve_counts_pairs_in_order_and_half_of_the_ties():
    assert rules.area_under_curve(np.array([3.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx(3.5 / 4)


def test_a_class_that_alone_is_bright_is_told_by_a_property():
    images = np.zeros((6, 8, 8, 3), np.float32)
    images[:3] = np.array([100, 110, 120], np.float32)[:, None, None, None]
    found = rules.property_of_class(images, np.array([0, 0, 0, 1, 1, 1]), ("a", "b"))
    assert found == pytest.approx({"a": 1.0, "b": 1.0})


def test_two_kinds_of_maps_separate_better_than_one():
    rng = np.random.default_rng(0)
    maps = rng.uniform(0, 0.1, (80, 8, 8))
    maps[:20, :4] += 1
    maps[20:40, 4:] += 1
    found = rules.heatmap_clusters(maps, np.repeat([0, 1], 40), ("two", "one"))
    assert found["two"] > 0.8
    assert found["one"] < 0.2


def test_kappa_of_a_worked_table():
    # 6 of 8 agree; chance agrees in 4/8 * 4/8 + 4/8 * 4/8 = 1/2; (3/4 - 1/2) / (1/2) = 1/2.
    first = [True, True, True, True, False, False, False, False]
    second = [True, True, True, False, True, False, False, False]
    assert cohens_kappa(first, second) == pytest.approx(0.5)


def test_the_cut_off_lets_no_more_than_the_allowed_share_through():
    clean = np.arange(40.0)
    cut = cut_off(clean, 0.05)
    assert cut == 37.0
    assert (clean > cut).mean() == 0.05


@pytest.mark.slow
def test_a_planted_and_a_control_cell_run_resume_and_report(tmp_path, capsys):
    planted.main(["--out", str(tmp_path), "--quick", "--confounds", "annotated", "corner_mark"])
    first = capsys.readouterr()
    assert first.err.count("truth") == 2
    assert "### Verdict against simpler rules" in first.out
    planted.main(["--out", str(tmp_path), "--quick", "--confounds", "annotated", "corner_mark"])
    again = capsys.readouterr()
    assert again.err == ""
    assert again.out == first.out
