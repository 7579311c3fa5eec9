"""One cell of the benchmark: photos with a cue bound to a class, a network, the truth about it, and its audit.

A cell's outcome is one JSON file beside the stored tables of its audits, so an interrupted sweep goes on where it was,
and verdicts can be drawn again with other limits.
"""

import csv
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks import _planted_rules as rules
from benchmarks._planted_models import Forge, Weights, seen
from benchmarks._planted_world import CLASSES, CUES, Scene, photo, scene

STRENGTHS = (0.5, 0.8, 0.95, 1.0)
"""P(cue | first class). In the others it is half of what is missing to 1, see `shares`."""
PLANTED, ABSENT, IGNORED, FROZEN = (
    "planted",
    "no cue",
    "seen, trained at random",
    "seen, frozen object reader",
)
"""Kinds of cells; the last three are the clean controls."""
MASKS, NO_MASKS, PATHS = "masks", "no masks", "integrated gradients"
"""Audits of a cell."""
INTERVENTIONS = ("remove", "transplant", "thing_alone", "swap_background", "normalise", "impose")
"""Those that a status can rest on."""
PATH_CUES = ("corner patch", "caption", "colour cast")
"""Cues of the cells that are audited with integrated gradients too."""
N_TRAIN, N_AUDITED = 150, 60
"""Photos of a class that are learned from, and audited."""
N_STEPS, N_STEPS_BACKBONE = 160, 500
RUN = "run"
"""Folder of a cell's audit."""
FIRST_AUDITED = 100_000
"""Number of the first audited photo of a class: no photo is learned from and audited."""


@dataclass(frozen=True)
class Cell:
    """One network and one audit of it.

    Attributes:
        kind: planted, or one of the clean controls.
        cue: what is bound to the first class in the audited photos; in the kind without a cue it only tells cells
            apart.
        strength: P(cue | first class) in the audited photos, and (planted, frozen) in those learned from.
        seed: of the world and of the training.
        audit: which audit is made; the networks of the others are those of the audit with masks.
    """

    kind: str
    cue: str
    strength: float
    seed: int
    audit: str = MASKS

    @property
    def name(self) -> str:
        """Of its folder."""
        words = f"{self.seed}-{self.cue}-{self.kind}-{self.strength:g}-{self.audit}"
        return words.replace(" ", "_").replace(",", "")


@dataclass(frozen=True)
class Settings:
    """What all cells share.

    Attributes:
        out: folder of everything.
        n_train, n_audited: photos of a class.
        n_steps, n_steps_backbone: training steps.
        confounds: what audits look for.
    """

    out: Path
    confounds: tuple[str, ...]
    n_train: int = N_TRAIN
    n_audited: int = N_AUDITED
    n_steps: int = N_STEPS
    n_steps_backbone: int = N_STEPS_BACKBONE


def plan(seeds: Sequence[int], cues: Sequence[str] = CUES) -> list[Cell]:
    """All cells, in an order in which the first ones alone are a smaller benchmark of the same kind.

    Of every cue first the strongest bond and three clean controls, then the weaker bonds and a fourth control, so
    that there are as many clean controls as planted cues; then a part of them without masks, and a smaller part with
    integrated gradients.
    """
    places = [(cue, seed) for cue in cues for seed in seeds]
    first = [
        Cell(kind, cue, 1.0, seed) for cue, seed in places for kind in (PLANTED, IGNORED, FROZEN, ABSENT)
    ]
    weaker = [(PLANTED, 0.8), (PLANTED, 0.95), (PLANTED, 0.5), (IGNORED, 0.8)]
    then = [Cell(kind, cue, strength, seed) for cue, seed in places for kind, strength in weaker]
    cells = [*first, *then]
    without = [c for c in cells if (c.kind, c.strength) in ((PLANTED, 1.0), (PLANTED, 0.8), (IGNORED, 1.0))]
    paths = [
        c for c in cells if (c.kind, c.strength) in ((PLANTED, 1.0), (FROZEN, 1.0)) and c.cue in PATH_CUES
    ]
    return cells + [replace(c, audit=NO_MASKS) for c in without] + [replace(c, audit=PATHS) for c in paths]


