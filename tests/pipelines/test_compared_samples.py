"""Which samples a comparison shows: typical ones and the largest changes, of those that both runs can show."""

from dataclasses import replace

import numpy as np
import pytest

from audit import tables
from audit.changes import compare
from audit.types import ChangeLimits
from pipelines import compared_samples
from reports import compare_site, sheets
from tests.paired import METHOD, ids, run_of, with_table

LIMITS = ChangeLimits(q=0.05, minimum_change=0.05, ruled_out=0.1, minimum_pairs=10)
BEFORE = np.full(11, 0.5)
AFTER = BEFORE + np.array([0.0, 0.1, 0.1, 0.1, 0.2, 0.2, 0.3, -0.4, 0.4, 0.45, np.nan])
"""The median of the ten differences is 15 points; 40, 40 and 45 are the largest."""


def tiles(names, method=METHOD):
    blank = np.zeros((96, 96, 4), np.uint8)
    made = [
        sheets.Small(
            name, f"digest of {name}", blank[..., :3], blank, {method: np.eye(48, dtype=np.uint8) * 200}
        )
        for name in names
    ]
    return sheets.cut(made, (224, 224))


def chosen(reference, candidate, *drawn):
    comparison = compare(reference, candidate, LIMITS)
    return comparison, compared_samples.choose(comparison, drawn)


def told(pairs):
    return [(pair.role, pair.sample_id[-3:], round(pair.difference, 3)) for pair in pairs]


def test_three_nearest_to_the_median_then_the_three_largest_either_way():
    drawn = tiles(ids("shoe", 11))
    _, pairs = chosen(run_of({"shoe": BEFORE}), run_of({"shoe": AFTER}), drawn, drawn)
    assert told(pairs) == [
        ("typical", "001", 0.1),
        ("typical", "002", 0.1),
        ("typical", "003", 0.1),
        ("largest", "009", 0.45),
        ("largest", "007", -0.4),
        ("largest", "008", 0.4),
    ]


def test_only_samples_that_both_runs_can_show_are_chosen_and_the_median_is_that_of_all():
    first, second = tiles(["shoe/000", "shoe/004", "shoe/009"]), tiles(["shoe/004", "shoe/009", "shoe/008"])
    _, pairs = chosen(run_of({"shoe": BEFORE}), run_of({"shoe": AFTER}), first, second)
    assert told(pairs) == [("typical", "004", 0.2), ("typical", "009", 0.45)]


def test_a_picture_of_another_file_than_the_scored_one_is_not_shown():
    changed = run_of({"shoe": AFTER})
    predictions = changed.tables["predictions"].assign(digest="another")
    drawn = tiles(ids("shoe", 11))
    other = replace(changed, tables={**changed.tables, "predictions": predictions})
    assert chosen(run_of({"shoe": BEFORE}), other, drawn, drawn)[1] == ()


def test_without_an_object_the_mass_on_things_is_compared():
    rows = [
        {"sample_id": name, "method": METHOD, "confound": "face", "present": True} for name in ids("shoe", 4)
    ]
    runs = [
        with_table(
            run_of({"shoe": [np.nan] * 4}),
            tables.CONFOUNDS,
            [{**row, "mass_inside": mass} for row, mass in zip(rows, masses, strict=True)],
        )
        for masses in ([0.6, 0.6, 0.6, 0.6], [0.1, 0.2, 0.3, 0.6])
    ]
    drawn = tiles(ids("shoe", 4))
    _, pairs = chosen(*runs, drawn, drawn)
    # The median is -35 points.
    assert told(pairs) == [
        ("typical", "001", -0.4),
        ("typical", "002", -0.3),
        ("typical", "000", -0.5),
        ("largest", "003", 0.0),
    ]


def test_runs_without_a_common_method_or_sample_show_none():
    drawn = tiles(ids("shoe", 11))
    assert chosen(run_of({"shoe": BEFORE}), run_of({"shoe": AFTER}, methods=["xrai"]), drawn, drawn)[1] == ()
    assert chosen(run_of({"shoe": BEFORE}), run_of({"boot": AFTER}), drawn, drawn)[1] == ()


@pytest.mark.parametrize("n", [1, 11])
def test_the_page_draws_each_chosen_sample_once_for_each_side(n):
    drawn = tiles(ids("shoe", n))
    comparison, pairs = chosen(run_of({"shoe": BEFORE}), run_of({"shoe": AFTER}), drawn, drawn)
    text = compare_site.render(comparison, pairs)["index.html"]
    assert text.count(', reference"') == text.count(', candidate"') == min(n, 6)
    assert "Drawn from thumbnails" in text
    assert ("largest difference" in text) == (n > 3)
