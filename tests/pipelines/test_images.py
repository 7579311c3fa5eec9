import hashlib
import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipelines.images import DecodedImage, ImageFault, decode, decode_mask, oriented

GRADIENT = np.stack(
    np.broadcast_arrays(np.arange(0, 256, 8), np.arange(0, 240, 10)[:, None], np.full((24, 32), 90)), 2
)
GRADIENT = GRADIENT.astype(np.uint8)  # (24, 32, 3)


def read(path, *, exif="apply", alpha="white", max_pixels=1_000_000) -> DecodedImage:
    return decode(path, exif=exif, alpha=alpha, max_pixels=max_pixels)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
        ("PPM", {}),
    ],
)
def test_a_lossless_format_comes_back_as_it_was(tmp_path, kind, options):
    path = tmp_path / "image"
    path.write_bytes(encoded(Image.fromarray(GRADIENT), kind, **options))
    np.testing.assert_array_equal(read(path).pixels, GRADIENT)


@pytest.mark.parametrize("kind", ["JPEG", "AVIF"])
def test_a_lossy_format_comes_back_within_a_level_on_average(tmp_path, kind):
    path = tmp_path / "image"
    smooth = Image.fromarray(GRADIENT).resize((256, 192))
    path.write_bytes(encoded(smooth, kind, quality=95))
    error = np.abs(read(path).pixels.astype(int) - np.asarray(smooth).astype(int)).mean()
    assert error <= 1.0


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("L", 100, (100, 100, 100)),
        ("1", 1, (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),  # a fifth of black on white
        ("LA", (100, 255), (100, 100, 100)),
        ("I;16", 32639, (127, 127, 127)),
        ("I;16", 65535, (255, 255, 255)),
    ],
)
def test_a_mode_becomes_rgb(tmp_path, mode, value, expected):
    path = tmp_path / "image.tif"
    Image.new(mode, (4, 3), value).save(path)
    pixels = read(path).pixels
    assert pixels.shape == (3, 4, 3)
    np.testing.assert_allclose(pixels.reshape(-1, 3), np.tile(expected, (12, 1)), atol=1)


def test_sixteen_bit_grey_png_of_mean_one_half_has_mean_127(tmp_path):
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "grey.png")
    assert read(tmp_path / "grey.png").pixels.mean() == pytest.approx(127.5, abs=1)


def test_a_palette_with_a_transparent_entry_is_laid_on_the_configured_colour(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([200, 10, 10, 10, 200, 10])
    image.putdata([0, 1])
    image.save(tmp_path / "palette.png", transparency=0)
    assert read(tmp_path / "palette.png", alpha="white").pixels.tolist() == [[[255, 255, 255], [10, 200, 10]]]
    assert read(tmp_path / "palette.png", alpha="black").pixels.tolist() == [[[0, 0, 0], [10, 200, 10]]]
    assert read(tmp_path / "palette.png", alpha="drop").pixels.tolist() == [[[200, 10, 10], [10, 200, 10]]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_shows_its_first_frame(tmp_path, kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = tmp_path / "animation"
    path.write_bytes(
        encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100, lossless=True)
    )
    assert read(path).pixels[4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_applied_or_ignored(tmp_path, kind, orientation):
    stored = np.zeros((48, 96, 3), dtype=np.uint8)
    stored[:16, :32] = 255  # the mark: the first 16 rows and 32 columns
    path = tmp_path / "image"
    exif = Image.Exif()
    exif[0x0112] = orientation
    tag = {"tiffinfo": {274: orientation}} if kind == "TIFF" else {"exif": exif}
    path.write_bytes(encoded(Image.fromarray(stored), kind, **tag))

    applied, ignored = read(path, exif="apply"), read(path, exif="ignore")

    # From the definition of the tag: where row 0 and column 0 of the stored image lie in the upright one.
    row_zero, column_zero = {
        1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
        5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
    }[orientation]  # fmt: skip
    is_turned = orientation >= 5
    assert applied.pixels.shape == ((96, 48, 3) if is_turned else (48, 96, 3))
    height, width = (32, 16) if is_turned else (16, 32)
    upright = np.zeros(applied.pixels.shape[:2], dtype=bool)
    sides = {row_zero, column_zero}
    rows = slice(0, height) if "top" in sides else slice(-height, None)
    columns = slice(0, width) if "left" in sides else slice(-width, None)
    upright[rows, columns] = True
    np.testing.assert_array_equal(applied.pixels[..., 0] > 127, upright)
    assert (applied.orientation, applied.stored_size) == (orientation, (96, 48))
    np.testing.assert_array_equal(ignored.pixels[..., 0] > 127, stored[..., 0] > 127)
    assert (ignored.orientation, ignored.stored_size) == (1, (96, 48))


def test_an_orientation_beyond_eight_counts_as_none(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 77
    Image.fromarray(GRADIENT).save(tmp_path / "image.png", exif=exif)
    assert read(tmp_path / "image.png").orientation == 1


def test_oriented_is_a_view():
    assert np.shares_memory(oriented(GRADIENT, 6), GRADIENT)


def test_what_is_known_of_a_file_besides_its_pixels(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110] = 6, "ACME", "Acme  One\0"
    path = tmp_path / "photo"
    path.write_bytes(encoded(Image.fromarray(GRADIENT), "JPEG", exif=exif))
    facts = read(path).facts
    # Stored 32 x 24, held sideways.
    assert (facts.width, facts.height, facts.format) == (24, 32, "JPEG")
    assert (facts.exif_camera, facts.n_bytes) == ("Acme One", path.stat().st_size)
    exif[0x0110] = "Two"
    path.write_bytes(encoded(Image.fromarray(GRADIENT), "JPEG", exif=exif))
    assert read(path).facts.exif_camera == "ACME Two"
    path.write_bytes(encoded(Image.fromarray(GRADIENT), "PNG"))
    assert (read(path).facts.format, read(path).facts.exif_camera) == ("PNG", None)


def test_the_digest_is_that_of_the_bytes(tmp_path):
    (tmp_path / "image.ppm").write_bytes(b"P6 1 1 255 \x01\x02\x03")
    decoded = read(tmp_path / "image.ppm")
    assert decoded.pixels.tolist() == [[[1, 2, 3]]]
    assert decoded.digest == hashlib.sha256(b"P6 1 1 255 \x01\x02\x03").hexdigest()


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"", "unreadable image"),
        (b"<html><body>404</body></html>", "unreadable image"),
        (encoded(Image.fromarray(GRADIENT), "PNG")[:70], "unreadable image"),
        (encoded(Image.fromarray(GRADIENT), "JPEG")[:-60], "unreadable image"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "unreadable image",
        ),  # would start another program
        (encoded(Image.new("F", (2, 2), 0.5), "TIFF"), "unreadable image"),
    ],
    ids=["empty", "html", "png cut off", "jpeg cut off", "postscript", "floating point"],
)
def test_what_is_no_image_is_a_fault_with_one_sentence(tmp_path, contents, reason):
    path = tmp_path / "image.jpg"
    path.write_bytes(contents)
    with pytest.raises(ImageFault) as caught:
        read(path)
    assert caught.value.reason == reason
    assert str(path) in caught.value.detail
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize("name", ["absent.jpg", "."])
def test_what_is_no_file_is_missing(tmp_path, name):
    with pytest.raises(ImageFault, match="no such file") as caught:
        read(tmp_path / name)
    assert caught.value.reason == "missing image"


def test_a_pixel_bomb_is_refused_before_it_is_decoded(tmp_path):
    header = struct.pack(">4sIIBBBBB", b"IHDR", 20_000, 20_000, 1, 0, 0, 0, 0)
    checked = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + checked + struct.pack(">I", 9) + b"IDAT" + b"x" * 9
    )
    with pytest.raises(ImageFault) as caught:
        read(tmp_path / "bomb.png", max_pixels=50_000_000)
    assert caught.value.reason == "image too large"
    Image.new("1", (2_000, 1_000)).save(tmp_path / "large.png")
    with pytest.raises(ImageFault, match="expected at most 1999999 pixels, found 2000 x 1000"):
        read(tmp_path / "large.png", max_pixels=1_999_999)


