"""The interventions on a shard of samples -> rows of their table.

A changed sample's scores depend on its own picture, those of its donors, and the seed.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from audit import tables as schema
from audit.interventions import Aim, Donors, Intervention, Picture, Variant
from audit.properties import outside
from audit.properties._all import global_properties
from audit.types import Batch
from pipelines.discovered_regions import with_regions
from pipelines.engine import ShardRecord, Work, load_batches, rows_a_call, rows_of, workshop
from pipelines.incremental import pictures_of, recall, remember
from pipelines.intervention_plan import InterventionShard, Job, Request, build, seed_of
from pipelines.memory import key_of, rows_from_bytes, rows_to_bytes
from pipelines.storage import Run

AT_ONCE = 8
"""Samples whose variants are held in memory at once: some twenty pictures each."""

REMEMBERED = 128
"""Pictures of donors that are kept for the next samples, since the same few lend again and again."""


def intervene_shard(work: Work, shard: InterventionShard) -> ShardRecord:
    """Changes the samples of a shard, asks the model, and stores the rows."""
    started = time.monotonic()
    folder = Run(work.out).intervened
    folder.begin(shard.index)
    folder.write(shard.index, intervene_samples(work, shard.samples))
    return ShardRecord(shard.index, len(shard.samples), 0, time.monotonic() - started, rows_a_call(work))


def intervene_samples(work: Work, jobs: Sequence[Job]) -> dict[str, pd.DataFrame]:
    """The table `interventions` of some samples; what the run or an earlier one knows is not computed again."""
    kinds = build(work.config.interventions)
    keys = _keys(work, kinds, jobs)
    remembered = recall(work, keys.values())
    known = {place: rows_from_bytes(remembered[key]) for place, key in keys.items() if key in remembered}
    left = [_without(job, known) for job in jobs]
    left = [job for job in left if job.requests]
    read: dict[str, Batch] = {}
    for start in range(0, len(left), AT_ONCE):
        some = left[start : start + AT_ONCE]
        read = load_pictures(work, some, read)
        made: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        for row in _rows(work, kinds, some, read):
            made.setdefault((row["sample_id"], row["confound"], row["kind"]), []).append(row)
        known |= made
        # Rows that lack a donor that could not be read just now are good for this run only.
        whole = {_place(job, one) for job in some for one in job.requests if _donors(one) <= read.keys()}
        remember(
            work, {keys[place]: rows_to_bytes(made[place]) for place in whole & made.keys() & keys.keys()}
        )
    rows = [row for job in jobs for one in job.requests for row in known.get(_place(job, one), ())]
    return {schema.INTERVENTIONS.name: schema.frame(schema.INTERVENTIONS, rows)}


def _keys(
    work: Work, kinds: Mapping[str, Intervention], jobs: Sequence[Job]
) -> dict[tuple[str, str, str], str]:
    """By what the rows of each request are remembered: the sample's picture, the donors' pictures, the question."""
    wanted = {job.sample.sample_id for job in jobs}
    wanted |= {donor for job in jobs for request in job.requests for donor in _donors(request)}
    pictures = pictures_of(work, wanted)
    return {
        _place(job, request): key_of(
            "intervention",
            pictures[job.sample.sample_id],
            [[pictures[donor.sample_id] for donor in donors] for donors in (request.own, request.other)],
            [request.label, request.confound, request.kind, repr(kinds[request.kind]), repr(request.target)],
        )
        for job in jobs
        for request in job.requests
        if all(pictures[one] for one in {job.sample.sample_id} | _donors(request))
    }


def _place(job: Job, request: Request) -> tuple[str, str, str]:
    """The key of a request's rows, but for the fill."""
    return job.sample.sample_id, request.confound, request.kind


def _donors(request: Request) -> set[str]:
    return {donor.sample_id for donor in request.own + request.other}


def _without(job: Job, known: Mapping[tuple[str, str, str], Any]) -> Job:
    """The job without the requests whose rows are known."""
    return replace(job, requests=tuple(one for one in job.requests if _place(job, one) not in known))


def no_interventions(_job: Job, _detail: str) -> dict[str, pd.DataFrame]:
    """What is known of a sample on which workers die: no row, since not even its score before is known."""
    return {schema.INTERVENTIONS.name: schema.frame(schema.INTERVENTIONS, [])}


def _rows(
    work: Work, kinds: Mapping[str, Intervention], jobs: Sequence[Job], known: Mapping[str, Batch]
) -> Iterator[dict[str, Any]]:
    """The rows of a few samples; the model is asked for all their pictures at once."""
    shop = workshop(work)
    ready = [job for job in jobs if job.sample.sample_id in known]
    made = [
        (job, request, variant) for job in ready for request, variant in variants_of(work, kinds, job, known)
    ]
    images = [known[job.sample.sample_id].images[0] for job in ready]
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


def load_pictures(work: Work, jobs: Sequence[Job], read: Mapping[str, Batch]) -> dict[str, Batch]:
    """Every sample and donor that can still be read, a batch each; some of `read` is kept for the next jobs."""
    needed = {job.sample.sample_id: job.sample for job in jobs}
    for job in jobs:
        for request in job.requests:
            needed |= {donor.sample_id: donor for donor in request.own + request.other}
    found = {sample_id: batch for sample_id, batch in read.items() if sample_id not in needed}
    kept = dict(list(found.items())[-REMEMBERED:]) | {s: read[s] for s in needed if s in read}
    for loaded, _, _ in load_batches(work, [sample for s, sample in needed.items() if s not in read]):
        if loaded is None:
            continue
        batch = with_regions(work, loaded)
        for row, sample_id in enumerate(batch.sample_ids):
            kept[sample_id] = rows_of(batch, np.arange(len(batch.sample_ids)) == row)
    return kept


def variants_of(
    work: Work, kinds: Mapping[str, Intervention], job: Job, known: Mapping[str, Batch]
) -> Iterator[tuple[Request, Variant]]:
    """Every changed picture of one sample."""
    for request in job.requests:
        picture = picture_for(known[job.sample.sample_id], request)
        own, other = (
            tuple(picture_for(known[d.sample_id], request) for d in donors if d.sample_id in known)
            for donors in (request.own, request.other)
        )
        seed = seed_of(work.config.run.seed, job.sample.sample_id, request.confound, request.kind)
        for variant in kinds[request.kind](picture, Donors(own, other), seed):
            yield request, variant


def picture_for(batch: Batch, request: Request) -> Picture:
    """What an intervention is given of a sample, a batch of one."""
    image, foreground = batch.images[0], batch.foreground[0]
    if not math.isnan(request.target):
        (around,) = outside(batch.foreground, batch.regions.values())
        return Picture(image, foreground, around, Aim(global_properties()[request.confound], request.target))
    nowhere = np.zeros(foreground.shape, dtype=bool)
    region = batch.regions[request.confound][0] if request.confound in batch.regions else nowhere
    return Picture(image, foreground, region)
