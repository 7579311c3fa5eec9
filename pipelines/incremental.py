"""What an earlier run knows already: scores whose samples did not change, and answers of later phases.

`rightreasons run --reuse RUN` takes over every score whose origin (see `origins`) is the same, byte for byte; only the
other samples are attributed. The phases after that ask the run's memory (see `memory`) before they ask the model:
the search for unnamed confounds for each picture and class, interventions for each sample and question, exemplars
for each picture. What rests on many samples at once is always computed anew, and is cheap: clusters of the search,
which samples are taken for what, verdicts, risks, the report. Detections and segments are copied, whatever the model.

Which samples are taken over is settled once, when the run begins, and stored with their rows in `reused/`; resuming
needs the earlier run no more than for what is in its memory.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from audit import tables as schema
from audit.errors import RunError
from audit.types import Sample
from pipelines import memory
from pipelines.discovered_regions import packed_regions
from pipelines.engine import Work, drawn, rows_a_call
from pipelines.memory import Memory
from pipelines.origins import annotation_digest, deciding, file_digest, origin, program
from pipelines.shards import Plan, Shard, changed, cut
from pipelines.storage import Run, digest, storing

SHARD = 0
"""The one shard of what was taken over."""
_N_THREADS = 4
"""Files whose digests are taken at once."""


@dataclass(frozen=True)
class Reuse:
    """What was taken over from an earlier run.

    Attributes:
        n: samples whose scores were taken over.
        n_gradients: gradients that they had cost.
        notes: sentences about what could not be taken over, and why.
    """

    n: int = 0
    n_gradients: int = 0
    notes: tuple[str, ...] = ()


def settings_of(plan: Plan) -> str:
    """Digest of what the scores of every sample of a plan depend on."""
    return digest(deciding(plan.scoring, plan.region_names))


def find_earlier(given: Path, out: Path, plan: Plan) -> tuple[Run | None, tuple[str, ...]]:
    """The run that can be learned from, with what has to be said about it.

    Args:
        given: a run, or a folder of runs: then the newest of the same program and settings, else of the same program.
        out: the folder of the new run, which is never chosen.
        plan: of the new run.

    Raises:
        RunError: `given` is no folder.
    """
    manifests, notes = _manifests(given, out)
    settings = settings_of(plan)
    ranked = sorted(
        manifests.items(),
        key=lambda one: (
            one[1]["program"] == program(),
            one[1]["settings"] == settings,
            str(one[1].get("started", "")),
        ),
    )
    if not ranked:
        return None, (*notes, f"{given} holds no run that could be learned from; everything is computed.")
    folder, manifest = ranked[-1]
    if manifest["program"] != program():
        why = "was made by another version of the program or of a package that it stands on"
        return None, (*notes, f"{folder} {why}; everything is computed.")
    if manifest["settings"] != settings:
        names = manifest.get("data", {}).get("region_names", plan.region_names)
        differences = changed(deciding(manifest["scoring"], names), deciding(plan.scoring, plan.region_names))
        notes.append(f"No score of {folder} is taken over, its settings differ: {'; '.join(differences)}.")
    return Run(folder), tuple(notes)


def _manifests(given: Path, out: Path) -> tuple[dict[Path, dict[str, Any]], list[str]]:
    """The manifests of runs by their folder, and what is to be said of runs that cannot be read."""
    if not given.is_dir():
        raise RunError(
            f"{given}: expected the folder of an earlier run, or of several, found none; see --reuse"
        )
    is_run = (given / "manifest.json").exists()
    folders = [given] if is_run else sorted(path for path in given.iterdir() if path.is_dir())
    found: dict[Path, dict[str, Any]] = {}
    notes: list[str] = []
    for folder in folders:
        if folder.resolve() == out.resolve() or not (folder / "manifest.json").exists():
            continue
        try:
            manifest = Run(folder).manifest()
        except RunError as error:
            notes.append(f"Nothing is taken over from {folder}: {error}.")
            continue
        if "settings" in manifest:  # what a comparison leaves has none
            found[folder] = manifest
    return found, notes


def take_over(run: Run, work: Work, plan: Plan, earlier: Run) -> Reuse:
    """Stores the rows of every sample that did not change since `earlier`, and what it knows of pictures."""
    frames, notes = _scores_of(earlier)
    known = dict(frames[schema.ORIGINS.name][["sample_id", "origin"]].to_numpy())
    samples = [s for shard in plan.shards for s in shard.samples if s.sample_id in known]
    same = {
        s.sample_id: s
        for s, one in zip(samples, _origins_of(work, samples), strict=True)
        if one == known[s.sample_id]
    }
    kept = {name: table[table["sample_id"].isin(same)] for name, table in frames.items()}
    kept[schema.QUARANTINE.name] = schema.frame(schema.QUARANTINE, [])  # what failed is tried again
    kept[schema.PREDICTIONS.name] = _where_files_lie_now(kept[schema.PREDICTIONS.name], same)
    for sheet in earlier.read_sheets():
        shown = tuple(
            one if s in same else "" for s, one in zip(sheet.sample_ids, sheet.digests, strict=True)
        )
        if any(shown):  # a tile without a digest is shown for no sample
            run.write_sheet(replace(sheet, digests=shown))
    if work.config.run.cache is None:
        notes += _copy_cache(earlier, run)
    run.reused.write(SHARD, kept)
    n_gradients = int(kept[schema.ATTRIBUTIONS.name]["n_gradients"].sum())
    return Reuse(len(same), n_gradients, tuple(notes))


def left_to_score(run: Run, plan: Plan) -> Plan:
    """The plan without the samples whose scores were taken over, its shards cut anew; the plan itself without any."""
    if SHARD not in run.reused.finished():
        return plan
    taken = set(run.reused.read(SHARD)[schema.ORIGINS.name]["sample_id"])
    samples = [s for shard in plan.shards for s in shard.samples if s.sample_id not in taken]
    faults = [fault for shard in plan.shards for fault in shard.faults]
    shards = cut(samples, faults, plan.scoring["run"]["shard_size"])
    if faults and not shards:
        shards = (Shard(0, (), tuple(faults)),)
    return replace(plan, shards=shards)


def recall(work: Work, keys: Iterable[str]) -> dict[str, bytes]:
    """What this run and the earlier one know, by key."""
    return _memory(work).recall(keys) if work.settings else {}


def remember(work: Work, values: Mapping[str, bytes]) -> None:
    """Keeps results for this run and later ones, unless they were rounded otherwise than results of full calls."""
    if work.settings and values and rows_a_call(work) == work.config.run.batch_size:
        _memory(work).keep(values)


def _memory(work: Work) -> Memory:
    return Memory(memory_path(work.out), memory_path(work.earlier) if work.earlier else None)


def memory_path(out: Path) -> Path:
    """Where a run keeps its memory."""
    return out / "cache" / memory.FILE


def origins_of(work: Work) -> Mapping[str, str]:
    """The origins of the run's scores, by sample id; known once its shards are merged."""
    path = Run(work.out).tables / f"{schema.ORIGINS.name}.parquet"
    return _stored_origins(work.out, hashlib.sha256(path.read_bytes()).hexdigest()) if path.exists() else {}


