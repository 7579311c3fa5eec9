"""The page of a comparison: what became of every class, with intervals, and the same samples before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from audit.types import IGNORE, ChangeKind, ClassChange, Comparison, Exemplar
from reports import change_words, charts, environment, figures, single_site, views
from reports.sheets import Small

TYPICAL, LARGEST = "typical", "largest"
"""Why a sample is shown: its change is nearest to the median of its class, or among the largest."""
_IDS_SHOWN = 50
"""Unpaired samples of a reason that the page names; the others are counted."""
_SIDES = ("reference", "candidate")


@dataclass(frozen=True)
class Pair:
    """One sample as both runs keep it.

    Attributes:
        sample_id, label: of the sample.
        role: TYPICAL or LARGEST.
        difference: candidate minus reference of what was measured, a share.
        before, after: its pictures in the reference and in the candidate, both in full or both in small.
    """

    sample_id: str
    label: str
    role: str
    difference: float
    before: Exemplar | Small
    after: Exemplar | Small


@dataclass(frozen=True)
class SideView:
    """One map of a sample in one run: its picture, and the mass inside; None where the run has no row."""

    href: str
    width: int
    height: int
    alt: str
    mass_inside: float | None


@dataclass(frozen=True)
class SampleView:
    """One sample that both runs show.

    Attributes:
        sample_id: the sample.
        difference: candidate minus reference, a share.
        predicted: class names, reference and candidate.
        is_small: whether it is drawn from small pictures.
        maps: method -> its maps in the reference and in the candidate, on one scale.
    """

    sample_id: str
    difference: float
    predicted: tuple[str, str]
    is_small: bool
    maps: Mapping[str, tuple[SideView, SideView]]


@dataclass(frozen=True)
class ClassView:
    """One class: what became of it, in one word and in a sentence, its changes, and its samples by role."""

    label: str
    slug: str
    kind: ChangeKind
    sentence: str
    changes: tuple[ClassChange, ...]
    samples: Mapping[str, tuple[SampleView, ...]]


def render(
    comparison: Comparison, pairs: Sequence[Pair] = (), links: Mapping[str, str] | None = None
) -> dict[str, str | bytes]:
    """The page of a comparison, self-contained: file name -> content; open `index.html`.

    Args:
        comparison: of two runs.
        pairs: the samples to show.
        links: "reference", "candidate" -> where the report of that run is, seen from the page; sides without one
            are named without a link.

    Text is to be written as UTF-8. The same comparison gives the same files, byte for byte.
    """
    files: dict[str, bytes] = {}
    name = f"{comparison.candidate.name} against {comparison.reference.name}"
    values: dict[str, Any] = {
        "comparison": comparison,
        "compared": _class_views(comparison, pairs, files),
        "headline": change_words.headline(comparison),
        "hits": comparison.hits,
        "reports": links or {},
        "scale": charts.scale_for(end for change in comparison.changes for end in (change.low, change.high)),
        "unpaired": [(why, len(ids), ids[:_IDS_SHOWN]) for why, ids in comparison.unpaired.items()],
        "statistic_words": change_words.statistic_words,
        "loss_sentence": change_words.loss_sentence,
        "legends": _legends(pairs, files),
    }
    return {**single_site.render(environment.make(), "compare", name, values), **files}


def _class_views(
    comparison: Comparison, pairs: Sequence[Pair], files: dict[str, bytes]
) -> tuple[ClassView, ...]:
    """The classes, the gravest first; their pictures are put into `files`."""
    lookup = _Lookup(comparison, {pair.sample_id for pair in pairs})
    made = []
    for label, kind in comparison.kinds.items():
        changes = tuple(change for change in comparison.changes if change.label == label)
        by_role = {
            role: tuple(
                _sample_view(pair, lookup, files)
                for pair in pairs
                if pair.label == label and pair.role == role
            )
            for role in (TYPICAL, LARGEST)
        }
        made.append(
            ClassView(
                label=label,
                slug=views.slug(label),
                kind=kind,
                sentence=change_words.class_sentence(changes),
                changes=changes,
                samples={role: samples for role, samples in by_role.items() if samples},
            )
        )
    return tuple(sorted(made, key=lambda view: change_words.ORDER.index(view.kind)))


class _Lookup:
    """What the tables of both runs say of some samples."""

    def __init__(self, comparison: Comparison, ids: set[str]) -> None:
        runs = (comparison.reference, comparison.candidate)
        self.predicted = tuple(
            {row["sample_id"]: row["predicted"] for row in views.rows_of(run.tables["predictions"], ids)}
            for run in runs
        )
        self.inside = tuple(
            {
                (row["sample_id"], row["method"]): row["mass_inside"]
                for row in views.rows_of(run.tables["attributions"], ids)
            }
            for run in runs
        )


def _sample_view(pair: Pair, lookup: _Lookup, files: dict[str, bytes]) -> SampleView:
    first, second = (known[pair.sample_id] for known in lookup.predicted)
    return SampleView(
        sample_id=pair.sample_id,
        difference=pair.difference,
        predicted=(first, second),
        is_small=isinstance(pair.before, Small),
        maps={method: _map_views(pair, method, lookup, files) for method in _methods(pair)},
    )


def _methods(pair: Pair) -> list[str]:
    return [method for method in pair.before.maps if method in pair.after.maps]


def _map_views(
    pair: Pair, method: str, lookup: _Lookup, files: dict[str, bytes]
) -> tuple[SideView, SideView]:
    """The maps of both runs on one scale."""
    visualization = figures.published(method)
    shown = (pair.before, pair.after)
    strengths = figures.shared_strengths([one.maps[method] for one in shown], visualization)
    made = []
    for one, strength, side, inside in zip(shown, strengths, _SIDES, lookup.inside, strict=True):
        picture = _drawn(one, strength, visualization)
        href = _stored(figures.encode(picture), files)
        alt = f"Map of {method} over the photo of sample {pair.sample_id}, {side}"
        mass_inside = inside.get((pair.sample_id, method))
        made.append(SideView(href, picture.shape[1], picture.shape[0], alt, mass_inside))
    return made[0], made[1]


def _drawn(shown: Exemplar | Small, strength: np.ndarray, visualization: figures.Visualization) -> np.ndarray:
    """One map over its photo, with the outlines."""
    if isinstance(shown, Exemplar):
        return figures.overlay_strength(shown.image, strength, shown.foreground, shown.regions, visualization)
    # The outlines are drawn already, so the picture is drawn as one without an object.
    unknown = np.full(shown.photo.shape[:2], IGNORE, dtype=np.uint8)
    wide = figures.scaled(strength, shown.photo.shape[:2])
    return figures.with_lines(
        figures.overlay_strength(shown.photo, wide, unknown, {}, visualization), shown.things
    )


def _stored(content: bytes, files: dict[str, bytes]) -> str:
    """The name of a picture that is put into `files`."""
    href = figures.file_name(content)
    files[href] = content
    return href


def _legends(pairs: Sequence[Pair], files: dict[str, bytes]) -> dict[str, str]:
    """The colour scale of each method: method -> file name."""
    methods = dict.fromkeys(method for pair in pairs for method in _methods(pair))
    return {
        method: _stored(figures.encode(figures.legend(figures.published(method))), files)
        for method in methods
    }
