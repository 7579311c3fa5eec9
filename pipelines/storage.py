"""The only reader and writer of a run folder.

    RUN/manifest.json          the run's facts
    RUN/shards/00007/*.parquet the score tables of one shard; the folder exists whole or not at all
    RUN/discovered/00003/      what the search for confounds without a name found for one class
    RUN/interventions/00007/   the same for the interventions, a phase of its own; `fingerprint` says of which
    RUN/tables/*.parquet       the score tables of the run, and what was judged from them
    RUN/exemplars/*.npz        images and maps of the samples that the report shows
    RUN/report/index.html      the report

Every file and folder gets its final name by a rename after its bytes are on the disk, so whatever is visible under a
final name is complete.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audit import tables as schema
from audit.errors import RunError, StorageError
from audit.types import Exemplar

PARTIAL = ".partial"


@dataclass(frozen=True)
class ShardFolder:
    """The shards of one phase of a run.

    Attributes:
        path: the folder that holds them.
        tables: what each of them holds.
    """

    path: Path
    tables: tuple[schema.Table, ...]

    def finished(self) -> set[int]:
        """Numbers of the shards that are complete."""
        if not self.path.exists():
            return set()
        return {int(entry.name) for entry in self.path.iterdir() if entry.name.isdigit()}

    def begin(self, index: int) -> None:
        """Notes that a worker took this shard up; who dies while it is noted is a suspect."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._begun(index).touch()

    def was_begun(self, index: int) -> bool:
        """Whether a worker took this shard up and did not finish it."""
        return self._begun(index).exists()

    def forget_begun(self, index: int) -> None:
        """Forgets that a worker took this shard up."""
        self._begun(index).unlink(missing_ok=True)

    def write(self, index: int, frames: Mapping[str, pd.DataFrame]) -> None:
        """Stores the tables of one shard, whole or not at all; a shard that exists already is kept."""
        final = self.path / f"{index:05d}"
        partial = self.path / f"{index:05d}{PARTIAL}-{platform.node()}-{os.getpid()}"
        with storing(final):
            partial.mkdir(parents=True, exist_ok=True)
            for table in self.tables:
                _write_parquet(partial / f"{table.name}.parquet", frames[table.name], table)
            _sync(partial)
            try:
                partial.rename(final)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                shutil.rmtree(partial)
            _sync(self.path)
        self.forget_begun(index)

    def merged(self) -> dict[str, pd.DataFrame]:
        """The tables of all finished shards, joined in the order of the plan."""
        parts = [self.read(index) for index in sorted(self.finished())]
        return {
            table.name: schema.joined(table, (part[table.name] for part in parts)) for table in self.tables
        }

    def read(self, index: int) -> dict[str, pd.DataFrame]:
        """The tables of one finished shard."""
        shard = self.path / f"{index:05d}"
        return {table.name: _read_parquet(shard / f"{table.name}.parquet", table) for table in self.tables}

    def _begun(self, index: int) -> Path:
        return self.path / f"{index:05d}.begun"


