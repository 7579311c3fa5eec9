"""Score and intervention tables -> ClassVerdicts: the chain of evidence, one function a link; the first that holds
decides.

Attribution mass alone is a screen: it makes a class suspect, never spurious. Interventions with controls carry the
verdict, in both directions. All intervals of a table hold together: each has the level 1 - q / number of classes
with samples. q values are adjusted over everything that was looked at: those of the screen over every class, method
and confound, those of interventions over every class, confound and kind.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from audit import statistics
from audit._evidence import Evidence
from audit._evidence import evidence as evidence_of
from audit._findings import Finding, all_findings
from audit._findings import looked_at as looked_at
from audit._findings import presence as presence
from audit._open_questions import blocking, n_for_confound, open_texts
from audit._verdict_texts import (
    bond_text,
    contradiction_text,
    counts_text,
    disagreement_text,
    effect_text,
    elsewhere_text,
    object_text,
    sampling_text,
    screen_text,
    unbound_text,
    untested_bond_text,
)
from audit._verdict_texts import percent as percent
from audit._verdict_texts import points as points
from audit.bonds import CLOSE, bonds
from audit.effects import Effect, effects
from audit.interventions import Link
from audit.types import ClassVerdict, Status, VerdictLimits

_SEVERITY = (Status.SPURIOUS, Status.SUSPECT, Status.UNDECIDED, Status.SOUND)


@dataclass(frozen=True)
class _Ruling:
    """What a link decides."""

    status: Status
    confound: str | None
    n_needed: float
    reasons: tuple[str, ...]


def judge_classes(
    tables: Mapping[str, pd.DataFrame], classes: Sequence[str], methods: Sequence[str], limits: VerdictLimits
) -> tuple[ClassVerdict, ...]:
    """The verdict on every class by every method.

    Args:
        tables: `predictions`, `attributions` and `confounds` of a run, and `interventions` and `properties` where
            it has them.
        classes: the class names to judge; one without samples is undecided.
        methods: attribution methods as configured.
        limits: the lines that are drawn.

    Returns:
        One verdict per class and method, classes in the given order, then methods.
    """
    return judge(gather(tables, classes, methods, limits))


def judge(evidence: Sequence[Evidence]) -> tuple[ClassVerdict, ...]:
    """The verdict on each class and method, from what is known of it."""
    proofs = tuple(dict.fromkeys(proof for known in evidence for proof in known.proofs))
    return tuple(_verdict(known, proofs) for known in evidence)


def gather(
    tables: Mapping[str, pd.DataFrame],
    classes: Sequence[str],
    methods: Sequence[str],
    limits: VerdictLimits,
    *,
    was_sampled: bool = False,
) -> tuple[Evidence, ...]:
    """What is known of every class by every method.

    Args:
        tables, classes, methods, limits: those of `judge_classes`.
        was_sampled: maps were made of samples in random order until they sufficed, and their rows stand in that order;
            samples without a map are left. Then intervals of what maps show hold at every moment of that.
    """
    level = statistics.shared_level(limits.q, int(tables["predictions"]["label"].nunique()))
    findings = all_findings(tables, classes, methods, limits, level, was_sampled=was_sampled)
    found = effects(tables, limits, level) if "interventions" in tables else None
    properties = bonds(tables, level)
    scores = tables["attributions"].merge(
        tables["predictions"][["sample_id", "label"]], on="sample_id", validate="many_to_one"
    )
    groups = dict(list(scores.groupby(["label", "method"])))
    empty = scores.iloc[:0]
    has_map = tables["predictions"]["sample_id"].isin(scores["sample_id"])
    n_left = tables["predictions"].loc[~has_map, "label"].value_counts()
    return tuple(
        evidence_of(
            label,
            method,
            groups.get((label, method), empty),
            findings,
            found,
            properties,
            limits,
            level,
            n_left=int(n_left.get(label, 0)) if was_sampled else None,
        )
        for label in classes
        for method in methods
    )


def headline(verdicts: Sequence[ClassVerdict]) -> dict[str, ClassVerdict]:
    """The worst verdict of each class, in order of first occurrence; of equal ones one that names a confound.

    A method that is not trusted on this model says nothing where another one is.
    """
    worst: dict[str, ClassVerdict] = {}
    for verdict in verdicts:
        known = worst.get(verdict.label)
        if known is None or _gravity(verdict) < _gravity(known):
            worst[verdict.label] = verdict
    return worst


def _gravity(verdict: ClassVerdict) -> tuple[bool, int, bool]:
    """The lowest speaks for its class."""
    return not verdict.is_trusted, _SEVERITY.index(verdict.status), verdict.confound is None


def _too_few_samples(evidence: Evidence) -> _Ruling | None:
    """Nothing is said about a class that was hardly looked at."""
    needed = evidence.limits.minimum_samples
    if evidence.n_maps >= needed:
        return None
    reason = f"Only {evidence.n_maps} {evidence.label} photos could be measured; a verdict asks for {needed}."
    return _Ruling(Status.UNDECIDED, None, needed, (reason,))


def _interventions_prove_it(evidence: Evidence) -> _Ruling | None:
    """Taking a confound away, or bringing it in, changes the decision more than a control does.

    Whether the data bind it to the class does not matter: a model can have learned it elsewhere.
    """
    proven = [effect.confound for effect in evidence.proofs if effect.confound not in evidence.accepted]
    reasons: list[str] = []
    for confound in dict.fromkeys(proven):
        reasons += [effect_text(effect) for effect in evidence.tested(confound)]
        if finding := evidence.finding(confound):
            is_associated = finding.is_associated(evidence.limits)
            reasons += [counts_text(finding) if is_associated else elsewhere_text(finding)]
            shown = screen_text(finding)
            is_seen = finding.passes_screen(evidence.limits)
            reasons += [shown if is_seen else f"The {evidence.method} maps do not single it out: {shown}"]
        if bond := evidence.bond(confound):
            reasons.append(bond_text(bond))
    return _Ruling(Status.SPURIOUS, proven[0], math.nan, tuple(reasons)) if proven else None


def _a_confound_explains_it(evidence: Evidence) -> _Ruling | None:
    """A confound that nobody accepted draws mass and is bound to the class."""
    open_ones = [finding for finding in evidence.explanations if finding.confound not in evidence.accepted]
    if not open_ones:
        return None
    reasons = [text for finding in open_ones for text in (screen_text(finding), counts_text(finding))]
    for finding in open_ones:
        tested = evidence.tested(finding.confound)
        reasons += map(effect_text, tested)
        reasons.append(disagreement_text(finding.confound, tested, evidence))
    return _Ruling(Status.SUSPECT, open_ones[0].confound, math.nan, tuple(dict.fromkeys(reasons)))


def _changes_show_and_do_not_prove(evidence: Evidence) -> _Ruling | None:
    """The decision follows changed pictures in which more was changed than the confound."""
    open_ones = [effect for effect in evidence.signs if effect.confound not in evidence.accepted]
    if not open_ones:
        return None
    confound = open_ones[0].confound
    reasons = [effect_text(effect) for effect in open_ones if effect.confound == confound]
    if finding := evidence.finding(confound):
        reasons.append(counts_text(finding))
    if bond := evidence.bond(confound):
        reasons.append(bond_text(bond))
    reasons.append(
        "Such pictures are far from those the model was made for, and nothing nearer to them could be tested."
        if open_ones[0].is_far
        else f"The objects are not annotated, so their own {confound} was changed as well; with masks it could be "
        "told apart."
    )
    return _Ruling(Status.SUSPECT, confound, math.nan, tuple(reasons))


def _predictions_follow_a_property(evidence: Evidence) -> _Ruling | None:
    """A property that pixels cannot change, or not far enough, tells the class, and predictions go with it."""
    open_ones = [bond for bond in evidence.followed if bond.confound not in evidence.accepted]
    if not open_ones:
        return None
    reasons = [
        text for bond in open_ones for text in (bond_text(bond), untested_bond_text(bond, evidence.limits))
    ]
    return _Ruling(Status.SUSPECT, open_ones[0].confound, math.nan, tuple(reasons))


def _it_looks_elsewhere(evidence: Evidence) -> _Ruling | None:
    """The object gets no more mass than its area, and nothing named explains it."""
    if not evidence.is_object_measured or not evidence.excess.high <= 0:
        return None
    if evidence.explanations or evidence.proofs:
        return None  # accepted ones explain it too
    reason = "The mass lies outside of the object, and no named thing explains it."
    return _Ruling(Status.SUSPECT, None, math.nan, (reason, object_text(evidence)))


def _it_looks_at_the_object(evidence: Evidence) -> _Ruling | None:
    """The object gets more mass than its area, and every confound is accepted or harmless."""
    if not evidence.is_object_measured or not evidence.excess.low > 0 or blocking(evidence):
        return None
    return _Ruling(Status.SOUND, None, math.nan, (object_text(evidence),))


def _nothing_moves_it(evidence: Evidence) -> _Ruling | None:
    """Without annotated objects: things were tested, and none of them matters."""
    tested = [confound for confound in evidence.confounds if evidence.tested(confound)]
    if evidence.is_object_measured or not tested or blocking(evidence):
        return None
    reason = (
        f"The object is not annotated, so mass inside was not measured; taking away or bringing in "
        f"{' and '.join(tested)} does not move the {evidence.label} probability."
    )
    return _Ruling(Status.SOUND, None, math.nan, (reason,))


def _it_stays_open(evidence: Evidence) -> _Ruling:
    """What is missing for a verdict, and how many samples would bring it."""
    open_ones = blocking(evidence)
    reasons, needed = [], [n_for_confound(confound, evidence) for confound in open_ones]
    if not evidence.is_object_measured:
        needed.append(math.nan)  # what is missing is annotation, not photos
        reasons.append(
            f"{evidence.n_object or 'None'} of {evidence.n_maps} {evidence.label} photos with a map have a "
            "foreground that could be measured, so too little is known about the object itself."
        )
    elif not evidence.excess.low > 0:
        needed.append(evidence.n_for_excess if evidence.excess.high > 0 else math.nan)
        reasons.append(f"The object does not clearly get more mass than its area: {object_text(evidence)}")
    else:
        reasons.append(object_text(evidence))
    for confound in open_ones:
        reasons += open_texts(confound, evidence)
    n_needed = max(needed) if not any(map(math.isnan, needed)) else math.nan
    if not math.isnan(n_needed):
        allowed = (
            ", if interventions.per_class allows as many" if any(map(evidence.tested, open_ones)) else ""
        )
        reasons.append(f"About {n_needed:.0f} {evidence.label} photos would decide{allowed}.")
    return _Ruling(Status.UNDECIDED, open_ones[0] if open_ones else None, n_needed, tuple(reasons))


_WITHOUT_MAPS: tuple[Callable[[Evidence], _Ruling | None], ...] = (
    _interventions_prove_it,
    _changes_show_and_do_not_prove,
    _predictions_follow_a_property,
    _nothing_moves_it,
)
_LINKS: tuple[Callable[[Evidence], _Ruling | None], ...] = (
    _interventions_prove_it,
    _too_few_samples,
    _a_confound_explains_it,
    _changes_show_and_do_not_prove,
    _predictions_follow_a_property,
    _it_looks_elsewhere,
    _it_looks_at_the_object,
    _nothing_moves_it,
)


def _verdict(evidence: Evidence, proofs: Sequence[Effect]) -> ClassVerdict:
    """The ruling of the first link that holds, with everything else that is worth knowing.

    Args:
        evidence: of the class by a method.
        proofs: of all classes.
    """
    rulings = ((found, link not in _WITHOUT_MAPS) for link in _LINKS if (found := link(evidence)))
    ruling, rests_on_maps = next(rulings, None) or (_it_stays_open(evidence), True)
    proven = [effect.confound for effect in evidence.proofs if effect.confound in evidence.accepted]
    accepted = [f.confound for f in evidence.explanations if f.confound in evidence.accepted]
    named = ruling.confound or next(iter([*proven, *accepted]), None)
    finding = evidence.finding(named) if named else None
    bond = evidence.bond(named) if named else None
    necessity, sufficiency = (evidence.effect(named, link) for link in (Link.NECESSITY, Link.SUFFICIENCY))
    return ClassVerdict(
        label=evidence.label,
        method=evidence.method,
        status=ruling.status,
        confound=named,
        n=evidence.n,
        mass_inside=evidence.mass.mean,
        mass_inside_low=evidence.mass.low,
        mass_inside_high=evidence.mass.high,
        lift=finding.lift if finding else math.nan,
        association=finding.association.mean if finding else bond.separation.mean if bond else math.nan,
        necessity=necessity.mean,
        necessity_low=necessity.low,
        necessity_high=necessity.high,
        sufficiency=sufficiency.mean,
        sufficiency_low=sufficiency.low,
        sufficiency_high=sufficiency.high,
        q_value=_q_value(named, evidence) if named else math.nan,
        n_needed=ruling.n_needed,
        reasons=(*ruling.reasons, *_remarks(evidence, ruling), *_lost_to_others(evidence.label, proofs)),
        rests_on_maps=rests_on_maps,
    )


def _q_value(confound: str, evidence: Evidence) -> float:
    """Of the interventions on a confound; of the screen where there were none."""
    if tested := evidence.tested(confound):
        return min(effect.q_value for effect in tested)
    finding, bond = evidence.finding(confound), evidence.bond(confound)
    return finding.q_value if finding else bond.follow_q if bond else math.nan


def _remarks(evidence: Evidence, ruling: _Ruling) -> list[str]:
    """What did not decide: the object beside a confound, accepted and half-fitting ones, doubtful maps."""
    remarks = []
    if (
        ruling.confound is not None
        and ruling.status in (Status.SPURIOUS, Status.SUSPECT)
        and evidence.n_object
    ):
        remarks.append(object_text(evidence))
    for finding in evidence.findings:
        remarks += _finding_remarks(finding, evidence)
    for bond in evidence.bonds:
        if bond.is_bound(CLOSE):
            remarks.append(bond_text(bond))
            remarks += [] if evidence.tested(bond.confound) else [untested_bond_text(bond, evidence.limits)]
            if bond.confound in evidence.accepted:
                remarks.append(f"{bond.confound} is accepted: {evidence.accepted[bond.confound]}")
    measured = [effect for effect in evidence.effects if effect.is_measured(evidence.limits)]
    remarks += map(effect_text, measured)
    remarks += [contradiction_text(effect) for effect in measured if effect.is_contradicted(evidence.limits)]
    if evidence.n_left:
        remarks.append(sampling_text(evidence))
    for status, n in evidence.poor_maps.items():
        remarks.append(f"{n} of the maps of {evidence.label} photos: {status}.")
    # A reason may go on where a remark ends.
    said = "\n".join(ruling.reasons)
    return [remark for remark in dict.fromkeys(remarks) if remark.removesuffix(".") not in said]


def _lost_to_others(label: str, proofs: Sequence[Effect]) -> list[str]:
    """That photos of a class go to another one when its confound comes: where all that were tried are of this class."""
    return [
        f"Yet {label} photos are lost to {proof.label} where {proof.confound} shows. {effect_text(proof)}"
        for proof in proofs
        if proof.link is Link.SUFFICIENCY and proof.subjects == (label,)
    ]


def _finding_remarks(finding: Finding, evidence: Evidence) -> list[str]:
    """What to say about a confound that did not decide the status."""
    draws_mass = finding.passes_screen(evidence.limits)
    if finding.confound in evidence.accepted:
        accepted = f"{finding.confound} is accepted: {evidence.accepted[finding.confound]}"
        return [accepted, screen_text(finding), counts_text(finding)]
    is_associated = finding.is_associated(evidence.limits)
    if draws_mass and not is_associated:
        unbound = unbound_text(finding, evidence.limits)
        return [f"{unbound}: {screen_text(finding)}", counts_text(finding)]
    if is_associated and finding.is_harmless(evidence.limits):
        little = (
            f"{finding.confound} is bound to the class but draws hardly more mass than area or edges explain"
        )
        return [f"{little}: {screen_text(finding)}", counts_text(finding)]
    return []
