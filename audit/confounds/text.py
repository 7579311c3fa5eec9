"""Captions and printed words: rows of letters, found by their strokes.

A letter is a connected stroke, thinner than it is high and of one colour; a word is a row of at least a few of
them, alike in height, stroke width, colour and base line. That is looked for directly: strokes are what a top-hat
leaves, letters are its connected parts, words are chains of neighbours that agree.

Rows must be nearly horizontal; single letters, words of less than three and vertical writing are not found.

Source: strokes and chains after Epshtein, Ofek, Wexler. Detecting Text in Natural Scenes with Stroke Width
Transform. CVPR 2010, sec. 3-4; here the top-hat replaces the transform.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse.csgraph import connected_components

from audit.confounds._shrinking import enlarged, shrunk
from audit.errors import ConfigError

__all__ = ["Text"]

_WINDOW = 7
"""Side of the top-hat's square: it leaves strokes thinner than that, and so letters up to about five times as high."""
_SHRINKINGS = (1, 3)
"""The picture is searched at its size and at these parts of it, for larger letters."""
_DISAGREEMENT = 3.8
"""Lines whose letters differ more than that, see `_disagreement`, are no words."""
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Text:
    """Boxes of rows of letters as one mask.

    Attributes:
        contrast: least difference of a letter from what is around it, in grey levels of 255.
        letter_height: least height of a letter in pixels of the picture as it is searched.
        letters: least number of letters in a row.
        longest_side: larger pictures are shrunk to it before the search.
    """

    contrast: float = 30.0
    letter_height: int = 6
    letters: int = 4
    longest_side: int = 512

    def __post_init__(self) -> None:
        if not 0 < self.contrast < 255:
            raise ConfigError(f"text: contrast must be in (0, 255), got {self.contrast:g}")
        if self.letter_height < 5:
            raise ConfigError(f"text: letter_height must be at least 5, got {self.letter_height}")
        if self.letters < 3:
            raise ConfigError(f"text: letters must be at least 3, got {self.letters}")
        if self.longest_side < 64:
            raise ConfigError(f"text: longest_side must be at least 64, got {self.longest_side}")

    @property
    def confound(self) -> str:
        """Name of the thing found."""
        return "text"

    @property
    def version(self) -> str:
        """Detector and parameters."""
        return f"strokes {self.contrast:g} {self.letter_height} {self.letters} {self.longest_side} 1"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Where rows of letters are.

        Args:
            image: uint8 (H, W, 3), RGB, upright, any size.

        Returns:
            bool (H, W), the union of the rows' boxes; all False where there is none.
        """
        small = shrunk(image, self.longest_side)
        mask = np.zeros(small.shape[:2], dtype=np.bool_)
        for factor in _SHRINKINGS:
            searched = _part(small, factor)
            if min(searched.shape[:2]) < 2 * self.letter_height:
                continue
            grey = searched @ _GREY
            size = (_WINDOW, _WINDOW)
            dark, bright = ndimage.grey_closing(grey, size) - grey, grey - ndimage.grey_opening(grey, size)
            for top, bottom, left, right in self._rows(dark, searched) + self._rows(bright, searched):
                mask[top * factor : bottom * factor, left * factor : right * factor] = True
        return enlarged(mask, image.shape[:2])

    def _rows(self, strokes: np.ndarray, image: np.ndarray) -> list[tuple[int, int, int, int]]:
        """(top, bottom, left, right) of each row of letters among strokes of one polarity."""
        # Half of the strongest stroke nearby: a letter's outline at any contrast, without the clutter around it.
        strongest = ndimage.maximum_filter(strokes, size=2 * _WINDOW + 1)
        letters = self._letters(strokes >= np.maximum(self.contrast, 0.5 * strongest), strokes, image)
        lines = [line for line in _lines(letters, _chains(letters)) if len(line) >= self.letters]
        return [letters.box(line) for line in lines if _is_printed(letters, line)]

    def _letters(self, is_stroke: np.ndarray, strokes: np.ndarray, image: np.ndarray) -> "_Letters":
        """Connected strokes of the shape a letter may have, from left to right."""
        numbers, n = ndimage.label(is_stroke, structure=np.ones((3, 3)))
        rows, columns = np.nonzero(numbers)
        number = numbers[rows, columns] - 1
        area = np.bincount(number, minlength=n)
        top, left = np.full(n, image.shape[0]), np.full(n, image.shape[1])
        bottom, right = np.zeros(n, dtype=int), np.zeros(n, dtype=int)
        np.minimum.at(top, number, rows)
        np.maximum.at(bottom, number, rows + 1)
        np.minimum.at(left, number, columns)
        np.maximum.at(right, number, columns + 1)
        height, width = bottom - top, right - left
        edges = np.bincount(number, weights=_outline(numbers)[rows, columns], minlength=n)
        weight = strokes[rows, columns].astype(np.float64) ** 2
        total = np.bincount(number, weights=weight, minlength=n)
        kept = np.flatnonzero(
            (height >= self.letter_height)
            & (height <= 5 * _WINDOW)
            & (width <= 4 * height)
            & (width * 12 >= height)
            & (area >= 0.12 * height * width)
        )
        kept = kept[np.argsort(left[kept], kind="stable")]
        colour = np.stack(
            [
                np.bincount(number, weights=weight * image[rows, columns, c], minlength=n)[kept] / total[kept]
                for c in range(3)
            ],
            axis=-1,
        )
        contrast = (
            np.bincount(number, weights=weight * strokes[rows, columns], minlength=n)[kept] / total[kept]
        )
        return _Letters(
            top[kept],
            bottom[kept],
            left[kept],
            right[kept],
            area[kept],
            2.0 * area[kept] / edges[kept],
            colour,
            contrast,
        )


@dataclass(frozen=True)
class _Letters:
    """N connected strokes: box, pixels, stroke width, colour (N, 3), contrast; sorted by `left`."""

    top: np.ndarray
    bottom: np.ndarray
    left: np.ndarray
    right: np.ndarray
    area: np.ndarray
    stroke: np.ndarray
    colour: np.ndarray
    contrast: np.ndarray

    def box(self, members: np.ndarray) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) of all `members` together."""
        top, left = self.top[members].min(), self.left[members].min()
        return int(top), int(self.bottom[members].max()), int(left), int(self.right[members].max())

    @property
    def height(self) -> np.ndarray:
        """Pixels, int (N,)."""
        return np.asarray(self.bottom - self.top)

    @property
    def width(self) -> np.ndarray:
        """Pixels, int (N,)."""
        return np.asarray(self.right - self.left)


