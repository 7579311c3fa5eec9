"""What became of a class between two runs: pairs, lines, reasons; every number by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from audit import statistics
from audit.changes import compare, paired_share_difference
from audit.tables import ATTRIBUTIONS, CERTIFICATE, CONFOUNDS, INTERVENTIONS, QUARANTINE
from audit.types import ChangeKind, ChangeLimits
from tests.paired import METHOD, configured, ids, run_of, with_table

LIMITS = ChangeLimits(q=0.05, minimum_change=0.05, ruled_out=0.1, minimum_pairs=10)
SPREAD = np.tile([0.0, 0.2], 10)
"""Scatter of 20 samples, mean 0.1."""
WOBBLE = np.tile([0.01, -0.01], 10)
"""Differences of 20 pairs, mean 0."""


def change_of(reference, candidate, statistic="mass_inside", label="shoe", method=METHOD, limits=LIMITS):
    (found,) = [
        change
        for change in compare(reference, candidate, limits).changes
        if (change.label, change.statistic) == (label, statistic)
        and change.method
        == ("" if statistic == "accuracy" or ("." in statistic and method is None) else method)
    ]
    return found


@pytest.mark.parametrize(
    ("shift", "kind"),
    [
        (-0.1, ChangeKind.WORSENED),
        (+0.1, ChangeKind.IMPROVED),
        (-0.04, ChangeKind.UNCHANGED),
        (0.0, ChangeKind.UNCHANGED),
    ],
)
def test_a_shift_of_mass_inside_is_a_change_where_it_is_large_enough(shift, kind):
    before = 0.4 + SPREAD
    change = change_of(run_of({"shoe": before}), run_of({"shoe": before + shift + WOBBLE}))
    assert change.kind is kind
    assert change.reference == pytest.approx(0.5)
    assert change.difference == pytest.approx(shift)
    assert change.n == 20
    # 20 differences of +-0.01 round the shift: deviation 0.01 * sqrt(20 / 19), Student's quantile 2.093.
    margin = 2.093 * 0.01 * math.sqrt(20 / 19) / math.sqrt(20)
    assert change.high - change.difference == pytest.approx(margin, rel=1e-3)


def test_a_small_change_is_unchanged_though_it_is_certain_and_says_so():
    before = 0.4 + SPREAD
    change = change_of(run_of({"shoe": before}), run_of({"shoe": before - 0.04 + WOBBLE}))
    assert change.q_value < 1e-6
    assert change.reason == "A change that is certain, and too small to matter."


def test_a_wide_interval_is_incomparable_and_says_how_many_pairs_would_tell():
    before = np.full(20, 0.5)
    after = before + np.tile([0.4, -0.4], 10)
    change = change_of(run_of({"shoe": before}), run_of({"shoe": after}))
    assert change.kind is ChangeKind.INCOMPARABLE
    assert change.reason == "Too few pairs to tell: the interval is -19 to +19 points."
    assert change.n_needed == statistics.n_for_margin(after - before, 0.1, 0.95)
    assert 60 < change.n_needed < 80  # (1.96 * 0.41 / 0.1) ** 2 = 65, and a little for Student's


def test_what_is_open_though_there_are_pairs_enough_for_an_interval_has_no_number_of_pairs():
    # 4 of 30 predictions lost: McNemar's p is 2 * 0.5 ** 4 = 0.125. A share of 0.13 with a deviation of 0.35 is told
    # from 0 by (2.05 * 0.35 / 0.13) ** 2 = 29 pairs, which are there.
    same = run_of({"shoe": [0.5] * 30})
    change = change_of(same, run_of({"shoe": [0.5] * 30}, wrong={"shoe": 4}), "accuracy")
    assert change.kind is ChangeKind.INCOMPARABLE
    assert change.difference == pytest.approx(-4 / 30)
    assert math.isnan(change.n_needed)


def test_too_few_pairs_are_not_compared():
    change = change_of(run_of({"shoe": [0.5] * 9}), run_of({"shoe": [0.1] * 9}))
    assert change.kind is ChangeKind.INCOMPARABLE
    assert change.reason == "9 pairs, 10 are asked for."
    assert math.isnan(change.q_value)


def test_accuracy_is_held_by_the_samples_that_changed_their_side():
    # 8 of 20 are lost and none is won: the exact test gives 2 / 2 ** 8, one test alone, so q = p.
    lost = change_of(
        run_of({"shoe": [0.5] * 20}), run_of({"shoe": [0.5] * 20}, wrong={"shoe": 8}), "accuracy"
    )
    assert (lost.reference, lost.candidate, lost.difference) == (1.0, 0.6, pytest.approx(-0.4))
    assert lost.kind is ChangeKind.WORSENED
    # q = p * 2 / 1: mass inside, which did not change at all, is compared too.
    assert lost.q_value == pytest.approx(2 * 2 / 2**8)


def test_accuracy_of_few_samples_is_not_called_unchanged():
    same = run_of({"shoe": [0.5] * 20})
    change = change_of(same, same, "accuracy")
    assert change.kind is ChangeKind.INCOMPARABLE  # 20 of 20 right twice leaves room for 16 points
    assert change.low == pytest.approx(-0.161, abs=1e-3)
    many = run_of({"shoe": [0.5] * 40})
    assert change_of(many, many, "accuracy").kind is ChangeKind.UNCHANGED


def test_the_interval_of_paired_shares_is_that_of_the_source():
    # 36 right in both, 12 and 2 in one alone, none in neither. The score intervals of 48 / 50 and 38 / 50 are 0.8654
    # to 0.9890 and 0.6259 to 0.8570; phi = -24 / sqrt(48 * 2 * 38 * 12) = -0.1147. So the ends are
    # 0.2 - sqrt(0.0946^2 + 2 * 0.1147 * 0.0946 * 0.0970 + 0.0970^2) = 0.057 and
    # 0.2 + sqrt(0.0290^2 + 2 * 0.1147 * 0.0290 * 0.1341 + 0.1341^2) = 0.340.
    first = np.repeat([1.0, 1.0, 0.0], [36, 12, 2])
    second = np.repeat([1.0, 0.0, 1.0], [36, 12, 2])
    found = paired_share_difference(first, second, 0.95)
    assert found.mean == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.0569, abs=2e-4), pytest.approx(0.3404, abs=2e-4))


def test_no_pair_has_no_interval():
    assert math.isnan(paired_share_difference(np.array([]), np.array([]), 0.95).low)


def test_false_alarms_are_held_over_everything_that_was_compared():
    # A shift with p = 0.009 is a change where one class was looked at, and none among 20 that did not move.
    masses = {f"class {number}": 0.4 + SPREAD for number in range(20)}
    shifted = 0.4 + SPREAD + np.tile([0.2, -0.04], 10)
    alone = change_of(run_of({"shoe": 0.4 + SPREAD}), run_of({"shoe": shifted}))
    among = change_of(run_of(masses), run_of({**masses, "class 0": shifted}), label="class 0")
    assert alone.kind is ChangeKind.IMPROVED
    assert among.kind is ChangeKind.INCOMPARABLE
    # 2 and 40 were looked at: accuracy and mass inside of each class.
    assert among.q_value == pytest.approx(alone.q_value / 2 * 40)


def test_samples_are_paired_by_id_image_and_label():
    reference, candidate = run_of({"shoe": [0.5] * 14}), run_of({"shoe": [0.5] * 14})
    table = candidate.tables["predictions"].copy()
    table.loc[0, "digest"] = "another"
    table.loc[1, "label"] = "boot"
    gone = table.iloc[[2, 3]]["sample_id"].tolist()
    table = table.iloc[[*range(2), *range(4, 14)]].reset_index(drop=True)
    candidate = replace(candidate, tables={**candidate.tables, "predictions": table})
    candidate = with_table(
        candidate,
        QUARANTINE,
        [{"sample_id": gone[0], "path": "x", "label": "shoe", "reason": "r", "detail": "d"}],
    )
    found = compare(reference, candidate, LIMITS)
    assert found.n_pairs == 10
    assert found.unpaired == {
        "not in the candidate": (gone[1],),
        "in quarantine in the candidate": (gone[0],),
        "another image under the same id": ("shoe/000",),
        "another label": ("shoe/001",),
    }


def changed_attributions(run, **values):
    table = run.tables["attributions"].assign(**values)
    return replace(run, tables={**run.tables, "attributions": table})


def test_maps_of_another_class_or_of_another_outline_are_no_pairs():
    same = run_of({"shoe": [0.5] * 20})
    targets = changed_attributions(same, target=["boot"] * 12 + ["shoe"] * 8)
    assert (
        change_of(same, targets).reason == "8 pairs, 10 are asked for; 12 left out: another class explained."
    )
    areas = changed_attributions(same, area_inside=[0.25] * 15 + [0.4] * 5)
    change = change_of(same, areas)
    assert change.n == 15
    assert change.reason == "Left out: 5 with another outline of the region."


@pytest.mark.parametrize(
    ("section", "values", "reason"),
    [
        (
            "attributions",
            {"polarity": "absolute"},
            "attributions.polarity is positive in the reference and absolute",
        ),
        (
            "attributions",
            {"target": "predicted"},
            "attributions.target is label in the reference and predicted",
        ),
        ("model", {"explain": "probability"}, "model.explain is logit in the reference and probability"),
        (
            "attributions",
            {"parameters": {METHOD: {"relu": False}}},
            f"attributions.parameters.{METHOD} is not set",
        ),
    ],
)
def test_other_settings_make_maps_incomparable_and_leave_accuracy_alone(section, values, reason):
    same = run_of({"shoe": [0.5] * 40})
    other = configured(same, section, **values)
    change = change_of(same, other)
    assert change.kind is ChangeKind.INCOMPARABLE
    assert reason in change.reason
    assert math.isnan(change.difference)
    assert change_of(same, other, "accuracy").kind is ChangeKind.UNCHANGED


def test_the_error_budget_matters_only_to_methods_that_have_one():
    same = run_of({"shoe": [0.5] * 40})
    assert change_of(same, configured(same, "attributions", error_budget=0.2)).kind is ChangeKind.UNCHANGED
    path = changed_attributions(same, local_error=0.01)
    change = change_of(path, configured(path, "attributions", error_budget=0.2))
    assert "error_budget is 0.05 in the reference and 0.2 in the candidate" in change.reason


def test_a_method_or_class_of_one_run_alone_is_incomparable():
    reference = run_of({"shoe": [0.5] * 20, "boot": [0.5] * 20})
    candidate = run_of({"shoe": [0.5] * 20}, methods=("gradient",))
    assert change_of(reference, candidate).reason == "Not compared: the candidate was not run with grad_cam."
    assert "does not know this class" in change_of(reference, candidate, label="boot").reason


def test_maps_that_fail_their_certificate_are_not_compared():
    same = run_of({"shoe": [0.5] * 20})
    failed = with_table(
        same, CERTIFICATE, [{"method": METHOD, "check": "weights", "passed": False, "limit": 0.5}]
    )
    assert (
        change_of(same, failed).reason
        == "Not compared: the trust certificate of the candidate fails grad_cam."
    )


def mass_on_face(run, mass):
    rows = [
        {
            "sample_id": sample,
            "method": METHOD,
            "confound": "face",
            "present": True,
            "mass_inside": value,
            "area_inside": 0.1,
        }
        for sample, value in zip(ids("shoe", 20), mass, strict=True)
    ]
    return with_table(run, CONFOUNDS, rows)


def test_less_mass_on_a_confound_is_better_and_a_class_may_improve_in_part():
    before = mass_on_face(run_of({"shoe": [0.5] * 40}), 0.5 + WOBBLE)
    after = mass_on_face(run_of({"shoe": [0.5] * 40}, wrong={"shoe": 20}), 0.1 - WOBBLE)
    assert change_of(before, after, "mass_on.face").kind is ChangeKind.IMPROVED
    assert change_of(before, after, "accuracy").kind is ChangeKind.WORSENED
    assert change_of(before, after).kind is ChangeKind.UNCHANGED
    assert compare(before, after, LIMITS).kinds == {"shoe": ChangeKind.WORSENED}


def with_effects(run, effects, fill="blur"):
    rows = [
        {"sample_id": sample, "confound": "face", "kind": "remove", "fill": fill, "label": "shoe"}
        | {"score_before": 0.9, "score_after": 0.5 - effect, "score_control": 0.5}
        for sample, effect in zip(ids("shoe", 20), effects, strict=True)
    ]
    return with_table(run, INTERVENTIONS, rows)


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (0.3, 0.0, ChangeKind.IMPROVED),
        (0.0, 0.3, ChangeKind.WORSENED),
        (0.0, -0.3, ChangeKind.WORSENED),  # it now argues against the class: a dependence as well
        (0.3, -0.3, ChangeKind.INCOMPARABLE),  # neither more nor less dependent, and not the same
    ],
)
def test_an_effect_is_better_where_it_is_nearer_to_none(before, after, kind):
    same = run_of({"shoe": [0.5] * 20})
    found = change_of(
        with_effects(same, before + WOBBLE),
        with_effects(same, after - WOBBLE),
        "necessity.face.remove",
        method=None,
    )
    assert found.kind is kind
    assert (found.reference, found.candidate) == (pytest.approx(before), pytest.approx(after))


def turned(before, after):
    """The change of an effect whose mean over 20 photos goes from `before` to `after`, each photo within 20 points."""
    same, scatter = run_of({"shoe": [0.5] * 20}), np.tile([0.2, -0.2], 10)
    found = (with_effects(same, before + scatter), with_effects(same, after + scatter))
    return change_of(*found, "necessity.face.remove", method=None)


def test_an_effect_that_turned_its_sign_is_told_so_and_not_for_want_of_pairs():
    change = turned(0.2, -0.2)
    assert change.kind is ChangeKind.INCOMPARABLE
    assert (
        change.reason
        == "The effect turned its sign, from +20 to -20 points: neither better nor worse for sure."
    )
    assert math.isnan(change.n_needed)
    assert change.q_value <= LIMITS.q


def test_an_effect_that_turned_its_sign_is_better_or_worse_only_where_its_strength_changed_for_sure():
    # The sums of both effects are 0.4 * +-1 around 0.02 - 0.3 or 0.12 - 0.2, so deviations are 0.41 and margins 0.19.
    assert turned(0.02, -0.3).kind is ChangeKind.WORSENED
    assert turned(0.3, -0.02).kind is ChangeKind.IMPROVED
    assert turned(0.12, -0.2).kind is ChangeKind.INCOMPARABLE
    assert turned(0.03, -0.03).kind is ChangeKind.UNCHANGED  # by six points, and ten are asked for


def test_effects_are_paired_by_fill():
    same = run_of({"shoe": [0.5] * 20})
    one, other = with_effects(same, 0.3 + WOBBLE), with_effects(same, 0.1 + WOBBLE, fill="mean")
    assert change_of(one, other, "necessity.face.remove", method=None).n == 0


def test_a_run_against_itself_has_no_change():
    rng = np.random.default_rng(0)
    run = run_of({label: rng.uniform(0.2, 0.8, 60) for label in ("shoe", "boot")}, wrong={"shoe": 7})
    found = compare(run, run, LIMITS)
    assert {change.kind for change in found.changes} == {ChangeKind.UNCHANGED}
    assert {change.difference for change in found.changes} == {0.0}


def test_swapping_the_runs_swaps_better_and_worse():
    rng = np.random.default_rng(1)
    one = run_of({"shoe": rng.uniform(0.4, 0.6, 50)}, wrong={"shoe": 30})
    other = run_of({"shoe": rng.uniform(0.1, 0.3, 50)})
    there, back = compare(one, other, LIMITS).changes, compare(other, one, LIMITS).changes
    assert {c.statistic: c.kind for c in there} == {
        "accuracy": ChangeKind.IMPROVED,
        "mass_inside": ChangeKind.WORSENED,
    }
    opposite = {ChangeKind.IMPROVED: ChangeKind.WORSENED, ChangeKind.WORSENED: ChangeKind.IMPROVED}
    assert [c.kind for c in back] == [opposite[c.kind] for c in there]
    np.testing.assert_allclose([c.low for c in back], [-c.high for c in there], atol=1e-12)


def test_a_class_without_annotation_is_compared_in_accuracy_alone():
    bare = changed_attributions(run_of({"shoe": [0.5] * 40}), mass_inside=math.nan)
    assert [change.statistic for change in compare(bare, bare, LIMITS).changes] == ["accuracy"]


def test_every_column_of_a_change_is_in_the_table():
    from audit import tables

    run = run_of({"shoe": [0.5] * 40})
    table = tables.frame(tables.CHANGES, compare(run, run, LIMITS).changes)
    assert list(table["kind"]) == ["unchanged", "unchanged"]
    assert ATTRIBUTIONS.name == "attributions"
