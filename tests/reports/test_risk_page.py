import dataclasses
import re

import pytest

from audit import tables
from reports.site import render

NOT_MEASURABLE = {"mean": None, "low": None, "high": None}


def ranking(**changes):
    blank = {"n": 248, "n_wrong": 31, "aurc": 0.021, "aurc_of_confidence": 0.034}
    ends = {"low": 0.78, "high": 0.92}
    return {
        **blank,
        "auroc": {"mean": 0.853, **ends},
        "auroc_of_confidence": {"mean": 0.791, **ends},
        "gain": {"mean": 0.062, "low": 0.031, "high": 0.093},
        **changes,
    }


@pytest.fixture
def judged(audit_run):
    """The run with risks of its samples, one doubtful label, and two pictures that are nearly the same."""
    predictions = audit_run.tables["predictions"]
    ids = list(predictions["sample_id"])
    risks = [
        {
            "sample_id": sample_id,
            "risk": 0.9 - 0.02 * place,
            "rank": place + 1,
            "reason": "confident, but 81 % of the mass lies on a face <b>"
            if place == 0
            else "not sure: 70 %",
        }
        for place, sample_id in enumerate(ids)
    ]
    issue = {"sample_id": ids[1], "kind": "wrong label", "label": "mug", "suggested": "cat"}
    double = {"original": ids[2], "nearest": ids[2], "distance": 2, "leaks": True, "redundant": False}
    found = {
        "risks": tables.frame(tables.RISKS, risks),
        "label_issues": tables.frame(
            tables.LABEL_ISSUES, [{**issue, "label_quality": 0.03, "reason": "labelled mug, it says cat"}]
        ),
        "duplicates": tables.frame(
            tables.DUPLICATES, [{"sample_id": ids[3], **double, "reason": "a leak: test, train"}]
        ),
    }
    bins = [
        {"low": 0.3, "high": 0.5, "n": 20, "risk": 0.41, "wrong": {"mean": 0.35, "low": 0.18, "high": 0.57}}
    ]
    nothing = ranking(n=90, n_wrong=0, auroc=NOT_MEASURABLE, gain=NOT_MEASURABLE)
    facts = {
        "risk": {"note": "", "all": ranking(), "confident": nothing, "reliability": bins},
        "label_issues": {"n": 1, "looked_for": True, "left_out": 12, "untrusted": ["mug"]},
        "duplicates": {"n": 1, "leaks": 1, "redundant": 0},
    }
    return dataclasses.replace(
        audit_run, tables={**audit_run.tables, **found}, manifest={**audit_run.manifest, **facts}
    )


def words(html: str) -> str:
    """The text of the page, a blank for each tag, each no-break space and each run of blanks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.partition("<main")[2]))


def test_the_page_names_risks_with_reasons_quality_and_findings(judged):
    page = render(judged)["risk.html"]
    text = words(page)
    assert "81 % of the mass lies on a face &lt;b&gt;" in page
    assert "0.062 (0.031 to 0.093)" in text
    assert "30 % to 50 % 20 41 % 35 % (18–57 %)" in text
    assert "labelled mug, it says cat" in text
    assert "12 samples of the training split were left out" in text
    assert "No label was doubted of mug : the model decides on it by a confound" in text
    assert "a leak: test, train" in text


def test_the_riskiest_come_first_whatever_the_order_of_the_table(judged):
    risks = judged.tables["risks"]
    shuffled = risks.iloc[::-1]
    page = render(dataclasses.replace(judged, tables={**judged.tables, "risks": shuffled}))["risk.html"]
    first, second = (page.index(sample_id) for sample_id in risks.sort_values("rank")["sample_id"].head(2))
    assert first < second


def test_what_was_not_looked_for_is_said(judged):
    facts = {**judged.manifest, "label_issues": {"n": 0, "looked_for": False, "left_out": 0, "untrusted": []}}
    note = "only 3 of 248 predictions are wrong"
    facts["risk"] = {**facts["risk"], "note": note}
    text = words(render(dataclasses.replace(judged, manifest=facts))["risk.html"])
    assert "rightreasons[labels]" in text
    assert note in text


def test_a_run_without_risks_has_no_such_page(audit_run):
    assert "risk.html" not in render(audit_run)


def test_what_holds_of_all_samples_is_said_once(judged):
    note = "only 3 of 248 predictions are wrong"
    risks = judged.tables["risks"].assign(reason=f"not sure: 70 % ({note})")
    facts = {**judged.manifest, "risk": {**judged.manifest["risk"], "note": note}}
    run = dataclasses.replace(judged, tables={**judged.tables, "risks": risks}, manifest=facts)
    page = render(run)["risk.html"]
    assert page.count(note) == 1
    assert page.count("not sure: 70 %<") == len(risks)


def test_each_sample_links_to_its_exemplar_or_to_the_gallery(judged):
    (first, *_), name = judged.exemplars, judged.exemplars[1].sample_id
    page = render(dataclasses.replace(judged, exemplars=(first,)))["risk.html"]
    assert f'href="gallery.html#open={name.replace("/", "%2F")}"' in page
    assert 'href="classes/t-shirt.html#worst-' in page


def test_without_an_error_ten_rows_are_shown_and_nothing_is_ranked(judged):
    blank = ranking(
        auroc_of_confidence=NOT_MEASURABLE,
        n=248,
        n_wrong=0,
        aurc=0.0,
        aurc_of_confidence=0.0,
        auroc=NOT_MEASURABLE,
        gain=NOT_MEASURABLE,
    )
    risk = {**judged.manifest["risk"], "all": blank, "confident": blank, "note": "only 0 of 248 are wrong"}
    predictions = judged.tables["predictions"]
    many = [predictions.assign(sample_id=predictions["sample_id"] + f"-{turn}") for turn in range(12)]
    ids = [sample_id for frame in many for sample_id in frame["sample_id"]]
    rows = [
        {"sample_id": name, "risk": 0.1, "rank": place + 1, "reason": "row"} for place, name in enumerate(ids)
    ]
    found = {
        "predictions": tables.frame(
            tables.PREDICTIONS, [row for frame in many for row in frame.to_dict("records")]
        ),
        "risks": tables.frame(tables.RISKS, rows),
    }
    run = dataclasses.replace(
        judged,
        tables={**judged.tables, **found},
        manifest={**judged.manifest, "risk": risk},
        exemplars=(),
        demonstrations=(),
    )
    page = render(run)["risk.html"]
    assert page.count(">row</td>") == 10
    assert f"rightreasons export {run.name} risks -o risks.csv" in page
    none = "– not measured"
    assert f"all 248 0 {none} {none} not measurable {none} {none}" in words(page)
