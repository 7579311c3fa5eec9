"""Vertex Explainable AI: ExplanationSpec or ExplanationMetadata as JSON, in camelCase or snake_case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.errors import ConfigError
from pipelines.hosted._answers import measured, payload
from pipelines.hosted._blocks import (
    DRAWING_KEYS,
    OF_TABLES,
    baselines_of,
    domain_of,
    drawing_of,
    require_drawable,
    the_only,
)
from pipelines.hosted._keys import Block, block_of
from pipelines.hosted._values import (
    DEFAULT_NOISE,
    DEFAULT_STEPS,
    Answered,
    Attributed,
    HostedExplanation,
    HostedInput,
    HostedMethod,
    HostedOutput,
)

__all__ = ["Vertex"]

_DEFAULTS = {"type": "outlines", "clip_above_percentile": 99.9, "clip_below_percentile": 62.0}
_METHODS = {"integrated_gradients_attribution": "integrated_gradients", "xrai_attribution": "xrai"}
_PARAMETER_KEYS = (*_METHODS, "top_k", "output_indices")
_REFUSED_METHODS = {
    "sampled_shapley_attribution": "it permutes features of a table, and only images are explained here",
    "examples": "it looks up similar samples, which is no attribution",
}
_METHOD_KEYS = ("step_count", "smooth_grad_config", "blur_baseline_config")
_METADATA_KEYS = ("inputs", "outputs")
_REFUSED_METADATA = {
    "latent_space_source": "it belongs to examples",
    "feature_attributions_schema_uri": "it belongs to AutoML tables",
}
_INPUT_KEYS = (
    "input_tensor_name",
    "encoded_tensor_name",
    "modality",
    "input_baselines",
    "encoded_baselines",
    "encoding",
    "feature_value_domain",
    "visualization",
    "group_name",
)
_REFUSED_INPUT_KEYS = dict.fromkeys(
    ("indices_tensor_name", "dense_shape_tensor_name", "index_feature_mapping"), OF_TABLES
)
_OUTPUT_KEYS = ("output_tensor_name", "index_display_name_mapping", "display_name_mapping_key")


@dataclass(frozen=True)
class Vertex:
    """The successor of AI Platform."""

    def owns(self, document: Mapping[str, Any], file_name: str) -> bool:
        """Its files have no framework."""
        return "framework" not in document and file_name != "explanation_metadata.json"

    def read(self, document: Mapping[str, Any], where: str) -> HostedExplanation:
        """See HostedService; a file is an ExplanationSpec, or its metadata alone."""
        if not {"parameters", "metadata"} & document.keys():
            return _explanation(block_of(document, where, _METADATA_KEYS, _REFUSED_METADATA), None)
        spec = block_of(document, where, ("parameters", "metadata"))
        metadata = spec.block("metadata", _METADATA_KEYS, _REFUSED_METADATA)
        if metadata is None:
            raise spec.fault("metadata", "is missing; it names the input and the output")
        return _explanation(metadata, spec.block("parameters", _PARAMETER_KEYS, _REFUSED_METHODS))

    def answer(self, answered: Sequence[Answered], *, input_name: str, output_name: str) -> dict[str, Any]:
        """See HostedService."""
        return {
            "explanations": [
                {"attributions": [_attribution(found, input_name, output_name) for found in one.attributions]}
                for one in answered
            ],
            "predictions": [one.outputs.tolist() for one in answered],
        }


def _explanation(metadata: Block, parameters: Block | None) -> HostedExplanation:
    found = _input(metadata)
    return HostedExplanation(
        "vertex",
        found,
        _output(metadata),
        method=None if parameters is None else _method(parameters, found.name),
        top_k=None if parameters is None else _top_k(parameters),
        output_indices=None if parameters is None else _indices(parameters),
    )


def _input(metadata: Block) -> HostedInput:
    name, values = the_only(metadata.named("inputs"), metadata, "inputs")
    block = block_of(values, f"{metadata.where}.inputs.{name}", _INPUT_KEYS, _REFUSED_INPUT_KEYS)
    block.word("encoding", ("identity",))
    is_image = block.word("modality", ("image", "numeric")) == "image"
    visualization = block.block("visualization", DRAWING_KEYS)
    if visualization is not None and not is_image:
        raise block.fault(
            "modality", "expected 'image', since a visualization is asked for; the default is 'numeric'"
        )
    if {"input_baselines", "encoded_baselines"} <= block.values.keys():
        raise block.fault("encoded_baselines", "excludes 'input_baselines'; keep one")
    drawing = {} if visualization is None else drawing_of(visualization, "outlines")
    if visualization is not None:
        require_drawable(visualization, drawing, _DEFAULTS)
    limits = ("min_value", "max_value")
    domain = domain_of(
        block.block("feature_value_domain", (*limits, "original_mean", "original_stddev")), limits
    )
    key = "encoded_baselines" if "encoded_baselines" in block.values else "input_baselines"
    return HostedInput(
        name,
        block.text("encoded_tensor_name") or block.text("input_tensor_name"),
        is_image,
        baselines_of(block, key),
        **domain,
        drawing=drawing,
        drawing_defaults=_DEFAULTS,
    )


def _output(metadata: Block) -> HostedOutput:
    name, values = the_only(metadata.named("outputs"), metadata, "outputs")
    block = block_of(values, f"{metadata.where}.outputs.{name}", _OUTPUT_KEYS)
    names, key = block.texts("index_display_name_mapping"), block.text("display_name_mapping_key")
    if names and key:
        raise block.fault("display_name_mapping_key", "excludes 'index_display_name_mapping'; keep one")
    return HostedOutput(name, block.text("output_tensor_name"), names, key)


def _method(parameters: Block, input_name: str) -> HostedMethod | None:
    stated = [key for key in _METHODS if parameters.values.get(key) is not None]
    if not stated:
        return None
    if len(stated) > 1:
        raise parameters.fault(stated[1], f"excludes {stated[0]!r}; keep one method")
    block = parameters.block(stated[0], _METHOD_KEYS)
    assert block is not None
    smooth = block.block("smooth_grad_config", ("noise_sigma", "feature_noise_sigma", "noisy_sample_count"))
    blur = block.block("blur_baseline_config", ("max_blur_sigma",))
    return HostedMethod(
        _METHODS[stated[0]],
        n_steps=block.count("step_count", 1, 100) or DEFAULT_STEPS,
        noise_sigma=None if smooth is None else _noise(smooth, input_name),
        n_noisy=3 if smooth is None else smooth.count("noisy_sample_count", 1, 50) or 3,
        # A blur of 0 is none: the service then kept its baseline.
        blur_sigma=None if blur is None else blur.number("max_blur_sigma", 0) or None,
    )


def _noise(smooth: Block, input_name: str) -> float:
    """SmoothGrad's sigma for the image input."""
    if {"noise_sigma", "feature_noise_sigma"} <= smooth.values.keys():
        raise smooth.fault("feature_noise_sigma", "excludes 'noise_sigma'; keep one")
    by_feature = smooth.block("feature_noise_sigma", ("noise_sigma",))
    if by_feature is None:
        stated = smooth.number("noise_sigma", 0)
        return DEFAULT_NOISE if stated is None else stated
    listed = by_feature.values.get("noise_sigma")
    if not isinstance(listed, list):
        raise by_feature.fault("noise_sigma", 'expected a list of {"name": …, "sigma": …}')
    entries = [block_of(one, f"{by_feature.where}.noise_sigma", ("name", "sigma")) for one in listed]
    for entry in entries:
        if entry.text("name") == input_name:
            stated = entry.number("sigma", 0)
            return DEFAULT_NOISE if stated is None else stated
    found = ", ".join(str(entry.text("name")) for entry in entries)
    raise by_feature.fault("noise_sigma", f"expected an entry for the input {input_name!r}, found {found}")


