"""Every method against the pure gradient floor of the same network, and against its peers, in one process.

    python -m benchmarks.speed --model model.keras [--images 32] [--peer-images 2] [--steps 25] [--rounds 3]
        [--peers DIR]

The floor of a method that spends gradients is the folded network's gradient graph alone, on tensors that are ready,
in calls of the same batch size with two calls in flight: what a method would take that did nothing but its gradients.
That of Grad-CAM is one forward pass plus the gradient behind the last feature map, likewise. Variants run in turn,
round by round, so that a drift of the machine meets them all; ratios are medians of the rounds' ratios. Peers get the
plain Keras model, which is all they take; those that are installed, in the environment or in the folder `--peers`,
are measured, on fewer pictures, since they go picture by picture anyway; the others are named. The photographs are
those that scikit-image ships. Takes five to eight minutes on two cores.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audit.attributions._names import build
from audit.classifier import Classifier
from benchmarks._peers import PEERS, Subject
from pipelines.config import ModelConfig
from pipelines.models import load_classifier

BATCH_SIZE = 16
CALLERS = 2
GRADIENT_FLOOR, CAM_FLOOR = "floor: gradients alone", "floor: forward passes and the head's gradients"


@dataclass(frozen=True)
class Variant:
    """Something to measure.

    Attributes:
        name: how it is printed.
        run: what is measured.
        n_images: pictures it explains.
        n_gradients: gradients, or passes, of each picture.
        floor: name of the floor it is held against.
        ours: the method of ours that a peer is held against; None for our own.
    """

    name: str
    run: Callable[[], Any]
    n_images: int
    n_gradients: int
    floor: str
    ours: str | None = None


def main() -> None:
    """Prints a Markdown table."""
    options = _options()
    if options.peers:
        # Behind the environment's own packages, so that a peer does not bring its versions of them.
        sys.path.append(str(options.peers))
    loaded = load_classifier(ModelConfig(path=options.model), batch_size=BATCH_SIZE, callers=CALLERS)
    classifier = loaded.classifier
    images = _photographs(options.images, classifier.image_shape)
    targets = classifier.probabilities(images).argmax(axis=1)
    variants = [
        *_floors(classifier, images, targets, options.steps),
        *_ours(classifier, images, targets, options.steps),
        *_theirs(classifier, images, targets, options),
    ]
    _print(variants, _measured(variants, options.rounds), options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, required=True, help="a .keras file with its class names beside it"
    )
    parser.add_argument("--images", type=int, default=32, help="pictures for our methods and the floors")
    parser.add_argument(
        "--peer-images", type=int, default=2, help="pictures for the peers; 0 leaves them out"
    )
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--peers", type=Path, help="folder that peers are installed in, besides the environment"
    )
    return parser.parse_args()


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


def _floors(classifier: Classifier, images: np.ndarray, targets: np.ndarray, steps: int) -> list[Variant]:
    """The classifier's own graphs on tensors that are ready; what they return stays where it is."""
    import tensorflow as tf

    layer = str(classifier.feature_layer)
    specs = [tf.TensorSpec((BATCH_SIZE, *images.shape[1:])), tf.TensorSpec((BATCH_SIZE,), tf.int64)]
    bodies = {
        GRADIENT_FLOOR: (classifier._gradients_graph, steps),
        CAM_FLOOR: (lambda x, t: classifier._layer_graph(layer, x, t), 1),
    }
    starts = range(0, len(images) - BATCH_SIZE + 1, BATCH_SIZE)
    ready = [
        (tf.constant(images[start : start + BATCH_SIZE]), tf.constant(targets[start : start + BATCH_SIZE]))
        for start in starts
    ]
    n_images = len(ready) * BATCH_SIZE
    variants = []
    for name, (body, n_gradients) in bodies.items():
        graph = tf.function(body, input_signature=specs, autograph=False).get_concrete_function()

        def run(graph: Any = graph, repeats: int = n_gradients) -> None:
            with ThreadPoolExecutor(CALLERS) as pool:
                list(pool.map(lambda rows: graph(*rows), ready * repeats))

        variants.append(Variant(name, run, n_images, n_gradients, name))
    return variants


