"""A table with a picture in each row, as labelling tools see it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from audit.errors import ConfigError
from audit.types import Box
from pipelines.exporters.json import plain

_TAKEN = ("path", "label", "likely", "predicted", "confidence", "regions")


@dataclass(frozen=True)
class PictureRow:
    """One row.

    Attributes:
        path: absolute, where the picture's file is.
        label: class name the dataset gives it; None where nobody labelled it.
        suggested: class name it probably is, with its chance; None where the label is known.
        predicted: the model's answer, with its confidence.
        regions: (name, box) of things on it, the box as shares of width and height.
        words: every other column.
    """

    path: Path
    label: str | None
    suggested: tuple[str, float] | None
    predicted: tuple[str, float] | None
    regions: tuple[tuple[str, Box], ...]
    words: Mapping[str, Any]


def picture_rows(table: pd.DataFrame, form: str) -> Iterator[PictureRow]:
    """The rows of a table that has the column `path`.

    Raises:
        ConfigError: it has none.
    """
    if "path" not in table.columns:
        raise ConfigError(
            f"--format {form}: expected a table with a picture in each row, such as findings, predictions or a list "
            f"of suggest; found the columns {', '.join(map(str, table.columns))}"
        )
    for row in table.to_dict("records"):
        is_suggested = "likely" in row
        yield PictureRow(
            path=Path(row["path"]).absolute(),
            label=None if is_suggested else row.get("label"),
            suggested=(row["label"], float(row["likely"])) if is_suggested else None,
            predicted=(row["predicted"], float(row["confidence"])) if "predicted" in row else None,
            regions=_regions(row),
            words={str(name): plain(value) for name, value in row.items() if name not in _TAKEN},
        )


def _regions(row: Mapping[Any, Any]) -> tuple[tuple[str, Box], ...]:
    """What the column `regions` names, or the one box that the row itself is about, called by its kind."""
    if not pd.isna(row.get("x0")):
        return ((row["kind"], (row["x0"], row["y0"], row["x1"], row["y1"])),)
    return tuple((one["name"], tuple(one["box"])) for one in map(json.loads, row.get("regions", ())))
