import dataclasses
import math

import numpy as np
import pytest

from audit.effects import effects
from audit.tables import ATTRIBUTIONS, CONFOUNDS, INTERVENTIONS, PREDICTIONS, PROPERTIES, VERDICTS, frame
from audit.types import MapStatus, Status, VerdictLimits
from audit.verdicts import headline, judge_classes, percent, points, presence

LIMITS = VerdictLimits(
    q=0.05,
    delta=0.05,
    minimum_effect=0.05,
    minimum_change=0.1,
    minimum_samples=10,
    minimum_lift=1.5,
    association_targets=(0.25,),
    unbound=0.25,
    accepted={},
)
CLASSES = ("t-shirt", "shoes")


@dataclasses.dataclass(frozen=True)
class Group:
    """Samples of a class, the first `n_faces` with a face; they alternate around their mean shares."""

    label: str
    n: int = 40
    n_faces: int = 0
    face_mass: float = 0.35
    face_area: float = 0.07
    face_edges: float = math.nan
    face_untrained: float = math.nan
    object_mass: float = 0.6
    object_area: float = 0.3
    wobble: float = 0.02
    method: str = "grad_cam"
    status: MapStatus = MapStatus.OK


def tables_of(*groups):
    predictions, attributions, confounds = {}, [], []
    for group in groups:
        for index in range(group.n):
            sample_id = f"{group.label}-{index:03}"
            shift = group.wobble if index % 2 else -group.wobble
            shows = index < group.n_faces
            predictions[sample_id] = prediction(sample_id, group.label)
            attributions.append(attribution(sample_id, group, shift))
            confounds.append(confound(sample_id, group, shift, shows))
    return {
        "predictions": frame(PREDICTIONS, predictions.values()),
        "attributions": frame(ATTRIBUTIONS, attributions),
        "confounds": frame(CONFOUNDS, confounds),
    }


def prediction(sample_id, label):
    return {
        "sample_id": sample_id,
        "path": f"{sample_id}.jpg",
        "label": label,
        "split": "",
        "predicted": label,
        "confidence": 0.9,
        "margin": 0.8,
        "entropy": 0.1,
        "correct": True,
        "digest": "0",
    }


def attribution(sample_id, group, shift):
    row = {column.name: math.nan for column in ATTRIBUTIONS.columns if column.kind == "float64"}
    return row | {
        "sample_id": sample_id,
        "method": group.method,
        "target": group.label,
        "status": group.status,
        "mass_inside": group.object_mass + shift,
        "area_inside": group.object_area,
        "edge_mass_inside": 0.4,
        "shared_interest_case": None,
        "map_entropy": 0.5,
        "n_gradients": 1,
        "reason": "",
    }


def confound(sample_id, group, shift, shows):
    return {
        "sample_id": sample_id,
        "method": group.method,
        "confound": "face",
        "present": shows,
        "mass_inside": group.face_mass + shift if shows else math.nan,
        "area_inside": group.face_area if shows else math.nan,
        "lift": (group.face_mass + shift) / group.face_area if shows else math.nan,
        "edge_mass_inside": group.face_edges if shows else math.nan,
        "untrained_mass_inside": group.face_untrained if shows else math.nan,
    }


def judge(*groups, limits=LIMITS, methods=("grad_cam",)):
    verdicts = judge_classes(tables_of(*groups), CLASSES, methods, limits)
    frame(VERDICTS, verdicts)
    return {(verdict.label, verdict.method): verdict for verdict in verdicts}


def shirt_verdict(*groups, limits=LIMITS):
    return judge(*groups, limits=limits)["t-shirt", "grad_cam"]


def accepting(reason):
    return dataclasses.replace(LIMITS, accepted={"t-shirt": {"face": reason}})


READS_FACES = Group("t-shirt", n_faces=40)
SHOES = Group("shoes")


def test_a_bound_confound_that_draws_mass_makes_its_class_suspect_and_no_other():
    verdicts = judge(READS_FACES, SHOES)
    shirt, shoes = verdicts["t-shirt", "grad_cam"], verdicts["shoes", "grad_cam"]
    assert (shirt.status, shirt.confound) == (Status.SUSPECT, "face")
    assert (shoes.status, shoes.confound) == (Status.SOUND, None)
    assert shirt.lift == pytest.approx(0.35 / 0.07)
    assert (shirt.association, shirt.n) == (1.0, 40)
    assert shirt.q_value < 1e-6
    assert math.isnan(shirt.n_needed)


def test_the_reasons_of_a_suspect_are_sentences_with_numbers():
    reasons = shirt_verdict(READS_FACES, Group("shoes", n=38)).reasons
    assert reasons[:3] == (
        "35 % of the attribution mass lies on face, which covers 7 % of the picture (lift 5.0, n = 40).",
        "face is in 40 of 40 t-shirt photos and in 0 of 38 others.",
        "No intervention was run, so this shows where the model looks, not yet what it decides by.",
    )
    assert reasons[3] == (
        "60 % of the attribution mass lies on the object, which covers 30 % of the picture "
        "(lift 2.0, n = 40); an edge map would put 40 % there."
    )


def test_mass_inside_has_its_interval():
    verdict = shirt_verdict(READS_FACES, SHOES)
    assert verdict.mass_inside == pytest.approx(0.6)
    # Deviation 0.02, 40 samples, level 0.975 (two classes): about 2.33 * 0.02 / sqrt(40) = 0.0074.
    assert verdict.mass_inside_low == pytest.approx(0.6 - 0.0074, abs=5e-4)
    assert verdict.mass_inside_high == pytest.approx(0.6 + 0.0074, abs=5e-4)


