"""Path integrals with certified error: nodes where a segment needs them.

On a segment of a path from z_a to z_b the integral of the directional derivative is known: F(z_b) - F(z_a),
which the forward passes give for nothing. So the error of each segment's quadrature is known, not estimated,
and cannot hide behind an opposite error elsewhere. The segments with the largest errors get more nodes until the
sum of absolute errors is within the budget. What is known is the error of the sum over pixels, not of each
pixel; `benchmarks/convergence.py` shows how maps follow it.

The rule: a segment is four or eight equal gaps between nodes, with a trapezoid on each. One of four is refined by
halving its gaps; one of eight is cut in two, and the half that errs more is refined. Along a straight path a
network of ReLUs has a slope that wanders like a random walk, with kinks in every gap that can be paid for. What
follows from that was measured on photographs and real networks:
- Trapezoids are as good as any fixed weights (Simpson, Boole, midpoint, shares between them).
- Weights that are fitted to the known difference, or chosen by it, make that number small and the map worse.
- How fine the error is asked for decides how many gradients a budget takes, and not how good a map is for so many
  gradients. Asked for every two gaps, a twentieth of the difference takes twice the gradients, for maps that lie
  within 3 % (sum of absolute differences over the sum of absolute values, against 512 steps) where 5 to 7 %, about
  the budget itself, are enough.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from audit.attributions._maps import statuses
from audit.attributions._schedule import Ask, Work, finish
from audit.baselines import TOO_CLOSE
from audit.classifier import Classifier
from audit.errors import ConfigError
from audit.types import AttributionBatch, MapStatus

_GAPS = 4
"""Gaps of a segment; twice as many once it is refined."""

START_NODES = 2 * _GAPS + 1
"""Refinement starts from two segments; one would call a path right whose halves err in opposite ways."""

_MARKED_SHARE = 0.5
"""A round refines the worst segments that together hold at most this share of the error."""

_SCORE_NOISE = 16.0 * float(np.finfo(np.float32).eps)
"""Relative noise of a float32 score: an error below it says nothing, and refining cannot lower it."""

_NARROWEST = 2.0**-16
"""Gaps are not halved below this share of the path: nodes would be nearly the same float32 picture."""

_STREAMED = 32
"""Nodes that a path of fixed steps asks for at once."""


@dataclass(frozen=True)
class Budget:
    """How far a path integral is taken.

    Attributes:
        error: local_error to go on to.
        max_gradients: gradients a path may spend; at least START_NODES.
        n_steps: a fixed number of equal steps instead, whatever the error; None refines.
    """

    error: float
    max_gradients: int
    n_steps: int | None = None

    def check(self, method: str) -> None:
        """Raise a ConfigError that names `method` where a number is out of range."""
        if not self.error > 0:
            raise ConfigError(f"{method}: error_budget must be above 0, got {self.error:g}")
        if self.max_gradients < START_NODES:
            raise ConfigError(
                f"{method}: max_gradients must be at least {START_NODES}, got {self.max_gradients}"
            )
        if self.n_steps is not None and self.n_steps < 1:
            raise ConfigError(
                f"{method}: n_steps must be at least 1, or absent for the budget; got {self.n_steps}"
            )


@dataclass(frozen=True)
class Node:
    """A place on a path where the gradient is known.

    Attributes:
        place: in [0, 1].
        score: F there.
        values: what its Paths needs to integrate the gaps beside it.
    """

    place: float
    score: float
    values: Any


class Paths(Protocol):
    """One path a row, from place 0 to place 1; paths run towards the image, so that maps have its sign."""

    @property
    def n_paths(self) -> int:
        """How many."""
        ...

    @property
    def node_bytes(self) -> int:
        """Memory of one Node."""
        ...

    def evaluate(self, owners: np.ndarray, places: list[float]) -> list[Node]:
        """The nodes at `places` of the paths `owners` (int64), one gradient each."""
        ...

    def quadrature(self, left: Node, right: Node) -> float:
        """The trapezoid rule's value of the score difference between neighbouring nodes."""
        ...

    def share(self, before: Node, node: Node, after: Node) -> np.ndarray:
        """What a node adds to the map under that rule, (H, W) or (H, W, C); at an end it is its own neighbour."""
        ...


