"""What was looked at, brought shard by shard into mapped files: of a large pool, memory holds what is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO

import numpy as np
import pandas as pd

from audit import tables as schema
from audit.pool_reading import Look, Without
from audit.types import Sample
from pipelines.pool_looks import unpacked
from pipelines.storage import ShardFolder, storing


@dataclass(frozen=True)
class Seen:
    """What was looked at, and whose pictures they are; those that could not be read are left out.

    Attributes:
        labelled, known: M samples that the classes are read from, float32 in memory.
        dataset: those and all others of the dataset, without any trait, float16 of mapped files.
        unlabelled, pool: N pictures of the pool, float16 of mapped files.
        n_unreadable: pictures of the pool that could not be read.
    """

    labelled: tuple[Sample, ...]
    known: Look
    dataset: Look
    unlabelled: tuple[Sample, ...]
    pool: Look
    n_unreadable: int


def read_looks(
    folder: ShardFolder,
    traits: Sequence[str],
    samples: tuple[Sequence[Sample], Sequence[Sample], Sequence[Sample]],
) -> Seen:
    """What the finished shards of `pipelines.pool_looks` hold.

    Features of 100,000 pictures with two traits are 150 MB on the run's disk, as long as somebody holds them; the
    system takes their pages back where memory is short.

    Args:
        folder: the shards, in the order of the samples.
        traits: keys of what was taken away from the labelled samples and from the pool.
        samples: labelled samples, others of the dataset, pictures of the pool; no picture twice.

    Raises:
        StorageError: the disk is full.
    """
    everything = [sample for group in samples for sample in group]
    places = {sample.sample_id: place for place, sample in enumerate(everything)}
    columns = {trait: _Columns(folder.scratch(), folder.scratch()) for trait in ("", *traits)}
    for index in sorted(folder.finished()):
        rows = folder.read(index)[schema.LOOKS.name]
        # A series maps by a dictionary only after copying all of it.
        own_places = [places[sample_id] for sample_id in rows["sample_id"]]
        rows = rows.assign(place=own_places).sort_values("place", kind="stable")
        with storing(folder.path):
            for trait, own in rows.groupby("trait", sort=False):
                columns[str(trait)].add(own)
    readable = columns[""].places
    n_labelled, n_dataset = (
        int(np.searchsorted(readable, n)) for n in (len(samples[0]), len(samples[0]) + len(samples[1]))
    )
    mapped = {trait: one.mapped(folder) for trait, one in columns.items()}
    taken = [everything[place] for place in readable]
    # The others of the dataset have no rows with a trait taken away.
    return Seen(
        tuple(taken[:n_labelled]),
        _in_memory(_look(mapped, slice(n_labelled), slice(n_labelled))),
        _look({"": mapped[""]}, slice(n_dataset), slice(0)),
        tuple(taken[n_dataset:]),
        _look(mapped, slice(n_dataset, None), slice(n_labelled, None)),
        len(samples[2]) - (len(taken) - n_dataset),
    )


@dataclass(frozen=True)
class _Mapped:
    """Pictures as they are or with one trait taken away; digests and hashes of them as they are."""

    digests: Sequence[str]
    hashes: np.ndarray
    shows: np.ndarray
    features: np.ndarray
    probabilities: np.ndarray


@dataclass
class _Columns:
    """The same while it is read."""

    features: IO[bytes]
    probabilities: IO[bytes]
    widths: tuple[int, int] = (0, 0)
    places: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    shows: list[float] = field(default_factory=list)

    def add(self, rows: pd.DataFrame) -> None:
        """Takes up rows of one trait."""
        features, probabilities = (unpacked(list(rows[name])) for name in ("features", "probabilities"))
        self.features.write(features.tobytes())
        self.probabilities.write(probabilities.tobytes())
        self.widths = features.shape[1], probabilities.shape[1]
        self.places += rows["place"].tolist()
        self.shows += rows["shows"].tolist()
        if not rows["trait"].iloc[0]:
            self.digests += rows["digest"].tolist()
            self.hashes += [int(text, 16) for text in rows["picture_hash"]]

    def mapped(self, folder: ShardFolder) -> _Mapped:
        """Everything that was taken up."""
        with storing(folder.path):
            features, probabilities = (
                _map(file, len(self.places), width)
                for file, width in zip((self.features, self.probabilities), self.widths, strict=True)
            )
        hashes = np.array(self.hashes, dtype=np.uint64)
        return _Mapped(self.digests, hashes, np.array(self.shows, dtype=np.float64), features, probabilities)


def _map(file: IO[bytes], n: int, width: int) -> np.ndarray:
    """What was written, float16 (n, width), read where it is asked for. Closes the file; the array keeps it alive."""
    with file:
        file.flush()
        if not n:
            return np.zeros((0, width), dtype=np.float16)
        return np.memmap(file, dtype=np.float16, mode="r", shape=(n, width))


def _look(mapped: Mapping[str, _Mapped], rows: slice, of_traits: slice) -> Look:
    """Some pictures; with a trait taken away they lie at other places than as they are."""
    plain = mapped[""]
    without = {
        trait: Without(one.features[of_traits], one.probabilities[of_traits], one.shows[of_traits])
        for trait, one in mapped.items()
        if trait
    }
    return Look(
        tuple(plain.digests[rows]),
        plain.hashes[rows],
        plain.probabilities[rows],
        plain.features[rows],
        without,
    )


def _in_memory(look: Look) -> Look:
    """The same pictures, float32: means of float16 numbers would be rounded to float16."""
    without = {
        trait: Without(one.features.astype(np.float32), one.probabilities.astype(np.float32), one.shows)
        for trait, one in look.without.items()
    }
    features, probabilities = look.features.astype(np.float32), look.probabilities.astype(np.float32)
    return replace(look, probabilities=probabilities, features=features, without=without)
