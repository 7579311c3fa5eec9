"""The pages that carry the evidence: each number of a table stands on its page, beside the words that explain it."""

import dataclasses
import math

import pandas as pd
import pytest

import audit._certificate_checks
from audit import tables
from audit.types import Status
from reports import certificate_page, charts, class_page, confounds_page, numbers, site, trends, views
from tests.reports.chain_tables import bond_row, effect_rows, screen_row
from tests.reports.conftest import verdict
from tests.reports.test_site import Document

PLAIN_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " "})


@pytest.fixture(scope="module")
def texts(audit_run):
    files = site.render(audit_run)
    return {
        name: Document(text).text.translate(PLAIN_SPACES)
        for name, text in files.items()
        if name.endswith(".html")
    }


def shown(words):
    return words.translate(PLAIN_SPACES)


def class_text(texts, label):
    return texts[f"classes/{label}.html"]


def rows_of(run, table):
    return [row for row in views.records(run.tables[table]) if row["label"] in ("t-shirt", "cat")]


def test_every_number_of_the_object_and_its_nulls_stands_on_the_page_of_its_class(audit_run, texts):
    missing = []
    for row in rows_of(audit_run, "objects"):
        for key in ("mass_inside", "area_inside", "edge_mass_inside", "untrained_mass_inside"):
            words = numbers.share(row[key])
            missing += [(row["label"], key)] if shown(words) not in class_text(texts, row["label"]) else []
        beyond = numbers.difference_interval(row["excess"], row["excess_low"], row["excess_high"])
        missing += [(row["label"], beyond)] if shown(beyond) not in class_text(texts, row["label"]) else []
    assert missing == []


def test_every_number_of_a_screen_stands_on_the_page_of_its_class(audit_run, texts):
    missing = []
    for row in rows_of(audit_run, "screens"):
        expected = [
            numbers.share(row["mass_inside"]),
            numbers.ratio(row["lift"]),
            numbers.probability(row["q_value"]),
            numbers.difference_interval(row["excess"], row["excess_low"], row["excess_high"]),
            f"{row['n_with']} of {row['n_class']}",
            f"{row['n_others_with']} of {row['n_others']}",
            numbers.share(row["share"]),
            numbers.difference_interval(row["association"], row["association_low"], row["association_high"]),
        ]
        text = class_text(texts, row["label"])
        missing += [(row["label"], words) for words in expected if shown(words) not in text]
    assert missing == []


def test_every_number_of_an_effect_and_of_its_fills_stands_on_the_page_of_its_class(audit_run, texts):
    missing = []
    for row in rows_of(audit_run, "effects"):
        expected = [numbers.difference_interval(row["effect"], row["effect_low"], row["effect_high"])]
        if not row["fill"]:
            expected += [numbers.share(row[key]) for key in ("before", "after", "control")]
            expected += [numbers.probability(row["q_value"]), f"{row['n']:.0f} of {row['n_tried']:.0f} tried"]
        text = class_text(texts, row["label"])
        missing += [(row["label"], words) for words in expected if shown(words) not in text]
    assert missing == []


def test_an_intervention_is_shown_before_and_after_with_the_scores_of_its_row(texts):
    text = class_text(texts, "t-shirt")
    assert (
        "As it is t-shirt 99 % taken for t-shirt Changed t-shirt 31 % taken for mug "
        "Control t-shirt 97 % taken for t-shirt"
    ) in text
    assert "With remove the t-shirt probability moves by 61 points." in text


def test_the_overview_shows_an_intervention_that_proves_and_none_that_is_a_sign_only(audit_run, texts):
    assert "A typical sample of the strongest intervention: face by remove." in texts["index.html"]
    effects = audit_run.tables["effects"]
    weaker = effects.assign(outcome=effects["outcome"].replace("proof", "sign"))
    run = dataclasses.replace(audit_run, tables={**audit_run.tables, "effects": weaker})
    assert "strongest intervention" not in Document(site.render(run)["index.html"]).text


def test_pictures_of_interventions_that_the_table_does_not_hold_are_not_shown(audit_run):
    other = tables.frame(tables.INTERVENTIONS, [])
    run = dataclasses.replace(audit_run, tables={**audit_run.tables, "interventions": other})
    assert "As it is" not in Document(site.render(run)["classes/t-shirt.html"]).text


