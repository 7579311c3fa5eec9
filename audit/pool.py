"""An unlabelled pool -> the pictures to add: what each finding asks for, which pictures fit, a diverse choice.

Source: the choice is the greedy farthest-first rule of Gonzalez 1985, its distances weighted by the chance that a
picture is what is asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from audit.duplicates import MOST_BITS, near_pairs
from audit.interventions import WHOLE_BACKGROUND
from audit.pool_reading import (
    Known,
    Look,
    is_told_by_features,
    moved,
    presence_auroc,
    read_classes,
    reading_accuracy,
    slice_auroc,
    told_presence,
)
from audit.suggestions import REPRESENTATIVE, WEAK, WITH, WITHOUT
from audit.types import ClassVerdict, Status, Suggestion

NEAR_COSINE = 0.98
"""Pictures of like hashes are copies where they look alike to the model too: by hashes alone plain photos of two things
are one."""
LIKELY = 0.5
"""A picture is suggested for a finding where it is at least that likely to be what is asked for."""
STRICTNESS = 4.0
"""Power of a picture's use in the choice, against its distance to what is there: pictures of little use lie far out."""
_AT_ONCE = 64
"""Labelled samples that a pool is compared with at once: 15 MB for MOST_FITTING pictures. An approximate index of a
library was no faster with 1,500 of them nor with ten times as many: `python -m benchmarks.pool_scale`."""
_TO_COMPARE = 2**11
"""Pictures that are held against as many at once: 32 MB."""
MOST_FITTING = 30_000
"""Pictures that a wish chooses among, each compared with every one that is chosen: 60 MB with 256 features."""


@dataclass(frozen=True)
class Ask:
    """What one finding asks of a pool.

    Attributes:
        label: class whose verdict asks.
        kind: kind of the suggestion.
        confound: what it is about, of a weak slice its name; empty where representative photos are asked for.
        wanted: classes that the photos should be of.
        n: how many would do.
        effect: how much the confound moves the class's score, in (0, 1]; where it was not measured
            the least of the other findings' effects, 1 without any, and of a weak slice.
    """

    label: str
    kind: str
    confound: str
    wanted: tuple[str, ...]
    n: int
    effect: float = 1.0

    @property
    def trait(self) -> str:
        """What is looked for and taken away: a property can have another typical value for each class."""
        return trait_of(self.label, self.confound)


def trait_of(label: str, confound: str) -> str:
    """The key of a confound as one class has it; empty without a confound."""
    return f"{confound} of {label}" if confound else ""


@dataclass(frozen=True)
class Chosen:
    """One picture to add.

    Attributes:
        row: of the pool.
        ask: what asks for it.
        label: the class it most probably is, of those asked for.
        likely: chance that it is of a class asked for, by the reading without the confound; for representative
            photos the model's own probability.
        shows: 1 the confound shows, 0 it does not; NaN without a confound.
        is_seen: the confound was looked for in the picture itself; False where it is told by the features.
    """

    row: int
    ask: Ask
    label: str
    likely: float
    shows: float
    is_seen: bool


@dataclass(frozen=True)
class Choice:
    """The choice, and what a reader should know of it.

    Attributes:
        chosen: in the order of their rank.
        n_duplicates: pool pictures left out as copies of labelled ones or of one another.
        n_found: by ask, how many pictures of the pool fit.
        reading: by trait, share of labelled samples whose class the reading tells, out of fold; NaN with too few.
        presence: by trait that is told by the features alone, a thing or a slice, AUROC out of fold; NaN with too few.
    """

    chosen: tuple[Chosen, ...]
    n_duplicates: int
    n_found: Mapping[Ask, int]
    reading: Mapping[str, float]
    presence: Mapping[str, float]


def asks(
    verdicts: Sequence[ClassVerdict], suggestions: Sequence[Suggestion], classes: Sequence[str]
) -> tuple[Ask, ...]:
    """What a run's suggestions ask of a pool: one for each side of a confound, each weak slice, each undecided class.

    Photos with a confound may be of any class that is not bound to it itself, unless all are.
    """
    flagged = _flagged(verdicts)
    counts = {(s.label, s.kind, s.confound): s.n_to_add for s in suggestions}
    found: list[Ask] = []
    taken: set[tuple[str, str]] = set()
    for (label, confound), effect in flagged.items():
        if n := counts.get((label, WITHOUT, confound), 0):
            found.append(Ask(label, WITHOUT, confound, (label,), n, effect))
        bound = {other for other, thing in flagged if thing == confound}
        others = tuple(name for name in classes if name != label)
        wanted = tuple(name for name in others if name not in bound) or others
        sides = [name for name in wanted if (name, confound) not in taken]
        if n := sum(counts.get((name, WITH, confound), 0) for name in sides):
            found.append(Ask(label, WITH, confound, wanted, n, effect))
            taken |= {(name, confound) for name in sides}
    for kind in (WEAK, REPRESENTATIVE):
        found += [
            Ask(s.label, kind, s.confound, (s.label,), s.n_to_add) for s in suggestions if s.kind == kind
        ]
    return tuple(found)


