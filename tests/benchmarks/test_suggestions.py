import numpy as np

from benchmarks._suggestion_cells import BUDGETS
from benchmarks._suggestion_rules import RULES, k_center
from benchmarks.suggestions import counts_report, report


def outcome(gains, before=0.2):
    rules = {
        rule: {str(b): {"worst": before + gain, "n": b, "counterexamples": 0.5} for b in BUDGETS}
        for rule, gain in zip(RULES, gains, strict=True)
    }
    return {"before": before, "rules": rules}


def test_the_farthest_is_taken_first_and_then_what_is_far_from_that_too():
    features = np.array([[1.0], [9.0], [10.0], [5.0]])
    # From 0 the farthest is 10; then 5 is 5 from both, and 9 only 1 from 10.
    assert k_center(features, np.array([[0.0]]), 3).tolist() == [2, 3, 0]


def test_gains_are_over_the_training_without_added_photos_and_ratios_over_random():
    page = report([outcome([0.3, 0.1, 0.1, 0.2, 0.0]), outcome([0.1, 0.1, 0.1, 0.0, 0.0])])
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("| ")}
    assert "+20.0" in rows["suggest"]  # (30 + 10) / 2
    assert "random (best other)" in rows
    assert "+10.0 (+0.0 to +20.0)" in rows["random (best other)"]
    assert "Gain over that of random: 2.0 times (1.0 to 3.0)." in page


def test_counts_suffice_where_the_verdict_turns_sound():
    truth = {"necessity": 0.04, "sufficiency": -0.06}
    never = {"unbound": {"status": "sound"}, "unbound_truth": {"necessity": 0.0, "sufficiency": 0.01}}
    rows = [
        {"added": {"bar": 3}, "after": {"status": s}, "truth": truth} | never
        for s in ("sound", "sound", "undecided")
    ]
    text = counts_report([*rows, {"added": {}}])
    assert "3 of 4 audits ask for photos." in text
    added, unbound = text.splitlines()[-2:]
    assert added.startswith("| added | 67% (")
    assert added.endswith("| sound 2, undecided 1 | 6 points, 6 |")
    assert unbound.startswith("| never bound | 100% (")
