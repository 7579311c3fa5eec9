"""A frozen TensorFlow graph looked through: where it ends, its feature maps, its kernels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

SCOPE = "audited"
"""Name under which a graph is imported."""


def is_spatial(shape: tuple[int | None, ...]) -> bool:
    if len(shape) != 4 or None in shape[1:]:
        return False
    return int(shape[1] or 0) * int(shape[2] or 0) > 1


def before_activation(nodes: Mapping[str, Any], output: str) -> tuple[str, str | None]:
    """Tensor before the final softmax or sigmoid of a graph, and which it was."""
    name = output
    while True:
        node = nodes[name.partition(":")[0]]
        if node.op in ("Softmax", "Sigmoid"):
            return _tensor(node.input[0]), node.op.lower()
        if node.op != "Identity":
            return output, None
        name = _tensor(node.input[0])


def _tensor(name: str) -> str:
    """A tensor's full name, "operation:index"; graphs leave ":0" away."""
    return name if ":" in name else f"{name}:0"


def on_the_way(nodes: Mapping[str, Any], start: str, end: str) -> set[str]:
    """Names of the operations that depend on `start` and that `end` depends on."""
    readers: dict[str, list[str]] = {}
    for node in nodes.values():
        for name in node.input:
            readers.setdefault(_operation(name), []).append(node.name)
    ahead = _reached([_operation(start)], lambda name: readers.get(name, []))
    behind = _reached([_operation(end)], lambda name: [_operation(source) for source in nodes[name].input])
    return ahead & behind


def _operation(tensor: str) -> str:
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
            for name in map(_operation, node.input):
                while nodes[name].op == "Identity":
                    name = _operation(nodes[name].input[0])
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
