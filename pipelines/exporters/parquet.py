"""Parquet, as the run keeps it."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

__all__ = ["Parquet"]


@dataclass(frozen=True)
class Parquet:
    """Types are kept."""

    def __call__(self, table: pd.DataFrame, path: Path) -> None:
        """Writes the table."""
        table.to_parquet(path, index=False)
