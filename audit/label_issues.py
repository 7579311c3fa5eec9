"""Samples whose label is probably wrong, and samples on which the labelled object can hardly be seen."""

import importlib.util
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from audit._verdict_texts import percent
from audit.tables import LABEL_ISSUES, frame

LEARNED_FROM = ("train", "training")
"""Splits that a model is usually trained on: what it says there is no second opinion on the label."""
LEAST_AREA = 0.01
"""Share of the picture below which an object is barely visible: 22 pixels a side of 224."""
WRONG_LABEL, BARELY_VISIBLE = "wrong label", "barely visible"


def find_label_issues(
    predictions: pd.DataFrame,
    probabilities: pd.DataFrame,
    attributions: pd.DataFrame,
    classes: Sequence[str],
    untrusted: Collection[str] = (),
) -> pd.DataFrame:
    """The table LABEL_ISSUES.

    Labels are doubted by confident learning on the audited model's probabilities. They count as out of sample
    on every split that is not named in LEARNED_FROM; a model that learned from the samples elsewhere has learned
    their wrong labels too, and hides them. Without the library for it no label is doubted; see `can_doubt_labels`.

    Args:
        predictions: PREDICTIONS of the run.
        probabilities: sample_id, class_name, probability, as PROBABILITIES has them or without what confounds pull;
            what is not stored of a sample is spread over the other classes.
        attributions: ATTRIBUTIONS of the run, for the area of the object.
        classes: names in output order.
        untrusted: classes that the model names for something else than their object; no label is doubted between
            them and another.

    Source: Northcutt, Jiang, Chuang. Confident Learning. JAIR 2021. arXiv:1911.00068, as cleanlab implements it.
    """
    found = {
        str(row["sample_id"]): row
        for row in _wrong_labels(predictions, probabilities, classes)
        if row["label"] not in untrusted and row["suggested"] not in untrusted
    }
    for row in _barely_visible(predictions, attributions):
        if doubted := found.get(str(row["sample_id"])):
            doubted["reason"] = f"{doubted['reason']}; {row['reason']}"
        else:
            found[str(row["sample_id"])] = row
    return frame(LABEL_ISSUES, found.values())


def can_doubt_labels() -> bool:
    """Whether the library that doubts labels is installed: `pip install rightreasons[labels]`."""
    return importlib.util.find_spec("cleanlab") is not None


def _wrong_labels(
    predictions: pd.DataFrame, probabilities: pd.DataFrame, classes: Sequence[str]
) -> list[dict[str, object]]:
    """Rows of samples whose label is in doubt, the least probable label first."""
    rows = predictions[~predictions["split"].str.lower().isin(LEARNED_FROM)].reset_index(drop=True)
    if not can_doubt_labels() or rows["label"].nunique() < 2:
        return []
    from cleanlab.filter import find_label_issues as doubtful

    present = [name for name in classes if name in set(rows["label"])]
    shares = _shares(probabilities, rows["sample_id"], present, len(classes))
    # Of a picture that the model gives to none of these classes it has no opinion, and would have none of its class.
    is_told = ~np.isnan(shares).any(axis=1)
    rows, shares = rows[is_told].reset_index(drop=True), shares[is_told]
    labels = rows["label"].map({name: index for index, name in enumerate(present)}).to_numpy()
    if len(set(labels)) < 2:
        return []
    # One process: the library would fork ours, with TensorFlow's threads in it.
    order = doubtful(labels, shares, return_indices_ranked_by="self_confidence", filter_by="both", n_jobs=1)
    made = []
    for index in order:
        suggested, own = int(shares[index].argmax()), float(shares[index, labels[index]])
        label, other = rows["label"][index], present[suggested]
        if other == label:
            continue
        made.append(
            {
                "sample_id": rows["sample_id"][index],
                "kind": WRONG_LABEL,
                "label": label,
                "suggested": other,
                "label_quality": own,
                "reason": f"labelled {label}, which the model gives {percent(own)}; it says {other} with "
                f"{percent(float(shares[index, suggested]))}, more than it usually gives {other}",
            }
        )
    return made


def _shares(
    probabilities: pd.DataFrame, sample_ids: pd.Series, present: Sequence[str], n_classes: int
) -> np.ndarray:
    """float64 (N, K) over the classes that occur as labels, rows summing to 1; NaN where none has any."""
    table = probabilities.pivot(index="sample_id", columns="class_name", values="probability")
    n_stored = table.notna().sum(axis=1)
    rest = (1 - table.sum(axis=1)).clip(lower=0) / (n_classes - n_stored).clip(lower=1)
    filled = table.reindex(columns=list(present)).apply(lambda column: column.fillna(rest))
    shares = filled.reindex(sample_ids).to_numpy(dtype=np.float64)
    total = shares.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(shares, total, out=np.full(shares.shape, np.nan), where=total > 0))


def _barely_visible(predictions: pd.DataFrame, attributions: pd.DataFrame) -> list[dict[str, object]]:
    """Rows of samples whose annotated object covers next to nothing of the picture, the smallest first."""
    areas = attributions.drop_duplicates("sample_id")[["sample_id", "area_inside"]]
    rows = predictions[["sample_id", "label"]].merge(areas, on="sample_id", validate="one_to_one")
    rows = rows[rows["area_inside"] < LEAST_AREA].sort_values(["area_inside", "sample_id"])
    return [
        {
            "sample_id": row.sample_id,
            "kind": BARELY_VISIBLE,
            "label": row.label,
            "suggested": None,
            "label_quality": row.area_inside,
            "reason": f"the {row.label} covers {percent(row.area_inside)} of the picture",
        }
        for row in rows.itertuples(index=False)
    ]
