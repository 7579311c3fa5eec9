"""What to add, regrouped for its page: one piece of advice a finding, with pictures, commands and a file to take away.

Nothing is computed here: rows are looked up and put in order.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from audit.types import AuditRun, Status, Suggestion
from reports import environment, figures, sheets, views
from reports.csv_text import csv_text
from reports.sheets import Sheet

CSV = "suggestions.csv"
_WITHOUT, _WITH, _WEAK = "add without confound", "add with confound", "add to weak slice"
"""Kinds of the table `suggestions`."""
_N_SHOWN = 4
_FLAGGED = (Status.SPURIOUS, Status.SUSPECT)


@dataclass(frozen=True)
class ShownView:
    """One sample beside a piece of advice.

    Attributes:
        sample_id, label, predicted: of the sample; the class names are None where it was not scored.
        href: where the report has more of it; None where it has nothing.
        picture: a small picture; None where none is stored.
    """

    sample_id: str
    label: str | None
    predicted: str | None
    href: str | None
    picture: views.PictureView | None


@dataclass(frozen=True)
class AdditionView:
    """What one class is to get.

    Attributes:
        row: of the table `suggestions`.
        words: what the photos are like, such as "without face".
        shown: a few samples of this kind, which contradict the finding already; empty where there are none.
    """

    row: Suggestion
    words: str
    shown: tuple[ShownView, ...]


@dataclass(frozen=True)
class AdviceView:
    """Everything to add because of one confound; of weak slices and representative photos, because of one class.

    Attributes:
        slug: its part of anchors.
        confound: the thing, or the name of the slice; empty for representative photos.
        is_slice: it is a weak slice.
        helps: classes that it is for.
        texts: the sentences, each once.
        additions: what each class gets.
        showing: samples that show the confound, where some addition has none of its own kind.
    """

    slug: str
    confound: str
    is_slice: bool
    helps: tuple[str, ...]
    texts: tuple[str, ...]
    additions: tuple[AdditionView, ...]
    showing: tuple[ShownView, ...]

    def concerns(self, label: str) -> bool:
        """Whether it helps a class or asks for photos of it."""
        return label in self.helps or any(addition.row.label == label for addition in self.additions)


@dataclass(frozen=True)
class SuggestionsView:
    """The page.

    Attributes:
        advice: in the order of the table.
        n: photos to add in all.
        run: name of the run's folder, as a shell takes it.
        is_about_confounds: whether pictures of a pool can contradict a finding.
    """

    advice: tuple[AdviceView, ...]
    n: int
    run: str
    is_about_confounds: bool

    def concerning(self, label: str) -> tuple[AdviceView, ...]:
        """What helps a class or asks for photos of it."""
        return tuple(entry for entry in self.advice if entry.concerns(label))


def view(
    run: AuditRun, classes: tuple[views.ClassView, ...], drawn: Sequence[Sheet]
) -> tuple[SuggestionsView, dict[str, str | bytes]]:
    """The page and its files: the small pictures, and the table as CSV; without suggestions no file.

    Args:
        run: the run.
        classes: as the other pages show them.
        drawn: its small pictures.
    """
    by_finding: dict[str, list[Suggestion]] = {}
    for suggestion in run.suggestions:
        is_own = suggestion.kind == _WEAK or not suggestion.confound  # no other class shares it
        by_finding.setdefault(suggestion.text if is_own else suggestion.confound, []).append(suggestion)
    if not by_finding:
        return SuggestionsView((), 0, "", False), {}
    found = {key: _samples(own, run) for key, own in by_finding.items()}
    ids = {name for lists in found.values() for names in lists for name in names}
    shown, files = _shown(run, classes, drawn, ids)
    advice = tuple(_advice(run, own, found[key], shown) for key, own in by_finding.items())
    # Photos of another class show the confound, not what is to be added: in a row of a list they would mislead.
    rows = [{**vars(s), "exemplars": [] if s.kind == _WITH else list(s.exemplars)} for s in run.suggestions]
    files[CSV] = csv_text(pd.DataFrame(rows))
    n = sum(s.n_to_add for s in run.suggestions)
    is_about_confounds = any(entry.confound and not entry.is_slice for entry in advice)
    return SuggestionsView(advice, n, shlex.quote(run.name), is_about_confounds), files


def _advice(
    run: AuditRun, own: Sequence[Suggestion], ids: Sequence[Sequence[str]], shown: Mapping[str, ShownView]
) -> AdviceView:
    """The suggestions of one confound with the samples `ids` of `_samples`; of representative photos there is one."""
    *wanted, showing = (tuple(shown[sample_id] for sample_id in names) for names in ids)
    confound, is_slice = own[0].confound, own[0].kind == _WEAK
    flagged = [v.label for v in run.verdicts if v.confound == confound and v.status in _FLAGGED]
    is_shared = confound and not is_slice
    return AdviceView(
        slug=views.slug(confound)
        if is_shared
        else f"{'weak' if is_slice else 'more'}-{views.slug(own[0].label)}",
        confound=confound,
        is_slice=is_slice,
        helps=tuple(dict.fromkeys(flagged)) if is_shared else (own[0].label,),
        texts=tuple(dict.fromkeys(s.text for s in own)),
        additions=tuple(
            AdditionView(s, views.kind_words(s), samples) for s, samples in zip(own, wanted, strict=True)
        ),
        showing=showing,
    )


def _samples(own: Sequence[Suggestion], run: AuditRun) -> list[tuple[str, ...]]:
    """For each suggestion the first samples of its kind; last those that show the confound, where one has none."""
    is_own = [s.kind in (_WITHOUT, _WEAK) for s in own]
    wanted = [
        s.exemplars[:_N_SHOWN] if own_kind else _showing(s, run)
        for s, own_kind in zip(own, is_own, strict=True)
    ]
    showing = [_showing(s, run) if own_kind else s.exemplars for s, own_kind in zip(own, is_own, strict=True)]
    return [*wanted, () if all(wanted) else next(filter(None, showing), ())[:_N_SHOWN]]


def _showing(suggestion: Suggestion, run: AuditRun) -> tuple[str, ...]:
    """The first samples of the class that show the confound; none of what has no region."""
    predictions, confounds = run.tables.get("predictions"), run.tables.get("confounds")
    if predictions is None or confounds is None or not suggestion.confound:
        return ()
    own = set(predictions.loc[predictions["label"] == suggestion.label, "sample_id"])
    named = confounds[(confounds["confound"] == suggestion.confound) & confounds["present"]]
    return tuple(sorted(own.intersection(named["sample_id"]))[:_N_SHOWN])


def _shown(
    run: AuditRun, classes: tuple[views.ClassView, ...], drawn: Sequence[Sheet], ids: set[str]
) -> tuple[dict[str, ShownView], dict[str, str | bytes]]:
    """Some samples by id, and the pictures that were cut out of sheets for them: file name -> content."""
    exemplars = {e.sample_id: e.pictures[0] for entry in classes for e in entry.exemplars}
    rows = {row["sample_id"]: row for row in views.rows_of(run.tables.get("predictions"), ids)}
    places = sheets.places(drawn, {name: row["digest"] for name, row in rows.items()})
    pages = views.links(classes)
    files: dict[str, str | bytes] = {}
    shown = {}
    for sample_id in sorted(ids):
        picture = exemplars.get(sample_id)
        if picture is None and sample_id in places:
            sheet, tile = places[sample_id]
            picture = _thumbnail(sample_id, sheets.cut_out(drawn[sheet], tile), files)
        row = rows.get(sample_id, {})
        in_gallery = f"gallery.html#open={environment.fragment(sample_id)}" if row else None
        shown[sample_id] = ShownView(
            sample_id, row.get("label"), row.get("predicted"), pages.get(sample_id, in_gallery), picture
        )
    return shown, files


def _thumbnail(sample_id: str, small: sheets.Small, files: dict[str, str | bytes]) -> views.PictureView:
    """The photo of a sheet with its outlines; its content is put into `files`."""
    picture = figures.with_lines(small.photo, small.things)
    content = figures.encode(picture)
    href = figures.file_name(content)
    files[href] = content
    alt = f"Photo of sample {sample_id}, small"
    return views.PictureView(href, picture.shape[1], picture.shape[0], alt, None, None, None, ())
