import math

import numpy as np
import pytest

from audit.region_words import RegionFacts, colour_name, describe, describe_region, place_name, size_name

CORNERS = [(0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9)]
COLOURS = [(0.9, 0.1, 0.1), (0.1, 0.7, 0.2), (0.1, 0.2, 0.8), (0.05, 0.05, 0.05)]


def test_the_facts_of_a_region_by_hand():
    image = np.zeros((10, 20, 3))
    image[2:6, 4:12] = (1.0, 0.5, 0.0)
    box = np.zeros((10, 20), dtype=bool)
    box[2:6, 4:12] = True
    facts = describe_region(image, box)
    assert facts.centre == (0.4, 0.4)
    assert facts.size == 32 / 200
    assert facts.colour == (1.0, 0.5, 0.0)
    assert facts.roughness == 0
    assert math.isnan(facts.direction)


def test_stripes_step_one_way_only():
    image = np.repeat((np.arange(20) % 2).astype(float)[None, :, None], 10, axis=0).repeat(3, axis=2)
    facts = describe_region(image, np.ones((10, 20), dtype=bool))
    assert facts.roughness == pytest.approx(0.5)
    assert facts.direction == 1.0


def test_an_empty_region_is_a_wrong_call():
    with pytest.raises(ValueError, match="at least one pixel"):
        describe_region(np.zeros((4, 4, 3)), np.zeros((4, 4), dtype=bool))


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((0.05, 0.05, 0.05), "black"),
        ((0.95, 0.95, 0.93), "white"),
        ((0.5, 0.5, 0.5), "grey"),
        ((0.9, 0.1, 0.1), "red"),
        ((0.9, 0.1, 0.2), "red"),
        ((0.1, 0.7, 0.2), "green"),
        ((0.1, 0.2, 0.8), "blue"),
        ((0.95, 0.9, 0.1), "yellow"),
        ((0.95, 0.55, 0.1), "orange"),
        ((0.45, 0.3, 0.15), "brown"),
        ((1.0, 0.7, 0.75), "pink"),
        ((0.5, 0.1, 0.7), "purple"),
    ],
)
def test_colours_have_their_usual_names(colour, name):
    assert colour_name(colour) == name


@pytest.mark.parametrize(
    ("centre", "name"),
    [((0.1, 0.1), "top left"), ((0.5, 0.5), "centre"), ((0.5, 0.9), "bottom"), ((1.0, 0.5), "right")],
)
def test_places_are_nine_fields(centre, name):
    assert place_name(*centre) == name


@pytest.mark.parametrize(
    ("share", "name"), [(0.005, "tiny"), (0.01, "small"), (0.05, "medium"), (0.2, "large")]
)
def test_sizes_have_words(share, name):
    assert size_name(share) == name


def test_a_description_reads_like_a_thing():
    facts = [RegionFacts((0.9, 0.9), 0.02, (0.9, 0.1, 0.1), 0.1, 0.9)] * 4
    assert describe(facts, [None] * 4) == "small red striped patch at the bottom right"
    assert (
        describe(facts, ["face", "face", None, None])
        == "small red striped patch at the bottom right beside the face"
    )


def test_what_regions_do_not_share_is_left_out_but_that_places_vary_is_said():
    facts = [
        RegionFacts(corner, 0.3, colour, 0.1, 0.9) for corner, colour in zip(CORNERS, COLOURS, strict=True)
    ]
    assert describe(facts, ["face", None, None, None]) == "large striped patch in varying places"
