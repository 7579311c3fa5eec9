"""A finished run and a folder of unlabelled pictures -> the pictures to add."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from audit import tables as schema
from audit.bonds import bonds
from audit.errors import RunError, UnusableError
from audit.interventions import WHOLE_BACKGROUND
from audit.pool import Ask, Choice, asks, choose, copies, reason_text
from audit.pool_reading import Known, Look, with_slice
from audit.risk import predict_risks
from audit.suggestions import WEAK, WITHOUT
from audit.types import AuditRun, Sample
from audit.weak_slices import weak_slices
from pipelines.config import ConfoundsConfig, RunConfig, validate
from pipelines.engine import Work
from pipelines.engines import WorkersLostError
from pipelines.execute import Crew, execute
from pipelines.judge import load
from pipelines.origins import program
from pipelines.pool_looks import LOOKING, LookJob, LookShard, Trait, looked
from pipelines.pool_seen import Seen, read_looks
from pipelines.progress import Progress
from pipelines.regions import NOT_DETECTORS, detectors
from pipelines.risks import evidence_of
from pipelines.risks import fit as fit_risk
from pipelines.run import engine_of
from pipelines.shards import GLOBAL, file_stamp, read
from pipelines.storage import Run, digest
from pipelines.unlabelled import pool_samples, require_its_model, score_pictures

PER_CLASS = 150
"""Labelled samples of a class that the classes are read from: enough for a linear reading, few enough to be quick."""
N_LENDERS = 12
"""Samples that lend the place of a thing to those without it."""
_LEVEL = 0.95
"""Confidence of the bonds' intervals, which nothing here reads."""


@dataclass(frozen=True)
class Suggested:
    """What a pool gave.

    Attributes:
        table: rows of `audit.tables.POOL`, by rank.
        choice: how it came about.
        wishes: what the run asks for.
        n_pictures: pictures of the pool that could be read.
        n_unreadable: pictures that could not; the run's folder `pool` has the reasons.
        on_backgrounds: classes of which photos on other backgrounds are asked for, which no pool can be searched for.
    """

    table: pd.DataFrame
    choice: Choice
    wishes: tuple[Ask, ...]
    n_pictures: int
    n_unreadable: int
    on_backgrounds: tuple[str, ...] = ()


def suggest_from_pool(run: Run, pool: Path, n: int, *, progress: Progress) -> Suggested:
    """The pictures of a pool that the run's findings ask for; what was looked at before is not looked at again.

    Args:
        run: a finished run; its model and its dataset must be where they were.
        pool: a folder of pictures, or a table with the column `path`.
        n: pictures to suggest at most.
        progress: where progress is told.

    Raises:
        RunError: the run is not finished, asks for nothing, or its model has changed.
        DatasetError: the pool holds no picture.
    """
    finished = load(run)
    wishes = asks(finished.verdicts, finished.suggestions, finished.classes)
    if not wishes:
        raise RunError(
            f"{run.path}: expected findings that ask for photos, found none: no class is flagged for a thing that can "
            "be told apart, has a weak slice or is undecided for want of samples"
        )
    config = _config(finished, wishes)
    require_its_model(finished, config)
    labelled, others = _labelled(finished, config)
    traits = _traits(finished, config, wishes)
    jobs = _jobs(labelled, traits, finished)
    jobs += [LookJob(sample) for sample in others]
    unlabelled, n_own = _unlabelled(pool, config, {sample.sample_id for sample in (*labelled, *others)})
    jobs += [LookJob(sample, traits) for sample in unlabelled]
    with run.locked(), Crew(engine_of(config.run), config.run.timeout_seconds) as crew:
        work = Work(config, run.path, tuple(finished.manifest["data"]["region_names"]), None)
        _look(run, work, jobs, traits, (finished, crew, progress))
        keys = [trait.key for trait in traits]
        seen = read_looks(looked(run), keys, (labelled, others, unlabelled))
        seen = _with_slices(seen, finished, wishes)
        found = choose_from(finished.classes, wishes, seen, n)
        by_path = {sample.sample_id: sample for sample in unlabelled}
        chosen = [by_path[path] for path in found.table["path"]]
        choice = dataclasses.replace(found.choice, n_duplicates=found.choice.n_duplicates + n_own)
        table = _with_risk(found, chosen, finished, (work, crew))
        asked = (s.label for s in finished.suggestions if (s.kind, s.confound) == (WITHOUT, WHOLE_BACKGROUND))
        return dataclasses.replace(
            found,
            table=table,
            choice=choice,
            n_pictures=found.n_pictures + n_own,
            on_backgrounds=tuple(dict.fromkeys(asked)),
        )


