"""The regions of what was discovered: kept in a table of the run, given back to whoever loads its samples."""

import base64
import dataclasses
import functools
import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audit.tables import DISCOVERED_REGIONS
from audit.types import Batch
from pipelines.engine import Work
from pipelines.storage import Run


def with_regions(work: Work, batch: Batch) -> Batch:
    """The batch with the regions of what was discovered on its samples."""
    known = _regions(work.out, _stamp(work.out))
    shown = [known.get(sample_id, {}) for sample_id in batch.sample_ids]
    names = sorted({name for regions in shown for name in regions})
    nowhere = np.zeros(batch.foreground.shape[1:], dtype=bool)
    added = {
        name: np.stack([_unpacked(regions[name]) if name in regions else nowhere for regions in shown])
        for name in names
    }
    return dataclasses.replace(batch, regions={**batch.regions, **added}) if names else batch


def packed_regions(out: Path) -> dict[str, list[list[Any]]]:
    """What was discovered on each sample, as JSON values that are equal where the regions are; by sample id."""
    return {
        sample_id: [[name, one.height, one.width, one.bits] for name, one in sorted(regions.items())]
        for sample_id, regions in _regions(out, _stamp(out)).items()
    }


def stored_regions(out: Path) -> dict[str, dict[str, np.ndarray]]:
    """All stored regions of a run: bool (H, W), the model's input, by sample and name; none where it has none."""
    known = _regions(out, _stamp(out))
    return {
        sample_id: {name: _unpacked(packed) for name, packed in regions.items()}
        for sample_id, regions in known.items()
    }


def packed_rows(tested: Mapping[str, Mapping[str, np.ndarray]]) -> Iterable[dict[str, Any]]:
    """Rows of `discovered_regions`."""
    for name, masks in tested.items():
        for sample_id, mask in masks.items():
            bits = base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode("ascii")
            yield {
                "sample_id": sample_id,
                "confound": name,
                "height": mask.shape[0],
                "width": mask.shape[1],
                "bits": bits,
            }


@dataclass(frozen=True)
class _Packed:
    """A region in a few bytes."""

    height: int
    width: int
    bits: str


def _unpacked(packed: _Packed) -> np.ndarray:
    """bool (H, W)."""
    stored = np.frombuffer(zlib.decompress(base64.b64decode(packed.bits)), dtype=np.uint8)
    bits = np.unpackbits(stored, count=packed.height * packed.width)
    return bits.astype(bool).reshape(packed.height, packed.width)


def _stamp(out: Path) -> str:
    """Which regions a run has stored: the digest of their file, empty where there is none."""
    path = Run(out).tables / f"{DISCOVERED_REGIONS.name}.parquet"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


@functools.lru_cache(maxsize=1)
def _regions(out: Path, stamp: str) -> dict[str, dict[str, _Packed]]:
    """The stored regions by sample and name; read once by each worker."""
    if not stamp:
        return {}
    known: dict[str, dict[str, _Packed]] = {}
    for row in Run(out).table(DISCOVERED_REGIONS.name).itertuples():
        packed = _Packed(int(row.height), int(row.width), str(row.bits))
        known.setdefault(str(row.sample_id), {})[str(row.confound)] = packed
    return known
