import numpy as np
import pytest
from skimage import data
from skimage.transform import resize

from audit import plugins, properties
from audit.properties import ImageFacts, outside
from audit.types import BACKGROUND, FOREGROUND, IGNORE

FACTS = ImageFacts(width=400, height=100, format="JPEG", exif_camera="Acme One", n_bytes=12_345)
ALL = {name: plugins.find(properties, name)() for name in plugins.names(properties)}
CHANGEABLE = {name: one for name, one in ALL.items() if one.normalise is not None}
# Target, and how near to it an 8-bit picture comes.
TARGETS = {
    "brightness": (0.5, 0.002),
    "colour_cast": (0.1, 0.003),
    "contrast": (0.2, 0.003),
    "saturation": (0.2, 0.003),
    "sharpness": (0.2, 0.02),
}


def photographs():
    """float32 (3, 128, 128, 3) of a person, a cup and a cat."""
    pictures = [data.astronaut(), data.coffee(), data.chelsea()]
    return np.stack([resize(one, (128, 128), anti_aliasing=True) for one in pictures]).astype(np.float32)


def stored(images):
    return np.rint(images * 255).astype(np.uint8)


def measured(name, images):
    return np.array([ALL[name].measure(one, FACTS) for one in stored(images)])


def flat(colour, shape=(32, 48)):
    return np.broadcast_to(np.array(colour, dtype=np.uint8), (*shape, 3)).copy()


def test_the_properties_are_these():
    assert set(CHANGEABLE) == {*TARGETS, "jpeg_blockiness"}
    assert set(ALL) - set(CHANGEABLE) == {"aspect_ratio", "camera", "file_type", "image_size"}
    assert len({one.name for one in ALL.values()}) == len(ALL)


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("brightness", flat((255, 255, 255)), 1.0),
        ("brightness", flat((255, 0, 0)), 0.299),
        ("contrast", flat((90, 20, 7)), 0.0),
        ("contrast", np.concatenate([flat((0, 0, 0)), flat((255, 255, 255))]), 0.5),
        ("saturation", flat((77, 77, 77)), 0.0),
        ("saturation", flat((255, 102, 0)), 1.0),
        ("colour_cast", flat((153, 0, 51)), 0.4),
        ("colour_cast", flat((51, 0, 153)), -0.4),
        ("sharpness", flat((9, 9, 9)), np.nan),
        ("jpeg_blockiness", flat((9, 9, 9)), np.nan),
        ("jpeg_blockiness", np.zeros((23, 99, 3), dtype=np.uint8), np.nan),
        ("image_size", flat((9, 9, 9)), 200.0),  # 400 x 100 stored, whatever is shown
        ("aspect_ratio", flat((9, 9, 9)), 4.0),  # the file's, whatever is shown
    ],
)
def test_values_by_hand(name, image, expected):
    assert ALL[name].measure(image, FACTS) == pytest.approx(expected, nan_ok=True)


def test_categories_are_names_and_an_unknown_camera_is_one():
    assert ALL["file_type"].measure(flat((1, 2, 3)), FACTS) == "JPEG"
    assert ALL["camera"].measure(flat((1, 2, 3)), FACTS) == "Acme One"
    assert ALL["camera"].measure(flat((1, 2, 3)), ImageFacts(4, 4, "PNG", None, 80)) == "unknown"


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_normalised_image_has_the_target(name):
    target, tolerance = TARGETS[name]
    before = measured(name, photographs())
    assert np.abs(before - target).max() > 10 * tolerance  # there was something to do
    changed = CHANGEABLE[name].normalise(photographs(), target)
    np.testing.assert_allclose(measured(name, changed), target, atol=tolerance)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_normalising_twice_is_normalising_once(name):
    target, _ = TARGETS[name]
    once = CHANGEABLE[name].normalise(photographs(), target)
    np.testing.assert_allclose(CHANGEABLE[name].normalise(once, target), once, atol=0.002)


@pytest.mark.parametrize("name", sorted(CHANGEABLE))
def test_a_normalised_image_is_an_image_and_the_original_stays(name):
    images = photographs()
    before = images.copy()
    changed = CHANGEABLE[name].normalise(images, 0.4)
    assert changed.shape == images.shape
    assert changed.dtype == np.float32
    assert changed.min() >= 0
    assert changed.max() <= 1
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("name", sorted(CHANGEABLE))
def test_an_image_is_normalised_alike_in_any_batch(name):
    images = photographs()
    together = CHANGEABLE[name].normalise(images, 0.4)
    np.testing.assert_array_equal(CHANGEABLE[name].normalise(images[1:2], 0.4)[0], together[1])


@pytest.mark.parametrize(
    ("changed", "others"),
    [
        ("brightness", ("contrast", "saturation", "colour_cast", "sharpness")),
        ("contrast", ("brightness", "saturation", "colour_cast", "sharpness")),
        ("saturation", ("brightness", "contrast", "sharpness")),
        ("colour_cast", ("brightness", "contrast", "sharpness")),
        ("sharpness", ("brightness", "saturation", "colour_cast")),
        ("jpeg_blockiness", ("brightness", "contrast")),
    ],
)
def test_what_another_property_measures_stays(changed, others):
    images = photographs()
    after = CHANGEABLE[changed].normalise(images, TARGETS.get(changed, (1.0, 0))[0])
    for other in others:
        np.testing.assert_allclose(measured(other, after), measured(other, images), atol=0.012)


