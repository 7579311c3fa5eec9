import numpy as np
import pandas as pd
import pytest

from audit import label_issues, tables
from audit.label_issues import BARELY_VISIBLE, WRONG_LABEL, find_label_issues

CLASSES = ("hat", "shoes", "t-shirt")


def run_of(labels, predicted, *, confidence=0.9, split="test", area=0.3):
    """Tables of samples s0, s1, ... that are taken for `predicted` with one confidence, the rest shared evenly."""
    ids = [f"s{number:02d}" for number in range(len(labels))]
    predictions = pd.DataFrame({"sample_id": ids, "label": list(labels), "split": split})
    attributions = pd.DataFrame({"sample_id": ids, "area_inside": np.broadcast_to(area, len(ids))})
    rows = [
        (sample_id, name, confidence if name == own else (1 - confidence) / 2)
        for sample_id, own in zip(ids, predicted, strict=True)
        for name in CLASSES
    ]
    return predictions, pd.DataFrame(rows, columns=["sample_id", "class_name", "probability"]), attributions


ONE_SWAPPED = (["hat"] * 8 + ["shoes"] * 8, ["hat"] * 8 + ["shoes"] * 7 + ["hat"])


def test_the_one_swapped_label_is_found_with_what_it_should_be():
    found = find_label_issues(*run_of(*ONE_SWAPPED), CLASSES)
    assert list(found["sample_id"]) == ["s15"]
    row = found.iloc[0]
    assert (row["kind"], row["label"], row["suggested"]) == (WRONG_LABEL, "shoes", "hat")
    # 0.05 of hat, shoes and the class that no sample carries, without that class.
    assert row["label_quality"] == pytest.approx(0.05 / 0.95)


def test_right_labels_are_not_doubted():
    labels = ["hat"] * 8 + ["shoes"] * 8
    assert len(find_label_issues(*run_of(labels, labels), CLASSES)) == 0


@pytest.mark.parametrize("untrusted", ["shoes", "hat"])
def test_a_model_that_decides_on_a_class_by_something_else_is_no_second_opinion_on_it(untrusted):
    # s15 is labelled shoes and taken for a hat.
    assert len(find_label_issues(*run_of(*ONE_SWAPPED), CLASSES, (untrusted,))) == 0
    assert len(find_label_issues(*run_of(*ONE_SWAPPED), CLASSES, ("t-shirt",))) == 1


@pytest.mark.parametrize("split", ["train", "Training"])
def test_what_the_model_learned_from_is_no_second_opinion(split):
    assert len(find_label_issues(*run_of(*ONE_SWAPPED, split=split), CLASSES)) == 0


@pytest.mark.parametrize("labels", [ONE_SWAPPED[0], ["t-shirt", *ONE_SWAPPED[0][1:]]])
def test_a_picture_that_the_model_gives_to_no_class_that_occurs_hides_no_wrong_label(labels):
    predictions, probabilities, attributions = run_of(labels, ONE_SWAPPED[1])
    lost = probabilities["sample_id"] == "s00"
    nowhere = pd.DataFrame([("s00", "skirt", 1.0)], columns=probabilities.columns)
    none = probabilities[lost].assign(probability=0.0)
    probabilities = pd.concat([probabilities[~lost], none, nowhere], ignore_index=True)
    found = find_label_issues(predictions, probabilities, attributions, (*CLASSES, "skirt"))
    assert list(found["sample_id"]) == ["s15"]


def test_without_the_library_no_label_is_doubted_and_faint_objects_are_still_found(monkeypatch):
    monkeypatch.setattr(label_issues, "can_doubt_labels", lambda: False)
    areas = np.where(np.arange(16) == 3, 0.004, 0.3)
    found = find_label_issues(*run_of(*ONE_SWAPPED, area=areas), CLASSES)
    assert found[["sample_id", "kind", "reason"]].to_numpy().tolist() == [
        ["s03", BARELY_VISIBLE, "the hat covers under 1 % of the picture"]
    ]


def test_a_sample_with_both_faults_has_one_row_that_tells_both():
    areas = np.where(np.arange(16) == 15, 0.0099, np.where(np.arange(16) == 2, 0.01, np.nan))
    found = find_label_issues(*run_of(*ONE_SWAPPED, area=areas), CLASSES)
    assert list(found["kind"]) == [WRONG_LABEL]
    assert found["reason"].iloc[0].endswith("; the shoes covers 1 % of the picture")
    tables.check(found, tables.LABEL_ISSUES)


def test_what_is_not_stored_is_spread_over_the_other_classes():
    stored = pd.DataFrame(
        [("a", "hat", 0.7), ("b", "hat", 0.2), ("b", "shoes", 0.8)],
        columns=["sample_id", "class_name", "probability"],
    )
    # 0.3 of "a" are left for three other classes; of the four only hat and shoes are labels here.
    shares = label_issues._shares(stored, pd.Series(["b", "a"]), ["hat", "shoes"], 4)
    np.testing.assert_allclose(shares, [[0.2, 0.8], [0.7 / 0.8, 0.1 / 0.8]])
