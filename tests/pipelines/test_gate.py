"""`rightreasons gate`: exit codes, rules files, and what CI systems read."""

import json
from dataclasses import replace
from datetime import date
from xml.etree import ElementTree

import pytest

from audit.errors import ConfigError
from audit.types import Status
from pipelines import gate, gate_outputs
from pipelines.cli import main
from pipelines.compare import CompareConfig
from pipelines.storage import Run
from tests.paired import configured, run_of, store, verdict

PASSING = '[[rule]]\nstatistic = "accuracy"\nmin = 0.9\n'
FAILING = '[[rule]]\nstatistic = "mass_inside"\nmin = 0.7\n'
HOSTILE = '<b>&"]]>\x07\n::error::%,: shoe'


@pytest.fixture
def run(tmp_path):
    return store(run_of({"shoe": [0.5] * 20, "boot": [0.5] * 20}), tmp_path / "run")


def rules(tmp_path, text):
    path = tmp_path / "gate.toml"
    path.write_text(text)
    return path


def held(tmp_path, run, text, reference=None):
    return gate.hold(run, rules(tmp_path, text), reference, CompareConfig(), date(2026, 11, 22))


@pytest.mark.parametrize(("text", "code"), [(PASSING, 0), (FAILING, 1), (PASSING + FAILING, 1)])
def test_the_exit_code_is_the_outcome(tmp_path, run, text, code):
    assert main(["gate", str(run), "--rules", str(rules(tmp_path, text))]) == code