def test_what_was_not_tested_is_not_measured():
    verdict = shirt_verdict(READS_FACES, SHOES)
    assert math.isnan(verdict.necessity)
    assert math.isnan(verdict.sufficiency)


def test_a_confound_in_all_classes_alike_is_mentioned_and_does_not_make_suspect():
    verdict = shirt_verdict(Group("t-shirt", n_faces=20), Group("shoes", n_faces=20))
    assert (verdict.status, verdict.confound) == (Status.SOUND, None)
    assert any(
        reason.startswith("face draws mass but is not bound to the class") for reason in verdict.reasons
    )


def test_a_bound_confound_without_mass_is_mentioned_and_does_not_make_suspect():
    verdict = shirt_verdict(Group("t-shirt", n_faces=40, face_mass=0.07), SHOES)
    assert (verdict.status, verdict.confound) == (Status.SOUND, None)
    assert any(
        reason.startswith("face is bound to the class but draws hardly more") for reason in verdict.reasons
    )


def test_a_lift_below_the_limit_is_not_enough():
    # 0.46 of the mass on 0.40 of the picture: 6 points more, yet a lift of 1.15.
    verdict = shirt_verdict(Group("t-shirt", n_faces=40, face_mass=0.46, face_area=0.4), SHOES)
    assert (verdict.status, verdict.confound) == (Status.UNDECIDED, "face")
    assert math.isnan(verdict.n_needed)  # more photos would not move it


def test_an_effect_below_the_limit_is_not_enough():
    # A lift of 4 on a hundredth of the picture: 3 points of mass, less than delta.
    verdict = shirt_verdict(Group("t-shirt", n_faces=40, face_mass=0.04, face_area=0.01, wobble=0.01), SHOES)
    assert verdict.status is Status.SOUND
    assert verdict.rests_on_maps


def test_few_samples_are_undecided_and_say_how_many_are_asked_for():
    verdict = shirt_verdict(Group("t-shirt", n=9, n_faces=9), SHOES)
    assert (verdict.status, verdict.n_needed, verdict.n) == (Status.UNDECIDED, 10, 9)
    assert verdict.reasons[0] == "Only 9 t-shirt photos could be measured; a verdict asks for 10."


def test_a_class_without_samples_is_undecided():
    verdict = judge(READS_FACES)["shoes", "grad_cam"]
    assert (verdict.status, verdict.n) == (Status.UNDECIDED, 0)
    assert math.isnan(verdict.mass_inside)


def test_without_masks_a_confound_is_found_all_the_same():
    verdict = shirt_verdict(Group("t-shirt", n_faces=40, object_mass=math.nan, object_area=math.nan), SHOES)
    assert (verdict.status, verdict.confound, verdict.n) == (Status.SUSPECT, "face", 40)
    assert math.isnan(verdict.mass_inside)


def test_without_masks_and_without_a_confound_nothing_is_known_of_the_object():
    verdict = shirt_verdict(Group("t-shirt", object_mass=math.nan, object_area=math.nan), SHOES)
    assert (verdict.status, verdict.confound) == (Status.UNDECIDED, None)
    assert verdict.reasons == (
        "None of 40 t-shirt photos with a map have a foreground that could be measured, so too little is "
        "known about the object itself.",
    )
    assert math.isnan(verdict.n_needed)


def test_mass_off_the_object_that_nothing_explains_is_suspect_without_a_name():
    verdict = shirt_verdict(Group("t-shirt", object_mass=0.2), SHOES)
    assert (verdict.status, verdict.confound) == (Status.SUSPECT, None)
    assert verdict.reasons[0] == "The mass lies outside of the object, and no named thing explains it."
    assert "20 % of the attribution mass lies on the object, which covers 30 %" in verdict.reasons[1]


def test_a_mass_that_may_be_chance_is_undecided_with_a_sample_size():
    verdict = shirt_verdict(Group("t-shirt", n=20, object_mass=0.33, wobble=0.2), SHOES)
    assert verdict.status is Status.UNDECIDED
    # Mean excess 0.03, deviation 0.205, level 0.975: about (2.26 * 0.205 / 0.03) ** 2 = 240.
    assert verdict.n_needed == pytest.approx(240, abs=5)
    assert verdict.reasons[-1] == f"About {verdict.n_needed:.0f} t-shirt photos would decide."


def test_with_the_samples_that_were_asked_for_it_is_decided():
    few = Group("t-shirt", n=20, object_mass=0.33, wobble=0.2)
    needed = int(shirt_verdict(few, SHOES).n_needed)
    needed += needed % 2  # the samples alternate around their mean, so an odd number has another one
    assert shirt_verdict(dataclasses.replace(few, n=needed), SHOES).status is Status.SOUND


def test_a_bound_confound_of_unclear_mass_is_undecided_with_a_sample_size():
    # Half of the class shows it: excess 0.02 with deviation 0.1, and delta is 0.05.
    unclear = Group("t-shirt", n_faces=20, face_mass=0.12, face_area=0.1, wobble=0.1)
    verdict = shirt_verdict(unclear, SHOES)
    assert (verdict.status, verdict.confound) == (Status.UNDECIDED, "face")
    # About (2.25 * 0.103 / 0.03) ** 2 = 62 with a face, so 124 of the class.
    assert verdict.n_needed == pytest.approx(124, abs=8)
    assert any(reason.startswith("Whether face matters stays open") for reason in verdict.reasons)


def test_an_accepted_confound_stays_visible_and_does_not_make_suspect():
    verdict = shirt_verdict(READS_FACES, SHOES, limits=accepting("models wear them"))
    assert (verdict.status, verdict.confound) == (Status.SOUND, "face")
    assert verdict.lift == pytest.approx(5.0)
    assert "face is accepted: models wear them" in verdict.reasons


