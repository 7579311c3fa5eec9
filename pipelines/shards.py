"""The plan of a run: samples, labels as the model knows them, shards, and the fingerprint that resuming checks."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pipelines.readers as readers
from audit import plugins
from audit.errors import ConfigError, DatasetError, UnusableError
from audit.interventions import WHOLE_BACKGROUND
from audit.tables import SCHEMA_VERSION
from audit.types import Sample
from pipelines.config import DataConfig, RunConfig
from pipelines.detector_files import digests
from pipelines.images import place_of
from pipelines.readers import Reader
from pipelines.readers._annotations import Fault
from pipelines.storage import digest

ANNOTATED = "annotated"
"""The entry of `confounds.use` that stands for the regions that the dataset itself names."""
GLOBAL = "global"
"""The entry that stands for properties of the whole picture and its file."""


@dataclass(frozen=True)
class Shard:
    """The unit of resume: consecutive samples, and the faults that reading found beside them."""

    index: int
    samples: tuple[Sample, ...]
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        classes: class names in the model's output order.
        shards: all of them, also those that are finished already.
        region_names: names of the dataset's own regions, sorted.
        fingerprint: digest of everything that a score depends on.
        scoring: what went into the fingerprint, for telling what changed.
    """

    classes: tuple[str, ...]
    shards: tuple[Shard, ...]
    region_names: tuple[str, ...]
    fingerprint: str
    scoring: dict[str, Any]

    @property
    def n_samples(self) -> int:
        """Samples and faults: what audited and quarantined add up to."""
        return sum(len(shard.samples) + len(shard.faults) for shard in self.shards)


def make_plan(config: RunConfig, classes: Sequence[str], model_digest: str) -> Plan:
    """The plan of a run.

    Raises:
        DatasetError: the dataset cannot be read, or nothing of it is left to audit.
        ConfigError: more labels than `data.max_quarantine` allows are unknown to the model.
    """
    entries = list(read(config.data))
    samples = [entry for entry in entries if isinstance(entry, Sample)]
    faults = [entry for entry in entries if isinstance(entry, Fault)]
    samples, unknown = _known_labels(samples, classes, config.data)
    samples = _draw_per_class(samples, config.data.per_class, config.run.seed)
    if not samples:
        raise UnusableError(
            f"{config.data.path}: no sample is left to audit; quarantined: {len(faults) + len(unknown)}"
        )
    region_names: tuple[str, ...] = ()
    if ANNOTATED in config.confounds.use:
        # What a dataset itself calls the background is what lies outside of the foreground anyway.
        named = {name for sample in samples for name in sample.regions}
        region_names = tuple(sorted(named - {WHOLE_BACKGROUND}))
    scoring = _scoring(config, classes, model_digest)
    faults += unknown
    fingerprint = digest({"scoring": scoring, "samples": _samples_digest(samples), "faults": repr(faults)})
    shards = cut(samples, faults, config.run.shard_size)
    return Plan(tuple(classes), shards, region_names, fingerprint, scoring)


def read(data: DataConfig) -> Iterable[Sample | Fault]:
    """The samples of the configured dataset."""
    reader: Reader = plugins.find(readers, data.reader or reader_of(data.path))(data)
    return reader()


def reader_of(path: Path) -> str:
    """The reader that plainly fits a path.

    Raises:
        DatasetError: the path does not exist.
        ConfigError: none fits, or more than one.
    """
    if not path.exists():
        raise DatasetError(
            f"{path}: expected a dataset (a folder or an annotation file), found nothing there"
        )
    if path.is_dir() and not any(path.iterdir()):
        raise UnusableError(f"{path}: expected photos in one folder per class, found an empty folder")
    fitting = [name for name in plugins.names(readers) if plugins.find(readers, name).recognises(path)]
    if len(fitting) != 1:
        found = f"{' and '.join(fitting)} could read it" if fitting else "no reader recognises it"
        raise ConfigError(f"{path}: {found}; set data.reader to one of {', '.join(plugins.names(readers))}")
    return fitting[0]


