"""Regions that detectors find on images: found once, kept in one SQLite file, reused for every model."""

import sqlite3
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import audit.confounds as confounds
from audit import plugins
from audit.confounds import ConfoundDetector
from audit.types import Sample
from pipelines.config import ConfoundsConfig
from pipelines.shards import ANNOTATED

_SCHEMA = "CREATE TABLE IF NOT EXISTS regions (detector TEXT, digest TEXT, region BLOB, PRIMARY KEY (detector, digest))"


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
        decoding: settings under which one file gives one image; part of the key.
    """

    detectors: tuple[ConfoundDetector, ...]
    cache: Path
    decoding: str

    def __call__(self, sample: Sample, image: np.ndarray, digest: str) -> Mapping[str, np.ndarray]:
        """Bool (H, W) by confound name, for an upright uint8 (H, W, 3) image of that file digest."""
        return {
            detector.confound: self._region(detector, image, digest)
            for detector in self.detectors
            if detector.confound not in sample.regions
        }

    def _region(self, detector: ConfoundDetector, image: np.ndarray, digest: str) -> np.ndarray:
        key = (f"{detector.confound} {detector.version} {self.decoding}", digest)
        # A connection per look-up: sqlite3 objects may not cross threads, and opening costs far less than detecting.
        with sqlite3.connect(self.cache, timeout=60) as connection:
            connection.execute(_SCHEMA)
            known = connection.execute(
                "SELECT region FROM regions WHERE detector = ? AND digest = ?", key
            ).fetchone()
        connection.close()
        if known is not None:
            return _decoded(known[0], (image.shape[0], image.shape[1]))
        region = detector(image)
        with sqlite3.connect(self.cache, timeout=60) as connection:
            connection.execute("INSERT OR IGNORE INTO regions VALUES (?, ?, ?)", (*key, _encoded(region)))
        connection.close()
        return region


def _encoded(region: np.ndarray) -> bytes:
    """A bool (H, W) region in a few bytes; none for an empty one."""
    return zlib.compress(np.packbits(region).tobytes()) if region.any() else b""


def _decoded(stored: bytes, shape: tuple[int, int]) -> np.ndarray:
    n_pixels = shape[0] * shape[1]
    if not stored:
        return np.zeros(shape, dtype=bool)
    bits = np.unpackbits(np.frombuffer(zlib.decompress(stored), dtype=np.uint8), count=n_pixels)
    return bits.astype(bool).reshape(shape)
