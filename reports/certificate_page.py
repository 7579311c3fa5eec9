"""The trust certificate in words: what each check asks, and what failing it means."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audit.types import AuditRun, ClassVerdict
from reports import views

WORDS = {
    "randomisation_cascading": (
        "Does the map change when the model forgets, layer by layer, what it learned?",
        "The map shows the picture, not the model.",
    ),
    "randomisation_independent": (
        "Does each part of the model matter to the map?",
        "A part of the model could be anything, and the map would look the same.",
    ),
    "label_sensitivity": (
        "Is the map for this class another one than the map for another class?",
        "The map cannot say what speaks for this class rather than another.",
    ),
    "repeatability": (
        "Does the same picture give the same map again?",
        "A number taken from such maps is partly luck.",
    ),
    "edge_correlation": (
        "Does the map show more than the picture's own edges, brightness and colours?",
        "What looks like attention may be drawing.",
    ),
    "degenerate": (
        "Are the maps there at all: not empty, not flat, not the same for two classes?",
        "Too many maps say nothing, and means over the rest stand on few samples.",
    ),
    "image_sensitivity": (
        "Do maps of different pictures differ?",
        "The map has a shape of its own, such as the middle of the picture.",
    ),
    "location": (
        "Does the map lie where its cause lies?",
        "Mass inside and outside of an outline would be counted on the wrong side.",
    ),
    "completeness": (
        "Does the map add up to the score that it explains?",
        "Shares of mass would be shares of something else.",
    ),
    "convergence": (
        "Did most maps meet their error budget?",
        "The maps are not the ones that the method means.",
    ),
    "score_agreement": (
        "Do the sums of the maps follow the model's scores, whatever the method says of itself?",
        "The map belongs to another model, another class or another picture.",
    ),
    "baseline": (
        "Does the path start from a picture that says nothing?",
        "What the start already shows is missing from the map.",
    ),
    "looked_at": (
        "Was the model asked about the pictures as they are, not mirrored or in other colours?",
        "The map explains a picture that the model never gets.",
    ),
    "faithfulness": (
        "Does covering what the map puts first change the decision more than covering places at random?",
        "What the map marks is no more important to the model than the rest.",
    ),
    "faithfulness_random_model": (
        "Does the map foretell the model's reactions better than the map of a model that learned nothing?",
        "The map owes its merit to the pictures.",
    ),
    "faithfulness_target": (
        "Does the map for this class tell it from another class when places are covered?",
        "The map shows what is there, not what speaks for this class.",
    ),
    "model_trained": (
        "Does the model behave like one that has learned?",
        "Nothing that is said of such a model means anything.",
    ),
    "model_colours": (
        "Are the colours in the order that the model was trained with?",
        "The model sees other pictures than it was made for; look at the preprocessing.",
    ),
    "mask_alignment": (
        "Do the masks lie where the pictures have edges?",
        "The masks may be shifted, and mass inside is counted on the wrong side.",
    ),
}
"""By check: what it asks, and what it means where it fails. A check that is not here is shown by its own reason."""

_BARRED = "cannot carry a verdict on this model"
"""Words of the reason that a barred verdict begins with."""


@dataclass(frozen=True)
class CheckView:
    """One check of one method.

    Attributes:
        row: of the table `certificate`.
        question: what it asks, in words; None where nobody wrote any.
        consequence: what a failure means; None as above.
    """

    row: Mapping[str, Any]
    question: str | None
    consequence: str | None

    @property
    def applies(self) -> bool:
        """Whether the check is of methods like this one; what could not be measured fails instead."""
        return not (self.row["passed"] and math.isnan(self.row["value"]))


@dataclass(frozen=True)
class CertificateView:
    """One method.

    Attributes:
        method: as configured.
        checks: those that failed first, those that do not apply last.
        failed: names of the checks that failed.
        barred: class names whose verdict by this method is undecided because of it.
    """

    method: str
    checks: tuple[CheckView, ...]
    failed: tuple[str, ...]
    barred: tuple[str, ...]

    @property
    def n_applied(self) -> int:
        """Checks that apply to the method."""
        return sum(check.applies for check in self.checks)

    @property
    def is_trusted(self) -> bool:
        """Whether its maps may carry a verdict."""
        return not self.failed


def certificates(run: AuditRun) -> tuple[CertificateView, ...]:
    """The methods in the order of the table; none where the run has no certificate."""
    found: dict[str, list[CheckView]] = {}
    for row in views.records(run.tables.get("certificate")):
        question, consequence = WORDS.get(row["check"], (None, None))
        found.setdefault(row["method"], []).append(CheckView(row, question, consequence))
    made = []
    for method, checks in found.items():
        failed = tuple(check.row["check"] for check in checks if not check.row["passed"])
        barred = [v.label for v in run.verdicts if v.method == method and _is_barred(v)]
        ordered = tuple(sorted(checks, key=lambda check: (bool(check.row["passed"]), not check.applies)))
        made.append(CertificateView(method, ordered, failed, tuple(barred)))
    return tuple(made)


def _is_barred(verdict: ClassVerdict) -> bool:
    """Whether the certificate took the verdict away; its first reason then says so."""
    return any(_BARRED in reason for reason in verdict.reasons[:1])
