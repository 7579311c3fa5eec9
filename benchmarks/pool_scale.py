"""What the choice out of a large pool takes: seconds and peak memory of `suggest`, without the model. Markdown.

    python -m benchmarks.pool_scale [--pictures 10000 100000]

Looks at pictures are drawn and stored as `suggest` stores them: 10 classes, features of width 256 around 200 clusters,
two traits (one that a detector looks for, one that the features tell), 1,500 labelled samples that are read by, as many
pictures again that the dataset holds beside, and the pool. Of the pool one in a hundred is a near copy of a labelled
one, one in a hundred the same file as another of the pool. Each row has a process of its own: its peak is the largest
resident memory of that process, the next column what of it came after the imports. A second table has near hashes,
spread evenly and as those of a shop, where half the pictures stand on a few backgrounds: as the program finds them,
from every pair, and by an approximate index (usearch, in the extra `benchmarks`); a third the nearest labelled sample
of many pictures, for which the choice asks first. Takes some six minutes on two idle cores.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audit.pool import MOST_FITTING

WIDTH, N_CLUSTERS, SHARD = 256, 200, 64
CLASSES = tuple(f"class {number}" for number in range(10))
N_LABELLED, N_OTHERS, N_CHOSEN = 1500, 1500, 100
SEEN, TOLD = "face of class 0", "shadow of class 1"
EVEN, SHOP = "spread evenly", "a shop's"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables, or, given --child, one row's numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child is not None:
        task, *more = options.child
        print(*TASKS[task](*more))
        return
    print(f"## The choice of {N_CHOSEN} pictures, width {WIDTH}, two traits\n")
    print(
        "| pictures | reading, s | copies and choice, s | peak, MB | of it after imports, MB | left out as copies |"
    )
    print("|---|---|---|---|---|---|")
    for n_pictures in options.pictures:
        with tempfile.TemporaryDirectory() as folder:
            _child("store", folder, n_pictures)
            print("|", n_pictures, "|", " | ".join(_child("choose", folder, n_pictures)), "|", flush=True)
    print("\n## Near duplicates\n")
    print(
        "| hashes | kind | near_pairs, s | pairs | find_duplicates, s | peak, MB | of it after imports, MB |",
        end="",
    )
    print(" every pair in blocks, s | usearch, s | of the pairs, usearch finds |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for n_pictures in options.pictures:
        for kind in (EVEN, SHOP):
            numbers = _child("pairs", n_pictures, kind)
            print("|", n_pictures, "|", kind, "|", " | ".join(numbers), "|", flush=True)
    print(f"\n## The nearest labelled sample of {MOST_FITTING:,} pictures, width {WIDTH}\n")
    print("| labelled samples | every pair in blocks, s | usearch, s | of the nearest, usearch finds |")
    print("|---|---|---|---|")
    for n_known in (N_LABELLED, 10 * N_LABELLED):
        print("|", n_known, "|", " | ".join(_child("nearest", n_known)), "|", flush=True)


def _child(*task: Any) -> list[str]:
    """The numbers of a task, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.pool_scale", "--child", *map(str, task)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return found.stdout.split()