def _flagged(verdicts: Sequence[ClassVerdict]) -> dict[tuple[str, str], float]:
    """Flagged classes with their confounds that can be told, and the largest effect that was measured of each."""
    effects: dict[tuple[str, str], float] = {}
    for v in verdicts:
        # Whose background a picture stands on, nothing tells.
        if v.status not in (Status.SUSPECT, Status.SPURIOUS) or v.confound in (None, WHOLE_BACKGROUND):
            continue
        assert v.confound is not None
        key = (v.label, v.confound)
        effects[key] = max(
            one for one in (0.0, effects.get(key, 0.0), v.necessity, v.sufficiency) if one >= 0
        )
    least = min((effect for effect in effects.values() if effect), default=1.0)
    return {key: effect or least for key, effect in effects.items()}


def choose(wishes: Sequence[Ask], known: Known, pool: Look, is_copy: np.ndarray, n: int) -> Choice:
    """The pictures of a pool to add.

    Where more than MOST_FITTING pictures fit a wish, it chooses among the best of them, by chance and use, and of
    equally good ones those that the digests of the files draw. What that loses: a picture of less chance or use that is
    farther from all there is, which the choice might have taken late, or takes the place of the best where these are
    copies of one another; never one that is better on its own.

    Args:
        wishes: what is asked for; see `_budgets` for how `n` is divided among them.
        known: the labelled samples.
        pool: N unlabelled pictures.
        is_copy: bool (N,), pictures that are left out; see `copies`.
        n: pictures to choose at most.

    Returns:
        At most `n` pictures, no two of them copies of one another or of labelled ones; fewer where fewer fit. Of a
        wish with too few fitting pictures the rest of the budget goes to the others.
    """
    fitting = [_fitting(ask, known, pool) for ask in wishes]
    fitting = [replace(one, likely=np.where(is_copy, 0.0, one.likely)) for one in fitting]
    counts = [int((one.likely >= LIKELY).sum()) for one in fitting]
    unit_known = _unit(known.look.features)
    there = [unit_known[_same_side(ask, known)] for ask in wishes]
    available = list(counts)
    while True:
        budgets = _budgets(wishes, available, n)
        picked = _picked(fitting, there, pool, budgets)
        short = [len(rows) < budget for rows, budget in zip(picked, budgets, strict=True)]
        # Of copies only one is taken, and of what two wishes fit each only once: what is left over is for the others.
        if not any(short):
            break
        available = [
            len(rows) if is_short else most
            for rows, is_short, most in zip(picked, short, available, strict=True)
        ]
    chosen = [
        Chosen(row, ask, str(one.names[row]), float(one.likely[row]), float(one.shows[row]), one.is_seen)
        for ask, one, rows in zip(wishes, fitting, picked, strict=True)
        for row in rows
    ]
    # Everyone who takes only the first of the list still gets all sides in proportion.
    place = [(i + 0.5) / len(rows) for rows in picked for i in range(len(rows))]
    order = sorted(range(len(chosen)), key=lambda i: place[i])
    by_trait = {ask.trait: ask for ask in wishes if ask.trait}
    return Choice(
        tuple(chosen[i] for i in order),
        int(is_copy.sum()),
        dict(zip(wishes, counts, strict=True)),
        {trait: reading_accuracy(trait, known, pool) for trait in by_trait},
        {trait: _auroc(ask, known) for trait, ask in by_trait.items() if not _is_seen(ask, pool)},
    )


def _picked(
    fitting: Sequence["Fitting"],
    there: Sequence[np.ndarray],
    pool: Look,
    budgets: Sequence[int],
) -> list[list[int]]:
    """Rows for each wish in turn, none for two; fewer than its budget where the rest are copies or taken."""
    used = np.zeros(len(pool.digests), dtype=bool)
    picked: list[list[int]] = []
    for one, known, budget in zip(fitting, there, budgets, strict=True):
        rows = _diverse(np.where(used, 0.0, one.likely), one.use, pool, known, budget)
        used[rows] = True
        picked.append(rows)
    return picked


def _is_seen(ask: Ask, pool: Look) -> bool:
    """Whether what is asked for is looked for in the pool's pictures themselves, if anything is."""
    return not ask.trait or (ask.kind != WEAK and not is_told_by_features(ask.trait, pool))