def test_compression_reaches_the_blockiness_and_does_not_touch_what_is_above_it():
    blocky = CHANGEABLE["jpeg_blockiness"].normalise(photographs(), 1.0)
    values = measured("jpeg_blockiness", blocky)
    assert (measured("jpeg_blockiness", photographs()) < 0.2).all()
    assert ((values >= 0.95) & (values <= 1.25)).all()
    np.testing.assert_array_equal(CHANGEABLE["jpeg_blockiness"].normalise(blocky, 0.5), blocky)


def test_blocks_are_found_wherever_the_grid_lies():
    blocky = CHANGEABLE["jpeg_blockiness"].normalise(photographs(), 1.0)
    np.testing.assert_allclose(
        measured("jpeg_blockiness", blocky[:, 3:, 5:]), measured("jpeg_blockiness", blocky), rtol=0.15
    )


def test_one_sharp_edge_is_no_trace_of_compression():
    """A black frame of 8 pixels, found but for its innermost line: its edge is a large step on a line of the grid."""
    framed, around = photographs(), np.zeros((128, 128), dtype=bool)
    framed[:, :8] = framed[:, -8:] = framed[:, :, :8] = framed[:, :, -8:] = 0.0
    around[7:-7, 7:-7] = True
    for before, after in zip(stored(photographs()), stored(framed), strict=True):
        without, with_edge = (ALL["jpeg_blockiness"].measure(one, FACTS, around) for one in (before, after))
        # One line of fifteen on either axis moves a median less than chance does (0.2), their mean by one and more.
        assert without < 0.3
        assert abs(with_edge - without) < 0.2


def test_blurring_only_takes_away():
    soft = CHANGEABLE["sharpness"].normalise(photographs(), 0.2)
    np.testing.assert_array_equal(CHANGEABLE["sharpness"].normalise(soft, 0.5), soft)


@pytest.mark.parametrize("name", ["contrast", "saturation", "sharpness", "jpeg_blockiness"])
def test_a_constant_grey_image_has_nothing_to_strengthen(name):
    grey = np.full((1, 32, 32, 3), 0.4, dtype=np.float32)
    np.testing.assert_allclose(CHANGEABLE[name].normalise(grey, 0.3), grey, atol=1e-6)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_brightness_reaches_both_ends(target):
    np.testing.assert_allclose(CHANGEABLE["brightness"].normalise(photographs(), target), target, atol=0.001)


def test_properties_are_measured_outside_of_object_and_named_things():
    foreground = np.full((1, 8, 8), BACKGROUND, dtype=np.uint8)
    foreground[0, 2:6, 2:6], foreground[0, 2:6, 6] = FOREGROUND, IGNORE
    thing = np.zeros((1, 8, 8), dtype=bool)
    thing[0, 0] = True
    (around,) = outside(foreground, [thing])
    assert around.sum() == 64 - 16 - 4 - 8
    assert not around[0].any()


def test_without_annotation_the_margin_stands_for_the_surroundings():
    (around,) = outside(np.full((1, 16, 16), IGNORE, dtype=np.uint8))
    # An eighth of each side: 2 pixels all round.
    assert around.sum() == 256 - 144
    assert not around[2:14, 2:14].any()


def test_where_hardly_anything_lies_outside_nothing_is_measured():
    foreground = np.full((1, 16, 16), FOREGROUND, dtype=np.uint8)
    foreground[0, 0, :5] = BACKGROUND  # 5 of 256 are under 2 %
    assert not outside(foreground).any()
    foreground[0, 0, :6] = BACKGROUND
    assert outside(foreground).sum() == 6


HALF = np.zeros((128, 128), dtype=bool)
HALF[:, :64] = True


@pytest.mark.parametrize("name", sorted(CHANGEABLE))
def test_what_does_not_count_does_not_change_a_measurement(name):
    (photo, other, _) = stored(photographs())
    mixed = np.where(HALF[..., None], photo, other)
    alone = ALL[name].measure(photo, FACTS, HALF)
    assert ALL[name].measure(mixed, FACTS, HALF) == pytest.approx(alone, abs=1e-6)
    assert ALL[name].measure(mixed, FACTS) != pytest.approx(alone, abs=1e-3)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_part_is_brought_to_the_target_by_changing_the_whole(name):
    target, tolerance = TARGETS[name]
    image = photographs()[:1]
    (changed,) = CHANGEABLE[name].normalise(image, target, HALF[None])
    assert ALL[name].measure(stored(changed), FACTS, HALF) == pytest.approx(target, abs=tolerance)
    assert (changed[:, 64:] != image[0][:, 64:]).any()


@pytest.mark.parametrize("name", sorted(CHANGEABLE))
def test_of_no_pixel_nothing_is_measured(name):
    assert np.isnan(ALL[name].measure(stored(photographs())[0], FACTS, HALF & False))
