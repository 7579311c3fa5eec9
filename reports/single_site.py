"""A site of one page and the glossary: a comparison, a history. Layout, style and policy are those of the report."""

from dataclasses import dataclass
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from reports import site


@dataclass(frozen=True)
class Titled:
    """What the layout asks of a run: the name that stands in the head of the page."""

    name: str


def render(templates: Environment, page: str, name: str, values: dict[str, Any]) -> dict[str, str]:
    """`index.html` from the page file of this name, and `glossary.html`.

    Args:
        templates: the environment, with what the page calls among its globals.
        page: file in `templates/pages/`, without its ending.
        name: stands in the head of the page.
        values: what the page shows.
    """
    known = {entry.name: entry for entry in site.pages(templates)}
    shared = {"run": Titled(name), "root": "", **values}
    bodies = [
        site.Body(
            known[kind], href, None, Markup(templates.get_template(f"pages/{kind}.html").make_module(shared))
        )
        for kind, href in ((page, "index.html"), ("glossary", "glossary.html"))
    ]
    return {body.href: site.wrap(templates, body, bodies, shared) for body in bodies}
