"""samples.json of FiftyOne: name the file so, and its folder loads as a dataset of the type FiftyOneDataset."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.exporters._pictures import PictureRow, picture_rows
from pipelines.storage import write_text

__all__ = ["FiftyOne"]


@dataclass(frozen=True)
class FiftyOne:
    """Samples with `ground_truth`, `suggested` and `predicted` classes, `regions` as detections, the rest as fields."""

    def __call__(self, table: pd.DataFrame, path: Path) -> None:
        """Writes the samples; pictures stay where they are."""
        samples = [_sample(row) for row in picture_rows(table, "fiftyone")]
        text = json.dumps({"samples": samples}, ensure_ascii=False, allow_nan=False, indent=1)
        write_text(path, text + "\n")


def _sample(row: PictureRow) -> dict[str, Any]:
    sample: dict[str, Any] = {"filepath": str(row.path), "tags": [], **row.words}
    if row.label is not None:
        sample["ground_truth"] = {"_cls": "Classification", "label": row.label}
    for name, answer in (("suggested", row.suggested), ("predicted", row.predicted)):
        if answer:
            sample[name] = {"_cls": "Classification", "label": answer[0], "confidence": answer[1]}
    if row.regions:
        sample["regions"] = {
            "_cls": "Detections",
            "detections": [
                {"_cls": "Detection", "label": name, "bounding_box": [x0, y0, x1 - x0, y1 - y0]}
                for name, (x0, y0, x1, y1) in row.regions
            ],
        }
    return sample
