"""COCO `instances` JSON: boxes, polygons and run lengths, crowds included.

The label of a sample comes from `data.manifest` (path,label; matched by file name), else from the image's
folder if that is named like a category, else it is the image's only category, else the category that covers
the largest summed area. The foreground is the union of the objects of that label; every other category of the
image is a region by its name. `data.labels` renames labels and categories alike, so several categories may be
one class. An object is outlined by its segmentation, or by its box where it has none.
COCO's boxes (x, y, width, height) end here.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from audit.errors import DatasetError
from audit.types import Outline, RunLengths, Sample
from pipelines.config import DataConfig
from pipelines.images import ImageFault, Size
from pipelines.readers._annotations import (
    Fault,
    Root,
    checked_box,
    checked_polygon,
    fault_of,
    finish,
    mask_file,
    mirrored_mask,
    root_of,
)
from pipelines.readers._objects import Labels, labels_of, united

__all__ = ["Coco"]

_SECTIONS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class CocoFile:
    """A parsed annotation file.

    Attributes:
        path: the file.
        images: the image records by id, as text.
        objects: the object records by image id, as text.
        categories: the file's names by category id.
        classes: the model's names of labels and categories, where they differ (`data.labels`).
    """

    path: Path
    images: Mapping[str, Mapping[str, Any]]
    objects: Mapping[str, list[Mapping[str, Any]]]
    categories: Mapping[Any, str]
    classes: Mapping[str, str]

    def is_category(self, label: str) -> bool:
        """Whether a category of the file has the class of `label`."""
        return self._class_of(label) in {self._class_of(name) for name in self.categories.values()}

    def outlines(self, image_id: str) -> dict[str, Outline]:
        """What lies on an image, by class: the categories of one class are united.

        Raises:
            ImageFault: there is no such image, its size is malformed, or one of its objects is.
        """
        if image_id not in self.images:
            raise ImageFault(
                "malformed annotation", f"{self.path}: expected an image with the id {image_id}, found none"
            )
        parts: dict[str, list[Outline]] = defaultdict(list)
        for record in self.objects.get(image_id, []):
            try:
                parts[self._class_of(self.categories[record["category_id"]])].append(_outline(record))
            except (ImageFault, KeyError, TypeError, ValueError) as error:
                cause = error.detail if isinstance(error, ImageFault) else f"{type(error).__name__}: {error}"
                raise ImageFault(
                    "malformed annotation",
                    f"{self.path}: object {record.get('id')} of image {image_id}: {cause}",
                ) from None
        size = self._size(image_id)
        return {name: united(outlines, size) for name, outlines in sorted(parts.items())}

    def split_by_label(self, image_id: str, label: str) -> tuple[Outline, dict[str, Outline]]:
        """The foreground of `label`, known to be empty where no object has it, and the rest as regions."""
        outlines = self.outlines(image_id)
        absent = Outline(is_known=True, size=self._size(image_id)) if self.is_category(label) else Outline()
        foreground = outlines.pop(self._class_of(label), absent)
        return foreground, outlines

    def leading_category(self, image_id: str) -> str | None:
        """A category of the class with the largest summed area on an image, the first by name of equals, or
        None.
        """
        areas: dict[str, float] = defaultdict(float)
        names: dict[str, str] = {}
        for record in self.objects.get(image_id, []):
            name = self._name(record)
            if name is not None:
                areas[self._class_of(name)] += _area(record)
                names[self._class_of(name)] = name
        return names[min(areas, key=lambda name: (-areas[name], name))] if areas else None

    def _name(self, record: Mapping[str, Any]) -> str | None:
        """The category of an object; None where the file does not list it."""
        try:
            return self.categories.get(record.get("category_id"))
        except TypeError:  # a list or a table where a number should stand
            return None

    def _class_of(self, name: str) -> str:
        return self.classes.get(name, name)

    def _size(self, image_id: str) -> Size | None:
        """(width, height) that the image's record states, or None."""
        record = self.images[image_id]
        width, height = record.get("width"), record.get("height")
        if width is None or height is None:
            return None
        try:
            return int(width), int(height)
        except (TypeError, ValueError, OverflowError):
            raise ImageFault(
                "malformed annotation",
                f"{self.path}: expected the width and height of image {image_id}, found {width!r} and "
                f"{height!r}",
            ) from None


