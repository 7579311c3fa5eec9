"""XRAI: Integrated Gradients summed up over regions of the image, ranked by their mean attribution.

The base attribution is the mean of Integrated Gradients from a black and a white baseline; every pixel of a
region gets the region's mean, so a map still sums to what the base sums to. Differences from the published
implementation: baselines are black and white, not the image's own darkest and brightest value, and channels
are summed before regions are ranked, not reduced to the largest, which would break completeness.
Source: Kapishnikov, Bolukbasi, Viegas, Terry. XRAI: Better Attributions Through Regions. ICCV 2019, sec. 3.
arXiv:1906.02825
"""

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import get_args

import numpy as np

from audit import baselines
from audit.attributions._merge import Algorithm, rank
from audit.attributions._segments import Segments, digest, segments
from audit.attributions.integrated_gradients import IntegratedGradients
from audit.classifier import Classifier
from audit.errors import ConfigError
from audit.parallel import map_images
from audit.types import AttributionBatch, MapStatus

__all__ = ["XRAI"]


@dataclass(frozen=True)
class XRAI:
    """XRAI.

    Attributes:
        algorithm: "full" looks for the best region anew after each one; "fast" takes them in the order of
            their own means, overlaps ignored.
        baseline, error_budget, max_gradients, n_steps: of the base attribution, see IntegratedGradients.
        cache: segments by `_segments.digest` of an image, read and filled; they do not depend on the model.
    """

    algorithm: Algorithm = "full"
    baseline: baselines.Choice | Sequence[baselines.Choice] = "black_white"
    error_budget: float = 0.05
    max_gradients: int = 128
    n_steps: int | None = None
    cache: MutableMapping[str, Segments] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.algorithm not in get_args(Algorithm):
            raise ConfigError(f"xrai: algorithm must be full or fast, found {self.algorithm!r}")
        self._base  # noqa: B018  its own checks run when it is made

    @property
    def _base(self) -> IntegratedGradients:
        return IntegratedGradients(self.baseline, self.error_budget, self.max_gradients, self.n_steps)

    def __call__(
        self, classifier: Classifier, images: np.ndarray, targets: np.ndarray, seeds: np.ndarray
    ) -> AttributionBatch:
        """Maps in units of the score; errors and status are the base's.

        A constant image has no regions: its map is zero and its status EMPTY, as is that of an empty base.
        """
        base = self._base(classifier, images, targets, seeds)
        is_constant = images.min(axis=(1, 2, 3)) == images.max(axis=(1, 2, 3))
        is_empty = is_constant | (base.status == MapStatus.EMPTY)
        rows = np.flatnonzero(~is_empty)
        found = self._segments(images[rows])
        ranked = map_images(partial(_map, algorithm=self.algorithm), base.maps[rows], found)
        maps = np.zeros_like(base.maps)
        for row, ranked_map in zip(rows, ranked, strict=True):
            maps[row] = ranked_map
        status = base.status.copy()
        status[is_empty] = MapStatus.EMPTY
        approx_error = np.where(is_empty, np.nan, base.approx_error)
        return replace(base, maps=maps, status=status, approx_error=approx_error)

    def _segments(self, images: np.ndarray) -> list[Segments]:
        """Segments of each image; equal images and cached ones are not segmented again."""
        keys = [digest(image) for image in images]
        cached = {} if self.cache is None else {key: self.cache.get(key) for key in keys}
        known = {key: found for key, found in cached.items() if found is not None}
        missing = {key: image for key, image in zip(keys, images, strict=True) if key not in known}
        new = dict(zip(missing, map_images(segments, list(missing.values())), strict=True))
        if self.cache is not None:
            self.cache.update(new)
        return [known[key] if key in known else new[key] for key in keys]


def _map(base: np.ndarray, found: Segments, algorithm: Algorithm) -> np.ndarray:
    return rank(base, found, algorithm)[0]
