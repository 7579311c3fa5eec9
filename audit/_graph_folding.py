"""Scales and offsets after a kernel of a frozen graph, taken into the kernel: batch norms cost nothing then.

A batch norm at inference multiplies each channel by a constant and adds another one. Behind a convolution or a
matrix product without activation between them, both are the convolution's own: its kernel scaled, and a bias.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from audit._graph_nodes import attribute, on_the_way, operation_of, reduced_to, tensor_name

Affine = tuple[Any, Any]
"""Scale and offset, float64, a number or one a channel."""

_KERNELS = ("Conv2D", "DepthwiseConv2dNative", "MatMul")
_NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
_SUMS, _PRODUCTS = ("AddV2", "Add", "BiasAdd"), ("Mul",)
_ONE, _NONE = np.float64(1), np.float64(0)


@dataclass(frozen=True)
class _Chain:
    """A kernel and the operations behind it that are affine with constants, each the only reader of the last.

    Attributes:
        kernel: the node that holds the kernel.
        steps: nodes behind it, with the tensors of their constants.
    """

    kernel: Any
    steps: tuple[tuple[Any, tuple[str, ...]], ...]


def folded(graph: Any, start: str, end: str) -> tuple[Any, frozenset[str]] | None:
    """A graph whose kernels have taken in what follows them.

    Args:
        graph: tf.compat.v1.GraphDef between `start` and `end`, without variables.
        start: tensor of the input.
        end: tensor of the output.

    Returns:
        The graph, in which the last operation of each chain keeps its name and its value, and the names of the
        operations that are no longer in it; None where there is nothing to take in. Constants are computed in
        float64 and rounded once.
    """
    nodes = {node.name: node for node in graph.node}
    way = on_the_way(nodes, start, end)
    chains = _chains(nodes, way, end)
    constants = _values(
        graph, {name for chain in chains for name in (_kernel_of(chain.kernel), *_constants_of(chain))}
    )
    replaced: dict[str, list[Any]] = {}
    absorbed: set[str] = set()
    for chain in chains:
        steps, affine = _taken_in(chain, constants)
        if steps:
            replaced[steps[-1].name] = _folded_nodes(chain.kernel, steps[-1].name, constants, affine)
            absorbed.update(node.name for node in (chain.kernel, *steps[:-1]))
    if not replaced:
        return None
    whole = type(graph)(versions=graph.versions, library=graph.library)
    for node in graph.node:
        whole.node.extend(replaced.get(node.name, [node]))
    return reduced_to(whole, end), frozenset(absorbed)


def _chains(nodes: Mapping[str, Any], way: set[str], end: str) -> list[_Chain]:
    """Kernels on the way that are constant, with what may follow them, each of at least one operation."""
    readers: dict[str, list[Any]] = {}
    for node in nodes.values():
        for source in node.input:
            readers.setdefault(operation_of(source), []).append(node)
    found = []
    for node in nodes.values():
        if node.name in way and node.op in _KERNELS and _is_plain(node, way):
            steps: list[tuple[Any, tuple[str, ...]]] = []
            last = node
            while last.name != operation_of(end) and len(readers.get(last.name, [])) == 1:
                (reader,) = readers[last.name]
                constants = _step_constants(reader, last.name, way)
                if constants is None:
                    break
                steps.append((reader, constants))
                last = reader
            if steps:
                found.append(_Chain(node, tuple(steps)))
    return found


def _is_plain(node: Any, way: set[str]) -> bool:
    """Whether a kernel is a constant float32 one with channels last."""
    is_last = attribute(node, "data_format").s in (b"", b"NHWC")
    is_constant = operation_of(node.input[1]) not in way and operation_of(node.input[0]) in way
    return bool(is_last and is_constant and attribute(node, "T").type == 1)


def _step_constants(node: Any, source: str, way: set[str]) -> tuple[str, ...] | None:
    """Constants of an operation that is affine in its one input `source`; None for any other operation."""
    inputs = list(node.input)
    is_constant = [operation_of(name) not in way for name in inputs]
    if node.op == "Identity":
        return ()
    if node.op in _NORMS:
        is_frozen = not attribute(node, "is_training").b and attribute(node, "data_format").s in (
            b"",
            b"NHWC",
        )
        is_known = tensor_name(inputs[0]) == f"{source}:0" and all(is_constant[1:])
        return tuple(map(tensor_name, inputs[1:5])) if is_frozen and is_known else None
    if len(inputs) != 2 or sum(is_constant) != 1:
        return None
    if node.op in (*_SUMS, *_PRODUCTS):
        return (tensor_name(inputs[is_constant.index(True)]),)
    # A constant minus, or divided by, the value is left alone.
    return (tensor_name(inputs[1]),) if node.op in ("Sub", "RealDiv") and is_constant[1] else None


def _constants_of(chain: _Chain) -> list[str]:
    return [name for _, constants in chain.steps for name in constants]


def _kernel_of(node: Any) -> str:
    return tensor_name(node.input[1])


def _values(graph: Any, names: set[str]) -> dict[str, np.ndarray]:
    """Values of tensors that depend on no input, by name."""
    import tensorflow as tf

    if not names:
        return {}
    ordered = sorted(names)
    reduced = reduced_to(graph, *ordered)

    def constants() -> Any:
        return tf.graph_util.import_graph_def(reduced, return_elements=ordered, name="")

    found = tf.function(constants, autograph=False).get_concrete_function()()
    return {name: value.numpy() for name, value in zip(ordered, found, strict=True)}


def _taken_in(chain: _Chain, constants: Mapping[str, np.ndarray]) -> tuple[list[Any], Affine]:
    """The steps up to the last that is affine a channel, and what they come to; none without any scale."""
    n_channels = _n_channels(chain.kernel, constants[_kernel_of(chain.kernel)])
    scale, offset = _ONE, _NONE
    steps, has_scale = [], False
    for node, names in chain.steps:
        values = [constants[name] for name in names]
        if not all(_is_a_channel(value, n_channels) for value in values):
            break
        own_scale, own_offset = _affine(node, [value.astype(np.float64).reshape(-1) for value in values])
        scale, offset = scale * own_scale, offset * own_scale + own_offset
        steps.append(node)
        has_scale = has_scale or own_scale is not _ONE
    return (steps if has_scale else []), (np.asarray(scale), np.asarray(offset))


def _is_a_channel(value: np.ndarray, n_channels: int) -> bool:
    """Whether a float32 constant is one number, or one a channel along the last axis."""
    return value.dtype == np.float32 and (
        value.size == 1 or (value.size == n_channels and value.shape[-1] == n_channels)
    )


def _affine(node: Any, values: Sequence[Any]) -> Affine:
    """Scale and offset of one operation."""
    if node.op == "Identity":
        return _ONE, _NONE
    if node.op in _NORMS:
        gamma, beta, mean, variance = values
        scale = gamma / np.sqrt(variance + attribute(node, "epsilon").f)
        return scale, beta - mean * scale
    (value,) = values
    if node.op == "Mul":
        return value, _NONE
    if node.op == "RealDiv":
        return 1.0 / value, _NONE
    return _ONE, (-value if node.op == "Sub" else value)


def _n_channels(node: Any, kernel: np.ndarray) -> int:
    if node.op == "DepthwiseConv2dNative":
        return int(kernel.shape[2] * kernel.shape[3])
    return int(kernel.shape[0] if attribute(node, "transpose_b").b else kernel.shape[-1])


def _folded_nodes(node: Any, name: str, constants: Mapping[str, np.ndarray], affine: Affine) -> list[Any]:
    """A kernel with a scale in it and a bias behind it, under the name of the last operation it stands for."""
    kernel = constants[_kernel_of(node)]
    scale, offset = (np.broadcast_to(value, _n_channels(node, kernel)) for value in affine)
    # The output channels of a depthwise kernel (h, w, C, multiplier) are its last two axes.
    shape: tuple[int, ...] = kernel.shape[2:] if node.op == "DepthwiseConv2dNative" else (-1,)
    if attribute(node, "transpose_b").b:
        shape = (-1, 1)
    scaled = _constant(f"{name}/kernel_folded", kernel.astype(np.float64) * scale.reshape(shape))
    bias = _constant(f"{name}/bias_folded", offset)
    product = type(node)()
    product.CopyFrom(node)
    product.name = f"{name}/folded"
    product.input[1] = scaled.name
    total = type(node)(name=name, op="BiasAdd", input=[product.name, bias.name])
    total.attr["T"].type = attribute(node, "T").type
    return [scaled, bias, product, total]


def _constant(name: str, value: np.ndarray) -> Any:
    import tensorflow as tf

    node = tf.compat.v1.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype=tf.float32))
    return node
