"""A model file becomes a Classifier: loaded in safe mode, with its class names and its preprocessing."""

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.classifier import Classifier, Head, Preprocessing
from audit.errors import ConfigError, ModelError
from pipelines.config import ModelConfig

if TYPE_CHECKING:
    from audit.graph_network import GraphNetwork
    from audit.keras_network import KerasNetwork
    from pipelines.own_inputs import OwnInputs

CLASS_FILES = ("classes.txt", "class_names.txt", "labels.txt")
"""Names under which class names are found beside a model, after `<stem>.classes.txt`."""

_TORCH_MEAN, _TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE_MEAN = (103.939, 116.779, 123.68)
"""Blue, green, red, in 0 to 255."""
_FOREIGN = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    ImportError,
    EOFError,
    AssertionError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What Keras raises over a file that it cannot load; the file decides which."""
_LARGEST_PACKING, _SMALLEST_BOMB = 100, 2**27
"""Keras packs nothing; an archive that unpacks to more than so many times its bytes, and to so many, is a trap."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to be audited.

    Attributes:
        classifier: the model behind its seam.
        classes: class names in output order; two for a binary model, that of output 0 first.
        digest: sha256 of the file or folder, hexadecimal.
        description: what the manifest records about it.
        own_inputs: the model's own preprocessing, where the file has one: pictures have to go through it, and the
            classifier's preprocessing is what was measured of it. None: nothing but the classifier's.
    """

    classifier: Classifier
    classes: tuple[str, ...]
    digest: str
    description: dict[str, Any]
    own_inputs: "OwnInputs | None" = None


def load_classifier(
    config: ModelConfig, *, batch_size: int, callers: int, are_names_needed: bool = True
) -> LoadedModel:
    """The classifier of a configuration.

    Args:
        config: `[model]`.
        batch_size: rows of every call.
        callers: calls in flight at once.
        are_names_needed: classes that have no names anywhere are an error; else they are named by their index.

    Raises:
        ModelError: the model cannot be loaded, is of another form, or does not fit its class names.
        ConfigError: the preprocessing contradicts itself.
    """
    preprocessing = preprocessing_of(config)
    classes = read_classes(config)
    network, own, signature = _load_network(config)
    if own is not None:
        _check_nothing_stated(config)
        preprocessing = own.preprocessing
    head = _head(network)
    n_classes = 2 if head is Head.BINARY else network.n_outputs
    if classes is None and not are_names_needed:
        classes = tuple(str(index) for index in range(n_classes))
    if classes is None:
        looked = ", ".join(path.name for path in _class_files(config.path))
        raise ModelError(
            f"{config.path}: the names of its {n_classes} classes are missing; give model.classes "
            f"(looked for {looked})"
        )
    if len(classes) != n_classes:
        binary = " (one output stands for two classes, that of output 0 first)" if head is Head.BINARY else ""
        raise ModelError(
            f"{config.path}: the model has {n_classes} classes{binary}, "
            f"but {len(classes)} names are given: {_some(classes)}"
        )
    classifier = Classifier(
        network,
        preprocessing,
        head=head,
        explain=config.explain,
        batch_size=getattr(network, "n_rows", None) or batch_size,
        callers=callers,
        feature_layer=config.feature_layer,
    )
    description = {
        "format": "saved_model" if config.path.is_dir() else config.path.suffix.lstrip("."),
        "image_shape": list(network.image_shape),
        "n_classes": n_classes,
        "head": str(head),
        "activation": network.activation,
        "explain": config.explain,
        "feature_layer": classifier.feature_layer,
        "is_folded": getattr(network, "is_folded", False),
        "preprocessing": {
            "scale": list(preprocessing.scale),
            "offset": list(preprocessing.offset),
            "is_reversed": preprocessing.is_reversed,
        },
    }
    if signature:
        description["signature"] = signature
    if own is not None:
        description["own_preprocessing"] = {"resize": own.mode, "is_base64": own.is_base64}
    return LoadedModel(classifier, classes, model_digest(config.path), description, own)


def _check_nothing_stated(config: ModelConfig) -> None:
    """Refuses settings that would be applied on top of the model's own preprocessing."""
    own = ("value_range", "mean", "std", "preset", "colour_order", "resize", "antialias")
    described = ("value_range", "mean", "std") if config.is_range_described else ()
    stated = [f"model.{name}" for name in own if name in config.model_fields_set and name not in described]
    if stated:
        raise ConfigError(
            f"{config.path}: the model takes file bytes and prepares pictures by itself; leave "
            f"{' and '.join(stated)} away"
        )


