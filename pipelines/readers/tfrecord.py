"""TFRecord files of `tf.train.Example`, as TensorFlow Datasets and the object detection tools write them.

    photos/garments-train.tfrecord-00000-of-00002     one file, or a folder of them; the split is read off the name

what            features, the first that is there
picture         image/encoded, image: a JPEG, PNG, ... file as it is, not raw pixels
label           image/class/text, label, image/class/label: text, or a number
boxes           image/object/bbox/{ymin,xmin,ymax,xmax}, or objects/bbox (four numbers each, in that order): shares of
                the picture
their classes   image/object/class/text, objects/label, image/object/class/label
Names of numbered classes are the lines of `label.labels.txt` (of objects `objects-label.labels.txt`) in the folder,
counted from 0 as TensorFlow Datasets does; without it a class is called by its number, and `data.labels` renames it.
Which object is the label: see `_objects.py`. A sample is the place of its picture in the file, so nothing is unpacked.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.errors import DatasetError
from audit.types import Outline, Sample
from pipelines.config import DataConfig
from pipelines.images import ImageFault, part_of
from pipelines.quiet import load_tensorflow
from pipelines.readers._annotations import Fault, checked_box, fault_of, finish, root_of
from pipelines.readers._objects import Thing, with_objects

__all__ = ["TfRecord"]

_NAME = re.compile(r"\.tfrecords?(-\d+-of-\d+)?$")
_SPLIT = re.compile(r"(?:^|[-_.])([a-zA-Z]+)\.tfrecords?(-\d+-of-\d+)?$")
_PICTURES = ("image/encoded", "image")
_LABELS = ("image/class/text", "label", "image/class/label")
_BOXES = "objects/bbox"
_SIDES = tuple(f"image/object/bbox/{side}" for side in ("ymin", "xmin", "ymax", "xmax"))
_OBJECT_LABELS = ("image/object/class/text", "objects/label", "image/object/class/label")
_HEAD_BYTES, _TAIL_BYTES = 12, 4
"""Length and checksums around each record. Source: the TFRecord format as TensorFlow's guide describes it."""


@dataclass(frozen=True)
class TfRecord:
    """Reads TFRecord files.

    Attributes:
        config: `path` is a file, or a folder that holds some.
    """

    config: DataConfig

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether `path` is called like such a file, or holds some."""
        return bool(_files(path))

    def __call__(self) -> Iterator[Sample | Fault]:
        """One sample for each record.

        Raises:
            DatasetError: no file, a damaged or compressed one, or a record that is no Example with a picture.
        """
        files = _files(self.config.path)
        if not files:
            raise DatasetError(
                f"{self.config.path}: expected files called like name-train.tfrecord-00000-of-00001, found none"
            )
        return finish((entry for file in files for entry in self._entries(file)), self.config)

    def _entries(self, file: Path) -> Iterator[Sample | Fault]:
        folder = root_of(file.parent, self.config)
        file = folder.locate(file.name, str(self.config.path))
        names, object_names = (_names(file.parent, of) for of in ("label", "objects-label"))
        split = _SPLIT.search(file.name)
        for number, (features, start) in enumerate(_records(file)):
            where = f"{file}: record {number}"
            picture = next((features[name] for name in _PICTURES if features.get(name)), None)
            if not isinstance(picture, list) or not isinstance(picture[0], bytes):
                raise DatasetError(
                    f"{where}: expected a picture's file in {' or '.join(_PICTURES)}, found "
                    f"{', '.join(features) or 'nothing'}"
                )
            sample = Sample(
                f"{file.name}#{number}",
                part_of(file, start(picture[0]), len(picture[0])),
                next(iter(_classes(features, _LABELS, names)), None),
                split[1] if split else "",
            )
            try:
                things = _things(features, object_names)
            except ImageFault as fault:
                yield fault_of(sample, ImageFault(fault.reason, f"{where}: {fault.detail}"))
                continue
            yield with_objects(sample, things, {thing.name for thing in things}, None, self.config, where)


def _files(path: Path) -> list[Path]:
    """The files called like TFRecords: `path` itself, or what it holds."""
    entries = sorted(path.iterdir()) if path.is_dir() else [path]
    return [entry for entry in entries if _NAME.search(entry.name) and entry.is_file()]


def _records(file: Path) -> Iterator[tuple[dict[str, list[Any]], Any]]:
    """Each record's features, and the function that says where in the file some of its bytes stand."""
    load_tensorflow()
    import tensorflow as tf
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    at = 0
    try:
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            begun = at + _HEAD_BYTES
            at = begun + len(record) + _TAIL_BYTES
            yield (
                _features(tf.train.Example.FromString(record)),
                lambda part, r=record, b=begun: b + r.index(part),
            )
    except (tf.errors.OpError, DecodeError) as error:
        cause = str(getattr(error, "message", error)).partition("\n")[0]
        raise DatasetError(
            f"{file}: expected an uncompressed TFRecord file of tf.train.Example, found another or a damaged one: "
            f"{cause}"
        ) from None


def _features(example: Any) -> dict[str, list[Any]]:
    """Values by name; empty features are left out."""
    kinds = (
        (name, feature, feature.WhichOneof("kind")) for name, feature in example.features.feature.items()
    )
    values = {name: list(getattr(feature, kind).value) for name, feature, kind in kinds if kind}
    return {name: found for name, found in sorted(values.items()) if found}


def _classes(features: dict[str, list[Any]], names: Sequence[str], numbered: Sequence[str]) -> list[str]:
    """Classes as text, of the first of the features `names` that is there."""
    values = next((features[name] for name in names if name in features), [])
    return [_text(value, numbered) for value in values]


def _text(value: Any, numbered: Sequence[str]) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return numbered[value] if isinstance(value, int) and 0 <= value < len(numbered) else f"{value:g}"


def _things(features: dict[str, list[Any]], numbered: Sequence[str]) -> list[Thing]:
    """The objects of a record."""
    classes = _classes(features, _OBJECT_LABELS, numbered)
    if _BOXES in features:
        flat = features[_BOXES]
        sides = [flat[side::4] for side in range(4)]
    else:
        sides = [features.get(side, []) for side in _SIDES]
    if {len(side) for side in sides} != {len(classes)}:
        raise ImageFault(
            "malformed annotation",
            f"expected as many boxes as classes of objects, found {[len(side) for side in sides]} and {len(classes)}",
        )
    things = []
    for name, y0, x0, y1, x1 in zip(classes, *sides, strict=True):
        box = checked_box((x0, y0, x1, y1))
        area = (box[2] - box[0]) * (box[3] - box[1])
        things.append(Thing(name, Outline(boxes=(box,), is_relative=True), area))
    return things


def _names(folder: Path, of: str) -> list[str]:
    """Names of numbered classes, where a file beside the records has them."""
    path = folder / f"{of}.labels.txt"
    try:
        return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: expected one class name a line, found {error}") from None
