"""The whole report as one page that holds its pictures: for mail, and for whoever keeps files one by one.

The pages come one below the other. Links between them become links inside the page, pictures become `data:` addresses.
Pages whose script loads files of the report are left out; of the others the script is, and what it would add.
"""

import base64
import posixpath
import re
from collections.abc import Mapping
from html import escape
from html.parser import HTMLParser
from urllib.parse import urldefrag

from markupsafe import Markup

from reports import environment, site

_REFERENCES = ("id", "for", "aria-labelledby", "aria-describedby", "aria-controls", "headers", "list")
"""Attributes that hold ids, one or several."""
_TYPES = {".webp": "image/webp", ".jpg": "image/jpeg", ".png": "image/png"}
_BODY = re.compile(r"<main [^>]*>(.*)</main>", re.DOTALL)
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)
_BETWEEN_PAGES = (
    ".page + .page { margin-top: 4rem; padding-top: 2rem; border-top: 4px double var(--line); }"
    " .page > h1 { font-size: 1.9rem; } .neighbours, .contents { display: none; }"
    " @media print { .page + .page { break-before: page; border: 0; } }"
)
_LOADS = "script-src &#39;self&#39;"
"""How the policy of a page says that its script loads files."""
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def join(files: Mapping[str, str | bytes], name: str) -> str:
    """The files of a report, as `site.render` makes them, as one page.

    Args:
        files: file name -> content; the pages in the order in which they are to come.
        name: of the run.
    """
    pages = {
        path: text
        for path, text in files.items()
        if path.endswith(".html") and isinstance(text, str) and _LOADS not in text
    }
    anchors = {path: f"page-{number}" for number, path in enumerate(pages)}
    # A page may add to the common style sheet; the same text is taken once.
    styles = dict.fromkeys(_found(_STYLE, text) for text in pages.values())
    style = "".join(styles) + _BETWEEN_PAGES
    sections = [
        {
            "anchor": anchors[path],
            "title": Markup(
                _found(_TITLE, text)
                .removesuffix(f" · {escape(name)} · Right Reasons")
                .removesuffix(" · Class")
            ),
            "html": Markup(_Moved(path, anchors, files).moved(_found(_BODY, text))),
        }
        for path, text in pages.items()
    ]
    template = environment.make().get_template("single_file.html")
    text = template.render(
        name=name, sections=sections, style=Markup(style), policy=site.content_security_policy(style)
    )
    # As on the pages themselves: lone surrogates of file names are written as escapes.
    return text.encode("utf-8", "backslashreplace").decode()


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    assert match is not None, pattern.pattern
    return match[1]


class _Moved(HTMLParser):
    """Writes a page's body again, with the ids, links and pictures that it has inside the one page."""

    def __init__(self, path: str, anchors: Mapping[str, str], files: Mapping[str, str | bytes]) -> None:
        super().__init__(convert_charrefs=False)
        self._path, self._anchors, self._files = path, anchors, files
        self._written: list[str] = []

    def moved(self, body: str) -> str:
        """The body, moved."""
        self.feed(body)
        self.close()
        return "".join(self._written)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # Names of SVG keep their capitals in the text of the tag alone.
        text = self.get_starttag_text() or ""
        for name, value in attrs:
            new = None if value is None else self._attribute(tag, name, value)
            if new != value:
                text = _replaced(text, name, new)
        self._written.append(text)

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag: str) -> None:
        # The parser gives names in small letters, and SVG has others; no closing tag of ours is one of those.
        self._written.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self._written.append(data)

    def handle_entityref(self, name: str) -> None:
        self._written.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self._written.append(f"&#{name};")

    def _attribute(self, tag: str, name: str, value: str) -> str | None:
        """The attribute's new value; None takes it away."""
        if (tag, name) == ("section", "aria-labelledby"):
            return None  # or the page had a landmark of each name for every class
        if name in _REFERENCES:
            return " ".join(f"{self._anchors[self._path]}-{part}" for part in value.split())
        if name == "src":
            return self._picture(value)
        if name == "href" and tag == "a":
            return self._link(value)
        return value

    def _target(self, link: str) -> tuple[str, str]:
        """File in the report and anchor of a link."""
        path, anchor = urldefrag(link)
        return posixpath.normpath(
            posixpath.join(posixpath.dirname(self._path), path)
        ) if path else self._path, anchor

    def _picture(self, link: str) -> str:
        path, _ = self._target(link)
        content = self._files.get(path)
        if not isinstance(content, bytes):
            return link
        return f"data:{_TYPES[posixpath.splitext(path)[1]]};base64,{base64.b64encode(content).decode()}"

    def _link(self, link: str) -> str | None:
        path, anchor = self._target(link)
        if path in self._anchors:
            return f"#{self._anchors[path]}" + (f"-{anchor}" if anchor else "")
        # A file of its own, which the one page lacks: what is left is the text.
        return None if path in self._files else link


def _replaced(text: str, name: str, value: str | None) -> str:
    """The text of a tag with another value of an attribute, or without it."""
    new = "" if value is None else f' {name}="{escape(value)}"'
    return re.sub(rf"""\s{re.escape(name)}\s*=\s*("[^"]*"|'[^']*'|[^\s>]+)""", lambda _: new, text, count=1)
