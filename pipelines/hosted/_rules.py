"""The rules of thumb that users of the services were given, as sentences; each rule is a function.

Source: the limits are those that the services' documentation gave (0.05 for errors and for score differences); the
limits of what makes a picture hard for XRAI are ours, and each stands beside its reason.
"""

from collections.abc import Sequence

import numpy as np

from audit.baselines import TOO_CLOSE, BaselineCheck
from audit.types import MapStatus
from pipelines.hosted._values import Attributed

LARGE_ERROR = 0.05
_WHITE = 0.97
_WHITE_BORDER_SHARE = 0.8
_LOW_CONTRAST = 0.08
"""Standard deviation of grey values in [0, 1] below which felzenszwalb's segments are few and arbitrary."""
_EXTREME_ASPECT = 2.5
"""Longer over shorter side; such pictures are squeezed into a square input, and regions with them."""
_LARGE_PIXELS = 4000 * 4000
_FAINT_NOISE = 0.005
_NEARLY_BLACK = 0.01
_GREY = np.array([0.299, 0.587, 0.114])

Found = Sequence[tuple[str, Attributed]]
"""Names of images, each with one attribution."""


def large_error(found: Found) -> str | None:
    """Rule 40: the approximation error is above 0.05."""
    errors = {_of(name, one): one.approx_error for name, one in found if one.approx_error > LARGE_ERROR}
    if not errors:
        return None
    worst = max(errors, key=lambda key: errors[key])
    return (
        f"approximation error above {LARGE_ERROR:g} in {len(errors)} of {len(found)} "
        f"(worst {errors[worst]:.3g}, {worst}): "
        "take more steps, or another baseline"
    )


def close_scores(found: Found) -> str | None:
    """Rule 41: the scores of image and baseline differ by less than 0.05."""
    close = [
        _of(name, one)
        for name, one in found
        if abs(one.score - one.baseline_score) < TOO_CLOSE or one.status is MapStatus.BASELINE_TOO_CLOSE
    ]
    if not close:
        return None
    return (
        f"image and baseline score within {TOO_CLOSE:g} of each other in {len(close)} of {len(found)} ({close[0]}): "
        "highlighted pixels may mean nothing there; take another baseline"
    )


def informative_baseline(check: BaselineCheck, class_name: str) -> str | None:
    """Rule 42: a baseline should score near 1/k in every class."""
    if check.is_uninformative:
        return None
    found = float(check.probabilities[check.worst_class])
    return (
        f"the baseline is no neutral picture for this model: it gives {class_name} a probability of {found:.2f}, "
        f"expected about {check.chance:.2g} for each class; take another baseline"
    )


def white_baseline(baselines: Sequence[np.ndarray], images: np.ndarray) -> str | None:
    """Rule 43: a white baseline where many images have a white background.

    Args:
        baselines: float (H, W, 3) in [0, 1] each.
        images: float (B, H, W, 3) in [0, 1].
    """
    if not any(one.min() >= _WHITE for one in baselines):
        return None
    borders = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    is_white = (borders.min(axis=-1) >= _WHITE).mean(axis=1) >= _WHITE_BORDER_SHARE
    if is_white.mean() < 0.5:
        return None
    return (
        f"the baseline is white, and so is the background of {int(is_white.sum())} of {len(images)} images: such "
        "pixels equal the baseline and get no attribution; take black, or black and white"
    )


def unstable_baseline(differences: np.ndarray) -> str | None:
    """Rule 44: the baseline, explained itself, has a score difference of about 0.

    Args:
        differences: score minus mean baseline score, of each baseline as an image.
    """
    worst = float(np.abs(differences).max(initial=0.0))
    if worst <= TOO_CLOSE:
        return None
    return (
        f"a baseline, explained itself, differs by {worst:.2f} from the mean over the baselines, expected about 0: "
        "take more steps, or baselines that score alike"
    )


def faint_noise(sigma: float | None, share: float) -> str | None:
    """A SmoothGrad whose noise, in units of the input, is too little to change anything.

    Args:
        sigma: in units of the input; None is no SmoothGrad.
        share: the same over the range from black to white.
    """
    if sigma is None or share >= _FAINT_NOISE:
        return None
    return (
        f"SmoothGrad's sigma of {sigma:g} is in units of the model's input and {100 * share:.2g} % of its range: "
        f"hardly any noise; {0.1 * sigma / share:g} would be a tenth"
        if share > 0
        else "SmoothGrad's sigma is 0: no noise, so all its copies are alike"
    )


def nearly_black(levels: Sequence[float]) -> str | None:
    """A baseline of 1 for a model that is fed 0 to 255, where 255 was meant.

    Args:
        levels: of baselines, in [0, 1].
    """
    faint = [level for level in levels if 0 < level < _NEARLY_BLACK]
    if not faint:
        return None
    return (
        f"a baseline is {100 * faint[0]:.2g} % grey, nearly black: baselines are in units of the model's input; is its "
        "range right?"
    )


def hard_for_xrai(method: str, name: str, pixels: np.ndarray) -> str | None:
    """Rule 45: XRAI is poor on low contrast, on very tall or wide, and on very large pictures.

    Args:
        method: canonical name.
        name: of the image.
        pixels: uint8 (H, W, 3), as it was given.
    """
    if method.partition("+")[0] != "xrai":
        return None
    height, width = pixels.shape[:2]
    contrast = float((pixels[:: max(1, height // 256), :: max(1, width // 256)] @ _GREY).std()) / 255
    reasons = {
        f"its contrast is low ({contrast:.2f})": contrast < _LOW_CONTRAST,
        f"it is very tall or wide ({width} x {height})": max(height, width)
        > _EXTREME_ASPECT * min(height, width),
        f"it is very large ({width} x {height})": height * width > _LARGE_PIXELS,
    }
    true = [reason for reason, holds in reasons.items() if holds]
    return f"{name}: XRAI does poorly here, {', '.join(true)}; take integrated_gradients" if true else None


def wrong_prediction(name: str, target: str, predicted: str, polarity: str) -> str | None:
    """Rule 46: negative attributions show what spoke against a label that was not predicted."""
    if target == predicted or polarity != "positive":
        return None
    return (
        f"{name}: predicted {predicted}, explained {target}: polarity negative shows what spoke against {target} "
        "(--picture polarity=negative)"
    )


def _of(name: str, one: Attributed) -> str:
    return f"{name}, class {one.class_name if one.class_name is not None else one.target}"
