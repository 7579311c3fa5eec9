"""What readers share: rows of tables, safe paths, ids, mask files, checked shapes, and the last step."""

import csv
import json
import math
import ntpath
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from audit.errors import DatasetError
from audit.types import Box, MaskFile, Outline, Sample
from pipelines.config import DataConfig
from pipelines.images import ImageFault, place_of

# HEIC cannot be decoded here: such files are named and quarantined instead of being passed over in silence.
IMAGE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".apng",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".avif",
        ".ppm",
        ".pgm",
        ".heic",
        ".heif",
    }
)
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Tables that make an image folder one of Hugging Face's."""
_N_SHOWN = 10
_FARTHEST = 1e9


@dataclass(frozen=True)
class Fault:
    """A sample that cannot be audited, and why: a row of the table `quarantine`.

    Attributes:
        sample_id: the sample.
        path: image file.
        label: class name the dataset gives it; empty where it gives none.
        reason: kind of fault, in a few words.
        detail: what was expected, what was found.
        split: of the dataset.
    """

    sample_id: str
    path: str
    label: str
    reason: str
    detail: str
    split: str = ""


def fault_of(sample: Sample, fault: ImageFault) -> Fault:
    """The quarantine row of a sample that met `fault`."""
    return Fault(
        sample.sample_id, sample.image_path, sample.label or "", fault.reason, fault.detail, sample.split
    )


@dataclass(frozen=True)
class Root:
    """The folder that a dataset's paths are relative to and may not leave.

    Attributes:
        path: absolute folder.
        allow_outside: the user accepts paths that leave it.
    """

    path: Path
    allow_outside: bool = False
    _parents: dict[Path, bool] = field(default_factory=dict, repr=False, compare=False)

    def locate(self, name: str, where: str) -> Path:
        """The file that the dataset calls `name`; `where` names the annotation for the message.

        Raises:
            DatasetError: an absolute path, one with NUL, or one that leaves the folder, also by a symbolic
                link.
        """
        if "\0" in name:
            raise DatasetError(f"{where}: expected a path, found {name!r} with a NUL character")
        path = Path(os.path.normpath(self.path / name))
        if self.allow_outside:
            return path
        if (
            Path(name).is_absolute()
            or ntpath.isabs(name)
            or not path.is_relative_to(self.path)
            or self._leaves(path)
        ):
            raise DatasetError(
                f"{where}: expected a path inside {self.path}, found {name!r}; "
                "if it may lie elsewhere, set data.allow_outside = true"
            )
        return path

    def sample_id(self, path: Path) -> str:
        """The path relative to the folder, with slashes; bytes that are not UTF-8 are written as \\xNN."""
        name = path.relative_to(self.path) if path.is_relative_to(self.path) else path
        return os.fsencode(name.as_posix()).decode("utf-8", "backslashreplace")

    def _leaves(self, path: Path) -> bool:
        """Whether symbolic links lead out of the folder; the answer for a parent folder is kept."""
        here, path = _real(self.path), place_of(path)[0]
        if path.parent not in self._parents:
            self._parents[path.parent] = not _real(path.parent).is_relative_to(here)
        return self._parents[path.parent] or (path.is_symlink() and not _real(path).is_relative_to(here))


def _real(path: Path) -> Path:
    """The path without symbolic links; of links that lead in a circle what is left, where Path.resolve raises."""
    return Path(os.path.realpath(path))


def root_of(folder: Path, config: DataConfig) -> Root:
    """`folder` as the root of a dataset."""
    return Root(Path(os.path.normpath(folder.absolute())), config.allow_outside)


def mask_file(path: Path, config: DataConfig) -> Outline:
    """A mask file with the values that the configuration gives a meaning."""
    return Outline(mask=MaskFile(str(path), tuple(config.mask_foreground), tuple(config.mask_ignore)))


def mirrored_mask(folder: Path, relative: PurePath) -> Path:
    """The mask in `folder` for an image at `relative`: PNG, or else the image's own suffix."""
    as_png = folder / relative.with_suffix(".png")
    same = folder / relative
    return same if not as_png.exists() and same.exists() else as_png


def checked_box(values: Any) -> Box:
    """A box (x0, y0, x1, y1) in pixels of its frame.

    Raises:
        ImageFault: not four finite numbers, or not from left to right and top to bottom.
    """
    numbers = checked_numbers(values, "a box is (x0, y0, x1, y1)")
    if len(numbers) != 4:
        raise ImageFault("malformed annotation", f"expected a box (x0, y0, x1, y1), found {values!r}")
    x0, y0, x1, y1 = numbers
    if x0 >= x1 or y0 >= y1:
        raise ImageFault(
            "malformed annotation",
            f"expected a box with x0 < x1 and y0 < y1, found ({x0:g}, {y0:g}, {x1:g}, {y1:g})",
        )
    return x0, y0, x1, y1


def checked_polygon(values: Any) -> tuple[float, ...]:
    """A polygon (x0, y0, x1, y1, ...) in pixels of its frame.

    Raises:
        ImageFault: not an even count, of at least six, of finite numbers.
    """
    numbers = checked_numbers(values, "a polygon is (x0, y0, x1, y1, ...)")
    if len(numbers) < 6 or len(numbers) % 2:
        raise ImageFault(
            "malformed annotation",
            f"expected a polygon of an even count of at least 6 numbers, found {len(numbers)}",
        )
    return numbers


