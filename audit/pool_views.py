"""Pictures with a confound taken away: a thing filled, a property of the whole picture brought to a value."""

import math

import numpy as np
from scipy import ndimage

from audit.interventions._fills import feather_of, grown, laid_on, spread
from audit.properties import GlobalProperty

GROW, GROW_THICK, FEATHER = 0.1, 0.3, 0.01
"""Margin taken away with a thing: a share of its side (the root of its area), or of its thickness where that is more,
since a face goes with its hair and a frame is all side; soft edge, as a share of the picture's longer side."""


def taken_out(image: np.ndarray, region: np.ndarray, protected: np.ndarray) -> np.ndarray:
    """The picture with a thing's place filled by the colours around it, softly; the object is never touched.

    Args:
        image: float32 (H, W, 3) in [0, 1].
        region: bool (H, W), the thing.
        protected: bool (H, W), the object, if it is known.

    Returns:
        float32 (H, W, 3); `image` itself where there is nothing to take out, or nothing would be left.
    """
    hole = with_margin(region) & ~protected
    if not hole.any() or hole.all():
        return image
    filled = spread(image, hole)
    return laid_on(image, filled, hole, feather_of(image, FEATHER), kept=protected)


def with_margin(region: np.ndarray) -> np.ndarray:
    """A thing, bool (H, W), with the margin that goes with it; its thickness is that of the largest disc inside."""
    if not region.any():
        return region
    (box,) = ndimage.find_objects(region.astype(np.uint8))
    # What ends at the picture's edge is no thicker for that.
    thickness = 2 * ndimage.distance_transform_edt(np.pad(region[box], 1)).max()
    return grown(region, float(max(GROW, GROW_THICK * thickness / math.sqrt(region.sum()))))


def brought_to(
    image: np.ndarray, prop: GlobalProperty, target: float, where: np.ndarray | None
) -> np.ndarray:
    """The picture with a global property at a value, as near as its pixels allow.

    Args:
        image: float32 (H, W, 3) in [0, 1].
        prop: the property; without a normalisation the picture stays as it is.
        target: its value; NaN changes nothing.
        where: bool (H, W), pixels that the property is measured on.
    """
    if prop.normalise is None or math.isnan(target) or (where is not None and not where.any()):
        return image
    return np.asarray(prop.normalise(image[None], target, None if where is None else where[None])[0])
