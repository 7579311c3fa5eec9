"""The trust certificate of a run: measured on a few of its own images by one worker."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from audit.certificate import DEFAULT_LIMITS, certify
from audit.tables import CERTIFICATE, frame
from audit.types import Sample
from pipelines.engine import Work, load_batches, sample_seeds, workshop
from pipelines.incremental import origins_of, recall, remember
from pipelines.memory import key_of, records_of, rows_from_bytes, rows_to_bytes

FEWEST = 4
"""Images below which nothing can be said."""


def choose(samples: Sequence[Sample], n: int, seed: int) -> list[Sample]:
    """`n` samples, as evenly over the labels as they allow; which ones depends on the seed and their ids alone."""
    by_label: dict[str, list[Sample]] = {}
    hashes = sample_seeds(seed, [f"certificate:{sample.sample_id}" for sample in samples])
    for _, sample in sorted(zip(hashes.tolist(), samples, strict=True), key=lambda pair: pair[0]):
        by_label.setdefault(str(sample.label), []).append(sample)
    ranked = [(rank, label, sample) for label, found in by_label.items() for rank, sample in enumerate(found)]
    return [sample for _, _, sample in sorted(ranked, key=lambda entry: entry[:2])[:n]]


def certify_samples(work: Work, samples: Sequence[Sample]) -> pd.DataFrame:
    """The table `certificate` of the configured methods, measured on these samples, at least FEWEST."""
    origins = origins_of(work)
    key = key_of("certificate", [origins.get(sample.sample_id) for sample in samples], repr(DEFAULT_LIMITS))
    if value := recall(work, [key]):
        return frame(CERTIFICATE, rows_from_bytes(value[key]))
    made = _measured(work, samples)
    remember(work, {key: rows_to_bytes(records_of(made))})
    return made


def _measured(work: Work, samples: Sequence[Sample]) -> pd.DataFrame:
    """The table, from the model."""
    shop = workshop(work)
    batches = [batch for batch, _, _ in load_batches(work, samples) if batch is not None]
    ids = [sample_id for batch in batches for sample_id in batch.sample_ids]
    images, labels, foreground = (
        np.concatenate([getattr(batch, name) for batch in batches])
        for name in ("images", "labels", "foreground")
    )
    seeds = sample_seeds(work.config.run.seed, ids)
    return certify(
        shop.classifier,
        shop.methods,
        images,
        labels,
        seeds,
        foreground,
        DEFAULT_LIMITS,
        polarity=work.config.attributions.polarity,
    )
