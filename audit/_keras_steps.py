"""A Keras model taken apart: the calls of its layers, nested models in their place, in the order they run."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

INPUT = 0
"""Key of the input among the values of a walk."""
_FORWARDING = frozenset({"Reshape", "Flatten", "Squeeze"})
"""Operations between an activation and the output that move no value to another class."""


@dataclass(frozen=True)
class Step:
    """One call of a Keras operation; values are known by keys.

    Attributes:
        name: of the layer, with the models it is nested in: "backbone/top_activation".
        operation: layer or operation.
        arguments: the recorded arguments, or None for a plain call of one value.
        reads: id of a recorded symbolic tensor -> key of the value that takes its place.
        writes: keys of the outputs.
    """

    name: str
    operation: Any
    arguments: Any
    reads: Mapping[int, int]
    writes: tuple[int, ...]


@dataclass(frozen=True)
class Fold:
    """Constants in place of a batch norm: of the step before it, or of a multiply-add (`source` None)."""

    source: int | None
    scale: Any
    offset: Any


def whole(model: Any) -> Step:
    return Step(model.name, model, None, {INPUT: INPUT}, (1,))


def taken_apart(model: Any) -> tuple[tuple[Step, ...], int, str | None]:
    """Steps of a model without its final activation, key of the output, and the activation."""
    function = _function(model)
    if function is None:
        return (whole(model),), 1, None
    steps: list[Step] = []
    (output,) = _inlined(function, [INPUT], "", steps, itertools.count(1))
    without, output, activation = _without_activation(_uniquely_named(steps), output)
    return _leading_to(output, without), output, activation


def _function(operation: Any) -> Any:
    """The recorded graph of a Functional or Sequential model with one input; None for anything else."""
    import keras

    function = (
        getattr(operation, "_functional", None) if isinstance(operation, keras.Sequential) else operation
    )
    if function is None or not hasattr(function, "_nodes_by_depth") or len(function.inputs) != 1:
        return None
    # A subclass with a call of its own does more than its graph says.
    return function if getattr(type(function).call, "__qualname__", "") == "Functional.call" else None


def _inlined(
    function: Any, inputs: Sequence[int], prefix: str, steps: list[Step], keys: Iterator[int]
) -> list[int]:
    """Appends the calls of a recorded graph to `steps`, nested graphs in place; returns the output keys."""
    places = {id(symbol): key for symbol, key in zip(function.inputs, inputs, strict=True)}
    for depth in sorted(function._nodes_by_depth, reverse=True):
        for node in function._nodes_by_depth[depth]:
            if node.is_input or any(id(symbol) not in places for symbol in node.input_tensors):
                continue
            reads = {id(symbol): places[id(symbol)] for symbol in node.input_tensors}
            inner = _function(node.operation)
            name = prefix + node.operation.name
            if inner is not None and len(reads) == 1:
                writes = _inlined(inner, list(reads.values()), f"{name}/", steps, keys)
            else:
                writes = [next(keys) for _ in node.outputs]
                steps.append(Step(name, node.operation, node.arguments, reads, tuple(writes)))
            places.update({id(symbol): key for symbol, key in zip(node.outputs, writes, strict=True)})
    return [places[id(symbol)] for symbol in function.outputs]


def _leading_to(output: int, steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps that the value `output` depends on, in their order."""
    needed = {output}
    found = []
    for step in reversed(steps):
        if needed.intersection(step.writes):
            needed.update(step.reads.values())
            found.append(step)
    return tuple(found[::-1])


