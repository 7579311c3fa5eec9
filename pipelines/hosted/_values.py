"""What both services' files say, in one form, and what both services' answers are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audit.types import MapStatus
from reports.visualization import Visualization

BaselineValue = float | np.ndarray
"""A value of every element, or float64 (H, W, 3) or (H, W); in units of the input tensor."""

DEFAULT_STEPS = 50
"""Where a file names a method and no step count: the number that users were told to start with."""


DEFAULT_NOISE = 0.1
"""SmoothGrad's sigma where a file has a smoothGradConfig and no sigma, in units of the input."""


@dataclass(frozen=True)
class HostedInput:
    """The image input.

    Attributes:
        name: its key under `inputs`, which an answer repeats.
        tensor: the attributed tensor (`input_pixels:0`) or signature input; None where the file names none.
        is_image: the modality is image, so the answer holds pictures.
        baselines: where paths start; empty means the method's own.
        low, high: what black and white are at the input tensor; None where the file does not say.
        mean, stddev: of the pixels before they were normalised; None where they were not.
        drawing: the options of the visualization that the file states, by field of Visualization.
        drawing_defaults: those of the service, for what the file does not state.
    """

    name: str
    tensor: str | None
    is_image: bool
    baselines: tuple[BaselineValue, ...] = ()
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    stddev: float | None = None
    drawing: Mapping[str, Any] = field(default_factory=dict)
    drawing_defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HostedOutput:
    """The explained output.

    Attributes:
        name: its key under `outputs`.
        tensor: its tensor or signature output; None where the file names none.
        class_names: in output order; empty where the file has none.
        class_names_key: key of the model's answer that holds the name of the explained class; None where unused.
    """

    name: str
    tensor: str | None
    class_names: tuple[str, ...] = ()
    class_names_key: str | None = None


@dataclass(frozen=True)
class HostedMethod:
    """A method with its parameters.

    Attributes:
        name: of `audit.attributions`.
        n_steps: equal steps of a path, 1 to 100.
        noise_sigma: SmoothGrad's, in units of the input tensor; None is no SmoothGrad.
        n_noisy: noisy copies, 1 to 50.
        blur_sigma: pixels; paths start from the image so blurred, not from the baselines; None does not blur.
    """

    name: str
    n_steps: int = DEFAULT_STEPS
    noise_sigma: float | None = None
    n_noisy: int = 3
    blur_sigma: float | None = None

    @property
    def spelled(self) -> str:
        """The name with `+smoothgrad` where it is smoothed."""
        return self.name if self.noise_sigma is None else f"{self.name}+smoothgrad"


@dataclass(frozen=True)
class HostedExplanation:
    """A metadata file.

    Attributes:
        service: file of `pipelines.hosted` that read it.
        input: the image.
        output: the scores.
        method: None where the file names none (AI Platform had it in the deployment).
        top_k: explain so many classes with the highest scores, -1 is all; None is one.
        output_indices: explain these instead; None explains top_k.
        signature: of the SavedModel that was served; None is its own choice.
        tags: notes of whoever made the file.
    """

    service: str
    input: HostedInput
    output: HostedOutput
    method: HostedMethod | None = None
    top_k: int | None = None
    output_indices: tuple[int, ...] | None = None
    signature: str | None = None
    tags: tuple[str, ...] = ()

    def visualization(self, method: str) -> Visualization:
        """How the file asks a method's maps to be drawn; the colours that it does not state depend on the method.

        Raises:
            ValueError: options contradict each other.
        """
        is_xrai = method.partition("+")[0] == "xrai"
        own = {"color_map": "viridis" if is_xrai else "pink_green", "overlay_type": "none"}
        defaults = {**own, **self.input.drawing_defaults}
        if is_xrai:
            # Outlines were the default of Integrated Gradients alone; a map of regions has its own areas.
            defaults.pop("type", None)
        return Visualization(**{**defaults, **self.input.drawing})


@dataclass(frozen=True)
class Answered:
    """One image with what was found out about it.

    Attributes:
        name: of the image.
        outputs: float64 (K,), the model's outputs for it; one for a model with a scalar output.
        attributions: one an explained class.
    """

    name: str
    outputs: np.ndarray
    attributions: tuple["Attributed", ...]


@dataclass(frozen=True)
class Attributed:
    """The attribution of one class.

    Attributes:
        target: the explained class; -1 for a scalar output.
        class_name: None where classes have no names.
        score, baseline_score: of the image, and the mean over the baselines.
        approx_error: as `audit.types.AttributionBatch`; NaN where the method has none.
        status: of the map.
        map: float32 (H, W), signed.
        picture: encoded; None where no picture was asked for.
        output_format: of the picture, "jpeg" or "png".
    """

    target: int
    class_name: str | None
    score: float
    baseline_score: float
    approx_error: float
    status: MapStatus
    map: np.ndarray
    picture: bytes | None
    output_format: str
