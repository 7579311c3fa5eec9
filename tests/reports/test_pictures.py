import io

import numpy as np
import pytest
from PIL import Image

from reports import pictures
from reports.visualization import COLOR_MAPS, Visualization, colors, signed_strength

EVERY = {"clip_below_percentile": 0, "clip_above_percentile": 100}


def grey(height, width, level=128):
    return np.full((height, width, 3), level, np.uint8)


def two_squares(size=64):
    """A positive square on the left, a negative one on the right."""
    values = np.zeros((size, size))
    values[20:44, 6:26] = 1.0
    values[20:44, 38:58] = -1.0
    return values


@pytest.mark.parametrize("kind", ["pixels", "outlines", "regions"])
@pytest.mark.parametrize("overlay", ["none", "original", "grayscale", "mask_black"])
@pytest.mark.parametrize("values", [0.0, np.nan, -1.0])
def test_a_map_without_mass_of_the_polarity_shows_what_lies_under_it_alone(kind, overlay, values):
    picture = pictures.draw(
        grey(20, 30), np.full((20, 30), values), Visualization(type=kind, overlay_type=overlay)
    )
    expected = 128 if overlay in ("original", "grayscale") else 0
    np.testing.assert_array_equal(picture, grey(20, 30, expected))


@pytest.mark.parametrize("color_map", COLOR_MAPS)
def test_the_strongest_pixel_has_the_last_colour_of_its_side(color_map):
    values = np.array([[0.0, 1.0]])
    picture = pictures.draw(grey(1, 2), values, Visualization(color_map=color_map, overlay_type="none"))
    np.testing.assert_array_equal(picture[0, 1], colors(np.array(1.0), color_map))
    np.testing.assert_array_equal(picture[0, 0], 0)


@pytest.mark.parametrize("color_map", ["pink_green", "red_green", "pink_white_green"])
def test_signs_have_colours_of_their_own_where_both_are_drawn(color_map):
    options = Visualization(color_map=color_map, polarity="both", overlay_type="none", **EVERY)
    picture = pictures.draw(grey(64, 64), two_squares(), options).astype(int)
    assert picture[32, 16].argmax() == 1
    assert picture[32, 48].argmax() == 0


def test_an_outline_lies_on_the_border_of_its_area_and_leaves_the_rest_alone():
    options = Visualization(
        type="outlines", shade_within_outlines=False, color_map="green", overlay_type="original"
    )
    picture = pictures.draw(grey(64, 64, 0), two_squares(), options)
    line = picture[32, :, 1]
    assert line[:3].max() == line[10:22].max() == line[30:].max() == 0
    assert line[:10].argmax() in (5, 6)  # the square's first column is 6, its last one 25
    assert line[20:30].argmax() + 20 in (25, 26)
    assert line.max() > 150


def test_outlines_leave_out_small_areas_beside_a_large_one():
    values = two_squares()
    values[2:4, 60:62] = 1.0
    options = Visualization(type="outlines", color_map="green", overlay_type="none")
    picture = pictures.draw(grey(64, 64, 0), values, options)
    assert picture[:8, 54:].max() == 0
    assert picture[32, 16, 1] > 100


def test_regions_keep_their_borders_when_they_are_enlarged():
    values = np.array([[1.0, 2.0]])
    options = Visualization(
        type="regions", color_map="viridis", overlay_type="none", resized_shape=(20, 40), **EVERY
    )
    row = pictures.draw(grey(1, 2), values, options)[10].astype(int)
    assert len({tuple(colour) for colour in row[:20].tolist()}) == 1
    assert len({tuple(colour) for colour in row[21:].tolist()}) == 1
    assert row[20].sum() < row[25].sum()  # the seam


def test_a_map_that_reaches_beyond_the_photo_is_cut():
    options = Visualization(overlay_type="none", resized_shape=(8, 8), translate=(6, 4), **EVERY)
    picture = pictures.draw(grey(10, 10), np.ones((4, 4)), options).max(axis=-1)
    assert picture.shape == (10, 10)
    assert (picture[4:, 6:] > 0).all()
    assert picture[:4].max() == picture[:, :6].max() == 0


def test_by_mass_the_strongest_pixels_that_hold_the_share_are_drawn():
    values = np.array([[10.0, 5.0, 3.0, 1.0, 1.0]])
    drawn = [
        int((signed_strength(values, Visualization(clip_by="mass", clip_below_percentile=below)) > 0).sum())
        for below in (0, 10, 25, 50, 60)
    ]
    assert drawn == [5, 3, 2, 1, 1]  # of 20 in all: 20, 18, 15, 10 and 8 are wanted


def test_equal_pixels_are_drawn_alike_at_the_lower_percentile():
    values = np.array([[1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(signed_strength(values, Visualization()), 1)


def test_drawing_leaves_its_arguments_alone():
    image, values = grey(64, 64), two_squares()
    pictures.draw(image, values, Visualization(type="outlines", polarity="both", blur_sigma=0.0))
    assert (image == 128).all()
    np.testing.assert_array_equal(values, two_squares())


@pytest.mark.parametrize(("kind", "expected"), [("jpeg", "JPEG"), ("png", "PNG")])
def test_an_encoded_picture_is_a_file_of_its_format(kind, expected):
    found = Image.open(io.BytesIO(pictures.encode(grey(20, 30), kind)))
    assert (found.format, found.size) == (expected, (30, 20))
    np.testing.assert_allclose(np.asarray(found), 128, atol=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type": "dots"}, "type: expected one of pixels, outlines, regions; found 'dots'"),
        ({"overlay_multiplier": 1.1}, "overlay_multiplier: expected a number in"),
        ({"blur_sigma": -1.0}, "blur_sigma: expected pixels"),
        ({"resized_shape": (0, 3)}, "resized_shape"),
        ({"translate": (-1, 3)}, "translate"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        Visualization(**options)
