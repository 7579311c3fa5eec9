"""Rules on a run: what is on the right side passes, and what was not measured fails."""

from dataclasses import replace

import pytest

from audit.changes import compare
from audit.errors import ConfigError
from audit.gate import Level, Outcome, Rule, Waiver, check
from audit.tables import CERTIFICATE, INTERVENTIONS, QUARANTINE, RISKS
from audit.types import ChangeLimits, Status
from tests.paired import METHOD, configured, run_of, verdict, with_table

TODAY = "2026-11-22"
LIMITS = ChangeLimits(q=0.05, minimum_change=0.05, ruled_out=0.1, minimum_pairs=10)


def outcomes(rule, run, comparison=None, today=TODAY):
    return [(r.label, str(r.outcome), r.reason) for r in check([rule], run, comparison, today).results]


def words(rule, run, comparison=None, today=TODAY):
    return [outcome for _, outcome, _ in outcomes(rule, run, comparison, today)]


def judged(**values):
    """A run of one class with one verdict, of 20 samples."""
    return replace(run_of({"shoe": [0.5] * 20}), verdicts=(verdict("shoe", **values),))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule("mass_inside", minimum=0.6), "passed"),  # the line itself is allowed
        (Rule("mass_inside", minimum=0.61), "failed"),
        (Rule("mass_inside", maximum=0.6), "passed"),
        (Rule("mass_inside_low", minimum=0.56), "failed"),
        (Rule("status", forbidden=("spurious", "suspect")), "passed"),
        (Rule("status", forbidden=("sound",)), "failed"),
        (Rule("accuracy", minimum=1.0), "passed"),
        (Rule("samples", minimum=21), "failed"),
        (Rule("n", minimum=20), "passed"),
        (Rule("coverage", minimum=1.0), "passed"),
        (Rule("quarantined", maximum=0.0), "passed"),
    ],
    ids=lambda value: value.text if isinstance(value, Rule) else value,
)
def test_a_rule_holds_on_the_right_side_of_its_line(rule, expected):
    assert words(rule, judged()) == [expected]


@pytest.mark.parametrize(
    "statistic", ["necessity", "sufficiency_high", "q_value", "certificate", "certificate.weights"]
)
def test_a_rule_whose_statistic_is_missing_fails(statistic):
    run = judged(confound="face")
    for rule in (Rule(statistic, minimum=-1e9), Rule(statistic, maximum=1e9)):
        ((_, outcome, reason),) = outcomes(rule, run)
        assert outcome == "failed"
        assert reason.startswith("not measured: ")


def test_a_class_without_samples_fails_every_rule():
    run = run_of({"shoe": [0.5] * 20}, classes=("shoe", "boot"))
    for rule in (
        Rule("accuracy", minimum=0.0),
        Rule("mass_inside", minimum=0.0),
        Rule("status", forbidden=("spurious",)),
        Rule("coverage", minimum=0.0),
        Rule("quarantined", maximum=1.0),
    ):
        assert words(rule, run) == ["passed", "failed"], rule.text
        assert words(replace(rule, classes=("shoe",)), run) == ["passed"]


def test_coverage_counts_what_could_not_be_measured_and_what_is_in_quarantine():
    quarantined = [
        {"sample_id": f"q{n}", "path": "x", "label": "shoe", "reason": "r", "detail": "d"} for n in range(5)
    ]
    run = with_table(judged(n=15), QUARANTINE, quarantined)
    (result,) = check([Rule("coverage", minimum=0.6)], run, None, TODAY).results
    assert result.observed == pytest.approx(15 / 25)
    (result,) = check([Rule("quarantined", maximum=0.1)], run, None, TODAY).results
    assert (result.observed, result.outcome) == (pytest.approx(5 / 25), Outcome.FAILED)


def with_risks(run, risks):
    ids = run.tables["predictions"]["sample_id"]
    rows = [{"sample_id": sample, "risk": risk, "rank": 1} for sample, risk in zip(ids, risks, strict=False)]
    return with_table(run, RISKS, rows)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # Shoes: (0.9 + 0.1 + 0.2 + 0.4) / 4 = 0.4; shirts: 0.3 each.
        (Rule("risk", maximum=0.45), ["passed", "passed"]),
        (Rule("risk", maximum=0.35), ["failed", "passed"]),
        (Rule("risk", classes=("shirt",), maximum=0.35), ["passed"]),
        # Wrong are the first shoe (0.9) and the first shirt (0.3). Of the six that are right 0.9 is above all, and
        # 0.3 above two, equal to three: (6 + 3.5) / 12 = 0.79.
        (Rule("risk_auroc", minimum=0.79), ["passed"]),
        (Rule("risk_auroc", minimum=0.80), ["failed"]),
        (Rule("risk_auroc", classes=("shoe",), minimum=1.0), ["passed"]),
    ],
    ids=lambda value: value.text if isinstance(value, Rule) else None,
)
def test_rules_on_risk(rule, expected):
    run = run_of({"shoe": [0.5] * 4, "shirt": [0.5] * 4}, wrong={"shoe": 1, "shirt": 1})
    assert words(rule, with_risks(run, [0.9, 0.1, 0.2, 0.4, 0.3, 0.3, 0.3, 0.3])) == expected


