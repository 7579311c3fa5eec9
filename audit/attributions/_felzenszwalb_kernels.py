"""The loops of `_felzenszwalb` as machine code; imported only where numba is installed (the extra `fast`).

They run without the interpreter lock. Segments are trees over pixels: `parents` holds each pixel's parent, a
root is its own parent and the first pixel of its segment.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba  # type: ignore[import-not-found,import-untyped,unused-ignore]
import numpy as np

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function as machine code, kept on disk between processes."""
    machine_code: Callable[P, R] = numba.njit(nogil=True, cache=True)(function)
    return machine_code


@compiled
def ascending(costs: np.ndarray) -> tuple[np.ndarray, bool]:
    """The order that sorts `costs`, int32 (E,), and whether it is the only one up to costs of zero.

    Args:
        costs: float64 (E,), not negative.
    """
    # Counting sorts on the bits of the costs in single precision, which order like the numbers.
    keys = costs.astype(np.float32).view(np.uint32)
    counts = np.zeros((3, 2049), np.int64)
    for key in keys:
        for digit in range(3):
            counts[digit, ((key >> (11 * digit)) & 2047) + 1] += 1
    order = np.arange(costs.size).astype(np.int32)
    moved, moved_keys = np.empty_like(order), np.empty_like(keys)
    for digit in range(3):
        starts = np.cumsum(counts[digit])
        for position in range(order.size):
            # Keys move along with the order, so that they are read in sequence.
            key = keys[position]
            place = (key >> (11 * digit)) & 2047
            moved[starts[place]] = order[position]
            moved_keys[starts[place]] = key
            starts[place] += 1
        order, moved = moved, order
        keys, moved_keys = moved_keys, keys
    # What is left within equal single precision is settled by insertion.
    is_unique = True
    for position in range(1, order.size):
        edge = order[position]
        before = position - 1
        while before >= 0 and costs[order[before]] > costs[edge]:
            order[before + 1] = order[before]
            before -= 1
        order[before + 1] = edge
        if before >= 0 and costs[order[before]] == costs[edge] and costs[edge] > 0:
            is_unique = False
    return order, is_unique


@compiled
def root(parents: np.ndarray, pixel: int) -> int:
    """The root of a pixel's tree; the path to it is halved."""
    while parents[pixel] != pixel:
        parents[pixel] = parents[parents[pixel]]
        pixel = parents[pixel]
    return pixel


@compiled
def joined(parents: np.ndarray, sizes: np.ndarray, a: int, b: int) -> int:
    """Joins the trees of two roots and returns the new root."""
    first, second = min(a, b), max(a, b)
    parents[second] = first
    sizes[first] += sizes[second]
    return first


@compiled
def numbered(parents: np.ndarray) -> np.ndarray:
    """The number of each pixel's tree, int32 (P,), trees counted by their first pixels."""
    numbers = np.empty_like(parents)
    n_trees = 0
    for pixel in range(parents.size):
        # A parent comes before its children, so its number is known.
        if parents[pixel] == pixel:
            numbers[pixel] = n_trees
            n_trees += 1
        else:
            numbers[pixel] = numbers[parents[pixel]]
    return numbers


@compiled
def join_for_all(
    ends: np.ndarray, costs: np.ndarray, order: np.ndarray, finest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The joins that every scale from `finest` up makes, and the edges that remain for each scale to decide.

    An edge that the finest scale joins is joined by all as long as they agree on its two segments. From the
    first edge that it does not join, or that meets a segment they may disagree on, both are left alone.

    Args:
        ends: int32 (E, 2), the two pixels of each edge.
        costs: float64 (E,).
        order: int32 (E,), cheapest edge first.
        finest: the smallest scale, see `join`.

    Returns:
        segments: int32 (P,), the segment of each pixel, counted by their first pixels.
        sizes: int32 (S,), pixels of each segment.
        dearest: float64 (S,), dearest edge joined in it.
        remaining_ends: int32 (R, 2), segments of each edge that remains, in order.
        remaining_costs: float64 (R,).
    """
    n_pixels = ends.max() + 1
    parents = np.arange(n_pixels).astype(np.int32)
    sizes = np.ones(n_pixels, np.int32)
    dearest = np.zeros(n_pixels)
    is_open = np.ones(n_pixels, np.bool_)
    remaining = np.empty_like(order)
    n_remaining = 0
    for edge in order:
        a, b = root(parents, ends[edge, 0]), root(parents, ends[edge, 1])
        if a == b:
            continue
        cost = costs[edge]
        is_shared = is_open[a] and is_open[b]
        if is_shared and cost < min(dearest[a] + finest / sizes[a], dearest[b] + finest / sizes[b]):
            dearest[joined(parents, sizes, a, b)] = cost
        else:
            is_open[a] = is_open[b] = False
            remaining[n_remaining] = edge
            n_remaining += 1
    segments = numbered(parents)
    remaining_ends = np.empty((n_remaining, 2), np.int32)
    remaining_costs = np.empty(n_remaining)
    for position in range(n_remaining):
        edge = remaining[position]
        remaining_ends[position, 0] = segments[ends[edge, 0]]
        remaining_ends[position, 1] = segments[ends[edge, 1]]
        remaining_costs[position] = costs[edge]
    n_segments = segments.max() + 1
    segment_sizes, segment_dearest = np.empty(n_segments, np.int32), np.empty(n_segments)
    for pixel in range(n_pixels):
        if parents[pixel] == pixel:
            segment_sizes[segments[pixel]] = sizes[pixel]
            segment_dearest[segments[pixel]] = dearest[pixel]
    return segments, segment_sizes, segment_dearest, remaining_ends, remaining_costs


@compiled
def join(
    ends: np.ndarray, costs: np.ndarray, sizes: np.ndarray, dearest: np.ndarray, scale: float, min_size: int
) -> np.ndarray:
    """The label of each of S segments at one scale, int32 (S,).

    Args:
        ends: int32 (R, 2), segments of each edge, cheapest edge first.
        costs: float64 (R,).
        sizes: int32 (S,), pixels of each segment to start with; left as it is.
        dearest: float64 (S,), dearest edge joined in each.
        scale: a segment of n pixels is joined across costs below its own dearest edge plus scale / n.
        min_size: segments with fewer pixels are joined to a neighbour afterwards.
    """
    parents = np.arange(sizes.size).astype(np.int32)
    sizes = sizes.copy()
    limits = dearest + scale / sizes
    apart = np.empty(costs.size, np.int32)
    n_apart = 0
    for edge in range(costs.size):
        a, b = root(parents, ends[edge, 0]), root(parents, ends[edge, 1])
        if a == b:
            continue
        if costs[edge] < limits[a] and costs[edge] < limits[b]:
            new = joined(parents, sizes, a, b)
            limits[new] = costs[edge] + scale / sizes[new]
        else:
            apart[n_apart] = edge
            n_apart += 1
    for edge in apart[:n_apart]:
        a, b = root(parents, ends[edge, 0]), root(parents, ends[edge, 1])
        if a != b and (sizes[a] < min_size or sizes[b] < min_size):
            joined(parents, sizes, a, b)
    return numbered(parents)
