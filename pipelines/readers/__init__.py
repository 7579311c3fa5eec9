"""Dataset readers, one file each; the file name is the name users type in `data.reader`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from audit.types import Sample

if TYPE_CHECKING:
    from pipelines.config import DataConfig
    from pipelines.readers._annotations import Fault


class Reader(Protocol):
    """A frozen dataclass with one field, the `[data]` section; its paths are resolved by the configuration."""

    config: "DataConfig"

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether `path` plainly is of this format, so that `data.reader` need not be given."""
        ...

    def __call__(self) -> "Iterator[Sample | Fault]":
        """The samples in a stable order, by reference, and what cannot be one; no image is opened.

        Raises:
            DatasetError: the dataset as a whole cannot be read.
        """
        ...
