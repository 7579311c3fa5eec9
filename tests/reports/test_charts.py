import math
from xml.etree import ElementTree

import pytest

from reports import charts


def parsed(svg):
    return ElementTree.fromstring(str(svg))


def by_class(svg, name):
    return [element for element in parsed(svg).iter() if element.get("class") == name]


def test_a_bar_puts_its_shapes_where_the_numbers_are():
    svg = charts.interval_bar(0.5, 0.25, 0.75, nulls={"area": 0.0})
    (point,), (whisker,), (chance,) = (by_class(svg, name) for name in ("point", "whisker", "chance"))
    assert float(point.get("cx")) == 100  # the middle of 200
    assert float(whisker.get("x")) == 52  # 4 + 0.25 * 192
    assert float(whisker.get("width")) == 96  # half of 192
    assert chance.get("d") == "M4.0 2V18"  # the left end


def test_a_bar_says_in_words_what_it_draws():
    svg = charts.interval_bar(0.33, 0.29, 0.37, nulls={"area": 0.2}, name="Mass inside")
    assert parsed(svg).get("role") == "img"
    assert parsed(svg).get("aria-label") == "Mass inside: 33\u00a0% (29–37\u00a0%); by chance 20\u00a0%"


@pytest.mark.parametrize("missing", [math.nan, None])
def test_a_bar_without_a_mean_is_an_empty_line_that_says_so(missing):
    svg = charts.interval_bar(missing, 0.1, 0.2)
    assert parsed(svg).get("aria-label") == "mean: not measured"
    assert by_class(svg, "point") == by_class(svg, "whisker") == by_class(svg, "chance") == []


def test_a_mean_without_an_interval_has_no_whisker():
    svg = charts.interval_bar(0.5, math.nan, math.nan)
    assert len(by_class(svg, "point")) == 1
    assert by_class(svg, "whisker") == []


def test_a_name_is_escaped():
    svg = charts.interval_bar(0.5, 0.4, 0.6, name='"><script>')
    assert parsed(svg).get("aria-label").startswith('"><script>: 50')
    assert "<script" not in svg
