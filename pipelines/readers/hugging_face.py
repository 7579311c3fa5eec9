"""A Hugging Face image folder: images with `metadata.csv`, `.jsonl` or `.parquet` in each split's folder.

    photos/train/metadata.csv: file_name,label[,mask_file_name][,objects]

`file_name` is relative to the table. `label` may also be called `class`, `category` or `text`; `mask_file_name`, or
another second column of image files, is the foreground. `objects` as in object detection, {"bbox": [[x, y, width,
height], ...], "categories": [name, ...]}, gives boxes; which of them is the label: see `_objects.py`. A folder per
class without metadata is read by `image_folder`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audit.errors import DatasetError
from audit.types import Outline, Sample
from pipelines.config import DataConfig
from pipelines.images import ImageFault
from pipelines.readers._annotations import (
    METADATA,
    Fault,
    Root,
    checked_box,
    fault_of,
    finish,
    mask_file,
    read_rows,
    root_of,
)
from pipelines.readers._objects import Thing, with_objects

__all__ = ["HuggingFace"]

_LABELS = ("label", "class", "category", "text")
_MASKS = ("mask_file_name", "mask", "segmentation_file_name")


@dataclass(frozen=True)
class HuggingFace:
    """Reads an image folder with metadata.

    Attributes:
        config: `path` is the folder that holds the metadata, or the splits that do; `masks` replace the foreground.
    """

    config: DataConfig

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether `path` or a folder in it has a metadata table."""
        return bool(_tables(path))

    def __call__(self) -> Iterator[Sample | Fault]:
        """One sample for each row of each table.

        Raises:
            DatasetError: no table, an unreadable one, or one without file names.
        """
        root = root_of(self.config.path, self.config)
        tables = _tables(root.path)
        if not tables:
            raise DatasetError(
                f"{root.path}: expected {' or '.join(METADATA)} in it or in its splits, found none"
            )
        return finish((entry for table in tables for entry in self._entries(table, root)), self.config)

    def _entries(self, table: Path, root: Root) -> Iterator[Sample | Fault]:
        rows = _rows(table)
        label = next((name for name in _LABELS if name in rows[0]), None)
        if label is None and "objects" not in rows[0]:
            raise DatasetError(
                f"{table}: expected a column {', '.join(_LABELS[:-1])} or objects, found {', '.join(rows[0])}"
            )
        split = "" if table.parent == root.path else table.parent.name
        folder = root_of(table.parent, self.config)
        for number, row in enumerate(rows, start=1):
            yield self._entry(row, label, f"{table}: row {number}", folder, root, split)

    def _entry(
        self, row: Mapping[str, str], label: str | None, where: str, folder: Root, root: Root, split: str
    ) -> Sample | Fault:
        if not row["file_name"]:
            return Fault(where, "", "", "missing path", f"{where} has no file_name", split)
        path = folder.locate(row["file_name"], where)
        stated = (row[label] or None) if label else None
        sample = Sample(root.sample_id(path), str(path), stated, row.get("split") or split)
        try:
            things = _things(row.get("objects", ""))
        except ImageFault as fault:
            return fault_of(sample, ImageFault(fault.reason, f"{where}: {fault.detail}"))
        found = with_objects(sample, things, {thing.name for thing in things}, None, self.config, where)
        mask = next((row[name] for name in _MASKS if row.get(name)), None)
        if isinstance(found, Fault) or mask is None or self.config.masks:
            return found
        return replace(found, foreground=mask_file(folder.locate(mask, where), self.config))


def _tables(path: Path) -> list[Path]:
    """The metadata tables in `path`, else in its folders."""
    own = [path / name for name in METADATA if (path / name).is_file()]
    if own or not path.is_dir():
        return own
    folders = sorted(
        folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith(".")
    )
    return [folder / name for folder in folders for name in METADATA if (folder / name).is_file()]


def _rows(table: Path) -> list[dict[str, str]]:
    """The rows of a table as text."""
    if table.suffix != ".jsonl":
        return read_rows(table, ("file_name",))
    rows = []
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, start=1):
            if line.strip():
                record = json.loads(line)
                if not isinstance(record, dict) or "file_name" not in record:
                    raise ValueError(f"line {number} without file_name")
                rows.append({str(key): _text(value) for key, value in record.items()})
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"{table}: expected one JSON object with file_name a line, found {error}"
        ) from None
    if not rows:
        raise DatasetError(f"{table}: expected one line per sample, found none")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name, "") for name in columns} for row in rows]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def _things(cell: str) -> list[Thing]:
    """The objects of a cell; none where it is empty."""
    if not cell:
        return []
    try:
        record = json.loads(cell)
        boxes, names = record["bbox"], record.get("categories", record.get("category"))
        pairs = list(zip(boxes, names, strict=True))
        sizes = [tuple(float(value) for value in box) for box, _ in pairs]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ImageFault(
            "malformed annotation",
            f'expected objects as {{"bbox": [[x, y, width, height], ...], "categories": [...]}}, found {cell[:80]!r}',
        ) from None
    things = []
    for (_, name), size in zip(pairs, sizes, strict=True):
        if len(size) != 4:
            raise ImageFault(
                "malformed annotation", f"expected a bbox of x, y, width, height, found {list(size)}"
            )
        x, y, width, height = size
        box = checked_box((x, y, x + width, y + height))
        things.append(Thing(str(name), Outline(boxes=(box,)), width * height))
    return things
