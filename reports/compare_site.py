"""The page of a comparison: what became of every class, with intervals, and the same samples before and after."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment

from audit.types import ChangeKind, ClassChange, Comparison, Exemplar
from reports import change_words, charts, environment, figures, single_site, views

_SAMPLES_PER_CLASS = 6
_IDS_SHOWN = 50
"""Unpaired samples of a reason that the page names; the others are counted."""


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
        photo: the image with outlines.
        predicted: class names, reference and candidate.
        maps: method -> its maps in the reference and in the candidate.
    """

    sample_id: str
    photo: SideView
    predicted: tuple[str, str]
    maps: Mapping[str, tuple[SideView, SideView]]


@dataclass(frozen=True)
class ClassView:
    """One class: what became of it, in one word and in a sentence, its changes and its samples."""

    label: str
    slug: str
    kind: ChangeKind
    sentence: str
    changes: tuple[ClassChange, ...]
    samples: tuple[SampleView, ...]


def render(comparison: Comparison) -> dict[str, str | bytes]:
    """The page of a comparison, self-contained: file name -> content; open `index.html`.

    Text is to be written as UTF-8. The same comparison gives the same files, byte for byte.
    """
    templates = environment.make()
    files: dict[str, bytes] = {}
    classes = _class_views(comparison, files)
    scale = _scale(comparison)
    name = f"{comparison.candidate.name} against {comparison.reference.name}"
    values: dict[str, Any] = {
        "comparison": comparison,
        "compared": classes,
        "headline": change_words.headline(comparison),
        "scale": scale,
        "unpaired": _unpaired(comparison),
        "statistic_words": change_words.statistic_words,
        "legends": _legends(comparison, files),
        "n_ids_shown": _IDS_SHOWN,
    }
    return {**_pages(templates, name, values), **files}


def _pages(templates: Environment, name: str, values: dict[str, Any]) -> dict[str, str]:
    return single_site.render(templates, "compare", name, values)


def _class_views(comparison: Comparison, files: dict[str, bytes]) -> tuple[ClassView, ...]:
    """The classes, the gravest first; their pictures are put into `files`."""
    shown = {exemplar.sample_id: exemplar for exemplar in comparison.reference.exemplars}
    pairs = [(shown[e.sample_id], e) for e in comparison.candidate.exemplars if e.sample_id in shown]
    lookups = tuple(views.picture_lookup(run) for run in (comparison.reference, comparison.candidate))
    made = []
    for label, kind in comparison.kinds.items():
        changes = tuple(change for change in comparison.changes if change.label == label)
        own = [pair for pair in pairs if pair[0].label == pair[1].label == label][:_SAMPLES_PER_CLASS]
        made.append(
            ClassView(
                label=label,
                slug=views.slug(label),
                kind=kind,
                sentence=change_words.class_sentence(changes),
                changes=changes,
                samples=tuple(_sample_view(one, other, lookups, files) for one, other in own),
            )
        )
    return tuple(sorted(made, key=lambda view: change_words.ORDER.index(view.kind)))


def _sample_view(
    before: Exemplar,
    after: Exemplar,
    lookups: tuple[Mapping[tuple[str, str], Any], ...],
    files: dict[str, bytes],
) -> SampleView:
    methods = [method for method in before.maps if method in after.maps]
    photo = figures.photo(before.image, before.foreground, before.regions)
    return SampleView(
        sample_id=before.sample_id,
        photo=_side(photo, views.alt_text(before, None), None, files),
        predicted=(before.predicted, after.predicted),
        maps={method: _map_views((before, after), method, lookups, files) for method in methods},
    )


def _map_views(
    exemplars: tuple[Exemplar, Exemplar],
    method: str,
    lookups: tuple[Mapping[tuple[str, str], Any], ...],
    files: dict[str, bytes],
) -> tuple[SideView, SideView]:
    """The maps of both runs on one scale."""
    visualization = figures.published(method)
    strengths = figures.shared_strengths([shown.maps[method] for shown in exemplars], visualization)
    first, second = (
        _side(
            figures.overlay_strength(shown.image, strength, shown.foreground, shown.regions, visualization),
            f"{views.alt_text(shown, method)}, {side}",
            lookup.get((shown.sample_id, method), {}).get("mass_inside"),
            files,
        )
        for shown, strength, side, lookup in zip(
            exemplars, strengths, ("reference", "candidate"), lookups, strict=True
        )
    )
    return first, second


def _side(picture: np.ndarray, alt: str, mass_inside: float | None, files: dict[str, bytes]) -> SideView:
    """A picture as a page shows it; its bytes are put into `files`."""
    href = _stored(figures.encode(picture), files)
    return SideView(href, picture.shape[1], picture.shape[0], alt, mass_inside)


def _stored(content: bytes, files: dict[str, bytes]) -> str:
    """A name by content: nothing of the data gets into a path, and equal pictures are one file."""
    href = f"images/{hashlib.sha256(content).hexdigest()[:20]}.webp"
    files[href] = content
    return href


def _legends(comparison: Comparison, files: dict[str, bytes]) -> dict[str, str]:
    """The colour scale of each method: method -> file name."""
    return {
        method: _stored(figures.encode(figures.legend(visualization)), files)
        for method, visualization in views.scales(comparison.candidate).items()
    }


def _unpaired(comparison: Comparison) -> list[tuple[str, int, tuple[str, ...]]]:
    """Reason, number and first ids of the samples without a partner."""
    return [(reason, len(ids), ids[:_IDS_SHOWN]) for reason, ids in comparison.unpaired.items()]


def _scale(comparison: Comparison) -> float:
    """Where the bars end, as a share."""
    return charts.scale_for(end for change in comparison.changes for end in (change.low, change.high))
