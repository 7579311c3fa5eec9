"""A method that is not trusted carries no verdict, and an intervention needs no method."""

import dataclasses
import math

import pandas as pd
import pytest

from audit.certificate import bar
from audit.tables import CERTIFICATE, frame
from audit.types import ClassVerdict, Status
from audit.verdicts import headline

NAN = math.nan
VERDICT = ClassVerdict(
    "t-shirt", "gradient", Status.SOUND, None, 40, *(0.5,) * 3, *(NAN,) * 9, NAN, ("It looks at the object.",)
)


def certificate(**passed: bool):
    row = {"value": 0.5, "limit": 0.4, "reason": "measured"}
    return frame(
        CERTIFICATE,
        [{"method": "gradient", "check": check, "passed": ok, **row} for check, ok in passed.items()],
    )


@pytest.mark.parametrize("status", [Status.SOUND, Status.SUSPECT])
def test_a_failing_method_leaves_a_class_undecided_and_says_by_which_check(status):
    verdict = dataclasses.replace(VERDICT, status=status)
    (barred,) = bar([verdict], certificate(faithfulness=False, location=True, degenerate=False))
    assert barred.status is Status.UNDECIDED
    assert barred.reasons == (
        "The maps of gradient cannot carry a verdict on this model, they fail: faithfulness, degenerate.",
        "It looks at the object.",
    )


def test_a_method_that_passes_every_check_is_left_alone():
    assert bar([VERDICT], certificate(faithfulness=True, location=True)) == (VERDICT,)


def test_a_method_without_a_certificate_is_barred():
    (barred,) = bar([dataclasses.replace(VERDICT, method="grad_cam")], certificate(faithfulness=True))
    assert barred.status is Status.UNDECIDED


def test_what_interventions_prove_needs_no_map():
    proven = dataclasses.replace(VERDICT, status=Status.SPURIOUS, confound="face", rests_on_maps=False)
    assert bar([proven], certificate(faithfulness=False)) == (proven,)


def test_a_method_that_is_not_trusted_is_silent_where_another_is_trusted():
    cam = dataclasses.replace(VERDICT, method="grad_cam")
    table = pd.concat(
        [certificate(faithfulness=False), certificate(faithfulness=True).assign(method="grad_cam")],
        ignore_index=True,
    )
    barred, trusted = bar([VERDICT, cam], table)
    assert (barred.is_trusted, trusted.is_trusted) == (False, True)
    assert headline([barred, trusted]) == {"t-shirt": trusted}
    assert headline([barred]) == {"t-shirt": barred}
