"""One shard of samples -> its score tables: what a worker does."""

import dataclasses
import functools
import hashlib
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from audit import tables as schema
from audit.attributions import AttributionMethod
from audit.classifier import Classifier
from audit.scoring import Outcome, Scoring, score_attributions, score_confounds, score_predictions
from audit.types import Batch, Sample
from pipelines.config import RunConfig
from pipelines.quiet import load_tensorflow
from pipelines.readers._annotations import Fault
from pipelines.regions import RegionFinder
from pipelines.shards import Shard
from pipelines.storage import Run

LOOKAHEAD = 2
"""Batches decoded ahead of the model: enough to hide decoding, few enough for memory not to notice."""


@dataclass(frozen=True)
class Work:
    """What every task of a run shares; small, it travels with each task.

    Attributes:
        config: the configuration.
        out: the run folder.
        region_names: the dataset's own region names.
        threads: of TensorFlow in this worker; None leaves them as they are.
    """

    config: RunConfig
    out: Path
    region_names: tuple[str, ...]
    threads: int | None


@dataclass(frozen=True)
class ShardRecord:
    """What comes back from a worker; the numbers themselves are in the shard's folder."""

    index: int
    n_samples: int
    n_quarantined: int
    seconds: float


@dataclass(frozen=True)
class Workshop:
    """The model and the tools of one worker, made once."""

    classifier: Classifier
    classes: tuple[str, ...]
    methods: Mapping[str, AttributionMethod]
    find_regions: RegionFinder
    region_names: tuple[str, ...]
    model: Mapping[str, object]


def audit_shard(work: Work, shard: Shard) -> ShardRecord:
    """Scores a shard and stores its tables."""
    started = time.monotonic()
    run = Run(work.out)
    run.begin_shard(shard.index)
    frames = score_samples(work, shard.samples, shard.faults)
    run.write_shard(shard.index, frames)
    return ShardRecord(
        shard.index, len(frames["predictions"]), len(frames["quarantine"]), time.monotonic() - started
    )


def score_samples(
    work: Work, samples: Sequence[Sample], faults: Sequence[Fault] = ()
) -> dict[str, pd.DataFrame]:
    """The score tables of some samples; unreadable ones are rows of `quarantine`."""
    shop = workshop(work)
    by_id = {sample.sample_id: sample for sample in samples}
    scoring = Scoring(shop.classes, work.config.attributions.polarity)
    parts: dict[str, list[pd.DataFrame]] = {table.name: [] for table in schema.SAMPLE_TABLES}
    found = list(faults)
    for batch, digests, batch_faults in load_batches(work, samples):
        found += batch_faults
        if batch is None:
            continue
        probabilities = shop.classifier.probabilities(batch.images)
        is_finite = np.isfinite(probabilities).all(axis=1)
        if not is_finite.all():
            found += [_not_finite(by_id[batch.sample_ids[row]]) for row in np.flatnonzero(~is_finite)]
            batch, probabilities = _rows_of(batch, is_finite), probabilities[is_finite]
        if not batch.sample_ids:
            continue
        outcome = attribute(work, shop, batch, probabilities)
        in_batch = [by_id[sample_id] for sample_id in batch.sample_ids]
        in_order = [digests[sample_id] for sample_id in batch.sample_ids]
        parts["predictions"].append(
            score_predictions(in_batch, in_order, outcome.probabilities, shop.classes)
        )
        parts["attributions"].append(score_attributions(batch, outcome, scoring))
        parts["confounds"].append(score_confounds(batch, outcome, scoring))
    parts["quarantine"].append(quarantine(found))
    order = {sample.sample_id: number for number, sample in enumerate(samples)}
    return {
        name: _in_order(schema.joined(schema.TABLES[name], frames), order) for name, frames in parts.items()
    }


def _in_order(table: pd.DataFrame, order: Mapping[str, int]) -> pd.DataFrame:
    """Rows by sample, so that tables do not show how samples were put into batches; the rest of their order stays."""
    return table.sort_values("sample_id", key=lambda ids: ids.map(order), kind="stable", ignore_index=True)


def load_batches(
    work: Work, samples: Sequence[Sample]
) -> Iterable[tuple[Batch | None, dict[str, str], tuple[Fault, ...]]]:
    """Samples as batches, decoded ahead of the model."""
    from pipelines.inputs import batches, settings_from

    shop = workshop(work)
    index = {name: number for number, name in enumerate(shop.classes)}
    settings = settings_from(work.config, shop.classifier.image_shape, shop.region_names)
    detect = shop.find_regions if shop.find_regions.detectors else None
    return batches(
        samples, index, detect, settings, batch_size=work.config.run.batch_size, lookahead=LOOKAHEAD
    )


