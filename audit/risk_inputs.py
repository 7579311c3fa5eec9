"""What a risk is estimated from: numbers of a picture that need no label, one column each.

Beside confidence stands the same confidence with the pull of known confounds taken away, since a network is as sure of
what a face tells it as of what a shirt does.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from audit.bonds import bonds
from audit.effects import Effect, effects
from audit.interventions import Link, Scope
from audit.tables import N_CELLS
from audit.types import VerdictLimits

MOST_LOG_ODDS = 10.0
"""Beyond this, what a network says of its own certainty is rounding."""
LEAST_PROBABILITY = 1e-6
"""Below this a probability is rounding, and its logarithm would outweigh what another picture says."""
CONFIDENCE, DISTANCE = "confidence", "unusual map"
PRESENT, MASS, PREDICTED = "shows ", "mass on ", "predicted "
"""Beginnings of the columns that exist once a thing, or once a class."""
FEWEST_OF_CLASS = 10
"""Predictions of a class below which it gets no column of its own, and no usual map."""
MOST_CLASSES = 30
"""Classes, the most frequently predicted first, that get a column of their own."""
_ROUNDS = 30
"""Of weighing and counting; they move by less than a hundredth long before."""
_CELLS = [f"cell_{row}_{column}" for row in range(N_CELLS) for column in range(N_CELLS)]


@dataclass(frozen=True)
class Pull:
    """What interventions showed a confound to do to a class.

    Attributes:
        label: class that it speaks for.
        thing: the confound: a thing, or a global property.
        log_odds: mean change of the class's log odds beyond the control's, above 0.
        middle: of a property, the value half-way between what is typical of the class and of the others; NaN of a
            thing.
        is_higher: of a property, the class has the larger values.
    """

    label: str
    thing: str
    log_odds: float
    middle: float = math.nan
    is_higher: bool = True


@dataclass(frozen=True)
class Likelihood:
    """By what a thing multiplies the odds of its class in some data, whatever the model believes.

    Attributes:
        if_present: P(thing | class) / P(thing | other classes).
        if_absent: the same of its absence.
    """

    if_present: float
    if_absent: float


@dataclass(frozen=True)
class Evidence:
    """What is known of pictures without their labels: tables by the schemas of `audit.tables`.

    Attributes:
        features: FEATURES.
        things: THINGS; a thing that a sample has no row of was not looked for on it.
        probabilities: PROBABILITIES.
        properties: PROPERTIES; None where none were measured.
    """

    features: pd.DataFrame
    things: pd.DataFrame
    probabilities: pd.DataFrame
    properties: pd.DataFrame | None = None


def pulls_of(tables: Mapping[str, pd.DataFrame], limits: VerdictLimits) -> tuple[Pull, ...]:
    """What confounds were shown to do to decisions, by the interventions of a run; none where it has none.

    Only effects that are certain and large enough to matter count; the change of the log odds is then the mean over
    the necessity and the sufficiency that were shown. What can be told on any picture is a thing or a property whose
    value is a number; a background or a file type is left out.
    """
    level = 1 - limits.q
    numbers = {(bond.label, bond.confound): bond for bond in bonds(tables, level) if not bond.category}
    shown: dict[tuple[str, str], list[float]] = {}
    for effect in effects(tables, limits, level):
        key = effect.label, effect.confound
        is_told = effect.scope is Scope.REGION or (effect.scope is Scope.PROPERTY and key in numbers)
        if is_told and not effect.is_far and effect.shows(limits):
            shown.setdefault(key, []).append(_log_odds_moved(effect, tables["interventions"]))
    pulls = []
    for key, sizes in sorted(shown.items()):
        if np.mean(sizes) <= 0:
            continue
        bond = numbers.get(key)
        middle = (bond.own + bond.others) / 2 if bond else math.nan
        pulls.append(Pull(*key, float(np.mean(sizes)), middle, bond.is_higher if bond else True))
    return tuple(pulls)


def _log_odds_moved(effect: Effect, rows: pd.DataFrame) -> float:
    """Mean change of the class's log odds beyond the control's, by the interventions of one effect."""
    own = rows[
        (rows["label"] == effect.label)
        & (rows["confound"] == effect.confound)
        & (rows["kind"] == effect.kind)
        & rows["score_after"].notna()
        & rows["score_control"].notna()
    ]
    moved = log_odds(own["score_after"].to_numpy()) - log_odds(own["score_control"].to_numpy())
    per_sample = pd.Series(moved).groupby(own["sample_id"].to_numpy()).mean()
    return float(per_sample.mean()) * (-1 if effect.link is Link.NECESSITY else 1)


def log_odds(shares: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of p in [0, 1], within +-MOST_LOG_ODDS."""
    return log_ratio(shares, 1 - shares)


