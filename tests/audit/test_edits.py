"""Crops that keep the object and leave a thing, on masks drawn by hand, and against trying every rectangle."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from audit.bonds import bonds
from audit.edits import can_reach, crop_text, crop_without, lies_on, recolourings, safe_crop
from audit.tables import PROPERTIES, frame


def masks(*lines: str) -> tuple[np.ndarray, np.ndarray]:
    """o is the object, x the thing."""
    drawn = np.array([list(line) for line in lines])
    return drawn == "o", drawn == "x"


def window(*lines: str) -> tuple[int, int, int, int] | None:
    crop = safe_crop(*masks(*lines))
    return None if crop is None else (crop.x0, crop.y0, crop.x1, crop.y1)


def test_a_face_above_a_shirt_is_cut_off_above_and_one_beside_it_beside():
    assert window(".xx..", ".....", ".ooo.", ".ooo.") == (0, 1, 5, 4)
    assert window(".....", "xooo.", ".ooo.") == (1, 0, 5, 3)
    # To the right of it 2 x 4 pixels stay, below it 4 x 2: the larger of the two is 3 x 3 below.
    assert window("xx..", "...o", "...o", "....") == (0, 1, 4, 4)


def test_things_on_several_sides_leave_the_largest_of_all_combinations():
    # Two parts above: between them 4 x 4 pixels stay, below both 6 x 2, below one and beside the other 5 x 3.
    assert window("x.....", ".....x", "..oo..", "..oo..") == (1, 0, 5, 4)
    assert window("x....", "x....", "xoo.x", "xoo..") == (1, 0, 4, 4)


def test_what_lies_in_a_frame_stays_within_it():
    # The frame is one part whose box is the whole picture.
    assert window("xxxxx", "x...x", "x.o.x", "x...x", "xxxxx") == (1, 1, 4, 4)


def test_where_the_thing_lies_across_the_object_there_is_no_crop():
    assert window("oox", "xoo") is None
    assert window("ooxoo") is None
    assert window("...", "..x") is None  # nothing is labelled


def test_a_tenth_of_the_object_may_go_and_no_pixel_more():
    # One of the object's eleven pixels lies beside the thing; without its row ten stay.
    beside = safe_crop(*masks("ox", *["oo"] * 5))
    assert beside is not None
    assert (beside.y0, beside.held) == (1, 10 / 11)
    assert window("ox", *["oo"] * 4) is None  # 1 of 9 would go
    assert window("oox", "ooo", "ooo", "ooo") is None  # 2 of 11 would go


@pytest.mark.parametrize("seed", range(60))
def test_no_rectangle_that_may_be_kept_is_better(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(4, 10, 2)
    labelled = np.zeros((height, width), bool)
    y, x = rng.integers(0, height - 2), rng.integers(0, width - 2)
    labelled[y : y + rng.integers(1, 5), x : x + rng.integers(1, 5)] = True
    thing = (rng.random((height, width)) < rng.choice([0.03, 0.1, 0.2])) & ~labelled
    best = (0, 0)
    for (y0, y1), (x0, x1) in itertools.product(
        itertools.combinations(range(height + 1), 2), itertools.combinations(range(width + 1), 2)
    ):
        if not thing[y0:y1, x0:x1].any():
            best = max(best, (int(labelled[y0:y1, x0:x1].sum()), (y1 - y0) * (x1 - x0)))
    crop, n_object = safe_crop(labelled, thing), labelled.sum()
    if 10 * best[0] < 9 * n_object:
        assert crop is None
    else:
        assert crop is not None
        assert not crop.of(thing).any()
        assert (crop.of(labelled).sum(), crop.of(thing).size) == best
        assert crop.held == best[0] / n_object
        assert crop.keeps == pytest.approx(best[1] / thing.size)


def test_a_thing_goes_with_its_margin_where_that_leaves_the_object():
    # A square of 4 is 4 thick: 0.3 of that, one pixel, goes with it.
    far = masks(*["xxxx"] * 4, "....", "....", *["oooo"] * 4)
    crop = crop_without(*far)
    assert crop is not None
    assert (crop.y0, crop.y1, crop.held) == (5, 10, 1.0)
    # Beside an object of which a row less would be too little, the thing alone goes.
    near = masks(*["xxxx"] * 4, "oo..", "oooo")
    crop = crop_without(*near)
    assert crop is not None
    assert (crop.y0, crop.y1, crop.held) == (4, 6, 1.0)


def test_a_thing_that_lies_on_the_object_cannot_be_cropped_away():
    labelled, thing = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    labelled[5:] = True
    thing[0:5, 0:4] = True
    assert not lies_on(labelled, thing)
    thing[5, 0:2] = True  # 2 of 22
    assert not lies_on(labelled, thing)
    thing[5, 0:4] = True  # 4 of 24
    assert lies_on(labelled, thing)


@pytest.mark.parametrize(
    ("name", "own", "others", "can"),
    [
        ("brightness", 0.2, 0.6, True),
        ("brightness", 0.6, 0.2, True),
        ("JPEG blockiness", 0.1, 1.5, True),
        ("JPEG blockiness", 1.5, 0.1, False),  # compression cannot be undone
        ("sharpness", 0.9, 0.3, True),
        ("sharpness", 0.3, 0.9, False),  # nor can a blur
    ],
)
def test_what_pixels_cannot_undo_is_not_asked_for(name, own, others, can):
    measured = [
        (f"{label}{n}", label, value + 0.01 * n)
        for label, value in (("a", own), ("b", others))
        for n in (0, 1)
    ]
    predictions = pd.DataFrame(
        [(i, label, label) for i, label, _ in measured], columns=["sample_id", "label", "predicted"]
    )
    rows = [{"sample_id": i, "property": name, "value": value, "category": None} for i, _, value in measured]
    tables = {"predictions": predictions, "properties": frame(PROPERTIES, rows)}
    (bond,) = (one for one in bonds(tables, 0.95) if one.label == "a")
    assert can_reach(bond) is can


def test_the_sentence_says_which_part_stays_and_what_of_the_object():
    crop = safe_crop(*masks("xx..", "....", "oooo", "oooo"))
    assert crop is not None
    assert crop.box == (0, 0.25, 1, 1)
    assert (
        crop_text(crop, "t-shirt", "face")
        == "Crop to the lower 75 % of the photo: the t-shirt stays whole, the face goes."
    )
    crop = safe_crop(*masks(".....", ".o.x.", ".o...", "xx..."))
    assert crop is not None
    assert crop_text(crop, "shoe", "text").startswith(
        "Crop to the photo without its right 40 % and its lower 25 %"
    )
    crop = safe_crop(*masks("ox", *["oo"] * 5))
    assert crop is not None
    assert "91 % of the dress stay, the face goes" in crop_text(crop, "dress", "face")


def test_photos_with_the_class_s_own_value_are_brought_to_the_others_value_the_furthest_first():
    own, others = [0.9, 0.5, 0.8, 0.2, math.nan], [0.2, 0.3, 0.1, 0.2, 0.25]
    rows = [
        (f"{label}{number}", label, value)
        for label, values in (("a", own), ("b", others))
        for number, value in enumerate(values)
    ]
    predictions = pd.DataFrame(
        [(name, label, label) for name, label, _ in rows], columns=["sample_id", "label", "predicted"]
    )
    properties = pd.DataFrame(
        [(name, "brightness", value, None) for name, _, value in rows],
        columns=["sample_id", "property", "value", "category"],
    )
    bond = next(
        b for b in bonds({"predictions": predictions, "properties": properties}, 0.95) if b.label == "a"
    )
    assert (bond.own, bond.others) == (
        0.8,
        0.2,
    )  # of a: those above 0.2; the middle is 0.5, which is on neither side
    edits = list(recolourings(bond, properties[:5]))
    assert [(edit["sample_id"], edit["value"], edit["target"]) for edit in edits] == [
        ("a0", 0.9, 0.2),
        ("a2", 0.8, 0.2),
    ]
    assert edits[0]["reason"].startswith("Lower the brightness outside the object from 0.9 to 0.2")
