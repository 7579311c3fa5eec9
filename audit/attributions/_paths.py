"""Path integrals with certified error: nodes where a segment needs them, rows of all samples in full calls.

On a segment of a path from z_a to z_b the integral of the directional derivative is known: F(z_b) - F(z_a),
which the forward passes give for nothing. So the error of each segment's quadrature is known, not estimated,
and cannot hide behind an opposite error elsewhere. Segments with the largest errors are halved until the sum
of absolute errors is within the budget. What is known is the error of the sum over pixels, not of each pixel;
`benchmarks/convergence.py` shows how maps follow it.

The rule: a segment has three nodes, its ends and its middle, with a trapezoid on either half. What was tried
on photographs and real networks instead (the integrand is rough, not smooth): choosing per segment among
rules, or weighting its ends, by the known difference makes that number small and the map *worse* than
trapezoids on the same nodes, by up to 40 %: it fits the weights to the roughness. Simpson's weights need a
seventh more gradients for a budget. Two nodes a segment ask for the error of every gap between nodes and need
a third more gradients for a budget, for maps that at an equal number of gradients are equally good.

Each path is refined by its own generator, which asks for nodes and never sees another path; the scheduler
only decides in which call a node is computed. So a map does not depend on the samples beside it, and calls
are full.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from audit.attributions._maps import statuses
from audit.baselines import TOO_CLOSE
from audit.errors import ConfigError
from audit.types import AttributionBatch, MapStatus

START_SEGMENTS = 4
"""Equal segments that refinement starts from, with nine nodes; fewer can miss that a path rises and falls
again."""

_MARKED_SHARE = 0.5
"""A round halves the worst segments that together hold at most this share of the error."""

_SCORE_NOISE = 16.0 * float(np.finfo(np.float32).eps)
"""Relative noise of a float32 score: an error below it says nothing, and halving cannot lower it."""

_NARROWEST = 2.0**-16
"""Segments are not halved below this share of the path: nodes would be nearly the same float32 picture."""

_CALLS_IN_FLIGHT = 2
"""Calls whose rows are handed over together; the classifier may run them side by side."""

_HELD_BYTES = 256 * 2**20
"""Memory of the nodes under way beyond which no path starts; beyond twice that only the oldest goes on."""

_STREAMED = 32
"""Nodes that a path of fixed steps asks for at once."""


@dataclass(frozen=True)
class Budget:
    """How far a path integral is taken.

    Attributes:
        error: local_error to go on to.
        max_gradients: gradients a path may spend; at least 2 * START_SEGMENTS + 1.
        n_steps: a fixed number of equal segments instead, whatever the error; None refines.
    """

    error: float
    max_gradients: int
    n_steps: int | None = None

    def check(self, method: str) -> None:
        """Raise a ConfigError that names `method` where a number is out of range."""
        if not self.error > 0:
            raise ConfigError(f"{method}: error_budget must be above 0, got {self.error:g}")
        if self.max_gradients <= 2 * START_SEGMENTS:
            raise ConfigError(
                f"{method}: max_gradients must be at least {2 * START_SEGMENTS + 1}, got {self.max_gradients}"
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
        values: what its Paths needs to integrate the segments beside it.
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

    def evaluate(self, owners: np.ndarray, places: np.ndarray) -> list[Node]:
        """The nodes at `places` (float64) of the paths `owners` (int64), one gradient each."""
        ...

    def quadrature(self, left: Node, right: Node) -> float:
        """The trapezoid rule's value of the score difference between neighbouring nodes."""
        ...

    def segment_map(self, left: Node, right: Node) -> np.ndarray:
        """(H, W), whose sum is `quadrature`."""
        ...


@dataclass(frozen=True)
class Integral:
    """One path, integrated.

    Attributes:
        map: float64 (H, W).
        difference: F at place 1 minus F at place 0.
        residual: sum over segments of |quadrature - score difference|, in units of the score.
        n_gradients: spent.
    """

    map: np.ndarray
    difference: float
    residual: float
    n_gradients: int


Ask = tuple[list[float], int]
"""The places wanted, and how many nodes will be held once they are known."""

Walk = Generator[Ask, list[Node], Integral]
"""Asks for places, is sent their nodes in that order, returns the integral."""


@dataclass
class _Walker:
    """A path under way; not frozen, since a scheduler is what changes it."""

    owner: int
    walk: Walk
    asked: list[float]
    nodes: list[Node]
    n_held: int


