"""A run regrouped the way pages walk through it: by class, then by exemplar, with numbers and pictures.

Nothing is computed here: values are looked up, put in order and put into words.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from audit.types import AuditRun, ClassVerdict, Exemplar, Status, Suggestion
from reports import figures, numbers

SEVERITY = (Status.SPURIOUS, Status.SUSPECT, Status.UNDECIDED, Status.SOUND)
"""The order in which classes are named; where methods disagree, the first is the class's status."""

_RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(10)),
}


@dataclass(frozen=True)
class PictureView:
    """One picture of an exemplar.

    Attributes:
        href: file, relative to the report's folder.
        width, height: pixels.
        alt: what it shows.
        method: attribution method; None for the photo itself.
        mass_inside, status: of the map, from the table `attributions`; None where there is no row.
        confounds: (name, mass on it) of the things visible on the sample, from the table `confounds`.
    """

    href: str
    width: int
    height: int
    alt: str
    method: str | None
    mass_inside: float | None
    status: str | None
    confounds: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class ExemplarView:
    """One sample with its pictures: the photo first, then one per method."""

    sample_id: str
    anchor: str
    label: str
    predicted: str
    role: str
    confidence: float | None
    regions: tuple[str, ...]
    pictures: tuple[PictureView, ...]


@dataclass(frozen=True)
class ClassView:
    """One class with everything a report says of it.

    Attributes:
        label: class name.
        slug: its part of file names and anchors.
        href: its page, relative to the report's folder.
        status: the most severe of its verdicts; None without any.
        lead: the verdict that carries the status: the first of that status that names a confound, if any
        does. verdicts: one per method.
        n, n_correct, accuracy, area_inside: from the manifest; None where it has none.
        suggestions: what to add to it.
        exemplars: worst samples, then typical ones.
    """

    label: str
    slug: str
    href: str
    status: Status | None
    lead: ClassVerdict | None
    verdicts: tuple[ClassVerdict, ...]
    n: int | None
    n_correct: int | None
    accuracy: float | None
    area_inside: float | None
    suggestions: tuple[Suggestion, ...]
    exemplars: tuple[ExemplarView, ...]

    @property
    def next_step(self) -> str:
        """What to do about the class, in a few words."""
        if self.suggestions:
            first = self.suggestions[0]
            rest = numbers.plural(len(self.suggestions) - 1, "more suggestion", "more suggestions")
            words = f"Add about {numbers.count(first.n_to_add)} photos {kind_words(first)}"
            return words if len(self.suggestions) == 1 else f"{words}; {rest}"
        if self.lead is None or self.status is None:
            return "Nothing can be said without a verdict"
        if self.status is Status.UNDECIDED:
            if numbers.is_missing(self.lead.n_needed):
                return "Read what is missing; more photos alone would not decide"
            return f"Audit about {numbers.count(self.lead.n_needed)} photos of it"
        if self.status is Status.SOUND:
            return "Nothing"
        return "Look at its worst samples and find out what they share"

    def shown_as(self, role: str) -> tuple[ExemplarView, ...]:
        """The exemplars of a role: "worst" or "typical"."""
        return tuple(exemplar for exemplar in self.exemplars if exemplar.role == role)


def kind_words(suggestion: Suggestion) -> str:
    """What the photos of a suggestion are like, behind the word "photos": `without face`, `representative`."""
    words = suggestion.kind.removeprefix("add ").replace("confound", suggestion.confound)
    return words.replace("to weak slice", f"with {suggestion.confound}")


def slug(label: str) -> str:
    """A name for files and anchors: a-z, 0-9 and dashes, never empty.

    It depends on the label alone, so a link outlives a change of the other classes. A label that is no such
    name itself gets a digest of its own, so that two labels never share a slug.
    """
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
    stem = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-")
    is_itself = stem == label != "" and stem not in _RESERVED and not re.search(r"(^|-)[0-9a-f]{10}$", stem)
    if is_itself:
        return stem
    digest = hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{stem or 'class'}-{digest}"


def class_views(run: AuditRun, pictures: Mapping[str, tuple[PictureView, ...]]) -> tuple[ClassView, ...]:
    """The classes that have samples or a verdict, the most severe first, else in the model's order.

    Args:
        run: the run.
        pictures: of each exemplar, by sample id.
    """
    entries = run.manifest.get("classes") or {}
    labels = list(dict.fromkeys([*run.classes, *(verdict.label for verdict in run.verdicts)]))
    judged = {verdict.label for verdict in run.verdicts}
    shown = [label for label in labels if label in judged or label in entries]
    confidences = _column_by_sample(run.tables.get("predictions"), "confidence")
    made = [_class_view(label, run, entries.get(label) or {}, pictures, confidences) for label in shown]
    return tuple(sorted(made, key=lambda view: _rank(view.status)))


def headline(classes: tuple[ClassView, ...]) -> tuple[str, ...]:
    """The verdict on the run in words: a sentence for the most severe status, short ones for the others."""
    groups = [(status, [view for view in classes if view.status is status]) for status in SEVERITY]
    found = [(status, views) for status, views in groups if views]
    if not found:
        return ("No class could be judged.",)
    total = sum(len(views) for _, views in found)
    first, views = found[0]
    sentences = [f"{_how_many(len(views), total)} {first}{_named(first, views)}."]
    sentences += [f"{numbers.count(len(views))} {_is(len(views))} {status}." for status, views in found[1:]]
    without = len(classes) - total
    if without:
        sentences.append(f"{numbers.count(without)} {'has' if without == 1 else 'have'} no verdict.")
    return tuple(sentences)


