"""The checks of the trust certificate: what a method and a model gave, held against the limits."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from audit import _certificate_filling as filling
from audit import _certificate_outlines as outlines
from audit import _certificate_probes as probes
from audit import statistics
from audit._certificate_evidence import Evidence, Subject, label_scores, likeness
from audit.classifier import Classifier
from audit.types import AttributionBatch, Interval, MapStatus


@dataclass(frozen=True)
class Finding:
    """One row without its key."""

    value: float
    limit: float
    passed: bool
    reason: str


def randomisation_cascading(subject: Subject, evidence: Evidence) -> Finding:
    """Maps of a model without what it learned must be others; layers are redrawn from the output downwards.

    Source: Adebayo et al. 2018, sec. 3, arXiv:1810.03292. Signed maps, since magnitudes of gradient x input
    share the input's, which keeps them alike without any fault (Binder et al. 2023, arXiv:2211.12486).
    """
    stages = _means(evidence.cascade)
    steps = ", ".join(f"{stage:.2f}" for stage in stages) or "the model has no weights to draw anew"
    return _at_most(
        stages[-1] if len(stages) else math.nan,
        subject.limits.randomisation,
        f"Rank correlation with maps of models with the last third, two thirds, all layers random: {steps}.",
    )


def randomisation_independent(subject: Subject, evidence: Evidence) -> Finding:
    """Each third of the layers must matter to the map on its own. Source: as above."""
    stages = _means(evidence.alone)
    steps = ", ".join(f"{stage:.2f}" for stage in stages) or "the model has no weights to draw anew"
    return _at_most(
        float(np.max(stages)) if len(stages) else math.nan,
        subject.limits.independent,
        f"Rank correlation with maps of models one third of which is random, the last third first: {steps}.",
    )


def label_sensitivity(subject: Subject, evidence: Evidence) -> Finding:
    """Maps for two classes must differ where they speak for their class.

    Positive parts are compared: with two classes a signed map of one is the other's with its signs turned.
    """
    positive = np.maximum(evidence.rough.maps, 0), np.maximum(evidence.other.maps, 0)
    return _at_most(
        _mean(likeness(*positive)),
        subject.limits.label_sensitivity,
        "Rank correlation of the maps for the label and for another class of the sample.",
    )


def repeatability(subject: Subject, evidence: Evidence) -> Finding:
    """The same picture and seed must give the same map, also in another place of another batch."""
    whole = evidence.rough.maps[evidence.rows].astype(np.float64)
    sizes = np.abs(whole).max(axis=(1, 2))
    differences = np.maximum(*(np.abs(again - whole).max(axis=(1, 2)) for again in evidence.repeats))
    relative = np.where(differences == 0, 0.0, differences / np.where(sizes > 0, sizes, np.nan))
    return _at_most(
        float(relative.max()),
        subject.limits.repeatability,
        f"Largest difference of {len(relative)} maps made twice more in another order, over their maximum.",
    )


def edge_correlation(subject: Subject, evidence: Evidence) -> Finding:
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


def degenerate(subject: Subject, evidence: Evidence) -> Finding:
    """Few maps may be empty, flat, not finite, or the same for two classes."""
    maps = evidence.own.maps
    is_finite = np.isfinite(maps).all(axis=(1, 2))
    is_flat = np.ptp(maps, axis=(1, 2)) == 0
    is_same = (evidence.rough.maps == evidence.other.maps).all(axis=(1, 2))
    share = float((~is_finite | is_flat | is_same).mean())
    return _at_most(
        share,
        subject.limits.degenerate,
        f"Of {len(maps)} maps {int((~is_finite).sum())} are not finite, {int(is_flat.sum())} are flat or "
        f"empty, {int(is_same.sum())} are equal for two classes.",
    )


def image_sensitivity(subject: Subject, evidence: Evidence) -> Finding:
    """Maps of different images must differ."""
    return _at_most(
        _mean(probes.between_images(evidence.own.maps)),
        subject.limits.image_sensitivity,
        "Rank correlation of the maps of every two images.",
    )


def location(subject: Subject, evidence: Evidence) -> Finding:
    """Where the picture is changed, the map must change: finds shifted, mirrored and transposed maps."""
    return _at_most(
        evidence.displacement,
        subject.limits.location + 0.5 / min(evidence.own.resolution),
        "Distance between a changed square and the place where maps change most, as a share of the side; "
        "half a cell of the map's own resolution is allowed on top.",
    )


def completeness(subject: Subject, evidence: Evidence) -> Finding:
    """Maps must sum to the score difference, by the method's own account."""
    errors = evidence.own.approx_error[~np.isnan(evidence.own.approx_error)]
    if not len(errors):
        return _without_path(subject.limits.completeness)
    return _at_most(
        float(np.median(errors)),
        subject.limits.completeness,
        f"Median over {len(errors)} maps of |sum of the map - score difference| over the score difference.",
    )


