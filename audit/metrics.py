"""Scores of a map against a mask: (B, H, W) maps and masks in, (B,) float64 scores out, each row on its own.

Foreground arrays hold BACKGROUND, FOREGROUND and IGNORE; ignored pixels count on neither side. A foreground
is measurable where some counted pixels are foreground and some are not: on a picture that is all object every
map would score 1. Whatever cannot be measured is NaN.
"""

from enum import StrEnum

import numpy as np

from audit.types import BACKGROUND, FOREGROUND, IGNORE

CASE_CUT_OFF = 0.5
"""Overlap from which a shared-interest case counts it as high; the published cases sort and draw no line."""


class SharedInterestCase(StrEnum):
    """Whether the prediction is right, by how the binarised map and the foreground overlap."""

    HUMAN_ALIGNED = "human aligned"
    """Right; map and foreground coincide."""
    SUFFICIENT_SUBSET = "sufficient subset"
    """Right; the map lies within the foreground."""
    SUFFICIENT_CONTEXT = "sufficient context"
    """Right; the map lies elsewhere."""
    CONTEXT_DEPENDENT = "context dependent"
    """Right; the map covers the foreground and more."""
    CONFUSER = "confuser"
    """Wrong; map and foreground coincide."""
    INSUFFICIENT_SUBSET = "insufficient subset"
    """Wrong; the map lies within the foreground."""
    DISTRACTOR = "distractor"
    """Wrong; the map lies elsewhere."""
    CONTEXT_CONFUSION = "context confusion"
    """Wrong; the map covers the foreground and more."""


_CASES = {
    True: (
        SharedInterestCase.HUMAN_ALIGNED,
        SharedInterestCase.SUFFICIENT_SUBSET,
        SharedInterestCase.CONTEXT_DEPENDENT,
        SharedInterestCase.SUFFICIENT_CONTEXT,
    ),
    False: (
        SharedInterestCase.CONFUSER,
        SharedInterestCase.INSUFFICIENT_SUBSET,
        SharedInterestCase.CONTEXT_CONFUSION,
        SharedInterestCase.DISTRACTOR,
    ),
}
"""By rightness: coincides, map within, map covers, elsewhere."""


def to_mass(maps: np.ndarray, polarity: str) -> np.ndarray:
    """The non-negative mass of signed maps.

    Args:
        maps: float (B, H, W), signed.
        polarity: "positive" keeps what speaks for the target, "negative" what speaks against it, "absolute"
            both.

    Returns:
        float (B, H, W), non-negative.

    Raises:
        ValueError: another polarity.
    """
    if polarity == "positive":
        return np.asarray(np.maximum(maps, 0))
    if polarity == "negative":
        return np.asarray(np.maximum(-maps, 0))
    if polarity == "absolute":
        return np.asarray(np.abs(maps))
    raise ValueError(f"polarity must be positive, negative or absolute, got {polarity!r}")


def counted_pixels(foreground: np.ndarray) -> np.ndarray:
    """bool (B, H, W): the pixels that count; all of them where the image is not annotated (all IGNORE).

    A region or the spread of a map can be measured on a picture without a mask; mass inside cannot.
    """
    is_counted = foreground != IGNORE
    is_unannotated = ~is_counted.any(axis=(1, 2), keepdims=True)
    return np.asarray(is_counted | is_unannotated)


def is_foreground_measurable(foreground: np.ndarray) -> np.ndarray:
    """bool (B,): some counted pixels are foreground and some are not."""
    return np.asarray(
        (foreground == FOREGROUND).any(axis=(1, 2)) & (foreground == BACKGROUND).any(axis=(1, 2))
    )


