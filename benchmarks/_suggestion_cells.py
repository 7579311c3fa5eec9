"""One cell of the benchmark of suggestions: a cue bound to a class, a pool in which it is bound less, equal budgets.

A network is trained and audited as in the benchmark of planted cues. Then photos are added out of one pool, chosen by
several rules, and the network is trained on with the old photos and the added ones, with their true labels. How well it
does in its worst group is measured on photos of every class with the cue and without. A cell's outcome is one JSON
file, so an interrupted sweep goes on where it was.

Trained on, not anew: two trainings from scratch on the same photos differ by some ten points in their worst group,
which would bury what some thirty photos do.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from audit.suggestions import REPRESENTATIVE, WITH, suggest
from audit.types import Suggestion
from benchmarks._planted_cells import PLANTED, RUN, Cell, Studio, assigned, audit_photos, shares, truth, work
from benchmarks._planted_models import Weights, seen
from benchmarks._planted_world import CLASSES, CUES, Scene, photo, scene
from benchmarks._suggestion_rules import OURS, RULES, Views, picked, suggested

STRENGTH = 0.95
"""P(cue | first class) of the photos that are learned from; see `_planted_cells.shares`."""
POOL_SHARES = (0.9, 0.05, 0.05)
"""P(cue | class) in the pool."""
N_POOL, N_TEST = 300, 100
"""Photos of a class."""
UNBOUND = (1 / 3, 1 / 3, 1 / 3)
"""P(cue | class) where it tells nothing."""
BUDGETS = (40,)
TRAININGS = (0, 1)
"""Seeds of the trainings whose accuracies are averaged."""
N_STEPS_ON = 120
N_AUDITED_AGAIN = 200
"""Photos of a class on which a mended network is judged."""
FIRST_POOLED, FIRST_TESTED, FIRST_ADDED = 200_000, 300_000, 400_000
"""Numbers of the first photos of a class, so that no photo is in two sets."""


@dataclass(frozen=True)
class Pool:
    """An unlabelled pool with the truth beside it.

    Attributes:
        images: float32 (N, 64, 64, 3), as networks see them.
        labels: int64 (N,).
        has_cue: bool (N,).
        folder: where the photos lie, under names that tell nothing.
    """

    images: np.ndarray
    labels: np.ndarray
    has_cue: np.ndarray
    folder: Path


def outcome(studio: Studio, cue: str) -> dict[str, Any]:
    """Everything about one seed and cue; what is stored of it is not made again."""
    folder = studio.settings.out / "suggestions" / f"{studio.seed}-{cue.replace(' ', '_')}"
    stored = folder / "outcome.json"
    result: dict[str, Any] = (
        json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {"rules": {}}
    )
    missing = [rule for rule in RULES if rule not in result["rules"]]
    if not missing:
        return result
    cell = Cell(PLANTED, cue, STRENGTH, studio.seed)
    work(cell, studio)
    run = studio.settings.out / "cells" / cell.name / RUN
    learned, weights = _learned(cell, studio, shares(cell.strength)), _audited_weights(cell, studio)
    pool, tested = _pool(cell, studio, folder), _tested(cell, studio)

    def worst(images: np.ndarray, labels: np.ndarray) -> float:
        """Mean over the trainings."""
        trained = [_trained_on(weights, studio, images, labels, number) for number in TRAININGS]
        return float(np.mean([_worst(studio, one, *tested) for one in trained]))

    if "before" not in result:
        result |= {"seed": studio.seed, "cue": cue, "statuses": statuses(run), "before": worst(*learned)}
        stored.write_text(json.dumps(result), encoding="utf-8")
    for rule in missing:
        found = {}
        for budget in BUDGETS:
            rows = _picked(rule, budget, cell, studio, pool, run)
            is_counter = pool.has_cue[rows] != (pool.labels[rows] == 0)
            found[str(budget)] = {
                "worst": worst(*_with(learned, pool, rows)),
                "n": len(rows),
                "counterexamples": float(is_counter.mean()) if len(rows) else 0.0,
            }
        result["rules"][rule] = found
        stored.write_text(json.dumps(result), encoding="utf-8")
    return result


def statuses(run: Path) -> dict[str, str]:
    """The first class's status by confound-bearing verdicts: status and confound of its one verdict."""
    from pipelines.storage import Run

    rows = Run(run).table("verdicts")
    own = rows[rows["label"] == CLASSES[0]].iloc[0]
    return {"status": str(own["status"]), "confound": str(own["confound"])}


