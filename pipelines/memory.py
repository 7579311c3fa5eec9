"""What later phases computed, by the digest of everything that it was computed from; kept by a run for the next ones.

The scores of samples are tables, and a later run takes them over whole (see `incremental`). What is computed in the
phases after them belongs to one sample and one question, and is kept here: the regions that a search saw on a picture,
the rows of one intervention, the maps of an exemplar. An entry is found by its key alone, so it cannot be one of other
settings; one whose bytes are damaged counts as missing. A hit in an earlier run is copied, so that runs may be deleted.
"""

import contextlib
import hashlib
import io
import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.storage import digest

FILE = "results.db"
_SCHEMA = "CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, value BLOB)"
_AT_ONCE = 500
"""Keys in one question to the database, which takes at most some thousand."""
_CHECKED = 32
"""Bytes of the SHA-256 before each value."""


@dataclass(frozen=True)
class Memory:
    """A run's memory, and that of the earlier run that it may look into.

    Attributes:
        path: SQLite file of this run; workers share it.
        earlier: the same of an earlier run, which is only read; None looks into none.
    """

    path: Path
    earlier: Path | None = None

    def recall(self, keys: Iterable[str]) -> dict[str, bytes]:
        """What is known, by key; keys of nothing known are left out."""
        wanted = list(dict.fromkeys(keys))
        found = _read(self.path, wanted)
        missing = [key for key in wanted if key not in found]
        if self.earlier is not None and missing:
            old = _read(self.earlier, missing)
            self.keep(old)
            found |= old
        return found

    def keep(self, values: Mapping[str, bytes]) -> None:
        """Remembers values; a memory that cannot be written forgets, which costs time and nothing else."""
        rows = [(key, hashlib.sha256(value).digest() + value) for key, value in values.items()]
        if not rows:
            return
        with contextlib.suppress(sqlite3.Error, OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write(rows)

    def _write(self, rows: list[tuple[str, bytes]]) -> None:
        with contextlib.closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
            connection.execute(_SCHEMA)
            connection.executemany("INSERT OR REPLACE INTO results VALUES (?, ?)", rows)


def key_of(question: str, *parts: Any) -> str:
    """The key of an answer: what was asked, and everything that it depends on (JSON values)."""
    return digest([question, *parts])


def records_of(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table with None for what is missing, in numbers and in words."""
    records: list[dict[str, Any]] = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return records


def rows_to_bytes(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows of a table (numbers, words, truth values, None) as bytes; every float comes back as it was."""
    plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
    return json.dumps(plain).encode()


def rows_from_bytes(value: bytes) -> list[dict[str, Any]]:
    """The rows of `rows_to_bytes`."""
    rows: list[dict[str, Any]] = json.loads(value)
    return rows


def arrays_to_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Named arrays as bytes."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def arrays_from_bytes(value: bytes) -> dict[str, np.ndarray]:
    """The arrays of `arrays_to_bytes`."""
    with np.load(io.BytesIO(value), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _read(path: Path, keys: list[str]) -> dict[str, bytes]:
    """The undamaged values of a database, by key; none where it is missing or no database."""
    found: dict[str, bytes] = {}
    if not path.exists():
        return found
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=60)
        ) as connection,
    ):
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            asked = connection.execute(f"SELECT key, value FROM results WHERE key IN ({marks})", some)
            for key, stored in asked:
                value = stored[_CHECKED:]
                if hashlib.sha256(value).digest() == stored[:_CHECKED]:
                    found[key] = value
    return found
