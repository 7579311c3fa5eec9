"""An audit from the configuration to the report; resumes by itself."""

import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

import pandas as pd

import pipelines.engines as engines
from audit import plugins
from audit.errors import ModelError, RunError, UnusableError
from audit.tables import SCHEMA_VERSION
from audit.types import AuditRun
from pipelines import (
    certification,
    demonstrations,
    discover,
    exemplars,
    gallery,
    incremental,
    intervene,
    intervention_plan,
    sampling,
)
from pipelines.config import RunConfig, RunConfigSection
from pipelines.engine import ShardRecord, Work, describe_model, untrained_shares
from pipelines.engines import Engine, WorkersLostError
from pipelines.execute import Crew, Tasks, execute, forget_crashed
from pipelines.judge import judge, load, write_report
from pipelines.models import model_digest, read_classes
from pipelines.origins import program, versions
from pipelines.parts import Part
from pipelines.progress import Bar, Progress
from pipelines.shards import Plan, changed, make_plan
from pipelines.storage import Run

INTERVENING = Tasks(
    intervene.intervene_shard,
    intervene.intervene_samples,
    intervene.no_interventions,
    attrgetter("intervened"),
)
"""The tasks of the phase after scoring."""


def audit(
    config: RunConfig,
    out: Path,
    *,
    progress: Progress,
    is_new: bool = False,
    reuse: Path | None = None,
    retries_crashed: bool = False,
) -> AuditRun:
    """Runs an audit, or finishes the one that was begun in `out`.

    Args:
        config: the configuration.
        out: the run folder; made where it does not exist.
        progress: where progress is told.
        is_new: drop what another configuration left in `out`.
        reuse: an earlier run, or a folder of runs, whose scores are taken over where nothing changed; looked at when
            the run begins, not when it is resumed.
        retries_crashed: try images again that were given up because their workers were lost.

    Raises:
        AuditError: the configuration, the dataset, the model or the run folder is wrong.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    run = Run(out)
    with run.locked(), Crew(engine_of(config.run), config.run.timeout_seconds) as crew:
        plan = _plan(config, progress)
        _prepare(run, config, plan, is_new=is_new)
        if retries_crashed:
            progress.say(f"{forget_crashed(run)} images that lost their workers are tried again")
        work = _reuse(run, work_of(config, out, plan), plan, reuse, progress)
        _score(run, work, incremental.left_to_score(run, plan), crew, progress)
        tables = run.merge_shards(_places(plan))
        _check_quarantine(config, plan, tables)
        tables = _sample(run, work, plan, crew, tables, progress)
        tables = _discover(run, work, plan, crew, tables, progress)
        n_passes = _intervene(run, work, plan, crew, tables, progress)
        _certify(run, work, plan, crew, tables, progress)
        _show(run, work, plan, crew, tables, progress)
        manifest = run.manifest()
        if manifest["state"] != "scored":
            manifest |= {
                "state": "scored",
                "started": started.isoformat(timespec="seconds"),
                "seconds": time.monotonic() - clock,
            }
        manifest |= _outcome(config, plan, tables, manifest) | {"n_intervention_passes": n_passes}
        # What the fingerprint leaves out may have changed since the run began.
        manifest["config"] = config.model_dump(mode="json")
        run.write_manifest(manifest)
        progress.say("judging and rendering")
        judge(run, config.verdicts)
        write_report(run)
        return load(run)


def score_part(
    config: RunConfig, out: Path, part: Part, *, progress: Progress, is_new: bool = False
) -> tuple[int, int]:
    """Scores one part of an audit's shards, or finishes it; `parts.gather` joins the parts.

    Returns:
        Samples of this part, and of the whole audit.

    Raises:
        AuditError: as `audit`.
    """
    run = Run(out)
    with run.locked(), Crew(engine_of(config.run), config.run.timeout_seconds) as crew:
        plan = _plan(config, progress)
        _prepare(run, config, plan, is_new=is_new)
        own = replace(plan, shards=tuple(shard for shard in plan.shards if part.holds(shard.index)))
        _score(run, work_of(config, out, plan), own, crew, progress)
        return own.n_samples, plan.n_samples


def work_of(config: RunConfig, out: Path, plan: Plan) -> Work:
    """What every task of this run shares."""
    labels = [str(sample.label) for shard in plan.shards for sample in shard.samples]
    return Work(
        config,
        out,
        plan.region_names,
        engine_of(config.run).threads,
        untrained_shares(labels, config.attributions.untrained_per_class),
        gallery.shares(Counter(labels), config.report.thumbnails),
        incremental.settings_of(plan),
    )


def engine_of(run: RunConfigSection) -> Engine:
    """The workers that `run.engine` names.

    Raises:
        ConfigError: there is no engine of that name.
    """
    engine: Engine = plugins.find(engines, run.engine)(run)
    return engine


def _plan(config: RunConfig, progress: Progress) -> Plan:
    """The plan; without the names of the classes nothing can be planned."""
    intervention_plan.build(config.interventions)  # a wrong name is told before hours of scoring, not after
    discover.settings_of(config.confounds)
    progress.say("reading the dataset")
    classes = read_classes(config.model)
    if classes is None:
        raise ModelError(
            f"{config.model.path}: the names of its classes were found neither beside it nor in it; give them in the "
            "model's output order with --classes FILE, one a line"
        )
    return make_plan(config, classes, model_digest(config.model.path))


def _ask_model(work: Work, crew: Crew) -> dict[str, Any]:
    try:
        described: dict[str, Any] = crew.result(describe_model, work)
    except WorkersLostError as error:
        raise RunError(
            f"{work.config.model.path}: the worker that loaded the model was lost ({error})"
        ) from None
    return described


def _prepare(run: Run, config: RunConfig, plan: Plan, *, is_new: bool) -> None:
    """Makes the folder ready for this plan, or refuses to mix two audits in it."""
    run.clear_partial()
    if run.exists():
        stored = run.manifest()
        if stored["fingerprint"] == plan.fingerprint:
            return
        if not is_new:
            differences = changed(stored["scoring"], plan.scoring) or ["the samples or their files"]
            raise RunError(
                f"{run.path}: holds another audit; changed since: {'; '.join(differences)}; choose another --out, "
                "or drop the old results with --force-new"
            )
    elif any(entry.name != "lock" for entry in run.path.iterdir()) and not is_new:
        raise RunError(
            f"{run.path}: expected an empty or new folder for the run, found files of something else in it"
        )
    run.clear_results()
    run.write_manifest(
        {
            "schema_version": SCHEMA_VERSION,
            "state": "begun",
            "fingerprint": plan.fingerprint,
            "scoring": plan.scoring,
            "config": config.model_dump(mode="json"),
            "classes_in_order": list(plan.classes),
            "methods": list(config.attributions.methods),
            "settings": incremental.settings_of(plan),
            "program": program(),
            "effective_batch_size": config.run.batch_size,
        }
    )


def _reuse(run: Run, work: Work, plan: Plan, given: Path | None, progress: Progress) -> Work:
    """The work, with an earlier run to ask; what that run knows of unchanged samples is stored as this run's."""
    manifest = run.manifest()
    if "reuse" in manifest:  # settled when the run began
        earlier = Path(manifest["reuse"]["path"]) if manifest["reuse"]["path"] else None
        return replace(work, earlier=earlier)
    if given is None or run.finished_shards():
        return work
    progress.say(f"comparing the samples with those of {given}")
    found, notes = incremental.find_earlier(given, run.path, plan)
    taken = incremental.take_over(run, work, plan, found) if found else incremental.Reuse()
    for note in (*notes, *taken.notes):
        progress.say(f"Warning: {note}")
    progress.say(f"{taken.n} of {plan.n_samples} samples are taken over")
    path = found.path.resolve() if found else None
    if found and taken.n:
        manifest["model"] = found.manifest()["model"]
    manifest["reuse"] = {
        "path": str(path) if path else None,
        "samples": taken.n,
        "n_gradients": taken.n_gradients,
        "notes": [*notes, *taken.notes],
    }
    run.write_manifest(manifest)
    return replace(work, earlier=path)