def test_an_accepted_confound_that_takes_all_mass_leaves_the_class_undecided():
    low = dataclasses.replace(READS_FACES, object_mass=0.2)
    assert shirt_verdict(low, SHOES, limits=accepting("known")).status is Status.UNDECIDED


def test_accepting_for_one_class_does_not_accept_for_another():
    limits = dataclasses.replace(LIMITS, accepted={"shoes": {"face": "known"}})
    assert shirt_verdict(READS_FACES, SHOES, limits=limits).status is Status.SUSPECT


def test_with_one_class_alone_an_association_cannot_be_measured():
    verdict = shirt_verdict(READS_FACES)
    assert verdict.status is Status.UNDECIDED
    assert any("face draws mass but cannot be compared" in reason for reason in verdict.reasons)


def test_maps_that_did_not_converge_are_named():
    verdict = shirt_verdict(dataclasses.replace(READS_FACES, status=MapStatus.NOT_CONVERGED), SHOES)
    assert verdict.reasons[-1] == "40 of the maps of t-shirt photos: not converged."


def test_methods_are_judged_apart_and_in_the_given_order():
    tables = tables_of(READS_FACES, SHOES)
    other = tables_of(
        dataclasses.replace(READS_FACES, method="gradient", face_mass=0.07),
        dataclasses.replace(SHOES, method="gradient"),
    )
    both = {
        "predictions": tables["predictions"],
        "attributions": frame(ATTRIBUTIONS, records(tables, other, "attributions")),
        "confounds": frame(CONFOUNDS, records(tables, other, "confounds")),
    }
    verdicts = judge_classes(both, CLASSES, ("gradient", "grad_cam"), LIMITS)
    assert [(verdict.label, verdict.method, verdict.status) for verdict in verdicts] == [
        ("t-shirt", "gradient", Status.SOUND),
        ("t-shirt", "grad_cam", Status.SUSPECT),
        ("shoes", "gradient", Status.SOUND),
        ("shoes", "grad_cam", Status.SOUND),
    ]
    worst = headline(verdicts)
    assert {label: verdict.method for label, verdict in worst.items()} == {
        "t-shirt": "grad_cam",
        "shoes": "gradient",
    }


def records(one, other, name):
    return [*one[name].to_dict("records"), *other[name].to_dict("records")]


def test_noise_over_many_confounds_is_not_found():
    rng = np.random.default_rng(0)
    tables = tables_of(SHOES, Group("t-shirt"))
    names = [f"thing {index}" for index in range(40)]
    rows = [
        confound(f"t-shirt-{index:03}", dataclasses.replace(READS_FACES, face_mass=share), 0.0, True)
        | {"confound": name}
        for name in names
        for index, share in enumerate(rng.beta(0.07, 0.93, 40))  # mean 0.07, the area
    ]
    tables["confounds"] = frame(CONFOUNDS, rows)
    verdict = judge_classes(tables, CLASSES, ("grad_cam",), LIMITS)[0]
    assert verdict.status is Status.UNDECIDED


def test_the_order_of_rows_changes_nothing():
    tables = tables_of(dataclasses.replace(READS_FACES, face_mass=0.3), SHOES)
    shuffled = {name: table.sample(frac=1, random_state=3) for name, table in tables.items()}
    one, other = (judge_classes(which, CLASSES, ("grad_cam",), LIMITS) for which in (tables, shuffled))
    assert [verdict.reasons for verdict in one] == [verdict.reasons for verdict in other]


def test_a_sample_without_a_row_does_not_show_the_confound():
    tables = tables_of(Group("t-shirt", n=3, n_faces=2))
    tables["confounds"] = tables["confounds"].iloc[1:]
    assert list(presence(tables)["face"]) == [False, True, False]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (0.004, "under 1 %"),
        (0.33, "33 %"),
        (0.996, "over 99 %"),
        (0.999999, "over 99 %"),
        (1.0, "100 %"),
    ],
)
def test_nothing_and_everything_are_said_only_of_exactly_that(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("association", "text"),
    [(1.0, "+100"), (0.999, "over +99"), (0.5, "+50"), (-0.25, "-25"), (-0.001, "under -1"), (0.0, "+0")],
)
def test_points_carry_their_sign(association, text):
    assert points(association) == text


@dataclasses.dataclass(frozen=True)
class Changed:
    """What an intervention does to the probability of t-shirt, alternating by `wobble` around its means."""

    kind: str = "remove"
    confound: str = "face"
    fill: str = "mean"
    before: float = 0.9
    after: float = 0.3
    control: float = 0.88
    n: int = 40
    n_without_control: int = 0
    wobble: float = 0.05


def interventions_of(*changes):
    rows = []
    for change in changes:
        subjects = "shoes" if change.kind == "transplant" else "t-shirt"
        for index in range(change.n):
            has_control = index >= change.n_without_control
            after = change.after + (change.wobble if index % 2 else -change.wobble)
            rows.append(
                {
                    "sample_id": f"{subjects}-{index:03}",
                    "confound": change.confound,
                    "kind": change.kind,
                    "fill": change.fill,
                    "label": "t-shirt",
                    "score_before": change.before,
                    "score_after": after,
                    "score_control": change.control if has_control else math.nan,
                    "predicted_after": "t-shirt" if after > 0.5 else "shoes",
                    "predicted_control": ("t-shirt" if change.control > 0.5 else "shoes")
                    if has_control
                    else None,
                    "reason": "" if has_control else "there is no room for a control region",
                }
            )
    return frame(INTERVENTIONS, rows)


