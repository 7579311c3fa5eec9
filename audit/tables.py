"""The tables of a run: their columns, and the check that runs on every write and every read.

SCHEMA_VERSION history
1  first version
2  edge and untrained nulls of confounds, global properties, discovered confounds, changes
3  features of samples that need no label, risks, label issues, duplicates, origins
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd

from audit.errors import RunError

SCHEMA_VERSION = 3

Kind = Literal["str", "float64", "int64", "bool", "list"]
Row = TypeVar("Row")


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: as stored.
        kind: str, float64, int64, bool, or list (of str).
        meaning: what it says, with its unit.
        low, high: closed range of a number; None is open.
        missing: what NaN or None means in it; empty means it must not occur.
    """

    name: str
    kind: Kind
    meaning: str
    low: float | None = None
    high: float | None = None
    missing: str = ""


@dataclass(frozen=True)
class Table:
    """A table: its name, its key (unique, without gaps) and its columns, the key first."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def column_names(self) -> list[str]:
        """The names in stored order."""
        return [column.name for column in self.columns]


def text(name: str, meaning: str, missing: str = "") -> Column:
    """A column of words."""
    return Column(name, "str", meaning, missing=missing)


def share(name: str, meaning: str, missing: str = "") -> Column:
    """A column of numbers in [0, 1]."""
    return Column(name, "float64", meaning, 0.0, 1.0, missing)


def number(
    name: str, meaning: str, missing: str = "", low: float | None = None, high: float | None = None
) -> Column:
    """A column of float64 numbers."""
    return Column(name, "float64", meaning, low, high, missing)


def count(name: str, meaning: str) -> Column:
    """A column of whole numbers from 0."""
    return Column(name, "int64", meaning, 0)


_NO_MASS = "the map has no mass on counted pixels"
_NO_FOREGROUND = "the foreground is not annotated, empty or everything"
_NOT_MEASURED = "not measured in this run"
_NOT_DRAWN = "none of those drawn for it (attributions.untrained_per_class)"

PREDICTIONS = Table(
    "predictions",
    ("sample_id",),
    (
        text("sample_id", "the sample"),
        text("path", "image file, as the dataset names it"),
        text("label", "class name of the label"),
        text("split", "split of the dataset; empty where it has none"),
        text("predicted", "class name of the highest score"),
        share("confidence", "largest probability"),
        share("margin", "largest minus second largest probability"),
        number("entropy", "entropy of the probabilities, nats", low=0.0),
        Column("correct", "bool", "predicted is the label"),
        text("digest", "SHA-256 of the image file"),
    ),
)

ATTRIBUTIONS = Table(
    "attributions",
    ("sample_id", "method"),
    (
        text("sample_id", "the sample"),
        text("method", "attribution method as configured"),
        text("target", "class name that was explained"),
        text("status", "how the map came out: a MapStatus"),
        share("mass_inside", "share of the mass on the foreground", f"{_NO_MASS}, or {_NO_FOREGROUND}"),
        share("area_inside", "share of the counted pixels on the foreground", _NO_FOREGROUND),
        number("lift", "mass_inside over area_inside", f"{_NO_MASS}, or {_NO_FOREGROUND}", 0.0),
        share("edge_mass_inside", "mass_inside of an edge map of the image", _NOT_MEASURED),
        share(
            "untrained_mass_inside",
            "mass_inside of the model with random weights",
            f"{_NO_MASS}, {_NO_FOREGROUND}, or the sample is {_NOT_DRAWN}",
        ),
        share(
            "rank_accuracy",
            "share of the k highest pixels on the foreground, k its size",
            f"{_NO_MASS}, or {_NO_FOREGROUND}",
        ),
        share(
            "pointing_hit",
            "1 where the map's maximum is on the foreground, else 0",
            f"{_NO_MASS}, or {_NO_FOREGROUND}",
        ),
        share(
            "iou",
            "intersection over union of the binarised map and the foreground",
            f"{_NO_MASS}, or {_NO_FOREGROUND}",
        ),
        share(
            "saliency_coverage",
            "share of the binarised map on the foreground",
            f"{_NO_MASS}, or {_NO_FOREGROUND}",
        ),
        share(
            "ground_truth_coverage",
            "share of the foreground under the binarised map",
            f"{_NO_MASS}, or {_NO_FOREGROUND}",
        ),
        text("shared_interest_case", "one of the eight cases", f"{_NO_MASS}, or {_NO_FOREGROUND}"),
        share("map_entropy", "entropy of the mass over its maximum, 1 = spread evenly", _NO_MASS),
        number("approx_error", "published completeness error", "the method has no completeness", 0.0),
        number("local_error", "sum of absolute segment errors over the total", "the method has no path", 0.0),
        count("n_gradients", "gradients spent"),
        text("reason", "why a score of this row is missing; empty where none is"),
    ),
)

CONFOUNDS = Table(
    "confounds",
    ("sample_id", "method", "confound"),
    (
        text("sample_id", "the sample"),
        text("method", "attribution method as configured"),
        text("confound", "name of the thing"),
        Column("present", "bool", "the thing is visible outside the foreground"),
        share("mass_inside", "share of the mass on it", f"it is not present, or {_NO_MASS}"),
        share("area_inside", "share of the counted pixels on it", "it is not present"),
        number("lift", "mass_inside over area_inside", f"it is not present, or {_NO_MASS}", 0.0),
        share(
            "edge_mass_inside",
            "mass_inside of an edge map of the image",
            "not present, or there are no edges",
        ),
        share(
            "untrained_mass_inside",
            "mass_inside of the model with random weights",
            f"not present, or the sample is {_NOT_DRAWN}",
        ),
    ),
)

PROPERTIES = Table(
    "properties",
    ("sample_id", "property"),
    (
        text("sample_id", "the sample"),
        text("property", "name of a global property of the picture or its file"),
        number("value", "its number, measured outside of the object", "it is a category, or not measurable"),
        text("category", "its name, where it is a category", "it is a number"),
    ),
)

PLACEMENTS = Table(
    "placements",
    ("sample_id",),
    (
        text("sample_id", "a sample whose object is annotated"),
        share("size", "share of the pixels of the model's input on the object"),
        share("row", "its centre of gravity, from the top, as a share of the height"),
        share("column", "the same from the left, of the width"),
        number("shape", "width over height of its box, in pixels of the model's input", low=0.0),
        text("cut", "yes or no: it reaches to the edge of the model's input"),
    ),
)

VERDICTS = Table(
    "verdicts",
    ("label", "method"),
    (
        text("label", "class name"),
        text("method", "attribution method as configured"),
        text("status", "spurious, suspect, sound or undecided"),
        text("confound", "the strongest confound", "none was found"),
        count("n", "measurable samples of the class"),
        share("mass_inside", "mean over the class", "no sample could be measured"),
        share("mass_inside_low", "lower end of its interval", "too few samples"),
        share("mass_inside_high", "upper end of its interval", "too few samples"),
        number("lift", "mean lift of the confound", "no confound", 0.0),
        number("association", "P(confound | class) - P(confound | other classes)", "no confound", -1.0, 1.0),
        number("necessity", "paired effect of taking it away", _NOT_MEASURED),
        number("necessity_low", "lower end of its interval", _NOT_MEASURED),
        number("necessity_high", "upper end of its interval", _NOT_MEASURED),
        number("sufficiency", "paired effect of pasting it into other classes", _NOT_MEASURED),
        number("sufficiency_low", "lower end of its interval", _NOT_MEASURED),
        number("sufficiency_high", "upper end of its interval", _NOT_MEASURED),
        share("q_value", "adjusted over everything looked at", "nothing was tested"),
        number("n_needed", "samples of the class that would decide", "decided, or not estimable", 0.0),
        Column("reasons", "list", "plain sentences"),
        Column("is_trusted", "bool", "the certificate lets the method carry a verdict, or none was made"),
        Column("rests_on_maps", "bool", "the judgement needs the method's maps"),
    ),
)

SUGGESTIONS = Table(
    "suggestions",
    ("label", "kind", "confound"),
    (
        text("label", "class to add to"),
        text("kind", "what kind of sample to add"),
        text("confound", "what it is about"),
        count("n_now", "samples of the label that are of this kind now"),
        count("n_class", "samples of the label now"),
        count("n_to_add", "samples to add"),
        text("text", "the sentence"),
        Column("exemplars", "list", "sample ids"),
    ),
)

WEAK_SLICES = Table(
    "weak_slices",
    ("label", "trait", "side"),
    (
        text("label", "class name"),
        text("trait", "what the class is cut by: size, place or shape of the object, or a global property"),
        text("side", "low, high, or a category"),
        text("name", "the slice in a few words"),
        number("threshold", "the value that cuts it off", "the side is a category"),
        count("n", "samples of the class in the slice"),
        count("n_right", "those of them that are recognised"),
        share("accuracy", "n_right over n"),
        count("n_rest", "the class's other samples in which the trait could be measured"),
        count("n_rest_right", "those of them that are recognised"),
        share("accuracy_rest", "n_rest_right over n_rest"),
        number("difference", "accuracy in the slice minus that of the rest", low=-1.0, high=1.0),
        number("difference_low", "lower end of its interval", low=-1.0, high=1.0),
        number("difference_high", "upper end of its interval", low=-1.0, high=1.0),
        share("q_value", "of not being worse than the rest, adjusted over every slice", "all are alike"),
        Column("is_weak", "bool", "worse than the rest, for sure and by enough"),
    ),
)

ORIGINS = Table(
    "origins",
    ("sample_id",),
    (
        text("sample_id", "a sample that was scored"),
        text(
            "origin",
            "digest of everything that its scores depend on: picture, annotation, model, settings, program",
        ),
    ),
)

QUARANTINE = Table(
    "quarantine",
    ("sample_id",),
    (
        text("sample_id", "the sample"),
        text("path", "image file, as the dataset names it"),
        text("label", "class name the dataset gives it"),
        text("reason", "kind of fault, in a few words"),
        text("detail", "what was expected, what was found"),
    ),
)

_NOT_MADE = "the changed picture cannot be made; see reason"

INTERVENTIONS = Table(
    "interventions",
    ("sample_id", "confound", "kind", "fill"),
    (
        text("sample_id", "the sample that was changed"),
        text("confound", "what was taken away or brought in"),
        text("kind", "intervention, by its name"),
        text("fill", "what stands in its place, or how it was changed"),
        text("label", "the class in question: the probabilities are of it"),
        share("score_before", "probability of the class, of the sample as it is"),
        share("score_after", "the same of the changed sample", _NOT_MADE),
        share("score_control", "the same of the matched control", "there is no control; see reason"),
        text("predicted_after", "class name of the highest score of the changed sample", _NOT_MADE),
        text("predicted_control", "the same of the matched control", "there is no control; see reason"),
        text("reason", "why a value of this row is missing; empty where none is"),
    ),
)

CERTIFICATE = Table(
    "certificate",
    ("method", "check"),
    (
        text("method", "attribution method as configured"),
        text("check", "what was checked"),
        number(
            "value", "what was measured", "could not be measured, or the check does not apply; see reason"
        ),
        number("limit", "the line it was held against"),
        Column(
            "passed",
            "bool",
            "value is on the right side of the limit, or the check does not apply; False where it could not be "
            "measured",
        ),
        text("reason", "one sentence"),
    ),
)

CHANGES = Table(
    "changes",
    ("label", "method", "statistic"),
    (
        text("label", "class name"),
        text("method", "attribution method as configured; empty where the statistic needs no map"),
        text("statistic", "mass_inside, accuracy, mass_on.<confound>, <link>.<confound>.<intervention>"),
        number("reference", "mean over the pairs in the reference", "no pair", -1.0, 1.0),
        number("candidate", "mean over the pairs in the candidate", "no pair", -1.0, 1.0),
        number("difference", "mean of candidate minus reference", "no pair", -2.0, 2.0),
        number("low", "lower end of its interval", "too few pairs", -2.0, 2.0),
        number("high", "upper end of its interval", "too few pairs", -2.0, 2.0),
        text("kind", "worsened, improved, unchanged or incomparable"),
        count("n", "pairs"),
        share("q_value", "adjusted over everything compared", "not compared"),
        number("n_needed", "pairs that would decide", "decided, or not estimable", 0.0),
        text("reason", "why it is incomparable, or a remark; empty where there is nothing to say"),
    ),
)

DISCOVERED = Table(
    "discovered",
    ("label", "confound"),
    (
        text("label", "class name"),
        text("confound", "its name in this run: a description, or the name that it has already"),
        text("description", "size, colour, texture, place, and the named thing beside it"),
        Column("known", "bool", "annotations or a detector name it already, so it is tested under that name"),
        Column("tested", "bool", "it is a confound of this run; see reason where it is not"),
        text("reason", "why it is not a confound of its own; empty where it is"),
        count("n", "samples of the class that were searched"),
        share("share", "share of them that show it"),
        share("share_low", "lower end of its interval"),
        share("share_high", "upper end of its interval"),
        count("n_elsewhere", "samples of other classes that were searched"),
        share("elsewhere", "share of them that show it"),
        share("elsewhere_low", "lower end of its interval"),
        share("elsewhere_high", "upper end of its interval"),
        number("lift", "mean mass over mean area of its regions in the class", low=0.0),
        share("p_value", "of being more frequent in the class, times the clusters of the class looked at"),
        Column("exemplars", "list", "sample ids of the class, the most typical first"),
    ),
)

DISCOVERED_REGIONS = Table(
    "discovered_regions",
    ("sample_id", "confound"),
    (
        text("sample_id", "a sample that was searched"),
        text("confound", "its name in this run"),
        count("height", "rows of the region, those of the model's input"),
        count("width", "columns of the region"),
        text("bits", "base64 of the zlib-compressed bits of its pixels, row by row"),
    ),
)

_NO_INTERVAL = "fewer than two samples"
_NO_SAMPLE = "no sample could be measured"
_NO_NULL = "not measured on any of these samples"
_BY_FILL = "a row of one fill; see the row of all"


def interval(name: str, meaning: str, missing: str) -> tuple[Column, ...]:
    """Three columns: a number and the ends of its interval."""
    return (
        number(name, meaning, missing),
        number(f"{name}_low", "lower end of its interval", f"{missing}, or {_NO_INTERVAL}"),
        number(f"{name}_high", "upper end of its interval", f"{missing}, or {_NO_INTERVAL}"),
    )


def spread_names(side: str) -> tuple[str, ...]:
    """Columns of the quantiles of a property on one side: "class" or "others"."""
    return tuple(f"{side}_q{percent:02d}" for percent in (5, 25, 50, 75, 95))


OBJECTS = Table(
    "objects",
    ("label", "method"),
    (
        text("label", "class name"),
        text("method", "attribution method as configured"),
        count("n", "samples where mass on the object could be measured; the means are over these"),
        *interval("mass_inside", "mean share of the mass on the object", _NO_SAMPLE),
        share("area_inside", "mean share of the picture on it", _NO_SAMPLE),
        share("edge_mass_inside", "mean share of an edge map on it", _NO_NULL),
        share("untrained_mass_inside", "mean of mass_inside of the model with random weights", _NO_NULL),
        count("n_untrained", "samples that the model with random weights was asked about"),
        *interval("excess", "mean of mass_inside minus area_inside, paired", _NO_SAMPLE),
    ),
)

SCREENS = Table(
    "screens",
    ("label", "method", "confound"),
    (
        text("label", "class name"),
        text("method", "attribution method as configured"),
        text("confound", "a thing that occurs in the class"),
        count("n_class", "samples of the class that were looked through for it"),
        count("n_with", "those of them that show it"),
        count("n_others", "the same of the other classes"),
        count("n_others_with", "those of them that show it"),
        share("share", "n_with over n_class", "nothing was looked through"),
        share("others_share", "n_others_with over n_others", "nothing was looked through"),
        *interval("association", "share minus others_share", "there are no other samples"),
        count("n", "samples of the class that show it and whose map has mass; the rest is over these"),
        share("mass_inside", "mean share of the mass on it", _NO_SAMPLE),
        share("area_inside", "mean share of the picture on it", _NO_SAMPLE),
        share("edge_mass_inside", "mean share of an edge map on it", _NO_NULL),
        share("untrained_mass_inside", "mean of mass_inside of the model with random weights", _NO_NULL),
        count("n_untrained", "samples that the model with random weights was asked about"),
        number("lift", "mean mass over mean area", _NO_SAMPLE, 0.0),
        *interval("excess", "mean of mass_inside minus the larger of area and edges, paired", _NO_SAMPLE),
        share("q_value", "of the excess, adjusted over every class, method and confound", _NO_INTERVAL),
        Column("draws_mass", "bool", "more mass than area, edges and an untrained model explain"),
        Column("is_bound", "bool", "more frequent in the class, for sure"),
    ),
)

EFFECTS = Table(
    "effects",
    ("label", "confound", "kind", "fill"),
    (
        text("label", "class in question"),
        text("confound", "what was changed"),
        text("kind", "intervention, by its name"),
        text("link", "necessity, sufficiency or remark"),
        text("fill", "one fill; empty for all together"),
        number("n_tried", "changed samples", _BY_FILL, 0.0),
        number("n", "those with a control; the means are over these", _BY_FILL, 0.0),
        share("before", "mean probability of the class", f"{_BY_FILL}, or {_NO_SAMPLE}"),
        share("after", "the same of the changed pictures", f"{_BY_FILL}, or {_NO_SAMPLE}"),
        share("control", "the same of the controls", f"{_BY_FILL}, or {_NO_SAMPLE}"),
        share("turned", "share of the changed that are taken for the class", f"{_BY_FILL}, or {_NO_SAMPLE}"),
        share("control_turned", "the same of the controls", f"{_BY_FILL}, or {_NO_SAMPLE}"),
        *interval("effect", "mean effect beyond the control; positive speaks against the class", _NO_SAMPLE),
        share("q_value", "adjusted over every class, confound and kind", f"{_BY_FILL}, or not tested"),
        text(
            "outcome",
            "proof (the decision rests on it), sign (it shows, and does not prove), none (within delta for sure), "
            "open, too few (samples), remark (carries no verdict)",
            _BY_FILL,
        ),
        text("text", "one sentence", f"{_BY_FILL}, or {_NO_SAMPLE}"),
    ),
)

BONDS = Table(
    "bonds",
    ("label", "property"),
    (
        text("label", "class name"),
        text("property", "name of a global property"),
        count("n_class", "samples of the class in which it could be measured"),
        count("n_others", "the same of the other classes"),
        *interval("separation", "|2 AUC - 1|; of a category the difference of its shares", _NO_SAMPLE),
        text("category", "the one whose share differs most", "it is a number"),
        share("share", "of the class's samples that have the category", "it is a number"),
        share("others_share", "of the others' samples that have it", "it is a number"),
        *(number(name, "quantile in the class", "it is a category") for name in spread_names("class")),
        *(number(name, "quantile in the others", "it is a category") for name in spread_names("others")),
        Column("is_changeable", "bool", "pixels can be changed so that it has another value"),
        share("follow_q", "of predictions not following it, adjusted", "there is nothing to compare"),
    ),
)

_NO_MAP = "the map of the predicted class has no mass"
N_CELLS = 4
"""Cells a side of the coarse map in FEATURES."""
N_PROBABILITIES = 10
"""Rows of PROBABILITIES a sample at most, beside its label's."""

