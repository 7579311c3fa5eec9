import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from audit.risk_inputs import Pull, even_weights, presence_of
from audit.risk_pulled import (
    Known,
    _guess,
    _log_totals,
    _read,
    counted_risks,
    distinct,
    guessed_risks,
    other_risks,
)
from audit.risk_quality import auroc_gain
from tests.audit.drawn_evidence import PULL, PULLS, SHIFTED, USUAL, drawn, share

BOUND = (1.0, 0.0)
"""A mark on every bar and on no ring."""


def is_wrong(evidence, labels):
    return evidence.features["predicted"].to_numpy() != labels


def known(n, bond, seed):
    evidence, labels, _ = drawn(n, bond, seed)
    return Known(evidence, labels)


def with_shift(evidence, left):
    """The pictures, were the fill to leave so many log odds of bar behind, and the mark to add as much more."""
    rows = evidence.probabilities
    sign = np.where(rows["class_name"] == "bar", 1, -1)
    is_marked = rows["sample_id"].map(evidence.things.set_index("sample_id")["present"]).to_numpy()
    odds = {name: np.log(rows[name] / (1 - rows[name])) for name in ("probability", "without")}
    moved = {name: share(values + left * sign * is_marked) for name, values in odds.items()}
    return replace(evidence, probabilities=rows.assign(**moved))


def test_totals_are_log_sums_by_row():
    found = _log_totals(np.array([0, 0, 2]), np.log([1.0, 3.0, 5.0]))
    np.testing.assert_allclose(np.exp(found), [4.0, 0.0, 5.0])


def test_a_model_that_is_too_unsure_is_read_with_a_slope():
    # What is drawn means what it says; halved log odds must be doubled. 3000 labels tell a slope to some hundredths.
    run = known(3000, SHIFTED, 0)
    even = even_weights(run.evidence, PULLS)
    true, halved = (
        _read(one, run.labels, PULLS) for one in (even, even.assign(weight=np.sqrt(even["weight"])))
    )
    assert true.slope == pytest.approx(1.0, abs=0.15)
    assert halved.slope == pytest.approx(2 * true.slope, rel=0.02)


def test_a_model_that_favours_a_class_is_read_with_a_bias():
    run = known(3000, SHIFTED, 0)
    even = even_weights(run.evidence, PULLS)
    is_bar = even["class_name"] == "bar"
    skewed = _read(
        even.assign(weight=np.where(is_bar, even["weight"] * math.e**2, even["weight"])), run.labels, PULLS
    )
    # The prior of one log odds takes a little off what 3000 labels say.
    assert skewed.biases["bar"] == pytest.approx(-2 * skewed.slope, abs=0.25)


def test_where_a_mark_always_comes_with_its_class_a_shifted_folder_is_foretold_all_the_same():
    run = known(400, BOUND, 1)
    evidence, labels, e = drawn(1000, SHIFTED, 2)
    risks = guessed_risks(run, PULLS, evidence)
    doubt = 1 - evidence.features["confidence"].to_numpy()
    assert auroc_gain(is_wrong(evidence, labels), risks, doubt, 0.95).low > 0.1
    # The truth, known since the world is drawn: the mark means nothing, and e is the log odds of bar.
    truth = np.where(evidence.features["predicted"] == "bar", share(-e), share(e))
    assert risks.mean() == pytest.approx(truth.mean(), abs=0.05)


def test_a_folder_bound_the_other_way_is_seen_to_be():
    run = known(400, BOUND, 1)
    evidence, labels, _ = drawn(1000, (0.05, 0.95), 3)
    risks = guessed_risks(run, PULLS, evidence)
    assert is_wrong(evidence, labels).mean() > 0.5
    assert risks.mean() == pytest.approx(is_wrong(evidence, labels).mean(), abs=0.08)


def test_what_a_fill_leaves_behind_is_found_where_both_kinds_show_the_mark():
    evidence, labels, _ = drawn(600, BOUND, 4)
    run = Known(with_shift(evidence, 0.8), labels)
    folder = with_shift(drawn(2000, SHIFTED, 5)[0], 0.8)
    # With the pull known to a tenth, 0.59, and 2000 pictures whose log odds spread by 2.
    assert _guess(run, folder, PULLS[0]).free.left == pytest.approx(0.8, abs=0.3)


