import csv

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from skimage import data as pictures

import audit.confounds
from audit.confounds.text import Text
from audit.errors import ConfigError
from audit.plugins import find


def captioned(image, text="Summer 2019", height=14, corner=(20, 20), colour=(255, 255, 255)):
    """The picture with a caption of that letter height, and the caption's box (x0, y0, x1, y1)."""
    drawn = Image.fromarray(image)
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(size=height / 0.72)
    x0, y0, x1, y1 = (round(side) for side in pen.textbbox(corner, text, font=font))
    pen.text(corner, text, font=font, fill=colour)
    return np.array(drawn), (x0, y0, x1, y1)


def share_found(mask, box):
    x0, y0, x1, y1 = box
    return mask[y0:y1, x0:x1].mean()


def coloured(image):
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)


@pytest.mark.parametrize("name", ["chelsea", "astronaut"])
@pytest.mark.parametrize("height", [10, 14, 24, 40])
def test_a_caption_on_a_photograph_is_found(name, height):
    picture = getattr(pictures, name)()
    image, box = captioned(picture, "HOLIDAY 21", height, (12, picture.shape[0] - 70), (255, 255, 255))
    mask = Text()(image)
    assert share_found(mask, box) >= 0.5
    assert mask.sum() <= 3 * (box[2] - box[0]) * (box[3] - box[1])


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (170, 0, 0)])
def test_letters_of_any_polarity_are_found(colour):
    flat = np.full((200, 300, 3), 128 if colour != (170, 0, 0) else 220, dtype=np.uint8)
    image, box = captioned(flat, colour=colour)
    assert share_found(Text()(image), box) >= 0.6


@pytest.mark.parametrize("name", ["brick", "grass", "gravel", "coffee", "chelsea", "astronaut"])
def test_pictures_without_text_have_next_to_none(name):
    assert Text()(coloured(getattr(pictures, name)())).mean() <= 0.02


def test_a_printed_page_is_full_of_text():
    assert Text()(coloured(pictures.page())).mean() >= 0.2


def test_stripes_and_a_chessboard_are_no_text():
    x, y = np.meshgrid(np.arange(256), np.arange(256))
    stripes = np.where(x // 8 % 2, 255, 0).astype(np.uint8)
    chess = np.where((x // 8 + y // 8) % 2, 255, 0).astype(np.uint8)
    assert not Text()(coloured(stripes)).any()
    assert not Text()(coloured(chess)).any()


def test_a_large_picture_is_searched_small_and_the_mask_fits_it():
    image, box = captioned(np.full((1200, 1600, 3), 90, dtype=np.uint8), height=60, corner=(300, 500))
    mask = Text()(image)
    assert mask.shape == (1200, 1600)
    assert share_found(mask, box) >= 0.6
    assert not mask[:450].any()


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (300, 5), (11, 11), (40, 64), (2, 3000)])
def test_small_and_narrow_pictures_are_searched_without_a_fault(shape):
    mask = Text()(np.full((*shape, 3), 127, dtype=np.uint8))
    assert mask.shape == shape
    assert mask.dtype == np.bool_
    assert not mask.any()


def test_the_picture_is_left_as_it_is():
    image, _ = captioned(pictures.coffee())
    before = image.copy()
    Text()(image)
    np.testing.assert_array_equal(image, before)


def test_it_is_a_choice_whose_version_names_what_changes_the_findings():
    assert find(audit.confounds, "text") is Text
    assert Text().version != Text(contrast=40).version
    assert Text().confound == "text"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"contrast": 0}, r"contrast must be in \(0, 255\), got 0"),
        ({"letter_height": 3}, "letter_height must be at least 5"),
        ({"letters": 2}, "letters must be at least 3"),
        ({"longest_side": 10}, "longest_side must be at least 64"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ConfigError, match=message):
        Text(**parameters)


@pytest.mark.data
def test_captions_on_real_photographs_are_found_and_few_are_imagined(data):
    folder = data / "garments"
    with (folder / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"][::2]
    found, imagined = [], []
    for row in rows:
        photo = np.array(Image.open(folder / row["path"]).convert("RGB"))
        # What is printed on the garment is text, too, but not what is looked for here.
        beside = np.array(Image.open(folder / row["mask_path"])) == 0
        dark = photo[8:24, 6:110].mean() < 128
        image, box = captioned(photo, "New York 98", 13, (6, 8), (255, 255, 255) if dark else (0, 0, 0))
        found.append(share_found(Text()(image), box) >= 0.4)
        imagined.append((Text()(photo) & beside).any())
    assert len(rows) >= 140
    assert np.mean(found) >= 0.9
    assert np.mean(imagined) <= 0.05
