"""The overlapping segments of an image that XRAI chooses from; they depend on the image, not on a model.

Six segmentations from fine to coarse, every segment grown by five pixels. Pixels that lie in exactly the same
grown segments are one atom: a photograph has hundreds of masks and a few thousand atoms, so that masks are
stored, and merged, as sets of atoms instead of sets of pixels.
Source: Kapishnikov, Bolukbasi, Viegas, Terry. XRAI: Better Attributions Through Regions. ICCV 2019, sec. 3.2.
arXiv:1906.02825. Side, value range, minimum size and radius are those of the published implementation.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from skimage.transform import resize

from audit.attributions._felzenszwalb import label_maps

SCALES = (50.0, 100.0, 150.0, 250.0, 500.0, 1200.0)
"""How coarse each segmentation is (the k of Felzenszwalb and Huttenlocher, in grey levels of 255)."""
SIDE = 224
"""Every image is segmented at SIDE x SIDE pixels, so that scales and sizes mean the same on all."""
RANGE = (-1.0, 1.0)
"""Values an image is stretched to before it is segmented."""
SMOOTHING = 0.8
"""Standard deviation in pixels of the Gaussian before segmentation."""
MIN_SIZE = 150
"""Pixels a segment has at least, at SIDE x SIDE."""
RADIUS = 5
"""Pixels every segment grows by, at the image's own size."""

VERSION = "1"
"""Part of the digest: changes when the same image gets other segments."""

_WORD = 64
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Segments:
    """Masks of one image as sets of atoms; every pixel belongs to one atom.

    Attributes:
        atoms: int32 (H, W), the atom of each pixel, 0 to A - 1.
        holders: int32 (nnz,), the masks that hold each atom, atom by atom; masks 0 to M - 1 are distinct,
            none is empty, finest scale first.
        starts: int32 (A + 1,), where the holders of each atom start.
    """

    atoms: np.ndarray
    holders: np.ndarray
    starts: np.ndarray

    def members(self) -> np.ndarray:
        """The atoms each mask holds, bool (M, A)."""
        n_atoms = self.starts.size - 1
        members = np.zeros((int(self.holders.max()) + 1, n_atoms), bool)
        members[self.holders, np.repeat(np.arange(n_atoms), np.diff(self.starts))] = True
        return members

    def masks(self) -> np.ndarray:
        """The pixels each mask holds, bool (M, H, W)."""
        return self.members()[:, self.atoms]


