import csv
import os
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from audit.errors import ConfigError
from audit.suggestions import WITH, WITHOUT
from audit.types import AuditRun, Suggestion
from pipelines.demo import FULL, MADE, MARKER, audit_config, mending, pool_of, prepare, share_on_confound
from pipelines.demo_world import CLASSES, SHIRT, SHOES, SIZE, Request, World, write, write_manifest

WORLD = World(seed=0)


def photo(label: str, has_face: bool, number: int = 0, split: str = "test", world: World = WORLD):
    return world.draw(Request(label, has_face, split, number))


def wish(label: str, kind: str, n_class: int, n_to_add: int) -> Suggestion:
    return Suggestion(label, kind, "face", 0, n_class, n_to_add, "", ())


@pytest.mark.parametrize("label", CLASSES)
@pytest.mark.parametrize("number", range(5))
def test_the_pair_of_a_photo_with_and_without_a_face_differs_above_the_garment_alone(label, number):
    worn, alone = photo(label, True, number), photo(label, False, number)
    changed = (worn.image != alone.image).any(axis=-1)
    rows_of_face = np.flatnonzero(worn.face.any(axis=1))
    garment_of_both = worn.foreground & alone.foreground
    assert changed[worn.face].mean() > 0.99
    assert not changed[
        garment_of_both & ~_near(worn.foreground ^ alone.foreground) & ~_near(~garment_of_both)
    ].any()
    assert not changed[rows_of_face[-1] + SIZE // 4 :].any()


def _near(mask: np.ndarray) -> np.ndarray:
    """The mask and two pixels around it: edges are blended."""
    wide = mask.copy()
    for _ in range(2):
        wide[1:] |= wide[:-1].copy()
        wide[:-1] |= wide[1:].copy()
        wide[:, 1:] |= wide[:, :-1].copy()
        wide[:, :-1] |= wide[:, 1:].copy()
    return wide


@pytest.mark.parametrize("label", CLASSES)
def test_every_photo_shows_enough_of_its_garment_and_of_its_face(label):
    photos = [photo(label, True, number) for number in range(20)]
    garments, faces = (
        [share.mean() for share in shares]
        for shares in zip(*[(p.foreground, p.face) for p in photos], strict=True)
    )
    assert min(garments) > 0.04
    assert max(garments) < 0.6
    assert min(faces) > 0.02
    assert max(faces) < 0.15
    assert not any((p.foreground & p.face).any() for p in photos)


def test_a_photo_without_a_face_has_an_empty_face_region():
    assert not photo(SHIRT, False).face.any()


def test_the_same_request_draws_the_same_photo_in_any_world_of_that_seed_and_another_in_others():
    first, again = photo(SHOES, True), photo(SHOES, True, world=World(seed=0))
    np.testing.assert_array_equal(first.image, again.image)
    assert (photo(SHOES, True, world=World(seed=1)).image != first.image).any()
    assert (photo(SHOES, True, split="train").image != first.image).any()
    assert (photo(SHOES, True, number=1).image != first.image).any()


def test_backgrounds_do_not_tell_the_class():
    corners = {
        label: np.array([photo(label, False, n).image[:20, :20].mean() for n in range(60)])
        for label in CLASSES
    }
    shirts, shoes = corners[SHIRT], corners[SHOES]
    standard_error = np.sqrt(shirts.var(ddof=1) / len(shirts) + shoes.var(ddof=1) / len(shoes))
    assert abs(shirts.mean() - shoes.mean()) < 3 * standard_error


def test_written_photos_masks_and_manifest_belong_together(tmp_path):
    request = Request(SHIRT, True, "test", 7)
    counted = []
    write_manifest(write(WORLD, [request], tmp_path, counted.append), tmp_path / "manifest.csv")
    (row,) = csv.DictReader((tmp_path / "manifest.csv").open(newline=""))
    drawn = WORLD.draw(request)
    with Image.open(tmp_path / row["mask_path"]) as mask, Image.open(tmp_path / row["path"]) as image:
        np.testing.assert_array_equal(np.asarray(mask) == 255, drawn.foreground)
        assert np.abs(np.asarray(image).astype(int) - drawn.image).mean() < 5  # JPEG
    assert (row["label"], row["split"], row["has_face"], counted) == ("t-shirt", "test", "yes", [1])


def test_training_photos_get_what_is_suggested_in_proportion_to_the_audited_ones():
    wishes = [wish(SHIRT, WITHOUT, n_class=50, n_to_add=41), wish(SHOES, WITH, n_class=50, n_to_add=40)]
    assert mending(wishes, n_train=180) == {(SHIRT, False): 148, (SHOES, True): 144}  # 41 * 3.6 = 147.6


def test_the_pool_holds_more_than_is_asked_for_and_what_nobody_asks_for():
    pool = pool_of({(SHIRT, False): 20, (SHOES, True): 10})
    assert pool == {(SHOES, False): 10, (SHOES, True): 11, (SHIRT, False): 22, (SHIRT, True): 10}


def test_the_demo_starts_afresh_in_its_own_folder_and_leaves_other_files_there(tmp_path):
    out = tmp_path / "demo"
    prepare(out)
    (out / "run_before").mkdir()
    (out / "run_before" / "old").write_text("old")
    (out / "notes.txt").write_text("mine")
    prepare(out)
    assert sorted(path.name for path in out.iterdir()) == [MARKER, "notes.txt"]


def test_a_folder_that_no_demo_made_is_refused_untouched(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    with pytest.raises(ConfigError, match=r"expected a new or empty folder, found .* nothing was touched"):
        prepare(tmp_path)
    assert list(tmp_path.iterdir()) == [photos]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "demo").write_text("")
    with pytest.raises(ConfigError, match="expected a folder for the demo, found the file"):
        prepare(tmp_path / "demo")


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_a_link_in_the_demo_folder_is_dropped_without_following_it(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "photo.jpg").write_text("")
    prepare(tmp_path / "demo")
    (tmp_path / "demo" / MADE[0]).symlink_to(precious)
    prepare(tmp_path / "demo")
    assert (precious / "photo.jpg").exists()
    assert not (tmp_path / "demo" / MADE[0]).is_symlink()


def test_the_audit_reads_the_test_photos_and_looks_for_faces_by_itself(tmp_path):
    config = audit_config(tmp_path, tmp_path / "photos" / "manifest.csv", tmp_path / "before.keras")
    assert (config.data.splits, config.confounds.use, config.model.classes) == (
        ["test"],
        ["faces"],
        ["shoes", "t-shirt"],
    )


def test_the_share_on_the_face_is_the_mean_over_photos_of_the_class_that_show_one():
    rows = [  # sample, confound, present, mass, area
        ("shirt 1", "face", True, 0.6, 0.1),
        ("shirt 2", "face", True, 0.2, 0.3),
        ("shirt 3", "face", False, np.nan, np.nan),
        ("shirt 1", "text", True, 0.9, 0.9),
        ("shoe", "face", True, 1.0, 1.0),
    ]
    names = ["sample_id", "confound", "present", "mass_inside", "area_inside"]
    confounds = pd.DataFrame(rows, columns=names).assign(method="grad_cam")
    predictions = pd.DataFrame(
        {"sample_id": ["shirt 1", "shirt 2", "shirt 3", "shoe"], "label": [SHIRT] * 3 + [SHOES]}
    )
    run = AuditRun("demo", {}, CLASSES, {"confounds": confounds, "predictions": predictions}, (), (), ())
    assert share_on_confound(run, SHIRT, "grad_cam") == pytest.approx((0.4, 0.2))
    assert np.isnan(share_on_confound(run, SHIRT, "xrai")).all()


@pytest.mark.slow
def test_the_demo_finds_the_face_and_mends_it(tmp_path, capsys):
    from pipelines.demo import tell

    assert tell(tmp_path / "demo", console=Console(width=120, color_system=None)) == 0
    printed = capsys.readouterr().out
    assert re.search(r"t-shirt is (suspect|spurious) \(face\)", printed)
    assert printed.rstrip().endswith("index.html")
    # Three of ten photos of the pool are of kinds that nobody asked for; so would be those of a list at random.
    photos = list(csv.DictReader((tmp_path / "demo" / "photos" / "mended.csv").open(newline="")))
    added = [row for row in photos if row["split"] == "train"][2 * FULL.n_train :]
    asked = sum((row["label"] == SHOES) == (row["has_face"] == "yes") for row in added)
    assert len(added) >= 100
    assert asked / len(added) > 0.9
    before, after = map(
        int, re.search(r"t-shirt photos without a face\s+(\d+)\s%\s+(\d+)\s%", printed).groups()
    )
    assert after >= before + 20
    assert (tmp_path / "demo" / "run_after" / "report" / "index.html").is_file()
