"""The ranking of XRAI: masks are taken one by one, each time the one whose new pixels attribute most.

Only counts and sums are kept: when a mask is taken, each pixel it newly covers is subtracted once from every
mask that holds it. Means that rounding could swap are evaluated again as the published implementation does,
so that the order is the published one; values are means in float64.
Source: Kapishnikov, Bolukbasi, Viegas, Terry. XRAI: Better Attributions Through Regions. ICCV 2019, algorithm
1. arXiv:1906.02825. The fast variant is the published implementation's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np

from audit.attributions._segments import Segments

Algorithm = Literal["full", "fast"]

MIN_NEW_PIXELS = 50
"""What the published implementation asks a mask to add."""

_ROUNDING = 64.0
"""Rounding of a mean as published, in units of the base's precision times the mean of its absolute values."""
_CANCELLATION = 1e-12
"""The same for what is left of a float64 sum after subtractions, in units of the whole absolute sum."""


def rank(
    base: np.ndarray,
    segments: Segments,
    algorithm: Algorithm = "full",
    *,
    min_new_pixels: int = MIN_NEW_PIXELS,
) -> tuple[np.ndarray, np.ndarray]:
    """Regions of an image, ranked by the mean attribution of what each adds to those taken before it.

    Args:
        base: attributions of the pixels, (H, W), or (H, W, C) of which the largest channel counts.
        segments: masks to choose from.
        algorithm: "full" chooses anew after each step; "fast" takes masks in the order of their own means.
        min_new_pixels: a mask that adds fewer pixels is not taken; at least 1.

    Returns:
        float32 (H, W), each pixel its region's mean: the map sums to what the (H, W) base sums to; and int16
        (H, W), each pixel its region's rank, 1 = highest mean; pixels of no region come last.

    Raises:
        ValueError: the shapes differ, the base is not finite, or the algorithm is unknown.
    """
    values = reduce(np.maximum, np.moveaxis(base, -1, 0)) if base.ndim == 3 else base
    if values.shape != segments.atoms.shape:
        raise ValueError(
            f"rank: base {base.shape} and segments {segments.atoms.shape} must agree in height and width"
        )
    if not np.isfinite(values).all():
        raise ValueError("rank: the base attribution has values that are not finite")
    if algorithm not in _CHOICES:
        raise ValueError(f"rank: algorithm must be one of {', '.join(_CHOICES)}, got {algorithm!r}")
    field = _Field.of(values, segments)
    region_of_atom = _CHOICES[algorithm](field, min_new_pixels)
    n_regions = int(region_of_atom.max()) + 1
    # Atoms of no region are numbered -1: their place is the last, whatever their mean.
    tallies = np.roll(_sums(region_of_atom + 1, field.weights, n_regions + 1), -1, axis=1)
    order = _descending(field, tallies[:, :n_regions], lambda position: region_of_atom == position)
    ranks = np.full(n_regions + 1, n_regions + 1, np.int16)
    ranks[order] = np.arange(1, n_regions + 1)
    counts, sums, _ = tallies
    means = np.divide(sums, counts, out=np.zeros(n_regions + 1), where=counts > 0).astype(np.float32)
    region_of_pixel = region_of_atom[segments.atoms]
    return means[region_of_pixel], ranks[region_of_pixel]


@dataclass(frozen=True)
class _Field:
    """A base attribution over segments. A region is a bool (A,); a tally is its pixels, sum and absolute sum.

    Attributes:
        values: (P,), the pixels' attributions in the caller's precision.
        atoms: (P,), the pixels' atoms.
        masks: bool (M, A), the atoms each mask holds.
        weights: float64 (3, A), the atoms' tallies.
        precision: rounding errors of a mean of `values`, relative to the mean of its absolute values.
        holders, starts: of the segments.
    """

    values: np.ndarray
    atoms: np.ndarray
    masks: np.ndarray
    weights: np.ndarray
    precision: float
    holders: np.ndarray
    starts: np.ndarray

    @staticmethod
    def of(values: np.ndarray, segments: Segments) -> "_Field":
        flat, atoms = np.ascontiguousarray(values).ravel(), segments.atoms.ravel()
        n_atoms = segments.starts.size - 1
        weights = np.stack([np.bincount(atoms, by, n_atoms) for by in (None, flat, np.abs(flat))])
        precision = _ROUNDING * float(np.finfo(np.result_type(flat, np.float16)).eps)
        return _Field(flat, atoms, segments.members(), weights, precision, segments.holders, segments.starts)

    def tallies(self, atoms: np.ndarray) -> np.ndarray:
        """What some atoms (indices) add to the tallies of all masks, float64 (3, M)."""
        lengths = self.starts[atoms + 1] - self.starts[atoms]
        firsts = self.starts[atoms] - np.cumsum(lengths) + lengths
        positions = np.repeat(firsts, lengths) + np.arange(lengths.sum())
        return _sums(self.holders[positions], self.weights[:, np.repeat(atoms, lengths)], len(self.masks))

    def published_mean(self, region: np.ndarray) -> float:
        """The mean in the base's own precision and NumPy's order of summation, pixels in raster order."""
        return float(self.values[region[self.atoms]].mean())


