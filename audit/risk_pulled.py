"""Risk where confounds are known to pull: what the model says without them, and what they mean in the pictures at hand.

The model's probabilities are read with the pull taken away, and brought to what they turned out to mean on the
labelled samples of the run. What a thing's presence means there is counted. In a folder without labels it is guessed,
together with what taking the thing away left behind: a fill, or an effect measured on other pictures, is never exact.
No wrong prediction is needed for any of this, so it works on a run where a confound is right every time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from sklearn.model_selection import KFold

from audit.risk_inputs import (
    MOST_LOG_ODDS,
    Evidence,
    Likelihood,
    Pull,
    even_weights,
    likelihoods_of,
    log_ratio,
    shows,
)
from audit.risk_mixture import Meaning, settled, shares_shown

N_FOLDS = 10
_SAME = 0.25
"""Correlation from which two pulls are seen on the same pictures: far beyond chance in a run of a hundred."""
_OPEN, _BY_CHANCE = 0.1, 1.92
"""Log likelihood a picture below which a bond may be a misfit, since log odds are not normal; and that of all pictures
below which it may be chance: half of the 95 % quantile of chi squared with one degree of freedom."""
_PRIOR_SLOPE, _PRIOR_BIAS = 0.1, 0.5
"""Penalties on the squared log of the slope and on squared biases, in log odds; a few dozen labels outweigh them."""


@dataclass(frozen=True)
class Known:
    """The labelled samples of a run: evidence of N, and their class names (N,), in the order of its features."""

    evidence: Evidence
    labels: np.ndarray


@dataclass(frozen=True)
class _Reading:
    """What weights turned out to mean: a class's is raised to `slope` and gains the log odds `biases` by its name."""

    slope: float
    biases: dict[str, float]

    def of(self, even: pd.DataFrame) -> np.ndarray:
        """float64, log odds of each row of weights up to a constant of its picture."""
        biases = even["class_name"].map(self.biases).fillna(0.0).to_numpy(dtype=np.float64)
        return np.asarray(self.slope * np.log(even["weight"].to_numpy()) + biases)


def distinct(evidence: Evidence, pulls: Sequence[Pull]) -> tuple[Pull, ...]:
    """The pulls without those that are another one seen twice: a border that also darkens, a cast and its saturation.

    The strongest stays. Another one goes where the two are seen on the same pictures and speak for one class, or where
    it is seen where the other is not and speaks for another class: then it is what the first one's absence does.
    """
    kept: list[tuple[Pull, np.ndarray]] = []
    for pull in sorted(pulls, key=lambda one: -one.log_odds):
        seen = shows(evidence, pull)
        alike = [(other, _correlation(seen, theirs)) for other, theirs in kept]
        if not any(abs(phi) >= _SAME if other.label == pull.label else phi <= -_SAME for other, phi in alike):
            kept.append((pull, seen))
    return tuple(sorted((pull for pull, _ in kept), key=lambda pull: (pull.label, pull.thing)))


def counted_risks(known: Known, pulls: Sequence[Pull]) -> np.ndarray:
    """float64 (N,): the risk of each sample of a run, by the labels of others.

    Folds are dealt by sample id, so that risks do not depend on the order of the dataset.
    """
    even, n = even_weights(known.evidence, pulls), len(known.labels)
    order = np.argsort(known.evidence.features["sample_id"].to_numpy(dtype=object), kind="stable")
    risks = np.empty(n)
    for rest, held_out in KFold(min(N_FOLDS, n), shuffle=True, random_state=0).split(order):
        others, asked = order[rest], order[held_out]
        part = replace(known.evidence, features=known.evidence.features.iloc[others])
        found = likelihoods_of(part, pulls, known.labels[others])
        reading = _read(even[even["row"].isin(others)], known.labels, pulls)
        risks[asked] = _risks(known.evidence, even, reading.of(even), pulls, found)[asked]
    return risks


