"""Unlabelled pictures and a finished run -> how probably the model is wrong on each, and on how many.

A phase like the others: shards on workers, finished ones are skipped, a picture that breaks workers is left out.
"""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from audit import tables as schema
from audit.errors import DatasetError, RunError, UnusableError
from audit.risk import expected_accuracy, predict_risks
from audit.risk_quality import CONFIDENT
from audit.types import AuditRun, Interval, Sample
from pipelines.config import DataConfig, RunConfig, validate
from pipelines.engine import ShardRecord, Work, features_of, load_batches, quarantine, workshop
from pipelines.execute import Crew, Tasks, execute
from pipelines.judge import load
from pipelines.models import model_digest
from pipelines.progress import Progress
from pipelines.readers._annotations import IMAGE_SUFFIXES, TABLE_SUFFIXES, Fault, read_rows, root_of
from pipelines.risks import LEVEL, TABLES, evidence_of, fit
from pipelines.run import engine_of
from pipelines.shards import Shard, file_stamp
from pipelines.storage import Run, ShardFolder, digest
from reports import numbers


@dataclass(frozen=True)
class Assessed:
    """What became of a folder of unlabelled pictures.

    Attributes:
        table: rows of `audit.tables.UNLABELLED`, the highest risk first.
        accuracy: share of the predictions that are probably right, with interval; see `expected_accuracy`.
        note: why the risks are no more than 1 - confidence; empty where they are.
        guessed: things and properties whose meaning in the folder is guessed from its pictures.
        n_labelled: samples of the run that the estimate rests on.
        quarantine: pictures that could not be used, with the reason.
    """

    table: pd.DataFrame
    accuracy: Interval
    note: str
    guessed: tuple[str, ...]
    n_labelled: int
    quarantine: pd.DataFrame


def assess_pictures(run: Run, pool: Path, *, progress: Progress) -> Assessed:
    """The risk of every picture of a pool; what was looked at before is not looked at again.

    Args:
        run: a finished run; its model must be where it was.
        pool: a folder of pictures, or a table with the column `path`.
        progress: where progress is told.

    Raises:
        RunError: the run is not finished, or its model has changed.
        DatasetError: the pool holds no picture that can be used.
    """
    finished = load(run)
    config = validate(finished.manifest["config"], where=f"{finished.name}/manifest.json")
    require_its_model(finished, config)
    pictures = pool_samples(pool, config.data)
    size, folder = config.run.shard_size, _folder(run)
    cuts = [tuple(pictures[start : start + size]) for start in range(0, len(pictures), size)]
    stamps = [(one.image_path, file_stamp(Path(one.image_path))) for one in pictures]
    work = Work(config, run.path, tuple(finished.manifest["data"]["region_names"]), None)
    with run.locked():
        run.begin_looks(
            folder, digest([finished.manifest["fingerprint"], stamps, size, schema.SCHEMA_VERSION])
        )
        done = folder.finished()
        n_done = sum(len(cut) for index, cut in enumerate(cuts) if index in done)
        with (
            Crew(engine_of(config.run), config.run.timeout_seconds) as crew,
            progress.bar("looking at the pictures", len(pictures), n_done) as bar,
        ):
            if n_done < len(pictures):
                shards = [Shard(index, cut) for index, cut in enumerate(cuts)]
                execute(work, shards, crew, lambda record: bar.advance(len(cuts[record.index])), LOOKING)
        return _assessed(finished, folder, config, pool)


def _assessed(finished: AuditRun, folder: ShardFolder, config: RunConfig, pool: Path) -> Assessed:
    """Risks from what was looked at.

    Raises:
        UnusableError: none of the pictures could be used.
    """
    found = folder.merged()
    lost = found[schema.QUARANTINE.name]
    if not len(found[schema.FEATURES.name]):
        raise UnusableError(
            f"{pool}: expected pictures, could use none of {len(lost)}: {lost['detail'].iloc[0]}"
        )
    model, _ = fit(finished.tables, config.verdicts.limits())
    evidence = evidence_of(found)
    risks = predict_risks(model, evidence)
    looked = found[schema.FEATURES.name][["sample_id", "predicted", "confidence"]]
    table = risks.merge(looked, on="sample_id", validate="one_to_one").rename(columns={"sample_id": "path"})
    ordered = table.sort_values("rank", ignore_index=True)[list(schema.UNLABELLED.column_names)]
    return Assessed(
        schema.check(ordered, schema.UNLABELLED),
        expected_accuracy(model, evidence, risks["risk"].to_numpy(), LEVEL),
        model.note,
        tuple(dict.fromkeys(pull.thing for pull in model.pulls)),
        model.n,
        lost,
    )