def _auroc(ask: Ask, known: Known) -> float:
    """How well the features tell what is asked for, out of fold."""
    tell = slice_auroc if ask.kind == WEAK else presence_auroc
    return tell(known.look.features, known.look.without[ask.trait])


@dataclass(frozen=True)
class Fitting:
    """How well each of N pictures is what is asked for.

    Attributes:
        likely: float64 (N,), chance that it is of a class asked for; 0 where the confound is on the wrong side.
        use: float64 (N,) in [0, 1], what else speaks for it: how much the confound moves the model's answer, where it
            could be taken away; else 1.
        names: (N,), the likeliest class of those asked for.
        shows: float64 (N,), 1, 0 or NaN as in `Chosen`.
        is_seen: as in `Chosen`.
    """

    likely: np.ndarray
    use: np.ndarray
    names: np.ndarray
    shows: np.ndarray
    is_seen: bool


def _fitting(ask: Ask, known: Known, pool: Look) -> Fitting:
    """How well each picture of the pool is what is asked for."""
    n, classes = len(pool.digests), known.classes
    if not ask.trait:
        place = classes.index(ask.label)
        own = pool.probabilities[:, place].astype(np.float64)
        is_largest = pool.probabilities.argmax(axis=1) == place
        likely = np.where(is_largest, np.maximum(own, LIKELY), 0.0)
        return Fitting(likely, np.ones(n), np.full(n, ask.label, dtype=object), np.full(n, np.nan), True)
    is_told, view = is_told_by_features(ask.trait, pool), known.look.without[ask.trait]
    shows = (
        told_presence(known.look.features, view, pool.features) if is_told else pool.without[ask.trait].shows
    )
    is_seen = _is_seen(ask, pool)
    names, chances = read_classes(ask.trait, known, pool)
    columns = [place for place, name in enumerate(names) if name in ask.wanted]
    if not columns:
        return Fitting(np.zeros(n), np.ones(n), np.full(n, ask.label, dtype=object), shows, is_seen)
    is_side = shows == (0.0 if ask.kind == WITHOUT else 1.0)
    best = np.array(names, dtype=object)[columns][chances[:, columns].argmax(axis=1)]
    likely = np.where(is_side, chances[:, columns].sum(axis=1), 0.0)
    use = moved(ask.trait, ask.label, known, pool) if ask.kind == WITH and not is_told else np.ones(n)
    return Fitting(likely, use, best, shows, is_seen)


def _same_side(ask: Ask, known: Known) -> np.ndarray:
    """bool (M,): labelled samples of the kind that is asked for; what they show already is not asked for again."""
    is_wanted = np.isin(np.asarray(known.labels), ask.wanted)
    return (
        is_wanted & (known.look.without[ask.trait].shows == (ask.kind != WITHOUT)) if ask.trait else is_wanted
    )


def _budgets(wishes: Sequence[Ask], available: Sequence[int], n: int) -> list[int]:
    """`n` divided in proportion to what is asked for times the effect of what it mends, never more than there is.

    What is known to be wrong comes first, then weak slices, then what is undecided, each up to what it asks for; what
    is left goes to whoever can use it.
    """
    budgets = [0] * len(wishes)
    asked = [min(ask.n, there) for ask, there in zip(wishes, available, strict=True)]
    flagged, known = (
        [0 if ask.kind in later else most for ask, most in zip(wishes, asked, strict=True)]
        for later in ((WEAK, REPRESENTATIVE), (REPRESENTATIVE,))
    )
    for most in (flagged, known, asked, available):
        while sum(budgets) < n and (open_ones := [i for i, b in enumerate(budgets) if b < most[i]]):
            least = min(open_ones, key=lambda i: ((budgets[i] + 1) / (wishes[i].n * wishes[i].effect), i))
            budgets[least] += 1
    return budgets


def _diverse(likely: np.ndarray, use: np.ndarray, pool: Look, known: np.ndarray, budget: int) -> list[int]:
    """Rows in the order in which they are chosen: each time the largest chance times distance to what is there.

    Args:
        likely: (N,); below LIKELY is not eligible.
        use: (N,), see `Fitting`.
        pool: the N pictures.
        known: (M, D), what is there already, rows of length 1.
        budget: rows at most.
    """
    rows = _best(likely, likely * use, pool.digests, max(MOST_FITTING, 2 * budget))
    if not len(rows):
        return []
    points, hashes = _unit(pool.features[rows]), pool.hashes[rows]
    gains_at_once = (likely[rows] * use[rows]) ** STRICTNESS
    nearest = np.full(len(points), -1.0)
    for start in range(0, len(known), _AT_ONCE):
        nearest = np.maximum(nearest, (points @ known[start : start + _AT_ONCE].T).max(axis=1))
    left, chosen = np.ones(len(points), dtype=bool), list[int]()
    while len(chosen) < budget and left.any():
        # Distances of unit vectors are sqrt(2 - 2 cos); those of copies that rounding puts beyond 0 are 0.
        gains = np.where(left, gains_at_once * np.sqrt(np.maximum(2 - 2 * nearest, 0.0)), -1.0)
        best = int(gains.argmax())
        left[best] = False
        if chosen and _is_near(best, chosen, points, hashes):
            continue
        chosen.append(best)
        nearest = np.maximum(nearest, points @ points[best])
    return [int(row) for row in rows[chosen]]


