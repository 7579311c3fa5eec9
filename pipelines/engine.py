"""One shard of samples -> its score tables: what a worker does."""

import dataclasses
import functools
import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from audit import tables as schema
from audit.attributions import AttributionMethod
from audit.classifier import Classifier
from audit.features import score_features
from audit.nulls import untrained_maps
from audit.placements import score_placements
from audit.scoring import (
    Outcome,
    Scoring,
    score_attributions,
    score_confounds,
    score_predictions,
    score_properties,
)
from audit.types import AttributionBatch, Batch, MapStatus, Sample
from pipelines.config import RunConfig
from pipelines.gallery import Album
from pipelines.origins import annotation_digest, origin
from pipelines.own_inputs import OwnInputs
from pipelines.quiet import load_tensorflow
from pipelines.readers._annotations import Fault
from pipelines.regions import RegionFinder
from pipelines.shards import GLOBAL, Shard
from pipelines.storage import Run, storing

LOOKAHEAD = 2
"""Batches decoded ahead of the model: enough to hide decoding, few enough for memory not to notice."""

UNTRAINED_SEED = 0
"""Of the random weights: one untrained model for all runs, so that two of them can be compared."""
UNTRAINED_STEPS = 16
"""Steps of its paths: shares of mass settle long before maps do, and random weights meet no error budget at all."""


@dataclass(frozen=True)
class Work:
    """What every task of a run shares; small, it travels with each task.

    Attributes:
        config: the configuration.
        out: the run folder.
        region_names: the dataset's own region names.
        threads: of TensorFlow in this worker; None leaves them as they are.
        untrained_shares: share of the samples that the untrained model is asked about, by label.
        picture_shares: share of the samples that get small pictures for the gallery, by label.
        settings: digest of what the scores of every sample depend on (`origins.deciding`); empty where nothing is
            to be remembered.
        earlier: the folder of an earlier run whose results may be taken over; None takes none.
    """

    config: RunConfig
    out: Path
    region_names: tuple[str, ...]
    threads: int | None
    untrained_shares: Mapping[str, float] = dataclasses.field(default_factory=dict)
    picture_shares: Mapping[str, float] = dataclasses.field(default_factory=dict)
    settings: str = ""
    earlier: Path | None = None


@dataclass(frozen=True)
class ShardRecord:
    """What comes back from a worker; the numbers themselves are in the shard's folder.

    `batch_size` is how many rows a call of the model had in the end, None where that is not known.
    """

    index: int
    n_samples: int
    n_quarantined: int
    seconds: float
    batch_size: int | None = None


@dataclass(frozen=True)
class Workshop:
    """The model and the tools of one worker, made once; `batch_size` is the classifier's as it was loaded."""

    classifier: Classifier
    classes: tuple[str, ...]
    methods: Mapping[str, AttributionMethod]
    find_regions: RegionFinder
    region_names: tuple[str, ...]
    model: Mapping[str, object]
    untrained: "Untrained"
    own_inputs: OwnInputs | None = None
    batch_size: int = 0


@dataclass(frozen=True)
class Untrained:
    """The model with random weights, made when it is first asked.

    Attributes:
        trained: the model.
        methods: by name as configured, with few steps and without noisy copies: only shares of mass are taken.
    """

    trained: Classifier
    methods: Mapping[str, AttributionMethod]

    @functools.cached_property
    def classifier(self) -> Classifier:
        """All weights drawn anew."""
        return self.trained.randomised(self.trained.weight_groups, UNTRAINED_SEED)


def audit_shard(work: Work, shard: Shard) -> ShardRecord:
    """Scores a shard and stores its tables."""
    started = time.monotonic()
    run = Run(work.out)
    run.begin_shard(shard.index)
    frames = score_samples(work, shard.samples, shard.faults)
    run.write_shard(shard.index, frames)
    return ShardRecord(
        shard.index,
        len(frames["predictions"]),
        len(frames["quarantine"]),
        time.monotonic() - started,
        rows_a_call(work),
    )


