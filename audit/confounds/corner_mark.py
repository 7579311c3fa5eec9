"""Marks in a corner: logos, watermarks, date stamps, coloured patches.

A mark is compact, has sharp edges and lies wholly within a corner, and nothing of its kind is around it. So each
corner's window is compared with a smooth background fitted to the window: what that does not explain, has a sharp
outline and does not reach the picture beyond the corner is a mark. What reaches in from the picture (a sleeve, a
table's edge) is not, and neither is what has its like right around it.

Over a ground that is not smooth that comparison fails, but one kind of mark can still be told: a patch of one drawn
colour, since what is photographed is never that even.

Source: own construction; the background is fitted by iteratively reweighted least squares with Tukey's biweight.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from audit.confounds._shrinking import enlarged, shrunk
from audit.errors import ConfigError

__all__ = ["CornerMark"]

_REWEIGHTINGS = 6
_TUKEY = 4.7
"""Residuals beyond that many deviations do not count for the background."""
_JOINED = 0.05
"""Parts nearer than this share of the shorter side belong to one mark: letters of a stamp."""
_CUTS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.4)
"""Heights of the cuts, in doublings of the least contrast."""
_STRENGTH = 60.0
"""Least median difference of a mark from the background, in grey levels: folds and shadows have less."""
_FARTHEST = 0.65
"""Largest distance of a mark's middle from the corner, in sizes of the window."""
_QUIET = 0.5
"""What is right around a mark may differ from the background by that share of the mark's own difference."""
_EVEN = 12
"""Largest difference within 3 x 3 pixels of a drawn patch, in grey levels: what compression leaves of one colour."""
_DRAWN = 4.0
"""Largest standard deviation of a drawn patch in any colour."""
_PATCH_SIDE = 0.03
"""Least side of a drawn patch, as a share of the picture's shorter side."""
_PATCH_EDGE = 40.0
"""Least difference of a drawn patch from what is around it, in grey levels."""


