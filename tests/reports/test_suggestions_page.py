"""The page of suggestions: each finding once, with samples that contradict it or show it, commands and a file."""

import csv
import dataclasses
import io
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from audit.types import Suggestion
from pipelines.gallery import exemplar_sheets
from reports import sheets, site, suggestions_page, views
from tests.reports.conftest import VERDICTS
from tests.reports.test_browser import browser, watched, written
from tests.reports.test_site import Document

__all__ = ["browser"]  # the fixture, found by its name

TEXT = "Add about 18 t-shirt photos without a visible face and 18 mug photos with one."
PAIR = (
    Suggestion("t-shirt", "add without confound", "face", 0, 5, 18, TEXT, ()),
    Suggestion("mug", "add with confound", "face", 0, 5, 18, TEXT, ("t-shirt/0001.jpg", "t-shirt/0002.jpg")),
)


def shown(run, drawn=()):
    """The view of a run without pictures of exemplars, and its files."""
    return suggestions_page.view(run, views.class_views(run, {e.sample_id: () for e in ()}), drawn)


@pytest.fixture(scope="module")
def bare(audit_run):
    """The run with a pair of suggestions, and no exemplars of its own."""
    return dataclasses.replace(audit_run, suggestions=PAIR, exemplars=())


def ids(samples):
    return [sample.sample_id for sample in samples]


def test_a_pair_of_suggestions_is_one_piece_of_advice_for_the_flagged_class(bare):
    view, _ = shown(bare)
    (advice,) = view.advice
    assert (advice.confound, advice.helps, advice.texts) == ("face", ("t-shirt",), (TEXT,))
    assert [(a.row.label, a.words, a.row.n_to_add) for a in advice.additions] == [
        ("t-shirt", "without face", 18),
        ("mug", "with face", 18),
    ]
    assert view.n == 36
    assert [advice.concerns(label) for label in ("t-shirt", "mug", "cat")] == [True, True, False]


def test_where_nothing_contradicts_a_finding_samples_that_show_it_are_shown(bare):
    (advice,) = shown(bare)[0].advice
    assert [ids(addition.shown) for addition in advice.additions] == [[], []]
    # All five t-shirts show the face; four are enough.
    assert ids(advice.showing) == [f"t-shirt/000{number}.jpg" for number in range(4)]


def test_samples_that_contradict_a_finding_are_shown_with_what_they_are_for(bare):
    confounds = bare.tables["confounds"].copy()
    # Of the t-shirts number 3 has no face any more, and a mug has one.
    confounds.loc[confounds["sample_id"] == "t-shirt/0003.jpg", "present"] = False
    on_mug = confounds[confounds["sample_id"] == "t-shirt/0000.jpg"].assign(sample_id="mug/0004.jpg")
    run = dataclasses.replace(
        bare,
        tables={**bare.tables, "confounds": pd.concat([confounds, on_mug])},
        suggestions=(dataclasses.replace(PAIR[0], exemplars=("t-shirt/0003.jpg",)), PAIR[1]),
    )
    (advice,) = shown(run)[0].advice
    assert [ids(addition.shown) for addition in advice.additions] == [["t-shirt/0003.jpg"], ["mug/0004.jpg"]]
    assert advice.showing == ()
    (sample,) = advice.additions[1].shown
    assert (sample.label, sample.href) == ("mug", "gallery.html#open=mug%2F0004.jpg")


def test_a_sample_without_an_exemplar_gets_its_picture_from_the_sheets(audit_run, bare):
    drawn = exemplar_sheets(audit_run)
    view, files = shown(bare, drawn)
    pictures = [sample.picture for sample in view.advice[0].showing]
    assert [(p.width, p.height) for p in pictures] == [(96, 96)] * 4
    photo = np.asarray(Image.open(io.BytesIO(files[pictures[0].href])).convert("RGB"), dtype=float)
    # The fixture has three photographs, each as it is (even numbers) and turned (odd ones).
    apart = {}
    for exemplar in audit_run.exemplars:
        if exemplar.sample_id.endswith(("0000.jpg", "0001.jpg")):
            small = Image.fromarray(exemplar.image).resize((96, 96), Image.Resampling.BOX)
            apart[exemplar.sample_id] = np.abs(photo - np.asarray(small, dtype=float)).mean()
    nearest, second = sorted(apart, key=apart.get)[:2]
    assert nearest == "t-shirt/0000.jpg"
    assert apart[nearest] < apart[second] / 3


