"""What a score was made from, as one digest: equal origins mean equal scores, so a later run may take them over.

An origin covers the bytes of the picture and of its masks, the annotation, the label and the id, the model, every
setting that a score depends on, and the program: versions of its packages and its own source, which an installation
for development changes without changing a version. Where files lie does not matter, only what is in them.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import audit
import pipelines
from audit.types import Outline, Sample
from pipelines.images import place_of
from pipelines.storage import digest

PACKAGES = (
    "rightreasons",
    "tensorflow",
    "keras",
    "numpy",
    "pandas",
    "scikit-image",
    "scipy",
    "pillow",
    "mtcnn",
)
"""Packages that numbers come from."""
_OF_DATA = ("exif", "alpha", "max_pixels")
"""Keys of `[data]` that decide how a file is read; the others decide which samples there are."""
_NOT_OF_MODEL = ("path", "classes")
"""Keys of `[model]` that are known by content: the digest of the file, and the names."""


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of the installed ones."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _source() -> str:
    """SHA-256 of the program's own files that make numbers."""
    hasher = hashlib.sha256()
    for package in (audit, pipelines):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            hasher.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return hasher.hexdigest()


@functools.cache
def program() -> str:
    """Digest of what makes the numbers: versions of packages, and the program's source."""
    return digest([versions(), platform.python_version(), _source()])


def deciding(scoring: dict[str, Any], region_names: Sequence[str]) -> dict[str, Any]:
    """The part of a plan's settings that the scores of one sample depend on.

    Args:
        scoring: `Plan.scoring`.
        region_names: the dataset's own regions; every sample has a row for each.
    """
    data, model = dict(scoring["data"]), dict(scoring["model"])
    return {
        **scoring,
        "data": {key: data[key] for key in _OF_DATA},
        "model": {key: value for key, value in model.items() if key not in _NOT_OF_MODEL},
        "run": {
            **{key: scoring["run"][key] for key in ("seed", "batch_size")},
            # Where maps are made of some samples only, those of the others wait.
            "sampling": "first_draw" in scoring["run"],
        },
        "region_names": list(region_names),
    }


def annotation_digest(sample: Sample) -> str:
    """SHA-256 of all that is said of a sample but where its files lie, its split, and the picture itself."""
    outlines = [(name, _by_content(outline)) for name, outline in sorted(sample.regions.items())]
    said = (sample.sample_id, sample.label, _by_content(sample.foreground), outlines)
    return hashlib.sha256(repr(said).encode(errors="surrogateescape")).hexdigest()


def file_digest(path: str) -> str:
    """SHA-256 of the bytes of a file, or of a picture inside a file of many; a word where it cannot be read."""
    place, start, n_bytes = place_of(Path(path))
    try:
        with place.open("rb") as file:
            if n_bytes is None:
                return hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(start)
            return hashlib.sha256(file.read(n_bytes)).hexdigest()
    except (OSError, ValueError):
        return "unreadable"


def origin(settings: str, annotation: str, image: str, *, is_drawn: bool, rows: int) -> str:
    """The origin of a sample's scores.

    Args:
        settings: digest of `deciding`.
        annotation: `annotation_digest` of the sample.
        image: SHA-256 of its file.
        is_drawn: whether the untrained model is asked about it, which depends on how many samples its class has.
        rows: pictures a call of the model; fewer than configured where memory ran out, which rounds differently.
    """
    return digest([settings, program(), annotation, image, is_drawn, rows])


def _by_content(outline: Outline) -> Outline:
    """The outline, its mask named by what is in the file."""
    if outline.mask is None:
        return outline
    return dataclasses.replace(
        outline, mask=dataclasses.replace(outline.mask, path=file_digest(outline.mask.path))
    )