def _places(plan: Plan) -> dict[str, int]:
    """Places of the samples in the order of the plan, by id."""
    samples = [sample for shard in plan.shards for sample in shard.samples]
    return {sample.sample_id: place for place, sample in enumerate(samples)}


def _score(run: Run, work: Work, plan: Plan, crew: Crew, progress: Progress) -> None:
    """Brings every shard to its end."""
    finished = run.finished_shards()
    todo = [shard for shard in plan.shards if shard.index not in finished]
    if not todo:
        return
    progress.say("loading the model")
    manifest = run.manifest()
    manifest["model"] = _ask_model(work, crew)
    run.write_manifest(manifest)
    n_done = sum(len(shard.samples) for shard in plan.shards if shard.index in finished)
    with progress.bar("attributing", n_done + sum(len(shard.samples) for shard in todo), n_done) as bar:
        sizes = {shard.index: len(shard.samples) for shard in plan.shards}
        execute(work, todo, crew, _noting(run, bar, sizes))


def _sample(
    run: Run, work: Work, plan: Plan, crew: Crew, tables: dict[str, pd.DataFrame], progress: Progress
) -> dict[str, pd.DataFrame]:
    """The score tables, with maps of as many samples as verdicts need where that is asked for."""
    if not work.config.run.sampling:
        return tables
    samples = [sample for shard in plan.shards for sample in shard.samples]
    with progress.bar("attributing what is drawn", len(tables["predictions"])) as bar:
        draws = sampling.Draws(run, work, plan.classes, samples, tables)
        for shards in draws.rounds():
            sizes = {shard.index: len(shard.samples) for shard in shards}
            execute(work, shards, crew, _noting(run, bar, sizes), sampling.SAMPLING)
    run.write_manifest(run.manifest() | {"sampling": draws.counts()})
    return draws.tables()


