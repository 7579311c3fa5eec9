import dataclasses
import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.suggestions import Counts, least_additions, suggest
from audit.tables import CONFOUNDS, PREDICTIONS, PROPERTIES, SUGGESTIONS, frame
from audit.types import ClassVerdict, Status, VerdictLimits


def limits(*targets):
    return VerdictLimits(
        q=0.05,
        delta=0.05,
        minimum_effect=0.05,
        minimum_change=0.1,
        minimum_samples=10,
        minimum_lift=1.5,
        association_targets=targets,
        unbound=0.25,
        accepted={},
    )


def verdict(label, status=Status.SUSPECT, confound="face", method="grad_cam"):
    numbers = {
        name: math.nan
        for name in ClassVerdict.__dataclass_fields__
        if name not in ("label", "method", "status", "confound", "n", "reasons")
    }
    return ClassVerdict(label, method, status, confound, n=40, reasons=(), **numbers)


def tables_of(**counts):
    """`label=(samples with a face, samples)`; the first ones of a class show it."""
    predictions, confounds = [], []
    for label, (n_with, n_samples) in counts.items():
        for index in range(n_samples):
            sample_id = f"{label}-{index:03}"
            shows = index < n_with
            share = 0.2 if shows else math.nan
            predictions.append(
                {
                    "sample_id": sample_id,
                    "path": "",
                    "label": label,
                    "split": "",
                    "predicted": label,
                    "confidence": 1.0,
                    "margin": 1.0,
                    "entropy": 0.0,
                    "correct": True,
                    "digest": "",
                }
            )
            confounds.append(
                {
                    "sample_id": sample_id,
                    "method": "grad_cam",
                    "confound": "face",
                    "present": shows,
                    "mass_inside": share,
                    "area_inside": share,
                    "lift": 1.0 if shows else math.nan,
                    "edge_mass_inside": math.nan,
                    "untrained_mass_inside": math.nan,
                }
            )
    return {"predictions": frame(PREDICTIONS, predictions), "confounds": frame(CONFOUNDS, confounds)}


def with_property(tables, name, value_of):
    """The tables with a global property: a number, or a category where `value_of` gives a text."""
    rows = []
    for sample_id in tables["predictions"]["sample_id"]:
        value = value_of(sample_id)
        is_text = isinstance(value, str)
        rows.append(
            {
                "sample_id": sample_id,
                "property": name,
                "value": math.nan if is_text else value,
                "category": value if is_text else None,
            }
        )
    return {**tables, "properties": frame(PROPERTIES, rows)}


def test_the_least_additions_by_hand():
    # 10 of 10 and 0 of 10, down to a half: 10 / (10 + x) - y / (10 + y) <= 1 / 2.
    # Of 5 the best is 10/12 - 3/13 = 0.60, of 6 it is 10/13 - 3/13 = 0.54, of 7 it is 10/14 - 3/13 = 0.48.
    assert sum(least_additions(Counts(10, 10, 10, 0), 0.5)) == 7


def test_nothing_is_added_where_the_target_is_met():
    assert least_additions(Counts(10, 5, 10, 5), 0.25) == (0, 0)
    assert least_additions(Counts(4, 1, 10, 0), 0.25) == (0, 0)  # exactly the target


def test_a_rare_side_is_cheaper_to_fill():
    # 10 of 10 against 0 of 1000: filling the others would take hundreds.
    assert least_additions(Counts(10, 10, 1000, 0), 0.5) == (10, 0)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    st.sampled_from([0.1, 0.25, 0.5]),
)
def test_no_smaller_addition_reaches_the_target(one, others, target):
    counts = Counts(*one, *others)
    found = least_additions(counts, target)
    limit = Fraction(str(target))
    assert counts.after(*found) <= limit
    smaller = (pair for pair in itertools.product(range(sum(found)), repeat=2) if sum(pair) < sum(found))
    assert all(counts.after(*pair) > limit for pair in smaller)