def read_rows(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a CSV, TSV or Parquet table as text; a missing cell is empty, Parquet's lists are JSON.

    Raises:
        DatasetError: unreadable, without rows or one of the `needed` columns, or a label that is not UTF-8.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: expected a table of samples, found no such file")
    try:
        columns, rows = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    except (OSError, ValueError, csv.Error) as error:  # pyarrow's errors are ValueErrors
        raise DatasetError(f"{path}: cannot be read as a table: {' '.join(str(error).split())}") from None
    missing = [name for name in needed if name not in columns]
    if missing:
        raise DatasetError(
            f"{path}: expected the columns {', '.join(needed)}, found {', '.join(columns) or 'none'}; "
            f"missing: {', '.join(missing)}"
        )
    if not rows:
        raise DatasetError(f"{path}: expected one row per sample, found the header alone")
    for row in rows:
        if any("\udc80" <= character <= "\udcff" for character in row.get("label", "")):
            raise DatasetError(
                f"{path}: expected UTF-8, found other bytes in the label {row['label']!r}; save it as UTF-8"
            )
    return rows


def finish(entries: Iterable[Sample | Fault], config: DataConfig) -> Iterator[Sample | Fault]:
    """The entries of the wanted splits with the model's class names, sorted by id.

    Raises:
        DatasetError: no sample at all, an unknown split, a repeated id or image; the message lists the first
            ten.
    """
    found = list(entries)
    if not found:
        raise DatasetError(f"{config.path}: expected labelled images, found none")
    wanted = _of_splits(found, config)
    _check_unique(wanted, config)
    return iter(sorted((_renamed(entry, config) for entry in wanted), key=lambda entry: entry.sample_id))


def _read_csv(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows; a row with more cells than columns would lose some, so it is refused."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    # Bytes that are not UTF-8 come back as the file system gives them, so that such file names can be opened.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        reader = csv.reader(lines, delimiter=delimiter)
        columns = [name.strip() for name in next(reader, [])]
        rows = []
        for cells in reader:
            if len(cells) > len(columns):
                raise ValueError(
                    f"line {reader.line_num} has {len(cells)} cells for {len(columns)} columns; "
                    "a cell with commas stands in quotation marks"
                )
            if cells:
                padded = cells + [""] * (len(columns) - len(cells))
                rows.append({name: cell.strip() for name, cell in zip(columns, padded, strict=True)})
    return columns, rows


def _read_parquet(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    table = pd.read_parquet(path)
    columns = [str(name).strip() for name in table.columns]
    cells = [[_text(value) for value in table.iloc[:, index]] for index in range(len(columns))]
    return columns, [dict(zip(columns, row, strict=True)) for row in zip(*cells, strict=True)]


def _text(value: Any) -> str:
    """A cell of a Parquet table as text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | dict):
        return json.dumps(value, default=lambda nested: nested.tolist())
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def checked_numbers(values: Any, form: str) -> tuple[float, ...]:
    """Finite numbers of an annotation, of which `form` says in a few words what they are.

    Raises:
        ImageFault: they are something else.
    """
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ImageFault("malformed annotation", f"{form}, found {values!r}")
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise ImageFault("malformed annotation", f"{form} of numbers, found {values!r}") from None
    if not all(abs(number) < _FARTHEST for number in numbers):  # false for NaN
        raise ImageFault("malformed annotation", f"{form} of finite numbers, found {values!r}")
    return numbers


def _of_splits(entries: list[Sample | Fault], config: DataConfig) -> list[Sample | Fault]:
    if config.splits is None:
        return entries
    known = Counter(entry.split for entry in entries)
    unknown = [split for split in config.splits if split not in known]
    if unknown:
        there = ", ".join(repr(split) for split in sorted(known) if split) or "no splits at all"
        raise DatasetError(f"{config.path}: expected the split {unknown[0]!r} of data.splits, found {there}")
    return [entry for entry in entries if entry.split in config.splits]


def _check_unique(entries: list[Sample | Fault], config: DataConfig) -> None:
    """Refuses an id that occurs twice, and an image that occurs twice with one label."""
    labels_of: dict[str, list[str]] = defaultdict(list)
    times: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        labels_of[entry.sample_id].append(entry.label or "")
        if isinstance(entry, Sample):
            times[entry.image_path, entry.label or ""] += 1
    doubled = [
        f"{sample_id!r} ({len(labels)} times, {' and '.join(sorted(set(labels)))})"
        for sample_id, labels in labels_of.items()
        if len(labels) > 1
    ]
    doubled = doubled or [f"{path!r} ({n} times, {label})" for (path, label), n in times.items() if n > 1]
    if doubled:
        raise DatasetError(
            f"{config.path}: expected every sample once, found {len(doubled)} repeated: "
            f"{', '.join(doubled[:_N_SHOWN])}; "
            "remove the repetitions, or give every (image, label) pair an id of its own in a column sample_id"
        )


def _renamed(entry: Sample | Fault, config: DataConfig) -> Sample | Fault:
    return replace(entry, label=config.labels[entry.label]) if entry.label in config.labels else entry