def _noting(run: Run, bar: Bar, sizes: Mapping[int, int]) -> Callable[[ShardRecord], None]:
    """What is done with each finished shard: the bar, and the manifest where memory ran out."""

    def note(record: ShardRecord) -> None:
        bar.advance(sizes[record.index])
        rows = record.batch_size
        if rows is not None and rows < run.manifest()["effective_batch_size"]:
            run.write_manifest(run.manifest() | {"effective_batch_size": rows})

    return note


def _discover(
    run: Run, work: Work, plan: Plan, crew: Crew, tables: dict[str, pd.DataFrame], progress: Progress
) -> dict[str, pd.DataFrame]:
    """The score tables, with the confounds that nobody named where they are asked for."""
    if discover.DISCOVERED not in work.config.confounds.use:
        return tables
    audited = set(tables["predictions"]["sample_id"])
    samples = [sample for shard in plan.shards for sample in shard.samples if sample.sample_id in audited]
    return discover.discover_confounds(run, work, samples, tables, crew, progress)


def _intervene(
    run: Run, work: Work, plan: Plan, crew: Crew, tables: dict[str, pd.DataFrame], progress: Progress
) -> int:
    """Brings every intervention to its end and stores their table; returns the forward passes of the plan."""
    if not work.config.interventions.use:
        run.drop_interventions()
        return 0
    samples = [sample for shard in plan.shards for sample in shard.samples]
    audited = set(tables["predictions"]["sample_id"])
    usable = [sample for sample in samples if sample.sample_id in audited]
    todo = intervention_plan.make_intervention_plan(work.config, usable, tables)
    if todo.per_class < work.config.interventions.per_class:
        progress.say(
            f"interventions.max_passes allows {todo.per_class} samples for each class, confound and intervention"
        )
    run.begin_interventions(todo.fingerprint)
    sizes = {shard.index: len(shard.samples) for shard in todo.shards}
    finished = run.intervened.finished()
    n_done = sum(size for index, size in sizes.items() if index in finished)
    if n_done < sum(sizes.values()):
        with progress.bar("intervening", sum(sizes.values()), n_done) as bar:
            execute(work, todo.shards, crew, _noting(run, bar, sizes), INTERVENING)
    _demonstrate(run, work, todo, crew, run.merge_interventions(), progress)
    return todo.n_passes


