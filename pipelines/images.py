"""Image and mask files as arrays, by one decoder; what cannot be decoded is an ImageFault, never a crash.

The pixels are those of training pipelines that decode with Pillow: 8 bits, RGB, first frame. Sixteen-bit grey
is scaled by 1/257 (Pillow alone would clip it), transparent pixels are laid on the configured colour, CMYK is
converted without a profile.
"""

import hashlib
import io
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from audit.errors import DatasetError
from audit.types import ImageFacts

Size = tuple[int, int]
"""(width, height), the order of Pillow."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "PPM")
# Damaged files make Pillow's plugins stumble in all of these ways; a warning is among them where the caller
# turns warnings into errors.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    EOFError,
    MemoryError,
    BufferError,
    struct.error,
    zlib.error,
    Warning,
)
_FORMAT_NAMES = {"MPO": "JPEG"}
"""A phone's JPEG with a second picture behind the first is a JPEG."""
_ORIENTATION, _MAKE, _MODEL = 0x0112, 0x010F, 0x0110
_INVERSE_ORIENTATION = {6: 8, 8: 6}
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_LARGEST_BYTES_PER_PIXEL = 16
_HALF = 127
_PART = re.compile(r"(.+)#bytes=(\d{1,18})\+(\d{1,18})", re.DOTALL)


class ImageFault(DatasetError):  # noqa: N818
    """One sample's image or annotation cannot be used: the sample is quarantined, the run goes on.

    Attributes:
        reason: kind of fault, in a few words.
        detail: what was expected, what was found, in one sentence.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image file.

    Attributes:
        pixels: uint8 (H, W, 3), RGB, upright.
        orientation: 1 to 8, how the stored image was turned to stand upright; 1 where EXIF is ignored.
        stored_size: (width, height) before it was turned.
        digest: SHA-256 of the file's bytes, in hexadecimal.
        facts: what else is known of the file.
    """

    pixels: np.ndarray
    orientation: int
    stored_size: Size
    digest: str
    facts: ImageFacts


def decode(
    path: Path, *, exif: Literal["apply", "ignore"], alpha: Literal["white", "black", "drop"], max_pixels: int
) -> DecodedImage:
    """The pixels of an image file, upright.

    Args:
        path: JPEG, PNG, WebP, BMP, GIF, TIFF or AVIF.
        exif: "apply" turns the image as its EXIF orientation says, "ignore" leaves it as stored.
        alpha: what transparent pixels are laid on; "drop" shows the colours hidden under them.
        max_pixels: a larger image is refused before its pixels are allocated. (Pillow's own limit of about
            179 million pixels stands above it.)

    Raises:
        ImageFault: "missing image", "image too large" or "unreadable image".
    """
    contents = _read(path, "image", max_pixels)
    with _faults_of(path, "image"):
        image = Image.open(io.BytesIO(contents), formats=_FORMATS)
        _check_pixels(image.size, path, max_pixels)
        turn = _stated_orientation(image) if exif == "apply" or image.format == "TIFF" else 1
        camera, file_format = _camera(image), _FORMAT_NAMES.get(str(image.format), str(image.format))
        pixels = _to_rgb(image, alpha)
    if image.format == "TIFF":  # the only plugin that turns the pixels by itself while it loads
        pixels = _as_stored(pixels, turn)
    orientation = turn if exif == "apply" else 1
    height, width = pixels.shape[:2]
    upright = np.ascontiguousarray(oriented(pixels, orientation))
    facts = ImageFacts(upright.shape[1], upright.shape[0], file_format, camera, len(contents))
    return DecodedImage(upright, orientation, (width, height), hashlib.sha256(contents).hexdigest(), facts)


def decode_mask(path: Path, *, sizes: tuple[Size, ...], max_pixels: int) -> tuple[np.ndarray, bool]:
    """The values of a mask file as they are stored, palette indices included; its orientation tag is ignored.

    Args:
        path: any format that images may have.
        sizes: (width, height) that the mask may have; it is never resized.
        max_pixels: larger files are refused.

    Returns:
        int32 (H, W), and whether the values are exact: a JPEG blurs them, so they are 0 or 255 by the nearer
        one.

    Raises:
        ImageFault: "missing mask", "unreadable mask", "mask of another size" or "coloured mask".
    """
    contents = _read(path, "mask", max_pixels)
    with _faults_of(path, "mask"):
        image = Image.open(io.BytesIO(contents), formats=_FORMATS)
        # Pillow's TIFF plugin turns the size while it opens and the pixels while it loads.
        turn = _stated_orientation(image) if image.format == "TIFF" else 1
        size = image.size[::-1] if turn >= 5 else image.size
        if size not in sizes:
            expected = " or ".join(f"{width} x {height}" for width, height in sizes)
            raise ImageFault(
                "mask of another size",
                f"{path}: expected {expected} pixels (width x height) as its image, found "
                f"{size[0]} x {size[1]}; masks are never resized",
            )
        values = _as_stored(np.asarray(image).astype(np.int32), turn)
    if values.ndim == 3:
        values = _grey_channel(values, path)
    is_exact = image.format not in ("JPEG", "MPO")
    return (values if is_exact else np.where(values > _HALF, 255, 0).astype(np.int32)), is_exact