class Run:
    """A run folder by its path; making the object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shards = path / "shards"
        self.scored = ShardFolder(self.shards, schema.SAMPLE_TABLES)
        self.discovered = ShardFolder(path / "discovered", schema.DISCOVERY_TABLES)
        self.intervened = ShardFolder(path / "interventions", (schema.INTERVENTIONS,))
        self.tables = path / "tables"
        self.exemplars = path / "exemplars"
        self.report = path / "report"
        self.manifest_path = path / "manifest.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run for one writer; the lock dies with the process, so no stale lock is left.

        Raises:
            RunError: another process writes this run, or the folder cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"{self.path}: another run is writing this folder; wait for it, or choose another with --out"
                ) from None
            yield

    def manifest(self) -> dict[str, Any]:
        """The run's facts.

        Raises:
            RunError: not a run folder, or of another schema version.
        """
        try:
            manifest: dict[str, Any] = json.loads(self.manifest_path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{self.path}: expected a run folder, found no manifest.json in it") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise RunError(f"{self.manifest_path}: cannot be read: {error}") from None
        if manifest.get("schema_version") != schema.SCHEMA_VERSION:
            raise RunError(
                f"{self.manifest_path}: expected schema version {schema.SCHEMA_VERSION}, found "
                f"{manifest.get('schema_version')}; run the audit again with this version of the program"
            )
        return manifest

    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self.manifest_path.exists()

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replaces the run's facts."""
        write_text(
            self.manifest_path, json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        )

    def finished_shards(self) -> set[int]:
        """Numbers of the scored shards that are complete."""
        return self.scored.finished()

    def drop_table(self, name: str) -> None:
        """Removes one table of the run, if it has it."""
        (self.tables / f"{name}.parquet").unlink(missing_ok=True)

    def begin_shard(self, index: int) -> None:
        """Notes that a worker took this shard up to score it."""
        self.scored.begin(index)

    def begin_interventions(self, fingerprint: str) -> None:
        """Makes the folder ready for these interventions; what was done for others is dropped.

        Their settings are not part of the run's fingerprint: trying other interventions costs no attribution.
        """
        self._begin(self.intervened, fingerprint, self.drop_interventions)

    def begin_discovery(self, fingerprint: str) -> None:
        """Makes the folder ready for this search; what another one found is dropped, and the interventions on it."""
        self._begin(self.discovered, fingerprint, self.drop_discovery)

    def drop_discovery(self) -> None:
        """Forgets what was discovered, and the interventions, which may be of it."""
        for table in (schema.DISCOVERED, schema.DISCOVERED_REGIONS):
            self.drop_table(table.name)
        if self.discovered.path.exists():
            shutil.rmtree(self.discovered.path)
        self.drop_interventions()

    def _begin(self, folder: ShardFolder, fingerprint: str, drop: Callable[[], None]) -> None:
        """Makes a phase's folder ready, dropping what was done under another fingerprint."""
        noted = folder.path / "fingerprint"
        if noted.exists() and noted.read_text(encoding="utf-8") == fingerprint:
            return
        drop()
        with storing(noted):
            folder.path.mkdir(parents=True, exist_ok=True)
        write_text(noted, fingerprint)

    def drop_interventions(self) -> None:
        """Forgets all interventions, finished or not."""
        (self.tables / f"{schema.INTERVENTIONS.name}.parquet").unlink(missing_ok=True)
        if self.intervened.path.exists():
            shutil.rmtree(self.intervened.path)

    def clear_partial(self) -> None:
        """Removes what an interrupted run left half written."""
        for folder in (self.path, *self._phases, self.tables, self.exemplars):
            if folder.exists():
                for entry in folder.iterdir():
                    if PARTIAL in entry.name:
                        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def clear_results(self) -> None:
        """Removes everything that a run computed; for a run that starts anew."""
        for folder in (*self._phases, self.tables, self.exemplars, self.report):
            if folder.exists():
                shutil.rmtree(folder)

    def write_shard(self, index: int, frames: Mapping[str, pd.DataFrame]) -> None:
        """Stores the score tables of one shard, whole or not at all; a shard that exists already is kept."""
        self.scored.write(index, frames)

    def merge_shards(self) -> dict[str, pd.DataFrame]:
        """The score tables of all finished shards in the order of the plan, stored as the run's tables."""
        return self._merged(self.scored)

    def merge_interventions(self) -> pd.DataFrame:
        """The table of all finished interventions in the order of their plan, stored as the run's."""
        return self._merged(self.intervened)[schema.INTERVENTIONS.name]

    @property
    def _phases(self) -> tuple[Path, ...]:
        """The folders of everything that is worked on shard by shard."""
        return self.shards, self.discovered.path, self.intervened.path

    def _merged(self, folder: "ShardFolder") -> dict[str, pd.DataFrame]:
        merged = folder.merged()
        for name, table_frame in merged.items():
            self.write_table(name, table_frame)
        return merged

    def write_table(self, name: str, table_frame: pd.DataFrame) -> None:
        """Replaces one table of the run."""
        self.tables.mkdir(parents=True, exist_ok=True)
        path = self.tables / f"{name}.parquet"
        with storing(path):
            partial = path.with_name(path.name + PARTIAL)
            _write_parquet(partial, table_frame, schema.TABLES[name])
            partial.replace(path)
            _sync(self.tables)

    def table(self, name: str) -> pd.DataFrame:
        """One table of the run.

        Raises:
            RunError: unknown name, or the run has no such table (yet).
        """
        if name not in schema.TABLES:
            raise RunError(f"expected a table out of {', '.join(schema.TABLES)}; found {name!r}")
        path = self.tables / f"{name}.parquet"
        if not path.exists():
            raise RunError(f"{self.path}: has no table {name!r} yet; `rightreasons run` finishes it")
        return _read_parquet(path, schema.TABLES[name])

    def has_table(self, name: str) -> bool:
        """Whether the run has a table, such as one of a phase that may be switched off."""
        return (self.tables / f"{name}.parquet").exists()

    def all_tables(self) -> dict[str, pd.DataFrame]:
        """Every table that the run has."""
        return {name: self.table(name) for name in schema.TABLES if self.has_table(name)}

    def write_exemplars(self, exemplars: Iterable[Exemplar]) -> None:
        """Replaces the exemplars; one file each, in order."""
        partial = self.path / f"exemplars{PARTIAL}"
        if partial.exists():
            shutil.rmtree(partial)
        with storing(self.exemplars):
            partial.mkdir(parents=True)
            for number, exemplar in enumerate(exemplars):
                _write_exemplar(partial / f"{number:05d}.npz", exemplar)
            if self.exemplars.exists():
                shutil.rmtree(self.exemplars)
            partial.rename(self.exemplars)

    def read_exemplars(self) -> tuple[Exemplar, ...]:
        """The exemplars in stored order; none where there are none yet."""
        if not self.exemplars.exists():
            return ()
        return tuple(_read_exemplar(path) for path in sorted(self.exemplars.glob("*.npz")))

    def write_report(self, files: Mapping[str, str | bytes]) -> Path:
        """Replaces the report; returns its first page."""
        partial = self.path / f"report{PARTIAL}"
        if partial.exists():
            shutil.rmtree(partial)
        with storing(self.report):
            for name, content in files.items():
                path = partial / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
            if self.report.exists():
                shutil.rmtree(self.report)
            partial.rename(self.report)
        return self.report / "index.html"