def _peak() -> float:
    """Largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def drawn_hashes(n: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    """uint64 (n,); one in a hundred is an earlier one with two bits turned.

    Of a shop's pictures half have one of ten backgrounds, which decide the 20 lowest frequencies, and no bits are even:
    as in photographs, most are set in some places and few in others.
    """
    values = rng.normal(size=(n, 64))
    if kind == SHOP:
        values += rng.normal(size=64)
        own = rng.random(n) < 0.5
        values[own, :20] += 4 * rng.normal(size=(10, 20))[rng.integers(10, size=int(own.sum()))]
    bits = values > np.median(values, axis=1, keepdims=True)
    copies = rng.choice(np.arange(1, n), size=n // 100, replace=False)
    bits[copies] = bits[rng.integers(0, copies)]
    for column in rng.integers(64, size=(2, len(copies))):
        bits[copies, column] ^= True
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def _pictures(n: int) -> list[str]:
    """Ids of n pictures: those that are read by, those beside them, and the pool."""
    return [f"/data/photos of the season/{number:07d}.jpg" for number in range(n)]


def _store(folder: str, n_pool: str) -> tuple[float]:
    """Draws the looks of a run and stores them, shard by shard."""
    from audit import tables as schema
    from pipelines.pool_looks import looked
    from pipelines.storage import Run

    rng = np.random.default_rng(0)
    n_dataset = N_LABELLED + N_OTHERS
    ids = _pictures(n_dataset + int(n_pool))
    hashes = drawn_hashes(len(ids), EVEN, rng)
    centres = rng.normal(size=(N_CLUSTERS, WIDTH))
    axes = {trait: rng.normal(size=WIDTH) for trait in (SEEN, TOLD)}
    near = {row: int(rng.integers(N_LABELLED)) for row in range(n_dataset + 50, len(ids), 100)}
    same = {row: row - 1 for row in range(n_dataset + 80, len(ids), 100)}
    store, kept = looked(Run(Path(folder))), dict[int, dict[str, Any]]()
    for start in range(0, len(ids), SHARD):
        rows: list[dict[str, Any]] = []
        for row in range(start, min(start + SHARD, len(ids))):
            other = near.get(row, same.get(row))
            features, cluster, shows = (
                kept[other]["drawn"] if other is not None else _drawn(row, n_dataset, centres, axes, rng)
            )
            digest, picture_hash = f"{row:064x}", int(hashes[row])
            if other is not None:
                picture_hash = kept[other]["hash"] ^ (2 if row in near else 0)
                digest = digest if row in near else kept[other]["digest"]
            if row < N_LABELLED or row + 1 in same:
                kept[row] = {"drawn": (features, cluster, shows), "hash": picture_hash, "digest": digest}
            for trait in ("", *(axes if row < N_LABELLED or row >= n_dataset else ())):
                there = shows.get(trait, 0.0)
                seen = np.nan if not trait or (trait == TOLD and row >= n_dataset) else there
                without = features - 3 * there * axes[trait] if trait and not np.isnan(seen) else features
                rows.append(
                    {
                        "sample_id": ids[row],
                        "trait": trait,
                        "digest": digest,
                        "picture_hash": f"{picture_hash:016x}",
                        "shows": seen,
                        **_packed(without, cluster, centres),
                    }
                )
        frames = {schema.LOOKS.name: schema.frame(schema.LOOKS, rows)}
        store.write(start // SHARD, frames | {schema.QUARANTINE.name: schema.frame(schema.QUARANTINE, [])})
    return (_peak(),)


def _drawn(
    row: int, n_dataset: int, centres: np.ndarray, axes: dict[str, np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, int, dict[str, float]]:
    """A picture: its features, its cluster, the traits it shows; in the dataset classes 0 and 1 mostly show theirs."""
    cluster = row % N_CLUSTERS if row < n_dataset else int(rng.integers(N_CLUSTERS))
    bound = {SEEN: 0, TOLD: 1}
    chances = {trait: 0.9 if row < n_dataset and cluster % 10 == bound[trait] else 0.2 for trait in axes}
    shows = {trait: float(rng.random() < chance) for trait, chance in chances.items()}
    features = centres[cluster] + rng.normal(size=WIDTH)
    for trait, axis in axes.items():
        features = features + 3 * shows[trait] * axis
    return features, cluster, shows


def _packed(features: np.ndarray, cluster: int, centres: np.ndarray) -> dict[str, str]:
    """Features and the probabilities of a model that knows the centre of the picture's class, in the form of LOOKS."""
    from pipelines.pool_looks import packed

    logits = np.full(len(CLASSES), 0.0)
    logits[cluster % 10] = float(features @ centres[cluster]) / WIDTH * 3
    chances = np.exp(logits) / np.exp(logits).sum()
    return {"features": packed(features), "probabilities": packed(chances)}


def _choose(folder: str, n_pool: str) -> tuple[str, ...]:
    """Seconds of reading and of the choice, memory, and the copies that were found."""
    from audit.pool import Ask
    from audit.suggestions import WITH, WITHOUT
    from audit.types import Sample
    from pipelines.pool import choose_from
    from pipelines.pool_looks import looked
    from pipelines.pool_seen import read_looks
    from pipelines.storage import Run

    n_dataset, before = N_LABELLED + N_OTHERS, _peak()
    ids = _pictures(n_dataset + int(n_pool))
    samples = [
        Sample(one, one, CLASSES[row % 10] if row < n_dataset else None) for row, one in enumerate(ids)
    ]
    wishes = tuple(
        Ask(label, kind, trait.split(" of ")[0], wanted, 50)
        for label, trait in ((CLASSES[0], SEEN), (CLASSES[1], TOLD))
        for kind, wanted in ((WITHOUT, (label,)), (WITH, tuple(one for one in CLASSES if one != label)))
    )
    started = time.monotonic()
    seen = read_looks(
        looked(Run(Path(folder))),
        [SEEN, TOLD],
        (samples[:N_LABELLED], samples[N_LABELLED:n_dataset], samples[n_dataset:]),
    )
    read = time.monotonic()
    found = choose_from(CLASSES, wishes, seen, N_CHOSEN)
    assert len(found.table) == N_CHOSEN
    return (
        f"{read - started:.0f}",
        f"{time.monotonic() - read:.0f}",
        f"{_peak():.0f}",
        f"{_peak() - before:.0f}",
        f"{found.choice.n_duplicates}",
    )


