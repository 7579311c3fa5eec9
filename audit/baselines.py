"""Where an attribution path starts, and whether that place says nothing about the classes.

A baseline should be a picture on which the model has no opinion; black is one for many photographs and a
strong sign for some classes, so the choice is checked instead of believed. White is wrong where many pictures
have a white
background: those pixels then equal the baseline and get no attribution.
Source: Sundararajan, Taly, Yan. Axiomatic Attribution for Deep Networks. ICML 2017, sec. 2.4 (a near-zero
score); Sturmfels, Lundberg, Lee. Visualizing the Impact of Feature Attribution Baselines. Distill 2020 (the
choices).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from audit.attributions._blur import Blur
from audit.classifier import Classifier, Head
from audit.errors import ConfigError

Choice = str | float | np.ndarray
"""A name of NAMES, a grey level in [0, 1], or the picture itself, (H, W, 3) in [0, 1]."""

NAMES = ("black", "white", "black_white", "grey", "random", "blurred")

TOO_CLOSE = 0.05
"""Image and baseline whose target probabilities differ by less: the map may mean nothing (the hosted
services' rule)."""

UNINFORMATIVE = 0.1
"""A baseline is uninformative while no class probability is further than this from its chance level."""

_LEVELS = {"black": (0.0,), "white": (1.0,), "black_white": (0.0, 1.0), "grey": (0.5,)}
_BLUR_SHARE = 20.0 / 224.0
_RANDOM_STREAM = 0x62617365


def build(choice: Choice | Sequence[Choice], images: np.ndarray, seeds: np.ndarray) -> list[np.ndarray]:
    """Baselines of a batch; several are meant to be explained from one by one, and their maps averaged.

    Args:
        choice: what to start from: black; white; black_white (both); grey (level 0.5); random (each value
            uniform in
            [0, 1], drawn from the sample's seed); blurred (the image itself, by 20 pixels at 224, scaled with
            its longer side; blurred:8 by 8 pixels); a grey level; a picture; or several of these.
        images: float32 (B, H, W, 3) in [0, 1].
        seeds: uint64 (B,), one a sample.

    Returns:
        float32 (B, H, W, 3) each, at least one.

    Raises:
        ConfigError: the choice is unknown, out of range or of another shape.
    """
    if isinstance(choice, str):
        return _named(choice, images, seeds)
    if isinstance(choice, np.ndarray):
        return [_given(choice, images)]
    if isinstance(choice, int | float):
        return [_level(float(choice), images)]
    if not choice:
        raise ConfigError("baseline: expected at least one, found an empty list")
    return [baseline for one in choice for baseline in build(one, images, seeds)]


def check(choice: Choice | Sequence[Choice]) -> None:
    """Raise the ConfigError that `build` would raise, as far as it shows before there is an image."""
    if isinstance(choice, str | int | float | np.ndarray):
        shape = choice.shape if isinstance(choice, np.ndarray) else (1, 1, 3)
        build(choice, np.zeros((1, *shape), dtype=np.float32), np.zeros(1, dtype=np.uint64))
    elif not choice:
        build(choice, np.zeros((1, 1, 1, 3), dtype=np.float32), np.zeros(1, dtype=np.uint64))
    else:
        for one in choice:
            check(one)


@dataclass(frozen=True)
class BaselineCheck:
    """What the model says about a baseline.

    Attributes:
        probabilities: float64 (K,), mean over the given baseline images.
        chance: what a model without an opinion would say of each class: 1/K; 1/2 for independent classes.
        distance: how far the worst class is from chance, in probability.
        worst_class: that class.
        is_uninformative: distance is within the limit.
    """

    probabilities: np.ndarray
    chance: float
    distance: float
    worst_class: int
    is_uninformative: bool


def uninformative(
    classifier: Classifier, baseline_images: np.ndarray, *, limit: float = UNINFORMATIVE
) -> BaselineCheck:
    """Whether the model has no opinion on baseline images.

    With independent classes (sigmoid outputs) "none of them" is no opinion either, so there only an excess
    counts.

    Args:
        classifier: the model.
        baseline_images: float32 (B, H, W, 3) of one baseline; equal ones are best given once.
        limit: largest distance from chance, in probability.
    """
    probabilities = classifier.probabilities(baseline_images).mean(axis=0)
    is_independent = classifier.head is Head.SIGMOID
    chance = 0.5 if is_independent else 1.0 / classifier.n_classes
    distances = probabilities - chance if is_independent else np.abs(probabilities - chance)
    worst = int(np.argmax(distances))
    distance = float(max(distances[worst], 0.0))
    return BaselineCheck(probabilities, chance, distance, worst, distance <= limit)


def score_distance(
    classifier: Classifier, images: np.ndarray, baselines: Sequence[np.ndarray], targets: np.ndarray
) -> np.ndarray:
    """How far the target's probability moves from the baseline to the image.

    Args:
        classifier: the model.
        images: float32 (B, H, W, 3).
        baselines: as `build` gives them; their probabilities are averaged, as their maps are.
        targets: int64 (B,).

    Returns:
        float64 (B,) in [0, 1]; below TOO_CLOSE a map may mean nothing, whatever the logits say.
    """
    rows = np.concatenate([images, *baselines])
    probabilities = classifier.probabilities(rows)[np.arange(len(rows)), np.tile(targets, len(baselines) + 1)]
    image, *starts = probabilities.reshape(len(baselines) + 1, len(images))
    return np.asarray(np.abs(image - np.mean(starts, axis=0)))


def _named(name: str, images: np.ndarray, seeds: np.ndarray) -> list[np.ndarray]:
    if name in _LEVELS:
        return [_level(level, images) for level in _LEVELS[name]]
    if name == "random":
        shape = images.shape[1:]
        drawn = [
            np.random.default_rng([_RANDOM_STREAM, int(seed)]).random(shape, np.float32) for seed in seeds
        ]
        return [np.stack(drawn)]
    if name == "blurred":
        height, width = images.shape[1:3]
        return [Blur((height, width))(images, _BLUR_SHARE * max(height, width))]
    if name.startswith("blurred:"):
        return [Blur(images.shape[1:3])(images, _blur_sigma(name))]
    near = get_close_matches(name, NAMES, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigError(
        f"baseline: expected one of {', '.join(NAMES)}, or a grey level in [0, 1]; found {name!r}.{hint}"
    )


def _blur_sigma(name: str) -> float:
    """The pixels of `blurred:8`."""
    try:
        sigma = float(name.partition(":")[2])
    except ValueError:
        sigma = float("nan")
    if not 0 < sigma < float("inf"):
        raise ConfigError(f"baseline: blurred:SIGMA takes pixels above 0, such as blurred:8; found {name!r}")
    return sigma


def _level(level: float, images: np.ndarray) -> np.ndarray:
    if not 0.0 <= level <= 1.0:
        raise ConfigError(f"baseline: a grey level lies in [0, 1], 0 is black; found {level:g}")
    return np.full(images.shape, level, dtype=np.float32)


def _given(picture: np.ndarray, images: np.ndarray) -> np.ndarray:
    if picture.shape != images.shape[1:]:
        raise ConfigError(
            f"baseline: a given picture must have the input's shape {images.shape[1:]}; found {picture.shape}"
        )
    if not (np.isfinite(picture).all() and picture.min() >= 0 and picture.max() <= 1):
        raise ConfigError(
            "baseline: a given picture must hold values in [0, 1]; divide one of 0 to 255 by 255"
        )
    return np.broadcast_to(picture.astype(np.float32), images.shape)
