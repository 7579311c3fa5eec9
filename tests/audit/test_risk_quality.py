import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from audit.risk_quality import aurc, auroc, auroc_gain, ranking, reliability

RIGHT, WRONG = False, True


def test_auroc_is_the_share_of_ordered_pairs():
    # Pairs of an error with a right prediction: 0.9 over both, 0.5 over one and level with the other: 3.5 of 4.
    wrong, risks = np.array([WRONG, WRONG, RIGHT, RIGHT]), np.array([0.9, 0.5, 0.5, 0.1])
    assert auroc(wrong, risks, 0.95).mean == pytest.approx(3.5 / 4)


def test_the_gain_is_the_difference_of_two_aurocs():
    rng = np.random.default_rng(0)
    wrong = rng.uniform(size=200) < 0.3
    one, other = wrong + rng.normal(0, 1, 200), wrong + rng.normal(0, 2, 200)
    gain = auroc_gain(wrong, one, other, 0.95)
    assert gain.mean == pytest.approx(roc_auc_score(wrong, one) - roc_auc_score(wrong, other))
    assert gain.low < gain.mean < gain.high


def test_the_gain_over_itself_is_nothing_for_sure():
    wrong, risks = np.array([WRONG, WRONG, RIGHT, RIGHT]), np.array([0.9, 0.2, 0.5, 0.1])
    gain = auroc_gain(wrong, risks, risks, 0.95)
    assert (gain.low, gain.mean, gain.high) == (0.0, 0.0, 0.0)


def test_the_interval_of_the_gain_covers_the_truth_as_often_as_it_says():
    # Scores are normal around 0 and 1: AUROC = Phi(1 / sqrt(2)) for both, so the true gain is 0.
    rng = np.random.default_rng(1)
    n_covered = 0
    for _ in range(400):
        wrong = np.arange(150) < 50
        gain = auroc_gain(wrong, wrong + rng.normal(size=150), wrong + rng.normal(size=150), 0.9)
        n_covered += gain.low <= 0 <= gain.high
    # 400 trials at 0.9 have a standard deviation of 6.
    assert 360 - 18 <= n_covered <= 360 + 18


@pytest.mark.parametrize(
    ("wrong", "risks", "expected"),
    [
        # Least risky first: 0 of 1, 0 of 2, 1 of 3.
        ([RIGHT, RIGHT, WRONG], [0.1, 0.2, 0.3], (0 + 0 + 1 / 3) / 3),
        ([WRONG, RIGHT, RIGHT], [0.1, 0.2, 0.3], (1 + 1 / 2 + 1 / 3) / 3),
        # All of one risk: any order, so a third of every group on average.
        ([WRONG, RIGHT, RIGHT], [0.2, 0.2, 0.2], 1 / 3),
        ([], [], math.nan),
    ],
)
def test_aurc(wrong, risks, expected):
    assert aurc(np.array(wrong, dtype=bool), np.array(risks)) == pytest.approx(expected, nan_ok=True)


def test_without_an_error_nothing_can_be_ranked():
    found = ranking(np.zeros(5, dtype=bool), np.linspace(0, 1, 5), np.linspace(0.5, 1, 5), 0.95)
    assert math.isnan(found.auroc.mean)
    assert math.isnan(found.gain.low)
    assert found.aurc == 0.0


def test_reliability_counts_what_became_of_each_bin():
    risks = np.array([0.0, 0.05, 0.06, 0.1, 1.0])
    bins = reliability(np.array([RIGHT, WRONG, RIGHT, RIGHT, WRONG]), risks, 0.95)
    assert [(one.low, one.high, one.n, one.wrong.mean) for one in bins] == [
        (0.0, 0.05, 2, 0.5),
        (0.05, 0.1, 2, 0.0),
        (0.7, 1.0, 1, 1.0),
    ]
    assert bins[1].risk == pytest.approx(0.08)
