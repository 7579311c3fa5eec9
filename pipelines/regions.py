"""Regions that detectors find on images: found once, kept in one SQLite file, reused for every model."""

import contextlib
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

import audit.confounds as confounds
from audit import plugins
from audit.confounds import ConfoundDetector
from audit.errors import AuditError, ConfigError, StorageError
from audit.types import Sample
from pipelines.config import ConfoundsConfig
from pipelines.detector_files import is_file_name, load_detector
from pipelines.images import ImageFault
from pipelines.shards import ANNOTATED

NOT_DETECTORS = frozenset({ANNOTATED, "global", "discovered", "background"})
"""Entries of `confounds.use` that are found by other means than a detector on one picture."""

_SCHEMA = "CREATE TABLE IF NOT EXISTS regions (detector TEXT, digest TEXT, region BLOB, PRIMARY KEY (detector, digest))"


def detectors(config: ConfoundsConfig) -> tuple[ConfoundDetector, ...]:
    """The configured detectors, those that ship and those of users' files.

    Raises:
        ConfigError: unknown detector, a file that holds none, or two detectors of one confound.
    """
    chosen = [name for name in config.use if name not in NOT_DETECTORS]
    made = tuple(_detector(name, config) for name in chosen)
    names = [detector.confound for detector in made]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ConfigError(
            f"confounds.use: expected one detector for each thing, found two or more that find {', '.join(doubled)}"
        )
    return made


def _detector(name: str, config: ConfoundsConfig) -> ConfoundDetector:
    """One detector with its parameters, which for a file go by the file's name without its ending."""
    if is_file_name(name):
        return load_detector(Path(name), config.parameters.get(Path(name).stem, {}))
    kinds = plugins.names(confounds)
    if name not in kinds:
        near = get_close_matches(name, [*kinds, *NOT_DETECTORS], n=1, cutoff=0.5)
        raise ConfigError(
            f"confounds.use: expected {', '.join(sorted({*kinds, *NOT_DETECTORS}))}, or the path of a detector's file; "
            f"found {name!r}.{f' Did you mean {near[0]!r}?' if near else ''}"
        )
    detector: ConfoundDetector = plugins.find(confounds, name)(**config.parameters.get(name, {}))
    return detector


def _checked(detector: ConfoundDetector, image: np.ndarray) -> np.ndarray:
    """What the detector finds on an image.

    Raises:
        ImageFault: it failed on this image.
        ConfigError: it returned something else than a bool mask of the image's size.
    """
    try:
        region = detector(image)
    except AuditError:
        raise
    except Exception as error:  # a user's detector may raise anything, and one image must not cost the others
        raise ImageFault(
            "detector failed", f"{detector.confound}: {type(error).__name__}: {error}"
        ) from error
    if getattr(region, "dtype", None) != np.bool_ or region.shape != image.shape[:2]:
        found = f"{region.dtype} {region.shape}" if isinstance(region, np.ndarray) else type(region).__name__
        raise ConfigError(
            f"detector of {detector.confound}: expected a bool mask of shape {image.shape[:2]} for a picture of "
            f"shape {image.shape}, found {found}; mend what its __call__ returns"
        )
    return region


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
        with self._opened() as connection:
            connection.execute(_SCHEMA)
            known = connection.execute(
                "SELECT region FROM regions WHERE detector = ? AND digest = ?", key
            ).fetchone()
        if known is not None:
            return _decoded(known[0], (image.shape[0], image.shape[1]))
        region = _checked(detector, image)
        with self._opened() as connection:
            connection.execute("INSERT OR IGNORE INTO regions VALUES (?, ?, ?)", (*key, _encoded(region)))
        return region

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The cache for one transaction: connections may not cross threads, and opening costs far less than detecting.

        Raises:
            StorageError: the disk is full or the file damaged.
        """
        try:
            with contextlib.closing(sqlite3.connect(self.cache, timeout=60)) as connection, connection:
                yield connection
        except sqlite3.Error as error:
            raise StorageError(
                f"{self.cache}: the detections on earlier images cannot be read or written: {error}; make room, or "
                "remove the file, which is made again, and run the same command again"
            ) from None


def _encoded(region: np.ndarray) -> bytes:
    """A bool (H, W) region in a few bytes; none for an empty one."""
    return zlib.compress(np.packbits(region).tobytes()) if region.any() else b""


def _decoded(stored: bytes, shape: tuple[int, int]) -> np.ndarray:
    n_pixels = shape[0] * shape[1]
    if not stored:
        return np.zeros(shape, dtype=bool)
    bits = np.unpackbits(np.frombuffer(zlib.decompress(stored), dtype=np.uint8), count=n_pixels)
    return bits.astype(bool).reshape(shape)
