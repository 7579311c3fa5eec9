"""The sentences of verdicts: numbers put into words, so that a reader can check them."""

import math

import audit.interventions as interventions
from audit import plugins
from audit._evidence import Evidence
from audit._findings import Finding
from audit.bonds import Bond
from audit.effects import Effect
from audit.interventions import SURROUNDINGS
from audit.types import VerdictLimits


def percent(share: float) -> str:
    """A share in [0, 1] as whole per cent; 0 % and 100 % only for exactly that."""
    return f"{_hundredths(share)} %"


def points(association: float) -> str:
    """A difference of shares in [-1, 1] in signed whole percentage points; 0, 100 only for exactly that."""
    sign = "-" if association < 0 else "+"
    amount = _hundredths(abs(association))
    before, _, number = amount.rpartition(" ")
    return f"{before} {sign}{number}".strip()


def _hundredths(share: float) -> str:
    rounded = round(100 * share)
    if rounded == 0 and share > 0:
        return "under 1"
    if rounded == 100 and share < 1:
        return "over 99"
    return str(rounded)


def screen_text(finding: Finding) -> str:
    if not finding.n_measured:
        return (
            f"no map of the {finding.n_with} {finding.label} photos with {finding.confound} has mass, so its share "
            "was not measured."
        )
    return (
        f"{percent(finding.mass)} of the attribution mass lies on {finding.confound}, which covers "
        f"{percent(finding.area)} of the picture (lift {finding.lift:.1f}, n = {finding.n_measured})"
        f"{_nulls_text(finding.edges, finding.untrained, finding.n_untrained)}."
    )


def _nulls_text(edges: float, untrained: float, n_untrained: int) -> str:
    """What would lie there without a model that has learned, as far as it is known."""
    parts = [] if math.isnan(edges) else [f"an edge map would put {percent(edges)} there"]
    if n_untrained:
        parts.append(f"the untrained model {percent(untrained)} (n = {n_untrained})")
    return f"; {', '.join(parts)}" if parts else ""


def counts_text(finding: Finding) -> str:
    return (
        f"{finding.confound} is in {finding.n_with} of {finding.n_class} {finding.label} photos and in "
        f"{finding.n_others_with} of {finding.n_others} others."
    )


def object_text(evidence: Evidence) -> str:
    nulls = _nulls_text(evidence.edges, evidence.untrained, evidence.n_untrained)
    return (
        f"{percent(evidence.mass.mean)} of the attribution mass lies on the object, which covers "
        f"{percent(evidence.area)} of the picture (lift {evidence.mass.mean / evidence.area:.1f}, "
        f"n = {evidence.n_object}){nulls}."
    )


def sampling_text(evidence: Evidence) -> str:
    """That not all samples have a map, and why that is enough."""
    return (
        f"Maps were made of {evidence.n_drawn} of {evidence.n_drawn + evidence.n_left} {evidence.label} photos, drawn "
        "at random until they sufficed; the intervals of what they show hold at whatever moment one stops."
    )


def effect_text(effect: Effect) -> str:
    """What an intervention did, in the words of its own `sentence`."""
    change, control_change = effect.after - effect.before, effect.control - effect.before
    return str(
        plugins.find(interventions, effect.kind).sentence.format(
            confound=effect.confound,
            a_confound=f"{'An' if effect.confound[:1].lower() in 'aeiou' else 'A'} {effect.confound}",
            label=effect.label,
            others=f"{effect.subjects[0]} photos" if len(effect.subjects) == 1 else "photos of other classes",
            moves=_moves(change),
            control_moves=_moves_too(control_change, change),
            after=percent(effect.after),
            control=percent(effect.control),
            turned=percent(effect.turned),
            control_turned=percent(effect.control_turned),
            sensitivity=""
            if math.isnan(effect.sensitivity)
            else f": a relative foreground sensitivity of {effect.sensitivity:+.2f}",
            tail=f"n = {effect.n}{_q_text(effect.q_value)}",
        )
    )


def interval_text(effect: Effect) -> str:
    """How large an effect may be."""
    size, sizes = effect.size, sorted(one.mean for _, one in effect.by_fill)
    text = (
        f"beyond the control that is {points(size.mean)} points ({points(size.low)} to {points(size.high)})"
    )
    if len(sizes) < 2:
        return text
    return f"{text}, {points(sizes[0])} to {points(sizes[-1])} points depending on what fills the place"


def contradiction_text(effect: Effect) -> str:
    """Why a property that moves the decision one way and the other is not what decides."""
    sizes = dict(effect.by_fill)
    around = sizes.pop(SURROUNDINGS)
    (whole,) = sizes.values()
    return (
        f"The {effect.confound} ({effect.kind}) moves the {effect.label} probability by {points(whole.mean)} points "
        f"beyond the control in the whole picture, by {points(around.mean)} around the object: how the object looks "
        "does that, not the property."
    )


