"""Feeds damaged annotations to every reader and damaged pictures to the decoder: nothing may crash or hang.

    python -m benchmarks.fuzz --inputs 100000

Each file must give samples, faults, or one AuditError, and soon. A valid file of each format is damaged at random
(bytes flipped, cut, doubled, replaced by what parsers stumble over; of JSON also values replaced by others), written,
read, and every outline drawn. Anything else that is raised, and any input that takes longer than a second, is printed
with the seed that makes it again; the exit code is then 1.
"""

import argparse
import copy
import io
import json
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from audit.errors import AuditError
from audit.types import Sample
from pipelines.config import DataConfig
from pipelines.geometry import Geometry
from pipelines.images import ImageFault, decode
from pipelines.readers.coco import Coco
from pipelines.readers.hugging_face import HuggingFace
from pipelines.readers.manifest import Manifest
from pipelines.readers.pascal_voc import PascalVoc
from pipelines.readers.yolo import Yolo

LONGEST = 1.0
"""Seconds that one input may take."""
SIZE = (16, 12)
"""(width, height) of the image that outlines are drawn for."""
STUMBLES = (
    *(
        b"",
        b"\x00",
        b"\xff\xfe",
        b"nan",
        b"-inf",
        b"1e999",
        b"-1",
        b"99999999999999999999",
        b"null",
        b"true",
        b"[]",
    ),
    *(
        b"{}",
        b'"',
        b"'",
        b"../..",
        b"/etc/passwd",
        b"C:\\x",
        b"\n",
        b",",
        b"&lt;",
        b"<!--",
        b"]]>",
        b"[[[[[[[[",
    ),
    *(b"{{{{", "👕".encode()),
)
VALUES = (
    None,
    True,
    -1,
    0,
    1e308,
    10**30,
    float("nan"),
    "",
    "x",
    "../..",
    [],
    {},
    [[]],
    [1],
    [None] * 6,
    {"a": 1},
)
"""What a value of a JSON document is replaced by."""


@dataclass(frozen=True)
class Format:
    """One format: its reader, the file that is damaged, and what stands beside it."""

    name: str
    reader: Callable[[DataConfig], Callable[[], Iterator[object]]]
    file: str
    valid: bytes
    opened: str
    beside: dict[str, bytes]


def formats() -> tuple[Format, ...]:
    """Every format with a small valid file."""
    table = (
        b"path,label,split,boxes,regions,face_xmin,face_ymin,face_xmax,face_ymax\n"
        b'1.jpg,cat,test,"[[1, 1, 5, 6]]","{""hat"": [[0, 0, 2, 2]]}",1,2,3,4\n2.jpg,dog,train,,,,,,\n'
    )
    thing = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [1, 1, 4, 4],
        "segmentation": [[1, 1, 6, 1, 6, 5]],
    }
    lengths = {"size": [12, 16], "counts": [20, 30, 142]}
    packed = {"size": [12, 16], "counts": "d0n0f3"}
    coco = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 16, "height": 12}],
        "annotations": [
            thing,
            thing | {"id": 2, "segmentation": lengths},
            thing | {"id": 3, "segmentation": packed},
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    voc = (
        b"<annotation><filename>1.jpg</filename><size><width>16</width><height>12</height></size><object><name>cat</name>"
        b"<bndbox><xmin>3</xmin><ymin>1</ymin><xmax>6</xmax><ymax>4</ymax></bndbox></object></annotation>"
    )
    objects = {"file_name": "1.jpg", "objects": {"bbox": [[2, 0, 4, 4]], "categories": ["cat"]}}
    images = {
        "images/train/1.jpg": b"",
        "images/val/2.jpg": b"",
        "1.jpg": b"",
        "2.jpg": b"",
        "JPEGImages/1.jpg": b"",
    }
    yolo = b"0 0.5 0.5 0.5 0.5\n1 0 0 0.25 0 0.25 0.5 0 0.5\n"
    data = b"train: images/train\nval: [images/val]\nnames: {0: cat, 1: dog}\n"
    return (
        Format("manifest", Manifest, "m.csv", table, "m.csv", images),
        Format("coco", Coco, "c.json", json.dumps(coco).encode(), "c.json", images),
        Format("pascal_voc", PascalVoc, "Annotations/1.xml", voc, ".", images),
        Format("yolo lines", Yolo, "labels/train/1.txt", yolo, ".", images | {"data.yaml": data}),
        Format("yolo data", Yolo, "data.yaml", data, ".", images | {"labels/train/1.txt": yolo}),
        Format("hugging_face", HuggingFace, "metadata.jsonl", json.dumps(objects).encode(), ".", images),
    )


def pictures() -> dict[str, bytes]:
    """A small valid file of each image format, with an EXIF orientation where the format has one."""
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {}
    for name in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"):
        buffer = io.BytesIO()
        options = {"exif": exif} if name in ("JPEG", "PNG", "WEBP", "TIFF") else {}
        picture.save(buffer, name, **options)
        files[name.lower()] = buffer.getvalue()
    return files


def fuzz_pictures(name: str, valid: bytes, n_inputs: int, seed: int, folder: Path) -> dict[str, int]:
    """Counts of what became of `n_inputs` damaged pictures; prints every failure."""
    target = folder / f"picture.{name}"

    def one(number: int) -> str:
        target.write_bytes(damaged(valid, random.Random(f"{seed} {name} {number}")))
        try:
            decode(target, exif="apply", alpha="white", max_pixels=1_000_000)
        except ImageFault:
            return "refused"
        return "read"

    return counted(f"{name}, seed {seed}", n_inputs, one)


def counted(what: str, n_inputs: int, one: Callable[[int], str]) -> dict[str, int]:
    """Counts of what `one` says of each number; what it raises, and what takes too long, is printed."""
    outcomes = {"read": 0, "refused": 0, "failed": 0, "slow": 0}
    for number in range(n_inputs):
        begun = time.perf_counter()
        try:
            outcomes[one(number)] += 1
        except Exception:  # whatever it is, it is a finding
            outcomes["failed"] += 1
            print(f"{what}, input {number}:\n{traceback.format_exc()}", file=sys.stderr)
        if time.perf_counter() - begun > LONGEST:
            outcomes["slow"] += 1
            print(f"{what}, input {number}: slow", file=sys.stderr)
    return outcomes


def damaged(valid: bytes, rng: random.Random) -> bytes:
    """A copy with one to eight wounds."""
    text = bytearray(valid)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.choice((0, 1, 2, 8, 40)))
        wound = rng.randrange(5)
        if wound == 0:
            text[at:end] = bytes(rng.randrange(256) for _ in range(end - at))
        elif wound == 1:
            del text[at:end]
        elif wound == 2:
            text[at:at] = text[at:end]
        elif wound == 3:
            text[at:end] = rng.choice(STUMBLES)
        else:
            del text[at:]
    return bytes(text)


