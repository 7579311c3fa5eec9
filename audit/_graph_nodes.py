"""A frozen TensorFlow graph looked through: where it can be cut, where it ends, its feature maps, its kernels."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from audit.errors import ModelError

SCOPE = "audited"
"""Name under which a graph is imported."""

_CUT = "audited_input"
"""Name of the placeholder where a graph is cut."""
_FORWARDING = frozenset({"Identity", "Reshape", "Squeeze", "ExpandDims", "Snapshot", "StopGradient"})
"""Operations between an activation and the output that move no value to another class."""


def is_spatial(shape: tuple[int | None, ...]) -> bool:
    if len(shape) != 4 or None in shape[1:]:
        return False
    return int(shape[1] or 0) * int(shape[2] or 0) > 1


def before_activation(nodes: Mapping[str, Any], output: str) -> tuple[str, str | None]:
    """Tensor before the final softmax or sigmoid of a graph, and which it was."""
    name = output
    while True:
        node = nodes[operation_of(name)]
        if node.op in ("Softmax", "Sigmoid"):
            return tensor_name(node.input[0]), node.op.lower()
        if node.op not in _FORWARDING:
            return output, None
        name = tensor_name(node.input[0])


def attribute(node: Any, name: str) -> Any:
    """An attribute of a node, empty where it has none; looking it up in the node itself would add an empty one."""
    import tensorflow as tf

    return node.attr[name] if name in node.attr else tf.compat.v1.AttrValue()


def ends_in_a_sum(nodes: Mapping[str, Any], output: str) -> bool:
    """Whether the last operation that counts is a linear layer's, so that the outputs are no probabilities."""
    node = nodes[operation_of(output)]
    while node.op in _FORWARDING:
        node = nodes[operation_of(node.input[0])]
    return node.op in _KERNEL_OPERATIONS or node.op in ("BiasAdd", "Add", "AddV2")


def tensor_name(name: str) -> str:
    """A tensor's full name, "operation:index"; graphs leave ":0" away."""
    return name if ":" in name else f"{name}:0"


def between(graph: Any, start: str, end: str) -> tuple[Any, str]:
    """What lies between two tensors of a frozen graph.

    Control edges are left out: what they order, such as checks of the part before the cut, has no value that
    the end depends on.

    Args:
        graph: tf.compat.v1.GraphDef.
        start: tensor that becomes the input.
        end: tensor that is the output.

    Returns:
        GraphDef of the operations that `end` depends on once `start` is given, and the input's name in it.

    Raises:
        ModelError: `end` does not depend on `start`, or on another input too.
    """
    import tensorflow as tf

    nodes = {node.name: node for node in graph.node}
    way = on_the_way(nodes, start, end)
    if operation_of(end) not in way:
        raise ModelError(f"the output {end!r} does not depend on the input {start!r}; name another pair")
    if operation_of(start) == operation_of(end):
        raise ModelError(f"the input {start!r} and the output {end!r} are one tensor; name another pair")
    is_input = nodes[operation_of(start)].op == "Placeholder"
    given = start if is_input else f"{_CUT}:0"
    part = tf.compat.v1.GraphDef(versions=graph.versions, library=graph.library)
    if not is_input:
        part.node.add(name=_CUT, op="Placeholder").attr["dtype"].type = _FLOAT
    for node in graph.node:
        copied = part.node.add()
        copied.CopyFrom(node)
        sources = [name for name in node.input if not name.startswith("^")]
        copied.input[:] = [given if tensor_name(name) == start else name for name in sources]
    part = reduced_to(part, end)
    others = [
        node.name for node in part.node if node.op == "Placeholder" and node.name != operation_of(given)
    ]
    if others:
        raise ModelError(
            f"the output {end!r} depends on {start!r} and also on {others[0] + ':0'!r}, which nothing gives; "
            "export the model with one input, the image"
        )
    return part, given


def reduced_to(graph: Any, *ends: str) -> Any:
    """GraphDef of the operations that the tensors `ends` depend on, in their order."""
    nodes = {node.name: node for node in graph.node}
    kept = _reached(
        list(map(operation_of, ends)), lambda name: [operation_of(source) for source in nodes[name].input]
    )
    part = type(graph)(versions=graph.versions, library=graph.library)
    part.node.extend(node for node in graph.node if node.name in kept)
    return part


