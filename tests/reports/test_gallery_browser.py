"""The gallery in a real browser: every interaction, by mouse and by keyboard, from a folder without network."""

import csv
import dataclasses
import io
import shutil
from urllib.parse import parse_qs, urldefrag

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import expect

from pipelines.gallery import exemplar_sheets
from reports import site
from tests.reports.conftest import renamed
from tests.reports.test_browser import HOSTILE, browser, watched, written

__all__ = ["browser"]  # the fixture, found by its name

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser `chromium` on the PATH"),
]

# Mass inside by grad_cam: 15 samples, t-shirts 0 to 4, mugs 5 to 9, cats 10 to 14.
MASSES = [0.5, 0.1, 0.2, np.nan, 0.3, 0.9, 0.8, 0.7, 0.6, 0.55, 0.05, 0.15, 0.25, 0.35, 0.45]
BY_MASS = ["cat/0000", "t-shirt/0001", "cat/0001", "t-shirt/0002", "cat/0002", "t-shirt/0004"]


def measured(run):
    """The run with mass inside of its own for each sample, a case for some, and a risk."""
    attributions = run.tables["attributions"].copy()
    is_first = attributions["method"] == "grad_cam"
    attributions.loc[is_first, "mass_inside"] = MASSES
    attributions.loc[is_first, "reason"] = [
        "the map has no mass" if np.isnan(mass) else "" for mass in MASSES
    ]
    cases = ["distractor" if label == "t-shirt" else "human aligned" for label in attributions["target"]]
    attributions["shared_interest_case"] = cases
    ids = run.tables["predictions"]["sample_id"]
    risks = pd.DataFrame(
        {
            "sample_id": ids,
            "risk": np.linspace(0, 0.7, len(ids)),  # 0, 5, 10, ... %
            "rank": np.arange(len(ids), 0, -1),
            "reason": [f"reason {number}" for number in range(len(ids))],
        }
    )
    return dataclasses.replace(run, tables={**run.tables, "attributions": attributions, "risks": risks})


@pytest.fixture(scope="module")
def report(audit_run, tmp_path_factory):
    run = measured(audit_run)
    return written(site.render(run, exemplar_sheets(run)), tmp_path_factory.mktemp("report"))


@pytest.fixture
def page(browser):
    opened = browser.new_page(viewport={"width": 1440, "height": 900})
    events = watched(opened)
    yield opened
    opened.close()
    assert events == []


def at(page, report, hash_=""):
    page.goto("about:blank")
    page.goto((report / "gallery.html").as_uri() + hash_)
    page.wait_for_selector("html[data-ready=gallery]")
    return page


def shown(page):
    """Ids of the tiles in their order, without their ending."""
    tiles = page.evaluate(
        "[...document.querySelectorAll('.tile')]"
        ".map(tile => [Number(tile.dataset.place), tile.querySelector('.id').textContent])"
    )
    return [name.removesuffix(".jpg") for _, name in sorted(tiles)]


def selected(page):
    return sorted(
        page.evaluate(
            "[...document.querySelectorAll('.tile[aria-selected=true] .id')].map(e => e.textContent)"
        )
    )


def address(page):
    """What the address keeps, once it is written."""
    page.wait_for_timeout(350)
    return {key: value[0] for key, value in parse_qs(urldefrag(page.url)[1], keep_blank_values=True).items()}


def test_the_least_mass_inside_comes_first_and_what_was_not_measured_last(page, report):
    at(page, report)
    names = shown(page)
    assert len(names) == 15
    assert names[:6] == BY_MASS
    assert names[-1] == "t-shirt/0003"
    assert page.locator("#count").inner_text() == "15 samples"
    assert "mass inside 5\u00a0%" in page.locator(".tile .value").first.inner_text()


@pytest.mark.parametrize(
    ("control", "value", "n"),
    [
        ("class", "mug", 5),
        ("status", "suspect", 5),
        ("answer", "wrong", 1),
        ("answer", "right", 14),
        ("case", "distractor", 5),
        ("case", "human aligned", 10),
        ("thing", "with face", 5),
        ("thing", "less face", 10),
        ("risk", "50", 5),
        ("risk", "20", 11),
    ],
)
def test_a_filter_leaves_what_fits_and_says_how_many(page, report, control, value, n):
    at(page, report)
    page.select_option(f"#{control}", value)
    assert page.locator("#count").inner_text() == f"{n} of 15 samples"
    assert page.locator(".tile").count() == n
    if control != "status":
        assert f"({n})" in page.locator(f"#{control} option[value='{value}']").inner_text()
    page.click("#reset")
    assert page.locator(".tile").count() == 15