def test_a_rule_on_risk_fails_where_risk_says_nothing():
    run = run_of({"shoe": [0.5] * 4}, classes=("shoe", "hat"))
    for rule in (Rule("risk", classes=("shoe",), maximum=1.0), Rule("risk_auroc", minimum=0.0)):
        for unknown in (run, with_risks(run, [0.1, 0.1])):  # no table at all, or not every sample in it
            assert {reason.partition(";")[0] for _, _, reason in outcomes(rule, unknown)} == {
                "not measured: the run has no risk for each of its samples"
            }
    known = with_risks(run, [0.1] * 4)
    assert words(Rule("risk", maximum=1.0), known) == ["passed", "failed"]  # no hat is in the run
    ((_, outcome, reason),) = outcomes(Rule("risk_auroc", minimum=0.0), known)
    assert (outcome, reason) == (
        "failed",
        "not measured: 0 of 4 predictions are wrong, so there is nothing to tell apart",
    )


def test_a_rule_on_a_confound_passes_where_it_was_looked_for_and_none_was_found():
    assert words(Rule("lift", maximum=2.0), judged()) == ["passed"]
    assert words(Rule("confound", forbidden=("face",)), judged()) == ["passed"]
    assert words(Rule("lift", maximum=2.0), judged(status=Status.UNDECIDED)) == ["failed"]
    assert words(Rule("confound", forbidden=("face",)), judged(status=Status.UNDECIDED)) == ["failed"]
    assert words(Rule("necessity", maximum=0.1), judged()) == ["failed"]  # no intervention was run
    assert words(Rule("necessity", maximum=0.1), with_table(judged(), INTERVENTIONS, [])) == ["passed"]


def test_a_rule_on_the_samples_that_would_decide_passes_where_it_is_decided():
    rule = Rule("n_needed", maximum=100)
    assert outcomes(rule, judged()) == [("shoe", "passed", "it is decided")]
    assert words(rule, judged(status=Status.UNDECIDED, n_needed=90.0)) == ["passed"]
    assert words(rule, judged(status=Status.UNDECIDED, n_needed=110.0)) == ["failed"]
    assert words(rule, judged(status=Status.UNDECIDED)) == ["failed"]  # nobody knows how many


def test_an_accepted_confound_does_not_fail_and_stays_visible():
    flagged = judged(status=Status.SPURIOUS, confound="face", necessity=0.5)
    rules = [Rule("status", forbidden=("spurious",)), Rule("necessity", maximum=0.1)]
    assert not check(rules, flagged, None, TODAY).has_passed
    accepted = configured(flagged, "verdicts", accepted={"shoe": {"face": "catalogue photos"}})
    report = check(rules, accepted, None, TODAY)
    assert report.has_passed
    assert report.notes == ("face is accepted for shoe: catalogue photos",)
    assert {result.reason for result in report.results} == {"face is accepted: catalogue photos"}


def test_acceptance_is_of_one_confound_of_one_class():
    run = judged(status=Status.SPURIOUS, confound="face")
    rule = Rule("status", forbidden=("spurious",))
    for accepted in ({"shoe": {"text": "why"}}, {"boot": {"face": "why"}}):
        assert words(rule, configured(run, "verdicts", accepted=accepted)) == ["failed"]


def test_a_warning_does_not_fail_the_gate():
    report = check([Rule("accuracy", maximum=0.5, level=Level.WARN)], judged(), None, TODAY)
    assert report.has_passed
    assert [result.outcome for result in report.results] == [Outcome.WARNED]


@pytest.mark.parametrize(
    ("until", "outcome", "reason"),
    [
        ("2026-11-22", "waived", "waived until 2026-11-22: new photos come"),  # the last day still counts
        ("2026-11-21", "failed", "its waiver ran out on 2026-11-21: new photos come"),
    ],
)
def test_a_waiver_holds_until_its_last_day(until, outcome, reason):
    rule = Rule("accuracy", maximum=0.5, waiver=Waiver(until, "new photos come"))
    report = check([rule], judged(), None, TODAY)
    assert [(str(r.outcome), r.reason) for r in report.results] == [(outcome, reason)]
    assert report.has_passed is (outcome == "waived")
    assert bool(report.notes) is (outcome == "failed")


def test_a_waiver_covers_what_is_missing_too():
    rule = Rule("certificate", minimum=1.0, waiver=Waiver("2026-12-01", "soon"))
    assert words(rule, judged()) == ["waived"]


def test_the_certificate_is_held_by_method():
    rows = [
        {"method": METHOD, "check": "weights", "value": 0.2, "limit": 0.5, "passed": True},
        {"method": METHOD, "check": "target", "value": 0.9, "limit": 0.5, "passed": False},
    ]
    run = with_table(judged(), CERTIFICATE, rows)
    (whole,) = check([Rule("certificate", minimum=1.0)], run, None, TODAY).results
    assert (whole.label, whole.method, whole.observed, whole.reason) == ("", METHOD, 0.5, "it fails target")
    assert words(Rule("certificate.weights", maximum=0.5), run) == ["passed"]
    assert words(Rule("certificate.nonsense", maximum=0.5), run) == ["failed"]


