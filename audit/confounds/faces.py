"""Faces of people, found by MTCNN; its weights are in the package, so nothing is downloaded.

Source: Zhang, Zhang, Li, Qiao. Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks. IEEE Signal Processing Letters 23(10), 2016. arXiv:1604.02878
"""

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
from mtcnn import MTCNN
from skimage.transform import resize_local_mean

from audit.errors import ConfigError

__all__ = ["Faces"]


@dataclass(frozen=True)
class Faces:
    """Boxes of faces as one mask.

    Attributes:
        confidence: detections below it are dropped, in [0, 1].
        minimum_size: smaller faces, in pixels of the picture as it is searched, are not looked for.
        longest_side: larger pictures are shrunk to it before the search, which takes time with the pixels.
    """

    confidence: float = 0.9
    minimum_size: int = 20
    longest_side: int = 512

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise ConfigError(f"faces: confidence must be in [0, 1], got {self.confidence:g}")
        if self.minimum_size < 12:
            raise ConfigError(
                f"faces: minimum_size must be at least 12 (the window of stage one), got {self.minimum_size}"
            )
        if self.longest_side < self.minimum_size:
            raise ConfigError(
                f"faces: longest_side must be at least minimum_size, {self.minimum_size}, "
                f"got {self.longest_side}"
            )

    def __getstate__(self) -> dict[str, Any]:
        """The parameters alone: networks do not travel to a worker, it makes its own."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @property
    def confound(self) -> str:
        """Name of the thing found."""
        return "face"

    @property
    def version(self) -> str:
        """Detector and parameters."""
        return f"mtcnn {version('mtcnn')} {self.confidence:g} {self.minimum_size} {self.longest_side} 1"

    @cached_property
    def _detector(self) -> Any:
        """The networks, loaded when the first picture is searched."""
        return MTCNN()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Where faces are.

        Args:
            image: uint8 (H, W, 3), RGB, upright, any size.

        Returns:
            bool (H, W), the union of the boxes of the faces; all False where there is none.
        """
        height, width = image.shape[:2]
        mask = np.zeros((height, width), dtype=np.bool_)
        small = self._shrunk(image)
        if min(small.shape[:2]) < self.minimum_size:
            return mask
        # Pixels of the small picture to pixels of this one; rounding its size makes the two factors differ.
        factors = np.tile((width / small.shape[1], height / small.shape[0]), 2)
        for box in self._boxes(small):
            x0, y0, x1, y1 = np.rint(box * factors).astype(int)
            mask[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
        return mask

    def _boxes(self, image: np.ndarray) -> np.ndarray:
        """float64 (n, 4) of x0, y0, x1, y1 of the faces that are sure enough."""
        found = self._detector.detect_faces(image, box_format="xyxy", min_face_size=self.minimum_size)
        boxes = [face["box"] for face in found if face["confidence"] >= self.confidence]
        return np.array(boxes, dtype=np.float64).reshape(-1, 4)

    def _shrunk(self, image: np.ndarray) -> np.ndarray:
        """The picture with at most `longest_side` pixels on its longer side, uint8."""
        factor = self.longest_side / max(image.shape[:2])
        if factor >= 1:
            return image
        shape = tuple(max(1, round(side * factor)) for side in image.shape[:2])
        averaged = resize_local_mean(image, shape, preserve_range=True, channel_axis=-1)
        return np.asarray(np.rint(averaged), dtype=np.uint8)
