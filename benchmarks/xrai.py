"""XRAI after the gradients, against the reference package `saliency`, on drawn pictures with drawn base attributions.

    python benchmarks/xrai.py [rounds]

Segmentation, growing and merging on one core, interleaved in one process, medians over rounds; the compiled kernels,
where installed, are compiled before. Prints Markdown. Needs the extra `benchmarks`.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from saliency.core import xrai as reference
from scipy.ndimage import gaussian_filter

from audit.attributions._merge import Algorithm, rank
from audit.attributions._segments import segments

SIZES = ((224, 224), (256, 192), (320, 320))
N_IMAGES = 4


def picture(shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture with structure at several scales, uint8 (H, W, 3), and a base attribution, float32 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    layers = [sigma * gaussian_filter(rng.normal(size=(*shape, 3)), (sigma, sigma, 0)) for sigma in (1, 3, 8, 24)]
    light = np.sum(layers, axis=0)
    image = np.interp(light, (light.min(), light.max()), (0, 255)).astype(np.uint8)
    base = gaussian_filter(rng.normal(size=(*shape, 3)), (4, 4, 0)).astype(np.float32)
    return image, base


def by_reference(image: np.ndarray, base: np.ndarray, algorithm: Algorithm) -> tuple[np.ndarray, np.ndarray]:
    parameters = reference.XRAIParameters(algorithm=algorithm, return_xrai_segments=True)
    output = reference.XRAI().GetMaskWithDetails(image, None, base_attribution=base, extra_parameters=parameters)
    return output.attribution_mask, output.segments


def timed(function: Callable[[], object], times: list[float]) -> object:
    start = time.perf_counter()
    result = function()
    times.append(time.perf_counter() - start)
    return result


def row(shape: tuple[int, int], algorithm: Algorithm, rounds: int) -> str:
    times: dict[str, list[float]] = {"reference": [], "segments": [], "rank": []}
    is_equal = True
    for seed in range(N_IMAGES):
        image, base = picture(shape, seed)
        for _ in range(rounds):
            wanted = timed(lambda image=image, base=base: by_reference(image, base, algorithm), times["reference"])
            found = timed(lambda image=image: segments(image), times["segments"])
            ranked = timed(lambda found=found, base=base: rank(base, found, algorithm), times["rank"])
            is_equal &= np.abs(ranked[0] - wanted[0]).max() <= 1e-5 and np.array_equal(ranked[1], wanted[1])
    medians = {name: float(np.median(values)) for name, values in times.items()}
    cold = medians["reference"] / (medians["segments"] + medians["rank"])
    cells = [
        f"{shape[0]} x {shape[1]}",
        algorithm,
        *(f"{1000 * medians[name]:.1f}" for name in ("reference", "segments", "rank")),
        f"{cold:.0f}",
        f"{medians['reference'] / medians['rank']:.0f}",
        "yes" if is_equal else "no",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    image, _ = picture((64, 64), 0)
    segments(image)
    print(f"numba: {'installed' if find_spec('numba') else 'not installed'}; ms per image, {rounds} rounds\n")
    print("| size | algorithm | reference | segments | rank | times faster | with segments cached | equal |")
    print("|---|---|---|---|---|---|---|---|")
    for shape in SIZES:
        for algorithm in ("full", "fast"):
            print(row(shape, algorithm, rounds), flush=True)


if __name__ == "__main__":
    main()
