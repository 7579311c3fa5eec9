import csv

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from skimage import data as pictures

import audit.confounds
from audit.confounds.corner_mark import CornerMark
from audit.errors import ConfigError
from audit.plugins import find

CORNERS = {
    "top left": np.s_[8:38, 8:38],
    "top right": np.s_[8:38, -38:-8],
    "bottom left": np.s_[-38:-8, 8:38],
    "bottom right": np.s_[-38:-8, -38:-8],
}


def ground(seed=0):
    """A plain photographed ground: a gentle slope of light, and noise."""
    y, x = np.mgrid[:256, :320]
    light = 150 + 40 * x / 320 + 20 * y / 256
    noise = np.random.default_rng(seed).normal(0, 3, (256, 320, 3))
    return np.clip(light[..., None] + noise, 0, 255).astype(np.uint8)


def marked(image, part, colour=(210, 20, 20)):
    image, mask = image.copy(), np.zeros(image.shape[:2], dtype=bool)
    image[part], mask[part] = colour, True
    return image, mask


def overlap(found, truth):
    return (found & truth).sum() / (found | truth).sum()


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("colour", [(210, 20, 20), (0, 0, 0), (20, 220, 40)])
def test_a_coloured_square_is_found_in_each_corner(corner, colour):
    image, truth = marked(ground(), CORNERS[corner], colour)
    assert overlap(CornerMark()(image), truth) >= 0.9


def test_a_square_flush_with_the_corner_is_found():
    image, truth = marked(ground(), np.s_[:24, -24:])
    assert overlap(CornerMark()(image), truth) >= 0.9


def test_a_square_on_a_small_picture_is_found():
    small = np.full((64, 64, 3), 140, dtype=np.uint8)
    image, truth = marked(small, np.s_[-8:, -8:])
    assert overlap(CornerMark()(image), truth) >= 0.9


@pytest.mark.parametrize("opacity", [130, 255])
def test_a_date_stamp_is_found_also_when_it_is_half_transparent(opacity):
    drawn = Image.fromarray(ground())
    pen, font = ImageDraw.Draw(drawn, "RGBA"), ImageFont.load_default(size=16)
    x0, y0, x1, y1 = (round(side) for side in pen.textbbox((240, 225), "12.05.21", font=font))
    pen.text((240, 225), "12.05.21", font=font, fill=(0, 0, 0, opacity))
    mask = CornerMark()(np.array(drawn))
    assert mask[y0:y1, x0:x1].mean() >= 0.7
    assert not mask[:, :160].any()


def test_two_marks_are_found_apart():
    image, one = marked(ground(), CORNERS["top left"])
    image, other = marked(image, CORNERS["bottom right"], (0, 0, 200))
    assert overlap(CornerMark()(image), one | other) >= 0.9


@pytest.mark.parametrize("name", ["brick", "grass", "coffee", "chelsea", "astronaut"])
@pytest.mark.parametrize("colour", [(250, 30, 200), (30, 240, 250)])
def test_a_square_of_one_colour_is_found_on_any_ground(name, colour):
    photo = getattr(pictures, name)()
    photo = photo if photo.ndim == 3 else np.repeat(photo[..., None], 3, axis=-1)
    side = round(0.12 * min(photo.shape[:2]))
    image, truth = marked(photo, np.s_[-side - 5 : -5, 5 : side + 5], colour)
    assert overlap(CornerMark()(image), truth) >= 0.8


def test_an_even_square_that_differs_little_from_its_ground_is_no_mark():
    image, _ = marked(ground(), CORNERS["top left"], tuple(ground()[38, 38].astype(int) + 25))
    assert not CornerMark()(image).any()


def test_what_reaches_in_from_the_picture_is_no_mark():
    sleeve, _ = marked(ground(), np.s_[40:220, 30:290])
    table, _ = marked(ground(), np.s_[200:])
    assert not CornerMark()(sleeve).any()
    assert not CornerMark()(table).any()


def test_a_square_in_the_middle_is_no_corner_mark():
    image, _ = marked(ground(), np.s_[110:140, 140:170])
    assert not CornerMark()(image).any()


def test_a_soft_shadow_is_no_mark():
    y, x = np.mgrid[:256, :320]
    shadow = 1 - 0.6 * np.exp(-(np.hypot(x, y) ** 2) / (2 * 30**2))
    assert not CornerMark()((ground() * shadow[..., None]).astype(np.uint8)).any()


@pytest.mark.parametrize("name", ["brick", "grass", "gravel", "coffee", "chelsea", "astronaut"])
def test_textures_and_photographs_have_none(name):
    image = getattr(pictures, name)()
    assert not CornerMark()(image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)).any()


def test_a_large_picture_is_searched_small_and_the_mask_fits_it():
    image, truth = marked(np.kron(ground(), np.ones((4, 4, 1), dtype=np.uint8)), np.s_[32:152, 32:152])
    assert overlap(CornerMark()(image), truth) >= 0.85


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (300, 5), (27, 27), (40, 64), (2, 3000)])
def test_small_and_narrow_pictures_are_searched_without_a_fault(shape):
    mask = CornerMark()(np.full((*shape, 3), 127, dtype=np.uint8))
    assert mask.shape == shape
    assert not mask.any()


def test_the_picture_is_left_as_it_is():
    image, _ = marked(ground(), CORNERS["top left"])
    before = image.copy()
    CornerMark()(image)
    np.testing.assert_array_equal(image, before)


def test_it_is_a_choice_whose_version_names_what_changes_the_findings():
    assert find(audit.confounds, "corner_mark") is CornerMark
    assert CornerMark().version != CornerMark(contrast=40).version
    assert CornerMark().confound == "corner mark"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"corner": 0.5}, r"corner must be in \(0, 0.5\), got 0.5"),
        ({"contrast": 0}, r"contrast must be in \(0, 255\)"),
        ({"smallest": 0}, r"smallest must be in \(0, 1\)"),
        ({"largest": 1.5}, r"largest must be in \(0, 1\]"),
        ({"longest_side": 10}, "longest_side must be at least 32"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ConfigError, match=message):
        CornerMark(**parameters)


@pytest.mark.data
def test_squares_on_real_photographs_are_found_and_few_are_imagined(data):
    folder = data / "garments"
    with (folder / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"][::4]
    rng = np.random.default_rng(0)
    found, imagined = [], []
    for row in rows:
        photo = np.array(Image.open(folder / row["path"]).convert("RGB"))
        beside = np.array(Image.open(folder / row["mask_path"])) == 0
        side = round(rng.uniform(0.06, 0.14) * min(photo.shape[:2]))
        part = np.s_[-side - 4 : -4, -side - 4 : -4]
        ground_colour = photo[part].reshape(-1, 3).mean(axis=0)
        # Any colour that differs by at least 100 grey levels in one channel.
        colours = rng.integers(0, 256, (100, 3))
        colour = colours[np.abs(colours - ground_colour).max(axis=1) > 100][0]
        image, truth = marked(photo, part, colour)
        found.append(overlap(CornerMark()(image), truth) >= 0.3)
        imagined.append((CornerMark()(photo) & beside).any())
    assert len(rows) >= 70
    assert np.mean(found) >= 0.85
    assert np.mean(imagined) <= 0.06
