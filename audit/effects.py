"""The table `interventions` -> the effect of each intervention on each class, with interval and error control."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

import audit.interventions as interventions
from audit import plugins, statistics
from audit.interventions import REPEAT, SURROUNDINGS, Link, Scope
from audit.types import Interval, VerdictLimits

_KEY = ["label", "confound", "kind"]


@dataclass(frozen=True)
class Effect:
    """What one intervention on one confound does to the probability of one class.

    Numbers are over the samples that have both a changed picture and a control; those of a sample are means over
    its fills, those of a fill means over its repetitions. They are NaN where there are too few.

    Attributes:
        label: the class in question.
        confound, kind: what was changed, and how.
        link: the link of the chain that it belongs to.
        scope: a thing, the background as a whole, or a global property.
        is_far: its pictures are far from what the model was made for; see `audit.interventions.Intervention`.
        subjects: labels of the changed samples, sorted.
        n_tried, n: changed samples, and those with a control.
        before, after, control: mean probability of the class.
        turned, control_turned: share of the samples that are then taken for the class.
        size: mean effect beyond the control, with interval; positive is what makes a confound spurious.
        by_fill: effect by fill with interval, sorted by name; of those that enough samples have.
        own_by_fill: the same beyond the picture as it is, instead of the control.
        p_value, q_value: of the effect being above 0 by every fill; q over everything that carries verdicts.
        n_to_bound: samples after which the effect is told from delta, or from 0; NaN where fills disagree.
    """

    label: str
    confound: str
    kind: str
    link: Link
    scope: Scope
    is_far: bool
    subjects: tuple[str, ...]
    n_tried: int
    n: int
    before: float
    after: float
    control: float
    turned: float
    control_turned: float
    size: Interval
    by_fill: tuple[tuple[str, Interval], ...]
    own_by_fill: tuple[tuple[str, Interval], ...]
    p_value: float
    q_value: float
    n_to_bound: float

    @property
    def carries(self) -> bool:
        """Whether a verdict may rest on it."""
        return self.link is not Link.REMARK

    def is_measured(self, limits: VerdictLimits) -> bool:
        """Whether there are enough samples to say anything."""
        return self.n >= limits.minimum_samples

    def is_proof(self, limits: VerdictLimits) -> bool:
        """Whether the decision rests on the confound: certain, and large enough to matter, by every fill.

        What only some fills show may be a trace of those fills, what shows on far pictures alone a habit that does not
        count on others, and a property that was changed on the object too may be the object's own.
        """
        is_of_object = self.scope is Scope.PROPERTY and SURROUNDINGS not in dict(self.by_fill)
        return self.shows(limits) and not self.is_far and not is_of_object

    def shows(self, limits: VerdictLimits) -> bool:
        """Whether the decision follows the changed pictures: certain, and enough to matter, by every fill."""
        return (
            self.carries
            and self.is_measured(limits)
            and self.q_value <= limits.q
            and self.least >= limits.minimum_change
        )

    @property
    def least(self) -> float:
        """The smallest mean effect of any fill."""
        return min((size.mean for _, size in self.by_fill), default=self.size.mean)

    def is_none(self, limits: VerdictLimits) -> bool:
        """Whether it lies within +-delta for sure, by every fill: fills must not cancel, nor one hide in a mean.

        The control of a global property is another change, not the absence of one: where it harms more, that says
        nothing for the property, so only an effect above delta counts. Its fills are no fills of one hole either, but
        the whole picture and what surrounds the object: see `is_contradicted`.
        """
        if self.is_contradicted(limits):
            return True
        delta = limits.delta
        low = -math.inf if self.scope is Scope.PROPERTY else -delta
        return all(
            one.high < delta and one.low > low for one in (self.size, *(size for _, size in self.by_fill))
        )

    def is_contradicted(self, limits: VerdictLimits) -> bool:
        """Whether a property moves the decision one way in the whole picture and the other way around the object.

        Then what moves it is how the object looks, or how far it stands out, which the two change in opposite ways (a
        picture turned grey hides its object, grey surroundings show it), and not the property. One way must be sure;
        the other too, by more than delta, and against the picture as it is as well as against the control, which may
        do harm of its own. Never where the surroundings alone may move it enough to matter.
        """
        sizes, own = dict(self.by_fill), dict(self.own_by_fill)
        if self.scope is not Scope.PROPERTY or SURROUNDINGS not in sizes:
            return False
        is_one_way = any(size.low > 0 for size in sizes.values())
        is_opposite = any(
            size.high < 0 and size.mean <= -limits.delta and own[name].high < 0
            for name, size in sizes.items()
        )
        return is_one_way and is_opposite and sizes[SURROUNDINGS].high < limits.minimum_change

    @property
    def sensitivity(self) -> float:
        """(control_turned - turned) / (2 min(a, 1 - a)), a their mean; NaN where all or none are.

        In [-1, 1]; of noise on the object against noise on the background, above 0 the object matters more.

        Source: relative foreground sensitivity, eq. 1 of Moayeri et al. 2022, arXiv:2201.10766.
        """
        mean = (self.turned + self.control_turned) / 2
        room = 2 * min(mean, 1 - mean)
        return (self.control_turned - self.turned) / room if room > 0 else math.nan


def effects(tables: Mapping[str, pd.DataFrame], limits: VerdictLimits, level: float) -> tuple[Effect, ...]:
    """Every effect that was looked for, the largest first; none where the run has no interventions.

    Args:
        tables: `predictions` and, where interventions were run, `interventions`.
        limits: its delta is what `n_to_bound` refers to.
        level: confidence of the intervals.
    """
    if "interventions" not in tables:
        return ()
    rows = tables["interventions"].sort_values(["sample_id", "confound", "kind", "fill"])
    labels = tables["predictions"].set_index("sample_id")["label"]
    found = [_effect(key, group, labels, limits, level) for key, group in rows.groupby(_KEY)]
    p_values = np.array([effect.p_value if effect.carries else math.nan for effect in found])
    q_values = statistics.false_discovery_rates(p_values)
    adjusted = [
        dataclasses.replace(effect, q_value=float(q)) for effect, q in zip(found, q_values, strict=True)
    ]
    return tuple(sorted(adjusted, key=lambda e: (-_or_least(e.size.mean), e.confound, e.kind)))


def _effect(
    key: tuple[str, str, str], rows: pd.DataFrame, labels: pd.Series, limits: VerdictLimits, level: float
) -> Effect:
    """One effect without its q value; `rows` are those of the class, confound and kind."""
    label, confound, kind = key
    plugin = plugins.find(interventions, kind)
    paired = rows[rows["score_after"].notna() & rows["score_control"].notna()]
    paired = paired.assign(
        turned=paired["predicted_after"] == label,
        control_turned=paired["predicted_control"] == label,
        fill=[str(fill).partition(REPEAT)[0] for fill in paired["fill"]],
    )
    columns = ["score_before", "score_after", "score_control", "turned", "control_turned"]
    per_fill = paired.groupby(["sample_id", "fill"])[columns].mean().reset_index()
    samples = per_fill.groupby("sample_id")[columns].mean()
    after, control = samples["score_after"].to_numpy(), samples["score_control"].to_numpy()
    first, second = (control, after) if plugin.link is Link.NECESSITY else (after, control)
    size = statistics.paired_difference(first, second, level)
    fills = _by_fill(per_fill, plugin.link, limits, "score_control")
    own = _by_fill(per_fill, plugin.link, limits, "score_before")
    means = {name: float(samples[name].mean()) if len(samples) else math.nan for name in columns}
    return Effect(
        label=label,
        confound=confound,
        kind=kind,
        link=plugin.link,
        scope=plugin.scope,
        is_far=plugin.is_far,
        subjects=tuple(sorted(labels.loc[rows["sample_id"].unique()].unique())),
        n_tried=int(rows["sample_id"].nunique()),
        n=len(samples),
        before=means["score_before"],
        after=means["score_after"],
        control=means["score_control"],
        turned=means["turned"],
        control_turned=means["control_turned"],
        size=size,
        by_fill=tuple((name, statistics.paired_difference(*pair, level)) for name, pair in fills.items()),
        own_by_fill=tuple((name, statistics.paired_difference(*pair, level)) for name, pair in own.items()),
        # A claim that holds by every fill is tested by the largest p value, without any correction for their number.
        p_value=max(statistics.p_greater(*pair) for pair in fills.values()) if fills else math.nan,
        q_value=math.nan,
        n_to_bound=_n_to_bound(
            [first - second, *(one - other for one, other in fills.values())], limits, level
        ),
    )


def _by_fill(
    paired: pd.DataFrame, link: Link, limits: VerdictLimits, beside: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Scores whose difference is the effect, by fill; fills that few samples have room for are left out.

    Args:
        paired: a row for each sample and fill.
        link: which way an effect counts.
        limits: `minimum_samples` of a fill.
        beside: what the changed picture is held against, `score_control` or `score_before`.
    """
    columns = (beside, "score_after") if link is Link.NECESSITY else ("score_after", beside)
    return {
        str(fill): (rows[columns[0]].to_numpy(), rows[columns[1]].to_numpy())
        for fill, rows in paired.groupby("fill")
        if len(rows) >= limits.minimum_samples
    }


def _n_to_bound(differences: Sequence[np.ndarray], limits: VerdictLimits, level: float) -> float:
    """Samples after which the effect is within +-delta for sure, or above 0 for sure, by every fill.

    Args:
        differences: the effect on each sample, then the same by each fill.
        limits: where none ends and proof begins.
        level: confidence of the intervals.

    Returns:
        NaN where more samples would not decide: an opposite effect, fills that disagree, or nothing measured.
    """
    means = [float(one.mean()) for one in differences if len(one)]
    if not means:
        return math.nan
    if max(map(abs, means)) < limits.delta:
        margins = [limits.delta - abs(mean) for mean in means]
    elif min(means[1:], default=means[0]) >= limits.minimum_change:
        margins = means
    else:
        return math.nan
    # What does not vary is certain already.
    varying = [(one, margin) for one, margin in zip(differences, margins, strict=True) if np.ptp(one) > 0]
    needed = [statistics.n_for_margin(one, margin, level) for one, margin in varying]
    return max(needed) if needed and not any(map(math.isnan, needed)) else math.nan


def _or_least(value: float) -> float:
    return -math.inf if math.isnan(value) else value