def sentences(found: Assessed) -> tuple[str, ...]:
    """What a reader should know, the answer first."""
    risks, accuracy, is_sure = found.table["risk"], found.accuracy, found.table["confidence"] > CONFIDENT
    pictures = numbers.plural(len(risks), "picture", "pictures")
    wrong = numbers.plural(int((risks > 0.5).sum()), "prediction is", "predictions are")
    said = [
        f"Expected accuracy on {pictures}: {numbers.interval(accuracy.mean, accuracy.low, accuracy.high)}",
        f"{wrong} more probably wrong than right; of the {is_sure.sum()} with a confidence above {CONFIDENT:g}, "
        f"{(risks[is_sure] > 0.5).sum()}.",
        f"This is learned from {found.n_labelled} labelled samples of the run. Pictures of a kind that it has not can "
        "be worse than expected, and the interval does not know: label a few and look.",
    ]
    if found.guessed:
        said.append(
            f"The model follows {' and '.join(found.guessed)}. What that means on these pictures is guessed from all "
            "of them; where they leave it open, the interval reaches to what holds if it means nothing."
        )
    if found.note:
        said.append(f"Only confidence counts here: {found.note}.")
    if len(found.quarantine):
        first = found.quarantine["detail"].iloc[0]
        n_lost = numbers.plural(len(found.quarantine), "picture", "pictures")
        said.append(f"{n_lost} could not be used, the first since: {first}")
    return tuple(said)


def require_its_model(finished: AuditRun, config: RunConfig) -> None:
    """Raises RunError where the model's file is not the one that the run audited."""
    if model_digest(config.model.path) != finished.manifest["scoring"]["model_digest"]:
        raise RunError(
            f"{config.model.path}: expected the model of the run {finished.name}, found another one; audit it first"
        )


def pool_samples(path: Path, config: DataConfig) -> list[Sample]:
    """The pictures of a pool, each once, in a stable order; their id is their path.

    Raises:
        DatasetError: there is no such pool, or nothing in it.
    """
    if path.is_dir():
        found = sorted(_images_in(path))
    elif path.suffix.lower() in TABLE_SUFFIXES:
        root = root_of(path.absolute().parent, config)
        places = (root.locate(row["path"], str(path)) for row in read_rows(path, ("path",)))
        found = list(dict.fromkeys(places))  # a.png is ./a.png too
    else:
        raise DatasetError(
            f"{path}: expected a folder of pictures or a table with the column path, found neither"
        )
    if not found:
        raise UnusableError(f"{path}: expected pictures, found none")
    return [Sample(_readable(str(file.absolute())), str(file.absolute()), None) for file in found]


def _images_in(folder: Path) -> Iterable[Path]:
    """Files with an image's ending in and below a folder; hidden ones and links to folders are passed over."""
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield Path(here) / name


def _readable(text: str) -> str:
    """Valid text: bytes of a file name that are not UTF-8 are written as escapes."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def score_pictures(work: Work, samples: Sequence[Sample]) -> dict[str, pd.DataFrame]:
    """What an estimate of risk is made from, of pictures without a label; unreadable ones are rows of `quarantine`."""
    parts: dict[str, list[pd.DataFrame]] = {table.name: [] for table in TABLES}
    faults: list[Fault] = []
    for batch, _, batch_faults in load_batches(work, samples):
        faults += batch_faults
        if batch is not None:
            probabilities = workshop(work).classifier.probabilities(batch.images)
            for name, rows in features_of(work, batch, probabilities).items():
                parts[name].append(rows)
    joined = {name: schema.joined(schema.TABLES[name], frames) for name, frames in parts.items()}
    return joined | {schema.QUARANTINE.name: quarantine(faults)}


def _score_shard(work: Work, shard: Shard) -> ShardRecord:
    """Scores the pictures of a shard and stores the rows."""
    started = time.monotonic()
    folder = _folder(Run(work.out))
    folder.begin(shard.index)
    frames = score_pictures(work, shard.samples)
    folder.write(shard.index, frames)
    n_lost = len(frames[schema.QUARANTINE.name])
    return ShardRecord(shard.index, len(shard.samples) - n_lost, n_lost, time.monotonic() - started)


def _folder(run: Run) -> ShardFolder:
    """Where a run keeps this phase."""
    return ShardFolder(run.path / "unlabelled", (*TABLES, schema.QUARANTINE))


LOOKING = Tasks(audit=_score_shard, score=score_pictures, folder=_folder)
"""The tasks of this phase."""
