"""XRAI after the gradients, against the reference package `saliency`, on drawn pictures and attributions.

    python benchmarks/xrai.py [rounds]

Segmentation, growing and merging, interleaved in one process; processor time, so that other programs on the
machine count little; medians over pictures and rounds. The compiled kernels, where installed, are compiled
before. Prints Markdown. Needs the extra `benchmarks`.
"""

import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import TypeVar

import numpy as np
from saliency.core import xrai as reference
from scipy.ndimage import gaussian_filter

from audit.attributions._merge import Algorithm, rank
from audit.attributions._segments import segments

SIZES = ((224, 224), (256, 192), (320, 320))
N_IMAGES = 3
STEPS = ("reference", "segments", "rank")

Result = TypeVar("Result")


def picture(shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture with structure at several scales, uint8 (H, W, 3), and a float32 base attribution."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(5, *shape, 3))
    layers = [sigma * gaussian_filter(noise[i], (sigma, sigma, 0)) for i, sigma in enumerate((1, 3, 8, 24))]
    light = np.sum(layers, axis=0)
    image = np.interp(light, (light.min(), light.max()), (0, 255)).astype(np.uint8)
    return image, gaussian_filter(noise[4], (4, 4, 0)).astype(np.float32)


def published(image: np.ndarray, base: np.ndarray, algorithm: Algorithm) -> tuple[np.ndarray, np.ndarray]:
    parameters = reference.XRAIParameters(algorithm=algorithm, return_xrai_segments=True)
    method = reference.XRAI()
    output = method.GetMaskWithDetails(image, None, base_attribution=base, extra_parameters=parameters)
    return output.attribution_mask, output.segments


def timed(times: list[float], function: Callable[..., Result], *arguments: object) -> Result:
    start = time.process_time()
    result = function(*arguments)
    times.append(1000 * (time.process_time() - start))
    return result


def row(shape: tuple[int, int], algorithm: Algorithm, rounds: int) -> str:
    times: dict[str, list[float]] = {step: [] for step in STEPS}
    is_equal = True
    for seed in range(N_IMAGES):
        image, base = picture(shape, seed)
        for _ in range(rounds):
            wanted = timed(times["reference"], published, image, base, algorithm)
            found = timed(times["segments"], segments, image)
            ranked = timed(times["rank"], rank, base, found, algorithm)
            is_equal &= bool(np.abs(ranked[0] - wanted[0]).max() <= 1e-5 and (ranked[1] == wanted[1]).all())
    whole, segmenting, ranking = (float(np.median(times[step])) for step in STEPS)
    numbers = (whole, segmenting, ranking, whole / (segmenting + ranking), whole / ranking)
    cells = [f"{shape[0]} x {shape[1]}", algorithm, *(f"{number:.0f}" for number in numbers), str(is_equal)]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    segments(picture((64, 64), 0)[0])
    print(f"numba: {'installed' if find_spec('numba') else 'not installed'}; ms an image, {rounds} rounds\n")
    print("| size | algorithm | reference | segments | rank | times faster | segments cached | equal |")
    print("|---|---|---|---|---|---|---|---|")
    for shape in SIZES:
        for algorithm in ("full", "fast"):
            print(row(shape, algorithm, rounds), flush=True)


if __name__ == "__main__":
    main()
