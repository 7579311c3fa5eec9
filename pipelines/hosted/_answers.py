"""What the answers of both services have in common."""

import base64
import math
from typing import Any

from pipelines.hosted._values import Attributed


def payload(attributed: Attributed) -> Any:
    """A picture as both services sent it, or the map as nested lists where none was asked for."""
    if attributed.picture is None:
        return attributed.map.tolist()
    return {f"b64_{attributed.output_format}": base64.b64encode(attributed.picture).decode("ascii")}


def measured(value: float) -> float | None:
    """A number, or null where it is not measurable: JSON has no NaN."""
    return value if math.isfinite(value) else None
