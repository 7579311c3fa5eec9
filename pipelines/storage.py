"""The only reader and writer of a run folder.

    RUN/manifest.json          the run's facts
    RUN/shards/00007/*.parquet the score tables of one shard; the folder exists whole or not at all
    RUN/reused/00000/          the same of the samples whose scores an earlier run knew
    RUN/attributed/00007/      maps of the samples that were drawn, in a run that samples
    RUN/discovered/00003/      what the search for confounds without a name found for one class
    RUN/interventions/00007/   the same for the interventions, a phase of its own; `fingerprint` says of which
    RUN/tables/*.parquet       the score tables of the run, and what was judged from them
    RUN/exemplars/*.npz        images and maps of the samples that the report shows
    RUN/sheets/*.npz           small pictures of many samples, for the gallery
    RUN/demonstrations/*.npz   interventions on a few samples, before and after
    RUN/report/index.html      the report
    RUN/report.html            the same as one file, where somebody asked for it

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
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from audit import tables as schema
from audit.errors import RunError, StorageError
from audit.types import Demonstration, Exemplar
from reports.sheets import Sheet

PARTIAL, BEGUN = ".partial", ".begun"


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
        with storing(self._begun(index)):
            self.path.mkdir(parents=True, exist_ok=True)
            self._begun(index).touch()

    def was_begun(self, index: int) -> bool:
        """Whether a worker took this shard up and did not finish it."""
        return self._begun(index).exists()

    def forget_begun(self, index: int) -> None:
        """Forgets that a worker took this shard up."""
        _remove(self._begun(index))

    def forget(self, index: int) -> None:
        """Removes a finished shard, so that it is worked on again."""
        _remove(self.path / f"{index:05d}")

    def forget_all(self) -> None:
        """Removes every shard of the phase."""
        _remove(self.path)

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

    def scratch(self) -> IO[bytes]:
        """An empty file without a name on the disk of this folder: gone with whoever holds it, also where killed."""
        with storing(self.path):
            return tempfile.TemporaryFile(dir=self.path)

    def _begun(self, index: int) -> Path:
        return self.path / f"{index:05d}{BEGUN}"


_FACTS = frozenset(
    {"fingerprint", "scoring", "config", "classes_in_order", "methods", "started", "data", "versions"}
)
"""What whoever reads a finished run relies on."""


class Run:
    """A run folder by its path; making the object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shards = path / "shards"
        self.scored = ShardFolder(self.shards, schema.SAMPLE_TABLES)
        self.reused = ShardFolder(path / "reused", schema.SAMPLE_TABLES)
        self.attributed = ShardFolder(path / "attributed", (schema.ATTRIBUTIONS, schema.CONFOUNDS))
        self.discovered = ShardFolder(path / "discovered", schema.DISCOVERY_TABLES)
        self.intervened = ShardFolder(path / "interventions", (schema.INTERVENTIONS,))
        self.tables = path / "tables"
        self.exemplars = path / "exemplars"
        self.sheets = path / "sheets"
        self.demonstrations = path / "demonstrations"
        self.report = path / "report"
        self.manifest_path = path / "manifest.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run for one writer; the lock dies with the process, so no stale lock is left.

        Raises:
            RunError: another process writes this run, or the folder cannot be written.
        """
        with storing(self.path / "lock"):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / "lock").open("w")
        with lock:
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
        except (OSError, ValueError) as error:
            raise RunError(f"{self.manifest_path}: cannot be read: {error}") from None
        if not isinstance(manifest, dict):
            raise RunError(
                f"{self.manifest_path}: expected the facts of a run as a JSON object, found something else; run the "
                "audit again into another folder"
            )
        if manifest.get("schema_version") != schema.SCHEMA_VERSION:
            raise RunError(
                f"{self.manifest_path}: expected schema version {schema.SCHEMA_VERSION}, found "
                f"{manifest.get('schema_version')}; run the audit again with this version of the program"
            )
        if manifest.get("state") == "scored" and (missing := sorted(_FACTS - manifest.keys())):
            raise RunError(
                f"{self.manifest_path}: expected the facts of a finished run, found none named "
                f"{', '.join(missing)}; run the audit again into another folder"
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
        _remove(self.tables / f"{name}.parquet")

    def begin_shard(self, index: int) -> None:
        """Notes that a worker took this shard up to score it."""
        self.scored.begin(index)

    def begin_interventions(self, fingerprint: str) -> None:
        """Makes the folder ready for these interventions; what was done for others is dropped.

        Their settings are not part of the run's fingerprint: trying other interventions costs no attribution.
        """
        self._begin(self.intervened, fingerprint, self.drop_interventions)

    def begin_sampling(self, fingerprint: str) -> None:
        """Makes the folder ready for draws by these limits; draws by others may have stopped elsewhere."""
        self._begin(self.attributed, fingerprint, self.attributed.forget_all)

    def begin_discovery(self, fingerprint: str) -> None:
        """Makes the folder ready for this search; what another one found is dropped, and the interventions on it."""
        self._begin(self.discovered, fingerprint, self.drop_discovery)

    def drop_discovery(self) -> None:
        """Forgets what was discovered, and the interventions, which may be of it."""
        for table in (schema.DISCOVERED, schema.DISCOVERED_REGIONS):
            self.drop_table(table.name)
        _remove(self.discovered.path)
        self.drop_interventions()

    def begin_looks(self, folder: ShardFolder, fingerprint: str) -> None:
        """Makes a folder of looks at unlabelled pictures ready for these pictures and settings."""
        self._begin(folder, fingerprint, lambda: _remove(folder.path))
        for entry in folder.path.glob(f"*{PARTIAL}*"):
            _remove(entry)

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
        self.drop_table(schema.INTERVENTIONS.name)
        for folder in (self.intervened.path, self.demonstrations):
            _remove(folder)

    def clear_partial(self) -> None:
        """Removes what an interrupted run left half written."""
        for folder in (self.path, *self._phases, self.tables, self.exemplars, self.sheets):
            if folder.exists():
                for entry in folder.iterdir():
                    if PARTIAL in entry.name or entry.suffix == BEGUN:
                        _remove(entry)

    def clear_results(self) -> None:
        """Removes everything that a run computed; for a run that starts anew."""
        for folder in (
            *self._phases,
            self.tables,
            self.exemplars,
            self.sheets,
            self.demonstrations,
            self.report,
        ):
            _remove(folder)

    def write_shard(self, index: int, frames: Mapping[str, pd.DataFrame]) -> None:
        """Stores the score tables of one shard, whole or not at all; a shard that exists already is kept."""
        self.scored.write(index, frames)

    def merge_shards(self, order: Mapping[str, int] | None = None) -> dict[str, pd.DataFrame]:
        """The score tables of all finished shards, stored as the run's tables.

        Args:
            order: places of the samples by id, for a run that took some of them over; other ids, faults of
                reading, come last. None leaves shards as they lie.
        """
        parts = [folder.merged() for folder in (self.reused, self.scored)]
        merged = {t.name: schema.joined(t, [part[t.name] for part in parts]) for t in schema.SAMPLE_TABLES}
        if order is not None:
            merged = {
                name: part.sort_values(
                    "sample_id", key=lambda ids: ids.map(order), kind="stable", ignore_index=True
                )
                for name, part in merged.items()
            }
        return self._stored(merged)

    def merge_interventions(self) -> pd.DataFrame:
        """The table of all finished interventions in the order of their plan, stored as the run's."""
        return self._stored(self.intervened.merged())[schema.INTERVENTIONS.name]

    @property
    def _phases(self) -> tuple[Path, ...]:
        """The folders of everything that is worked on shard by shard."""
        return self.shards, self.reused.path, self.attributed.path, self.discovered.path, self.intervened.path

    def _stored(self, merged: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
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
        _write_pictures(self.exemplars, map(packed_exemplar, exemplars))

    def read_exemplars(self) -> tuple[Exemplar, ...]:
        """The exemplars in stored order; none where there are none yet."""
        if not self.exemplars.exists():
            return ()
        return tuple(_read_exemplar(path) for path in sorted(self.exemplars.glob("*.npz")))

    def write_sheet(self, sheet: Sheet) -> None:
        """Stores a sheet of small pictures under its own name, whole or not at all."""
        path = self.sheets / f"{sheet.name}.npz"
        with storing(path):
            self.sheets.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f"{sheet.name}{PARTIAL}-{platform.node()}-{os.getpid()}.npz")
            np.savez(partial, allow_pickle=False, **_packed_sheet(sheet))
            _sync(partial)
            partial.replace(path)

    def read_sheets(self) -> Iterator[Sheet]:
        """The sheets in the order of their names; none where there are none."""
        for path in sorted(self.sheets.glob("*.npz")) if self.sheets.exists() else ():
            if PARTIAL not in path.name:
                yield _read_sheet(path)

    def write_demonstrations(self, demonstrations: Iterable[Demonstration]) -> None:
        """Replaces the demonstrations; one file each, in order."""
        _write_pictures(self.demonstrations, map(_packed_demonstration, demonstrations))

    def read_demonstrations(self) -> tuple[Demonstration, ...]:
        """The demonstrations in stored order; none where there are none."""
        if not self.demonstrations.exists():
            return ()
        return tuple(_read_demonstration(path) for path in sorted(self.demonstrations.glob("*.npz")))

    def write_report(self, files: Mapping[str, str | bytes]) -> Path:
        """Replaces the report; returns its first page."""
        partial = self.path / f"report{PARTIAL}-new"
        _remove(partial)
        with storing(self.report):
            for name, content in files.items():
                path = partial / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
                _sync(path)
            _remove(self.report)
            partial.rename(self.report)
        return self.report / "index.html"

    def write_single_file(self, text: str) -> Path:
        """Replaces the report that is one file; returns its path."""
        path = self.path / "report.html"
        write_text(path, text)
        return path


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
    checked = schema.check(table_frame, table)
    # A bit that flips on the disk would still be a number: checksums tell.
    checked.to_parquet(path, index=False, compression="zstd", write_page_checksum=True)
    _sync(path)