def against(candidate, reference=None):
    return compare(reference or run_of({"shoe": [0.5] * 40}), candidate, LIMITS)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule("change.mass_inside", forbidden=("worsened",)), ["failed"]),
        (Rule("change.mass_inside", minimum=-0.2), ["passed"]),
        (Rule("change.mass_inside", minimum=-0.1), ["failed"]),
        (Rule("change.accuracy", forbidden=("worsened",)), ["passed"]),
        (Rule("change", forbidden=("worsened",)), ["failed"]),
        (Rule("change.mass_on", forbidden=("worsened",)), ["failed"]),  # nothing of the kind was measured
        (Rule("change.mass_insid", forbidden=("worsened",)), ["failed"]),
    ],
    ids=lambda value: value.text if isinstance(value, Rule) else None,
)
def test_rules_on_changes(rule, expected):
    candidate = run_of({"shoe": [0.35] * 40})
    assert words(rule, candidate, against(candidate)) == expected


def test_what_cannot_be_compared_fails():
    candidate = configured(run_of({"shoe": [0.5] * 40}), "attributions", polarity="absolute")
    for rule in (
        Rule("change.mass_inside", forbidden=("worsened",)),
        Rule("change.mass_inside", minimum=-1.0),
        Rule("change", forbidden=("worsened",)),
    ):
        assert words(rule, candidate, against(candidate)) == ["failed"], rule.text


def test_an_improvement_does_not_hide_what_could_not_be_compared():
    reference = run_of({"shoe": [0.5] * 40}, wrong={"shoe": 20})
    candidate = configured(run_of({"shoe": [0.5] * 40}), "attributions", polarity="absolute")
    comparison = against(candidate, reference)
    assert comparison.kinds == {"shoe": "improved"}  # in accuracy
    ((_, outcome, reason),) = outcomes(Rule("change", forbidden=("worsened",)), candidate, comparison)
    assert outcome == "failed"
    assert reason.startswith("not measured: mass_inside grad_cam: Not compared: attributions.polarity")


def test_a_class_that_the_reference_lacks_fails_a_rule_on_its_change():
    candidate = run_of({"shoe": [0.5] * 40, "boot": [0.5] * 40})
    found = outcomes(Rule("change.accuracy", minimum=-0.05), candidate, against(candidate))
    assert [(label, outcome) for label, outcome, _ in found] == [("shoe", "passed"), ("boot", "failed")]
    assert "the model of the reference does not know this class" in found[1][2]


def test_a_class_that_the_candidate_lost_fails_too():
    reference = run_of({"shoe": [0.5] * 40, "boot": [0.5] * 40})
    candidate = run_of({"shoe": [0.5] * 40})
    found = words(Rule("change.accuracy", minimum=-0.05), candidate, against(candidate, reference))
    assert found == ["passed", "failed"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule("mass_insde", minimum=0.1), "unknown statistic 'mass_insde'; did you mean 'mass_inside'?"),
        (Rule("accuracy.x", minimum=0.1), "unknown statistic 'accuracy.x'; did you mean 'accuracy'?"),
        (Rule("change.", minimum=0.1), "unknown statistic 'change.'"),
        (Rule("accuracy", classes=("shoes",), minimum=0.1), "unknown class 'shoes'; did you mean 'shoe'?"),
        (Rule("n", methods=("grad_cm",), minimum=1), "unknown method 'grad_cm'; did you mean 'grad_cam'?"),
        (
            Rule("status", forbidden=("spurios",)),
            "forbid: unknown status 'spurios'; did you mean 'spurious'?",
        ),
        (Rule("status", minimum=1.0), "status is a word; expected forbid"),
        (Rule("accuracy", forbidden=("low",)), "accuracy is a number; expected min or max"),
        (Rule("change.accuracy", minimum=0.0), "change.accuracy needs the run to compare with"),
    ],
    ids=lambda value: value.statistic if isinstance(value, Rule) else None,
)
def test_a_rule_that_cannot_be_meant_is_an_error_and_no_pass(rule, words):
    with pytest.raises(ConfigError) as caught:
        check([Rule("accuracy", minimum=0.0), rule], judged(), None, TODAY)
    assert f"rule 2: {words}" in str(caught.value)


def test_a_change_is_a_word_or_a_number_and_only_known_words():
    candidate = run_of({"shoe": [0.5] * 40})
    for rule, message in (
        (Rule("change", minimum=0.0), "change is a word"),
        (Rule("change.accuracy", forbidden=("worse",)), "did you mean 'worsened'?"),
    ):
        with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
            check([rule], candidate, against(candidate), TODAY)


def test_no_rule_at_all_is_an_error():
    with pytest.raises(ConfigError, match="would let all pass"):
        check([], judged(), None, TODAY)
