"""VOC, YOLO and Hugging Face folders: the same objects whichever format says them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.errors import DatasetError
from audit.types import BACKGROUND, FOREGROUND, IGNORE, MaskFile, Sample
from pipelines.config import DataConfig
from pipelines.geometry import Geometry
from pipelines.readers._annotations import Fault
from pipelines.readers.coco import Coco
from pipelines.readers.hugging_face import HuggingFace
from pipelines.readers.manifest import Manifest
from pipelines.readers.pascal_voc import PascalVoc
from pipelines.readers.yolo import Yolo
from pipelines.shards import reader_of

DATA = os.environ.get("RIGHT_REASONS_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="RIGHT_REASONS_DATA is not set")

CAT = "<object><name>cat</name><bndbox><xmin>3</xmin><ymin>1</ymin><xmax>6</xmax><ymax>4</ymax></bndbox></object>"
DOG = "<object><name>dog</name><bndbox><xmin>7</xmin><ymin>5</ymin><xmax>8</xmax><ymax>6</ymax></bndbox></object>"


def read(reader, path, **options) -> list[Sample | Fault]:
    return list(reader(DataConfig(path=path, **options))())


def drawn(outline, size=(8, 6)) -> np.ndarray:
    """The outline on its own pixels: an image of `size` (width, height) that is not resized."""
    return Geometry(size, 1, (size[1], size[0]), "stretch", False).outline(outline)


def write(path: Path, contents: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(contents)
    return path


# PASCAL VOC


def voc(folder: Path, *objects: str, name: str = "1", size: str = "") -> Path:
    (folder / "JPEGImages").mkdir(parents=True, exist_ok=True)
    (folder / "JPEGImages" / f"{name}.jpg").touch()
    write(
        folder / "Annotations" / f"{name}.xml",
        f"<annotation><filename>{name}.jpg</filename>{size}{''.join(objects)}</annotation>",
    )
    return folder


def test_boxes_of_voc_count_from_one_and_include_both_ends(tmp_path):
    (sample,) = read(PascalVoc, voc(tmp_path, CAT, DOG))
    assert (sample.sample_id, sample.label) == ("1.jpg", "cat")
    assert sample.foreground.boxes == ((2, 0, 6, 4),)
    # Columns 3 to 6 and rows 1 to 4 counted from one: 4 x 4 pixels.
    foreground = drawn(sample.foreground)
    assert (foreground == FOREGROUND).sum() == 16
    assert (foreground[:4, 2:6] == FOREGROUND).all()
    assert (drawn(sample.regions["dog"]) == FOREGROUND).sum() == 4


def test_segmentation_of_objects_and_its_border_win_over_boxes(tmp_path):
    voc(tmp_path, CAT, DOG, CAT)
    values = np.zeros((6, 8), dtype=np.uint8)
    values[0, :3], values[1, :2], values[2, 0], values[5, :] = 1, 2, 3, 255
    (tmp_path / "SegmentationObject").mkdir()
    Image.fromarray(values).save(tmp_path / "SegmentationObject" / "1.png")
    (sample,) = read(PascalVoc, tmp_path)
    foreground = drawn(sample.foreground)
    assert (foreground == FOREGROUND).sum() == 3 + 1
    assert (foreground == IGNORE).sum() == 8
    assert (drawn(sample.regions["dog"]) == FOREGROUND).sum() == 2


def test_segmentation_of_classes_is_read_by_the_label_map_or_the_published_order(tmp_path):
    (tmp_path / "a" / "SegmentationClass").mkdir(parents=True)
    values = np.zeros((6, 8), dtype=np.uint8)
    values[0, :5], values[1, :2] = 8, 12
    Image.fromarray(values).save(tmp_path / "a" / "SegmentationClass" / "1.png")
    (sample,) = read(PascalVoc, voc(tmp_path / "a", CAT, DOG))
    assert sample.foreground.mask == MaskFile(
        str(tmp_path / "a" / "SegmentationClass" / "1.png"), (8,), (255,)
    )
    assert (drawn(sample.foreground) == FOREGROUND).sum() == 5
    write(tmp_path / "a" / "labelmap.txt", "# name:colour\nbackground:0,0,0::\ndog:1,1,1::\n")
    (fault,) = read(PascalVoc, tmp_path / "a")
    assert fault.reason == "malformed annotation"
    assert "'cat'" in fault.detail


def test_splits_and_labels_come_from_image_sets_and_the_manifest(tmp_path):
    for name in ("1", "2", "3"):
        voc(tmp_path / "VOC2012", CAT, DOG, name=name)
    write(tmp_path / "VOC2012" / "ImageSets" / "Main" / "train.txt", "1\n2\n")
    write(tmp_path / "VOC2012" / "ImageSets" / "Main" / "val.txt", "3\n")
    assert [entry.split for entry in read(PascalVoc, tmp_path)] == ["train", "train", "val"]
    labels = write(tmp_path / "labels.csv", "path,label\n2.jpg,dog\n")
    (sample,) = read(PascalVoc, tmp_path, manifest=labels)
    assert (sample.sample_id, sample.label, sample.foreground.boxes) == ("2.jpg", "dog", ((6, 4, 8, 6),))


@pytest.mark.parametrize(
    ("contents", "word"),
    [
        ("<annotation>", "no element found"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "document type"),
        ("<annotation><object><name>cat</name></object></annotation>", "bndbox"),
        (f"<annotation>{CAT.replace('>6<', '>2<')}</annotation>", "x0 < x1"),
        (f"<annotation>{CAT.replace('cat', ' ')}</annotation>", "without"),
        ("<annotation><size><width>x</width></size></annotation>", "size"),
        ('<?xml version="1.0" encoding="no-such"?><annotation/>', "encoding"),
    ],
)
def test_a_malformed_xml_file_is_a_fault_and_costs_no_other(tmp_path, contents, word):
    voc(tmp_path, CAT, name="2")
    write(tmp_path / "Annotations" / "1.xml", contents)
    entries = read(PascalVoc, tmp_path)
    faults = [entry for entry in entries if isinstance(entry, Fault)]
    assert len(entries) == 2
    assert len(faults) == 1
    assert word in faults[0].detail


def test_a_voc_file_name_may_not_leave_the_folder_of_images(tmp_path):
    voc(tmp_path, CAT)
    file = tmp_path / "Annotations" / "1.xml"
    file.write_text(file.read_text().replace("1.jpg", "../../secret.jpg"))
    with pytest.raises(DatasetError, match="inside"):
        read(PascalVoc, tmp_path)


# YOLO


def yolo(folder: Path, lines: str, data: str = "train: images/train\nnames: [cat, dog]\n") -> Path:
    write(folder / "data.yaml", data)
    write(folder / "images" / "train" / "1.jpg", "")
    write(folder / "labels" / "train" / "1.txt", lines)
    return folder


def test_boxes_and_polygons_of_yolo_are_shares_of_the_image(tmp_path):
    (sample,) = read(Yolo, yolo(tmp_path, "0 0.5 0.5 0.5 0.5\n1 0 0 0.25 0 0.25 0.5 0 0.5\n"))
    assert (sample.sample_id, sample.label, sample.split) == ("images/train/1.jpg", "cat", "train")
    foreground = drawn(sample.foreground, (8, 4))
    assert (foreground == FOREGROUND).sum() == 4 * 2
    assert (foreground[1:3, 2:6] == FOREGROUND).all()
    dog = drawn(sample.regions["dog"], (8, 4))
    assert (dog == FOREGROUND).sum() == 2 * 2
    assert (dog[:2, :2] == FOREGROUND).all()


def test_yolo_shares_are_of_the_upright_image(tmp_path):
    (sample,) = read(Yolo, yolo(tmp_path, "0 0.5 0.25 1 0.5\n"))
    turned = Geometry((8, 4), 6, (8, 4), "stretch", False)  # stored 8 wide, 4 high; upright 4 wide, 8 high
    foreground = turned.outline(sample.foreground)
    assert (foreground[:4] == FOREGROUND).all()
    assert (foreground[4:] == BACKGROUND).all()


def test_a_yolo_image_without_a_text_file_needs_a_label(tmp_path):
    yolo(tmp_path, "")
    (tmp_path / "labels" / "train" / "1.txt").unlink()
    (fault,) = read(Yolo, tmp_path)
    assert fault.reason == "missing label"
    labels = write(tmp_path / "labels.csv", "path,label\n1.jpg,dog\n")
    (sample,) = read(Yolo, tmp_path, manifest=labels)
    assert (drawn(sample.foreground) == BACKGROUND).all()  # known to be absent, not unknown


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("0 0.5 0.5 0.5", "even count"),
        ("0 0.5 0.5 0.5 0.5 0.5 0.5 0.5", "even count"),
        ("2 0.5 0.5 0.5 0.5", "0 to 1"),
        ("0 0.5 nan 0.5 0.5", "between 0 and 1"),
        ("0 5 5 2 2", "between 0 and 1"),
        ("0 0.5 0.5 0 0", "x0 < x1"),
        ("cat 0.5 0.5 0.5 0.5", "numbers"),
        ("\x00", "numbers"),
    ],
)
def test_a_malformed_line_is_a_fault(tmp_path, line, word):
    (fault,) = read(Yolo, yolo(tmp_path, line))
    assert fault.reason == "malformed annotation"
    assert word in fault.detail


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ("train: images/train\n", "names"),
        ("names: [cat]\n", "train, val or test"),
        ("train: nowhere\nnames: [cat]\n", "nowhere"),
        ("train: ../../etc\nnames: [cat]\n", "inside"),
        ("- 1\n", "list"),
        ("a: [", "YAML"),
        ("train: !!python/object/apply:os.system ['true']\nnames: [cat]\n", "YAML"),
        ("train: images/train\nnames: [cat, null]\n", r"found \['cat', None\]"),
        ("train: images/train\na: &a [x, x]\nnames: [*a, *a]\n", "YAML, found an alias"),
    ],
)
def test_a_data_file_that_cannot_be_read_says_why(tmp_path, data, word):
    with pytest.raises(DatasetError, match=word):
        read(Yolo, yolo(tmp_path, "0 0.5 0.5 0.5 0.5", data))


def test_names_may_be_a_table_and_splits_lists_of_files(tmp_path):
    write(tmp_path / "some.txt", "images/train/1.jpg\n")
    data = "path: /nowhere/else\nval: [some.txt]\nnames: {3: cat, 7: dog}\n"
    (sample,) = read(Yolo, yolo(tmp_path, "7 0.5 0.5 0.5 0.5", data))
    assert (sample.label, sample.split) == ("dog", "val")


# Hugging Face


def test_metadata_gives_labels_masks_and_splits(tmp_path):
    write(tmp_path / "train" / "metadata.csv", "file_name,label,mask_file_name\n1.jpg,cat,1_mask.png\n")
    write(tmp_path / "test" / "metadata.jsonl", '{"file_name": "2.jpg", "label": "dog"}\n')
    dog, cat = read(HuggingFace, tmp_path)
    assert (cat.sample_id, cat.label, cat.split) == ("train/1.jpg", "cat", "train")
    assert cat.foreground.mask == MaskFile(str(tmp_path / "train" / "1_mask.png"))
    assert (dog.label, dog.split, dog.foreground.is_annotated) == ("dog", "test", False)


def test_objects_of_metadata_are_foreground_and_regions(tmp_path):
    objects = {"bbox": [[2, 0, 4, 4], [6, 4, 2, 2]], "categories": ["cat", "dog"]}
    write(tmp_path / "metadata.jsonl", json.dumps({"file_name": "1.jpg", "objects": objects}) + "\n")
    (sample,) = read(HuggingFace, tmp_path)
    assert sample.label == "cat"
    assert sample.foreground.boxes == ((2, 0, 6, 4),)
    assert sample.regions["dog"].boxes == ((6, 4, 8, 6),)


@pytest.mark.parametrize("line", ['{"label": "cat"}', "[1]", "{", ""])
def test_metadata_that_cannot_be_read_says_why(tmp_path, line):
    write(tmp_path / "metadata.jsonl", line)
    with pytest.raises(DatasetError, match=r"metadata\.jsonl: expected"):
        read(HuggingFace, tmp_path)


# All of them


def test_each_format_is_recognised_by_its_reader_alone(tmp_path):
    assert reader_of(voc(tmp_path / "voc", CAT)) == "pascal_voc"
    assert reader_of(yolo(tmp_path / "yolo", "")) == "yolo"
    assert reader_of(tmp_path / "yolo" / "data.yaml") == "yolo"
    for split in ("train", "test"):
        write(tmp_path / "hf" / split / "metadata.csv", "file_name,label\n1.jpg,cat\n")
        write(tmp_path / "hf" / split / "1.jpg", "")
    assert reader_of(tmp_path / "hf") == "hugging_face"


@pytest.mark.data
@needs_data
def test_coco128_says_the_same_as_voc_and_yolo(tmp_path):
    """Converted by hand; boxes of VOC are whole pixels, so they are compared where COCO's are rounded outwards."""
    entries = [
        entry
        for entry in read(Coco, Path(DATA) / "coco128" / "annotations" / "instances_val2017.json")
        if isinstance(entry, Sample) and not entry.foreground.run_lengths
    ]
    assert len(entries) > 50
    names = sorted({name for entry in entries for name in (entry.label, *entry.regions)})
    (tmp_path / "images" / "train").mkdir(parents=True)
    expected = {}
    for number, entry in enumerate(entries):
        with Image.open(entry.image_path) as image:
            width, height = image.size
        (tmp_path / "images" / "train" / f"{number:03}.jpg").symlink_to(entry.image_path)
        lines = [
            f"{names.index(name)} {_shares(polygon, width, height)}"
            for name, outline in {entry.label: entry.foreground, **entry.regions}.items()
            for polygon in outline.polygons
        ]
        write(tmp_path / "labels" / "train" / f"{number:03}.txt", "\n".join(lines))
        expected[f"images/train/{number:03}.jpg"] = (entry, (width, height))
    write(tmp_path / "data.yaml", json.dumps({"train": "images/train", "names": names}))
    labels = "".join(f"images/train/{n:03}.jpg,{entry.label}\n" for n, entry in enumerate(entries))
    manifest = write(tmp_path / "labels.csv", "path,label\n" + labels)
    found = read(Yolo, tmp_path, manifest=manifest, allow_outside=True)
    assert len(found) == len(entries)
    for sample in found:
        entry, size = expected[sample.sample_id]
        # Shares times sizes are the pixels up to rounding in the last bit; a centre on an edge may go either way.
        assert (drawn(sample.foreground, size) != drawn(entry.foreground, size)).mean() < 1e-4
        assert set(sample.regions) == {name for name, outline in entry.regions.items() if outline.polygons}