@dataclass(frozen=True)
class Coco:
    """Reads an annotation file.

    Attributes:
        config: `path` is the JSON file; `images` the folder of the images, if it is not found beside the
            file; `manifest` the labels, if neither folders nor areas shall decide; `masks` replace the
            foreground.
    """

    config: DataConfig

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether `path` is a JSON file with COCO's sections."""
        if path.suffix.lower() != ".json" or not path.is_file():
            return False
        contents = path.read_bytes()
        return all(f'"{section}"'.encode() in contents for section in _SECTIONS)

    def __call__(self) -> Iterator[Sample | Fault]:
        """One sample for each image of the file, or of the manifest where there is one.

        Raises:
            DatasetError: unreadable file, no image found, or none named in the manifest.
        """
        annotations = read_coco(self.config.path, self.config.labels)
        labels = labels_of(self.config)
        return finish(self._entries(annotations, labels), self.config)

    def _entries(self, annotations: CocoFile, labels: Labels | None) -> Iterator[Sample | Fault]:
        folders = _image_folders(self.config)
        n_found = 0
        for record in annotations.images.values():
            name = str(record.get("file_name", ""))
            row = labels.row(name) if labels else {}
            if row is None:
                continue
            path = _locate(name, folders, self.config)
            n_found += path.exists()
            yield self._entry(annotations, record, path, row)
        if not n_found and annotations.images and labels is None:
            looked = ", ".join(str(folder) for folder in folders)
            raise DatasetError(
                f"{self.config.path}: expected its images in one of {looked}, found none of them; name "
                "their folder in data.images"
            )

    def _entry(
        self, annotations: CocoFile, record: Mapping[str, Any], path: Path, row: Mapping[str, str]
    ) -> Sample | Fault:
        image_id, relative = str(record["id"]), PurePosixPath(str(record.get("file_name", "")))
        parent = path.parent.name
        by_folder = parent if annotations.is_category(parent) else None
        label = row.get("label") or by_folder or annotations.leading_category(image_id)
        sample_id = row.get("sample_id") or _dataset_root(self.config, path).sample_id(path)
        sample = Sample(sample_id, str(path), label, row.get("split", ""))
        if label is None:
            detail = f"{annotations.path}: image {image_id} has no objects; name its label in data.manifest"
            return fault_of(sample, ImageFault("missing label", detail))
        try:
            foreground, regions = annotations.split_by_label(image_id, label)
        except ImageFault as fault:
            return fault_of(sample, fault)
        if self.config.masks:
            foreground = mask_file(mirrored_mask(self.config.masks, relative), self.config)
        return Sample(sample_id, str(path), label, sample.split, foreground, regions)


def read_coco(path: Path, classes: Mapping[str, str]) -> CocoFile:
    """A COCO annotation file, its categories named as `classes` renames them.

    Raises:
        DatasetError: unreadable, not JSON, or without images, annotations and categories.
    """
    try:
        contents = json.loads(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: expected JSON, found {error}") from None
    found = sorted(contents) if isinstance(contents, dict) else [type(contents).__name__]
    if not isinstance(contents, dict) or not all(
        isinstance(contents.get(section), list) for section in _SECTIONS
    ):
        raise DatasetError(
            f"{path}: expected COCO with {', '.join(_SECTIONS)}, found {', '.join(map(str, found))}"
        )
    objects: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    try:
        for record in contents["annotations"]:
            objects[str(record["image_id"])].append(record)
        images = {str(record["id"]): record for record in contents["images"]}
        categories = {record["id"]: str(record["name"]) for record in contents["categories"]}
    except (KeyError, TypeError) as error:
        raise DatasetError(
            f"{path}: expected id, name and image_id in COCO's records, found one without: {error}"
        ) from None
    if len(images) != len(contents["images"]):
        raise DatasetError(
            f"{path}: expected an id of its own for each image, found {len(contents['images'])} images "
            f"with {len(images)} ids"
        )
    return CocoFile(path, images, objects, categories, classes)


def _image_folders(config: DataConfig) -> list[Path]:
    """Where the images may lie, likeliest first."""
    if config.images:
        return [config.images]
    here = config.path.absolute().parent
    around = [
        folder
        for above in (here, here.parent / "images", here.parent)
        if above.is_dir()
        for folder in sorted(above.iterdir())
    ]
    beside = [folder for folder in around if folder.is_dir() and not folder.name.startswith(".")]
    # annotations/instances_val2017.json belongs to val2017/, although train2017/ may hold a file of the same
    # name.
    named = sorted(beside, key=lambda folder: folder.name not in config.path.stem)
    return [here, *named, here.parent]


def _locate(name: str, folders: list[Path], config: DataConfig) -> Path:
    """The image in the first folder that has it, or where it was expected."""
    where = f"{config.path}: file_name"
    paths = [root_of(folder, config).locate(name, where) for folder in folders]
    return next((path for path in paths if path.is_file()), paths[0])


def _dataset_root(config: DataConfig, image: Path) -> Root:
    """The folder that sample ids are relative to."""
    here = config.path.absolute().parent
    folders = (config.images,) if config.images else (here, here.parent)
    return root_of(next((folder for folder in folders if image.is_relative_to(folder)), folders[0]), config)


def _outline(record: Mapping[str, Any]) -> Outline:
    """One object: its segmentation, or its box."""
    segmentation = record.get("segmentation")
    if isinstance(segmentation, dict):
        return Outline(run_lengths=(_run_lengths(segmentation),))
    if segmentation:
        return Outline(polygons=tuple(checked_polygon(polygon) for polygon in segmentation))
    box = record["bbox"]
    if len(box) != 4:
        raise ImageFault("malformed annotation", f"expected a bbox of x, y, width, height, found {box!r}")
    x, y, width, height = (float(value) for value in box)
    return Outline(boxes=(checked_box((x, y, x + width, y + height)),))


def _run_lengths(segmentation: Mapping[str, Any]) -> RunLengths:
    height, width = (int(value) for value in segmentation["size"])
    counts = segmentation["counts"]
    return RunLengths(
        (height, width), counts if isinstance(counts, str) else tuple(int(count) for count in counts)
    )


def _area(record: Mapping[str, Any]) -> float:
    """The stated area, or the box's; 0 where neither can be read."""
    try:
        return (
            float(record["area"]) if "area" in record else float(record["bbox"][2]) * float(record["bbox"][3])
        )
    except (KeyError, IndexError, TypeError, ValueError):
        return 0.0
