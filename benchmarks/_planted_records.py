"""Stored cells -> one record for each class of each audit: the truth, the verdict, and every simpler rule's number."""

import base64
import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audit.types import ClassVerdict, Status, VerdictLimits
from audit.verdicts import headline, judge_classes
from benchmarks._planted_cells import ABSENT, FIRST_AUDITED, MASKS, tables
from benchmarks._planted_world import CLASSES, WHOLES, cue_region, scene

REAL, NONE = 0.1, 0.05
"""A true effect of at least the first makes a class reliant; all below the second make it clean; between is unclear."""
RELIANT, CLEAN, MIRROR, UNCLEAR = "reliant", "clean", "told by absence", "unclear"
"""What a class truly is. Told by absence: its probability falls when the cue comes, and does not rise with it."""
NOTHING_MEASURED = -1.0
"""Score of a class of which no effect was measured: the least suspicious of all."""
_AGREES = 0.5
"""Least agreement of a described thing with the cue, in presence and in place."""
_N_COMPARED = 20
"""Photos on which places are compared."""
NAMES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "face": (("face",), ()),
    "ruler": ((), ()),
    "sticker": ((), ("corner mark",)),
    "corner patch": (("corner mark",), ()),
    "border": (("border",), ()),
    "caption": (("text",), ()),
    "background texture": (("background",), ("contrast", "sharpness")),
    "colour cast": (("colour cast",), ("saturation",)),
    "blur": (("sharpness",), ("jpeg blockiness", "contrast")),
    "darkness": (("brightness",), ("contrast",)),
}
"""By cue: the names that are right, and others for what the cue changes too. Descriptions of discovered things are held
against the cue's places instead."""
OWN_NAMES = frozenset(
    {name for right, also in NAMES.values() for name in right + also}
    | {"saturation", "aspect ratio", "image size"}
)


@dataclass(frozen=True)
class Record:
    """One class of one audit.

    Attributes:
        cell: folder name of the cell.
        kind, cue, strength, seed, audit: of the cell and its audit.
        label: the class.
        necessity, sufficiency: true effects of the cue, signed.
        truth: RELIANT, CLEAN, MIRROR or UNCLEAR.
        status, confound: the verdict.
        score: the strongest lower bound of an effect in the verdict; NOTHING_MEASURED without any.
        is_named: whether the confound is the cue, or None where that cannot be told.
        rules: each simpler rule's number; only for audits with masks.
        reasons: the verdict's sentences.
    """

    cell: str
    kind: str
    cue: str
    strength: float
    seed: int
    audit: str
    label: str
    necessity: float
    sufficiency: float
    truth: str
    status: str
    confound: str | None
    score: float
    is_named: bool
    is_named_loosely: bool
    rules: Mapping[str, float]
    reasons: tuple[str, ...]

    @property
    def effect(self) -> float:
        """The larger true effect."""
        return max(self.necessity, self.sufficiency)

    @property
    def is_flagged(self) -> bool:
        return self.status == Status.SPURIOUS


def true_kind(kind: str, necessity: float, sufficiency: float) -> str:
    """What a class truly is, by the two true effects of the cue; without a cue nothing can be relied on."""
    if kind == ABSENT:
        return CLEAN
    strongest, weakest = max(necessity, sufficiency), min(necessity, sufficiency)
    if strongest >= REAL:
        return RELIANT
    if strongest < NONE and weakest > -NONE:
        return CLEAN
    return MIRROR if strongest < NONE and weakest <= -REAL else UNCLEAR


@dataclass(frozen=True)
class Stored:
    """One audit of a stored cell, ready to be judged again.

    Attributes:
        outcome: the cell's JSON.
        tables: of its run.
        methods: of its run.
    """

    outcome: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]
    methods: tuple[str, ...]

    def verdicts(self, limits: VerdictLimits) -> dict[str, ClassVerdict]:
        """The worst verdict of each class."""
        return headline(judge_classes(self.tables, CLASSES, self.methods, limits))


def stored(out: Path, seeds: Iterable[int], audits: Sequence[str] = (MASKS,)) -> list[Stored]:
    """Every stored audit of some seeds, in order of names."""
    found = []
    for path in sorted((out / "cells").glob("*/cell.json")):
        outcome = json.loads(path.read_text(encoding="utf-8"))
        if outcome["cell"]["seed"] in seeds and outcome["cell"]["audit"] in audits:
            held = tables(path.parent)
            methods = tuple(str(name) for name in held["attributions"]["method"].unique())
            found.append(Stored(outcome, held, methods))
    return found