def _best(likely: np.ndarray, good: np.ndarray, digests: Sequence[str], most: int) -> np.ndarray:
    """Eligible rows in their order; of too many the best, and of equally good ones those whose digests come first."""
    rows = np.flatnonzero(likely >= LIKELY)
    if len(rows) <= most:
        return rows
    ranked = sorted(rows.tolist(), key=lambda row: (-good[row], digests[row]))
    return np.array(sorted(ranked[:most]))


def copies(pool: Look, labelled: Look) -> np.ndarray:
    """bool (N,): pool pictures that are copies of labelled ones, or byte by byte of earlier ones in the pool.

    Near copies within the pool are left to the choice, which compares what it takes. Nothing is approximated: hashes
    are looked up by their parts, see `near_pairs`, features compared by products of matrices.
    """
    known = set(labelled.digests)
    found = np.zeros(len(pool.digests), dtype=bool)
    for row, digest in enumerate(pool.digests):
        found[row] = digest in known
        known.add(digest)
    # Different hashes are compared: where many photos are plain, pairs of pictures are many more than pictures.
    (ours, rows), (theirs, others) = _by_hash(pool.hashes), _by_hash(labelled.hashes)
    one, other, _ = near_pairs(ours, MOST_BITS, theirs)
    for place in np.unique(one):
        like = other[np.searchsorted(one, place) : np.searchsorted(one, place, "right")]
        own = rows[place][~found[rows[place]]]
        near = np.concatenate([others[i] for i in like])
        found[own] = _looks_like(pool.features, own, labelled.features, near)
    return found


def _by_hash(hashes: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The different hashes, and the rows that have each."""
    different, place, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    return different, np.split(np.argsort(place, kind="stable"), np.cumsum(counts)[:-1])


def _looks_like(features: np.ndarray, rows: np.ndarray, others: np.ndarray, near: np.ndarray) -> np.ndarray:
    """bool (R,): which rows of `features` are to the model as one of the rows `near` of `others` is."""
    found = np.zeros(len(rows), dtype=bool)
    for start in range(0, len(rows), _TO_COMPARE):
        own = _unit(features[rows[start : start + _TO_COMPARE]])
        for first in range(0, len(near), _TO_COMPARE):
            alike = own @ _unit(others[near[first : first + _TO_COMPARE]]).T >= NEAR_COSINE
            found[start : start + _TO_COMPARE] |= alike.any(axis=1)
    return found


def _is_near(row: int, chosen: Sequence[int], unit: np.ndarray, hashes: np.ndarray) -> bool:
    """Whether one of those chosen is nearly the same picture."""
    close = np.bitwise_count(hashes[list(chosen)] ^ hashes[row]) <= MOST_BITS
    return bool((unit[list(chosen)][close] @ unit[row] >= NEAR_COSINE).any())


def _unit(features: np.ndarray) -> np.ndarray:
    """Rows of length 1, as float64; a row of zeros stays."""
    features = np.asarray(features, dtype=np.result_type(features, np.float32))
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(np.divide(features, length, out=np.zeros(features.shape), where=length > 0))


def reason_text(chosen: Chosen, predicted: str, confidence: float) -> str:
    """Why a picture is on the list, in one sentence a curator can check by looking."""
    ask = chosen.ask
    says = f"the model says {predicted} ({confidence:.0%})"
    if not ask.trait:
        return f"One more {ask.label} photo, unlike those that are there: {ask.label} is undecided; {says}."
    if ask.kind == WEAK:
        return (
            f"Probably a {chosen.label} photo ({chosen.likely:.0%}) with {ask.confound}, as far as the model's "
            f"features tell: such photos are recognised less often; {says}."
        )
    seen = "shows" if chosen.shows > 0 else "shows no"
    told = "" if chosen.is_seen else ", as far as the model's features tell"
    reads = f"it reads as {chosen.label}" if ask.kind == WITHOUT else f"it does not read as {ask.label}"
    return (
        f"Probably a {chosen.label} photo that {seen} {ask.confound}{told}: with the {ask.confound} left out "
        f"{reads} ({chosen.likely:.0%}), and {says}."
    )
