import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from audit import tables
from audit.risk import FEWEST_ERRORS, _out_of_fold, expected_accuracy, fit_risks, predict_risks
from audit.risk_inputs import (
    CONFIDENCE,
    corrected_probabilities,
    even_weights,
    guessed_likelihoods,
    inputs_of,
    likelihoods_of,
    log_odds,
    presence_of,
    pulls_of,
    shows,
)
from audit.risk_quality import auroc, auroc_gain
from tests.audit.drawn_evidence import CLASSES, PULLS, SHIFTED, USUAL, drawn, evidence_of, share
from tests.audit.test_verdicts import LIMITS


def is_wrong(evidence, labels):
    return evidence.features["predicted"].to_numpy() != labels


def gain(evidence, labels, risks):
    doubt = 1 - evidence.features["confidence"].to_numpy()
    return auroc_gain(is_wrong(evidence, labels), risks["risk"].to_numpy(), doubt, 0.95)


@pytest.fixture(scope="module")
def usual():
    """The evidence, labels and estimate of 1500 pictures in which the mark is bound as the model learned it."""
    evidence, labels, _ = drawn(1500, USUAL, seed=1)
    return (evidence, labels, *fit_risks(evidence, labels, PULLS))


def test_log_odds_by_hand_and_within_their_limit():
    assert log_odds(np.array([0.5, 0.8])).tolist() == pytest.approx([0.0, math.log(4)])
    assert log_odds(np.array([0.0, 1.0])).tolist() == [-10.0, 10.0]


def test_without_the_pull_the_weights_are_what_the_object_says():
    evidence, _, e = drawn(300, USUAL, seed=0)
    weights = even_weights(evidence, PULLS).pivot(index="row", columns="class_name", values="weight")
    np.testing.assert_allclose(np.log(weights["bar"] / weights["ring"]), e, atol=1e-9)


def test_a_picture_that_cannot_be_asked_without_the_thing_is_corrected_by_half_of_the_pull():
    evidence, _, e = drawn(300, USUAL, seed=0)
    unasked = replace(evidence, probabilities=evidence.probabilities.assign(without=np.nan))
    weights = even_weights(unasked, PULLS).pivot(index="row", columns="class_name", values="weight")
    np.testing.assert_allclose(np.log(weights["bar"] / weights["ring"]), e, atol=1e-9)


def test_where_nobody_looked_for_the_thing_the_model_is_believed():
    evidence, _, _ = drawn(50, USUAL, seed=0)
    unseen = replace(evidence, things=evidence.things.iloc[:0])
    weights = even_weights(unseen, PULLS)
    np.testing.assert_array_equal(weights["weight"], evidence.probabilities["probability"])
    assert np.isnan(presence_of(unseen, "mark")).all()


def test_bonds_are_counted_with_half_a_picture_of_each_kind_added():
    rng = np.random.default_rng(0)
    evidence = evidence_of(list("abcde"), np.zeros(5), np.array([True, True, True, False, False]), rng)
    (bond,) = likelihoods_of(evidence, PULLS, ["bar", "bar", "ring", "ring", "ring"])
    # bar: 2 of 2, ring: 1 of 3.
    assert bond.if_present == pytest.approx((2.5 / 3) / (1.5 / 4))
    assert bond.if_absent == pytest.approx((0.5 / 3) / (2.5 / 4))


@pytest.mark.parametrize("bond", [USUAL, SHIFTED, (0.2, 0.7)])
def test_bonds_are_guessed_without_labels(bond):
    evidence, labels, _ = drawn(4000, bond, seed=2)
    (counted,), (guessed,) = likelihoods_of(evidence, PULLS, labels), guessed_likelihoods(evidence, PULLS)
    # Of 4000 pictures with objects this clear a share is guessed within some hundredths.
    assert math.log(guessed.if_present) == pytest.approx(math.log(counted.if_present), abs=0.25)
    assert math.log(guessed.if_absent) == pytest.approx(math.log(counted.if_absent), abs=0.25)