def changed(old: dict[str, Any], new: dict[str, Any], place: str = "") -> list[str]:
    """Which scoring settings differ, as `key: old -> new`."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after, name = old.get(key), new.get(key), f"{place}{key}"
        if isinstance(before, dict) and isinstance(after, dict):
            found += changed(before, after, f"{name}.")
        elif before != after:
            found.append(f"{name}: {before!r} -> {after!r}")
    return found


def _known_labels(
    samples: list[Sample], classes: Sequence[str], data: DataConfig
) -> tuple[list[Sample], list[Fault]]:
    """Samples whose label the model knows, and the others as faults."""
    known = set(classes)
    unknown = [sample for sample in samples if sample.label not in known]
    labels = {str(sample.label) for sample in samples}
    both_sides = f"labels of the dataset: {_listed(labels)}; classes of the model: {_listed(classes)}"
    if samples and len(unknown) > data.max_quarantine * len(samples):
        raise ConfigError(
            f"{data.path}: the model does not know {len(unknown)} of {len(samples)} labels; {both_sides}; "
            "give the classes in the model's output order, or map names in [data] labels"
        )
    faults = [
        Fault(
            s.sample_id,
            s.image_path,
            str(s.label),
            "unknown label",
            f"{s.label!r} is no class of the model; {both_sides}",
        )
        for s in unknown
    ]
    return [sample for sample in samples if sample.label in known], faults


def _draw_per_class(samples: list[Sample], per_class: int | None, seed: int) -> list[Sample]:
    """At most `per_class` samples a class; which ones depends on the seed and their own id alone."""
    if per_class is None:
        return samples
    drawn, taken = set(), Counter[str]()
    for sample in sorted(
        samples,
        key=lambda s: hashlib.sha256(f"{seed}:{s.sample_id}".encode(errors="surrogateescape")).digest(),
    ):
        if taken[str(sample.label)] < per_class:
            taken[str(sample.label)] += 1
            drawn.add(sample.sample_id)
    return [sample for sample in samples if sample.sample_id in drawn]


def cut(samples: Sequence[Sample], faults: Sequence[Fault], size: int) -> tuple[Shard, ...]:
    """Consecutive samples; the reading faults go with the first shard."""
    cuts = [tuple(samples[start : start + size]) for start in range(0, len(samples), size)]
    return tuple(Shard(index, cut, tuple(faults) if index == 0 else ()) for index, cut in enumerate(cuts))


def _scoring(config: RunConfig, classes: Sequence[str], model_digest: str) -> dict[str, Any]:
    """Every setting that a score depends on."""
    chosen = config.model_dump(mode="json", include={"data", "model", "attributions", "confounds"})
    chosen["data"].pop("max_quarantine")
    chosen["run"] = config.run.model_dump(mode="json", include={"seed", "shard_size", "batch_size"})
    if config.run.sampling:
        chosen["run"]["first_draw"] = config.run.first_draw
    if files := digests(config.confounds.use):
        chosen["detector_files"] = files
    return chosen | {"schema_version": SCHEMA_VERSION, "classes": list(classes), "model_digest": model_digest}


def _samples_digest(samples: Sequence[Sample]) -> str:
    """Digest of the samples, their annotations, and the size and time of their files."""
    hasher = hashlib.sha256()
    for sample in samples:
        outlines = (sample.foreground, *sample.regions.values())
        masks = [outline.mask.path if outline.mask else "" for outline in outlines]
        stamps = [file_stamp(Path(path)) if path else "" for path in (sample.image_path, *masks)]
        hasher.update(repr((sample, stamps)).encode(errors="surrogateescape"))
    return hasher.hexdigest()


def file_stamp(path: Path) -> str:
    """Size and time of the file that a picture or mask lies in; "missing" where there is none."""
    try:
        status = place_of(path)[0].stat()
    except OSError:
        return "missing"
    return f"{status.st_size}:{status.st_mtime_ns}"


def _listed(words: Iterable[str], most: int = 10) -> str:
    ordered = sorted(words) if isinstance(words, set) else list(words)
    return ", ".join(ordered[:most]) + (f" and {len(ordered) - most} more" if len(ordered) > most else "")
