"""Interventions of a run: which samples are changed in which way, in shards.

Which samples are taken, and which others lend pixels, depends on the run's seed and on ids alone. It is drawn so that
one sample more or less changes little: an incremental run computes what changed.
"""

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

import audit.interventions as interventions
from audit import plugins
from audit.candidates import Candidate, PropertyCandidate, candidates, property_candidates
from audit.errors import ConfigError
from audit.interventions import WHOLE_BACKGROUND, Intervention, Scope, Subjects
from audit.types import Sample
from audit.verdicts import presence
from pipelines.config import InterventionsConfig, RunConfig
from pipelines.engine import sample_seeds
from pipelines.readers._annotations import Fault
from pipelines.storage import digest

LENDERS = 24
"""Samples of a class that lend pixels for one intervention: enough to differ, few enough to be read seldom."""


@dataclass(frozen=True)
class Request:
    """One intervention on one sample.

    Attributes:
        label: the class in question.
        confound: what is taken away or brought in.
        kind: the intervention.
        own, other: donors; see `audit.interventions.Donors`.
        target: what a global property is brought to; NaN where a thing is changed.
    """

    label: str
    confound: str
    kind: str
    own: tuple[Sample, ...]
    other: tuple[Sample, ...]
    target: float = math.nan


@dataclass(frozen=True)
class Job:
    """All interventions on one sample."""

    sample: Sample
    requests: tuple[Request, ...]


@dataclass(frozen=True)
class InterventionShard:
    """The unit of resume of this phase."""

    index: int
    samples: tuple[Job, ...]
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class InterventionPlan:
    """What this phase will do.

    Attributes:
        shards: all of them, also those that are finished.
        per_class: samples for each class, confound and kind; less than configured where passes are short.
        n_passes: forward passes at most.
        fingerprint: digest of everything that a row depends on, beyond the run's own.
    """

    shards: tuple[InterventionShard, ...]
    per_class: int
    n_passes: int
    fingerprint: str


@dataclass(frozen=True)
class _Group:
    """Samples on which one intervention is tried for one candidate, in the order in which they are taken."""

    candidate: Candidate
    kind: str
    subjects: tuple[str, ...]
    own: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    target: float = math.nan


def build(config: InterventionsConfig) -> dict[str, Intervention]:
    """The configured interventions by name.

    Raises:
        ConfigError: unknown intervention, or parameters that it does not take.
    """
    made = {}
    for kind in config.use:
        plugin = plugins.find(interventions, kind)
        takes = {field.name for field in dataclasses.fields(plugin)}
        values = ({"fills": tuple(config.fills)} if "fills" in takes else {}) | config.parameters.get(
            kind, {}
        )
        unknown = sorted(values.keys() - takes)
        if unknown:
            known = ", ".join(sorted(takes)) or "none"
            raise ConfigError(
                f"interventions.parameters.{kind}: unknown {', '.join(unknown)}; known: {known}"
            )
        made[kind] = plugin(**values)
    return made


def make_intervention_plan(
    config: RunConfig, samples: Sequence[Sample], tables: Mapping[str, pd.DataFrame]
) -> InterventionPlan:
    """The plan of this phase, from the finished score tables.

    Raises:
        ConfigError: see `build`.
    """
    settings, kinds = config.interventions, build(config.interventions)
    groups = _groups(config, kinds, tables)
    per_class = _affordable(groups, kinds, settings)
    by_id = {sample.sample_id: sample for sample in samples}
    requests: dict[str, list[Request]] = {}
    for group in groups:
        plugin = kinds[group.kind]
        for sample_id in group.subjects[:per_class]:
            seed = seed_of(config.run.seed, sample_id, group.candidate.confound, group.kind)
            own, other = (
                tuple(by_id[donor] for donor in _drawn(pool, n, sample_id, seed))
                for pool, n in ((group.own, plugin.n_own), (group.other, plugin.n_other))
            )
            request = Request(
                group.candidate.label, group.candidate.confound, group.kind, own, other, group.target
            )
            requests.setdefault(sample_id, []).append(request)
    jobs = [
        Job(sample, tuple(requests[sample.sample_id])) for sample in samples if sample.sample_id in requests
    ]
    size = config.run.shard_size
    cuts = [tuple(jobs[start : start + size]) for start in range(0, len(jobs), size)]
    named = [
        (job.sample.sample_id, r.label, r.confound, r.kind, [d.sample_id for d in r.own + r.other], r.target)
        for job in jobs
        for r in job.requests
    ]
    return InterventionPlan(
        shards=tuple(InterventionShard(index, cut) for index, cut in enumerate(cuts)),
        per_class=per_class,
        n_passes=_n_passes(groups, kinds, per_class),
        fingerprint=digest(
            {"settings": settings.model_dump(mode="json"), "requests": named, "shard_size": size}
        ),
    )