def _pairs(n: str, kind: str) -> tuple[str, ...]:
    """Seconds of near_pairs and of find_duplicates, memory; the same by every pair, and by an approximate index."""
    from audit import duplicates

    hashes = drawn_hashes(int(n), kind, np.random.default_rng(1))
    ids = _pictures(len(hashes))
    predictions = pd.DataFrame(
        {
            "sample_id": ids,
            "label": "a",
            "split": "test",
            "digest": [f"{row:064x}" for row in range(len(ids))],
        }
    )
    features = pd.DataFrame({"sample_id": ids, "picture_hash": [f"{int(one):016x}" for one in hashes]})
    before, started = _peak(), time.monotonic()
    one, other, _ = duplicates.near_pairs(hashes)
    paired = time.monotonic()
    duplicates.find_duplicates(predictions, features)
    found, peak = time.monotonic(), _peak()
    duplicates._among_all(hashes, duplicates.MOST_BITS, None)
    in_blocks = time.monotonic() - found
    indexed, recall = _indexed_pairs(hashes, set(zip(one.tolist(), other.tolist(), strict=True)))
    return (
        f"{paired - started:.1f}",
        f"{len(one)}",
        f"{found - paired:.1f}",
        f"{peak:.0f}",
        f"{peak - before:.0f}",
        f"{in_blocks:.1f}",
        f"{indexed:.1f}",
        f"{recall:.4f}",
    )


def _indexed_pairs(hashes: np.ndarray, exact: set[tuple[int, int]]) -> tuple[float, float]:
    """Seconds and recall of usearch, with its default settings and the 16 nearest of each."""
    from usearch.index import Index

    from audit.duplicates import MOST_BITS

    started, rows = time.monotonic(), np.arange(len(hashes))
    index = Index(ndim=64, metric="hamming", dtype="b1")
    index.add(rows, hashes[:, None].view(np.uint8))
    near = index.search(hashes[:, None].view(np.uint8), 16)
    one, other = np.repeat(rows, 16), near.keys.ravel().astype(np.int64)
    is_near = (near.distances.ravel() <= MOST_BITS) & (one < other)
    mirrored = (near.distances.ravel() <= MOST_BITS) & (one > other)
    found = set(zip(one[is_near].tolist(), other[is_near].tolist(), strict=True))
    found |= set(zip(other[mirrored].tolist(), one[mirrored].tolist(), strict=True))
    return time.monotonic() - started, len(found & exact) / len(exact)


def _nearest(n_known: str) -> tuple[str, ...]:
    """Seconds of the largest cosines as the choice computes them, and by usearch; the share it finds."""
    from usearch.index import Index

    from audit.pool import _AT_ONCE

    rng = np.random.default_rng(2)
    centres = rng.normal(size=(N_CLUSTERS, WIDTH))
    known, points = (
        centres[rng.integers(N_CLUSTERS, size=n)] + rng.normal(size=(n, WIDTH))
        for n in (int(n_known), MOST_FITTING)
    )
    known, points = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (known, points))
    started, nearest = time.monotonic(), np.full(len(points), -1.0)
    for start in range(0, len(known), _AT_ONCE):
        nearest = np.maximum(nearest, (points @ known[start : start + _AT_ONCE].T).max(axis=1))
    in_blocks = time.monotonic()
    index = Index(ndim=WIDTH, metric="cos", dtype="f32")
    index.add(np.arange(len(known)), known.astype(np.float32))
    found = index.search(points.astype(np.float32), 1).keys.ravel().astype(np.int64)
    indexed = time.monotonic()
    told = np.einsum("nd,nd->n", points, known[found])
    share = np.mean(told >= nearest - 1e-6)  # float32 beside float64
    return f"{in_blocks - started:.1f}", f"{indexed - in_blocks:.1f}", f"{share:.4f}"


TASKS = {"store": _store, "choose": _choose, "pairs": _pairs, "nearest": _nearest}

if __name__ == "__main__":
    main()
