import math

import pytest
from scipy import stats

from audit.tables import PLACEMENTS, frame
from audit.weak_slices import slice_suggestions, weak_slices
from tests.audit.test_suggestions import limits, tables_of, with_property


def sized(n_right_small, n_small=20, n_large=40, n_right_large=40, label="kite"):
    """A class with a small objects first, then larger ones; the first of either are recognised."""
    tables = tables_of(**{label: (0, n_small + n_large), "cup": (0, 30)})
    predictions = tables["predictions"]
    index = predictions.groupby("label").cumcount()
    is_small = (predictions["label"] == label) & (index < n_small)
    is_right = (is_small & (index < n_right_small)) | (
        ~is_small & ((predictions["label"] != label) | (index - n_small < n_right_large))
    )
    placements = [
        {
            "sample_id": sample_id,
            "size": 0.02 + 0.00001 * place if small else 0.2 + 0.0001 * (place % 4000),
            "row": 0.5,
            "column": 0.5,
            "shape": 1.0,
            "cut": "no",
        }
        for place, (sample_id, small) in enumerate(zip(predictions["sample_id"], is_small, strict=True))
    ]
    return {
        **tables,
        "predictions": predictions.assign(correct=is_right),
        "placements": frame(PLACEMENTS, placements),
    }


def test_small_objects_that_are_missed_are_a_weak_slice_with_counts_by_hand():
    rows, weak = weak_slices(sized(n_right_small=5), limits(0.1))
    (one,) = weak
    assert (one.label, one.trait, one.side, one.name) == ("kite", "object size", "low", "a small object")
    assert (len(one.members), one.n_right, len(one.rest), one.n_rest_right) == (20, 5, 40, 40)
    assert one.difference.mean == pytest.approx(5 / 20 - 1)
    assert 0.0202 < one.threshold < 0.2
    assert one.members[0] == "kite-005", "those that are missed come first"
    # Fisher's exact test on [[15, 5], [0, 40]], adjusted over the slices that were looked at: small and large kites,
    # small and large cups, of which the cups, all recognised, have no p value.
    p = stats.fisher_exact([[15, 5], [0, 40]], alternative="greater").pvalue
    assert one.p_value == pytest.approx(p)
    kites = rows[rows["label"] == "kite"]
    assert set(kites["side"]) == {"low", "high"}
    assert kites.set_index("side")["q_value"]["low"] == pytest.approx(2 * p)
    assert kites.set_index("side").loc["low", ["accuracy", "accuracy_rest"]].tolist() == [0.25, 1.0]
    assert rows.loc[rows["label"] == "cup", "q_value"].isna().all()


def test_the_suggestion_evens_the_slice_out():
    (wish,) = slice_suggestions(weak_slices(sized(n_right_small=5), limits(0.1))[1], ())
    assert (wish.label, wish.kind, wish.confound) == ("kite", "add to weak slice", "a small object")
    assert (wish.n_now, wish.n_class, wish.n_to_add) == (20, 60, 20)
    assert "of these 5 of 20 are recognised, of the others 40 of 40" in wish.text
    assert wish.exemplars == ("kite-005", "kite-006", "kite-007", "kite-008")


def test_a_slice_that_is_as_good_as_the_rest_is_not_weak():
    rows, weak = weak_slices(sized(n_right_small=18, n_right_large=36), limits(0.1))
    assert not weak
    assert not rows["is_weak"].any()


def test_a_difference_that_is_sure_but_small_is_not_weak():
    # 91 % of 2,000 against 96 % of 4,000: p < 1e-9, and less than ten points apart.
    rows, weak = weak_slices(sized(1820, 2000, 4000, 3840), limits(0.1))
    low = rows[(rows["label"] == "kite") & (rows["side"] == "low")].iloc[0]
    assert low["q_value"] < 1e-6
    assert not weak


def test_too_few_samples_are_no_slice():
    rows, _ = weak_slices(
        sized(0, n_small=9, n_large=18, n_right_large=18), limits(0.1)
    )  # nine of 27: a third
    assert "kite" not in set(rows["label"])


