"""The table `interventions` -> the effect of each intervention on each class, with interval and error control."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

import audit.interventions as interventions
from audit import plugins, statistics
from audit.interventions import Link, Scope
from audit.types import Interval, VerdictLimits

_KEY = ["label", "confound", "kind"]


@dataclass(frozen=True)
class Effect:
    """What one intervention on one confound does to the probability of one class.

    Numbers are over the samples that have both a changed picture and a control; those of a sample are means over
    its fills. They are NaN where there are too few.

    Attributes:
        label: the class in question.
        confound, kind: what was changed, and how.
        link: the link of the chain that it belongs to.
        scope: a thing, or the background as a whole.
        subjects: labels of the changed samples, sorted.
        n_tried, n: changed samples, and those with a control.
        before, after, control: mean probability of the class.
        turned, control_turned: share of the samples that are then taken for the class.
        size: mean effect beyond the control, with interval; positive is what makes a confound spurious.
        by_fill: mean effect by fill, sorted by name; of those that enough samples have.
        p_value, q_value: of the effect being above 0 by every fill; q over everything that carries verdicts.
        n_to_bound: samples after which the effect is told from delta, or from 0; NaN where fills disagree.
    """

    label: str
    confound: str
    kind: str
    link: Link
    scope: Scope
    subjects: tuple[str, ...]
    n_tried: int
    n: int
    before: float
    after: float
    control: float
    turned: float
    control_turned: float
    size: Interval
    by_fill: tuple[tuple[str, float], ...]
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

        What only some fills show may be a trace of those fills.
        """
        return (
            self.carries
            and self.is_measured(limits)
            and self.q_value <= limits.q
            and self.least >= limits.minimum_change
        )

    @property
    def least(self) -> float:
        """The smallest mean effect of any fill."""
        return min((size for _, size in self.by_fill), default=self.size.mean)


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
        turned=paired["predicted_after"] == label, control_turned=paired["predicted_control"] == label
    )
    columns = ["score_before", "score_after", "score_control", "turned", "control_turned"]
    samples = paired.groupby("sample_id")[columns].mean()
    after, control = samples["score_after"].to_numpy(), samples["score_control"].to_numpy()
    first, second = (control, after) if plugin.link is Link.NECESSITY else (after, control)
    size = statistics.paired_difference(first, second, level)
    fills = _by_fill(paired, plugin.link, limits)
    means = {name: float(samples[name].mean()) if len(samples) else math.nan for name in columns}
    return Effect(
        label=label,
        confound=confound,
        kind=kind,
        link=plugin.link,
        scope=plugin.scope,
        subjects=tuple(sorted(labels.loc[rows["sample_id"].unique()].unique())),
        n_tried=int(rows["sample_id"].nunique()),
        n=len(samples),
        before=means["score_before"],
        after=means["score_after"],
        control=means["score_control"],
        turned=means["turned"],
        control_turned=means["control_turned"],
        size=size,
        by_fill=tuple((name, float(one.mean() - other.mean())) for name, (one, other) in fills.items()),
        # A claim that holds by every fill is tested by the largest p value, without any correction for their number.
        p_value=max(statistics.p_greater(*pair) for pair in fills.values()) if fills else math.nan,
        q_value=math.nan,
        n_to_bound=_n_to_bound(first - second, fills, limits, level),
    )


def _by_fill(
    paired: pd.DataFrame, link: Link, limits: VerdictLimits
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Scores whose difference is the effect, by fill; fills that few samples have room for are left out."""
    columns = ("score_control", "score_after") if link is Link.NECESSITY else ("score_after", "score_control")
    return {
        str(fill): (rows[columns[0]].to_numpy(), rows[columns[1]].to_numpy())
        for fill, rows in paired.groupby("fill")
        if len(rows) >= limits.minimum_samples
    }


def _n_to_bound(
    difference: np.ndarray,
    fills: Mapping[str, tuple[np.ndarray, np.ndarray]],
    limits: VerdictLimits,
    level: float,
) -> float:
    """Samples after which the effect is below delta for sure, or above 0 for sure by every fill."""
    if not len(difference) or difference.mean() < limits.delta:
        margin = limits.delta - difference.mean() if len(difference) else math.nan
        return statistics.n_for_margin(difference, margin, level)
    by_fill = [one - other for one, other in fills.values()]
    if any(size.mean() < limits.minimum_change for size in by_fill):
        return math.nan  # more samples do not make fills agree
    return max((statistics.n_for_margin(size, size.mean(), level) for size in by_fill), default=math.nan)


def _or_least(value: float) -> float:
    return -math.inf if math.isnan(value) else value
