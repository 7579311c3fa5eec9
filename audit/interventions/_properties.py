"""A global property brought to a value, and a control that is changed as much but not towards it."""

import numpy as np

from audit.interventions import SURROUNDINGS, Aim, Picture, Variant
from audit.types import ImageFacts

WHOLE = "whole picture"
REACHED = 0.5
"""Share of the way to the target that the pixels must allow, and of the change's size that the control must have."""


def brought(picture: Picture, seed: int) -> tuple[Variant, ...]:
    """The picture with its property at the aim, against its control: as a whole, and around the object alone.

    A change of the whole picture changes the object too, and a model that knows a thing by its own colour no longer
    recognises it in grey; that is no confound. So where the object is annotated it is also left as it is, and only
    what both ways show can prove anything.

    The control has the same change with the other sign: as much warmer as the changed picture is colder, as much
    sharper as that is softer. Where the property is a matter of size and not of sign (the traces of compression look
    alike inverted), the signs are drawn pixel by pixel, which leaves noise of the change's size at every place.

    Args:
        picture: its `aim` is what it is brought to, its `region` the pixels the property is measured on.
        seed: of the signs.
    """
    aim = picture.aim
    if aim is None or not picture.region.any():
        return _not_made("too little lies outside of the object to measure the property on")
    now = _value(picture.image, picture, aim)
    normalise = aim.changed.normalise
    if np.isnan(now) or normalise is None:
        return _not_made("the property cannot be measured on this picture, or pixels cannot change it")
    (after,) = normalise(picture.image[None], aim.target, picture.region[None])
    way = aim.target - now
    if not abs(_value(after, picture, aim) - aim.target) <= (1 - REACHED) * abs(way):
        return _not_made("pixels cannot be changed that far")
    control = _control(picture, after, way, seed)
    missing = (
        ""
        if control is not None
        else "as large a change of another kind does not fit between black and white"
    )
    variants = (Variant(WHOLE, after, control, missing),)
    if not picture.is_annotated:
        return variants
    spared = None if control is None else _around(control, picture)
    return *variants, Variant(SURROUNDINGS, _around(after, picture), spared, missing)


def _around(changed: np.ndarray, picture: Picture) -> np.ndarray:
    """The changed picture with the object as it was."""
    return np.where(picture.protected[..., None], picture.image, changed)


def _control(picture: Picture, after: np.ndarray, way: float, seed: int) -> np.ndarray | None:
    """The picture changed as much as `after`, but not on its way; None where there is no such change."""
    assert picture.aim is not None
    change = after - picture.image
    now = _value(picture.image, picture, picture.aim)

    def moves_on(control: np.ndarray) -> bool:
        """Whether the control goes on the same way."""
        assert picture.aim is not None
        return way != 0 and (_value(control, picture, picture.aim) - now) / way > 1 - REACHED

    control = np.clip(picture.image - change, 0, 1)
    if moves_on(control):
        signs = np.random.default_rng(seed).choice(np.array([-1, 1], np.float32), size=(*change.shape[:2], 1))
        control = np.clip(picture.image + signs * change, 0, 1)
    has_size = np.abs(control - picture.image).mean() >= REACHED * np.abs(change).mean()
    return np.asarray(control, dtype=np.float32) if has_size and not moves_on(control) else None


def _value(image: np.ndarray, picture: Picture, aim: Aim) -> float:
    height, width = image.shape[:2]
    facts = ImageFacts(width, height, "", None, 0)
    return float(aim.changed.measure(np.rint(image * 255).astype(np.uint8), facts, picture.region))


def _not_made(reason: str) -> tuple[Variant, ...]:
    return (Variant(WHOLE, None, None, reason),)