FEATURES = Table(
    "features",
    ("sample_id",),
    (
        text("sample_id", "the sample"),
        text("predicted", "class name of the highest score: the class whose map is described"),
        share("confidence", "largest probability"),
        share("margin", "largest minus second largest probability"),
        number("entropy", "entropy of the probabilities, nats", low=0.0),
        share("map_entropy", "entropy of the map's mass over its maximum", _NO_MAP),
        share(
            "disagreement",
            "share of the mass that must move to turn Grad-CAM's coarse map into that of the gradient",
            f"{_NO_MAP}, or the model has no feature map",
        ),
        *(
            share(f"cell_{row}_{column}", "share of the map's mass on this cell, row and column", _NO_MAP)
            for row in range(N_CELLS)
            for column in range(N_CELLS)
        ),
        text("picture_hash", "perceptual hash of the picture, 64 bits in hexadecimal"),
    ),
)

THINGS = Table(
    "things",
    ("sample_id", "thing"),
    (
        text("sample_id", "the sample"),
        text("thing", "name of what was looked for"),
        Column("present", "bool", "it is visible"),
        share("mass", "share of the predicted class's map on it", f"it is not present, or {_NO_MAP}"),
        share("area", "share of the picture's pixels on it"),
    ),
)

PROBABILITIES = Table(
    "probabilities",
    ("sample_id", "class_name"),
    (
        text("sample_id", "the sample"),
        text(
            "class_name",
            f"one of the {N_PROBABILITIES} most probable classes, with the things or without, or the label",
        ),
        share("probability", "its probability"),
        share(
            "without",
            "its probability for the picture with all that THINGS has of it filled over",
            "nothing was found on the picture, or everything is covered",
        ),
    ),
)

