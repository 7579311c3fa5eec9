"""TensorFlow without the notes that its libraries write about the hardware."""

import os
import sys
from pathlib import Path


def load_tensorflow() -> None:
    """Imports TensorFlow with nothing on stderr; a failing import still raises.

    The environment variable silences what comes later, not the first lines, which are written past Python.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" in sys.modules:
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        import tensorflow

        # Graphs of TensorFlow 1 are loaded with pages of warnings about variables that nothing is wrong with.
        tensorflow.get_logger().setLevel("ERROR")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
