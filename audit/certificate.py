"""Can the explanations be trusted on this model? Measured on a sample of the run's own images, a row a check.

A check asks for what a sound explanation of this model must do and a broken one fails to do: follow the weights, the
target and the picture, lie where its cause lies, and say beforehand how the model reacts. What cannot be measured
fails; a check that does not apply to a method (completeness of a method without a path) has no row.

Cost for each method, in attributions of the sampled images: at most 10 (its own, another class, a quarter twice
again, a disturbed copy, five randomised models), and 6 forward passes of each image for each of three orders; for
each sample, shared by all methods, 12 more forward passes for random orders and 5 traced graphs.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from audit import _certificate_probes as probes
from audit import statistics
from audit.attributions import AttributionMethod
from audit.classifier import Classifier
from audit.tables import CERTIFICATE, frame
from audit.types import FOREGROUND, AttributionBatch, Interval, MapStatus


@dataclass(frozen=True)
class CertificateLimits:
    """The lines of the certificate; correlations are Spearman's on a 28 x 28 grid, averaged over images.

    Attributes:
        randomisation: largest correlation with the map of a model all of whose weights are drawn anew.
        independent: the same where one third of the layers is drawn anew, for the third that changes least.
        label_sensitivity: largest correlation of the maps for two classes.
        repeatability: largest relative difference between repeated maps; above 0, since sums in another order differ
            in their last digits.
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


DEFAULT_LIMITS = CertificateLimits(
    randomisation=0.5,
    independent=0.9,
    label_sensitivity=0.9,
    repeatability=1e-3,
    content=0.8,
    degenerate=0.2,
    image_sensitivity=0.8,
    location=0.08,
    completeness=0.05,
    unconverged=0.25,
    score_agreement=1.0,
    baseline=0.25,
    looked_at=0.9,
    trained=2.0,
    mask_alignment=0.7,
    level=0.95,
    seed=0,
)


def certify(
    classifier: Classifier,
    methods: Mapping[str, AttributionMethod],
    images: np.ndarray,
    labels: np.ndarray,
    seeds: np.ndarray,
    foreground: np.ndarray,
    settings: CertificateLimits,
) -> pd.DataFrame:
    """The certificate of each method on a sample of a run's images; 16 to 32 of several classes are meant.

    Args:
        classifier: the model.
        methods: by the name they have in the run.
        images: float32 (N, H, W, 3) in [0, 1].
        labels: int64 (N,).
        seeds: uint64 (N,), as the methods take them.
        foreground: uint8 (N, H, W) of BACKGROUND, FOREGROUND, IGNORE; all IGNORE where nothing is annotated.
        settings: the lines.

    Returns:
        Checked CERTIFICATE rows. Checks of model and annotations stand with every method: no map can be better.

    Raises:
        ValueError: fewer than four images, or the shapes differ.
    """
    _check_sample(images, labels, seeds, foreground)
    subject = _subject(classifier, images, labels, seeds, foreground, settings)
    found = []
    for name, method in methods.items():
        evidence = _evidence(subject, method)
        for check, measure in CHECKS.items():
            finding = measure(subject, evidence)
            if finding is not None:
                found.append({"method": name, "check": check, **dataclasses.asdict(finding)})
    return frame(CERTIFICATE, found)


def trusted(certificate: pd.DataFrame) -> frozenset[str]:
    """Methods whose every check passed; a method without a row is not among them."""
    passed = certificate.groupby("method")["passed"].all()
    return frozenset(str(name) for name in passed.index[passed.to_numpy(dtype=bool)])


@dataclass(frozen=True)
class _Finding:
    """One row without its key."""

    value: float
    limit: float
    passed: bool
    reason: str


@dataclass(frozen=True)
class _Subject:
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
    trained: _Finding
    colours: _Finding
    masks: _Finding | None


@dataclass(frozen=True)
class _Evidence:
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


