"""What `explain` leaves behind: pictures, the service's answer, raw maps, and a few lines on the terminal."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from audit.errors import ConfigError, StorageError
from pipelines.explain import Explained
from pipelines.explainer import Asked
from pipelines.hosted import HostedService
from pipelines.hosted._values import Answered, Attributed, HostedExplanation

if TYPE_CHECKING:
    from rich.console import Console

_ENDINGS = {"jpeg": "jpg", "png": "png"}


@dataclass(frozen=True)
class Wanted:
    """What is to be written.

    Attributes:
        pictures: folder of the pictures; None writes none.
        json_file: the answer; None writes none.
        service: whose shape the answer has.
        raw: .npy or .npz of the maps; None writes none.
    """

    pictures: Path | None
    json_file: Path | None
    service: HostedService
    raw: Path | None

    def check(self, asked: Asked) -> None:
        """Raise the ConfigError of more methods than a file has room for, before anything is computed."""
        if len(asked.methods) > 1 and (self.json_file or self.raw):
            raise ConfigError(
                f"--json and --raw hold one method, found {', '.join(asked.methods)}; give one --methods"
            )


def raw_file(path: Path | None) -> Path | None:
    """The path, if its ending says what is to be written.

    Raises:
        ConfigError: another ending.
    """
    if path is not None and path.suffix not in (".npy", ".npz"):
        raise ConfigError(f"--raw: expected a file that ends in .npy or .npz, found {path}")
    return path


def write(found: Sequence[Explained], wanted: Wanted, metadata: HostedExplanation | None) -> list[Path]:
    """Writes everything; the files, in the order of writing.

    Raises:
        StorageError: the disk refuses.
    """
    files: list[tuple[Path, bytes]] = []
    if wanted.pictures is not None:
        for one in found:
            files += [(wanted.pictures / name, contents) for name, contents in _pictures(one)]
    if wanted.json_file is not None:
        answer = wanted.service.answer(
            found[0].answered,
            input_name=metadata.input.name if metadata else "image",
            output_name=metadata.output.name if metadata else "scores",
        )
        text = json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False)
        files.append((wanted.json_file, f"{text}\n".encode()))
    try:
        for path, contents in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents)
        if wanted.raw is not None:
            wanted.raw.parent.mkdir(parents=True, exist_ok=True)
            _write_raw(wanted.raw, found[0])
            files.append((wanted.raw, b""))
    except OSError as error:
        raise StorageError(f"{error.filename}: cannot be written: {error.strerror}") from None
    return [path for path, _ in files]


def tell(
    found: Sequence[Explained], written: Sequence[Path], faults: Sequence[str], console: "Console"
) -> None:
    """A line an explained class, the warnings, what was left out, and where the files are."""
    for one in found:
        for answered in one.answered:
            for attributed in answered.attributions:
                console.print(
                    _line(one.method, answered, attributed), markup=False, highlight=False, soft_wrap=True
                )
        for warning in one.warnings:
            console.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)
    for fault in faults:
        console.print(f"warning: left out: {fault}", markup=False, highlight=False, soft_wrap=True)
    for path in written:
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def _line(method: str, answered: Answered, attributed: Attributed) -> str:
    name = attributed.class_name if attributed.class_name is not None else f"output {attributed.target}"
    scores = f"score {_number(attributed.score)}, baseline {_number(attributed.baseline_score)}"
    error = f"approximation error {_number(attributed.approx_error)}"
    return f"{answered.name}: {name} by {method}: {scores}, {error} ({attributed.status})"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "not measurable"


def _pictures(one: Explained) -> Iterator[tuple[str, bytes]]:
    """File names and contents; names that occur twice are told apart by the place of the image."""
    stems = [Path(answered.name).stem for answered in one.answered]
    often = Counter(stems)
    for index, (stem, answered) in enumerate(zip(stems, one.answered, strict=True)):
        own = stem if often[stem] == 1 else f"{stem}-{index}"
        for attributed in answered.attributions:
            if attributed.picture is not None:
                label = attributed.class_name or ""
                parts = (own, one.method, f"{attributed.target} {label}".strip())
                name = ".".join(re.sub(r"[^\w-]+", "_", part).strip("_") or "_" for part in parts)
                yield f"{name}.{_ENDINGS[attributed.output_format]}", attributed.picture


def _write_raw(path: Path, one: Explained) -> None:
    """Maps float32 (N, H, W) of N explained classes in order; .npz says whose they are."""
    rows = [(answered, attributed) for answered in one.answered for attributed in answered.attributions]
    maps = np.stack([attributed.map for _, attributed in rows])
    if path.suffix == ".npy":
        np.save(path, maps)
        return
    np.savez_compressed(
        path,
        maps=maps,
        images=np.array([answered.name for answered, _ in rows]),
        targets=np.array([attributed.target for _, attributed in rows]),
        scores=np.array([attributed.score for _, attributed in rows]),
        baseline_scores=np.array([attributed.baseline_score for _, attributed in rows]),
        approx_errors=np.array([attributed.approx_error for _, attributed in rows]),
        method=np.array(one.method),
    )