def shirt_after(*changes, groups=None, limits=LIMITS):
    tables = tables_of(*(groups or (READS_FACES, SHOES))) | {"interventions": interventions_of(*changes)}
    verdicts = judge_classes(tables, CLASSES, ("grad_cam",), limits)
    frame(VERDICTS, verdicts)
    return verdicts[0]


HARMLESS = Changed(after=0.88, control=0.88, wobble=0.01)
PASTED = Changed(kind="transplant", fill="pasted", before=0.05, after=0.6, control=0.07, wobble=0.15)


def test_the_effect_of_an_intervention_is_worked_out_by_hand():
    tables = tables_of(READS_FACES, SHOES) | {
        "interventions": interventions_of(
            Changed(n=4, after=0.4, control=0.8, wobble=0.1),
            Changed(n=4, fill="blur", after=0.6, control=0.8, wobble=0.1),
        )
    }
    limits = dataclasses.replace(LIMITS, minimum_samples=2)
    (effect,) = effects(tables, limits, 0.95)
    # By sample and over the fills: after 0.4, 0.6, 0.4, 0.6, control 0.8: effects 0.4, 0.2, 0.4, 0.2.
    assert (effect.n, effect.before, effect.control) == pytest.approx((4, 0.9, 0.8))
    assert effect.after == pytest.approx(0.5)
    assert effect.size.mean == pytest.approx(0.3)
    # Deviation 0.1155, standard error 0.0577, Student's 3.182 for three degrees of freedom: 0.184.
    assert (effect.size.low, effect.size.high) == pytest.approx((0.3 - 0.1837, 0.3 + 0.1837), abs=1e-3)
    sizes = {name: size.mean for name, size in effect.by_fill}
    assert sizes == pytest.approx({"blur": 0.2, "mean": 0.4})
    # blur: effects 0.3, 0.1, 0.3, 0.1 have t = 0.2 / 0.0577 = 3.46 and p = 0.0203; mean has a smaller one.
    assert effect.p_value == pytest.approx(0.0203, abs=2e-4)
    # Changed by blur the scores are 0.5 or 0.7, by mean 0.3 or 0.5: one of four of each pair is above 0.5.
    assert (effect.turned, effect.control_turned) == (0.25, 1.0)


def test_a_decision_that_falls_without_the_confound_is_spurious():
    verdict = shirt_after(Changed())
    assert (verdict.status, verdict.confound) == (Status.SPURIOUS, "face")
    assert verdict.necessity == pytest.approx(0.58)
    assert math.isnan(verdict.sufficiency)
    assert verdict.q_value < 1e-6
    assert verdict.reasons[0] == (
        "Without the face the t-shirt probability falls by 60 points, without a control patch by 2 "
        "(n = 40, q < 0.001)."
    )
    assert "face is in 40 of 40 t-shirt photos and in 0 of 40 others." in verdict.reasons


def test_a_decision_that_the_confound_brings_is_spurious():
    verdict = shirt_after(PASTED, HARMLESS)
    assert (verdict.status, verdict.confound) == (Status.SPURIOUS, "face")
    assert (verdict.sufficiency, verdict.necessity) == (pytest.approx(0.53), pytest.approx(0.0))
    assert verdict.reasons[0] == (
        "A face pasted into shoes photos turns 50 % of them into t-shirt, a control patch 0 %; the t-shirt "
        "probability rises by 55 points, with the control by 2 (n = 40, q < 0.001)."
    )


def test_a_class_whose_photos_go_over_to_another_says_so_and_one_that_takes_them_does_not():
    tables = tables_of(READS_FACES, SHOES) | {"interventions": interventions_of(PASTED, HARMLESS)}
    shirts, shoes = (
        next(one for one in judge_classes(tables, CLASSES, ("grad_cam",), LIMITS) if one.label == label)
        for label in ("t-shirt", "shoes")
    )
    assert shoes.status is Status.SOUND
    assert (
        "Yet shoes photos are lost to t-shirt where face shows. A face pasted into shoes photos turns 50 % of them "
        "into t-shirt, a control patch 0 %; the t-shirt probability rises by 55 points, with the control by 2 (n = 40, "
        "q < 0.001)."
    ) in shoes.reasons
    assert not any("lost to" in reason for reason in shirts.reasons)


def test_a_fall_that_a_control_shares_is_no_effect():
    verdict = shirt_after(
        Changed(after=0.3, control=0.3), groups=(Group("t-shirt", n_faces=40, face_mass=0.07), SHOES)
    )
    assert (verdict.status, verdict.confound) == (Status.SOUND, None)


def test_balanced_data_do_not_excuse_a_confound_and_the_reasons_say_so():
    verdict = shirt_after(Changed(), groups=(Group("t-shirt", n_faces=20), Group("shoes", n_faces=20)))
    assert (verdict.status, verdict.confound, verdict.association) == (Status.SPURIOUS, "face", 0.0)
    assert any("so the model has learned it from others" in reason for reason in verdict.reasons)


def test_maps_that_miss_a_proven_confound_are_named():
    verdict = shirt_after(Changed(), groups=(Group("t-shirt", n_faces=40, face_mass=0.07), SHOES))
    assert verdict.status is Status.SPURIOUS
    assert not verdict.rests_on_maps
    assert any(reason.startswith("The grad_cam maps do not single it out") for reason in verdict.reasons)


def test_maps_that_accuse_what_interventions_clear_leave_a_suspect_and_the_disagreement():
    verdict = shirt_after(HARMLESS)
    assert (verdict.status, verdict.confound) == (Status.SUSPECT, "face")
    assert verdict.necessity == pytest.approx(0.0, abs=1e-9)
    assert any(reason.startswith("Maps and interventions disagree") for reason in verdict.reasons)


