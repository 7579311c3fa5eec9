"""YOLO: `data.yaml` with a text file of objects for each image; boxes (detect) and polygons (segment), also mixed.

    data.yaml: path, train, val, test (folders, lists of them, or text files of image paths), names
    images/train/1.jpg -> labels/train/1.txt:  class x_centre y_centre width height
                                               class x0 y0 x1 y1 x2 y2 ...

Coordinates are shares of the upright image. An image without a text file has no objects, as the format has it. Which
object is the label: see `_objects.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from audit.errors import DatasetError
from audit.types import Outline, Sample
from pipelines.config import DataConfig
from pipelines.images import ImageFault
from pipelines.readers._annotations import (
    IMAGE_SUFFIXES,
    Fault,
    Root,
    checked_box,
    checked_polygon,
    fault_of,
    finish,
    root_of,
)
from pipelines.readers._objects import Labels, Thing, labels_of, with_objects

__all__ = ["Yolo"]

_FILES = ("data.yaml", "data.yml", "dataset.yaml")
_SPLITS = ("train", "val", "test")
_SLACK = 1e-3
"""Coordinates may leave the image by so much: writers round to a few digits."""


@dataclass(frozen=True)
class Yolo:
    """Reads the dataset of a `data.yaml`.

    Attributes:
        config: `path` is the file or its folder; `manifest` the labels, if objects shall not decide; `masks` replace
            the foreground.
    """

    config: DataConfig

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether `path` is a YAML file, or a folder with a `data.yaml`."""
        if path.is_dir():
            return any((path / name).is_file() for name in _FILES)
        return path.suffix.lower() in (".yaml", ".yml") and path.is_file()

    def __call__(self) -> Iterator[Sample | Fault]:
        """One sample for each image of the splits, or for each that the manifest names.

        Raises:
            DatasetError: no such file, not YAML, without names or images, or a path that leaves the dataset.
        """
        file = self._file()
        contents = _parsed(file)
        names = _names(contents, file)
        root = self._root(contents, file)
        labels = labels_of(self.config)
        return finish(self._entries(contents, file, root, names, labels), self.config)

    def _file(self) -> Path:
        if not self.config.path.is_dir():
            return self.config.path
        there = [self.config.path / name for name in _FILES if (self.config.path / name).is_file()]
        if not there:
            raise DatasetError(f"{self.config.path}: expected {_FILES[0]} of a YOLO dataset, found none")
        return there[0]

    def _root(self, contents: Mapping[str, Any], file: Path) -> Root:
        """The dataset's folder: `path` beside the file where it exists, else the file's own folder."""
        here = root_of(file.parent, self.config)
        stated = str(contents.get("path") or ".")
        # `path` often is a place on the machine that trained, or relative to a folder of the trainer.
        is_elsewhere = Path(stated).is_absolute() and not self.config.allow_outside
        if is_elsewhere or Path(stated) == Path():
            return here
        folder = here.locate(stated, str(file))
        return root_of(folder if folder.is_dir() else here.path, self.config)

    def _entries(
        self,
        contents: Mapping[str, Any],
        file: Path,
        root: Root,
        names: Mapping[int, str],
        labels: Labels | None,
    ) -> Iterator[Sample | Fault]:
        splits = [split for split in _SPLITS if contents.get(split)]
        if not splits:
            raise DatasetError(
                f"{file}: expected train, val or test, found {', '.join(map(str, contents)) or 'nothing'}"
            )
        for split in splits:
            for path in _images(contents[split], split, file, root):
                row = labels.row(root.sample_id(path)) if labels else {}
                if row is not None:
                    yield self._entry(path, split, root, names, row)

    def _entry(
        self, path: Path, split: str, root: Root, names: Mapping[int, str], row: Mapping[str, str]
    ) -> Sample | Fault:
        sample_id = row.get("sample_id") or root.sample_id(path)
        sample = Sample(sample_id, str(path), row.get("label") or None, row.get("split") or split)
        file = _label_file(path, root)
        try:
            things = _things(file, names)
        except ImageFault as fault:
            return fault_of(sample, ImageFault(fault.reason, f"{file}: {fault.detail}"))
        return with_objects(sample, things, set(names.values()), None, self.config, str(file))