def records(one: Stored, limits: VerdictLimits) -> list[Record]:
    """The records of one audit's classes."""
    cell, verdicts = one.outcome["cell"], one.verdicts(limits)
    made = []
    for label in CLASSES:
        verdict, true = verdicts[label], one.outcome["truth"][label]
        is_named = names_the_cue(verdict.confound, cell["cue"], one)
        also = verdict.confound in NAMES[cell["cue"]][1]
        made.append(
            Record(
                cell=f"{cell['seed']} {cell['cue']} {cell['kind']} {cell['strength']:g}",
                kind=cell["kind"],
                cue=cell["cue"],
                strength=cell["strength"],
                seed=cell["seed"],
                audit=cell["audit"],
                label=label,
                necessity=true["necessity"],
                sufficiency=true["sufficiency"],
                truth=true_kind(cell["kind"], true["necessity"], true["sufficiency"]),
                status=str(verdict.status),
                confound=verdict.confound,
                score=score_of(verdict),
                is_named=is_named,
                is_named_loosely=is_named or also,
                rules={name: values[label] for name, values in one.outcome["rules"].items()},
                reasons=verdict.reasons,
            )
        )
    return made


def score_of(verdict: ClassVerdict) -> float:
    """The strongest lower bound of an effect of the verdict's confound."""
    bounds = [low for low in (verdict.necessity_low, verdict.sufficiency_low) if not math.isnan(low)]
    return max(bounds, default=NOTHING_MEASURED)


def names_the_cue(confound: str | None, cue: str, one: Stored) -> bool:
    """Whether a verdict's confound is the cue: by its name, or for a described thing by where it is.

    A described thing counts as the cue if the photos that show it are those with the cue (Youden's J of at least one
    half over the photos that were searched), and on them it covers half of the cue or lies half on it.
    """
    if confound is None:
        return False
    if confound in OWN_NAMES or "discovered_regions" not in one.tables:
        return confound in NAMES[cue][0]
    if cue in WHOLES:
        return False
    rows = one.tables["confounds"]
    searched = set(rows.loc[rows["confound"] == confound, "sample_id"])
    shown = set(rows.loc[(rows["confound"] == confound) & rows["present"], "sample_id"])
    with_cue = {
        s for s, has in zip(one.tables["predictions"]["sample_id"], cue_by_row(one), strict=True) if has
    }
    has, has_not = searched & with_cue, searched - with_cue
    if not has or not has_not or len(has & shown) / len(has) - len(has_not & shown) / len(has_not) < _AGREES:
        return False
    return _lies_on_the_cue(confound, cue, one, has & shown)


def _lies_on_the_cue(confound: str, cue: str, one: Stored, sample_ids: set[str]) -> bool:
    """Whether a described thing covers half of the cue, or lies half on it, on average over some samples."""
    regions = one.tables["discovered_regions"]
    regions = regions[(regions["confound"] == confound) & regions["sample_id"].isin(sample_ids)]
    paths = one.tables["predictions"].set_index("sample_id")["path"]
    covered, on_it = [], []
    for row in regions.head(_N_COMPARED).itertuples():
        label, number = Path(paths[row.sample_id]).stem.rsplit("-", 1)
        picture = scene(one.outcome["cell"]["seed"], CLASSES.index(label), FIRST_AUDITED + int(number))
        place = cue_region(picture, cue)[::2, ::2]
        region = unpacked(row.bits, row.height, row.width)
        covered.append((region & place).sum() / max(place.sum(), 1))
        on_it.append((region & place).sum() / region.sum())
    return bool(covered) and max(np.mean(covered), np.mean(on_it)) >= _AGREES


def unpacked(bits: str, height: int, width: int) -> np.ndarray:
    """A region of the table `discovered_regions` as bool (height, width)."""
    stored_bits = np.frombuffer(zlib.decompress(base64.b64decode(bits)), dtype=np.uint8)
    return np.unpackbits(stored_bits, count=height * width).astype(bool).reshape(height, width)


def cue_by_row(one: Stored) -> np.ndarray:
    """bool, whether each row of `predictions` shows the cue; read off the path of its file."""
    folder = one.outcome["cell"]["cue"].replace(" ", "_")
    return np.array([Path(path).parent.name == folder for path in one.tables["predictions"]["path"]])