def guessed_risks(known: Known, pulls: Sequence[Pull], evidence: Evidence) -> np.ndarray:
    """float64 (M,): the risk of each picture of a folder without labels.

    Args:
        known: the run.
        pulls: at least one.
        evidence: of the M pictures, best of the whole folder.
    """
    return _foretold(known, pulls, evidence, [_guess(known, evidence, pull).free for pull in pulls])


def other_risks(known: Known, pulls: Sequence[Pull], evidence: Evidence) -> tuple[np.ndarray, ...]:
    """Risks (M,) as `guessed_risks`, were what pulls to mean nothing wherever the folder's pictures leave that open.

    Once with what is most probably left behind of it then, and once with nothing left behind.
    """
    guesses = [_guess(known, evidence, pull) for pull in pulls]
    chosen = (
        [one.unbound if one.is_open else one.free for one in guesses],
        [_NOTHING if one.is_open else one.free for one in guesses],
    )
    return tuple(_foretold(known, pulls, evidence, meanings) for meanings in chosen)


def _foretold(
    known: Known, pulls: Sequence[Pull], evidence: Evidence, meanings: Sequence[Meaning]
) -> np.ndarray:
    """Risks by what pulls are taken to mean."""
    own, asked = even_weights(known.evidence, pulls), even_weights(evidence, pulls)
    for pull, meaning in zip(pulls, meanings, strict=True):
        own = _without(own, pull, shows(known.evidence, pull), meaning.left)
        asked = _without(asked, pull, shows(evidence, pull), meaning.left)
    reading = _read(own, known.labels, pulls)
    return _risks(evidence, asked, reading.of(asked), pulls, [meaning.likelihood for meaning in meanings])


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of two presences over the pictures where both are known, in [-1, 1]; 0 where either never changes."""
    looked = ~np.isnan(one) & ~np.isnan(other)
    if not looked.any() or np.ptp(one[looked]) == 0 or np.ptp(other[looked]) == 0:
        return 0.0
    return float(np.corrcoef(one[looked], other[looked])[0, 1])


def _read(even: pd.DataFrame, labels: np.ndarray, pulls: Sequence[Pull]) -> _Reading:
    """Slope and biases under which the labels of some weights' pictures are most probable.

    Biases are of the classes that are pulled to, whose log odds are those of pictures without the thing. Labels that
    a picture's weights do not list tell nothing.
    """
    names = sorted({pull.label for pull in pulls})
    row, logs = even["row"].to_numpy(), np.log(even["weight"].to_numpy())
    places = [even["class_name"].to_numpy() == name for name in names]
    is_label = even["class_name"].to_numpy() == labels[row]

    def loss(asked: np.ndarray) -> float:
        scores = math.exp(asked[0]) * logs
        for own, bias in zip(places, asked[1:], strict=True):
            scores = scores + own * bias
        penalty = _PRIOR_SLOPE * asked[0] ** 2 + _PRIOR_BIAS * float(asked[1:] @ asked[1:])
        return float(penalty) - float((scores - _log_totals(row, scores)[row])[is_label].sum())

    ends = [(-3.0, 3.0), *[(-MOST_LOG_ODDS, MOST_LOG_ODDS)] * len(names)]
    found = minimize(loss, np.zeros(1 + len(names)), method="L-BFGS-B", bounds=ends).x
    return _Reading(math.exp(found[0]), dict(zip(names, found[1:].tolist(), strict=True)))


def _log_totals(row: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """log of the sum of exp(scores) by row, from the largest of each on."""
    top = np.full(row.max() + 1 if len(row) else 0, -np.inf)
    np.maximum.at(top, row, scores)
    with np.errstate(divide="ignore", invalid="ignore"):  # rows between that are not there
        return np.asarray(top + np.log(np.bincount(row, np.exp(scores - top[row]), len(top))))


def _risks(
    evidence: Evidence,
    even: pd.DataFrame,
    scores: np.ndarray,
    pulls: Sequence[Pull],
    likelihoods: Sequence[Likelihood],
) -> np.ndarray:
    """float64 (N,): 1 - probability of the predicted class, by scores of the weights and what things mean."""
    row, names = even["row"].to_numpy(), even["class_name"].to_numpy()
    for pull, likelihood in zip(pulls, likelihoods, strict=True):
        present = shows(evidence, pull)[row]
        factor = np.where(present == 1, likelihood.if_present, likelihood.if_absent)
        scores = np.where((names == pull.label) & ~np.isnan(present), scores + np.log(factor), scores)
    shares = np.exp(scores - _log_totals(row, scores)[row])
    is_own = names == evidence.features["predicted"].to_numpy()[row]
    listed = evidence.probabilities.groupby("sample_id")["probability"].sum()
    whole = np.minimum(listed.reindex(evidence.features["sample_id"]).to_numpy(), 1.0)
    return np.asarray(1 - np.bincount(row[is_own], shares[is_own], len(evidence.features)) * whole)


def _without(even: pd.DataFrame, pull: Pull, present: np.ndarray, left: float) -> pd.DataFrame:
    """The weights with what was left behind of a pull taken away too."""
    applies = (even["class_name"] == pull.label).to_numpy() & (present[even["row"]] == 1)
    return even.assign(weight=np.where(applies, even["weight"] * math.exp(-left), even["weight"]))


def _log_odds_of(even: pd.DataFrame, label: str, n: int) -> np.ndarray:
    """float64 (n,), log odds of a class against the others listed, within +-MOST_LOG_ODDS."""
    row, weight = even["row"].to_numpy(), even["weight"].to_numpy()
    own = even["class_name"].to_numpy() == label
    return log_ratio(*(np.bincount(row[chosen], weight[chosen], n) for chosen in (own, ~own)))


_NOTHING = Meaning(0.0, Likelihood(1.0, 1.0))


@dataclass(frozen=True)
class _Guess:
    """The most probable meaning; the same, were the thing to mean nothing; whether the folder leaves that open."""

    free: Meaning
    unbound: Meaning
    is_open: bool


def _guess(known: Known, evidence: Evidence, pull: Pull) -> _Guess:
    """What a thing means in a folder, and what taking its pull away leaves behind.

    In the run every class is known, but the thing may always come with it, so that what it leaves behind looks like
    the class. In the folder both kinds may show it. Together they tell the two apart.
    """
    labelled, present = shows(known.evidence, pull), shows(evidence, pull)
    belongs = (known.labels == pull.label).astype(np.float64)
    looked, asked_for = ~np.isnan(labelled), ~np.isnan(present)
    belongs = belongs[looked]
    if not asked_for.any() or belongs.min(initial=1) == belongs.max(initial=0):
        return _Guess(_NOTHING, _NOTHING, is_open=True)
    n, m, alone = len(labelled), len(present), (pull,)
    run = _log_odds_of(even_weights(known.evidence, alone), pull.label, n)[looked], labelled[looked]
    folder = _log_odds_of(even_weights(evidence, alone), pull.label, m)[asked_for], present[asked_for]
    as_in_run, overall = shares_shown(belongs, run[1], folder[1]), np.full(2, folder[1].mean())
    free = max(
        (settled(run, belongs, folder, start, pull) for start in (as_in_run, overall)),
        key=lambda fit: fit[1],
    )
    tied = settled(run, belongs, folder, overall, pull, is_tied=True)
    gain = free[1] - tied[1]
    # A network that reads nothing but the thing leaves nothing to tell classes by: then any bond fits as well.
    likely = free if gain > _BY_CHANCE else tied
    is_open = gain < max(_OPEN * len(folder[0]), _BY_CHANCE)
    return _Guess(likely[0].meaning(), tied[0].meaning(), is_open)
