"""A table as comma-separated values that a spreadsheet opens without running what a file name tells it to."""

import json
from typing import Any

import numpy as np
import pandas as pd

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def csv_text(table: pd.DataFrame, number: str | None = None) -> str:
    """The table as CSV: words that a spreadsheet would take for a formula get a leading apostrophe, lists are JSON.

    Args:
        table: any columns.
        number: how a float is written, such as "%.6g"; None writes all its digits.
    """
    columns = {
        name: table[name]
        if pd.api.types.is_numeric_dtype(table[name])
        else [_cell(value) for value in table[name]]
        for name in table.columns
    }
    # What columns are called comes from the data too, where a confound has its own.
    made = pd.DataFrame(columns, columns=list(table.columns)).rename(columns=_cell)
    # Only with this end of a line does the writer quote cells that hold a carriage return.
    return str(made.to_csv(index=False, float_format=number, lineterminator="\r\n"))


def _cell(value: Any) -> Any:
    if isinstance(value, list | np.ndarray):
        value = json.dumps(list(value), ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