@dataclass(frozen=True)
class Integral:
    """One path, integrated.

    Attributes:
        map: float32 (H, W).
        difference: F at place 1 minus F at place 0.
        residual: sum over segments of |quadrature - score difference|, in units of the score.
        n_gradients: spent.
    """

    map: np.ndarray
    difference: float
    residual: float
    n_gradients: int


Walk = Generator[Ask, list[Node], Integral]
"""Asks for places, is sent their nodes in that order, returns the integral."""


def integrate(classifier: Classifier, paths: Paths, budget: Budget) -> list[Integral]:
    """All paths, integrated within the budget; each depends on itself alone."""

    def walk(_: int) -> Walk:
        return _refined(paths, budget) if budget.n_steps is None else _uniform(paths, budget.n_steps)

    work = Work(paths.n_paths, walk, paths.evaluate, paths.node_bytes)
    return finish(work, batch_size=classifier.batch_size, callers=classifier.callers)


def _uniform(paths: Paths, n_steps: int) -> Walk:
    """Equal steps; each node is added once its neighbours are known, so that only a few are held."""
    errors: list[float] = []
    total: np.ndarray | None = None
    chain: list[Node] = []
    first_score = 0.0
    for start in range(0, n_steps + 1, _STREAMED):
        places = [step / n_steps for step in range(start, min(start + _STREAMED, n_steps + 1))]
        nodes = yield places, _STREAMED + 2
        first_score = nodes[0].score if start == 0 else first_score
        errors += [_error(paths, left, right) for left, right in pairwise([*chain[-1:], *nodes])]
        chain = [*(chain[-2:] or nodes[:1]), *nodes]
        total = _summed(paths, chain, total)
    total = _summed(paths, [*chain[-2:], chain[-1]], total)
    residual = float(np.abs(np.add.reduceat(errors, np.arange(0, n_steps, _GAPS))).sum())
    return Integral(_map(total), chain[-1].score - first_score, residual, n_steps + 1)


@dataclass(frozen=True)
class _Segment:
    """Equal gaps, _GAPS or twice as many.

    Attributes:
        nodes: from its start to its end.
        errors: what the trapezoid rule has too much in each gap.
    """

    nodes: tuple[Node, ...]
    errors: tuple[float, ...]

    @property
    def error(self) -> float:
        """What is known to be wrong, in units of the score."""
        return abs(sum(self.errors))

    @property
    def gap(self) -> float:
        """The width of a gap, as a share of the path."""
        return self.nodes[1].place - self.nodes[0].place

    def parts(self) -> list["_Segment"]:
        """The segment itself, or its halves."""
        if len(self.errors) == _GAPS:
            return [self]
        return [
            _Segment(self.nodes[: _GAPS + 1], self.errors[:_GAPS]),
            _Segment(self.nodes[_GAPS:], self.errors[_GAPS:]),
        ]

    def middles(self) -> list[float]:
        """The places in the middle of each gap."""
        return [0.5 * (left.place + right.place) for left, right in pairwise(self.nodes)]


def _segment(paths: Paths, nodes: Sequence[Node]) -> _Segment:
    """The segment of some nodes."""
    return _Segment(tuple(nodes), tuple(_error(paths, left, right) for left, right in pairwise(nodes)))


def _error(paths: Paths, left: Node, right: Node) -> float:
    """What the trapezoid rule has too much between neighbouring nodes."""
    return paths.quadrature(left, right) - (right.score - left.score)


def _refined(paths: Paths, budget: Budget) -> Walk:
    """Refine the worst segments until their summed errors are within the budget, or nothing helps any more."""
    n_nodes = START_NODES
    nodes = yield [step / (n_nodes - 1) for step in range(n_nodes)], n_nodes
    difference = nodes[-1].score - nodes[0].score
    segments = [_segment(paths, nodes[: _GAPS + 1]), _segment(paths, nodes[_GAPS:])]
    while marked := _marked(segments, budget, n_nodes, allowed=budget.error * abs(difference)):
        parts = [segment.parts() if i in marked else [segment] for i, segment in enumerate(segments)]
        worst = {i: max(parts[i], key=lambda part: part.error) for i in sorted(marked)}
        n_nodes += _GAPS * len(worst)
        middles = yield [place for part in worst.values() for place in part.middles()], n_nodes
        new = {}
        for n, (i, part) in enumerate(worst.items()):
            between = [*middles[_GAPS * n : _GAPS * (n + 1)], None]
            merged = [
                node for pair in zip(part.nodes, between, strict=True) for node in pair if node is not None
            ]
            new[i] = _segment(paths, merged)
        segments = [new[i] if part is worst.get(i) else part for i, both in enumerate(parts) for part in both]
    nodes = [segments[0].nodes[0], *(node for segment in segments for node in segment.nodes[1:])]
    total = _summed(paths, [nodes[0], *nodes, nodes[-1]], None)
    return Integral(_map(total), difference, sum(segment.error for segment in segments), n_nodes)


