"""One table of a run as one file; the file's ending is the choice, each file here writes one."""

from pathlib import Path
from typing import Protocol

import pandas as pd


class Exporter(Protocol):
    """A function-like dataclass."""

    def __call__(self, table: pd.DataFrame, path: Path) -> None:
        """Writes the table."""
        ...