def mass_inside(mass: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Share of the attribution mass that lies on the foreground.

    Args:
        mass: (B, H, W), non-negative.
        foreground: (B, H, W) of BACKGROUND, FOREGROUND, IGNORE.

    Returns:
        float64 (B,) in [0, 1]; NaN where no counted pixel has mass or the foreground is not measurable.

    Raises:
        ValueError: the shapes differ.

    Source: the inside-total ratio of Kohlbrenner et al. 2020, arXiv:1910.09840, with an ignore value added.
    """
    _require_one_shape(mass, foreground)
    return _mass_share(
        mass, foreground == FOREGROUND, foreground != IGNORE, is_foreground_measurable(foreground)
    )


def area_inside(foreground: np.ndarray) -> np.ndarray:
    """Share of the counted pixels that are foreground: the mass inside of a map that is the same everywhere.

    Args:
        foreground: (B, H, W) of BACKGROUND, FOREGROUND, IGNORE.

    Returns:
        float64 (B,) in (0, 1); NaN where the foreground is not measurable.
    """
    return _pixel_share(foreground == FOREGROUND, foreground != IGNORE, is_foreground_measurable(foreground))


def region_shares(
    mass: np.ndarray, region: np.ndarray, foreground: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the mass and of the counted pixels on a region, as far as it lies outside of the foreground.

    A thing within the labelled object is part of the object, not a confound of it. On an image without
    annotation every pixel counts and the whole region is outside.

    Args:
        mass: (B, H, W), non-negative.
        region: bool (B, H, W).
        foreground: (B, H, W) of BACKGROUND, FOREGROUND, IGNORE.

    Returns:
        Mass share and area share, float64 (B,) in [0, 1]; both NaN where the region has no such pixel, the
        mass share also where no counted pixel has mass.

    Raises:
        ValueError: the shapes differ.
    """
    _require_one_shape(mass, foreground)
    _require_one_shape(region, foreground)
    is_counted = counted_pixels(foreground)
    outside = region & is_counted & (foreground != FOREGROUND)
    is_present = outside.any(axis=(1, 2))
    mass_share = _mass_share(mass, outside, is_counted, is_present)
    return mass_share, _pixel_share(outside, is_counted, is_present)


def lift(mass_share: np.ndarray, area_share: np.ndarray) -> np.ndarray:
    """Mass share over area share, float64 (B,) from 0; 1 is no preference; NaN where either is unknown."""
    is_measurable = ~np.isnan(mass_share) & (area_share > 0)
    unknown = np.full(len(mass_share), np.nan)
    return np.asarray(np.divide(mass_share, area_share, out=unknown, where=is_measurable))


def pointing_hit(mass: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """1 where the map's maximum lies on the foreground, 0 where it does not.

    Args:
        mass: (B, H, W), non-negative.
        foreground: (B, H, W) of BACKGROUND, FOREGROUND, IGNORE.

    Returns:
        float64 (B,) in [0, 1]: where several pixels share the maximum, the share of them on the foreground,
        which is the chance that one drawn among them hits; NaN as for `mass_inside`.

    Source: the pointing game of Zhang et al. 2018, arXiv:1608.00507, on masks and without its 15 pixels of
    tolerance.
    """
    _require_one_shape(mass, foreground)
    counted = np.where(foreground == IGNORE, -1.0, mass)
    is_maximum = counted == counted.max(axis=(1, 2), keepdims=True)
    return _pixel_share(is_maximum & (foreground == FOREGROUND), is_maximum, _is_measurable(mass, foreground))


def rank_accuracy(mass: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Share of the k pixels with the most mass that are foreground; k is the number of foreground pixels.

    Args:
        mass: (B, H, W), non-negative.
        foreground: (B, H, W) of BACKGROUND, FOREGROUND, IGNORE.

    Returns:
        float64 (B,) in [0, 1]; NaN as for `mass_inside`. Pixels that tie for the last places enter with the
        share of them that is foreground: the exact expectation over all orders of the tied pixels.

    Source: relevance rank accuracy of Arras, Osman, Samek 2022, arXiv:2003.07258, with ties settled as above.
    """
    measurable = _is_measurable(mass, foreground)
    accuracy = np.full(len(mass), np.nan)
    for row in np.flatnonzero(measurable):
        is_counted = foreground[row] != IGNORE
        accuracy[row] = _rank_accuracy(mass[row][is_counted], foreground[row][is_counted] == FOREGROUND)
    return accuracy


def binarise(mass: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """The pixels a map marks: counted ones with at least the mean mass plus one standard deviation.

    Mean and deviation are over the counted pixels. The cut-off never exceeds the largest mass, so that a map
    with mass always marks a pixel: one that is high on more than half of the picture has its mean plus
    deviation above its maximum.

    Args:
        mass: (B, H, W), non-negative.
        foreground: (B, H, W) of BACKGROUND, FOREGROUND, IGNORE; all pixels count where all are IGNORE.

    Returns:
        bool (B, H, W); no pixel where no counted pixel has mass.

    Source: one standard deviation over the mean is a discretisation of Boggust et al. 2022, arXiv:2107.09234.
    """
    _require_one_shape(mass, foreground)
    is_counted = counted_pixels(foreground)
    values = np.asarray(mass, dtype=np.float64)
    centre = values.mean(axis=(1, 2), keepdims=True, where=is_counted)
    spread = values.std(axis=(1, 2), keepdims=True, where=is_counted)
    top = np.where(is_counted, values, 0.0).max(axis=(1, 2), keepdims=True)
    return np.asarray((values >= np.minimum(centre + spread, top)) & (values > 0) & is_counted)


def iou(marked: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Intersection over union of the marked pixels and the foreground.

    Args:
        marked: bool (B, H, W), what `binarise` returns.
        foreground: (B, H, W) of BACKGROUND, FOREGROUND, IGNORE.

    Returns:
        float64 (B,) in [0, 1]; NaN where nothing is marked or the foreground is not measurable.

    Source: Boggust et al. 2022, arXiv:2107.09234, over counted pixels.
    """
    is_object = foreground == FOREGROUND
    return _pixel_share(marked & is_object, marked | is_object, _has_overlap(marked, foreground))


def saliency_coverage(marked: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Share of the marked pixels that is foreground; arguments, NaN and source as for `iou`."""
    return _pixel_share(marked & (foreground == FOREGROUND), marked, _has_overlap(marked, foreground))


def ground_truth_coverage(marked: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Share of the foreground that is marked; arguments, NaN and source as for `iou`."""
    is_object = foreground == FOREGROUND
    return _pixel_share(marked & is_object, is_object, _has_overlap(marked, foreground))


def shared_interest_case(
    correct: np.ndarray, iou_scores: np.ndarray, saliency: np.ndarray, ground_truth: np.ndarray
) -> np.ndarray:
    """Which of the eight shared-interest cases a sample is.

    In this order, with CASE_CUT_OFF for "high": the overlap coincides (high IoU); the map lies within the
    foreground (high saliency coverage, not below the ground truth coverage); the map covers the foreground
    and more (high ground truth coverage); it lies elsewhere.

    Args:
        correct: bool (B,), the prediction is the label.
        iou_scores, saliency, ground_truth: float (B,), what `iou`, `saliency_coverage`,
            `ground_truth_coverage` return.

    Returns:
        object (B,) of SharedInterestCase; None where a score is NaN.

    Source: the cases of Boggust et al. 2022, arXiv:2107.09234, section 4; the cut-off and the order are ours.
    """
    cases = np.full(len(correct), None, dtype=object)
    for row in np.flatnonzero(~np.isnan(iou_scores + saliency + ground_truth)):
        is_high = (
            iou_scores[row] >= CASE_CUT_OFF,
            saliency[row] >= max(CASE_CUT_OFF, ground_truth[row]),
            ground_truth[row] >= CASE_CUT_OFF,
            True,
        )
        cases[row] = _CASES[bool(correct[row])][is_high.index(True)]
    return cases


def map_entropy(mass: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Entropy of the mass over the counted pixels, over its maximum, the logarithm of their number.

    Args:
        mass: (B, H, W), non-negative.
        foreground: (B, H, W) of BACKGROUND, FOREGROUND, IGNORE; all pixels count where all are IGNORE.

    Returns:
        float64 (B,): 0 where one pixel holds all mass, 1 where it is spread evenly; NaN where no counted
        pixel has mass, or fewer than two pixels count.
    """
    _require_one_shape(mass, foreground)
    is_counted = counted_pixels(foreground)
    counted = np.where(is_counted, mass, 0.0).astype(np.float64)
    total = counted.sum(axis=(1, 2), keepdims=True)
    share = np.divide(counted, total, out=np.zeros_like(counted), where=total > 0)
    logarithm = np.log(share, out=np.zeros_like(share), where=share > 0)
    entropy = -(share * logarithm).sum(axis=(1, 2))
    n_counted = is_counted.sum(axis=(1, 2))
    is_measurable = (total[:, 0, 0] > 0) & (n_counted > 1)
    ratio = np.divide(entropy, np.log(n_counted), out=np.full(len(mass), np.nan), where=is_measurable)
    # Rounding alone can leave the range, and by no more than that.
    return np.asarray(np.clip(ratio, 0.0, 1.0))


def _is_measurable(mass: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """bool (B,): there is a measurable foreground, and mass on counted pixels."""
    _require_one_shape(mass, foreground)
    has_mass = ((foreground != IGNORE) & (mass > 0)).any(axis=(1, 2))
    return np.asarray(is_foreground_measurable(foreground) & has_mass)


def _mass_share(
    mass: np.ndarray, part: np.ndarray, whole: np.ndarray, is_measurable: np.ndarray
) -> np.ndarray:
    """Mass on `part` over mass on `whole`, which includes it; NaN where that is 0 or not measurable."""
    inside = np.where(part, mass, 0.0).sum(axis=(1, 2), dtype=np.float64)
    total = np.where(whole, mass, 0.0).sum(axis=(1, 2), dtype=np.float64)
    unknown = np.full(len(mass), np.nan)
    return np.asarray(np.divide(inside, total, out=unknown, where=is_measurable & (total > 0)))


def _pixel_share(part: np.ndarray, whole: np.ndarray, is_measurable: np.ndarray) -> np.ndarray:
    """Pixels of `part` over those of `whole`, which includes it; NaN where none or not measurable."""
    n_part, n_whole = part.sum(axis=(1, 2)), whole.sum(axis=(1, 2))
    unknown = np.full(len(part), np.nan)
    return np.asarray(np.divide(n_part, n_whole, out=unknown, where=is_measurable & (n_whole > 0)))


def _has_overlap(marked: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """bool (B,): something is marked, and there is a measurable foreground."""
    _require_one_shape(marked, foreground)
    return np.asarray(marked.any(axis=(1, 2)) & is_foreground_measurable(foreground))


def _rank_accuracy(mass: np.ndarray, is_object: np.ndarray) -> float:
    """Rank accuracy of one image's counted pixels, both (n,)."""
    k = int(is_object.sum())
    last = np.partition(mass, len(mass) - k)[len(mass) - k]
    above, level = mass > last, mass == last
    share_of_tied = is_object[level].sum() / level.sum()
    return float((is_object[above].sum() + (k - above.sum()) * share_of_tied) / k)


def _require_one_shape(mass: np.ndarray, foreground: np.ndarray) -> None:
    if mass.shape != foreground.shape:
        raise ValueError(f"mass {mass.shape} and foreground {foreground.shape} must have one shape (B, H, W)")
