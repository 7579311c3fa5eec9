import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.types import Status
from reports import views
from tests.reports.conftest import verdict


def view_of(label, status, confound=None):
    lead = verdict(label, "grad_cam", status, confound=confound) if status else None
    return views.ClassView(
        label, label, label, status, lead, (lead,) if lead else (), None, None, None, None, (), ()
    )


@pytest.mark.parametrize(("label", "expected"), [("t-shirt", "t-shirt"), ("7", "7")])
def test_a_label_that_is_a_safe_name_is_its_own_slug(label, expected):
    assert views.slug(label) == expected


@pytest.mark.parametrize(
    "label",
    ["", "..", ".", "a/b", "\\", "🧦", "con", "a" * 500, "x\ud800", "\0", "<script>alert(1)</script>"],
)
def test_a_slug_is_safe_and_not_empty(label):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*-[0-9a-f]{10}", views.slug(label))
    assert len(views.slug(label)) <= 51


def test_labels_that_slug_alike_stay_apart():
    imitation = views.slug("T shirt")
    labels = ["t-shirt", "T-Shirt", "t shirt", "T shirt", "t/shirt", "té-shirt", imitation]
    assert len({views.slug(label) for label in labels}) == len(labels)


@given(st.lists(st.text(), unique=True, max_size=20))
def test_no_two_labels_share_a_slug(labels):
    assert len({views.slug(label) for label in labels}) == len(labels)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([], ("No class could be judged.",)),
        ([view_of("t-shirt", Status.SUSPECT, "face"), view_of("shoe", Status.SOUND)],
         ("1 of 2 classes is suspect: t-shirt, by face.", "1 is sound.")),
        ([view_of("a", Status.SOUND), view_of("b", Status.SOUND)], ("All 2 classes are sound.",)),
        ([view_of("a", Status.UNDECIDED)], ("The only class is undecided: a.",)),
        ([view_of("a", Status.SPURIOUS, "text"), view_of("b", Status.SUSPECT, "face"), view_of("", None)],
         ("1 of 2 classes is spurious: a, by text.", "1 is suspect.", "1 has no verdict.")),
        ([view_of(x, Status.SUSPECT, "face") for x in "abcde"] + [view_of("f", Status.SOUND)],
         ("5 of 6 classes are suspect: a, by face; b, by face; c, by face and 2 more.", "1 is sound.")),
    ],
)  # fmt: skip
def test_the_headline_says_the_verdict_in_words(classes, expected):
    assert views.headline(tuple(classes)) == expected


def test_classes_come_most_severe_first_and_only_those_that_were_looked_at(audit_run):
    pictures = {exemplar.sample_id: () for exemplar in audit_run.exemplars}
    assert [view.label for view in views.class_views(audit_run, pictures)] == ["t-shirt", "mug", "cat"]


def test_where_methods_disagree_the_most_severe_verdict_leads(audit_run):
    verdicts = (
        verdict("cat", "first", Status.SOUND),
        verdict("cat", "second", Status.SPURIOUS, confound="text"),
    )
    run = dataclasses.replace(audit_run, verdicts=verdicts, exemplars=())
    (cat, *_) = views.class_views(run, {})
    assert (cat.status, cat.lead.method, len(cat.verdicts)) == (Status.SPURIOUS, "second", 2)


def test_an_exemplar_gets_the_scores_of_its_own_rows(audit_run):
    values = views.picture_lookup(audit_run)["t-shirt/0002.jpg", "integrated_gradients"]
    assert values["mass_inside"] == pytest.approx(0.171)
    assert values["confounds"] == (("face", 0.81),)