def test_a_target_out_of_range_is_refused():
    with pytest.raises(ValueError, match="target"):
        least_additions(Counts(10, 10, 10, 0), 0.0)


def test_photos_that_were_not_searched_for_a_thing_count_on_neither_side():
    # 10 of 10 and 0 of 10 were searched, as below; of ten more of either class nothing is known.
    tables = tables_of(shirt=(10, 20), shoes=(0, 20))
    searched = tables["confounds"]["sample_id"].str[-3:].astype(int) < 10
    without, with_ = suggest(
        [verdict("shirt")], {**tables, "confounds": tables["confounds"][searched]}, limits(0.5)
    )
    assert (without.n_now, without.n_class, without.n_to_add) == (0, 10, 3)
    assert (with_.n_now, with_.n_class, with_.n_to_add) == (0, 10, 4)
    assert "The counts are of the 10 of 20 shirt photos that were searched for it" in without.text


def test_both_sides_of_a_confound_get_a_suggestion_with_counts_and_exemplars():
    tables = tables_of(shirt=(10, 10), shoes=(0, 10))
    without, with_ = suggest([verdict("shirt")], tables, limits(0.5))
    assert (without.label, without.kind, without.n_now, without.n_class) == (
        "shirt",
        "add without confound",
        0,
        10,
    )
    assert (with_.label, with_.kind, with_.n_now, with_.n_class) == ("shoes", "add with confound", 0, 10)
    assert (without.n_to_add, with_.n_to_add) == (3, 4)
    assert without.exemplars == ()  # there is none yet
    assert with_.exemplars == ("shirt-000", "shirt-001", "shirt-002", "shirt-003")
    assert without.text == (
        "Add about 3 shirt photos without a visible face (now 0 of 10) and 4 shoes photos with one "
        "(now 0 of 10): the association of face with shirt falls from +100 to about +48 points."
    )
    frame(SUGGESTIONS, [without, with_])


def test_what_is_there_already_is_shown_as_an_exemplar():
    without, _ = suggest([verdict("shirt")], tables_of(shirt=(10, 12), shoes=(0, 10)), limits(0.25))
    assert (without.n_now, without.n_class) == (2, 12)
    assert without.exemplars == ("shirt-010", "shirt-011")


def test_further_targets_stand_in_the_text():
    tables = tables_of(shirt=(10, 10), shoes=(0, 10))
    text = suggest([verdict("shirt")], tables, limits(0.5, 0.25, 0.5))[0].text
    further = least_additions(Counts(10, 10, 10, 0), 0.25)
    assert text.endswith(f"For +25 points: {further[0]} without and {further[1]} with.")


def test_one_side_alone_is_one_suggestion():
    (only,) = suggest([verdict("shirt")], tables_of(shirt=(10, 10), shoes=(0, 1000)), limits(0.5))
    assert (only.label, only.n_to_add) == ("shirt", 10)
    assert only.text == (
        "Add about 10 shirt photos without a visible face (now 0 of 10): the association of face with shirt "
        "falls from +100 to about +50 points."
    )


def test_several_other_classes_share_what_is_to_be_added():
    tables = tables_of(shirt=(40, 40), hat=(0, 5), shoes=(1, 10))
    with_ = suggest([verdict("shirt")], tables, limits(0.25))[1]
    assert (with_.label, with_.n_now, with_.n_class) == ("shoes", 1, 10)
    assert "photos of other classes (spread over shoes and hat) with one (now 1 of 15)" in with_.text


def test_a_class_bound_to_the_same_confound_is_not_asked_to_show_more_of_it():
    tables = tables_of(shirt=(20, 20), hoodie=(30, 60), shoes=(0, 20))
    suggestions = suggest([verdict("shirt"), verdict("hoodie")], tables, limits(0.1))
    assert {wish.label for wish in suggestions if wish.kind == "add with confound"} == {"shoes"}
    frame(SUGGESTIONS, suggestions)  # one row a label, kind and confound


