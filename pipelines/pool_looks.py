"""What the model makes of pictures, as they are and with a confound taken away: labelled samples and a pool alike.

A phase like the others: shards on workers, finished ones are skipped, a picture that breaks workers is left out.
"""

import base64
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from audit import tables as schema
from audit.bonds import Bond
from audit.classifier import Classifier
from audit.duplicates import perceptual_hashes
from audit.interventions import Picture
from audit.pool_views import brought_to, taken_out
from audit.properties import outside
from audit.properties._all import global_properties
from audit.types import IGNORE, Batch, Sample
from pipelines.discovered_regions import with_regions
from pipelines.engine import (
    LOOKAHEAD,
    ShardRecord,
    Work,
    load_batches,
    quarantine,
    workshop,
)
from pipelines.execute import Tasks
from pipelines.inputs import NO_LABEL, Loaded, batches, settings_from
from pipelines.readers._annotations import Fault
from pipelines.storage import Run, ShardFolder

MOST_FEATURES = 256
"""Longer features are projected to so many dimensions: their distances stay within some 10 %, their bulk does not."""
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Trait:
    """A confound as one class has it.

    Attributes:
        key: see `audit.pool.trait_of`.
        confound: its name.
        bond: of a global property; None for a thing.
        is_detected: a detector of the run looks for the thing; else only annotated samples tell where it is.
    """

    key: str
    confound: str
    bond: Bond | None
    is_detected: bool


@dataclass(frozen=True)
class LookJob:
    """One picture.

    Attributes:
        sample: the picture; without a label it is of the pool.
        traits: what is taken away.
        lenders: by trait, a sample whose region is taken out of this one where it does not show the thing itself: a
            reading that is fitted to filled pictures of one class and whole ones of the others would read the fill.
    """

    sample: Sample
    traits: tuple[Trait, ...] = ()
    lenders: Mapping[str, Sample] = field(default_factory=dict)


@dataclass(frozen=True)
class LookShard:
    """The unit of resume of this phase."""

    index: int
    samples: tuple[LookJob, ...]
    faults: tuple[Fault, ...] = ()


def looked(run: Run) -> ShardFolder:
    """Where a run keeps this phase."""
    return ShardFolder(run.path / "pool", (schema.LOOKS, schema.QUARANTINE))


def look_shard(work: Work, shard: LookShard) -> ShardRecord:
    """Looks at the pictures of a shard and stores the rows."""
    started = time.monotonic()
    folder = looked(Run(work.out))
    folder.begin(shard.index)
    frames = look_samples(work, shard.samples)
    folder.write(shard.index, frames)
    n_lost = len(frames[schema.QUARANTINE.name])
    return ShardRecord(shard.index, len(shard.samples) - n_lost, n_lost, time.monotonic() - started)


def look_samples(work: Work, jobs: Sequence[LookJob]) -> dict[str, pd.DataFrame]:
    """The tables of some pictures; unreadable ones are rows of `quarantine`."""
    by_id = {job.sample.sample_id: job for job in jobs}
    lent = _lent_regions(work, jobs)
    rows: list[dict[str, Any]] = []
    faults: list[Fault] = []
    for loaded, digests, batch_faults in _batches(work, jobs):
        faults += batch_faults
        if loaded is not None:
            rows += _rows(work, with_regions(work, loaded), digests, by_id, lent)
    return {
        schema.LOOKS.name: schema.frame(schema.LOOKS, rows),
        schema.QUARANTINE.name: quarantine(faults),
    }


def _batches(work: Work, jobs: Sequence[LookJob]) -> Iterator[Loaded]:
    """The pictures as batches; nothing is looked for in those from which nothing is taken away."""
    yield from load_batches(work, [job.sample for job in jobs if job.traits])
    shop, config = workshop(work), work.config
    settings = settings_from(config, shop.classifier.image_shape, (), shop.own_inputs)
    plain = [replace(job.sample, label=None) for job in jobs if not job.traits]
    yield from batches(plain, {}, None, settings, batch_size=config.run.batch_size, lookahead=LOOKAHEAD)


def given_up(job: LookJob, detail: str) -> dict[str, pd.DataFrame]:
    """What is known of a picture that no worker survives."""
    sample = job.sample
    fault = Fault(sample.sample_id, sample.image_path, sample.label or "", "worker crash", detail)
    return {schema.QUARANTINE.name: quarantine([fault])}


LOOKING = Tasks(look_shard, look_samples, given_up, looked)
"""The tasks of this phase."""


