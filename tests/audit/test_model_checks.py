import numpy as np
import pandas as pd
import pytest

from audit.model_checks import (
    chance_accuracy,
    check_confidence,
    check_predictions,
    mending_order,
    warnings,
)

CLASSES = ("shoes", "hat", "dress")  # alphabetical: dress, hat, shoes


@pytest.fixture
def labels():
    return np.repeat([0, 1, 2], 20)


def test_a_model_that_works_is_left_in_peace(labels):
    predicted = labels.copy()
    predicted[::5] = (predicted[::5] + 1) % 3  # 48 of 60 right
    assert check_predictions(labels, predicted, CLASSES) == ()


def test_a_label_order_that_a_permutation_mends_is_named_with_its_mapping(labels):
    (warning,) = check_predictions(labels, np.array([1, 2, 0])[labels], CLASSES)
    assert "0 of 60 predictions are right, and 60 would be" in warning
    assert "output 0 is 'dress', not 'shoes'" in warning
    assert "output 1 is 'shoes', not 'hat'" in warning
    assert "another order than in training" in warning


def test_alphabetical_order_is_named_as_the_cause(labels):
    # The model's outputs are dress, hat, shoes: what is shoes comes out at 2, dress at 0.
    (warning,) = check_predictions(labels, np.array([2, 1, 0])[labels], CLASSES)
    assert "20 of 60 predictions are right, and 60 would be" in warning
    assert "output 0 is 'dress', not 'shoes'" in warning
    assert "alphabetical order" in warning


def test_chance_level_names_the_preprocessing(labels):
    predicted = np.tile([0, 1, 2], 20)  # a third of each label right
    (warning,) = check_predictions(labels, predicted, CLASSES)
    assert "chance level" in warning
    assert "about 20 right" in warning
    assert "0..1 or 0..255" in warning


def test_one_answer_for_everything_is_said(labels):
    (warning,) = check_predictions(labels, np.ones(60, dtype=int), CLASSES)
    assert "predicts 'hat' for all 60 samples" in warning


@pytest.mark.parametrize("few", [np.array([0, 1]), np.zeros(50, dtype=int)])
def test_where_even_a_perfect_model_would_not_stand_out_nothing_is_said(few):
    assert check_predictions(few, np.ones(len(few), dtype=int), CLASSES) == ()


def test_random_predictions_over_many_classes_are_not_called_an_order():
    rng = np.random.default_rng(0)
    labels, predicted = np.repeat(np.arange(100), 4), rng.integers(0, 100, 400)
    assert mending_order(labels, predicted, 100) is None
    (warning,) = check_predictions(labels, predicted, [f"class {i}" for i in range(100)])
    assert "chance level" in warning


def test_swapped_classes_beside_many_that_fit_are_found():
    labels = np.repeat(np.arange(6), 16)
    swap = np.array([1, 0, 2, 3, 4, 5])
    np.testing.assert_array_equal(mending_order(labels, swap[labels], 6), swap)


def test_two_classes_that_a_good_model_confuses_are_not_an_order():
    labels = np.repeat(np.arange(6), 16)
    predicted = labels.copy()
    predicted[:16:2] = 1  # half of the first class
    assert mending_order(labels, predicted, 6) is None


def test_classes_that_do_not_occur_keep_their_place():
    labels = np.repeat([0, 1], 20)
    order = mending_order(labels, 1 - labels, 5)
    np.testing.assert_array_equal(order, [1, 0, 2, 3, 4])


def test_chance_is_what_blind_predictions_would_get():
    labels, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert chance_accuracy(labels, predicted, 3) == 0.75 * 0.5 + 0.25 * 0.5


def test_the_order_of_samples_does_not_matter_for_a_clear_case(labels):
    predicted = np.array([1, 2, 0])[labels]
    shuffled = np.random.default_rng(0).permutation(60)
    found = check_predictions(labels[shuffled], predicted[shuffled], CLASSES)
    assert found == check_predictions(labels, predicted, CLASSES)


def test_the_table_of_predictions_gives_the_same_warnings(labels):
    predicted = np.array([1, 2, 0])[labels]
    names = np.array(CLASSES)
    columns = {"label": names[labels], "predicted": names[predicted], "confidence": 0.8, "correct": False}
    table = pd.DataFrame(columns)
    assert warnings(table, CLASSES) == check_predictions(labels, predicted, CLASSES) != ()
    assert warnings(table.iloc[:0], CLASSES) == ()
    assert len(warnings(table.assign(confidence=1.0), CLASSES)) == 2


def test_lengths_that_differ_are_refused(labels):
    with pytest.raises(ValueError, match="one length"):
        check_predictions(labels, labels[1:], CLASSES)


@pytest.mark.parametrize(
    ("n_certain", "n_wrong", "is_warned"),
    [
        (100, 10, True),
        (96, 2, True),  # two of 96, where one in a thousand may be: p = 0.004
        (100, 1, False),  # one may be mislabelled
        (90, 10, False),  # it knows doubt
        (100, 0, False),
    ],
)
def test_a_model_without_doubts_that_errs_is_probably_fed_otherwise(n_certain, n_wrong, is_warned):
    confidence = np.where(np.arange(100) < n_certain, 1.0, 0.7)
    found = check_confidence(confidence, np.arange(100) >= n_wrong)
    assert bool(found) is is_warned
    if found:
        assert f"sure of {n_certain} of 100 predictions, and {n_wrong} of these are wrong" in found[0]
        assert "value_range=[0,1]" in found[0]