def test_an_intervention_without_controls_leaves_a_suspect_and_says_why():
    verdict = shirt_after(Changed(n_without_control=36))
    assert verdict.status is Status.SUSPECT
    assert "No intervention could test face: 4 of 40 changed photos had room for a control" in " ".join(
        verdict.reasons
    )


def test_a_run_with_interventions_that_did_not_try_the_confound_says_so():
    verdict = shirt_after(Changed(confound="text", after=0.88))
    assert verdict.status is Status.SUSPECT
    assert any(reason.startswith("No intervention was tried on face") for reason in verdict.reasons)


def test_an_effect_of_one_fill_alone_is_no_proof():
    verdict = shirt_after(
        Changed(), dataclasses.replace(HARMLESS, fill="patch"), groups=(Group("t-shirt"), SHOES)
    )
    assert (verdict.status, verdict.confound) == (Status.UNDECIDED, "face")
    assert math.isnan(verdict.n_needed)
    assert any("+58 points depending on what fills the place" in reason for reason in verdict.reasons)


def test_a_certain_effect_below_the_least_change_is_no_proof_and_no_acquittal():
    # 0.08 beyond the control: more than delta, less than what proves.
    verdict = shirt_after(Changed(after=0.8, control=0.88, wobble=0.001), groups=(Group("t-shirt"), SHOES))
    assert (verdict.status, verdict.confound) == (Status.UNDECIDED, "face")
    assert math.isnan(verdict.n_needed)


def test_an_effect_that_may_be_none_is_undecided_with_a_sample_size():
    # Mean 0.02, deviation 0.203, delta 0.05, level 0.975: about (2.25 * 0.203 / 0.03) ** 2 = 232.
    verdict = shirt_after(Changed(after=0.7, control=0.72, wobble=0.2), groups=(Group("t-shirt"), SHOES))
    assert verdict.status is Status.UNDECIDED
    assert verdict.n_needed == pytest.approx(232, abs=6)
    assert (
        verdict.reasons[2] == f"About {verdict.n_needed:.0f} t-shirt photos would decide, "
        "if interventions.per_class allows as many."
    )


def test_an_accepted_proof_stays_visible_and_does_not_decide():
    verdict = shirt_after(Changed(), limits=accepting("models wear them"))
    assert (verdict.status, verdict.confound) == (Status.SOUND, "face")
    assert verdict.necessity == pytest.approx(0.58)
    assert any("the t-shirt probability falls by 60 points" in reason for reason in verdict.reasons)


def test_the_background_is_named_only_where_no_thing_is():
    background = Changed(kind="swap_background", confound="background", fill="background", after=0.1)
    both = shirt_after(background, Changed())
    alone = shirt_after(background, groups=(Group("t-shirt"), SHOES))
    assert (both.confound, alone.confound) == ("face", "background")
    assert (alone.status, alone.association) == (Status.SPURIOUS, pytest.approx(math.nan, nan_ok=True))


def test_the_background_alone_carries_no_verdict():
    remark = Changed(kind="keep_alone", confound="background", fill="object", after=0.9, control=0.1)
    verdict = shirt_after(remark, groups=(Group("t-shirt"), SHOES))
    assert verdict.status is Status.SOUND
    assert any("backgrounds of other classes 10 %" in reason for reason in verdict.reasons)


def test_noise_in_many_interventions_is_not_found():
    rng = np.random.default_rng(0)
    changes = [Changed(confound=f"thing {index}", after=0.7, control=0.7, wobble=0.0) for index in range(40)]
    table = interventions_of(*changes)
    table["score_after"] = np.clip(0.7 + rng.normal(0, 0.25, len(table)), 0, 1)
    tables = tables_of(Group("t-shirt"), SHOES) | {"interventions": table}
    assert judge_classes(tables, CLASSES, ("grad_cam",), LIMITS)[0].status is not Status.SPURIOUS


@pytest.mark.parametrize(
    ("shirts", "shoes"),
    [
        (Group("t-shirt", n=20, n_faces=12, face_mass=0.4, object_mass=0.5), Group("shoes", n=2)),
        (Group("t-shirt", n=12, n_faces=3, face_mass=0.59, object_mass=0.5), Group("shoes", n=12)),
    ],
)
def test_an_association_of_which_little_is_known_is_no_acquittal(shirts, shoes):
    verdict = shirt_verdict(shirts, shoes)
    assert (verdict.status, verdict.confound) == (Status.UNDECIDED, "face")
    assert math.isnan(verdict.n_needed)
    assert not any("not bound" in reason for reason in verdict.reasons)
    assert any("whether it is bound to the class stays open" in reason for reason in verdict.reasons)


def test_a_small_association_that_is_well_known_is_no_bond():
    verdict = shirt_verdict(Group("t-shirt", n=200, n_faces=102), Group("shoes", n=200, n_faces=100))
    assert verdict.status is Status.SOUND
    assert any("face draws mass but is not bound to the class" in reason for reason in verdict.reasons)


NO_MASS_ON_FACES = (Group("t-shirt", n_faces=40, face_mass=0.07), SHOES)


def test_an_opposite_effect_is_an_effect():
    verdict = shirt_after(Changed(before=0.5, after=0.9, control=0.5, wobble=0.01), groups=NO_MASS_ON_FACES)
    assert (verdict.status, verdict.confound) == (Status.UNDECIDED, "face")
    assert math.isnan(verdict.n_needed)
    assert any("beyond the control that is -40 points" in reason for reason in verdict.reasons)


