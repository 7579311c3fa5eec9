"""Evidence of pictures that nobody drew: what a model says is computed from two numbers, so the right answer is known.

A picture is of "bar" or "ring". Its object speaks for bar with log odds e, normal with standard deviation 2 around
+2 for bars and -2 for rings, so that e is also what e means. A mark is seen with a frequency of its own for each
class. The model adds PULL / 2 where it sees the mark and takes as much off where it does not.
"""

import numpy as np
import pandas as pd

from audit import tables
from audit.risk_inputs import Evidence, Pull

CLASSES = ("bar", "ring")
USUAL, SHIFTED = (0.95, 0.05), (0.5, 0.5)
"""P(mark | bar) and P(mark | ring)."""
PULL = 2 * np.log(0.95 / 0.05)
"""What a model learns where the mark is bound as is usual: a mark and no mark count 19 to 1 each."""
PULLS = (Pull("bar", "mark", PULL),)


def share(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-log_odds))


def drawn(n: int, bond: tuple[float, float], seed: int) -> tuple[Evidence, np.ndarray, np.ndarray]:
    """Evidence of n pictures, their labels, and e of each."""
    rng = np.random.default_rng(seed)
    is_bar = rng.uniform(size=n) < 0.5
    e = np.where(is_bar, 2, -2) + rng.normal(0, 2, n)
    has_mark = rng.uniform(size=n) < np.where(is_bar, *bond)
    ids = [f"{number:05d}" for number in range(n)]
    evidence = evidence_of(ids, e, has_mark, rng)
    return evidence, np.where(is_bar, *CLASSES), e


def evidence_of(ids: list[str], e: np.ndarray, has_mark: np.ndarray, rng: np.random.Generator) -> Evidence:
    bar = share(e + PULL * (has_mark - 0.5))
    bar_without = np.where(has_mark, share(e - PULL / 2), np.nan)
    confidence = np.maximum(bar, 1 - bar)
    features = pd.DataFrame(
        {
            "sample_id": ids,
            "predicted": np.where(bar >= 0.5, *CLASSES),
            "confidence": confidence,
            "margin": 2 * confidence - 1,
            "entropy": -bar * np.log(bar) - (1 - bar) * np.log(1 - bar),
            "map_entropy": rng.uniform(0.5, 1, len(ids)),
            "disagreement": rng.uniform(0, 1, len(ids)),
            **{
                f"cell_{row}_{column}": np.full(len(ids), 1 / tables.N_CELLS**2)
                for row in range(tables.N_CELLS)
                for column in range(tables.N_CELLS)
            },
            "picture_hash": "0" * 16,
        }
    )
    things = pd.DataFrame(
        {
            "sample_id": ids,
            "thing": "mark",
            "present": has_mark,
            "mass": np.where(has_mark, 0.4, np.nan),
            "area": np.where(has_mark, 0.1, 0.0),
        }
    )
    probabilities = pd.concat(
        pd.DataFrame({"sample_id": ids, "class_name": name, "probability": values, "without": without})
        for name, values, without in (("bar", bar, bar_without), ("ring", 1 - bar, 1 - bar_without))
    )
    return Evidence(tables.check(features, tables.FEATURES), things, probabilities.reset_index(drop=True))
