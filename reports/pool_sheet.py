"""The pictures that `suggest` chose, as one page that needs nothing but itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports import environment
from reports.site import content_security_policy


@dataclass(frozen=True)
class Thumbnail:
    """One picture of the list.

    Attributes:
        rank: its place, from 1.
        name: of its file.
        picture: a small picture as a data address; empty where there is none.
        group: what it is asked for, in a few words.
        reason: why it is on the list.
    """

    rank: int
    name: str
    picture: str
    group: str
    reason: str


def render(name: str, tiles: Sequence[Thumbnail], notes: Sequence[str]) -> str:
    """The page; `name` is the run's, `notes` are sentences about the list."""
    templates = environment.make()
    assert templates.loader is not None
    style = templates.loader.get_source(templates, "pool_sheet.css")[0]
    page = templates.get_template("pool_sheet.html").render(
        name=name, tiles=tiles, notes=notes, style=Markup(style), policy=content_security_policy(style)
    )
    return page.encode("utf-8", "backslashreplace").decode()
