"""The gallery's files: the numbers of all samples as scripts that a page opened from a folder may load, and as CSV.

A page on `file://` may not fetch data, but may load a script, so `gallery/samples.js` calls the page's one function
with the columns that every sample has, and `gallery/method-<n>.js` with those of one method, when it is looked at.
Columns are arrays by position; nothing of the data becomes a name in JavaScript. Shares are whole thousandths.
"""

import json
import os.path
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from audit.types import AuditRun
from reports import sheets, views
from reports.csv_text import csv_text
from reports.sheets import Sheet
from reports.visualization import colors, published

FOLDER = "gallery"
CSV = f"{FOLDER}/samples.csv"
N_ROWS = 100
"""Samples that the page itself lists, for readers without script."""
_CALL = "rightReasons"
_UNBOUNDED = ("entropy", "lift", "approx_error", "local_error")
"""Scores that are not shares in [0, 1]."""
_N_COLORS = 12


@dataclass(frozen=True)
class GalleryView:
    """What the page shows without script.

    Attributes:
        n: samples.
        n_pictures: of them with a picture.
        csv: file with the numbers of all samples.
        methods: attribution methods.
        rows: the first N_ROWS samples, those with the least mass inside by the first method first: column -> value,
            the scores of the first method among them, and `confounds`, (name, mass on it) of what is visible.
    """

    n: int
    n_pictures: int
    csv: str
    methods: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]


def files(
    run: AuditRun, drawn: Sequence[Sheet], classes: tuple[views.ClassView, ...]
) -> dict[str, str | bytes]:
    """Everything in the gallery's folder: file name -> content; nothing for a run without samples.

    Args:
        run: the run.
        drawn: its sheets; where a sample is on several, the first one counts.
        classes: as the other pages show them.
    """
    predictions = run.tables.get("predictions")
    if predictions is None or predictions.empty:
        return {}
    index = pd.Index(predictions["sample_id"])
    pictures = {
        f"{FOLDER}/{_file_name(sheet, number)}": content
        for sheet in drawn
        for number, content in enumerate(sheet.pictures.values())
    }
    methods = _methods(run)
    links = views.links(classes)
    core = _core(run, index, methods, classes) | _tiles(drawn, predictions, methods)
    core["links"] = [[at, links[sample_id]] for at, sample_id in enumerate(index) if sample_id in links]
    scripts = {
        f"{FOLDER}/method-{number}.js": _script({"method": number, **_of_method(run, index, method)})
        for number, method in enumerate(methods)
    }
    table = csv_text(_csv_table(run), number="%.6g")
    return {f"{FOLDER}/samples.js": _script({"core": core}), CSV: table, **scripts, **pictures}


def view(run: AuditRun, drawn: Sequence[Sheet]) -> GalleryView | None:
    """What the page shows without script; None for a run without samples."""
    predictions = run.tables.get("predictions")
    if predictions is None or predictions.empty:
        return None
    methods = _methods(run)
    table = predictions.set_index("sample_id", drop=False)
    if methods:
        scores = _rows_of(run, "attributions", methods[0]).set_index("sample_id")
        table = table.join(scores, how="left").rename_axis("id")
        table = table.sort_values(["mass_inside", "sample_id"])
    rows = table.head(N_ROWS).to_dict("records")
    visible = _visible(run, methods[:1], {row["sample_id"] for row in rows})
    found = _drawn_ids(drawn, predictions)
    return GalleryView(
        n=len(predictions),
        n_pictures=len(found),
        csv=CSV,
        methods=methods,
        rows=tuple({**row, "confounds": visible.get(row["sample_id"], ())} for row in rows),
    )


def _methods(run: AuditRun) -> tuple[str, ...]:
    """In the order of the configuration."""
    table = run.tables.get("attributions")
    known = set() if table is None else set(table["method"])
    return tuple(method for method in run.manifest.get("methods", ()) if method in known)


def _rows_of(run: AuditRun, name: str, method: str) -> pd.DataFrame:
    """One method's rows of a table; the table is empty where the run lacks it."""
    table = run.tables.get(name)
    return pd.DataFrame() if table is None else table[table["method"] == method]


