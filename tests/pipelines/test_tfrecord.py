"""TFRecord files: the same objects under either naming, pictures in place, damage in one sentence."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from audit.errors import DatasetError
from audit.types import FOREGROUND, Sample
from pipelines.config import DataConfig
from pipelines.geometry import Geometry
from pipelines.inputs import InputSettings, load
from pipelines.readers._annotations import Fault
from pipelines.readers.manifest import Manifest
from pipelines.readers.tfrecord import TfRecord
from pipelines.shards import reader_of

WIDTH, HEIGHT = 8, 4


def picture(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), (grey, grey, grey)).save(buffer, "PNG")
    return buffer.getvalue()


def feature(values) -> tf.train.Feature:
    if isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def write(path, *records, compression="") -> None:
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression)) as writer:
        for record in records:
            features = tf.train.Features(feature={name: feature(values) for name, values in record.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())


def read(path, **options) -> list[Sample | Fault]:
    return list(TfRecord(DataConfig(path=path, **options))())


def drawn(outline) -> np.ndarray:
    return Geometry((WIDTH, HEIGHT), 1, (HEIGHT, WIDTH), "stretch", False).outline(outline) == FOREGROUND


CAT, DOG = (0.0, 0.25, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)  # ymin, xmin, ymax, xmax
OF_DATASETS = {
    "image": [picture(0)],
    "label": [1],
    "objects/bbox": [*CAT, *DOG],
    "objects/label": [1, 0],
}
OF_DETECTION = {
    "image/encoded": [picture(0)],
    "image/class/text": [b"cat"],
    "image/object/class/text": [b"cat", b"dog"],
    "image/object/bbox/ymin": [CAT[0], DOG[0]],
    "image/object/bbox/xmin": [CAT[1], DOG[1]],
    "image/object/bbox/ymax": [CAT[2], DOG[2]],
    "image/object/bbox/xmax": [CAT[3], DOG[3]],
}


@pytest.mark.parametrize("record", [OF_DATASETS, OF_DETECTION], ids=["datasets", "detection"])
def test_either_naming_gives_the_same_label_and_pixels(tmp_path, record):
    write(tmp_path / "pets-test.tfrecord-00000-of-00001", record)
    for name in ("label", "objects-label"):
        (tmp_path / f"{name}.labels.txt").write_text("dog\ncat\n")
    (sample,) = read(tmp_path)
    assert (sample.sample_id, sample.label) == ("pets-test.tfrecord-00000-of-00001#0", "cat")
    assert sample.split == "test"
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    expected[:2, 2:4] = True
    np.testing.assert_array_equal(drawn(sample.foreground), expected)
    assert drawn(sample.regions["dog"]).sum() == 2 * 4


def test_pictures_are_read_where_they_lie_in_the_file(tmp_path):
    greys = [10, 250, 90]
    write(tmp_path / "a.tfrecord", *({"image": [picture(grey)], "label": [0]} for grey in greys))
    samples = read(tmp_path / "a.tfrecord")
    how = InputSettings((HEIGHT, WIDTH), "stretch", False, "apply", "white", 1000, ())
    batch, _, faults = load(samples, {"0": 0}, None, how)
    assert faults == ()
    assert (batch.images[:, 0, 0, 0] * 255).round().tolist() == greys


def test_numbers_are_class_names_where_nothing_names_them(tmp_path):
    write(tmp_path / "a.tfrecord", {"image": [picture(0)], "label": [7]})
    assert read(tmp_path)[0].label == "7"
    assert read(tmp_path, labels={"7": "cat"})[0].label == "cat"


def test_the_object_with_the_largest_area_is_the_label_of_a_picture_without_one(tmp_path):
    record = {name: values for name, values in OF_DETECTION.items() if name != "image/class/text"}
    write(tmp_path / "a.tfrecord", record)
    assert read(tmp_path)[0].label == "dog"  # 4 x 2 pixels against 2 x 2


def test_a_malformed_record_is_a_fault_and_costs_no_other(tmp_path):
    write(tmp_path / "a.tfrecord", OF_DATASETS | {"objects/bbox": [*CAT, 0.5]}, OF_DATASETS)
    fault, sample = read(tmp_path)
    assert (fault.reason, sample.label) == ("malformed annotation", "1")
    assert "record 0" in fault.detail


@pytest.mark.parametrize(
    "kind", ["cut off", "flipped", "compressed", "not a record", "not an example", "no picture"]
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, kind):
    path = tmp_path / "a.tfrecord"
    write(
        path,
        OF_DATASETS if kind != "no picture" else {"label": [1]},
        compression="GZIP" * (kind == "compressed"),
    )
    contents = path.read_bytes()
    if kind == "cut off":
        path.write_bytes(contents[:-9])
    if kind == "flipped":
        path.write_bytes(contents[:40] + bytes([contents[40] ^ 1]) + contents[41:])
    if kind == "not a record":
        path.write_text("this is no record file, whatever its name says")
    if kind == "not an example":
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(b"\xff\xff\xff")
    with pytest.raises(DatasetError, match=r"a\.tfrecord.*: expected") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_the_reader_is_found_by_the_names_of_files(tmp_path):
    write(tmp_path / "a.tfrecord-00000-of-00002", OF_DATASETS)
    assert reader_of(tmp_path) == "tfrecord"
    with pytest.raises(DatasetError, match="expected files called like"):
        read(tmp_path / "nothing.txt")


def test_a_part_of_a_file_behind_a_link_does_not_leave_the_dataset(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.png").write_bytes(picture(0))
    (tmp_path / "data" / "a.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "data" / "m.csv").write_text("path,label\na.png#bytes=0+50,cat\n")
    with pytest.raises(DatasetError, match="expected a path inside"):
        list(Manifest(DataConfig(path=tmp_path / "data" / "m.csv"))())
