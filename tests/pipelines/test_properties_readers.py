"""Whatever objects are written in whatever format, the same pixels come back, and text comes back as it was."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.errors import DatasetError
from audit.types import FOREGROUND, Sample
from pipelines.config import DataConfig
from pipelines.geometry import Geometry
from pipelines.readers.coco import Coco
from pipelines.readers.hugging_face import HuggingFace
from pipelines.readers.image_folder import ImageFolder
from pipelines.readers.manifest import Manifest
from pipelines.readers.pascal_voc import PascalVoc
from pipelines.readers.yolo import Yolo

WIDTH, HEIGHT = 16, 12
NAMES = ("cat", "dog", "bed")


@dataclass(frozen=True)
class Thing:
    """An object with whole corners, x1 and y1 excluded."""

    name: str
    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def corners(self) -> list[int]:
        return [self.x0, self.y0, self.x1, self.y1]

    @property
    def extent(self) -> list[int]:
        return [self.x0, self.y0, self.x1 - self.x0, self.y1 - self.y0]


@st.composite
def things(draw, names):
    x0, y0 = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
    return Thing(draw(names), x0, y0, draw(st.integers(x0 + 1, WIDTH)), draw(st.integers(y0 + 1, HEIGHT)))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def as_manifest(folder: Path, objects) -> DataConfig:
    boxes = [thing.corners for thing in objects if thing.name == "cat"]
    regions = {
        name: [thing.corners for thing in objects if thing.name == name]
        for name in NAMES[1:]
        if any(thing.name == name for thing in objects)
    }
    with (folder / "m.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "boxes", "regions"])
        rows.writerow(["1.jpg", "cat", json.dumps(boxes), json.dumps(regions)])
    return DataConfig(path=folder / "m.csv")


def as_coco(folder: Path, objects) -> DataConfig:
    contents = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": number, "name": name} for number, name in enumerate(NAMES)],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": NAMES.index(thing.name), "bbox": thing.extent}
            for number, thing in enumerate(objects)
        ],
    }
    write(folder / "1.jpg", "")
    return DataConfig(path=write(folder / "c.json", json.dumps(contents)), manifest=labels(folder))


def as_voc(folder: Path, objects) -> DataConfig:
    write(folder / "JPEGImages" / "1.jpg", "")
    lines = [
        f"<object><name>{thing.name}</name><bndbox><xmin>{thing.x0 + 1}</xmin><ymin>{thing.y0 + 1}</ymin>"
        f"<xmax>{thing.x1}</xmax><ymax>{thing.y1}</ymax></bndbox></object>"
        for thing in objects
    ]
    write(folder / "Annotations" / "1.xml", f"<annotation>{''.join(lines)}</annotation>")
    return DataConfig(path=folder, manifest=labels(folder))


def as_yolo(folder: Path, objects) -> DataConfig:
    write(folder / "images" / "train" / "1.jpg", "")
    lines = [
        f"{NAMES.index(t.name)} {(t.x0 + t.x1) / 2 / WIDTH!r} {(t.y0 + t.y1) / 2 / HEIGHT!r} "
        f"{(t.x1 - t.x0) / WIDTH!r} {(t.y1 - t.y0) / HEIGHT!r}"
        for t in objects
    ]
    write(folder / "labels" / "train" / "1.txt", "\n".join(lines))
    data = write(folder / "data.yaml", f"train: images/train\nnames: [{', '.join(NAMES)}]\n")
    return DataConfig(path=data, manifest=labels(folder))


def as_hugging_face(folder: Path, objects) -> DataConfig:
    boxes = {"bbox": [thing.extent for thing in objects], "categories": [thing.name for thing in objects]}
    row = {"file_name": "1.jpg", "label": "cat", "objects": boxes}
    write(folder / "metadata.jsonl", json.dumps(row) + "\n")
    return DataConfig(path=folder)


def labels(folder: Path) -> Path:
    return write(folder / "labels.csv", "path,label\n1.jpg,cat\n")


FORMATS = {
    "manifest": (Manifest, as_manifest),
    "coco": (Coco, as_coco),
    "pascal_voc": (PascalVoc, as_voc),
    "yolo": (Yolo, as_yolo),
    "hugging_face": (HuggingFace, as_hugging_face),
}


def drawn(outline) -> np.ndarray:
    return Geometry((WIDTH, HEIGHT), 1, (HEIGHT, WIDTH), "stretch", False).outline(outline) == FOREGROUND


def union(objects) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for thing in objects:
        mask[thing.y0 : thing.y1, thing.x0 : thing.x1] = True
    return mask


@pytest.mark.parametrize("name", FORMATS)
@given(others=st.lists(things(st.sampled_from(NAMES)), max_size=4), cat=things(st.just("cat")))
@settings(max_examples=60, deadline=None)
def test_objects_come_back_as_the_pixels_that_were_written(tmp_path_factory, name, others, cat):
    reader, writer = FORMATS[name]
    objects = [cat, *others]
    (sample,) = reader(writer(tmp_path_factory.mktemp(name), objects))()
    assert isinstance(sample, Sample)
    assert sample.label == "cat"
    np.testing.assert_array_equal(drawn(sample.foreground), union(t for t in objects if t.name == "cat"))
    assert set(sample.regions) == {thing.name for thing in others} - {"cat"}
    for region, outline in sample.regions.items():
        np.testing.assert_array_equal(drawn(outline), union(t for t in objects if t.name == region))


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30).filter(
    lambda text: text == text.strip()
)


@given(st.lists(WORDS, min_size=1, max_size=5), st.lists(WORDS, min_size=5, max_size=5, unique=True))
@settings(max_examples=150, deadline=None)
def test_labels_and_ids_of_a_manifest_come_back_as_they_were(tmp_path_factory, names, sample_ids):
    table = tmp_path_factory.mktemp("text") / "m.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "sample_id"])
        for number, label in enumerate(names):
            rows.writerow([f"{number}.jpg", label, sample_ids[number]])
    read = {entry.sample_id: entry.label for entry in Manifest(DataConfig(path=table))()}
    assert read == dict(zip(sample_ids, names, strict=False))


FILE_NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=40
).filter(lambda name: not name.startswith("."))


@given(st.lists(FILE_NAMES, min_size=1, max_size=6, unique=True))
@settings(max_examples=100, deadline=None)
def test_every_image_of_a_folder_is_one_sample_whatever_its_name(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("folder")
    (folder / "cat").mkdir()
    for name in names:
        (folder / "cat" / f"{name}.jpg").touch()
    entries = list(ImageFolder(DataConfig(path=folder))())
    assert sorted(entry.sample_id for entry in entries) == sorted(f"cat/{name}.jpg" for name in names)
    assert all(Path(entry.image_path).is_file() for entry in entries)
    assert [entry.sample_id for entry in entries] == sorted(entry.sample_id for entry in entries)


ESCAPES = st.sampled_from(["../", "..\\", "/", "//host/", "C:\\", "\\\\host\\", "a/../../", "./../", "a/"])


@given(st.lists(ESCAPES, min_size=1, max_size=4), st.sampled_from(["etc/passwd", "b.jpg", "c\0.jpg"]))
@settings(max_examples=200, deadline=None)
def test_no_path_of_a_manifest_leaves_the_dataset(tmp_path_factory, parts, name):
    folder = tmp_path_factory.mktemp("paths") / "data"
    folder.mkdir()
    with (folder / "m.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label"], ["".join(parts) + name, "cat"]])
    try:
        (entry,) = Manifest(DataConfig(path=folder / "m.csv"))()
    except DatasetError:
        return
    assert Path(entry.image_path).resolve().is_relative_to(folder.resolve())
