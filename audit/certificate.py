"""Can the explanations be trusted on this model? Measured on a sample of the run's own images, a row a check.

A check asks for what a sound explanation of this model must do and a broken one fails to do: follow the
weights, the target and the picture, lie where its cause lies, and say beforehand how the model reacts. What
cannot be measured fails; a check that does not apply (completeness of a method without a path, the alignment
of masks where there are none) says so and holds nothing against the method.

Cost for each method: the sampled images once as the audit explains them, and roughly, with at most
`ROUGH_GRADIENTS` a map (`probes.rough`), once more, for another class, disturbed, on a random model, a quarter
of them twice, and four of them on each of four models that are random in part; then 20 forward passes of each
image for insertion and deletion (16 where a method has no rougher form), and for the sample, shared by all
methods, 8 forward passes for random orders and graphs of 5 randomised models.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from audit._certificate_checks import CHECKS
from audit._certificate_evidence import CertificateLimits, evidence_of, subject_of
from audit.attributions import AttributionMethod
from audit.classifier import Classifier
from audit.tables import CERTIFICATE, frame
from audit.types import ClassVerdict, Status

__all__ = ["CHECKS", "DEFAULT_LIMITS", "CertificateLimits", "bar", "certify", "trusted"]

DEFAULT_LIMITS = CertificateLimits(
    # What ignores the weights has exactly 1, maps that share nothing have 0: the middle.
    randomisation=0.5,
    # Some thirds matter little to a coarse map of a deep layer; what ignores the weights has exactly 1.
    independent=0.9,
    # What ignores the target has exactly 1; positive parts of noise-like maps have up to 0.8.
    label_sensitivity=0.9,
    # Room for float32 sums in another order, not for dropout or noise.
    repeatability=1e-3,
    # What detects edges has exactly 1; sound maps of objects on plain ground up to 0.65.
    content=0.8,
    # A few maps are empty without any fault, where nothing speaks for the class.
    degenerate=0.2,
    # Objects are in the middle of most photographs: coarse maps have up to 0.75, a constant one exactly 1.
    image_sensitivity=0.9,
    # 22 pixels at 224; sound methods have had up to 18, and coarse maps get half a cell on top.
    location=0.1,
    # The published error that the error budget aims at.
    completeness=0.05,
    # Verdicts stand on the maps that converged; they have to be most of them.
    unconverged=0.25,
    # Maps of other weights or classes have 1 or more by construction, complete ones near 0; rough paths 0.25.
    score_agreement=0.75,
    # A majority of maps with meaning; some pictures keep their class when blurred.
    baseline=0.5,
    # The sound have 1.0, but grey or symmetric pictures may tie.
    looked_at=0.9,
    # Models with random weights have about 1 by construction; trained ones 3.6 to 22.
    trained=2.0,
    # Only the lower end counts, so this is a one-sided test at 5 %.
    level=0.9,
    seed=0,
)
"""Lines between what a broken explanation has by construction and what sound ones have.

Set on a classifier of ten garments (split `val`) and on a small network of drawn shapes; see
`benchmarks/certificate.py` for what they do on photographs and networks that were kept apart. The checks of
faithfulness and of masks have no line that could be fitted: they are paired tests whose mean must be above 0.

Methods differ, and so do models; the certificate says which method may speak of which model. On heads over
EfficientNet-Lite0, `grad_cam` passed on every set of photographs measured. `integrated_gradients` from black is
weakly faithful on garments on bright ground, where much mass lies on the ground: it may pass on one draw of 16
photographs and fail on another. The plain `gradient` is no better than random order on the garments, and it and
`gradient+smoothgrad` often do not tell one class from another: the sign of a gradient says which way a pixel
should change, not what taking it away would do. `grad_cam_plus_plus` weighs positive gradients alone, so its maps
for two classes are nearly the same (0.95 and more on photographs of COCO and of pets): it fails label_sensitivity.
"""


def certify(
    classifier: Classifier,
    methods: Mapping[str, AttributionMethod],
    images: np.ndarray,
    labels: np.ndarray,
    seeds: np.ndarray,
    foreground: np.ndarray,
    settings: CertificateLimits,
    *,
    polarity: str = "positive",
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
        polarity: which sign of a map is its mass, see `metrics.to_mass`.

    Returns:
        Checked CERTIFICATE rows. Checks of model and annotations stand with every method: none is better.

    Raises:
        ValueError: fewer than four images, or the shapes differ.
    """
    _check_sample(images, labels, seeds, foreground)
    subject = subject_of(classifier, images, labels, seeds, foreground, settings, polarity)
    found = []
    for name, method in methods.items():
        evidence = evidence_of(subject, method)
        for check, measure in CHECKS.items():
            found.append({"method": name, "check": check, **dataclasses.asdict(measure(subject, evidence))})
    return frame(CERTIFICATE, found)


def trusted(certificate: pd.DataFrame) -> frozenset[str]:
    """Methods whose every check passed; a method without a row is not among them."""
    passed = certificate.groupby("method")["passed"].all()
    return frozenset(str(name) for name in passed.index[passed.to_numpy(dtype=bool)])


def bar(verdicts: Sequence[ClassVerdict], certificate: pd.DataFrame) -> tuple[ClassVerdict, ...]:
    """The verdicts, undecided where they rest on the maps of a method that is not trusted; the first reason says why.

    What rests on interventions or predictions alone stands: that needs no map.
    """
    failed = certificate[~certificate["passed"]].groupby("method")["check"].agg(", ".join)
    good = trusted(certificate)
    barred = []
    for verdict in verdicts:
        if verdict.method in good or not verdict.rests_on_maps:
            barred.append(verdict)
            continue
        checks = failed.get(verdict.method, "it was not certified")
        reason = f"The maps of {verdict.method} cannot carry a verdict on this model, they fail: {checks}."
        reasons = (reason, *verdict.reasons)
        barred.append(
            dataclasses.replace(
                verdict, status=Status.UNDECIDED, n_needed=math.nan, reasons=reasons, is_trusted=False
            )
        )
    return tuple(barred)


def _check_sample(images: np.ndarray, labels: np.ndarray, seeds: np.ndarray, foreground: np.ndarray) -> None:
    if len(images) < 4:
        raise ValueError(f"a certificate needs at least 4 images, got {len(images)}")
    is_one_sample = len(images) == len(labels) == len(seeds) and foreground.shape == images.shape[:3]
    if not is_one_sample:
        raise ValueError(
            f"images {images.shape}, labels {labels.shape}, seeds {seeds.shape} and foreground "
            f"{foreground.shape} must be of the same N samples"
        )
