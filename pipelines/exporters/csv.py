"""Comma-separated values that a spreadsheet opens without running what a file name tells it to."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipelines.storage import write_text
from reports.csv_text import csv_text

__all__ = ["Csv"]


@dataclass(frozen=True)
class Csv:
    """Words that a spreadsheet would take for a formula get a leading apostrophe; lists become JSON."""

    def __call__(self, table: pd.DataFrame, path: Path) -> None:
        """Writes the table."""
        write_text(path, csv_text(table))