def randomisation_cascading(subject: _Subject, evidence: _Evidence) -> _Finding | None:
    """Maps of a model without what it learned must be others; layers are drawn anew from the output downwards.

    Source: Adebayo et al. 2018, sec. 3, arXiv:1810.03292. Signed maps, since magnitudes of gradient x input share
    the input's, which keeps them alike without any fault (Binder et al. 2023, arXiv:2211.12486).
    """
    stages = _means(evidence.cascade)
    steps = ", ".join(f"{stage:.2f}" for stage in stages) or "the model has no weights to draw anew"
    return _at_most(
        stages[-1] if len(stages) else math.nan,
        subject.limits.randomisation,
        f"Rank correlation with maps of models whose last third, last two thirds and all layers are random: {steps}.",
    )


def randomisation_independent(subject: _Subject, evidence: _Evidence) -> _Finding | None:
    """Each third of the layers must matter to the map on its own. Source: as above."""
    stages = _means(evidence.alone)
    steps = ", ".join(f"{stage:.2f}" for stage in stages) or "the model has no weights to draw anew"
    return _at_most(
        float(np.max(stages)) if len(stages) else math.nan,
        subject.limits.independent,
        f"Rank correlation with maps of models one third of which is random, the last third first: {steps}.",
    )


def label_sensitivity(subject: _Subject, evidence: _Evidence) -> _Finding | None:
    """Maps for two classes must differ where they speak for their class.

    Positive parts are compared: with two classes a signed map of one is that of the other with its signs turned.
    """
    positive = np.maximum(evidence.own.maps, 0), np.maximum(evidence.other.maps, 0)
    return _at_most(
        _mean(probes.rank_correlations(*positive)),
        subject.limits.label_sensitivity,
        "Rank correlation of the maps for the label and for another class of the sample.",
    )


def repeatability(subject: _Subject, evidence: _Evidence) -> _Finding | None:
    """The same picture and seed must give the same map, also in another place of another batch."""
    whole = evidence.own.maps[evidence.rows].astype(np.float64)
    sizes = np.abs(whole).max(axis=(1, 2))
    differences = np.maximum(*(np.abs(again - whole).max(axis=(1, 2)) for again in evidence.repeats))
    relative = np.where(differences == 0, 0.0, differences / np.where(sizes > 0, sizes, np.nan))
    return _at_most(
        float(relative.max()),
        subject.limits.repeatability,
        f"Largest difference when {len(relative)} maps were made twice more, in another order, over the map's maximum.",
    )


def edge_correlation(subject: _Subject, evidence: _Evidence) -> _Finding | None:
    """A map must show more than what is on the picture."""
    magnitude = np.abs(evidence.own.maps)
    by_content = {
        name: _mean(probes.rank_correlations(magnitude, content))
        for name, content in probes.content_maps(subject.images).items()
    }
    strongest = max(by_content, key=lambda name: by_content[name])
    random_model = ""
    if evidence.random_model is not None:
        content = probes.content_maps(subject.images)[strongest]
        null = _mean(probes.rank_correlations(np.abs(evidence.random_model), content))
        random_model = f"; a random model's maps have {null:.2f}"
    return _at_most(
        by_content[strongest],
        subject.limits.content,
        f"Rank correlation of the magnitude with the picture's {strongest}{random_model}.",
    )


def degenerate(subject: _Subject, evidence: _Evidence) -> _Finding | None:
    """Few maps may be empty, flat, not finite, or the same for two classes."""
    maps, others = evidence.own.maps, evidence.other.maps
    is_finite = np.isfinite(maps).all(axis=(1, 2))
    is_flat = np.ptp(maps, axis=(1, 2)) == 0
    is_same = (maps == others).all(axis=(1, 2))
    share = float((~is_finite | is_flat | is_same).mean())
    return _at_most(
        share,
        subject.limits.degenerate,
        f"Of {len(maps)} maps {int((~is_finite).sum())} are not finite, {int(is_flat.sum())} are flat or empty, "
        f"{int(is_same.sum())} are equal for two classes.",
    )


