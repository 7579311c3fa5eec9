"""How a property tells a class: numbers of a few samples, worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from audit.bonds import CLOSE, bonds, typical
from audit.candidates import property_candidates
from audit.tables import PROPERTIES, frame


def tables_of(own, others, name="brightness", predicted=None):
    """Samples of class a with the values `own`, of class b with `others`; all predicted right unless said."""
    values = [("a", value) for value in own] + [("b", value) for value in others]
    rows = [
        {
            "sample_id": f"{label} {number}",
            "property": name,
            "value": math.nan if isinstance(value, str) else value,
            "category": value if isinstance(value, str) else None,
        }
        for number, (label, value) in enumerate(values)
    ]
    predictions = pd.DataFrame(
        {
            "sample_id": [row["sample_id"] for row in rows],
            "label": [label for label, _ in values],
            "predicted": predicted or [label for label, _ in values],
        }
    )
    return {"predictions": predictions, "properties": frame(PROPERTIES, rows)}


def bond_of(*arguments, **more):
    return {bond.label: bond for bond in bonds(tables_of(*arguments, **more), 0.95)}


def test_a_number_that_always_tells_has_the_separation_of_one_and_a_direction():
    found = bond_of([0.6, 0.7, 0.8], [0.1, 0.2, 0.3])
    assert (found["a"].separation.mean, found["b"].separation.mean) == (1.0, 1.0)
    assert (found["a"].is_higher, found["b"].is_higher) == (True, False)
    assert (found["a"].own, found["a"].others) == (0.7, 0.2)
    # As sure as 3 of 3: Wilson's lower end is 3 / (3 + 1.96 ** 2) = 0.4385, and 2 * 0.4385 - 1 < 0.
    assert found["a"].separation.low == pytest.approx(2 * 3 / (3 + 1.96**2) - 1, abs=1e-4)


def test_separation_is_the_share_of_pairs_in_order_less_that_of_the_others():
    # Of 9 pairs 0.5 > 0.1, 0.3; 0.6 > 0.1, 0.3; 0.2 > 0.1 are in order, 4 are not.
    assert bond_of([0.2, 0.5, 0.6], [0.1, 0.3, 0.9])["a"].separation.mean == pytest.approx((5 - 4) / 9)


def test_a_name_has_the_difference_of_its_shares():
    found = bond_of(["PNG"] * 9 + ["JPEG"], ["JPEG"] * 8 + ["PNG"] * 2, name="file type")["a"]
    assert (found.category, found.share, found.others_share) == ("PNG", 0.9, 0.2)
    assert found.separation.mean == pytest.approx(0.7)
    assert not found.is_changeable


def test_what_could_not_be_measured_is_left_out():
    found = bond_of([0.6, math.nan, 0.8], [0.1, 0.2])["a"]
    assert (found.n_class, found.n_others) == (2, 2)


def test_one_class_alone_has_no_bond_and_a_run_without_properties_none():
    assert bonds(tables_of([0.6, 0.7], []), 0.95) == ()
    assert bonds({"predictions": tables_of([0.6], [0.1])["predictions"]}, 0.95) == ()


def test_typical_of_a_half_tinted_class_is_its_tint():
    own = np.array([0.3, 0.31, 0.32, 0.0, -0.01, 0.01])
    # Beyond the others' median 0.0 lie four: 0.01, 0.3, 0.31, 0.32.
    assert typical(own, 0.0, is_higher=True) == pytest.approx(0.305)


def test_predictions_follow_a_property_where_errors_go_with_it():
    own, others = [0.8] * 15 + [0.2] * 5, [0.2] * 15 + [0.8] * 5
    right = ["a"] * 20 + ["b"] * 20
    assert math.isnan(bond_of(own, others, predicted=right)["a"].follow_p)  # no errors that could follow it
    followed = bond_of(own, others, predicted=["a"] * 15 + ["b"] * 20 + ["a"] * 5)["a"]
    # On either side the five errors are the five that have the other value: one of C(20, 5) = 15504 ways, doubled.
    assert followed.follow_p == pytest.approx(2 / 15504)
    assert followed.is_followed(0.05)
    chance = bond_of(own, others, predicted=["a"] * 14 + ["b"] + ["a"] * 5 + ["b"] * 20)["a"]
    assert not chance.is_followed(0.05)


def test_candidates_are_what_tells_a_class_and_pixels_can_change():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.05, 60)
    bright = tables_of(list(0.7 + noise[:30]), list(0.4 + noise[30:]))
    (first, second) = property_candidates(bright, minimum_shown=10, minimum_separation=0.4, per_class=2)
    assert (first.label, first.confound, second.label) == ("a", "brightness", "b")
    assert first.own == pytest.approx(np.median(0.7 + noise[:30]))
    assert first.others == second.own == pytest.approx(np.median(0.4 + noise[30:]))
    assert {sample_id[0] for sample_id in first.showing} == {"a"}
    assert {sample_id[0] for sample_id in first.without} == {"b"}
    for changes in ({"per_class": 0}, {"minimum_shown": 31}):
        settings = {"minimum_shown": 10, "minimum_separation": 0.4, "per_class": 2} | changes
        assert property_candidates(bright, **settings) == ()
    alike = tables_of(list(0.5 + noise[:30]), list(0.5 + noise[30:]))
    assert property_candidates(alike, minimum_shown=2, minimum_separation=0.4, per_class=2) == ()
    sizes = tables_of(list(100 + noise[:30]), list(50 + noise[30:]), name="image size")
    assert bonds(sizes, 0.95)[0].is_bound(CLOSE)
    assert property_candidates(sizes, minimum_shown=2, minimum_separation=0.4, per_class=2) == ()


def test_of_two_perfect_bonds_the_one_that_stands_out_comes_first():
    tables = tables_of([0.30, 0.31, 0.32], [0.0, 0.01, 0.02], name="colour cast")
    weaker = tables_of([0.30, 0.40, 0.50], [0.0, 0.10, 0.20], name="brightness")["properties"]
    tables["properties"] = pd.concat([tables["properties"], weaker], ignore_index=True)
    found = [bond for bond in bonds(tables, 0.95) if bond.label == "a"]
    assert [bond.confound for bond in found] == ["colour cast", "brightness"]
    # Means 0.3 apart, the deviation of three numbers 0.01 apart is 0.01 * sqrt(2 / 3).
    assert found[0].distance == pytest.approx(0.3 / (0.01 * math.sqrt(2 / 3)))
    assert [bond.separation.mean for bond in found] == [1.0, 1.0]
