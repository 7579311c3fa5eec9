"""A table of samples, CSV or Parquet: `path,label[,split,mask_path,boxes,regions,sample_id,...]`.

Paths are relative to the table (image paths to `data.images`, if given).

mask_path   a mask file, or `annotations.json#image_id=7`: the objects of that image in a COCO file, those of
            the sample's label as foreground, those of every other category as regions; wins over boxes
boxes       JSON [[x0, y0, x1, y1], ...], foreground; `[]` says that somebody looked and found nothing
regions     JSON {"name": [[x0, y0, x1, y1], ...], ...}
<name>_xmin, <name>_ymin, <name>_xmax, <name>_ymax    a region; blank cells say that it was looked for and is
not there sample_id   or id; the path by default
Other columns are left alone.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit.types import Outline, Sample
from pipelines.config import DataConfig
from pipelines.images import ImageFault
from pipelines.readers._annotations import (
    TABLE_SUFFIXES,
    Fault,
    Root,
    checked_box,
    fault_of,
    finish,
    mask_file,
    mirrored_mask,
    read_rows,
    root_of,
)
from pipelines.readers.coco import CocoFile, read_coco

__all__ = ["Manifest"]

_ENDS = ("_xmin", "_ymin", "_xmax", "_ymax")
_REFERENCE = "#image_id="


@dataclass(frozen=True)
class Manifest:
    """Reads a table of samples.

    Attributes:
        config: `path` is the table; `images` the folder of the images if it is not the table's; `masks` the
            folder of masks for rows without mask_path.
    """

    config: DataConfig

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether `path` is a file that ends like a table."""
        return path.suffix.lower() in TABLE_SUFFIXES and path.is_file()

    def __call__(self) -> Iterator[Sample | Fault]:
        """One sample for each row; a row whose annotation is malformed is a Fault.

        Raises:
            DatasetError: unreadable table, missing column, a path that leaves the dataset, a repeated sample.
        """
        rows = read_rows(self.config.path, ("path", "label"))
        here = self.config.path.absolute().parent
        images = root_of(self.config.images or here, self.config)
        table = _Table(self.config, images, root_of(here, self.config), _region_columns(rows))
        return finish((table.entry(number, row) for number, row in enumerate(rows, start=1)), self.config)


@dataclass(frozen=True)
class _Table:
    """What the rows of one table share; COCO files are parsed once."""

    config: DataConfig
    images: Root
    annotations: Root
    region_names: tuple[str, ...]
    _coco_files: dict[Path, CocoFile] = field(default_factory=dict)

    def entry(self, number: int, row: Mapping[str, str]) -> Sample | Fault:
        """Row `number`, counted from 1, as a sample, or what is wrong with it."""
        where = f"{self.config.path}: row {number}"
        given_id = row.get("sample_id") or row.get("id")
        if not row["path"]:
            return Fault(
                given_id or f"row {number}",
                "",
                row["label"],
                "missing path",
                f"{where} has no path",
                row.get("split", ""),
            )
        path = self.images.locate(row["path"], where)
        sample = Sample(
            given_id or self.images.sample_id(path), str(path), row["label"], row.get("split", "")
        )
        try:
            if not sample.label:
                raise ImageFault("missing label", f"{where} has no label")
            foreground, others = self._foreground(row, path, where)
            regions = {**others, **_regions(row), **_column_regions(row, self.region_names)}
        except ImageFault as fault:
            return fault_of(
                sample,
                ImageFault(
                    fault.reason, fault.detail if where in fault.detail else f"{where}: {fault.detail}"
                ),
            )
        return Sample(sample.sample_id, sample.image_path, sample.label, sample.split, foreground, regions)

    def _foreground(
        self, row: Mapping[str, str], path: Path, where: str
    ) -> tuple[Outline, dict[str, Outline]]:
        """The foreground of a row, and the regions that came with it."""
        reference, has_id, image_id = row.get("mask_path", "").partition(_REFERENCE)
        if has_id:
            return self._coco(self.annotations.locate(reference, where)).split_by_label(
                image_id, row["label"]
            )
        if reference:
            return mask_file(self.annotations.locate(reference, where), self.config), {}
        if self.config.masks:
            relative = (
                path.relative_to(self.images.path)
                if path.is_relative_to(self.images.path)
                else Path(path.name)
            )
            return mask_file(mirrored_mask(self.config.masks, relative), self.config), {}
        return (_boxes(_json(row["boxes"], "boxes")) if row.get("boxes") else Outline()), {}

    def _coco(self, path: Path) -> CocoFile:
        if path not in self._coco_files:
            self._coco_files[path] = read_coco(path, self.config.labels)
        return self._coco_files[path]


def _region_columns(rows: list[dict[str, str]]) -> tuple[str, ...]:
    """Names of the regions that have all four columns."""
    columns = list(rows[0]) if rows else []
    starts = [
        column.removesuffix(_ENDS[0])
        for column in columns
        if column.endswith(_ENDS[0]) and column != _ENDS[0]
    ]
    return tuple(name for name in starts if all(name + end in columns for end in _ENDS))


def _column_regions(row: Mapping[str, str], names: tuple[str, ...]) -> dict[str, Outline]:
    regions = {}
    for name in names:
        cells = [row[name + end] for end in _ENDS]
        boxes = (checked_box(cells),) if any(cells) else ()
        regions[name] = Outline(boxes=boxes, is_known=True)
    return regions


def _regions(row: Mapping[str, str]) -> dict[str, Outline]:
    """The column `regions`."""
    if not row.get("regions"):
        return {}
    named = _json(row["regions"], "regions")
    if not isinstance(named, dict):
        raise ImageFault(
            "malformed annotation",
            f'expected regions as {{"name": [[x0, y0, x1, y1], ...]}}, found {named!r}',
        )
    return {str(name): _boxes(boxes) for name, boxes in named.items()}


def _boxes(values: Any) -> Outline:
    if not isinstance(values, list):
        raise ImageFault(
            "malformed annotation", f"expected boxes as [[x0, y0, x1, y1], ...], found {values!r}"
        )
    return Outline(boxes=tuple(checked_box(value) for value in values), is_known=True)


def _json(cell: str, column: str) -> Any:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise ImageFault(
            "malformed annotation", f"expected JSON in the column {column}, found {cell[:80]!r}"
        ) from None
