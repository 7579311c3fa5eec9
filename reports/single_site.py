"""A site of one page and the glossary: a comparison, a history. Layout, style and policy are those of the report."""

from dataclasses import dataclass
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from reports.site import Body, Page, content_security_policy

_GLOSSARY = Page("glossary", "Glossary", 90, "run")


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
    assert templates.loader is not None
    titles = {"compare": "Comparison", "history": "History"}
    own = Page(page, titles[page], 10, "run")
    shared = {"run": Titled(name), "root": "", **values}
    bodies = [
        Body(kind, href, None, Markup(templates.get_template(f"pages/{kind.name}.html").make_module(shared)))
        for kind, href in ((own, "index.html"), (_GLOSSARY, "glossary.html"))
    ]
    style = "".join(
        templates.loader.get_source(templates, file)[0] for file in ("report.css", "over_time.css")
    )
    layout = templates.get_template("layout.html")
    made = {}
    for body in bodies:
        text = layout.render(
            {
                **shared,
                "body": body,
                "navigation": bodies,
                "style": Markup(style),
                "policy": content_security_policy(style),
            }
        )
        # File names that are not UTF-8 reach us with lone surrogates, which no UTF-8 file can hold.
        made[body.href] = text.encode("utf-8", "backslashreplace").decode()
    return made
