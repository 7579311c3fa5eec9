"""From a loaded SavedModel to one frozen graph with a picture tensor and a class tensor in it.

Signatures are chosen by what the file states of them. A SavedModel of TensorFlow 1 is one graph whose tensors
have names, "name:0"; one of TensorFlow 2 is a function a signature.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from audit._graph_nodes import attribute, narrow_places, operation_of, reduced_to, tensor_name
from audit.errors import ModelError
from pipelines.config import ModelConfig

PREPROCESS, MODEL = "xai_preprocess", "xai_model"
"""Signatures of a model made for explanations: file bytes to pictures, pictures to scores."""

_FLOAT, _UINT8, _STRING, _RESOURCE = 1, 4, 7, 20
"""Values of tensorflow.DataType."""
_RANKS = {_FLOAT: (4, None), _UINT8: (4, None), _STRING: (0, 1, None)}
_OTHER_TAGS = frozenset({"tpu", "gpu", "train"})


@dataclass(frozen=True)
class Stage:
    """A part of a frozen graph: the tensor that goes in, the one that comes out."""

    graph: Any
    start: str
    end: str


@dataclass(frozen=True)
class SavedGraph:
    """What a SavedModel comes to.

    Attributes:
        signature: its name; empty where tensors were named instead.
        networks: pictures to scores, the same function from different places; the first that can be used counts.
        preprocesses: file bytes to the pictures of each network; empty where pictures are given from outside.
    """

    signature: str
    networks: tuple[Stage, ...]
    preprocesses: tuple[Stage, ...]


def chosen_tags(stored: Any, asked: list[str] | None) -> Any:
    """The part of a SavedModel that is for serving on this kind of machine.

    Raises:
        ModelError: there is no such part, or more than one.
    """
    parts = {tuple(sorted(meta.meta_info_def.tags)): meta for meta in stored.meta_graphs}
    found = "; ".join(", ".join(tags) or "no tags" for tags in parts)
    if asked is not None:
        if tuple(sorted(asked)) not in parts:
            raise ModelError(f"it has no part with the tags {asked}; its parts have: {found}; set model.tags")
        return parts[tuple(sorted(asked))]
    if len(parts) == 1:
        return next(iter(parts.values()))
    serving = [meta for tags, meta in parts.items() if "serve" in tags and not _OTHER_TAGS.intersection(tags)]
    if len(serving) != 1:
        raise ModelError(f"it has {len(parts)} parts, with the tags: {found}; choose one with model.tags")
    return serving[0]


def saved_graph(loaded: Any, meta: Any, config: ModelConfig) -> SavedGraph:
    """The graph that a configuration asks for.

    Args:
        loaded: what tf.saved_model.load gives.
        meta: tensorflow.MetaGraphDef of the loaded part.
        config: `[model]`; `signature`, `input` and `output` choose.

    Raises:
        ModelError: what is asked for is not there, or it is not clear which signature, input or output is meant.
    """
    signatures = {
        name: signature for name, signature in meta.signature_def.items() if not name.startswith("__")
    }
    if _is_pair(signatures, config):
        return _pair(loaded, signatures, config)
    name = _chosen_signature(signatures, config)
    signature = signatures.get(name)
    graph, start, end = _frozen(
        loaded, name, signature, _input(signature, config), _output(signature, config)
    )
    if start.dtype.as_datatype_enum == _FLOAT:
        places, source = [start.name], _bytes_before(graph, start.name)
    elif start.dtype.as_datatype_enum == _STRING:
        places, source = _picture_places(graph, start.name, end.name)[::-1], start.name
    else:
        places, source = _picture_places(graph, start.name, end.name)[:1], None
    if not places:
        raise ModelError(
            f"between the input {start.name!r} and the first kernel no tensor of float pictures (N, height, width, 3) "
            f"carries all; set model.input to the name of one, or export {PREPROCESS} and {MODEL}"
        )
    preprocesses = [Stage(reduced_to(graph, place), source, place) for place in places] if source else []
    networks = [Stage(graph, place, end.name) for place in places]
    return SavedGraph(name, tuple(networks), tuple(preprocesses))


def _is_pair(signatures: Mapping[str, Any], config: ModelConfig) -> bool:
    """Whether the signatures made for explanations are there and nothing else is asked for."""
    if not {PREPROCESS, MODEL}.issubset(signatures) or config.signature not in (None, MODEL):
        return False
    return config.input is None or config.input in signatures[MODEL].inputs


def _pair(loaded: Any, signatures: Mapping[str, Any], config: ModelConfig) -> SavedGraph:
    """The network of `xai_model`, fed by `xai_preprocess`."""
    model, preprocess = signatures[MODEL], signatures[PREPROCESS]
    key = _input(model, config)
    given = list(preprocess.outputs)
    if key not in given and len(given) != 1:
        raise ModelError(
            f"{PREPROCESS} gives {', '.join(sorted(given))}, {MODEL} takes {key!r}; export them with one name for "
            "the picture"
        )
    network, start, end = _frozen(loaded, MODEL, model, key, _output(model, config))
    picture = key if key in given else given[0]
    files = [name for name, found in preprocess.inputs.items() if found.dtype == _STRING]
    if len(files) != 1:
        raise ModelError(f"{PREPROCESS} takes {_listed(preprocess.inputs)}; expected one input of file bytes")
    graph, source, made = _frozen(loaded, PREPROCESS, preprocess, files[0], picture)
    return SavedGraph(MODEL, (Stage(network, start.name, end.name),), (Stage(graph, source.name, made.name),))


def _chosen_signature(signatures: Mapping[str, Any], config: ModelConfig) -> str:
    """The signature that is named or has what is named, else the one that takes pictures; "" if tensors are."""
    if config.signature is not None:
        if config.signature not in signatures:
            raise ModelError(
                f"it has no signature {config.signature!r}{_near(config.signature, signatures)}; set model.signature"
            )
        return config.signature
    order = sorted(
        signatures,
        key=lambda name: (
            config.input is not None and config.input not in signatures[name].inputs,
            config.output is not None and config.output not in signatures[name].outputs,
            _kind(signatures[name]),
            name != "serving_default",
            name != "serve",
            name,
        ),
    )
    if order and (config.input is not None or _kind(signatures[order[0]]) < len(_RANKS)):
        _check_no_tie(signatures, order)
        return order[0]
    if config.input is not None and config.output is not None:
        return ""
    found = "; ".join(f"{name}: {_listed(signatures[name].inputs)}" for name in sorted(signatures)) or "none"
    raise ModelError(
        f"expected a signature with one float input (N, height, width, 3), or one of file bytes; found {found}; "
        "a graph without such a signature needs model.input and model.output, names of its tensors"
    )


def _check_no_tie(signatures: Mapping[str, Any], order: list[str]) -> None:
    """Refuses to choose by the alphabet between signatures that both take pictures and give other tensors."""
    first = order[0]
    if first in ("serving_default", "serve"):
        return
    chosen = {found.name for found in signatures[first].outputs.values()}
    for other in order[1:]:
        is_same_kind = _kind(signatures[other]) == _kind(signatures[first])
        if is_same_kind and chosen != {found.name for found in signatures[other].outputs.values()}:
            raise ModelError(
                f"expected one signature of pictures, or one named serving_default; found {first} and {other}; "
                "choose one with model.signature"
            )


def _kind(signature: Any) -> int:
    """0 for a signature of float pictures, 1 for one of uint8 pictures, 2 for one of file bytes, 3 for any other."""
    pictures = [found.dtype for found in signature.inputs.values() if _is_picture(found)]
    return min((list(_RANKS).index(dtype) for dtype in pictures), default=len(_RANKS))


def _is_picture(found: Any) -> bool:
    return _rank(found) in _RANKS.get(found.dtype, ())


def _rank(found: Any) -> int | None:
    return None if found.tensor_shape.unknown_rank else len(found.tensor_shape.dim)


def _input(signature: Any, config: ModelConfig) -> str:
    """The input that is named, else the only one that can be a picture."""
    if config.input is not None:
        return config.input
    pictures = [name for name, found in signature.inputs.items() if _is_picture(found)]
    if len(pictures) != 1:
        raise ModelError(
            f"the signature takes {_listed(signature.inputs)}; choose the picture with model.input"
        )
    return str(pictures[0])


def _output(signature: Any, config: ModelConfig) -> str:
    """The output that is named, else the only one that can be scores of classes."""
    if config.output is not None:
        return config.output
    if signature is None:
        raise ModelError("model.input names a tensor of a graph without signatures; name model.output too")
    floats = [name for name, found in signature.outputs.items() if found.dtype == _FLOAT]
    scores = [name for name in floats if _rank(signature.outputs[name]) in (0, 1, 2, None)] or floats
    if len(scores) != 1:
        raise ModelError(
            f"expected one output of float scores, the classes; found {_listed(signature.outputs)}; choose one with "
            "model.output"
        )
    return str(scores[0])


def _listed(tensors: Mapping[str, Any]) -> str:
    """What a signature takes or gives, for a message."""
    import tensorflow as tf

    words = []
    for name, found in sorted(tensors.items()):
        sizes = [axis.size if axis.size >= 0 else None for axis in found.tensor_shape.dim]
        shape = "of any shape" if found.tensor_shape.unknown_rank else str(tuple(sizes))
        words.append(f"{name} {tf.dtypes.as_dtype(found.dtype).name} {shape}")
    return ", ".join(words) or "nothing"


def _frozen(loaded: Any, name: str, signature: Any, start: str, end: str) -> tuple[Any, Any, Any]:
    """The GraphDef behind a signature without variables, and its tensors behind two names.

    Args:
        loaded: what tf.saved_model.load gives.
        name: of the signature; empty where there is none.
        signature: tensorflow.SignatureDef, or None.
        start, end: a name of the signature, or of a tensor.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    inputs = {key: found.name for key, found in signature.inputs.items()} if signature else {}
    outputs = {key: found.name for key, found in signature.outputs.items()} if signature else {}
    is_graph = hasattr(loaded, "prune")
    if is_graph:
        given = _tensor(loaded.graph, inputs.get(start, start), inputs, "model.input").name
        wanted = _tensor(loaded.graph, outputs.get(end, end), outputs, "model.output").name
        function = loaded.prune(_placeholders(loaded.graph, wanted), wanted)
    else:
        function = loaded.signatures[name]
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False, aggressive_inlining=True)
    if not is_graph:
        # The functions of a signature name their tensors anew, in the order of its keys.
        inputs = {key: _input_named(frozen.inputs, key) for key in inputs}
        outputs = {key: tensor.name for key, tensor in zip(sorted(outputs), frozen.outputs, strict=True)}
    graph = frozen.graph.as_graph_def()
    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(graph, name="")
    if is_graph and operation_of(given) not in {operation.name for operation in imported.get_operations()}:
        raise ModelError(f"the output {wanted!r} does not depend on the input {given!r}; name another pair")
    return (
        graph,
        _tensor(imported, inputs.get(start, start), inputs, "model.input"),
        _tensor(imported, outputs.get(end, end), outputs, "model.output"),
    )


