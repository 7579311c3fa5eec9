"""A user's own detector: a Python file or a Keras model beside the configuration."""

from pathlib import Path

import numpy as np
import pytest

from audit.errors import ConfigError
from audit.types import Sample
from pipelines.config import ConfoundsConfig, load
from pipelines.detector_files import load_detector
from pipelines.images import ImageFault
from pipelines.regions import RegionFinder, detectors

REDNESS = """
from dataclasses import dataclass
import numpy as np

__all__ = ["Redness"]

@dataclass(frozen=True)
class Redness:
    least: int = 200

    @property
    def confound(self):
        return "red thing"

    @property
    def version(self):
        return f"{self.least}"

    def __call__(self, image):
        return RESULT
"""
FOUND = "(image[..., 0] >= self.least) & (image[..., 1] < 100)"


@pytest.fixture
def picture() -> np.ndarray:
    image = np.full((40, 60, 3), 128, dtype=np.uint8)
    image[4:10, 5:15] = (220, 20, 20)
    return image


def plugin(folder: Path, result: str = FOUND, text: str = REDNESS) -> Path:
    path = folder / "my_detector.py"
    path.write_text(text.replace("RESULT", result))
    return path


def finder(path: Path, cache: Path, **parameters) -> RegionFinder:
    config = ConfoundsConfig(use=["annotated", str(path)], parameters={path.stem: parameters})
    return RegionFinder(detectors(config), cache / "regions.db", "apply white")


SAMPLE = Sample("one", "one.png", "shoes")


def test_a_file_finds_its_thing_with_the_parameters_of_its_name(tmp_path, picture):
    found = finder(plugin(tmp_path), tmp_path)(SAMPLE, picture, "digest")
    assert list(found) == ["red thing"]
    assert found["red thing"].sum() == 60
    none = finder(plugin(tmp_path), tmp_path, least=230)(SAMPLE, picture, "digest")
    assert not none["red thing"].any()


def test_a_changed_file_is_asked_again_and_an_unchanged_one_is_not(tmp_path, picture):
    assert finder(plugin(tmp_path), tmp_path)(SAMPLE, picture, "digest")["red thing"].any()
    # The same digest of another picture: what was found before is remembered.
    assert finder(plugin(tmp_path), tmp_path)(SAMPLE, picture * 0, "digest")["red thing"].any()
    changed = plugin(tmp_path, "np.zeros(image.shape[:2], dtype=bool)")
    assert not finder(changed, tmp_path)(SAMPLE, picture, "digest")["red thing"].any()


def test_paths_are_relative_to_the_configuration_and_names_stay_names(tmp_path):
    plugin(tmp_path)
    (tmp_path / "audit.toml").write_text(
        '[data]\npath = "photos"\n[model]\npath = "model.keras"\n'
        '[confounds]\nuse = ["annotated", "faces", "./my_detector.py"]\n'
    )
    config = load(tmp_path / "audit.toml", [])
    assert config.confounds.use == ["annotated", "faces", str(tmp_path / "my_detector.py")]


@pytest.mark.parametrize(
    ("result", "found"),
    [
        ("(image[..., 0] > 200).astype(int)", r"int64 \(40, 60\)"),
        ("np.zeros((3, 4), dtype=bool)", r"bool \(3, 4\)"),
        ("[(1, 2, 3, 4)]", "list"),
    ],
)
def test_a_wrong_answer_says_what_was_expected(tmp_path, picture, result, found):
    with pytest.raises(
        ConfigError, match=rf"red thing: expected a bool mask of shape \(40, 60\) .* found {found}"
    ):
        finder(plugin(tmp_path, result), tmp_path)(SAMPLE, picture, "digest")


def test_a_detector_that_fails_on_an_image_costs_that_image_alone(tmp_path, picture):
    failing = finder(plugin(tmp_path, "image[..., 9]"), tmp_path)
    with pytest.raises(ImageFault, match="detector failed: red thing: IndexError: index 9"):
        failing(SAMPLE, picture, "digest")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_that_name", "my_detector.py: cannot be run: ModuleNotFoundError"),
        ("x = 1", r"expected __all__ to name one dataclass, the detector; found \[\]"),
        ("__all__ = ['Thing']\nclass Thing: pass", r"found \['Thing'\]"),
        (
            "from dataclasses import dataclass\n__all__ = ['Thing']\n@dataclass(frozen=True)\nclass Thing:\n"
            "    version: str = '1'",
            "it lacks confound, __call__",
        ),
    ],
)
def test_a_file_without_a_detector_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load_detector(plugin(tmp_path, text=text), {})


def test_a_missing_file_and_an_unknown_parameter_are_told(tmp_path):
    with pytest.raises(
        ConfigError, match=r"nowhere.py: expected a detector's file, which cannot be read: No such"
    ):
        load_detector(tmp_path / "nowhere.py", {})
    with pytest.raises(ConfigError, match=r"confounds.parameters.my_detector: unknown most; known: least"):
        load_detector(plugin(tmp_path), {"most": 3})
    (tmp_path / "weights.pt").write_text("")
    with pytest.raises(ConfigError, match=r"expected a Python file \(.py\) or a Keras model \(.keras, .h5\)"):
        load_detector(tmp_path / "weights.pt", {})


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(
        ConfigError, match=r"expected annotated, .*path of a detector's file; found 'discover'.*'disc"
    ):
        detectors(ConfoundsConfig(use=["annotated", "discover"]))
    assert detectors(ConfoundsConfig(use=["annotated", "discovered", "global", "background"])) == ()


def test_two_detectors_of_one_thing_are_refused(tmp_path):
    path, other = plugin(tmp_path), tmp_path / "other.py"
    other.write_text(path.read_text())
    with pytest.raises(ConfigError, match="two or more that find red thing"):
        detectors(ConfoundsConfig(use=[str(path), str(other)]))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A network that says where a picture is red, on a grid of 10 x 10 cells of 4 pixels."""
    import keras

    inputs = keras.Input((40, 40, 3))
    cells = keras.layers.AveragePooling2D(4)(inputs)
    outputs = keras.layers.Conv2D(1, 1, activation="sigmoid", name="red")(cells)
    network = keras.Model(inputs, outputs)
    network.get_layer("red").set_weights([np.array([[[[1.0], [-1.0], [0.0]]]]), np.array([-100.0])])
    path = tmp_path_factory.mktemp("models") / "red_thing.keras"
    network.save(path)
    return path


def test_a_keras_model_marks_its_cells(tmp_path, model):
    image = np.full((80, 120, 3), 128, dtype=np.uint8)
    image[8:24, 12:36] = (220, 20, 20)  # two by two cells of 8 x 12 pixels
    found = finder(model, tmp_path)(SAMPLE, image, "digest")
    np.testing.assert_array_equal(found["red thing"], image[..., 0] == 220)
    config = ConfoundsConfig(use=[str(model)], parameters={"red_thing": {"name": "patch", "cut": 1.1}})
    (strict,) = detectors(config)
    assert strict.confound == "patch"
    assert not strict(image).any()


def test_a_model_that_does_not_answer_by_pixel_is_refused(tmp_path):
    import keras

    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    path = tmp_path / "label.keras"
    network.save(path)
    with pytest.raises(ConfigError, match=r"expected an output of \(1, h, w\) .* found \(1, 2\)"):
        load_detector(path, {})(np.zeros((8, 8, 3), dtype=np.uint8))
    path.write_bytes(b"no model")
    with pytest.raises(ConfigError, match=r"label.keras: cannot be loaded as a Keras model"):
        load_detector(path, {})(np.zeros((8, 8, 3), dtype=np.uint8))
