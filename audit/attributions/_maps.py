"""What methods share about finished maps: bringing a coarse one to the image's size, and its status."""

import numpy as np

from audit.types import AttributionBatch, MapStatus


def enlarge(maps: np.ndarray, image_shape: tuple[int, int]) -> np.ndarray:
    """Maps brought to the image's size, bilinear, with pixels as areas (half-pixel centres), edges held.

    Args:
        maps: (B, h, w).
        image_shape: (H, W).

    Returns:
        float32 (B, H, W), within the range of the old values.
    """
    rows = _weights(maps.shape[1], image_shape[0])
    columns = _weights(maps.shape[2], image_shape[1])
    return np.asarray((rows @ maps.astype(np.float64)) @ columns.T, dtype=np.float32)


def statuses(maps: np.ndarray) -> np.ndarray:
    """object (B,) of MapStatus: EMPTY where a map (B, H, W) is zero everywhere or not finite, else OK."""
    has_mass = (maps != 0).any(axis=(1, 2)) & np.isfinite(maps).all(axis=(1, 2))
    found = np.empty(len(maps), dtype=object)
    found[:] = [MapStatus.OK if has else MapStatus.EMPTY for has in has_mass]
    return found


def without_path(maps: np.ndarray, resolution: tuple[int, int]) -> AttributionBatch:
    """The result of a method that has no path, hence no completeness, and spends one gradient a sample.

    Args:
        maps: float32 (B, H, W).
        resolution: (height, width) of the maps before they were brought to the image's size.
    """
    n_maps = len(maps)
    return AttributionBatch(
        maps=maps,
        status=statuses(maps),
        approx_error=np.full(n_maps, np.nan),
        local_error=np.full(n_maps, np.nan),
        n_gradients=np.ones(n_maps, dtype=np.int64),
        resolution=resolution,
    )


def _weights(n_from: int, n_to: int) -> np.ndarray:
    """float64 (n_to, n_from), the bilinear weight of each old row in each new one; rows sum to 1."""
    places = (np.arange(n_to) + 0.5) * n_from / n_to - 0.5
    held = np.clip(places, 0.0, n_from - 1.0)
    below = np.minimum(held.astype(np.int64), max(n_from - 2, 0))
    share = held - below
    weights = np.zeros((n_to, n_from))
    weights[np.arange(n_to), below] = 1.0 - share
    weights[np.arange(n_to), np.minimum(below + 1, n_from - 1)] += share
    return weights
