"""Can the explanations be trusted on this model? Measured on a sample of the run's own images, a row a check.

A check asks for what a sound explanation of this model must do and a broken one fails to do: follow the
weights, the target and the picture, lie where its cause lies, and say beforehand how the model reacts. What
cannot be measured fails; a check that does not apply (completeness of a method without a path) has no row.

Cost for each method, in attributions of the sampled images: 8.5 (its own, another class, a quarter twice,
a disturbed copy, five randomised models), and 12 forward passes of each image for insertion and deletion; for
the sample, shared by all methods, 8 forward passes for random orders, and graphs of 5 randomised models.
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
    # Explainers that ignore the weights have 1.0; sound ones on real networks up to 0.2.
    randomisation=0.5,
    # Some thirds matter little to a coarse map of a deep layer; what ignores the weights has 1.0.
    independent=0.9,
    # An explainer that ignores the target has 1.0; positive parts of noise-like maps have up to 0.8.
    label_sensitivity=0.9,
    # Room for float32 sums in another order, not for dropout or noise.
    repeatability=1e-3,
    # An edge detector has 1.0; sound maps of objects on plain ground up to 0.65.
    content=0.8,
    # A few maps are empty without any fault, where nothing speaks for the class.
    degenerate=0.2,
    # Objects are in the middle of most photographs: coarse maps have up to 0.75, a constant one 1.0.
    image_sensitivity=0.9,
    # 22 pixels at 224; sound methods have had up to 18, and coarse maps get half a cell on top.
    location=0.1,
    # The published error that the error budget aims at.
    completeness=0.05,
    # Verdicts stand on the maps that converged; they have to be most of them.
    unconverged=0.25,
    # 0.02 for a black baseline, 0.2 for a blurred picture; maps of other weights or classes have 1 or more.
    score_agreement=0.75,
    # A majority of maps with meaning; some pictures keep their class when blurred.
    baseline=0.5,
    # The sound have 1.0, but grey or symmetric pictures may tie.
    looked_at=0.9,
    # Models with random weights have about 1; trained ones 3.6 (three convolutions) to 20 (real networks).
    trained=2.0,
    # 0.5 for masks unrelated to the picture, up to 0.7 for moved ones, 0.98 for right ones.
    mask_alignment=0.8,
    # Only the lower end counts, so this is a one-sided test at 5 %.
    level=0.9,
    seed=0,
)
"""Set on a classifier of ten garments and on a small network of drawn shapes, then left as they are.

See `benchmarks/certificate.py` for what they catch on other models.
"""


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
        Checked CERTIFICATE rows. Checks of model and annotations stand with every method: none is better.

    Raises:
        ValueError: fewer than four images, or the shapes differ.
    """
    _check_sample(images, labels, seeds, foreground)
    subject = subject_of(classifier, images, labels, seeds, foreground, settings)
    found = []
    for name, method in methods.items():
        evidence = evidence_of(subject, method)
        for check, measure in CHECKS.items():
            finding = measure(subject, evidence)
            if finding is not None:
                found.append({"method": name, "check": check, **dataclasses.asdict(finding)})
    return frame(CERTIFICATE, found)


def trusted(certificate: pd.DataFrame) -> frozenset[str]:
    """Methods whose every check passed; a method without a row is not among them."""
    passed = certificate.groupby("method")["passed"].all()
    return frozenset(str(name) for name in passed.index[passed.to_numpy(dtype=bool)])


def bar(verdicts: Sequence[ClassVerdict], certificate: pd.DataFrame) -> tuple[ClassVerdict, ...]:
    """The verdicts, undecided where they rest on the maps of a method that is not trusted; the first reason says why.

    A spurious verdict stands: it rests on interventions, which need no map.
    """
    failed = certificate[~certificate["passed"]].groupby("method")["check"].agg(", ".join)
    good = trusted(certificate)
    barred = []
    for verdict in verdicts:
        if verdict.method in good or verdict.status is Status.SPURIOUS:
            barred.append(verdict)
            continue
        checks = failed.get(verdict.method, "it was not certified")
        reason = f"The maps of {verdict.method} cannot carry a verdict on this model, they fail: {checks}."
        reasons = (reason, *verdict.reasons)
        barred.append(
            dataclasses.replace(verdict, status=Status.UNDECIDED, n_needed=math.nan, reasons=reasons)
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