def test_half_a_class_is_no_slice_and_nothing_is_asked_for_it():
    _, weak = weak_slices(sized(0, n_small=20, n_large=20, n_right_large=20), limits(0.1))
    assert {(one.name, len(one.members)) for one in weak} == {
        ("a small object", 14)
    }  # the third, not the half
    tables = with_property(sized(0, 20, 20, 20), "file type", lambda i: "png" if int(i[-3:]) < 20 else "jpeg")
    rows, _ = weak_slices({**tables, "placements": tables["placements"].iloc[:0]}, limits(0.1))
    assert "kite" not in set(rows["label"])


def test_a_third_that_ends_among_equal_values_ends_before_them():
    tables = with_property(
        tables_of(kite=(0, 100), cup=(0, 30)), "image size", lambda i: 300.0 if int(i[-3:]) < 25 else 1000.0
    )
    predictions = tables["predictions"]
    is_wrong = (predictions["label"] == "kite") & (predictions.index < 25)
    (one,) = weak_slices({**tables, "predictions": predictions.assign(correct=~is_wrong)}, limits(0.1))[1]
    assert (one.name, len(one.members), one.n_right, one.threshold) == ("low image size", 25, 0, 650.0)


@pytest.mark.parametrize("n", [30, 31, 32, 40])
def test_turned_around_the_lowest_third_is_the_highest(n):
    tables = tables_of(kite=(0, n), cup=(0, 30))
    sizes = []
    for sign in (1.0, -1.0):
        rows, _ = weak_slices(
            with_property(tables, "contrast", lambda i, sign=sign: sign * int(i[-3:])), limits(0.1)
        )
        sizes.append(rows[rows["label"] == "kite"].set_index("side")["n"].to_dict())
    assert sizes[0]["low"] == sizes[1]["high"] == sizes[0]["high"]


def test_a_category_may_be_named_like_a_side():
    tables = with_property(
        tables_of(kite=(0, 40), cup=(0, 30)), "camera", lambda i: "low" if int(i[-3:]) < 15 else "good"
    )
    predictions = tables["predictions"]
    is_wrong = (predictions["label"] == "kite") & (predictions.index < 15)
    (one,) = weak_slices({**tables, "predictions": predictions.assign(correct=~is_wrong)}, limits(0.1))[1]
    assert (one.name, one.words) == ("camera low", "whose camera is low")


def test_what_most_samples_are_like_is_no_slice():
    # All rows, columns and shapes are alike, and no kite is cut off: nothing but size can be cut by.
    rows, _ = weak_slices(sized(5), limits(0.1))
    assert set(rows["trait"]) == {"object size"}


def test_global_properties_and_their_categories_cut_too():
    tables = sized(n_right_small=20)
    is_wrong = {"kite-000", *(f"kite-{index:03}" for index in range(20, 32))}
    predictions = tables["predictions"]
    tables["predictions"] = predictions.assign(correct=~predictions["sample_id"].isin(is_wrong))
    tables = with_property(tables, "file type", lambda i: "png" if i in is_wrong else "jpeg")
    (one,) = weak_slices(tables, limits(0.1))[1]
    assert (one.trait, one.side, one.name, one.words) == (
        "file type",
        "png",
        "file type png",
        "whose file type is png",
    )
    assert (len(one.members), one.n_right) == (13, 0)
    assert math.isnan(one.threshold)


def test_a_property_that_gives_the_class_away_is_asked_for_once():
    tables = sized(n_right_small=5)
    weak = weak_slices(tables, limits(0.1))[1]
    (wish,) = slice_suggestions(weak, ())
    bound = type(wish)("kite", "add without confound", "object size", 0, 60, 9, "", ())
    assert slice_suggestions(weak, (bound,)) == ()


def test_without_annotated_objects_and_properties_nothing_is_cut():
    rows, weak = weak_slices(tables_of(kite=(0, 30), cup=(0, 30)), limits(0.1))
    assert len(rows) == 0
    assert weak == ()