def _uniquely_named(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Steps whose second, third ... call of one layer is named "layer@2", "layer@3"."""
    counts: dict[str, int] = {}
    named = []
    for step in steps:
        counts[step.name] = counts.get(step.name, 0) + 1
        count = counts[step.name]
        named.append(step if count == 1 else replace(step, name=f"{step.name}@{count}"))
    return tuple(named)


def _without_activation(steps: tuple[Step, ...], output: int) -> tuple[tuple[Step, ...], int, str | None]:
    """Steps without the final softmax or sigmoid, key of their output, and which it was."""
    producers = {key: index for index, step in enumerate(steps) for key in step.writes}
    end = output
    while output in producers:
        index = producers[output]
        step = steps[index]
        if (activation := _pure_activation(step.operation)) is not None:
            (output,) = step.reads.values()
            if activation != "linear":
                return steps, output, activation
        elif (activation := _own_activation(step.operation)) is not None:
            linear = replace(step, operation=_linear_twin(step.operation))
            return (*steps[:index], linear, *steps[index + 1 :]), output, activation
        elif type(step.operation).__name__ in _FORWARDING and len(step.reads) == 1:
            (output,) = step.reads.values()
        else:
            break
    return steps, end, None


def _pure_activation(operation: Any) -> str | None:
    """ "softmax", "sigmoid" or "linear", if the operation is nothing else."""
    import keras

    if isinstance(operation, keras.layers.Activation):
        return _activation_name(operation.activation)
    last_axis = getattr(operation, "axis", -1) in (-1, 1)
    if type(operation).__name__ == "Softmax" and last_axis:
        return "softmax"
    if type(operation).__name__ == "Sigmoid":
        return "sigmoid"
    return None


def _own_activation(operation: Any) -> str | None:
    """ "softmax" or "sigmoid", if a layer with weights applies it last."""
    import keras

    kinds = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Conv2D)
    name = _activation_name(operation.activation) if isinstance(operation, kinds) else None
    return None if name == "linear" else name


def _activation_name(function: Any) -> str | None:
    name = getattr(function, "__name__", None)
    return name if name in ("softmax", "sigmoid", "linear") else None


def _linear_twin(layer: Any) -> Any:
    """A copy of a layer without its activation; the layer itself belongs to the caller."""
    twin = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    twin.build_from_config(layer.get_build_config())
    twin.set_weights(layer.get_weights())
    return twin


def outputs_of(step: Step, values: Mapping[int, Any]) -> list[Any]:
    """Outputs of a step, computed by its operation as it stands, for inference."""
    import keras

    if step.arguments is None:
        return list(keras.tree.flatten(step.operation(values[INPUT], training=False)))
    args, kwargs = step.arguments.fill_in({symbol: values[key] for symbol, key in step.reads.items()})
    if isinstance(step.operation, keras.layers.Layer):
        kwargs = {**kwargs, "training": False}
    return list(keras.tree.flatten(step.operation(*args, **kwargs)))


def convolved(layer: Any, inputs: Any, fold: Fold) -> Any:
    """Output of a convolution or a dense layer with other constants."""
    import keras

    if isinstance(layer, keras.layers.Dense):
        return keras.ops.matmul(inputs, fold.scale) + fold.offset
    convolve = keras.ops.depthwise_conv if is_depthwise(layer) else keras.ops.conv
    outputs = convolve(
        inputs,
        fold.scale,
        strides=layer.strides,
        padding=layer.padding,
        data_format="channels_last",
        dilation_rate=layer.dilation_rate,
    )
    return outputs + fold.offset


def is_depthwise(layer: Any) -> bool:
    import keras

    return isinstance(layer, keras.layers.DepthwiseConv2D)


def is_foldable_norm(step: Step) -> bool:
    """Whether a step is a batch norm over the last axis, in float32, of one value."""
    import keras

    norm = step.operation
    if (
        type(norm) is not keras.layers.BatchNormalization
        or len(step.reads) != 1
        or norm.compute_dtype != "float32"
    ):
        return False
    return norm.axis in (-1, norm.input_spec.ndim - 1)


def takes_a_norm(layer: Any) -> bool:
    """Whether a linear layer can take a batch norm's scale into its kernel."""
    import keras

    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
    return (
        type(layer) in kinds
        and _activation_name(layer.activation) == "linear"
        and layer.compute_dtype == "float32"
        and getattr(layer, "quantization_mode", None) is None
    )


def variables_of(operation: Any) -> list[Any]:
    """Variables with floating point values; the state of random generators is none."""
    return [variable for variable in getattr(operation, "variables", ()) if "float" in str(variable.dtype)]