def score_samples(
    work: Work, samples: Sequence[Sample], faults: Sequence[Fault] = ()
) -> dict[str, pd.DataFrame]:
    """The score tables of some samples; unreadable ones are rows of `quarantine`."""
    shop = workshop(work)
    by_id = {sample.sample_id: sample for sample in samples}
    # Before a file is read: what changes between the two would else be taken for what was scored.
    annotations = {sample.sample_id: annotation_digest(sample) for sample in samples}
    scoring = Scoring(shop.classes, work.config.attributions.polarity)
    parts: dict[str, list[pd.DataFrame]] = {table.name: [] for table in schema.SAMPLE_TABLES}
    found = list(faults)
    album = Album(Run(work.out), work.config.attributions.polarity)
    for batch, digests, batch_faults in load_batches(work, samples):
        found += batch_faults
        if batch is None:
            continue
        probabilities = shop.classifier.probabilities(batch.images)
        is_finite = np.isfinite(probabilities).all(axis=1)
        if not is_finite.all():
            found += [_not_finite(by_id[batch.sample_ids[row]]) for row in np.flatnonzero(~is_finite)]
            batch, probabilities = rows_of(batch, is_finite), probabilities[is_finite]
        if not batch.sample_ids:
            continue
        if work.config.run.sampling:
            outcome = without_maps(shop, batch, probabilities)
        else:
            outcome = with_untrained(work, shop, batch, attribute(work, shop, batch, probabilities))
            album.add(batch, outcome, digests, _drawn(work, shop, batch, "picture", work.picture_shares))
        in_batch = [by_id[sample_id] for sample_id in batch.sample_ids]
        in_order = [digests[sample_id] for sample_id in batch.sample_ids]
        parts["predictions"].append(
            score_predictions(in_batch, in_order, outcome.probabilities, shop.classes)
        )
        if not work.config.run.sampling:
            parts["attributions"].append(score_attributions(batch, outcome, scoring))
        parts["confounds"].append(score_confounds(batch, outcome, scoring))
        if GLOBAL in work.config.confounds.use:
            parts["properties"].append(score_properties(batch))
        parts["placements"].append(score_placements(batch))
        for name, rows in features_of(work, batch, outcome.probabilities).items():
            parts[name].append(rows)
        is_drawn = _drawn(work, shop, batch, "untrained", work.untrained_shares)
        parts["origins"].append(_origins(work, batch.sample_ids, annotations, digests, is_drawn))
    album.close()
    parts["quarantine"].append(quarantine(found))
    order = {sample.sample_id: number for number, sample in enumerate(samples)}
    return {
        name: _in_order(schema.joined(schema.TABLES[name], frames), order) for name, frames in parts.items()
    }


def features_of(work: Work, batch: Batch, probabilities: np.ndarray) -> dict[str, pd.DataFrame]:
    """What needs no label, of a batch whose probabilities (B, K) are known; see `audit.features`."""
    shop = workshop(work)
    seeds = sample_seeds(work.config.run.seed, batch.sample_ids)
    return score_features(shop.classifier, batch, probabilities, shop.classes, seeds)


def _origins(
    work: Work,
    sample_ids: Sequence[str],
    annotations: Mapping[str, str],
    images: Mapping[str, str],
    is_drawn: np.ndarray,
) -> pd.DataFrame:
    """Rows of ORIGINS of samples that were just scored."""
    rows = rows_a_call(work)
    return schema.frame(
        schema.ORIGINS,
        [
            {
                "sample_id": sample_id,
                "origin": origin(
                    work.settings, annotations[sample_id], images[sample_id], is_drawn=drawn, rows=rows
                ),
            }
            for sample_id, drawn in zip(sample_ids, is_drawn.tolist(), strict=True)
        ],
    )


