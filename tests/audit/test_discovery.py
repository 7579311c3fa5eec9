import numpy as np
import pytest

from audit.attributed_regions import AttributedRegion
from audit.discovery import UNCLUSTERED, DiscoverySettings, cluster, discover
from audit.region_words import RegionFacts

SETTINGS = DiscoverySettings()
RED_CORNER = RegionFacts((0.9, 0.9), 0.02, (0.9, 0.1, 0.1), 0.001, 0.5)
GROUND = RegionFacts((0.5, 0.5), 0.1, (0.5, 0.5, 0.5), 0.05, 0.5)
N = 40
"""Samples of the class, 0 to 39, and of others, 40 to 79."""
IS_OF_CLASS = np.arange(2 * N) < N
PIXEL = np.ones((1, 1), dtype=bool)


def region(sample, facts=GROUND, mass=0.1, area=0.1, named=None):
    return AttributedRegion(sample, PIXEL, mass, area, facts, named, None)


def planted_world(seed=0, in_class=30, elsewhere=0, mass=0.3, area=0.02, named=None):
    """Regions and embeddings: each sample has one like no others, and some of either kind share a red corner."""
    rng = np.random.default_rng(seed)
    mark = rng.normal(size=32)
    showing = [*range(in_class), *range(N, N + elsewhere)]
    regions = [region(sample) for sample in range(2 * N)]
    regions += [region(sample, RED_CORNER, mass, area, named) for sample in showing]
    return regions, np.concatenate(
        [rng.normal(size=(2 * N, 32)), mark + 0.1 * rng.normal(size=(len(showing), 32))]
    )


def found_in(world, settings=SETTINGS):
    return discover(*world, IS_OF_CLASS, settings)


def test_a_planted_mark_is_found_with_its_numbers_and_words():
    (found,) = found_in(planted_world())
    assert found.name == "small red smooth patch at the bottom right"
    assert found.known_as is None
    assert found.members == tuple(range(2 * N, 2 * N + 30))
    assert (found.share.mean, found.elsewhere.mean, found.association.mean) == (0.75, 0, 0.75)
    assert found.association.low > 0.4
    assert found.lift == pytest.approx(15)
    assert found.p_value < 1e-6
    assert len(found.exemplars) == 6
    assert set(found.exemplars) <= set(range(30))


def test_what_shows_in_other_classes_counts_against_it():
    (found,) = found_in(planted_world(elsewhere=10))
    assert (found.share.mean, found.elsewhere.mean) == (0.75, 0.25)
    assert found.association.mean == 0.5
    assert len(found.members) == 40
    assert found_in(planted_world(elsewhere=25)) == ()  # 0.75 - 0.625 is below 0.2


def test_a_thing_that_has_a_name_keeps_it():
    (found,) = found_in(planted_world(named="logo"))
    assert found.known_as == "logo"
    assert found.name == "small red smooth patch at the bottom right"


def test_two_clusters_that_words_do_not_tell_apart_are_one_confound():
    # Half of the class each, by two embeddings that have nothing in common.
    rng = np.random.default_rng(0)
    marks = rng.normal(size=(2, 32))
    regions = [region(sample, RED_CORNER, 0.3, 0.02) for sample in range(30)]
    embeddings = [marks[sample % 2] + 0.1 * rng.normal(size=32) for sample in range(30)]
    elsewhere = [region(sample) for sample in range(N, 2 * N)]
    embeddings += list(rng.normal(size=(N, 32)))
    (found,) = discover([*regions, *elsewhere], np.stack(embeddings), IS_OF_CLASS, SETTINGS)
    assert set(range(30)) <= set(found.members)
    assert found.share.mean == 0.75
    assert found.elsewhere.mean <= 0.05  # a stray region may lie near one of them


@pytest.mark.parametrize("seed", range(5))
def test_a_mark_that_is_in_both_classes_alike_is_no_confound(seed):
    world = planted_world(seed, in_class=15, elsewhere=15)
    assert (cluster(world[1], SETTINGS)[2 * N :] != UNCLUSTERED).sum() >= 27
    assert found_in(world) == ()


@pytest.mark.parametrize("seed", range(5))
def test_regions_without_structure_give_no_confound(seed):
    embeddings = np.random.default_rng(seed).normal(size=(2 * N, 32))
    regions = [region(sample, mass=0.3, area=0.02) for sample in range(2 * N)]
    assert discover(regions, embeddings, IS_OF_CLASS, SETTINGS) == ()


@pytest.mark.parametrize(
    ("mass", "area"), [(0.02, 0.02), (0.14, 0.1), (0.06, 0.02)], ids=["none", "little lift", "little excess"]
)
def test_a_recurring_region_that_hardly_draws_mass_is_no_confound(mass, area):
    assert found_in(planted_world(mass=mass, area=area)) == ()


def test_a_mark_in_too_few_samples_of_its_class_is_no_confound():
    assert found_in(planted_world(in_class=10)) == ()  # 10 of 40 is below 0.3


def test_without_regions_or_without_others_nothing_is_found():
    assert discover([], np.zeros((0, 32)), IS_OF_CLASS, SETTINGS) == ()
    regions, embeddings = planted_world()
    assert discover(regions, embeddings, np.ones(2 * N, dtype=bool), SETTINGS) == ()


def test_a_sample_counts_once_however_many_regions_it_has():
    regions, embeddings = planted_world()
    twice = [*regions, *regions[2 * N :]], np.concatenate([embeddings, embeddings[2 * N :]])
    (found,) = found_in(twice)
    assert found.share.mean == 0.75
    assert len(found.members) == 60


def test_at_most_so_many_are_kept():
    assert found_in(planted_world(), DiscoverySettings(most=0)) == ()


def test_clusters_do_not_depend_on_the_length_of_embeddings_and_repeat_themselves():
    _, embeddings = planted_world()
    scaled = embeddings * np.linspace(1, 9, len(embeddings))[:, None]
    np.testing.assert_array_equal(cluster(embeddings, SETTINGS), cluster(scaled, SETTINGS))


def test_regions_that_are_all_the_same_are_one_cluster():
    assert list(cluster(np.tile([3.0, 4.0], (12, 1)), SETTINGS)) == [0] * 12
    assert list(cluster(np.zeros((12, 2)), SETTINGS)) == [0] * 12


def test_fewer_regions_than_two_clusters_need_stay_unclustered():
    assert list(cluster(np.eye(9), SETTINGS)) == [UNCLUSTERED] * 9


@pytest.mark.parametrize(
    ("parameters", "message"), [({"smallest_cluster": 1}, "at least 2"), ({"n_components": 0}, "at least 1")]
)
def test_limits_out_of_range_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        DiscoverySettings(**parameters)
