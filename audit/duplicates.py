"""Pictures that are nearly the same: by perceptual hash, within a split (redundant) and across splits (a leak)."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.fft import dct
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.transform import resize

from audit.tables import DUPLICATES, frame

MOST_BITS = 4
"""Hashes of 64 bits that differ in more are of different pictures.

Of 59 photographs of garments each stayed within 4 bits when it was halved, darkened or stored as a bad JPEG; of 63,546
pairs of different ones the nearest was 6 bits apart. A crop of some per cent or a mirror image is another picture.
"""
_SIDE, _KEPT = 32, 8
"""Pixels a side that are transformed, and frequencies a side that are kept."""
_PAIRS_AT_ONCE = 2**22
"""Of uint64: 32 MB."""
_SHARING_AT_ONCE = 2**20
"""Pairs that share a part, some 50 MB."""
_SHARING_COSTS = 5
"""Times as long as looking at one of all pairs: such a pair is gathered from four places."""
_LUMA = np.array([0.299, 0.587, 0.114])


def perceptual_hashes(images: np.ndarray) -> np.ndarray:
    """Hashes that stay nearly the same when a picture is scaled, compressed or made brighter.

    A bit is set where one of the lowest 8 by 8 frequencies of the picture's luminance, 32 pixels a side, lies above
    the median of them.

    Args:
        images: float (B, H, W, 3), RGB in [0, 1].

    Returns:
        uint64 (B,), the lowest frequency in the highest bit.

    Source: Zauner. Implementation and Benchmarking of Perceptual Image Hash Functions. 2010, sec. 3.2.1.
    """
    grey = np.stack([resize(image @ _LUMA, (_SIDE, _SIDE), anti_aliasing=True) for image in images])
    frequencies = dct(dct(grey, axis=1), axis=2)[:, :_KEPT, :_KEPT].reshape(len(images), -1)
    bits = frequencies > np.median(frequencies, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def near_pairs(
    hashes: np.ndarray, most_bits: int = MOST_BITS, others: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of hashes that differ in at most `most_bits` bits, none of them missed.

    Of `most_bits` + 1 parts of two such hashes one at least is equal, so only hashes that share a part are compared;
    where so many share one that this takes longer, every pair is. An approximate index of a library takes longer and
    misses some: `python -m benchmarks.pool_scale` has the figures.

    Args:
        hashes: uint64 (N,).
        most_bits: 0 finds equal ones.
        others: uint64 (M,) that each hash is held against; None: the hashes against each other, each pair once.

    Returns:
        Indices of the first (into `hashes`) and of the second (into `others`, or `hashes`), and their distance in
        bits, int64 (P,) each, sorted by the first, then the second.

    Source: the pigeonhole search of Norouzi, Punjani, Fleet. Fast Search in Hamming Space with Multi-Index Hashing.
    CVPR 2012, sec. 2; here a part is every (`most_bits` + 1)-th bit, since in pictures neighbouring ones go together.
    """
    against = hashes if others is None else others
    parts = [_Part.of(hashes, others, _mask(part, most_bits + 1)) for part in range(most_bits + 1)]
    n_pairs = len(hashes) * (len(hashes) - 1) // 2 if others is None else len(hashes) * len(others)
    if _SHARING_COSTS * sum(int(part.counts.sum()) for part in parts) > n_pairs:
        return _among_all(hashes, most_bits, others)
    found: list[np.ndarray] = [np.empty((0, 3), np.int64)]
    earlier: list[np.uint64] = []
    for part in parts:
        for first, second in part.pairs():
            differing = hashes[first] ^ against[second]
            distance = np.bitwise_count(differing)
            near = distance <= most_bits
            for mask in earlier:  # A pair that shares several parts is taken at the first.
                near &= (differing & mask) != 0
            found.append(np.stack([first[near], second[near], distance[near].astype(np.int64)], axis=1))
        earlier.append(part.mask)
    one, other, bits = np.concatenate(found).T
    if others is None:
        one, other = np.minimum(one, other), np.maximum(one, other)
    order = np.lexsort((other, one))
    return one[order], other[order], bits[order]


def _mask(part: int, n_parts: int) -> np.uint64:
    """Every `n_parts`-th bit of 64."""
    return np.uint64(sum(1 << bit for bit in range(part, 64, n_parts)))