def _read_parquet(path: Path, table: schema.Table) -> pd.DataFrame:
    try:
        read = pd.read_parquet(path, page_checksum_verification=True)
    except _DAMAGED as error:
        raise _damaged(path, "Parquet", error) from None
    return schema.check(read, table)


_DAMAGED = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    RuntimeError,
    MemoryError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What libraries raise over a damaged file, wherever the damage lies."""


def _damaged(path: Path, form: str, error: BaseException) -> RunError:
    cause = " ".join(str(error).split()) or type(error).__name__
    return RunError(
        f"{path}: cannot be read as {form}: {cause}; remove the folder {path.parent} and run the same command again, "
        "which computes what is missing"
    )


def _write_pictures(folder: Path, packed: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Replaces a folder of pictures, whole or not at all."""
    partial = folder.with_name(f"{folder.name}{PARTIAL}-new")
    _remove(partial)
    with storing(folder):
        partial.mkdir(parents=True)
        for number, arrays in enumerate(packed):
            np.savez_compressed(partial / f"{number:05d}.npz", allow_pickle=False, **arrays)
            _sync(partial / f"{number:05d}.npz")
        _remove(folder)
        partial.rename(folder)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The arrays of a file of pictures."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            yield stored
    except _DAMAGED as error:
        raise _damaged(path, "pictures", error) from None