def _shares(polygon, width, height) -> str:
    return " ".join(repr(value / (height if index % 2 else width)) for index, value in enumerate(polygon))


@pytest.mark.data
@needs_data
def test_garments_as_voc_segmentation_have_the_masks_of_the_manifest(tmp_path):
    entries = read(Manifest, Path(DATA) / "garments" / "manifest.csv", splits=["test"])[:12]
    names = sorted({entry.label for entry in entries})
    write(tmp_path / "labelmap.txt", "\n".join(f"{name}:::" for name in ["background", *names]))
    for folder in ("JPEGImages", "Annotations", "SegmentationClass"):
        (tmp_path / folder).mkdir()
    for number, entry in enumerate(entries):
        (tmp_path / "JPEGImages" / f"{number:03}.jpg").symlink_to(entry.image_path)
        mask = np.asarray(Image.open(entry.foreground.mask.path)) > 0
        values = np.where(mask, names.index(entry.label) + 1, 0).astype(np.uint8)
        Image.fromarray(values).save(tmp_path / "SegmentationClass" / f"{number:03}.png")
        thing = CAT.replace("cat", entry.label)
        write(tmp_path / "Annotations" / f"{number:03}.xml", f"<annotation>{thing}</annotation>")
    found = read(PascalVoc, tmp_path, allow_outside=True)
    for sample, entry in zip(found, entries, strict=True):
        with Image.open(entry.image_path) as image:
            size = image.size
        assert sample.label == entry.label
        assert np.array_equal(drawn(sample.foreground, size), drawn(entry.foreground, size))