def _groups(
    config: RunConfig, kinds: Mapping[str, Intervention], tables: Mapping[str, pd.DataFrame]
) -> list[_Group]:
    """Every intervention for every candidate that it acts on."""
    predictions, seed = tables["predictions"], config.run.seed
    # In the order in which they are taken: a draw that does not depend on the order of the dataset.
    order = sorted(predictions["sample_id"], key=lambda sample_id: _hash(seed, sample_id))
    labels = dict(zip(predictions["sample_id"], predictions["label"], strict=True))
    everything = (
        *_things(config.interventions, tables),
        *(_backgrounds(config.interventions, tables) if WHOLE_BACKGROUND in config.confounds.use else ()),
        *_properties(config.interventions, tables),
    )
    groups = []
    for kind, plugin in kinds.items():
        tried = [one for one in everything if one.scope is plugin.scope]
        subjects = _subjects(plugin.subjects, tried, order, labels, seed)
        for one, chosen in zip(tried, subjects, strict=True):
            own, other = (
                tuple(s for s in order if s in one.lending and (labels[s] == one.candidate.label) is is_own)
                for is_own in (True, False)
            )
            target = one.others if plugin.subjects is Subjects.OF_CLASS else one.own
            groups.append(_Group(one.candidate, kind, tuple(chosen), own[:LENDERS], other[:LENDERS], target))
    return groups


@dataclass(frozen=True)
class _Tried:
    """A candidate with the samples that serve to try it.

    Attributes:
        showing: samples of the class that show it.
        without: samples of other classes that do not.
        lending: samples that pixels may be taken from.
        own, others: values of a global property that are typical of the class and of the others; NaN for a thing.
    """

    candidate: Candidate
    scope: Scope
    showing: frozenset[str]
    without: frozenset[str]
    lending: frozenset[str]
    own: float = math.nan
    others: float = math.nan


def _things(settings: InterventionsConfig, tables: Mapping[str, pd.DataFrame]) -> Iterator[_Tried]:
    """Named things that have pixels."""
    predictions = tables["predictions"]
    everyone = frozenset(predictions["sample_id"])
    shows = presence(tables).set_index(predictions["sample_id"])
    for thing in candidates(
        tables, minimum_shown=settings.minimum_shown, per_class=settings.confounds_per_class
    ):
        showing = frozenset(shows.index[shows[thing.confound]])
        yield _Tried(thing, Scope.REGION, showing, everyone - showing, showing)


def _backgrounds(settings: InterventionsConfig, tables: Mapping[str, pd.DataFrame]) -> Iterator[_Tried]:
    """The background of every class with enough samples whose object is annotated."""
    predictions, attributions = tables["predictions"], tables["attributions"]
    annotated = frozenset(attributions.loc[attributions["area_inside"].notna(), "sample_id"])
    # A background that shows a candidate of its own would be accused of what that candidate does.
    plain = annotated.difference(*(thing.showing for thing in _things(settings, tables)))
    for label in sorted(predictions["label"].unique()):
        own = frozenset(predictions.loc[predictions["label"] == label, "sample_id"])
        # A few odd pictures are not the backgrounds of a class.
        if min(len(annotated & own), len(plain & own), len(plain - own)) >= settings.minimum_shown:
            candidate = Candidate(str(label), WHOLE_BACKGROUND)
            yield _Tried(candidate, Scope.BACKGROUND, annotated, frozenset(), plain)