def _outline(numbers: np.ndarray) -> np.ndarray:
    """How many of its four sides each pixel shares with another part or none, (H, W)."""
    padded = np.pad(numbers, 1)
    inner = padded[1:-1, 1:-1]
    sides = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.asarray(np.sum([inner != side for side in sides], axis=0))


def _chains(letters: _Letters) -> list[np.ndarray]:
    """Rows of letters that are each other's nearest agreeing neighbours, as indices from left to right."""
    n = len(letters.left)
    reach = np.searchsorted(letters.left, letters.right + 1.1 * letters.height, side="right")
    counts = np.maximum(reach - np.arange(n) - 1, 0)
    first = np.repeat(np.arange(n), counts)
    second = first + 1 + np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    agree = _agree(letters, first, second)
    first, second = first[agree], second[agree]
    gap = (letters.left[second] - letters.right[first]).astype(np.float64)
    next_of, previous_of = np.full(n, -1), np.full(n, -1)
    # The nearest is written last, so it stays.
    far_first = np.argsort(-gap, kind="stable")
    next_of[first[far_first]] = second[far_first]
    previous_of[second[far_first]] = first[far_first]
    chains = []
    for start in range(n):
        if previous_of[start] >= 0 and next_of[previous_of[start]] == start:
            continue
        chain = [start]
        while next_of[chain[-1]] >= 0 and previous_of[next_of[chain[-1]]] == chain[-1]:
            chain.append(int(next_of[chain[-1]]))
        chains.append(np.array(chain))
    return chains