def _input_named(tensors: Iterable[Any], key: str) -> str:
    """The input of a signature's function that is called `key`; the placeholder of a key has its name."""
    names = [tensor.name for tensor in tensors]
    fitting = [name for name in names if operation_of(name) == key]
    if not fitting and len(names) != 1:
        raise ModelError(f"the input {key!r} is not among those of its function, {', '.join(names)}")
    return str((fitting or names)[0])


def _placeholders(graph: Any, end: str) -> list[str]:
    """Inputs that a tensor of a graph depends on; variables are none."""
    part = reduced_to(graph.as_graph_def(), end)
    return [
        f"{node.name}:0"
        for node in part.node
        if node.op == "Placeholder" and attribute(node, "dtype").type != _RESOURCE
    ]


def _tensor(graph: Any, name: str, keys: Iterable[str], setting: str) -> Any:
    """A tensor of a graph."""
    try:
        return graph.get_tensor_by_name(tensor_name(name))
    except (KeyError, ValueError):
        known = [
            *keys,
            *(tensor.name for operation in graph.get_operations() for tensor in operation.outputs),
        ]
        raise ModelError(
            f"it has no tensor {name!r}{_near(name, known)}; set {setting} to a name of the signature or to a "
            "tensor's name, such as 'pixels:0'"
        ) from None


def _near(name: str, known: Iterable[str]) -> str:
    """The nearest names, for a message."""
    names = list(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5) or names[:3]
    return f"; the nearest are {', '.join(map(repr, near))}" if near else ""


def _bytes_before(graph: Any, picture: str) -> str | None:
    """The input of file bytes that a picture is made from inside the graph, if it is."""
    part = reduced_to(graph, picture)
    sources = [
        node.name
        for node in part.node
        if node.op == "Placeholder" and attribute(node, "dtype").type == _STRING
    ]
    return f"{sources[0]}:0" if len(sources) == 1 else None


def _picture_places(graph: Any, start: str, end: str) -> list[str]:
    """Tensors of float pictures before the first kernel that carry everything, in order."""
    import tensorflow as tf

    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(graph, name="")
    found = []
    for name in narrow_places({node.name: node for node in graph.node}, start, end):
        tensor = imported.get_tensor_by_name(name)
        is_picture = tensor.shape.rank in (4, None) and (
            tensor.shape.rank is None or tensor.shape[3] in (3, None)
        )
        if tensor.dtype == tf.float32 and is_picture:
            found.append(name)
    return found
