import numpy as np
import pytest

from audit.attributed_regions import (
    RegionSettings,
    crop,
    free_pixels,
    heavy_parts,
    named_thing,
    regions_of,
    smoothed,
    snapped,
    thing_beside,
)
from audit.types import BACKGROUND, FOREGROUND, IGNORE

SIDE = 20


def box(top, bottom, left, right, side=SIDE):
    mask = np.zeros((side, side), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def test_the_heaviest_parts_come_first_and_hold_what_they_must():
    mass = np.zeros((SIDE, SIDE))
    mass[0:2, 0:2], mass[10:13, 10:13] = 5.0, 3.0
    heavy, light = heavy_parts(mass, RegionSettings(held=0.9))
    np.testing.assert_array_equal(heavy, box(10, 13, 10, 13))  # mass 27
    np.testing.assert_array_equal(light, box(0, 2, 0, 2))  # mass 20
    # The corner's four pixels alone hold 20 of 47.
    (only,) = heavy_parts(mass, RegionSettings(held=0.4))
    np.testing.assert_array_equal(only, light)
    assert heavy_parts(np.zeros((SIDE, SIDE)), RegionSettings()) == []


def test_near_the_object_a_coarse_map_says_nothing():
    foreground = np.full((SIDE, SIDE), BACKGROUND, dtype=np.uint8)
    foreground[:, :4] = FOREGROUND
    foreground[:, -2:] = IGNORE
    # A map of 5 columns has cells of 4 pixels: two pixels beside the object are left out.
    np.testing.assert_array_equal(free_pixels(foreground, (5, 5)), box(0, SIDE, 6, 18))
    np.testing.assert_array_equal(free_pixels(foreground, (SIDE, SIDE)), box(0, SIDE, 4, 18))
    assert free_pixels(np.full((SIDE, SIDE), IGNORE, dtype=np.uint8), (5, 5)).all()


def test_speckle_is_joined_and_a_coarse_map_is_left_as_it_is():
    mass = np.zeros((64, 64))
    mass[20:40:2, 20:40:2] = 1.0  # every second pixel of every second row
    assert heavy_parts(mass, RegionSettings(held=1.0)) == []  # pixels of 1/4096, below the smallest part
    (joined,) = heavy_parts(smoothed(mass, (64, 64)), RegionSettings(held=0.8))
    assert joined[22:38, 22:38].all()
    assert smoothed(mass, (64, 64)).sum() == pytest.approx(100)
    assert smoothed(mass, (32, 32)) is mass


def test_a_blob_becomes_the_segment_in_it_and_the_segment_it_is_in():
    segments = np.zeros((SIDE, SIDE), dtype=int)
    segments[box(4, 8, 4, 8)] = 1
    mass = np.ones((SIDE, SIDE))
    mass[box(4, 8, 4, 8)] = 3.0
    np.testing.assert_array_equal(snapped(box(3, 10, 3, 10), mass, segments), box(4, 8, 4, 8))
    np.testing.assert_array_equal(snapped(box(4, 6, 4, 7), mass, segments), box(4, 8, 4, 8))
    # A blob of plain ground stays as it is, and so does one that the segment in it explains little of.
    np.testing.assert_array_equal(snapped(box(12, 16, 12, 16), mass, segments), box(12, 16, 12, 16))
    np.testing.assert_array_equal(snapped(box(0, 12, 0, 12), mass, segments), box(0, 12, 0, 12))


def test_a_patch_under_a_coarse_map_is_a_region_with_its_numbers_and_looks():
    image = np.full((64, 64, 3), 0.5, dtype=np.float32)
    patch = box(40, 50, 44, 54, side=64)
    image[patch] = (0.9, 0.1, 0.1)
    foreground = np.full((64, 64), BACKGROUND, dtype=np.uint8)
    foreground[:20, :20] = FOREGROUND
    mass = np.zeros((64, 64), dtype=np.float32)
    mass[38:54, 42:58] = 1.0  # a cell and a half around the patch
    mass[:20, :20] = 1.0
    (found,) = regions_of(7, image, mass, foreground, {}, (8, 8), RegionSettings())
    # The median filter takes the four pixels at the patch's corners.
    assert patch[found.mask].all()
    assert found.mask.sum() == 96
    assert found.sample == 7
    assert found.mass_share == 96 / (256 + 400)
    assert found.area_share == 96 / 64**2
    assert found.facts.colour == pytest.approx((0.9, 0.1, 0.1))
    assert (found.named, found.beside) == (None, None)


def test_a_map_without_mass_outside_of_the_object_has_no_regions():
    foreground = np.full((64, 64), BACKGROUND, dtype=np.uint8)
    foreground[10:30, 10:30] = FOREGROUND
    mass = (foreground == FOREGROUND).astype(np.float32)
    image = np.zeros((64, 64, 3), dtype=np.float32)
    assert regions_of(0, image, mass, foreground, {}, (64, 64), RegionSettings()) == []


def test_a_region_has_the_name_of_the_thing_that_it_covers():
    thing = box(5, 10, 5, 10)
    assert named_thing(box(5, 10, 5, 10), {"logo": thing}) == "logo"
    assert named_thing(box(6, 8, 6, 8), {"logo": thing}) == "logo"  # within it
    assert named_thing(box(5, 15, 5, 15), {"logo": thing}) == "logo"  # four times as large, and holds it all
    assert named_thing(box(4, 15, 5, 15), {"logo": thing}) is None  # more than four times as large
    assert named_thing(box(9, 13, 5, 10), {"logo": thing}) is None  # a quarter of it
    assert named_thing(box(5, 10, 5, 10), {"a": thing, "b": box(5, 10, 5, 9)}) == "a"
    assert named_thing(thing, {}) is None


def test_a_thing_is_beside_a_region_up_to_a_tenth_of_the_longer_side():
    region = box(5, 10, 5, 10)
    assert thing_beside(region, {"face": box(5, 10, 11, 13), "hand": box(5, 10, 10, 13)}) == "hand"
    assert thing_beside(region, {"face": box(5, 10, 11, 13)}) == "face"  # two pixels off
    assert thing_beside(region, {"face": box(5, 10, 12, 13), "hand": box(0, 0, 0, 0)}) is None


def test_a_crop_shows_the_region_and_not_the_object():
    image = np.full((SIDE, SIDE, 3), 0.5, dtype=np.float32)
    image[box(5, 10, 5, 10)] = (1.0, 0.0, 0.0)
    image[box(5, 10, 10, 15)] = (0.0, 1.0, 0.0)
    foreground = np.where(box(5, 10, 8, 15), FOREGROUND, BACKGROUND).astype(np.uint8)
    seen = crop(image, box(5, 10, 5, 8) | box(5, 6, 5, 12), np.full_like(foreground, BACKGROUND))
    assert seen.shape == image.shape
    np.testing.assert_allclose(seen[:, :10], np.broadcast_to([1.0, 0.0, 0.0], (SIDE, 10, 3)))
    np.testing.assert_allclose(seen[:, -4:], np.broadcast_to([0.0, 1.0, 0.0], (SIDE, 4, 3)))
    without = crop(image, box(5, 10, 5, 8), foreground)
    np.testing.assert_allclose(without, np.broadcast_to([1.0, 0.0, 0.0], (SIDE, SIDE, 3)))


def test_a_crop_of_a_few_pixels_takes_its_surroundings_along_and_stays_in_the_picture():
    image = np.zeros((100, 100, 3), dtype=np.float32)
    image[..., 0] = np.arange(100)[None, :] / 100
    background = np.full((100, 100), BACKGROUND, dtype=np.uint8)
    corner = crop(image, box(0, 2, 98, 100, side=100), background)
    # Columns 90 to 99 over a hundred steps.
    assert corner[0, 0, 0] == pytest.approx(0.90)
    assert corner[0, 49, 0] == pytest.approx((90 + 4.95 - 0.5) / 100)
    assert corner[0, -1, 0] == pytest.approx(0.99)


@pytest.mark.parametrize(
    ("parameters", "message"), [({"held": 0}, r"held must be in \(0, 1\]"), ({"n_largest": 0}, "at least 1")]
)
def test_settings_out_of_range_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        RegionSettings(**parameters)