def picture_lookup(run: AuditRun) -> dict[tuple[str, str], dict[str, Any]]:
    """What the tables say of the exemplars' maps, by (sample id, method): mass_inside, status, confounds."""
    wanted = {exemplar.sample_id for exemplar in run.exemplars}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows_of(run.tables.get("attributions"), wanted):
        values = {"mass_inside": row["mass_inside"], "status": row["status"], "confounds": ()}
        found[row["sample_id"], row["method"]] = values
    for row in rows_of(run.tables.get("confounds"), wanted):
        scored = found.get((row["sample_id"], row["method"]))
        if scored is not None and row["present"]:
            scored["confounds"] = (*scored["confounds"], (row["confound"], row["mass_inside"]))
    return found


def alt_text(exemplar: Exemplar, method: str | None) -> str:
    """What a picture shows, for those who do not see it."""
    what = "Photo" if method is None else f"Map of {method} over the photo"
    around = f", with {', '.join(exemplar.regions)} outlined" if exemplar.regions else ""
    return f"{what} of sample {exemplar.sample_id}{around}"


def links(classes: tuple[ClassView, ...]) -> dict[str, str]:
    """Where each exemplar is shown, by sample id, relative to the report's folder."""
    return {
        exemplar.sample_id: f"{view.href}#{exemplar.anchor}"
        for view in classes
        for exemplar in view.exemplars
    }


def scales(run: AuditRun) -> dict[str, figures.Visualization]:
    """How the maps of each method of the exemplars are drawn."""
    methods = dict.fromkeys(method for exemplar in run.exemplars for method in exemplar.maps)
    return {method: figures.published(method) for method in methods}


def rows_of(table: pd.DataFrame | None, sample_ids: set[str]) -> list[dict[str, Any]]:
    """The rows of some samples; see `records`."""
    return [] if table is None or table.empty else records(table[table["sample_id"].isin(sample_ids)])


def records(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    """The rows of a table as mappings, none where the run lacks it; a missing word is None, a number NaN."""
    if table is None or table.empty:
        return []
    words = {name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name].dtype)}
    return [
        {
            str(name): None
            if name in words and not pd.api.types.is_list_like(value) and pd.isna(value)
            else value
            for name, value in row.items()
        }
        for row in table.to_dict("records")
    ]


def _class_view(
    label: str,
    run: AuditRun,
    entry: Mapping[str, Any],
    pictures: Mapping[str, tuple[PictureView, ...]],
    confidences: Mapping[str, float],
) -> ClassView:
    verdicts = tuple(verdict for verdict in run.verdicts if verdict.label == label)
    # Stable sorting keeps the order of the methods, so the first method speaks where they agree.
    ranked = sorted(verdicts, key=lambda one: (not one.is_trusted, _rank(one.status), one.confound is None))
    lead = ranked[0] if ranked else None
    name = slug(label)
    return ClassView(
        label=label,
        slug=name,
        href=f"classes/{name}.html",
        status=lead.status if lead else None,
        lead=lead,
        verdicts=verdicts,
        n=entry.get("n"),
        n_correct=entry.get("n_correct"),
        accuracy=entry.get("accuracy"),
        area_inside=entry.get("area_inside"),
        suggestions=tuple(suggestion for suggestion in run.suggestions if suggestion.label == label),
        exemplars=tuple(
            _exemplar_view(exemplar, pictures[exemplar.sample_id], confidences.get(exemplar.sample_id))
            for exemplar in run.exemplars
            if exemplar.label == label
        ),
    )


def _exemplar_view(
    exemplar: Exemplar, pictures: tuple[PictureView, ...], confidence: float | None
) -> ExemplarView:
    return ExemplarView(
        sample_id=exemplar.sample_id,
        anchor=f"{exemplar.role}-{slug(exemplar.sample_id)}",
        label=exemplar.label,
        predicted=exemplar.predicted,
        role=exemplar.role,
        confidence=confidence,
        regions=tuple(exemplar.regions),
        pictures=pictures,
    )


def _rank(status: Status | None) -> int:
    return len(SEVERITY) if status is None else SEVERITY.index(status)


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _how_many(number: int, total: int) -> str:
    """`1 of 2 classes is`, `All 2 classes are`, `The only class is`."""
    if total == 1:
        return "The only class is"
    if number == total:
        return f"All {numbers.count(total)} classes are"
    return f"{numbers.count(number)} of {numbers.count(total)} classes {_is(number)}"


def _named(status: Status, views: list[ClassView]) -> str:
    """`: t-shirt, by face; shoe`; nothing for sound classes, which need no attention."""
    if status is Status.SOUND:
        return ""
    words = [
        f"{view.label.strip() or '(empty name)'}, by {view.lead.confound}"
        if view.lead and view.lead.confound
        else view.label.strip() or "(empty name)"
        for view in views
    ]
    return f": {numbers.enumerate_words(words, separator='; ')}"


def _column_by_sample(table: pd.DataFrame | None, column: str) -> dict[str, float]:
    """A column of a table with one row per sample."""
    if table is None or table.empty:
        return {}
    return dict(zip(table["sample_id"], table[column], strict=True))