def test_a_property_of_the_picture_is_shown_on_one_line_for_both_sides(texts):
    text = class_text(texts, "t-shirt")
    assert (
        "here This class: median 0.63, half between 0.58 and 0.71, nine of ten between 0.51 and 0.8" in text
    )
    assert "others The others: median 0.36, half between 0.29 and 0.44" in text
    assert "PNG : 75 % , elsewhere 25 %" in text
    assert "pixels do not hold it; predictions go with it: q 0.034" in text


def test_what_was_discovered_is_described_and_its_fate_told(texts):
    text = class_text(texts, "t-shirt")
    assert (
        "small red smooth patch at the bottom right. Not tested: it draws hardly more mass than its area"
        in text
    )
    assert "In this class 42 % (30–55 %) Elsewhere 3 % (1–9 %) Mass over area 2.3×" in text


def test_the_error_control_says_over_how_much_of_the_run(texts):
    # Four screens; one row over all fills for each of four interventions.
    assert "q ≤ 0.050" in class_text(texts, "cat")
    assert "over 4 screens of things and maps and 4 interventions" in class_text(texts, "cat")


def test_a_run_that_was_judged_by_an_earlier_version_says_what_is_missing(audit_run):
    few = {
        name: frame
        for name, frame in audit_run.tables.items()
        if name not in ("objects", "screens", "effects", "bonds", "discovered", "certificate")
    }
    files = site.render(dataclasses.replace(audit_run, tables=few, demonstrations=()))
    text = Document(files["classes/t-shirt.html"]).text
    assert "rightreasons judge draws them from its tables" in text
    assert "No intervention was made for this class" in text
    assert {"confounds.html", "certificate.html"} & set(files) == set()


def test_the_thing_that_the_verdict_names_comes_first(audit_run):
    classes = views.class_views(audit_run, {e.sample_id: () for e in audit_run.exemplars})
    pictures = (views.PictureView("a", 1, 1, "", None, None, None, ()),) * 3
    shots = {class_page.key_of(d): pictures for d in audit_run.demonstrations}
    chain = class_page.chains(audit_run, classes, shots)["t-shirt"]
    assert [thing.name for thing in chain.things] == ["face", "caption", "brightness"]
    assert [thing.is_lead for thing in chain.things] == [True, False, False]
    assert [effect.row["kind"] for effect in chain.things[0].effects] == ["remove", "transplant"]
    assert [len(effect.shown) for effect in chain.things[0].effects] == [2, 0]
    # The farthest end is 0.77, of the fill `mean`: 0.67 + 0.1.
    assert chain.scale == pytest.approx(0.8)


def test_the_overview_tells_what_lies_on_the_object_by_chance_by_edges_and_untrained(texts):
    assert (
        "Mass inside: 11 % (8–14 %); by chance 25 %; by its edges 19 %; by an untrained model 22 %"
        in texts["index.html"]
    )


def view_of(**changes):
    lead = verdict("cup", "grad_cam", changes.pop("status"), **changes)
    return views.ClassView("cup", "cup", "cup", lead.status, lead, (lead,), None, None, None, None, (), ())


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (view_of(status=Status.SOUND), "Nothing"),
        (view_of(status=Status.UNDECIDED, n_needed=34.0), "Audit about 34 photos of it"),
        (view_of(status=Status.UNDECIDED), "Read what is missing; more photos alone would not decide"),
        (view_of(status=Status.SUSPECT), "Look at its worst samples and find out what they share"),
    ],
)
def test_what_to_do_follows_from_the_verdict(view, expected):
    assert view.next_step == expected


def test_what_to_do_is_the_first_suggestion_where_there_is_one(audit_run):
    first, *_ = audit_run.suggestions
    view = dataclasses.replace(view_of(status=Status.SUSPECT), suggestions=(first,))
    assert shown(view.next_step) == "Add about 34 photos without face"
    assert shown(dataclasses.replace(view, suggestions=(first, first)).next_step).endswith(
        "; 1 more suggestion"
    )