def test_filters_add_up_and_an_empty_gallery_says_so(page, report):
    at(page, report)
    page.select_option("#class", "mug")
    page.select_option("#answer", "wrong")
    assert shown(page) == ["mug/0000"]
    page.select_option("#thing", "with face")
    assert page.locator("#empty").is_visible()
    assert not page.locator("#grid").is_visible()


def test_search_finds_parts_of_ids_whatever_their_case(page, report):
    at(page, report)
    page.fill("#q", "MUG/000")
    assert len(shown(page)) == 5
    page.fill("#q", "mug/0003")
    assert shown(page) == ["mug/0003"]


@pytest.mark.parametrize(
    ("sort", "order", "first"),
    [
        ("mass_inside", "down", ["mug/0000", "mug/0001"]),
        ("", "up", ["t-shirt/0000", "t-shirt/0001"]),
        ("risk", "down", ["cat/0004", "cat/0003"]),
        ("on:face", "down", ["t-shirt/0000", "t-shirt/0001"]),
    ],
)
def test_samples_are_sorted_by_any_score(page, report, sort, order, first):
    at(page, report)
    page.select_option("#sort", sort)
    page.select_option("#order", order)
    assert shown(page)[:2] == first


def test_the_order_follows_the_score_that_is_chosen(page, report):
    at(page, report)
    page.select_option("#sort", "risk")
    assert page.input_value("#order") == "down"
    page.select_option("#sort", "mass_inside")
    assert page.input_value("#order") == "up"


def styles(page, selector):
    return page.evaluate(
        "s => { const c = getComputedStyle(document.querySelector(s)); return [c.display, c.filter, c.opacity]; }",
        selector,
    )


def test_overlay_opacity_and_outlines_can_be_changed(page, report):
    at(page, report)
    assert styles(page, ".of-map")[1:] == ['url("#paint")', "0.8"]
    page.fill("#opacity", "35")
    assert styles(page, ".of-map")[2] == "0.35"
    page.check("input[value=outline]")
    assert styles(page, ".of-map")[1:] == ['url("#contour")', "1"]
    page.check("input[value=off]")
    assert styles(page, ".of-map")[0] == "none"
    assert styles(page, ".of-things")[0] != "none"
    page.uncheck("#object")
    assert styles(page, ".of-things")[0] == "none"
    assert address(page) == {"overlay": "off", "opacity": "35", "object": ""}


def test_another_method_has_other_maps_colours_and_numbers(page, report):
    at(page, report)
    before = page.evaluate("getComputedStyle(document.querySelector('.of-map')).backgroundImage")
    red = page.get_attribute("#red", "tableValues")
    page.select_option("#method", "integrated_gradients")
    expect(page.locator(".tile .value").first).to_contain_text("17")
    assert page.evaluate("getComputedStyle(document.querySelector('.of-map')).backgroundImage") != before
    assert page.get_attribute("#red", "tableValues") != red


def test_every_layer_of_every_tile_is_a_picture_that_loads(page, report):
    at(page, report)
    files = page.evaluate(
        "[...new Set([...document.querySelectorAll('.shown > i')].map(i => i.style.backgroundImage.slice(5, -2)))]"
    )
    assert len(files) == 3
    sizes = page.evaluate(
        """files => Promise.all(files.map(async file => {
            const image = new Image();
            image.src = file;
            await image.decode();
            return image.width;
        }))""",
        files,
    )
    assert sorted(sizes) == [300, 588, 588]


def test_a_tile_shows_its_own_part_of_the_sheet(page, report):
    # The sheet is 6 tiles of 98 px wide; sample 8, mug/0003, is tile 8: the third of the second row of three.
    at(page, report, "#q=mug/0003")
    layer = "getComputedStyle(document.querySelector('.tile .of-photo'))"
    assert page.evaluate(f"{layer}.backgroundSize") == "612.5% 306.25%"
    x, y = (float(part.rstrip("%")) for part in page.evaluate(f"{layer}.backgroundPosition").split())
    assert x == pytest.approx(100 * (2 * 98 + 1) / (6 * 98 - 96), abs=1e-3)
    assert y == pytest.approx(100 * (1 * 98 + 1) / (3 * 98 - 96), abs=1e-3)


def test_the_keyboard_moves_selects_and_opens(page, report):
    at(page, report)
    page.focus("#grid")
    for key in ("ArrowRight", "ArrowRight", "Space"):
        page.keyboard.press(key)
    assert selected(page) == ["cat/0001.jpg"]
    page.keyboard.press("Shift+ArrowRight")
    assert selected(page) == ["cat/0001.jpg", "t-shirt/0002.jpg"]
    page.keyboard.press("Space")
    assert selected(page) == ["cat/0001.jpg"]
    active = page.get_attribute("#grid", "aria-activedescendant")
    assert page.locator(f"#{active} .id").inner_text() == "t-shirt/0002.jpg"
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator("#detail-title")).to_have_text("t-shirt/0003.jpg")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#detail-title")).to_have_text("mug/0000.jpg")
    page.keyboard.press("Escape")
    assert not page.locator("#detail").is_visible()
    assert page.evaluate("document.activeElement.id") == "grid"
    page.keyboard.press("Control+a")
    assert page.locator("#count").inner_text() == "15 samples, 15 selected"


