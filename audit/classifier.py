"""The only seam to a model: logits, probabilities, gradients; numpy in, numpy out, one traced graph a purpose."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np


class Head(StrEnum):
    """What the network's outputs before the final activation mean."""

    SOFTMAX = "softmax"
    """One of K classes."""
    SIGMOID = "sigmoid"
    """K independent classes (multi-label)."""
    BINARY = "binary"
    """One output z for two classes: column 0 of the logits is -z, column 1 is z; probabilities are sigmoids."""


@dataclass(frozen=True)
class Preprocessing:
    """Images in [0, 1] to the model's input: channel order first, then `image * scale + offset`.

    Attributes:
        scale: per channel of the model's input.
        offset: per channel of the model's input.
        is_reversed: the model's input is BGR.
    """

    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    is_reversed: bool = False


class Network(Protocol):
    """A differentiable TensorFlow function, called only while a graph is traced."""

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of the input."""
        ...

    @property
    def n_outputs(self) -> int:
        """Outputs before the final activation."""
        ...

    @property
    def feature_layers(self) -> tuple[str, ...]:
        """Names of layers whose output is spatial, (B, h, w, C), in order from input to output."""
        ...

    @property
    def weight_groups(self) -> tuple[str, ...]:
        """Names of layers with weights, in order from input to output."""
        ...

    def __call__(self, inputs: Any, layers: Sequence[str] = ()) -> tuple[Any, list[Any]]:
        """Outputs (B, n_outputs) before softmax or sigmoid, and the outputs of `layers`, of a tensor of inputs."""
        ...

    def randomised(self, groups: Sequence[str], seed: int) -> "Network":
        """The same network with the weights of `groups` drawn anew."""
        ...


class Classifier:
    """A network with its preprocessing, run in calls of one fixed batch shape.

    Every method takes any number of rows B, splits them into calls of `batch_size` rows, pads the last one, and
    returns the rows of a call independent of the others in it. "Score" is what is explained: the target's logit, or
    its probability where `explain` is "probability".
    """

    n_classes: int
    image_shape: tuple[int, int]
    head: Head
    batch_size: int
    feature_layer: str | None

    def __init__(
        self,
        network: Network,
        preprocessing: Preprocessing,
        *,
        head: Head = Head.SOFTMAX,
        explain: str = "logit",
        batch_size: int = 16,
        callers: int = 2,
        feature_layer: str | None = None,
    ) -> None: ...

    def logits(self, images: np.ndarray) -> np.ndarray:
        """float32 (B, K) of images float32 (B, H, W, 3) in [0, 1]."""
        ...

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """float64 (B, K) in [0, 1]; rows sum to 1 unless the head is SIGMOID."""
        ...

    def scores(self, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """float64 (B,), the explained score."""
        ...

    def input_gradients(self, images: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores float64 (B,) and the gradient of the score by the image, float32 (B, H, W, 3)."""
        ...

    def directional_gradients(
        self, images: np.ndarray, directions: np.ndarray, targets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores float64 (B,) and gradient * direction summed over channels in the graph, float32 (B, H, W)."""
        ...

    def layer_gradients(
        self, images: np.ndarray, targets: np.ndarray, layer: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Activations and score gradients float32 (B, h, w, C) of `layer`, by default the last spatial feature map."""
        ...

    def features(self, images: np.ndarray) -> np.ndarray:
        """float32 (B, D), the last spatial feature map averaged over space (the model's own embedding)."""
        ...
