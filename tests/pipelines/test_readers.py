import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as coco_masks

from audit.errors import DatasetError
from audit.types import FOREGROUND, MaskFile, Outline, RunLengths, Sample
from pipelines.config import DataConfig
from pipelines.geometry import Geometry
from pipelines.images import ImageFault, decode
from pipelines.readers._annotations import Fault
from pipelines.readers.coco import Coco
from pipelines.readers.image_folder import ImageFolder
from pipelines.readers.manifest import Manifest

DATA = os.environ.get("RIGHT_REASONS_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="RIGHT_REASONS_DATA is not set")


def touch(folder: Path, *names: str) -> Path:
    """Empty files: readers open no image."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def read(reader, path, **options) -> list[Sample | Fault]:
    return list(reader(DataConfig(path=path, **options))())


def ids(entries) -> list[str]:
    return [entry.sample_id for entry in entries]


def table(folder: Path, text: str, name: str = "manifest.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


# Folder per class


def test_a_folder_per_class_gives_sorted_samples_of_images_alone(tmp_path):
    touch(
        tmp_path,
        "cat/b.JPG",
        "cat/a.png",
        "ant/z.webp",
        "cat/notes.txt",
        "cat/.hidden.jpg",
        ".git/x.jpg",
        "top.jpg",
    )
    entries = read(ImageFolder, tmp_path)
    assert [(entry.sample_id, entry.label, entry.split) for entry in entries] == [
        ("ant/z.webp", "ant", ""),
        ("cat/a.png", "cat", ""),
        ("cat/b.JPG", "cat", ""),
    ]
    assert entries[1].image_path == str(tmp_path / "cat/a.png")
    assert not entries[1].foreground.is_annotated


def test_folders_inside_a_class_belong_to_it(tmp_path):
    touch(tmp_path, "cat/2024/may/a.jpg", "dog/a.jpg")
    assert [(entry.sample_id, entry.label) for entry in read(ImageFolder, tmp_path)] == [
        ("cat/2024/may/a.jpg", "cat"),
        ("dog/a.jpg", "dog"),
    ]


def test_folders_of_splits_are_splits_only_where_classes_lie_in_them(tmp_path):
    touch(tmp_path / "split", "train/cat/a.jpg", "val/cat/a.jpg", "val/dog/b.jpg")
    touch(tmp_path / "flat", "test/a.jpg", "train/a.jpg")
    assert [(entry.split, entry.label) for entry in read(ImageFolder, tmp_path / "split")] == [
        ("train", "cat"),
        ("val", "cat"),
        ("val", "dog"),
    ]
    assert [(entry.split, entry.label) for entry in read(ImageFolder, tmp_path / "flat")] == [
        ("", "test"),
        ("", "train"),
    ]


def test_splits_filter_and_an_unknown_one_names_the_known(tmp_path):
    touch(tmp_path, "train/cat/a.jpg", "val/cat/b.jpg")
    assert ids(read(ImageFolder, tmp_path, splits=["val"])) == ["val/cat/b.jpg"]
    with pytest.raises(DatasetError, match=r"expected the split 'test' of data.splits, found 'train', 'val'"):
        read(ImageFolder, tmp_path, splits=["test"])


def test_labels_are_renamed(tmp_path):
    touch(tmp_path, "tee/a.jpg", "shoe/b.jpg")
    assert [entry.label for entry in read(ImageFolder, tmp_path, labels={"tee": "t-shirt"})] == [
        "shoe",
        "t-shirt",
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "found no such folder"),
        ([], "found an empty folder"),
        (["a.jpg"], "found no folders of classes"),
        (["cat/a.txt"], "found none"),
    ],
)
def test_a_folder_that_cannot_be_audited_says_why_in_one_sentence(tmp_path, files, message):
    if files is not None:
        touch(tmp_path / "photos", *files).mkdir(exist_ok=True)
    with pytest.raises(DatasetError, match=message):
        read(ImageFolder, tmp_path / "photos")


def test_masks_are_found_beside_an_image_and_are_no_samples(tmp_path):
    touch(
        tmp_path,
        "cat/a.jpg",
        "cat/a_mask.png",
        "cat/b.png",
        "cat/b.mask.png",
        "cat/c.jpg",
        "cat/lone_mask.png",
    )
    entries = read(ImageFolder, tmp_path, mask_foreground=[128], mask_ignore=[255])
    assert ids(entries) == ["cat/a.jpg", "cat/b.png", "cat/c.jpg", "cat/lone_mask.png"]
    assert entries[0].foreground.mask == MaskFile(str(tmp_path / "cat/a_mask.png"), (128,), (255,))
    assert entries[1].foreground.mask == MaskFile(str(tmp_path / "cat/b.mask.png"), (128,), (255,))
    assert entries[2].foreground == Outline()


def test_a_folder_of_masks_beside_the_images_is_found(tmp_path):
    touch(tmp_path, "images/cat/a.jpg", "images/dog/b.jpg", "masks/cat/a.png")
    for path, sample_id in [(tmp_path / "images", "cat/a.jpg"), (tmp_path, "images/cat/a.jpg")]:
        first, second = read(ImageFolder, path)
        assert (first.sample_id, first.label) == (sample_id, "cat")
        assert first.foreground.mask.path == str(tmp_path / "masks/cat/a.png")
        assert second.foreground == Outline()


def test_configured_masks_mirror_the_images_and_a_missing_one_is_still_expected(tmp_path):
    touch(
        tmp_path, "photos/cat/a.jpg", "photos/cat/b.webp", "photos/cat/c.jpg", "m/cat/a.png", "m/cat/b.webp"
    )
    entries = read(ImageFolder, tmp_path / "photos", masks=tmp_path / "m")
    assert [entry.foreground.mask.path for entry in entries] == [
        str(tmp_path / "m" / name) for name in ("cat/a.png", "cat/b.webp", "cat/c.png")
    ]


def test_links_in_a_circle_are_a_sample_without_a_file_and_cost_no_other(tmp_path):
    touch(tmp_path, "photos/cat/a.jpg")
    (tmp_path / "photos/cat/b.jpg").symlink_to("c.jpg")
    (tmp_path / "photos/cat/c.jpg").symlink_to("b.jpg")
    entries = read(ImageFolder, tmp_path / "photos")
    assert ids(entries) == ["cat/a.jpg", "cat/b.jpg", "cat/c.jpg"]
    with pytest.raises(ImageFault, match=r"missing image.*there is no such file"):
        decode(Path(entries[1].image_path), exif="apply", alpha="white", max_pixels=100)


def test_a_link_out_of_the_folder_is_refused_unless_allowed(tmp_path):
    touch(tmp_path, "photos/cat/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "photos/cat/linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=r"data.allow_outside = true"):
        read(ImageFolder, tmp_path / "photos")
    assert ids(read(ImageFolder, tmp_path / "photos", allow_outside=True)) == [
        "cat/a.jpg",
        "cat/linked/b.jpg",
    ]


def test_a_link_to_a_folder_above_ends(tmp_path):
    touch(tmp_path, "cat/a.jpg")
    (tmp_path / "cat/loop").symlink_to(tmp_path / "cat")
    assert ids(read(ImageFolder, tmp_path)) == ["cat/a.jpg"]


def test_names_with_spaces_emoji_255_bytes_and_other_encodings_are_read(tmp_path):
    touch(tmp_path / "my photos", "cat/a b 😀.jpg", "cat/" + "x" * 251 + ".jpg")
    Path(os.fsdecode(os.fsencode(tmp_path / "my photos/cat") + b"/caf\xe9.jpg")).touch()
    entries = read(ImageFolder, tmp_path / "my photos")
    assert ids(entries) == ["cat/a b 😀.jpg", "cat/caf\\xe9.jpg", "cat/" + "x" * 251 + ".jpg"]
    assert all(Path(entry.image_path).is_file() for entry in entries)


@pytest.mark.parametrize(
    ("reader", "files", "expected"),
    [
        (ImageFolder, ["cat/a.jpg", "dog/a.jpg"], True),
        (ImageFolder, ["cat/a.txt", "dog/a.txt"], False),
        (ImageFolder, ["JPEGImages/a.jpg", "SegmentationClass/a.png"], False),
        (ImageFolder, ["images/train/a.jpg", "images/val/a.jpg", "masks/train/a.png"], True),
    ],
)
def test_recognises_folders(tmp_path, reader, files, expected):
    assert reader.recognises(touch(tmp_path, *files)) is expected


def test_recognises_files(tmp_path):
    csv = table(tmp_path, "path,label\n")
    other = table(tmp_path, "{}", "other.json")
    annotations = table(tmp_path, '{"images": [], "annotations": [], "categories": []}', "instances.json")
    assert [
        [reader.recognises(path) for path in (csv, other, annotations)]
        for reader in (Manifest, Coco, ImageFolder)
    ] == [
        [True, False, False],
        [False, False, True],
        [False, False, False],
    ]


# Manifest


def test_a_manifest_gives_paths_labels_splits_and_masks(tmp_path):
    path = table(
        tmp_path, "path,label,split,mask_path,width\nb.jpg,NA,test,,9\na/a.jpg,dog,train,m/a.png,9\n"
    )
    first, second = read(Manifest, path, mask_foreground=[1])
    assert first == Sample(
        "a/a.jpg",
        str(tmp_path / "a/a.jpg"),
        "dog",
        "train",
        Outline(mask=MaskFile(str(tmp_path / "m/a.png"), (1,))),
    )
    assert second == Sample("b.jpg", str(tmp_path / "b.jpg"), "NA", "test")


def test_a_parquet_manifest_reads_like_a_csv_one(tmp_path):
    frame = pd.DataFrame(
        {
            "path": ["a.jpg", "b.jpg"],
            "label": [3, 4],
            "boxes": [[[1.0, 2.0, 3.0, 4.0]], None],
            "face_xmin": [1.0, np.nan],
            "face_ymin": [1.0, np.nan],
            "face_xmax": [2.5, np.nan],
            "face_ymax": [2.0, np.nan],
        }
    )
    frame.to_parquet(tmp_path / "manifest.parquet")
    first, second = read(Manifest, tmp_path / "manifest.parquet")
    assert (first.label, second.label) == ("3", "4")
    assert first.foreground == Outline(boxes=((1, 2, 3, 4),), is_known=True)
    assert first.regions == {"face": Outline(boxes=((1, 1, 2.5, 2),), is_known=True)}
    assert second.foreground == Outline()
    assert second.regions == {"face": Outline(is_known=True)}


def test_boxes_and_regions_are_json(tmp_path):
    path = table(
        tmp_path,
        'path,label,boxes,regions\na.jpg,x,"[[0,1,2,3],[4,5,6,7]]","{""hat"": [[1,1,2,2]], ""dog"": []}"\n'
        "b.jpg,x,[],\n",
    )
    first, second = read(Manifest, path)
    assert first.foreground.boxes == ((0, 1, 2, 3), (4, 5, 6, 7))
    assert first.regions == {
        "hat": Outline(boxes=((1, 1, 2, 2),), is_known=True),
        "dog": Outline(is_known=True),
    }
    assert second.foreground == Outline(is_known=True)


def test_a_mask_wins_over_boxes(tmp_path):
    path = table(tmp_path, 'path,label,mask_path,boxes\na.jpg,x,m.png,"[[0,0,1,1]]"\n')
    assert read(Manifest, path)[0].foreground == Outline(mask=MaskFile(str(tmp_path / "m.png")))


@pytest.mark.parametrize(
    "cells",
    [
        '"[[0,0,1"',
        '"[[3,0,1,1]]"',
        '"[[0,0,NaN,1]]"',
        '"[[0,0,1]]"',
        '"{""a"": 1}"',
        '"[5]"',
        '"[[0,0,""x"",1]]"',
    ],
)
def test_a_malformed_row_is_a_fault_and_costs_no_other_row(tmp_path, cells):
    path = table(tmp_path, f'path,label,boxes\na.jpg,x,{cells}\nb.jpg,x,"[[0,0,1,1]]"\n')
    fault, sample = read(Manifest, path)
    assert isinstance(fault, Fault)
    assert (fault.sample_id, fault.label, fault.reason) == ("a.jpg", "x", "malformed annotation")
    assert "row 1" in fault.detail
    assert sample.foreground.boxes == ((0, 0, 1, 1),)


def test_half_a_region_a_missing_label_and_a_missing_path_are_faults(tmp_path):
    path = table(
        tmp_path,
        "path,label,split,face_xmin,face_ymin,face_xmax,face_ymax\na.jpg,x,t,1,2,,4\nb.jpg,,t,,,,\n,x,t,,,,\nc.jpg,x,other,9,9,1,1\n",
    )
    assert [(entry.sample_id, entry.reason) for entry in read(Manifest, path, splits=["t"])] == [
        ("a.jpg", "malformed annotation"),
        ("b.jpg", "missing label"),
        ("row 3", "missing path"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file;class\na;b\n", "expected the columns path, label, found file;class; missing: path, label"),
        ("path,label\n", "found the header alone"),
        ("", "found none; missing: path, label"),
        ("path,label\na.jpg,x,[[0,0,1,1]]\n", "line 2 has 6 cells for 2 columns"),
    ],
)
def test_a_table_that_is_no_manifest_says_what_was_found(tmp_path, text, message):
    with pytest.raises(DatasetError, match=message):
        read(Manifest, table(tmp_path, text))


def test_a_missing_manifest_and_a_damaged_parquet_are_dataset_errors(tmp_path):
    with pytest.raises(DatasetError, match="no such file"):
        read(Manifest, tmp_path / "absent.csv")
    with pytest.raises(DatasetError, match="cannot be read as a table"):
        read(Manifest, table(tmp_path, "PAR1", "manifest.parquet"))


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "a/../../b.jpg", r"\\server\share\a.jpg", r"C:\a.jpg", "a\0.jpg"],
)
@pytest.mark.parametrize("column", ["path", "mask_path"])
def test_a_path_that_leaves_the_dataset_is_refused(tmp_path, name, column):
    row = {"path": "a.jpg", "label": "x", "mask_path": "m.png"} | {column: name}
    with pytest.raises(DatasetError, match="row 1"):
        read(Manifest, table(tmp_path, ",".join(row) + "\n" + ",".join(row.values()) + "\n"))


def test_a_path_that_leaves_the_dataset_is_read_where_allowed(tmp_path):
    touch(tmp_path, "lists/x.txt", "photos/a.jpg")
    path = table(tmp_path / "lists", "path,label\n../photos/a.jpg,x\n")
    (sample,) = read(Manifest, path, allow_outside=True)
    assert sample.image_path == str(tmp_path / "photos/a.jpg")


def test_a_link_out_of_the_dataset_is_refused(tmp_path):
    touch(tmp_path, "photos/real.jpg", "secret.jpg")
    (tmp_path / "photos/a.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "photos/b.jpg").symlink_to(tmp_path / "photos/real.jpg")
    with pytest.raises(DatasetError, match=r"found 'a.jpg'"):
        read(Manifest, table(tmp_path / "photos", "path,label\na.jpg,x\n"))
    assert ids(read(Manifest, table(tmp_path / "photos", "path,label\nb.jpg,x\n"))) == ["b.jpg"]


def test_repeated_samples_are_an_error_that_lists_the_first_ten(tmp_path):
    rows = "".join(f"{n:02}.jpg,x\n" * 2 for n in range(12))
    with pytest.raises(DatasetError, match=r"found 12 repeated: '00.jpg'") as caught:
        read(Manifest, table(tmp_path, "path,label\n" + rows))
    assert str(caught.value).count("2 times") == 10


def test_two_labels_of_one_path_need_ids_of_their_own(tmp_path):
    with pytest.raises(DatasetError, match=r"'a.jpg' \(2 times, x and y\)"):
        read(Manifest, table(tmp_path, "path,label\na.jpg,x\na.jpg,y\n"))
    entries = read(Manifest, table(tmp_path, "path,label,id\na.jpg,x,1\na.jpg,y,2\n"))
    assert [(entry.sample_id, entry.label) for entry in entries] == [("1", "x"), ("2", "y")]
    with pytest.raises(DatasetError, match=r"a.jpg' \(2 times, x\)"):
        read(Manifest, table(tmp_path, "path,label,id\na.jpg,x,1\na.jpg,x,2\n"))


def test_labels_in_another_encoding_are_refused(tmp_path):
    (tmp_path / "manifest.csv").write_bytes(b"path,label\na.jpg,caf\xe9\n")
    with pytest.raises(DatasetError, match="expected UTF-8"):
        read(Manifest, tmp_path / "manifest.csv")


# COCO


def coco(
    folder: Path,
    annotations: list[dict],
    images: tuple[str, ...] = ("a.jpg",),
    name="annotations/instances_val.json",
) -> Path:
    for image in images:
        touch(folder / "val", image)
    contents = {
        "images": [{"id": n, "file_name": image, "width": 8, "height": 6} for n, image in enumerate(images)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "bed"}],
        "annotations": [
            {"id": n, "image_id": 0, "iscrowd": 0} | record for n, record in enumerate(annotations)
        ],
    }
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(contents))
    return folder / name


CAT_BOX = {"category_id": 1, "bbox": [1, 2, 3, 4], "area": 12}
DOG_POLYGON = {"category_id": 2, "segmentation": [[0, 0, 2, 0, 2, 2]], "bbox": [0, 0, 2, 2], "area": 2}


def test_coco_objects_of_the_label_are_foreground_and_the_rest_are_regions(tmp_path):
    crowd = {
        "category_id": 1,
        "segmentation": {"size": [6, 8], "counts": [40, 8]},
        "iscrowd": 1,
        "area": 8,
        "bbox": [0, 0, 8, 6],
    }
    packed = {
        "category_id": 3,
        "segmentation": {"size": [6, 8], "counts": "X18"},
        "area": 1,
        "bbox": [0, 0, 8, 6],
    }
    (sample,) = read(Coco, coco(tmp_path, [CAT_BOX, DOG_POLYGON, crowd, packed]))
    assert sample.sample_id == "val/a.jpg"
    assert sample.image_path == str(tmp_path / "val/a.jpg")
    assert sample.label == "cat"  # 20 of the summed area against 2 and 1
    assert sample.foreground == Outline(
        boxes=((1, 2, 4, 6),), run_lengths=(RunLengths((6, 8), (40, 8)),), is_known=True, size=(8, 6)
    )
    assert sample.regions == {
        "dog": Outline(polygons=((0, 0, 2, 0, 2, 2),), is_known=True, size=(8, 6)),
        "bed": Outline(run_lengths=(RunLengths((6, 8), "X18"),), is_known=True, size=(8, 6)),
    }


def test_the_folder_of_an_image_names_its_label(tmp_path):
    (sample,) = read(Coco, coco(tmp_path, [CAT_BOX, DOG_POLYGON], ("dog/a.jpg",)))
    assert (sample.label, set(sample.regions)) == ("dog", {"cat"})


def test_a_manifest_names_labels_and_chooses_images(tmp_path):
    path = coco(tmp_path, [CAT_BOX, DOG_POLYGON], ("a.jpg", "b.jpg"))
    labels = table(tmp_path, "path,label,split\nval/a.jpg,bed,test\n", "labels.csv")
    (sample,) = read(Coco, path, manifest=labels)
    assert (sample.label, sample.split) == ("bed", "test")
    assert sample.foreground == Outline(is_known=True, size=(8, 6))  # looked for, and not there
    assert set(sample.regions) == {"cat", "dog"}


def test_an_image_without_objects_has_no_label(tmp_path):
    first, second = read(Coco, coco(tmp_path, [CAT_BOX], ("a.jpg", "b.jpg")))
    assert first.label == "cat"
    assert (second.sample_id, second.reason) == ("val/b.jpg", "missing label")


@pytest.mark.parametrize(
    "record",
    [
        {"category_id": 9, "bbox": [0, 0, 1, 1]},
        {"category_id": 1},
        {"category_id": 1, "bbox": [0, 0, -1, 1]},
        {"category_id": 1, "bbox": [0, 0, 1]},
        {"category_id": 1, "bbox": "none"},
        {"category_id": 1, "segmentation": [[0, 0, 1, 1, 2]]},
        {"category_id": 1, "segmentation": {"size": [6], "counts": []}},
        {"category_id": 1, "segmentation": {"counts": []}},
    ],
)
def test_a_malformed_object_is_a_fault_of_its_image_alone(tmp_path, record):
    first, second = read(
        Coco, coco(tmp_path, [CAT_BOX, record, CAT_BOX | {"image_id": 1}], ("a.jpg", "b.jpg"))
    )
    assert (first.reason, second.label) == ("malformed annotation", "cat")
    assert "object 1 of image 0" in first.detail


def test_images_are_found_around_the_file_or_where_configured(tmp_path):
    beside = (
        coco(tmp_path / "x", [CAT_BOX], name="val/_annotations.coco.json")
        if (tmp_path / "x").mkdir() is None
        else None
    )
    assert ids(read(Coco, beside)) == ["a.jpg"]
    alone = tmp_path / "alone" / "instances.json"
    alone.parent.mkdir()
    shutil.copy(beside, alone)
    assert ids(read(Coco, alone, images=tmp_path / "x/val")) == ["a.jpg"]
    with pytest.raises(DatasetError, match=r"name their folder in data.images"):
        read(Coco, alone)


def test_the_folder_named_like_the_file_wins_where_two_hold_the_image(tmp_path):
    path = coco(tmp_path, [CAT_BOX])
    touch(tmp_path / "train", "a.jpg")
    assert read(Coco, path)[0].image_path == str(tmp_path / "val/a.jpg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON"),
        ("[]", "found list"),
        ('{"images": []}', "found images"),
        ('{"images": [{}], "annotations": [], "categories": []}', "one without: 'id'"),
    ],
)
def test_a_file_that_is_no_coco_says_what_was_found(tmp_path, text, message):
    with pytest.raises(DatasetError, match=message):
        read(Coco, table(tmp_path, text, "instances.json"))


def test_a_coco_file_name_may_not_leave_its_folder(tmp_path):
    with pytest.raises(DatasetError, match="expected a path inside"):
        read(Coco, coco(tmp_path, [CAT_BOX], ("../../secret.jpg",)))


def test_a_manifest_refers_to_objects_of_a_coco_file(tmp_path):
    coco(tmp_path, [CAT_BOX, DOG_POLYGON])
    header = "path,label,mask_path,dog_xmin,dog_ymin,dog_xmax,dog_ymax\n"
    text = header + "val/a.jpg,{},annotations/instances_val.json#image_id={},,,,\n"
    (cat,) = read(Manifest, table(tmp_path, text.format("cat", 0)))
    assert cat.foreground.boxes == ((1, 2, 4, 6),)
    assert cat.regions == {"dog": Outline(is_known=True)}  # the table's own column wins
    (unknown,) = read(Manifest, table(tmp_path, text.format("sofa", 0)))
    assert unknown.foreground == Outline()
    assert set(unknown.regions) == {"cat", "dog"}
    (fault,) = read(Manifest, table(tmp_path, text.format("cat", 77)))
    assert fault.reason == "malformed annotation"


@pytest.mark.parametrize(
    ("label", "labels"),
    [
        ("pup", {"pup": "cat"}),  # the dataset's label has the model's name of a category
        ("cat", {"cat": "hound"}),
        ("cat", {"cat": "dog", "dog": "cat"}),  # renamed once, not back again
    ],
)
def test_renamed_labels_still_find_their_objects(tmp_path, label, labels):
    path = coco(tmp_path, [CAT_BOX, DOG_POLYGON])
    reference = "annotations/instances_val.json#image_id=0"
    rows = table(tmp_path, f"path,label,mask_path\nval/a.jpg,{label},{reference}\n")
    for (sample,) in (read(Manifest, rows, labels=labels), read(Coco, path, manifest=rows, labels=labels)):
        assert sample.label == labels[label]
        assert sample.foreground.boxes == ((1, 2, 4, 6),)
        assert set(sample.regions) == {labels.get("dog", "dog")}


def test_categories_renamed_to_one_class_are_its_foreground_together(tmp_path):
    bed = {"category_id": 3, "bbox": [0, 0, 2, 6.5], "area": 13}
    path = coco(tmp_path, [CAT_BOX, DOG_POLYGON, bed])
    assert read(Coco, path)[0].label == "bed"
    (sample,) = read(Coco, path, labels={"dog": "cat"})  # 14 of the summed area against 13
    assert (sample.label, set(sample.regions)) == ("cat", {"bed"})
    assert sample.foreground.boxes == ((1, 2, 4, 6),)
    assert sample.foreground.polygons == ((0, 0, 2, 0, 2, 2),)


def test_the_folder_of_an_image_may_name_a_renamed_label(tmp_path):
    path = coco(tmp_path, [CAT_BOX, DOG_POLYGON], ("pup/a.jpg",))
    (sample,) = read(Coco, path, labels={"pup": "dog"})
    assert (sample.label, set(sample.regions)) == ("dog", {"cat"})
    assert sample.foreground.polygons == ((0, 0, 2, 0, 2, 2),)


@pytest.mark.parametrize(
    ("stated", "size"),
    [({}, None), ({"width": None, "height": 6}, None), ({"width": 6.0, "height": 8}, (6, 8))],
)
def test_outlines_of_coco_carry_the_size_that_the_image_record_states(tmp_path, stated, size):
    path = coco(tmp_path, [CAT_BOX])
    contents = json.loads(path.read_bytes())
    path.write_text(json.dumps(contents | {"images": [{"id": 0, "file_name": "a.jpg"} | stated]}))
    assert read(Coco, path)[0].foreground.size == size


def test_a_coco_size_that_is_no_number_is_a_fault(tmp_path):
    path = coco(tmp_path, [CAT_BOX])
    path.write_text(path.read_text().replace('"width": 8', '"width": "wide"'))
    (fault,) = read(Coco, path)
    assert fault.reason == "malformed annotation"
    assert "'wide' and 6" in fault.detail


# Real data


@needs_data
@pytest.mark.data
def test_the_garments_manifest_is_read():
    entries = read(Manifest, Path(DATA) / "garments/manifest.csv")
    assert len(entries) == 1748
    assert len({entry.label for entry in entries}) == 10
    assert all(Path(entry.foreground.mask.path).is_file() for entry in entries)
    assert {entry.split for entry in entries} == {"train", "val", "test"}


@needs_data
@pytest.mark.data
def test_coco128_gives_the_same_outlines_by_both_readers():
    root = Path(DATA) / "coco128"
    rows = read(Manifest, root / "manifest.csv")
    direct = read(Coco, root / "annotations/instances_val2017.json", manifest=root / "manifest.csv")
    assert ids(rows) == ids(direct)
    assert len(rows) == 128
    unlabelled = [
        [entry.sample_id for entry in entries if isinstance(entry, Fault)] for entries in (rows, direct)
    ]
    assert unlabelled == [["val2017/000000000250.jpg", "val2017/000000000508.jpg"]] * 2
    for by_row, by_file in zip(rows, direct, strict=True):
        if isinstance(by_row, Fault):
            continue
        assert (by_row.sample_id, by_row.label, by_row.foreground) == (
            by_file.sample_id,
            by_file.label,
            by_file.foreground,
        )
        assert by_row.regions == dict(by_file.regions) | {"face": by_row.regions["face"]}


@needs_data
@pytest.mark.data
def test_coco128_objects_have_the_area_pycocotools_gives_them():
    root = Path(DATA) / "coco128"
    contents = json.loads((root / "annotations/instances_val2017.json").read_bytes())
    sizes = {image["id"]: (image["width"], image["height"]) for image in contents["images"]}
    polygons = [record for record in contents["annotations"] if isinstance(record["segmentation"], list)]
    ours = theirs = 0
    for record in polygons[:200]:
        width, height = sizes[record["image_id"]]
        outline = Outline(polygons=tuple(tuple(polygon) for polygon in record["segmentation"]))
        drawn = Geometry((width, height), 1, (height, width), "stretch", False).outline(outline) == FOREGROUND
        oracle = coco_masks.area(
            coco_masks.merge(coco_masks.frPyObjects(record["segmentation"], height, width))
        )
        ours, theirs = ours + drawn.sum(), theirs + int(oracle)
        assert abs(int(drawn.sum()) - int(oracle)) <= max(
            0.03 * oracle, int(oracle) ** 0.5
        )  # the outline of a small one
    assert ours == pytest.approx(theirs, rel=0.03)