def test_fills_that_cancel_are_an_effect():
    falls = Changed(before=0.5, after=0.1, control=0.5)
    verdict = shirt_after(falls, dataclasses.replace(falls, after=0.9, fill="blur"), groups=NO_MASS_ON_FACES)
    assert (verdict.status, verdict.confound) == (Status.UNDECIDED, "face")
    assert math.isnan(verdict.n_needed)
    assert any("-40 to +40 points depending on what fills the place" in reason for reason in verdict.reasons)


def test_maps_are_not_contradicted_by_an_opposite_effect():
    verdict = shirt_after(Changed(before=0.5, after=0.9, control=0.5, wobble=0.01))
    assert verdict.status is Status.SUSPECT
    assert any("the interventions do not settle it" in reason for reason in verdict.reasons)


def test_a_slightly_opposite_effect_counts_its_samples_to_the_nearer_line():
    # Mean -0.02, deviation 0.203, the line -0.05: as many as for +0.02, about 232, scaled up from a smaller number.
    verdict = shirt_after(Changed(after=0.72, control=0.7, wobble=0.2), groups=(Group("t-shirt"), SHOES))
    assert verdict.status is Status.UNDECIDED
    assert verdict.n_needed == pytest.approx(240, abs=15)


def test_a_confound_whose_maps_are_all_empty_stays_open():
    tables = tables_of(Group("t-shirt", n_faces=20), SHOES)
    shown = tables["confounds"].loc[tables["confounds"]["present"], "sample_id"]
    tables["confounds"][["mass_inside", "lift"]] = math.nan
    is_empty = tables["attributions"]["sample_id"].isin(shown)
    tables["attributions"].loc[is_empty, ["mass_inside", "edge_mass_inside", "map_entropy"]] = math.nan
    verdict = judge_classes(tables, CLASSES, ("grad_cam",), LIMITS)[0]
    frame(VERDICTS, [verdict])
    assert (verdict.status, verdict.confound) == (Status.UNDECIDED, "face")
    assert math.isnan(verdict.lift)
    assert (
        "Whether face matters stays open: no map of the 20 t-shirt photos with face has mass, so its share was not "
        "measured." in verdict.reasons
    )


def test_repetitions_are_means_of_one_fill_and_need_not_agree():
    falls = Changed(kind="swap_background", confound="background", fill="background", after=0.3, control=0.9)
    rises = dataclasses.replace(falls, fill="background #2", after=0.9)
    tables = tables_of(Group("t-shirt"), SHOES) | {"interventions": interventions_of(falls, rises)}
    (effect,) = effects(tables, LIMITS, 0.95)
    assert [(name, round(size.mean, 6)) for name, size in effect.by_fill] == [("background", 0.3)]
    assert (effect.size.mean, effect.n) == (pytest.approx(0.3), 40)


def test_a_fill_whose_own_interval_reaches_beyond_delta_is_no_acquittal():
    # The mean of both fills is 0 in every sample; of either it is 0 +- 2.3 * 0.2 / sqrt(40) = 0.07.
    one = Changed(after=0.7, control=0.7, wobble=0.2)
    both = interventions_of(one, dataclasses.replace(one, fill="blur", wobble=-0.2))
    tables = tables_of(*NO_MASS_ON_FACES) | {"interventions": both}
    (effect,) = effects(tables, LIMITS, 0.95)
    assert effect.size.high == pytest.approx(0.0, abs=1e-9)
    assert not effect.is_none(LIMITS)
    verdict = judge_classes(tables, CLASSES, ("grad_cam",), LIMITS)[0]
    assert (verdict.status, verdict.confound) == (Status.UNDECIDED, "face")


def test_a_fill_that_does_not_vary_needs_no_more_samples():
    sure = Changed(fill="blur", after=0.7, control=0.7, wobble=0.0)
    unsure = Changed(fill="mean", after=0.7, control=0.7, wobble=0.2)
    for changes in ((sure, unsure), (unsure, sure)):
        tables = tables_of(*NO_MASS_ON_FACES) | {"interventions": interventions_of(*changes)}
        (effect,) = effects(tables, LIMITS, 0.95)
        # Of the fill that varies: (1.96 * 0.2025 / 0.05) ** 2 = 63, some more for Student's.
        assert effect.n_to_bound == pytest.approx(66, abs=2)


def test_fills_of_which_one_cannot_be_estimated_give_no_sample_size():
    falls = Changed(fill="blur", after=0.3)
    none = Changed(fill="mean", after=0.85, control=0.88)
    for changes in ((falls, none), (none, falls)):
        tables = tables_of(*NO_MASS_ON_FACES) | {"interventions": interventions_of(*changes)}
        (effect,) = effects(tables, LIMITS, 0.95)
        assert math.isnan(effect.n_to_bound)


ALONE = Changed(kind="thing_alone", after=0.8, control=0.1)


def test_a_thing_alone_makes_suspect_where_nothing_else_could_be_tested():
    verdict = shirt_after(ALONE, groups=NO_MASS_ON_FACES)
    assert (verdict.status, verdict.confound) == (Status.SUSPECT, "face")
    assert verdict.sufficiency == pytest.approx(0.7)
    assert verdict.reasons[0] == (
        "A face alone, with everything else filled, gets a t-shirt probability of 80 %, a control patch alone 10 % "
        "(n = 40, q < 0.001)."
    )


def test_a_thing_alone_counts_for_nothing_beside_a_test_in_place():
    verdict = shirt_after(ALONE, HARMLESS, groups=NO_MASS_ON_FACES)
    assert verdict.status is Status.SOUND
    unclear = shirt_after(ALONE, Changed(after=0.7, control=0.72, wobble=0.2), groups=NO_MASS_ON_FACES)
    assert unclear.status is Status.UNDECIDED
    assert any(reason.startswith("A face alone") for reason in verdict.reasons)


