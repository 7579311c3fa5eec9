import hashlib
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.types import BACKGROUND, FOREGROUND, IGNORE, MaskFile, Outline, Sample
from pipelines.config import DataConfig, RunConfig, validate
from pipelines.inputs import NO_LABEL, InputSettings, batches, load, settings_from
from pipelines.readers.coco import Coco
from pipelines.readers.image_folder import ImageFolder
from pipelines.readers.manifest import Manifest

DATA = os.environ.get("RIGHT_REASONS_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="RIGHT_REASONS_DATA is not set")
CLASSES = {"red": 0, "blue": 1}


def settings(*, region_names=(), target=(4, 8)) -> InputSettings:
    return InputSettings(target, "stretch", False, "apply", "white", 1_000_000, region_names)


def sample(folder: Path, name: str, label: str | None = "red", **outlines) -> Sample:
    path = folder / name
    if not path.exists():
        Image.new("RGB", (8, 4), label or "green").save(path, "PNG")
    return Sample(name, str(path), label, **outlines)


def test_a_batch_holds_the_samples_as_arrays(tmp_path):
    samples = [
        sample(tmp_path, "a", "blue", foreground=Outline(boxes=((0, 0, 2, 4),))),
        sample(tmp_path, "b", "red"),
    ]
    batch, digests, faults = load(samples, CLASSES, None, settings())
    assert batch.sample_ids == ("a", "b")
    assert (batch.images.shape, batch.images.dtype) == ((2, 4, 8, 3), np.float32)
    assert batch.images[0, 0, 0].tolist() == [0, 0, 1]
    assert (batch.labels.tolist(), batch.labels.dtype) == ([1, 0], np.int64)
    assert batch.foreground[0, 0].tolist() == [FOREGROUND] * 2 + [BACKGROUND] * 6
    assert (batch.foreground[1] == IGNORE).all()
    assert digests == {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in "ab"}
    assert faults == ()


def test_what_cannot_be_used_is_a_fault_and_costs_no_other_sample(tmp_path):
    (tmp_path / "text").write_text("no image")
    samples = [
        sample(tmp_path, "text"),
        sample(tmp_path, "good"),
        Sample("gone", str(tmp_path / "gone"), "red"),
        sample(tmp_path, "unmasked", foreground=Outline(mask=MaskFile(str(tmp_path / "absent.png")))),
        sample(tmp_path, "outside", regions={"face": Outline(boxes=((50, 50, 60, 60),))}),
        sample(tmp_path, "resized", foreground=Outline(boxes=((0, 0, 2, 4),), size=(16, 8))),
        sample(tmp_path, "stranger", "green"),
    ]
    batch, digests, faults = load(samples, CLASSES, None, settings(region_names=("face",)))
    assert batch.sample_ids == ("good",)
    assert [(fault.sample_id, fault.reason) for fault in faults] == [
        ("text", "unreadable image"),
        ("gone", "missing image"),
        ("unmasked", "missing mask"),
        ("outside", "box outside the image"),
        ("resized", "annotation of another size"),
        ("stranger", "unknown label"),
    ]
    assert set(digests) == {"good", "unmasked", "outside", "resized"}


def test_without_a_usable_sample_there_is_no_batch(tmp_path):
    batch, digests, faults = load([Sample("gone", str(tmp_path / "gone"), "red")], CLASSES, None, settings())
    assert batch is None
    assert digests == {}
    assert len(faults) == 1


def test_a_sample_of_a_pool_has_no_label(tmp_path):
    batch, _, _ = load([sample(tmp_path, "a", None)], CLASSES, None, settings())
    assert batch.labels.tolist() == [NO_LABEL]


def test_annotated_regions_win_over_detected_ones_and_foreground_is_no_region(tmp_path):
    samples = [
        sample(
            tmp_path,
            "a",
            foreground=Outline(boxes=((0, 0, 4, 4),)),
            regions={"face": Outline(boxes=((3, 0, 6, 4),)), "hat": Outline(is_known=True)},
        )
    ]

    def everything(sample, pixels, digest):
        found = np.ones(pixels.shape[:2], dtype=bool)
        return {"face": found, "hat": found, "text": found}

    batch, _, _ = load(samples, CLASSES, everything, settings(region_names=("face", "hat", "text", "dog")))
    assert {name: mask[0, 0].astype(int).tolist() for name, mask in batch.regions.items()} == {
        "face": [0, 0, 0, 0, 1, 1, 0, 0],  # column 3 is foreground
        "hat": [0] * 8,  # looked for and not there
        "text": [0, 0, 0, 0, 1, 1, 1, 1],
        "dog": [0] * 8,
    }
    assert batch.regions["face"].dtype == bool


def test_a_detector_sees_the_upright_image(tmp_path):
    stored = np.zeros((4, 8, 3), dtype=np.uint8)
    stored[:2, :2] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    seen = {}

    def bright(sample, pixels, digest):
        seen[sample.sample_id] = (pixels.shape, digest)
        return {"light": pixels[..., 0] > 127}

    turned = Sample("a", str(tmp_path / "a.png"), "red")
    batch, digests, _ = load([turned], CLASSES, bright, settings(region_names=("light",), target=(8, 4)))
    assert seen == {"a": ((8, 4, 3), digests["a"])}
    np.testing.assert_array_equal(batch.regions["light"][0], batch.images[0, ..., 0] == 1.0)
    assert batch.regions["light"][0].sum() == 4
    assert batch.regions["light"][0, 0, 3]  # the first corner, turned by a quarter clockwise


@pytest.mark.parametrize("lookahead", [0, 1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batches_come_in_order_and_equal_those_of_one_load(tmp_path, batch_size, lookahead):
    samples = [sample(tmp_path, f"{n}", "red" if n % 2 else "blue") for n in range(5)]
    whole, digests, _ = load(samples, CLASSES, None, settings())
    parts = list(batches(samples, CLASSES, None, settings(), batch_size=batch_size, lookahead=lookahead))
    assert [name for batch, _, _ in parts for name in batch.sample_ids] == ["0", "1", "2", "3", "4"]
    np.testing.assert_array_equal(np.concatenate([batch.images for batch, _, _ in parts]), whole.images)
    assert {key: value for _, found, _ in parts for key, value in found.items()} == digests


def test_batches_end_their_threads_when_the_caller_stops_early(tmp_path):
    samples = [sample(tmp_path, f"{n}") for n in range(20)]
    stream = batches(samples, CLASSES, None, settings(), batch_size=1, lookahead=4)
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_a_fault_of_the_detector_is_raised_not_quarantined(tmp_path):
    def broken(sample, pixels, digest):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(batches([sample(tmp_path, "a")], CLASSES, broken, settings(), batch_size=1, lookahead=1))


def test_settings_are_those_of_the_configuration():
    config: RunConfig = validate(
        {
            "data": {"path": "x", "exif": "ignore", "alpha": "drop", "max_pixels": 7},
            "model": {"path": "y", "resize": "pad", "antialias": True},
        },
        "test",
    )
    assert settings_from(config, (3, 4), ("face",)) == InputSettings(
        (3, 4), "pad", True, "ignore", "drop", 7, ("face",)
    )


@needs_data
@pytest.mark.data
def test_pets_have_animal_border_and_background():
    # Palette images: index 1 is a cat, 2 a dog, 255 the border.
    config = DataConfig(path=Path(DATA) / "pets26/manifest.csv", mask_foreground=[1, 2], mask_ignore=[255])
    samples = list(Manifest(config)())
    classes = {name: index for index, name in enumerate(sorted({entry.label for entry in samples}))}
    batch, _, faults = load(samples, classes, None, settings(target=(224, 224)))
    assert faults == ()
    assert len(batch.sample_ids) == 26
    for foreground in batch.foreground:
        assert set(np.unique(foreground)) == {BACKGROUND, FOREGROUND, IGNORE}
        assert 0.02 < (foreground == FOREGROUND).mean() < 0.95
        assert (foreground == IGNORE).mean() < 0.25


@needs_data
@pytest.mark.data
def test_garments_and_coco128_load_without_a_fault():
    garments = Path(DATA) / "garments"
    coco128 = Path(DATA) / "coco128"
    for config, reader in [
        (DataConfig(path=garments / "manifest.csv", splits=["test"]), Manifest),
        (DataConfig(path=garments), ImageFolder),
        (DataConfig(path=coco128 / "annotations/instances_val2017.json"), Coco),
        (DataConfig(path=coco128 / "manifest.csv"), Manifest),
    ]:
        samples = list(reader(config)())[:40]
        classes = {entry.label: 0 for entry in samples}
        names = tuple(sorted({name for entry in samples for name in entry.regions}))
        batch, _, faults = load(samples, classes, None, settings(region_names=names, target=(224, 224)))
        assert faults == ()
        assert (batch.foreground == FOREGROUND).any(axis=(1, 2)).all()


@needs_data
@pytest.mark.data
def test_faces_of_the_shortcut_manifest_lie_outside_the_garment():
    config = DataConfig(path=Path(DATA) / "garments_face/manifest_shortcut.csv", splits=["test"])
    samples = [entry for entry in Manifest(config)() if entry.label == "t-shirt"][:20]
    batch, _, _ = load(samples, {"t-shirt": 0}, None, settings(region_names=("face",), target=(224, 224)))
    assert batch.regions["face"].any(axis=(1, 2)).all()
    assert not (batch.regions["face"] & (batch.foreground == FOREGROUND)).any()
