"""Which confounds of which classes are worth an intervention: from the score tables, bounded."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from audit.verdicts import presence


@dataclass(frozen=True)
class Candidate:
    """A confound that may tell a class.

    Attributes:
        label: the class in question.
        confound: name of the thing.
    """

    label: str
    confound: str


def candidates(
    tables: Mapping[str, pd.DataFrame], *, minimum_shown: int, per_class: int
) -> tuple[Candidate, ...]:
    """The confounds of each class that are tried, the most suspicious of a class first.

    Suspicious is what is bound to the class or draws mass: the order is by the larger of the association and of
    the largest mean excess of mass over area by any method. Nothing here depends on the limits of verdicts, so
    other limits need no other interventions.

    Args:
        tables: `predictions` and `confounds` of a run.
        minimum_shown: samples of the class that must show a confound.
        per_class: at most so many confounds a class.
    """
    labels = tables["predictions"]["label"]
    shows = presence(tables)
    excess = _excess(tables)
    found = []
    for label in sorted(labels.unique()):
        is_class = labels == label
        strengths = {}
        for confound in shows.columns:
            n_shown = int(shows.loc[is_class, confound].sum())
            if n_shown >= minimum_shown:
                elsewhere = shows.loc[~is_class, confound].mean() if not is_class.all() else 0.0
                association = n_shown / int(is_class.sum()) - elsewhere
                strengths[confound] = max(association, excess.get((label, confound), association))
        ranked = sorted(strengths, key=lambda confound: (-strengths[confound], confound))
        found += [Candidate(label, confound) for confound in ranked[:per_class]]
    return tuple(found)


def _excess(tables: Mapping[str, pd.DataFrame]) -> dict[tuple[str, str], float]:
    """The largest mean of mass share minus area share over the methods, by class and confound."""
    shown = tables["confounds"][tables["confounds"]["mass_inside"].notna()]
    rows = shown.merge(tables["predictions"][["sample_id", "label"]], on="sample_id", validate="many_to_one")
    means = (
        rows.assign(excess=rows["mass_inside"] - rows["area_inside"])
        .groupby(["label", "confound", "method"])["excess"]
        .mean()
    )
    return {
        (str(label), str(confound)): value
        for (label, confound), value in means.groupby(level=[0, 1]).max().items()
    }