def test_on_shifted_pictures_without_labels_risk_ranks_errors_better_than_confidence(usual):
    _, _, model, _ = usual
    evidence, labels, _ = drawn(1500, SHIFTED, seed=3)
    found = gain(evidence, labels, predict_risks(model, evidence))
    assert found.low > 0.05


def test_on_usual_pictures_risk_is_no_worse_than_confidence(usual):
    evidence, labels, model, out_of_fold = usual
    assert gain(evidence, labels, out_of_fold).low > -0.02
    others, their_labels, _ = drawn(1500, USUAL, seed=4)
    assert gain(others, their_labels, predict_risks(model, others)).low > -0.02


def test_risks_of_labels_that_mean_nothing_say_nothing():
    # Read out of the fold they were fitted in, they would rank such errors above chance.
    evidence, _, _ = drawn(400, SHIFTED, seed=5)
    labels = np.random.default_rng(6).choice(CLASSES, 400)
    _, risks = fit_risks(evidence, labels, PULLS)
    chance = auroc(is_wrong(evidence, labels), risks["risk"].to_numpy(), 0.999)
    assert chance.low < 0.5 < chance.high


def test_risks_come_true_on_the_run(usual):
    evidence, labels, _, risks = usual
    wrong = is_wrong(evidence, labels)
    # The mean of 1500 risks, to within two standard errors of a share of about 5 %.
    assert risks["risk"].mean() == pytest.approx(wrong.mean(), abs=2 * math.sqrt(0.05 / 1500))


def test_expected_accuracy_covers_the_true_one(usual):
    _, _, model, _ = usual
    for bond, seed in ((USUAL, 7), (SHIFTED, 8)):
        evidence, labels, _ = drawn(1000, bond, seed=seed)
        risks = predict_risks(model, evidence)["risk"].to_numpy()
        expected = expected_accuracy(model, evidence, risks, 0.99)
        assert expected.low <= 1 - is_wrong(evidence, labels).mean() <= expected.high
        assert expected.high - expected.low < 0.12


def test_expected_accuracy_by_hand(usual):
    _, _, model, _ = usual
    # Two coins, and a run of 4 whose risks have the variance 0.16: sqrt(0.25 / 2 + 0.16 / 4) = sqrt(0.165).
    known, (evidence, _, _) = (
        replace(model, n=4, variance=0.16, excess=0.0, pulls=()),
        drawn(2, USUAL, seed=0),
    )
    expected = expected_accuracy(known, evidence, np.array([0.5, 0.5]), 0.5)
    assert expected.mean == 0.5
    assert expected.high - 0.5 == pytest.approx(0.674490 * math.sqrt(0.165), rel=1e-5)
    # Certain of both, as of all in the run, where one in ten was wrong: 0.9 less the chance of both and of the run.
    sure = replace(model, n=100, variance=0.1, excess=0.1, pulls=(), note="few errors")
    expected = expected_accuracy(sure, evidence, np.array([0.0, 0.0]), 0.95)
    assert (expected.mean, expected.high) == (1.0, 1.0)
    assert expected.low == pytest.approx(0.9 - 1.959964 * math.sqrt(0.1 / 2 + 0.1 / 100), rel=1e-5)
    assert math.isnan(expected_accuracy(model, evidence, np.empty(0), 0.95).mean)


def test_ranks_and_risks_do_not_depend_on_the_order_of_samples(usual):
    evidence, labels, _, risks = usual
    order = np.random.default_rng(0).permutation(len(labels))
    shuffled = replace(evidence, features=evidence.features.iloc[order].reset_index(drop=True))
    _, again = fit_risks(shuffled, labels[order], PULLS)
    pd.testing.assert_frame_equal(
        again.sort_values("sample_id", ignore_index=True), risks.sort_values("sample_id", ignore_index=True)
    )
    assert sorted(risks["rank"]) == list(range(1, len(labels) + 1))
    assert risks.sort_values("rank")["risk"].is_monotonic_decreasing


