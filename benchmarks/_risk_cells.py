"""One cell of the risk benchmark: a network that learned a bound cue, audited on photos like those and on shifted ones.

A cell's run folders keep their tables, so an interrupted sweep goes on where it was, and risks can be estimated anew.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._planted_cells import PLANTED, Cell, Settings, Studio, assigned, shares
from benchmarks._planted_world import CLASSES, CUES

USUAL, SHIFTED = "usual", "shifted"
"""Splits: the cue bound to the first class as in training; the cue on half of the photos of every class."""
N_PHOTOS = 120
"""Of a class and split."""
INTERVENTIONS = ("remove", "transplant", "normalise", "impose")


@dataclass(frozen=True)
class RiskCell:
    """One network with its two audits.

    Attributes:
        cue: what is bound to the first class.
        strength: P(cue | first class) in training.
        seed: of the world and of the training.
    """

    cue: str
    strength: float
    seed: int

    @property
    def folder(self) -> str:
        """Its place below the benchmark's folder."""
        return f"cells/{self.seed}-{self.cue.replace(' ', '_')}-{self.strength:g}"


def work(cell: RiskCell, studio: Studio) -> None:
    """Trains, draws and audits what is missing of a cell."""
    folder = studio.settings.out / cell.folder
    if (folder / "finished").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    planted = Cell(PLANTED, cell.cue, cell.strength, cell.seed)
    studio.forge.save(studio.network(planted), folder / "model.keras", CLASSES)
    has_cue = _cues(cell, studio.settings.n_audited)
    for cue in (None, cell.cue):
        studio.write(cue)
    manifest = studio.write_manifest(planted, has_cue, with_masks=True)
    table = pd.read_csv(manifest)
    is_usual = np.arange(len(table)) % studio.settings.n_audited < studio.settings.n_audited // 2
    table["split"] = np.where(is_usual, USUAL, SHIFTED)
    table.to_csv(manifest, index=False)
    for split in (USUAL, SHIFTED):
        _audit(cell, studio.settings, manifest, split, folder)
    (folder / "finished").write_text(json.dumps({"accuracy": _accuracies(folder)}))


def _cues(cell: RiskCell, n: int) -> np.ndarray:
    """bool (K * n,), class by class, the usual half of each class first."""
    rng = np.random.default_rng([cell.seed, CUES.index(cell.cue), 41])
    halves = [
        assigned(wanted, n // 2, rng).reshape(len(CLASSES), -1)
        for wanted in (shares(cell.strength), (0.5,) * len(CLASSES))
    ]
    return np.concatenate(halves, axis=1).reshape(-1)


def _audit(cell: RiskCell, settings: Settings, manifest: Path, split: str, folder: Path) -> None:
    """The program's own audit of one split, without what no risk rests on."""
    cache = settings.out / "cache" / str(cell.seed)
    confounds = [name for name in settings.confounds if name != "faces" or cell.cue == "face"]
    audit_quietly(
        {
            "data": {"reader": "manifest", "path": str(manifest.absolute()), "splits": [split]},
            "model": {"path": str((folder / "model.keras").absolute())},
            "interventions": {"use": list(INTERVENTIONS)},
            "confounds": {"use": confounds},
            "run": {"workers": 0, "batch_size": 64, "seed": cell.seed, "cache": str(cache.absolute())},
        },
        folder / split,
    )


def audit_quietly(values: dict[str, Any], out: Path) -> None:
    """An audit by Grad-CAM alone, of which manifest and tables are kept."""
    from rich.console import Console

    from pipelines.config import validate
    from pipelines.progress import Progress
    from pipelines.run import audit

    values = {
        "attributions": {"methods": ["grad_cam"], "untrained_per_class": 0},
        "report": {"worst": 0, "typical": 0},
        "certificate": {"samples": 0},
        **values,
    }
    audit(validate(values, where="benchmark"), out, progress=Progress(Console(quiet=True)), is_new=True)
    for name in ("report", "exemplars", "shards", "interventions", "discovered"):
        shutil.rmtree(out / name, ignore_errors=True)


def _accuracies(folder: Path) -> dict[str, float]:
    from pipelines.storage import Run

    return {
        split: float(Run(folder / split).table("predictions")["correct"].mean()) for split in (USUAL, SHIFTED)
    }