def integrate(paths: Paths, budget: Budget, *, batch_size: int) -> list[Integral]:
    """All paths, integrated within the budget, in calls of multiples of `batch_size` rows wherever possible.

    Memory is bounded by the nodes of the paths that are under way, not by the number of paths: the next path
    starts only when the calls cannot be filled from those under way.
    """
    results: dict[int, Integral] = {}
    under_way: list[_Walker] = []
    waiting = iter(range(paths.n_paths))
    n_allowed = max(_HELD_BYTES // paths.node_bytes, 1)
    n_rows = _CALLS_IN_FLIGHT * batch_size
    while True:
        while _n_held(under_way) < n_allowed and sum(len(_open(walker)) for walker in under_way) < n_rows:
            owner = next(waiting, None)
            if owner is None:
                break
            under_way.append(_started(owner, paths, budget))
        if not under_way:
            return [results[owner] for owner in range(paths.n_paths)]
        may_go_on = under_way if _n_held(under_way) < 2 * n_allowed else under_way[:1]
        rows = [(walker, place) for walker in may_go_on for place in _open(walker)]
        # The last call of a round would be padded; its rows wait for the next round instead.
        rows = rows[: min(len(rows) // batch_size, _CALLS_IN_FLIGHT) * batch_size or len(rows)]
        owners = np.array([walker.owner for walker, _ in rows])
        nodes = paths.evaluate(owners, np.array([place for _, place in rows]))
        for (walker, _), node in zip(rows, nodes, strict=True):
            walker.nodes.append(node)
        for walker in [walker for walker in under_way if not _open(walker)]:
            finished = _advance(walker)
            if finished is not None:
                results[walker.owner] = finished
                under_way.remove(walker)


def _open(walker: _Walker) -> list[float]:
    """The places asked for that have no node yet."""
    return walker.asked[len(walker.nodes) :]


def _n_held(walkers: list[_Walker]) -> int:
    """Nodes that will be held once all that are asked for are known."""
    return sum(walker.n_held for walker in walkers)


def _started(owner: int, paths: Paths, budget: Budget) -> _Walker:
    """A path that has asked for its first nodes."""
    walk = _refined(paths, budget) if budget.n_steps is None else _uniform(paths, budget.n_steps)
    asked, n_held = next(walk)
    return _Walker(owner, walk, asked, [], n_held)


def _advance(walker: _Walker) -> Integral | None:
    """Send a walker its nodes; the integral where it has arrived."""
    try:
        walker.asked, walker.n_held = walker.walk.send(walker.nodes)
    except StopIteration as finished:
        result: Integral = finished.value
        return result
    walker.nodes = []
    return None


def _uniform(paths: Paths, n_steps: int) -> Walk:
    """Equal steps; each is added once both of its ends are known, so that only a few nodes are held."""
    total: np.ndarray | float = 0.0
    errors: list[float] = []
    chain: list[Node] = []
    first_score = 0.0
    for start in range(0, n_steps + 1, _STREAMED):
        places = [step / n_steps for step in range(start, min(start + _STREAMED, n_steps + 1))]
        nodes = yield places, _STREAMED + 1
        first_score = nodes[0].score if start == 0 else first_score
        chain = [*chain[-1:], *nodes]
        for left, right in pairwise(chain):
            total = total + paths.segment_map(left, right)
            errors.append(_error(paths, left, right))
    residual = float(_segment_errors(errors).sum())
    return Integral(np.asarray(total), chain[-1].score - first_score, residual, n_steps + 1)


def _refined(paths: Paths, budget: Budget) -> Walk:
    """Halve the worst segments until their summed errors are within the budget, or nothing helps any more."""
    n_halves = 2 * START_SEGMENTS
    nodes = yield [step / n_halves for step in range(n_halves + 1)], n_halves + 1
    difference = nodes[-1].score - nodes[0].score
    errors = [_error(paths, left, right) for left, right in pairwise(nodes)]
    while True:
        marked = _marked(nodes, _segment_errors(errors), budget, allowed=budget.error * abs(difference))
        if not marked:
            break
        halves = [half for segment in marked for half in (2 * segment, 2 * segment + 1)]
        places = [0.5 * (nodes[half].place + nodes[half + 1].place) for half in halves]
        middles = yield places, len(nodes) + len(places)
        # From the right, so that the positions to the left stay valid.
        for half, middle in zip(reversed(halves), reversed(middles), strict=True):
            errors[half : half + 1] = [
                _error(paths, nodes[half], middle),
                _error(paths, middle, nodes[half + 1]),
            ]
            nodes.insert(half + 1, middle)
    total = sum(paths.segment_map(left, right) for left, right in pairwise(nodes))
    return Integral(np.asarray(total), difference, float(_segment_errors(errors).sum()), len(nodes))


def _error(paths: Paths, left: Node, right: Node) -> float:
    """What the trapezoid rule has too much between neighbouring nodes."""
    return paths.quadrature(left, right) - (right.score - left.score)


def _segment_errors(errors: Sequence[float]) -> np.ndarray:
    """Absolute errors of segments, from those of their halves; an odd last half is a segment of its own."""
    return np.abs(np.add.reduceat(errors, np.arange(0, len(errors), 2)))


def _marked(nodes: list[Node], errors: np.ndarray, budget: Budget, *, allowed: float) -> list[int]:
    """The segments to halve next, in order; none where the budget is met, spent, or only noise is left."""
    excess = errors.sum() - allowed
    room = (budget.max_gradients - len(nodes)) // 2
    if not excess > 0 or room <= 0:
        return []
    noise = _SCORE_NOISE * max(abs(node.score) for node in nodes)
    widths = np.diff([node.place for node in nodes[::2]])
    worst = [i for i in np.argsort(-errors, kind="stable") if errors[i] > noise and widths[i] > _NARROWEST]
    # Segments that hold the excess together must be halved anyway; so no node is spent that one at a time
    # would save.
    wanted = min(excess, _MARKED_SHARE * errors.sum())
    n_needed = int(np.searchsorted(np.cumsum(errors[worst]), wanted)) + 1
    return sorted(int(i) for i in worst[: min(n_needed, room)])


def attribution_batch(
    integrals: Sequence[Integral], *, distances: np.ndarray, error_budget: float
) -> AttributionBatch:
    """What a path method returns: per sample the mean over its baselines, errors, and a status.

    The status is the first that holds: EMPTY where the map is zero everywhere or not finite,
    BASELINE_TOO_CLOSE where the target's probability moves by less than TOO_CLOSE, NOT_CONVERGED where
    local_error exceeds the budget or is not measurable, CONVERGED.

    Args:
        integrals: those of B samples from their first baseline, then those from the second, ...
        distances: float64 (B,), how far the target's probability moves.
        error_budget: the local_error to hold.
    """
    n_samples = len(distances)
    groups = [integrals[sample::n_samples] for sample in range(n_samples)]
    maps = np.stack([np.mean([one.map for one in group], axis=0) for group in groups]).astype(np.float32)
    differences = np.array([np.mean([one.difference for one in group]) for group in groups])
    residuals = np.array([np.mean([one.residual for one in group]) for group in groups])
    return finished_batch(
        maps,
        differences,
        residuals,
        n_gradients=np.array([sum(one.n_gradients for one in group) for group in groups], dtype=np.int64),
        distances=distances,
        error_budget=error_budget,
    )


def finished_batch(
    maps: np.ndarray,
    differences: np.ndarray,
    residuals: np.ndarray,
    *,
    n_gradients: np.ndarray,
    distances: np.ndarray,
    error_budget: float,
) -> AttributionBatch:
    """Maps (B, H, W) with their errors relative to the score differences (B,), NaN where those are 0."""
    approx_error = _share(np.abs(maps.sum(axis=(1, 2), dtype=np.float64) - differences), differences)
    local_error = _share(residuals, differences)
    status = statuses(maps)
    for sample in np.flatnonzero(status == MapStatus.OK):
        if distances[sample] < TOO_CLOSE:
            status[sample] = MapStatus.BASELINE_TOO_CLOSE
        else:
            is_within = local_error[sample] <= error_budget
            status[sample] = MapStatus.CONVERGED if is_within else MapStatus.NOT_CONVERGED
    return AttributionBatch(maps, status, approx_error, local_error, n_gradients, maps.shape[1:3])


def _share(values: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """values / |differences|, NaN where the difference is 0."""
    whole = np.abs(differences)
    return np.asarray(np.divide(values, whole, out=np.full(len(whole), np.nan), where=whole > 0))
