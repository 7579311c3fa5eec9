"""Comma-separated values that a spreadsheet opens without running what a file name tells it to."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.storage import write_text

__all__ = ["Csv"]

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Csv:
    """Words that a spreadsheet would take for a formula get a leading apostrophe; lists become JSON."""

    def __call__(self, table: pd.DataFrame, path: Path) -> None:
        """Writes the table."""
        columns = {
            name: table[name]
            if pd.api.types.is_numeric_dtype(table[name])
            else [_cell(value) for value in table[name]]
            for name in table.columns
        }
        write_text(path, pd.DataFrame(columns, columns=list(table.columns)).to_csv(index=False))


def _cell(value: Any) -> Any:
    if isinstance(value, list | np.ndarray):
        value = json.dumps(list(value), ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