def _marked(segments: list[_Segment], budget: Budget, n_nodes: int, *, allowed: float) -> set[int]:
    """The segments to refine next; none where the budget is met, spent, or only noise is left."""
    errors = np.array([segment.error for segment in segments])
    excess = errors.sum() - allowed
    room = (budget.max_gradients - n_nodes) // _GAPS
    if not excess > 0 or room <= 0:
        return set()
    noise = _SCORE_NOISE * max(abs(node.score) for segment in segments for node in segment.nodes)
    order = np.argsort(-errors, kind="stable")
    worst = [i for i in order if errors[i] > noise and segments[i].gap > _NARROWEST]
    # Segments that hold the excess together must be refined anyway; so no node is spent that one at a time
    # would save.
    wanted = min(excess, _MARKED_SHARE * errors.sum())
    n_needed = int(np.searchsorted(np.cumsum(errors[worst]), wanted)) + 1
    return {int(i) for i in worst[: min(n_needed, room)]}


def _summed(paths: Paths, chain: Sequence[Node], total: np.ndarray | None) -> np.ndarray:
    """`total`, or nothing, and the shares of all nodes of a chain but its first and last, in float64."""
    # Added in place to an array of our own: hundreds of new ones a map would cost more than the sums.
    summed = None if total is None else total.copy()
    for before, node, after in zip(chain, chain[1:], chain[2:], strict=False):
        share = paths.share(before, node, after)
        summed = np.zeros(share.shape) if summed is None else summed
        summed += share
    assert summed is not None
    return summed


def _map(total: np.ndarray) -> np.ndarray:
    """float32 (H, W) of a sum of shares."""
    return np.asarray(total.sum(axis=-1) if total.ndim == 3 else total, dtype=np.float32)


def attribution_batch(
    integrals: Sequence[Integral], *, image_shape: tuple[int, int], distances: np.ndarray, error_budget: float
) -> AttributionBatch:
    """What a path method returns: per sample the mean over its baselines, errors, and a status.

    The status is the first that holds: EMPTY where the map is zero everywhere or not finite,
    BASELINE_TOO_CLOSE where the target's probability moves by less than TOO_CLOSE, NOT_CONVERGED where
    local_error exceeds the budget or is not measurable, CONVERGED.

    Args:
        integrals: those of B samples from their first baseline, then those from the second, ...
        image_shape: height and width.
        distances: float64 (B,), how far the target's probability moves.
        error_budget: the local_error to hold.
    """
    n_samples = len(distances)
    maps = np.zeros((n_samples, *image_shape), dtype=np.float32)
    differences, residuals = np.zeros((2, n_samples))
    n_gradients = np.zeros(n_samples, dtype=np.int64)
    for sample in range(n_samples):
        group = integrals[sample::n_samples]
        maps[sample] = np.mean([one.map for one in group], axis=0, dtype=np.float64)
        differences[sample] = np.mean([one.difference for one in group])
        residuals[sample] = np.mean([one.residual for one in group])
        n_gradients[sample] = sum(one.n_gradients for one in group)
    approx_error = _share(np.abs(maps.sum(axis=(1, 2), dtype=np.float64) - differences), differences)
    local_error = _share(residuals, differences)
    status = statuses(maps)
    for row in np.flatnonzero(status == MapStatus.OK):
        if distances[row] < TOO_CLOSE:
            status[row] = MapStatus.BASELINE_TOO_CLOSE
        else:
            is_within = local_error[row] <= error_budget
            status[row] = MapStatus.CONVERGED if is_within else MapStatus.NOT_CONVERGED
    return AttributionBatch(maps, status, approx_error, local_error, n_gradients, image_shape)


def _share(values: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """values / |differences|, NaN where the difference is 0."""
    whole = np.abs(differences)
    return np.asarray(np.divide(values, whole, out=np.full(len(whole), np.nan), where=whole > 0))