def matrix_of(audit_run, **frames):
    run = dataclasses.replace(audit_run, tables={**audit_run.tables, **frames})
    return confounds_page.matrix(run, views.class_views(run, {e.sample_id: () for e in run.exemplars}))


def test_the_matrix_has_a_row_a_confound_and_a_column_a_class(audit_run):
    matrix = matrix_of(audit_run)
    assert [view.label for view in matrix.classes] == ["t-shirt", "mug", "cat"]
    assert [row.name for row in matrix.rows] == ["face", "brightness", "caption"]
    shirt, mug, cat = matrix.rows[0].cells
    assert mug is None
    assert (shirt.status, shirt.necessity["effect"], shirt.sufficiency["effect"]) == (
        Status.SUSPECT,
        0.611,
        0.074,
    )
    assert (shirt.screen["share"], shirt.outcome) == (118 / 120, "proof")
    assert (cat.status, cat.outcome, cat.sufficiency) == (None, "too few", None)
    assert matrix.rows[1].cells[0].bond["separation"] == 0.83


def test_of_several_interventions_the_matrix_shows_the_one_that_says_most(audit_run):
    rows = [
        *effect_rows("cat", "text", "swap_background", "necessity", "none", 0.01, {}),
        *effect_rows("cat", "text", "remove", "necessity", "proof", 0.4, {}),
        *effect_rows("cat", "text", "keep_alone", "remark", "remark", 0.9, {}),
    ]
    matrix = matrix_of(
        audit_run,
        effects=tables.frame(tables.EFFECTS, rows),
        screens=tables.frame(tables.SCREENS, [screen_row("cat", "text", 9)]),
        bonds=tables.frame(tables.BONDS, [bond_row("cat", "text")]),
    )
    (row,) = matrix.rows
    assert row.cells[2].necessity["effect"] == 0.4
    assert row.cells[2].sufficiency is None


def test_every_cell_of_the_matrix_leads_to_the_thing_on_the_page_of_its_class(audit_run):
    files = site.render(dataclasses.replace(audit_run, exemplars=()))
    links = [link for link in Document(files["confounds.html"]).links if "#thing-" in link]
    assert len(links) == 4
    for link in links:
        page, anchor = link.split("#")
        assert Document(files[page]).ids.count(anchor) == 1


def test_more_classes_than_fit_are_told(audit_run):
    labels = [f"class-{number:02}" for number in range(30)]
    verdicts = tuple(verdict(label, "grad_cam", Status.SOUND) for label in labels)
    screens = tables.frame(tables.SCREENS, [screen_row(label, "face", 5) for label in labels])
    run = dataclasses.replace(
        audit_run, classes=tuple(labels), verdicts=verdicts, exemplars=(), suggestions=(), demonstrations=()
    )
    run = dataclasses.replace(
        run, manifest={**run.manifest, "classes": {}}, tables={**run.tables, "screens": screens}
    )
    text = Document(site.render(run)["confounds.html"]).text.translate(PLAIN_SPACES)
    assert "The 24 classes that need attention first; 6 more classes have pages of their own." in text


def test_the_certificate_says_which_methods_may_speak_and_what_a_failure_means(texts):
    text = texts["certificate.html"].replace("_ ", "_")  # a name may break after its underscores
    assert "grad_cam Its maps may carry verdicts: 1 check was made and passed." in text
    assert "integrated_gradients Its maps carry no verdict: 1 of 2 checks failed." in text
    assert (
        "✕ no 0.957 0.9 Rank correlation of the maps of every two images. The map has a shape of its own"
        in text
    )
    assert "maps of every two images. Failing would mean: The map has a shape of its own" in text
    assert text.index("0.957") < text.index("Does the same picture give the same map again?")


def test_the_classes_that_the_certificate_left_undecided_are_named(audit_run):
    barred = verdict(
        "cat",
        "integrated_gradients",
        Status.UNDECIDED,
        reasons=("The maps of integrated_gradients cannot carry a verdict on this model, they fail: a.",),
    )
    run = dataclasses.replace(audit_run, verdicts=(*audit_run.verdicts[:1], barred, *audit_run.verdicts[2:]))
    good, bad = certificate_page.certificates(run)
    assert (good.barred, bad.barred) == ((), ("cat",))
    assert (good.is_trusted, bad.is_trusted) == (True, False)


