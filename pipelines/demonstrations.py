"""Pictures of a few interventions: the sample as it is, changed, and its control, for the report to show.

The run keeps the scores of changed pictures, not the pictures, so a few are made again. That is the same code with the
same seeds, and costs what a few in sixty samples of the interventions cost; the model is not asked again.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from audit.types import Demonstration
from pipelines.config import ReportConfig
from pipelines.engine import Work
from pipelines.intervene import AT_ONCE, load_pictures, picture_for, variants_of
from pipelines.intervention_plan import InterventionPlan, Job, build

Key = tuple[str, str, str, str]
"""sample_id, confound, kind, fill: the key of the table `interventions`."""


def choose(rows: pd.DataFrame, config: ReportConfig) -> list[Key]:
    """The rows that are shown: of each class, confound and intervention those nearest to its median effect.

    What is shown is typical, not the best case. A class shows the confounds whose interventions move it most.

    Args:
        rows: the table `interventions`.
        config: how many.
    """
    made = rows[rows["score_after"].notna() & rows["score_control"].notna()]
    made = made.assign(effect=made["score_after"] - made["score_control"])
    groups = made.groupby(["label", "confound", "kind"])["effect"]
    made = made.assign(distance=(made["effect"] - groups.transform("median")).abs())
    strengths = groups.mean().abs().groupby(["label", "confound"]).max().rename("strength").reset_index()
    strongest = strengths.sort_values(["label", "strength", "confound"], ascending=[True, False, True])
    shown = strongest.groupby("label").head(config.demonstrated_confounds)
    ranked = shown.merge(made, on=["label", "confound"], validate="one_to_many")
    # The strongest first; the names break ties, so that the choice does not depend on the order of shards.
    ranked = ranked.sort_values(
        ["label", "strength", "confound", "kind", "distance", "sample_id", "fill"],
        ascending=[True, False, True, True, True, True, True],
    )
    ranked = ranked.drop_duplicates(["label", "confound", "kind", "sample_id"])
    nearest = ranked.groupby(["label", "confound", "kind"], sort=False).head(config.demonstrations)
    columns = (nearest[name].astype(str) for name in ("sample_id", "confound", "kind", "fill"))
    return list(zip(*columns, strict=True))


def key_of(shown: Demonstration) -> Key:
    """The row that a demonstration shows."""
    return shown.sample_id, shown.confound, shown.kind, shown.fill


def jobs_for(plan: InterventionPlan, chosen: Sequence[Key]) -> list[Job]:
    """The part of a plan that makes the chosen rows."""
    wanted = {key[:3] for key in chosen}
    jobs = [
        replace(
            job,
            requests=tuple(r for r in job.requests if (job.sample.sample_id, r.confound, r.kind) in wanted),
        )
        for shard in plan.shards
        for job in shard.samples
    ]
    return [job for job in jobs if job.requests]


def show(work: Work, jobs: Sequence[Job], chosen: Sequence[Key]) -> tuple[Demonstration, ...]:
    """The chosen rows as pictures, in their order; without those whose sample can no longer be read."""
    kinds, made = build(work.config.interventions), {}
    for start in range(0, len(jobs), AT_ONCE):
        some = jobs[start : start + AT_ONCE]
        known = load_pictures(work, some, {})
        for job in some:
            if job.sample.sample_id not in known:
                continue
            batch = known[job.sample.sample_id]
            for request, variant in variants_of(work, kinds, job, known):
                key = (job.sample.sample_id, request.confound, request.kind, variant.fill)
                if variant.after is None or variant.control is None or key not in chosen:
                    continue
                picture = picture_for(batch, request)
                is_thing = picture.aim is None
                made[key] = Demonstration(
                    sample_id=job.sample.sample_id,
                    label=request.label,
                    confound=request.confound,
                    kind=request.kind,
                    fill=variant.fill,
                    image=_in_bytes(picture.image),
                    after=_in_bytes(variant.after),
                    control=_in_bytes(variant.control),
                    foreground=picture.foreground,
                    region=picture.region if is_thing else np.zeros_like(picture.region),
                )
    return tuple(made[key] for key in chosen if key in made)


def _in_bytes(image: np.ndarray) -> np.ndarray:
    """Values in [0, 1] as uint8."""
    return np.asarray(np.rint(np.clip(image, 0, 1) * 255), dtype=np.uint8)
