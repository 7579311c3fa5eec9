"""The whole report: finds the pages, orders them, draws the pictures, wraps each page in the layout.

A page is a file in `templates/pages/`. It says what it is by constants at its top level:

    {% set title = "Overview" %}    in the navigation and the window's title
    {% set order = 10 %}            its place in the navigation
    {% set per = "class" %}         only where it exists once per class, as `<page>/<slug of the class>.html`
    {% set script = "<file>.js" %}  only where it has a script: files in `templates/`, which go into the page as one
    {% set loads = "<folder>/" %}   only where that script loads files of the report
    {% set style = "<file>.css" %}  only where it adds to the style sheet

and the rest of it is its body, with these names: `run` (AuditRun), `classes` (ClassViews, most severe first),
`headline` (sentences), `legends` (method -> picture of its scale), `links` (sample id -> where it is shown),
`quarantined` (first rows of the table), `chains` (class name -> ChainView), `looked_at` (LookedAt), `matrix`
(MatrixView), `certificates` (CertificateViews), `trends` (each Trend with its chart), `gallery` (GalleryView or None),
`risk` (RiskView or None), `suggestions` (SuggestionsView), `root` (prefix of links to the report's folder),
and on a page per class `current`, `previous` and `following` (ClassViews or None). A page whose body comes
out empty is left out, so a page on something that a run may lack puts its body into an `if`.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from jinja2 import Environment, nodes
from markupsafe import Markup

from audit.types import AuditRun, Exemplar
from reports import (
    certificate_page,
    class_page,
    confounds_page,
    environment,
    figures,
    gallery,
    risk_page,
    suggestions_page,
    views,
)
from reports.sheets import Sheet
from reports.trends import PastRun, Trend, trend_chart, trends

_FOLDER = "pages/"
_N_TRENDS = 12
"""Classes whose course the overview draws."""
_N_ROWS = 50
"""Rows of a table that a page shows; `rightreasons export` gives them all."""


@dataclass(frozen=True)
class Page:
    """What a page file says of itself.

    Attributes:
        name: of the file, without its ending.
        title, order, per: its constants; `per` is "run" or "class".
        script, style: files in `templates/`, of the script several with spaces between; empty where it has none.
        loads: folder of the report from which the script loads files; empty where it loads none.
    """

    name: str
    title: str
    order: int
    per: str
    script: str = ""
    style: str = ""
    loads: str = ""

    @property
    def href(self) -> str:
        """File of a page per run; the overview is what a browser opens."""
        return "index.html" if self.name == "overview" else f"{self.name}.html"


@dataclass(frozen=True)
class Body:
    """A page before the layout is round it."""

    page: Page
    href: str
    subject: str | None
    html: Markup


def render(
    run: AuditRun, drawn: Sequence[Sheet] = (), past: Sequence[PastRun] = ()
) -> dict[str, str | bytes]:
    """The report of a run, self-contained: file name (relative, with /) -> content; open `index.html`.

    Args:
        run: the run.
        drawn: its small pictures, for the gallery.
        past: runs of its dataset over time, the oldest first, the run itself last; for the trend.

    Text is to be written as UTF-8. The same run gives the same files, byte for byte.
    """
    templates = environment.make()
    files, pictures = _draw(run)
    changed, shots = _draw_demonstrations(run)
    classes = views.class_views(run, pictures)
    scales, legends = _legends(run)
    suggestions, small = suggestions_page.view(run, classes, drawn)
    shared = {
        "run": run,
        "classes": classes,
        "headline": views.headline(classes),
        "legends": legends,
        "links": views.links(classes),
        "quarantined": _first_rows(run, "quarantine"),
        "certificates": certificate_page.certificates(run),
        "chains": class_page.chains(run, classes, shots),
        "trends": _trends(classes, past),
        "looked_at": class_page.looked_at(run),
        "matrix": confounds_page.matrix(run, classes),
        "gallery": gallery.view(run, drawn),
        "risk": risk_page.view(run),
        "suggestions": suggestions,
        "flat": environment.flat,
    }
    bodies = [body for page in pages(templates) for body in _bodies(templates, page, shared)]
    navigation = [body for body in bodies if body.page.per == "run"]
    rendered = {body.href: wrap(templates, body, navigation, shared) for body in bodies}
    return {**rendered, **files, **changed, **scales, **small, **gallery.files(run, drawn, classes)}


def _trends(classes: tuple[views.ClassView, ...], past: Sequence[PastRun]) -> list[tuple[Trend, Markup]]:
    """The course of each class by the method of its verdict, in the order of the overview; none of a single run."""
    if len(past) < 2:
        return []
    known = {(trend.label, trend.method): trend for trend in trends(past)}
    wanted = [(view.label, view.lead.method) for view in classes if view.lead]
    found = [known[key] for key in wanted[:_N_TRENDS] if key in known]
    return [(trend, trend_chart(trend, past)) for trend in found]


def pages(templates: Environment) -> list[Page]:
    """The pages in their order."""
    names = templates.list_templates(
        filter_func=lambda name: name.startswith(_FOLDER) and name.endswith(".html")
    )
    return sorted((_page(templates, name) for name in names), key=lambda page: (page.order, page.name))


def content_security_policy(style: str, script: str = "", loads: str = "") -> str:
    """What a page may load: pictures of the report itself and this one style sheet.

    A page without a script may run none; one with a script may run that one, and files of the report only where it
    `loads` some.
    """
    # On file:// a browser's 'self' matches nothing, hence file: beside it.
    files = "'self' file: " if loads else ""
    scripts = f"script-src {files}{_source_of(script)}; " if script else ""
    return (
        f"default-src 'none'; img-src 'self' data: file:; {scripts}"
        f"style-src {_source_of(style)}; base-uri 'none'; form-action 'none'"
    )


def _source_of(text: str) -> str:
    """How a policy names a text inside the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _page(templates: Environment, name: str) -> Page:
    """The constants of a page file, read without running it."""
    assert templates.loader is not None
    source, _, _ = templates.loader.get_source(templates, name)
    constants = {
        statement.target.name: statement.node.value
        for statement in templates.parse(source).body
        if isinstance(statement, nodes.Assign)
        and isinstance(statement.target, nodes.Name)
        and isinstance(statement.node, nodes.Const)
    }
    stem = name.removeprefix(_FOLDER).removesuffix(".html")
    per = constants.get("per", "run")
    if "title" not in constants or "order" not in constants or per not in ("run", "class"):
        raise ValueError(
            f'{name}: expected {{% set title = "..." %}}, {{% set order = number %}} and, if anything, '
            f'{{% set per = "class" %}}; found {constants}'
        )
    own = {name: constants.get(name, "") for name in ("script", "style", "loads")}
    return Page(stem, constants["title"], constants["order"], per, **own)


