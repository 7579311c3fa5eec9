"""What a model and its maps say of a picture without knowing its label: the ground that risk is estimated on.

The map of the label explains a labelled sample, and no unlabelled one; where the prediction is wrong it would even tell
the label. So these maps explain the predicted class, and no number here knows the label or the labelled object. They
come from the two cheapest methods, whatever the audit is configured with, so that any picture costs two gradients.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from audit import metrics
from audit.attributions.grad_cam import GradCam
from audit.attributions.gradient import Gradient
from audit.classifier import Classifier
from audit.duplicates import perceptual_hashes
from audit.interventions._fills import grown, spread
from audit.scoring import entropy_of, mass_of
from audit.tables import FEATURES, N_CELLS, N_PROBABILITIES, PROBABILITIES, THINGS, frame
from audit.types import IGNORE, Batch

_FINE = 8
"""Cells a side on which two maps are compared: as fine as feature maps are."""
_MARGIN = 0.1
"""Margin around a thing that is filled over with it, as a share of its side: detections cut things close."""


def score_features(
    classifier: Classifier, batch: Batch, probabilities: np.ndarray, classes: Sequence[str], seeds: np.ndarray
) -> dict[str, pd.DataFrame]:
    """Rows of FEATURES, THINGS and PROBABILITIES of a batch, labelled or not.

    Args:
        classifier: the audited model.
        batch: labels may be negative, where there is none; only PROBABILITIES keeps the label's, for label issues.
        probabilities: float64 (B, K), of the model.
        classes: K names in output order.
        seeds: uint64 (B,), of the samples' own noise.
    """
    predicted = probabilities.argmax(axis=1)
    gradient = mass_of(Gradient()(classifier, batch.images, predicted, seeds).maps, "absolute")
    mass = gradient
    if classifier.feature_layer is not None:
        mass = mass_of(GradCam()(classifier, batch.images, predicted, seeds).maps, "positive")
    nothing_known = np.full(mass.shape, IGNORE, dtype=np.uint8)
    ranked = np.sort(probabilities, axis=1)
    columns = {
        "confidence": ranked[:, -1],
        "margin": ranked[:, -1] - (ranked[:, -2] if probabilities.shape[1] > 1 else 0.0),
        "entropy": entropy_of(probabilities),
        "map_entropy": metrics.map_entropy(mass, nothing_known),
        "disagreement": _moved(mass, gradient, is_same=mass is gradient),
    }
    cells = cell_shares(mass, N_CELLS)
    columns |= {
        f"cell_{row}_{column}": cells[:, row, column] for row in range(N_CELLS) for column in range(N_CELLS)
    }
    hashes = perceptual_hashes(batch.images)
    rows = [
        {
            "sample_id": sample_id,
            "predicted": classes[predicted[row]],
            "picture_hash": f"{int(hashes[row]):016x}",
            **{name: values[row] for name, values in columns.items()},
        }
        for row, sample_id in enumerate(batch.sample_ids)
    ]
    return {
        FEATURES.name: frame(FEATURES, rows),
        THINGS.name: _things(batch, mass, nothing_known),
        PROBABILITIES.name: _probabilities(
            batch, probabilities, _without_things(classifier, batch, len(classes)), classes
        ),
    }


def cell_shares(mass: np.ndarray, side: int) -> np.ndarray:
    """Shares of the mass (B, H, W) on `side` by `side` equal cells: float64 (B, side, side), NaN without mass.

    Raises:
        ValueError: a picture has fewer pixels than cells.
    """
    if min(mass.shape[1:]) < side:
        raise ValueError(f"expected at least {side} by {side} pixels, found maps of {mass.shape[1:]}")
    sums = mass.astype(np.float64)
    for axis in (1, 2):
        sums = np.add.reduceat(sums, np.arange(side) * mass.shape[axis] // side, axis=axis)
    total = np.broadcast_to(sums.sum(axis=(1, 2), keepdims=True), sums.shape)
    return np.asarray(np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0))


def _moved(mass: np.ndarray, other: np.ndarray, *, is_same: bool) -> np.ndarray:
    """Total variation distance of two methods' coarse maps, float64 (B,) in [0, 1]; NaN where there is but one."""
    side = min(_FINE, *mass.shape[1:])
    if is_same:
        return np.full(len(mass), np.nan)
    return np.asarray(np.abs(cell_shares(mass, side) - cell_shares(other, side)).sum(axis=(1, 2)) / 2)


def _things(batch: Batch, mass: np.ndarray, nothing_known: np.ndarray) -> pd.DataFrame:
    rows = []
    for thing in sorted(batch.regions):
        region = batch.regions[thing]
        shares, _ = metrics.region_shares(mass, region, nothing_known)
        rows += [
            {
                "sample_id": sample_id,
                "thing": thing,
                "present": bool(region[row].any()),
                "mass": shares[row],
                "area": region[row].mean(),
            }
            for row, sample_id in enumerate(batch.sample_ids)
        ]
    return frame(THINGS, rows)


def _probabilities(
    batch: Batch, probabilities: np.ndarray, without: np.ndarray, classes: Sequence[str]
) -> pd.DataFrame:
    """The highest ones of each sample, with its things or without, and that of its label."""
    best = np.fmax(probabilities, without)
    order = np.argsort(-best, axis=1, kind="stable")[:, :N_PROBABILITIES]
    rows = []
    for row, sample_id in enumerate(batch.sample_ids):
        label = int(batch.labels[row])
        kept = [*order[row], *([label] if label >= 0 and label not in order[row] else [])]
        rows += [
            {
                "sample_id": sample_id,
                "class_name": classes[k],
                "probability": probabilities[row, k],
                "without": without[row, k],
            }
            for k in kept
        ]
    return frame(PROBABILITIES, rows)


def _without_things(classifier: Classifier, batch: Batch, n_classes: int) -> np.ndarray:
    """Probabilities (B, K) of the pictures with every region filled over; NaN where there is none, or nothing else.

    The fill is the nearest colours: it takes a frame as well as a face, and costs one forward pass.
    """
    found = np.full((len(batch.images), n_classes), np.nan)
    if not batch.regions:
        return found
    covered = np.any(list(batch.regions.values()), axis=0)
    holes = [grown(region, _MARGIN) if region.any() else region for region in covered]
    chosen = [row for row, hole in enumerate(holes) if hole.any() and not hole.all()]
    if chosen:
        filled = [spread(batch.images[row], holes[row]) for row in chosen]
        found[chosen] = classifier.probabilities(np.stack(filled))
    return found