class _Plain(yaml.SafeLoader):  # type: ignore[misc]  # the package has no types
    """Values alone: a few nested aliases of YAML become more words than any memory holds once they are written out."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias, which a dataset's file has no use for")
        return super().compose_node(parent, index)


def _parsed(file: Path) -> Mapping[str, Any]:
    try:
        contents = yaml.load(file.read_bytes(), Loader=_Plain)
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DatasetError(f"{file}: expected YAML, found {' '.join(str(error).split())}") from None
    if not isinstance(contents, dict):
        raise DatasetError(
            f"{file}: expected keys such as train, val and names, found {type(contents).__name__}"
        )
    return contents


def _names(contents: Mapping[str, Any], file: Path) -> Mapping[int, str]:
    """Class names by number, of a list or of a table."""
    names = contents.get("names")
    pairs = enumerate(names) if isinstance(names, list) else names.items() if isinstance(names, dict) else ()
    try:
        found = {int(number): name for number, name in pairs}
    except (TypeError, ValueError):
        found = {}
    if not found or not all(isinstance(name, str | int | float) for name in found.values()):
        raise DatasetError(f"{file}: expected names, a list or a table number: name, found {str(names)[:80]}")
    return {number: str(name) for number, name in found.items()}


def _images(entry: Any, split: str, file: Path, root: Root) -> Iterator[Path]:
    """The images of one split."""
    for name in entry if isinstance(entry, list) else [entry]:
        place = root.locate(str(name), f"{file}: {split}")
        if not place.exists() and str(name).startswith("../"):
            # Exports that are moved around keep `../train/images`, although the folder lies beside the file.
            place = root.locate(str(name).removeprefix("../"), f"{file}: {split}")
        if place.is_dir():
            yield from sorted(path for path in place.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        elif place.suffix.lower() == ".txt" and place.is_file():
            lines = place.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            yield from (root.locate(line.strip(), str(place)) for line in lines if line.strip())
        else:
            raise DatasetError(
                f"{file}: {split}: expected a folder of images or a .txt list, found no {place}"
            )


def _label_file(image: Path, root: Root) -> Path:
    """The text file of an image: the last folder `images` of its path becomes `labels`."""
    parts = list(image.relative_to(root.path).parts if image.is_relative_to(root.path) else image.parts)
    folders = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return root.path.joinpath(*parts).with_suffix(".txt")


def _things(file: Path, names: Mapping[int, str]) -> list[Thing]:
    """The objects of a text file; none where it is missing."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise ImageFault("malformed annotation", f"expected lines of numbers, found {error}") from None
    return [_thing(number, line.split(), names) for number, line in enumerate(lines, start=1) if line.strip()]


def _thing(number: int, cells: Sequence[str], names: Mapping[int, str]) -> Thing:
    """One line: a class with a box, or with a polygon."""
    try:
        kind, values = int(cells[0]), tuple(float(cell) for cell in cells[1:])
    except ValueError:
        raise ImageFault(
            "malformed annotation", f"line {number}: expected numbers, found {' '.join(cells)[:80]!r}"
        ) from None
    if kind not in names:
        raise ImageFault(
            "malformed annotation", f"line {number}: expected a class of names ({_some(names)}), found {kind}"
        )
    if not all(-_SLACK <= value <= 1 + _SLACK for value in values):  # false for NaN
        raise ImageFault(
            "malformed annotation", f"line {number}: expected shares of the image between 0 and 1"
        )
    if len(values) == 4:
        x, y, width, height = values
        box = checked_box((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        return Thing(names[kind], Outline(boxes=(box,), is_relative=True), width * height)
    if len(values) < 6 or len(values) % 2:
        raise ImageFault(
            "malformed annotation",
            f"line {number}: expected a class and 4 numbers (box) or an even count of at least 6 (polygon), found "
            f"{len(values)} numbers",
        )
    polygon = checked_polygon(values)
    return Thing(names[kind], Outline(polygons=(polygon,), is_relative=True), _area(polygon))


def _area(polygon: Sequence[float]) -> float:
    """Area inside a polygon, by the shoelace formula."""
    xs, ys = polygon[0::2], polygon[1::2]
    return abs(sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs)))) / 2


def _some(names: Mapping[int, str]) -> str:
    return f"{min(names)} to {max(names)}"