def _bodies(templates: Environment, page: Page, shared: dict[str, Any]) -> list[Body]:
    """The bodies of a page: one, or one per class; without the empty ones."""
    template = templates.get_template(f"{_FOLDER}{page.name}.html")
    if page.per == "run":
        contexts: list[dict[str, Any]] = [{"root": "", "href": page.href, "subject": None}]
    else:
        contexts = list(_class_contexts(page, shared["classes"]))
    made = []
    for context in contexts:
        html = Markup(template.make_module({**shared, **context}))
        if html.strip():
            made.append(Body(page, context["href"], context["subject"], html))
    return made


def _class_contexts(page: Page, classes: tuple[views.ClassView, ...]) -> Iterator[dict[str, Any]]:
    """Each class with its neighbours."""
    for before, current, after in zip((None, *classes), classes, (*classes[1:], None), strict=False):
        yield {
            "root": "../",
            "href": f"{page.name}/{current.slug}.html",
            "subject": current.label.strip() or "(empty name)",
            "current": current,
            "previous": before,
            "following": after,
        }


def wrap(templates: Environment, body: Body, navigation: Sequence[Body], shared: dict[str, Any]) -> str:
    """The page with the layout round it."""
    style = _source(templates, "report.css")
    if body.page.style:
        style += _source(templates, body.page.style)
    script = "".join(_source(templates, name) for name in body.page.script.split())
    text = templates.get_template("layout.html").render(
        {
            **shared,
            "body": body,
            "navigation": navigation,
            "root": "../" * body.href.count("/"),
            "style": Markup(style),
            "script": Markup(script),
            "policy": content_security_policy(style, script, body.page.loads),
        }
    )
    # File names that are not UTF-8 reach us with lone surrogates, which no UTF-8 file can hold.
    return text.encode("utf-8", "backslashreplace").decode()


