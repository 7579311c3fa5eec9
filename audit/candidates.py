"""Which confounds of which classes are worth an intervention: from the score tables, bounded."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from audit.bonds import bonds
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


@dataclass(frozen=True)
class PropertyCandidate:
    """A global property that may tell a class.

    Attributes:
        label: the class in question.
        confound: name of the property.
        own, others: the values that are typical of the class and of all others.
        showing: ids of the class's samples that are nearer to the class's value.
        without: ids of other classes' samples that are nearer to the others' value.
    """

    label: str
    confound: str
    own: float
    others: float
    showing: frozenset[str]
    without: frozenset[str]


def property_candidates(
    tables: Mapping[str, pd.DataFrame],
    *,
    minimum_shown: int,
    minimum_separation: float,
    per_class: int,
    level: float = 0.95,
) -> tuple[PropertyCandidate, ...]:
    """The properties of each class that are tried, the closest bond of a class first; only what pixels can change.

    Args:
        tables: `predictions` and, where they were measured, `properties` of a run.
        minimum_shown: samples on either side that must have the value that is typical there.
        minimum_separation: of the class from the others, |2 AUC - 1|.
        per_class: at most so many properties a class.
        level: confidence with which the class must be told apart at all.
    """
    found: list[PropertyCandidate] = []
    for bond in bonds(tables, level):
        is_full = sum(one.label == bond.label for one in found) >= per_class
        if is_full or not bond.is_changeable or not bond.is_bound(minimum_separation):
            continue
        rows = tables["properties"].loc[tables["properties"]["property"] == bond.confound]
        rows = rows[rows["value"].notna()].merge(
            tables["predictions"][["sample_id", "label"]], on="sample_id"
        )
        is_class, has = (rows["label"] == bond.label).to_numpy(), bond.has(rows["value"].to_numpy())
        showing, without = (
            frozenset(rows.loc[who, "sample_id"]) for who in (is_class & has, ~is_class & ~has)
        )
        if min(len(showing), len(without)) >= minimum_shown:
            found.append(
                PropertyCandidate(bond.label, bond.confound, bond.own, bond.others, showing, without)
            )
    return tuple(found)


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