def oriented(stored: np.ndarray, orientation: int) -> np.ndarray:
    """A view of (H, W) or (H, W, C) turned upright by its EXIF orientation, 1 to 8.

    Source: EXIF 2.32 (CIPA DC-008), tag 274: where the 0th row and the 0th column of the stored image lie.
    """
    transposed = np.swapaxes(stored, 0, 1)
    upright: dict[int, np.ndarray] = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: transposed,
        6: transposed[:, ::-1],
        7: transposed[::-1, ::-1],
        8: transposed[::-1],
    }
    return upright[orientation]


def _stated_orientation(image: Image.Image) -> int:
    """The orientation tag of an opened image that is not loaded yet; 1 where it has none, or no valid one."""
    stated = image.getexif().get(_ORIENTATION, 1)
    return int(stated) if stated in range(1, 9) else 1


def _camera(image: Image.Image) -> str | None:
    """Make and model of an opened image, as its EXIF states them; None where it does not."""
    try:
        exif = image.getexif()
    except _BROKEN:  # pixels are worth more than the name of what took them
        return None
    # A model's name often starts with its maker's; NUL bytes and blanks fill what a camera did not use.
    words = [str(exif.get(tag, "")).replace("\0", "").split() for tag in (_MAKE, _MODEL)]
    make, model = (" ".join(part) for part in words)
    return (model if model.lower().startswith(make.lower()) else f"{make} {model}").strip() or None


def _as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """What `oriented` turned upright, turned back."""
    return oriented(upright, _INVERSE_ORIENTATION.get(orientation, orientation))


@contextmanager
def _faults_of(path: Path, kind: str) -> Iterator[None]:
    """Whatever a damaged file makes Pillow raise, as one ImageFault."""
    try:
        yield
    except ImageFault:
        raise
    except UnidentifiedImageError:
        raise ImageFault(
            f"unreadable {kind}",
            f"{path}: expected a JPEG, PNG, WebP, BMP, GIF, TIFF or AVIF, found none of them",
        ) from None
    except Image.DecompressionBombError as error:
        raise ImageFault(f"{kind} too large", f"{path}: {error}") from None
    except _BROKEN as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise ImageFault(
            f"unreadable {kind}", f"{path}: the file is damaged or incomplete: {cause}"
        ) from None


def part_of(file: Path, start: int, n_bytes: int) -> str:
    """The path of a picture that lies inside a file of many, which `decode` reads like any other."""
    return f"{file}#bytes={start}+{n_bytes}"


def place_of(path: Path) -> tuple[Path, int, int | None]:
    """The file of a picture, where in it the picture starts, and its bytes; None is the whole file."""
    part = _PART.fullmatch(str(path))
    return (Path(part[1]), int(part[2]), int(part[3])) if part else (path, 0, None)


def _read(path: Path, kind: str, max_pixels: int) -> bytes:
    """The bytes of a picture in a regular file that are not more than an image of `max_pixels` can have."""
    file, start, n_bytes = place_of(path)
    try:
        if not file.is_file():
            raise ImageFault(f"missing {kind}", f"{path}: there is no such file")
        limit = _LARGEST_BYTES_PER_PIXEL * max_pixels + 2**20
        size = file.stat().st_size if n_bytes is None else n_bytes
        if size > limit:
            raise ImageFault(f"{kind} too large", f"{path}: expected at most {limit} bytes, found {size}")
        with file.open("rb") as stored:
            stored.seek(start)
            contents = stored.read(size)
    except (OSError, ValueError) as error:
        raise ImageFault(f"unreadable {kind}", f"{path}: cannot be read: {error}") from None
    if not contents:
        raise ImageFault(f"unreadable {kind}", f"{path}: the file is empty")
    return contents


def _check_pixels(size: Size, path: Path, max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise ImageFault(
            "image too large",
            f"{path}: expected at most {max_pixels} pixels, found {size[0]} x {size[1]}; data.max_pixels "
            "allows more",
        )


def _to_rgb(image: Image.Image, alpha: str) -> np.ndarray:
    """uint8 (H, W, 3) of an opened image, as stored."""
    if image.mode in _SIXTEEN_BIT or image.mode == "I":
        return _from_sixteen_bit(np.asarray(image))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range; convert them to 8 or 16 bits")
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    layered = image.convert("RGBA")
    if alpha == "drop":
        return np.asarray(layered)[..., :3]
    under = Image.new("RGBA", layered.size, alpha)
    return np.asarray(Image.alpha_composite(under, layered).convert("RGB"))


def _from_sixteen_bit(values: np.ndarray) -> np.ndarray:
    """Grey of 0 to 65535 as RGB of 0 to 255, to the nearest level."""
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"expected 16-bit grey of 0 to 65535, found {values.min()} to {values.max()}")
    grey = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.repeat(grey[..., np.newaxis], 3, axis=2)


def _grey_channel(values: np.ndarray, path: Path) -> np.ndarray:
    """The one grey value of each pixel of a mask stored with several channels."""
    n_colours = values.shape[2] - (values.shape[2] in (2, 4))
    if (values[..., :n_colours] != values[..., :1]).any():
        raise ImageFault(
            "coloured mask",
            f"{path}: expected one value a pixel (grey or palette), found an image in colours",
        )
    return np.ascontiguousarray(values[..., 0])
