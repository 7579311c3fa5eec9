"""Which samples a report shows of each class."""

import pytest

from audit import tables as schema
from pipelines.config import ReportConfig
from pipelines.exemplars import choose
from tests.audit.test_verdicts import Group, tables_of
from tests.reports.chain_tables import discovered_row


def with_discovered(*rows):
    return tables_of(Group("t-shirt", n=6), Group("shoes", n=2)) | {
        "discovered": schema.frame(schema.DISCOVERED, rows)
    }


def found(confound, ids, **changes):
    return discovered_row("t-shirt", confound) | {"exemplars": ids} | changes


@pytest.mark.parametrize(
    ("n", "expected"), [(0, []), (1, ["t-shirt-005"]), (2, ["t-shirt-005", "t-shirt-003"])]
)
def test_what_was_found_without_a_name_is_shown_by_its_most_typical_samples(n, expected):
    tables = with_discovered(found("patch", ["t-shirt-005", "t-shirt-003", "t-shirt-001"]))
    roles = choose(tables, "grad_cam", ReportConfig(worst=0, typical=0, discovered=n))
    assert roles == dict.fromkeys(expected, "discovered")


def test_what_has_a_name_already_is_shown_under_it():
    tables = with_discovered(found("face", ["t-shirt-005"], known=True))
    assert choose(tables, "grad_cam", ReportConfig(worst=0, typical=0)) == {}


def test_a_sample_that_is_shown_anyway_keeps_its_role():
    # Mass inside alternates, 0.58 first: the even ones are the worst.
    tables = with_discovered(found("patch", ["t-shirt-000", "t-shirt-005"]))
    roles = choose(tables, "grad_cam", ReportConfig(worst=1, typical=0, discovered=2))
    assert roles == {"t-shirt-000": "worst", "t-shirt-005": "discovered", "shoes-000": "worst"}
