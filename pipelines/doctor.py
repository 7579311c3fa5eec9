"""What this machine and installation are, and what is wrong with them."""

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pipelines.origins import PACKAGES, versions
from pipelines.quiet import load_tensorflow

Finding = tuple[bool, str]
"""Whether it is as it should be, and a sentence."""

OLDEST_KERAS = (3, 13, 2)
"""Older releases run code that is hidden in model files even in safe mode."""


def examine(console: Console) -> bool:
    """Prints every finding; whether all are as they should be."""
    is_well = True
    for check in (_python, _packages, _tensorflow, _keras, _packages_are_ours, _memory, _writable, _pictures):
        for is_right, sentence in check():
            is_well &= is_right
            console.print(
                f"{'[green]✓[/]' if is_right else '[bold red]✗[/]'} {escape(sentence)}", highlight=False
            )
    console.print("Ready." if is_well else "Mend what is marked ✗, then run this again.")
    return is_well


def _python() -> Iterator[Finding]:
    is_right = sys.version_info >= (3, 11)
    yield is_right, f"Python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores"


def _packages() -> Iterator[Finding]:
    found = versions(PACKAGES)
    for name in PACKAGES:
        # tensorflow-cpu and other builds bring the module without the distribution of that name.
        if name not in found and name != "tensorflow":
            yield False, f"{name} is not installed; pip install rightreasons brings it"
    yield True, ", ".join(f"{name} {version}" for name, version in found.items())


def _tensorflow() -> Iterator[Finding]:
    builds = [
        name for name in ("tensorflow", "tensorflow-cpu", "tensorflow-rocm", "tf-nightly") if versions([name])
    ]
    if len(builds) > 1:
        yield (
            False,
            f"{' and '.join(builds)} are installed into one folder and overwrite each other; keep one",
        )
        return
    yield from _attempt("TensorFlow", _use_tensorflow)


def _use_tensorflow() -> str:
    load_tensorflow()
    import tensorflow as tf

    value = tf.constant(3.0)
    with tf.GradientTape() as tape:
        tape.watch(value)
        square = value * value
    if float(tape.gradient(square, value)) != 6.0:
        raise ArithmeticError("the gradient of x*x at 3 is not 6")
    devices = [device.device_type for device in tf.config.list_logical_devices()]
    return f"TensorFlow {tf.__version__} computes a gradient; devices: {', '.join(devices)}"


def _keras() -> Iterator[Finding]:
    version = importlib.metadata.version("keras")
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    yield (
        numbers >= OLDEST_KERAS,
        f"Keras {version}; safe loading of model files needs {'.'.join(map(str, OLDEST_KERAS))} or newer",
    )
    yield backend == "tensorflow", f"Keras backend is {backend}; the audit needs tensorflow"


def _packages_are_ours() -> Iterator[Finding]:
    """`audit`, `pipelines` and `reports` are plain names that another distribution may overwrite."""
    import audit
    import pipelines
    import reports

    folders = {Path(module.__file__ or "").resolve().parent.parent for module in (audit, pipelines, reports)}
    yield (
        len(folders) == 1,
        f"the packages audit, pipelines and reports come from {', '.join(map(str, sorted(folders)))}",
    )


def _memory() -> Iterator[Finding]:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    gigabytes = pages * size / 2**30
    yield gigabytes >= 4, f"{gigabytes:.0f} GiB of memory; a worker needs about 2"


def _writable() -> Iterator[Finding]:
    try:
        with tempfile.NamedTemporaryFile(dir=Path.cwd()):
            free = shutil.disk_usage(Path.cwd()).free / 2**30
        yield True, f"{Path.cwd()} can be written, {free:.0f} GiB free"
    except OSError as error:
        yield False, f"{Path.cwd()} cannot be written ({error.strerror}); choose another folder with --out"


def _pictures() -> Iterator[Finding]:
    from PIL import features

    missing = [name for name in ("jpg", "zlib", "webp") if not features.check(name)]
    yield not missing, f"Pillow reads JPEG, PNG and WebP{f'; it lacks {missing}' if missing else ''}"
    yield from _attempt("face detector", _use_faces)


def _use_faces() -> str:
    import skimage.data

    from audit.confounds.faces import Faces

    if not Faces()(skimage.data.astronaut()).any():
        raise RuntimeError("it does not find the face on a portrait")
    return "the face detector finds the face on a portrait"


def _attempt(name: str, use: Callable[[], str]) -> Iterator[Finding]:
    """Whatever goes wrong in a foreign library is a finding here, not an end."""
    try:
        yield True, use()
    except Exception as error:
        yield False, f"{name} does not work: {type(error).__name__}: {error}"
