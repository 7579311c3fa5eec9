"""Samples to batches: decoded, turned, resized with their outlines; what cannot be used becomes a Fault."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from audit.types import FOREGROUND, Batch, ImageFacts, Sample
from pipelines.config import RunConfig
from pipelines.geometry import Geometry
from pipelines.images import DecodedImage, ImageFault, decode
from pipelines.own_inputs import OwnInputs
from pipelines.readers._annotations import Fault, fault_of

Detected = Callable[[Sample, np.ndarray, str], Mapping[str, np.ndarray]]
"""(sample, upright uint8 (H, W, 3), digest) -> bool (H, W) by name of the confound, upright."""

Loaded = tuple[Batch | None, dict[str, str], tuple[Fault, ...]]
"""A batch of the usable samples, or None; digests of the decoded files by sample id; the samples left out."""

NO_LABEL = -1
"""Label of a pool's samples in a Batch."""

_N_THREADS = 2


@dataclass(frozen=True)
class InputSettings:
    """What turns a file into the model's input.

    Attributes:
        target: (height, width) of the model's input.
        resize: stretch, crop or pad.
        antialias: average when shrinking.
        exif: apply or ignore the EXIF orientation.
        alpha: what transparent pixels are laid on.
        max_pixels: larger images are refused.
        region_names: regions of every batch.
        own: the model's own preprocessing; pictures go through it, masks and boxes through `resize`.
    """

    target: tuple[int, int]
    resize: Literal["stretch", "crop", "pad"]
    antialias: bool
    exif: Literal["apply", "ignore"]
    alpha: Literal["white", "black", "drop"]
    max_pixels: int
    region_names: tuple[str, ...]
    own: OwnInputs | None = None


def settings_from(
    config: RunConfig, target: tuple[int, int], region_names: tuple[str, ...], own: OwnInputs | None = None
) -> InputSettings:
    """The settings of a configuration for a model input of `target` (height, width)."""
    return InputSettings(
        target=target,
        resize=own.mode if own else config.model.resize,
        antialias=config.model.antialias,
        exif=config.data.exif,
        alpha=config.data.alpha,
        max_pixels=config.data.max_pixels,
        region_names=tuple(region_names),
        own=own,
    )


def load(
    samples: Sequence[Sample],
    class_index: Mapping[str, int],
    detected: Detected | None,
    settings: InputSettings,
) -> Loaded:
    """One batch of the samples that can be used, in their order.

    Args:
        samples: any number.
        class_index: index of each class name in the model's outputs; a sample without a label gets NO_LABEL.
        detected: finds regions that are not annotated; None finds none.
        settings: how.

    Returns:
        The batch (None where no sample can be used), digests, faults. Region pixels that lie on the
        foreground are taken from the region: what is on the object is no other thing.
    """
    rows: list[_Row] = []
    digests: dict[str, str] = {}
    faults: list[Fault] = []
    for sample in samples:
        try:
            row = _load_one(sample, class_index, detected, settings, digests)
        except ImageFault as fault:
            faults.append(fault_of(sample, fault))
        else:
            rows.append(row)
    return (_batch(rows, settings) if rows else None), digests, tuple(faults)


def batches(
    samples: Sequence[Sample],
    class_index: Mapping[str, int],
    detected: Detected | None,
    settings: InputSettings,
    *,
    batch_size: int,
    lookahead: int,
) -> Iterator[Loaded]:
    """What `load` returns for each `batch_size` samples, in order, made up to `lookahead` batches ahead.

    `detected` is then called from two threads at a time. With a lookahead of 0 all work is done in the
    caller's thread.
    """
    parts = [samples[start : start + batch_size] for start in range(0, len(samples), batch_size)]
    if lookahead == 0:
        for part in parts:
            yield load(part, class_index, detected, settings)
        return
    pool = ThreadPoolExecutor(max_workers=min(lookahead, _N_THREADS), thread_name_prefix="decode")
    try:
        waiting: deque[Future[Loaded]] = deque()
        for part in parts:
            waiting.append(pool.submit(load, part, class_index, detected, settings))
            if len(waiting) > lookahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also where the caller stops early
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class _Row:
    """One sample of a batch: float32 (H, W, 3), uint8 (H, W), bool (R, H, W), and what is known of its file."""

    sample_id: str
    label: int
    image: np.ndarray
    foreground: np.ndarray
    regions: np.ndarray
    facts: ImageFacts


def _load_one(
    sample: Sample,
    class_index: Mapping[str, int],
    detected: Detected | None,
    settings: InputSettings,
    digests: dict[str, str],
) -> _Row:
    """One sample; puts its digest into `digests` as soon as it is known, also where its mask then fails."""
    if sample.label is not None and sample.label not in class_index:
        raise ImageFault("unknown label", f"expected one of the model's classes, found {sample.label!r}")
    decoded = decode(
        Path(sample.image_path), exif=settings.exif, alpha=settings.alpha, max_pixels=settings.max_pixels
    )
    digests[sample.sample_id] = decoded.digest
    geometry = Geometry(
        decoded.stored_size, decoded.orientation, settings.target, settings.resize, settings.antialias
    )
    foreground, regions = outlines(sample, decoded, geometry, detected, settings.region_names)
    label = NO_LABEL if sample.label is None else class_index[sample.label]
    return _Row(
        sample.sample_id,
        label,
        settings.own.image(decoded.pixels) if settings.own else geometry.image(decoded.pixels),
        foreground,
        regions & (foreground != FOREGROUND),
        decoded.facts,
    )


def outlines(
    sample: Sample,
    decoded: DecodedImage,
    geometry: Geometry,
    detected: Detected | None,
    region_names: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Where the object and other things lie: uint8 (H, W) and bool (R, H, W), of the geometry's target size.

    Things are told as they are named or detected, also where they lie on the object.

    Raises:
        ImageFault: an annotation or a detector fails on this picture.
    """
    foreground = geometry.outline(sample.foreground)
    found = detected(sample, decoded.pixels, decoded.digest) if detected else {}
    regions = np.zeros((len(region_names), *geometry.target), dtype=bool)
    for index, name in enumerate(region_names):
        if name in sample.regions and sample.regions[name].is_annotated:
            regions[index] = geometry.outline(sample.regions[name]) == FOREGROUND
        elif name in found:
            regions[index] = geometry.mask(found[name])
    return foreground, regions


def _batch(rows: Sequence[_Row], settings: InputSettings) -> Batch:
    regions = np.stack([row.regions for row in rows], axis=1)
    return Batch(
        sample_ids=tuple(row.sample_id for row in rows),
        images=np.stack([row.image for row in rows]),
        labels=np.array([row.label for row in rows], dtype=np.int64),
        foreground=np.stack([row.foreground for row in rows]),
        regions=dict(zip(settings.region_names, regions, strict=True)),
        facts=tuple(row.facts for row in rows),
    )