def unbound_text(finding: Finding, limits: VerdictLimits) -> str:
    """What is known of the bond of a confound that draws mass and is not clearly bound to the class."""
    if not finding.n_others:
        return f"{finding.confound} draws mass but cannot be compared with other classes"
    if finding.is_unbound(limits):
        return f"{finding.confound} draws mass but is not bound to the class"
    low, high = points(finding.association.low), points(finding.association.high)
    return (
        f"{finding.confound} draws mass; whether it is bound to the class stays open (its association is {low} "
        f"to {high} points)"
    )


def bond_text(bond: Bond) -> str:
    """How a global property tells a class."""
    if bond.category:
        return (
            f"{bond.confound}: {bond.category} in {percent(bond.share)} of {bond.n_class} {bond.label} photos and in "
            f"{percent(bond.others_share)} of {bond.n_others} others."
        )
    return (
        f"{bond.confound} is {'higher' if bond.is_higher else 'lower'} in {bond.label} photos, typically "
        f"{bond.own:.3g} against {bond.others:.3g} elsewhere: it tells {percent((1 + bond.separation.mean) / 2)} of "
        f"pairs of a {bond.label} photo and another apart (n = {bond.n_class} and {bond.n_others})."
    )


def untested_bond_text(bond: Bond, limits: VerdictLimits) -> str:
    """What is known of a property that no intervention tested."""
    why = (
        f"No intervention tested {bond.confound}"
        if bond.is_changeable
        else f"Pixels do not hold {bond.confound}, so no intervention can test it"
    )
    if math.isnan(bond.follow_q):
        return f"{why}, and there are no errors that could follow it."
    if not bond.is_followed(limits.q):
        return f"{why}; predictions do not clearly follow it (q = {bond.follow_q:.2g})."
    return f"{why}; within a label predictions go with it ({_q_text(bond.follow_q)[2:]})."


def elsewhere_text(finding: Finding) -> str:
    """Why a class is spurious although the audited data do not bind the confound to it."""
    if not finding.n_others:
        return (
            f"{finding.confound} cannot be compared with other classes in these data: {counts_text(finding)}"
        )
    return (
        f"{finding.confound} is not clearly bound to {finding.label} in these data, so the model has learned it "
        f"from others: {counts_text(finding)}"
    )


def disagreement_text(confound: str, tested: tuple[Effect, ...], evidence: Evidence) -> str:
    """What the maps accuse and interventions do not confirm."""
    limits: VerdictLimits = evidence.limits
    if not evidence.was_intervened:
        return "No intervention was run, so this shows where the model looks, not yet what it decides by."
    if not tested:
        return _untested_text(confound, evidence)
    if all(effect.is_none(limits) for effect in tested):
        return (
            f"Maps and interventions disagree: the maps accuse {confound}, yet changing it moves the "
            f"{evidence.label} probability by less than {_hundredths(limits.delta)} points more than a control does."
        )
    unsettled = [effect for effect in tested if not effect.is_none(limits)]
    largest = max(unsettled, key=lambda effect: max(effect.size.high, -effect.size.low))
    return f"The maps accuse {confound}, the interventions do not settle it: {interval_text(largest)}."


def _untested_text(confound: str, evidence: Evidence) -> str:
    tried = [
        effect
        for effect in evidence.effects
        if effect.confound == confound and effect.carries and not effect.is_far
    ]
    if not tried:
        return (
            f"No intervention was tried on {confound}, so this shows where the model looks, not yet what it "
            "decides by."
        )
    most = max(tried, key=lambda effect: effect.n)
    return (
        f"No intervention could test {confound}: {most.n} of {most.n_tried} changed photos had room for a control, "
        f"and a verdict asks for {evidence.limits.minimum_samples}."
    )


def _moves(change: float) -> str:
    """A change of a probability as a verb."""
    return f"{'falls' if change < 0 else 'rises'} by {_in_points(change)}"


def _moves_too(change: float, other: float) -> str:
    """The same after another change; the verb is not said twice."""
    goes_too = change == 0 or (change < 0) == (other < 0)
    return f"by {_hundredths(abs(change))}" if goes_too else f"it {_moves(change)}"


def _in_points(change: float) -> str:
    amount = _hundredths(abs(change))
    return f"{amount} point{'' if amount in ('1', 'under 1') else 's'}"


def _q_text(q_value: float) -> str:
    if math.isnan(q_value):
        return ""
    return ", q < 0.001" if q_value < 0.001 else f", q = {q_value:.2g}"
