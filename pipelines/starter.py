"""A commented audit.toml from a look at the dataset and the model."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Console

from audit.errors import ConfigError
from audit.types import Sample
from pipelines.config import DataConfig, ModelConfig, RunConfig
from pipelines.models import load_classifier
from pipelines.quiet import load_tensorflow
from pipelines.shards import read, reader_of
from pipelines.storage import write_text


def write_starter(data: Path, model: Path, classes: Path | None, out: Path, console: Console) -> None:
    """Looks, and writes the file.

    Raises:
        ConfigError: the file exists already.
        AuditError: the dataset or the model cannot be read.
    """
    if out.exists():
        raise ConfigError(f"{out}: exists already; remove it, or choose another with --out")
    reader = reader_of(data)
    entries = [
        entry for entry in read(DataConfig(path=data.absolute(), reader=reader)) if isinstance(entry, Sample)
    ]
    labels = Counter(str(entry.label) for entry in entries)
    splits = sorted({entry.split for entry in entries if entry.split})
    n_annotated = sum(entry.foreground.is_annotated for entry in entries)
    console.print(f"{data}: {reader}, {len(entries)} samples, {n_annotated} with foreground", highlight=False)
    load_tensorflow()
    loaded = load_classifier(ModelConfig(path=model.absolute(), classes=classes), batch_size=1, callers=1)
    console.print(f"{model}: {json.dumps(loaded.description, default=str)}", highlight=False, soft_wrap=True)
    chosen: dict[str, dict[str, Any]] = {
        "data": {"path": _from(out, data), "reader": reader} | ({"splits": splits} if splits else {}),
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
