"""Insertion and deletion: how a model's answer changes as cells of a picture are blurred in an order."""

import numpy as np

from audit._certificate_probes import cells_of_line, pooled
from audit.attributions._blur import Blur
from audit.classifier import Classifier, Head
from audit.metrics import to_mass

FILLED_GRID = 14
"""Cells a side that are filled one by one: 16 pixels each at 224; smaller ones leave unnatural dots."""
FILLED_SHARES = (0.15, 0.4)
"""Shares of the picture that are filled."""

_FILL_BLUR = 20.0 / 224.0


def evidence_for(maps: np.ndarray, polarity: str) -> np.ndarray:
    """What of a signed map orders cells from the most to the least important, for the mass the audit counts.

    A verdict rests on the mass, not on the signed map, so it is the mass that has to foretell the model's
    reactions; mass against the target ("negative") must come last.
    """
    return -to_mass(maps, polarity) if polarity == "negative" else to_mass(maps, polarity)


def filling_orders(values: np.ndarray, seed: int) -> np.ndarray:
    """Cells of the filling grid from the highest to the lowest, ties in random order.

    Args:
        values: (B, H, W).
        seed: of the order of ties; one for all, so that equal maps give equal orders.

    Returns:
        int64 (B, n_cells), indices of the flattened grid.
    """
    cells = pooled(values, FILLED_GRID).reshape(len(values), -1)
    ties = np.random.default_rng(seed).permutation(cells.shape[1])
    return np.asarray(ties[np.argsort(-cells[:, ties], axis=1, kind="stable")])


def filled_logits(classifier: Classifier, images: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Logits while the first cells of an order are blurred, and while they alone are sharp.

    Args:
        classifier: the model.
        images: float32 (B, H, W, 3).
        orders: int64 (B, n_cells), see `filling_orders`.

    Returns:
        float64 (2, F, B, K): deletion, then insertion, for each of FILLED_SHARES.

    Source: Petsiuk, Das, Saenko. RISE. BMVC 2018, sec. 4.3, arXiv:1806.07421, with cells for pixels and
    blur in both directions, which leaves fewer traces that no photograph has.
    """
    height, width = images.shape[1:3]
    blurred = Blur((height, width))(images, _FILL_BLUR * max(height, width))
    n_cells = orders.shape[1]
    places = np.empty_like(orders)
    np.put_along_axis(places, orders, np.broadcast_to(np.arange(n_cells), orders.shape), axis=1)
    found = []
    for kept, filled in ((images, blurred), (blurred, images)):
        for share in FILLED_SHARES:
            is_first = _enlarged_cells(places < share * n_cells, (height, width))
            found.append(classifier.logits(np.where(is_first[..., None], filled, kept)))
    logits = np.asarray(found, dtype=np.float64)
    return logits.reshape(2, len(FILLED_SHARES), *logits.shape[1:])


def log_odds(logits: np.ndarray, targets: np.ndarray, head: Head) -> np.ndarray:
    """Log odds of the target, (..., B): of its probability, or its logit where classes are independent.

    Args:
        logits: (..., B, K).
        targets: int64 (B,).
        head: what the logits mean.
    """
    own = logits[..., np.arange(len(targets)), targets]
    if head is not Head.SOFTMAX:
        return np.asarray(own)
    others = logits.copy()
    others[..., np.arange(len(targets)), targets] = -np.inf
    return np.asarray(own - np.logaddexp.reduce(others, axis=-1))


def area_between(scores: np.ndarray) -> np.ndarray:
    """Mean of insertion minus deletion, float64 (B,), of scores (2, F, B): high if the first cells matter."""
    return np.asarray((scores[1] - scores[0]).mean(axis=0))


def _enlarged_cells(cells: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """bool (B, H, W) of cells (B, n_cells)."""
    (_, tall), (_, wide) = cells_of_line(shape[0], FILLED_GRID), cells_of_line(shape[1], FILLED_GRID)
    grid = cells.reshape(len(cells), len(tall), len(wide))
    return np.asarray(np.repeat(np.repeat(grid, tall, axis=1), wide, axis=2))
