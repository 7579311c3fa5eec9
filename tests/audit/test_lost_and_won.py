"""Predictions lost and won between two runs, counted and in the page of their comparison."""

import dataclasses

import pytest

from audit.changes import compare
from audit.types import ChangeLimits
from reports import compare_site
from tests.paired import run_of

LIMITS = ChangeLimits(q=0.05, minimum_change=0.05, ruled_out=0.1, minimum_pairs=10)


def compared(n_reference_wrong, n_candidate_wrong, n=60):
    runs = (
        dataclasses.replace(run_of({"shoe": [0.5] * n}, wrong={"shoe": number}), name=name)
        for number, name in ((n_reference_wrong, "released"), (n_candidate_wrong, "new"))
    )
    return compare(*runs, LIMITS)


@pytest.mark.parametrize(
    ("wrong", "lost", "won", "p_value", "is_loss"),
    [
        ((0, 7), 7, 0, 2 / 2**7, True),  # 7 coins on one side: 2 of 128 ways
        ((0, 5), 5, 0, 2 / 2**5, False),  # p = 0.0625
        ((7, 0), 0, 7, 2 / 2**7, False),  # a gain is no loss
        ((3, 3), 0, 0, 1.0, False),
    ],
)
def test_lost_and_won_by_hand(wrong, lost, won, p_value, is_loss):
    hits = compared(*wrong).hits
    assert (hits.n, hits.lost, hits.won, hits.is_loss) == (60, lost, won, is_loss)
    assert hits.p_value == pytest.approx(p_value)
    assert (hits.reference, hits.candidate) == (1 - wrong[0] / 60, 1 - wrong[1] / 60)


def test_samples_without_a_partner_do_not_count():
    few, many = run_of({"shoe": [0.5] * 20}), run_of({"shoe": [0.5] * 30}, wrong={"shoe": 2})
    hits = compare(few, many, LIMITS).hits
    assert (hits.n, hits.lost) == (20, 2)
    assert hits.candidate == 0.9


def test_no_pair_no_count():
    none = compare(run_of({"shoe": [0.5] * 3}), run_of({"boot": [0.5] * 3}), LIMITS)
    assert none.hits is None


def test_the_page_says_what_was_lost_and_which_run_is_which():
    files = compare_site.render(compared(0, 7), links={"candidate": "../../new/report/index.html"})
    page = files["index.html"].replace("\xa0", " ").replace("<bdi>", "").replace("</bdi>", "")
    assert "Beside that, 7 of 60 predictions were lost and 0 won (p = 0.016)." in page
    assert "100 % → 88 % <small>7 lost, 0 won</small>" in page
    assert 'Candidate <a href="../../new/report/index.html">new</a> against the reference released.' in page
    assert "Beside that" not in compare_site.render(compared(0, 5))["index.html"]