def _ours(classifier: Classifier, images: np.ndarray, targets: np.ndarray, steps: int) -> list[Variant]:
    seeds = np.arange(len(images), dtype=np.uint64)
    parameters: dict[str, dict[str, Any]] = {
        "integrated_gradients": {"n_steps": steps - 1},
        "blur_integrated_gradients": {"n_steps": steps - 1},
        "guided_integrated_gradients": {"n_steps": steps},
        "smoothgrad": {"n_samples": steps},
    }
    variants = []
    for name, n_gradients in {
        "gradient": 1,
        "grad_cam": 1,
        "grad_cam_plus_plus": 1,
        "gradient+smoothgrad": steps,
        "integrated_gradients": steps,
        "blur_integrated_gradients": steps,
        "guided_integrated_gradients": steps,
    }.items():
        method = build(name, parameters, 0.05)

        def run(method: Any = method) -> Any:
            return method(classifier, images, targets, seeds)

        floor = CAM_FLOOR if name.startswith("grad_cam") else GRADIENT_FLOOR
        variants.append(Variant(name, run, len(images), n_gradients, floor))
    return variants


def _theirs(
    classifier: Classifier, images: np.ndarray, targets: np.ndarray, options: argparse.Namespace
) -> list[Variant]:
    """The peers that are installed, by the method of ours that they are held against."""
    import keras

    n_images = options.peer_images
    if not n_images:
        return []
    model = keras.models.load_model(options.model, compile=False)
    if isinstance(model.layers[-1], keras.layers.Softmax | keras.layers.Activation):
        model = keras.Model(model.inputs, model.layers[-1].input)
    inputs = images[:n_images] * np.float32(255)
    layer = str(classifier.feature_layer)
    subject = Subject(model, inputs, targets[:n_images], layer, options.steps, BATCH_SIZE)
    variants = []
    for peer in PEERS:
        try:
            found = peer(subject)
        except ImportError as error:
            print(f"- left out, not installed: {peer.__name__} ({error})", flush=True)
            continue
        for name, (ours, run) in found.items():
            n_gradients = 1 if ours in ("gradient", "grad_cam") else options.steps
            floor = CAM_FLOOR if ours == "grad_cam" else GRADIENT_FLOOR
            variants.append(Variant(name, run, n_images, n_gradients, floor, ours))
    return variants


def _measured(variants: list[Variant], rounds: int) -> dict[str, list[float]]:
    """Seconds a gradient of each round, after one that traces and warms up."""
    seconds: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for number in range(rounds + 1):
        for variant in variants:
            started = time.perf_counter()
            variant.run()
            if number:
                spent = time.perf_counter() - started
                seconds[variant.name].append(spent / variant.n_images / variant.n_gradients)
    return seconds


def _print(variants: list[Variant], seconds: dict[str, list[float]], options: argparse.Namespace) -> None:
    print(f"{options.model.name}: {options.images} pictures ({options.peer_images} for the peers)", end=", ")
    print(f"{options.steps} gradients each, batch {BATCH_SIZE}, medians of {options.rounds} rounds\n")
    print("| what | s/picture | ms/gradient | x floor | x ours |\n|---|---|---|---|---|")
    for variant in variants:
        each = statistics.median(seconds[variant.name])
        floor = _ratio(seconds[variant.name], seconds[variant.floor])
        ours = "" if variant.ours is None else f"{_ratio(seconds[variant.name], seconds[variant.ours]):.1f}"
        cells = (f"{each * variant.n_gradients:.3f}", f"{1000 * each:.1f}", f"{floor:.2f}", ours)
        print(f"| {variant.name} | {' | '.join(cells)} |")


def _ratio(first: list[float], second: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


if __name__ == "__main__":
    main()
