"""Per-image work on the CPU, spread over threads."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from joblib import Parallel, delayed

Result = TypeVar("Result")


def map_images(function: Callable[..., Result], *columns: np.ndarray | Sequence[Any]) -> list[Result]:
    """`function` of every image, in order.

    The caller's joblib context sets the workers (`joblib.parallel_config(n_jobs=...)`), else there is one.
    Threads, not processes: the work is NumPy and compiled code, and images are not copied.

    Args:
        function: of one row; must depend on its arguments alone.
        columns: one for each argument of `function`, all of one length.

    Raises:
        ValueError: the columns differ in length.
    """
    rows = list(zip(*columns, strict=True))
    results: list[Result] = Parallel(prefer="threads")(delayed(function)(*row) for row in rows)
    return results