def image_sensitivity(subject: _Subject, evidence: _Evidence) -> _Finding | None:
    """Maps of different images must differ."""
    return _at_most(
        _mean(probes.between_images(evidence.own.maps)),
        subject.limits.image_sensitivity,
        "Rank correlation of the maps of every two images.",
    )


def location(subject: _Subject, evidence: _Evidence) -> _Finding | None:
    """Where the picture is changed, the map must change: finds shifted, mirrored and transposed maps."""
    return _at_most(
        evidence.displacement,
        subject.limits.location,
        "Distance between a changed square and the place where maps change most, as a share of the side.",
    )


def completeness(subject: _Subject, evidence: _Evidence) -> _Finding | None:
    """Maps must sum to the score difference, by the method's own account."""
    errors = evidence.own.approx_error[~np.isnan(evidence.own.approx_error)]
    if not len(errors):
        return None
    return _at_most(
        float(np.median(errors)),
        subject.limits.completeness,
        f"Median over {len(errors)} maps of |sum of the map - score difference| over the score difference.",
    )


def convergence(subject: _Subject, evidence: _Evidence) -> _Finding | None:
    """Few maps may miss their error budget."""
    if np.isnan(evidence.own.local_error).all():
        return None
    share = _share(evidence.own, MapStatus.NOT_CONVERGED)
    return _at_most(share, subject.limits.unconverged, "Share of maps whose local error is above the budget.")


def score_agreement(subject: _Subject, evidence: _Evidence) -> _Finding | None:
    """What maps sum to must fit the model's scores, whatever the method says of itself.

    A complete map implies the baseline's score: the image's score less the sum. Over images a baseline's score
    varies less than the images' (not at all for a fixed colour); that of a wrong map varies more.
    """
    if np.isnan(evidence.own.approx_error).all():
        return None
    images = np.concatenate([subject.images, subject.images])
    targets = np.concatenate([subject.labels, subject.others])
    sums = np.concatenate(
        [batch.maps.sum(axis=(1, 2), dtype=np.float64) for batch in (evidence.own, evidence.other)]
    )
    scores = subject.classifier.scores(images, targets)
    spread, implied = _spread_within(scores, targets), _spread_within(scores - sums, targets)
    return _at_most(
        implied / spread if spread > 0 else math.nan,
        subject.limits.score_agreement,
        "Spread over images of the baseline score that the map's sum implies, over the spread of the scores.",
    )


def baseline(subject: _Subject, evidence: _Evidence) -> _Finding | None:
    """Few images may score like their baseline."""
    if np.isnan(evidence.own.approx_error).all():
        return None
    share = _share(evidence.own, MapStatus.BASELINE_TOO_CLOSE)
    return _at_most(share, subject.limits.baseline, "Share of images whose baseline scores nearly alike.")


def looked_at(subject: _Subject, evidence: _Evidence) -> _Finding | None:
    """The explainer must have asked the model about the pictures as they are, not mirrored or with blue for red."""
    nearest = evidence.nearest
    is_asked = np.isfinite(nearest).all()
    share = float((nearest[0] <= nearest[1:].min(axis=0)).mean()) if is_asked else math.nan
    without = "The explainer never asked this model about a picture."
    words = "Share of images that came nearer to what the model was asked about than with blue and red exchanged or mirrored."
    return _at_least(share, subject.limits.looked_at, words if is_asked else without)


def faithfulness(subject: _Subject, evidence: _Evidence) -> _Finding | None:
    """What a map puts first must matter more to the label than cells in random order."""
    return _paired(
        _label_areas(subject, evidence, "own"),
        subject.random_areas,
        subject,
        "Insertion minus deletion in log odds of the label, beyond random order",
    )


def faithfulness_random_model(subject: _Subject, evidence: _Evidence) -> _Finding | None:
    """A map must foretell the model's reactions better than the map of a model without what it learned."""
    if evidence.random_model is None:
        return _at_least(math.nan, 0.0, "The model has no weights to draw anew.")
    return _paired(
        _label_areas(subject, evidence, "own"),
        _label_areas(subject, evidence, "random_model"),
        subject,
        "Insertion minus deletion in log odds of the label, beyond the maps of a random model",
    )