def _rows(
    work: Work,
    batch: Batch,
    digests: Mapping[str, str],
    by_id: Mapping[str, LookJob],
    lent: Mapping[tuple[str, str], np.ndarray],
) -> Iterator[dict[str, Any]]:
    """The rows of a batch, a picture and trait each; the model is asked once for all."""
    classifier = workshop(work).classifier
    hashes = perceptual_hashes(batch.images)
    made: list[tuple[int, str, float, np.ndarray | None]] = []
    for row, sample_id in enumerate(batch.sample_ids):
        made.append((row, "", np.nan, None))
        job = by_id[sample_id]
        for trait in job.traits:
            shows, image = _without(batch, row, trait, job, lent)
            made.append((row, trait.key, shows, image))
    changed = [image for *_, image in made if image is not None]
    images = np.concatenate([batch.images, np.stack(changed)] if changed else [batch.images])
    features, probabilities = features_of(classifier, images), classifier.probabilities(images)
    place = len(batch.sample_ids)
    for row, key, shows, image in made:
        at = row
        if image is not None:
            at, place = place, place + 1
        sample_id = batch.sample_ids[row]
        yield {
            "sample_id": sample_id,
            "trait": key,
            "digest": digests[sample_id],
            "picture_hash": f"{int(hashes[row]):016x}",
            "shows": shows,
            "features": packed(features[at]),
            "probabilities": packed(probabilities[at]),
        }


def _without(
    batch: Batch, row: int, trait: Trait, job: LookJob, lent: Mapping[tuple[str, str], np.ndarray]
) -> tuple[float, np.ndarray | None]:
    """Whether a picture shows a trait, NaN where nothing tells, and the picture without it, None where that is it."""
    image = batch.images[row]
    if trait.bond is not None:
        return _without_property(batch, row, trait.bond)
    if batch.labels[row] == NO_LABEL and not trait.is_detected:
        return np.nan, None
    region = (
        batch.regions[trait.confound][row]
        if trait.confound in batch.regions
        else np.zeros(image.shape[:2], bool)
    )
    shows = float(region.any())
    if not shows and trait.key in job.lenders:
        region = lent.get((trait.confound, job.lenders[trait.key].sample_id), region)
    picture = Picture(image, batch.foreground[row], region)
    without = taken_out(image, region, picture.protected)
    return shows, None if without is image else without


def _without_property(batch: Batch, row: int, bond: Bond) -> tuple[float, np.ndarray | None]:
    """The same for a global property, measured around the picture: where the object lies is not known in a pool."""
    image, prop = batch.images[row], global_properties()[bond.confound]
    (where,) = outside(np.full((1, *image.shape[:2]), IGNORE, dtype=np.uint8))
    value = prop.measure(np.rint(image * 255).astype(np.uint8), batch.facts[row], where)
    if isinstance(value, str):
        return float(value == bond.category), None
    if np.isnan(value):
        return np.nan, None
    without = brought_to(image, prop, bond.others, where)
    return float(bond.has(np.array([value]))[0]), None if without is image else without


def _lent_regions(work: Work, jobs: Sequence[LookJob]) -> dict[tuple[str, str], np.ndarray]:
    """Regions of the samples that lend them, by confound and sample."""
    lenders = {lender.sample_id: lender for job in jobs for lender in job.lenders.values()}
    confounds = {trait.confound for job in jobs for trait in job.traits if trait.key in job.lenders}
    found: dict[tuple[str, str], np.ndarray] = {}
    for loaded, _, _ in load_batches(work, list(lenders.values())):
        if loaded is None:
            continue
        batch = with_regions(work, loaded)
        for row, sample_id in enumerate(batch.sample_ids):
            found |= {
                (name, sample_id): batch.regions[name][row] for name in confounds if name in batch.regions
            }
    return found


def features_of(classifier: Classifier, images: np.ndarray) -> np.ndarray:
    """float64 (B, D <= MOST_FEATURES): the last feature map's means, or the logits of a model without one.

    Of a map with few channels deviations and largest values too: means alone know little of what is small.

    Source: the projection of long ones by a random matrix keeps distances, Johnson, Lindenstrauss 1984.
    """
    if classifier.feature_layer is None:
        features = classifier.logits(images).astype(np.float64)
    else:
        features = classifier.feature_statistics(images).astype(np.float64)
        if features.shape[1] > MOST_FEATURES:
            features = features[:, : features.shape[1] // 3]
    if features.shape[1] <= MOST_FEATURES:
        return features
    matrix = np.random.default_rng(0).normal(size=(features.shape[1], MOST_FEATURES))
    return np.asarray(features @ matrix / np.sqrt(MOST_FEATURES))


def packed(values: np.ndarray) -> str:
    """Numbers in a few letters, as float16; what that cannot hold is brought to its largest."""
    half = np.clip(values, -_LARGEST, _LARGEST).astype(np.float16)
    return base64.b64encode(half.tobytes()).decode("ascii")


def unpacked(texts: Sequence[str]) -> np.ndarray:
    """What `packed` wrote, a row each: float16 (N, D)."""
    return np.stack([np.frombuffer(base64.b64decode(text), dtype=np.float16) for text in texts])
