"""The report in a real browser: opened from a folder, without network, in light and dark, wide and narrow."""

import dataclasses
import re
import shutil

import pytest

from reports import site
from tests.reports.conftest import renamed

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser `chromium` on the PATH"),
]

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
WIDTHS = {"desktop": 1440, "phone": 390}


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(audit_run, tmp_path_factory):
    return written(site.render(audit_run), tmp_path_factory.mktemp("report"))


def written(files, folder):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def all_pages(folder):
    return sorted(folder.rglob("*.html"))


def watched(page):
    """What must not happen: console messages, script errors, dialogs, requests to anywhere but files."""
    events = []
    page.on("console", lambda message: events.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: events.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (events.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:")) else events.append(f"request: {request.url}")
        ),
    )
    return events


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_axe_finds_no_violation_on_any_page(browser, report, scheme, width):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs axe-playwright-python"
    ).Axe()
    # The policy would keep axe out as it keeps every script out.
    context = browser.new_context(
        bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    page = context.new_page()
    found = {}
    for path in all_pages(report):
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        violations = axe.run(page).response["violations"]
        found[path.name] = [
            (v["id"], v["nodes"][0]["html"], v["nodes"][0].get("failureSummary")) for v in violations
        ]
    context.close()
    assert not any(found.values()), found


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_pages_fit_the_window_load_their_pictures_and_say_nothing_on_the_console(browser, report, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    events = watched(page)
    for path in all_pages(report):
        page.goto(path.as_uri())
        # The longest name of a method that is a default.
        page.evaluate(
            "document.querySelectorAll('.legend dt').forEach(name => { "
            "if (name.textContent.trim()) name.textContent = 'blur_integrated_gradients+smoothgrad' })"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
        page.evaluate("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
        page.evaluate("Promise.allSettled([...document.images].map(image => image.decode()))")
        assert (
            page.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.src)")
            == []
        )
        assert page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "1344px", (
            "the style applies"
        )
    page.close()
    assert events == []


def test_hostile_names_are_inert(browser, audit_run, tmp_path):
    few = dataclasses.replace(
        audit_run, exemplars=tuple(e for e in audit_run.exemplars if e.sample_id.endswith("0000.jpg"))
    )
    folder = written(site.render(renamed(few, "t-shirt", HOSTILE)), tmp_path)
    page = browser.new_page()
    events = watched(page)
    for path in all_pages(folder):
        page.goto(path.as_uri())
        page.wait_for_timeout(50)
        assert page.locator("img[onerror], img[src='x']").count() == 0
        # Two pages have a script of their own, and the gallery loads numbers as scripts of the report.
        sources = page.evaluate("[...document.scripts].map(script => script.getAttribute('src') || '')")
        assert all(re.fullmatch(r"(gallery/[a-z0-9-]+\.js)?", source) for source in sources), sources
        assert len([source for source in sources if not source]) == (
            path.name in ("gallery.html", "suggestions.html")
        )
        assert path.name == "gallery.html" or not any(sources)
    page.goto((folder / "index.html").as_uri())
    assert HOSTILE in page.locator("h1").inner_text()
    page.close()
    assert events == []


def test_a_reader_gets_from_the_verdict_to_the_next_class_by_links_alone(browser, report):
    page = browser.new_page(java_script_enabled=False)
    page.goto((report / "index.html").as_uri())
    page.locator("table.classes").get_by_role("link", name="t-shirt").click()
    assert page.locator("h1").inner_text() == "t-shirt is suspect, by face"
    page.locator("a[rel=next]").first.click()
    assert page.locator("h1").inner_text() == "mug is undecided"
    page.close()


def test_the_first_tab_stop_is_a_visible_link_to_the_content(browser, report):
    page = browser.new_page()
    page.goto((report / "index.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.close()


def test_the_table_of_classes_is_a_table_on_a_phone_too(browser, report):
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.goto((report / "index.html").as_uri())
    table = page.get_by_role("table").first
    assert table.get_by_role("row").count() == 4
    assert table.get_by_role("cell").count() == 3 * 5
    page.close()


def test_print_shows_the_closed_details(browser, report):
    page = browser.new_page()
    page.goto((report / "index.html").as_uri())
    hidden = page.get_by_text("truncated after 4096 of 81234 bytes")
    assert not hidden.is_visible()
    page.emulate_media(media="print")
    assert hidden.is_visible()
    page.close()