def _source(templates: Environment, name: str) -> str:
    """The text of a file in `templates/`, which may be no template."""
    assert templates.loader is not None
    return templates.loader.get_source(templates, name)[0]


def _draw(run: AuditRun) -> tuple[dict[str, bytes], dict[str, tuple[views.PictureView, ...]]]:
    """The pictures of all exemplars: file name -> content, and sample id -> what pages show."""
    files: dict[str, bytes] = {}
    pictures: dict[str, tuple[views.PictureView, ...]] = {}
    lookup = views.picture_lookup(run)
    for exemplar in run.exemplars:
        made = []
        for method in chain([None], exemplar.maps):
            picture = _picture(exemplar, method)
            content = figures.encode(picture)
            href = figures.file_name(content)
            files[href] = content
            values = lookup.get((exemplar.sample_id, method or ""), {})
            made.append(
                views.PictureView(
                    href=href,
                    width=picture.shape[1],
                    height=picture.shape[0],
                    alt=views.alt_text(exemplar, method),
                    method=method,
                    mass_inside=values.get("mass_inside"),
                    status=values.get("status"),
                    confounds=values.get("confounds", ()),
                )
            )
        pictures[exemplar.sample_id] = tuple(made)
    return files, pictures


def _draw_demonstrations(
    run: AuditRun,
) -> tuple[dict[str, bytes], dict[class_page.Key, tuple[views.PictureView, ...]]]:
    """The three pictures of each demonstration: file name -> content, and by its key what pages show."""
    files: dict[str, bytes] = {}
    shots = {}
    for shown in run.demonstrations:
        thing = {shown.confound: shown.region} if shown.region.any() else {}
        made = []
        for alt, image, regions in zip(
            class_page.alt_texts(shown),
            (shown.image, shown.after, shown.control),
            (thing, {}, {}),
            strict=True,
        ):
            picture = figures.photo(image, shown.foreground, regions)
            content = figures.encode(picture)
            href = figures.file_name(content)
            files[href] = content
            made.append(
                views.PictureView(href, picture.shape[1], picture.shape[0], alt, None, None, None, ())
            )
        shots[class_page.key_of(shown)] = tuple(made)
    return files, shots


def _picture(exemplar: Exemplar, method: str | None) -> Any:
    if method is None:
        return figures.photo(exemplar.image, exemplar.foreground, exemplar.regions)
    return figures.overlay(
        exemplar.image,
        exemplar.maps[method],
        exemplar.foreground,
        exemplar.regions,
        figures.published(method),
    )


def _legends(run: AuditRun) -> tuple[dict[str, bytes], dict[str, str]]:
    """The colour scales of the methods: file name -> content, and method -> file name."""
    files, names = {}, {}
    for method, visualization in views.scales(run).items():
        content = figures.encode(figures.legend(visualization))
        names[method] = figures.file_name(content)
        files[names[method]] = content
    return files, names


def _first_rows(run: AuditRun, name: str) -> list[dict[str, Any]]:
    """The first rows of a table, none where the run lacks it."""
    table = run.tables.get(name)
    return [] if table is None else [dict(row) for row in table.head(_N_ROWS).to_dict("records")]
