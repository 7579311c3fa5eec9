import time

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_masks

from audit.types import BACKGROUND, FOREGROUND, IGNORE, MaskFile, Outline, RunLengths
from pipelines.geometry import Geometry, decode_run_lengths
from pipelines.images import ImageFault, oriented

WIDTH, HEIGHT = 96, 60
X0, Y0, X1, Y1 = 12, 6, 42, 24  # an off-centre mark


def geometry(target=(60, 96), *, size=(WIDTH, HEIGHT), orientation=1, mode="stretch", antialias=False):
    return Geometry(size, orientation, target, mode, antialias)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def stored_mark() -> np.ndarray:
    mark = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mark[Y0:Y1, X0:X1] = 255
    return mark


def pixels_by_even_odd(x, y, xs, ys) -> np.ndarray:
    """Even-odd rule, asked of every pixel and every edge."""
    inside = np.zeros(x.shape, dtype=bool)
    for x0, y0, x1, y1 in zip(xs, ys, np.roll(xs, -1), np.roll(ys, -1), strict=True):
        if y0 != y1:
            is_crossed = (min(y0, y1) <= y) & (y < max(y0, y1))
            inside ^= is_crossed & (x >= x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return inside


def all_outlines(tmp_path) -> dict[str, Outline]:
    Image.fromarray(stored_mark()).save(tmp_path / "mask.png")
    encoded = coco_masks.encode(np.asfortranarray(stored_mark() // 255))
    return {
        "box": Outline(boxes=((X0, Y0, X1, Y1),)),
        "polygon": Outline(polygons=((X0, Y0, X1, Y0, X1, Y1, X0, Y1),)),
        "mask": Outline(mask=MaskFile(str(tmp_path / "mask.png"))),
        "run lengths": Outline(run_lengths=(RunLengths((HEIGHT, WIDTH), encoded["counts"].decode()),)),
    }


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("antialias", [False, True])
def test_image_and_every_kind_of_outline_stay_on_each_other(tmp_path, orientation, mode, antialias):
    upright = np.repeat(oriented(stored_mark(), orientation)[..., None], 3, axis=2)
    through = geometry((144, 192), orientation=orientation, mode=mode, antialias=antialias)
    seen = through.image(upright)[..., 0] > 0.5
    drawn = {name: through.outline(outline) == FOREGROUND for name, outline in all_outlines(tmp_path).items()}
    for name in ("polygon", "mask", "run lengths"):
        np.testing.assert_array_equal(drawn[name], drawn["box"])
    assert iou(seen, drawn["box"]) >= 0.95
    assert drawn["box"].sum() > 50


@pytest.mark.parametrize("orientation", range(1, 9))
def test_without_resizing_image_and_outlines_are_equal_to_the_pixel(tmp_path, orientation):
    upright = np.repeat(oriented(stored_mark(), orientation)[..., None], 3, axis=2)
    through = geometry(upright.shape[:2], orientation=orientation)
    for outline in all_outlines(tmp_path).values():
        np.testing.assert_array_equal(
            through.outline(outline) == FOREGROUND, through.image(upright)[..., 0] == 1.0
        )


@pytest.mark.parametrize("orientation", [1, 6, 7])
def test_enlarging_to_double_keeps_image_and_outlines_equal(tmp_path, orientation):
    upright = np.repeat(oriented(stored_mark(), orientation)[..., None], 3, axis=2)
    target = (upright.shape[0] * 2, upright.shape[1] * 2)
    through = geometry(target, orientation=orientation)
    for outline in all_outlines(tmp_path).values():
        drawn = through.outline(outline) == FOREGROUND
        np.testing.assert_array_equal(drawn, through.image(upright)[..., 0] > 0.5)
        assert drawn.sum() == 18 * 30 * 4


@pytest.mark.parametrize(
    ("source", "target"),
    [((375, 500), (224, 224)), ((40, 30), (224, 224)), ((224, 224), (224, 224)), ((7, 5), (3, 11))],
)
def test_bilinear_is_that_of_tensorflow(source, target):
    import tensorflow as tf

    pixels = np.random.default_rng(0).integers(0, 256, (*source, 3), dtype=np.uint8)
    ours = geometry(target, size=(source[1], source[0])).image(pixels)
    theirs = tf.image.resize(pixels, target, method="bilinear", antialias=False).numpy() / 255
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_antialiased_shrinking_is_that_of_tensorflow_within_a_level():
    import tensorflow as tf

    pixels = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8)
    ours = geometry((224, 224), size=(500, 375), antialias=True).image(pixels)
    theirs = tf.image.resize(pixels, (224, 224), method="bilinear", antialias=True).numpy() / 255
    np.testing.assert_allclose(ours, theirs, atol=1.5 / 255)


@pytest.mark.parametrize(
    ("size", "target"), [((500, 375), (224, 224)), ((375, 500), (224, 224)), ((333, 512), (96, 160))]
)
@pytest.mark.parametrize("mode", ["crop", "pad"])
@pytest.mark.parametrize("antialias", [False, True])
def test_crop_and_pad_are_those_of_keras(size, target, mode, antialias):
    import keras

    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    keyword = {"crop": "crop_to_aspect_ratio", "pad": "pad_to_aspect_ratio"}[mode]
    theirs = keras.ops.image.resize(
        pixels.astype(np.float32), target, interpolation="bilinear", antialias=antialias, **{keyword: True}
    )
    ours = geometry(target, size=size, mode=mode, antialias=antialias).image(pixels)
    np.testing.assert_allclose(
        ours * 255, np.asarray(theirs, dtype=np.float32), atol=2.5 if antialias else 1.0
    )


def test_windows_by_hand():
    assert geometry((10, 10), size=(40, 20), mode="stretch").window == (0, 0, 40, 20)
    assert geometry((10, 10), size=(40, 20), mode="crop").window == (10, 0, 20, 20)
    assert geometry((10, 10), size=(40, 20), mode="pad").window == (0, -10, 40, 40)
    assert geometry((10, 10), size=(40, 20), mode="crop", orientation=6).window == (0, 10, 20, 20)


def test_padding_is_the_same_on_either_side():
    assert geometry((10, 10), size=(40, 25), mode="pad").window == (0, -7, 40, 39)


def test_padding_is_black_in_the_image_and_background_in_an_annotated_outline():
    through = geometry((8, 8), size=(8, 4), mode="pad")
    image = through.image(np.full((4, 8, 3), 255, dtype=np.uint8))
    outline = through.outline(Outline(boxes=((0, 0, 8, 4),)))
    np.testing.assert_array_equal(image[:, 0, 0], [0, 0, 1, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(outline[:, 0], [BACKGROUND] * 2 + [FOREGROUND] * 4 + [BACKGROUND] * 2)
    np.testing.assert_array_equal(through.outline(Outline()), np.full((8, 8), IGNORE))
    np.testing.assert_array_equal(through.outline(Outline(is_known=True)), np.full((8, 8), BACKGROUND))


@pytest.mark.parametrize("antialias", [False, True])
def test_a_strip_of_20000_pixels_is_padded_without_allocating_the_square(antialias):
    pixels = np.full((1, 20_000, 3), 255, dtype=np.uint8)
    image = geometry((224, 224), size=(20_000, 1), mode="pad", antialias=antialias).image(pixels)
    assert image.shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("box", "n_pixels"),
    [
        ((2, 1, 5, 3), 6),  # ends are excluded
        ((2.4, 1, 5.4, 3), 6),  # centres 2.5, 3.5, 4.5
        ((2.6, 1, 5.6, 3), 6),  # centres 3.5, 4.5, 5.5
        ((-5, -5, 2, 2), 4),  # clipped
        ((6, 4, 99, 99), 4),  # clipped
        ((3.6, 1.6, 4.4, 2.4), 0),  # between centres
    ],
)
def test_a_box_holds_the_pixels_whose_centre_it_holds(box, n_pixels):
    assert (geometry((6, 8), size=(8, 6)).outline(Outline(boxes=(box,))) == FOREGROUND).sum() == n_pixels


@pytest.mark.parametrize(
    ("outline", "reason"),
    [
        (Outline(boxes=((5, 1, 2, 3),)), "malformed annotation"),
        (Outline(boxes=((float("nan"), 1, 2, 3),)), "malformed annotation"),
        (Outline(boxes=((8, 0, 9, 3),)), "box outside the image"),
        (Outline(boxes=((-4, -4, -1, 3),)), "box outside the image"),
        (Outline(polygons=((0, 0, 1, 1, 2),)), "malformed annotation"),
        (Outline(polygons=((20, 20, 21, 21, 22, 20),)), "polygon outside the image"),
        (Outline(run_lengths=(RunLengths((5, 8), (40,)),)), "mask of another size"),
        (Outline(run_lengths=(RunLengths((6, 8), (40,)),)), "malformed annotation"),
        (Outline(run_lengths=(RunLengths((6, 8), "~~~"),)), "malformed annotation"),
        (Outline(run_lengths=(RunLengths((6, 8), (50, -2)),)), "malformed annotation"),
        (Outline(mask=MaskFile("/does/not/exist.png")), "missing mask"),
    ],
)
def test_an_outline_that_cannot_be_drawn_is_a_fault(outline, reason):
    with pytest.raises(ImageFault) as caught:
        geometry((6, 8), size=(8, 6)).outline(outline)
    assert caught.value.reason == reason


@given(st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 4))
@settings(max_examples=300, deadline=None)
def test_any_box_is_drawn_or_a_fault(box):
    try:
        drawn = geometry((6, 8), size=(8, 6)).outline(Outline(boxes=(box,)))
    except ImageFault:
        return
    assert set(np.unique(drawn)) <= {BACKGROUND, FOREGROUND}


def test_a_mask_of_another_size_names_both_sizes(tmp_path):
    Image.new("L", (7, 6), 255).save(tmp_path / "mask.png")
    with pytest.raises(ImageFault, match=r"expected 8 x 6 pixels .* found 7 x 6"):
        geometry((6, 8), size=(8, 6)).outline(Outline(mask=MaskFile(str(tmp_path / "mask.png"))))


def test_a_mask_of_the_upright_size_is_taken_as_upright(tmp_path):
    upright = np.zeros((8, 6), dtype=np.uint8)
    upright[1, 4] = 255
    Image.fromarray(upright).save(tmp_path / "mask.png")
    drawn = geometry((8, 6), size=(8, 6), orientation=6).outline(
        Outline(mask=MaskFile(str(tmp_path / "mask.png")))
    )
    np.testing.assert_array_equal(drawn, upright // 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_shapes_lie_in_the_frame_whose_size_they_state(orientation):
    shapes = [{"boxes": ((1, 0, 3, 2),)}, {"polygons": ((1, 0, 3, 0, 3, 2, 1, 2),)}]
    is_turned = orientation >= 5
    through = geometry((8, 6) if is_turned else (6, 8), size=(8, 6), orientation=orientation)
    expected = np.zeros((6, 8), dtype=np.uint8)
    expected[0:2, 1:3] = FOREGROUND
    as_upright = np.zeros((8, 6), dtype=np.uint8)
    as_upright[0:2, 1:3] = FOREGROUND
    for shape in shapes:
        for size in (None, (8, 6)):
            drawn = through.outline(Outline(**shape, size=size))
            np.testing.assert_array_equal(drawn, oriented(expected, orientation))
        if is_turned:
            np.testing.assert_array_equal(through.outline(Outline(**shape, size=(6, 8))), as_upright)


@pytest.mark.parametrize(
    ("orientation", "size", "expected"), [(1, (6, 8), "8 x 6"), (6, (16, 12), "8 x 6 or 6 x 8")]
)
def test_an_annotation_of_another_size_names_both_sizes(orientation, size, expected):
    message = rf"annotation of another size: .* {expected} pixels .* found one of {size[0]} x {size[1]};"
    with pytest.raises(ImageFault, match=message):
        geometry(size=(8, 6), orientation=orientation).outline(Outline(boxes=((1, 0, 3, 2),), size=size))


@pytest.mark.parametrize(
    ("foreground", "ignore", "expected"),
    [
        ((), (), [0, 1, 1]),
        ((), (255,), [0, 1, 255]),
        ((128,), (255,), [0, 1, 255]),
        ((255,), (), [0, 0, 1]),
    ],
)
def test_mask_values_have_the_configured_meaning(tmp_path, foreground, ignore, expected):
    Image.fromarray(np.array([[0, 128, 255]], dtype=np.uint8)).save(tmp_path / "mask.png")
    mask = MaskFile(str(tmp_path / "mask.png"), foreground, ignore)
    assert geometry((1, 3), size=(3, 1)).outline(Outline(mask=mask)).tolist() == [expected]


def test_a_jpeg_mask_counts_by_the_nearer_of_black_and_white(tmp_path):
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[16:48, 16:48] = 255
    Image.fromarray(mask).save(tmp_path / "mask.jpg", quality=60)
    path = str(tmp_path / "mask.jpg")
    drawn = geometry((64, 64), size=(64, 64)).outline(Outline(mask=MaskFile(path)))
    np.testing.assert_array_equal(drawn, mask // 255)
    with pytest.raises(ImageFault, match="inexact mask"):
        geometry((64, 64), size=(64, 64)).outline(Outline(mask=MaskFile(path, foreground=(128,))))


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_compressed_run_lengths_are_those_of_pycocotools(seed, height, width, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    encoded = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    np.testing.assert_array_equal(
        decode_run_lengths(RunLengths((height, width), encoded["counts"].decode())), mask
    )


@given(st.text(alphabet=[chr(code) for code in range(48, 112)], max_size=20))
@settings(max_examples=300, deadline=None)
def test_any_run_length_text_is_decoded_or_a_fault(text):
    try:
        mask = decode_run_lengths(RunLengths((4, 5), text))
    except ImageFault:
        return
    assert mask.shape == (4, 5)


def test_polygons_have_the_area_of_the_shape_and_lie_where_pycocotools_puts_them():
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    points = tuple(
        np.stack([48.3 + 20 * np.cos(angles), 29.8 + 20 * np.sin(angles)], axis=1).ravel().tolist()
    )
    drawn = geometry().outline(Outline(polygons=(points,))) == FOREGROUND
    theirs = coco_masks.decode(
        coco_masks.merge(coco_masks.frPyObjects([list(points)], HEIGHT, WIDTH))
    ).astype(bool)
    assert drawn.sum() == pytest.approx(np.pi * 20**2, rel=0.01)
    assert iou(drawn, theirs) > 0.97


@given(st.lists(st.tuples(st.floats(-10, 110), st.floats(-10, 70)), min_size=3, max_size=12))
@settings(max_examples=200, deadline=None)
def test_a_polygon_holds_the_pixels_whose_centre_it_holds(corners):
    xs, ys = np.array(corners).T
    assume(min(xs) < WIDTH and min(ys) < HEIGHT and max(xs) > 0 and max(ys) > 0)
    drawn = geometry().outline(Outline(polygons=(tuple(np.array(corners).ravel()),))) == FOREGROUND
    centre_y, centre_x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    theirs = pixels_by_even_odd(centre_x, centre_y, xs, ys)
    np.testing.assert_array_equal(drawn, theirs)


def test_a_photo_is_resized_in_milliseconds():
    pixels = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8)
    through = geometry((224, 224), size=(500, 375))
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        through.image(pixels)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.02
