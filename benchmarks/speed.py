"""Every method against the pure batched-gradient floor of the same network, and against a peer, in one process.

    python -m benchmarks.speed --model model.keras [--images 8] [--steps 25] [--rounds 5]

The floor is the folded network's gradient on ready tensors, in calls of the same batch size with two calls in flight:
what a method would take that did nothing but its gradients. Variants run in turn, round by round, so that a drift of
the machine meets them all; medians are shown. The peer is the package `saliency` (extra `benchmarks`), in the way that
is fastest for it: its call to the model is one traced function, its batches are of the number of steps.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from audit.attributions._names import build
from audit.classifier import Classifier
from pipelines.config import ModelConfig
from pipelines.models import load_classifier

BATCH_SIZE = 16


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, required=True, help="a .keras file with its class names beside it"
    )
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    loaded = load_classifier(ModelConfig(path=arguments.model), batch_size=BATCH_SIZE, callers=2)
    images = _photographs(arguments.images, loaded.classifier.image_shape)
    seconds = _measured(
        _variants(loaded.classifier, images, arguments.steps, arguments.model), arguments.rounds
    )
    _print(seconds, arguments)


def _photographs(n: int, shape: tuple[int, int]) -> np.ndarray:
    """Crops of the photographs that scikit-image ships, float32 (n, H, W, 3) in [0, 1]."""
    import skimage.data
    from skimage.transform import resize

    sources = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket()]
    crops = []
    for number in range(n):
        source = sources[number % len(sources)]
        margin = 8 * (number // len(sources) + 1)
        crops.append(resize(source[margin:-margin, margin:-margin], shape, anti_aliasing=True))
    return np.stack(crops).astype(np.float32)


def _variants(
    classifier: Classifier, images: np.ndarray, steps: int, model: Path
) -> dict[str, tuple[int, Callable[[], Any]]]:
    """Name -> (gradients a picture, what to run)."""
    n = len(images)
    targets = classifier.probabilities(images).argmax(axis=1)
    seeds = np.arange(n, dtype=np.uint64)
    parameters: dict[str, dict[str, Any]] = {
        "integrated_gradients": {"n_steps": steps - 1},
        "blur_integrated_gradients": {"n_steps": steps - 1},
        "guided_integrated_gradients": {"n_steps": steps},
        "smoothgrad": {"n_samples": steps},
    }
    methods = {
        "gradient": 1,
        "grad_cam": 1,
        "grad_cam_plus_plus": 1,
        "gradient+smoothgrad": steps,
        "integrated_gradients": steps,
        "blur_integrated_gradients": steps,
        "guided_integrated_gradients": steps,
    }
    rows = np.repeat(images, steps, axis=0)
    row_targets = np.repeat(targets, steps)
    variants: dict[str, tuple[int, Callable[[], Any]]] = {
        "floor: gradients alone": (steps, lambda: classifier.directional_gradients(rows, rows, row_targets)),
        "floor: forward passes alone": (steps, lambda: classifier.logits(rows)),
    }
    for name, gradients in methods.items():
        method = build(name, parameters, 0.05)
        variants[name] = (gradients, lambda method=method: method(classifier, images, targets, seeds))  # type: ignore[misc]
    return variants | _peers(images, targets, steps, model)


def _peers(
    images: np.ndarray, targets: np.ndarray, steps: int, model: Path
) -> dict[str, tuple[int, Callable[[], Any]]]:
    """The same methods of the package `saliency`, if it is installed."""
    try:
        from saliency import core
    except ImportError:
        return {}
    call = _peer_call(core, model)
    scaled = images * 255.0

    def each(mask: Callable[..., Any], **options: Any) -> Callable[[], list[Any]]:
        return lambda: [
            mask(x, call, {"target": int(t)}, **options) for x, t in zip(scaled, targets, strict=True)
        ]

    path = {"x_steps": steps, "batch_size": steps}
    return {
        "saliency: gradient": (1, each(core.GradientSaliency().GetMask)),
        "saliency: smoothgrad": (steps, each(core.GradientSaliency().GetSmoothedMask, nsamples=steps)),
        "saliency: integrated gradients": (
            steps,
            each(core.IntegratedGradients().GetMask, x_baseline=np.zeros_like(images[0]), **path),
        ),
        "saliency: blur integrated gradients": (
            steps,
            each(core.BlurIG().GetMask, steps=steps, batch_size=steps),
        ),
    }


def _peer_call(core: Any, model: Path) -> Callable[..., dict[str, np.ndarray]]:
    """The peer's way to the model: plain Keras inside one traced function a batch shape."""
    import keras
    import tensorflow as tf

    network = keras.models.load_model(model, compile=False)
    if isinstance(network.layers[-1], keras.layers.Softmax):
        network = keras.Model(network.inputs, network.layers[-1].input)

    @tf.function(jit_compile=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def gradients(batch: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(batch)
            score = network(batch, training=False)[:, target]
        return tape.gradient(score, batch)

    def call(values: Any, call_model_args: Any, expected_keys: Any) -> dict[str, np.ndarray]:
        batch = tf.constant(np.asarray(values, np.float32))
        target = tf.constant(call_model_args["target"])
        return {core.base.INPUT_OUTPUT_GRADIENTS: gradients(batch, target).numpy()}

    return call


def _measured(
    variants: dict[str, tuple[int, Callable[[], Any]]], rounds: int
) -> dict[str, tuple[int, list[float]]]:
    """Seconds of each round, after one that traces and warms up."""
    seconds: dict[str, tuple[int, list[float]]] = {
        name: (gradients, []) for name, (gradients, _) in variants.items()
    }
    for number in range(rounds + 1):
        for name, (_, run) in variants.items():
            started = time.perf_counter()
            run()
            if number:
                seconds[name][1].append(time.perf_counter() - started)
    return seconds


def _print(seconds: dict[str, tuple[int, list[float]]], arguments: argparse.Namespace) -> None:
    floor = _floor(seconds, "floor: gradients alone", arguments.images)
    forward = _floor(seconds, "floor: forward passes alone", arguments.images)
    print(f"{arguments.images} pictures, {arguments.steps} steps, batch {BATCH_SIZE}", end=", ")
    print(f"medians of {arguments.rounds} rounds\n")
    print("| what | s/picture | ms/gradient | x floor |\n|---|---|---|---|")
    for name, (gradients, rounds) in seconds.items():
        each = statistics.median(rounds) / arguments.images
        base = forward if name.startswith("grad_cam") or "forward" in name else floor
        print(f"| {name} | {each:.3f} | {1000 * each / gradients:.1f} | {each / gradients / base:.2f} |")
    print("\nGrad-CAM is held against forward passes, everything else against gradients.")


def _floor(seconds: dict[str, tuple[int, list[float]]], name: str, n_images: int) -> float:
    gradients, rounds = seconds[name]
    return statistics.median(rounds) / n_images / gradients


if __name__ == "__main__":
    main()
