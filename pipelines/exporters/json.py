"""A JSON list of records; what is missing is null."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.storage import write_text

__all__ = ["Json"]


@dataclass(frozen=True)
class Json:
    """Plain JSON without NaN, which JSON does not know."""

    def __call__(self, table: pd.DataFrame, path: Path) -> None:
        """Writes the table."""
        records = [
            {str(name): plain(value) for name, value in row.items()} for row in table.to_dict("records")
        ]
        write_text(path, json.dumps(records, ensure_ascii=False, allow_nan=False, indent=1) + "\n")


def plain(value: Any) -> Any:
    """A cell as JSON has it."""
    if isinstance(value, list | np.ndarray):
        return list(value)
    return None if pd.isna(value) else value
