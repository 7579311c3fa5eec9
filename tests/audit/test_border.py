import csv

import numpy as np
import pytest
from PIL import Image
from skimage import data as pictures

import audit.confounds
from audit.confounds.border import Border
from audit.errors import ConfigError
from audit.plugins import find

SIDES = {"top": np.s_[:30], "bottom": np.s_[-30:], "left": np.s_[:, :30], "right": np.s_[:, -30:]}


def painted(image, *parts, colour=(0, 0, 0)):
    """The picture with those parts in one colour, and where they are."""
    image, mask = image.copy(), np.zeros(image.shape[:2], dtype=bool)
    for part in parts:
        image[part], mask[part] = colour, True
    return image, mask


def overlap(found, truth):
    return (found & truth).sum() / (found | truth).sum()


@pytest.mark.parametrize("side", SIDES)
def test_each_side_is_found_by_itself(side):
    image, truth = painted(pictures.chelsea(), SIDES[side], colour=(20, 40, 200))
    np.testing.assert_array_equal(Border()(image), truth)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 0, 0), (20, 200, 60)])
def test_a_frame_is_found_on_all_sides(colour):
    image, truth = painted(pictures.chelsea(), *SIDES.values(), colour=colour)
    np.testing.assert_array_equal(Border()(image), truth)


def test_a_letterbox_of_a_quarter_is_found():
    image, truth = painted(pictures.chelsea(), np.s_[:75], np.s_[-75:])
    np.testing.assert_array_equal(Border()(image), truth)


def test_sides_of_different_colours_and_depths_are_found():
    image, top = painted(pictures.coffee(), np.s_[:60], colour=(250, 250, 0))
    image, left = painted(image, np.s_[60:, :20], colour=(0, 0, 250))
    assert overlap(Border()(image), top | left) >= 0.98


def test_a_border_a_few_pixels_deep_is_found_and_one_deeper_than_the_limit_is_not():
    image, truth = painted(pictures.chelsea(), np.s_[:3], colour=(255, 0, 0))
    np.testing.assert_array_equal(Border()(image), truth)
    deep, _ = painted(pictures.chelsea(), np.s_[:120], colour=(255, 0, 0))  # 0.4 of the height
    assert not Border()(deep).any()


def test_a_drawn_frame_line_is_found_with_the_picture_on_both_sides():
    height, width = 300, 451
    image, outer = painted(pictures.chelsea(), np.s_[10 : height - 10, 10 : width - 10], colour=(0, 0, 255))
    inner = np.s_[14 : height - 14, 14 : width - 14]
    image[inner] = pictures.chelsea()[inner]
    outer[inner] = False
    assert overlap(Border()(image), outer) >= 0.9


def test_one_straight_line_across_the_picture_is_no_frame():
    image, _ = painted(pictures.chelsea(), np.s_[20:24], colour=(0, 0, 255))
    assert not Border()(image).any()


def test_a_product_on_a_plain_background_has_no_border():
    y, x = np.mgrid[:256, :256]
    plain = np.full((256, 256, 3), 250, dtype=np.uint8)
    disc, _ = painted(plain, np.hypot(y - 128, x - 128) < 90)
    box, _ = painted(plain, np.s_[100:160, 100:160])  # straight, but not along the whole side
    assert not Border()(disc).any()
    assert not Border()(box).any()
    assert not Border()(plain).any()


@pytest.mark.parametrize("name", ["brick", "grass", "gravel", "coffee", "chelsea", "astronaut"])
def test_photographs_have_no_border(name):
    image = getattr(pictures, name)()
    assert not Border()(image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)).any()


def test_a_large_picture_is_searched_small_and_the_mask_fits_it():
    large = np.kron(pictures.coffee(), np.ones((3, 3, 1), dtype=np.uint8))
    image, truth = painted(large, np.s_[:90], colour=(0, 0, 0))
    assert overlap(Border()(image), truth) >= 0.95


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (300, 5), (15, 15), (16, 16), (2, 3000)])
def test_small_and_narrow_pictures_are_searched_without_a_fault(shape):
    mask = Border()(np.full((*shape, 3), 127, dtype=np.uint8))
    assert mask.shape == shape
    assert not mask.any()


def test_the_picture_is_left_as_it_is():
    image, _ = painted(pictures.coffee(), SIDES["top"])
    before = image.copy()
    Border()(image)
    np.testing.assert_array_equal(image, before)


def test_it_is_a_choice_whose_version_names_what_changes_the_findings():
    assert find(audit.confounds, "border") is Border
    assert Border().version != Border(widest=0.2).version
    assert Border().confound == "border"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"widest": 0.5}, r"widest must be in \(0, 0.5\), got 0.5"),
        ({"narrowest": 0}, "narrowest must be at least 1"),
        ({"inside": 1}, r"inside must be in \(0, 1\)"),
        ({"longest_side": 10}, "longest_side must be at least 32"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ConfigError, match=message):
        Border(**parameters)


@pytest.mark.data
def test_frames_of_real_photographs_are_found_and_few_are_imagined(data):
    folder = data / "garments"
    with (folder / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"][::4]
    photos = [np.array(Image.open(folder / row["path"]).convert("RGB")) for row in rows]
    framed = [painted(photo, np.s_[:12], np.s_[-12:], np.s_[:, :12], np.s_[:, -12:]) for photo in photos]
    assert len(photos) >= 70
    assert np.mean([overlap(Border()(image), truth) >= 0.9 for image, truth in framed]) >= 0.9
    assert np.mean([Border()(photo).any() for photo in photos]) <= 0.03
