import math

import numpy as np
import pytest

from audit.discovery import (
    UNCLUSTERED,
    AttributedRegion,
    DiscoverySettings,
    RegionFacts,
    attributed_regions,
    cluster,
    colour_name,
    describe,
    describe_region,
    discover,
    place_name,
    size_name,
)
from audit.types import BACKGROUND, FOREGROUND, IGNORE

SETTINGS = DiscoverySettings()
RED_CORNER = RegionFacts((0.9, 0.9), 0.02, (0.9, 0.1, 0.1), 0.001, 0.5)
GROUND = RegionFacts((0.5, 0.5), 0.1, (0.5, 0.5, 0.5), 0.05, 0.5)
N = 40
"""Samples of each of two classes: 0 to 39 are class 0, 40 to 79 class 1."""
LABELS = np.repeat([0, 1], N)


def region(sample, embedding, facts=GROUND, mass=0.1, area=0.1, overlaps=None):
    return AttributedRegion(sample, int(LABELS[sample]), embedding, mass, area, facts, overlaps or {})


def planted_world(seed=0, in_class=30, mass=0.3, area=0.02):
    """Every sample has a region like no others; the first `in_class` of class 0 also share a red corner."""
    rng = np.random.default_rng(seed)
    mark = rng.normal(size=32)
    regions = [region(sample, rng.normal(size=32)) for sample in range(2 * N)]
    regions += [
        region(sample, mark + 0.1 * rng.normal(size=32), RED_CORNER, mass, area, {"logo": 0.0})
        for sample in range(in_class)
    ]
    return regions


def test_a_planted_mark_is_found_in_its_class_with_its_numbers_and_words():
    (found,) = discover(planted_world(), LABELS, SETTINGS)
    assert found.label == 0
    assert found.name == "bottom right, small, red, smooth"
    assert found.samples == tuple(range(30))
    assert found.share.mean == 0.75
    assert found.association.mean == 0.75
    assert found.association.low > 0.4
    assert found.lift == pytest.approx(15)
    assert found.q_value < 1e-6
    assert len(found.exemplars) == 6
    assert set(found.exemplars) <= set(range(30))


@pytest.mark.parametrize("seed", range(5))
def test_a_mark_that_is_in_both_classes_alike_is_no_confound(seed):
    rng = np.random.default_rng(seed)
    regions = planted_world(seed, in_class=30)
    # The same regions on shuffled samples: the cluster is there, its bond to a class is not.
    shuffled = rng.permutation(2 * N)
    mixed = [
        AttributedRegion(
            int(shuffled[one.sample]), 0, one.embedding, one.mass_share, one.area_share, one.facts, {}
        )
        for one in regions
    ]
    assert (cluster(np.stack([one.embedding for one in mixed]), SETTINGS) != UNCLUSTERED).sum() >= 30
    assert discover(mixed, LABELS, SETTINGS) == ()


@pytest.mark.parametrize("seed", range(5))
def test_regions_without_structure_give_no_confound(seed):
    rng = np.random.default_rng(seed)
    assert discover([region(sample, rng.normal(size=32)) for sample in range(2 * N)], LABELS, SETTINGS) == ()


def test_a_recurring_region_without_more_mass_than_area_is_no_confound():
    assert discover(planted_world(mass=0.02, area=0.02), LABELS, SETTINGS) == ()


def test_a_mark_in_too_few_samples_of_its_class_is_no_confound():
    assert discover(planted_world(in_class=10), LABELS, SETTINGS) == ()  # 10 of 40 is below 0.3


def test_without_regions_or_with_one_class_nothing_is_found():
    assert discover([], LABELS, SETTINGS) == ()
    one_class = [one for one in planted_world() if one.sample < N]
    assert discover(one_class, np.zeros(N, dtype=int), SETTINGS) == ()


def test_a_sample_counts_once_however_many_regions_it_has():
    regions = planted_world()
    (found,) = discover([*regions, *(one for one in regions if one.facts == RED_CORNER)], LABELS, SETTINGS)
    assert found.share.mean == 0.75
    assert found.samples == tuple(range(30))


def test_clusters_do_not_depend_on_the_length_of_embeddings_and_repeat_themselves():
    embeddings = np.stack([one.embedding for one in planted_world()])
    scaled = embeddings * np.linspace(1, 9, len(embeddings))[:, None]
    np.testing.assert_array_equal(cluster(embeddings, SETTINGS), cluster(scaled, SETTINGS))


def test_fewer_regions_than_two_clusters_need_stay_unclustered():
    assert list(cluster(np.eye(9), SETTINGS)) == [UNCLUSTERED] * 9


def test_the_most_attributed_parts_outside_the_foreground_come_heaviest_first():
    mass, foreground = np.zeros((20, 20)), np.full((20, 20), BACKGROUND, dtype=np.uint8)
    mass[0:2, 0:2], mass[10:13, 10:13], mass[18:20, 18:20] = 5.0, 3.0, 100.0
    foreground[18:, 18:] = FOREGROUND
    heavy, light = attributed_regions(mass, foreground, held=0.9)
    assert heavy.sum() == 9  # mass 27
    assert heavy[11, 11]
    assert light.sum() == 4  # mass 20
    assert light[1, 1]
    # The corner's four pixels alone hold 20 of 47.
    (only,) = attributed_regions(mass, foreground, held=0.4)
    np.testing.assert_array_equal(only, light)


def test_without_annotation_all_counts_as_outside_and_without_mass_nothing_does():
    mass, unknown = np.zeros((20, 20)), np.full((20, 20), IGNORE, dtype=np.uint8)
    assert attributed_regions(mass, unknown) == []
    mass[5:8, 5:8] = 1
    assert attributed_regions(mass, unknown)[0].sum() == 9
    with pytest.raises(ValueError, match="one shape"):
        attributed_regions(mass, unknown[:10])


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


def test_a_named_thing_under_the_regions_leads_and_what_varies_is_left_out():
    corners = [(0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9)]
    colours = [(0.9, 0.1, 0.1), (0.1, 0.7, 0.2), (0.1, 0.2, 0.8), (0.05, 0.05, 0.05)]
    members = [
        region(
            index,
            np.zeros(2),
            RegionFacts(corners[index], 0.3, colours[index], 0.1, 0.9),
            overlaps={"hanger": 0.6},
        )
        for index in range(4)
    ]
    assert describe(members) == "on the hanger, anywhere, large, striped"