_DEMONSTRATION_WORDS = ("sample_id", "label", "confound", "kind", "fill")
_DEMONSTRATION_ARRAYS = ("image", "after", "control", "foreground", "region")


def _packed_demonstration(shown: Demonstration) -> dict[str, np.ndarray]:
    words = {name: getattr(shown, name) for name in _DEMONSTRATION_WORDS}
    return {name: getattr(shown, name) for name in _DEMONSTRATION_ARRAYS} | {
        "words": np.array(json.dumps(words))
    }


def _read_demonstration(path: Path) -> Demonstration:
    with _opened(path) as stored:
        arrays = {name: stored[name] for name in _DEMONSTRATION_ARRAYS}
        return Demonstration(**json.loads(str(stored["words"])), **arrays)


def packed_exemplar(exemplar: Exemplar) -> dict[str, np.ndarray]:
    """An exemplar as named arrays."""
    words = {name: getattr(exemplar, name) for name in ("sample_id", "label", "predicted", "role")}
    words |= {"regions": list(exemplar.regions), "maps": list(exemplar.maps)}
    arrays = {f"region_{number}": region for number, region in enumerate(exemplar.regions.values())}
    arrays |= {f"map_{number}": map_ for number, map_ in enumerate(exemplar.maps.values())}
    return arrays | {
        "words": np.array(json.dumps(words)),
        "image": exemplar.image,
        "foreground": exemplar.foreground,
    }


def _read_exemplar(path: Path) -> Exemplar:
    with _opened(path) as stored:
        return unpacked_exemplar(stored)


def unpacked_exemplar(stored: Mapping[str, np.ndarray]) -> Exemplar:
    """The exemplar of `packed_exemplar`."""
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


def _packed_sheet(sheet: Sheet) -> dict[str, np.ndarray]:
    words = {name: getattr(sheet, name) for name in ("sample_ids", "digests", "shape")}
    words["pictures"] = list(sheet.pictures)
    arrays = {
        f"picture_{number}": np.frombuffer(picture, dtype=np.uint8)
        for number, picture in enumerate(sheet.pictures.values())
    }
    return arrays | {"words": np.array(json.dumps(words))}


def _read_sheet(path: Path) -> Sheet:
    with _opened(path) as stored:
        words = json.loads(str(stored["words"]))
        height, width = words["shape"]
        return Sheet(
            sample_ids=tuple(words["sample_ids"]),
            digests=tuple(words["digests"]),
            shape=(height, width),
            pictures={
                name: stored[f"picture_{number}"].tobytes() for number, name in enumerate(words["pictures"])
            },
        )


def _remove(path: Path) -> None:
    """Removes a file or a folder if it is there; a folder is renamed first, so no part of it stays under its name."""
    with storing(path):
        if not path.is_dir():
            path.unlink(missing_ok=True)
            return
        doomed = path
        if PARTIAL not in path.name:
            doomed = path.with_name(path.name + PARTIAL)
            if doomed.exists():
                shutil.rmtree(doomed)
            path.rename(doomed)
        shutil.rmtree(doomed)


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
