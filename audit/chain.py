"""The evidence behind the verdicts as tables, a link of the chain each: what a report shows and a reader can check.

Nothing is measured here: these are the numbers that `verdicts` judged, in the words of the tables' columns.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from audit import tables as schema
from audit._evidence import Evidence
from audit._findings import Finding
from audit._verdict_texts import effect_text
from audit.bonds import SPREAD, Bond
from audit.effects import Effect
from audit.types import Interval, VerdictLimits

_EFFECT_NUMBERS = ("n_tried", "n", "before", "after", "control", "turned", "control_turned", "q_value")


def chain_tables(evidence: Sequence[Evidence]) -> dict[str, pd.DataFrame]:
    """The tables `objects`, `screens`, `effects` and `bonds` of what was judged.

    Args:
        evidence: of every class by every method, as `verdicts.gather` returns it.
    """
    # Interventions and properties are facts of a class, the same for every method.
    per_class = {known.label: known for known in reversed(evidence)}.values()
    rows = {
        schema.OBJECTS: [_object_row(known) for known in evidence],
        schema.SCREENS: [_screen_row(f, known.limits) for known in evidence for f in known.findings],
        schema.EFFECTS: [
            row for known in per_class for e in known.effects for row in _effect_rows(e, known.limits)
        ],
        schema.BONDS: [_bond_row(bond) for known in per_class for bond in known.bonds],
    }
    return {table.name: schema.frame(table, found) for table, found in rows.items()}


def outcome(effect: Effect, limits: VerdictLimits) -> str:
    """What an effect says, in one word: proof, sign, none, open, too few or remark; see the table `effects`."""
    if not effect.is_measured(limits):
        return "too few"
    if not effect.carries:
        return "remark"
    if effect.shows(limits):
        return "proof" if effect.is_proof(limits) else "sign"
    return "none" if effect.is_none(limits) else "open"


def _object_row(known: Evidence) -> dict[str, Any]:
    return {
        "label": known.label,
        "method": known.method,
        "n": known.n_object,
        "mass_inside": known.mass.mean,
        "mass_inside_low": known.mass.low,
        "mass_inside_high": known.mass.high,
        "area_inside": known.area,
        "edge_mass_inside": known.edges,
        "untrained_mass_inside": known.untrained,
        "n_untrained": known.n_untrained,
        **_interval("excess", known.excess),
    }


def _screen_row(finding: Finding, limits: VerdictLimits) -> dict[str, Any]:
    return {
        "label": finding.label,
        "method": finding.method,
        "confound": finding.confound,
        "n_class": finding.n_class,
        "n_with": finding.n_with,
        "n_others": finding.n_others,
        "n_others_with": finding.n_others_with,
        "share": _share(finding.n_with, finding.n_class),
        "others_share": _share(finding.n_others_with, finding.n_others),
        **_interval("association", finding.association),
        "n": finding.n_measured,
        "mass_inside": finding.mass,
        "area_inside": finding.area,
        "edge_mass_inside": finding.edges,
        "untrained_mass_inside": finding.untrained,
        "n_untrained": finding.n_untrained,
        "lift": finding.lift if finding.n_measured else math.nan,
        **_interval("excess", finding.excess),
        "q_value": finding.q_value,
        "draws_mass": finding.n_measured > 0 and finding.passes_screen(limits),
        "is_bound": finding.is_associated(limits),
    }


def _effect_rows(effect: Effect, limits: VerdictLimits) -> Iterator[dict[str, Any]]:
    """The effect over all fills, then by each."""
    shared = {
        "label": effect.label,
        "confound": effect.confound,
        "kind": effect.kind,
        "link": str(effect.link),
    }
    yield {
        **shared,
        "fill": "",
        **{name: getattr(effect, name) for name in _EFFECT_NUMBERS},
        **_interval("effect", effect.size),
        "outcome": outcome(effect, limits),
        "text": effect_text(effect) if effect.n else None,
    }
    for fill, size in effect.by_fill:
        unknown = dict.fromkeys(_EFFECT_NUMBERS, math.nan)
        yield {**shared, "fill": fill, **unknown, **_interval("effect", size), "outcome": None, "text": None}


def _bond_row(bond: Bond) -> dict[str, Any]:
    unknown = (math.nan,) * len(SPREAD)
    return {
        "label": bond.label,
        "property": bond.confound,
        "n_class": bond.n_class,
        "n_others": bond.n_others,
        **_interval("separation", bond.separation),
        "category": bond.category or None,
        "share": bond.share,
        "others_share": bond.others_share,
        **dict(zip(schema.spread_names("class"), bond.spread or unknown, strict=True)),
        **dict(zip(schema.spread_names("others"), bond.others_spread or unknown, strict=True)),
        "is_changeable": bond.is_changeable,
        "follow_q": bond.follow_q,
    }


def _interval(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _share(hits: int, n: int) -> float:
    return hits / n if n else math.nan