def _visible(
    run: AuditRun, methods: Sequence[str], wanted: Iterable[str]
) -> dict[str, tuple[tuple[str, float], ...]]:
    """(confound, mass on it) of what is visible on some samples, by sample id."""
    found: dict[str, tuple[tuple[str, float], ...]] = {}
    for method in methods:
        rows = _rows_of(run, "confounds", method)
        rows = rows[rows["present"] & rows["sample_id"].isin(set(wanted))] if len(rows) else rows
        for row in rows.to_dict("records"):
            entry = (row["confound"], row["mass_inside"])
            found[row["sample_id"]] = (*found.get(row["sample_id"], ()), entry)
    return found


def _core(
    run: AuditRun, index: pd.Index, methods: Sequence[str], classes: tuple[views.ClassView, ...]
) -> dict[str, Any]:
    """The columns that do not depend on a method."""
    predictions = run.tables["predictions"]
    labels = list(dict.fromkeys([*run.classes, *predictions["label"], *predictions["predicted"]]))
    statuses = {entry.label: str(entry.status or "") for entry in classes}
    scores = [_score(name, predictions[name]) for name in _floats(predictions)]
    risks = run.tables.get("risks")
    reasons = None
    if risks is not None and len(risks):
        by_sample = risks.set_index("sample_id").reindex(index)
        scores.append(_score("risk", by_sample["risk"]))
        reasons = _words(by_sample["reason"].fillna(""))
    prefix, paths = _paths(list(index), list(predictions["path"]))
    return {
        "run": run.name,
        "labels": labels,
        "statuses": [statuses.get(label, "") for label in labels],
        "methods": [_method_facts(method) for method in methods],
        "ids": list(index),
        "prefix": prefix,
        "paths": paths,
        "split": _words(predictions["split"]),
        "label": _places(predictions["label"], labels),
        "predicted": _places(predictions["predicted"], labels),
        "scores": scores,
        "reasons": reasons,
        "confounds": _presence(run, index),
    }


def _method_facts(method: str) -> dict[str, Any]:
    """What the page needs to draw a method's maps: red, green and blue of its colours in [0, 1], weak to strong."""
    shades = colors(np.linspace(0, 1, _N_COLORS), published(method).color_map) / 255
    return {"name": method, "colors": np.round(shades.T, 3).tolist()}


def _of_method(run: AuditRun, index: pd.Index, method: str) -> dict[str, Any]:
    """The columns of one method."""
    rows = _rows_of(run, "attributions", method).set_index("sample_id").reindex(index)
    numbers = [_score(name, rows[name]) for name in _floats(rows) if rows[name].notna().any()]
    confounds = _rows_of(run, "confounds", method)
    confounds = confounds[confounds["present"]] if len(confounds) else confounds
    on_things = []
    for name in _confound_names(run):
        own = confounds[confounds["confound"] == name]
        on_things.append(
            {
                "at": index.get_indexer(own["sample_id"]).tolist(),
                "mass": _thousandths(own["mass_inside"]),
                "area": _thousandths(own["area_inside"]),
            }
        )
    words = {name: _words(rows[name].fillna("")) for name in ("shared_interest_case", "status", "reason")}
    return {"scores": numbers, "confounds": on_things, **words}


def _presence(run: AuditRun, index: pd.Index) -> list[dict[str, Any]]:
    """Each confound with the places of the samples that show it."""
    table = run.tables.get("confounds")
    found = []
    for name in _confound_names(run):
        assert table is not None
        shown = table[(table["confound"] == name) & table["present"]]["sample_id"].unique()
        places = index.get_indexer(shown)
        found.append({"name": name, "at": sorted(places[places >= 0].tolist())})
    return found


def _confound_names(run: AuditRun) -> list[str]:
    table = run.tables.get("confounds")
    return [] if table is None else sorted(table["confound"].unique())