def test_with_too_few_errors_risk_is_what_is_missing_to_confidence_and_says_so():
    evidence, _, _ = drawn(100, USUAL, seed=9)
    labels = evidence.features["predicted"].to_numpy().copy()
    labels[: FEWEST_ERRORS - 1] = np.where(labels[: FEWEST_ERRORS - 1] == "bar", "ring", "bar")
    model, risks = fit_risks(evidence, labels, ())
    np.testing.assert_array_equal(risks["risk"], 1 - evidence.features["confidence"])
    assert model.note == "only 19 of 100 predictions are wrong, too few to learn more from than confidence"
    assert all(model.note in reason for reason in risks["reason"])
    np.testing.assert_array_equal(predict_risks(model, evidence)["risk"], risks["risk"])


def test_risk_by_confidence_alone_ranks_as_confidence_does_and_comes_true():
    evidence, labels, _ = drawn(600, USUAL, seed=12)
    model, risks = fit_risks(evidence, labels, ())
    confidence = evidence.features["confidence"].to_numpy()
    assert model.note == ""
    assert (np.diff(risks["risk"].to_numpy()[np.argsort(confidence)]) <= 0).all()
    assert risks["risk"].mean() == pytest.approx(is_wrong(evidence, labels).mean(), abs=0.01)


def test_no_sample_s_risk_comes_from_a_fit_that_knew_it():
    x, ids = np.arange(100.0)[:, None], np.array([f"{number:03d}" for number in range(100)], dtype=object)
    shared = _out_of_fold(x, x[:, 0] % 2 == 0, ids, lambda known, wrong, asked: np.isin(asked, known)[:, 0])
    assert shared.sum() == 0


def test_on_a_run_that_binds_the_mark_as_learned_its_samples_risk_is_by_confidence():
    evidence, labels, _ = drawn(600, (1.0, 0.0), seed=13)
    _, risks = fit_risks(evidence, labels, PULLS)
    assert gain(evidence, labels, risks).mean == 0.0


def test_on_a_labelled_shifted_run_risk_is_by_what_the_mark_means_there():
    evidence, labels, _ = drawn(600, SHIFTED, seed=14)
    _, risks = fit_risks(evidence, labels, PULLS)
    assert gain(evidence, labels, risks).low > 0.05


def test_a_folder_without_pictures_has_no_risks(usual):
    evidence, _, model, _ = usual
    nothing = replace(evidence, features=evidence.features.iloc[:0], probabilities=evidence.probabilities[:0])
    tables.check(predict_risks(model, nothing), tables.RISKS)


def test_reasons_name_what_speaks_for_the_class_and_what_is_missing_for_another(usual):
    _, _, model, _ = usual
    # Log odds of bar: 0.1 and 2.94 = 95 %; -9 and -2.94; -0.5 and -2.94 = 3 %; -2.9 and 2.94 = 51 %.
    ids, has_mark = ["mark", "clear", "missing", "unsure"], np.array([True, False, False, True])
    rng = np.random.default_rng(0)
    evidence = evidence_of(ids, np.array([0.1, -9.0, -0.5, -2.9]), has_mark, rng)
    ordinary = evidence.features.assign(map_entropy=0.5, disagreement=0.0)
    reasons = predict_risks(model, replace(evidence, features=ordinary)).set_index("sample_id")["reason"]
    mark = "40 % of the mass lies on a mark, which speaks for bar; without it the model says ring"
    assert reasons.to_dict() == {
        "mark": f"confident, but {mark}",
        "clear": "confident: over 99 %, and nothing speaks against it",
        "missing": "confident, but it shows no mark, without which bar is seldom named",
        "unsure": f"unsure: 51 %, then ring with 49 %; {mark}",
    }