def test_several_methods_that_agree_make_one_suggestion():
    tables = tables_of(shirt=(10, 10), shoes=(0, 10))
    one = suggest([verdict("shirt")], tables, limits(0.5))
    assert suggest([verdict("shirt"), verdict("shirt", method="gradient")], tables, limits(0.5)) == one


@pytest.mark.parametrize(
    "found",
    [verdict("shirt", Status.SOUND), verdict("shirt", Status.UNDECIDED), verdict("shirt", confound=None)],
)
def test_only_a_flagged_class_with_a_confound_gets_suggestions(found):
    assert suggest([found], tables_of(shirt=(10, 10), shoes=(0, 10)), limits(0.5)) == ()


def test_no_suggestion_below_the_target_or_without_another_class():
    assert suggest([verdict("shirt")], tables_of(shirt=(5, 10), shoes=(4, 10)), limits(0.25)) == ()
    assert suggest([verdict("shirt")], tables_of(shirt=(10, 10)), limits(0.25)) == ()


def test_what_is_suggested_brings_the_association_to_the_target():
    without, with_ = suggest([verdict("shirt")], tables_of(shirt=(30, 33), shoes=(2, 25)), limits(0.25))
    after = tables_of(shirt=(30, 33 + without.n_to_add), shoes=(2 + with_.n_to_add, 25 + with_.n_to_add))
    assert suggest([verdict("shirt")], after, limits(0.25)) == ()


@pytest.mark.parametrize(
    "counts",
    [
        {"shirt": (20, 20), "hoodie": (30, 60), "shoes": (0, 20)},
        {"shirt": (30, 33), "hoodie": (25, 30), "shoes": (2, 25), "hat": (0, 20)},
        {"shirt": (40, 40), "hoodie": (40, 40), "coat": (35, 40), "shoes": (0, 400)},
    ],
)
def test_classes_that_share_a_confound_all_reach_the_target_together(counts):
    verdicts = [verdict(label) for label, (n_with, _) in counts.items() if n_with > 2]
    suggestions = suggest(verdicts, tables_of(**counts), limits(0.1, 0.05))
    assert all("together with the additions for" in wish.text for wish in suggestions)
    after = dict(counts)
    for wish in suggestions:
        n_with, n_samples = after[wish.label]
        n_new_with = wish.n_to_add if wish.kind == "add with confound" else 0
        after[wish.label] = (n_with + n_new_with, n_samples + wish.n_to_add)
    assert suggest(verdicts, tables_of(**after), limits(0.1)) == ()


def test_a_tint_is_balanced_by_photos_with_and_without_it():
    tables = tables_of(**{"t-shirt": (0, 20), "shoes": (0, 20)})
    tables = with_property(tables, "colour cast", lambda sample_id: 0.2 if "shirt" in sample_id else 0.0)
    without, with_ = suggest([verdict("t-shirt", Status.SPURIOUS, "colour cast")], tables, limits(0.5))
    # 20 of 20 and 0 of 20 to a half: as for a face, 20 / (20 + x) - y / (20 + y) <= 1 / 2.
    assert (without.label, without.n_now, with_.label, with_.n_now) == ("t-shirt", 0, "shoes", 0)
    assert 20 / (20 + without.n_to_add) - with_.n_to_add / (20 + with_.n_to_add) <= 0.5
    assert f"{without.n_to_add} t-shirt photos with a colour cast below 0.1 (now 0 of 20)" in without.text
    assert f"{with_.n_to_add} shoes photos with a colour cast above 0.1 (now 0 of 20)" in without.text
    assert set(without.exemplars) == set()
    assert with_.exemplars[0].startswith("t-shirt")
    # Shoes are bound to the lack of it; the same photos loosen that bond.
    bound = [
        dataclasses.replace(verdict(label, Status.SPURIOUS, "colour cast"), association=association)
        for label, association in (("shoes", 0.8), ("t-shirt", 0.9))
    ]
    assert suggest(bound, tables, limits(0.5)) == (without, with_)