def _learned(cell: Cell, studio: Studio, wanted: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The photos and labels that a network learns from, the cue on such a share of each class; see `Studio.network`."""
    n, labels = studio.settings.n_train, studio.labels(studio.settings.n_train)
    rng = np.random.default_rng([cell.seed, CUES.index(cell.cue), 21])
    has_cue = assigned(wanted, n, rng)[:, None, None, None]
    images = np.where(has_cue, seen(studio.shot("learned", cell.cue)), seen(studio.shot("learned", None)))
    return images, labels


def _scenes(studio: Studio, first: int, n: int) -> list[Scene]:
    return [scene(studio.seed, label, first + number) for label in range(len(CLASSES)) for number in range(n)]


def _pool(cell: Cell, studio: Studio, folder: Path) -> Pool:
    """The pool, written in a random order under numbers."""
    rng = np.random.default_rng([cell.seed, CUES.index(cell.cue), 31])
    has_cue, labels = assigned(POOL_SHARES, N_POOL, rng), studio.labels(N_POOL)
    order = rng.permutation(len(labels))
    scenes = _scenes(studio, FIRST_POOLED, N_POOL)
    shots = np.stack([photo(scenes[i], cell.cue if has_cue[i] else None) for i in order])
    out = folder / "pool"
    out.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(shots):
        Image.fromarray(image).save(out / f"{number:05d}.png", compress_level=1)
    return Pool(seen(shots), labels[order], has_cue[order], out)


def _tested(cell: Cell, studio: Studio) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photos of every class with the cue and without: images, labels, whether they show it."""
    scenes = _scenes(studio, FIRST_TESTED, N_TEST)
    images = np.concatenate([seen(np.stack([photo(s, cue) for s in scenes])) for cue in (None, cell.cue)])
    labels = np.tile(studio.labels(N_TEST), 2)
    return images, labels, np.repeat([False, True], len(scenes))


def _trained_on(
    weights: Weights, studio: Studio, images: np.ndarray, labels: np.ndarray, number: int
) -> Weights:
    """The audited network after some more steps; the number is the seed of their order and augmentation."""
    seed = 1000 * studio.seed + number
    return studio.forge.train(images, labels, n_steps=N_STEPS_ON, seed=seed, first=weights)


def _worst(
    studio: Studio, weights: Weights, images: np.ndarray, labels: np.ndarray, has_cue: np.ndarray
) -> float:
    """Accuracy in the worst of the groups of class and cue."""
    is_right = studio.forge.probabilities(weights, images).argmax(axis=1) == labels
    return float(
        min(is_right[(labels == k) & (has_cue == has)].mean() for k in range(len(CLASSES)) for has in (0, 1))
    )


def _with(
    learned: tuple[np.ndarray, np.ndarray], pool: Pool, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The photos learned from and those added, with their true labels."""
    return np.concatenate([learned[0], pool.images[rows]]), np.concatenate([learned[1], pool.labels[rows]])


def _picked(rule: str, budget: int, cell: Cell, studio: Studio, pool: Pool, run: Path) -> np.ndarray:
    """Rows of the pool that a rule adds."""
    if rule == OURS:
        return np.array([int(Path(path).stem) for path in suggested(budget, pool.folder, run)], np.int64)
    weights = _audited_weights(cell, studio)
    views = Views(
        studio.forge.probabilities(weights, pool.images),
        studio.forge.reading(pool.images),
        studio.forge.reading(_learned(cell, studio, shares(cell.strength))[0]),
    )
    return picked(rule, budget, views, np.random.default_rng([cell.seed, CUES.index(cell.cue), 32]))


def _audited_weights(cell: Cell, studio: Studio) -> Weights:
    import keras

    path = studio.settings.out / "cells" / cell.name / "model.keras"
    return [np.array(values) for values in keras.saving.load_model(path, compile=False).get_weights()]


def counts_suffice(studio: Studio, cue: str) -> dict[str, Any]:
    """The verdict before, and after exactly the suggested counts were added; made or read.

    The network learns anew from the old photos and those that are asked for, in proportion to those that it learned
    from before, as often each as before; it is audited on more photos than before, of the same kind, since with few
    even a network that never saw the cue is left undecided. Beside it, on the same photos, a network that learned for
    as long from the old photos with the cue on as many of every class: what a verdict can be where nothing was bound.
    """
    stored = studio.settings.out / "suggestions" / f"{studio.seed}-{cue.replace(' ', '_')}" / "counts.json"
    if stored.exists():
        found: dict[str, Any] = json.loads(stored.read_text(encoding="utf-8"))
        return found
    from pipelines.config import VerdictsConfig
    from pipelines.judge import load
    from pipelines.storage import Run

    cell = Cell(PLANTED, cue, STRENGTH, studio.seed)
    work(cell, studio)
    run = studio.settings.out / "cells" / cell.name / RUN
    audited = load(Run(run))
    wishes = suggest(audited.verdicts, audited.tables, VerdictsConfig().limits())
    images, labels = _learned(cell, studio, shares(cell.strength))
    extra, added = _asked_for(wishes, cell, studio)
    result: dict[str, Any] = {"seed": studio.seed, "cue": cue, "before": statuses(run), "added": added}
    if added:
        n_steps = round(studio.settings.n_steps * (1 + len(extra) / len(images)))
        images = np.concatenate([images, *(seen(shot[None]) for shot, _ in extra)])
        labels = np.concatenate([labels, [label for _, label in extra]])
        seed = 1000 * studio.seed + CUES.index(cue)
        weights = studio.forge.train(images, labels, n_steps=n_steps, seed=seed)
        result["after"], result["truth"] = _audited_again(cell, studio, weights, stored.parent / "after")
        weights = studio.forge.train(*_learned(cell, studio, UNBOUND), n_steps=n_steps, seed=seed)
        names = ("unbound", "unbound_truth")
        result |= zip(names, _audited_again(cell, studio, weights, stored.parent / "unbound"), strict=True)
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.write_text(json.dumps(result), encoding="utf-8")
    return result


def _asked_for(
    wishes: Sequence[Suggestion], cell: Cell, studio: Studio
) -> tuple[list[tuple[np.ndarray, int]], dict[str, int]]:
    """New photos, as suggested: (photo, label); and how many of each kind. Photos that only decide are not added."""
    found: list[tuple[np.ndarray, int]] = []
    added: dict[str, int] = {}
    for wish in wishes:
        if wish.kind == REPRESENTATIVE:
            continue
        n = round(wish.n_to_add * studio.settings.n_train / wish.n_class)
        # Either kind contradicts what was learned: the first class without the cue, any other with it.
        has_cue = wish.label != CLASSES[0]
        # Photos of other classes are spread over all of them, as the text says.
        names = CLASSES[1:] if has_cue and wish.kind == WITH else (wish.label,)
        for place in range(n):
            label = CLASSES.index(names[place % len(names)])
            drawn = scene(cell.seed, label, FIRST_ADDED + len(found))
            found.append((photo(drawn, cell.cue if has_cue else None), label))
        added[f"{wish.label}, {wish.kind}, {wish.confound}"] = n
    return found, added


def _audited_again(
    cell: Cell, studio: Studio, weights: Weights, folder: Path
) -> tuple[dict[str, str], dict[str, float]]:
    """Verdict and truth of another network than the cell's, audited on more photos with its bond."""
    folder.mkdir(parents=True, exist_ok=True)
    studio.forge.save(weights, folder / "model.keras", CLASSES)
    settings = replace(studio.settings, n_audited=N_AUDITED_AGAIN, out=studio.settings.out / "again")
    larger = Studio(studio.seed, settings, studio.forge)
    rng = np.random.default_rng([cell.seed, CUES.index(cell.cue), 23])
    has_cue = assigned(shares(cell.strength), N_AUDITED_AGAIN, rng)
    for cue in (None, cell.cue):
        larger.write(cue)
    audit_photos(cell, larger, has_cue, folder)
    return statuses(folder / RUN), truth(cell, larger, weights)[CLASSES[0]]
