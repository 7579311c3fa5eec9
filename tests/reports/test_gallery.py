"""The gallery's files: numbers as scripts, as CSV and as a table, and the sheets of small pictures."""

import csv
import dataclasses
import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from audit.types import BACKGROUND, FOREGROUND, IGNORE
from pipelines.gallery import exemplar_sheets
from reports import gallery, sheets, site
from reports.csv_text import csv_text
from tests.reports.conftest import renamed

HOSTILE = "</script><script>alert(1)</script>\"'\n,=cmd|x\u2028<!--"


def script(files, name):
    """The values that a script hands to the page, and its text."""
    text = files[f"gallery/{name}.js"]
    return json.loads(text.removeprefix("rightReasons(").removesuffix(");\n")), text


def rows_of(files):
    return list(csv.DictReader(io.StringIO(files[gallery.CSV])))


@pytest.fixture(scope="module")
def files(audit_run):
    return gallery.files(audit_run, exemplar_sheets(audit_run), ())


@pytest.fixture(scope="module")
def core(files):
    return script(files, "samples")[0]["core"]


def test_every_sample_stands_in_the_columns_with_its_numbers(audit_run, core):
    predictions = audit_run.tables["predictions"]
    assert core["ids"] == list(predictions["sample_id"])
    assert [core["labels"][place] for place in core["predicted"]] == list(predictions["predicted"])
    scores = {column["name"]: column for column in core["scores"]}
    assert scores["confidence"] == {"name": "confidence", "scale": 1000, "values": [930] * 15}
    assert scores["entropy"] == {"name": "entropy", "scale": 1, "values": [0.2] * 15}


def test_a_score_that_was_not_measured_is_null_and_one_that_never_was_is_left_out(audit_run):
    table = audit_run.tables["attributions"]
    numbers = table["mass_inside"].to_numpy().copy()
    numbers[0] = math.nan
    run = dataclasses.replace(
        audit_run, tables={**audit_run.tables, "attributions": table.assign(mass_inside=numbers)}
    )
    own = script(gallery.files(run, (), ()), "method-0")[0]
    assert [column["name"] for column in own["scores"]] == ["mass_inside"]
    assert own["scores"][0]["values"] == [None] + [71] * 14


def test_confounds_stand_with_the_samples_that_show_them(files, core):
    assert core["confounds"] == [{"name": "face", "at": [0, 1, 2, 3, 4]}]
    own = script(files, "method-1")[0]
    assert own["confounds"] == [{"at": [0, 1, 2, 3, 4], "mass": [810] * 5, "area": [50] * 5}]


def test_paths_lose_what_they_have_in_common_and_an_id_at_their_end(core):
    assert core["prefix"] == "photos/"
    assert core["paths"] == [0] * 15


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["/d/a.png", "/d/b.png"], ("/d/", ["a.png", "b.png"])),
        (["/d/x", "/d/x2"], ("/d/", [0, "x2"])),
        (["q", "/r"], ("", ["q", "/r"])),
    ],
)
def test_a_path_is_its_prefix_and_the_rest(paths, expected):
    assert gallery._paths(["x", "y"], paths) == expected


def test_risks_become_a_score_with_its_reason_where_the_run_has_them(audit_run):
    ids = audit_run.tables["predictions"]["sample_id"]
    risks = pd.DataFrame({"sample_id": ids[:1], "risk": [0.25], "rank": [1], "reason": ["unsure"]})
    made = gallery.files(dataclasses.replace(audit_run, tables={**audit_run.tables, "risks": risks}), (), ())
    found = script(made, "samples")[0]["core"]
    assert found["scores"][-1] == {"name": "risk", "scale": 1000, "values": [250] + [None] * 14}
    assert [found["reasons"]["words"][place] for place in found["reasons"]["at"]] == ["unsure"] + [""] * 14
    assert rows_of(made)[0]["risk"] == "0.25"


def test_the_csv_has_a_row_for_each_sample_and_method(files):
    rows = rows_of(files)
    assert len(rows) == 15 * 2
    face = [row for row in rows if row["sample_id"] == "t-shirt/0003.jpg"]
    assert [(row["method"], row["mass_inside"], row["mass_on face"]) for row in face] == [
        ("grad_cam", "0.071", "0.81"),
        ("integrated_gradients", "0.171", "0.81"),
    ]
    assert {row["mass_on face"] for row in rows if row["label"] == "cat"} == {""}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_or_heading_of_a_csv_starts_a_formula(start):
    table = pd.DataFrame({"id": [f"{start}1+1", "plain"], f"{start}name": [-1.5, 2.0]})
    read = list(csv.reader(io.StringIO(csv_text(table), newline="")))
    assert read == [["id", f"'{start}name"], [f"'{start}1+1", "-1.5"], ["plain", "2.0"]]


def test_hostile_names_cannot_leave_a_script_or_a_cell(audit_run):
    run = renamed(audit_run, "t-shirt", HOSTILE)
    made = gallery.files(run, exemplar_sheets(run), ())
    for name in ("samples", "method-0", "method-1"):
        values, text = script(made, name)
        assert "<" not in text
        assert text.isascii()
        assert text.count("\n") == 1
        assert values
    assert script(made, "samples")[0]["core"]["ids"][0] == f"{HOSTILE}/0000.jpg"
    assert rows_of(made)[0]["sample_id"] == f"{HOSTILE}/0000.jpg"
    assert all(name.isascii() and "<" not in name for name in made)


