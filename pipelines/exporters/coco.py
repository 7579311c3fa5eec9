"""A COCO document: pictures with what is said of them, regions as annotations; classes are not drawn on anything."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image, UnidentifiedImageError

from audit.errors import DatasetError
from pipelines.exporters._pictures import PictureRow, picture_rows
from pipelines.storage import write_text

__all__ = ["Coco"]

_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)


@dataclass(frozen=True)
class Coco:
    """`images` carry label, suggested and predicted class as fields of their own, since COCO has none for a picture.

    A picture without regions has no annotation; categories are the regions' names and all classes that are named.
    """

    def __call__(self, table: pd.DataFrame, path: Path) -> None:
        """Writes the document.

        Raises:
            DatasetError: a picture whose size is needed cannot be opened.
        """
        rows = list(picture_rows(table, "coco"))
        names = {name for row in rows for name, _ in row.regions} | {
            answer[0] for row in rows for answer in (row.suggested, row.predicted) if answer
        }
        names |= {row.label for row in rows if row.label is not None}
        categories = {name: number for number, name in enumerate(sorted(names), start=1)}
        images = [_image(row, number) for number, row in enumerate(rows, start=1)]
        boxes = [
            (image, name, box) for image, row in zip(images, rows, strict=True) for name, box in row.regions
        ]
        annotations = [
            _annotation(number, image, categories[name], box)
            for number, (image, name, box) in enumerate(boxes, start=1)
        ]
        document = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for name, number in categories.items()],
        }
        write_text(path, json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n")


def _image(row: PictureRow, number: int) -> dict[str, Any]:
    width, height = _size(row.path)
    answers = {
        name: answer[0]
        for name, answer in (("suggested", row.suggested), ("predicted", row.predicted))
        if answer
    }
    known = {} if row.label is None else {"label": row.label}
    return {
        **row.words,
        **answers,
        **known,
        "id": number,
        "file_name": str(row.path),
        "width": width,
        "height": height,
    }


def _size(path: Path) -> tuple[int, int]:
    """Width and height of the upright picture, from its header."""
    try:
        with Image.open(path) as image:
            is_turned = image.getexif().get(_ORIENTATION, 1) in _TURNED and image.format != "TIFF"
            return (image.height, image.width) if is_turned else image.size
    except (OSError, UnidentifiedImageError) as error:
        raise DatasetError(
            f"{path}: expected a picture whose size can be read, found none: {error}"
        ) from None


def _annotation(
    number: int, image: dict[str, Any], category: int, box: tuple[float, float, float, float]
) -> dict[str, Any]:
    x0, x1 = (side * image["width"] for side in (box[0], box[2]))
    y0, y1 = (side * image["height"] for side in (box[1], box[3]))
    return {
        "id": number,
        "image_id": image["id"],
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
    }