def _not_finite(sample: Sample) -> Fault:
    detail = "the model's output is NaN or infinite on this image; damaged weights, or a value range far from training"
    return Fault(sample.sample_id, sample.image_path, str(sample.label), "model output not finite", detail)


def _rows_of(batch: Batch, chosen: np.ndarray) -> Batch:
    """The chosen (bool (B,)) rows of a batch."""
    return Batch(
        tuple(np.array(batch.sample_ids, dtype=object)[chosen]),
        batch.images[chosen],
        batch.labels[chosen],
        batch.foreground[chosen],
        {name: region[chosen] for name, region in batch.regions.items()},
    )


def attribute(work: Work, shop: Workshop, batch: Batch, probabilities: np.ndarray) -> Outcome:
    """What the methods say about a batch whose probabilities (B, K) are known."""
    explained = batch.labels if work.config.attributions.target == "label" else probabilities.argmax(axis=1)
    seeds = sample_seeds(work.config.run.seed, batch.sample_ids)
    maps = {
        name: method(shop.classifier, batch.images, explained, seeds) for name, method in shop.methods.items()
    }
    return Outcome(probabilities, explained, maps)


def sample_seeds(seed: int, sample_ids: Iterable[str]) -> np.ndarray:
    """uint64 (B,): a function of the run's seed and the sample's id alone."""
    hashes = [
        hashlib.sha256(f"{seed}:{sample_id}".encode(errors="surrogateescape")).digest()
        for sample_id in sample_ids
    ]
    return np.array([int.from_bytes(value[:8], "little") for value in hashes], dtype=np.uint64)


def quarantine(faults: Iterable[Fault]) -> pd.DataFrame:
    """Faults as the table `quarantine`."""
    return schema.frame(
        schema.QUARANTINE,
        [
            {
                "sample_id": _readable(f.sample_id),
                "path": _readable(f.path),
                "label": _readable(f.label or ""),
                "reason": f.reason,
                "detail": _readable(f.detail),
            }
            for f in faults
        ],
    )


def _readable(text: str) -> str:
    """Valid text: bytes of a file name that are not UTF-8 are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def workshop(work: Work) -> Workshop:
    """The worker's model and tools; made at the first call, kept while the settings stay."""
    return _workshop(
        work.config.model_dump_json(exclude_unset=True), work.out, work.region_names, work.threads
    )


@functools.lru_cache(maxsize=1)
def _workshop(config_json: str, out: Path, region_names: tuple[str, ...], threads: int | None) -> Workshop:
    # One model a process: loading and tracing it again for every shard would cost more than the shard.
    from audit.attributions._names import build
    from pipelines.models import load_classifier
    from pipelines.regions import detectors

    load_tensorflow()
    config = RunConfig.model_validate_json(config_json)
    if threads is not None:
        _limit_threads(threads)
    loaded = load_classifier(config.model, batch_size=config.run.batch_size, callers=1 if threads == 1 else 2)
    settings = config.attributions
    cache = config.run.cache or out / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    methods = {
        name: _with_cache(build(name, settings.parameters, settings.error_budget), cache)
        for name in settings.methods
    }
    found = detectors(config.confounds)
    names = tuple(sorted({*region_names, *(detector.confound for detector in found)}))
    return Workshop(
        loaded.classifier,
        loaded.classes,
        methods,
        RegionFinder(found, cache / "regions.db", f"{config.data.exif} {config.data.alpha}"),
        names,
        loaded.description,
    )


def _with_cache(method: AttributionMethod, folder: Path) -> AttributionMethod:
    """The method, with a place for what it knows of an image whatever the model, if it knows any such thing."""
    if not any(field.name == "cache" for field in dataclasses.fields(method)):  # type: ignore[arg-type]
        return method
    from pipelines.segment_cache import SegmentCache

    return dataclasses.replace(method, cache=SegmentCache(folder / "segments"))  # type: ignore[type-var]


def describe_model(work: Work) -> dict[str, object]:
    """What the loaded model turned out to be, for the manifest."""
    return dict(workshop(work).model)


def start_worker(parent: int) -> None:
    """Prepares a worker process: quiet TensorFlow, the interrupt left to the parent, no life without it."""
    import signal

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _limit_threads(threads: int) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(2)
