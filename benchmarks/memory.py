"""Peak memory against the number of images, for the engine that `rightreasons run` uses. Markdown to stdout.

    python -m benchmarks.memory [--images 100 400 1600] [--method integrated_gradients]

Each number of images has a process of its own, which draws the images as files, trains nothing (a small network with
drawn weights at 96 pixels), scores them by `pipelines.engine.score_samples`, and reports its largest resident memory
before and after. A shard holds its samples' rows, so shards are scored as a run does: one after another, each stored
and dropped. Takes two to four minutes on two cores.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIDE = 96
SHARD = 64


def main() -> None:
    """Prints a Markdown table, or, given --child, one row's numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[100, 400, 1600])
    parser.add_argument("--method", default="integrated_gradients")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print(*_scored(options.child, options.method))
        return
    print(f"{options.method}, {SIDE} pixels, batch 16, shards of {SHARD}\n")
    print("| images | seconds | peak, model loaded and traced, MB | peak at the end, MB | growth, MB |")
    print("|---|---|---|---|---|")
    for n_images in options.images:
        command = [
            sys.executable,
            "-m",
            "benchmarks.memory",
            "--child",
            str(n_images),
            "--method",
            options.method,
        ]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, before, after = (float(number) for number in found.stdout.split()[-3:])
        print(
            f"| {n_images} | {seconds:.0f} | {before:.0f} | {after:.0f} | {after - before:.0f} |", flush=True
        )


def _scored(n_images: int, method: str) -> tuple[float, float, float]:
    """Seconds of scoring, and the peak of resident memory in MB after the first shard and at the end."""
    from pipelines.config import RunConfig
    from pipelines.engine import Work, score_samples
    from pipelines.storage import Run

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        samples = _drawn(root, n_images)
        config = RunConfig.model_validate(
            {
                "data": {"path": str(root)},
                "model": {"path": str(_network(root)), "classes": ["dark", "bright"]},
                "attributions": {"methods": [method]},
                "confounds": {"use": []},
            }
        )
        work = Work(config, root / "run", (), None)
        run = Run(work.out)
        started = time.monotonic()
        peaks = []
        for index, first in enumerate(range(0, n_images, SHARD)):
            run.begin_shard(index)
            run.write_shard(index, score_samples(work, samples[first : first + SHARD]))
            peaks.append(_peak())
        return time.monotonic() - started, peaks[0], peaks[-1]


def _peak() -> float:
    """Largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _drawn(root: Path, n_images: int) -> list:
    """Pictures of coloured noise, each its own file."""
    from PIL import Image

    from audit.types import Sample

    rng = np.random.default_rng(0)
    samples = []
    for number in range(n_images):
        coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        path = root / f"{number:05d}.png"
        Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)
        label = "bright" if coarse.mean() > 127 else "dark"
        samples.append(Sample(sample_id=path.stem, image_path=str(path), label=label))
    return samples


def _network(root: Path) -> Path:
    """A small convolutional network, its weights drawn from a fixed seed."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    images = keras.Input((SIDE, SIDE, 3))
    values = layers.Rescaling(1 / 255)(images)
    for n_maps in (16, 32, 64):
        values = layers.Conv2D(n_maps, 3, strides=2, padding="same", activation="relu")(values)
    outputs = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(values))
    path = root / "model.keras"
    keras.Model(images, outputs).save(path)
    return path


if __name__ == "__main__":
    main()