def shares(strength: float) -> tuple[float, ...]:
    """P(cue | class) of each class: `strength` in the first, (1 - strength) / 2 in the others.

    1.0 is a perfect bond; 0.5 goes with 0.25 in the others, a weak one of 0.25.
    """
    return (strength, *[(1 - strength) / 2] * (len(CLASSES) - 1))


def assigned(wanted: Sequence[float], n: int, rng: np.random.Generator) -> np.ndarray:
    """bool (K * n,), class by class: which photos get the cue; exactly round(share * n) of each class."""
    return np.concatenate([rng.permutation(np.arange(n) < round(share * n)) for share in wanted])


class Studio:
    """The photos of one seed, drawn once, with and without each cue, and the networks that they teach."""

    def __init__(self, seed: int, settings: Settings, forge: Forge) -> None:
        self.seed, self.settings, self.forge = seed, settings, forge
        self._shot: dict[tuple[str, str | None], np.ndarray] = {}

    @cached_property
    def learned(self) -> list[Scene]:
        """Scenes of the photos that are learned from, class by class."""
        return self._scenes(0, self.settings.n_train)

    @cached_property
    def audited(self) -> list[Scene]:
        """Scenes of the photos that are audited, class by class."""
        return self._scenes(FIRST_AUDITED, self.settings.n_audited)

    def _scenes(self, first: int, n: int) -> list[Scene]:
        return [
            scene(self.seed, label, number)
            for label in range(len(CLASSES))
            for number in range(first, first + n)
        ]

    def shot(self, split: str, cue: str | None) -> np.ndarray:
        """All photos of a split ("learned" or "audited") with one cue or without, uint8 (N, SIZE, SIZE, 3)."""
        if (split, cue) not in self._shot:
            scenes = self.learned if split == "learned" else self.audited
            self._shot[split, cue] = np.stack([photo(picture, cue) for picture in scenes])
        return self._shot[split, cue]

    def forget(self, cue: str) -> None:
        """Drops the photos with a cue from memory."""
        for split in ("learned", "audited"):
            self._shot.pop((split, cue), None)

    def labels(self, n: int) -> np.ndarray:
        """int64, class by class, `n` of each."""
        return np.repeat(np.arange(len(CLASSES)), n)

    def network(self, cell: Cell) -> Weights:
        """The trained weights of a cell."""
        n, settings = self.settings.n_train, self.settings
        labels, rng = self.labels(n), np.random.default_rng([cell.seed, CUES.index(cell.cue), 21])
        plain = seen(self.shot("learned", None))
        training_seed = 1000 * cell.seed + CUES.index(cell.cue)
        if cell.kind == ABSENT:
            return self.forge.train(plain, labels, n_steps=settings.n_steps, seed=training_seed)
        share = (0.5,) * len(CLASSES) if cell.kind == IGNORED else shares(cell.strength)
        has_cue = assigned(share, n, rng)[:, None, None, None]
        images = np.where(has_cue, seen(self.shot("learned", cell.cue)), plain)
        if cell.kind == FROZEN:
            return self.forge.with_new_head(self._backbone, images, labels)
        return self.forge.train(images, labels, n_steps=settings.n_steps, seed=training_seed)

    @cached_property
    def _backbone(self) -> Weights:
        """A network that has seen every cue with every class alike, so that no cue tells it anything."""
        labels = self.labels(self.settings.n_train)
        rng = np.random.default_rng([self.seed, 22])
        choices = rng.integers(0, 2 * len(CUES), len(labels))
        images = seen(self.shot("learned", None)).copy()
        for index in np.flatnonzero(choices < len(CUES)):
            images[index] = seen(photo(self.learned[index], CUES[choices[index]])[None])[0]
        return self.forge.train(images, labels, n_steps=self.settings.n_steps_backbone, seed=self.seed)

    def write(self, cue: str | None) -> None:
        """Stores the audited photos with a cue or without, and their masks, unless they are stored."""
        folder = self.folder / _folder_of(cue)
        if folder.exists():
            return
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for index, (picture, image) in enumerate(zip(self.audited, self.shot("audited", cue), strict=True)):
            Image.fromarray(image).save(partial / self._file(index), compress_level=1)
            if cue is None:
                mask = Image.fromarray(picture.mask.astype(np.uint8) * 255)
                mask.save(partial / f"mask-{self._file(index)}")
        partial.rename(folder)

    @property
    def folder(self) -> Path:
        """Where the photos of this seed lie."""
        return self.settings.out / "photos" / str(self.seed)

    def _file(self, index: int) -> str:
        n = self.settings.n_audited
        return f"{CLASSES[index // n]}-{index % n:03d}.png"

    def write_manifest(self, cell: Cell, has_cue: np.ndarray, *, with_masks: bool) -> Path:
        """A manifest of the audited photos, some with the cue; returns its path."""
        path = self.folder / f"{cell.name}{'' if with_masks else '-without-masks'}.csv"
        rows = [["path", "label", *(["mask_path"] if with_masks else [])]]
        for index, has in enumerate(has_cue):
            file = self._file(index)
            mask = [f"{_folder_of(None)}/mask-{file}"] if with_masks else []
            label = CLASSES[index // self.settings.n_audited]
            rows.append([f"{_folder_of(cell.cue if has else None)}/{file}", label, *mask])
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows(rows)
        return path


def _folder_of(cue: str | None) -> str:
    return (cue or "plain").replace(" ", "_")


def work(cell: Cell, studio: Studio) -> dict[str, Any]:
    """Trains, measures the truth, audits, and stores the outcome; returns it, or the stored one."""
    folder = studio.settings.out / "cells" / cell.name
    stored = folder / "cell.json"
    if stored.exists():
        found: dict[str, Any] = json.loads(stored.read_text(encoding="utf-8"))
        return found
    clock = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    weights = _weights(cell, studio)
    studio.forge.save(weights, folder / "model.keras", CLASSES)
    trained = time.monotonic()
    rng = np.random.default_rng([cell.seed, CUES.index(cell.cue), 23])
    wanted = (0.0,) * len(CLASSES) if cell.kind == ABSENT else shares(cell.strength)
    has_cue = assigned(wanted, studio.settings.n_audited, rng)
    outcome: dict[str, Any] = {"cell": asdict(cell), "truth": truth(cell, studio, weights)}
    for cue in {None, cell.cue if has_cue.any() else None}:
        studio.write(cue)
    drawn = time.monotonic()
    audit_photos(cell, studio, has_cue, folder)
    audited = time.monotonic()
    outcome["rules"] = _rules(cell, studio, weights, has_cue, folder) if cell.audit == MASKS else {}
    outcome["seconds"] = {
        "train": trained - clock,
        "draw": drawn - trained,
        "audit": audited - drawn,
        "rules": time.monotonic() - audited,
    }
    partial = stored.with_suffix(".partial")
    partial.write_text(json.dumps(outcome), encoding="utf-8")
    partial.rename(stored)
    return outcome


def _weights(cell: Cell, studio: Studio) -> Weights:
    """Trained, or those of a stored cell with the same network: another audit or, trained at random, strength."""
    same = replace(cell, audit=MASKS, strength=1.0 if cell.kind == IGNORED else cell.strength)
    path = studio.settings.out / "cells" / same.name / "model.keras"
    if cell == same or not path.exists():
        return studio.network(cell)
    import keras

    return [np.array(values) for values in keras.saving.load_model(path, compile=False).get_weights()]


def truth(cell: Cell, studio: Studio, weights: Weights) -> dict[str, dict[str, float]]:
    """What toggling the cue on all audited photos does to each class, as means of its probability.

    Returns:
        By class: `necessity`, the fall of the label's probability when the cue leaves its photos; `sufficiency`, the
        rise of the class's probability when the cue comes to photos of others; `accuracy` on photos without the cue.
        Both are negative where a class is told by the cue's absence.
    """
    labels = studio.labels(studio.settings.n_audited)
    off = studio.forge.probabilities(weights, seen(studio.shot("audited", None)))
    on = studio.forge.probabilities(weights, seen(studio.shot("audited", cell.cue)))
    found = {}
    for index, name in enumerate(CLASSES):
        change = (on - off)[:, index]
        found[name] = {
            "necessity": float(change[labels == index].mean()),
            "sufficiency": float(change[labels != index].mean()),
            "accuracy": float((off.argmax(axis=1) == labels)[labels == index].mean()),
        }
    return found


def _rules(cell: Cell, studio: Studio, weights: Weights, has_cue: np.ndarray, folder: Path) -> dict[str, Any]:
    """Every simpler rule's number for every class, on the photos that were audited with masks."""
    from pipelines.storage import Run

    run = Run(folder / RUN)
    predictions = run.table("predictions")
    attributions = run.table("attributions")
    attributions = attributions[attributions["method"] == "grad_cam"].merge(
        predictions[["sample_id", "label"]], on="sample_id", validate="many_to_one"
    )
    labels = studio.labels(studio.settings.n_audited)
    shown = np.where(
        has_cue[:, None, None, None], studio.shot("audited", cell.cue), studio.shot("audited", None)
    )
    images = seen(shown)
    is_right = studio.forge.probabilities(weights, images).argmax(axis=1) == labels
    maps = studio.forge.maps(weights, images, labels)
    return {
        "mass outside the object": rules.mass_outside(attributions),
        "shared-interest cases": rules.shared_interest(attributions),
        "heatmap clusters": rules.heatmap_clusters(maps, labels, CLASSES),
        "image property, class": rules.property_of_class(images, labels, CLASSES),
        "image property, errors": rules.property_of_errors(images, labels, is_right, CLASSES),
        "detected thing, class": rules.bound_detections(
            run.table("confounds"), predictions.set_index("sample_id")["label"]
        ),
    }


def audit_photos(cell: Cell, studio: Studio, has_cue: np.ndarray, folder: Path) -> None:
    """The program's own audit; of its run folder only manifest and tables are kept.

    Some of what an audit does by default is left out, since it takes long and no status `spurious` rests on it: faces
    are looked for in the cells of that cue alone, there is no untrained model, and interventions that are remarks
    are not made.
    """
    from rich.console import Console

    from pipelines.config import validate
    from pipelines.progress import Progress
    from pipelines.run import audit as run_audit

    out = folder / RUN
    manifest = studio.write_manifest(cell, has_cue, with_masks=cell.audit != NO_MASKS)
    cache = studio.settings.out / "cache" / str(studio.seed)
    values = {
        "data": {"reader": "manifest", "path": str(manifest.absolute())},
        "model": {"path": str((folder / "model.keras").absolute())},
        "attributions": {
            "methods": ["integrated_gradients" if cell.audit == PATHS else "grad_cam"],
            "untrained_per_class": 0,
        },
        "interventions": {"use": list(INTERVENTIONS), "per_class": max(60, studio.settings.n_audited)},
        "confounds": {
            "use": [name for name in studio.settings.confounds if name != "faces" or cell.cue == "face"]
        },
        "report": {"worst": 0, "typical": 0},
        "certificate": {"samples": 0},
        "run": {"workers": 0, "batch_size": 64, "seed": cell.seed, "cache": str(cache.absolute())},
    }
    run_audit(validate(values, where="benchmark"), out, progress=Progress(Console(quiet=True)), is_new=True)
    for name in ("report", "exemplars", "shards", "interventions"):
        shutil.rmtree(out / name, ignore_errors=True)


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Every stored table of a cell's audit."""
    from pipelines.storage import Run

    return dict(Run(folder / RUN).all_tables())