def faithfulness_target(subject: _Subject, evidence: _Evidence) -> _Finding | None:
    """The map for the label must matter more to the label, against another class, than the map for that class."""
    rows = np.arange(len(subject.labels))
    own, other = (
        probes.area_between(logits[..., rows, subject.labels] - logits[..., rows, subject.others])
        for logits in (evidence.logits["own"], evidence.logits["other"])
    )
    words = "Insertion minus deletion in label's less other class's logit, beyond the map for that class"
    return _paired(own, other, subject, words)


CHECKS: dict[str, Callable[[_Subject, _Evidence], _Finding | None]] = {
    check.__name__: check
    for check in (
        randomisation_cascading,
        randomisation_independent,
        label_sensitivity,
        repeatability,
        edge_correlation,
        degenerate,
        image_sensitivity,
        location,
        completeness,
        convergence,
        score_agreement,
        baseline,
        looked_at,
        faithfulness,
        faithfulness_random_model,
        faithfulness_target,
    )
}
CHECKS["model_trained"] = lambda subject, _: subject.trained
CHECKS["model_colours"] = lambda subject, _: subject.colours
CHECKS["mask_alignment"] = lambda subject, _: subject.masks
"""Name in the table -> what is measured."""


def _subject(
    classifier: Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    seeds: np.ndarray,
    foreground: np.ndarray,
    limits: CertificateLimits,
) -> _Subject:
    """What all methods share, measured once."""
    copies = probes.randomised(classifier, limits.seed)
    noise = np.random.default_rng(limits.seed).random((2, *images.shape[:3]))
    areas = [
        _areas(
            classifier,
            probes.filled_logits(classifier, images, probes.filling_orders(maps, limits.seed)),
            labels,
        )
        for maps in noise
    ]
    return _Subject(
        classifier=classifier,
        images=images,
        labels=labels,
        others=_other_classes(classifier, images, labels),
        seeds=seeds,
        limits=limits,
        randomised=copies,
        random_areas=np.mean(areas, axis=0),
        trained=_trained(classifier, copies, images, limits),
        colours=_colours(classifier, images, labels, limits),
        masks=_masks(images, foreground, limits),
    )


