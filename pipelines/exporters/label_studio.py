"""Tasks of Label Studio: a picture each, with the suggested class and the regions as a prediction to correct."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from pipelines.exporters._pictures import PictureRow, picture_rows
from pipelines.storage import write_text

__all__ = ["LabelStudio"]


@dataclass(frozen=True)
class LabelStudio:
    """A JSON list of tasks for a project with `<Image name="image" value="$image"/>` and `<Choices name="label">`.

    Regions go to `<RectangleLabels name="region">`, in percent of the picture.

    Attributes:
        files: what a path stands behind: Label Studio serves local files under it, the document root being `/`.
    """

    files: str = "/data/local-files/?d="

    def __call__(self, table: pd.DataFrame, path: Path) -> None:
        """Writes the tasks."""
        tasks = [self._task(row) for row in picture_rows(table, "label_studio")]
        write_text(path, json.dumps(tasks, ensure_ascii=False, allow_nan=False, indent=1) + "\n")

    def _task(self, row: PictureRow) -> dict[str, Any]:
        words = {**row.words, "label": row.label, "path": str(row.path)}
        if row.predicted:
            words |= {"predicted": row.predicted[0], "confidence": row.predicted[1]}
        task: dict[str, Any] = {
            "data": {"image": self.files + quote(str(row.path).lstrip("/")), **words},
        }
        answer = row.suggested or row.predicted
        results = [_rectangle(name, box) for name, box in row.regions]
        if answer:
            results.insert(0, _choice(answer[0]))
        if results:
            version = "suggested" if row.suggested else "predicted" if row.predicted else "regions"
            score = {"score": answer[1]} if answer else {}
            task["predictions"] = [{"model_version": version, **score, "result": results}]
        return task


def _choice(label: str) -> dict[str, Any]:
    return {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}


def _rectangle(name: str, box: tuple[float, float, float, float]) -> dict[str, Any]:
    x0, y0, x1, y1 = (100 * side for side in box)
    value = {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "rotation": 0, "rectanglelabels": [name]}
    return {"from_name": "region", "to_name": "image", "type": "rectanglelabels", "value": value}