RISKS = Table(
    "risks",
    ("sample_id",),
    (
        text("sample_id", "the sample"),
        share("risk", "probability that the prediction is wrong, estimated without the sample's own label"),
        Column("rank", "int64", "place by risk, 1 is the highest", 1),
        text("reason", "what speaks for the risk, in words"),
    ),
)

LABEL_ISSUES = Table(
    "label_issues",
    ("sample_id",),
    (
        text("sample_id", "the sample"),
        text("kind", "wrong label, or barely visible"),
        text("label", "class name it carries"),
        text("suggested", "class name it may deserve", "the label is not in doubt"),
        share("label_quality", "probability of the label, or the area of the object: the lower, the worse"),
        text("reason", "one sentence"),
    ),
)

DUPLICATES = Table(
    "duplicates",
    ("sample_id",),
    (
        text("sample_id", "the sample"),
        text("original", "sample of the group that comes first; the group's name"),
        text("nearest", "the sample it is most like"),
        count("distance", "bits in which the perceptual hashes of both differ, of 64"),
        Column("leaks", "bool", "the group reaches into another split"),
        Column("redundant", "bool", "its split holds the picture already, with the same label"),
        text("reason", "one sentence"),
    ),
)

LOOKS = Table(
    "looks",
    ("sample_id", "trait"),
    (
        text("sample_id", "the sample, or the path of an unlabelled picture"),
        text("trait", "what was taken away; empty: the picture as it is"),
        text("digest", "SHA-256 of the image file"),
        text("picture_hash", "perceptual hash of the picture as it is, 64 bits in hexadecimal"),
        share("shows", "1 where the trait shows, else 0", "the picture as it is, or nothing looks for it"),
        text("features", "base64 of the float16 features that the model has of the picture"),
        text("probabilities", "base64 of the float16 probabilities"),
    ),
)
"""What `suggest` keeps of each picture it looked at, beside the tables of the run."""

