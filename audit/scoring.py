"""One Batch with what the model and the methods said about it -> its rows of the three score tables."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from audit import metrics
from audit.nulls import edge_maps
from audit.properties import outside
from audit.properties._all import global_properties
from audit.tables import ATTRIBUTIONS, CONFOUNDS, PREDICTIONS, PROPERTIES, frame
from audit.types import BACKGROUND, FOREGROUND, AttributionBatch, Batch, Sample


@dataclass(frozen=True)
class Scoring:
    """How maps become scores.

    Attributes:
        classes: class names in the model's output order.
        polarity: positive, absolute or negative; see `metrics.to_mass`.
    """

    classes: tuple[str, ...]
    polarity: str


@dataclass(frozen=True)
class Outcome:
    """What was computed for a batch, row by row as its samples.

    Attributes:
        probabilities: float64 (B, K).
        targets: int64 (B,), the explained class.
        attributions: by method as configured.
        untrained: float32 (B, H, W) by method, signed maps of the model with random weights; NaN throughout
            for a sample that it was not asked about, left out where it was asked about none.
    """

    probabilities: np.ndarray
    targets: np.ndarray
    attributions: Mapping[str, AttributionBatch]
    untrained: Mapping[str, np.ndarray] = field(default_factory=dict)


def score_predictions(
    samples: Sequence[Sample], digests: Sequence[str], probabilities: np.ndarray, classes: Sequence[str]
) -> pd.DataFrame:
    """Rows of PREDICTIONS.

    Args:
        samples: B labelled samples.
        digests: B SHA-256 digests of their files.
        probabilities: float64 (B, K); rows need not sum to 1 (independent classes), the entropy is that of
            the normalised row.
        classes: K names in output order.

    Raises:
        ValueError: the lengths differ.
    """
    if not len(samples) == len(digests) == len(probabilities) or probabilities.shape[1] != len(classes):
        raise ValueError(
            f"{len(samples)} samples, {len(digests)} digests and {len(classes)} classes do not fit "
            f"probabilities of shape {probabilities.shape}"
        )
    ranked = np.sort(probabilities, axis=1)
    confidence = ranked[:, -1]
    margin = confidence - ranked[:, -2] if probabilities.shape[1] > 1 else confidence
    predicted = probabilities.argmax(axis=1)
    entropy = entropy_of(probabilities)
    return frame(
        PREDICTIONS,
        [
            {
                "sample_id": sample.sample_id,
                "path": _readable(sample.image_path),
                "label": sample.label,
                "split": sample.split,
                "predicted": classes[predicted[row]],
                "confidence": confidence[row],
                "margin": margin[row],
                "entropy": entropy[row],
                "correct": classes[predicted[row]] == sample.label,
                "digest": digests[row],
            }
            for row, sample in enumerate(samples)
        ],
    )


def score_attributions(batch: Batch, outcome: Outcome, scoring: Scoring) -> pd.DataFrame:
    """Rows of ATTRIBUTIONS, method by method in the order given.

    `reason` says why scores of a row are missing that the sample or its map cannot have. A score that a whole
    run does not measure (the null of an untrained model, the error of a method without completeness) needs no
    reason in every row.
    """
    edges = metrics.mass_inside(edge_maps(batch.images), batch.foreground)
    rows = [
        row
        for method in outcome.attributions
        for row in _attribution_rows(batch, outcome, scoring, method=method, edges=edges)
    ]
    return frame(ATTRIBUTIONS, rows)


def score_confounds(batch: Batch, outcome: Outcome, scoring: Scoring) -> pd.DataFrame:
    """Rows of CONFOUNDS: every method by every named region of the batch, also where it is not present.

    A thing is present where one counted pixel of it lies outside of the foreground.
    """
    rows = []
    edges = edge_maps(batch.images) if batch.regions else np.zeros(batch.foreground.shape)
    for method, attribution in outcome.attributions.items():
        mass = mass_of(attribution.maps, scoring.polarity)
        untrained = _untrained_mass(outcome, method, scoring.polarity)
        for confound in sorted(batch.regions):
            region = batch.regions[confound]
            mass_share, area_share = metrics.region_shares(mass, region, batch.foreground)
            lifts = metrics.lift(mass_share, area_share)
            edge_share, _ = metrics.region_shares(edges, region, batch.foreground)
            untrained_share, _ = metrics.region_shares(untrained, region, batch.foreground)
            rows += [
                {
                    "sample_id": sample_id,
                    "method": method,
                    "confound": confound,
                    "present": bool(area_share[row] > 0),
                    "mass_inside": mass_share[row],
                    "area_inside": area_share[row],
                    "lift": lifts[row],
                    "edge_mass_inside": edge_share[row],
                    "untrained_mass_inside": untrained_share[row],
                }
                for row, sample_id in enumerate(batch.sample_ids)
            ]
    return frame(CONFOUNDS, rows)


def score_properties(batch: Batch) -> pd.DataFrame:
    """Rows of PROPERTIES: every global property of every image, measured outside of object and named things.

    Raises:
        ValueError: the batch does not know its files.
    """
    if len(batch.facts) != len(batch.sample_ids):
        raise ValueError(f"{len(batch.sample_ids)} images of {len(batch.facts)} files")
    around = outside(batch.foreground, batch.regions.values())
    stored = np.rint(batch.images * 255).astype(np.uint8)
    rows: list[dict[str, object]] = []
    for row, sample_id in enumerate(batch.sample_ids):
        for name, measure in ((one.name, one.measure) for one in global_properties().values()):
            found = measure(stored[row], batch.facts[row], around[row])
            is_category = isinstance(found, str)
            rows.append(
                {
                    "sample_id": sample_id,
                    "property": name,
                    "value": math.nan if is_category else found,
                    "category": found if is_category else None,
                }
            )
    return frame(PROPERTIES, rows)


def _readable(path: str) -> str:
    """A path as valid text: bytes of a file name that are not UTF-8 are written as escapes."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def _attribution_rows(
    batch: Batch, outcome: Outcome, scoring: Scoring, *, method: str, edges: np.ndarray
) -> list[dict[str, object]]:
    """The rows of one method."""
    attribution = outcome.attributions[method]
    correct = outcome.probabilities.argmax(axis=1) == batch.labels
    mass = mass_of(attribution.maps, scoring.polarity)
    scores = _map_scores(mass, batch.foreground, correct)
    scores["edge_mass_inside"] = edges
    scores["untrained_mass_inside"] = metrics.mass_inside(
        _untrained_mass(outcome, method, scoring.polarity), batch.foreground
    )
    scores["approx_error"] = attribution.approx_error
    scores["local_error"] = attribution.local_error
    scores["n_gradients"] = attribution.n_gradients
    reasons = _reasons(mass, attribution.maps, batch.foreground, edges)
    return [
        {
            "sample_id": sample_id,
            "method": method,
            "target": scoring.classes[outcome.targets[row]],
            "status": str(attribution.status[row]),
            "reason": reasons[row],
            **{name: values[row] for name, values in scores.items()},
        }
        for row, sample_id in enumerate(batch.sample_ids)
    ]