def write_text(path: Path, text: str) -> None:
    """Replaces a file's text; readers see the old or the new one, never a part."""
    with storing(path):
        partial = path.with_name(f"{path.name}{PARTIAL}-{os.getpid()}")
        # File names that are not UTF-8 are written as escapes, which JSON reads back.
        with partial.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync(path.parent)


def digest(value: Any) -> str:
    """SHA-256 of a value's JSON, keys sorted."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _write_parquet(path: Path, table_frame: pd.DataFrame, table: schema.Table) -> None:
    schema.check(table_frame, table).to_parquet(path, index=False, compression="zstd")
    _sync(path)


def _read_parquet(path: Path, table: schema.Table) -> pd.DataFrame:
    try:
        read = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read as Parquet: {error}") from None
    return schema.check(read, table)


def _write_exemplar(path: Path, exemplar: Exemplar) -> None:
    words = {name: getattr(exemplar, name) for name in ("sample_id", "label", "predicted", "role")}
    words |= {"regions": list(exemplar.regions), "maps": list(exemplar.maps)}
    arrays = {f"region_{number}": region for number, region in enumerate(exemplar.regions.values())}
    arrays |= {f"map_{number}": map_ for number, map_ in enumerate(exemplar.maps.values())}
    arrays |= {
        "words": np.array(json.dumps(words)),
        "image": exemplar.image,
        "foreground": exemplar.foreground,
    }
    np.savez_compressed(path, allow_pickle=False, **arrays)


def _read_exemplar(path: Path) -> Exemplar:
    with np.load(path, allow_pickle=False) as stored:
        words = json.loads(str(stored["words"]))
        return Exemplar(
            sample_id=words["sample_id"],
            label=words["label"],
            predicted=words["predicted"],
            role=words["role"],
            image=stored["image"],
            foreground=stored["foreground"],
            regions={name: stored[f"region_{number}"] for number, name in enumerate(words["regions"])},
            maps={name: stored[f"map_{number}"] for number, name in enumerate(words["maps"])},
        )


def _sync(path: Path) -> None:
    """Brings a file or a folder's entries to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turns a failing disk into one sentence."""
    try:
        yield
    except OSError as error:
        free = shutil.disk_usage(next(parent for parent in path.parents if parent.exists())).free
        raise StorageError(
            f"{path}: cannot be written: {error.strerror or error} ({free:,} bytes free); finished shards are kept, "
            "the same command resumes"
        ) from None