TINT = Changed(kind="normalise", confound="colour cast", fill="surroundings", after=0.3, control=0.9)
WHOLE_TINT = dataclasses.replace(TINT, fill="whole picture")


def with_property(tables, own, others, name="colour cast"):
    """The tables with a property whose values alternate around those of t-shirts and of all others."""
    rows = []
    for sample_id, label in zip(
        tables["predictions"]["sample_id"], tables["predictions"]["label"], strict=True
    ):
        value = (own if label == "t-shirt" else others) + 0.002 * (int(sample_id[-3:]) % 2)
        rows.append({"sample_id": sample_id, "property": name, "value": value, "category": None})
    return tables | {"properties": frame(PROPERTIES, rows)}


def shirt_of(tables):
    verdicts = judge_classes(tables, CLASSES, ("grad_cam",), LIMITS)
    frame(VERDICTS, verdicts)
    return verdicts[0]


def test_a_tint_that_decides_is_spurious_with_its_separation_as_association():
    tables = tables_of(Group("t-shirt"), SHOES) | {"interventions": interventions_of(TINT)}
    verdict = shirt_of(with_property(tables, 0.2, 0.0))
    assert (verdict.status, verdict.confound, verdict.association) == (Status.SPURIOUS, "colour cast", 1.0)
    assert math.isnan(verdict.lift)
    assert verdict.necessity == pytest.approx(0.6)
    assert verdict.reasons[0] == (
        "With the colour cast of other classes the t-shirt probability falls by 60 points, changed as much in another "
        "way by 0 (n = 40, q < 0.001)."
    )
    assert verdict.reasons[1] == (
        "colour cast is higher in t-shirt photos, typically 0.201 against 0.001 elsewhere: it tells 100 % of pairs of "
        "a t-shirt photo and another apart (n = 40 and 40)."
    )


def test_a_control_that_harms_more_than_the_property_does_not_leave_it_open():
    harmful = dataclasses.replace(TINT, after=0.9, control=0.2, wobble=0.01)
    tables = tables_of(Group("t-shirt"), SHOES) | {"interventions": interventions_of(harmful)}
    assert shirt_of(with_property(tables, 0.2, 0.0)).status is Status.SOUND


def test_a_property_that_nothing_tests_is_a_remark_until_predictions_follow_it():
    tables = with_property(tables_of(Group("t-shirt"), SHOES), 640.0, 320.0, "image size")
    verdict = shirt_of(tables)
    assert verdict.status is Status.SOUND
    assert any(
        reason
        == "Pixels do not hold image size, so no intervention can test it, and there are no errors that could "
        "follow it."
        for reason in verdict.reasons
    )
    # Ten t-shirts of the others' size, all of them missed.
    predictions, values = tables["predictions"].copy(), tables["properties"].copy()
    is_small = predictions["sample_id"].isin([f"t-shirt-{number:03}" for number in range(10)])
    predictions.loc[is_small, "predicted"] = "shoes"
    values.loc[is_small, "value"] = 320.0
    verdict = shirt_of(tables | {"predictions": predictions, "properties": values})
    assert (verdict.status, verdict.confound) == (Status.SUSPECT, "image size")
    assert math.isnan(verdict.necessity)
    assert any("within a label predictions go with it" in reason for reason in verdict.reasons)


def test_things_are_named_before_properties_and_those_before_the_background():
    background = Changed(kind="swap_background", confound="background", fill="background", after=0.1)
    tables = tables_of(Group("t-shirt"), SHOES)
    named = [
        shirt_of(tables | {"interventions": interventions_of(*changes)}).confound
        for changes in ((background, TINT, Changed(after=0.6)), (background, TINT), (background,))
    ]
    assert named == ["face", "colour cast", "background"]


def test_without_masks_a_class_is_sound_where_what_was_tested_does_not_matter():
    no_object = dataclasses.replace(NO_MASS_ON_FACES[0], object_mass=math.nan, object_area=math.nan)
    verdict = shirt_after(dataclasses.replace(HARMLESS, wobble=0.01), groups=(no_object, SHOES))
    assert (verdict.status, verdict.confound) == (Status.SOUND, None)
    assert verdict.reasons[0] == (
        "The object is not annotated, so mass inside was not measured; taking away or bringing in face does not move "
        "the t-shirt probability."
    )


@pytest.mark.parametrize(
    ("edges", "untrained", "status"),
    [
        (math.nan, math.nan, Status.SUSPECT),
        (0.1, 0.1, Status.SUSPECT),
        (0.32, 0.1, Status.SOUND),  # edges alone would put 32 of the 35 % there
        (0.1, 0.36, Status.UNDECIDED),  # so does a model that has learned nothing
    ],
)
def test_what_edges_or_an_untrained_model_would_do_accuses_nobody(edges, untrained, status):
    verdict = shirt_verdict(
        dataclasses.replace(READS_FACES, face_edges=edges, face_untrained=untrained), SHOES
    )
    assert verdict.status is status


def test_the_nulls_stand_beside_the_mass():
    verdict = shirt_verdict(dataclasses.replace(READS_FACES, face_edges=0.1, face_untrained=0.08), SHOES)
    assert verdict.reasons[0] == (
        "35 % of the attribution mass lies on face, which covers 7 % of the picture (lift 5.0, n = 40); an edge map "
        "would put 10 % there, the untrained model 8 % (n = 40)."
    )


