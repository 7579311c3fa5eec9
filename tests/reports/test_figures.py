import io

import numpy as np
import pytest
from PIL import Image

from audit.types import BACKGROUND, FOREGROUND, IGNORE
from reports import figures
from reports.figures import Visualization
from reports.visualization import FAINTEST

EVERYTHING = {"clip_below_percentile": 0, "clip_above_percentile": 100}


def grey_image(height, width, level=128):
    return np.full((height, width, 3), level, np.uint8)


def nowhere(height, width):
    return np.full((height, width), BACKGROUND, np.uint8)


def left_half(size):
    mask = nowhere(size, size)
    mask[:, : size // 2] = FOREGROUND
    return mask


@pytest.mark.parametrize(
    ("shape", "expected"), [((224, 224), (320, 320)), ((32, 64), (160, 320)), ((640, 480), (320, 240))]
)
def test_the_long_side_of_a_picture_is_the_display_size(shape, expected):
    assert figures.photo(grey_image(*shape), nowhere(*shape), {}).shape == (*expected, 3)


@pytest.mark.parametrize(
    ("polarity", "expected"),
    [("positive", [[0, 0, 0.5, 1]]), ("negative", [[-1, 0, 0, 0]]), ("both", [[-1, 0, 0.25, 0.5]])],
)
def test_polarity_chooses_the_sign_that_is_drawn(polarity, expected):
    attribution = np.array([[-4.0, 0.0, 1.0, 2.0]])
    strength = figures.signed_strength(attribution, Visualization(polarity=polarity, **EVERYTHING))
    np.testing.assert_allclose(strength, expected)


def test_what_lies_below_the_lower_percentile_is_not_drawn_and_above_the_upper_is_strongest():
    attribution = np.arange(1.0, 102.0).reshape(1, 101)
    strength = figures.signed_strength(
        attribution, Visualization(clip_below_percentile=50, clip_above_percentile=75)
    )
    np.testing.assert_allclose(strength[0, [0, 49, 50, 60, 75, 100]], [0, 0, FAINTEST, 0.4, 1, 1])


def test_mass_on_fewer_pixels_than_the_upper_percentile_leaves_out_is_drawn():
    attribution = np.zeros((100, 100))
    attribution[7, 9] = 3.0
    strength = figures.signed_strength(attribution, Visualization())
    assert strength[7, 9] == 1
    assert strength.sum() == 1


@pytest.mark.parametrize("values", [0.0, np.nan, -1.0])
def test_a_map_without_positive_mass_draws_nothing(values):
    image, attribution = grey_image(32, 32), np.full((32, 32), values)
    drawn = figures.overlay(image, attribution, nowhere(32, 32), {}, Visualization(overlay_type="original"))
    np.testing.assert_array_equal(drawn, figures.photo(image, nowhere(32, 32), {}))


def test_a_map_colours_where_its_mass_is():
    attribution = np.zeros((32, 32))
    attribution[:, :8] = 1.0
    drawn = figures.overlay(
        grey_image(32, 32),
        attribution,
        nowhere(32, 32),
        {},
        Visualization(opacity=1, overlay_type="original"),
    ).astype(int)
    np.testing.assert_allclose(drawn[160, 20], (0xFD, 0xE7, 0x25), atol=3)
    np.testing.assert_allclose(drawn[160, 300], 128, atol=1)


@pytest.mark.parametrize(
    ("overlay_type", "far_from_mass"), [("none", 0), ("mask_black", 0), ("original", 200), ("grayscale", 170)]
)
def test_the_overlay_type_says_what_lies_under_the_map(overlay_type, far_from_mass):
    attribution = np.zeros((32, 32))
    attribution[:, :8] = 1.0
    drawn = figures.overlay(
        grey_image(32, 32, 200), attribution, nowhere(32, 32), {}, Visualization(overlay_type=overlay_type)
    )
    np.testing.assert_allclose(drawn[160, 300].astype(int), far_from_mass, atol=1)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_the_foreground_outline_shows_on_every_image(level):
    row = figures.photo(grey_image(32, 32, level), left_half(32), {})[160, :, 0].astype(int)
    at_the_border = row[150:170]
    assert at_the_border.max() >= 230
    assert at_the_border.min() <= 60


def test_ignored_pixels_have_no_outline():
    mask = np.full((32, 32), IGNORE, np.uint8)
    np.testing.assert_array_equal(
        figures.photo(grey_image(32, 32), mask, {}), figures.photo(grey_image(32, 32), nowhere(32, 32), {})
    )


def test_a_region_is_dashed_in_yellow_where_the_foreground_is_solid_white():
    region = left_half(32) == FOREGROUND
    column = figures.photo(grey_image(32, 32), nowhere(32, 32), {"face": region})[40:300, 160].astype(int)
    is_yellow = (column[:, 0] > 200) & (column[:, 2] < 130)
    solid = figures.photo(grey_image(32, 32), left_half(32), {})[40:300, 160].astype(int)
    assert 0.3 < is_yellow.mean() < 0.7
    assert (solid.min(axis=-1) > 200).all()


def test_drawing_leaves_its_arguments_alone():
    image, mask, attribution = grey_image(32, 32), left_half(32), np.ones((32, 32))
    figures.overlay(image, attribution, mask, {"face": mask == 1}, Visualization())
    assert (image == 128).all()
    assert (attribution == 1).all()
    np.testing.assert_array_equal(mask, left_half(32))


@pytest.mark.parametrize("color_map", figures.COLOR_MAPS)
def test_a_legend_runs_between_two_colours_that_tell_apart(color_map):
    scale = figures.legend(Visualization(color_map=color_map)).astype(int)
    assert scale.shape == (12, 256, 3)
    assert np.abs(scale[0, 0] - scale[0, -1]).max() > 60


def test_only_integrated_gradients_are_pink_and_green_as_published():
    assert figures.published("integrated_gradients+smoothgrad").color_map == "pink_green"
    assert figures.published("grad_cam").color_map == "viridis"


def test_an_encoded_picture_is_a_webp_of_its_size():
    picture = Image.open(io.BytesIO(figures.encode(grey_image(20, 30))))
    assert (picture.format, picture.size) == ("WEBP", (30, 20))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"color_map": "jet"}, "color_map: expected one of .*viridis.*found 'jet'"),
        ({"clip_below_percentile": 99.95}, "0 <= below < above <= 100, found 99.95 and 99.9"),
        ({"opacity": 0}, "opacity: expected a number in"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        Visualization(**options)


def test_arrays_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match=r"face \(8, 8\) and image \(32, 32\)"):
        figures.photo(grey_image(32, 32), nowhere(32, 32), {"face": np.zeros((8, 8), bool)})
    with pytest.raises(ValueError, match=r"map \(8, 8\) and image \(32, 32\)"):
        figures.overlay(grey_image(32, 32), np.zeros((8, 8)), nowhere(32, 32), {}, Visualization())


def test_maps_side_by_side_are_drawn_on_one_scale_whatever_their_units():
    # Mean masses 2 and 20: in units of its mean the first has 0, 2, 2, 0 and the second 0, 0, 4, 0.
    one, other = np.array([[0.0, 4.0], [4.0, 0.0]]), np.array([[0.0, 0.0], [80.0, 0.0]])
    first, second = figures.shared_strengths([one, other], Visualization(**EVERYTHING))
    np.testing.assert_allclose(first, [[0, 0.5], [0.5, 0]])
    np.testing.assert_allclose(second, [[0, 0], [1, 0]])


def test_a_shared_scale_takes_maps_of_any_size_and_maps_without_mass():
    small, empty = np.array([[1.0]]), np.full((3, 2), np.nan)
    first, second = figures.shared_strengths([small, empty], Visualization(**EVERYTHING))
    np.testing.assert_allclose(first, [[1.0]])
    np.testing.assert_array_equal(second, np.zeros((3, 2)))


def test_a_shared_scale_refuses_a_blur():
    with pytest.raises(ValueError, match="a shared scale knows no blur"):
        figures.shared_strengths([np.ones((2, 2))], Visualization(blur_sigma=1.0))
