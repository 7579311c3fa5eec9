import numpy as np
import pytest

from audit.placements import score_placements
from audit.types import BACKGROUND, FOREGROUND, IGNORE, Batch


def batch_of(*foregrounds):
    n, shape = len(foregrounds), foregrounds[0].shape
    return Batch(
        sample_ids=tuple(f"s{index}" for index in range(n)),
        images=np.zeros((n, *shape, 3), np.float32),
        labels=np.zeros(n, np.int64),
        foreground=np.stack(foregrounds),
        regions={},
    )


def with_object(rows, columns, shape=(8, 10)):
    foreground = np.full(shape, BACKGROUND, np.uint8)
    foreground[rows, columns] = FOREGROUND
    return foreground


def test_size_place_and_shape_by_hand():
    # 2 rows by 4 columns of 80 pixels; rows 3 and 4 have their centre at 4 of 8, columns 1 to 4 at 3 of 10.
    (row,) = score_placements(batch_of(with_object(slice(3, 5), slice(1, 5)))).to_dict("records")
    assert row == {
        "sample_id": "s0",
        "size": pytest.approx(0.1),
        "row": pytest.approx(0.5),
        "column": pytest.approx(0.3),
        "shape": pytest.approx(2.0),
        "cut": "no",
    }


@pytest.mark.parametrize("place", [(0, 4), (7, 4), (4, 0), (4, 9)], ids=["top", "bottom", "left", "right"])
def test_an_object_at_the_edge_is_cut(place):
    (row,) = score_placements(batch_of(with_object(*place))).to_dict("records")
    assert row["cut"] == "yes"


def test_a_mirrored_picture_has_its_object_on_the_other_side():
    foreground = with_object(slice(0, 3), slice(1, 3))
    one, mirrored = score_placements(batch_of(foreground, foreground[:, ::-1])).to_dict("records")
    assert one["column"] == pytest.approx(1 - mirrored["column"])
    assert one["column"] == pytest.approx(0.2)


def test_without_an_object_there_is_no_row():
    nothing, unknown = np.full((8, 10), BACKGROUND, np.uint8), np.full((8, 10), IGNORE, np.uint8)
    found = score_placements(batch_of(nothing, with_object(4, 4), unknown))
    assert found["sample_id"].tolist() == ["s1"]