def test_the_terminal_says_the_verdict_first_and_the_report_last(tmp_path, run, capsys):
    main(["gate", str(run), "--rules", str(rules(tmp_path, PASSING + FAILING))])
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0] == "The gate failed: 1 of 2\u00a0rules, in shoe, boot."
    assert "2 rules, 4 checks: 2 passed, 0 waived, 0 warned, 2 failed" in lines
    assert lines[-1] == f"Report: {run / 'report' / 'index.html'}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected at least one [[rule]], found none"),
        ("rule = 3", "expected [[rule]] with two brackets"),
        ('[rule]\nstatistic = "accuracy"\nmin = 0', "expected [[rule]] with two brackets"),
        ('[[rules]]\nstatistic = "accuracy"\nmin = 0', "unknown key 'rules'; rules are written as [[rule]]"),
        ("[[rule]]\nmin = 0", "rule 1: 'statistic' is needed"),
        (
            PASSING + '[[rule]]\nstatistic = "n"',
            "rule 2: expected exactly one of min, max, forbid; found none",
        ),
        ('[[rule]]\nstatistic = "n"\nmin = 1\nmax = 2', "found min and max"),
        ('[[rule]]\nstatistic = "n"\nminimum = 1', "unknown key 'minimum'; did you mean 'min'?"),
        ('[[rule]]\nstatistic = "n"\nmin = "1"', "min: Input should be a valid number, found '1'"),
        ('[[rule]]\nstatistic = "n"\nmin = nan', "min: Input should be a finite number"),
        ('[[rule]]\nstatistic = "n"\nmin = true', "min: Input should be a valid number"),
        ('[[rule]]\nstatistic = "n"\nmin = 1\nlevel = "warning"', "level: Input should be 'error' or 'warn'"),
        ('[[rule]]\nstatistic = "n"\nmin = 1\nclasses = []', "classes: List should have at least 1 item"),
        ('[[rule]]\nstatistic = "n"\nmin = 1\nwaiver = {until = 2027-01-01}', "'waiver.reason' is needed"),
        (
            '[[rule]]\nstatistic = "n"\nmin = 1\nwaiver = {untl = 2027-01-01, reason = "r"}',
            "did you mean 'until'?",
        ),
        ('[[rule]]\nstatistic = "n"\nmin = 1\nwaiver = {until = "soon", reason = "r"}', "waiver.until: "),
        (
            '[[rule]]\nstatistic = "n"\nmin = 1\nwaiver = {until = "2027-01-01", reason = "r"}',
            "expected a day without quotation marks",
        ),
        ('[[rule]]\nstatistic = "acuracy"\nmin = 1', "unknown statistic 'acuracy'; did you mean 'accuracy'?"),
        (
            '[[rule]]\nstatistic = "n"\nmin = 1\nclasses = ["shoes"]',
            "unknown class 'shoes'; did you mean 'shoe'?",
        ),
        ('[[rule]]\nstatistic = "change.accuracy"\nmin = 0', "name it with --reference RUN"),
        ("[[rule", "cannot be read as TOML"),
    ],
    ids=range(21),
)
def test_wrong_rules_are_one_sentence_and_never_a_pass(tmp_path, run, capsys, text, words):
    assert main(["gate", str(run), "--rules", str(rules(tmp_path, text))]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "gate.toml" in error
    assert error.count("\n") == 1


def test_a_file_of_the_outcome_that_cannot_be_written_is_one_sentence_and_no_pass(tmp_path, run, capsys):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "gate.xml"
    arguments = ["gate", str(run), "--rules", str(rules(tmp_path, PASSING)), "--junit", str(path)]
    assert main(arguments) == 4
    assert capsys.readouterr().err.startswith(f"rightreasons: {path}: cannot be written")


@pytest.mark.parametrize("how", ["unfinished", "another schema", "no folder", "no verdicts"])
def test_a_run_that_is_no_finished_run_never_passes(tmp_path, run, how):
    folder = Run(run)
    if how == "unfinished":
        folder.write_manifest({**folder.manifest(), "state": "begun"})
    if how == "another schema":
        folder.write_manifest({**folder.manifest(), "schema_version": 0})
    if how == "no verdicts":
        folder.drop_table("verdicts")
    path = tmp_path / "nothing" if how == "no folder" else run
    assert main(["gate", str(path), "--rules", str(rules(tmp_path, PASSING))]) == 2


def test_rules_on_changes_hold_the_run_against_its_reference(tmp_path, run):
    worse = store(run_of({"shoe": [0.5] * 20, "boot": [0.2] * 20}), tmp_path / "worse")
    text = '[[rule]]\nstatistic = "change.mass_inside"\nforbid = ["worsened"]\n'
    for candidate, code in ((worse, 1), (run, 0)):
        arguments = ["gate", str(candidate), "--rules", str(rules(tmp_path, text)), "--reference", str(run)]
        assert main(arguments) == code


def test_a_whole_number_and_a_date_are_read_as_toml_has_them(tmp_path):
    text = '[[rule]]\nstatistic = "n"\nmin = 3\nwaiver = { until = 2026-12-31, reason = "r" }\n'
    (rule,) = gate.read_rules(rules(tmp_path, text))
    assert (rule.minimum, rule.waiver.until, rule.text) == (3.0, "2026-12-31", "n >= 3")


ALL_OUTCOMES = (
    PASSING
    + FAILING
    + '[[rule]]\nstatistic = "mass_inside"\nmin = 0.8\nlevel = "warn"\n'
    + '[[rule]]\nstatistic = "mass_inside"\nmin = 0.9\nwaiver = { until = 2026-12-31, reason = "why" }\n'
)


def test_junit_counts_add_up_and_name_every_check(tmp_path, run):
    root = ElementTree.fromstring(gate_outputs.as_junit(held(tmp_path, run, ALL_OUTCOMES)))
    (suite,) = root.findall("testsuite")
    assert {key: suite.get(key) for key in ("tests", "failures", "skipped", "errors")} == {
        "tests": "8",
        "failures": "2",
        "skipped": "2",
        "errors": "0",
    }
    cases = suite.findall("testcase")
    assert len(cases) == 8
    assert len({(case.get("classname"), case.get("name")) for case in cases}) == 8
    (first, _) = [case for case in cases if case.find("failure") is not None]
    assert first.find("failure").get("message") == (
        "shoe, grad_cam: mass_inside is 0.6, the rule is mass_inside >= 0.7"
    )
    assert sum(case.find("system-out") is not None for case in cases) == 2


def test_json_says_what_was_observed_and_null_where_it_was_not(tmp_path, run):
    text = ALL_OUTCOMES + '[[rule]]\nstatistic = "certificate"\nmin = 1\n'
    shown = json.loads(gate_outputs.as_json(held(tmp_path, run, text)))
    assert shown["passed"] is False
    assert [entry["outcome"] for entry in shown["results"]] == (
        ["passed"] * 2 + ["failed"] * 2 + ["warned"] * 2 + ["waived"] * 2 + ["failed"]
    )
    assert [entry["observed"] for entry in shown["results"]] == [1.0, 1.0, *[0.6] * 6, None]


@pytest.fixture
def hostile(tmp_path):
    """A run with a class name that no format takes as it is."""
    run = replace(
        run_of({HOSTILE: [0.5] * 20}), verdicts=(verdict(HOSTILE, status=Status.SPURIOUS, confound=HOSTILE),)
    )
    report = gate.gate.check([gate.gate.Rule("mass_inside", minimum=0.7)], run, None, "2026-11-22")
    return gate.Gate(tmp_path / "run", None, tmp_path / "gate.toml", report)


def test_a_hostile_class_name_breaks_no_output(hostile, tmp_path):
    root = ElementTree.fromstring(gate_outputs.as_junit(hostile).encode())
    assert root.find("testsuite/testcase").get("classname").startswith('<b>&"]]>\ufffd')
    (line,) = gate_outputs.annotations(hostile, "github")
    assert "\n" not in line
    assert line.count("::error") == 2  # the command, and the name as plain text behind it
    assert line.startswith("::error file=")
    assert "\n" not in next(iter(gate_outputs.annotations(hostile, "azure")))
    gate_outputs.write(hostile, tmp_path / "new" / "g.xml", tmp_path / "g.json", tmp_path / "q.json")
    ElementTree.parse(tmp_path / "new" / "g.xml")
    json.loads((tmp_path / "g.json").read_text())
    json.loads((tmp_path / "q.json").read_text())


@pytest.mark.parametrize(
    ("system", "start"),
    [("github", ["::error ", "::warning ", "::notice "]), ("azure", ["##vso[task.logissue type="])],
)
def test_annotations_are_of_what_did_not_pass(tmp_path, run, system, start):
    lines = list(gate_outputs.annotations(held(tmp_path, run, ALL_OUTCOMES), system))
    assert len(lines) == 6
    assert all(line.startswith(tuple(start)) for line in lines)


def test_the_ci_system_is_found_in_its_environment():
    assert gate_outputs.ci_system({"GITHUB_ACTIONS": "true"}) == "github"
    assert gate_outputs.ci_system({"TF_BUILD": "True"}) == "azure"
    assert gate_outputs.ci_system({"CI": "true"}) == "none"


def test_annotations_come_by_themselves_on_a_ci_system(tmp_path, run, capsys, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    path = rules(tmp_path, FAILING)
    main(["gate", str(run), "--rules", str(path)])
    assert capsys.readouterr().out.count("::error ") == 2
    main(["gate", str(run), "--rules", str(path), "--annotations", "none"])
    assert capsys.readouterr().out.count("::error ") == 0
    assert main(["gate", str(run), "--rules", str(path), "--annotations", "gitlab"]) == 2


def test_code_quality_entries_have_a_fingerprint_each_that_stays(tmp_path, run):
    def entries():
        return json.loads(gate_outputs.as_code_quality(held(tmp_path, run, ALL_OUTCOMES)))

    assert [entry["severity"] for entry in entries()] == ["major"] * 2 + ["minor"] * 2 + ["info"] * 2
    assert len({entry["fingerprint"] for entry in entries()}) == 6
    assert entries() == entries()


def test_an_accepted_confound_is_told_where_the_gate_passes(tmp_path, capsys):
    flagged = replace(
        run_of({"shoe": [0.5] * 20}), verdicts=(verdict("shoe", status=Status.SPURIOUS, confound="face"),)
    )
    accepted = configured(flagged, "verdicts", accepted={"shoe": {"face": "catalogue photos"}})
    text = '[[rule]]\nstatistic = "status"\nforbid = ["spurious", "suspect"]\n'
    for run, code in ((flagged, 1), (accepted, 0)):
        path = store(run, tmp_path / f"run {code}")
        assert main(["gate", str(path), "--rules", str(rules(tmp_path, text))]) == code
    assert "face is accepted for shoe: catalogue photos" in capsys.readouterr().out


def test_read_rules_names_the_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file"):
        gate.read_rules(tmp_path / "none.toml")
