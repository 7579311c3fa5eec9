"""Why a prediction is at risk, in words: one line a sample, what weighs most first."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from audit._verdict_texts import percent
from audit.risk_inputs import DISTANCE, Evidence, Pull, log_odds, presence_of, shows

SURE, UNSURE = 0.9, 0.6
"""Confidence from which a prediction is called confident, and below which unsure."""
_MUCH_MASS = 0.3
"""A share of the mass on a thing that is worth saying though nothing has proved that it counts."""
_HIGH = {
    "disagreement of methods": "Grad-CAM and the gradient point at different places",
    DISTANCE: "the map lies elsewhere than is usual for {predicted}",
    "spread of the map": "the map is spread over the picture",
}
"""Inputs that are worth saying where they are among the highest tenth of the run."""


def reasons_of(
    evidence: Evidence,
    inputs: pd.DataFrame,
    pulls: Sequence[Pull],
    high: Mapping[str, float],
    note: str,
) -> list[str]:
    """A reason for each row of FEATURES.

    Args:
        evidence: of N pictures.
        inputs: their inputs, by `inputs_of`.
        pulls: known pulls of confounds.
        high: of each input what only a tenth of the run exceeds.
        note: said of every sample, where risk is but 1 - confidence.
    """
    features = evidence.features
    second, instead = _runners_up(evidence), _named_without_things(evidence)
    things = sorted(map(str, evidence.things["thing"].unique()))
    seen = {thing: (presence_of(evidence, thing), presence_of(evidence, thing, "mass")) for thing in things}
    properties = [(pull, shows(evidence, pull)) for pull in pulls if not math.isnan(pull.middle)]
    unusual = {name: (inputs[name] > high.get(name, np.inf)).to_numpy() for name in _HIGH}
    reasons = []
    for row, (sample_id, predicted, confidence) in enumerate(
        zip(features["sample_id"], features["predicted"], features["confidence"], strict=True)
    ):
        own = {thing: (present[row], mass[row]) for thing, (present, mass) in seen.items()}
        runner_up = second.get(sample_id, ("", 0.0))
        against = [
            *_of_shown(predicted, own, pulls, instead.get(sample_id)),
            *_of_missing(confidence, runner_up[0], own, pulls),
            *(
                f"its {pull.thing} is that of {predicted}, which speaks for {predicted}"
                for pull, is_shown in properties
                if pull.label == predicted and is_shown[row] == 1
            ),
            *(text.format(predicted=predicted) for name, text in _HIGH.items() if unusual[name][row]),
        ]
        reasons.append(_sentence(confidence, runner_up, against, note))
    return reasons


def _sentence(confidence: float, runner_up: tuple[str, float], against: Sequence[str], note: str) -> str:
    if confidence < UNSURE and runner_up[0]:
        start = f"unsure: {percent(confidence)}, then {runner_up[0]} with {percent(runner_up[1])}"
    elif confidence < SURE:
        start = f"not sure: {percent(confidence)}"
    else:
        start = "confident" if against else f"confident: {percent(confidence)}, and nothing speaks against it"
    said = (", but " if confidence >= SURE else "; ").join(
        [start, *(["; ".join(against)] if against else [])]
    )
    return f"{said} ({note})" if note else said


def _of_shown(
    predicted: str, seen: Mapping[str, tuple[float, float]], pulls: Sequence[Pull], instead: str | None
) -> list[str]:
    """What is seen on the picture and speaks for the prediction without being its object."""
    proved = {pull.thing for pull in pulls if pull.label == predicted}
    found = []
    for thing, (present, mass) in seen.items():
        turns = instead not in (None, predicted)
        if present == 1 and (thing in proved or mass >= _MUCH_MASS):
            said = (
                f"it shows {_a(thing)}"
                if np.isnan(mass)
                else f"{percent(mass)} of the mass lies on {_a(thing)}"
            )
            if thing in proved:
                said += f", which speaks for {predicted}"
            found.append(f"{said}; without it the model says {instead}" if turns else said)
    return found


def _of_missing(
    confidence: float, second: str, seen: Mapping[str, tuple[float, float]], pulls: Sequence[Pull]
) -> list[str]:
    """What is not on the picture, though it would turn the prediction into the second class."""
    return [
        f"it shows no {pull.thing}, without which {second} is seldom named"
        for pull in pulls
        if pull.label == second
        and seen.get(pull.thing, (np.nan, np.nan))[0] == 0
        and log_odds(np.array([confidence]))[0] < pull.log_odds
    ]


def _a(thing: str) -> str:
    return f"{'an' if thing[:1].lower() in 'aeiou' else 'a'} {thing}"


def _runners_up(evidence: Evidence) -> dict[str, tuple[str, float]]:
    """The second most probable class of each sample, with its probability."""
    rows = evidence.probabilities.merge(
        evidence.features[["sample_id", "predicted"]], on="sample_id", validate="many_to_one"
    )
    rows = rows[rows["class_name"] != rows["predicted"]]
    second = rows.sort_values("probability", ascending=False, kind="stable").drop_duplicates("sample_id")
    return {row.sample_id: (row.class_name, row.probability) for row in second.itertuples(index=False)}


def _named_without_things(evidence: Evidence) -> dict[str, str]:
    """The most probable class of each picture with the things on it filled over, where there are any."""
    asked = evidence.probabilities.dropna(subset=["without"])
    best = asked.sort_values("without", ascending=False, kind="stable").drop_duplicates("sample_id")
    return dict(zip(best["sample_id"], best["class_name"], strict=True))