def read_classes(config: ModelConfig) -> tuple[str, ...] | None:
    """Class names in output order, without loading the model; None where they are found nowhere.

    Looked for in `config.classes`, then beside the model, then in its metadata.

    Raises:
        ModelError: the file cannot be read, or a name is empty or occurs twice.
    """
    if isinstance(config.classes, list):
        return _checked_names(config.classes, "model.classes")
    if config.classes is not None:
        return _names_in(config.classes)
    for path in _class_files(config.path):
        if path.is_file():
            return _names_in(path)
    return _stored_names(config.path)


def model_digest(path: Path) -> str:
    """sha256 of a file, or of the relative paths and contents of a folder's files, hexadecimal.

    Raises:
        ModelError: there is nothing at `path`, or it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        if not path.is_dir():
            _check_regular(path, "a model file or folder")
            return _digested(digest, path).hexdigest()
        for file in sorted(file for file in path.rglob("*") if file.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
            _digested(digest, file)
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such model") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def preprocessing_of(config: ModelConfig) -> Preprocessing:
    """What turns an image in [0, 1] into the model's input.

    Raises:
        ConfigError: two ways are stated at once, or mean and std do not go together.
    """
    stated = [
        name
        for name, is_stated in (
            ("preset", config.preset is not None),
            ("mean and std", config.mean is not None or config.std is not None),
            ("value_range", "value_range" in config.model_fields_set),
        )
        if is_stated
    ]
    if len(stated) > 1:
        raise ConfigError(
            f"model: {' and '.join(stated)} are given; they exclude each other, keep the one of the training"
        )
    is_reversed = config.colour_order == "bgr"
    if config.preset == "caffe":
        return Preprocessing((255.0,) * 3, tuple(-mean for mean in _CAFFE_MEAN), is_reversed=True)  # type: ignore[arg-type]
    if config.preset == "tf":
        return Preprocessing((2.0,) * 3, (-1.0,) * 3, is_reversed)
    if config.preset == "torch":
        return _standardised(_TORCH_MEAN, _TORCH_STD, is_reversed)
    if config.mean is not None or config.std is not None:
        if config.mean is None or config.std is None or len(config.mean) != 3 or len(config.std) != 3:
            raise ConfigError("model: mean and std go together, three numbers each (red, green, blue)")
        return _standardised(tuple(config.mean), tuple(config.std), is_reversed)
    low, high = config.value_range
    return Preprocessing((high - low,) * 3, (low,) * 3, is_reversed)


def _standardised(mean: tuple[float, ...], std: tuple[float, ...], is_reversed: bool) -> Preprocessing:
    """(image - mean) / std with mean and std of red, green, blue, in the order of the model's input."""
    if min(std) <= 0:
        raise ConfigError(f"model.std: expected three numbers above 0, found {list(std)}")
    order = (2, 1, 0) if is_reversed else (0, 1, 2)
    scale = tuple(1.0 / std[channel] for channel in order)
    offset = tuple(-mean[channel] / std[channel] for channel in order)
    return Preprocessing(scale, offset, is_reversed)  # type: ignore[arg-type]


def _load_network(config: ModelConfig) -> "tuple[KerasNetwork | GraphNetwork, OwnInputs | None, str]":
    """The network, the preprocessing that its file brings, and the name of the signature, where it has them."""
    path = config.path
    if not path.exists():
        raise ModelError(f"{path}: there is no such model")
    if path.is_dir():
        from pipelines import saved_models

        if not saved_models.is_saved_model(path):
            raise ModelError(
                f"{path}: expected a SavedModel folder with {saved_models.MODEL_FILE} in it; found none"
            )
        saved = saved_models.load_network(config)
        return saved.network, saved.own_inputs, saved.signature
    _check_regular(path, "a model file or folder")
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise ModelError(
            f"{path}: expected a .keras or .h5 file or a SavedModel folder, "
            f"found {path.suffix or 'no suffix'}"
        )
    named = [name for name in ("signature", "input", "output", "tags") if getattr(config, name) is not None]
    if named:
        raise ConfigError(f"model.{named[0]}: goes with a SavedModel folder; {path.name} is a Keras file")
    return _load_keras(config), None, ""


def _load_keras(config: ModelConfig) -> "KerasNetwork":
    import keras
    import tensorflow as tf

    from audit.keras_network import KerasNetwork

    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"Keras runs on {keras.backend.backend()}; set KERAS_BACKEND=tensorflow, which gradients need"
        )
    if config.path.suffix == ".keras":
        _check_archive(config.path)
    try:
        model = keras.models.load_model(config.path, compile=False, safe_mode=not config.trust)
    except (*_FOREIGN, tf.errors.OpError) as error:
        raise ModelError(f"{config.path}: {_cause(error)}") from None
    if not isinstance(model, keras.Model):
        raise ModelError(f"{config.path}: expected a Keras model, found {type(model).__name__}")
    if (n_outputs := len(getattr(model, "outputs", None) or [None])) != 1:
        raise ModelError(
            f"{config.path}: expected a model with one output, the classes; found {n_outputs}: "
            f"{_some([str(name) for name in model.output_names])}; save `keras.Model(model.inputs, model.outputs[0])`, "
            "or with the output that is meant"
        )
    try:
        return KerasNetwork(model, config.input_size, config.outputs)
    except ModelError as error:
        raise ModelError(f"{config.path}: {error}") from None
    except (*_FOREIGN, tf.errors.OpError) as error:
        raise ModelError(f"{config.path}: the model cannot be run on an image: {_line(error)}") from None