def test_few_photos_to_compare_with_make_nobody_suspect():
    assert shirt_verdict(READS_FACES, Group("shoes", n=9)).status is Status.UNDECIDED
    assert shirt_verdict(READS_FACES, Group("shoes", n=10)).status is Status.SUSPECT
    few = Group("t-shirt", n_faces=9, face_mass=0.6)
    assert shirt_verdict(few, Group("shoes", n=400)).status is Status.UNDECIDED
    assert shirt_verdict(dataclasses.replace(few, n_faces=10), Group("shoes", n=400)).status is Status.SUSPECT


def test_noise_says_how_much_the_object_matters():
    noise = Changed(kind="noise", confound="background", fill="noise", after=0.3, control=0.9, wobble=0.3)
    verdict = shirt_after(noise, groups=(Group("t-shirt"), SHOES))
    assert verdict.status is Status.SOUND
    # Half are above 0.5 with noise on the object, all with noise around it: (1 - 0.5) / (2 * 0.25) = 1.
    assert any(
        "50 % of t-shirt photos are still taken for t-shirt, with as much noise on the background 100 %: a relative "
        "foreground sensitivity of +1.00" in reason
        for reason in verdict.reasons
    )


def test_an_intervention_without_any_control_has_no_effect_and_stays_visible():
    tables = tables_of(Group("t-shirt"), SHOES) | {
        "interventions": interventions_of(Changed(n_without_control=40))
    }
    (effect,) = effects(tables, LIMITS, 0.95)
    assert (effect.n, effect.n_tried, effect.by_fill) == (0, 40, ())
    assert math.isnan(effect.size.mean)
    assert not effect.is_none(LIMITS)
    assert not effect.is_proof(LIMITS)


def test_a_thing_on_one_photo_does_not_leave_a_class_open():
    rare = Group("t-shirt", n=12, n_faces=1, face_mass=0.1)
    assert shirt_verdict(rare, Group("shoes", n=12)).status is Status.SOUND
    assert (
        shirt_verdict(dataclasses.replace(rare, n=20, n_faces=10), Group("shoes", n=12)).status
        is Status.SOUND
    )
    unclear = dataclasses.replace(rare, n=20, n_faces=10, wobble=0.1)
    assert shirt_verdict(unclear, Group("shoes", n=12)).status is Status.UNDECIDED


@pytest.mark.parametrize(("n_faces", "others"), [(40, (1, 1)), (38, (3, 3)), (20, (5, 0))])
def test_few_other_samples_do_not_tell_that_a_thing_is_unbound(n_faces, others):
    n, n_with = others
    shirts = Group("t-shirt", n_faces=n_faces, face_mass=0.3)
    assert shirt_verdict(shirts, Group("shoes", n=n, n_faces=n_with)).status is Status.UNDECIDED


def test_nine_of_ten_are_not_rare():
    shirts = Group("t-shirt", n=10, n_faces=9, face_mass=0.44, face_area=0.3)
    assert shirt_verdict(shirts, Group("shoes", n=5)).status is not Status.SOUND


def test_of_properties_that_move_together_the_one_that_works_both_ways_is_named():
    colours = dataclasses.replace(TINT, confound="saturation", after=0.1)
    both = interventions_of(
        colours,
        TINT,
        dataclasses.replace(PASTED, kind="impose", confound="colour cast", fill="surroundings"),
    )
    tables = tables_of(Group("t-shirt"), SHOES) | {"interventions": both}
    assert shirt_of(tables).confound == "colour cast"
    # Working one way alone, the larger effect comes first.
    one = interventions_of(colours, TINT)
    assert shirt_of(tables | {"interventions": one}).confound == "saturation"


def test_a_property_that_was_changed_on_the_object_too_makes_suspect_alone():
    tables = tables_of(Group("t-shirt"), SHOES) | {"interventions": interventions_of(WHOLE_TINT)}
    verdict = shirt_of(with_property(tables, 0.2, 0.0))
    assert (verdict.status, verdict.confound) == (Status.SUSPECT, "colour cast")
    assert any("with masks it could be told apart" in reason for reason in verdict.reasons)


def test_a_property_that_matters_on_the_object_alone_is_no_confound():
    spared = dataclasses.replace(TINT, after=0.9)
    tables = tables_of(Group("t-shirt"), SHOES) | {"interventions": interventions_of(WHOLE_TINT, spared)}
    assert shirt_of(with_property(tables, 0.2, 0.0)).status is Status.UNDECIDED


@pytest.mark.parametrize(
    ("whole", "around", "status"),
    [
        (0.3, (0.99, 0.9), Status.SOUND),  # a grey picture hides its object, grey surroundings show it
        (0.3, (0.9, 0.9), Status.UNDECIDED),  # nothing around the object: the object's own, or not seen there
        (0.3, (0.901, 0.9), Status.UNDECIDED),  # next to nothing
        (0.3, (0.9, 0.8), Status.UNDECIDED),  # only the control does something around the object
        (0.99, (0.3, 0.9), Status.UNDECIDED),  # the surroundings alone move it
    ],
)
def test_a_property_that_works_in_opposite_ways_is_not_what_decides(whole, around, status):
    """Pictures are at 0.9 as they are; `around` is what surroundings are changed to, and their control."""
    ways = (
        dataclasses.replace(WHOLE_TINT, after=whole, wobble=0.001),
        dataclasses.replace(TINT, after=around[0], control=around[1], wobble=0.001),
    )
    tables = tables_of(Group("t-shirt"), SHOES) | {"interventions": interventions_of(*ways)}
    verdict = shirt_of(with_property(tables, 0.2, 0.0))
    assert verdict.status is status
    is_told = any("how the object looks does that, not the property" in reason for reason in verdict.reasons)
    assert is_told == (status is Status.SOUND)