def _sums(groups: np.ndarray, weights: np.ndarray, n_groups: int) -> np.ndarray:
    """Sums of weights (3, n) over the n members of each group, float64 (3, n_groups)."""
    # Not a matrix product: a BLAS with threads of its own is slower, and its sums depend on their number.
    in_row = groups + n_groups * np.arange(len(weights))[:, np.newaxis]
    return np.bincount(in_row.ravel(), weights.ravel(), weights.shape[0] * n_groups).reshape(-1, n_groups)


def _full(field: _Field, min_new_pixels: int) -> np.ndarray:
    """The region of each atom, int (A,), numbered in the order taken, chosen anew each time; -1 for none."""
    tallies = field.tallies(np.arange(field.masks.shape[1]))
    counts, sums, absolute = tallies
    cancelled = _CANCELLATION * absolute
    region_of_atom = np.full(field.masks.shape[1], -1)
    n_regions = 0
    while (candidates := counts >= min_new_pixels).any():
        divisors = np.where(candidates, counts, 1.0)
        means = np.where(candidates, sums / divisors, -np.inf)
        doubts = (field.precision * absolute + cancelled) / divisors
        rivals = np.flatnonzero(means + doubts >= (means - doubts).max())
        news = [field.masks[rival] & (region_of_atom < 0) for rival in rivals]
        best = _first_of_highest(field, news)
        region_of_atom[news[best]] = n_regions
        n_regions += 1
        tallies -= field.tallies(np.flatnonzero(news[best]))
        # None of its pixels is left.
        tallies[:, rivals[best]] = 0.0
    return region_of_atom


def _first_of_highest(field: _Field, regions: list[np.ndarray]) -> int:
    """Position of the first region of the highest published mean; mostly one, or all are the same."""
    if all(np.array_equal(region, regions[0]) for region in regions[1:]):
        return 0
    return int(np.argmax([field.published_mean(region) for region in regions]))


def _fast(field: _Field, min_new_pixels: int) -> np.ndarray:
    """The region of each atom, int (A,), numbered in the order of the masks' own means; -1 for none."""
    tallies = field.tallies(np.arange(field.masks.shape[1]))
    region_of_atom = np.full(field.masks.shape[1], -1)
    n_regions = 0
    for mask in _descending(field, tallies, field.masks.__getitem__):
        new = np.flatnonzero(field.masks[mask] & (region_of_atom < 0))
        if field.weights[0, new].sum() >= min_new_pixels:
            region_of_atom[new] = n_regions
            n_regions += 1
    return region_of_atom


_CHOICES = {"full": _full, "fast": _fast}


def _descending(field: _Field, tallies: np.ndarray, region: Callable[[int], np.ndarray]) -> np.ndarray:
    """Positions from the highest mean of `tallies` (3, n) to the lowest, equals in the order given.

    Args:
        region: the region at a position, asked for where rounding could swap neighbours.
    """
    counts, sums, absolute = tallies
    means = sums / counts
    doubts = (field.precision + _CANCELLATION) * absolute / counts
    order = np.argsort(-means, kind="stable")
    is_near = means[order[:-1]] - means[order[1:]] <= doubts[order[:-1]] + doubts[order[1:]]
    near = np.zeros(order.size, bool)
    near[:-1] |= is_near
    near[1:] |= is_near
    for position in order[near]:
        means[position] = field.published_mean(region(position))
    return np.argsort(-means, kind="stable")