def convergence(subject: Subject, evidence: Evidence) -> Finding:
    """Few maps may miss their error budget."""
    if np.isnan(evidence.own.local_error).all():
        return _without_path(subject.limits.unconverged)
    share = _share(evidence.own, MapStatus.NOT_CONVERGED)
    return _at_most(share, subject.limits.unconverged, "Share of maps whose local error is above the budget.")


def score_agreement(subject: Subject, evidence: Evidence) -> Finding:
    """What maps sum to must fit the model's scores, whatever the method says of itself.

    A complete map implies the baseline's score: the image's score less the sum. Over images a baseline's
    score varies less than the images' (not at all for a fixed colour); that of a wrong map varies more.
    """
    if np.isnan(evidence.own.approx_error).all():
        return _without_path(subject.limits.score_agreement)
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


def baseline(subject: Subject, evidence: Evidence) -> Finding:
    """Few images may score like their baseline."""
    if np.isnan(evidence.own.approx_error).all():
        return _without_path(subject.limits.baseline)
    share = _share(evidence.own, MapStatus.BASELINE_TOO_CLOSE)
    return _at_most(share, subject.limits.baseline, "Share of images whose baseline scores nearly alike.")


def looked_at(subject: Subject, evidence: Evidence) -> Finding:
    """The explainer must have asked the model about the pictures as they are, not mirrored or as BGR."""
    nearest = evidence.nearest
    is_asked = np.isfinite(nearest).all()
    share = float((nearest[0] <= nearest[1:].min(axis=0)).mean()) if is_asked else math.nan
    without = "The explainer never asked this model about a picture."
    words = "Share of images that are nearer to what the model was asked about than BGR or mirrored copies."
    return _at_least(share, subject.limits.looked_at, words if is_asked else without)


def faithfulness(subject: Subject, evidence: Evidence) -> Finding:
    """What a map puts first must matter more to the label than cells in random order."""
    return _paired(
        label_scores(subject, evidence.logits["own"]),
        subject.random_areas,
        subject,
        "Insertion minus deletion in log odds of the label, beyond random order",
    )


def faithfulness_random_model(subject: Subject, evidence: Evidence) -> Finding:
    """A map must foretell the model's reactions better than the map of a model without what it learned."""
    if evidence.random_model is None:
        return _at_least(math.nan, 0.0, "The model has no weights to draw anew.")
    return _paired(
        label_scores(subject, evidence.logits["rough"]),
        label_scores(subject, evidence.logits["random_model"]),
        subject,
        "Insertion minus deletion in log odds of the label, beyond the maps of a random model",
    )


def faithfulness_target(subject: Subject, evidence: Evidence) -> Finding:
    """Where the map for the label exceeds that for another class must tell the label from that class.

    The signed difference of both maps is compared, since whatever is on the object speaks for both classes; it
    orders the cells from above and from below, and the label's lead over the other class must follow the first.
    """
    rows = np.arange(len(subject.labels))
    own, other = (
        filling.area_between(logits[..., rows, subject.labels] - logits[..., rows, subject.others])
        for logits in (evidence.logits["contrast"], evidence.logits["reversed"])
    )
    words = "Insertion minus deletion in label's less other class's logit, by what tells the maps apart"
    return _paired(own, other, subject, words)


