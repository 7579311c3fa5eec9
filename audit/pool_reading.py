"""What pictures show, read from what a model makes of them with a confound taken away.

A network that leans on a confound calls a picture by it, so its own answer is no guide to pictures that contradict the
confound. With the confound taken away its features and probabilities still tell the classes, by a linear reading fitted
to labelled samples from which as much was taken away, whether or not they showed it.

Source: last layers fitted anew to what a network sees anyway, Kirichenko, Izmailov, Wilson 2023, arXiv:2204.02937; here
on pictures without the confound, since samples that contradict it are what is missing.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

LEAST = 1e-6
"""Smaller probabilities are rounding."""
FEATURES_SCALE = 0.3
"""Of standardised features beside standardised log probabilities: these know the classes better, from more samples."""
AXES = 4
"""Most directions of the features that count as the confound's, where it cannot be taken out of a pool's pictures."""
ROWS_AT_ONCE = 2**13
"""Pictures of a pool that are read at once: some 50 MB with 256 features."""


@dataclass(frozen=True)
class Without:
    """N pictures with a trait taken away.

    Attributes:
        features: float (N, D), as in `Look`.
        probabilities: float (N, K), as in `Look`.
        shows: float (N,): 1 where the picture as it is shows the trait, 0 where it does not, NaN where that is not
            known; then nothing could be taken away.
    """

    features: np.ndarray
    probabilities: np.ndarray
    shows: np.ndarray


@dataclass(frozen=True)
class Look:
    """What the model and the detectors make of N pictures.

    Of a large pool features and probabilities are float16 of mapped files: whoever asks takes some rows at a time, or
    one column. Those of labelled samples are float32 or more.

    Attributes:
        digests: N digests of the files.
        hashes: uint64 (N,), perceptual; see `audit.duplicates`.
        probabilities: float (N, K), of the pictures as they are.
        features: float (N, D), of the pictures as they are.
        without: the same of the pictures without a trait, by trait.
    """

    digests: tuple[str, ...]
    hashes: np.ndarray
    probabilities: np.ndarray
    features: np.ndarray
    without: Mapping[str, Without]


@dataclass(frozen=True)
class Known:
    """The labelled samples that the pool's pictures are read by.

    Attributes:
        look: what the model makes of them; `shows` has no gaps.
        labels: their class names.
        classes: K class names in the model's output order.
    """

    look: Look
    labels: tuple[str, ...]
    classes: tuple[str, ...]


def read_classes(trait: str, known: Known, pool: Look) -> tuple[tuple[str, ...], np.ndarray]:
    """What the pool's pictures show, read from what the model makes of them with the confound taken away.

    Returns:
        The names of the classes that occur among the labelled samples, and float64 (N, their number).
    """
    names = tuple(sorted(set(known.labels)))
    if len(names) < 2:
        return names, np.ones((len(pool.digests), len(names)))
    inputs, theirs = _both_inputs(trait, known, pool)
    model = _reader().fit(inputs, list(known.labels))
    chances = _in_parts(len(pool.digests), lambda rows: model.predict_proba(theirs(rows)))
    return tuple(str(name) for name in model.classes_), chances


def _in_parts(n: int, told: Callable[[slice], np.ndarray]) -> np.ndarray:
    """What is told of N pictures, some rows at a time: float64 (N, ...)."""
    starts = range(0, n, ROWS_AT_ONCE) if n else (0,)
    return np.concatenate([np.asarray(told(slice(i, i + ROWS_AT_ONCE)), np.float64) for i in starts])


def _both_inputs(trait: str, known: Known, pool: Look) -> tuple[np.ndarray, Callable[[slice], np.ndarray]]:
    """What classes are read from: of the labelled samples, and what makes it of some rows of the pool.

    Where the confound could not be taken out of the pool's pictures, what taking it out of labelled ones changes in the
    features is left out of all features instead, and probabilities, which nothing can be left out of, are not read.
    """
    own = known.look.without[trait]
    if not is_told_by_features(trait, pool):
        seen = pool.without[trait]
        return _inputs(own.features, own.probabilities, known, trait), lambda rows: _inputs(
            seen.features[rows], seen.probabilities[rows], known, trait
        )
    # Standardised before, not after: what the projection leaves of the confound is rounding.
    plain, inputs = (_standardised(one.features, known.look.features) for one in (known.look, own))
    axes = confound_axes(plain, inputs, own.shows)
    return _without_axes(inputs, axes), lambda rows: _without_axes(
        _standardised(pool.features[rows], known.look.features), axes
    )


def _inputs(features: np.ndarray, probabilities: np.ndarray, known: Known, trait: str) -> np.ndarray:
    """Features and log probabilities of the classes that occur, by the labelled spread: (N, D + classes)."""
    own = known.look.without[trait]
    columns = [known.classes.index(name) for name in sorted(set(known.labels))]
    chances, known_chances = (
        np.log(np.maximum(one[:, columns].astype(np.float64), LEAST))
        for one in (probabilities, own.probabilities)
    )
    return np.concatenate(
        [
            FEATURES_SCALE * _standardised(features, own.features),
            _standardised(chances, known_chances),
        ],
        axis=1,
    )


def reading_accuracy(trait: str, known: Known, pool: Look) -> float:
    """Share of labelled samples whose class the reading tells, out of fold, classes weighted alike."""
    labels, counts = list(known.labels), Counter(known.labels)
    n_folds = min([5, *counts.values()])
    if n_folds < 2 or len(counts) < 2:
        return math.nan
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import cross_val_predict

    inputs, _ = _both_inputs(trait, known, pool)
    told = cross_val_predict(_reader(), inputs, labels, cv=n_folds)
    return float(balanced_accuracy_score(labels, told))


def told_presence(features: np.ndarray, own: Without, pool: np.ndarray) -> np.ndarray:
    """Whether a thing shows, told by the features: float64 (N,) of 1 and 0, all NaN where it cannot be learned.

    Args:
        features: (M, D) of labelled samples as they are.
        own: the same samples without the thing: where it is bound to a class, only they tell it from the class.
        pool: (N, D).
    """
    inputs, is_there = _with_and_without(features, own)
    if not is_there.any():
        return np.full(len(pool), np.nan)
    model = _reader().fit(inputs, is_there)
    return _in_parts(len(pool), lambda rows: model.predict(_standardised(pool[rows], features)))


def _with_and_without(features: np.ndarray, own: Without) -> tuple[np.ndarray, np.ndarray]:
    """Features of samples that show a thing, then of all samples without it; and which of them show it."""
    shown = features[own.shows > 0]
    inputs = _standardised(np.concatenate([shown, own.features]), features)
    return inputs, np.arange(len(inputs)) < len(shown)


def presence_auroc(features: np.ndarray, own: Without) -> float:
    """How well the features tell whether a thing shows, out of fold; NaN with fewer than two samples that show it."""
    return _auroc(*_with_and_without(features, own))


def _auroc(inputs: np.ndarray, is_there: np.ndarray) -> float:
    """AUROC of a linear reading of what is there, out of fold; NaN with fewer than two samples on a side."""
    n_folds = min(5, int(is_there.sum()), int((~is_there).sum()))
    if n_folds < 2:
        return math.nan
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_predict

    told = cross_val_predict(_reader(), inputs, is_there, cv=n_folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(is_there, told))


def with_slice(trait: str, shows: np.ndarray, known: Look, pool: Look) -> tuple[Look, Look]:
    """Both with a trait that is a slice of one class: nothing is taken away, and the features tell who is in it.

    Args:
        trait: its key.
        shows: float (M,), of the labelled samples: 1 in the slice, 0 elsewhere in its class, NaN of other classes and
            where it is not known.
        known: the M labelled samples.
        pool: N pictures.

    Returns:
        Both, with the trait; of the pool `shows` says what a linear reading of the features makes of each picture,
        were it of the class; all 0 where nothing can be learned.
    """
    inputs, is_in = _in_class(known.features, shows)
    told = np.zeros(len(pool.digests))
    if 0 < is_in.sum() < len(is_in):
        model = _reader().fit(inputs, is_in)
        told = _in_parts(
            len(told), lambda rows: model.predict(_standardised(pool.features[rows], known.features))
        )
    ours, theirs = (
        replace(one, without={**one.without, trait: Without(one.features, one.probabilities, values)})
        for one, values in ((known, shows), (pool, told))
    )
    return ours, theirs


def slice_auroc(features: np.ndarray, own: Without) -> float:
    """How well the features tell who of a class is in its slice, out of fold; NaN with fewer than two on a side."""
    return _auroc(*_in_class(features, own.shows))


def _in_class(features: np.ndarray, shows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The class's own samples, and which of them are in the slice."""
    is_own = ~np.isnan(shows)
    return _standardised(features[is_own], features), shows[is_own] > 0


