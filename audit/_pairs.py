"""Two runs -> pairs of scores of one and the same image, by class, method and statistic, and what forbids a pair."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import audit.interventions as interventions
from audit import plugins
from audit.certificate import trusted
from audit.interventions import Link
from audit.types import AuditRun

ACCURACY, MASS_INSIDE, MASS_ON = "accuracy", "mass_inside", "mass_on"
NO_METHOD = ""
_SAME_AREA = 1.1
"""Areas of one region in both runs differ by at most this factor, or the region was annotated or found anew."""


@dataclass(frozen=True)
class Pairs:
    """The scores of one statistic of one class in both runs.

    Attributes:
        label, method, statistic: as in the table `changes`.
        reference, candidate: float64 (N,), row by row of the same sample.
        n_dropped: samples that both runs measured and that are still no pair, by reason.
        obstacle: why the two runs must not be compared in this; empty where they may.
    """

    label: str
    method: str
    statistic: str
    reference: np.ndarray
    candidate: np.ndarray
    n_dropped: Mapping[str, int]
    obstacle: str = ""


def match(reference: AuditRun, candidate: AuditRun) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    """Samples that are the same in both runs, and the ids of all others by reason.

    Returns:
        Columns sample_id and label, sorted; ids by reason, only reasons that occur.
    """
    columns = ["sample_id", "label", "digest"]
    one, other = (run.tables["predictions"][columns] for run in (reference, candidate))
    both = one.merge(other, on="sample_id", suffixes=("", "_other"), validate="one_to_one")
    is_other_image = both["digest"] != both["digest_other"]
    is_other_label = ~is_other_image & (both["label"] != both["label_other"])
    found = {
        **_missing(one, other, candidate, "candidate"),
        **_missing(other, one, reference, "reference"),
        "another image under the same id": both.loc[is_other_image, "sample_id"],
        "another label": both.loc[is_other_label, "sample_id"],
    }
    pairs = both.loc[~is_other_image & ~is_other_label, ["sample_id", "label"]].sort_values("sample_id")
    named = {reason: tuple(sorted(map(str, ids))) for reason, ids in found.items() if len(ids)}
    return pairs.reset_index(drop=True), named


def all_pairs(reference: AuditRun, candidate: AuditRun, samples: pd.DataFrame) -> Iterator[Pairs]:
    """Every statistic of every class that either run measured, in the order of classes, methods and statistics.

    Args:
        reference, candidate: the runs.
        samples: as `match` gives them.
    """
    found = [
        *_accuracies(reference, candidate, samples),
        *_masses(reference, candidate, samples),
        *_effects(reference, candidate, samples),
    ]
    classes = {name: place for place, name in enumerate((*reference.classes, *candidate.classes))}
    yield from sorted(found, key=lambda pairs: classes[pairs.label])


def methods_of(run: AuditRun) -> tuple[str, ...]:
    """Attribution methods of a run, as configured."""
    return tuple(run.manifest["methods"])


def _missing(here: pd.DataFrame, there: pd.DataFrame, other: AuditRun, side: str) -> dict[str, pd.Series]:
    """Ids that only `here` has, apart those that the other run put into quarantine."""
    alone = here.loc[~here["sample_id"].isin(there["sample_id"]), "sample_id"]
    is_quarantined = alone.isin(other.tables["quarantine"]["sample_id"])
    return {
        f"not in the {side}": alone[~is_quarantined],
        f"in quarantine in the {side}": alone[is_quarantined],
    }


def _accuracies(reference: AuditRun, candidate: AuditRun, samples: pd.DataFrame) -> Iterator[Pairs]:
    joined = samples
    for run, side in ((reference, "reference"), (candidate, "candidate")):
        right = run.tables["predictions"][["sample_id", "correct"]].rename(columns={"correct": side})
        joined = joined.merge(right, on="sample_id", validate="one_to_one")
    groups = dict(list(joined.groupby("label")))
    for label in _labels(reference, candidate):
        rows = groups.get(label, joined.iloc[:0])
        one, other = (rows[side].to_numpy(np.float64) for side in ("reference", "candidate"))
        yield Pairs(label, NO_METHOD, ACCURACY, one, other, {}, _class_obstacle(label, reference, candidate))


def _masses(reference: AuditRun, candidate: AuditRun, samples: pd.DataFrame) -> Iterator[Pairs]:
    """Mass inside the object, and on each confound that is visible in both runs."""
    scores = [_mass_rows(run) for run in (reference, candidate)]
    keys = ["sample_id", "method", "statistic"]
    joined = scores[0].merge(scores[1], on=keys, suffixes=("", "_other"), validate="one_to_one")
    joined = joined.merge(samples, on="sample_id", validate="many_to_one")
    groups = dict(list(joined.groupby(["label", "method", "statistic"])))
    tried = {
        key for run, rows in zip((reference, candidate), scores, strict=True) for key in _keys(run, rows)
    }
    methods = dict.fromkeys((*methods_of(reference), *methods_of(candidate)))
    obstacles = {method: _method_obstacle(method, reference, candidate) for method in methods}
    for label in _labels(reference, candidate):
        for method in methods:
            statistics = {key[2] for key in tried if key[:2] == (label, method)}
            obstacle = _class_obstacle(label, reference, candidate) or obstacles[method]
            for statistic in sorted(statistics, key=lambda name: (name != MASS_INSIDE, name)):
                rows = groups.get((label, method, statistic), joined.iloc[:0])
                one, other, dropped = _same_question(rows)
                yield Pairs(label, method, statistic, one, other, dropped, obstacle)


def _mass_rows(run: AuditRun) -> pd.DataFrame:
    """sample_id, method, statistic, mass, area, target of every measured mass of a run."""
    columns = ["sample_id", "method", "mass_inside", "area_inside"]
    attributions, confounds = run.tables["attributions"], run.tables["confounds"]
    inside = attributions[columns].assign(statistic=MASS_INSIDE)
    shown = confounds.loc[confounds["present"].astype(bool)]
    on = shown[columns].assign(statistic=MASS_ON + "." + shown["confound"].astype(object))
    rows = pd.concat([inside, on] if len(on) else [inside], ignore_index=True)
    rows = rows[rows["mass_inside"].notna()]
    targets = attributions[["sample_id", "method", "target"]]
    return rows.merge(targets, on=["sample_id", "method"], validate="many_to_one")


def _keys(run: AuditRun, rows: pd.DataFrame) -> set[tuple[str, str, str]]:
    """(label, method, statistic) of everything that a run measured."""
    labels = run.tables["predictions"][["sample_id", "label"]]
    named = rows[["sample_id", "method", "statistic"]].merge(labels, on="sample_id", validate="many_to_one")
    return set(named[["label", "method", "statistic"]].drop_duplicates().itertuples(index=False, name=None))


def _same_question(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Masses of the rows that explain one class by one region, and how many rows do not."""
    is_other_target = (rows["target"] != rows["target_other"]).to_numpy(bool)
    areas = rows[["area_inside", "area_inside_other"]].to_numpy(np.float64)
    is_other_area = ~is_other_target & (areas.max(axis=1) > _SAME_AREA * areas.min(axis=1))
    is_pair = ~is_other_target & ~is_other_area
    dropped = {
        "another class explained": int(is_other_target.sum()),
        "another outline of the region": int(is_other_area.sum()),
    }
    one, other = (
        rows.loc[is_pair, name].to_numpy(np.float64) for name in ("mass_inside", "mass_inside_other")
    )
    return one, other, {reason: n for reason, n in dropped.items() if n}


