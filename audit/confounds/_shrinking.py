"""Pictures are searched at a bounded size: what a detector costs must not grow with the camera."""

import numpy as np
from skimage.transform import resize_local_mean


def shrunk(image: np.ndarray, longest_side: int) -> np.ndarray:
    """The picture with at most `longest_side` pixels on its longer side, uint8 (h, w, 3); itself if it is small."""
    factor = longest_side / max(image.shape[:2])
    if factor >= 1:
        return image
    shape = tuple(max(1, round(side * factor)) for side in image.shape[:2])
    averaged = resize_local_mean(image, shape, preserve_range=True, channel_axis=-1)
    return np.asarray(np.rint(averaged), dtype=np.uint8)


def enlarged(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A bool (h, w) mask of a shrunk picture at the size (H, W) of the picture: each pixel the nearest one's."""
    rows = (np.arange(shape[0]) * mask.shape[0]) // shape[0]
    columns = (np.arange(shape[1]) * mask.shape[1]) // shape[1]
    return np.asarray(mask[rows[:, None], columns[None, :]], dtype=np.bool_)
