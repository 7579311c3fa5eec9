"""Regions that detectors find on the images of a dataset: found once, kept in one SQLite file, reused for every model."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools import mask as run_lengths

import audit.confounds as confounds
from audit import plugins
from audit.confounds import ConfoundDetector
from audit.types import Sample
from pipelines.config import ConfoundsConfig
from pipelines.shards import ANNOTATED

_SCHEMA = "CREATE TABLE IF NOT EXISTS regions (detector TEXT, digest TEXT, region TEXT, PRIMARY KEY (detector, digest))"


def detectors(config: ConfoundsConfig) -> tuple[ConfoundDetector, ...]:
    """The configured detectors.

    Raises:
        ConfigError: unknown detector.
    """
    chosen = [name for name in config.use if name != ANNOTATED]
    return tuple(plugins.find(confounds, name)(**config.parameters.get(name, {})) for name in chosen)


@dataclass(frozen=True)
class RegionFinder:
    """Finds regions on upright images, or remembers them.

    Attributes:
        detectors: what is looked for.
        cache: SQLite file of what was found before; workers share it.
    """

    detectors: tuple[ConfoundDetector, ...]
    cache: Path

    def __call__(self, sample: Sample, image: np.ndarray, digest: str) -> Mapping[str, np.ndarray]:
        """Bool (H, W) by confound name, for an upright uint8 (H, W, 3) image of that file digest."""
        return {
            detector.confound: self._region(detector, image, digest)
            for detector in self.detectors
            if detector.confound not in sample.regions
        }

    def _region(self, detector: ConfoundDetector, image: np.ndarray, digest: str) -> np.ndarray:
        key = (f"{detector.confound} {detector.version} {image.shape[0]}x{image.shape[1]}", digest)
        # A connection per look-up: sqlite3 objects may not cross threads, and opening costs far less than detecting.
        with sqlite3.connect(self.cache, timeout=60) as connection:
            connection.execute(_SCHEMA)
            known = connection.execute("SELECT region FROM regions WHERE detector = ? AND digest = ?", key).fetchone()
        connection.close()
        if known is not None:
            return _decoded(known[0], image.shape[:2])
        region = detector(image)
        with sqlite3.connect(self.cache, timeout=60) as connection:
            connection.execute("INSERT OR IGNORE INTO regions VALUES (?, ?, ?)", (*key, _encoded(region)))
        connection.close()
        return region


def _encoded(region: np.ndarray) -> str:
    """A bool (H, W) region as text; empty for none."""
    if not region.any():
        return ""
    encoded = run_lengths.encode(np.asfortranarray(region.astype(np.uint8)))
    return json.dumps({"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")})


def _decoded(text: str, shape: tuple[int, ...]) -> np.ndarray:
    if not text:
        return np.zeros(shape, dtype=bool)
    return run_lengths.decode(json.loads(text)).astype(bool)  # type: ignore[no-any-return]
