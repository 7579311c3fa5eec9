"""A commented audit.toml from a look at the dataset and the model."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel
from rich.console import Console

from audit.errors import ConfigError
from audit.types import Sample
from pipelines.config import DataConfig, ModelConfig, RunConfig
from pipelines.models import load_classifier
from pipelines.quiet import load_tensorflow
from pipelines.shards import read, reader_of
from pipelines.storage import write_text


def write_starter(
    data: Path, model: Path, classes: Path | None, out: Path, console: Console, masks: Path | None = None
) -> None:
    """Looks, and writes the file.

    Args:
        data, masks: the dataset, and masks beside it.
        model, classes: the network, and the names of its outputs.
        out: the file.
        console: where is told what was found.

    Raises:
        ConfigError: the file exists already.
        AuditError: the dataset or the model cannot be read.
    """
    if out.exists():
        raise ConfigError(f"{out}: exists already; remove it, or choose another with --out")
    reader = reader_of(data)
    found = DataConfig(path=data.absolute(), reader=reader, masks=masks.absolute() if masks else None)
    entries = [entry for entry in read(found) if isinstance(entry, Sample)]
    labels = Counter(str(entry.label) for entry in entries)
    splits = sorted({entry.split for entry in entries if entry.split})
    n_annotated = sum(entry.foreground.is_annotated for entry in entries)
    console.print(f"{data}: {reader}, {len(entries)} samples, {n_annotated} with foreground", highlight=False)
    load_tensorflow()
    loaded = load_classifier(ModelConfig(path=model.absolute(), classes=classes), batch_size=1, callers=1)
    console.print(f"{model}: {_sentence(loaded.description)}", highlight=False, soft_wrap=True)
    chosen: dict[str, dict[str, Any]] = {
        "data": {"path": _from(out, data), "reader": reader}
        | ({"splits": splits} if splits else {})
        | ({"masks": _from(out, masks)} if masks else {}),
        "model": {
            "path": _from(out, model),
            "classes": _from(out, classes) if classes else list(loaded.classes),
        },
    }
    notes = [
        f"# {len(entries)} samples: {', '.join(f'{name} {number}' for name, number in sorted(labels.items())[:20])}",
        f"# {n_annotated} of them have a foreground annotation",
    ]
    write_text(out, "\n".join(notes) + "\n\n" + document(chosen))


def _sentence(description: Mapping[str, Any]) -> str:
    """What a model is, and what black and white are to it: the first thing to look at where answers are odd."""
    scale, offset = (np.array(description["preprocessing"][name]) for name in ("scale", "offset"))
    black, white = (
        f"{values[0]:g}" if np.ptp(values) == 0 else " ".join(f"{value:.3g}" for value in values)
        for values in (offset, scale + offset)
    )
    height, width = description["image_shape"]
    return (
        f"{description['format']}, {height} x {width} pixels, {description['n_classes']} classes "
        f"({description['head']}); black is fed as {black}, white as {white}: where it was trained otherwise, set "
        "model.value_range"
    )


def _from(file: Path, path: Path) -> str:
    """A path as the configuration file at `file` has to write it."""
    return os.path.relpath(path.absolute(), file.absolute().parent)


def document(chosen: dict[str, dict[str, Any]]) -> str:
    """The configuration file: chosen keys set, the others as comments with their defaults."""
    lines = ["# Paths are relative to this file. Keys that are commented out show their default.", ""]
    for section, field in RunConfig.model_fields.items():
        lines.append(f"[{section}]")
        lines += _keys(field.annotation, chosen.get(section, {}))
        lines.append("")
    return "\n".join(lines)


def _keys(section: Any, chosen: dict[str, Any]) -> list[str]:
    assert issubclass(section, BaseModel)
    lines = []
    for key, field in section.model_fields.items():
        if key in chosen:
            lines.append(f"{key} = {_toml(chosen[key])}  # {field.description}")
        elif field.default is None:
            lines.append(f"# {key} =  # {field.description}")
        else:
            default = field.default
            lines.append(f"# {key} = {_toml(default)}  # {field.description}")
    return lines


def _toml(value: Any) -> str:
    """A TOML value; the strings, lists and numbers that occur here are written as JSON writes them."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
