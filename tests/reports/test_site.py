import base64
import dataclasses
import hashlib
import io
import posixpath
import re
from html.parser import HTMLParser
from urllib.parse import urldefrag

import jinja2
import pytest
from PIL import Image

from reports import environment, numbers, site, views
from tests.reports.conftest import renamed

WITH_SCRIPT = ("gallery.html", "suggestions.html")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}"


def hostile_run(run):
    few = tuple(shown for shown in run.exemplars if shown.sample_id.endswith("0000.jpg"))
    return renamed(dataclasses.replace(run, exemplars=few), "t-shirt", HOSTILE)


class Document(HTMLParser):
    """Links, pictures, ids and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.pictures, self.ids, self.tags, self.words = [], [], [], [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append((tag, values))
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if tag == "a" else []
        self.pictures += [values] if tag == "img" else []

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def files(audit_run):
    return site.render(audit_run)


@pytest.fixture(scope="module")
def documents(files):
    return {name: Document(text) for name, text in files.items() if name.endswith(".html")}


def test_a_report_is_an_index_a_page_per_class_the_facts_and_pictures(files):
    pages = sorted(name for name in files if name.endswith(".html"))
    assert pages == [
        "certificate.html",
        "classes/cat.html",
        "classes/mug.html",
        "classes/t-shirt.html",
        "confounds.html",
        "facts.html",
        "gallery.html",
        "glossary.html",
        "index.html",
        "suggestions.html",
    ]
    others = r"images/[0-9a-f]{20}\.webp|gallery/[a-z0-9-]+\.(js|csv|webp)|suggestions\.csv"
    assert all(re.fullmatch(others, name) for name in files if name not in pages)


def test_every_link_leads_to_a_file_of_the_report_and_every_anchor_exists(files, documents):
    broken = []
    for name, document in documents.items():
        for link in [*document.links, *(picture["src"] for picture in document.pictures)]:
            path, anchor = urldefrag(link)
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
            is_view = target == "gallery.html"  # its anchors are filters
            if target not in files or (anchor and not is_view and anchor not in documents[target].ids):
                broken.append((name, link))
    assert broken == []


def test_no_page_names_an_address_outside_the_report(files, documents):
    texts = "".join(text for name, text in files.items() if name in documents)
    texts = re.sub(r"sha256-[A-Za-z0-9+/=]+", "", texts)  # a digest may hold two slashes
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+[^\s\"'<]*", texts))
    assert addresses == {"http://www.w3.org/2000/svg"}


def test_ids_are_unique_on_a_page(documents):
    assert all(len(set(document.ids)) == len(document.ids) for document in documents.values())


def test_the_overview_says_the_verdict_first(documents):
    position = documents["index.html"].text.index
    assert (
        position("1 of 3 classes is suspect: t-shirt, by face.")
        < position("near chance")
        < position("Mass inside")
    )


def test_every_number_of_a_verdict_stands_on_the_page_of_its_class(audit_run, documents):
    missing = []
    for verdict in audit_run.verdicts:
        text = documents[f"classes/{verdict.label}.html"].text.replace("\u202f", " ")
        expected = [
            numbers.interval(verdict.mass_inside, verdict.mass_inside_low, verdict.mass_inside_high),
            numbers.ratio(verdict.lift),
            numbers.difference(verdict.association),
            numbers.probability(verdict.q_value),
            numbers.count(verdict.n),
            numbers.count(verdict.n_needed),
            *verdict.reasons,
        ]
        missing += [(verdict.label, words) for words in expected if " ".join(words.split()) not in text]
    assert missing == []


def test_the_overview_has_a_row_per_class_with_its_numbers(documents):
    text = documents["index.html"].text
    row = text[text.index("Mass inside, 0 to 100 %") : text.index("undecided", text.index("Mass inside, 0"))]
    for words in (
        "t-shirt",
        "suspect",
        "face",
        "9.4×",
        "+98 pp",
        "120",
        "100 %",
        "11 % (8–14 %)",
        "27 % (24–31 %)",
    ):
        assert words in row, words


def test_the_interventions_that_were_not_run_are_said_to_be_missing(documents):
    text = documents["classes/t-shirt.html"].text
    assert re.search(
        r"Necessity .{0,60} not measured not measured Sufficiency .{0,60} not measured not measured", text
    )


def test_necessity_and_sufficiency_are_shown_with_their_intervals(audit_run):
    proved = dataclasses.replace(
        audit_run.verdicts[4],
        necessity=0.31,
        necessity_low=0.2,
        necessity_high=0.42,
        sufficiency=0.5,
        sufficiency_low=0.4,
        sufficiency_high=0.6,
    )
    run = dataclasses.replace(audit_run, verdicts=(proved,), exemplars=())
    text = Document(site.render(run)["classes/t-shirt.html"]).text
    assert "+31 pp (+20 to +42 pp)" in text
    assert "+50 pp (+40 to +60 pp)" in text


def test_each_suggestion_and_the_quarantine_are_on_the_overview(audit_run, documents):
    text = documents["index.html"].text
    assert [text.count(suggestion.text) for suggestion in audit_run.suggestions] == [1, 1, 1, 1]
    assert "2 unreadable image" in text
    assert "truncated after 4096 of 81234 bytes" in text


def test_the_facts_name_every_setting(documents):
    text = documents["facts.html"].text
    assert "run.cache" in text[text.index("Not set") :]
    for words in (
        "verdicts.minimum_samples 10",
        "3f1c9a52d07be841",
        "9d3e" * 16,
        "keras 3.15.0",
        "31 744",
    ):
        assert words in text, words


def test_a_certificate_is_shown_where_the_run_has_one(audit_run):
    row = {
        "method": "grad_cam",
        "check": "randomisation",
        "value": 0.91,
        "limit": 0.5,
        "passed": False,
        "reason": "It does not fall.",
    }
    frame = audit_run.tables["quarantine"].iloc[:0].__class__([row])
    run = dataclasses.replace(audit_run, tables={**audit_run.tables, "certificate": frame}, exemplars=())
    text = Document(site.render(run)["certificate.html"]).text
    assert "randomisation ✕ no 0.91 0.5 It does not fall." in text


def test_neighbours_follow_the_order_of_the_overview(documents):
    relations = {
        (name, values["rel"]): values["href"]
        for name, document in documents.items()
        for tag, values in document.tags
        if tag == "a" and "rel" in values
    }
    assert relations == {
        ("classes/t-shirt.html", "next"): "../classes/mug.html",
        ("classes/mug.html", "prev"): "../classes/t-shirt.html",
        ("classes/mug.html", "next"): "../classes/cat.html",
        ("classes/cat.html", "prev"): "../classes/mug.html",
    }


def test_pictures_are_lazy_and_of_the_stated_size(files, documents):
    page = documents["classes/t-shirt.html"]
    shown = [picture for picture in page.pictures if picture["width"] == "320"]
    # Five samples, three of them again beside the face and one beside what was discovered; two interventions.
    assert len(shown) == (5 + 3 + 1) * 3 + 2 * 3
    assert all(picture["loading"] == "lazy" and picture["alt"] for picture in shown)
    sizes = {Image.open(io.BytesIO(files[picture["src"].removeprefix("../")])).size for picture in shown}
    assert sizes == {(320, 320)}


def test_the_policy_allows_this_style_sheet_and_no_script_but_the_page_s_own(files, documents):
    for name, document in documents.items():
        (policy,) = (
            v["content"]
            for t, v in document.tags
            if t == "meta" and v.get("http-equiv") == "Content-Security-Policy"
        )
        style = re.search(r"<style>(.*?)</style>", files[name], re.DOTALL).group(1)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert policy.startswith("default-src 'none'; ")
        assert f"style-src 'sha256-{digest}';" in policy
        assert not [tag for tag, values in document.tags if "style" in values]
        scripts = re.findall(r"<script>(.*?)</script>", files[name], re.DOTALL)
        assert len(scripts) == (name in WITH_SCRIPT)
        sources = [
            f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts
        ]
        # Only the gallery loads files besides; on file:// these are not 'self'.
        may_load = ["'self'", "file:"] if name == "gallery.html" else []
        allowed = re.findall(r"script-src ([^;]*);", policy)
        assert [words.split() for words in allowed] == ([may_load + sources] if scripts else [])


def test_what_the_data_call_things_is_escaped_everywhere(audit_run):
    for name, text in site.render(hostile_run(audit_run)).items():
        if name.endswith(".html"):
            tags = Document(text).tags
            scripts = [values for tag, values in tags if tag == "script"]
            assert len(scripts) == (name in WITH_SCRIPT)
            assert not [values for _, values in tags if "onerror" in values]
            assert "49" not in re.findall(r"alert\(2\)&gt;(.{0,4})", text)


@pytest.mark.parametrize("label", ["..", "a/b", "", "🧦", "T-Shirt", "con", "a\ud800b"])
def test_a_class_of_any_name_has_a_page_inside_the_report(audit_run, label):
    run = dataclasses.replace(audit_run, exemplars=(), suggestions=(), classes=(label, "t-shirt"))
    run = dataclasses.replace(
        run, verdicts=tuple(dataclasses.replace(v, label=label) for v in audit_run.verdicts[4:5])
    )
    rendered = site.render(run)
    assert f"classes/{views.slug(label)}.html" in rendered
    assert all(re.fullmatch(r"([a-z]+/)?[a-z0-9-]+\.(html|webp|js|csv)", name) for name in rendered)
    assert all(text.encode("utf-8") for text in rendered.values() if isinstance(text, str))


def test_an_empty_run_still_has_a_report(audit_run):
    manifest = {**audit_run.manifest, "classes": {}, "warnings": [], "quarantine": {}}
    run = dataclasses.replace(
        audit_run, manifest=manifest, tables={}, verdicts=(), suggestions=(), exemplars=()
    )
    text = Document(site.render(run)["index.html"]).text
    assert "No class could be judged." in text
    assert "Every sample could be used." in text


def test_the_same_run_gives_the_same_bytes(audit_run, files):
    few = dataclasses.replace(audit_run, exemplars=audit_run.exemplars[:2])
    again = site.render(few)
    assert again == site.render(few)
    assert {name: files[name] for name in again if name.startswith("images/")}.items() <= files.items()


def made_of(**pages):
    templates = environment.make()
    templates.loader = jinja2.DictLoader({f"pages/{name}.html": text for name, text in pages.items()})
    return templates


def test_pages_are_found_by_file_and_sorted_by_their_order():
    found = site.pages(
        made_of(
            late='{% set title = "Late" %}{% set order = 20 %}',
            early='{% set title = "Early" %}{% set order = 3 %}{% set per = "class" %}',
        )
    )
    assert [(page.name, page.title, page.per) for page in found] == [
        ("early", "Early", "class"),
        ("late", "Late", "run"),
    ]


@pytest.mark.parametrize(
    "text", ['{% set title = "x" %}', '{% set title = "x" %}{% set order = 1 %}{% set per = "day" %}']
)
def test_a_page_that_does_not_say_what_it_is_is_refused(text):
    with pytest.raises(ValueError, match=r"pages/new\.html: expected \{% set title"):
        site.pages(made_of(new=text))


def test_a_name_that_no_template_knows_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        environment.make().from_string("{{ no_such_name }}").render()


def test_a_missing_number_is_a_dash_that_says_why():
    text = environment.make().from_string("{{ none | share }}").render()
    assert 'title="not measured"' in text
    assert "–" in text


def test_a_name_is_isolated_from_the_writing_direction_around_it():
    text = environment.make().from_string("{{ '\u202egpj' | name }}|{{ ' ' | name }}").render()
    assert text == "<bdi>\u202egpj</bdi>|<bdi>(empty name)</bdi>"
