"""Borders and frames: bands of one colour along a side, letterboxes, and drawn frame lines.

What tells a border from a plain background is its inner edge: parallel to the side, at one depth over nearly the
whole length. So, for each side, the lines parallel to it are compared with the colour of the outermost ones, from
the outside in: at a border the share of pixels that have that colour falls from all to few within three lines;
in front of a plain background it falls slowly, object by object. A frame line has the picture on both sides of
it; a straight thing in the picture looks the same, so at least three sides must have one, of one colour.

Source: own construction, after the dark-band rule of letterbox removers; nothing is learned.
"""

from dataclasses import dataclass

import numpy as np

from audit.confounds._shrinking import enlarged, shrunk
from audit.errors import ConfigError

__all__ = ["Border"]

_TOLERANCE = 16
"""Largest difference of a border's pixels from its colour, of 255: compression adds that much beside an edge."""
_EVENNESS = 5.0
"""Largest standard deviation inside a border; photographed plain paper and walls have more, or no straight edge."""
_EDGE_LINES = 3
"""An edge is at most that soft: what shrinking and compression make of a sharp one."""
_LINE_TOLERANCE = 40
"""The same for a frame line: compression mixes the colours of what is only a few pixels wide with its neighbours'."""
_LINE_WIDTH = 0.04
"""Widest frame line, as a share of the shorter side, where the picture goes on outside it."""


