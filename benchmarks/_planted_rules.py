"""Simpler rules that the verdict is compared with: each gives every class a number, higher is more suspicious.

None of them changes a picture and asks the model again. Their cut-offs are chosen on the calibration seeds.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import rankdata

ELSEWHERE = ("sufficient context", "distractor", "context confusion")
"""Shared-interest cases in which the map lies off the object."""
_NEIGHBOURS = 16
"""Neighbours that join two maps in the graph that is clustered."""


def mass_outside(attributions: pd.DataFrame) -> Mapping[str, float]:
    """One minus the mean mass inside the object, by class; the rule "flag what looks elsewhere".

    Args:
        attributions: rows of one method of the table `attributions`, with the column `label`.
    """
    return {str(k): float(v) for k, v in (1 - attributions.groupby("label")["mass_inside"].mean()).items()}


def shared_interest(attributions: pd.DataFrame) -> Mapping[str, float]:
    """Share of the class's maps in a case in which they lie off the object.

    Source: Boggust et al. Shared Interest. CHI 2022, arXiv:2107.09234.
    """
    is_elsewhere = attributions["shared_interest_case"].isin(ELSEWHERE)
    return {str(k): float(v) for k, v in is_elsewhere.groupby(attributions["label"]).mean().items()}


def heatmap_clusters(maps: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> Mapping[str, float]:
    """How well the class's maps fall into two groups: the silhouette of their spectral clustering, in [-1, 1].

    Args:
        maps: (N, h, w), non-negative.
        labels: int (N,), index into `classes`.
        classes: class names.

    Source: the idea of Lapuschkin et al. Unmasking Clever Hans predictors. Nature Communications 10, 2019: clusters
    of heatmaps are strategies. A gap of eigenvalues only says that there are clusters, so the silhouette is used.
    """
    return {name: _separation(maps[labels == index]) for index, name in enumerate(classes)}


def property_of_class(
    images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]
) -> Mapping[str, float]:
    """The largest |2 AUC - 1| with which a property of the picture tells the class from the others, in [0, 1]."""
    values = properties(images)
    return {name: _best(values, labels == index) for index, name in enumerate(classes)}


def property_of_errors(
    images: np.ndarray, labels: np.ndarray, is_right: np.ndarray, classes: tuple[str, ...]
) -> Mapping[str, float]:
    """The same for telling the class's right predictions from its wrong ones; 0 where fewer than three are wrong."""
    values = properties(images)
    found = {}
    for index, name in enumerate(classes):
        own = labels == index
        n_wrong = int((~is_right[own]).sum())
        is_testable = 3 <= n_wrong <= own.sum() - 3
        found[name] = _best(values[own], is_right[own]) if is_testable else 0.0
    return found


def bound_detections(confounds: pd.DataFrame, labels: pd.Series) -> Mapping[str, float]:
    """The largest P(thing | class) - P(thing | others) over all things that were found, in [-1, 1]; 0 without any.

    Args:
        confounds: the table `confounds`.
        labels: class name by sample id.
    """
    shown = confounds.groupby(["confound", "sample_id"])["present"].max()
    found = dict.fromkeys(sorted(labels.unique()), 0.0)
    for confound in shown.index.levels[0]:
        present = labels.index.isin(shown[confound][shown[confound]].index)
        for name in found:
            own = (labels == name).to_numpy()
            found[name] = max(found[name], float(present[own].mean() - present[~own].mean()))
    return found


def properties(images: np.ndarray) -> np.ndarray:
    """Plain properties of whole pictures, float64 (N, 6): brightness, contrast, saturation, warmth, detail, frame.

    Args:
        images: float32 (N, H, W, 3) in [0, 255].
    """
    grey = images @ np.array([0.299, 0.587, 0.114], np.float32)
    detail = np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2)) + np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))
    edge = np.concatenate([grey[:, :2].reshape(len(grey), -1), grey[:, -2:].reshape(len(grey), -1)], axis=1)
    return np.stack(
        [
            grey.mean(axis=(1, 2)),
            grey.std(axis=(1, 2)),
            (images.max(axis=-1) - images.min(axis=-1)).mean(axis=(1, 2)),
            images[..., 0].mean(axis=(1, 2)) - images[..., 2].mean(axis=(1, 2)),
            detail,
            edge.mean(axis=1) - grey.mean(axis=(1, 2)),
        ],
        axis=1,
    ).astype(np.float64)


def area_under_curve(positive: np.ndarray, negative: np.ndarray) -> float:
    """Chance that a positive is above a negative, ties half; NaN where one of them is empty.

    Source: Hanley, McNeil. Radiology 143, 1982: the rank form.
    """
    if not len(positive) or not len(negative):
        return float("nan")
    ranks = rankdata(np.concatenate([positive, negative]))
    n, m = len(positive), len(negative)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def _best(values: np.ndarray, is_one: np.ndarray) -> float:
    return max(abs(2 * area_under_curve(column[is_one], column[~is_one]) - 1) for column in values.T)


def _separation(maps: np.ndarray) -> float:
    """Silhouette of two spectral clusters of maps (N, h, w) of unit sum; -1 where they all are alike."""
    from sklearn.cluster import SpectralClustering
    from sklearn.metrics import silhouette_score

    flat = maps.reshape(len(maps), -1)
    flat = flat[flat.sum(axis=1) > 0]
    if len(flat) < 2 * _NEIGHBOURS:
        return -1.0
    flat = flat / flat.sum(axis=1, keepdims=True)
    groups = SpectralClustering(
        2, affinity="nearest_neighbors", n_neighbors=_NEIGHBOURS, random_state=0
    ).fit_predict(flat)
    return float(silhouette_score(flat, groups)) if len(np.unique(groups)) == 2 else -1.0
