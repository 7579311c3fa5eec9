"""Blur Integrated Gradients: gradients along a path that blurs the image, times the steps of that path.

No baseline colour is needed, and nothing appears on the path that is not in the image. The telescoped
trapezoid rule sum of (grad F(z_i) + grad F(z_i+1)) / 2 * (z_i - z_i+1) is exact for a linear model whatever
the nodes, which a rule over the width with a numerical derivative of the blur is not. Edges: weights outside
the image are left out and the others rescaled, where the published code pads with black and darkens corners.
Completeness: a map sums to score(image) - score(image at the widest blur), up to `approx_error`; the error
budget is that of integrated_gradients, on segments of this path.
Source: Xu, Venugopalan, Sundararajan. Attribution in Scale and Space. CVPR 2020, sec. 3. arXiv:2004.03383
"""

from dataclasses import dataclass

import numpy as np

from audit import baselines
from audit.attributions._blur import Blur
from audit.attributions._paths import Budget, Node, attribution_batch, integrate
from audit.classifier import Classifier
from audit.errors import ConfigError
from audit.types import AttributionBatch

__all__ = ["BlurIntegratedGradients"]


@dataclass(frozen=True)
class BlurIntegratedGradients:
    """Blur Integrated Gradients.

    Attributes:
        max_sigma: standard deviation of the widest blur, as a share of the image's longer side; the default
            is the
            published 50 pixels at 224.
        error_budget: local_error to go on to, as a share of the score difference.
        max_gradients: gradients a sample may spend.
        n_steps: a fixed number of segments (n_steps + 1 gradients) in place of the budget.
    """

    max_sigma: float = 50.0 / 224.0
    error_budget: float = 0.05
    max_gradients: int = 128
    n_steps: int | None = None

    def __post_init__(self) -> None:
        self._budget.check("blur_integrated_gradients")
        if not 0.0 < self.max_sigma <= 1.0:
            raise ConfigError(
                "blur_integrated_gradients: max_sigma is a share of the longer side, above 0, up to 1; "
                f"got {self.max_sigma:g} (50 pixels at 224 are {50 / 224:.3f})"
            )

    @property
    def _budget(self) -> Budget:
        return Budget(self.error_budget, self.max_gradients, self.n_steps)

    def __call__(
        self, classifier: Classifier, images: np.ndarray, targets: np.ndarray, seeds: np.ndarray
    ) -> AttributionBatch:
        """Maps in units of the score; BASELINE_TOO_CLOSE compares the image with its widest blur."""
        height, width = images.shape[1:3]
        blur, widest = Blur((height, width)), self.max_sigma * max(height, width)
        lines = np.ascontiguousarray(images.swapaxes(2, 3))
        paths = _BlurPaths(classifier, lines, targets, blur, widest)
        blurred = blur(images, widest)
        return attribution_batch(
            integrate(classifier, paths, self._budget),
            image_shape=(height, width),
            distances=baselines.score_distance(classifier, images, [blurred], targets),
            error_budget=self.error_budget,
        )


@dataclass(frozen=True)
class _BlurPaths:
    """From the widest blur, place 0, to the image, place 1; widths grow with the square of the way from the
    image.

    So nodes are denser near the image, where detail and with it the score change fastest.
    """

    classifier: Classifier
    lines: np.ndarray
    targets: np.ndarray
    blur: Blur
    widest: float

    @property
    def n_paths(self) -> int:
        return len(self.lines)

    @property
    def node_bytes(self) -> int:
        return int(2 * 4 * np.prod(self.lines.shape[1:]))

    def evaluate(self, owners: np.ndarray, places: list[float]) -> list[Node]:
        height, channels, width = self.lines.shape[1:]
        points = np.empty((len(owners), height, width, channels), dtype=np.float32)
        for point, owner, place in zip(points, owners, places, strict=True):
            blurred = self.blur.line_by_line(self.lines[owner], self.widest * (1.0 - place) ** 2)
            point[:] = blurred.swapaxes(1, 2)
        scores, gradients = self.classifier.input_gradients(points, self.targets[owners])
        # Copies, because a view would keep the pictures of a whole call alive.
        return [
            Node(place, float(score), (point.copy(), gradient.copy()))
            for place, score, point, gradient in zip(places, scores, points, gradients, strict=True)
        ]

    def quadrature(self, left: Node, right: Node) -> float:
        (start, start_gradient), (end, end_gradient) = left.values, right.values
        products = start_gradient + end_gradient
        products *= end - start
        # Not a dot product: that of NumPy's library starts threads of its own, which the model's wait for.
        return 0.5 * float(products.sum(dtype=np.float64))

    def share(self, before: Node, node: Node, after: Node) -> np.ndarray:
        way = after.values[0] - before.values[0]
        way *= node.values[1]
        way *= np.float32(0.5)
        return np.asarray(way)
