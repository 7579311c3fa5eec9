"""Gaussian blur as two matrix products, one operator a width; nothing outside the image is invented.

Source of the idea that a blur of a picture is one banded matrix from the left and one from the right: the
Gaussian is separable. Weights that fall outside the image are left out and the others rescaled to sum to 1,
so a constant picture stays constant and corners do not darken, as they do with zero padding.
"""

from dataclasses import dataclass, field

import numpy as np

_KEPT = 256
"""Operators held at once: 256 of 224 pixels are 51 MB."""


def operator(size: int, sigma: float) -> np.ndarray:
    """float64 (size, size): row i holds the weights that make pixel i of the blurred line.

    Args:
        size: pixels of the line.
        sigma: standard deviation in pixels; 0 is the identity. The Gaussian is cut at four of it, rounded.
    """
    reach = int(4.0 * sigma + 0.5)
    if reach == 0:
        return np.eye(size)
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    weights = np.exp(-0.5 * (np.arange(size) / sigma) ** 2) * (np.arange(size) <= reach)
    kernel = weights[distance]
    return np.asarray(kernel / kernel.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Blur:
    """Blurs images of one shape; operators are built in float64 once, and kept in float32.

    Attributes:
        image_shape: (height, width) in pixels.
    """

    image_shape: tuple[int, int]
    _operators: dict[tuple[int, float], np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, images: np.ndarray, sigma: float) -> np.ndarray:
        """float32 (B, H, W, C): images of that shape, blurred by `sigma` pixels; 0 gives them as they are."""
        if sigma == 0:
            return np.asarray(images, dtype=np.float32)
        down = self._along_rows(images, sigma)
        across = self._along_rows(np.ascontiguousarray(down.swapaxes(1, 2)), sigma)
        return np.ascontiguousarray(across.swapaxes(1, 2))

    def line_by_line(self, image: np.ndarray, sigma: float) -> np.ndarray:
        """float32 (H, C, W): one image of that layout, blurred by `sigma` pixels.

        In this layout both products are of whole matrices. TensorFlow does them, on the threads that run the
        model anyway: those of NumPy's library would fight with them for the processor.
        """
        import tensorflow as tf

        if sigma == 0:
            return np.asarray(image, dtype=np.float32)
        height, _, width = image.shape
        across = tf.matmul(image.reshape(-1, width), self._operator(width, sigma), transpose_b=True)
        down = tf.matmul(self._operator(height, sigma), tf.reshape(across, (height, -1)))
        return np.asarray(down.numpy().reshape(image.shape))

    def _along_rows(self, images: np.ndarray, sigma: float) -> np.ndarray:
        """Images (B, H, W, C) blurred along H: one product of large matrices an image."""
        n_images, height, width, channels = images.shape
        blurred = self._operator(height, sigma) @ images.reshape(n_images, height, width * channels)
        return np.asarray(blurred.reshape(images.shape), dtype=np.float32)

    def _operator(self, size: int, sigma: float) -> np.ndarray:
        """The operator of a length and a width, built at its first use."""
        if (size, sigma) not in self._operators:
            if len(self._operators) >= _KEPT:
                self._operators.clear()
            self._operators[size, sigma] = operator(size, sigma).astype(np.float32)
        return self._operators[size, sigma]
