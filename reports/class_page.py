"""The chain of evidence of each class, regrouped for its page: every table row beside the pictures that show it.

Nothing is computed here: rows are looked up and put in order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from audit.types import AuditRun, Demonstration
from reports import charts, views

Row = Mapping[str, Any]
Key = tuple[str, str, str, str]
"""sample_id, confound, kind, fill: the key of the table `interventions`."""
_TABLES = ("objects", "screens", "effects", "bonds", "discovered", "weak_slices")
_N_EXEMPLARS = 3
_AS_IT_IS, _CHANGED, _CONTROL = "As it is", "Changed", "Control"


@dataclass(frozen=True)
class ShotView:
    """One of the three pictures of an intervention.

    Attributes:
        title: what it is: as it is, changed, or the control.
        href, width, height, alt: the picture; `href` is relative to the report's folder.
        score: the model's probability of the class in question.
        predicted: class name of the highest score; None where it is not stored.
    """

    title: str
    href: str
    width: int
    height: int
    alt: str
    score: float
    predicted: str | None


@dataclass(frozen=True)
class DemonstrationView:
    """One intervention on one sample, with the scores of its row."""

    sample_id: str
    label: str
    own_label: str
    confound: str
    kind: str
    fill: str
    shots: tuple[ShotView, ...]


@dataclass(frozen=True)
class EffectView:
    """One intervention on one confound.

    Attributes:
        row: over all fills, from the table `effects`.
        fills: its rows by fill.
        shown: pictures of samples of typical effect.
    """

    row: Row
    fills: tuple[Row, ...]
    shown: tuple[DemonstrationView, ...]


@dataclass(frozen=True)
class ThingView:
    """One confound of a class with everything that is known of it.

    Attributes:
        name: of the confound.
        slug: its part of anchors.
        is_lead: whether the verdict names it.
        screens: rows of the table `screens`, by method.
        effects: what interventions on it did; those that carry a verdict first.
        discovered: its row of the table `discovered`; None for what had a name before.
        bond: its row of the table `bonds`; None for what is no global property.
        exemplars: samples of the class that show it.
    """

    name: str
    slug: str
    is_lead: bool
    screens: tuple[Row, ...]
    effects: tuple[EffectView, ...]
    discovered: Row | None
    bond: Row | None
    exemplars: tuple[views.ExemplarView, ...]


@dataclass(frozen=True)
class SpreadView:
    """One global property of a class beside the other classes'.

    Attributes:
        row: of the table `bonds`.
        own, others: quantiles of either side; NaN for a category.
        low, high: ends of the line that both are drawn on.
        is_tested: whether an intervention changed it.
    """

    row: Row
    own: tuple[float, ...]
    others: tuple[float, ...]
    low: float
    high: float
    is_tested: bool


@dataclass(frozen=True)
class DiscoveredView:
    """What was found without a name.

    Attributes:
        row: of the table `discovered`.
        exemplars: its most typical samples that have pictures; none where it has another name, under which it is shown.
    """

    row: Row
    exemplars: tuple[views.ExemplarView, ...]


@dataclass(frozen=True)
class LookedAt:
    """How much was tested in a run: what q values are adjusted for.

    Attributes:
        n_screens: classes, methods and confounds whose mass was held against its nulls.
        n_effects: classes, confounds and interventions whose effect may carry a verdict.
    """

    n_screens: int
    n_effects: int


@dataclass(frozen=True)
class ChainView:
    """All links of one class.

    Attributes:
        objects: rows of the table `objects`, by method.
        things: confounds, the one that the verdict names first.
        spreads: global properties, the closest bond first.
        discovered: what was found without a name.
        slices: rows of the table `weak_slices`, the surest first.
        scale: where the lines of the effects end, as a share.
    """

    objects: tuple[Row, ...]
    things: tuple[ThingView, ...]
    spreads: tuple[SpreadView, ...]
    discovered: tuple[DiscoveredView, ...]
    slices: tuple[Row, ...]
    scale: float

    def nulls(self, method: str) -> dict[str, float]:
        """What mass inside would be without a model that has learned, by the keys of `charts.NULLS`."""
        row = next((row for row in self.objects if row["method"] == method), None)
        if row is None:
            return {}
        return {
            "area": row["area_inside"],
            "edges": row["edge_mass_inside"],
            "untrained": row["untrained_mass_inside"],
        }

    @property
    def proof(self) -> DemonstrationView | None:
        """The first demonstration of the largest effect that proves what the verdict names; None without one."""
        effects = [
            effect
            for thing in self.things
            if thing.is_lead
            for effect in thing.effects
            if effect.shown and effect.row["outcome"] == "proof"
        ]
        return max(effects, key=lambda effect: effect.row["effect"]).shown[0] if effects else None

    @property
    def weak(self) -> tuple[Row, ...]:
        """The slices that are recognised less often than the rest of the class."""
        return tuple(row for row in self.slices if row["is_weak"])

    @property
    def screened(self) -> tuple[ThingView, ...]:
        """The things that occur in the class and have a region."""
        return tuple(thing for thing in self.things if thing.screens)

    @property
    def tested(self) -> tuple[ThingView, ...]:
        """The things that interventions changed."""
        return tuple(thing for thing in self.things if thing.effects)


def chains(
    run: AuditRun,
    classes: tuple[views.ClassView, ...],
    shots: Mapping[Key, tuple[views.PictureView, ...]],
) -> dict[str, ChainView]:
    """The chain of each class, by its label.

    Args:
        run: the run.
        classes: the classes that have a page.
        shots: pictures of each demonstration (as it is, changed, control) by the key of its row.
    """
    rows = {name: _by_label(run.tables.get(name)) for name in _TABLES}
    shown = _demonstrations(run, shots)
    return {
        view.label: _chain(view, {name: found.get(view.label, []) for name, found in rows.items()}, shown)
        for view in classes
    }


def looked_at(run: AuditRun) -> LookedAt:
    """The tests of a run."""
    screens, effects = (run.tables.get(name) for name in ("screens", "effects"))
    return LookedAt(
        *(0 if table is None else int(table["q_value"].notna().sum()) for table in (screens, effects))
    )


def key_of(shown: Demonstration) -> Key:
    """The key of its row in the table `interventions`."""
    return shown.sample_id, shown.confound, shown.kind, shown.fill


def alt_texts(shown: Demonstration) -> tuple[str, str, str]:
    """What the three pictures of a demonstration show."""
    return (
        f"Sample {shown.sample_id} as it is",
        f"The same, {shown.confound} changed by {shown.kind}, {shown.fill}",
        f"The same, a control changed by {shown.kind}, {shown.fill}",
    )


def _chain(
    view: views.ClassView,
    rows: Mapping[str, list[Row]],
    shown: Mapping[tuple[str, ...], list[DemonstrationView]],
) -> ChainView:
    lead = view.lead.confound if view.lead else None
    names = dict.fromkeys(
        [
            *([lead] if lead is not None else []),
            *(row["confound"] for row in rows["screens"]),
            *(row["confound"] for row in rows["effects"]),
        ]
    )
    effects = [row for row in rows["effects"] if not row["fill"]]
    return ChainView(
        objects=tuple(rows["objects"]),
        things=tuple(_thing(name, name == lead, view, rows, shown) for name in names),
        spreads=tuple(_spread(row, {effect["confound"] for effect in effects}) for row in rows["bonds"]),
        discovered=tuple(_discovered(row, view) for row in rows["discovered"]),
        slices=tuple(
            sorted(rows["weak_slices"], key=lambda row: (row["q_value"] != row["q_value"], row["q_value"]))
        ),
        scale=charts.scale_for(
            row[end] for row in rows["effects"] for end in ("effect", "effect_low", "effect_high")
        )
        if effects
        else 1.0,
    )


def _thing(
    name: str,
    is_lead: bool,
    view: views.ClassView,
    rows: Mapping[str, list[Row]],
    shown: Mapping[tuple[str, ...], list[DemonstrationView]],
) -> ThingView:
    own = [row for row in rows["effects"] if row["confound"] == name]
    wholes = sorted((row for row in own if not row["fill"]), key=lambda row: row["link"] == "remark")
    return ThingView(
        name=name,
        slug=views.slug(name),
        is_lead=is_lead,
        screens=tuple(row for row in rows["screens"] if row["confound"] == name),
        effects=tuple(
            EffectView(
                row=whole,
                fills=tuple(row for row in own if row["fill"] and row["kind"] == whole["kind"]),
                shown=tuple(shown.get((view.label, name, whole["kind"]), ())),
            )
            for whole in wholes
        ),
        discovered=next((row for row in rows["discovered"] if row["confound"] == name), None),
        bond=next((row for row in rows["bonds"] if row["property"] == name), None),
        exemplars=tuple(e for e in view.exemplars if name in e.regions)[:_N_EXEMPLARS],
    )


def _discovered(row: Row, view: views.ClassView) -> DiscoveredView:
    shown = [] if row["known"] else [e for e in view.exemplars if e.sample_id in set(row["exemplars"])]
    return DiscoveredView(row, tuple(shown[:_N_EXEMPLARS]))


def _spread(row: Row, tested: set[str]) -> SpreadView:
    own, others = (
        tuple(row[name] for name in row if name.startswith(f"{side}_q")) for side in ("class", "others")
    )
    ends = (*own, *others)
    return SpreadView(row, own, others, min(ends), max(ends), row["property"] in tested)


def _demonstrations(
    run: AuditRun, shots: Mapping[Key, tuple[views.PictureView, ...]]
) -> dict[tuple[str, ...], list[DemonstrationView]]:
    """The demonstrations by class in question, confound and intervention, with the scores of their rows."""
    found: dict[tuple[str, ...], list[DemonstrationView]] = {}
    if not run.demonstrations:
        return found
    ids = {shown.sample_id for shown in run.demonstrations}
    scores = {
        (row["sample_id"], row["confound"], row["kind"], row["fill"]): row
        for row in views.rows_of(run.tables.get("interventions"), ids)
    }
    predictions = {row["sample_id"]: row for row in views.rows_of(run.tables.get("predictions"), ids)}
    for shown in run.demonstrations:
        row, known = scores.get(key_of(shown)), predictions.get(shown.sample_id)
        if row is None or known is None:
            continue  # pictures of other interventions than the table's say nothing of its numbers
        sides = (
            (_AS_IT_IS, row["score_before"], known["predicted"]),
            (_CHANGED, row["score_after"], row["predicted_after"]),
            (_CONTROL, row["score_control"], row["predicted_control"]),
        )
        pictures = shots[key_of(shown)]
        found.setdefault((shown.label, shown.confound, shown.kind), []).append(
            DemonstrationView(
                sample_id=shown.sample_id,
                label=shown.label,
                own_label=known["label"],
                confound=shown.confound,
                kind=shown.kind,
                fill=shown.fill,
                shots=tuple(
                    ShotView(title, p.href, p.width, p.height, p.alt, score, predicted)
                    for (title, score, predicted), p in zip(sides, pictures, strict=True)
                ),
            )
        )
    return found


def _by_label(table: pd.DataFrame | None) -> dict[str, list[Row]]:
    """The rows of each class; numbers are floats, what is missing among words is None."""
    found: dict[str, list[Row]] = {}
    for row in views.records(table):
        found.setdefault(row["label"], []).append(row)
    return found
