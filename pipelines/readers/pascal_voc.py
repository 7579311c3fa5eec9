"""PASCAL VOC: a folder with `JPEGImages` and `Annotations`, or a `VOCdevkit` with one such folder.

Objects come from `SegmentationObject/<name>.png` where there is one (value i is the i-th object of the XML file, 255
the uncertain border), else from `SegmentationClass/<name>.png` (value i is the i-th name of `labelmap.txt`, or of the
twenty published classes), else they are the boxes of the XML file. Splits come from `ImageSets/Main/train.txt` and the
like.
Which object is the label: see `_objects.py`. VOC's boxes, whose pixels count from 1 and include both ends, end here.

Source: development kit of the PASCAL VOC challenge 2012, sec. 8 (annotation and segmentation formats).
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audit.errors import DatasetError
from audit.types import MaskFile, Outline, Sample
from pipelines.config import DataConfig
from pipelines.images import ImageFault, Size
from pipelines.readers._annotations import (
    IMAGE_SUFFIXES,
    Fault,
    Root,
    checked_box,
    checked_numbers,
    fault_of,
    finish,
    root_of,
)
from pipelines.readers._objects import Labels, Thing, labels_of, with_objects

__all__ = ["PascalVoc"]

_CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_BORDER = 255
_SPLITS = ("train", "val", "test", "trainval")  # an image of both trainval and train is of train
_MAX_BYTES = 10_000_000


@dataclass(frozen=True)
class PascalVoc:
    """Reads a VOC folder.

    Attributes:
        config: `path` is the folder; `images` the folder of the images if it is not `JPEGImages`; `manifest` the
            labels, if objects shall not decide; `masks` replace the foreground.
    """

    config: DataConfig

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether `path` holds `Annotations` with XML files, or one folder that does."""
        return any(True for folder in _candidates(path) for _ in (folder / "Annotations").glob("*.xml"))

    def __call__(self) -> Iterator[Sample | Fault]:
        """One sample for each XML file, or for each that the manifest names.

        Raises:
            DatasetError: no such folder, no annotations, or no images.
        """
        folders = _candidates(self.config.path)
        found = [folder for folder in folders if (folder / "Annotations").is_dir()]
        if len(found) != 1:
            several = (
                f"{len(found)} of them: {', '.join(str(folder) for folder in found)}" if found else "none"
            )
            raise DatasetError(
                f"{self.config.path}: expected one folder with Annotations and JPEGImages, found {several}"
            )
        return finish(self._entries(found[0]), self.config)

    def _entries(self, folder: Path) -> Iterator[Sample | Fault]:
        images = root_of(self.config.images or folder / "JPEGImages", self.config)
        if not images.path.is_dir():
            raise DatasetError(f"{images.path}: expected the images of {folder}, found no such folder")
        labels, splits = labels_of(self.config), _splits(folder / "ImageSets" / "Main")
        names = _names(folder)
        files = sorted((folder / "Annotations").glob("*.xml"))
        if not files:
            raise DatasetError(f"{folder / 'Annotations'}: expected one XML file an image, found none")
        for file in files:
            entry = self._entry(file, folder, images, labels, splits.get(file.stem, ""), names)
            if entry is not None:
                yield entry

    def _entry(
        self, file: Path, folder: Path, images: Root, labels: Labels | None, split: str, names: Sequence[str]
    ) -> Sample | Fault | None:
        """The sample of one XML file; None where the manifest leaves it out."""
        try:
            record = _parsed(file)
        except ImageFault as fault:
            return Fault(f"{file.stem}", str(file), "", fault.reason, fault.detail, split)
        name = _image_name(record, file, images)
        row = labels.row(name) if labels else {}
        if row is None:
            return None
        path = images.locate(name, str(file))
        sample_id = row.get("sample_id") or images.sample_id(path)
        sample = Sample(sample_id, str(path), row.get("label") or None, row.get("split") or split)
        try:
            things, size = _things(record, file, folder, names), _size(record)
        except ImageFault as fault:
            return fault_of(sample, ImageFault(fault.reason, f"{file}: {fault.detail}"))
        classes = {*names, *(thing.name for thing in things)}
        return with_objects(sample, things, classes, size, self.config, str(file))