def test_nothing_of_the_data_is_a_name_in_a_script(audit_run):
    run = renamed(audit_run, "t-shirt", "__proto__")

    def keys(value):
        if isinstance(value, dict):
            return set(value) | {key for entry in value.values() for key in keys(entry)}
        return {key for entry in value for key in keys(entry)} if isinstance(value, list) else set()

    for name in ("samples", "method-0"):
        assert "__proto__" not in {
            part for key in keys(script(gallery.files(run, (), ()), name)[0]) for part in [key]
        }


def test_each_sample_has_its_own_tile(files, core):
    assert core["sheet"] == [0] * 15
    assert core["tile"] == list(range(15))
    (rows, *names) = core["sheets"][0]
    assert rows == 3  # 15 tiles, 6 in a row
    photo, things, *maps = (np.asarray(Image.open(io.BytesIO(files[name]))) for name in names)
    assert photo.shape == (3 * 98, 6 * 98, 3)
    assert things.shape == (3 * 98, 6 * 98, 4)
    assert [map_.shape[:2] for map_ in maps] == [(3 * 50, 6 * 50)] * 2


def test_a_picture_of_another_file_of_that_name_is_not_shown(audit_run):
    predictions = audit_run.tables["predictions"]
    changed = predictions.assign(digest=["another", *predictions["digest"][1:]])
    drawn = exemplar_sheets(audit_run)
    run = dataclasses.replace(audit_run, tables={**audit_run.tables, "predictions": changed})
    found = script(gallery.files(run, drawn, ()), "samples")[0]["core"]
    assert found["sheet"] == [-1] + [0] * 14
    view = gallery.view(run, drawn)
    assert (view.n, view.n_pictures) == (15, 14)


def test_the_table_starts_with_the_least_mass_inside_and_ends_with_what_was_not_measured(audit_run):
    table = audit_run.tables["attributions"]
    numbers = table["mass_inside"].to_numpy().copy()
    numbers[0], numbers[4] = math.nan, 0.01  # grad_cam of the first and of the third sample
    run = dataclasses.replace(
        audit_run, tables={**audit_run.tables, "attributions": table.assign(mass_inside=numbers)}
    )
    rows = gallery.view(run, ()).rows
    assert len(rows) == 15
    assert (rows[0]["sample_id"], rows[0]["mass_inside"]) == ("t-shirt/0002.jpg", 0.01)
    assert rows[0]["confounds"] == (("face", 0.81),)
    assert rows[-1]["sample_id"] == "t-shirt/0000.jpg"


def test_a_run_without_samples_has_no_gallery(audit_run):
    run = dataclasses.replace(audit_run, tables={}, exemplars=())
    assert gallery.files(run, (), ()) == {}
    assert "gallery.html" not in site.render(run)


def test_the_same_run_gives_the_same_bytes(audit_run, files):
    assert gallery.files(audit_run, exemplar_sheets(audit_run), ()) == files


def small(foreground=None, regions=None, mass=None, shape=(96, 96)):
    return sheets.small(
        ("id", "digest"),
        np.full((*shape, 3), 200, dtype=np.uint8),
        np.full(shape, BACKGROUND, dtype=np.uint8) if foreground is None else foreground,
        regions or {},
        {} if mass is None else {"grad_cam": mass},
    )


def test_the_object_has_a_white_line_other_things_a_dashed_yellow_one_and_what_is_ignored_has_none():
    foreground = np.full((96, 96), IGNORE, dtype=np.uint8)
    foreground[:40, :40] = FOREGROUND
    face = np.zeros((96, 96), dtype=bool)
    face[60:, 60:] = True
    things = small(foreground, {"face": face}).things
    assert things.shape == (96, 96, 4)
    row = {x: things[10, x].tolist() for x in (39, 40, 41, 42)}
    assert row == {39: [0] * 4, 40: [255] * 4, 41: [10, 12, 16, 255], 42: [0] * 4}
    left_of_face = things[60:, 59, :3].tolist()
    assert (left_of_face.count([255, 221, 64]), left_of_face.count([10, 12, 16])) == (20, 16)  # 5 on, 5 off
    assert things[..., 3].sum() == 255 * (2 * 40 + 2 * 40 + 1 + 2 * 36 + 2 * 36 + 1)


def test_a_map_in_grey_is_brightest_where_its_mass_is_and_black_without_mass():
    mass = np.zeros((96, 96), dtype=np.float32)
    mass[10:14, 20:24] = 1.0
    grey = small(mass=mass).maps["grad_cam"]
    assert grey[6, 11] == 255  # rows 12 and 13, columns 22 and 23
    assert set(np.unique(grey[8:])) == {0}
    assert not small(mass=np.zeros((96, 96), dtype=np.float32)).maps["grad_cam"].any()


def test_a_wide_picture_stays_wide():
    tile = small(shape=(100, 200), mass=np.ones((100, 200), dtype=np.float32))
    assert tile.photo.shape == (48, 96, 3)
    assert tile.things.shape == (48, 96, 4)
    assert tile.maps["grad_cam"].shape == (24, 48)


def test_a_sheet_repeats_the_border_of_a_tile_round_it():
    foreground = np.full((96, 96), BACKGROUND, dtype=np.uint8)
    foreground[1:] = FOREGROUND  # the line is its uppermost row
    sheet = sheets.join([small(foreground), small()], (96, 96))
    things = np.asarray(Image.open(io.BytesIO(sheet.pictures[sheets.THINGS])))
    assert things.shape == (98, 6 * 98, 4)
    assert (things[:2, :98] == 255).all()  # the margin above, and to both sides
    assert not things[2:, :98].any()
    assert not things[:, 98:].any()


@pytest.mark.parametrize("n", [0, sheets.N_TILES + 1])
def test_a_sheet_holds_one_to_thirty_six_tiles(n):
    with pytest.raises(ValueError, match="expected 1 to 36 tiles"):
        sheets.join([small()] * n, (96, 96))
