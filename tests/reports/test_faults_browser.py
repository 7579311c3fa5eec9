"""Names that would like to be more than names, in a real browser: none runs, loads or hides anything."""

import dataclasses

import pytest

from reports import site
from tests.reports.conftest import renamed
from tests.reports.test_browser import all_pages, browser, pytestmark, watched, written  # noqa: F401

PAYLOADS = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "</style><script>alert(3)</script>",
    "</title><svg onload=alert(4)>",
    "</textarea><img src=x onerror=alert(5)>",
    "--><script>alert(6)</script><!--",
    "]]><script>alert(7)</script>",
    "\"><img src=x onerror='alert(8)'>",
    "'><img src=x onerror=alert(9)>",
    "' onmouseover='alert(10)' x='",
    '" autofocus onfocus="alert(11)" x="',
    "` onload=alert(12) `",
    "javascript:alert(13)",
    "data:text/html,<script>alert(14)</script>",
    "<a href='javascript:alert(15)'>x</a>",
    "<iframe srcdoc='<script>alert(16)</script>'></iframe>",
    "<object data='javascript:alert(17)'></object>",
    "<embed src='javascript:alert(18)'>",
    "<form action='javascript:alert(19)'><button>x</button></form>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(20)'>",
    "<base href='http://localhost:1/'>",
    "<link rel=stylesheet href='http://localhost:1/x.css'>",
    "<style>@import 'http://localhost:1/x.css';</style>",
    "<details open ontoggle=alert(24)>",
    "<video><source onerror=alert(25)></video>",
    "<math><mi xlink:href='javascript:alert(26)'>x</mi></math>",
    "<svg><animate onbegin=alert(27) attributeName=x dur=1s>",
    "<template><script>alert(28)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(29)>'>",
    "<xmp><img src=x onerror=alert(30)></xmp>",
    "{{ 7 * 7 }} {% raw %} {# x #}",
    "${alert(32)} #{alert(33)}",
    "&lt;script&gt;alert(34)&lt;/script&gt;",
    "&#60;script&#62;alert(35)&#60;/script&#62;",
    "\\u003cscript\\u003ealert(36)\\u003c/script\\u003e",
    '\\"; alert(37); //',
    "'; alert(38); //",
    "\u2028alert(39)\u2029",
    "\u202egnp.exe\u202c",
    "\u2066\u2067x",
    "\ufeff\u200b\u200d",
    "expression(alert(42)); background: url(javascript:alert(43))",
    "../../index.html#x?y=1",
    "%3Cscript%3Ealert(45)%3C/script%3E",
    "=cmd|' /C calc'!A0",
    "<plaintext>",
    "<!DOCTYPE html><html><body onload=alert(48)>",
    "<img src='http://localhost:1/pixel.png'>",
    "<input onfocus=alert(50) autofocus>",
    "<marquee onstart=alert(51)>x</marquee>",
)


@pytest.mark.parametrize("third", range(3))
def test_fifty_names_that_are_markup_are_shown_and_do_nothing(browser, audit_run, tmp_path, third):  # noqa: F811
    name = " ".join(PAYLOADS[third::3])
    few = dataclasses.replace(
        audit_run, exemplars=tuple(e for e in audit_run.exemplars if e.sample_id.endswith("0000.jpg"))
    )
    folder = written(site.render(renamed(few, "t-shirt", name)), tmp_path)
    page = browser.new_page()
    events = watched(page)
    strange = "iframe, object, embed, form[action], meta[http-equiv=refresh], base, plaintext, marquee, img[src='x']"
    handlers = "[onerror], [onload], [onfocus], [ontoggle], [onbegin], [onmouseover], a[href^='javascript']"
    for path in all_pages(folder):
        page.goto(path.as_uri())
        page.wait_for_timeout(50)
        assert page.locator(strange).count() == 0, path.name
        assert page.locator(handlers).count() == 0, path.name
    page.close()
    assert events == []


def test_there_are_fifty_names():
    assert len(set(PAYLOADS)) == 50