def test_what_does_not_apply_to_a_method_is_no_check_that_passed(audit_run):
    table = audit_run.tables["certificate"]
    rows = table[table["method"] == "grad_cam"]
    beside = rows.assign(check="completeness", value=math.nan, reason="Does not apply.")
    known = {**audit_run.tables, "certificate": pd.concat([beside, table])}
    good, _ = certificate_page.certificates(dataclasses.replace(audit_run, tables=known))
    assert (len(good.checks), good.n_applied, good.is_trusted) == (2, 1, True)
    assert good.checks[-1].row["check"] == "completeness"


def test_every_check_of_the_certificate_has_words():
    assert set(certificate_page.WORDS) == set(audit._certificate_checks.CHECKS)


def test_a_check_without_words_is_shown_by_its_name(audit_run):
    frame = audit_run.tables["certificate"].assign(check="a_new_check").drop_duplicates(["method", "check"])
    run = dataclasses.replace(audit_run, tables={**audit_run.tables, "certificate": frame}, exemplars=())
    assert "a_new_check" in Document(site.render(run)["certificate.html"]).text.replace("_ ", "_")


def test_a_difference_lies_where_its_number_is():
    svg = str(charts.difference_bar(0.2, 0.1, 0.3, scale=0.4, trivial=0.05))
    # 200 wide with a margin of 4: 0 at 100, 0.2 of 0.4 halfway to 196, the interval from 124 to 172.
    assert 'class="point" cx="148.0"' in svg
    assert 'class="whisker" x="124.0" y="5" width="48.0"' in svg
    assert 'class="trivial" x="88.0" y="5" width="24.0"' in svg
    assert "Difference: +20\u00a0pp (+10 to +30\u00a0pp)" in svg


def test_a_difference_beyond_the_line_ends_at_its_end():
    assert 'class="point" cx="196.0"' in str(charts.difference_bar(0.9, 0.8, 1.0, scale=0.4, trivial=0.05))


@pytest.mark.parametrize(
    ("ends", "expected"),
    [([], 0.1), ([0.31, -0.2], 0.4), ([-0.3, math.nan], 0.3), ([0.04], 0.1), ([1.2], 1.2)],
)
def test_lines_end_at_the_next_ten_points(ends, expected):
    assert charts.scale_for(ends) == pytest.approx(expected)


def test_quantiles_lie_where_their_numbers_are():
    svg = str(charts.spread_bar((0, 25, 50, 75, 100), 0, 100, name="This class"))
    assert 'class="range" d="M4.0 10H196.0"' in svg
    assert 'class="whisker" x="52.0" y="5" width="96.0"' in svg
    assert 'class="median" d="M100.0 3V17"' in svg


def test_a_property_that_never_varies_lies_in_the_middle():
    assert 'class="median" d="M100.0 3V17"' in str(charts.spread_bar((3, 3, 3, 3, 3), 3, 3, name="x"))


def test_quantiles_that_are_missing_draw_an_empty_line():
    svg = str(charts.spread_bar((math.nan,) * 5, math.nan, math.nan, name="This class"))
    assert "This class: not measured" in svg
    assert "median" not in svg


def past(name, started, mass):
    row = trends.HistoryRow(
        "t-shirt", "grad_cam", 120, 1.0, mass, mass - 0.03, mass + 0.03, "suspect", "face"
    )
    return trends.PastRun(name, started, "m", "d", "photos/manifest.csv", 120, 1.0, (row,))


def test_the_overview_draws_a_trend_where_there_are_earlier_runs(audit_run):
    runs = [
        past("monday", "2026-11-01T06:00:00+00:00", 0.31),
        past("tuesday", "2026-11-03T06:12:44+00:00", 0.112),
    ]
    few = dataclasses.replace(audit_run, exemplars=(), demonstrations=())
    text = Document(site.render(few, past=runs)["index.html"]).text.translate(PLAIN_SPACES)
    assert "Mass inside of t-shirt by grad_cam over 2 runs: 31 % at first, 11 % at last" in text
    assert "monday: 31 % (28–34 %), suspect" in text
    for fewer in ((), runs[1:]):
        assert "Over time" not in Document(site.render(few, past=fewer)["index.html"]).text
