import pickle

import numpy as np
import pytest
from skimage import data
from skimage.transform import resize

import audit.confounds
from audit.confounds.faces import Faces
from audit.errors import ConfigError
from audit.plugins import find


@pytest.fixture(scope="module")
def faces():
    return Faces()


def box_of(mask):
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def test_the_face_of_a_portrait_is_found_where_it_is(faces):
    mask = faces(data.astronaut())
    assert mask.shape == (512, 512)
    assert mask.dtype == np.bool_
    np.testing.assert_allclose(box_of(mask), (182, 64, 265, 171), atol=8)
    assert mask.sum() == pytest.approx(83 * 107, rel=0.15)


def test_a_box_found_on_a_shrunk_picture_fits_the_picture(faces):
    # Twice as large and not square: it is shrunk by 1100 / 512 and 1024 / 477 before the search.
    large = (resize(data.astronaut(), (1024, 1024)) * 255).astype(np.uint8)
    wide = np.pad(large, ((0, 0), (76, 0), (0, 0)), mode="edge")
    np.testing.assert_allclose(box_of(faces(wide)), (364 + 76, 128, 530 + 76, 342), atol=24)


@pytest.mark.parametrize("name", ["coffee", "chelsea"])
def test_a_picture_without_people_has_no_face(faces, name):
    assert not faces(getattr(data, name)()).any()


@pytest.mark.parametrize("name", ["brick", "grass"])
def test_a_grey_texture_has_no_face(faces, name):
    assert not faces(np.repeat(getattr(data, name)()[..., None], 3, axis=-1)).any()


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (300, 5), (11, 11), (40, 64), (2, 3000)])
def test_small_and_narrow_pictures_are_searched_without_a_fault(faces, shape):
    mask = faces(np.full((*shape, 3), 127, dtype=np.uint8))
    assert mask.shape == shape
    assert not mask.any()


def test_a_grey_portrait_still_has_its_face(faces):
    grey = np.repeat(data.astronaut().mean(axis=-1, keepdims=True), 3, axis=-1).astype(np.uint8)
    assert faces(grey)[110, 225]


def test_the_picture_is_left_as_it_is(faces):
    image = data.astronaut()
    before = image.copy()
    faces(image)
    np.testing.assert_array_equal(image, before)


def test_a_higher_confidence_than_any_detection_finds_nothing():
    assert not Faces(confidence=1.0)(data.astronaut()).any()


def test_the_version_names_what_changes_the_findings():
    assert Faces().version != Faces(confidence=0.95).version
    assert Faces().version.startswith("mtcnn 1.")
    assert Faces().confound == "face"


def test_a_detector_that_was_used_travels_to_a_worker_without_its_networks(faces):
    faces(data.astronaut()[:64, :64])
    copy = pickle.loads(pickle.dumps(faces))
    assert copy == faces
    assert len(pickle.dumps(faces)) < 1000


def test_it_is_a_choice_by_its_file_name():
    assert find(audit.confounds, "faces") is Faces


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"confidence": 1.5}, r"confidence must be in \[0, 1\], got 1.5"),
        ({"minimum_size": 5}, "at least 12"),
        ({"longest_side": 15}, "longest_side must be at least minimum_size, 20"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ConfigError, match=message):
        Faces(**parameters)
