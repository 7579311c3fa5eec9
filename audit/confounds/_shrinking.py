"""Pictures are searched at a bounded size: what a detector costs must not grow with the camera."""

import numpy as np
from PIL import Image


def shrunk(image: np.ndarray, longest_side: int) -> np.ndarray:
    """The picture with at most `longest_side` pixels on its longer side, uint8 (h, w, 3); itself if it is small."""
    factor = longest_side / max(image.shape[:2])
    if factor >= 1:
        return image
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    # Each pixel the mean of those under it; Pillow does it in a few milliseconds.
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def enlarged(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A bool (h, w) mask of a shrunk picture at the size (H, W) of the picture: each pixel the nearest one's."""
    # The pixel in which a pixel's middle lies: (i + 1/2) h / H, in whole numbers.
    rows = (2 * np.arange(shape[0]) + 1) * mask.shape[0] // (2 * shape[0])
    columns = (2 * np.arange(shape[1]) + 1) * mask.shape[1] // (2 * shape[1])
    return np.asarray(mask[rows[:, None], columns[None, :]], dtype=np.bool_)
