"""Metadata files of the hosted services: found, read, and turned into settings of an audit."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from audit.classifier import Preprocessing
from audit.errors import ConfigError
from audit.plugins import find, names
from pipelines import hosted
from pipelines.config import ModelConfig
from pipelines.hosted._values import BaselineValue, HostedExplanation, HostedInput

FILE_NAME = "explanation_metadata.json"
"""What AI Platform looked for beside the SavedModel."""

_ROUNDING = 1e-6


def service(name: str) -> Any:
    """The service of a name as users type it: `ai-platform` or `vertex`.

    Raises:
        ConfigError: there is no such service.
    """
    return find(hosted, name.lower().replace("-", "_"))()


def read(path: Path) -> HostedExplanation:
    """What a metadata file asks for, whichever service's it is.

    Raises:
        ConfigError: the file cannot be read, or asks for what is not supported; the message names the key.
    """
    document = read_json(path)
    if not isinstance(document, dict):
        raise ConfigError(
            f"{path}: expected an object with inputs and outputs, found {type(document).__name__}"
        )
    services = [service(name) for name in names(hosted)]
    owner = next(one for one in services if one.owns(document, path.name))
    found: HostedExplanation = owner.read(document, str(path))
    return found


def beside(model: Path) -> Path | None:
    """The metadata file in a SavedModel folder or beside a model file; None where there is none."""
    folder = model if model.is_dir() else model.parent
    path = folder / FILE_NAME
    return path if path.is_file() else None


def read_json(path: Path) -> Any:
    """The value in a JSON file; non-finite numbers are refused.

    Raises:
        ConfigError: missing, unreadable, or no JSON.
    """

    def refuse(text: str) -> float:
        raise ValueError(f"{text} is no number of JSON")

    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=refuse)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON: {error}") from None


def config_overrides(metadata: HostedExplanation, model: ModelConfig | None = None) -> list[tuple[str, Any]]:
    """The settings of an audit that a metadata file implies, as pairs ("section.key", value).

    Args:
        metadata: of `read`.
        model: `[model]` as the user has it otherwise: its value range counts where the file states no domain, and
            tensors are named if its path is a SavedModel folder; None takes the defaults and names none.

    Raises:
        ConfigError: a baseline lies outside the range of the input, or is an array, which a configuration cannot hold.
    """
    base = model or ModelConfig(path=Path("model"))
    implied = model_overrides(metadata, base)
    found: list[tuple[str, Any]] = [(f"model.{key}", value) for key, value in implied.items()]
    preprocessing = preprocessing_for(base, metadata.input)
    method = metadata.method
    parameters: dict[str, dict[str, Any]] = {}
    name = method.name if method else "integrated_gradients"
    start = baseline_choices(metadata, preprocessing)
    if any(isinstance(one, np.ndarray) for one in start):
        raise ConfigError(
            f"{metadata.service}: input_baselines with arrays cannot be put into a configuration; `rightreasons "
            "explain` takes them, an audit takes numbers"
        )
    if start:
        # The user may name another method than the file, or the file none: baselines are the input's, not a method's.
        for one in dict.fromkeys((name, "integrated_gradients", "guided_integrated_gradients", "xrai")):
            parameters[one] = {"baseline": list(start)}
    if method is not None:
        parameters[name] = {**parameters.get(name, {}), "n_steps": method.n_steps}
        if method.noise_sigma is not None:
            sigma = noise_share(method.noise_sigma, preprocessing)
            parameters["smoothgrad"] = {"sigma": sigma, "n_samples": method.n_noisy}
        found.append(("attributions.methods", [method.spelled]))
    if parameters:
        found.append(("attributions.parameters", parameters))
    return found


def model_overrides(metadata: HostedExplanation, model: ModelConfig) -> dict[str, Any]:
    """Keys of `[model]` that a metadata file implies, without those that the user states.

    Tensors and signatures are named for a SavedModel folder alone, since other files have none.

    Raises:
        ConfigError: the file wants class names in a way that is not supported, and the user states none.
    """
    implied: dict[str, Any] = {}
    if metadata.output.class_names_key is not None and model.classes is None:
        raise ConfigError(
            f"{metadata.service}: index_name_mapping_key (displayNameMappingKey) asks for class names out of each "
            "answer of the model, which is not supported; give index_name_mapping (indexDisplayNameMapping) or "
            "--classes"
        )
    if not {"value_range", "mean", "std", "preset"} & model.model_fields_set:
        domain = preprocessing_overrides(metadata.input)
        # A model that prepares pictures itself leaves nothing to apply; the domain only says what it does then.
        implied |= domain | ({"is_range_described": True} if domain else {})
    names = metadata.output.class_names
    if names:
        # One name belongs to a scalar output, which stands for two classes.
        implied["classes"] = [f"not {names[0]}", names[0]] if len(names) == 1 else list(names)
    if model.path.is_dir():
        tensors = {"input": metadata.input.tensor, "output": metadata.output.tensor}
        # Tensors say where attributions are taken; the signature that was served may be another.
        own = tensors if any(tensors.values()) else {"signature": metadata.signature}
        implied |= {key: value for key, value in own.items() if value is not None}
    return {key: value for key, value in implied.items() if key not in model.model_fields_set}


def preprocessing_overrides(found: HostedInput) -> dict[str, Any]:
    """Keys of `[model]` that a domain implies; none where the file states no domain.

    A mean and spread describe pixels before they were normalised: of 0 to 1 where both are at most 1 and no upper limit
    says otherwise, else of 0 to 255.
    """
    if found.mean is not None and found.stddev is not None:
        white = 1.0 if max(abs(found.mean), found.stddev) <= 1 else 255.0
        if found.low == 0 and found.high in (1.0, 255.0):
            white = found.high
        return {"mean": [found.mean / white] * 3, "std": [found.stddev / white] * 3}
    if found.low is not None and found.high is not None:
        return {"value_range": [found.low, found.high]}
    return {}


def preprocessing_for(model: ModelConfig, found: HostedInput) -> Preprocessing:
    """The preprocessing that a model gets: the user's, else the file's, else the default."""
    from pipelines.models import preprocessing_of

    stated = {"value_range", "mean", "std", "preset"} & model.model_fields_set
    implied = {} if stated else preprocessing_overrides(found)
    return preprocessing_of(ModelConfig(**{**model.model_dump(exclude_unset=True), **implied}))


def baseline_choices(
    metadata: HostedExplanation, preprocessing: Preprocessing
) -> tuple[float | str | np.ndarray, ...]:
    """Where paths start, as `audit.baselines.build` takes it; empty means the method's own.

    Raises:
        ConfigError: a value lies outside what the input can show.
    """
    if metadata.method is not None and metadata.method.blur_sigma is not None:
        return (f"blurred:{metadata.method.blur_sigma:g}",)
    return tuple(in_pixels(one, preprocessing) for one in metadata.input.baselines)


def in_pixels(
    value: BaselineValue, preprocessing: Preprocessing, what: str = "baseline"
) -> float | np.ndarray:
    """A baseline of the input tensor, or `what` else it is, as a grey level or a picture (H, W, 3) in [0, 1].

    Raises:
        ConfigError: it lies outside.
    """
    array = np.asarray(value, dtype=np.float64)
    channels = array[..., None] if array.ndim == 2 else array
    scale, offset = np.array(preprocessing.scale), np.array(preprocessing.offset)
    pixels = (channels - offset) / scale
    if preprocessing.is_reversed:
        pixels = pixels[..., ::-1]
    if pixels.min() < -_ROUNDING or pixels.max() > 1 + _ROUNDING:
        black, white = offset.min(), (offset + scale).max()
        raise ConfigError(
            f"{what}: expected values of the model's input, {black:g} (black) to {white:g} (white), found "
            f"{array.min():g} to {array.max():g}; state the input's range by the domain of the metadata or by "
            "model.value_range"
        )
    held = np.clip(pixels, 0.0, 1.0)
    if held.ndim == 1:
        # One level for all channels where they are treated alike, else a picture of one colour.
        return float(held[0]) if np.ptp(held) < _ROUNDING else held.astype(np.float32).reshape(1, 1, 3)
    return np.asarray(held, dtype=np.float32)


def noise_share(sigma: float, preprocessing: Preprocessing) -> float:
    """SmoothGrad's sigma of the input tensor as a share of the range from black to white.

    Where channels are scaled differently, their mean range counts.
    """
    return sigma / float(np.mean(np.abs(preprocessing.scale)))


def with_input_size(
    choice: float | str | np.ndarray, image_shape: tuple[int, int]
) -> float | str | np.ndarray:
    """A baseline of one colour as a picture of the input's size; others as they are."""
    if isinstance(choice, np.ndarray) and choice.shape[:2] == (1, 1):
        return np.broadcast_to(choice, (*image_shape, 3)).astype(np.float32)
    return choice
