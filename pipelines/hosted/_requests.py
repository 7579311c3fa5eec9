"""Requests as clients sent them to the services: instances with base64 pictures or numbers, and what they ask for."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audit.errors import ConfigError
from pipelines.explanation_metadata import read_json, service
from pipelines.hosted._blocks import baselines_of
from pipelines.hosted._keys import Block, block_of, snake
from pipelines.hosted._values import BaselineValue, HostedExplanation, HostedMethod

_KEYS = (
    "instances",
    "parameters",
    "top_k",
    "label_indices",
    "label_index",
    "baselines",
    "explanation_spec_override",
    "deployed_model_id",
    "signature_name",
)


@dataclass(frozen=True)
class Instance:
    """One picture of a request.

    Attributes:
        name: by its place, `instance-0`.
        content: bytes of an image file, or float64 (H, W, 3) in units of the input tensor.
    """

    name: str
    content: bytes | np.ndarray


@dataclass(frozen=True)
class Request:
    """A file of instances.

    Attributes:
        instances: at least one.
        top_k, label_indices, baselines, method: what the request states besides; None or empty where it does not.
    """

    instances: tuple[Instance, ...]
    top_k: int | None = None
    label_indices: tuple[int, ...] | None = None
    baselines: tuple[BaselineValue, ...] = ()
    method: HostedMethod | None = None


def read_request(path: Path, input_name: str | None) -> Request:
    """The request in a file: a JSON object with `instances`, a list of them, or one a line.

    Args:
        path: the file.
        input_name: the input that instances with several entries are searched for; None takes the only entry.

    Raises:
        ConfigError: the file is of another form, or an instance holds no picture.
    """
    document = _document(path)
    if _is_instance(document, input_name):
        document = [document]  # a file of one instance a line, with one line
    if isinstance(document, list):
        document = {"instances": document}
    request = block_of(document, str(path), _KEYS)
    listed = request.values.get("instances")
    if not isinstance(listed, list) or not listed:
        raise request.fault("instances", "expected a list of at least one instance")
    instances = tuple(
        Instance(f"instance-{index}", _content(value, input_name, f"{path}: instances[{index}]"))
        for index, value in enumerate(listed)
    )
    stated = _override(request, input_name)
    indices = _indices(request) if stated is None or stated.output_indices is None else stated.output_indices
    top_k = request.count("top_k", -1, 2**31)
    if top_k == 0:
        raise request.fault("top_k", "expected a number of classes, or -1 for all; found 0")
    return Request(
        instances,
        top_k if stated is None or stated.top_k is None else stated.top_k,
        indices,
        baselines_of(request, "baselines") or (() if stated is None else stated.input.baselines),
        None if stated is None else stated.method,
    )


def _is_instance(document: Any, input_name: str | None) -> bool:
    """Whether a document is one instance and no request: it holds a picture, and no key of a request."""
    if not isinstance(document, dict) or not document:
        return False
    keys = {snake(str(key)) for key in document}
    return "b64" in keys or (not keys & set(_KEYS) and (len(keys - {"key"}) == 1 or input_name in document))


def _document(path: Path) -> Any:
    """A JSON document, or JSON lines as a list."""
    try:
        return read_json(path)
    except ConfigError:
        if not path.is_file():
            raise
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            found = [json.loads(line) for line in lines if line.strip()]
        except (OSError, ValueError):
            found = []
        if len(found) < 2:
            raise
        return found


def _override(request: Block, input_name: str | None) -> HostedExplanation | None:
    """The parameters and baselines of `explanationSpecOverride`, read as those of a file."""
    override = request.block("explanation_spec_override", ("parameters", "metadata"))
    if override is None:
        return None
    stated = override.block("metadata", ("inputs",))
    inputs = stated.values.get("inputs") if stated is not None else None
    if inputs is not None and (not isinstance(inputs, dict) or len(inputs) != 1):
        raise override.fault("metadata", "expected the image input alone under 'inputs'")
    metadata: dict[str, Any] = {"inputs": inputs or {input_name or "input": {}}, "outputs": {"output": {}}}
    parameters = override.values.get("parameters", {})
    read: HostedExplanation = service("vertex").read(
        {"parameters": parameters, "metadata": metadata}, override.where
    )
    return read


def _indices(request: Block) -> tuple[int, ...] | None:
    if "label_index" in request.values:
        index = request.count("label_index", 0, 2**31)
        return None if index is None else (index,)
    found = request.values.get("label_indices")
    if found is None:
        return None
    if not isinstance(found, list) or not found or not all(type(one) is int and one >= 0 for one in found):
        raise request.fault("label_indices", f"expected a list of class indices from 0, found {found!r}")
    return tuple(found)


def _content(value: Any, input_name: str | None, where: str) -> bytes | np.ndarray:
    """The picture of an instance, however deep clients wrapped it."""
    if isinstance(value, Mapping) and "b64" in value:
        return _decoded(value["b64"], where)
    if isinstance(value, Mapping):
        # Callers may send a key of their own with each instance; it is given back nowhere.
        names = [name for name in value if name == input_name] or [name for name in value if name != "key"]
        if len(names) != 1:
            raise ConfigError(
                f"{where}: expected one entry, the image input {input_name!r}; found {', '.join(value) or 'none'}"
            )
        return _content(value[names[0]], input_name, where)
    if isinstance(value, str):
        return _decoded(value, where)
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], Mapping | str):
        return _content(value[0], input_name, where)
    return _pixels(value, where)


def _decoded(text: Any, where: str) -> bytes:
    try:
        # Clients used either alphabet of base64.
        return base64.b64decode(text.translate(str.maketrans("-_", "+/")), validate=True)
    except (AttributeError, ValueError, binascii.Error):
        raise ConfigError(f'{where}: expected base64 of a JPEG or PNG file under "b64"') from None


def _pixels(value: Any, where: str) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 3 or array.shape[2] != 3 or not array.size or not np.isfinite(array).all():
        raise ConfigError(
            f'{where}: expected {{"b64": …}} or finite numbers of shape (height, width, 3), found shape {array.shape}'
        )
    return array