def _effects(reference: AuditRun, candidate: AuditRun, samples: pd.DataFrame) -> Iterator[Pairs]:
    """What taking a confound away, or pasting it in, does beyond a control; over the fills that both runs have."""
    if any("interventions" not in run.tables for run in (reference, candidate)):
        return
    keys = ["sample_id", "confound", "kind", "fill", "label"]
    one, other = (_effect_rows(run.tables["interventions"], keys) for run in (reference, candidate))
    joined = one.merge(other, on=keys, suffixes=("", "_other"), validate="one_to_one")
    joined = joined[joined["sample_id"].isin(samples["sample_id"])]
    means = joined.groupby(["label", "confound", "kind", "sample_id"])[["effect", "effect_other"]].mean()
    tried = pd.concat([one, other])[["label", "confound", "kind"]].drop_duplicates()
    groups = dict(list(means.groupby(["label", "confound", "kind"])))
    for label, confound, kind in sorted(tried.itertuples(index=False, name=None)):
        rows = groups.get((label, confound, kind), means.iloc[:0])
        statistic = f"{plugins.find(interventions, kind).link}.{confound}.{kind}"
        obstacle = _class_obstacle(label, reference, candidate) or _differing(
            reference, candidate, [("interventions", "parameters", kind)]
        )
        before, after = (rows[name].to_numpy(np.float64) for name in ("effect", "effect_other"))
        yield Pairs(label, NO_METHOD, statistic, before, after, {}, obstacle)


