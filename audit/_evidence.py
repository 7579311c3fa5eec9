"""What score and intervention tables say of one class by one method, gathered for the links of a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from audit import statistics
from audit._findings import Finding, known_mean, mean
from audit.bonds import CLOSE, Bond
from audit.effects import Effect
from audit.interventions import Link, Scope
from audit.sampling import Estimates
from audit.types import Interval, MapStatus, VerdictLimits


@dataclass(frozen=True)
class Evidence:
    """All that is known about one class by one method.

    Attributes:
        n_maps: samples whose map has mass.
        n_object: those of them where mass inside could be measured; the next four are over these.
        mass: mean mass inside the foreground.
        area, edges: mean share of the picture, and of an edge map, on the foreground.
        untrained, n_untrained: mean of mass inside of the model with random weights, over those samples.
        excess: mean of mass inside minus area inside, paired.
        n_for_excess: samples after which the excess is told from 0.
        poor_maps: number of maps by a status that casts doubt on them.
        findings: confounds that occur in the class, the largest excess first.
        effects: what interventions did to the probability of the class, the largest first.
        bonds: global properties of the class, the closest bond first.
        was_intervened: whether the run has interventions at all.
        n_drawn, n_left: samples of the class whose maps were made, and those left, since the first suffice.
    """

    label: str
    method: str
    n_maps: int
    n_object: int
    mass: Interval
    area: float
    edges: float
    untrained: float
    n_untrained: int
    excess: Interval
    n_for_excess: float
    poor_maps: Mapping[str, int]
    findings: tuple[Finding, ...]
    effects: tuple[Effect, ...]
    bonds: tuple[Bond, ...]
    was_intervened: bool
    limits: VerdictLimits
    n_drawn: int = 0
    n_left: int = 0

    @property
    def n(self) -> int:
        """Samples behind mass inside; without annotations, behind the confounds' shares."""
        return self.n_object or self.n_maps

    @property
    def is_object_measured(self) -> bool:
        """Whether enough samples tell of the object."""
        return self.n_object >= self.limits.minimum_samples

    @property
    def is_settled(self) -> bool:
        """Whether maps of more samples would hardly change a verdict: each mean is for sure on its side of a line."""
        if self.n_maps < self.limits.minimum_samples:
            return False
        if self.n_object and not (self.excess.low > 0 or self.excess.high <= 0):
            return False
        return all(
            finding.confound in self.accepted
            or finding.is_harmless(self.limits)
            or finding.excess.low >= self.limits.minimum_effect
            for finding in self.findings
        )

    @property
    def accepted(self) -> Mapping[str, str]:
        """Reasons by accepted confound."""
        return self.limits.accepted.get(self.label, {})

    @property
    def explanations(self) -> tuple[Finding, ...]:
        """Confounds that draw mass and are bound to the class, each on enough samples."""
        return tuple(
            f
            for f in self.findings
            if f.n_measured >= self.limits.minimum_samples
            and f.passes_screen(self.limits)
            and f.is_associated(self.limits)
        )

    @property
    def confounds(self) -> tuple[str, ...]:
        """Everything that was looked at, the largest excess first, then the largest effects."""
        return tuple(
            dict.fromkeys([*(f.confound for f in self.findings), *(e.confound for e in self.effects)])
        )

    @property
    def proofs(self) -> tuple[Effect, ...]:
        """Effects that prove a confound, accepted or not; things before the background, which holds them."""
        proven = [effect for effect in self.effects if effect.is_proof(self.limits)]
        return tuple(sorted(proven, key=lambda effect: self._precedence(effect, proven)))

    def _precedence(self, effect: Effect, proven: Sequence[Effect]) -> tuple[int, int, int]:
        """What is named first of all that is proven: the least of the picture.

        A thing changes the picture's properties, and both are part of the background. Properties move together (a
        tint makes a grey picture colourful): the one that works both ways is named before one that works only one
        way, since grey pictures can be tinted and not be made more colourful; then the one with the closest bond.
        """
        if effect.scope is not Scope.PROPERTY:
            return _WIDTH[effect.scope], 0, 0
        links = {other.link for other in proven if other.confound == effect.confound}
        closeness = [bond.confound for bond in self.bonds]
        place = closeness.index(effect.confound) if effect.confound in closeness else len(closeness)
        return _WIDTH[effect.scope], -len(links), place

    @property
    def signs(self) -> tuple[Effect, ...]:
        """Effects that show and yet prove nothing: see `Effect.is_proof`; far ones only for want of any other test.

        A thing that is all there is to see can bring a class although nothing of it counts beside the object.
        """
        return tuple(
            effect
            for effect in self.effects
            if effect.shows(self.limits)
            and not effect.is_proof(self.limits)
            and not (effect.is_far and self.tested(effect.confound))
        )

    def bond(self, confound: str) -> Bond | None:
        """How well a global property tells the class; None for what is none."""
        return next((found for found in self.bonds if found.confound == confound), None)

    @property
    def followed(self) -> tuple[Bond, ...]:
        """Properties that tell the class, that predictions follow, and that no intervention could test."""
        minimum = self.limits.minimum_samples
        return tuple(
            bond
            for bond in self.bonds
            if bond.is_bound(CLOSE)
            and bond.is_followed(self.limits.q)
            and min(bond.n_class, bond.n_others) >= minimum
            and not self.tested(bond.confound)
        )

    def finding(self, confound: str) -> Finding | None:
        """What the screen says of a confound; None for what has no region."""
        return next((found for found in self.findings if found.confound == confound), None)

    def tested(self, confound: str) -> tuple[Effect, ...]:
        """The effects of a confound that verdicts may rest on and that were measured on enough samples."""
        return tuple(
            effect
            for effect in self.effects
            if effect.confound == confound
            and effect.carries
            and not effect.is_far
            and effect.is_measured(self.limits)
        )

    def unsettled(self, confound: str) -> tuple[Effect, ...]:
        """Those of the tested effects of a confound that may be more than none, in either direction."""
        return tuple(effect for effect in self.tested(confound) if not effect.is_none(self.limits))

    def effect(self, confound: str | None, link: Link) -> Interval:
        """The largest effect of a confound in a link, a far one only for want of others; not measured without any."""
        found = [e for e in self.effects if e.confound == confound and e.link is link]
        return next((e.size for e in sorted(found, key=lambda e: e.is_far)), statistics.NOT_MEASURED)

    def is_open(self, confound: str) -> bool:
        """Whether a confound stands in the way of calling the class sound.

        Interventions, where they were measured, outweigh the screen in both directions.
        """
        if confound in self.accepted:
            return False
        if self.tested(confound):
            return bool(self.unsettled(confound))
        found = self.finding(confound)
        return found is not None and not found.is_harmless(self.limits)