def _unlabelled(pool: Path, config: RunConfig, known: Collection[str]) -> tuple[list[Sample], int]:
    """Pictures of a pool, and how many more of them are the dataset's own files under the ids `known`.

    Raises:
        UnusableError: there are no others.
    """
    samples = pool_samples(pool, config.data)
    found = [sample for sample in samples if sample.sample_id not in known]
    if not found:
        raise UnusableError(
            f"{pool}: expected pictures without a label, found only the {len(samples)} that the dataset has already"
        )
    return found, len(samples) - len(found)


def _config(finished: AuditRun, wishes: Sequence[Ask]) -> RunConfig:
    """The run's configuration with only the detectors that the wishes need: the others cost time."""
    config = validate(finished.manifest["config"], where=f"{finished.name}/manifest.json")
    asked = {ask.confound for ask in wishes}
    needed = [
        name
        for name in config.confounds.use
        if name in NOT_DETECTORS - {GLOBAL} or _detects(name, config.confounds) & asked
    ]
    confounds = config.confounds.model_copy(update={"use": needed})
    return config.model_copy(update={"confounds": confounds})


def _detects(name: str, config: ConfoundsConfig) -> set[str]:
    """What one entry of `confounds.use` looks for in pictures."""
    one = config.model_copy(update={"use": [name]})
    return {detector.confound for detector in detectors(one)}


def _traits(finished: AuditRun, config: RunConfig, wishes: Sequence[Ask]) -> tuple[Trait, ...]:
    """What is looked for and taken away."""
    detected = {detector.confound for detector in detectors(config.confounds)}
    bound = {(bond.label, bond.confound): bond for bond in bonds(finished.tables, _LEVEL)}
    seen = set(finished.tables["confounds"]["confound"])
    found = {}
    for ask in wishes:
        if ask.trait and ask.kind != WEAK:
            bond = None if ask.confound in seen else bound[ask.label, ask.confound]
            found[ask.trait] = Trait(ask.trait, ask.confound, bond, ask.confound in detected)
    return tuple(found.values())


def _labelled(finished: AuditRun, config: RunConfig) -> tuple[list[Sample], list[Sample]]:
    """Audited samples that the classes are read from, at most PER_CLASS of a class, and all others of the dataset."""
    audited = set(finished.tables["predictions"]["sample_id"])
    everything = config.data.model_copy(update={"splits": None})
    samples = [entry for entry in read(everything) if isinstance(entry, Sample)]
    order = sorted(samples, key=lambda s: digest([config.run.seed, s.sample_id]))
    taken, drawn = Counter[str](), set()
    for sample in order:
        if sample.sample_id in audited and taken[str(sample.label)] < PER_CLASS:
            taken[str(sample.label)] += 1
            drawn.add(sample.sample_id)
    chosen = [sample for sample in samples if sample.sample_id in drawn]
    return chosen, [sample for sample in samples if sample.sample_id not in drawn]


def _jobs(labelled: Sequence[Sample], traits: Sequence[Trait], finished: AuditRun) -> list[LookJob]:
    """Labelled samples, each with somebody who lends the place of a thing that it does not show itself."""
    shown = finished.tables["confounds"][finished.tables["confounds"]["present"]]
    lending: dict[str, list[Sample]] = {}
    for trait in traits:
        if trait.bond is None:
            showing = set(shown.loc[shown["confound"] == trait.confound, "sample_id"])
            lending[trait.key] = [sample for sample in labelled if sample.sample_id in showing][:N_LENDERS]
    return [
        LookJob(
            sample,
            tuple(traits),
            {
                key: lenders[int(digest([key, sample.sample_id])[:8], 16) % len(lenders)]
                for key, lenders in lending.items()
                if lenders
            },
        )
        for sample in labelled
    ]


def _look(
    run: Run,
    work: Work,
    jobs: Sequence[LookJob],
    traits: Sequence[Trait],
    known: tuple[AuditRun, Crew, Progress],
) -> None:
    """Brings every shard of this phase to its end; what was looked at under other settings, or by
    another version of the program, is dropped."""
    finished, crew, progress = known
    folder, size = looked(run), work.config.run.shard_size
    stamps = [
        (job.sample.sample_id, len(job.traits), file_stamp(Path(job.sample.image_path))) for job in jobs
    ]
    fingerprint = digest([finished.manifest["fingerprint"], program(), repr(traits), stamps, size])
    run.begin_looks(folder, fingerprint)
    cuts = [tuple(jobs[start : start + size]) for start in range(0, len(jobs), size)]
    shards = [LookShard(index, cut) for index, cut in enumerate(cuts)]
    finished_ones = folder.finished()
    n_done = sum(len(shard.samples) for shard in shards if shard.index in finished_ones)
    if n_done == len(jobs):
        return
    sizes = {shard.index: len(shard.samples) for shard in shards}
    with progress.bar("looking at the pool", len(jobs), n_done) as bar:
        execute(work, shards, crew, lambda record: bar.advance(sizes[record.index]), LOOKING)