def _agree(letters: _Letters, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether two strokes may be neighbours in a word, bool (pairs,)."""
    height, other = letters.height[first], letters.height[second]
    larger, smaller = np.maximum(height, other), np.minimum(height, other)
    overlap = np.minimum(letters.bottom[first], letters.bottom[second]) - np.maximum(
        letters.top[first], letters.top[second]
    )
    gap = letters.left[second] - letters.right[first]
    stroke, other_stroke = letters.stroke[first], letters.stroke[second]
    far = np.abs(letters.colour[first] - letters.colour[second]).max(axis=-1)
    return np.asarray(
        (larger <= 2.2 * smaller)
        & (overlap >= 0.7 * smaller)
        & (gap <= 0.9 * larger)
        & (gap >= -0.3 * smaller)
        & (np.maximum(stroke, other_stroke) <= 2.0 * np.minimum(stroke, other_stroke))
        & (far <= 50)
    )


def _lines(letters: _Letters, chains: list[np.ndarray]) -> list[np.ndarray]:
    """Chains joined to lines over the gaps between words, as indices of letters from left to right."""
    words = [chain for chain in chains if len(chain) >= 2]
    if not words:
        return []
    counts = np.array([len(word) for word in words])
    members = np.concatenate(words)
    starts = np.cumsum(counts) - counts

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.add.reduceat(values[members], starts) / counts)

    left = np.minimum.reduceat(letters.left[members], starts)
    right = np.maximum.reduceat(letters.right[members], starts)
    height, bottom, stroke = mean(letters.height), mean(letters.bottom), mean(letters.stroke)
    colour = np.stack([mean(letters.colour[:, c]) for c in range(3)], axis=-1)
    larger = np.maximum(height[:, None], height)
    gap = left[None, :] - right[:, None]
    joined = (
        (gap <= 1.5 * larger)
        & (gap >= -0.5 * larger)
        & (larger <= 1.4 * np.minimum(height[:, None], height))
        & (np.abs(bottom[:, None] - bottom) <= 0.3 * larger)
        & (np.maximum(stroke[:, None], stroke) <= 1.7 * np.minimum(stroke[:, None], stroke))
        & (np.abs(colour[:, None] - colour).max(axis=-1) <= 25)
    )
    n_lines, line = connected_components(joined, directed=False)
    number = np.repeat(line, counts)
    return [np.sort(members[number == index]) for index in range(n_lines)]


def _is_printed(letters: _Letters, line: np.ndarray) -> bool:
    """Whether a line has the proportions of printed words, and the evenness that nature lacks."""
    height, width = letters.height[line], letters.width[line]
    is_letters = (
        0.35 <= np.median(width / height) <= 1.15 and np.mean(letters.area[line] / (width * height)) >= 0.3
    )
    return bool(is_letters and _disagreement(letters, line) <= _DISAGREEMENT)


def _disagreement(letters: _Letters, line: np.ndarray) -> float:
    """How far the letters of a line are from one print, as a sum of terms that are about 0 to 0.5 for captions.

    Each term is a spread over the spread that would be odd for a caption; few letters and little contrast, in
    which evenness is no evidence, add to it.
    """
    height, width = letters.height[line].astype(np.float64), letters.width[line]
    size = np.median(height)
    gaps = (letters.left[line[1:]] - letters.right[line[:-1]]) / size
    inside_words = gaps[gaps <= 0.9]
    if not len(inside_words):
        return np.inf
    stroke, bottom, top = letters.stroke[line], letters.bottom[line], letters.top[line]
    slope = np.polyfit((letters.left[line] + letters.right[line]) / 2, bottom, 1)[0]
    return float(
        np.sqrt(letters.colour[line].var(axis=0).sum()) / 30
        + height.std() / size / 0.5
        + stroke.std() / stroke.mean() / 0.4
        + (width / height).std() / 0.6
        + _middle_deviation(bottom) / size / 0.3
        + _middle_deviation(top) / size / 0.3
        + abs(slope) / 0.3
        + max(inside_words.mean(), 0.0) / 0.6
        + inside_words.std() / 0.5
        + 4 / len(line)
        + max(80 - letters.contrast[line].mean(), 0.0) / 40
    )


def _middle_deviation(values: np.ndarray) -> float:
    """Median distance from the median: letters below the line, like a p, do not count."""
    return float(np.median(np.abs(values - np.median(values))))


def _part(image: np.ndarray, factor: int) -> np.ndarray:
    """The picture at 1 / factor of its size, means of blocks, float32 (h, w, 3)."""
    height, width = (side // factor for side in image.shape[:2])
    blocks = image[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))