def _properties(settings: InterventionsConfig, tables: Mapping[str, pd.DataFrame]) -> Iterator[_Tried]:
    """Global properties that tell a class apart."""
    found: tuple[PropertyCandidate, ...] = property_candidates(
        tables,
        minimum_shown=settings.minimum_shown,
        minimum_separation=settings.minimum_separation,
        per_class=settings.properties_per_class,
    )
    for one in found:
        candidate = Candidate(one.label, one.confound)
        own, others = (_coarse(value, one.own - one.others) for value in (one.own, one.others))
        yield _Tried(candidate, Scope.PROPERTY, one.showing, one.without, frozenset(), own, others)


def _coarse(value: float, difference: float) -> float:
    """A typical value to within a sixteenth of what tells the class apart.

    The value is a median, which any sample moves a little; pictures that were changed to one value of it serve for
    another that is nearly the same.
    """
    if difference == 0 or not math.isfinite(difference):
        return value
    step = 2.0 ** math.floor(math.log2(abs(difference) / 8))
    return step * round(value / step)


def _subjects(
    which: Subjects, tried: Sequence[_Tried], order: Sequence[str], labels: Mapping[str, str], seed: int
) -> list[list[str]]:
    """The samples of each candidate, in order.

    A sample of another class is asked about one class only: a changed sample has one row a confound, and no two tests
    share it. Classes take turns, each by an order of its own, so that a sample that comes or goes moves few others.
    """
    if which is Subjects.OF_CLASS:
        return [[s for s in order if labels[s] == one.candidate.label and s in one.showing] for one in tried]
    subjects: list[list[str]] = [[] for _ in tried]
    for confound in dict.fromkeys(one.candidate.confound for one in tried):
        places = [place for place, one in enumerate(tried) if one.candidate.confound == confound]
        eligible = []
        for place in places:
            label = tried[place].candidate.label
            free = [s for s in order if s in tried[place].without and labels[s] != label]
            eligible.append(sorted(free, key=lambda s, label=label: _hash(seed, f"{label}:{s}")))  # type: ignore[misc]
        for place, chosen in zip(places, _in_turns(eligible), strict=True):
            subjects[place] = chosen
    return subjects


def _in_turns(orders: Sequence[Sequence[str]]) -> list[list[str]]:
    """Each order takes its first id that is free, in turns, until none is left."""
    taken: set[str] = set()
    chosen: list[list[str]] = [[] for _ in orders]
    left = [iter(order) for order in orders]
    n_before = -1
    while n_before < len(taken):
        n_before = len(taken)
        for own, ids in zip(chosen, left, strict=True):
            found = next((one for one in ids if one not in taken), None)
            if found is not None:
                taken.add(found)
                own.append(found)
    return chosen


def _n_passes(groups: Sequence[_Group], kinds: Mapping[str, Intervention], per_class: int) -> int:
    """Forward passes of a plan at most: each changed picture and its control, and each sample as it is."""
    changed = sum(min(per_class, len(group.subjects)) * 2 * kinds[group.kind].n_variants for group in groups)
    return changed + len({sample_id for group in groups for sample_id in group.subjects[:per_class]})


def _affordable(
    groups: Sequence[_Group], kinds: Mapping[str, Intervention], settings: InterventionsConfig
) -> int:
    """The most samples a group, up to the configured number, that the passes allow."""
    per_class = settings.per_class
    while per_class > 0 and _n_passes(groups, kinds, per_class) > settings.max_passes:
        per_class -= 1
    return per_class


def _drawn(pool: Sequence[str], n: int, sample_id: str, seed: int) -> list[str]:
    """`n` others of the pool, or all there are; who else is in the pool moves none of them."""
    others = [donor for donor in pool if donor != sample_id] if n else []
    return sorted(others, key=lambda donor: _hash(seed, donor))[:n]


def seed_of(seed: int, sample_id: str, confound: str, kind: str) -> int:
    """Of one intervention on one sample."""
    return int(sample_seeds(seed, [f"{sample_id}\0{confound}\0{kind}"])[0])


def _hash(seed: int, sample_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:intervene:{sample_id}".encode(errors="surrogateescape")).digest()