POOL = Table(
    "pool",
    ("path",),
    (
        Column("rank", "int64", "place in the list, 1 is the first to add", 1),
        text("path", "image file"),
        text("label", "class that it probably is, of those that are asked for"),
        text("kind", "kind of the suggestion that asks for it"),
        text("confound", "what that is about; empty for representative photos"),
        text("asked_for", "class whose verdict asks for it"),
        share("likely", "chance that it is of a class asked for, with the confound left out"),
        text("predicted", "class name of the model's highest score"),
        share("confidence", "largest probability"),
        share(
            "risk",
            "estimated probability that the prediction is wrong; at least `likely` where the model says another class",
            "the run has no estimate of risk",
        ),
        text("reason", "why it is on the list, in words"),
    ),
)
"""What `suggest` writes."""

UNLABELLED = Table(
    "unlabelled",
    ("path",),
    (
        text("path", "image file"),
        text("predicted", "class name of the model's highest score"),
        share("confidence", "largest probability"),
        *RISKS.columns[1:],
    ),
)
"""What `risk` writes of pictures without a label."""

FINDINGS = Table(
    "findings",
    ("sample_id",),
    (
        text("sample_id", "the sample"),
        text("path", "image file"),
        text("label", "class name of the label"),
        text("predicted", "class name of the highest score"),
        share("confidence", "largest probability"),
        text("is_right", "yes or no: predicted is the label"),
        share("mass_inside", "mean over the methods", "no method could measure it"),
        text("status", "of the label's gravest verdict"),
        text("confound", "its confound; empty without one"),
        text("reason", "its reasons"),
        Column("shows", "list", "confounds that are present"),
        Column("regions", "list", "JSON of where: name, and box as shares of width and height"),
    ),
)
"""What `export RUN findings` writes; made from other tables when it is asked for."""

