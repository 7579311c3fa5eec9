"""The values that pass between the packages: frozen, without behaviour beyond what follows from their fields.

Shapes are written with B batch, H height, W width, C channels, K classes, N samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

BACKGROUND, FOREGROUND, IGNORE = 0, 1, 255
"""Values of a foreground array; an unannotated image is all IGNORE."""

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in pixels of the stored image, or of its outline's frame, x1 and y1 excluded."""


@dataclass(frozen=True)
class MaskFile:
    """A mask image of the stored image's size.

    Attributes:
        path: the file.
        foreground: pixel values that are the object; empty means every value above 0 that is not ignored.
        ignore: pixel values that count on neither side (an uncertain border).
    """

    path: str
    foreground: tuple[int, ...] = ()
    ignore: tuple[int, ...] = ()


@dataclass(frozen=True)
class RunLengths:
    """A COCO run-length mask: `counts` down the columns, compressed (str) or not (ints), of `size` (H, W)."""

    size: tuple[int, int]
    counts: str | tuple[int, ...]


@dataclass(frozen=True)
class Outline:
    """Where a thing lies on the stored image: the union of the parts; without any part it is not annotated.

    Attributes:
        boxes: boxes in pixels of the frame.
        polygons: each (x0, y0, x1, y1, ...) in pixels of the frame.
        run_lengths: COCO run-length masks.
        mask: a mask file.
        is_known: True where an empty outline means "the thing is not there", not "nobody looked".
        size: (width, height) of the frame that the annotation states, the stored image's or the upright one's;
            None is the stored image.
        is_relative: boxes and polygons are shares of the upright image's width and height instead of pixels.
    """

    boxes: tuple[Box, ...] = ()
    polygons: tuple[tuple[float, ...], ...] = ()
    run_lengths: tuple[RunLengths, ...] = ()
    mask: MaskFile | None = None
    is_known: bool = False
    size: tuple[int, int] | None = None
    is_relative: bool = False

    @property
    def is_annotated(self) -> bool:
        """Whether anybody looked."""
        return bool(self.boxes or self.polygons or self.run_lengths or self.mask or self.is_known)


@dataclass(frozen=True)
class Sample:
    """One labelled image, by reference: no pixels.

    Attributes:
        sample_id: unique in the dataset, stable across runs.
        image_path: the file.
        label: class name; None in an unlabelled pool.
        split: train, test, ...; empty where the dataset has none.
        foreground: where the labelled object lies.
        regions: named other things, by name: other annotated objects, parts.
    """

    sample_id: str
    image_path: str
    label: str | None
    split: str = ""
    foreground: Outline = field(default_factory=Outline)
    regions: Mapping[str, Outline] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image file besides its pixels.

    Attributes:
        width, height: of the upright image, in pixels, before any resizing.
        format: file format as the decoder names it: "JPEG", "PNG".
        exif_camera: make and model; None where the file does not say.
        n_bytes: size of the file.
    """

    width: int
    height: int
    format: str
    exif_camera: str | None
    n_bytes: int


@dataclass(frozen=True)
class Batch:
    """Samples as arrays, all through one geometry.

    Attributes:
        sample_ids: B ids.
        images: float32 (B, H, W, 3), RGB in [0, 1]; the Classifier applies the model's preprocessing.
        labels: int64 (B,), index of the label in the model's classes.
        foreground: uint8 (B, H, W) of BACKGROUND, FOREGROUND, IGNORE.
        regions: bool (B, H, W) by name of the confound.
        facts: of the B files; empty where the images come from no file.
    """

    sample_ids: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    foreground: np.ndarray
    regions: Mapping[str, np.ndarray]
    facts: tuple[ImageFacts, ...] = ()


class MapStatus(StrEnum):
    """How an attribution map came out."""

    OK = "ok"
    """The method has no error budget, and the map has mass."""
    CONVERGED = "converged"
    """The local error is within the budget."""
    NOT_CONVERGED = "not converged"
    """The budget was not met at the cap of gradients."""
    BASELINE_TOO_CLOSE = "baseline too close"
    """Image and baseline score nearly alike: the map may mean nothing."""
    EMPTY = "empty"
    """The map is zero everywhere or not finite, or (for xrai) the image is constant."""


@dataclass(frozen=True)
class AttributionBatch:
    """What a method returns.

    Attributes:
        maps: float32 (B, H, W), signed, summed over colour channels.
        status: object (B,) of MapStatus.
        approx_error: float64 (B,), |sum of map - score difference| / |score difference|; NaN for methods
            without completeness.
        local_error: float64 (B,), sum over path segments of |segment's quadrature - score difference over it|,
            over the total |score difference|; NaN for methods without a path.
        n_gradients: int64 (B,), gradients spent on each sample.
        resolution: (height, width) of the map before it was brought to the image's size.
    """

    maps: np.ndarray
    status: np.ndarray
    approx_error: np.ndarray
    local_error: np.ndarray
    n_gradients: np.ndarray
    resolution: tuple[int, int]


class Status(StrEnum):
    """The judgement on a class; see the README's vocabulary."""

    SPURIOUS = "spurious"
    SUSPECT = "suspect"
    SOUND = "sound"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; NaN throughout where nothing could be measured."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassVerdict:
    """One row of the table `verdicts`: what is concluded about one class by one method, and why.

    Numbers are NaN where they were not or could not be measured; `reasons` then says so.

    Attributes:
        label: class name.
        method: attribution method.
        status: the judgement.
        confound: the strongest confound, or None.
        n: samples of the class that could be measured.
        mass_inside, mass_inside_low, mass_inside_high: mean mass inside the foreground, with interval.
        lift: mean density lift of the confound (mass inside over area inside, 1 = no preference).
        association: P(confound | class) - P(confound | other classes).
        necessity, necessity_low, necessity_high: effect of taking the confound away beyond a matched control.
        sufficiency, sufficiency_low, sufficiency_high: effect of pasting it into other classes beyond a control.
        q_value: Benjamini-Hochberg adjusted, over everything that was looked at.
        n_needed: samples of the class that would decide; NaN where decided.
        reasons: plain sentences, shown as they are.
        is_trusted: the method may speak of this model, by its certificate; also where none was made.
        rests_on_maps: whether the judgement needs the method's maps, not interventions or predictions alone.
    """

    label: str
    method: str
    status: Status
    confound: str | None
    n: int
    mass_inside: float
    mass_inside_low: float
    mass_inside_high: float
    lift: float
    association: float
    necessity: float
    necessity_low: float
    necessity_high: float
    sufficiency: float
    sufficiency_low: float
    sufficiency_high: float
    q_value: float
    n_needed: float
    reasons: tuple[str, ...]
    is_trusted: bool = True
    rests_on_maps: bool = True