def _effect_rows(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The effect of each measured row; positive is what makes a confound spurious."""
    rows = table[table["score_after"].notna() & table["score_control"].notna()]
    links = {kind: plugins.find(interventions, kind).link for kind in rows["kind"].unique()}
    rows = rows[[links[kind] is not Link.REMARK for kind in rows["kind"]]]
    signs = np.array([-1.0 if links[kind] is Link.NECESSITY else 1.0 for kind in rows["kind"]])
    return rows[keys].assign(effect=signs * (rows["score_after"] - rows["score_control"]).to_numpy())


def _labels(reference: AuditRun, candidate: AuditRun) -> list[str]:
    """Classes of either run of which either has a sample."""
    present = {str(label) for run in (reference, candidate) for label in run.tables["predictions"]["label"]}
    return [label for label in dict.fromkeys((*reference.classes, *candidate.classes)) if label in present]


def _class_obstacle(label: str, reference: AuditRun, candidate: AuditRun) -> str:
    for run, side in ((reference, "reference"), (candidate, "candidate")):
        if label not in run.classes:
            return f"the model of the {side} does not know this class"
        if not (run.tables["predictions"]["label"] == label).any():
            return f"the {side} has no sample of this class"
    return ""


def _method_obstacle(method: str, reference: AuditRun, candidate: AuditRun) -> str:
    """Why maps of one method in both runs do not answer one question; empty where they do."""
    for run, side in ((reference, "reference"), (candidate, "candidate")):
        if method not in methods_of(run):
            return f"the {side} was not run with {method}"
        certificate = run.tables.get("certificate")
        if certificate is not None and method not in trusted(certificate):
            return f"the trust certificate of the {side} fails {method}"
    keys: list[tuple[str, ...]] = [
        ("attributions", "target"),
        ("attributions", "polarity"),
        ("model", "explain"),
    ]
    keys += [("attributions", "parameters", part) for part in dict.fromkeys((method, *method.split("+")))]
    if any(_has_budget(run, method) for run in (reference, candidate)):
        keys.append(("attributions", "error_budget"))
    return _differing(reference, candidate, keys)


def _has_budget(run: AuditRun, method: str) -> bool:
    """Whether the error budget had a say in the maps of a method: those without a path have no local error."""
    rows = run.tables["attributions"]
    return bool(rows.loc[rows["method"] == method, "local_error"].notna().any())


def _differing(reference: AuditRun, candidate: AuditRun, keys: Iterable[tuple[str, ...]]) -> str:
    """The settings out of `keys` that differ, in words; empty where none does."""
    found = []
    for key in keys:
        one, other = (_setting(run.manifest["config"], key) for run in (reference, candidate))
        if one != other:
            found.append(
                f"{'.'.join(key)} is {_shown(one)} in the reference and {_shown(other)} in the candidate"
            )
    return "; ".join(found)


def _setting(config: Mapping[str, Any], key: tuple[str, ...]) -> Any:
    value: Any = config
    for part in key:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)