def confound_axes(features: np.ndarray, without: np.ndarray, shows: np.ndarray) -> np.ndarray:
    """Directions in which taking a thing away moves the features: orthonormal rows (<= AXES, D).

    The fewest right singular vectors that hold nine tenths of the squared changes of the samples that show it.
    """
    changes = (features - without)[shows > 0].astype(np.float64)
    if not len(changes) or not changes.any():
        return np.zeros((0, features.shape[1]))
    _, sizes, axes = np.linalg.svd(changes, full_matrices=False)
    held = np.cumsum(sizes**2) / np.sum(sizes**2)
    return np.asarray(axes[: min(AXES, int(np.searchsorted(held, 0.9)) + 1)])


def moved(trait: str, label: str, known: Known, pool: Look) -> np.ndarray:
    """How much taking the confound away moves the model's answer, float64 (N,) in [0, 1]; 1 is as is usual.

    The fall of the log odds of the class in question over its median in the class's own samples that show the confound.
    A detector errs, and among pictures of other classes, which show it rarely, its errors are many: what it marks there
    by mistake moves nothing. All 1 where taking it away moves nothing in the class itself.
    """
    place = known.classes.index(label)
    own = np.asarray(known.labels) == label
    usual = _fall(known.look, trait, place)[own & (known.look.without[trait].shows > 0)]
    if not len(usual) or np.median(usual) <= 0:
        return np.ones(len(pool.digests))
    return np.asarray(np.clip(_fall(pool, trait, place) / np.median(usual), 0.0, 1.0))


def _fall(look: Look, trait: str, place: int) -> np.ndarray:
    """Log odds of a class in the pictures as they are, minus those without the trait: (N,)."""
    before, after = (
        np.clip(chances[:, place].astype(np.float64), LEAST, 1 - LEAST)
        for chances in (look.probabilities, look.without[trait].probabilities)
    )
    return np.asarray(np.log(before / (1 - before)) - np.log(after / (1 - after)))


def is_told_by_features(trait: str, pool: Look) -> bool:
    """Whether no detector looks for it: then nothing is known of any picture of the pool."""
    return bool(len(pool.digests)) and bool(np.isnan(pool.without[trait].shows).all())


def _without_axes(features: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return np.asarray(features - (features @ axes.T) @ axes)


def _reader() -> Any:
    """A linear reading, classes weighted alike."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(class_weight="balanced", max_iter=2000)


def _standardised(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Columns in standard deviations from the means of `by`; a column that does not vary there is 0."""
    spread = by.std(axis=0)
    return np.asarray(
        np.divide(values - by.mean(axis=0), spread, out=np.zeros(values.shape), where=spread > 0)
    )