_NO_CROP, _NO_COLOUR = "it is to be recoloured", "it is to be cropped"
EDITS = Table(
    "edits",
    ("sample_id", "confound"),
    (
        text("sample_id", "the sample"),
        text("path", "image file"),
        text("label", "class name of the label, whose verdict asks"),
        text("kind", "crop or recolour"),
        text("confound", "what the crop leaves out, or the property to change"),
        share("x0", "left side of the crop, as a share of the upright photo's width", _NO_CROP),
        share("y0", "its upper side, as a share of the height", _NO_CROP),
        share("x1", "its right side", _NO_CROP),
        share("y1", "its lower side", _NO_CROP),
        share("keeps", "share of the photo's area that stays", _NO_CROP),
        number("value", "the property's number now", _NO_COLOUR),
        number("target", "the number to bring it to", _NO_COLOUR),
        text("reason", "what to do and what it brings, in words"),
    ),
)
"""What `export RUN edits` writes; made when it is asked for."""

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        PREDICTIONS,
        ATTRIBUTIONS,
        CONFOUNDS,
        PROPERTIES,
        PLACEMENTS,
        INTERVENTIONS,
        VERDICTS,
        SUGGESTIONS,
        WEAK_SLICES,
        ORIGINS,
        QUARANTINE,
        CERTIFICATE,
        CHANGES,
        DISCOVERED,
        DISCOVERED_REGIONS,
        OBJECTS,
        SCREENS,
        EFFECTS,
        BONDS,
        FEATURES,
        THINGS,
        PROBABILITIES,
        RISKS,
        LABEL_ISSUES,
        DUPLICATES,
    )
}
SAMPLE_TABLES = (
    PREDICTIONS,
    ATTRIBUTIONS,
    CONFOUNDS,
    PROPERTIES,
    PLACEMENTS,
    FEATURES,
    THINGS,
    PROBABILITIES,
    ORIGINS,
    QUARANTINE,
)
"""The tables a shard writes."""
DISCOVERY_TABLES = (DISCOVERED, DISCOVERED_REGIONS, CONFOUNDS)
"""The tables that the search for unnamed confounds writes for a class."""