def _map_scores(mass: np.ndarray, foreground: np.ndarray, correct: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of maps by column name, each (B,)."""
    mass_share, area_share = metrics.mass_inside(mass, foreground), metrics.area_inside(foreground)
    marked = metrics.binarise(mass, foreground)
    overlap = metrics.iou(marked, foreground)
    saliency = metrics.saliency_coverage(marked, foreground)
    ground_truth = metrics.ground_truth_coverage(marked, foreground)
    return {
        "mass_inside": mass_share,
        "area_inside": area_share,
        "lift": metrics.lift(mass_share, area_share),
        "rank_accuracy": metrics.rank_accuracy(mass, foreground),
        "pointing_hit": metrics.pointing_hit(mass, foreground),
        "iou": overlap,
        "saliency_coverage": saliency,
        "ground_truth_coverage": ground_truth,
        "shared_interest_case": metrics.shared_interest_case(correct, overlap, saliency, ground_truth),
        "map_entropy": metrics.map_entropy(mass, foreground),
    }


def mass_of(maps: np.ndarray, polarity: str) -> np.ndarray:
    """The mass of the maps; a map with a value that is not finite has none: no share of it means anything."""
    is_finite = np.isfinite(maps).all(axis=(1, 2), keepdims=True)
    return metrics.to_mass(np.where(is_finite, maps, np.float32(0)), polarity)


def _untrained_mass(outcome: Outcome, method: str, polarity: str) -> np.ndarray:
    """The mass of the untrained model's maps; none, so that no share can be measured, where it was not asked."""
    known = outcome.untrained.get(method)
    return np.zeros(outcome.attributions[method].maps.shape) if known is None else mass_of(known, polarity)


def _reasons(mass: np.ndarray, maps: np.ndarray, foreground: np.ndarray, edges: np.ndarray) -> list[str]:
    """Why scores are missing, a row each; empty where none is."""
    is_finite = np.isfinite(maps).all(axis=(1, 2))
    has_mass = (np.where(metrics.counted_pixels(foreground), mass, 0) > 0).any(axis=(1, 2))
    has_object = (foreground == FOREGROUND).any(axis=(1, 2))
    has_surroundings = (foreground == BACKGROUND).any(axis=(1, 2))
    faults = (
        (~is_finite, "the map has values that are not finite"),
        (is_finite & ~has_mass, "the map has no mass on counted pixels"),
        (~has_object & ~has_surroundings, "the foreground is not annotated"),
        (~has_object & has_surroundings, "the foreground is empty"),
        (has_object & ~has_surroundings, "the foreground is everything"),
        (has_object & has_surroundings & np.isnan(edges), "the picture has no edges"),
    )
    return ["; ".join(text for is_so, text in faults if is_so[row]) for row in range(len(maps))]


def entropy_of(probabilities: np.ndarray) -> np.ndarray:
    """Entropy of each normalised row in nats, float64 (B,), 0 or more."""
    total = probabilities.sum(axis=1, keepdims=True)
    share = np.divide(probabilities, total, out=np.zeros_like(probabilities), where=total > 0)
    logarithm = np.log(share, out=np.zeros_like(share), where=share > 0)
    return np.asarray(np.maximum(-(share * logarithm).sum(axis=1), 0.0))
