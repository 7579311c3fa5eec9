"""The report as one file: nothing is lost on the way but the gallery, and nothing is asked of any other file."""

import dataclasses
import shutil
from urllib.parse import unquote

import pytest

from reports import single_file, site
from tests.reports.conftest import renamed
from tests.reports.test_browser import HOSTILE, browser, watched
from tests.reports.test_site import Document

__all__ = ["browser"]  # the fixture, found by its name


class OnePage(Document):
    """Links that led out of the page have no address any more; they stand as empty ones here."""

    def handle_starttag(self, tag, attrs):
        is_dead = tag == "a" and not any(name == "href" for name, _ in attrs)
        super().handle_starttag(tag, [*attrs, ("href", "")] if is_dead else attrs)


@pytest.fixture(scope="module")
def files(audit_run):
    return site.render(audit_run)


@pytest.fixture(scope="module")
def text(audit_run, files):
    return single_file.join(files, audit_run.name)


def test_the_words_of_every_page_but_the_gallery_are_in_the_one_page(files, text):
    whole = OnePage(text).text
    for name in ("index.html", "classes/t-shirt.html", "classes/mug.html", "facts.html", "glossary.html"):
        body = files[name][files[name].index("<main") : files[name].index("</main>")]
        assert Document(body).text in whole, name
    assert "Filter and sort" not in whole


def test_every_link_leads_to_a_place_on_the_page_and_every_picture_is_in_it(text):
    document = OnePage(text)
    assert len(set(document.ids)) == len(document.ids)
    links = [link for link in document.links if link]
    assert len(links) > 20
    assert [link for link in links if link[0] != "#" or link[1:] not in document.ids] == []
    assert document.pictures
    assert all(picture["src"].startswith("data:image/webp;base64,") for picture in document.pictures)


def test_the_navigation_names_the_classes(text):
    navigation = text[text.index("<nav") : text.index("</nav>")]
    assert OnePage(navigation).text.startswith("Overview t-shirt mug cat ")


def test_labels_still_belong_to_what_they_label(text):
    document = OnePage(text)
    labelled = [values["aria-labelledby"] for tag, values in document.tags if "aria-labelledby" in values]
    labelled += [values["for"] for tag, values in document.tags if "for" in values]
    assert [part for ids in labelled for part in ids.split() if part not in document.ids] == []


def test_no_script_is_allowed_or_there(text):
    policy = next(values["content"] for tag, values in OnePage(text).tags if values.get("http-equiv"))
    assert policy.startswith("default-src 'none'; ")
    assert "script" not in policy
    assert "<script" not in text


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('<a href="../index.html#classes">&amp;lt;</a>', '<a href="#page-0-classes">&amp;lt;</a>'),
        ('<a href="#evidence">x</a>', '<a href="#page-1-evidence">x</a>'),
        ('<a href="../gallery/samples.csv" download>x</a>', "<a download>x</a>"),
        ("<svg viewBox='0 0 1 1'><linearGradient id='a b'/></svg>", None),
        ('<p title="a > b &quot;">&#39;</p>', '<p title="a > b &quot;">&#39;</p>'),
        ('<img src="../images/p.webp" alt="id=1">', '<img src="data:image/webp;base64,cGl4ZWxz" alt="id=1">'),
    ],
)
def test_a_body_is_moved_into_the_page(body, expected):
    anchors = {"index.html": "page-0", "classes/a.html": "page-1"}
    files = {"index.html": "", "images/p.webp": b"pixels", "gallery/samples.csv": ""}
    moved = single_file._Moved("classes/a.html", anchors, files).moved(body)
    assert moved == (expected or "<svg viewBox='0 0 1 1'><linearGradient id=\"page-1-a page-1-b\"/></svg>")


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser `chromium` on the PATH")
class TestInABrowser:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_no_violation_and_the_console_is_silent(self, browser, text, tmp_path, scheme):
        axe = pytest.importorskip(
            "axe_playwright_python.sync_playwright", reason="needs axe-playwright-python"
        ).Axe()
        (tmp_path / "report.html").write_text(text)
        context = browser.new_context(
            bypass_csp=True, color_scheme=scheme, viewport={"width": 390, "height": 900}
        )
        page = context.new_page()
        events = watched(page)
        page.goto((tmp_path / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        violations = axe.run(page).response["violations"]
        context.close()
        assert [(v["id"], v["nodes"][0]["html"]) for v in violations] == []
        assert events == []

    def test_hostile_names_are_inert(self, browser, audit_run, tmp_path):
        few = dataclasses.replace(audit_run, exemplars=audit_run.exemplars[:1])
        (tmp_path / "report.html").write_text(
            single_file.join(site.render(renamed(few, "t-shirt", HOSTILE)), audit_run.name)
        )
        page = browser.new_page()
        events = watched(page)
        page.goto((tmp_path / "report.html").as_uri())
        assert page.locator("script, img[onerror], img[src='x']").count() == 0
        page.get_by_role("navigation").get_by_role("link").nth(1).click()
        assert HOSTILE in page.locator(unquote(page.url.partition("#")[2]).join(["#", " h1"])).inner_text()
        page.close()
        assert events == []