_DTYPES = {"str": object, "list": object, "float64": np.float64, "int64": np.int64, "bool": np.bool_}


def frame(table: Table, rows: Iterable[Any]) -> pd.DataFrame:
    """Rows (mappings, or dataclasses whose fields are the columns) as a checked data frame of `table`."""
    records = [
        dataclasses.asdict(row) if dataclasses.is_dataclass(row) and not isinstance(row, type) else row
        for row in rows
    ]
    columns = {
        column.name: _column(column, [record[column.name] for record in records]) for column in table.columns
    }
    return check(pd.DataFrame(columns, columns=table.column_names), table)


def joined(table: Table, frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Parts of `table` one below the other; without any row, the empty table."""
    filled = [part for part in frames if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else frame(table, [])


def rows(table_frame: pd.DataFrame, kind: type[Row]) -> tuple[Row, ...]:
    """The rows of a data frame as dataclasses `kind`, whose fields are the columns; missing words become None."""
    columns = {str(name): _values(table_frame[name]) for name in table_frame.columns}
    return tuple(
        kind(**dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)
    )


def _values(column: pd.Series) -> list[Any]:
    """A column's values as plain Python: numbers, words or None, tuples of words."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return list(column.tolist())
    return [
        tuple(value) if isinstance(value, list | tuple | np.ndarray) else None if pd.isna(value) else value
        for value in column
    ]


def check(table_frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """`table_frame` itself, if it is what `table` says.

    Raises:
        RunError: a column is missing, unknown, of another type or out of range, a value is missing where it
            must not be, or a key occurs twice; the message names the table, the column and a row.
    """
    if list(table_frame.columns) != table.column_names:
        missing = [name for name in table.column_names if name not in table_frame.columns]
        unknown = [name for name in table_frame.columns if name not in table.column_names]
        raise RunError(
            f"table {table.name}: expected the columns {', '.join(table.column_names)}; "
            f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(map(str, unknown)) or 'none'}"
        )
    for column in table.columns:
        _check_column(table_frame[column.name], column, table)
    doubled = table_frame.duplicated(list(table.key))
    if doubled.any():
        key = table_frame.loc[doubled, list(table.key)].iloc[0].tolist()
        raise RunError(f"table {table.name}: the key {key} occurs more than once")
    return table_frame


def _column(column: Column, values: list[Any]) -> Any:
    """Values in the column's type."""
    if column.kind == "list":
        made = np.empty(len(values), dtype=object)
        made[:] = [list(value) for value in values]
        return made
    if column.kind == "str":
        return pd.array([None if value is None else str(value) for value in values], dtype="str")
    return np.asarray(values, dtype=_DTYPES[column.kind])


def _check_column(values: pd.Series, column: Column, table: Table) -> None:
    """Type, gaps and range of one column."""
    where = f"table {table.name}, column {column.name}"
    if column.kind == "str":
        is_right = pd.api.types.is_string_dtype(values.dtype) or values.empty
    elif column.kind == "list":
        is_right = values.dtype == object
    else:
        is_right = values.dtype == _DTYPES[column.kind]
    if not is_right:
        raise RunError(f"{where}: expected {column.kind}, found {values.dtype}")
    if column.kind == "list":
        return
    gaps = values.isna()
    if gaps.any() and not column.missing:
        raise RunError(
            f"{where}: a value is missing in row {int(np.argmax(gaps.to_numpy()))}, and none may be"
        )
    if column.kind in ("float64", "int64"):
        found = values[~gaps].to_numpy()
        low = -np.inf if column.low is None else column.low
        high = np.inf if column.high is None else column.high
        wrong = ~((found >= low) & (found <= high)) | ~np.isfinite(found)
        if wrong.any():
            raise RunError(
                f"{where}: expected a finite number in [{low:g}, {high:g}], found {found[wrong][0]:g}"
            )
