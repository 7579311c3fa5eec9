"""SavedModel folders: looked through before anything in them runs, then frozen into a plain graph."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audit.errors import ModelError
from audit.graph_network import GraphNetwork
from audit.network_ends import image_shape_of
from pipelines.config import ModelConfig
from pipelines.own_inputs import OwnInputs, Read, measured
from pipelines.saved_graphs import SavedGraph, Stage, chosen_tags, saved_graph

MODEL_FILE = "saved_model.pb"

_EFFECT_NAMES = """
    CSVDataset CSVDatasetV2 CacheDataset CacheDatasetV2 CreateSummaryDbWriter CreateSummaryFileWriter
    DTensorRestoreV2 DataServiceDataset DataServiceDatasetV2 DataServiceDatasetV3 DataServiceDatasetV4
    DatasetToTFRecord DebugIdentity DebugIdentityV2 DebugIdentityV3 DistributedSave DumpTensor EagerPyFunc
    ExperimentalCSVDataset ExperimentalDatasetToTFRecord ExperimentalLMDBDataset
    ExperimentalMatchingFilesDataset ExperimentalSqlDataset FileSystemSetConfiguration
    FixedLengthRecordDataset FixedLengthRecordDatasetV2 FixedLengthRecordReader FixedLengthRecordReaderV2
    ImportEvent LMDBDataset LMDBReader ListSnapshotChunksDataset LoadAndRemapMatrix LoadDataset MatchingFiles
    MatchingFilesDataset PyFunc PyFuncStateless ReadFile RegisterDataset RegisterDatasetV2 RemoteCall RpcCall
    RpcCheckStatus RpcClient RpcGetValue RpcServer RpcServerRegister RpcServerStart Save SaveDataset
    SaveDatasetV2 SaveSlices SnapshotChunkDataset SnapshotDataset SnapshotDatasetReader SnapshotDatasetV2
    SnapshotNestedDatasetReader SqlDataset StatsAggregatorSetSummaryWriter SummaryWriter TFRecordDataset
    TFRecordDatasetV2 TFRecordReader TFRecordReaderV2 TextLineDataset TextLineReader TextLineReaderV2
    WholeFileReader WholeFileReaderV2 WriteAudioSummary WriteFile WriteGraphSummary WriteHistogramSummary
    WriteImageSummary WriteRawProtoSummary WriteScalarSummary WriteSummary
"""
_EFFECTS = frozenset(_EFFECT_NAMES.split())
"""Operations that read or write files, open connections or call Python; a classifier needs none of them."""
_SAVERS = frozenset(
    {"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename", "Restore", "RestoreSlice"}
)
"""Operations of the part that stores and restores weights; legitimate there, not in what is called."""


def is_saved_model(path: Path) -> bool:
    """Whether `path` is a folder that TensorFlow exported."""
    return (path / MODEL_FILE).is_file()


@dataclass(frozen=True)
class SavedNetwork:
    """What a SavedModel comes to.

    Attributes:
        network: pictures to scores.
        own_inputs: the model's own preprocessing, where it has one; pictures then go through it.
        signature: name of its signature; empty where tensors were named.
    """

    network: GraphNetwork
    own_inputs: OwnInputs | None
    signature: str


def load_network(config: ModelConfig) -> SavedNetwork:
    """The network of a SavedModel.

    Args:
        config: `[model]`; `trust` runs operations that reach beyond the model, `signature`, `input`, `output` and
            `tags` choose a part of it.

    Raises:
        ModelError: damaged, of another form, or with operations that reach beyond the model.
    """
    import tensorflow as tf

    path = config.path
    stored = looked_through(path, is_trusted=config.trust)
    try:
        meta = chosen_tags(stored, config.tags)
        found = saved_graph(tf.saved_model.load(str(path), tags=list(meta.meta_info_def.tags)), meta, config)
        if not config.trust:
            for stage in (*found.networks[:1], *found.preprocesses[:1]):
                _refuse(_operations(stage.graph), _EFFECTS | _SAVERS)
        stage, own = _own(found)
        shape = own.target if own else _stated_shape(stage, config)
        network = GraphNetwork(stage.graph, (stage.start, stage.end), shape, config.outputs)
        return SavedNetwork(network, own, found.signature)
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


def _own(found: SavedGraph) -> tuple[Stage, OwnInputs | None]:
    """The first network that can be fed, and what feeds it where that is the model's own work.

    Networks that start at another place of one graph are one function; which of them is taken changes no map.
    """
    if not found.preprocesses:
        return found.networks[0], None
    refusals = []
    for network, preprocess in zip(found.networks, found.preprocesses, strict=True):
        try:
            return network, measured(_reader(preprocess))
        except ModelError as error:
            refusals.append(error)
    raise refusals[-1]


def _reader(stage: Stage) -> Read:
    """The function of file bytes that a stage is."""
    import tensorflow as tf

    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(stage.graph, name="")
    shape = imported.get_tensor_by_name(stage.start).shape
    is_one = shape.rank == 0

    def decode(files: Any) -> Any:
        (pictures,) = tf.graph_util.import_graph_def(
            stage.graph, input_map={stage.start: files}, return_elements=[stage.end], name="preprocess"
        )
        return pictures

    traced = tf.function(decode, autograph=False).get_concrete_function(
        tf.TensorSpec(() if is_one else (1,), tf.string)
    )

    def read(file: bytes) -> np.ndarray:
        pictures = np.asarray(traced(tf.constant(file if is_one else [file])).numpy(), dtype=np.float32)
        return pictures[0] if pictures.ndim == 4 else pictures

    return read


def _stated_shape(stage: Stage, config: ModelConfig) -> tuple[int, int]:
    """Height and width of the pictures that a stage takes."""
    import tensorflow as tf

    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(stage.graph, name="")
    shape = imported.get_tensor_by_name(stage.start).shape
    stated = (None,) * 4 if shape.rank is None else tuple(shape.as_list())
    return image_shape_of(stated, config.input_size)


def looked_through(path: Path, *, is_trusted: bool) -> Any:
    """Looks through the operations of a SavedModel without running or loading anything.

    Args:
        path: the folder.
        is_trusted: accept operations that reach beyond the model; unknown ones are refused all the same.

    Returns:
        tensorflow.SavedModel, as stored.

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
    return stored


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
