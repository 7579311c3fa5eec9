"""Where the labelled object lies in each picture, how large it is and what shape it shows: what a slice is cut by."""

import numpy as np
import pandas as pd

from audit.tables import PLACEMENTS, frame
from audit.types import FOREGROUND, Batch


def score_placements(batch: Batch) -> pd.DataFrame:
    """Rows of PLACEMENTS: the annotated object of each picture, as the model's input shows it.

    A picture whose object is not annotated, or not on the picture, has no row. Bars that `model.resize = "pad"` adds
    are of the input too: an object at the photo's edge is not cut off where a bar follows.
    """
    return frame(
        PLACEMENTS,
        [
            {"sample_id": sample_id, **_placement(batch.foreground[row] == FOREGROUND)}
            for row, sample_id in enumerate(batch.sample_ids)
            if (batch.foreground[row] == FOREGROUND).any()
        ],
    )


def _placement(is_object: np.ndarray) -> dict[str, float | str]:
    """The columns of one object, bool (H, W) with some pixel set."""
    height, width = is_object.shape
    rows, columns = np.nonzero(is_object)
    box = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    is_cut = box[0] == 0 or box[1] == 0 or box[2] == height or box[3] == width
    return {
        "size": float(is_object.mean()),
        # Pixels are squares: the centre of the first lies half a pixel inside.
        "row": float((rows.mean() + 0.5) / height),
        "column": float((columns.mean() + 0.5) / width),
        "shape": float((box[3] - box[1]) / (box[2] - box[0])),
        "cut": "yes" if is_cut else "no",
    }