@dataclass(frozen=True)
class Border:
    """Pixels of the border, side by side.

    Attributes:
        widest: widest border of one side, as a share of the picture's size across it, in (0, 0.5).
        narrowest: narrowest border in pixels of the picture as it is searched.
        inside: share of the pixels just inside the edge that must differ from the border, in (0, 1): where the
            picture has the border's own colour the edge cannot be seen.
        longest_side: larger pictures are shrunk to it before the search.
    """

    widest: float = 0.3
    narrowest: int = 2
    inside: float = 0.6
    longest_side: int = 512

    def __post_init__(self) -> None:
        if not 0 < self.widest < 0.5:
            raise ConfigError(f"border: widest must be in (0, 0.5), got {self.widest:g}")
        if self.narrowest < 1:
            raise ConfigError(f"border: narrowest must be at least 1, got {self.narrowest}")
        if not 0 < self.inside < 1:
            raise ConfigError(f"border: inside must be in (0, 1), got {self.inside:g}")
        if self.longest_side < 32:
            raise ConfigError(f"border: longest_side must be at least 32, got {self.longest_side}")

    @property
    def confound(self) -> str:
        """Name of the thing found."""
        return "border"

    @property
    def version(self) -> str:
        """Detector and parameters."""
        return f"straight edges {self.widest:g} {self.narrowest} {self.inside:g} {self.longest_side} 1"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Where borders and frame lines are.

        Args:
            image: uint8 (H, W, 3), RGB, upright, any size.

        Returns:
            bool (H, W); all False where there is none.
        """
        small = shrunk(image, self.longest_side).astype(np.int16)
        mask = np.zeros(small.shape[:2], dtype=np.bool_)
        if min(mask.shape) < 16:
            return enlarged(mask, image.shape[:2])
        depths = self._band_depths(small)
        for turns, depth in enumerate(depths):
            _turned(mask, turns)[:depth] = True
        if not any(depths):
            self._add_frame_line(mask, small)
        return enlarged(mask, image.shape[:2])

    def _band_depths(self, image: np.ndarray) -> list[int]:
        """Depth of the border at the top, right, bottom and left; 0 for none."""
        # The middle half of a side is clear of the borders of its neighbours, whose depth is not known yet.
        depths = [self._band_depth(_middle(_turned(image, turns), 0.25, 0.25)) for turns in range(4)]
        # The edge must be straight over all that the neighbours leave, not only in the middle.
        checked = []
        for turns, depth in enumerate(depths):
            side = _turned(image, turns)
            # A picture turned by `turns` has the next side at its right end and the previous one at its left.
            before, after = depths[(turns - 1) % 4], depths[(turns + 1) % 4]
            length = side.shape[1]
            whole = _middle(side, before / length, after / length)
            is_straight = depth > 0 and abs(self._band_depth(whole) - depth) <= _EDGE_LINES
            checked.append(depth if is_straight else 0)
        return checked

    def _band_depth(self, side: np.ndarray) -> int:
        """Lines of one colour at the top of `side` (h, w, 3) that end in a straight edge; 0 for none."""
        limit = int(self.widest * side.shape[0])
        colour = np.median(side[: self.narrowest], axis=(0, 1))
        share = (np.abs(side[: limit + _EDGE_LINES + 1] - colour).max(axis=-1) <= _TOLERANCE).mean(axis=1)
        depth = _edge(share, 1 - self.inside)
        if not self.narrowest <= depth <= limit:
            return 0
        # The lines at the edge are soft; they are left out where there are others.
        inner = side[: max(depth - _EDGE_LINES, self.narrowest)].astype(np.float64)
        return depth if inner.std(axis=(0, 1)).max() <= _EVENNESS else 0

    def _add_frame_line(self, mask: np.ndarray, image: np.ndarray) -> None:
        """Draws the frame line into `mask`, if at least three sides have one of the same colour."""
        candidates = [self._lines(_turned(image, turns)) for turns in range(4)]
        # Straight things in the picture are candidates too; the frame is what most sides agree on in colour.
        choices = [
            [_like(one, side) for side in candidates] for side_lines in candidates for one in side_lines
        ]
        counts = [sum(line is not None for line in choice) for choice in choices]
        lines = choices[int(np.argmax(counts))] if counts else []
        found = [(turns, line) for turns, line in enumerate(lines) if line]
        if len(found) < 3:
            return
        insets = [line.start if line else 0 for line in lines]
        for turns, line in found:
            side = _turned(mask, turns)
            before, after = insets[(turns - 1) % 4], insets[(turns + 1) % 4]
            side[line.start : line.end, before : side.shape[1] - after] = True

    def _lines(self, side: np.ndarray) -> "list[_Line]":
        """The lines of one colour parallel to the top of `side` with the picture on either side of them."""
        limit = int(self.widest * side.shape[0])
        thickest = max(self.narrowest, round(_LINE_WIDTH * min(side.shape[:2])))
        middle = _middle(side, 0.25, 0.25)[: limit + thickest + _EDGE_LINES + 1]
        colours = np.median(middle, axis=1)
        is_even = (np.abs(middle - colours[:, None]).max(axis=-1) <= _LINE_TOLERANCE).mean(axis=1) >= 0.9
        found: dict[int, _Line | None] = {}
        for first in np.flatnonzero(is_even[:limit]).tolist():
            # The first even row may be the soft edge of a line: the row that stands out most is the line's own.
            rows = np.arange(first, min(first + thickest, len(middle)))
            before = middle[max(int(first) - _EDGE_LINES, 0)]
            peak = rows[np.argmax(np.abs(middle[rows] - before).max(axis=-1).mean(axis=1) * is_even[rows])]
            if int(peak) in found:
                continue
            found[int(peak)] = None
            same = (np.abs(middle - colours[peak]).max(axis=-1) <= _LINE_TOLERANCE).mean(axis=1)
            is_picture = same <= 1 - self.inside
            start, end = _run(~is_picture, int(peak))
            if 0 < start < end <= start + thickest + 2 and end < len(middle):
                found[int(peak)] = _Line(start, end, colours[peak])
        return [line for line in found.values() if line]


@dataclass(frozen=True)
class _Line:
    """Lines `start` to `end` (excluded) from a side, of a colour (3,)."""

    start: int
    end: int
    colour: np.ndarray


def _like(line: _Line, others: list[_Line]) -> _Line | None:
    """The line of `others` nearest in colour to `line`, if it is near."""
    distances = [float(np.abs(other.colour - line.colour).max()) for other in others]
    return others[int(np.argmin(distances))] if distances and min(distances) <= _LINE_TOLERANCE else None


def _edge(share: np.ndarray, few: float) -> int:
    """Lines before the first edge: a fall from nearly all to `few` within `_EDGE_LINES`; 0 if there is none."""
    ends = np.flatnonzero(share <= few)
    if not len(ends) or ends[0] == 0:
        return 0
    end = int(ends[0])
    # The last line that is the border's for the most part ends it.
    full = share[max(end - _EDGE_LINES, 0)]
    return end if full >= 0.95 and share[: max(end - _EDGE_LINES, 1)].min() >= 0.9 else 0


def _run(flags: np.ndarray, index: int) -> tuple[int, int]:
    """Start and end (excluded) of the run of True around `index`."""
    false = np.flatnonzero(~flags)
    before, after = false[false < index], false[false > index]
    return int(before[-1]) + 1 if len(before) else 0, int(after[0]) if len(after) else len(flags)


def _turned(image: np.ndarray, turns: int) -> np.ndarray:
    """A view with the top (0), right (1), bottom (2) or left (3) side uppermost."""
    return np.rot90(image, turns)


def _middle(side: np.ndarray, before: float, after: float) -> np.ndarray:
    """The columns of `side` without the shares `before` and `after` of its length."""
    length = side.shape[1]
    return side[:, round(before * length) : length - round(after * length)]
