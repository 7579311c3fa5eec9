"""A picture's background without its object."""

from collections.abc import Iterable, Iterator

import numpy as np

from audit.interventions import Picture
from audit.interventions._fills import grown, spread

MAX_BOX = 0.85
"""Share of the picture that the object's box may cover: behind a larger one hardly any background is seen."""


def scene(picture: Picture) -> np.ndarray | None:
    """The picture with the box of its object filled from around it; None where too little is seen around it.

    A box, not the outline: filling the outline would leave the object's silhouette behind, which tells the class
    without any background.
    """
    if not picture.is_annotated:
        return None
    rest = grown(picture.protected, 0.05)
    rows, columns = np.flatnonzero(rest.any(axis=1)), np.flatnonzero(rest.any(axis=0))
    box = np.zeros(rest.shape, dtype=bool)
    box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return spread(picture.image, box) if box.mean() <= MAX_BOX else None


def scenes(pictures: Iterable[Picture]) -> Iterator[np.ndarray]:
    """The scenes of those pictures that have one, in order."""
    yield from (found for found in map(scene, pictures) if found is not None)