def model_trained(subject: Subject, evidence: Evidence) -> Finding:
    """A trained model tells images apart; one with random weights says nearly the same of all."""
    own = _logit_spread(subject.classifier, subject.images)
    copies = subject.randomised.cascading
    null = _logit_spread(copies[-1], subject.images) if copies else 0.0
    return _at_least(
        own / null if null > 0 else math.nan,
        subject.limits.trained,
        "Spread of the logits over images, over that of a model with random weights.",
    )


def model_colours(subject: Subject, evidence: Evidence) -> Finding:
    """A model must not know its labels better with blue and red exchanged: it is fed in the wrong order."""
    images, classifier = subject.images, subject.classifier
    here, there = (
        filling.log_odds(classifier.logits(rows).astype(np.float64), subject.labels, classifier.head)
        for rows in (images, images[..., ::-1])
    )
    gain = statistics.paired_difference(here, there, subject.limits.level)
    return _at_least(
        gain.high,
        0.0,
        f"Log odds of the label, beyond those with blue and red exchanged: {_span(gain)}; its upper end.",
    )


def mask_alignment(subject: Subject, evidence: Evidence) -> Finding:
    """Outlines must lie on the picture's edges where they are, not beside: finds moved, mirrored, mixed-up masks.

    An outline that lies anywhere is beaten by the best of eight moved copies eight times in nine; a right one
    is not. So there is no line to draw: the difference must be above 0 on average.
    """
    here, around = outlines.outline_strengths(subject.images, subject.foreground)
    if np.isnan(here).all():
        return _inapplicable(0.0, "no foreground of the sample has an outline other than a box")
    words = (
        f"Edge strength on outlines, beyond the best of eight moved copies, {(~np.isnan(here)).sum()} images"
    )
    return _paired(here, around.max(axis=1), subject, words)


CHECKS: dict[str, Callable[[Subject, Evidence], Finding]] = {
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
        model_trained,
        model_colours,
        mask_alignment,
    )
}
"""Name in the table -> what is measured."""


def _logit_spread(classifier: Classifier, images: np.ndarray) -> float:
    """Deviation over images of the logits less each image's mean, which no probability depends on."""
    logits = classifier.logits(images).astype(np.float64)
    return float((logits - logits.mean(axis=1, keepdims=True)).std(axis=0).mean())


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


def _means(stages: Sequence[np.ndarray]) -> list[float]:
    return [_mean(stage) for stage in stages]


def _paired(own: np.ndarray, other: np.ndarray, subject: Subject, words: str) -> Finding:
    """Whether `own` is above `other`, image by image."""
    gain = statistics.paired_difference(own, other, subject.limits.level)
    low = gain.low
    return Finding(low, 0.0, bool(low > 0), f"{words}: {_span(gain)}; its lower end.")


def _span(interval: Interval) -> str:
    return f"{interval.mean:.3g} ({interval.low:.3g} to {interval.high:.3g})"


def _inapplicable(limit: float, why: str) -> Finding:
    """The check asks for something this method or this sample does not have; it holds nothing against either."""
    return Finding(math.nan, limit, True, f"Does not apply: {why}.")


def _without_path(limit: float) -> Finding:
    return _inapplicable(
        limit, "the method has no path from a baseline, so its maps need not sum to anything"
    )


def _at_most(value: float, limit: float, reason: str) -> Finding:
    return Finding(value, limit, bool(value <= limit), _told(value, reason))


def _at_least(value: float, limit: float, reason: str) -> Finding:
    return Finding(value, limit, bool(value >= limit), _told(value, reason))


def _told(value: float, reason: str) -> str:
    return f"Could not be measured. {reason}" if math.isnan(value) else reason