def test_single_keys_work_on_the_samples_alone(page, report):
    at(page, report)
    page.fill("#q", "")
    page.focus("#q")
    page.keyboard.type("o]")
    assert page.get_attribute("#gallery", "data-overlay") == "map"
    page.fill("#q", "")
    page.focus("#grid")
    page.keyboard.press("o")
    assert page.get_attribute("#gallery", "data-overlay") == "outline"
    page.keyboard.press("]")
    expect(page.locator("#method")).to_have_value("integrated_gradients")
    page.keyboard.press("?")
    assert page.locator("#keys dl").is_visible()
    page.focus("#grid")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"


def test_the_mouse_opens_picks_and_selects_a_range(page, report):
    at(page, report)
    page.locator(".pick").nth(1).click()
    assert selected(page) == ["t-shirt/0001.jpg"]
    page.locator(".tile .told").nth(3).click(modifiers=["Shift"])
    assert selected(page) == ["cat/0001.jpg", "t-shirt/0001.jpg", "t-shirt/0002.jpg"]
    page.locator(".tile .told").nth(3).click(modifiers=["Control"])
    assert selected(page) == ["cat/0001.jpg", "t-shirt/0001.jpg"]
    page.locator(".tile .told").first.click()
    expect(page.locator("#detail-title")).to_have_text("cat/0000.jpg")


def saved(page):
    with page.expect_download() as download:
        page.click("#export")
    return list(csv.DictReader(io.StringIO(download.value.path().read_bytes().decode(), newline="")))


def test_the_selection_is_saved_as_csv(page, report):
    at(page, report)
    page.select_option("#class", "mug")
    page.click("#all")
    page.select_option("#class", "")
    assert page.locator("#count").inner_text() == "15 samples, 5 selected"
    rows = saved(page)
    assert [row["sample_id"] for row in rows] == [f"mug/000{number}.jpg" for number in range(5)]
    assert rows[0] == rows[0] | {
        "path": "photos/mug/0000.jpg",
        "label": "mug",
        "predicted": "cat",
        "method": "grad_cam",
        "shared_interest_case": "human aligned",
        "confounds": "",
        "confidence": "0.93",
        "mass_inside": "0.9",
        "risk": "0.25",
    }
    page.click("#none")
    assert page.locator("#count").inner_text() == "15 samples"
    assert len(saved(page)) == 15


def test_a_link_shows_the_same_view_again_and_a_reload_keeps_the_selection(page, report):
    at(page, report)
    page.select_option("#class", "t-shirt")
    page.select_option("#sort", "risk")
    page.locator(".pick").first.click()
    page.locator(".tile .told").nth(1).click()
    page.wait_for_selector("#detail[open]")
    kept = address(page)
    assert kept == {"class": "t-shirt", "sort": "risk", "order": "down", "open": "t-shirt/0003.jpg"}
    link = page.url
    page.reload()
    page.wait_for_selector("#detail[open]")
    expect(page.locator("#detail-title")).to_have_text("t-shirt/0003.jpg")
    assert selected(page) == ["t-shirt/0004.jpg"]
    at(page, report, f"#{urldefrag(link)[1]}")
    page.wait_for_selector("#detail[open]")
    expect(page.locator("#detail-title")).to_have_text("t-shirt/0003.jpg")
    assert shown(page) == [f"t-shirt/000{number}" for number in (4, 3, 2, 1, 0)]
    assert selected(page) == []


def test_the_page_of_a_class_links_to_its_samples(page, report):
    page.goto((report / "classes" / "t-shirt.html").as_uri())
    page.get_by_role("link", name="in the gallery").click()
    page.wait_for_selector("html[data-ready=gallery]")
    assert page.input_value("#class") == "t-shirt"
    assert page.locator("#count").inner_text() == "5 of 15 samples"


def test_another_address_in_the_same_page_is_followed(page, report):
    at(page, report)
    page.evaluate("location.hash = '#class=cat&overlay=off'")
    expect(page.locator(".tile")).to_have_count(5)
    assert page.input_value("#class") == "cat"
    assert page.get_attribute("#gallery", "data-overlay") == "off"


