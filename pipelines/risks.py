"""A finished run -> risks, label issues, duplicates: load, call `audit`, store. No model is needed."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from audit import tables as schema
from audit.duplicates import find_duplicates
from audit.label_issues import LEARNED_FROM, can_doubt_labels, find_label_issues
from audit.risk import RiskModel, fit_risks
from audit.risk_inputs import Evidence, corrected_probabilities, pulls_of
from audit.risk_quality import CONFIDENT, ranking, reliability
from audit.types import VerdictLimits
from pipelines.storage import Run

LEVEL = 0.95
"""Of the intervals beside the figures of risk."""
DECIDES = 3.0
"""Log odds (20 to 1) from which a confound decides alone: such a model knows nothing better than the label."""
TABLES = (schema.FEATURES, schema.THINGS, schema.PROBABILITIES)
"""What an estimate of risk is made from."""


def assess(
    run: Run, tables: Mapping[str, pd.DataFrame], classes: Sequence[str], limits: VerdictLimits
) -> dict[str, Any]:
    """Stores `risks`, `label_issues` and `duplicates` of a run; returns what its manifest says of them."""
    model, risks = fit(tables, limits)
    predictions, features = tables["predictions"], tables[schema.FEATURES.name]
    # A model that is known to follow a face is no second opinion on the pictures that show one.
    whole = dataclasses.replace(evidence_of(tables), probabilities=tables[schema.PROBABILITIES.name])
    opinion = corrected_probabilities(whole, model.pulls)
    untrusted = sorted({pull.label for pull in model.pulls if pull.log_odds >= DECIDES})
    issues = find_label_issues(predictions, opinion, tables["attributions"], classes, untrusted)
    duplicates = find_duplicates(predictions, features)
    run.write_table(schema.RISKS.name, risks)
    run.write_table(schema.LABEL_ISSUES.name, issues)
    run.write_table(schema.DUPLICATES.name, duplicates)
    return {
        "risk": {"note": model.note, **_quality(predictions, features, risks)},
        "label_issues": {
            "n": len(issues),
            "looked_for": can_doubt_labels(),
            "untrusted": untrusted,
            "left_out": int(predictions["split"].str.lower().isin(LEARNED_FROM).sum()),
        },
        "duplicates": {
            "n": len(duplicates),
            "leaks": int(duplicates["leaks"].sum()),
            "redundant": int(duplicates["redundant"].sum()),
        },
    }


def fit(tables: Mapping[str, pd.DataFrame], limits: VerdictLimits) -> tuple[RiskModel, pd.DataFrame]:
    """The estimate of risk from a run's tables, and the table RISKS of its own samples out of fold."""
    evidence = evidence_of(tables)
    labels = tables["predictions"].set_index("sample_id")["label"].loc[evidence.features["sample_id"]]
    return fit_risks(evidence, labels.tolist(), pulls_of(tables, limits))


def evidence_of(tables: Mapping[str, pd.DataFrame]) -> Evidence:
    """What a run knows of its samples without their labels."""
    return Evidence(
        features=tables[schema.FEATURES.name],
        things=tables[schema.THINGS.name],
        probabilities=without_labels(tables[schema.PROBABILITIES.name]),
        properties=tables.get(schema.PROPERTIES.name),
    )


def without_labels(probabilities: pd.DataFrame) -> pd.DataFrame:
    """The most probable classes of each sample: a row that is there for its label alone would tell that it is wrong."""
    best = np.fmax(probabilities["probability"], probabilities["without"])
    rank = best.groupby(probabilities["sample_id"]).rank(method="first", ascending=False)
    return probabilities[rank <= schema.N_PROBABILITIES].reset_index(drop=True)


def is_wrong(predictions: pd.DataFrame, features: pd.DataFrame) -> np.ndarray:
    """bool (N,), of each row of FEATURES whether the prediction is not the label."""
    is_right = predictions.set_index("sample_id")["correct"].reindex(features["sample_id"])
    return np.asarray(~is_right.to_numpy(dtype=bool))


def _quality(predictions: pd.DataFrame, features: pd.DataFrame, risks: pd.DataFrame) -> dict[str, Any]:
    """How good the risks are, beside maximum probability: over all, and over the confident predictions."""
    wrong, numbers = is_wrong(predictions, features), risks["risk"].to_numpy()
    confidence = features["confidence"].to_numpy()
    sure = confidence > CONFIDENT
    return {
        "all": _plain(ranking(wrong, numbers, confidence, LEVEL)),
        "confident": _plain(ranking(wrong[sure], numbers[sure], confidence[sure], LEVEL)),
        "reliability": [_plain(one) for one in reliability(wrong, numbers, LEVEL)],
    }


def _plain(value: Any) -> Any:
    """A dataclass as JSON takes it: NaN is None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return None if isinstance(value, float) and math.isnan(value) else value