def _demonstrate(
    run: Run,
    work: Work,
    plan: intervention_plan.InterventionPlan,
    crew: Crew,
    rows: pd.DataFrame,
    progress: Progress,
) -> None:
    """Stores the pictures of a few interventions, unless the same ones are stored already."""
    chosen = demonstrations.choose(rows, work.config.report)
    if [demonstrations.key_of(shown) for shown in run.read_demonstrations()] == chosen:
        return
    progress.say("drawing the interventions")
    jobs = demonstrations.jobs_for(plan, chosen)
    try:
        run.write_demonstrations(crew.result(demonstrations.show, work, jobs, chosen))
    except WorkersLostError as error:
        raise RunError(
            f"{run.path}: the worker that drew the interventions was lost ({error}); run again"
        ) from None


def _certify(
    run: Run, work: Work, plan: Plan, crew: Crew, tables: dict[str, pd.DataFrame], progress: Progress
) -> None:
    """Stores the trust certificate, unless it is off or stored already."""
    n = work.config.certificate.samples
    manifest = run.manifest()
    if run.has_table("certificate") and manifest.get("certified_on") == n:
        return
    run.drop_table("certificate")
    if n == 0:
        return
    audited = set(tables["predictions"]["sample_id"])
    samples = [sample for shard in plan.shards for sample in shard.samples if sample.sample_id in audited]
    chosen = certification.choose(samples, n, work.config.run.seed)
    if len(chosen) < certification.FEWEST:
        return
    progress.say("certifying the explanations")
    try:
        run.write_table("certificate", crew.result(certification.certify_samples, work, chosen))
        run.write_manifest(manifest | {"certified_on": n})
    except WorkersLostError as error:
        raise RunError(f"{run.path}: the worker that certified was lost ({error}); run again") from None


def _show(
    run: Run, work: Work, plan: Plan, crew: Crew, tables: dict[str, pd.DataFrame], progress: Progress
) -> None:
    """Stores the exemplars, unless the same ones are stored already."""
    found = {"discovered": run.table("discovered")} if run.has_table("discovered") else {}
    roles = exemplars.choose(tables | found, work.config.attributions.methods[0], work.config.report)
    if [(e.sample_id, e.role) for e in run.read_exemplars()] == list(roles.items()):
        return
    progress.say("drawing the exemplars")
    samples = [sample for shard in plan.shards for sample in shard.samples if sample.sample_id in roles]
    try:
        run.write_exemplars(crew.result(exemplars.show, work, samples, roles))
    except WorkersLostError as error:
        raise RunError(
            f"{run.path}: the worker that drew the exemplars was lost ({error}); run again"
        ) from None


def _check_quarantine(config: RunConfig, plan: Plan, tables: dict[str, pd.DataFrame]) -> None:
    """Nothing, or too little, must not pass for an audit."""
    n_quarantined, n = len(tables["quarantine"]), plan.n_samples
    reasons = "; ".join(
        f"{reason}: {number}" for reason, number in tables["quarantine"]["reason"].value_counts().items()
    )
    if len(tables["predictions"]) == 0:
        raise UnusableError(f"{config.data.path}: none of {n} samples could be audited ({reasons})")
    if n_quarantined > config.data.max_quarantine * n:
        raise UnusableError(
            f"{config.data.path}: {n_quarantined} of {n} samples are quarantined ({reasons}), more than "
            f"data.max_quarantine = {config.data.max_quarantine:g} allows; the reasons are in the table `quarantine`"
        )


def _outcome(
    config: RunConfig, plan: Plan, tables: dict[str, pd.DataFrame], manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """The manifest's numbers."""
    from audit.model_checks import warnings

    return {
        "counts": {
            "samples": plan.n_samples,
            "audited": len(tables["predictions"]),
            "quarantined": len(tables["quarantine"]),
        },
        "n_gradients": int(tables["attributions"]["n_gradients"].sum()),
        "warnings": [
            *warnings(tables["predictions"], plan.classes),
            *manifest.get("reuse", {}).get("notes", []),
        ],
        "data": {"path": str(config.data.path), "region_names": list(plan.region_names)},
        "versions": versions() | {"python": platform.python_version()},
    }