@dataclass(frozen=True)
class Suggestion:
    """One row of the table `suggestions`: what to add, how many, and because of what.

    Attributes:
        label: class the samples are to be added to.
        kind: "add without confound", "add with confound", "add to weak slice" or "add representative".
        confound: what it is about, of a weak slice its name; empty for representative photos.
        n_now: samples of the label that are of this kind now.
        n_class: samples of the label now.
        n_to_add: for the target association of the configuration.
        text: the sentence, with the counts for the other targets.
        exemplars: sample ids that show what is meant.
    """

    label: str
    kind: str
    confound: str
    n_now: int
    n_class: int
    n_to_add: int
    text: str
    exemplars: tuple[str, ...]


@dataclass(frozen=True)
class VerdictLimits:
    """The lines that verdicts draw; defaults stand in `pipelines/config.py`, with their reasons.

    Attributes:
        q: false discovery rate over everything that was looked at.
        delta: effects within +-delta count as none, as a share of mass or of decisions.
        minimum_effect: a mean mass share above the confound's area share that is worth naming.
        minimum_change: a mean change of the class probability beyond a control's that makes a confound spurious;
            above delta, so that an effect between the two is neither none nor proven.
        minimum_samples: below this a class is undecided.
        minimum_lift: density lift of a confound that the screen asks for.
        association_targets: associations that suggestions aim at; the first one gives `n_to_add`.
        accepted: confounds a team accepts, {class: {confound: reason}}.
        unbound: an association that surely lies below binds nothing to a class.
    """

    q: float
    delta: float
    minimum_effect: float
    minimum_change: float
    minimum_samples: int
    minimum_lift: float
    association_targets: tuple[float, ...]
    accepted: Mapping[str, Mapping[str, str]]
    unbound: float


@dataclass(frozen=True)
class Exemplar:
    """One sample as a report shows it.

    Attributes:
        sample_id: the sample.
        label, predicted: class names.
        role: why it is shown: "worst", "typical" or "discovered".
        image: uint8 (H, W, 3), as the model sees it.
        foreground: uint8 (H, W) of BACKGROUND, FOREGROUND, IGNORE.
        regions: bool (H, W) by name of the confound; only those that are present.
        maps: float32 (H, W) by method.
    """

    sample_id: str
    label: str
    predicted: str
    role: str
    image: np.ndarray
    foreground: np.ndarray
    regions: Mapping[str, np.ndarray]
    maps: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Demonstration:
    """One intervention on one sample as a report shows it; its scores stand in the table `interventions`.

    Attributes:
        sample_id: the sample that was changed.
        label: the class in question.
        confound, kind, fill: what was changed, and how.
        image, after, control: uint8 (H, W, 3): as it is, changed, and the matched control.
        foreground: uint8 (H, W) of BACKGROUND, FOREGROUND, IGNORE.
        region: bool (H, W), the confound on `image`; nowhere where it is brought in or has no region.
    """

    sample_id: str
    label: str
    confound: str
    kind: str
    fill: str
    image: np.ndarray
    after: np.ndarray
    control: np.ndarray
    foreground: np.ndarray
    region: np.ndarray


