"""The rules that benchmarks of suggestions compare: which photos each takes out of a pool."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

OURS, RANDOM, UNCERTAINTY, MARGIN, K_CENTER = "suggest", "random", "uncertainty", "margin", "k-center"
RULES = (OURS, RANDOM, UNCERTAINTY, MARGIN, K_CENTER)


@dataclass(frozen=True)
class Views:
    """What the audited network makes of photos.

    Attributes:
        probabilities: float (N, K), of the pool.
        features: float (N, D), of the pool.
        learned: float (M, D), of the photos that it learned from.
    """

    probabilities: np.ndarray
    features: np.ndarray
    learned: np.ndarray


def picked(rule: str, budget: int, views: Views, rng: np.random.Generator) -> np.ndarray:
    """Rows of the pool that a rule other than ours takes."""
    if rule == RANDOM:
        return rng.permutation(len(views.features))[:budget]
    if rule == K_CENTER:
        return k_center(views.features, views.learned, budget)
    chances = np.sort(views.probabilities, axis=1)
    second = chances[:, -2] if rule == MARGIN else 0.0
    return np.argsort(chances[:, -1] - second, kind="stable")[:budget]


def k_center(features: np.ndarray, there: np.ndarray, budget: int) -> np.ndarray:
    """Farthest-first from what is there. Source: Sener, Savarese 2018, arXiv:1708.00489, the greedy rule."""
    nearest = np.array([np.linalg.norm(there - one, axis=1).min() for one in features])
    rows = []
    for _ in range(budget):
        rows.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(features - features[rows[-1]], axis=1))
    return np.array(rows)


def suggested(budget: int, pool: Path, run: Path) -> list[str]:
    """Paths that `rightreasons suggest` takes, in its order; none where the run asks for nothing."""
    from rich.console import Console

    from audit.errors import RunError
    from pipelines.pool import suggest_from_pool
    from pipelines.progress import Progress
    from pipelines.storage import Run

    try:
        found = suggest_from_pool(Run(run), pool, budget, progress=Progress(Console(quiet=True)))
    except RunError as error:
        if "asks for nothing" not in str(error) and "ask for photos" not in str(error):
            raise
        return []
    return list(found.table["path"])