def test_a_folder_like_the_run_does_not_leave_open_that_the_mark_means_nothing():
    run = known(600, USUAL, 6)
    assert not _guess(run, drawn(600, USUAL, 7)[0], PULLS[0]).is_open
    assert _guess(run, drawn(600, SHIFTED, 8)[0], PULLS[0]).is_open
    nothing = _guess(run, drawn(600, SHIFTED, 8)[0], PULLS[0]).unbound.likelihood
    assert (nothing.if_present, nothing.if_absent) == pytest.approx((1.0, 1.0))


def test_a_run_of_one_kind_tells_nothing_of_what_the_mark_means():
    evidence, _, _ = drawn(50, USUAL, 9)
    run = Known(evidence, np.full(50, "bar", dtype=object))
    guess = _guess(run, evidence, PULLS[0])
    assert guess.free.left == 0.0
    assert guess.free.likelihood.if_present == 1.0


def test_a_model_that_reads_the_mark_alone_is_right_on_half_of_a_shifted_folder():
    evidence, labels, _ = drawn(200, BOUND, 12)
    folder = drawn(200, SHIFTED, 13)[0]
    blind = []
    for one in (evidence, folder):
        rows = one.probabilities
        is_bar = (rows["class_name"] == "bar").to_numpy()
        is_marked = rows["sample_id"].map(one.things.set_index("sample_id")["present"]).to_numpy()
        # 0.95 by the mark or its absence, and 0.2 for bar with the mark filled over: the fill is not like no mark.
        seen, filled = np.where(is_marked == is_bar, 0.95, 0.05), np.where(is_bar, 0.2, 0.8)
        predicted = np.where(presence_of(one, "mark") == 1, "bar", "ring")
        blind.append(
            replace(
                one,
                features=one.features.assign(predicted=predicted),
                probabilities=rows.assign(probability=seen, without=np.where(is_marked, filled, np.nan)),
            )
        )
    risks = guessed_risks(Known(blind[0], labels), PULLS, blind[1])
    np.testing.assert_allclose(risks, 0.5, atol=0.1)


def test_other_risks_are_the_same_where_the_folder_leaves_nothing_open():
    run, folder = known(600, USUAL, 6), drawn(600, USUAL, 7)[0]
    for other in other_risks(run, PULLS, folder):
        np.testing.assert_array_equal(other, guessed_risks(run, PULLS, folder))


def test_counted_risks_come_true_and_do_not_know_their_own_label():
    run = known(1500, SHIFTED, 10)
    wrong = is_wrong(run.evidence, run.labels)
    risks = counted_risks(run, PULLS)
    # Two standard errors of a share of about 0.3 of 1500.
    assert risks.mean() == pytest.approx(wrong.mean(), abs=0.025)
    last = run.labels.copy()
    first = run.evidence.features["sample_id"].argmin()
    last[first] = "ring" if last[first] == "bar" else "bar"
    assert counted_risks(Known(run.evidence, last), PULLS)[first] == risks[first]


def test_one_cue_seen_twice_is_taken_away_once():
    evidence, _, _ = drawn(400, SHIFTED, 11)
    marked = presence_of(evidence, "mark") == 1
    values = {"gloss": np.where(marked, 0.9, 0.1), "hue": np.resize([0.1, 0.9], 400)}
    properties = pd.concat(
        pd.DataFrame(
            {"sample_id": evidence.features["sample_id"], "property": name, "value": value, "category": None}
        )
        for name, value in values.items()
    )
    seen = replace(evidence, properties=properties)
    gloss, dull = Pull("bar", "gloss", 1.0, 0.5), Pull("ring", "gloss", 1.0, 0.5, is_higher=False)
    both, hue = Pull("ring", "gloss", 1.0, 0.5), Pull("bar", "hue", 0.5, 0.5)
    mark = PULLS[0]
    assert mark.log_odds == PULL
    assert distinct(seen, (gloss, mark)) == (mark,)
    # What speaks for ring where there is no mark is the mark's absence.
    assert distinct(seen, (dull, mark)) == (mark,)
    # The same thing may speak for two classes against a third, and what is seen elsewhere is something else.
    assert distinct(seen, (both, mark)) == (mark, both)
    assert distinct(seen, (hue, mark)) == (hue, mark)