def likelihoods_of(
    evidence: Evidence, pulls: Sequence[Pull], labels: Sequence[str] | np.ndarray
) -> tuple[Likelihood, ...]:
    """How often each thing with a known pull occurs in its class and in the others, by labels."""
    own = [(np.asarray(labels) == pull.label).astype(np.float64) for pull in pulls]
    return tuple(_likelihood(evidence, pull, belongs) for pull, belongs in zip(pulls, own, strict=True))


def guessed_likelihoods(evidence: Evidence, pulls: Sequence[Pull]) -> tuple[Likelihood, ...]:
    """The same of pictures without labels, by what the rest of each picture says.

    What class a picture belongs to is weighed by the model without the pulls; the likelihoods follow from these
    weights, the weights from them, and so on until they settle.

    Source: expectation maximisation as in Saerens, Latinne, Decaestecker 2002, Neural Computation 14, 21-41, for the
    frequency of a thing in place of that of a class.
    """
    found: tuple[Likelihood, ...] = ()
    even = even_weights(evidence, pulls)
    for _ in range(_ROUNDS if pulls else 0):
        weights = bound(even, evidence, pulls, found)
        shares = weights["weight"] / weights.groupby("row")["weight"].transform("sum")
        belongs = []
        for pull in pulls:
            own = (weights["class_name"] == pull.label).to_numpy()
            belongs.append(np.bincount(weights["row"][own], shares[own], minlength=len(evidence.features)))
        found = tuple(_likelihood(evidence, pull, one) for pull, one in zip(pulls, belongs, strict=True))
    return found


def even_weights(evidence: Evidence, pulls: Sequence[Pull]) -> pd.DataFrame:
    """What the model says of pictures without what it learned of confounds: rows (row, class_name, weight).

    The pull is taken off where a thing is seen, half of it, and given back where it is not. Where the model was also
    asked with the thing filled over, the weight is the geometric mean of both answers: a fill leaves something behind
    or takes more away than the thing, a mean effect is not that of each picture, and the two err apart. `row` is the
    place in `evidence.features`, and the weights of a row have any common factor.
    """
    places = pd.Series(np.arange(len(evidence.features)), index=evidence.features["sample_id"])
    rows = evidence.probabilities
    row = places.loc[rows["sample_id"]].to_numpy()
    known = [shows(evidence, pull)[row] for pull in pulls]
    is_thing = [present == 1 for pull, present in zip(pulls, known, strict=True) if math.isnan(pull.middle)]
    without = rows["without"].to_numpy()
    is_filled = np.any([*is_thing, np.zeros(len(row), bool)], axis=0) & ~np.isnan(without)
    moved, filled = np.maximum(rows["probability"], LEAST_PROBABILITY), np.maximum(without, LEAST_PROBABILITY)
    for pull, present in zip(pulls, known, strict=True):
        applies = (rows["class_name"] == pull.label).to_numpy() & ~np.isnan(present)
        half = math.exp(pull.log_odds / 2)
        moved = np.where(applies, np.where(present == 1, moved / half, moved * half), moved)
        is_there = (present == 1) & ~math.isnan(pull.middle)
        filled = np.where(applies, np.where(is_there, filled / half, filled * half), filled)
    weight = np.where(is_filled, np.sqrt(moved * filled), moved)
    return pd.DataFrame({"row": row, "class_name": rows["class_name"].to_numpy(), "weight": weight})


def bound(
    even: pd.DataFrame, evidence: Evidence, pulls: Sequence[Pull], likelihoods: Sequence[Likelihood]
) -> pd.DataFrame:
    """The weights with what each thing's presence or absence does mean in these data, which may be nothing at all."""
    weight = even["weight"].to_numpy()
    for pull, likelihood in zip(pulls, likelihoods, strict=False):
        present = shows(evidence, pull)[even["row"]]
        factor = np.where(present == 1, likelihood.if_present, likelihood.if_absent)
        applies = (even["class_name"] == pull.label).to_numpy() & ~np.isnan(present)
        weight = np.where(applies, weight * factor, weight)
    return even.assign(weight=weight)


def corrected_probabilities(evidence: Evidence, pulls: Sequence[Pull]) -> pd.DataFrame:
    """What the model would say of pictures without its pulls: rows (sample_id, class_name, probability).

    Its own probabilities where nothing pulls. No label is used: what a confound means is guessed.
    """
    stored = evidence.probabilities[["sample_id", "class_name", "probability"]]
    if not pulls:
        return stored
    weights = bound(even_weights(evidence, pulls), evidence, pulls, guessed_likelihoods(evidence, pulls))
    listed = stored.groupby("sample_id")["probability"].transform("sum").to_numpy()
    total = weights.groupby("row")["weight"].transform("sum").to_numpy()
    return stored.assign(probability=weights["weight"].to_numpy() / total * listed)


def _likelihood(evidence: Evidence, pull: Pull, belongs: np.ndarray) -> Likelihood:
    """Of a thing and a class, of which each picture is with a weight in [0, 1]."""
    present = shows(evidence, pull)
    looked = ~np.isnan(present)
    own, others = belongs[looked], 1 - belongs[looked]
    # Half a picture of each kind is added, so that what was never seen is unlikely and not impossible.
    share, elsewhere = (
        (float(weight @ present[looked]) + 0.5) / (float(weight.sum()) + 1) for weight in (own, others)
    )
    return Likelihood(share / elsewhere, (1 - share) / (1 - elsewhere))