def _evidence(subject: _Subject, method: AttributionMethod) -> _Evidence:
    """Everything a method is asked for."""
    images, labels, seeds, classifier = subject.images, subject.labels, subject.seeds, subject.classifier
    watched = probes.Watched(classifier, probes.versions(images))
    own = method(cast(Classifier, watched), images, labels, seeds)
    other = method(classifier, images, subject.others, seeds)
    rows = np.arange(max(len(images) // 4, 2))[::-1]
    first, second = (method(classifier, images[rows], labels[rows], seeds[rows]).maps for _ in range(2))
    # A randomised model has neither the range of scores nor the places of detail, so IG's nodes are found anew.
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
    return _Evidence(
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
    """int64 (N,): the next different label of the sample; the most probable other class where there is none."""
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


def _trained(
    classifier: Classifier, copies: probes.Randomised, images: np.ndarray, limits: CertificateLimits
) -> _Finding:
    """A trained model tells images apart; one with random weights says nearly the same of all."""
    own = _logit_spread(classifier, images)
    nulls = [_logit_spread(copy, images) for copy in copies.cascading[-1:]]
    ratio = own / nulls[0] if nulls and nulls[0] > 0 else math.nan
    return _at_least(
        ratio, limits.trained, "Spread of the logits over images, over that of a model with random weights."
    )


def _logit_spread(classifier: Classifier, images: np.ndarray) -> float:
    """Deviation over images of the logits less each image's mean, which no probability depends on."""
    logits = classifier.logits(images).astype(np.float64)
    return float((logits - logits.mean(axis=1, keepdims=True)).std(axis=0).mean())


def _colours(
    classifier: Classifier, images: np.ndarray, labels: np.ndarray, limits: CertificateLimits
) -> _Finding:
    """A model must not know its labels better with blue and red exchanged: then it is fed in the wrong order."""
    here, there = (
        probes.log_odds(classifier.logits(rows).astype(np.float64), labels, classifier.head)
        for rows in (images, images[..., ::-1])
    )
    gain = statistics.paired_difference(here, there, limits.level)
    words = f"Log odds of the label, pictures as they are less with blue and red exchanged: {_span(gain)}; its upper end."
    return _at_least(gain.high, 0.0, words)


def _masks(images: np.ndarray, foreground: np.ndarray, limits: CertificateLimits) -> _Finding | None:
    """Foregrounds must lie on the picture's edges; without any outline the check does not apply."""
    if not (foreground == FOREGROUND).any():
        return None
    shares = probes.boundary_percentiles(images, foreground)
    known = shares[~np.isnan(shares)]
    if not len(known):
        return None
    words = f"Mean share of moved foregrounds that follow the picture's edges less well, {len(known)} images."
    return _at_least(float(known.mean()), limits.mask_alignment, words)


def _areas(classifier: Classifier, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return probes.area_between(probes.log_odds(logits, labels, classifier.head))


def _label_areas(subject: _Subject, evidence: _Evidence, order: str) -> np.ndarray:
    return _areas(subject.classifier, evidence.logits[order], subject.labels)


def _correlations(maps: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """float64 (stages, B)."""
    return np.array([probes.rank_correlations(maps, other) for other in others]).reshape(
        len(others), len(maps)
    )


def _spread_within(values: np.ndarray, groups: np.ndarray) -> float:
    """Standard deviation within groups, pooled over groups of at least two; NaN where there is none."""
    found = [values[groups == group] for group in np.unique(groups)]
    deviations = [part - part.mean() for part in found if len(part) >= 2]
    freedom = sum(len(part) - 1 for part in deviations)
    return math.sqrt(float((np.concatenate(deviations) ** 2).sum()) / freedom) if freedom else math.nan


def _share(batch: AttributionBatch, status: MapStatus) -> float:
    return float(np.mean([found is status for found in batch.status]))


def _mean(values: np.ndarray) -> float:
    """Mean of what could be measured; NaN where that is less than half."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if 2 * len(known) >= len(values) and len(known) else math.nan


def _means(stages: np.ndarray) -> list[float]:
    return [_mean(stage) for stage in stages]


def _paired(own: np.ndarray, other: np.ndarray, subject: _Subject, words: str) -> _Finding:
    """Whether `own` is above `other`, image by image."""
    gain = statistics.paired_difference(own, other, subject.limits.level)
    low = gain.low
    return _Finding(low, 0.0, bool(low > 0), f"{words}: {_span(gain)}; its lower end.")


def _span(interval: Interval) -> str:
    return f"{interval.mean:.3g} ({interval.low:.3g} to {interval.high:.3g})"


def _at_most(value: float, limit: float, reason: str) -> _Finding:
    return _Finding(value, limit, bool(value <= limit), _told(value, reason))


def _at_least(value: float, limit: float, reason: str) -> _Finding:
    return _Finding(value, limit, bool(value >= limit), _told(value, reason))


def _told(value: float, reason: str) -> str:
    return f"Could not be measured. {reason}" if math.isnan(value) else reason


def _check_sample(images: np.ndarray, labels: np.ndarray, seeds: np.ndarray, foreground: np.ndarray) -> None:
    if len(images) < 4:
        raise ValueError(f"a certificate needs at least 4 images, got {len(images)}")
    if (
        not len(images) == len(labels) == len(seeds) == len(foreground)
        or foreground.shape != images.shape[:3]
    ):
        raise ValueError(
            f"images {images.shape}, labels {labels.shape}, seeds {seeds.shape} and foreground {foreground.shape} "
            "must be of the same N samples"
        )