def rows_a_call(work: Work) -> int:
    """Rows that a call of the model has: as configured, or fewer where memory ran out."""
    shop = workshop(work)
    untrained = [shop.untrained.classifier] if "classifier" in vars(shop.untrained) else []
    rows = min(one.batch_size for one in (shop.classifier, *untrained))
    # A model that takes a number of rows of its own has that one from the start.
    return work.config.run.batch_size if rows == shop.batch_size else rows


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
    settings = settings_from(work.config, shop.classifier.image_shape, shop.region_names, shop.own_inputs)
    detect = shop.find_regions if shop.find_regions.detectors else None
    return batches(
        samples, index, detect, settings, batch_size=work.config.run.batch_size, lookahead=LOOKAHEAD
    )


def _not_finite(sample: Sample) -> Fault:
    detail = "the model's output is NaN or infinite on this image; damaged weights, or a value range far from training"
    return Fault(sample.sample_id, sample.image_path, str(sample.label), "model output not finite", detail)


def rows_of(batch: Batch, chosen: np.ndarray) -> Batch:
    """The chosen (bool (B,)) rows of a batch."""
    return Batch(
        tuple(np.array(batch.sample_ids, dtype=object)[chosen]),
        batch.images[chosen],
        batch.labels[chosen],
        batch.foreground[chosen],
        {name: region[chosen] for name, region in batch.regions.items()},
        tuple(fact for fact, is_chosen in zip(batch.facts, chosen, strict=True) if is_chosen),
    )


def attribute(work: Work, shop: Workshop, batch: Batch, probabilities: np.ndarray) -> Outcome:
    """What the methods say about a batch whose probabilities (B, K) are known."""
    explained = batch.labels if work.config.attributions.target == "label" else probabilities.argmax(axis=1)
    seeds = sample_seeds(work.config.run.seed, batch.sample_ids)
    maps = {
        name: method(shop.classifier, batch.images, explained, seeds) for name, method in shop.methods.items()
    }
    return Outcome(probabilities, explained, maps)


def without_maps(shop: Workshop, batch: Batch, probabilities: np.ndarray) -> Outcome:
    """What is known of a batch before maps are made: maps without mass, so that no share of it is measured."""
    n = len(batch.sample_ids)
    unknown = np.full(n, np.nan)
    empty = AttributionBatch(
        np.zeros(batch.foreground.shape, dtype=np.float32),
        np.full(n, MapStatus.EMPTY, dtype=object),
        unknown,
        unknown,
        np.zeros(n, dtype=np.int64),
        (batch.foreground.shape[1], batch.foreground.shape[2]),
    )
    return Outcome(probabilities, batch.labels, dict.fromkeys(shop.methods, empty))


def attribute_samples(work: Work, samples: Sequence[Sample]) -> dict[str, pd.DataFrame]:
    """The tables `attributions` and `confounds` of samples that were drawn, in a run that samples."""
    shop = workshop(work)
    scoring = Scoring(shop.classes, work.config.attributions.polarity)
    parts: dict[str, list[pd.DataFrame]] = {schema.ATTRIBUTIONS.name: [], schema.CONFOUNDS.name: []}
    album = Album(Run(work.out), work.config.attributions.polarity)
    for batch, digests, _ in load_batches(work, samples):
        if batch is not None:
            probabilities = shop.classifier.probabilities(batch.images)
            outcome = with_untrained(work, shop, batch, attribute(work, shop, batch, probabilities))
            album.add(batch, outcome, digests, _drawn(work, shop, batch, "picture", work.picture_shares))
            parts[schema.ATTRIBUTIONS.name].append(score_attributions(batch, outcome, scoring))
            parts[schema.CONFOUNDS.name].append(score_confounds(batch, outcome, scoring))
    album.close()
    order = {sample.sample_id: number for number, sample in enumerate(samples)}
    return {
        name: _in_order(schema.joined(schema.TABLES[name], frames), order) for name, frames in parts.items()
    }