def test_a_file_type_is_balanced_by_its_name():
    tables = tables_of(**{"t-shirt": (0, 20), "shoes": (0, 20)})
    tables = with_property(tables, "file type", lambda sample_id: "PNG" if "shirt" in sample_id else "JPEG")
    (first, _) = suggest([verdict("t-shirt", confound="file type")], tables, limits(0.5))
    assert "t-shirt photos whose file type is not PNG (now 0 of 20)" in first.text


def test_backgrounds_are_counted_as_though_each_told_its_class():
    tables = tables_of(**{"t-shirt": (3, 10), "shoes": (0, 10)})
    without, with_ = suggest([verdict("t-shirt", confound="background")], tables, limits(0.5))
    # 10 of 10 and 0 of 10 to a half takes 7, whatever faces there are.
    assert (without.n_now, without.n_to_add + with_.n_to_add) == (0, 7)
    assert "t-shirt photos on backgrounds like those of other classes" in without.text
    assert without.text.endswith("where some are, fewer will do.")


def test_backgrounds_of_several_classes_are_several_things():
    # What shows the background of one class shows that of no other: each association is counted by itself.
    labels, target = ("coat", "hat", "shoes"), Fraction(1, 2)
    verdicts = [verdict(label, confound="background") for label in labels]
    wishes = suggest(verdicts, tables_of(coat=(0, 10), hat=(0, 10), shoes=(0, 10)), limits(0.5))
    asked = {(wish.label, wish.kind): wish.n_to_add for wish in wishes}
    assert len(asked) == len(wishes)
    added = sum(asked.values())
    for label, recipient in zip(labels, ("hat", "shoes", "coat"), strict=True):
        with_ = asked.get((recipient, "add with confound"), 0)
        to_class = sum(n for (name, _), n in asked.items() if name == label)
        after = Fraction(10, 10 + to_class) - Fraction(with_, 20 + added - to_class)
        assert after <= target
        (text,) = {wish.text for wish in wishes if f"background with {label} falls" in wish.text}
        assert f"falls from +100 to about {float(100 * after):+.0f} points" in text
    assert "on backgrounds like those of coat photos (now 0 of 20)" in wishes[0].text


def test_of_two_classes_with_a_property_each_one_asks_and_the_written_association_is_that_of_adding_it():
    # The separation of two classes from one another is one number, so both are bound alike.
    tables = tables_of(hat=(0, 10), shoes=(0, 10))
    tables = with_property(tables, "file type", lambda sample_id: "PNG" if "hat" in sample_id else "JPEG")
    both = [
        dataclasses.replace(verdict(label, confound="file type"), association=1.0)
        for label in ("shoes", "hat")
    ]
    without, with_ = suggest(both, tables, limits(0.5))
    assert (without.label, with_.label, without.n_to_add + with_.n_to_add) == ("hat", "shoes", 7)
    after = 10 / (10 + without.n_to_add) - with_.n_to_add / (10 + with_.n_to_add)
    assert f"falls from +100 to about {100 * after:+.0f} points" in without.text


def test_an_undecided_class_gets_as_many_photos_as_decide():
    found = dataclasses.replace(verdict("shirt", Status.UNDECIDED, confound=None), n=8, n_needed=24)
    tables = tables_of(shirt=(0, 10), shoes=(0, 10))  # two of ten could not be measured
    (only,) = suggest([found], tables, limits(0.5))
    assert (only.label, only.kind, only.n_class, only.n_to_add) == ("shirt", "add representative", 10, 20)
    frame(SUGGESTIONS, [only])
    assert suggest([found, verdict("shirt", Status.SUSPECT, confound=None)], tables, limits(0.5)) == ()
    assert suggest([dataclasses.replace(found, n_needed=math.nan)], tables, limits(0.5)) == ()
    # Nobody gathers 201 photos for one of ten; 200 are the most that is asked for.
    assert suggest([dataclasses.replace(found, n_needed=168.5)], tables, limits(0.5)) == ()
    (only,) = suggest([dataclasses.replace(found, n_needed=168)], tables, limits(0.5))
    assert only.n_to_add == 200
