"""What the search for unnamed confounds sees on each picture: attributed regions, as the model describes them.

A picture's regions depend on the picture and the class alone, so they are remembered (see `incremental`); what recurs
among them depends on all pictures of a search, and is looked for anew.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from audit import metrics
from audit.attributed_regions import AttributedRegion, RegionSettings, crop, regions_of
from audit.classifier import Classifier
from audit.region_words import RegionFacts
from audit.types import Batch, Sample
from pipelines.engine import Work, load_batches, sample_seeds, workshop
from pipelines.incremental import origins_of, recall, remember
from pipelines.memory import arrays_from_bytes, arrays_to_bytes, key_of

_COARSE = "grad_cam"
"""The method whose maps are searched where it is configured: cheap, and its cells are whole things."""
_PATCHES = 8
"""Cells a side of what a crop is described by where the model has no feature maps."""


@dataclass(frozen=True)
class Found:
    """What a search saw: the samples that could be read, in order, their regions and embeddings (R, D)."""

    sample_ids: tuple[str, ...]
    regions: tuple[AttributedRegion, ...]
    embeddings: np.ndarray


@dataclass(frozen=True)
class _Seen:
    """What a search saw on one sample: its regions, and their embeddings (R, D)."""

    regions: tuple[AttributedRegion, ...]
    embeddings: np.ndarray


def look(work: Work, label: str, samples: Sequence[Sample], cut: RegionSettings) -> Found:
    """The regions of a class's map on samples of any class, with the model's description of each."""
    origins = origins_of(work)
    keys = {
        s.sample_id: key_of("regions", origins[s.sample_id], label, repr(cut))
        for s in samples
        if s.sample_id in origins
    }
    remembered = recall(work, keys.values())
    seen = {one: _unpacked(remembered[key]) for one, key in keys.items() if key in remembered}
    left = [sample for sample in samples if sample.sample_id not in seen]
    for batch, _, _ in load_batches(work, left) if left else ():
        if batch is not None:
            found = _seen_on(work, batch, label, cut)
            remember(work, {keys[one]: _packed(found[one]) for one in found.keys() & keys.keys()})
            seen |= found
    readable = [sample.sample_id for sample in samples if sample.sample_id in seen]
    regions = [
        dataclasses.replace(region, sample=number)
        for number, sample_id in enumerate(readable)
        for region in seen[sample_id].regions
    ]
    embeddings = [seen[sample_id].embeddings for sample_id in readable if seen[sample_id].regions]
    return Found(
        tuple(readable), tuple(regions), np.concatenate(embeddings) if embeddings else np.zeros((0, 1))
    )


def _seen_on(work: Work, batch: Batch, label: str, cut: RegionSettings) -> dict[str, _Seen]:
    """What the map of a class marks on each sample of a batch, by sample id."""
    shop = workshop(work)
    name = _COARSE if _COARSE in shop.methods else next(iter(shop.methods))
    targets = np.full(len(batch.sample_ids), shop.classes.index(label))
    seeds = sample_seeds(work.config.run.seed, batch.sample_ids)
    attribution = shop.methods[name](shop.classifier, batch.images, targets, seeds)
    is_finite = np.isfinite(attribution.maps).all(axis=(1, 2), keepdims=True)
    mass = metrics.to_mass(np.where(is_finite, attribution.maps, 0), work.config.attributions.polarity)
    regions, crops = [], []
    for row in range(len(batch.sample_ids)):
        things = {thing: region[row] for thing, region in batch.regions.items()}
        image, foreground = batch.images[row], batch.foreground[row]
        regions.append(regions_of(row, image, mass[row], foreground, things, attribution.resolution, cut))
        crops += [crop(image, region.mask, foreground) for region in regions[row]]
    embeddings = _described(shop.classifier, np.stack(crops)) if crops else np.zeros((0, 1))
    ends = np.cumsum([len(some) for some in regions])
    return {
        sample_id: _Seen(tuple(some), embeddings[end - len(some) : end])
        for sample_id, some, end in zip(batch.sample_ids, regions, ends.tolist(), strict=True)
    }


def _packed(seen: _Seen) -> bytes:
    """What was seen on a sample, in a few bytes."""
    words = [dataclasses.asdict(dataclasses.replace(region, mask=None)) for region in seen.regions]  # type: ignore[arg-type]
    masks = [region.mask for region in seen.regions]
    shape = masks[0].shape if masks else (0, 0)
    bits = np.packbits(np.stack(masks)) if masks else np.zeros(0, dtype=np.uint8)
    said = np.array(json.dumps([words, shape]))
    return arrays_to_bytes({"words": said, "bits": bits, "embeddings": seen.embeddings})


def _unpacked(value: bytes) -> _Seen:
    """What `_packed` made bytes of."""
    arrays = arrays_from_bytes(value)
    words, shape = json.loads(str(arrays["words"]))
    size = (len(words), *shape)
    masks = np.unpackbits(arrays["bits"], count=math.prod(size)).astype(bool).reshape(size)
    regions = []
    for word, mask in zip(words, masks, strict=True):
        facts: dict[str, Any] = {
            name: tuple(one) if isinstance(one, list) else one for name, one in word.pop("facts").items()
        }
        regions.append(AttributedRegion(**{**word, "mask": mask, "facts": RegionFacts(**facts)}))
    return _Seen(tuple(regions), arrays["embeddings"])


def _described(classifier: Classifier, crops: np.ndarray) -> np.ndarray:
    """float (B, D): the model's features of crops; a few coarse pixels where the model has no feature maps."""
    if classifier.feature_layer is not None:
        return classifier.features(crops)
    places = (2 * np.arange(_PATCHES) + 1) * np.array(crops.shape[1:3])[:, None] // (2 * _PATCHES)
    return np.asarray(crops[:, places[0]][:, :, places[1]].reshape(len(crops), -1))
