"""Images and maps of the few samples a report shows; maps are not stored by the run, so they are computed again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from audit.types import Exemplar, Sample
from pipelines.config import ReportConfig
from pipelines.discovered_regions import with_regions
from pipelines.engine import Work, attribute, load_batches, workshop
from pipelines.incremental import pictures_of, recall, remember
from pipelines.memory import arrays_from_bytes, arrays_to_bytes, key_of
from pipelines.storage import packed_exemplar, unpacked_exemplar

WORST, TYPICAL, DISCOVERED = "worst", "typical", "discovered"


def choose(tables: Mapping[str, pd.DataFrame], method: str, config: ReportConfig) -> dict[str, str]:
    """Roles by sample id: per class the samples of least mass inside, and those nearest to the class's median.

    Where no foreground is annotated, the mass on confounds takes its place: the more, the worse. What was
    discovered and has no other name is shown by its most typical samples.
    """
    scores = tables["attributions"].query("method == @method").set_index("sample_id")["mass_inside"]
    confounds = tables["confounds"].query("method == @method").groupby("sample_id")["mass_inside"].max()
    labels = tables["predictions"].set_index("sample_id")["label"]
    roles: dict[str, str] = {}
    for label in sorted(labels.unique()):
        ids = labels.index[labels == label]
        good = scores.reindex(ids)
        if good.isna().all():
            good = 1 - confounds.reindex(ids).fillna(0.0)
        # The id breaks ties, so that the choice does not depend on the order of shards.
        ranked = good.dropna().rename("score").rename_axis("id").reset_index().sort_values(["score", "id"])
        worst = list(ranked["id"].head(config.worst))
        distance = (ranked["score"] - ranked["score"].median()).abs().rename("score")
        nearest = ranked.assign(distance=distance).sort_values(["distance", "id"])["id"]
        typical = [sample_id for sample_id in nearest if sample_id not in worst][: config.typical]
        roles |= dict.fromkeys(worst, WORST) | dict.fromkeys(typical, TYPICAL)
    if "discovered" in tables:
        found = tables["discovered"]
        for ids in found.loc[~found["known"], "exemplars"]:
            roles = dict.fromkeys(list(ids)[: config.discovered], DISCOVERED) | roles
    return roles


def show(work: Work, samples: Sequence[Sample], roles: Mapping[str, str]) -> tuple[Exemplar, ...]:
    """The exemplars of some samples, in the order of `roles`."""
    keys = {s: key_of("exemplar", seen) for s, seen in pictures_of(work, roles).items() if seen}
    remembered = recall(work, keys.values())
    shown = {
        sample_id: replace(unpacked_exemplar(arrays_from_bytes(remembered[key])), role=roles[sample_id])
        for sample_id, key in keys.items()
        if key in remembered
    }
    left = [sample for sample in samples if sample.sample_id not in shown]
    made = _drawn(work, left, roles) if left else {}
    remember(work, {keys[s]: arrays_to_bytes(packed_exemplar(one)) for s, one in made.items() if s in keys})
    shown |= made
    return tuple(shown[sample_id] for sample_id in roles if sample_id in shown)


def _drawn(work: Work, samples: Sequence[Sample], roles: Mapping[str, str]) -> dict[str, Exemplar]:
    """The exemplars that the model has to be asked about, by sample id."""
    shop = workshop(work)
    shown: dict[str, Exemplar] = {}
    labels = {sample.sample_id: str(sample.label) for sample in samples}
    for loaded, _, _ in load_batches(work, samples):
        if loaded is None:
            continue
        batch = with_regions(work, loaded)
        outcome = attribute(work, shop, batch, shop.classifier.probabilities(batch.images))
        predicted = outcome.probabilities.argmax(axis=1)
        for row, sample_id in enumerate(batch.sample_ids):
            shown[sample_id] = Exemplar(
                sample_id=sample_id,
                label=labels[sample_id],
                predicted=shop.classes[int(predicted[row])],
                role=roles[sample_id],
                image=np.round(batch.images[row] * 255).astype(np.uint8),
                foreground=batch.foreground[row],
                regions={name: region[row] for name, region in batch.regions.items() if region[row].any()},
                maps={name: maps.maps[row] for name, maps in outcome.attributions.items()},
            )
    return shown
