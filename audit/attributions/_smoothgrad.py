"""SmoothGrad: the mean of the maps of noisy copies of an image, around any method.

Signed maps are averaged; squaring them first is an option (SmoothGrad-Squared of Hooker et al. 2019). Copies
are not clipped to [0, 1], as in the paper: clipping would bias the noise on black and white pixels.
Source: Smilkov, Thorat, Kim, Viégas, Wattenberg. SmoothGrad: removing noise by adding noise. 2017, sec. 3.
arXiv:1706.03825; Hooker et al. A Benchmark for Interpretability Methods. NeurIPS 2019. arXiv:1806.10758
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from audit.attributions import AttributionMethod
from audit.classifier import Classifier
from audit.errors import ConfigError
from audit.types import AttributionBatch, MapStatus

_NOISE_STREAM = 0x6E6F697365

_CALLS_AT_ONCE = 8
"""The wrapped method gets about this many calls' worth of copies: few partly filled calls, bounded memory."""


@dataclass(frozen=True)
class SmoothGrad:
    """SmoothGrad around a method.

    Attributes:
        method: what explains each copy.
        n_samples: noisy copies of each image; the paper sees little gain beyond 50.
        sigma: standard deviation of the noise as a share of the value range [0, 1]; the paper finds 0.1 to
            0.2 best,
            the hosted services used 0.1. 0 gives the method's own maps.
        squared: average the squares of the maps; they then are not negative.
    """

    method: AttributionMethod
    n_samples: int = 25
    sigma: float = 0.15
    squared: bool = False

    def __post_init__(self) -> None:
        if self.n_samples < 1:
            raise ConfigError(f"smoothgrad: n_samples must be at least 1, got {self.n_samples}")
        if not 0.0 <= self.sigma <= 1.0:
            raise ConfigError(
                f"smoothgrad: sigma is a share of the value range, in [0, 1]; got {self.sigma:g}"
            )

    def __call__(
        self, classifier: Classifier, images: np.ndarray, targets: np.ndarray, seeds: np.ndarray
    ) -> AttributionBatch:
        """Means over the copies: of the maps and of both errors; gradients add up.

        The status is EMPTY where the mean map is zero everywhere. Otherwise it is what most copies with a map
        have, and whether that is CONVERGED or NOT_CONVERGED is decided by the mean local_error against the
        method's budget: the error of a mean map is at most the mean of the errors.
        """
        n_together = max(_CALLS_AT_ONCE * classifier.batch_size // self.n_samples, 1)
        # No picture is one part too, which knows the shape of the maps.
        parts = [slice(first, first + n_together) for first in range(0, max(len(images), 1), n_together)]
        explained = []
        with ThreadPoolExecutor(1) as pool:
            # Noise of the next images is drawn while the model works on these.
            drawn = pool.submit(self._copies, images[parts[0]], seeds[parts[0]])
            for part, after in zip_longest(parts, parts[1:], fillvalue=slice(0, 0)):
                copies, drawn = drawn.result(), pool.submit(self._copies, images[after], seeds[after])
                explained.append(self._explain(classifier, copies, targets[part], seeds[part]))
        return AttributionBatch(
            maps=np.concatenate([part.maps for part in explained]),
            status=np.concatenate([part.status for part in explained]),
            approx_error=np.concatenate([part.approx_error for part in explained]),
            local_error=np.concatenate([part.local_error for part in explained]),
            n_gradients=np.concatenate([part.n_gradients for part in explained]),
            resolution=explained[0].resolution,
        )

    def _explain(
        self, classifier: Classifier, copies: np.ndarray, targets: np.ndarray, seeds: np.ndarray
    ) -> AttributionBatch:
        """A few images, all their copies through the method at once."""
        # Copies keep their sample's seed: a random baseline is the same for all of them.
        each = self.method(
            classifier, copies, np.repeat(targets, self.n_samples), np.repeat(seeds, self.n_samples)
        )
        grouped = each.maps.reshape(len(targets), self.n_samples, *each.maps.shape[1:])
        maps = (np.square(grouped) if self.squared else grouped).mean(axis=1, dtype=np.float64)
        local_error = each.local_error.reshape(len(targets), self.n_samples).mean(axis=1)
        return AttributionBatch(
            maps=maps.astype(np.float32),
            status=self._status(maps, each.status.reshape(len(targets), self.n_samples), local_error),
            approx_error=each.approx_error.reshape(len(targets), self.n_samples).mean(axis=1),
            local_error=local_error,
            n_gradients=each.n_gradients.reshape(len(targets), self.n_samples).sum(axis=1),
            resolution=each.resolution,
        )

    def _copies(self, images: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """float32 (B * n_samples, H, W, C), the copies of each image drawn from its sample's own seed."""
        copies = np.empty((len(images), self.n_samples, *images.shape[1:]), dtype=np.float32)
        for of_image, image, seed in zip(copies, images, seeds, strict=True):
            rng = np.random.default_rng([_NOISE_STREAM, int(seed)])
            rng.standard_normal(out=of_image, dtype=np.float32)
            of_image *= np.float32(self.sigma)
            of_image += image
        return copies.reshape(-1, *images.shape[1:])

    def _status(self, maps: np.ndarray, copies: np.ndarray, local_error: np.ndarray) -> np.ndarray:
        """object (B,) of MapStatus, from those of the copies, object (B, n_samples)."""
        budget = getattr(self.method, "error_budget", None)
        found = np.empty(len(maps), dtype=object)
        for sample, (mean, statuses) in enumerate(zip(maps, copies, strict=True)):
            if not mean.any() or not np.isfinite(mean).all():
                found[sample] = MapStatus.EMPTY
                continue
            # The first of equals in the order of MapStatus, so that a tie is always settled alike.
            with_map = [status for status in statuses if status is not MapStatus.EMPTY]
            found[sample] = max(MapStatus, key=with_map.count)
            if budget is not None and found[sample] in (MapStatus.CONVERGED, MapStatus.NOT_CONVERGED):
                is_within = local_error[sample] <= budget
                found[sample] = MapStatus.CONVERGED if is_within else MapStatus.NOT_CONVERGED
        return found