def damaged_json(valid: bytes, rng: random.Random) -> bytes:
    """A copy with one to three values replaced or left out."""
    document = json.loads(valid)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(document))
        if not places:
            break
        holder, key = rng.choice(places)
        if isinstance(holder, dict) and rng.random() < 0.2:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
    return json.dumps(document).encode()


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every value in a document."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(items):
        yield node, key
        yield from _places(value)


def read_all(form: Format, folder: Path) -> str:
    """Reads and draws everything; "read" or "refused"."""
    try:
        for entry in form.reader(DataConfig(path=folder / form.opened))():
            if isinstance(entry, Sample):
                geometry = Geometry(SIZE, 1, (SIZE[1], SIZE[0]), "stretch", False)
                for outline in (entry.foreground, *entry.regions.values()):
                    try:
                        geometry.outline(outline)
                    except ImageFault:
                        continue
    except AuditError:
        return "refused"
    return "read"


def fuzz(form: Format, n_inputs: int, seed: int, folder: Path) -> dict[str, int]:
    """Counts of what became of `n_inputs` damaged files; prints every failure."""
    for name, contents in form.beside.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(contents)
    target = folder / form.file
    target.parent.mkdir(parents=True, exist_ok=True)

    def one(number: int) -> str:
        rng = random.Random(f"{seed} {form.name} {number}")
        is_json = form.valid.startswith(b"{") and number % 2
        target.write_bytes(damaged_json(form.valid, rng) if is_json else damaged(form.valid, rng))
        return read_all(form, folder)

    return counted(f"{form.name}, seed {seed}", n_inputs, one)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--inputs", type=int, default=100_000, help="damaged annotations, spread over the formats"
    )
    parser.add_argument(
        "--pictures", type=int, default=10_000, help="damaged pictures, spread over the formats"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| format | inputs | read | refused | failed | slow |\n|---|---|---|---|---|---|")
    n_bad = 0
    with tempfile.TemporaryDirectory() as folder:
        forms, images = formats(), pictures()
        for form in forms:
            n_inputs = -(-options.inputs // len(forms))
            n_bad += tell(form.name, n_inputs, fuzz(form, n_inputs, options.seed, Path(folder) / form.name))
        for name, valid in images.items():
            n_inputs = -(-options.pictures // len(images))
            n_bad += tell(name, n_inputs, fuzz_pictures(name, valid, n_inputs, options.seed, Path(folder)))
    return 1 if n_bad else 0


def tell(name: str, n_inputs: int, outcomes: dict[str, int]) -> int:
    """Prints a row; returns how many inputs are findings."""
    counts = " | ".join(str(outcomes[key]) for key in ("read", "refused", "failed", "slow"))
    print(f"| {name} | {n_inputs} | {counts} |", flush=True)
    return outcomes["failed"] + outcomes["slow"]


if __name__ == "__main__":
    sys.exit(main())