def _top_k(parameters: Block) -> int | None:
    top_k = parameters.count("top_k", -1, 2**31)
    if top_k == 0:
        raise parameters.fault("top_k", "expected a number of classes, or -1 for all; found 0")
    return top_k


def _indices(parameters: Block) -> tuple[int, ...] | None:
    found = parameters.values.get("output_indices")
    if found is None:
        return None
    flat = found if isinstance(found, list) else [found]
    # An entry of a one-dimensional output may be written as a list of one.
    plain = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in flat]
    whole = [
        int(one)
        for one in plain
        if isinstance(one, int | float) and not isinstance(one, bool) and float(one).is_integer()
    ]
    if len(whole) != len(plain) or not whole or min(whole) < 0:
        raise ConfigError(
            f"{parameters.where}: output_indices: expected a list of class indices from 0, found {found!r}"
        )
    return tuple(whole)


def _attribution(attributed: Attributed, input_name: str, output_name: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "baselineOutputValue": measured(attributed.baseline_score),
        "instanceOutputValue": measured(attributed.score),
        "featureAttributions": {input_name: payload(attributed)},
        "outputIndex": [attributed.target],
        "approximationError": measured(attributed.approx_error),
        "outputName": output_name,
    }
    if attributed.class_name is not None:
        answer["outputDisplayName"] = attributed.class_name
    return answer
