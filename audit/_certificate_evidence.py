"""What the trust certificate collects: once for a model and its sample, and once for each method."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from audit import _certificate_filling as filling
from audit import _certificate_probes as probes
from audit.attributions import AttributionMethod
from audit.classifier import Classifier
from audit.types import AttributionBatch

_FEW = 4
"""Images that models with random weights in part are shown."""


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
    level: float
    seed: int


@dataclass(frozen=True)
class Subject:
    """The model and the sample, with what all methods share.

    `others` are classes that occur in the sample but not on that image; `random_areas` float64 (B,);
    `polarity` is the sign of the maps that the audit counts.
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
    polarity: str


@dataclass(frozen=True)
class Evidence:
    """What one method gave.

    Only `own` is made as the audit makes maps; the others are compared among themselves and made with
    `probes.rough`.

    Attributes:
        own: for the label.
        rough, other: for the label and for another class.
        rows, repeats: a few of the images in reversed order, and the method's maps of them, twice.
        cascade, alone: correlations with maps of randomised models, a stage each, of some of the images.
        random_model: maps of the model with all weights drawn anew; None where it has no weights.
        displacement: see `probes.displacement`.
        nearest: see `probes.Watched`.
        logits: of filled pictures, (2, F, B, K), by the mass of own, rough and random_model, and by the signed
            difference of rough and other from above (contrast) and from below (reversed).
    """

    own: AttributionBatch
    rough: AttributionBatch
    other: AttributionBatch
    rows: np.ndarray
    repeats: tuple[np.ndarray, np.ndarray]
    cascade: tuple[np.ndarray, ...]
    alone: tuple[np.ndarray, ...]
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
    polarity: str,
) -> Subject:
    """What all methods share, measured once."""
    copies = probes.randomised(classifier, limits.seed)
    noise = np.random.default_rng(limits.seed).random((2, *images.shape[:3]))
    areas = [
        area_scores(
            classifier,
            filling.filled_logits(classifier, images, filling.filling_orders(maps, limits.seed)),
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
        polarity=polarity,
    )


def evidence_of(subject: Subject, method: AttributionMethod) -> Evidence:
    """Everything a method is asked for."""
    images, labels, seeds, classifier = subject.images, subject.labels, subject.seeds, subject.classifier
    watched = probes.Watched(classifier, probes.versions(images))
    own = method(cast(Classifier, watched), images, labels, seeds)
    cheap = probes.rough(method)
    rough = own if cheap is method else cheap(classifier, images, labels, seeds)
    other = cheap(classifier, images, subject.others, seeds)
    rows = np.arange(max(len(images) // 4, 2))[::-1]
    first, second = (cheap(classifier, images[rows], labels[rows], seeds[rows]).maps for _ in range(2))
    cascade, alone, random_model = _of_random_models(subject, cheap, rough.maps)
    disturbed, squares = probes.disturbed(images)
    changes = np.abs(cheap(classifier, disturbed, labels, seeds).maps - rough.maps)
    contrast = rough.maps.astype(np.float64) - other.maps
    return Evidence(
        own=own,
        rough=rough,
        other=other,
        rows=rows,
        repeats=(first, second),
        cascade=cascade,
        alone=alone,
        random_model=random_model,
        displacement=probes.displacement(changes, squares),
        nearest=watched.nearest,
        logits=_filled(subject, own.maps, rough.maps, random_model)
        | {"contrast": _filled_by(subject, contrast), "reversed": _filled_by(subject, -contrast)},
    )


def _of_random_models(
    subject: Subject, method: AttributionMethod, maps: np.ndarray
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...], np.ndarray | None]:
    """Correlations of `maps` with those of randomised models, cascading and alone, and the maps of the last.

    Models that are random in part see four images: what ignores the weights has 1.0 on every single one.
    """
    cascading, independent = subject.randomised.cascading, subject.randomised.independent
    if not cascading:
        return (), (), None
    few = np.arange(0, len(maps), max(len(maps) // _FEW, 1))[:_FEW]
    random_model = method(cascading[-1], subject.images, subject.labels, subject.seeds).maps
    found = {cascading[-1]: likeness(maps, random_model)}
    for copy in (*cascading, *independent):
        if copy not in found:
            others = method(copy, subject.images[few], subject.labels[few], subject.seeds[few]).maps
            found[copy] = likeness(maps[few], others)
    return tuple(found[copy] for copy in cascading), tuple(found[copy] for copy in independent), random_model


def _filled(
    subject: Subject, own: np.ndarray, rough: np.ndarray, random_model: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Logits of filled pictures, by the mass of these maps."""
    found = {"own": _filled_by(subject, filling.evidence_for(own, subject.polarity))}
    # The same maps where the method has no rougher form.
    is_same = rough is own
    found["rough"] = (
        found["own"] if is_same else _filled_by(subject, filling.evidence_for(rough, subject.polarity))
    )
    if random_model is not None:
        found["random_model"] = _filled_by(subject, filling.evidence_for(random_model, subject.polarity))
    return found


def _filled_by(subject: Subject, values: np.ndarray) -> np.ndarray:
    orders = filling.filling_orders(values, subject.limits.seed)
    return filling.filled_logits(subject.classifier, subject.images, orders)


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
    return filling.area_between(filling.log_odds(logits, labels, classifier.head))


def likeness(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Rank correlations; 0 where only the other map is flat: it orders nothing, so it is unlike this one."""
    is_told_apart = (np.ptp(maps, axis=(1, 2)) > 0) & (np.ptp(others, axis=(1, 2)) == 0)
    return np.where(is_told_apart, 0.0, probes.rank_correlations(maps, others))
