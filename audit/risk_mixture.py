"""What a thing means in a folder without labels: a mixture of the log odds of its class and of the other classes.

Source: expectation maximisation of a mixture of normals of which some memberships are known, as in McLachlan and Peel
2000, Finite Mixture Models, sec. 2.19, with a shift common to both components.
"""

from dataclasses import dataclass, replace

import numpy as np

from audit.risk_inputs import Likelihood, Pull

_KNOWN_TO = 0.1
"""Standard deviation of what is left behind of a pull, as a share of it."""
_ROUNDS = 200
_LEAST_SPREAD, _LEAST_SHARE = 0.1, 0.005
"""Of log odds within a class, and of pictures that show a thing: less cannot be told from none."""


@dataclass(frozen=True)
class Meaning:
    """What is left behind of a pull, in log odds, and what its thing means in a folder."""

    left: float
    likelihood: Likelihood


@dataclass(frozen=True)
class Mixture:
    """Log odds of a class: normal around a mean of its pictures and one of the others, the thing shifting both.

    Attributes:
        means: of the class, of the others, and what the thing's presence adds to either.
        spreads: standard deviation of the class, and of the others.
        share: of the folder's pictures that are of the class.
        shown: shares of them, and of the others in the folder, that show the thing.
    """

    means: np.ndarray
    spreads: np.ndarray
    share: float
    shown: np.ndarray

    def logs(self, odds: np.ndarray, present: np.ndarray) -> np.ndarray:
        """float64 (2, M): log density of each picture of a folder, as one of the class and as another."""
        rows = []
        for kind, share in enumerate((self.share, 1 - self.share)):
            shown = np.where(present == 1, self.shown[kind], 1 - self.shown[kind])
            rows.append(np.log(share) + np.log(shown) + self.log_normal(kind, odds, present))
        return np.stack(rows)

    def meaning(self) -> Meaning:
        """What it says of the folder."""
        share, elsewhere = self.shown
        return Meaning(float(self.means[2]), Likelihood(share / elsewhere, (1 - share) / (1 - elsewhere)))

    def log_normal(self, kind: int, odds: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Log density, up to a constant, of log odds in a class (kind 0) or outside it (1)."""
        away = (odds - self.means[kind] - self.means[2] * present) / self.spreads[kind]
        return np.asarray(-np.log(self.spreads[kind]) - away**2 / 2)


def shares_shown(belongs: np.ndarray, present: np.ndarray, overall: np.ndarray) -> np.ndarray:
    """float64 (2,): shares of the class and of the others that show a thing, with one picture of the folder's mean."""
    return np.array(
        [(weight @ present + overall.mean()) / (weight.sum() + 1) for weight in (belongs, 1 - belongs)]
    )


def settled(
    run: tuple[np.ndarray, np.ndarray],
    belongs: np.ndarray,
    folder: tuple[np.ndarray, np.ndarray],
    shown: np.ndarray,
    pull: Pull,
    *,
    is_tied: bool = False,
) -> tuple[Mixture, float]:
    """The best mixture that two starts settle in, with its log posterior density up to a constant.

    At one start what sets the class apart in the run is the class, at the other it is what the thing left behind. Tied,
    the class and the others show the thing equally often in the folder.
    """
    own, others = (run[0][belongs == kind] for kind in (1, 0))
    spreads = np.maximum([own.std(), others.std()], _LEAST_SPREAD)
    means = ([own.mean(), others.mean(), 0.0], [others.mean(), others.mean(), own.mean() - others.mean()])
    shown = np.clip(shown, _LEAST_SHARE, 1 - _LEAST_SHARE)
    starts = [Mixture(np.array(mean), spreads, float(belongs.mean()), shown) for mean in means]
    tau = pull.log_odds * _KNOWN_TO
    fits = [_climbed(start, run, belongs, folder, tau=tau, is_tied=is_tied) for start in starts]
    return max(fits, key=lambda fit: fit[1])


def _climbed(
    fit: Mixture,
    run: tuple[np.ndarray, np.ndarray],
    belongs: np.ndarray,
    folder: tuple[np.ndarray, np.ndarray],
    *,
    tau: float,
    is_tied: bool,
) -> tuple[Mixture, float]:
    """Where a start settles, with its log posterior density."""
    shown = fit.shown
    odds, present = np.concatenate([run[0], folder[0]]), np.concatenate([run[1], folder[1]])
    for _ in range(_ROUNDS):
        logs = fit.logs(*folder)
        weight = np.exp(logs[0] - np.logaddexp(*logs))
        fit = _mixture(fit, odds, present, np.concatenate([belongs, weight]), len(run[0]), tau)
        if is_tied:
            fit = replace(fit, shown=shown)
    of_run = np.where(belongs == 1, fit.log_normal(0, *run), fit.log_normal(1, *run)).sum()
    of_folder = np.logaddexp(*fit.logs(*folder)).sum()
    return fit, float(of_run + of_folder - (fit.means[2] / tau) ** 2 / 2)


def _mixture(
    before: Mixture, odds: np.ndarray, present: np.ndarray, weight: np.ndarray, n_run: int, tau: float
) -> Mixture:
    """The most probable mixture, where each picture belongs to the class with a weight in [0, 1]."""
    weights = np.stack([weight, 1 - weight])
    own, others = weights / before.spreads[:, None] ** 2
    both = own + others
    normal = np.array(
        [
            [own.sum(), 0.0, own @ present],
            [0.0, others.sum(), others @ present],
            [own @ present, others @ present, both @ present + tau**-2],
        ]
    )
    means = np.linalg.solve(normal, [own @ odds, others @ odds, both @ (odds * present)])
    away = (odds - means[:2, None] - means[2] * present) ** 2
    spreads = np.maximum(np.sqrt((weights * away).sum(axis=1) / weights.sum(axis=1)), _LEAST_SPREAD)
    folder, seen = weight[n_run:], present[n_run:]
    share = (folder.sum() + weight[:n_run].mean()) / (len(folder) + 1)
    shown = np.clip(shares_shown(folder, seen, seen), _LEAST_SHARE, 1 - _LEAST_SHARE)
    return Mixture(means, spreads, float(share), shown)
