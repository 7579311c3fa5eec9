"""Confounds against classes: what is seen where, what draws mass where, and what decides where.

Nothing is computed here: cells are rows of `screens`, `effects` and `bonds`, put side by side.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audit.types import AuditRun, Status
from reports import views

_N_COLUMNS = 24
"""Classes that the page shows side by side; with more of them those that need attention come first."""
_WEIGHTS = ("proof", "sign", "open", "none", "too few", "remark")
"""Outcomes of effects, the one that says most first."""


@dataclass(frozen=True)
class CellView:
    """One confound in one class.

    Attributes:
        href: where the class's page shows it, relative to the report's folder.
        label: the class.
        status: of the class, where a verdict on it names this confound; else None.
        screen: its row of the table `screens` by the first method that has one, or None.
        bond: its row of the table `bonds`, or None.
        necessity, sufficiency: rows of the table `effects` over all fills that say most, or None.
    """

    href: str
    label: str
    status: Status | None
    screen: Mapping[str, Any] | None
    bond: Mapping[str, Any] | None
    necessity: Mapping[str, Any] | None
    sufficiency: Mapping[str, Any] | None

    @property
    def outcome(self) -> str:
        """The weightiest outcome of its effects; empty where nothing was tested."""
        found = [row["outcome"] for row in (self.necessity, self.sufficiency) if row is not None]
        return min(found, key=_WEIGHTS.index, default="")


@dataclass(frozen=True)
class RowView:
    """One confound: its name and a cell a class; None where the class neither shows nor was tested for it."""

    name: str
    slug: str
    cells: tuple[CellView | None, ...]


@dataclass(frozen=True)
class MatrixView:
    """The whole table.

    Attributes:
        classes: its columns.
        rows: the confounds, those that decide a class first.
        n_left_out: classes that are not shown, since there are too many.
    """

    classes: tuple[views.ClassView, ...]
    rows: tuple[RowView, ...]
    n_left_out: int


def matrix(run: AuditRun, classes: tuple[views.ClassView, ...]) -> MatrixView:
    """Every confound that some class shows or was tested for; `classes` come most severe first."""
    shown = classes[:_N_COLUMNS]
    screens = _first_rows(run, "screens", "confound")
    bonds = _first_rows(run, "bonds", "property")
    effects = _effects(run)
    tested = {(label, confound) for label, confound, _ in effects}
    names = {confound for _, confound in (*screens, *tested)}
    rows = []
    for name in names:
        cells = tuple(
            _cell(name, view, screens, bonds, effects)
            if (view.label, name) in screens or (view.label, name) in tested
            else None
            for view in shown
        )
        if any(cells):
            rows.append(RowView(name, views.slug(name), cells))
    return MatrixView(shown, tuple(sorted(rows, key=_precedence)), len(classes) - len(shown))


def _cell(
    name: str,
    view: views.ClassView,
    screens: Mapping[tuple[str, str], Mapping[str, Any]],
    bonds: Mapping[tuple[str, str], Mapping[str, Any]],
    effects: Mapping[tuple[str, str, str], Mapping[str, Any]],
) -> CellView:
    naming = [verdict.status for verdict in view.verdicts if verdict.confound == name]
    return CellView(
        href=f"{view.href}#thing-{views.slug(name)}",
        label=view.label,
        status=min(naming, key=views.SEVERITY.index, default=None),
        screen=screens.get((view.label, name)),
        bond=bonds.get((view.label, name)),
        necessity=effects.get((view.label, name, "necessity")),
        sufficiency=effects.get((view.label, name, "sufficiency")),
    )


def _precedence(row: RowView) -> tuple[int, int, str]:
    """Confounds that verdicts name, the gravest first; then by what was found of them in the most telling class."""
    cells = [cell for cell in row.cells if cell is not None]
    named = [views.SEVERITY.index(cell.status) for cell in cells if cell.status is not None]
    outcomes = [_WEIGHTS.index(cell.outcome) for cell in cells if cell.outcome]
    return min(named, default=len(views.SEVERITY)), min(outcomes, default=len(_WEIGHTS)), row.name


def _first_rows(run: AuditRun, table: str, column: str) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Rows by class and confound; of several methods the first."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in views.records(run.tables.get(table)):
        found.setdefault((row["label"], row[column]), row)
    return found


def _effects(run: AuditRun) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    """Rows over all fills by class, confound and link; of several interventions the one that says most."""
    found: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for row in views.records(run.tables.get("effects")):
        key = (row["label"], row["confound"], row["link"])
        if row["fill"] or row["link"] == "remark":
            continue
        known = found.get(key)
        if known is None or _WEIGHTS.index(row["outcome"]) < _WEIGHTS.index(known["outcome"]):
            found[key] = row
    return found
