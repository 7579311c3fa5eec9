"""Does the model fit the data: accuracy at chance, names in another order, one answer for all, errors without doubt."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import linear_sum_assignment

SIGNIFICANCE = 0.01
"""Probability below which chance is ruled out."""
CERTAIN, MOSTLY = 0.9999, 0.95
"""Confidence of a model that knows no doubt; share of such predictions that makes it one."""


def warnings(predictions: pd.DataFrame, classes: Sequence[str]) -> tuple[str, ...]:
    """Warnings about a model that seems to be fed or read wrongly, from the table `predictions`.

    Args:
        predictions: rows of PREDICTIONS.
        classes: class names in the model's output order.

    Returns:
        As `check_predictions` and `check_confidence`.
    """
    index = {name: number for number, name in enumerate(classes)}
    labels = predictions["label"].map(index).to_numpy(dtype=np.int64)
    found = check_predictions(labels, predictions["predicted"].map(index).to_numpy(dtype=np.int64), classes)
    confidence, correct = (
        predictions["confidence"].to_numpy(),
        predictions["correct"].to_numpy(dtype=np.bool_),
    )
    return (*found, *check_confidence(confidence, correct))


def check_predictions(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> tuple[str, ...]:
    """Warnings about a model that seems to be fed or read wrongly, each with its likely cause.

    Args:
        labels: int64 (N,), index of each sample's label in `classes`.
        predicted: int64 (N,), index of the highest output.
        classes: K names in the model's output order.

    Returns:
        Plain sentences; empty where nothing is amiss, or where too few samples are there to tell.

    Raises:
        ValueError: the lengths differ.
    """
    if labels.shape != predicted.shape:
        raise ValueError(f"labels {labels.shape} and predictions {predicted.shape} must have one length")
    if not _can_tell(labels, len(classes)):
        return ()
    if len(np.unique(predicted)) == 1:
        return (_constant_sentence(labels, predicted, classes),)
    mended = mending_order(labels, predicted, len(classes))
    if mended is not None:
        return (_order_sentence(labels, predicted, mended, classes),)
    if _is_at_chance(labels, predicted, len(classes)):
        return (_chance_sentence(labels, predicted, len(classes)),)
    return ()


def check_confidence(confidence: np.ndarray, correct: np.ndarray) -> tuple[str, ...]:
    """A warning about a model that is certain of nearly everything and wrong too often for that.

    Inputs that are larger than in training make larger logits: answers stay, doubts vanish. The errors among certain
    predictions must be at least two, and more than ten times as many as CERTAIN allows could bring by chance (one-sided
    binomial test).

    Args:
        confidence: float (N,), the highest probability of each sample.
        correct: bool (N,), whether the prediction is right.
    """
    is_certain = confidence > CERTAIN
    n, n_wrong = int(is_certain.sum()), int((is_certain & ~correct).sum())
    if n_wrong < 2 or n < MOSTLY * len(confidence):
        return ()
    if stats.binomtest(n_wrong, n, 10 * (1 - CERTAIN), alternative="greater").pvalue > SIGNIFICANCE:
        return ()
    return (
        f"The model is more than {CERTAIN:.2%} sure of {n} of {len(confidence)} predictions, and {n_wrong} of these "
        "are wrong. Likely cause: its inputs are scaled otherwise than in training; many Keras networks expect 0..1 "
        "(--set model.value_range=[0,1]). Confidence, risk and effects say little until that is settled.",
    )


def chance_accuracy(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> float:
    """Accuracy that as many predictions of each class would have if they knew nothing of the labels.

    Returns:
        In [0, 1]: sum over classes of P(label) P(predicted).

    Source: the expected agreement of Cohen 1960, Educational and Psychological Measurement 20, 37-46.
    """
    of_labels = np.bincount(labels, minlength=n_classes) / len(labels)
    of_predictions = np.bincount(predicted, minlength=n_classes) / len(labels)
    return float(of_labels @ of_predictions)


def mending_order(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray | None:
    """The order of class names that mends the predictions, if one does.

    The best order is sought on every other sample of each label and tried on the rest, since among many
    orders one always fits the samples it was chosen by. It mends where it turns significantly more
    predictions right than wrong (one-sided sign test) and makes more than half of them right.

    Args:
        labels: int64 (N,), index of each sample's label.
        predicted: int64 (N,), index of the highest output.
        n_classes: K.

    Returns:
        int64 (K,), at each output the index of the class that it seems to stand for, or None.
    """
    is_for_search = _every_other(labels)
    confusion = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(confusion, (predicted[is_for_search], labels[is_for_search]), 1)
    # Doubled counts and one for staying: of equally good orders the one that changes least.
    _, order = linear_sum_assignment(2 * confusion + np.eye(n_classes, dtype=np.int64), maximize=True)
    rest, answers = labels[~is_for_search], predicted[~is_for_search]
    was_right, is_right = answers == rest, order[answers] == rest
    n_better, n_worse = int((is_right & ~was_right).sum()), int((was_right & ~is_right).sum())
    if n_better <= n_worse or is_right.mean() <= 0.5:
        return None
    p_value = stats.binomtest(n_better, n_better + n_worse, 0.5, alternative="greater").pvalue
    return np.asarray(order, dtype=np.int64) if p_value <= SIGNIFICANCE else None


def _can_tell(labels: np.ndarray, n_classes: int) -> bool:
    """Whether even a perfect model would stand out from chance on these labels."""
    if len(np.unique(labels)) < 2:
        return False
    return bool(chance_accuracy(labels, labels, n_classes) ** len(labels) <= SIGNIFICANCE)


def _is_at_chance(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> bool:
    """Whether the accuracy is not significantly above chance (one-sided binomial test)."""
    hits = int((labels == predicted).sum())
    chance = chance_accuracy(labels, predicted, n_classes)
    return bool(stats.binomtest(hits, len(labels), chance, alternative="greater").pvalue > SIGNIFICANCE)


def _every_other(labels: np.ndarray) -> np.ndarray:
    """bool (N,): the first, third, ... sample of each label."""
    is_chosen = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        is_chosen[np.flatnonzero(labels == label)[::2]] = True
    return is_chosen


def _accuracy(labels: np.ndarray, predicted: np.ndarray) -> str:
    hits = int((labels == predicted).sum())
    return f"{hits} of {len(labels)} predictions are right"


def _constant_sentence(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> str:
    return (
        f"The model predicts {classes[predicted[0]]!r} for all {len(labels)} samples, whose labels are of "
        f"{len(np.unique(labels))} classes; likely causes: preprocessing that differs from training (value "
        "range 0..1 or 0..255, mean and std), or weights that were not loaded."
    )


def _chance_sentence(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> str:
    chance = chance_accuracy(labels, predicted, n_classes)
    return (
        f"Accuracy is at chance level: {_accuracy(labels, predicted)}, and blind predictions would get about "
        f"{chance * len(labels):.0f} right; no other order of the class names mends it. Likely causes: "
        "preprocessing that differs from training (value range 0..1 or 0..255, mean and std, colour order "
        "RGB or BGR, resize mode), or class names of another model."
    )


def _order_sentence(
    labels: np.ndarray, predicted: np.ndarray, order: np.ndarray, classes: Sequence[str]
) -> str:
    """The likely right order of names, and how it may have come about."""
    moved = np.flatnonzero(order != np.arange(len(order)))
    names = [
        f"output {output} is {classes[order[output]]!r}, not {classes[output]!r}" for output in moved[:10]
    ]
    more = f", and {len(moved) - 10} more" if len(moved) > 10 else ""
    alphabetical = sorted(classes)
    is_alphabetical = all(classes[order[output]] == alphabetical[output] for output in moved)
    cause = (
        "the model was trained with the classes in alphabetical order, as folder readers sort them"
        if is_alphabetical
        else "the class names are listed in another order than in training, or the labels are swapped"
    )
    return (
        f"Another order of the class names would mend the predictions: {_accuracy(labels, predicted)}, and "
        f"{int((labels == order[predicted]).sum())} would be if {', '.join(names)}{more}. "
        f"Likely cause: {cause}."
    )
