"""A user's own detector: a Python file or a Keras model, given by its path in `confounds.use`."""

import hashlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from audit.confounds import ConfoundDetector
from audit.confounds._shrinking import enlarged
from audit.errors import ConfigError

MODEL_SUFFIXES = (".keras", ".h5")
SUFFIXES = (".py", *MODEL_SUFFIXES)


def is_file_name(entry: str) -> bool:
    """Whether an entry of `confounds.use` is the path of a file, not the name of a detector."""
    return entry.endswith(SUFFIXES) or "/" in entry


def digests(use: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the detectors' files by path: what they find changes when they do."""
    return {entry: _digest(Path(entry)) for entry in use if is_file_name(entry)}


def load_detector(path: Path, parameters: Mapping[str, Any]) -> ConfoundDetector:
    """The detector in a file.

    Args:
        path: a Python file whose `__all__` names one frozen dataclass like those in `audit.confounds`, or a Keras
            model, see `ModelDetector`.
        parameters: values of its fields.

    Raises:
        ConfigError: the file is missing, cannot be run, holds no such class, or has no such parameter.
    """
    digest = _digest(path)
    if path.suffix in MODEL_SUFFIXES:
        return FileDetector(_made(ModelDetector, {**parameters, "path": path}, path), digest)
    if path.suffix != ".py":
        raise ConfigError(
            f"confounds.use: {path}: expected a Python file (.py) or a Keras model ({', '.join(MODEL_SUFFIXES)})"
        )
    module = _module(path, digest)
    public: Sequence[str] = getattr(module, "__all__", [])
    kind = getattr(module, public[0], None) if len(public) == 1 else None
    if not (is_dataclass(kind) and isinstance(kind, type)):
        raise ConfigError(
            f"confounds.use: {path}: expected __all__ to name one dataclass, the detector; found {list(public)}"
        )
    detector = _made(kind, parameters, path)
    missing = [name for name in ("confound", "version") if not isinstance(getattr(detector, name, None), str)]
    missing += [] if callable(detector) else ["__call__"]
    if missing:
        raise ConfigError(
            f"confounds.use: {path}: expected {kind.__name__} to have the texts `confound` and `version` and a "
            f"__call__(image) that returns a mask; it lacks {', '.join(missing)}"
        )
    return FileDetector(detector, digest)


@dataclass(frozen=True)
class FileDetector:
    """A detector that a file brought, told apart from its former contents.

    Attributes:
        detector: the user's.
        digest: SHA-256 of the file.
    """

    detector: ConfoundDetector
    digest: str

    @property
    def confound(self) -> str:
        """Name of the thing found."""
        return self.detector.confound

    @property
    def version(self) -> str:
        """The detector's own, and its file's contents."""
        return f"{self.detector.version} {self.digest}"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Where the thing lies: what the user's detector says; `pipelines.regions` checks it."""
        return self.detector(image)


@dataclass(frozen=True)
class ModelDetector:
    """A Keras model that says of each pixel, or of each cell of a grid, whether the thing is there.

    Its input is (1, height, width, 3), RGB; its output (1, h, w) or (1, h, w, 1), h and w at least 2.

    Attributes:
        path: the model file.
        name: of the thing found; the file's name by default.
        value_range: what black and white are at the model's input.
        cut: cells of this value or more are the thing.
        input_size: height and width, where the model leaves them open.
    """

    path: Path
    name: str = ""
    value_range: Sequence[float] = (0.0, 255.0)
    cut: float = 0.5
    input_size: Sequence[int] = field(default=(224, 224))

    @property
    def confound(self) -> str:
        """Name of the thing found."""
        return self.name or self.path.stem.replace("_", " ")

    @property
    def version(self) -> str:
        """Parameters; the file's contents come on top."""
        low, high = self.value_range
        return f"keras {low:g} {high:g} {self.cut:g} {tuple(self.input_size)} 1"

    @cached_property
    def _model(self) -> Any:
        """The network, loaded when the first picture is searched, without running code that a file may hold."""
        import keras

        try:
            return keras.models.load_model(self.path, compile=False, safe_mode=True)
        except Exception as error:  # Keras tells a bad file by many types
            raise ConfigError(
                f"confounds.use: {self.path}: cannot be loaded as a Keras model: {error}"
            ) from None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """See `audit.confounds.ConfoundDetector`."""
        from PIL import Image

        shape = self._model.input_shape
        height, width = (shape[1] or self.input_size[0], shape[2] or self.input_size[1])
        pixels = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        low, high = self.value_range
        values = low + pixels[np.newaxis].astype(np.float32) / 255 * (high - low)
        output = np.asarray(self._model(values, training=False))
        cells = output[0, ..., 0] if output.ndim == 4 and output.shape[-1] == 1 else output[0]
        if cells.ndim != 2 or min(cells.shape) < 2:
            raise ConfigError(
                f"confounds.use: {self.path}: expected an output of (1, h, w) or (1, h, w, 1), one value a cell, "
                f"found {output.shape}"
            )
        return enlarged(cells >= self.cut, (image.shape[0], image.shape[1]))


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(
            f"confounds.use: {path}: expected a detector's file, which cannot be read: {error.strerror or error}"
        ) from None


def _module(path: Path, digest: str) -> ModuleType:
    """The file, run as a module of its own name."""
    name = f"detector_{path.stem}_{digest[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a .py file always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by its name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code may raise anything
        del sys.modules[name]
        raise ConfigError(f"confounds.use: {path}: cannot be run: {type(error).__name__}: {error}") from error
    return module


def _made(kind: type, parameters: Mapping[str, Any], path: Path) -> Any:
    """An instance of a dataclass, its parameters checked."""
    takes = {one.name for one in fields(kind)}
    unknown = sorted(parameters.keys() - takes)
    if unknown:
        raise ConfigError(
            f"confounds.parameters.{path.stem}: unknown {', '.join(unknown)}; known: "
            f"{', '.join(sorted(takes)) or 'none'}"
        )
    try:
        return kind(**parameters)
    except TypeError as error:
        raise ConfigError(f"confounds.parameters.{path.stem}: {error}") from None