@dataclass(frozen=True)
class CornerMark:
    """Boxes of the marks in the four corners as one mask.

    Attributes:
        corner: size of a corner's window, as a share of the sides, in (0, 0.5).
        contrast: lowest cut of the difference from the background at which marks are looked for, of 255.
        smallest: least share of the picture's pixels that a mark's box has.
        largest: largest share of the window's pixels that a mark's box has.
        longest_side: larger pictures are shrunk to it before the search.
    """

    corner: float = 0.3
    contrast: float = 28.0
    smallest: float = 0.0008
    largest: float = 0.75
    longest_side: int = 512

    def __post_init__(self) -> None:
        if not 0 < self.corner < 0.5:
            raise ConfigError(f"corner_mark: corner must be in (0, 0.5), got {self.corner:g}")
        if not 0 < self.contrast < 255:
            raise ConfigError(f"corner_mark: contrast must be in (0, 255), got {self.contrast:g}")
        if not 0 < self.smallest < 1:
            raise ConfigError(f"corner_mark: smallest must be in (0, 1), got {self.smallest:g}")
        if not 0 < self.largest <= 1:
            raise ConfigError(f"corner_mark: largest must be in (0, 1], got {self.largest:g}")
        if self.longest_side < 32:
            raise ConfigError(f"corner_mark: longest_side must be at least 32, got {self.longest_side}")

    @property
    def confound(self) -> str:
        """Name of the thing found."""
        return "corner mark"

    @property
    def version(self) -> str:
        """Detector and parameters."""
        values = (self.corner, self.contrast, self.smallest, self.largest, self.longest_side)
        return f"unexplained corners {' '.join(f'{value:g}' for value in values)} 2"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Where marks are.

        Args:
            image: uint8 (H, W, 3), RGB, upright, any size.

        Returns:
            bool (H, W), the boxes of the marks; all False where there is none.
        """
        small = shrunk(image, self.longest_side).astype(np.float32)
        mask = np.zeros(small.shape[:2], dtype=np.bool_)
        height, width = (round(self.corner * side) for side in small.shape[:2])
        if min(height, width) >= 8:
            # Views with the corner at their upper left end.
            for down, right in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                window, target = (
                    small[::down, ::right][:height, :width],
                    mask[::down, ::right][:height, :width],
                )
                for box in self._marks(window, small.shape[0] * small.shape[1]) + self._patches(window):
                    target[box] = True
        return enlarged(mask, image.shape[:2])

    def _marks(self, window: np.ndarray, n_pixels: int) -> list[tuple[slice, slice]]:
        """Boxes of the marks in the window (h, w, 3) of the upper left corner."""
        residual = _residual(window)
        found = []
        # A mark stands out at some height of the cut, not at any one for all pictures: too low and it runs
        # together with what is around it, too high and it falls apart.
        for cut in (self.contrast * 2.0**power for power in _CUTS):
            groups = self._groups(residual > cut)
            found += [
                box
                for number, box in enumerate(ndimage.find_objects(groups), start=1)
                if box is not None and self._is_mark(window, residual, groups == number, box, n_pixels)
            ]
        return found

    def _patches(self, window: np.ndarray) -> list[tuple[slice, slice]]:
        """Boxes of the patches of one drawn colour in the window (h, w, 3) of the upper left corner."""
        spread = ndimage.maximum_filter(window, size=(3, 3, 1)) - ndimage.minimum_filter(
            window, size=(3, 3, 1)
        )
        parts, _ = ndimage.label(spread.max(axis=-1) <= _EVEN)
        reaching = set(np.union1d(parts[-1], parts[:, -1]).tolist())
        least = _PATCH_SIDE * min(window.shape[:2]) / self.corner
        found = []
        for number, box in enumerate(ndimage.find_objects(parts), start=1):
            # Pixels at its edge are not even: the patch is one wider on either side.
            rows, columns = (slice(max(side.start - 1, 0), side.stop + 1) for side in box)
            height, width = rows.stop - rows.start, columns.stop - columns.start
            if number in reaching or min(height, width) < least or not 0.4 <= width / height <= 2.5:
                continue
            if (rows.start + rows.stop) / 2 > _FARTHEST * window.shape[0] or (
                columns.start + columns.stop
            ) / 2 > _FARTHEST * window.shape[1]:
                continue
            if _is_drawn_patch(window, parts == number, (rows, columns)):
                found.append((rows, columns))
        return found

    def _groups(self, is_strange: np.ndarray) -> np.ndarray:
        """Numbers (h, w) of groups of near strange parts that do not reach in from beyond the corner; 0 for none."""
        parts, _ = ndimage.label(is_strange, structure=np.ones((3, 3)))
        # What reaches in is taken away before the rest is joined, or a stamp beside a sleeve would go with it.
        reaching = np.union1d(parts[-1], parts[:, -1])
        is_kept = is_strange & ~np.isin(parts, reaching[reaching > 0])
        reach = max(1, round(_JOINED * min(is_strange.shape) / self.corner / 2))
        joined, _ = ndimage.label(ndimage.maximum_filter(is_kept, size=2 * reach + 1))
        return np.where(is_kept, joined, 0)

    def _is_mark(
        self,
        window: np.ndarray,
        residual: np.ndarray,
        part: np.ndarray,
        box: tuple[slice, slice],
        n_pixels: int,
    ) -> bool:
        """Whether a group of strange pixels is compact, sharp and set off from a ground without its like."""
        height, width = (side.stop - side.start for side in box)
        inside = residual[part]
        strength = float(np.median(inside))
        share = height * width / n_pixels
        if not (
            self.smallest <= share and height * width <= self.largest * part.size and strength >= _STRENGTH
        ):
            return False
        # The middle of a mark is nearer to the corner than to the picture.
        middle = [(side.start + side.stop) / 2 / length for side, length in zip(box, part.shape, strict=True)]
        if np.hypot(*middle) > _FARTHEST:
            return False
        near = ndimage.binary_dilation(part, iterations=4) & ~ndimage.binary_dilation(part, iterations=2)
        if near.any() and np.median(residual[near]) > _QUIET * strength:
            return False
        fill = part.sum() / (height * width)
        steepness = _steepness(window, part) / strength
        is_patch = fill >= 0.8 and 0.4 <= width / height <= 2.5 and steepness >= 0.6
        is_drawn = (
            fill >= 0.12 and 0.002 < share < 0.04 and min(box[0].start, box[1].start) > 0 and steepness >= 1.0
        )
        return bool(is_patch or is_drawn)


def _is_drawn_patch(window: np.ndarray, part: np.ndarray, box: tuple[slice, slice]) -> bool:
    """Whether an even part fills its box with one colour that ends sharply on all sides."""
    rows, columns = box
    inner = part[rows.start + 1 : rows.stop - 1, columns.start + 1 : columns.stop - 1]
    colours = window[part]
    if not inner.size or inner.mean() < 0.9 or colours.std(axis=0).max() > _DRAWN:
        return False
    ring = np.zeros(part.shape, dtype=bool)
    ring[max(rows.start - 2, 0) : rows.stop + 2, max(columns.start - 2, 0) : columns.stop + 2] = True
    ring[max(rows.start - 1, 0) : rows.stop + 1, max(columns.start - 1, 0) : columns.stop + 1] = False
    if not ring.any():
        return False
    beside = np.abs(window[ring] - np.median(colours, axis=0)).max(axis=-1)
    return bool((beside >= _PATCH_EDGE).mean() >= 0.9)


def _steepness(window: np.ndarray, part: np.ndarray) -> float:
    """Median gradient across the outline of `part` inside the window, in grey levels over two pixels."""
    gradient = np.hypot(ndimage.sobel(window, axis=0), ndimage.sobel(window, axis=1)).max(axis=-1) / 8
    # Outside the picture nothing is known: there an outline has no gradient.
    outline = part & ~ndimage.binary_erosion(part, border_value=1)
    return float(np.median(2 * gradient[ndimage.binary_dilation(outline)])) if outline.any() else 0.0


def _residual(window: np.ndarray) -> np.ndarray:
    """Distance (h, w) of each pixel from a smooth background, largest over colours, in grey levels."""
    height, width = window.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    surface = np.stack([np.ones_like(x), x, y], axis=-1).reshape(-1, 3)
    pixels = window.reshape(-1, 3).astype(np.float64)
    # Every few pixels are enough for three numbers a colour.
    step = max(1, len(pixels) // 4000)
    known, values = surface[::step], pixels[::step]
    start = np.zeros((3, 3))
    start[0] = np.median(values, axis=0)
    fitted = start
    for _ in range(_REWEIGHTINGS):
        distance = np.abs(values - known @ fitted).max(axis=-1)
        scale = _TUKEY * max(1.4826 * float(np.median(distance)), 2.0)
        weight = np.clip(1 - (distance / scale) ** 2, 0, None) ** 2
        fitted = np.linalg.lstsq(known * weight[:, None], values * weight[:, None], rcond=None)[0]
    return np.asarray(np.abs(pixels - surface @ fitted).max(axis=-1).reshape(height, width))
