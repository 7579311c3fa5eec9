"""What holds of every image size, orientation, way of resizing and outline, however odd."""

import io
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from audit.types import BACKGROUND, FOREGROUND, MaskFile, Outline, RunLengths, Sample
from pipelines.geometry import Geometry, decode_run_lengths
from pipelines.images import oriented
from pipelines.inputs import InputSettings, load

SIDES = st.integers(1, 40)
SIZES = st.tuples(SIDES, SIDES)
MODES = st.sampled_from(["stretch", "crop", "pad"])
ORIENTATIONS = st.integers(1, 8)
GEOMETRIES = st.builds(Geometry, SIZES, ORIENTATIONS, SIZES, MODES, st.booleans())
AS_STORED = settings(max_examples=300, deadline=None)


@st.composite
def boxes_on(draw, size):
    """A box with corners between pixels, at least a pixel of it on an image of (width, height)."""
    width, height = size
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
    return float(x0), float(y0), float(x1), float(y1)


def pixels_of(box, size) -> np.ndarray:
    """bool (H, W) of a box with whole corners."""
    mask = np.zeros(size[::-1], dtype=bool)
    x0, y0, x1, y1 = (int(value) for value in box)
    mask[y0:y1, x0:x1] = True
    return mask


def run_lengths(mask: np.ndarray) -> RunLengths:
    """COCO's uncompressed counts: down the columns, background first."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    ends = [0, *changes.tolist(), len(flat)]
    counts = [int(stop - start) for start, stop in itertools.pairwise(ends)]
    return RunLengths(mask.shape, tuple(([0] if flat[0] else []) + counts))


def masks(size) -> st.SearchStrategy[np.ndarray]:
    """bool (H, W), drawn at random."""
    return st.tuples(st.integers(0, 2**32 - 1), st.floats(0, 1)).map(
        lambda drawn: np.random.default_rng(drawn[0]).random(size[::-1]) < drawn[1]
    )


@given(SIZES.flatmap(masks))
@AS_STORED
def test_run_lengths_come_back_as_the_mask_that_they_were_made_of(mask):
    np.testing.assert_array_equal(decode_run_lengths(run_lengths(mask)), mask)


@given(st.data(), GEOMETRIES)
@AS_STORED
def test_box_polygon_and_run_lengths_of_the_same_pixels_are_the_same_foreground(data, geometry):
    x0, y0, x1, y1 = box = data.draw(boxes_on(geometry.stored_size))
    by_box = geometry.outline(Outline(boxes=(box,)))
    by_corners = geometry.outline(Outline(polygons=((x0, y0, x1, y0, x1, y1, x0, y1),)))
    by_lengths = geometry.outline(Outline(run_lengths=(run_lengths(pixels_of(box, geometry.stored_size)),)))
    np.testing.assert_array_equal(by_corners, by_box)
    np.testing.assert_array_equal(by_lengths, by_box)


@given(st.data(), GEOMETRIES)
@AS_STORED
def test_turning_first_or_last_is_the_same(data, geometry):
    mask = data.draw(masks(geometry.stored_size))
    upright = Geometry(geometry.upright_size, 1, geometry.target, geometry.mode, geometry.antialias)
    np.testing.assert_array_equal(
        geometry.outline(Outline(run_lengths=(run_lengths(mask),), is_known=True)) == FOREGROUND,
        upright.mask(oriented(mask, geometry.orientation)),
    )


@given(st.data(), st.builds(Geometry, SIZES, ORIENTATIONS, SIZES, MODES, st.just(False)))
@AS_STORED
def test_where_a_picture_is_all_object_or_all_background_the_mask_says_so(data, geometry):
    mask = oriented(data.draw(masks(geometry.stored_size)), geometry.orientation)
    picture = geometry.image(np.repeat(mask[..., np.newaxis], 3, axis=2).astype(np.uint8) * 255)[..., 0]
    inside = geometry.mask(mask)
    assert inside[picture == 1.0].all()
    assert not inside[picture == 0.0].any()


@given(st.data(), SIZES, ORIENTATIONS, st.integers(1, 4))
@AS_STORED
def test_enlarging_by_a_whole_factor_multiplies_the_area(data, size, orientation, factor):
    box = data.draw(boxes_on(size))
    width, height = size if orientation < 5 else size[::-1]
    enlarged = Geometry(size, orientation, (height * factor, width * factor), "stretch", False)
    drawn = enlarged.outline(Outline(boxes=(box,)))
    assert (drawn == FOREGROUND).sum() == pixels_of(box, size).sum() * factor**2


@given(st.data(), GEOMETRIES)
@AS_STORED
def test_an_outline_is_the_union_of_its_parts_in_any_order(data, geometry):
    first, second = (data.draw(boxes_on(geometry.stored_size)) for _ in range(2))
    alone = [geometry.outline(Outline(boxes=(box,))) for box in (first, second)]
    for boxes in ((first, second), (second, first), (first, second, first)):
        np.testing.assert_array_equal(geometry.outline(Outline(boxes=boxes)), np.maximum(*alone))


@given(GEOMETRIES)
@AS_STORED
def test_a_cut_stays_on_the_picture_and_padding_holds_all_of_it(geometry):
    left, top, across, down = geometry.window
    width, height = geometry.upright_size
    if geometry.mode == "pad":
        assert left <= 0
        assert top <= 0
        assert left + across >= width
        assert top + down >= height
    else:
        assert left >= 0
        assert top >= 0
        assert left + across <= width
        assert top + down <= height
    drawn = geometry.outline(Outline(boxes=((0.0, 0.0, *map(float, geometry.stored_size)),)))
    # Every pixel of the picture is object; what is not lies beside it.
    beside = {BACKGROUND} if geometry.mode == "pad" else set()
    assert set(np.unique(drawn)) - {FOREGROUND} <= beside


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@given(data=st.data(), size=SIZES, orientation=ORIENTATIONS)
@settings(max_examples=60, deadline=None)
def test_files_of_any_orientation_keep_picture_and_mask_on_each_other(
    tmp_path_factory, kind, data, size, orientation
):
    folder = tmp_path_factory.mktemp("pictures")
    stored = data.draw(masks(size))
    exif = Image.Exif()
    exif[0x0112] = orientation
    tag = {"tiffinfo": {274: orientation}} if kind == "TIFF" else {"exif": exif}
    buffer = io.BytesIO()
    Image.fromarray(np.repeat(stored[..., np.newaxis], 3, axis=2).astype(np.uint8) * 255).save(
        buffer, kind, lossless=True, **tag
    )
    (folder / "image").write_bytes(buffer.getvalue())
    Image.fromarray(stored.astype(np.uint8) * 255).save(folder / "mask.png")
    width, height = size if orientation < 5 else size[::-1]
    how = InputSettings((height, width), "stretch", False, "apply", "white", 10_000, ())
    outline = Outline(mask=MaskFile(str(folder / "mask.png")))
    sample = Sample("s", str(folder / "image"), "a", foreground=outline)
    batch, _, faults = load([sample], {"a": 0}, None, how)
    assert faults == ()
    np.testing.assert_array_equal(batch.images[0, ..., 0] == 1.0, oriented(stored, orientation))
    np.testing.assert_array_equal(batch.foreground[0] == FOREGROUND, oriented(stored, orientation))
