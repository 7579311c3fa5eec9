"""Plain counts of a run: per class, and over everything."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


def class_facts(tables: Mapping[str, pd.DataFrame], classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Counts by class name, for the manifest.

    Returns:
        {label: {"n": samples, "n_correct": samples, "accuracy": share or None without samples,
        "area_inside": mean share of the foreground or None where no sample is annotated}}
    """
    predictions, attributions = tables["predictions"], tables["attributions"]
    first = attributions.drop_duplicates("sample_id")[["sample_id", "area_inside"]]
    joined = predictions.merge(first, on="sample_id", how="left", validate="one_to_one")
    facts = {}
    for label in classes:
        rows = joined[joined["label"] == label]
        n_correct = int(rows["correct"].sum())
        area = rows["area_inside"].mean()
        facts[label] = {
            "n": len(rows),
            "n_correct": n_correct,
            "accuracy": n_correct / len(rows) if len(rows) else None,
            "area_inside": None if pd.isna(area) else float(area),
        }
    return facts


def quarantine_facts(quarantine: pd.DataFrame) -> dict[str, int]:
    """Number of quarantined samples by reason, the most frequent first."""
    return {str(reason): int(number) for reason, number in quarantine["reason"].value_counts().items()}