def test_an_address_that_names_what_is_not_there_shows_what_is(page, report):
    at(page, report, "#method=none&overlay=x&open=nobody&class=cat")
    assert page.input_value("#method") == "grad_cam"
    assert page.locator(".tile").count() == 5
    assert not page.locator("#detail").is_visible()


def test_one_sample_is_shown_with_all_its_numbers(page, report):
    at(page, report, "#open=t-shirt/0003.jpg")
    page.wait_for_selector("#detail[open]")
    text = " ".join(page.locator("#numbers").inner_text().split())
    assert "Mass inside not measured 17 %" in text
    assert "Why not measured the map has no mass –" in text
    assert "face 81 % of the mass on 5 % of the picture" in text
    assert "Why at risk reason 3" in text
    assert "photos/t-shirt/0003.jpg" in text
    assert page.locator("#strip button").all_inner_texts() == ["photo", "grad_cam", "integrated_gradients"]
    page.locator("#strip button").first.click()
    assert page.get_attribute("#gallery", "data-overlay") == "off"
    page.locator("#strip button").last.click()
    expect(page.locator("#method")).to_have_value("integrated_gradients")
    page.click("text=In full on the page of its class")
    page.wait_for_url("**/classes/t-shirt.html#*")


def test_only_what_is_in_view_is_in_the_document(browser, audit_run, tmp_path):
    run = audit_run
    table = run.tables["predictions"]
    many = pd.concat([table.assign(sample_id=[f"{n}/{s}" for s in table["sample_id"]]) for n in range(100)])
    run = dataclasses.replace(run, tables={"predictions": many.reset_index(drop=True)}, exemplars=())
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    at(page, written(site.render(run), tmp_path))
    assert page.locator("#count").inner_text() == "1\u202f500 samples"
    assert page.locator(".tile").count() < 80
    page.focus("#grid")
    page.keyboard.press("End")
    expect(page.locator(".tile.active")).to_have_count(1)
    assert page.locator(".tile.active .id").inner_text() == "99/cat/0004.jpg"
    assert page.locator(".tile").count() < 80
    assert page.locator(".tile.active .nothing").inner_text() == "no picture"
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("what", ["", "open=t-shirt/0003.jpg", "q=nothing"], ids=["all", "open", "empty"])
def test_axe_finds_no_violation(browser, report, scheme, width, what):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs axe-playwright-python"
    ).Axe()
    context = browser.new_context(
        bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    page = at(context.new_page(), report, f"#{what}")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    violations = axe.run(page).response["violations"]
    context.close()
    assert [(v["id"], v["nodes"][0]["html"], v["nodes"][0].get("failureSummary")) for v in violations] == []


def test_hostile_names_are_text_wherever_they_are_shown(page, audit_run, tmp_path):
    name = f"=1+1\n{HOSTILE}"
    run = renamed(measured(audit_run), "t-shirt", name)
    folder = written(site.render(run, exemplar_sheets(run)), tmp_path)
    at(page, folder)
    assert page.evaluate("document.querySelectorAll('img[onerror], img[src=x], main script').length") == 0
    assert page.locator("#class option", has_text="alert(1)").count() == 1
    page.select_option("#class", name)
    page.focus("#grid")
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail[open]")
    assert "<script>alert(1)</script>" in page.locator("#detail-title").inner_text()
    page.keyboard.press("Escape")
    rows = saved(page)
    assert [row["label"] for row in rows] == [f"'{name}"] * 5
    assert address(page)["class"] == name
    page.reload()
    page.wait_for_selector("html[data-ready=gallery]")
    assert page.locator(".tile").count() == 5
    assert page.evaluate("document.querySelectorAll('img[onerror], img[src=x]').length") == 0


def test_without_script_every_number_is_in_a_table(browser, report):
    page = browser.new_page(java_script_enabled=False)
    page.goto((report / "gallery.html").as_uri())
    assert not page.locator("#gallery").is_visible()
    page.click(".as-table summary")
    rows = page.get_by_role("row")
    assert rows.count() == 16
    first = " ".join(rows.nth(1).inner_text().split())
    assert first == "cat/0000.jpg cat ✓ right 93 % 5 % – not measured human aligned none visible"
    assert page.get_by_role("link", name="samples.csv").get_attribute("href") == "gallery/samples.csv"
    page.close()


def test_a_report_that_lost_its_numbers_says_which_file(browser, report, tmp_path):
    shutil.copytree(report, tmp_path / "copy")
    (tmp_path / "copy" / "gallery" / "samples.js").unlink()
    page = browser.new_page()
    page.goto((tmp_path / "copy" / "gallery.html").as_uri())
    page.wait_for_selector("#trouble:visible")
    assert "gallery/samples.js could not be read" in page.locator("#trouble").inner_text()
    page.close()