def with_untrained(work: Work, shop: Workshop, batch: Batch, outcome: Outcome) -> Outcome:
    """The outcome with the maps of the untrained model, for the samples of the batch that are drawn for it."""
    is_drawn = _drawn(work, shop, batch, "untrained", work.untrained_shares)
    if not is_drawn.any() or not shop.classifier.weight_groups:
        return outcome  # without weights to draw anew the "untrained" model would be the trained one
    seeds = sample_seeds(work.config.run.seed, batch.sample_ids)
    found = untrained_maps(
        shop.untrained.classifier,
        shop.untrained.methods,
        batch.images[is_drawn],
        outcome.targets[is_drawn],
        seeds[is_drawn],
    )
    whole = {}
    for name, maps in found.items():
        whole[name] = np.full((len(is_drawn), *maps.shape[1:]), np.nan, dtype=np.float32)
        whole[name][is_drawn] = maps
    return dataclasses.replace(outcome, untrained=whole)


def _drawn(work: Work, shop: Workshop, batch: Batch, what: str, shares: Mapping[str, float]) -> np.ndarray:
    """bool (B,): see `drawn`."""
    return drawn(
        work.config.run.seed, what, batch.sample_ids, [shop.classes[one] for one in batch.labels], shares
    )


def drawn(
    seed: int, what: str, sample_ids: Sequence[str], labels: Sequence[str], shares: Mapping[str, float]
) -> np.ndarray:
    """bool (B,): whether a sample is drawn for `what`; by its label's share, the run's seed and its own id."""
    places = sample_seeds(seed, [f"{what}:{sample_id}" for sample_id in sample_ids]) / 2.0**64
    return np.asarray(places < np.array([shares.get(label, 0.0) for label in labels]))


def in_random_order(seed: int, samples: Iterable[Sample]) -> list[Sample]:
    """Samples by their place in the draw for the untrained model: those that it is asked about come first."""
    by_place = list(samples)
    places = sample_seeds(seed, [f"untrained:{sample.sample_id}" for sample in by_place]).tolist()
    return [sample for _, sample in sorted(zip(places, by_place, strict=True), key=lambda pair: pair[0])]


def untrained_shares(labels: Iterable[str], per_class: int) -> dict[str, float]:
    """The share of each label's samples that makes about `per_class` of them, or all where there are fewer."""
    return {label: min(1.0, per_class / n) for label, n in Counter(labels).items()}


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
    from audit.attributions._names import build, plain
    from pipelines.models import load_classifier
    from pipelines.regions import detectors

    load_tensorflow()
    config = RunConfig.model_validate_json(config_json)
    if threads is not None:
        _limit_threads(threads)
    loaded = load_classifier(config.model, batch_size=config.run.batch_size, callers=1 if threads == 1 else 2)
    settings = config.attributions
    cache = config.run.cache or out / "cache"
    with storing(cache):
        cache.mkdir(parents=True, exist_ok=True)
    methods = {
        name: _with_cache(build(name, settings.parameters, settings.error_budget), cache)
        for name in settings.methods
    }
    coarse = {
        name: _coarse(_with_cache(build(plain(name), settings.parameters, settings.error_budget), cache))
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
        Untrained(loaded.classifier, coarse),
        loaded.own_inputs,
        loaded.classifier.batch_size,
    )


def _coarse(method: AttributionMethod) -> AttributionMethod:
    """The method with few steps, if it has steps."""
    if not any(field.name == "n_steps" for field in dataclasses.fields(method)):  # type: ignore[arg-type]
        return method
    return dataclasses.replace(method, n_steps=UNTRAINED_STEPS)  # type: ignore[type-var]


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

    from joblib.externals.loky import process_executor

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Where psutil is installed, loky replaces workers that grow by 300 MB after their first task; a network being
    # traced does, and its worker would load and trace it again and again.
    process_executor._USE_PSUTIL = False

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _limit_threads(threads: int) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(2)
