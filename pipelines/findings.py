"""Findings of a run sample by sample, for tools that show pictures: prediction, verdict, and the confounds on it."""

import json
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy import ndimage

from audit import tables as schema
from audit.types import AuditRun, ClassVerdict, Sample
from audit.verdicts import headline
from pipelines.config import RunConfig, validate
from pipelines.counterfactual_sources import region_finder
from pipelines.discovered_regions import stored_regions
from pipelines.inputs import NO_LABEL, InputSettings, load
from pipelines.judge import load as load_run
from pipelines.shards import read
from pipelines.storage import Run

_SIDE = 256
"""Regions are looked at on a grid of so many pixels a side; boxes are exact to a 256th."""
_SMALLEST = 4
"""Pixels of that grid below which a part of a region is no box of its own."""


def findings(run: Run) -> pd.DataFrame:
    """Rows of `audit.tables.FINDINGS`, a sample each, in the order of the run.

    Raises:
        RunError: the run is not finished.
        DatasetError: its dataset cannot be read any more.
    """
    finished = load_run(run)
    config = validate(finished.manifest["config"], where=f"{run.path}/manifest.json")
    samples = {entry.sample_id: entry for entry in read(config.data) if isinstance(entry, Sample)}
    verdicts = headline(finished.verdicts)
    confounds = finished.tables["confounds"]
    present = confounds[confounds["present"]].groupby("sample_id")["confound"].agg(set).to_dict()
    boxes = _boxes(run, config, finished, [samples[i] for i in present if i in samples], present)
    scores = finished.tables["attributions"].groupby("sample_id")["mass_inside"].mean()
    rows = []
    for row in finished.tables["predictions"].itertuples():
        sample, verdict = samples.get(row.sample_id), verdicts.get(row.label)
        rows.append(
            {
                "sample_id": row.sample_id,
                "path": sample.image_path if sample else row.path,
                "label": row.label,
                "predicted": row.predicted,
                "confidence": row.confidence,
                "is_right": "yes" if row.correct else "no",
                "mass_inside": scores.get(row.sample_id, np.nan),
                "status": verdict.status.value if verdict else "",
                "confound": (verdict.confound or "") if verdict else "",
                "reason": _reason(verdict),
                "shows": sorted(present.get(row.sample_id, ())),
                "regions": boxes.get(row.sample_id, []),
            }
        )
    return schema.frame(schema.FINDINGS, rows)


def _reason(verdict: ClassVerdict | None) -> str:
    return " ".join(verdict.reasons) if verdict else ""


def _boxes(
    run: Run, config: RunConfig, finished: AuditRun, samples: Sequence[Sample], present: dict[str, set[str]]
) -> dict[str, list[str]]:
    """Boxes of the confounds that a sample shows, as JSON: their name, and shares of width and height."""
    finder, names = region_finder(run, config), sorted(set().union(*present.values())) if present else []
    settings = InputSettings(
        (_SIDE, _SIDE),
        "stretch",
        False,
        config.data.exif,
        config.data.alpha,
        config.data.max_pixels,
        tuple(names),
    )
    index = dict.fromkeys(finished.classes, NO_LABEL)
    discovered = stored_regions(run.path)
    found: dict[str, list[str]] = {}
    for sample in samples:
        batch, _, _ = load([sample], index, finder if finder.detectors else None, settings)
        if batch is None:
            continue
        regions = {name: batch.regions[name][0] for name in names}
        if config.model.resize == "stretch":  # else they lie on a part of the photo
            regions |= discovered.get(sample.sample_id, {})
        found[sample.sample_id] = [
            json.dumps({"name": name, "box": [round(side, 4) for side in box]}, ensure_ascii=False)
            for name in sorted(present[sample.sample_id])
            for box in boxes_of(regions[name])
        ]
    return found


def boxes_of(region: np.ndarray) -> Iterable[tuple[float, float, float, float]]:
    """Boxes (x0, y0, x1, y1) of the parts of a region bool (H, W), as shares of width and height."""
    height, width = region.shape
    parts, _ = ndimage.label(region)
    for place, (rows, columns) in enumerate(ndimage.find_objects(parts), start=1):
        if (parts[rows, columns] == place).sum() >= min(_SMALLEST, region.sum()):
            yield columns.start / width, rows.start / height, columns.stop / width, rows.stop / height