def segments(image: np.ndarray) -> Segments:
    """The segments of one image.

    Args:
        image: (H, W, 3), uint8, or float of any range; a constant image is one segment.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.size == 0:
        raise ValueError(f"segments: expected one image (H, W, 3), got the shape {image.shape}")
    if not np.isfinite(image).all():
        raise ValueError("segments: the image has values that are not finite")
    labels = label_maps(_standardised(image), SCALES, SMOOTHING, MIN_SIZE)
    return atomised([_enlarged(scale_labels, image.shape[:2]) for scale_labels in labels], RADIUS)


def digest(image: np.ndarray) -> str:
    """SHA-256 of what the segments follow from: pixels, shape, dtype and VERSION."""
    contiguous = np.ascontiguousarray(image)
    hashed = hashlib.sha256(f"{VERSION} {contiguous.dtype.str} {contiguous.shape} ".encode())
    hashed.update(contiguous.data)
    return hashed.hexdigest()


def atomised(labels: Sequence[np.ndarray], radius: int) -> Segments:
    """Label maps as one set of grown, distinct masks.

    Args:
        labels: int (H, W) each, from 0 without regard to gaps; every label of every map is a mask.
        radius: pixels every mask grows by, in a Euclidean disk.
    """
    n_masks = sum(int(scale_labels.max()) + 1 for scale_labels in labels)
    height, width = labels[0].shape
    words = np.zeros((-(-n_masks // _WORD), height, width), np.uint64)
    first = 0
    for scale_labels in labels:
        masks = np.arange(first, first + int(scale_labels.max()) + 1)
        bits = np.uint64(1) << (masks % _WORD).astype(np.uint64)
        for word in range(masks[0] // _WORD, masks[-1] // _WORD + 1):
            words[word] |= np.where(masks // _WORD == word, bits, np.uint64(0))[scale_labels]
        first += masks.size
    atoms, signatures = _distinct(np.stack([dilated(plane, radius).ravel() for plane in words]))
    signature_bytes = np.ascontiguousarray(signatures.T).astype("<u8").view(np.uint8)
    members = np.unpackbits(signature_bytes, axis=1, count=n_masks, bitorder="little").view(bool)
    kept = _without_repeats(members)
    number = np.full(n_masks, -1, np.int32)
    number[kept] = np.arange(len(kept))
    held, holders = np.divmod(np.flatnonzero(members), n_masks)
    is_kept = number[holders] >= 0
    starts = np.concatenate([[0], np.cumsum(np.bincount(held[is_kept], minlength=len(members)))])
    return Segments(atoms.reshape(height, width), number[holders[is_kept]], starts.astype(np.int32))


def dilated(words: np.ndarray, radius: int) -> np.ndarray:
    """The union of the words in a disk around each pixel: every bit is a mask, and all grow at once.

    Args:
        words: uint64 (H, W).
        radius: of the Euclidean disk, pixels; a pixel at exactly that distance belongs to it.
    """
    height, width = words.shape
    # One line of rows with `radius` zeros between them, so that a shift never reaches another row's pixels.
    stride = width + radius
    padded = np.zeros((height + 2 * radius, stride), words.dtype)
    padded[radius : radius + height, :width] = words
    line = padded.ravel()
    row, reach = line.copy(), 0
    result = np.zeros(height * stride, words.dtype)
    # From the disk's pole to its equator the rows only widen, so each is the former one and a few shifts.
    for distance in range(radius, -1, -1):
        for step in range(reach + 1, math.isqrt(radius**2 - distance**2) + 1):
            row[step:] |= line[:-step]
            row[:-step] |= line[step:]
            reach = step
        for shift in {-distance, distance}:
            start = (radius + shift) * stride
            result |= row[start : start + result.size]
    return result.reshape(height, stride)[:, :width]


def _standardised(image: np.ndarray) -> np.ndarray:
    """The image stretched to RANGE at SIDE x SIDE; a constant image becomes the lower end."""
    low, high = np.min(image), np.max(image)
    if low == high:
        return np.full((SIDE, SIDE, image.shape[-1]), RANGE[0])
    # The operations and their dtypes are the published ones: a rounding error can move a segment's border.
    stretched = (image - low) / (high - low) * (RANGE[1] - RANGE[0]) + RANGE[0]
    resized: np.ndarray = resize(
        stretched, (SIDE, SIDE), order=3, mode="constant", preserve_range=True, anti_aliasing=True
    )
    return resized


def _enlarged(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Labels at the image's own size, nearest neighbour."""
    if labels.shape == shape:
        return labels
    rows, columns = (_nearest(old, new) for old, new in zip(labels.shape, shape, strict=True))
    return np.asarray(labels[np.ix_(rows, columns)])


def _nearest(old: int, new: int) -> np.ndarray:
    """For each of `new` positions the nearest of `old`, by the rule of skimage.transform.resize."""
    ramp = np.arange(old, dtype=np.float64)[:, np.newaxis]
    moved = resize(ramp, (new, 1), order=0, mode="constant", preserve_range=True, anti_aliasing=False)
    return np.asarray(moved[:, 0], np.intp)


def _distinct(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of each column of words (n_words, P), equal for equal ones, and the columns (n_words, A)."""
    mixed = np.zeros(words.shape[1], np.uint64)
    for plane in words:
        mixed = (mixed ^ plane) * _ODD
        mixed ^= mixed >> np.uint64(29)
    # Neighbours are mostly alike: only the starts of runs are sorted.
    starts = np.flatnonzero(np.concatenate([[True], mixed[1:] != mixed[:-1]]))
    _, where, of_run = np.unique(mixed[starts], return_index=True, return_inverse=True)
    atoms = np.repeat(of_run.astype(np.int32), np.diff(np.append(starts, words.shape[1])))
    signatures = words[:, starts[where]]
    if all(np.array_equal(kept[atoms], plane) for kept, plane in zip(signatures, words, strict=True)):
        return atoms, signatures
    # Two different columns had one hash, which happens once in 10^12 images.
    signatures, numbers = np.unique(words, axis=1, return_inverse=True)
    return numbers.astype(np.int32).ravel(), signatures


def _without_repeats(members: np.ndarray) -> list[int]:
    """Masks of (A, M) that are not empty and differ from all before; a repeated one can never add a pixel."""
    packed = np.packbits(np.ascontiguousarray(members.T), axis=1)
    first_of: dict[bytes, int] = {}
    for mask in np.flatnonzero(packed.any(axis=1)):
        first_of.setdefault(packed[mask].tobytes(), int(mask))
    return list(first_of.values())
