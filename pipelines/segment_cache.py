"""XRAI's segments on disk: found once for each image, reused by every model and every run."""

import os
import tempfile
import zipfile
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from audit.attributions._segments import Segments
from pipelines.storage import storing

_UNREADABLE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)
_NAMES = tuple(one.name for one in fields(Segments))


@dataclass(frozen=True, eq=False)
class SegmentCache(MutableMapping[str, Segments]):
    """Segments by digest, one compressed file each (some 70 kB); several processes may share a folder.

    A file is written under another name and renamed, so it exists whole or not at all. One that cannot be
    read counts as missing and is written anew.

    Attributes:
        folder: made on the first write.
    """

    folder: Path

    def __getitem__(self, key: str) -> Segments:
        try:
            with np.load(self._path(key)) as arrays:
                return Segments(**{name: arrays[name].astype(np.int32) for name in _NAMES})
        except _UNREADABLE as error:
            raise KeyError(key) from error

    def __setitem__(self, key: str, found: Segments) -> None:
        path = self._path(key)
        arrays = {name: getattr(found, name) for name in _NAMES}
        compact = {name: values.astype(np.min_scalar_type(values.max())) for name, values in arrays.items()}
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
            try:
                with os.fdopen(handle, "wb") as file:
                    np.savez_compressed(file, **compact)
                Path(partial).replace(path)
            except BaseException:
                Path(partial).unlink(missing_ok=True)
                raise

    def __delitem__(self, key: str) -> None:
        try:
            self._path(key).unlink()
        except FileNotFoundError:
            raise KeyError(key) from None

    def __iter__(self) -> Iterator[str]:
        return (path.stem for path in sorted(self.folder.glob("*/*.npz")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _path(self, key: str) -> Path:
        """The file of a key; the first two characters name a subfolder, so that no folder holds all files."""
        if not key.isalnum():
            raise KeyError(key)
        return self.folder / key[:2] / f"{key}.npz"
