"""The page of a comparison in a real browser: the cut between two pictures by mouse, by keys, and without script."""

import dataclasses
import shutil

import numpy as np
import pytest

from audit.changes import compare
from audit.types import ChangeLimits
from reports import compare_site, sheets
from tests.paired import METHOD, run_of
from tests.reports.test_browser import HOSTILE, browser, watched, written

__all__ = ["browser"]  # the fixture, found by its name

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser `chromium` on the PATH"),
]

SPREAD = np.tile([0.0, 0.2], 10)


def small(shade, place):
    """A plain photo with a map of one column."""
    grey = np.zeros((48, 48), np.uint8)
    grey[:, place] = 255
    return sheets.Small(
        "", "", np.full((96, 96, 3), shade, np.uint8), np.zeros((96, 96, 4), np.uint8), {METHOD: grey}
    )


def compared(label):
    """A comparison with one typical sample and one of the largest change."""
    comparison = compare(
        dataclasses.replace(run_of({label: 0.5 + SPREAD}), name="released"),
        dataclasses.replace(run_of({label: 0.35 + SPREAD}), name="new"),
        ChangeLimits(q=0.05, minimum_change=0.05, ruled_out=0.1, minimum_pairs=10),
    )
    pairs = [
        compare_site.Pair(f"{label}/{number:03d}", label, role, -0.15, small(40, 5), small(220, 40))
        for number, role in enumerate((compare_site.TYPICAL, compare_site.LARGEST))
    ]
    return compare_site.render(comparison, pairs)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = written(compared("shoe"), tmp_path_factory.mktemp("comparison"))
    return (folder / "index.html").as_uri()


@pytest.fixture
def page(browser, address):
    opened = browser.new_page(viewport={"width": 1000, "height": 900})
    events = watched(opened)
    opened.goto(address)
    yield opened
    opened.close()
    assert events == []


def cut(page):
    """Where the candidate's picture begins, as the browser has it."""
    return page.locator(".two img").nth(1).evaluate("image => getComputedStyle(image).clipPath")


def test_both_pictures_lie_in_one_frame_and_the_cut_is_in_the_middle(page):
    first, second = (page.locator(".two img").nth(number).bounding_box() for number in (0, 1))
    assert first == second
    assert cut(page) == "inset(0px 0px 0px 50%)"


def test_the_mouse_moves_the_cut(page):
    slider = page.get_by_role("slider").first
    box = slider.bounding_box()
    slider.click(position={"x": box["width"] - 1, "y": box["height"] / 2})
    assert cut(page) == "inset(0px 0px 0px 100%)"
    assert slider.get_attribute("aria-valuetext") == "reference 100 %, candidate 0 %"


def test_keys_move_the_cut_and_no_other(page):
    slider = page.get_by_role("slider").first
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert cut(page) == "inset(0px 0px 0px 51%)"
    page.keyboard.press("Home")
    assert cut(page) == "inset(0px 0px 0px 0%)"
    assert page.get_by_role("slider").nth(1).input_value() == "50"


@pytest.mark.parametrize("how", ["without script", "printed"])
def test_the_pictures_stand_side_by_side(browser, address, how):
    page = browser.new_page(java_script_enabled=how != "without script")
    page.goto(address)
    if how == "printed":
        page.emulate_media(media="print")
    first, second = (page.locator(".two img").nth(number).bounding_box() for number in (0, 1))
    assert second["x"] > first["x"] + first["width"]
    assert second["y"] == first["y"]
    assert not page.get_by_role("slider").first.is_visible()
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_no_violation_and_nothing_overflows(browser, address, scheme, width):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs axe-playwright-python"
    ).Axe()
    context = browser.new_context(
        bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    page = context.new_page()
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = [
        (v["id"], v["nodes"][0]["html"], v["nodes"][0].get("failureSummary"))
        for v in axe.run(page).response["violations"]
    ]
    context.close()
    assert found == []


def test_hostile_names_are_inert(browser, tmp_path):
    folder = written(compared(HOSTILE), tmp_path)
    page = browser.new_page()
    events = watched(page)
    page.goto((folder / "index.html").as_uri())
    assert page.locator("img[onerror], img[src='x']").count() == 0
    assert HOSTILE in page.get_by_role("slider").first.get_attribute("aria-label")
    page.close()
    assert events == []