_WIDTH = {Scope.REGION: 0, Scope.PROPERTY: 1, Scope.BACKGROUND: 2}
"""Which of several proven confounds is named first: the one that is least of the picture."""


def evidence(
    label: str,
    method: str,
    scores: pd.DataFrame,
    findings: tuple[Finding, ...],
    effects: tuple[Effect, ...] | None,
    bonds: tuple[Bond, ...],
    limits: VerdictLimits,
    level: float,
    *,
    n_left: int | None = None,
) -> Evidence:
    """What is known about one class by one method.

    Args:
        label, method: which.
        scores: its rows of `attributions`; those of a run that sampled in the order of drawing.
        findings, bonds: of all classes.
        effects: of all classes; None where none was looked for.
        limits, level: the lines, and the confidence of intervals.
        n_left: samples of the class without a map, in a run that sampled; None where all were to have one.
    """
    estimates = Estimates(level, was_sampled=n_left is not None, n_left=n_left or 0)
    measured = scores[scores["mass_inside"].notna()]
    mass, area = measured["mass_inside"].to_numpy(), measured["area_inside"].to_numpy()
    statuses = scores["status"].value_counts()
    good = (MapStatus.OK, MapStatus.CONVERGED)
    return Evidence(
        label=label,
        method=method,
        n_maps=int(scores["map_entropy"].notna().sum()),
        n_object=len(measured),
        mass=estimates.share(mass),
        area=mean(area),
        edges=known_mean(measured["edge_mass_inside"].to_numpy()),
        untrained=known_mean(measured["untrained_mass_inside"].to_numpy()),
        n_untrained=int(measured["untrained_mass_inside"].notna().sum()),
        excess=estimates.difference(mass, area),
        n_for_excess=estimates.n_to_tell(mass, area, 0.0),
        poor_maps={str(status): int(n) for status, n in sorted(statuses.items()) if status not in good},
        findings=tuple(f for f in findings if f.label == label and f.method == method),
        effects=tuple(effect for effect in effects or () if effect.label == label),
        bonds=tuple(bond for bond in bonds if bond.label == label),
        was_intervened=effects is not None,
        limits=limits,
        n_drawn=len(scores),
        n_left=n_left or 0,
    )
