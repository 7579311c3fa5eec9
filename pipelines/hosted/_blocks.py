"""The parts that the files of both services have in common: baselines, domain, visualization."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from audit.errors import ConfigError
from pipelines.hosted._keys import Block
from pipelines.hosted._values import BaselineValue
from reports.visualization import COLOR_MAPS, Visualization

MOST_BASELINES = 10

OF_TABLES = "it describes features of a table, and only images are explained here"
"""Why keys that do not concern images are refused."""

DRAWING_KEYS = (
    "type",
    "polarity",
    "color_map",
    "clip_above_percentile",
    "clip_below_percentile",
    "clip_percent_upperbound",
    "clip_percent_lowerbound",
    "clip_by",
    "overlay_type",
    "overlay_multiplier",
    "blur_sigma",
    "shade_within_outlines",
    "output_format",
    "resized_shape",
    "translate",
)
"""Keys of a visualization in snake_case: those of both services, and `clip_by`, which is ours."""

_OF_ONE_TYPE = {"blur_sigma": "pixels", "shade_within_outlines": "outlines"}


def the_only(named: Mapping[str, Any], top: Block, key: str) -> tuple[str, Any]:
    """The one entry of `inputs` or `outputs`."""
    if len(named) != 1:
        kind = "image input" if key == "inputs" else "output"
        raise top.fault(key, f"expected exactly one {kind}, found {len(named)}: {', '.join(named)}")
    ((name, value),) = named.items()
    return name, value


def drawing_of(block: Block, default_type: str) -> dict[str, Any]:
    """The stated options of a visualization, by field of Visualization.

    Args:
        block: the visualization.
        default_type: what is drawn where it does not say.

    Raises:
        ConfigError: a value is none of the allowed ones, or an option is of another type of picture.
    """
    upper = _one_of(block, "clip_above_percentile", "clip_percent_upperbound")
    lower = _one_of(block, "clip_below_percentile", "clip_percent_lowerbound")
    stated: dict[str, Any] = {
        "type": block.word("type", ("pixels", "outlines", "regions")),
        "polarity": block.word("polarity", ("positive", "negative", "both")),
        "color_map": block.word("color_map", COLOR_MAPS),
        "clip_above_percentile": block.number(upper, 0, 100),
        "clip_below_percentile": block.number(lower, 0, 100),
        "clip_by": block.word("clip_by", ("rank", "mass")),
        "overlay_type": block.word(
            "overlay_type", ("none", "original", "grayscale", "mask_black"), {"mask": "mask_black"}
        ),
        "overlay_multiplier": block.number("overlay_multiplier", 0, 1),
        "blur_sigma": block.number("blur_sigma", 0),
        "shade_within_outlines": block.switch("shade_within_outlines"),
        "output_format": block.word("output_format", ("jpeg", "png"), {"jpg": "jpeg"}),
        "resized_shape": block.pair("resized_shape", 1),
        "translate": block.pair("translate", 0),
    }
    given = {key: value for key, value in stated.items() if value is not None}
    kind = given.get("type", default_type)
    for key, owner in _OF_ONE_TYPE.items():
        if key in given and kind != owner:
            raise block.fault(key, f"is an option of type {owner}, and the type is {kind}; leave it out")
    return given


def require_drawable(block: Block, drawing: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise the ConfigError of options that contradict each other, such as percentiles in the wrong order."""
    try:
        Visualization(**{**defaults, **drawing})
    except ValueError as error:
        raise ConfigError(f"{block.where}: {error}") from None


def baselines_of(block: Block, key: str) -> tuple[BaselineValue, ...]:
    """A list of at most ten baselines: numbers, or arrays (H, W, 3) or (H, W).

    Raises:
        ConfigError: no list, too many, or values that are no finite numbers.
    """
    found = block.values.get(key)
    if found is None:
        return ()
    if not isinstance(found, list) or len(found) > MOST_BASELINES:
        n_found = f"{len(found)} of them" if isinstance(found, list) else repr(found)[:60]
        raise block.fault(key, f"expected a list of at most {MOST_BASELINES} baselines, found {n_found}")
    return tuple(_baseline(block, key, index, value) for index, value in enumerate(found))


def domain_of(block: Block | None, keys: tuple[str, str]) -> dict[str, float]:
    """low, high, mean, stddev of a domain, where it states them.

    Raises:
        ConfigError: one limit without the other, limits in the wrong order, or a spread that is not above 0.
    """
    if block is None:
        return {}
    low, high = block.number(keys[0]), block.number(keys[1])
    mean, stddev = block.number("original_mean"), block.number("original_stddev")
    if (low is None) is not (high is None):
        missing, given = keys if low is None else keys[::-1]
        raise block.fault(given, f"goes with {missing!r}, which is missing; give both or none")
    if low is not None and high is not None and not low < high:
        raise block.fault(keys[0], f"expected less than {keys[1]!r} = {high:g}, found {low:g}")
    if stddev is not None and stddev <= 0:
        raise block.fault("original_stddev", f"expected a number above 0, found {stddev:g}")
    if (mean is None) is not (stddev is None):
        missing = "original_mean" if mean is None else "original_stddev"
        raise block.fault(missing, "is missing; original_mean and original_stddev go together")
    limits = {"low": low, "high": high, "mean": mean, "stddev": stddev}
    return {key: value for key, value in limits.items() if value is not None}


def _baseline(block: Block, key: str, index: int, value: Any) -> BaselineValue:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if not np.isfinite(array).all() or not array.size or isinstance(value, bool | str):
        raise block.fault(f"{key}[{index}]", "expected a number or an array of finite numbers")
    if array.size == 1:
        return float(array.reshape(()))
    shape = array.shape[1:] if array.ndim == 4 and array.shape[0] == 1 else array.shape
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise block.fault(f"{key}[{index}]", f"expected an array of the input's shape, found {array.shape}")
    return array.reshape(shape)


def _one_of(block: Block, first: str, second: str) -> str:
    """Whichever of two spellings is there."""
    if first in block.values and second in block.values:
        raise block.fault(second, f"means the same as {first!r}; keep one")
    return second if second in block.values else first
