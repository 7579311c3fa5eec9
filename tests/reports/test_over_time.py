"""The pages of a comparison and of a history: self-contained, escaped, readable without colour."""

import base64
import dataclasses
import hashlib
import math
import re

import numpy as np
import pytest

from audit.changes import compare
from audit.types import ChangeLimits
from reports import change_words, compare_site, history_site, trends
from tests.paired import run_of

LIMITS = ChangeLimits(q=0.05, minimum_change=0.05, ruled_out=0.1, minimum_pairs=10)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}"
SPREAD = np.tile([0.0, 0.2], 20)


def compared(label="shoe", shift=-0.15):
    return compare(
        dataclasses.replace(run_of({label: 0.5 + SPREAD}), name="released"),
        dataclasses.replace(run_of({label: 0.5 + shift + SPREAD}), name="new"),
        LIMITS,
    )


def past(name, mass, status="sound", label="shoe", **values):
    row = trends.HistoryRow(label, "grad_cam", 20, 0.9, mass, mass - 0.05, mass + 0.05, status, "")
    run = trends.PastRun(name, "2026-11-01T03:00:00+00:00", "ab" * 32, "cd" * 32, "photos", 20, 0.9, (row,))
    return dataclasses.replace(run, **values)


PAGES = {
    "compare": lambda label: compare_site.render(compared(label)),
    "history": lambda label: history_site.render(
        label, [past(label, 0.5, label=label)], [history_site.UnusableRun(label, label)]
    ),
}


@pytest.fixture(params=PAGES)
def make(request):
    return PAGES[request.param]


def test_a_page_loads_nothing_and_its_policy_covers_its_style(make):
    text = make("shoe")["index.html"]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert (
        f"style-src 'sha256-{digest}'".replace("'", "&#39;") in text or f"style-src 'sha256-{digest}'" in text
    )
    assert "style=" not in text
    for script in re.findall(r"<script>(.*?)</script>", text, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"script-src &#39;sha256-{digest}&#39;;" in text
    text = re.sub(r"sha256-[A-Za-z0-9+/=]+", "", text)  # a digest may hold two slashes
    assert set(re.findall(r"(?:https?:)?//[\w.-]+[^\s\"'<]*", text)) <= {"http://www.w3.org/2000/svg"}


def test_a_hostile_class_name_stays_text(make):
    text = make(HOSTILE)["index.html"]
    assert re.findall("<script[^<]{0,12}", text) in ([], ['<script>"use strict'])  # a page's own
    assert "<img src=x" not in text
    assert "{{ 7*7 }}" in text


def test_every_link_of_a_page_leads_somewhere(make):
    files = make("shoe")
    text = files["index.html"]
    ids = set(re.findall(r' id="([^"]+)"', text))
    for link in re.findall(r'<a [^>]*href="([^"]+)"', text):
        path, _, anchor = link.partition("#")
        assert path in files if path else anchor in ids, link


def test_the_same_input_gives_the_same_bytes(make):
    assert make("shoe") == make("shoe")


def test_a_comparison_says_the_verdict_before_any_number():
    text = compare_site.render(compared())["index.html"]
    assert text.index("1 of 1 classes worsened: shoe.") < text.index("Pairs of samples")
    assert "worsened in mass inside (grad_cam)" in text


def test_a_difference_is_drawn_to_scale_and_said_in_words():
    text = compare_site.render(compared())["index.html"]
    # The widest interval ends at -15 points, so the bar is 20 points to either side: 200 wide, 96 for half of it.
    (point,) = re.findall(
        r'class="point" cx="([\d.]+)" cy="10" r="3.5"/></svg></div><span class="number">−15', text
    )
    assert float(point) == pytest.approx(100 - 96 * 0.15 / 0.2, abs=0.1)
    assert 'aria-label="Difference: −15' in text


@pytest.mark.parametrize(
    ("statistic", "words"),
    [
        ("mass_inside", "mass inside"),
        ("accuracy", "accuracy"),
        ("mass_on.face", "mass on face"),
        ("mass_on.a.b", "mass on a.b"),
        ("necessity.a.b.remove", "necessity of a.b (remove)"),
    ],
)
def test_statistics_are_said_in_words(statistic, words):
    assert change_words.statistic_words(statistic) == words


def test_runs_without_a_common_class_say_so():
    nothing = compare(run_of({}), run_of({}), LIMITS)
    text = compare_site.render(nothing)["index.html"]
    assert "No class could be compared" in text


def test_a_run_that_did_not_measure_a_class_is_a_gap_in_its_line():
    runs = [past("a", 0.2), past("b", math.nan), past("c", 0.4), past("d", 0.6)]
    (trend,) = trends.trends(runs)
    chart = str(trends.trend_chart(trend, runs))
    assert chart.count('class="shape') == 3
    (path,) = re.findall(r'class="line" d="([^"]+)"', chart)
    assert path.count("M") == 1  # one stroke, from c to d


def test_a_status_is_a_shape_as_well_as_a_colour():
    runs = [past("a", 0.5, status) for status in ("spurious", "suspect", "undecided", "sound")]
    (trend,) = trends.trends(runs)
    shapes = re.findall(r'class="shape \w+" d="M[\d.]+ [\d.]+([^"]+)"', str(trends.trend_chart(trend, runs)))
    assert len(set(shapes)) == 4


def test_a_class_that_is_new_or_gone_has_a_trend_of_its_own():
    runs = [past("a", 0.5), past("b", 0.6, label="boot")]
    assert [(trend.label, [row is not None for row in trend.rows]) for trend in trends.trends(runs)] == [
        ("boot", [False, True]),
        ("shoe", [True, False]),
    ]


def test_a_history_of_no_finished_run_lists_what_is_broken():
    text = history_site.render("runs", [], [history_site.UnusableRun("monday", "is not finished")])[
        "index.html"
    ]
    assert "No run is finished." in text
    assert "is not finished" in text