def _tiles(drawn: Sequence[Sheet], predictions: pd.DataFrame, methods: Sequence[str]) -> dict[str, Any]:
    """Where each sample's small pictures are: sheet and tile, -1 where it has none."""
    places = _drawn_ids(drawn, predictions)
    at = [places.get(sample_id, (-1, -1)) for sample_id in predictions["sample_id"]]
    height, width = drawn[0].shape if drawn else (1, 1)
    kinds = (sheets.PHOTO, sheets.THINGS, *methods)  # the order in which the page looks for them
    return {
        "sheet": [sheet for sheet, _ in at],
        "tile": [tile for _, tile in at],
        "sheets": [
            [-(-len(sheet.sample_ids) // sheets.COLUMNS), *_sheet_files(sheet, kinds)] for sheet in drawn
        ],
        "columns": sheets.COLUMNS,
        "margin": sheets.MARGIN,
        "long": [sheets.PHOTO_PIXELS, sheets.MAP_PIXELS],
        "shape": [height, width],
    }


def _sheet_files(sheet: Sheet, kinds: Iterable[str]) -> list[str | None]:
    """The file of each kind of picture, None where the sheet has none."""
    names = list(sheet.pictures)
    return [f"{FOLDER}/{_file_name(sheet, names.index(kind))}" if kind in names else None for kind in kinds]


def _file_name(sheet: Sheet, number: int) -> str:
    """By the sheet's own name: nothing of the data gets into a path."""
    return f"{sheet.name}-{number}.{'webp' if number else 'jpg'}"


def _drawn_ids(drawn: Sequence[Sheet], predictions: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """(sheet, tile) of each sample whose picture is of the file that was scored."""
    return sheets.places(drawn, dict(zip(predictions["sample_id"], predictions["digest"], strict=True)))


def _csv_table(run: AuditRun) -> pd.DataFrame:
    """A row for each sample and method, with a column for the mass on each confound."""
    table = run.tables["predictions"].drop(columns="digest")
    risks, attributions = run.tables.get("risks"), run.tables.get("attributions")
    if risks is not None:
        table = table.merge(risks, on="sample_id", how="left", validate="one_to_one")
    if attributions is None:
        return table
    table = table.merge(
        attributions, on="sample_id", how="left", validate="one_to_many", suffixes=("", "_of_map")
    )
    confounds = run.tables.get("confounds")
    if confounds is None or confounds.empty:
        return table
    masses = confounds[confounds["present"]].pivot(
        index=["sample_id", "method"], columns="confound", values="mass_inside"
    )
    masses = masses.rename(columns=lambda name: f"mass_on {name}").reset_index()
    return table.merge(masses, on=["sample_id", "method"], how="left", validate="one_to_one")


def _floats(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table.select_dtypes("float64").columns]


def _score(name: str, values: pd.Series) -> dict[str, Any]:
    """A column of numbers, null where a sample has none."""
    if name not in _UNBOUNDED:
        return {"name": name, "scale": 1000, "values": _thousandths(values)}
    short = [None if np.isnan(value) else float(f"{value:.4g}") for value in values.to_numpy()]
    return {"name": name, "scale": 1, "values": short}


def _thousandths(values: pd.Series) -> list[int | None]:
    numbers = values.to_numpy(dtype=np.float64)
    is_missing = np.isnan(numbers)
    whole = np.rint(1000 * np.where(is_missing, 0.0, numbers)).astype(np.int64).astype(object)
    whole[is_missing] = None
    return list(whole)


def _words(values: pd.Series) -> dict[str, Any]:
    """A column of words that repeat: the words, and each row's place among them."""
    places, words = pd.factorize(values)
    return {"words": [str(word) for word in words], "at": places.tolist()}


def _places(values: pd.Series, labels: Sequence[str]) -> list[int]:
    place = {label: number for number, label in enumerate(labels)}
    return [place[value] for value in values]


def _paths(ids: Sequence[str], paths: Sequence[str]) -> tuple[str, list[str | int]]:
    """What all paths begin with, and the rest of each; 0 where the rest is the sample's id."""
    prefix = os.path.commonprefix(paths)  # noqa: RUF071  by letters is what is meant
    # An id is often a path from the dataset's folder on: the prefix ends where the ids begin.
    if ids and paths[0].endswith(ids[0]):
        prefix = prefix[: len(paths[0]) - len(ids[0])]
    rests = [path[len(prefix) :] for path in paths]
    return prefix, [0 if rest == sample_id else rest for rest, sample_id in zip(rests, ids, strict=True)]


def _script(values: Mapping[str, Any]) -> str:
    """A call of the page's function; its text is ASCII, and holds no `<` that could end a script."""
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    return f"{_CALL}({text.replace('<', chr(92) + 'u003c')});\n"