def choose_from(classes: tuple[str, ...], wishes: tuple[Ask, ...], seen: Seen, n: int) -> Suggested:
    """The choice and its table, without risks.

    Args:
        classes: K class names in the model's output order.
        wishes: what the run asks for.
        seen: what was looked at.
        n: pictures at most.

    Raises:
        UnusableError: no picture of the pool could be read.
    """
    if not seen.unlabelled:
        raise UnusableError(f"the pool: none of {seen.n_unreadable} pictures could be read")
    known = Known(seen.known, tuple(str(sample.label) for sample in seen.labelled), classes)
    choice = choose(wishes, known, seen.pool, copies(seen.pool, seen.dataset), n)
    table = _table(choice, seen.pool, seen.unlabelled, classes)
    return Suggested(table, choice, wishes, len(seen.unlabelled), seen.n_unreadable)


def _with_slices(seen: Seen, finished: AuditRun, wishes: Sequence[Ask]) -> Seen:
    """What was looked at, with a trait for each slice that is asked for; see `with_slice`."""
    asked = [ask for ask in wishes if ask.kind == WEAK]
    if not asked or not seen.unlabelled:
        return seen
    limits = validate(finished.manifest["config"], where=f"{finished.name}/manifest.json").verdicts.limits()
    by_key = {(one.label, one.name): one for one in weak_slices(finished.tables, limits)[1]}
    for ask in asked:
        found = by_key[ask.label, ask.confound]
        is_in = dict.fromkeys(found.rest, 0.0) | dict.fromkeys(found.members, 1.0)
        shows = np.array([is_in.get(sample.sample_id, np.nan) for sample in seen.labelled])
        known, pool = with_slice(ask.trait, shows, seen.known, seen.pool)
        seen = dataclasses.replace(seen, known=known, pool=pool)
    return seen


def _table(choice: Choice, pool: Look, samples: Sequence[Sample], classes: Sequence[str]) -> pd.DataFrame:
    """The list, as it is written."""
    rows = []
    for rank, chosen in enumerate(choice.chosen, start=1):
        chances = pool.probabilities[chosen.row].astype(np.float64)
        predicted, confidence = classes[int(chances.argmax())], min(1.0, float(chances.max()))
        rows.append(
            {
                "rank": rank,
                "path": samples[chosen.row].sample_id,
                "label": chosen.label,
                "kind": chosen.ask.kind,
                "confound": chosen.ask.confound,
                "asked_for": chosen.ask.label,
                "likely": min(1.0, chosen.likely),
                "predicted": predicted,
                "confidence": confidence,
                "risk": np.nan,
                "reason": reason_text(chosen, predicted, confidence),
            }
        )
    return schema.frame(schema.POOL, rows)


def _with_risk(
    found: Suggested, samples: Sequence[Sample], finished: AuditRun, workers: tuple[Work, Crew]
) -> pd.DataFrame:
    """The list with the risk of each picture; as it is where the run has no estimate, or its worker was lost.

    A picture that reads as another class than the model says is at least as probably wrong as it is of that class.
    """
    table, choice = found.table, found.choice
    if schema.FEATURES.name not in finished.tables or not samples:
        return table
    work, crew = workers
    limits = work.config.verdicts.limits()
    model, _ = fit_risk(finished.tables, limits)
    try:
        evidence = evidence_of(crew.result(score_pictures, work, list(samples)))
    except WorkersLostError:
        return table
    risks = predict_risks(model, evidence).set_index("sample_id")["risk"]
    least = [
        chosen.likely if chosen.ask.trait and predicted not in chosen.ask.wanted else 0.0
        for chosen, predicted in zip(choice.chosen, table["predicted"], strict=True)
    ]
    own = risks.reindex(table["path"]).to_numpy(dtype=np.float64)
    return schema.check(table.assign(risk=np.minimum(np.maximum(own, least), 1.0)), schema.POOL)


def spread_over(wishes: Sequence[Ask], table: pd.DataFrame) -> dict[Ask, int]:
    """How many pictures of the list each wish got."""
    counts: dict[Ask, int] = defaultdict(int)
    for ask in wishes:
        own = table[
            (table["asked_for"] == ask.label)
            & (table["kind"] == ask.kind)
            & (table["confound"] == ask.confound)
        ]
        counts[ask] = len(own)
    return dict(counts)