def test_a_tile_is_cut_out_where_it_was_joined():
    rng = np.random.default_rng(0)
    tiles = [
        sheets.Small(
            f"{number}",
            "",
            photo=np.full((72, 96, 3), 30 * number, dtype=np.uint8),
            things=rng.integers(0, 2, (72, 96, 1), dtype=np.uint8) * np.full(4, 255, dtype=np.uint8),
            maps={"grad_cam": np.full((36, 48), 30 * number, dtype=np.uint8)},
        )
        for number in range(8)  # the last two are in the second row
    ]
    sheet = sheets.join(tiles, (300, 400))
    for number, tile in enumerate(tiles):
        again = sheets.cut_out(sheet, number)
        assert again.sample_id == f"{number}"
        np.testing.assert_array_equal(again.things, tile.things)  # stored without loss
        assert (again.photo.shape, again.maps["grad_cam"].shape) == ((72, 96, 3), (36, 48))
        # A step to the next tile is 30; the encodings blur a tile's border.
        assert abs(np.median(again.photo) - 30 * number) <= 3
        assert abs(np.median(again.maps["grad_cam"]) - 30 * number) <= 3


def test_the_file_holds_every_row_of_the_table(audit_run):
    text = site.render(audit_run)[suggestions_page.CSV]
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["label"], row["n_to_add"]) for row in rows] == [
        ("t-shirt", "34"),
        ("mug", "20"),
        ("cat", "40"),
        ("t-shirt", "7"),
    ]
    assert rows[0]["exemplars"] == '["t-shirt/0000.jpg", "t-shirt/0077.jpg"]'


def test_representative_photos_are_for_the_class_that_is_undecided(audit_run):
    more = Suggestion("mug", "add representative", "", 8, 8, 26, "Add about 26 more mug photos.", ())
    view, _ = shown(dataclasses.replace(audit_run, suggestions=(more,), exemplars=()))
    (advice,) = view.advice
    assert (advice.helps, advice.showing) == (("mug",), ())
    assert not view.is_about_confounds


def test_commands_name_the_run_as_a_shell_takes_it(bare):
    files = site.render(dataclasses.replace(bare, name="it's; rm -rf"))
    text = Document(files["suggestions.html"]).text
    assert """rightreasons suggest 'it'"'"'s; rm -rf' --pool unlabelled --n 36 --out to_add.csv""" in text


def test_a_run_without_suggestions_has_no_such_page(audit_run):
    few = dataclasses.replace(audit_run, suggestions=(), exemplars=(), verdicts=VERDICTS[:1])
    files = site.render(few)
    assert "suggestions.html" not in files
    assert suggestions_page.CSV not in files


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser `chromium` on the PATH")
def test_a_button_copies_a_command_and_without_script_there_is_none(browser, audit_run, tmp_path):
    folder = written(site.render(dataclasses.replace(audit_run, exemplars=())), tmp_path)
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    events = watched(page)
    page.goto((folder / "suggestions.html").as_uri())
    command = page.locator(".command").first
    command.get_by_role("button").click()
    assert command.get_by_role("status").inner_text() == "Copied"
    assert page.evaluate("navigator.clipboard.readText()") == command.locator("code").inner_text()
    context.close()
    assert events == []
    plain = browser.new_page(java_script_enabled=False)
    plain.goto((folder / "suggestions.html").as_uri())
    assert plain.get_by_role("button").count() == 0
    assert plain.locator(".command code").first.inner_text().startswith("rightreasons suggest garments-2026")
    plain.close()