@dataclass(frozen=True)
class _Part:
    """Hashes in the order of some of their bits, and who shares them.

    Attributes:
        mask: the bits.
        order, against: int64 (N,) and (M,), indices of hashes and of those they are held against.
        starts, counts: int64 (N,), where in `against` those begin that share the bits, and how many they are.
    """

    mask: np.uint64
    order: np.ndarray
    against: np.ndarray
    starts: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, hashes: np.ndarray, others: np.ndarray | None, mask: np.uint64) -> "_Part":
        """As in `near_pairs`; of hashes among themselves only those further on, so that each pair is there once."""
        order = np.argsort(hashes & mask, kind="stable")
        keys = (hashes & mask)[order]
        if others is None:
            starts = np.arange(1, len(keys) + 1)
            return cls(mask, order, order, starts, np.searchsorted(keys, keys, "right") - starts)
        against = np.argsort(others & mask, kind="stable")
        theirs = (others & mask)[against]
        starts = np.searchsorted(theirs, keys)
        return cls(mask, order, against, starts, np.searchsorted(theirs, keys, "right") - starts)

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Indices of hashes that share the bits, in portions."""
        before = np.concatenate([[0], np.cumsum(self.counts)])
        start = 0
        while start < len(self.order):
            stop = max(start + 1, int(np.searchsorted(before, before[start] + _SHARING_AT_ONCE)) - 1)
            counts = self.counts[start:stop]
            rows = np.repeat(np.arange(start, stop), counts)
            place = np.arange(len(rows)) - np.repeat(before[start:stop] - before[start], counts)
            yield self.order[rows], self.against[self.starts[rows] + place]
            start = stop


def _among_all(
    hashes: np.ndarray, most_bits: int, others: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `near_pairs`, from every pair, in blocks."""
    against = hashes if others is None else others
    found: list[np.ndarray] = [np.empty((0, 3), np.int64)]
    n_rows = max(1, _PAIRS_AT_ONCE // max(1, len(against)))
    for start in range(0, len(hashes), n_rows):
        first = 0 if others is not None else start
        distance = np.bitwise_count(hashes[start : start + n_rows, None] ^ against[None, first:])
        rows, columns = np.nonzero(distance <= most_bits)
        pairs = np.stack([rows + start, columns + first, distance[rows, columns]], axis=1).astype(np.int64)
        found.append(pairs if others is not None else pairs[pairs[:, 0] < pairs[:, 1]])
    one, other, bits = np.concatenate(found).T
    return one, other, bits


def find_duplicates(
    predictions: pd.DataFrame, features: pd.DataFrame, most_bits: int = MOST_BITS
) -> pd.DataFrame:
    """The table DUPLICATES: every sample that has a near duplicate in the run.

    Groups are closed under likeness: what is like one of a group belongs to it. The first of a group, by split and
    sample id, counts as the original.

    Args:
        predictions: label, split and file digest of each sample.
        features: its perceptual hash.
        most_bits: as `near_pairs`.
    """
    columns = ["sample_id", "label", "split", "digest"]
    rows = predictions[columns].merge(
        features[["sample_id", "picture_hash"]], on="sample_id", validate="one_to_one"
    )
    rows = rows.sort_values(["split", "sample_id"], ignore_index=True)
    hashes = np.array([int(text, 16) for text in rows["picture_hash"]], dtype=np.uint64)
    # Equal hashes are looked at once: a thousand blank pictures are half a million pairs.
    known, place = np.unique(hashes, return_inverse=True)
    one, other, bits = near_pairs(known, most_bits)
    links = coo_array((np.ones(len(one)), (one, other)), shape=(len(known), len(known)))
    groups = connected_components(links, directed=False)[1][place]
    nearest = _nearest(place, one, other, bits)
    found = rows.loc[sorted(nearest)]
    pictures = rows.to_dict("records")
    made: dict[int, dict[str, object]] = {}
    for _, group in found.groupby(groups[found.index]):
        made |= _group_rows(pictures, group, nearest)
    return frame(DUPLICATES, (made[index] for index in sorted(made)))


def _nearest(
    place: np.ndarray, one: np.ndarray, other: np.ndarray, bits: np.ndarray
) -> dict[int, tuple[int, int]]:
    """Of each picture that has a partner the nearest one, and its distance; of equally near ones the first.

    Args:
        place: int (N,), which of the different hashes each picture has.
        one, other, bits: pairs of different hashes that are near, and their distances.
    """
    members: dict[int, list[int]] = {}
    for row, own in enumerate(place.tolist()):
        members.setdefault(own, []).append(row)
    best: dict[int, tuple[int, int]] = {}
    for first, second, distance in zip(one.tolist(), other.tolist(), bits.tolist(), strict=True):
        for own, partner in ((first, second), (second, first)):
            found = (distance, members[partner][0])
            best[own] = min(best.get(own, found), found)
    nearest: dict[int, tuple[int, int]] = {}
    for own, rows in members.items():
        if len(rows) > 1:
            nearest |= {row: (rows[1] if row == rows[0] else rows[0], 0) for row in rows}
        elif own in best:
            distance, partner = best[own]
            nearest[rows[0]] = (partner, distance)
    return nearest


def _group_rows(
    pictures: Sequence[Mapping[Hashable, Any]], group: pd.DataFrame, nearest: Mapping[int, tuple[int, int]]
) -> dict[int, dict[str, object]]:
    """The samples of a group, by their place in `pictures`."""
    splits, labels = sorted(group["split"].unique()), sorted(group["label"].unique())
    made: dict[int, dict[str, object]] = {}
    for index, is_redundant in zip(
        group.index.tolist(), group.duplicated(["split", "label"]).tolist(), strict=True
    ):
        (partner, distance), own = nearest[index], pictures[index]
        made[index] = {
            "sample_id": own["sample_id"],
            "original": group["sample_id"].iloc[0],
            "nearest": pictures[partner]["sample_id"],
            "distance": distance,
            "leaks": len(splits) > 1,
            "redundant": is_redundant,
            "reason": _sentence(own, pictures[partner], distance, splits, labels),
        }
    return made


def _sentence(
    own: Mapping[Hashable, Any],
    nearest: Mapping[Hashable, Any],
    distance: int,
    splits: Sequence[str],
    labels: Sequence[str],
) -> str:
    """What the likeness means, the gravest first."""
    if own["digest"] == nearest["digest"]:
        likeness = f"the same file as {nearest['sample_id']}"
    else:
        likeness = f"nearly the same picture as {nearest['sample_id']} ({distance} of 64 bits differ)"
    remarks = []
    if len(splits) > 1:
        remarks.append(f"a leak: the picture is in the splits {', '.join(splits)}")
    if len(labels) > 1:
        remarks.append(f"it carries the labels {', '.join(labels)}")
    return "; ".join([likeness, *remarks])
