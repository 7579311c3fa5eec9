"""Photos of a run to crop or recolour, so that a flagged class no longer shows what it leans on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from audit import tables as schema
from audit.edits import CROP, LOST_ONE_IN, RECOLOUR, can_reach, crop_text, crop_without, lies_on, recolourings
from audit.interventions import WHOLE_BACKGROUND
from audit.suggestions import flagged
from audit.types import FOREGROUND, IGNORE, Sample
from pipelines.config import validate
from pipelines.counterfactual_sources import Recipe, Workbench, recipes_of
from pipelines.judge import load as load_run
from pipelines.shards import read
from pipelines.storage import Run

_UNREAD = "cannot be read any more"
_UNMARKED = "the object is not annotated, so that no crop is safe"
_ELSEWHERE = "where it lies is known of the model's input only (model.resize)"
_ON_OBJECT = "it lies on the annotated object, where no crop takes it away"
_TURNED = "tools show them turned as EXIF says, which data.exif ignores"
_ACROSS = f"no crop without it holds {1 - 1 / LOST_ONE_IN:.0%} of the object"


def edits(run: Run) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Rows of `audit.tables.EDITS`, and sentences on what cannot be edited.

    One finding after the other; photos to crop are sorted by how much of them stays, those to recolour by how far
    they are from the target. Of classes that share a property only the one that is bound to it most is recoloured:
    to bring each to the other's value would turn the bond around.

    Raises:
        RunError: the run is not finished.
        DatasetError: its dataset cannot be read any more.
    """
    finished = load_run(run)
    config = validate(finished.manifest["config"], where=f"{run.path}/manifest.json")
    bench = Workbench(run, config, finished)
    samples = {entry.sample_id: entry for entry in read(config.data) if isinstance(entry, Sample)}
    things = {*finished.tables["confounds"]["confound"], WHOLE_BACKGROUND}
    recipes = {
        (recipe.label, recipe.confound): recipe
        for recipe in recipes_of(finished)
        if recipe.change in (CROP, "normalise")
    }
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for label, confound in flagged(finished.verdicts, things):
        recipe = recipes.get((label, confound))
        if recipe is None:
            notes.append(f"{label}, {confound}: neither a crop nor other colours change it.")
        elif recipe.bond is None:
            rows += _crops(recipe, samples, bench, notes)
        else:
            rows += _recoloured(recipe, samples, bench, notes)
    if not rows and not notes:
        notes.append("No class is flagged for something that is on its photos.")
    return schema.frame(schema.EDITS, rows), tuple(notes)


def _crops(
    recipe: Recipe, samples: Mapping[str, Sample], bench: Workbench, notes: list[str]
) -> Sequence[dict[str, Any]]:
    """Rows of one thing of a class, and a note on how many there are and why there are no more."""
    confounds = bench.finished.tables["confounds"]
    searched = confounds[confounds["confound"] == recipe.confound]
    shown = set(searched.loc[searched["present"], "sample_id"])
    n_unknown = len({row.sample_id for row in _photos(recipe, bench)} - set(searched["sample_id"]))
    rows: list[dict[str, Any]] = []
    reasons: Counter[str] = Counter()
    for row in _photos(recipe, bench):
        if row.sample_id in shown:
            made = _crop(recipe, samples.get(row.sample_id), bench)
            if isinstance(made, str):
                reasons[made] += 1
            else:
                rows.append(_row(recipe, row, samples, made))
    why = "".join(f" Of {n} {reason}." for reason, n in reasons.most_common())
    why += f" {n_unknown} more of the class were not searched for it." if n_unknown else ""
    notes.append(
        f"{recipe.label}, {recipe.confound}: {len(rows)} of {len(rows) + reasons.total()} photos that show it can be "
        f"cropped.{why}"
    )
    return sorted(rows, key=lambda row: -float(row["keeps"]))


def _crop(recipe: Recipe, sample: Sample | None, bench: Workbench) -> dict[str, Any] | str:
    """The columns that a crop fills, or why there is none."""
    found = None if sample is None else bench.outlines(sample, recipe)
    if found is None:
        return _UNREAD
    foreground, region = found
    if (foreground == IGNORE).all():
        return _UNMARKED
    if sample is not None and bench.config.data.exif == "ignore" and bench.is_turned(sample):
        return _TURNED
    labelled = foreground == FOREGROUND
    if not region.any():
        is_elsewhere = recipe.is_discovered and bench.config.model.resize != "stretch"
        return _ELSEWHERE if is_elsewhere else _ON_OBJECT
    if lies_on(labelled, region):
        return _ON_OBJECT
    crop = crop_without(labelled, region & ~labelled)
    if crop is None:
        return _ACROSS
    sides = dict(zip(("x0", "y0", "x1", "y1"), crop.box, strict=True))
    return {**sides, "keeps": crop.keeps, "reason": crop_text(crop, recipe.label, recipe.confound)}


def _recoloured(
    recipe: Recipe, samples: Mapping[str, Sample], bench: Workbench, notes: list[str]
) -> Sequence[dict[str, Any]]:
    """Rows of one property of a class, and a note on how many there are."""
    assert recipe.bond is not None
    if not can_reach(recipe.bond):
        notes.append(f"{recipe.label}, {recipe.confound}: pixels cannot be changed to the others' value.")
        return []
    photos = {row.sample_id: row for row in _photos(recipe, bench)}
    properties = bench.finished.tables["properties"]
    is_own = (properties["property"] == recipe.confound) & properties["sample_id"].isin(photos)
    found = recolourings(recipe.bond, properties[is_own])
    rows = [_row(recipe, photos[one["sample_id"]], samples, one) for one in found]
    notes.append(
        f"{recipe.label}, {recipe.confound}: {len(rows)} of {len(photos)} photos have the class's own value and are "
        "to be recoloured."
    )
    return rows


def _photos(recipe: Recipe, bench: Workbench) -> Sequence[Any]:
    """Rows of `predictions` of the class, in the run's order."""
    predictions = bench.finished.tables["predictions"]
    return list(predictions[predictions["label"] == recipe.label].itertuples())


def _row(
    recipe: Recipe, photo: Any, samples: Mapping[str, Sample], filled: Mapping[str, Any]
) -> dict[str, Any]:
    """A row of `edits` of a row of `predictions`; columns that are not filled are NaN."""
    sample = samples.get(photo.sample_id)
    return {
        **dict.fromkeys(("x0", "y0", "x1", "y1", "keeps", "value", "target"), np.nan),
        "sample_id": photo.sample_id,
        "path": sample.image_path if sample else photo.path,
        "label": recipe.label,
        "kind": CROP if recipe.bond is None else RECOLOUR,
        "confound": recipe.confound,
        **filled,
    }
