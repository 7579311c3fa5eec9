"""SavedModel folders: looked through before anything in them runs, then frozen into a plain graph."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audit.errors import ModelError
from audit.graph_network import GraphNetwork
from audit.network_ends import image_shape_of

MODEL_FILE = "saved_model.pb"

_EFFECTS = frozenset(
    {
        *("ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc", "RemoteCall"),
        *("WholeFileReader", "WholeFileReaderV2", "TextLineReader", "TextLineReaderV2", "TFRecordReader"),
        *("TFRecordReaderV2", "FixedLengthRecordReader", "FixedLengthRecordReaderV2", "TextLineDataset"),
        *("TFRecordDataset", "TFRecordDatasetV2", "FixedLengthRecordDataset", "FixedLengthRecordDatasetV2"),
        *(
            "SaveDataset",
            "SaveDatasetV2",
            "LoadDataset",
            "SnapshotDataset",
            "SnapshotDatasetV2",
            "CacheDataset",
        ),
        *("CacheDatasetV2", "LMDBDataset", "SqlDataset", "RegisterDataset", "DataServiceDataset"),
        *("DataServiceDatasetV2", "DataServiceDatasetV3", "DataServiceDatasetV4", "DebugIdentity"),
        *("DebugIdentityV2", "DebugIdentityV3", "CreateSummaryFileWriter", "CreateSummaryDbWriter"),
        *("Save", "SaveSlices", "DeleteFile"),
    }
)
"""Operations that read or write files, open connections or call Python; a classifier needs none of them."""
_SAVERS = frozenset(
    {"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename", "Restore", "RestoreSlice"}
)
"""Operations of the part that stores and restores weights; legitimate there, not in what is called."""


def is_saved_model(path: Path) -> bool:
    """Whether `path` is a folder that TensorFlow exported."""
    return (path / MODEL_FILE).is_file()


def load_network(
    path: Path, image_shape: tuple[int, int] | None, outputs: str, *, is_trusted: bool
) -> GraphNetwork:
    """The network of a SavedModel's image signature.

    Args:
        path: the folder.
        image_shape: height and width where the signature leaves them open.
        outputs: "auto", "softmax", "sigmoid" or "logits".
        is_trusted: run operations that reach beyond the model.

    Raises:
        ModelError: damaged, of another form, or with operations that reach beyond the model.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    refuse_effects(path, is_trusted=is_trusted)
    try:
        loaded = tf.saved_model.load(str(path))
        signature = _image_signature(loaded.signatures)
        frozen = convert_variables_to_constants_v2(
            signature, lower_control_flow=False, aggressive_inlining=True
        )
        graph = frozen.graph.as_graph_def()
        if not is_trusted:
            _refuse(_operations(graph), _EFFECTS | _SAVERS)
        shape = image_shape_of(tuple(frozen.inputs[0].shape.as_list()), image_shape)
        return GraphNetwork(graph, _ends(frozen), shape, outputs)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except (
        OSError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        RuntimeError,
        tf.errors.OpError,
    ) as error:
        raise ModelError(f"{path}: cannot be loaded as a SavedModel: {one_line(str(error))}") from None


def refuse_effects(path: Path, *, is_trusted: bool) -> None:
    """Looks through the operations of a SavedModel without running or loading anything.

    Args:
        path: the folder.
        is_trusted: accept operations that reach beyond the model; unknown ones are refused all the same.

    Raises:
        ModelError: the file is damaged, or has operations that read or write files or call Python, or that
            this TensorFlow does not know; the message names one.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.framework import op_def_registry

    try:
        stored = saved_model_pb2.SavedModel.FromString((path / MODEL_FILE).read_bytes())
    except (OSError, DecodeError, zlib.error) as error:
        raise ModelError(
            f"{path / MODEL_FILE}: damaged: {one_line(str(error))}; export the model again"
        ) from None
    if not stored.meta_graphs:
        raise ModelError(
            f"{path / MODEL_FILE}: expected an exported model, found no graph in it; export it again"
        )
    for meta in stored.meta_graphs:
        operations = list(_operations(meta.graph_def))
        if not is_trusted:
            try:
                _refuse(operations, _EFFECTS)
            except ModelError as error:
                raise ModelError(f"{path}: {error}") from None
        functions = {function.signature.name for function in meta.graph_def.library.function}
        for node in operations:
            if node.op not in functions and op_def_registry.get(node.op) is None:
                raise ModelError(
                    f"{path}: the operation {node.op!r} ({node.name}) is not part of TensorFlow; "
                    "export the model without custom operations"
                )


def one_line(text: str) -> str:
    """The first line of another library's message that is not empty, at most 300 characters."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")[:300]


def _operations(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of its functions."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _refuse(operations: Any, refused: frozenset[str]) -> None:
    for node in operations:
        # Printing is harmless, except into a file.
        is_print_to_file = node.op == "PrintV2" and node.attr["output_stream"].s.startswith(b"file:")
        if node.op in refused or is_print_to_file:
            raise ModelError(
                f"the operation {node.op!r} ({node.name}) reaches beyond the model, to files or to Python; "
                "if you made this model yourself, set model.trust = true"
            )


def _image_signature(signatures: Any) -> Any:
    """The signature that takes images: the serving one if it does, else the only one that does."""
    names = sorted(signatures, key=lambda name: (name != "serving_default", name != "serve", name))
    for name in names:
        tensors = list(signatures[name].structured_input_signature[1].values())
        if len(tensors) == 1 and tensors[0].shape.rank == 4 and tensors[0].dtype.is_floating:
            return signatures[name]
    found = "; ".join(f"{name}: {_tensors(signatures[name])}" for name in names) or "none"
    raise ModelError(f"expected a signature with one float input (N, height, width, 3); found {found}")


def _tensors(signature: Any) -> str:
    """What a signature takes, for a message."""
    tensors = signature.structured_input_signature[1].values()
    return ", ".join(f"{tensor.dtype.name} {tensor.shape}" for tensor in tensors)


def _ends(frozen: Any) -> tuple[str, str]:
    """Names of the image tensor and of the class tensor."""
    outputs = [tensor for tensor in frozen.outputs if tensor.dtype.is_floating]
    if len(frozen.inputs) != 1 or len(outputs) != 1:
        found = f"{len(frozen.inputs)} inputs and {len(outputs)} outputs"
        raise ModelError(f"expected one input, the image, and one output, the classes; found {found}")
    return frozen.inputs[0].name, outputs[0].name
