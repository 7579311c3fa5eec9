"""What the trust certificate collects: once for a model and its sample, and once for each method."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from audit import _certificate_probes as probes
from audit.attributions import AttributionMethod
from audit.classifier import Classifier
from audit.types import AttributionBatch


@dataclass(frozen=True)
class CertificateLimits:
    """The lines of the certificate; correlations are Spearman's on a 28 x 28 grid, averaged over images.

    Attributes:
        randomisation: largest correlation with the map of a model all of whose weights are drawn anew.
        independent: the same where one third of the layers is drawn anew, for the third that changes least.
        label_sensitivity: largest correlation of the maps for two classes.
        repeatability: largest relative difference between repeated maps; above 0, since sums in another order
            differ in their last digits.
        content: largest correlation of a map's magnitude with edges, brightness or darkness.
        degenerate: largest share of maps that are empty, flat, not finite, or equal for two classes.
        image_sensitivity: largest correlation of the maps of two different images.
        location: largest distance between a disturbance and the change of the map, as a share of the side.
        completeness: largest median of approx_error.
        unconverged: largest share of maps that missed their error budget.
        score_agreement: largest spread of the baseline scores that maps imply, over the spread of the scores.
        baseline: largest share of maps whose baseline is too close.
        looked_at: least share of images that the explainer looked at as they are.
        trained: least spread of the logits over images, as a multiple of that of randomised models.
        mask_alignment: least mean share of moved foregrounds that fit the picture's edges worse.
        level: confidence of the intervals of the paired checks, whose lower ends must be above 0.
        seed: of randomised weights and orders.
    """

    randomisation: float
    independent: float
    label_sensitivity: float
    repeatability: float
    content: float
    degenerate: float
    image_sensitivity: float
    location: float
    completeness: float
    unconverged: float
    score_agreement: float
    baseline: float
    looked_at: float
    trained: float
    mask_alignment: float
    level: float
    seed: int


@dataclass(frozen=True)
class Subject:
    """The model and the sample, with what all methods share.

    `others` are classes that occur in the sample but not on that image; `random_areas` float64 (B,).
    """

    classifier: Classifier
    images: np.ndarray
    labels: np.ndarray
    others: np.ndarray
    seeds: np.ndarray
    limits: CertificateLimits
    randomised: probes.Randomised
    random_areas: np.ndarray
    foreground: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """What one method gave.

    Attributes:
        own, other: for the label and for another class.
        rows, repeats: a few of the images in reversed order, and the method's maps of them, twice.
        cascade, alone: correlations (stages, B) with maps of randomised models.
        random_model: maps of the model with all weights drawn anew; None where it has no weights.
        displacement: see `probes.displacement`.
        nearest: see `probes.Watched`.
        logits: of filled pictures, (2, F, B, K), by the order of own, other and random_model.
    """

    own: AttributionBatch
    other: AttributionBatch
    rows: np.ndarray
    repeats: tuple[np.ndarray, np.ndarray]
    cascade: np.ndarray
    alone: np.ndarray
    random_model: np.ndarray | None
    displacement: float
    nearest: np.ndarray
    logits: Mapping[str, np.ndarray]


def subject_of(
    classifier: Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    seeds: np.ndarray,
    foreground: np.ndarray,
    limits: CertificateLimits,
) -> Subject:
    """What all methods share, measured once."""
    copies = probes.randomised(classifier, limits.seed)
    noise = np.random.default_rng(limits.seed).random((2, *images.shape[:3]))
    areas = [
        area_scores(
            classifier,
            probes.filled_logits(classifier, images, probes.filling_orders(maps, limits.seed)),
            labels,
        )
        for maps in noise
    ]
    return Subject(
        classifier=classifier,
        images=images,
        labels=labels,
        others=_other_classes(classifier, images, labels),
        seeds=seeds,
        limits=limits,
        randomised=copies,
        random_areas=np.mean(areas, axis=0),
        foreground=foreground,
    )


def evidence_of(subject: Subject, method: AttributionMethod) -> Evidence:
    """Everything a method is asked for."""
    images, labels, seeds, classifier = subject.images, subject.labels, subject.seeds, subject.classifier
    watched = probes.Watched(classifier, probes.versions(images))
    own = method(cast(Classifier, watched), images, labels, seeds)
    other = method(classifier, images, subject.others, seeds)
    rows = np.arange(max(len(images) // 4, 2))[::-1]
    first, second = (method(classifier, images[rows], labels[rows], seeds[rows]).maps for _ in range(2))
    of_random = {
        copy: method(copy, images, labels, seeds).maps
        for copy in (*subject.randomised.cascading, *subject.randomised.independent[1:])
    }
    random_model = of_random[subject.randomised.cascading[-1]] if subject.randomised.cascading else None
    disturbed, squares = probes.disturbed(images)
    changes = np.abs(method(classifier, disturbed, labels, seeds).maps - own.maps)
    ordered = {"own": own.maps, "other": other.maps}
    if random_model is not None:
        ordered["random_model"] = random_model
    return Evidence(
        own=own,
        other=other,
        rows=rows,
        repeats=(first, second),
        cascade=_correlations(own.maps, [of_random[copy] for copy in subject.randomised.cascading]),
        alone=_correlations(own.maps, [of_random[copy] for copy in subject.randomised.independent]),
        random_model=random_model,
        displacement=probes.displacement(changes, squares),
        nearest=watched.nearest,
        logits={
            name: probes.filled_logits(classifier, images, probes.filling_orders(maps, subject.limits.seed))
            for name, maps in ordered.items()
        },
    )


def _other_classes(classifier: Classifier, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """int64 (N,): the next different label of the sample; the most probable other class if there is none."""
    found = labels.copy()
    for index in range(len(labels)):
        following = np.roll(labels, -index)
        different = following[following != labels[index]]
        if len(different):
            found[index] = different[0]
        else:
            logits = classifier.logits(images[index : index + 1])[0].astype(np.float64)
            logits[labels[index]] = -np.inf
            found[index] = int(np.argmax(logits))
    return found


def label_scores(subject: Subject, logits: np.ndarray) -> np.ndarray:
    """Insertion minus deletion in log odds of the label, float64 (B,), of logits (2, F, B, K)."""
    return area_scores(subject.classifier, logits, subject.labels)


def area_scores(classifier: Classifier, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return probes.area_between(probes.log_odds(logits, labels, classifier.head))


def _correlations(maps: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """float64 (stages, B)."""
    return np.array([likeness(maps, other) for other in others]).reshape(len(others), len(maps))


def likeness(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Rank correlations; 0 where only the other map is flat: it orders nothing, so it is unlike this one."""
    is_told_apart = (np.ptp(maps, axis=(1, 2)) > 0) & (np.ptp(others, axis=(1, 2)) == 0)
    return np.where(is_told_apart, 0.0, probes.rank_correlations(maps, others))
