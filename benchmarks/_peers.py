"""Other packages' ways to explain the same pictures with the same model, each as fast as it goes without changes.

A peer is a function of a `Subject` that gives its variants, name -> (method it is held against, what to run). A
peer that is not installed is left out. What had to be worked around is said where it is done.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

Variants = Mapping[str, tuple[str, Callable[[], Any]]]


@dataclass(frozen=True)
class Subject:
    """What is explained.

    Attributes:
        model: the Keras model, ending in logits, of inputs (N, H, W, 3).
        inputs: float32 (B, H, W, 3), as the model takes them.
        targets: int64 (B,).
        layer: name of the last spatial layer.
        steps: gradients a picture.
        batch_size: rows of a call, where the peer has such an option.
    """

    model: Any
    inputs: np.ndarray
    targets: np.ndarray
    layer: str
    steps: int
    batch_size: int

    def each(self, explain: Callable[[np.ndarray, int], Any]) -> Callable[[], Any]:
        """Picture by picture."""
        return lambda: [explain(x, int(t)) for x, t in zip(self.inputs, self.targets, strict=True)]


def saliency(subject: Subject) -> Variants:
    """The package of Google PAIR; the call to the model, which is the user's part, is one traced function."""
    from saliency import core

    call = _traced_call(core.base, subject)
    black = np.zeros_like(subject.inputs[0])
    batch = {"batch_size": subject.batch_size}

    def mask(method: Any, function: str = "GetMask", **options: Any) -> Callable[[], Any]:
        explain = getattr(method, function)
        return subject.each(lambda x, target: explain(x, call, {"target": target}, **options))

    guided = mask(core.GuidedIG(), x_steps=subject.steps, x_baseline=black)
    return {
        "saliency gradient": ("gradient", mask(core.GradientSaliency())),
        "saliency SmoothGrad": (
            "gradient+smoothgrad",
            mask(core.GradientSaliency(), "GetSmoothedMask", nsamples=subject.steps),
        ),
        "saliency IG": (
            "integrated_gradients",
            mask(core.IntegratedGradients(), x_steps=subject.steps, x_baseline=black, **batch),
        ),
        "saliency Blur IG": ("blur_integrated_gradients", mask(core.BlurIG(), steps=subject.steps, **batch)),
        "saliency Guided IG": ("guided_integrated_gradients", _with_old_quantile(guided)),
        "saliency Grad-CAM": ("grad_cam", mask(core.GradCam())),
    }


def xplique(subject: Subject) -> Variants:
    """The package of the DEEL project; pictures go in as one batch."""
    from xplique.attributions import GradCAM, IntegratedGradients, Saliency, SmoothGrad

    one_hot = np.eye(subject.model.output_shape[-1], dtype=np.float32)[subject.targets]
    batch = {"batch_size": subject.batch_size}

    def explained(method: Any) -> Callable[[], Any]:
        return lambda: method.explain(subject.inputs, one_hot)

    model = subject.model
    return {
        "xplique gradient": ("gradient", explained(Saliency(model, **batch))),
        "xplique SmoothGrad": (
            "gradient+smoothgrad",
            explained(SmoothGrad(model, nb_samples=subject.steps, noise=0.15 * 255, **batch)),
        ),
        "xplique IG": (
            "integrated_gradients",
            explained(IntegratedGradients(model, steps=subject.steps, **batch)),
        ),
        "xplique Grad-CAM": ("grad_cam", explained(GradCAM(model, conv_layer=subject.layer, **batch))),
    }


def tf_explain(subject: Subject) -> Variants:
    """sicara/tf-explain; it draws its maps as well. Its Grad-CAM needs the layer's name under Keras 3."""
    from tf_explain.core.grad_cam import GradCAM
    from tf_explain.core.integrated_gradients import IntegratedGradients
    from tf_explain.core.smoothgrad import SmoothGrad

    def explained(method: Any, **options: Any) -> Callable[[], Any]:
        return subject.each(lambda x, t: method.explain((x[None], None), subject.model, t, **options))

    return {
        "tf-explain SmoothGrad": (
            "gradient+smoothgrad",
            explained(SmoothGrad(), num_samples=subject.steps, noise=0.15 * 255),
        ),
        "tf-explain IG": ("integrated_gradients", explained(IntegratedGradients(), n_steps=subject.steps)),
        "tf-explain Grad-CAM": ("grad_cam", explained(GradCAM(), layer_name=subject.layer)),
    }


def tf_keras_vis(subject: Subject) -> Variants:
    """keisen/tf-keras-vis; pictures go in as one batch."""
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.scores import CategoricalScore

    score = CategoricalScore([int(target) for target in subject.targets])
    gradients, cam = Saliency(subject.model, clone=False), Gradcam(subject.model, clone=False)
    layer = {"penultimate_layer": subject.layer}
    return {
        "tf-keras-vis gradient": ("gradient", lambda: gradients(score, subject.inputs)),
        "tf-keras-vis SmoothGrad": (
            "gradient+smoothgrad",
            lambda: gradients(score, subject.inputs, smooth_samples=subject.steps, smooth_noise=0.15),
        ),
        "tf-keras-vis Grad-CAM": ("grad_cam", lambda: cam(score, subject.inputs, **layer)),
    }


PEERS = (saliency, xplique, tf_explain, tf_keras_vis)


def _traced_call(names: Any, subject: Subject) -> Callable[..., dict[str, np.ndarray]]:
    """What the package `saliency` asks of its user: gradients of a batch by the input or by the last feature map."""
    import keras
    import tensorflow as tf

    model = subject.model
    with_map = keras.Model(model.inputs, [model.get_layer(subject.layer).output, model.output])

    @tf.function(jit_compile=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def by_input(batch: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(batch)
            score = model(batch, training=False)[:, target]
        return tape.gradient(score, batch)

    @tf.function(jit_compile=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def by_map(batch: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            maps, logits = with_map(batch, training=False)
            score = logits[:, target]
        return maps, tape.gradient(score, maps)

    def call(values: Any, call_model_args: Any, expected_keys: Any) -> dict[str, np.ndarray]:
        batch, target = tf.constant(np.asarray(values, np.float32)), tf.constant(call_model_args["target"])
        if names.CONVOLUTION_LAYER_VALUES not in expected_keys:
            return {names.INPUT_OUTPUT_GRADIENTS: by_input(batch, target).numpy()}
        maps, gradients = by_map(batch, target)
        return {
            names.CONVOLUTION_LAYER_VALUES: maps.numpy(),
            names.CONVOLUTION_OUTPUT_GRADIENTS: gradients.numpy(),
        }

    return call


def _with_old_quantile(run: Callable[[], Any]) -> Callable[[], Any]:
    """Guided IG of `saliency` 0.2.1 names an argument of numpy.quantile as NumPy did before 2.4."""

    @contextmanager
    def renamed() -> Iterator[None]:
        quantile = np.quantile
        np.quantile = lambda values, share, interpolation="linear": quantile(
            values, share, method=interpolation
        )  # type: ignore[assignment]
        try:
            yield
        finally:
            np.quantile = quantile

    def patched() -> Any:
        with renamed():
            return run()

    return patched