def test_confidence_comes_first_and_is_the_model_s_own_where_nothing_pulls():
    evidence, _, _ = drawn(20, USUAL, seed=0)
    inputs = inputs_of(evidence, (), (), {}, ("mark",), ("bar",))
    assert inputs.columns[0] == CONFIDENCE
    np.testing.assert_allclose(inputs[CONFIDENCE], log_odds(evidence.features["confidence"]), atol=1e-9)
    assert {"shows mark", "mass on mark", "predicted bar"} < set(inputs.columns)


def test_a_property_pulls_where_its_value_is_nearer_to_the_class_s():
    evidence, _, e = drawn(200, USUAL, seed=0)
    has_mark = presence_of(evidence, "mark") == 1
    dark = pd.DataFrame(
        {
            "sample_id": evidence.features["sample_id"],
            "property": "brightness",
            "value": np.where(has_mark, 0.2, 0.6),
            "category": None,
        }
    )
    # The same world, with dark pictures in place of marked ones, which nothing can be taken out of.
    asked = replace(evidence, properties=dark, probabilities=evidence.probabilities.assign(without=np.nan))
    pull = replace(PULLS[0], thing="brightness", middle=0.4, is_higher=False)
    np.testing.assert_array_equal(shows(asked, pull), has_mark)
    weights = even_weights(asked, (pull,)).pivot(index="row", columns="class_name", values="weight")
    np.testing.assert_allclose(np.log(weights["bar"] / weights["ring"]), e, atol=1e-9)
    unmeasured = replace(asked, properties=dark.assign(value=np.nan))
    assert np.isnan(shows(unmeasured, pull)).all()
    assert np.isnan(shows(evidence, pull)).all()


def test_pulls_are_the_mean_change_of_log_odds_beyond_the_control():
    n = 12
    ids = [f"ring {number}" for number in range(n)]
    before = np.linspace(0.1, 0.3, n)
    rows = [
        {
            "sample_id": sample_id,
            "confound": "mark",
            "kind": "transplant",
            "fill": "pasted",
            "label": "bar",
            "score_before": own,
            "score_after": share(np.array(np.log(own / (1 - own)) + 2.5)),
            "score_control": share(np.array(np.log(own / (1 - own)) + 0.5)),
            "predicted_after": "bar",
            "predicted_control": "ring",
            "reason": "",
        }
        for sample_id, own in zip(ids, before, strict=True)
    ]
    predictions = pd.DataFrame({"sample_id": ids, "label": "ring", "predicted": "ring"})
    found = {"predictions": predictions, "interventions": tables.frame(tables.INTERVENTIONS, rows)}
    (pull,) = pulls_of(found, LIMITS)
    assert (pull.label, pull.thing) == ("bar", "mark")
    assert pull.log_odds == pytest.approx(2.0)
    few = dict(found, interventions=found["interventions"].head(5))
    assert pulls_of(few, LIMITS) == ()
    assert pulls_of({"predictions": predictions}, LIMITS) == ()


def test_with_too_few_errors_a_known_pull_is_taken_away_all_the_same():
    # A model that is always right on the usual pictures, since they are so few, and a folder that is not like them.
    few, _, _ = drawn(30, USUAL, seed=10)
    model, _ = fit_risks(few, few.features["predicted"].to_numpy(), PULLS)
    assert model.regression is None
    evidence, labels, _ = drawn(1500, SHIFTED, seed=3)
    assert gain(evidence, labels, predict_risks(model, evidence)).low > 0.05


def test_corrected_probabilities_are_what_the_object_and_the_data_say():
    evidence, _, e = drawn(3000, SHIFTED, seed=11)
    found = corrected_probabilities(evidence, PULLS).pivot(
        index="sample_id", columns="class_name", values="probability"
    )
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    # The mark means nothing here, which is guessed to within some hundredths.
    np.testing.assert_allclose(log_odds(found["bar"].to_numpy()), np.clip(e, -10, 10), atol=0.25)
    own = corrected_probabilities(evidence, ())
    pd.testing.assert_series_equal(own["probability"], evidence.probabilities["probability"])
