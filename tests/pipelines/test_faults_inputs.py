"""Inputs that mean harm: pictures that explode, models that hold code, names that are markup."""

import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from audit.errors import ModelError
from pipelines.cli import main
from pipelines.config import ModelConfig
from pipelines.images import ImageFault, decode
from pipelines.models import load_classifier
from pipelines.progress import Progress

SIDE = 20_000


def png_bomb() -> bytes:
    """A whole PNG of 400 million black pixels in some 50 kB."""

    def chunk(name: bytes, contents: bytes) -> bytes:
        return (
            struct.pack(">I", len(contents))
            + name
            + contents
            + struct.pack(">I", zlib.crc32(name + contents))
        )

    rows = zlib.compress(bytes((1 + SIDE // 8) * SIDE))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def gif_bomb() -> bytes:
    """A GIF that states 65535 x 65535 pixels."""
    frame = b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\x00;"
    return b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + frame


def bmp_bomb() -> bytes:
    """A BMP that states 60000 x 60000 pixels and holds none."""
    sizes = struct.pack("<IiiHHIIiiII", 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + sizes


BOMBS = {"png": png_bomb, "gif": gif_bomb, "bmp": bmp_bomb}
PROGRAM = """
import resource, sys
from pathlib import Path
from pipelines.images import ImageFault, decode, decode_mask
def megabytes(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = megabytes()
for name in sys.argv[1:]:
    for read in (lambda p: decode(p, exif="apply", alpha="white", max_pixels=50_000_000),
                 lambda p: decode_mask(p, sizes=((64, 64),), max_pixels=4096)):
        try:
            read(Path(name))
            print("decoded")
        except ImageFault as fault:
            print(fault.reason)
print(megabytes() - before)
"""


def test_bombs_are_refused_as_pictures_and_as_masks_without_the_memory_that_they_state(tmp_path):
    for name, make in BOMBS.items():
        (tmp_path / f"bomb.{name}").write_bytes(make())
    paths = [str(tmp_path / f"bomb.{name}") for name in BOMBS]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *paths],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    *reasons, growth = done.stdout.splitlines()
    assert set(reasons[::2]) == {"image too large"}
    assert set(reasons[1::2]) <= {"mask of another size", "mask too large"}
    assert float(growth) < 50  # 400 million pixels of one byte would be 400 MB


def test_text_and_profiles_that_unpack_to_a_hundred_megabytes_do_no_harm(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    notes = PngInfo()
    notes.add_text("comment", "x" * 100_000_000, zip=True)
    Image.new("RGB", (8, 8), "red").save(tmp_path / "text.png", pnginfo=notes)
    profile = bytes(100_000_000)
    Image.new("RGB", (8, 8), "red").save(tmp_path / "profile.png", icc_profile=profile)
    for name in ("text.png", "profile.png"):
        try:
            pixels = decode(tmp_path / name, exif="apply", alpha="white", max_pixels=1000).pixels
        except ImageFault as fault:
            assert fault.reason == "unreadable image"  # noqa: PT017
        else:
            assert pixels[0, 0].tolist() == [255, 0, 0]


class Harm:
    """Pickled, it is a call of a function that leaves a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def keras_file(path: Path, layer: dict, weights: bytes = b"") -> Path:
    """A .keras file whose second layer is as described."""
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(contents["config.json"])
    config["config"]["layers"][1] = layer or config["config"]["layers"][1]
    contents["config.json"] = json.dumps(config).encode()
    contents["model.weights.h5"] = weights or contents["model.weights.h5"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in contents.items():
            archive.writestr(name, part)
    return path


def calls_a_function(module: str, name: str, argument: str) -> dict:
    """A layer whose description names a function of any module."""
    function = {"class_name": "function", "module": module, "config": name, "registered_name": name}
    return {
        "class_name": "Lambda",
        "module": "keras.layers",
        "config": {"name": "harm", "function": function, "arguments": {"cmd": argument}},
        "registered_name": None,
    }


def pickled_weights(canary: Path) -> bytes:
    """An HDF5 file with a pickle where weights should be."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers/dense/vars/0"] = np.void(pickle.dumps(Harm(canary)))
    return buffer.getvalue()


def malicious_models(folder: Path, canary: Path) -> dict[str, Path]:
    shell = f"touch {canary}"
    saved = {"class_name": "TFSMLayer", "module": "keras.layers", "config": {"filepath": str(folder)}}
    made = {
        "a function of os": keras_file(folder / "os.keras", calls_a_function("os", "system", shell)),
        "a function of builtins": keras_file(
            folder / "eval.keras", calls_a_function("builtins", "eval", shell)
        ),
        "a class of subprocess": keras_file(
            folder / "popen.keras",
            {"class_name": "Popen", "module": "subprocess", "config": {"args": shell, "shell": True}},
        ),
        "a layer that loads another file": keras_file(
            folder / "tfsm.keras", saved | {"registered_name": None}
        ),
        "pickled weights": keras_file(folder / "weights.keras", {}, pickled_weights(canary)),
        "a pickle": folder / "pickle.keras",
        "a pickle in the old format": folder / "pickle.h5",
    }
    for name in ("pickle.keras", "pickle.h5"):
        (folder / name).write_bytes(pickle.dumps(Harm(canary)))
    for name, left in (("slip.keras", "../canary"), ("root.keras", str(canary))):
        # But for that one file they are whole models.
        with zipfile.ZipFile(keras_file(folder / name, {}), "a") as archive:
            archive.writestr(left, "it left the archive")
    return made | {
        "an archive that leaves its folder": folder / "slip.keras",
        "an archive that starts at the root": folder / "root.keras",
    }


def test_no_model_file_runs_code_and_each_is_refused_in_one_sentence(tmp_path):
    canary = tmp_path / "canary"
    (tmp_path / "models").mkdir()
    for what, path in malicious_models(tmp_path / "models", canary).items():
        config = ModelConfig(path=path, classes=["a", "b"])
        with pytest.raises(ModelError) as caught:
            load_classifier(config, batch_size=1, callers=1)
        assert str(caught.value).startswith(str(path)), what
        assert "\n" not in str(caught.value), what
        assert not canary.exists(), what


def test_what_a_name_says_to_terminals_is_shown_and_not_obeyed(capsys):
    assert main(["report", "runs/\x1b[31m\n[/bold]\u202e"]) == 2
    words = capsys.readouterr().err
    assert words.startswith("rightreasons: runs/\\x1b[31m\\n[/bold]\\u202e: expected a run folder")
    assert words.count("\n") == 1
    Progress(Console()).say("reading runs/[/bold]")
    assert "reading runs/[/bold]" in capsys.readouterr().out