def pictures_of(work: Work, sample_ids: Iterable[str]) -> dict[str, list[Any] | None]:
    """What interventions and exemplars see of each sample: its origin, and what was discovered on it.

    None for a sample that was not scored.
    """
    origins, regions = origins_of(work), packed_regions(work.out)
    return {
        sample_id: [origins[sample_id], regions.get(sample_id, [])] if sample_id in origins else None
        for sample_id in sample_ids
    }


@functools.lru_cache(maxsize=1)
def _stored_origins(out: Path, stamp: str) -> dict[str, str]:
    """The table of that digest; read once by each worker."""
    return dict(Run(out).table(schema.ORIGINS.name)[["sample_id", "origin"]].to_numpy())


def _scores_of(earlier: Run) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """The score tables of an earlier run, and which parts of it cannot be read."""
    parts: list[dict[str, pd.DataFrame]] = []
    notes = []
    for folder in (earlier.reused, earlier.scored):
        for index in sorted(folder.finished()):
            try:
                parts.append(folder.read(index))
            except RunError as error:
                notes.append(f"A part of {earlier.path} is computed again, since it is damaged: {error}")
    return {
        table.name: schema.joined(table, [part[table.name] for part in parts])
        for table in schema.SAMPLE_TABLES
    }, notes


def _origins_of(work: Work, samples: Sequence[Sample]) -> list[str]:
    """The origins that scores of these samples would have, from the files as they are now."""
    config = work.config
    is_drawn = drawn(
        config.run.seed,
        "untrained",
        [sample.sample_id for sample in samples],
        [str(sample.label) for sample in samples],
        work.untrained_shares,
    )

    def origin_of(sample: Sample, is_drawn: bool) -> str:
        annotation, image = annotation_digest(sample), file_digest(sample.image_path)
        return origin(work.settings, annotation, image, is_drawn=is_drawn, rows=config.run.batch_size)

    with ThreadPoolExecutor(_N_THREADS) as pool:
        return list(pool.map(origin_of, samples, is_drawn.tolist()))


def _where_files_lie_now(predictions: pd.DataFrame, samples: Mapping[str, Sample]) -> pd.DataFrame:
    """The rows with the path and split that the dataset gives today: no score depends on them."""
    now = [samples[sample_id] for sample_id in predictions["sample_id"]]
    paths = [sample.image_path.encode("utf-8", "backslashreplace").decode("utf-8") for sample in now]
    return predictions.assign(
        path=pd.array(paths, dtype="str"), split=pd.array([sample.split for sample in now], dtype="str")
    )


def _copy_cache(earlier: Run, run: Run) -> list[str]:
    """Copies what is known of pictures whatever the model: detections, segments; says what is damaged."""
    old, new = earlier.path / "cache", run.path / "cache"
    notes = []
    with storing(new):
        new.mkdir(parents=True, exist_ok=True)
        for file in sorted((old / "segments").rglob("*.npz")):
            target = new / file.relative_to(old)
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                try:  # a file there is never changed, so both runs may have the same one
                    os.link(file, target)
                except OSError:
                    shutil.copyfile(file, target)
        for name in ("regions.db", memory.FILE):
            if (old / name).exists() and (fault := _fault_of(old / name)):
                notes.append(f"{old / name} is damaged ({fault}); what it knows is computed again.")
            elif name == "regions.db" and (old / name).exists() and not (new / name).exists():
                _copy_database(old / name, new / name)
    return notes


def _fault_of(path: Path) -> str:
    """What is wrong with an SQLite file; empty where nothing is."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        ) as connection:
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        return str(error)
    return "" if answer == "ok" else str(answer)


def _copy_database(source: Path, target: Path) -> None:
    """A copy as of one moment, also while another process writes the source."""
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    with (
        contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as old,
        contextlib.closing(sqlite3.connect(partial)) as new,
    ):
        old.backup(new)
    partial.replace(target)
