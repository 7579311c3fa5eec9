"""Interventions of a run: which samples are changed in which way, in shards, and a shard of them -> rows.

Which samples are taken, and which others lend pixels, depends on the run's seed and on ids alone. A changed sample's
scores depend on its own picture, those of its donors, and the seed.
"""

import dataclasses
import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import audit.interventions as interventions
from audit import plugins
from audit import tables as schema
from audit.candidates import Candidate, candidates
from audit.errors import ConfigError
from audit.interventions import WHOLE_BACKGROUND, Donors, Intervention, Picture, Scope, Subjects, Variant
from audit.types import Batch, Sample
from audit.verdicts import presence
from pipelines.config import InterventionsConfig, RunConfig
from pipelines.engine import ShardRecord, Work, load_batches, sample_seeds, workshop
from pipelines.readers._annotations import Fault
from pipelines.storage import Run, digest

AT_ONCE = 8
"""Samples whose variants are held in memory at once: some twenty pictures each."""


@dataclass(frozen=True)
class Request:
    """One intervention on one sample.

    Attributes:
        label: the class in question.
        confound: what is taken away or brought in.
        kind: the intervention.
        own, other: donors; see `audit.interventions.Donors`.
    """

    label: str
    confound: str
    kind: str
    own: tuple[Sample, ...]
    other: tuple[Sample, ...]


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
    own: tuple[str, ...]
    other: tuple[str, ...]


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
    groups = _groups(kinds, settings, tables, config.run.seed)
    per_class = _affordable(groups, kinds, settings)
    by_id = {sample.sample_id: sample for sample in samples}
    requests: dict[str, list[Request]] = {}
    for group in groups:
        plugin = kinds[group.kind]
        for sample_id in group.subjects[:per_class]:
            seed = _seed(config.run.seed, sample_id, group)
            own, other = (
                tuple(by_id[donor] for donor in _drawn(pool, n, sample_id, seed))
                for pool, n in ((group.own, plugin.n_own), (group.other, plugin.n_other))
            )
            request = Request(group.candidate.label, group.candidate.confound, group.kind, own, other)
            requests.setdefault(sample_id, []).append(request)
    jobs = [
        Job(sample, tuple(requests[sample.sample_id])) for sample in samples if sample.sample_id in requests
    ]
    size = config.run.shard_size
    cuts = [tuple(jobs[start : start + size]) for start in range(0, len(jobs), size)]
    named = [
        (job.sample.sample_id, r.label, r.confound, r.kind, [d.sample_id for d in r.own + r.other])
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


def intervene_shard(work: Work, shard: InterventionShard) -> ShardRecord:
    """Changes the samples of a shard, asks the model, and stores the rows."""
    started = time.monotonic()
    folder = Run(work.out).intervened
    folder.begin(shard.index)
    folder.write(shard.index, intervene_samples(work, shard.samples))
    return ShardRecord(shard.index, len(shard.samples), 0, time.monotonic() - started)


def intervene_samples(work: Work, jobs: Sequence[Job]) -> dict[str, pd.DataFrame]:
    """The table `interventions` of some samples."""
    kinds = build(work.config.interventions)
    rows: list[dict[str, Any]] = []
    for start in range(0, len(jobs), AT_ONCE):
        rows += _rows(work, kinds, jobs[start : start + AT_ONCE])
    return {schema.INTERVENTIONS.name: schema.frame(schema.INTERVENTIONS, rows)}


def no_interventions(_job: Job, _detail: str) -> dict[str, pd.DataFrame]:
    """What is known of a sample on which workers die: no row, since not even its score before is known."""
    return {schema.INTERVENTIONS.name: schema.frame(schema.INTERVENTIONS, [])}


def _groups(
    kinds: Mapping[str, Intervention],
    settings: InterventionsConfig,
    tables: Mapping[str, pd.DataFrame],
    seed: int,
) -> list[_Group]:
    """Every intervention for every candidate that it acts on."""
    predictions = tables["predictions"]
    # In the order in which they are taken: a draw that does not depend on the order of the dataset.
    order = sorted(predictions["sample_id"], key=lambda sample_id: _hash(seed, sample_id))
    labels = dict(zip(predictions["sample_id"], predictions["label"], strict=True))
    attributions = tables["attributions"]
    is_annotated = set(attributions.loc[attributions["area_inside"].notna(), "sample_id"])
    shows = presence(tables).set_index(predictions["sample_id"])
    showing = {name: set(shows.index[shows[name]]) for name in shows.columns}
    things = candidates(tables, minimum_shown=settings.minimum_shown, per_class=settings.confounds_per_class)
    counts = Counter(labels[sample_id] for sample_id in is_annotated)
    backgrounds = [
        Candidate(name, WHOLE_BACKGROUND) for name in sorted(counts) if counts[name] >= settings.minimum_shown
    ]
    # A background that shows a candidate of its own would be accused of what that candidate does.
    plain = is_annotated.difference(*(showing[thing.confound] for thing in things))
    by_scope = {
        Scope.REGION: (things, showing, showing),
        Scope.BACKGROUND: (backgrounds, {WHOLE_BACKGROUND: is_annotated}, {WHOLE_BACKGROUND: plain}),
    }
    groups = []
    for kind, plugin in kinds.items():
        tried, shown, lending = by_scope[plugin.scope]
        taken: Counter[tuple[str, str]] = Counter()
        subjects = _subjects(plugin.subjects, tried, shown, order, labels, taken)
        for candidate in tried:
            lenders = lending[candidate.confound]
            own = tuple(s for s in order if labels[s] == candidate.label and s in lenders)
            other = tuple(s for s in order if labels[s] != candidate.label and s in lenders)
            if plugin.scope is Scope.BACKGROUND and min(len(own), len(other)) < settings.minimum_shown:
                continue  # a few odd pictures are not the backgrounds of a class
            groups.append(_Group(candidate, kind, tuple(subjects[candidate]), own, other))
    return groups


def _subjects(
    which: Subjects,
    tried: Iterable[Candidate],
    shown: Mapping[str, set[str]],
    order: Sequence[str],
    labels: Mapping[str, str],
    taken: Counter[tuple[str, str]],
) -> dict[Candidate, list[str]]:
    """The samples of each candidate, in order.

    A sample without the confound is asked about one class only, the one with the fewest so far: a changed sample
    has one row, and no two tests share it.
    """
    subjects: dict[Candidate, list[str]] = {candidate: [] for candidate in tried}
    if which is Subjects.OF_CLASS:
        for candidate, found in subjects.items():
            has = shown[candidate.confound]
            found += [s for s in order if labels[s] == candidate.label and s in has]
        return subjects
    for confound in dict.fromkeys(candidate.confound for candidate in subjects):
        classes = [candidate for candidate in subjects if candidate.confound == confound]
        for sample_id in order:
            free = [candidate for candidate in classes if candidate.label != labels[sample_id]]
            if sample_id not in shown[confound] and free:
                subjects[min(free, key=lambda candidate: len(subjects[candidate]))].append(sample_id)
    return subjects


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
    """`n` others of the pool, or all there are."""
    others = [donor for donor in pool if donor != sample_id] if n else []
    rng = np.random.default_rng(seed)
    return [others[index] for index in rng.permutation(len(others))[:n]]


def _seed(seed: int, sample_id: str, request: Request | _Group) -> int:
    """Of one intervention on one sample."""
    confound = request.confound if isinstance(request, Request) else request.candidate.confound
    return int(sample_seeds(seed, [f"{sample_id}\0{confound}\0{request.kind}"])[0])


def _hash(seed: int, sample_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:intervene:{sample_id}".encode(errors="surrogateescape")).digest()


def _rows(work: Work, kinds: Mapping[str, Intervention], jobs: Sequence[Job]) -> Iterator[dict[str, Any]]:
    """The rows of a few samples; the model is asked for all their pictures at once."""
    shop = workshop(work)
    known = _pictures(work, jobs)
    ready = [job for job in jobs if job.sample.sample_id in known]
    made = [
        (job, request, variant) for job in ready for request, variant in _variants(work, kinds, job, known)
    ]
    images = [known[job.sample.sample_id][0].images[known[job.sample.sample_id][1]] for job in ready]
    places: dict[tuple[int, str], int] = {}
    for number, (_, _, variant) in enumerate(made):
        for side in ("after", "control"):
            image = getattr(variant, side)
            if image is not None:
                places[number, side] = len(images)
                images.append(image)
    if not images:
        return
    probabilities = shop.classifier.probabilities(np.stack(images))
    before = {job.sample.sample_id: row for row, job in enumerate(ready)}
    for number, (job, request, variant) in enumerate(made):
        target = shop.classes.index(request.label)
        row: dict[str, Any] = {
            "sample_id": job.sample.sample_id,
            "confound": request.confound,
            "kind": request.kind,
            "fill": variant.fill,
            "label": request.label,
            "score_before": probabilities[before[job.sample.sample_id], target],
            "reason": variant.reason,
        }
        for side in ("after", "control"):
            place = places.get((number, side))
            row[f"score_{side}"] = np.nan if place is None else probabilities[place, target]
            row[f"predicted_{side}"] = (
                None if place is None else shop.classes[int(probabilities[place].argmax())]
            )
        yield row


def _pictures(work: Work, jobs: Sequence[Job]) -> dict[str, tuple[Batch, int]]:
    """The batch and the row of every sample and donor that can still be read."""
    samples = {job.sample.sample_id: job.sample for job in jobs}
    for job in jobs:
        for request in job.requests:
            samples |= {donor.sample_id: donor for donor in request.own + request.other}
    return {
        sample_id: (batch, row)
        for batch, _, _ in load_batches(work, list(samples.values()))
        if batch is not None
        for row, sample_id in enumerate(batch.sample_ids)
    }


def _variants(
    work: Work, kinds: Mapping[str, Intervention], job: Job, known: Mapping[str, tuple[Batch, int]]
) -> Iterator[tuple[Request, Variant]]:
    """Every changed picture of one sample."""
    for request in job.requests:
        picture = _picture(known[job.sample.sample_id], request.confound)
        own, other = (
            tuple(_picture(known[d.sample_id], request.confound) for d in donors if d.sample_id in known)
            for donors in (request.own, request.other)
        )
        seed = _seed(work.config.run.seed, job.sample.sample_id, request)
        for variant in kinds[request.kind](picture, Donors(own, other), seed):
            yield request, variant


def _picture(place: tuple[Batch, int], confound: str) -> Picture:
    batch, row = place
    nowhere = np.zeros(batch.foreground.shape[1:], dtype=bool)
    region = batch.regions[confound][row] if confound in batch.regions else nowhere
    return Picture(batch.images[row], batch.foreground[row], region)