def shows(evidence: Evidence, pull: Pull) -> np.ndarray:
    """float64 (N,): 1 where a picture shows what pulls, 0 where it does not, NaN where that is not known."""
    if math.isnan(pull.middle):
        return presence_of(evidence, pull.thing)
    if evidence.properties is None:
        return np.full(len(evidence.features), np.nan)
    rows = evidence.properties[evidence.properties["property"] == pull.thing].set_index("sample_id")["value"]
    values = np.asarray(rows.reindex(evidence.features["sample_id"]), dtype=np.float64)
    is_beyond = values > pull.middle if pull.is_higher else values < pull.middle
    return np.where(np.isnan(values), np.nan, is_beyond)


def presence_of(evidence: Evidence, thing: str, column: str = "present") -> np.ndarray:
    """float64 (N,), a column of THINGS by sample; NaN where the thing was not looked for."""
    rows = evidence.things[evidence.things["thing"] == thing].set_index("sample_id")[column]
    return np.asarray(rows.reindex(evidence.features["sample_id"]), dtype=np.float64)


def usual_maps(features: pd.DataFrame) -> dict[str, np.ndarray]:
    """Mean coarse map float64 (N_CELLS * N_CELLS,) of the pictures taken for a class, by its name."""
    mapped = features[features["map_entropy"].notna()]
    return {
        str(name): rows[_CELLS].mean().to_numpy(dtype=np.float64)
        for name, rows in mapped.groupby("predicted")
        if len(rows) >= FEWEST_OF_CLASS
    }


def frequent_classes(features: pd.DataFrame) -> tuple[str, ...]:
    """Classes that get a column of their own, sorted."""
    counts = features["predicted"].value_counts()
    frequent = counts[counts >= FEWEST_OF_CLASS].sort_index().sort_values(ascending=False, kind="stable")
    return tuple(sorted(map(str, frequent.index[:MOST_CLASSES])))


def inputs_of(
    evidence: Evidence,
    pulls: Sequence[Pull],
    likelihoods: Sequence[Likelihood],
    usual: Mapping[str, np.ndarray],
    things: Sequence[str],
    classes: Sequence[str],
) -> pd.DataFrame:
    """The inputs of the regression, confidence first: float64, a row for each row of FEATURES; NaN is not measured.

    Args:
        evidence: of N pictures.
        pulls: known pulls of confounds.
        likelihoods: one for each of them.
        usual: mean coarse map by predicted class.
        things, classes: what gets columns of its own.
    """
    features = evidence.features
    weights = bound(even_weights(evidence, pulls), evidence, pulls, likelihoods)
    row, weight = weights["row"].to_numpy(), weights["weight"].to_numpy()
    is_own = weights["class_name"].to_numpy() == features["predicted"].to_numpy()[row]
    own, others = (np.bincount(row, weight * chosen, len(features)) for chosen in (is_own, ~is_own))
    second = np.zeros(len(features))
    np.maximum.at(second, row[~is_own], weight[~is_own])
    listed = evidence.probabilities.groupby("sample_id")["probability"].sum()
    unlisted = np.maximum(1 - listed.reindex(features["sample_id"]).to_numpy(), 0.0)
    columns = {
        CONFIDENCE: log_ratio(own, others + unlisted),
        "margin": log_ratio(own, second),
        "spread of the map": features["map_entropy"].to_numpy(),
        "disagreement of methods": features["disagreement"].to_numpy(),
        DISTANCE: _distance(features, usual),
    }
    for thing in things:
        present = presence_of(evidence, thing)
        columns[PRESENT + thing] = present
        columns[MASS + thing] = np.where(present == 0, 0.0, presence_of(evidence, thing, "mass"))
    for name in classes:
        columns[PREDICTED + name] = (features["predicted"] == name).to_numpy(dtype=np.float64)
    return pd.DataFrame(columns, index=features.index)


def log_ratio(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """log(own / others), within +-MOST_LOG_ODDS."""
    with np.errstate(divide="ignore"):  # 0 and 1 are what the limit is for
        ratio = np.log(own) - np.log(others)
    return np.asarray(np.clip(ratio, -MOST_LOG_ODDS, MOST_LOG_ODDS))


def _distance(features: pd.DataFrame, usual: Mapping[str, np.ndarray]) -> np.ndarray:
    """Total variation distance of each coarse map from its predicted class's usual one, in [0, 1]."""
    unknown = np.full(N_CELLS * N_CELLS, np.nan)
    expected = np.array([usual.get(name, unknown) for name in features["predicted"]]).reshape(-1, len(_CELLS))
    return np.asarray(np.abs(features[_CELLS].to_numpy() - expected).sum(axis=1) / 2)