def _candidates(path: Path) -> list[Path]:
    """`path`, or the folders in it where it has no annotations of its own."""
    if (path / "Annotations").is_dir() or not path.is_dir():
        return [path]
    return sorted(folder for folder in path.iterdir() if (folder / "Annotations").is_dir()) or [path]


def _parsed(file: Path) -> ElementTree.Element:
    """The root of an XML file; entities are refused, since they can unfold to gigabytes."""
    try:
        contents = file.read_bytes()
        if len(contents) > _MAX_BYTES:
            raise ValueError(f"{len(contents)} bytes, more than an annotation has")
        if b"<!DOCTYPE" in contents or b"<!ENTITY" in contents:
            raise ValueError("a document type or an entity, which annotations have no use for")
        return ElementTree.fromstring(contents)
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as error:
        raise ImageFault("malformed annotation", f"{file}: expected VOC's XML, found {error}") from None


def _image_name(record: ElementTree.Element, file: Path, images: Root) -> str:
    """File name of the image: as the XML says, or the XML's own name with an image's ending."""
    stated = (record.findtext("filename") or "").strip()
    if stated and (Path(stated).suffix.lower() in IMAGE_SUFFIXES):
        return stated
    there = (images.path / f"{file.stem}{suffix}" for suffix in (".jpg", *sorted(IMAGE_SUFFIXES)))
    return next((path.name for path in there if path.is_file()), f"{file.stem}.jpg")


def _things(record: ElementTree.Element, file: Path, folder: Path, names: Sequence[str]) -> list[Thing]:
    """The objects of an image, by the finest annotation there is."""
    boxes = [(_name(node), _box(node)) for node in record.findall("object")]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for _, box in boxes]
    by_object = folder / "SegmentationObject" / f"{file.stem}.png"
    by_class = folder / "SegmentationClass" / f"{file.stem}.png"
    outlines = [Outline(boxes=(box,)) for _, box in boxes]
    if by_object.is_file():
        outlines = [_values(by_object, number) for number in range(1, len(boxes) + 1)]
    elif by_class.is_file():
        unknown = sorted({name for name, _ in boxes} - set(names))
        if unknown:
            raise ImageFault(
                "malformed annotation",
                f"expected classes of labelmap.txt, whose order gives the values of {by_class}, found {unknown[0]!r}",
            )
        outlines = [_values(by_class, names.index(name)) for name, _ in boxes]
    return [
        Thing(name, outline, area) for (name, _), outline, area in zip(boxes, outlines, areas, strict=True)
    ]


def _values(mask: Path, value: int) -> Outline:
    return Outline(mask=MaskFile(str(mask), (value,), (_BORDER,)))


def _name(node: ElementTree.Element) -> str:
    name = (node.findtext("name") or "").strip()
    if not name:
        raise ImageFault("malformed annotation", "expected a name of each object, found one without")
    return name


def _box(node: ElementTree.Element) -> tuple[float, float, float, float]:
    found = node.find("bndbox")
    sides = [found.findtext(side) if found is not None else None for side in ("xmin", "ymin", "xmax", "ymax")]
    if any(side is None for side in sides):
        raise ImageFault(
            "malformed annotation", "expected a bndbox with xmin, ymin, xmax, ymax of each object"
        )
    x0, y0, x1, y1 = checked_numbers([str(side).strip() for side in sides], "a bndbox is four numbers")
    return checked_box((x0 - 1, y0 - 1, x1, y1))


def _size(record: ElementTree.Element) -> Size | None:
    """(width, height) that the file states; None where it states none, or 0 as some tools write."""
    try:
        width, height = (int(float(record.findtext(f"size/{side}") or 0)) for side in ("width", "height"))
    except (ValueError, OverflowError):
        raise ImageFault("malformed annotation", "expected a size of whole numbers") from None
    return (width, height) if width > 0 and height > 0 else None


def _splits(folder: Path) -> Mapping[str, str]:
    """Split by image name."""
    splits: dict[str, str] = {}
    for split in _SPLITS:
        file = folder / f"{split}.txt"
        if file.is_file():
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                if line.strip():
                    splits.setdefault(line.split()[0], split)
    return splits


def _names(folder: Path) -> Sequence[str]:
    """Class names by their value in `SegmentationClass`."""
    for file in (folder / "labelmap.txt", folder.parent / "labelmap.txt"):
        if file.is_file():
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            return [line.split(":")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
    return _CLASSES