@pytest.mark.parametrize("size", [(20_000, 1), (1, 1), (1, 20_000)])
def test_extreme_shapes_decode(tmp_path, size):
    Image.new("RGB", size, "red").save(tmp_path / "image.png")
    assert read(tmp_path / "image.png").pixels.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "AVIF"])
def test_a_mutated_file_decodes_or_is_a_fault(tmp_path, kind):
    rng = random.Random(kind)
    whole = encoded(Image.fromarray(GRADIENT), kind)
    path = tmp_path / "mutant"
    outcomes = {"decoded": 0, "fault": 0}
    for _ in range(100):
        mutant = bytearray(whole)
        for _ in range(rng.choice([1, 3, 10])):
            mutant[rng.randrange(min(len(mutant), 400))] = rng.randrange(256)
        path.write_bytes(mutant[: rng.choice([len(mutant), rng.randrange(1, len(mutant))])])
        try:
            read(path)
            outcomes["decoded"] += 1
        except ImageFault:
            outcomes["fault"] += 1
    assert sum(outcomes.values()) == 100
    assert outcomes["fault"] > 10


def test_a_mask_keeps_palette_indices(tmp_path):
    mask = Image.new("P", (3, 1))
    mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    mask.putdata([0, 2, 1])
    mask.save(tmp_path / "mask.png")
    values, is_exact = decode_mask(tmp_path / "mask.png", sizes=((3, 1),), max_pixels=100)
    assert values.tolist() == [[0, 2, 1]]
    assert is_exact


def test_a_grey_mask_in_three_channels_is_read_and_a_coloured_one_is_not(tmp_path):
    Image.new("RGB", (3, 2), (7, 7, 7)).save(tmp_path / "grey.png")
    Image.new("RGB", (3, 2), (7, 7, 8)).save(tmp_path / "colour.png")
    assert decode_mask(tmp_path / "grey.png", sizes=((3, 2),), max_pixels=100)[0].tolist() == [
        [7, 7, 7],
        [7, 7, 7],
    ]
    with pytest.raises(ImageFault, match="coloured mask"):
        decode_mask(tmp_path / "colour.png", sizes=((3, 2),), max_pixels=100)


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_comes_back_as_stored_whatever_its_own_orientation(tmp_path, kind, orientation):
    stored = np.arange(24, dtype=np.uint8).reshape(4, 6)
    exif = Image.Exif()
    exif[0x0112] = orientation
    tag = {"tiffinfo": {274: orientation}} if kind == "TIFF" else {"exif": exif}
    path = tmp_path / "mask"
    path.write_bytes(encoded(Image.fromarray(stored), kind, **tag))
    values, is_exact = decode_mask(path, sizes=((6, 4),), max_pixels=24)
    np.testing.assert_array_equal(values, stored)
    assert is_exact
    with pytest.raises(ImageFault, match=r"expected 4 x 6 pixels .* found 6 x 4"):
        decode_mask(path, sizes=((4, 6),), max_pixels=24)