def narrow_places(nodes: Mapping[str, Any], start: str, end: str) -> list[str]:
    """Tensors that every path from `start` to `end` goes through, in order, as far as the first kernel.

    In any order of work in which sources come first, such a tensor is at some time the only one that is
    still waited for: what comes before it is done, what comes after it reads nothing else.
    """
    way = on_the_way(nodes, start, end)
    inputs = {name: [tensor_name(source) for source in _forward_inputs(nodes, nodes[name])] for name in way}
    unread = Counter(source for name in way for source in inputs[name] if operation_of(source) in way)
    waiting = {name: sum(operation_of(source) in way for source in inputs[name]) for name in way}
    ready = [operation_of(start)]
    readers: dict[str, list[str]] = {}
    for name in sorted(way):
        for source in inputs[name]:
            readers.setdefault(operation_of(source), []).append(name)
    opened: Counter[str] = Counter()
    found = []
    while ready:
        name = ready.pop()
        if nodes[name].op in _KERNEL_OPERATIONS:
            break
        opened.subtract(source for source in inputs[name] if operation_of(source) in way)
        opened.update({tensor: n for tensor, n in unread.items() if operation_of(tensor) == name})
        opened = +opened
        if len(opened) == 1:
            found.append(next(iter(opened)))
        for reader in readers.get(name, []):
            waiting[reader] -= 1
            if waiting[reader] == 0:
                ready.append(reader)
    return found


_KERNEL_OPERATIONS = frozenset(
    {"Conv2D", "DepthwiseConv2dNative", "Conv3D", "MatMul", "BatchMatMul", "BatchMatMulV2", "Einsum"}
)
"""Operations that only the network itself has, not what prepares its input."""


def _forward_inputs(nodes: Mapping[str, Any], node: Any) -> list[str]:
    """Inputs of a node without control edges and without the backward edges of loops."""
    return [
        name
        for name in node.input
        if not name.startswith("^") and nodes[operation_of(name)].op != "NextIteration"
    ]


def on_the_way(nodes: Mapping[str, Any], start: str, end: str) -> set[str]:
    """Names of the operations that depend on `start` and that `end` depends on."""
    readers: dict[str, list[str]] = {}
    for node in nodes.values():
        for name in node.input:
            readers.setdefault(operation_of(name), []).append(node.name)
    ahead = _reached([operation_of(start)], lambda name: readers.get(name, []))
    behind = _reached(
        [operation_of(end)], lambda name: [operation_of(source) for source in nodes[name].input]
    )
    return ahead & behind


def operation_of(tensor: str) -> str:
    """Name of the operation that makes a tensor, or that a control edge starts from."""
    return tensor.lstrip("^").partition(":")[0]


def _reached(start: list[str], neighbours: Callable[[str], list[str]]) -> set[str]:
    found = set(start)
    waiting = list(start)
    while waiting:
        new = [name for name in neighbours(waiting.pop()) if name not in found]
        found.update(new)
        waiting.extend(new)
    return found


def spatial_operations(traced: Any, way: set[str]) -> Iterator[str]:
    """Operations on the way whose first output is (N, h, w, C) with h * w > 1, in topological order."""
    found: dict[str, None] = {}
    for operation in traced.get_operations():
        scope, _, name = operation.name.partition("/")
        if scope.startswith(SCOPE) and name in way and operation.type not in ("Identity", "Placeholder"):
            tensor = operation.outputs[0] if operation.outputs else None
            if tensor is not None and tensor.dtype.is_floating and is_spatial(tuple(tensor.shape)):
                found[name] = None
    yield from found


def kernels(nodes: Mapping[str, Any], way: set[str]) -> Iterator[str]:
    """Constants of two or more dimensions that operations on the way read, in the order of the graph."""
    found: dict[str, None] = {}
    for node in nodes.values():
        if node.name in way:
            for name in map(operation_of, node.input):
                while nodes[name].op == "Identity":
                    name = operation_of(nodes[name].input[0])
                value = nodes[name].attr["value"].tensor if nodes[name].op == "Const" else None
                if (
                    value is not None
                    and value.dtype == _FLOAT
                    and _is_kernel([d.size for d in value.tensor_shape.dim])
                ):
                    found[name] = None
    yield from found


_FLOAT = 1
"""DT_FLOAT."""


def _is_kernel(shape: Sequence[int]) -> bool:
    """Whether a constant of this shape has at least two axes longer than 1, or one and a window."""
    return len(shape) >= 2 and sum(size > 1 for size in shape) >= 2