@dataclass(frozen=True)
class AuditRun:
    """A finished run, whole: what a report is made of.

    Attributes:
        name: of the run folder.
        manifest: the run's facts; see `pipelines/storage.py` for its keys.
        classes: class names in the model's output order.
        tables: data frames by table name, as `audit.tables` describes them.
        verdicts: one per class and method.
        suggestions: what to add.
        exemplars: worst and typical samples per class.
        demonstrations: interventions of typical effect; none where the run has no interventions.
    """

    name: str
    manifest: Mapping[str, Any]
    classes: tuple[str, ...]
    tables: Mapping[str, pd.DataFrame]
    verdicts: tuple[ClassVerdict, ...]
    suggestions: tuple[Suggestion, ...]
    exemplars: tuple[Exemplar, ...]
    demonstrations: tuple[Demonstration, ...] = ()


class ChangeKind(StrEnum):
    """What became of one statistic of a class between two runs."""

    WORSENED = "worsened"
    IMPROVED = "improved"
    UNCHANGED = "unchanged"
    """No change was shown, and one that would matter is ruled out."""
    INCOMPARABLE = "incomparable"
    """Nothing can be said; the reason says why."""


@dataclass(frozen=True)
class ChangeLimits:
    """The lines that a comparison draws; defaults stand in `pipelines/compare.py`, with their reasons.

    Attributes:
        q: false discovery rate over everything that was compared; each interval has the level 1 - q.
        minimum_change: a mean change of less, as a share of mass or of decisions, is none.
        ruled_out: what an interval must exclude before a statistic is called unchanged.
        minimum_pairs: fewer pairs are not compared.
    """

    q: float
    minimum_change: float
    ruled_out: float
    minimum_pairs: int


@dataclass(frozen=True)
class ClassChange:
    """One row of the table `changes`: one statistic of one class, paired by sample.

    Numbers are NaN where they were not or could not be measured; `reason` then says so.

    Attributes:
        label: class name.
        method: attribution method; empty for a statistic that needs no map.
        statistic: mass_inside, accuracy, mass_on.<confound>, <necessity or sufficiency>.<confound>.<intervention>.
        reference, candidate: mean over the pairs.
        difference, low, high: mean of candidate minus reference, with interval.
        kind: what became of it.
        n: pairs.
        q_value: Benjamini-Hochberg adjusted, over everything that was compared.
        n_needed: pairs that would decide; NaN where decided or not estimable.
        reason: why it is incomparable, or a remark; empty where there is nothing to say.
    """

    label: str
    method: str
    statistic: str
    reference: float
    candidate: float
    difference: float
    low: float
    high: float
    kind: ChangeKind
    n: int
    q_value: float
    n_needed: float
    reason: str


@dataclass(frozen=True)
class Hits:
    """Right predictions over all pairs of samples.

    Attributes:
        n: pairs, at least 1.
        reference, candidate: shares of right predictions.
        lost: pairs that only the reference has right.
        won: pairs that only the candidate has right.
        p_value: two-sided, of the exact sign test on lost and won; 1 where nothing changed.
    """

    n: int
    reference: float
    candidate: float
    lost: int
    won: int
    p_value: float

    @property
    def is_loss(self) -> bool:
        """Whether more were lost than won, and not by chance (p of at most 0.05)."""
        return self.lost > self.won and self.p_value <= 0.05


@dataclass(frozen=True)
class Comparison:
    """Two finished runs held against each other.

    Attributes:
        reference, candidate: the runs.
        changes: one per class, method and statistic.
        kinds: what became of each class as a whole.
        n_pairs: samples that both runs audited, of the same image and label.
        unpaired: sample ids by the reason why they have no partner; only reasons that occur.
        differences: settings in which the runs differ, as `key: reference -> candidate`.
        limits: the lines that were drawn.
        seed_noise: by class, method and statistic, what another seed of the same training brings; empty where
            it is unknown.
        hits: right predictions over all pairs; None without any.
    """

    reference: AuditRun
    candidate: AuditRun
    changes: tuple[ClassChange, ...]
    kinds: Mapping[str, ChangeKind]
    n_pairs: int
    unpaired: Mapping[str, tuple[str, ...]]
    differences: tuple[str, ...]
    limits: ChangeLimits
    seed_noise: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    hits: Hits | None = None
