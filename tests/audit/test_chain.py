"""The tables behind the verdicts, each number worked out by hand from the samples of `test_verdicts`."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from audit import bonds
from audit.chain import chain_tables
from audit.tables import PROPERTIES, frame
from audit.verdicts import gather, judge
from tests.audit.test_verdicts import (
    CLASSES,
    HARMLESS,
    LIMITS,
    PASTED,
    READS_FACES,
    SHOES,
    Changed,
    Group,
    interventions_of,
    tables_of,
)


def chain_of(*groups, changes=(), methods=("grad_cam",), **more):
    tables = tables_of(*groups) | more
    if changes:
        tables["interventions"] = interventions_of(*changes)
    evidence = gather(tables, CLASSES, methods, LIMITS)
    return chain_tables(evidence), judge(evidence)


def row_of(table, **key):
    found = table[np.logical_and.reduce([table[name] == value for name, value in key.items()])]
    (row,) = found.to_dict("records")
    return row


def test_the_object_stands_beside_its_nulls():
    chain, (shirt, _) = chain_of(READS_FACES, SHOES)
    row = row_of(chain["objects"], label="t-shirt")
    assert (row["n"], row["mass_inside"]) == (40, pytest.approx(0.6))
    assert (row["area_inside"], row["edge_mass_inside"]) == (pytest.approx(0.3), pytest.approx(0.4))
    assert math.isnan(row["untrained_mass_inside"])
    assert row["excess"] == pytest.approx(0.3)
    assert (row["mass_inside_low"], row["mass_inside_high"]) == (
        shirt.mass_inside_low,
        shirt.mass_inside_high,
    )


def test_the_screen_has_counts_shares_nulls_and_what_they_mean():
    faces = dataclasses.replace(READS_FACES, n_faces=30, face_edges=0.1, face_untrained=0.05)
    chain, (shirt, _) = chain_of(faces, Group("shoes", n_faces=4))
    row = row_of(chain["screens"], label="t-shirt")
    assert [row[name] for name in ("n_class", "n_with", "n_others", "n_others_with")] == [40, 30, 40, 4]
    assert (row["share"], row["others_share"]) == (0.75, 0.1)
    assert row["association"] == pytest.approx(0.65) == pytest.approx(shirt.association)
    assert (row["mass_inside"], row["area_inside"]) == (pytest.approx(0.35), pytest.approx(0.07))
    assert (row["edge_mass_inside"], row["untrained_mass_inside"]) == (
        pytest.approx(0.1),
        pytest.approx(0.05),
    )
    assert row["excess"] == pytest.approx(0.35 - 0.1)  # the larger of area and edges
    assert row["lift"] == pytest.approx(5)
    assert row["draws_mass"]
    assert row["is_bound"]


def test_an_effect_has_a_row_for_all_fills_and_one_for_each():
    falls = Changed(fill="mean", after=0.3, control=0.88)
    chain, (shirt, _) = chain_of(
        READS_FACES, SHOES, changes=(falls, dataclasses.replace(falls, fill="blur", after=0.5), PASTED)
    )
    necessity = chain["effects"].query("label == 't-shirt' and kind == 'remove'")
    assert list(necessity["fill"]) == ["", "blur", "mean"]
    assert necessity["effect"].tolist() == pytest.approx([0.48, 0.38, 0.58])  # 0.88 - 0.4, - 0.5, - 0.3
    whole = necessity.iloc[0]
    assert (whole["link"], whole["outcome"]) == ("necessity", "proof")
    assert whole["after"] == pytest.approx(0.4)
    assert whole["effect"] == pytest.approx(shirt.necessity)
    assert whole["text"] in shirt.reasons
    assert necessity["before"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (HARMLESS, "none"),
        (Changed(after=0.8, control=0.88, wobble=0.005), "open"),  # certain, and less than minimum_change
        (Changed(after=0.2, control=0.88), "proof"),
        (Changed(after=0.2, control=0.88, n=4), "too few"),
        (Changed(kind="keep_alone", fill="other", after=0.8, control=0.1), "remark"),
    ],
)
def test_an_effect_is_told_in_a_word(changed, expected):
    chain, _ = chain_of(READS_FACES, SHOES, changes=(changed,))
    assert chain["effects"]["outcome"].dropna().tolist() == [expected]


def test_an_effect_without_any_control_has_no_sentence_and_no_number():
    chain, _ = chain_of(READS_FACES, SHOES, changes=(Changed(control=math.nan),))
    (row,) = chain["effects"].to_dict("records")
    assert (row["n"], row["outcome"]) == (0, "too few")
    assert math.isnan(row["effect"])
    assert pd.isna(row["text"])


def test_the_numbers_of_a_class_do_not_depend_on_how_many_methods_there_are():
    both = (READS_FACES, dataclasses.replace(READS_FACES, method="gradient"))
    one, _ = chain_of(READS_FACES, SHOES, changes=(PASTED,))
    two, _ = chain_of(*both, SHOES, changes=(PASTED,), methods=("grad_cam", "gradient"))
    pd.testing.assert_frame_equal(one["effects"], two["effects"])
    assert len(two["objects"]) == 2 * len(one["objects"])


def test_a_property_has_its_quantiles_on_either_side():
    # Values 0, 1, ..., 40 of 41 samples: the quantile q is 40 q.
    rows = [
        {
            "sample_id": f"{label}-{index:03}",
            "property": "contrast",
            "value": float(index + offset),
            "category": None,
        }
        for label, offset in (("t-shirt", 100), ("shoes", 0))
        for index in range(41)
    ]
    chain, _ = chain_of(Group("t-shirt", n=41), Group("shoes", n=41), properties=frame(PROPERTIES, rows))
    row = row_of(chain["bonds"], label="t-shirt")
    assert [row[f"class_q{q}"] for q in ("05", "25", "50", "75", "95")] == [102, 110, 120, 130, 138]
    assert [row[f"others_q{q}"] for q in ("05", "25", "50", "75", "95")] == [2, 10, 20, 30, 38]
    assert row["separation"] == 1.0
    assert pd.isna(row["category"])
    assert len(bonds.SPREAD) == 5


def test_a_category_has_its_shares_and_no_quantiles():
    rows = [
        {"sample_id": f"{label}-{index:03}", "property": "file_type", "value": math.nan, "category": kind}
        for label, n_png in (("t-shirt", 30), ("shoes", 10))
        for index, kind in enumerate(["PNG"] * n_png + ["JPEG"] * (40 - n_png))
    ]
    chain, _ = chain_of(READS_FACES, SHOES, properties=frame(PROPERTIES, rows))
    row = row_of(chain["bonds"], label="t-shirt")
    assert (row["category"], row["share"], row["others_share"]) == ("PNG", 0.75, 0.25)
    assert row["separation"] == pytest.approx(0.5)
    assert math.isnan(row["class_q50"])


def test_without_interventions_and_properties_their_tables_are_empty():
    chain, _ = chain_of(READS_FACES, SHOES)
    assert (len(chain["effects"]), len(chain["bonds"])) == (0, 0)