def _check_regular(path: Path, expected: str) -> None:
    """Refuses what exists and is no file: reading a pipe or a device may never end."""
    if path.exists() and not path.is_file():
        raise ModelError(f"{path}: expected {expected}, found a pipe, a device or a socket")


def _check_archive(path: Path) -> None:
    """Refuses a .keras file that is none, or that is made to harm whoever unpacks it; its sizes are not tried out."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, LookupError) as error:
        raise ModelError(
            f"{path}: expected a .keras file, which is a zip archive, found something else or a part of one "
            f"({_line(error)}); copy or save the model again"
        ) from None
    for member in members:
        if member.filename.startswith("/") or ".." in re.split(r"[/\\]", member.filename):
            raise ModelError(
                f"{path}: refused: it holds {member.filename!r}, a path that leaves the archive; Keras writes no such"
            )
    n_bytes, n_unpacked = path.stat().st_size, sum(member.file_size for member in members)
    if n_unpacked > max(_SMALLEST_BOMB, _LARGEST_PACKING * n_bytes):
        raise ModelError(
            f"{path}: refused: {n_bytes} bytes that unpack to {n_unpacked}, more than {_LARGEST_PACKING} times; "
            "Keras packs nothing, save the model again"
        )


def _cause(error: BaseException) -> str:
    """Why Keras cannot load a file, in a sentence with what to do."""
    text = str(error)
    if "safe_mode" in text or "enable_unsafe" in text:
        return (
            "refused: the file holds Python code (such as a Lambda layer) that would run in this process; "
            "if you made the file yourself, set model.trust = true, else export the model as a SavedModel"
        )
    if unknown := re.search(r"Could not locate \w+ '[^']+'|Unknown \w+: '[^']+'", text):
        return (
            f"needs a custom layer or function that is not part of Keras: {unknown[0]}; export the "
            "model as a SavedModel with `model.export(folder)`, which carries its own code"
        )
    return f"cannot be loaded; is it a whole Keras model file? {_line(error)}"


def _line(error: BaseException) -> str:
    from pipelines.saved_models import one_line

    # Keras wraps the cause in a listing of the configuration.
    text = str(error)
    return one_line(text.rpartition("Exception encountered:")[2] or text or type(error).__name__)


def _head(network: "KerasNetwork | GraphNetwork") -> Head:
    if network.n_outputs == 1:
        return Head.BINARY
    return Head.SIGMOID if network.activation == "sigmoid" else Head.SOFTMAX


def _class_files(model: Path) -> Iterator[Path]:
    """Where class names may lie: beside the model, and in a SavedModel's folder."""
    yield model.with_name(f"{model.stem if model.suffix else model.name}.classes.txt")
    for folder in (model, model / "assets") if model.is_dir() else ():
        yield from (folder / name for name in CLASS_FILES)
    yield from (model.with_name(name) for name in CLASS_FILES)


def _names_in(path: Path) -> tuple[str, ...]:
    """Names of a text file, one a line."""
    _check_regular(path, "a file of class names")
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such file of class names") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: expected class names in UTF-8, one a line: {error}") from None
    return _checked_names([line.strip() for line in lines], str(path))


def _stored_names(model: Path) -> tuple[str, ...] | None:
    """Names under `class_names` in the metadata of a .keras file, if there are any."""
    if model.suffix != ".keras" or not model.is_file():
        return None
    try:
        _check_archive(model)
        with zipfile.ZipFile(model) as archive:
            names = json.loads(archive.read("metadata.json")).get("class_names")
    except (ModelError, OSError, zipfile.BadZipFile, zlib.error, KeyError, ValueError, AttributeError):
        # A damaged file is reported by the loading of the model, which says more.
        return None
    return (
        _checked_names([str(name) for name in names], f"{model}: class_names")
        if isinstance(names, list)
        else None
    )


def _checked_names(names: list[str], where: str) -> tuple[str, ...]:
    if not names or not all(names):
        line = names.index("") + 1 if names else 1
        raise ModelError(f"{where}: expected a class name a line in output order; line {line} is empty")
    doubled = (
        sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    )
    if doubled:
        raise ModelError(f"{where}: class names must differ; more than once: {_some(doubled)}")
    return tuple(names)


def _some(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _digested(digest: "hashlib._Hash", path: Path) -> "hashlib._Hash":
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest
