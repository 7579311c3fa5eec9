"""AI Platform: `explanation_metadata.json` beside the SavedModel, and answers with `attributions_by_label`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from pipelines.hosted._values import Answered, Attributed, HostedExplanation, HostedInput, HostedOutput

__all__ = ["AIPlatform"]

_DEFAULTS = {"clip_above_percentile": 100.0, "clip_below_percentile": 40.0}
"""The service showed the top 60 % where a file did not say."""

_TOP_KEYS = (
    "inputs",
    "outputs",
    "framework",
    "tags",
    "serving_sigdef_key",
    "sigdef_inputs",
    "preparer_version",
)
_INPUT_KEYS = (
    "input_tensor_name",
    "input_tensor_dtype",
    "input_tensor_type",
    "encoded_tensor_name",
    "encoded_tensor_dtype",
    "modality",
    "input_baselines",
    "encoded_baselines",
    "encoding",
    "domain",
    "visualization",
    "group_name",
)
_REFUSED_INPUT_KEYS = dict.fromkeys(
    (
        "indices_tensor_name",
        "indices_tensor_dtype",
        "dense_shape_tensor_name",
        "dense_shape_tensor_dtype",
        "index_feature_mapping",
        "weight_values_name",
        "weight_indices_name",
        "weight_dense_shape_name",
        "is_sequential",
    ),
    OF_TABLES,
) | {"gradient_tensor_names": "gradients are computed from the graph"}
_OUTPUT_KEYS = ("output_tensor_name", "output_tensor_dtype", "index_name_mapping", "index_name_mapping_key")


@dataclass(frozen=True)
class AIPlatform:
    """The older service."""

    def owns(self, document: Mapping[str, Any], file_name: str) -> bool:
        """Its files state a framework, and have one name."""
        return "framework" in document or file_name == "explanation_metadata.json"

    def read(self, document: Mapping[str, Any], where: str) -> HostedExplanation:
        """See HostedService."""
        refused = {"embeddings": OF_TABLES}
        top = block_of(document, where, _TOP_KEYS, refused)
        if top.word("framework", ("tensorflow", "tensorflow2")) is None:
            raise top.fault("framework", "is missing; expected tensorflow or tensorflow2")
        signature, tags = top.text("serving_sigdef_key"), top.texts("tags")
        return HostedExplanation("ai_platform", _input(top), _output(top), signature=signature, tags=tags)

    def answer(self, answered: Sequence[Answered], *, input_name: str, output_name: str) -> dict[str, Any]:
        """See HostedService."""
        return {
            "explanations": [
                {
                    "attributions_by_label": [
                        _by_label(attributed, input_name, output_name) for attributed in one.attributions
                    ]
                }
                for one in answered
            ]
        }


def _input(top: Block) -> HostedInput:
    name, values = the_only(top.named("inputs"), top, "inputs")
    block = block_of(values, f"{top.where}.inputs.{name}", _INPUT_KEYS, _REFUSED_INPUT_KEYS)
    block.word("encoding", ("identity",))
    is_image = block.word("modality", ("image", "numeric")) == "image"
    visualization = block.block("visualization", DRAWING_KEYS)
    drawing = _drawing(block, visualization, is_image)
    if {"input_baselines", "encoded_baselines"} <= block.values.keys():
        raise block.fault("encoded_baselines", "excludes 'input_baselines'; keep one")
    key = "encoded_baselines" if "encoded_baselines" in block.values else "input_baselines"
    # Attributions are taken at the encoded tensor where there is one.
    tensor = block.text("encoded_tensor_name") or block.text("input_tensor_name")
    domain = domain_of(
        block.block("domain", ("min", "max", "original_mean", "original_stddev")), ("min", "max")
    )
    return HostedInput(
        name,
        tensor,
        is_image,
        baselines_of(block, key),
        **domain,
        drawing=drawing,
        drawing_defaults=_DEFAULTS,
    )


def _drawing(block: Block, visualization: Block | None, is_image: bool) -> dict[str, Any]:
    if visualization is None:
        return {}
    if not is_image:
        raise block.fault(
            "modality", "expected 'image', since a visualization is asked for; the default is 'numeric'"
        )
    if visualization.text("type") is None:
        raise visualization.fault("type", "is missing; expected pixels or outlines")
    drawing = drawing_of(visualization, "pixels")
    require_drawable(visualization, drawing, _DEFAULTS)
    return drawing


def _output(top: Block) -> HostedOutput:
    name, values = the_only(top.named("outputs"), top, "outputs")
    block = block_of(values, f"{top.where}.outputs.{name}", _OUTPUT_KEYS)
    names, key = block.texts("index_name_mapping"), block.text("index_name_mapping_key")
    if names and key:
        raise block.fault("index_name_mapping_key", "excludes 'index_name_mapping'; keep one")
    return HostedOutput(name, block.text("output_tensor_name"), names, key)


def _by_label(attributed: Attributed, input_name: str, output_name: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "attributions": {input_name: payload(attributed)},
        "label_index": attributed.target,
        "output_name": output_name,
        "example_score": measured(attributed.score),
        "baseline_score": measured(attributed.baseline_score),
        "approx_error": measured(attributed.approx_error),
    }
    return answer if attributed.class_name is None else {**answer, "label_name": attributed.class_name}
