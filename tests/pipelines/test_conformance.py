"""What the hosted services read, did and answered: one case a row of the conformance table.

The model's scores are softmax(WEIGHT * brightness of the left half, of the right half, 0), see hosted_models. For its
logits Integrated Gradients are exact with one step: WEIGHT * (pixel - baseline), summed over channels.
"""

import base64
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from audit.attributions._names import canonical
from audit.baselines import BaselineCheck
from audit.errors import ConfigError
from audit.types import MapStatus
from pipelines import explain as explaining
from pipelines import explainer
from pipelines.cli import main
from pipelines.config import ModelConfig, load
from pipelines.explanation_metadata import beside, config_overrides, read
from pipelines.hosted import _rules
from pipelines.hosted._values import Attributed, HostedExplanation
from reports import pictures
from reports.visualization import Visualization, signed_strength
from tests.pipelines import hosted_models as hosted

SIZE, WEIGHT, NAMES = hosted.SIZE, hosted.WEIGHT, hosted.NAMES
ROWS: dict[int, Callable[["Kit"], None]] = {}
HALF = slice(None, SIZE // 2)


def row(number: int) -> Callable[[Callable[["Kit"], None]], Callable[["Kit"], None]]:
    def add(case: Callable[["Kit"], None]) -> Callable[["Kit"], None]:
        assert number not in ROWS
        ROWS[number] = case
        return case

    return add


class Kit:
    """Models on disk, made when a case asks for them, and a fresh folder for each case."""

    def __init__(self, models: Path) -> None:
        self.models = models
        self.folder = models

    def model(self, kind: str) -> Path:
        path = self.models / kind
        if not path.exists():
            getattr(hosted, f"save_{kind}")(path)
        return path

    def read(self, document: Any, name: str = "spec.json") -> HostedExplanation:
        return read(hosted.written(self.folder / name, document))

    def ai_platform(self, **image: Any) -> HostedExplanation:
        return self.read(hosted.ai_platform(**image), "explanation_metadata.json")

    def vertex(self, parameters: Any = None, **image: Any) -> HostedExplanation:
        return self.read(hosted.vertex(parameters, **image))

    def explain(self, *options: str, kind: str = "pixels", metadata: Any = None) -> dict[str, Any]:
        """The answer of the command line on one photo of the left half."""
        photo = self.folder / "photo.png"
        photo.write_bytes(hosted.png(hosted.photo()))
        return self.answered(str(photo), *options, kind=kind, metadata=metadata)

    def answered(self, *options: str, kind: str = "pixels", metadata: Any = None) -> dict[str, Any]:
        document = hosted.ai_platform() if metadata is None else metadata
        name = "explanation_metadata.json" if "framework" in document else "spec.json"
        described = hosted.written(self.folder / name, document)
        answer = self.folder / "answer.json"
        arguments = ["explain", "--model", str(self.model(kind)), "--metadata", str(described), *options]
        assert main([*arguments, "--json", str(answer), "--raw", str(self.folder / "raw.npz")]) == 0
        return json.loads(answer.read_text())

    def raw(self) -> np.ndarray:
        return np.load(self.folder / "raw.npz")["maps"]

    def maps(self, metadata: HostedExplanation | None, **asked: Any) -> np.ndarray:
        """(N, H, W) of the logits model on one photo of the left half."""
        config = load(None, [("data.path", self.folder), ("model.path", self.model("logits"))])
        loaded = explainer.load(config, explainer.Asked(metadata=metadata, **asked))
        picture = explainer.Picture("photo", hosted.photo(), hosted.photo().astype(np.float32) / 255)
        (found,) = explaining.explain(loaded, [picture])
        return np.stack([one.map for one in found.answered[0].attributions])

    def refused(self, document: Any, *words: str) -> None:
        with pytest.raises(ConfigError) as caught:
            self.read(document, "explanation_metadata.json" if "framework" in document else "spec.json")
        for word in words:
            assert word in str(caught.value)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def kit(models, tmp_path) -> Kit:
    kit = Kit(models)
    kit.folder = tmp_path
    return kit


def drawing(kit: Kit, service: str, **options: Any) -> Visualization:
    found = getattr(kit, service)(visualization={"type": "pixels", **options})
    return found.visualization("integrated_gradients")


def attributed(**changes: Any) -> Attributed:
    values = Attributed(
        0, "left", 0.9, 0.2, 0.01, MapStatus.CONVERGED, np.zeros((2, 2), np.float32), None, "jpeg"
    )
    return replace(values, **changes)


def ones_of(drawn: np.ndarray) -> int:
    return int((drawn != 0).sum())


# explanation_metadata.json


@row(1)
def _(kit: Kit) -> None:
    model = kit.folder / "model"
    hosted.save_pixels(model)
    assert beside(model) is None
    hosted.written(model / "explanation_metadata.json", hosted.ai_platform())
    assert beside(model) == model / "explanation_metadata.json"
    photo = kit.folder / "photo.png"
    photo.write_bytes(hosted.png(hosted.photo()))
    answer = kit.folder / "answer.json"
    assert main(["explain", str(photo), "--model", str(model), "--json", str(answer)]) == 0
    (found,) = json.loads(answer.read_text())["explanations"][0]["attributions_by_label"]
    assert (found["label_name"], found["output_name"]) == ("left", "probability")


@row(2)
def _(kit: Kit) -> None:
    optional = {
        "tags": ["serve"],
        "serving_sigdef_key": "serving_default",
        "sigdef_inputs": {},
        "preparer_version": "1",
    }
    found = kit.read({**hosted.ai_platform(), **optional})
    assert (found.input.name, found.output.name, found.service) == ("image", "probability", "ai_platform")
    kit.read({**hosted.ai_platform(), "framework": "tensorflow"})
    kit.refused({**hosted.ai_platform(), "framework": "xgboost"}, "framework", "xgboost", "tensorflow")
    kit.refused({**hosted.ai_platform(), "outputs": {"a": {}, "b": {}}}, "outputs", "exactly one", "a, b")
    kit.refused({**hosted.ai_platform(), "input": {}}, "'input'", "nearest", "'inputs'")


@row(3)
def _(kit: Kit) -> None:
    assert kit.ai_platform(input_tensor_name="input_pixels:0").input.tensor == "input_pixels:0"
    assert "attributions_by_label" in kit.explain()["explanations"][0]
    wrong = hosted.ai_platform(input_tensor_name="no_such_input")
    path = hosted.written(kit.folder / "explanation_metadata.json", wrong)
    assert (
        main(
            [
                "explain",
                str(kit.folder / "photo.png"),
                "--model",
                str(kit.model("pixels")),
                "--metadata",
                str(path),
            ]
        )
        == 2
    )


@row(4)
def _(kit: Kit) -> None:
    assert not kit.ai_platform(modality="numeric").input.is_image
    document = hosted.ai_platform()
    del document["inputs"]["image"]["modality"]
    assert not kit.read(document).input.is_image
    (found,) = kit.explain(metadata=document)["explanations"][0]["attributions_by_label"]
    assert np.array(found["attributions"]["image"]).shape == (SIZE, SIZE)
    document["inputs"]["image"]["visualization"] = {"type": "pixels"}
    kit.refused(document, "modality", "image")


@row(5)
def _(kit: Kit) -> None:
    pixel = 3 * np.float32(200 / 255)
    (black,) = kit.maps(kit.ai_platform(input_baselines=[0]), n_steps=1)
    (both,) = kit.maps(kit.ai_platform(input_baselines=[0, 1]), n_steps=1)
    np.testing.assert_allclose(black[:, HALF], WEIGHT * pixel, rtol=1e-5)
    np.testing.assert_allclose(both[:, HALF], WEIGHT * (pixel - 1.5), rtol=1e-4)
    array = np.full((SIZE, SIZE, 3), 0.25).tolist()
    (from_array,) = kit.maps(kit.ai_platform(input_baselines=[array]), n_steps=1)
    np.testing.assert_allclose(from_array[:, HALF], WEIGHT * (pixel - 0.75), rtol=1e-4)
    kit.refused(hosted.ai_platform(input_baselines=[0] * 11), "input_baselines", "at most 10", "11")
    kit.refused(hosted.ai_platform(input_baselines=0), "input_baselines", "list")
    with pytest.raises(ConfigError, match="shape"):
        kit.maps(kit.ai_platform(input_baselines=[np.zeros((4, 4, 3)).tolist()]), n_steps=1)


@row(6)
def _(kit: Kit) -> None:
    assert kit.ai_platform(encoded_baselines=[0.5]).input.baselines == (0.5,)
    kit.refused(
        hosted.ai_platform(encoded_baselines=[0], input_baselines=[0]),
        "encoded_baselines",
        "excludes",
        "input_baselines",
    )


@row(7)
def _(kit: Kit) -> None:
    kit.ai_platform(encoding="identity")
    kit.vertex(encoding="IDENTITY")
    kit.refused(hosted.ai_platform(encoding="bag_of_features"), "encoding", "bag_of_features", "identity")
    kit.refused(hosted.ai_platform(indices_tensor_name="x"), "'indices_tensor_name'", "nearest")


@row(8)
def _(kit: Kit) -> None:
    found = kit.ai_platform(domain={"min": -1, "max": 1})
    assert ("model.value_range", [-1.0, 1.0]) in config_overrides(found)
    kit.refused(hosted.ai_platform(domain={"min": 0}), "min", "max", "both or none")
    kit.refused(hosted.ai_platform(domain={"min": 1, "max": 1}), "less than 'max'")
    normalised = kit.ai_platform(domain={"original_mean": 127.5, "original_stddev": 51})
    assert dict(config_overrides(normalised))["model.mean"] == [0.5] * 3
    assert dict(config_overrides(normalised))["model.std"] == [0.2] * 3
    shares = kit.ai_platform(domain={"original_mean": 0.5, "original_stddev": 0.2})
    assert dict(config_overrides(shares))["model.mean"] == [0.5] * 3
    # A baseline counts in units of the input: -1 is black where the input runs from -1 to 1, and 0 is grey.
    grey = kit.ai_platform(domain={"min": -1, "max": 1}, input_baselines=[-1, 0])
    parameters = dict(config_overrides(grey))["attributions.parameters"]
    assert parameters["integrated_gradients"]["baseline"] == [0.0, 0.5]


@row(9)
def _(kit: Kit) -> None:
    options = {"type": "outlines", "polarity": "both", "color_map": "viridis", "overlay_type": "grayscale"}
    found = kit.ai_platform(visualization=options).visualization("integrated_gradients")
    assert {key: getattr(found, key) for key in options} == options
    kit.refused(
        hosted.ai_platform(visualization={"type": "pixels", "colour": "red"}), "'colour'", "'color_map'"
    )


@row(10)
def _(kit: Kit) -> None:
    overrides = dict(
        config_overrides(
            kit.ai_platform(), load(None, [("data.path", "."), ("model.path", kit.folder)]).model
        )
    )
    assert overrides["model.output"] == "scores"
    document = hosted.ai_platform()
    document["outputs"]["probability"]["output_tensor"] = "scores"
    kit.refused(document, "'output_tensor'", "'output_tensor_name'")


@row(11)
def _(kit: Kit) -> None:
    assert kit.ai_platform().output.class_names == tuple(NAMES)
    document = hosted.ai_platform()
    document["outputs"]["probability"] = {"output_tensor_name": "scores", "index_name_mapping_key": "names"}
    found = kit.read(document)
    assert found.output.class_names_key == "names"
    # Names out of the model's answers are not supported, which is said instead of leaving them out in silence.
    with pytest.raises(ConfigError, match="index_name_mapping_key"):
        config_overrides(found)
    named = ModelConfig(path=Path("m"), classes=NAMES)
    assert ("model.classes", NAMES) not in config_overrides(found, named)


# visualization


@row(12)
def _(kit: Kit) -> None:
    kit.refused(
        hosted.ai_platform(visualization={"polarity": "both"}), "type", "missing", "pixels or outlines"
    )
    assert drawing(kit, "ai_platform", type="OutLines").type == "outlines"
    assert kit.vertex(visualization={}).visualization("integrated_gradients").type == "outlines"
    assert kit.vertex(visualization={}).visualization("xrai").type == "pixels"
    kit.refused(hosted.vertex(visualization={"type": "OUTLINE"}), "type", "OUTLINE", "outlines")


@row(13)
def _(kit: Kit) -> None:
    assert drawing(kit, "ai_platform").polarity == "positive"
    values = np.array([[-2.0, 0.0, 1.0]])
    expected = {"positive": [0, 0, 1], "negative": [-1, 0, 0], "both": [-1, 0, 0.5]}
    for polarity, strength in expected.items():
        options = drawing(
            kit, "vertex", polarity=polarity.upper(), clipPercentLowerbound=0, clipPercentUpperbound=100
        )
        np.testing.assert_allclose(signed_strength(values, options), [strength])


@row(14)
def _(kit: Kit) -> None:
    assert drawing(kit, "ai_platform").color_map == "pink_green"
    assert kit.ai_platform(visualization={"type": "pixels"}).visualization("xrai").color_map == "viridis"
    greens = {"pink_green", "red_green", "green", "pink_white_green"}
    for name in ("pink_green", "red_green", "red", "green", "viridis", "pink_white_green"):
        options = drawing(kit, "vertex", colorMap=name.upper(), overlayType="NONE")
        assert options.color_map == name
        picture = pictures.draw(
            hosted.photo(), np.ones((SIZE, SIZE)), replace(options, type="pixels")
        ).astype(int)
        red, green, blue = picture[SIZE // 2, SIZE // 2]
        assert bool(green > max(red, blue)) is (name in greens)
    kit.refused(hosted.vertex(visualization={"colorMap": "JET"}), "color_map", "JET", "nearest")


@row(15)
def _(kit: Kit) -> None:
    assert drawing(kit, "ai_platform").clip_above_percentile == 100
    assert drawing(kit, "vertex").clip_above_percentile == 99.9
    assert drawing(kit, "ai_platform", clip_above_percentile=90).clip_above_percentile == 90
    assert drawing(kit, "vertex", clipPercentUpperbound=90).clip_above_percentile == 90
    kit.refused(
        hosted.ai_platform(visualization={"type": "pixels", "clip_above_percentile": 101}),
        "clip_above_percentile",
        "101",
    )


@row(16)
def _(kit: Kit) -> None:
    assert drawing(kit, "vertex").clip_below_percentile == 62
    assert drawing(kit, "ai_platform").clip_below_percentile == 40
    wrong = {"type": "pixels", "clip_below_percentile": 90, "clip_above_percentile": 90}
    kit.refused(hosted.ai_platform(visualization=wrong), "below < above")
    # Of 100 attributed pixels among 300, the top 2 % are 2, all are 100, and the top 60 % are 60.
    values = np.concatenate([np.arange(1.0, 101.0), np.zeros(100), -np.arange(1.0, 101.0)]).reshape(10, 30)
    for below, n_drawn in ((98, 2), (0, 100), (40, 60)):
        options = drawing(kit, "ai_platform", clip_below_percentile=below, clip_above_percentile=100)
        assert ones_of(signed_strength(values, options)) == n_drawn
    # By mass: 6 and 4 hold more than 60 % of 1 + 2 + 3 + 4 + 6.
    options = drawing(kit, "ai_platform", clip_below_percentile=40, clip_by="mass")
    np.testing.assert_array_equal(
        signed_strength(np.array([[1.0, 2, 3, 4, 6]]), options) > 0, [[0, 0, 0, 1, 1]]
    )


@row(17)
def _(kit: Kit) -> None:
    assert drawing(kit, "ai_platform").overlay_type == "none"
    assert drawing(kit, "ai_platform", overlay_type="mask").overlay_type == "mask_black"
    values = np.zeros((SIZE, SIZE))
    values[:, HALF] = 1
    photo = np.full((SIZE, SIZE, 3), (200, 100, 0), np.uint8)
    grey = round(200 * 0.299 + 100 * 0.587)
    expected = {
        "none": (0, 0, 0),
        "original": (200, 100, 0),
        "grayscale": (grey,) * 3,
        "mask_black": (0, 0, 0),
    }
    for name, colour in expected.items():
        picture = pictures.draw(photo, values, drawing(kit, "ai_platform", overlay_type=name))
        np.testing.assert_allclose(picture[8, 12].astype(int), colour, atol=1)
    masked = pictures.draw(photo, values, drawing(kit, "ai_platform", overlay_type="mask_black"))
    np.testing.assert_array_equal(masked[8, 3], (200, 100, 0))


@row(18)
def _(kit: Kit) -> None:
    options = drawing(kit, "ai_platform", overlay_type="original", overlay_multiplier=0.25)
    picture = pictures.draw(np.full((8, 8, 3), 200, np.uint8), np.zeros((8, 8)), options)
    np.testing.assert_array_equal(picture, 50)
    kit.refused(
        hosted.ai_platform(visualization={"type": "pixels", "overlay_multiplier": 1.5}),
        "overlay_multiplier",
        "1.5",
    )


@row(19)
def _(kit: Kit) -> None:
    dot = np.zeros((SIZE, SIZE))
    dot[8, 8] = 1
    every = {"clip_below_percentile": 0, "clip_above_percentile": 100}
    assert ones_of(signed_strength(dot, drawing(kit, "ai_platform", **every))) == 1
    assert (
        ones_of(signed_strength(dot, drawing(kit, "ai_platform", blur_sigma=1, **every))) == 81
    )  # cut at 4 sigma
    kit.refused(
        hosted.ai_platform(visualization={"type": "outlines", "blur_sigma": 1}), "blur_sigma", "pixels"
    )


@row(20)
def _(kit: Kit) -> None:
    square = np.zeros((64, 64))
    square[16:48, 16:48] = 1
    photo = np.zeros((64, 64, 3), np.uint8)
    shaded = pictures.draw(photo, square, drawing(kit, "ai_platform", type="outlines"))
    hollow = pictures.draw(
        photo, square, drawing(kit, "ai_platform", type="outlines", shade_within_outlines=False)
    )
    assert shaded[32, 32].max() > 100
    assert hollow[32, 32].max() == 0
    assert shaded[32].max() > 150
    assert hollow[32].max() > 150
    wrong = {"type": "pixels", "shade_within_outlines": True}
    kit.refused(hosted.ai_platform(visualization=wrong), "shade_within_outlines", "outlines")


@row(21)
def _(kit: Kit) -> None:
    for stated, expected in ((None, "JPEG"), ("png", "PNG")):
        options = {"type": "pixels"} | ({"output_format": stated} if stated else {})
        answer = kit.explain(metadata=hosted.ai_platform(visualization=options))
        (found,) = answer["explanations"][0]["attributions_by_label"]
        ((key, text),) = found["attributions"]["image"].items()
        assert key == f"b64_{expected.lower()}"
        assert Image.open(io.BytesIO(base64.b64decode(text))).format == expected


@row(22)
def _(kit: Kit) -> None:
    values = np.ones((SIZE, SIZE))
    photo = np.zeros((40, 60, 3), np.uint8)
    resized = drawing(kit, "ai_platform", resized_shape=[20, 30])
    assert pictures.draw(photo, values, resized).shape == (20, 30, 3)
    placed = drawing(kit, "ai_platform", resized_shape=[20, 30], translate=[5, 3])
    picture = pictures.draw(photo, values, placed).max(axis=-1)
    assert picture.shape == (40, 60)
    rows, columns = np.nonzero(picture)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (5, 34, 3, 22)
    kit.refused(
        hosted.ai_platform(visualization={"type": "pixels", "translate": [-1, 0]}), "translate", "at least 0"
    )


# Methods and parameters


@row(23)
def _(kit: Kit) -> None:
    assert canonical("integrated-gradients") == "integrated_gradients"
    found = kit.vertex({"integratedGradientsAttribution": {"stepCount": 25}})
    assert (found.method.name, found.method.n_steps) == ("integrated_gradients", 25)
    assert kit.vertex({"integratedGradientsAttribution": {}}).method.n_steps == 50
    for wrong in (0, 101, 2.5):
        kit.refused(
            hosted.vertex({"integratedGradientsAttribution": {"stepCount": wrong}}), "step_count", "[1, 100]"
        )


@row(24)
def _(kit: Kit) -> None:
    assert canonical("xrai-attribution") == canonical("xrai") == "xrai"
    assert kit.vertex({"xraiAttribution": {"stepCount": 7}}).method.name == "xrai"
    kit.refused(hosted.vertex({"xraiAttribution": {"stepCount": 101}}), "step_count", "[1, 100]")
    both = {"xraiAttribution": {}, "integratedGradientsAttribution": {}}
    kit.refused(hosted.vertex(both), "xrai_attribution", "excludes")


@row(25)
def _(kit: Kit) -> None:
    # One trapezoid step of a softmax is far from the integral, a hundred are not.
    errors = [
        kit.explain(option, steps)["explanations"][0]["attributions_by_label"][0]["approx_error"]
        for option, steps in (("--num-integral-steps", "1"), ("--step-count", "100"))
    ]
    assert errors[0] > 0.05 > 0.001 > errors[1]
    assert (
        kit.read(hosted.vertex({"integrated_gradients_attribution": {"step_count": 12}})).method.n_steps == 12
    )


@row(26)
def _(kit: Kit) -> None:
    def smooth(**config: Any) -> Any:
        return kit.vertex(
            {"integratedGradientsAttribution": {"stepCount": 1, "smoothGradConfig": config}}
        ).method

    assert (smooth().noise_sigma, smooth().n_noisy, smooth().spelled) == (
        0.1,
        3,
        "integrated_gradients+smoothgrad",
    )
    assert smooth(noiseSigma=0.2, noisySampleCount=50).n_noisy == 50
    by_feature = {"noiseSigma": [{"name": "other", "sigma": 9}, {"name": "image", "sigma": 0.3}]}
    assert smooth(featureNoiseSigma=by_feature).noise_sigma == 0.3
    for wrong in (
        {"noisySampleCount": 51},
        {"noisySampleCount": 0},
        {"noiseSigma": 1, "featureNoiseSigma": by_feature},
    ):
        with pytest.raises(ConfigError):
            smooth(**wrong)
    # Sigma counts in units of the input: 25.5 of 255 is a tenth of the range.
    config = {
        "integratedGradientsAttribution": {"smoothGradConfig": {"noiseSigma": 25.5, "noisySampleCount": 4}}
    }
    domain = {"minValue": 0, "maxValue": 255}
    parameters = dict(config_overrides(kit.vertex(config, featureValueDomain=domain)))[
        "attributions.parameters"
    ]
    assert parameters["smoothgrad"] == {"sigma": pytest.approx(0.1), "n_samples": 4}


@row(27)
def _(kit: Kit) -> None:
    config = {"integratedGradientsAttribution": {"stepCount": 1, "blurBaselineConfig": {"maxBlurSigma": 2}}}
    found = kit.vertex(config)
    assert found.method.blur_sigma == 2
    (map_,) = kit.maps(found)
    # The path ends at the photo blurred by 2 pixels: far from the edge between its halves nothing changes.
    assert np.abs(map_[:, 0]).max() < 1e-4
    (black,) = kit.maps(None, n_steps=1)
    assert np.abs(black[:, 0]).min() > 1e-2
    assert map_[:, SIZE // 2 - 1].min() > 1e-3


@row(28)
def _(kit: Kit) -> None:
    def explained(*options: str) -> list[int]:
        answer = kit.explain("--num-integral-steps", "1", *options)
        return [one["label_index"] for one in answer["explanations"][0]["attributions_by_label"]]

    assert explained() == [0]
    assert explained("--top-k", "2") == [0, 1]
    assert explained("--top-k", "-1") == [0, 1, 2]
    assert explained("--label-indices", "2,1") == [2, 1]
    image = {"image": {"b64": hosted.b64(hosted.png(hosted.photo()))}}
    request = {"instances": [image], "label_indices": [1], "baselines": [1]}
    path = hosted.written(kit.folder / "request.json", request)
    (found,) = kit.answered("--instances", str(path), "--num-integral-steps", "1")["explanations"][0][
        "attributions_by_label"
    ]
    # From white, 1 in units of the input, everything but "none" falls.
    white = np.exp(WEIGHT * 3 * SIZE * SIZE / 2)
    assert found["label_index"] == 1
    assert found["baseline_score"] == pytest.approx(white / (2 * white + 1), rel=1e-5)
    spec = kit.vertex({"integratedGradientsAttribution": {}, "outputIndices": [2, 0], "topK": 1})
    assert (spec.output_indices, spec.top_k) == ((2, 0), 1)
    assert (
        kit.maps(kit.vertex({"integratedGradientsAttribution": {"stepCount": 1}, "topK": -1})).shape[0] == 3
    )
    kit.refused(hosted.vertex({"integratedGradientsAttribution": {}, "topK": 0}), "top_k", "-1 for all")


@row(29)
def _(kit: Kit) -> None:
    for key in ("sampledShapleyAttribution", "examples"):
        kit.refused(hosted.vertex({key: {"pathCount": 10}}), f"'{key}'", "not supported", "nearest")


# Models


@row(30)
def _(kit: Kit) -> None:
    document = hosted.ai_platform(input_tensor_name="bytes")
    jpeg = io.BytesIO()
    Image.fromarray(hosted.photo()).save(jpeg, "JPEG", quality=100)
    files = [hosted.png(hosted.photo()), jpeg.getvalue()]
    request = {"instances": [{"image": [{"b64": hosted.b64(contents)}]} for contents in files]}
    path = hosted.written(kit.folder / "request.json", request)
    answer = kit.answered("--instances", str(path), kind="strings", metadata=document)
    assert [one["attributions_by_label"][0]["label_name"] for one in answer["explanations"]] == [
        "left",
        "left",
    ]
    expected = left_share(hosted.photo() / 255)
    assert answer["explanations"][0]["attributions_by_label"][0]["example_score"] == pytest.approx(
        expected, rel=1e-4
    )


@row(31)
def _(kit: Kit) -> None:
    photo = hosted.photo(size=(SIZE * 2, SIZE * 4))
    path = kit.folder / "wide.png"
    path.write_bytes(hosted.png(photo))
    answer = kit.answered(str(path), kind="pair")
    # The pair's own preprocessing stretches the wide photo to its square.
    expected = left_share(hosted.photo() / 255)
    (found,) = answer["explanations"][0]["attributions_by_label"]
    assert found["example_score"] == pytest.approx(expected, rel=1e-4)
    assert kit.raw().shape == (1, SIZE, SIZE)


@row(32)
def _(kit: Kit) -> None:
    from_pair = kit.explain("--num-integral-steps", "10", kind="pair")
    pair = kit.raw()
    from_pixels = kit.explain("--num-integral-steps", "10", kind="pixels")
    np.testing.assert_allclose(pair, kit.raw(), atol=1e-6)
    np.testing.assert_allclose(pair.sum(), score_difference(from_pair), rtol=0.01)
    assert score_difference(from_pair) == pytest.approx(score_difference(from_pixels), rel=1e-4)


@row(33)
def _(kit: Kit) -> None:
    document = hosted.ai_platform(input_tensor_name="input_pixels:0")
    document["framework"] = "tensorflow"
    document["outputs"]["probability"]["output_tensor_name"] = "probabilities:0"
    answer = kit.explain(kind="graph", metadata=document)
    (found,) = answer["explanations"][0]["attributions_by_label"]
    assert found["example_score"] == pytest.approx(left_share(hosted.photo() / 255), rel=1e-4)
    assert found["baseline_score"] == pytest.approx(1 / 3, rel=1e-4)


# Answers


@row(34)
def _(kit: Kit) -> None:
    found = kit.explain("--top-k", "2", "--shape", "ai-platform")
    assert list(found) == ["explanations"]
    assert [len(one["attributions_by_label"]) for one in found["explanations"]] == [2]
    found = kit.explain("--top-k", "2", "--shape", "vertex")
    assert list(found) == ["explanations", "predictions"]
    assert [len(one["attributions"]) for one in found["explanations"]] == [2]
    np.testing.assert_allclose(np.sum(found["predictions"], axis=1), 1)


@row(35)
def _(kit: Kit) -> None:
    (old,) = kit.explain("--shape", "ai-platform")["explanations"][0]["attributions_by_label"]
    (new,) = kit.explain("--shape", "vertex")["explanations"][0]["attributions"]
    assert old["attributions"] == new["featureAttributions"]
    picture = Image.open(io.BytesIO(base64.b64decode(old["attributions"]["image"]["b64_jpeg"])))
    assert picture.size == (SIZE, SIZE)


@row(36)
def _(kit: Kit) -> None:
    (old,) = kit.explain("--label-indices", "1")["explanations"][0]["attributions_by_label"]
    assert (old["label_index"], old["label_name"]) == (1, "right")
    (new,) = kit.explain("--label-indices", "1", "--shape", "vertex")["explanations"][0]["attributions"]
    assert (new["outputIndex"], new["outputDisplayName"]) == ([1], "right")
    document = hosted.ai_platform()
    del document["outputs"]["probability"]["index_name_mapping"]
    (scalar,) = kit.explain(kind="scalar", metadata=document)["explanations"][0]["attributions_by_label"]
    assert scalar["label_index"] == -1
    difference = WEIGHT * 3 * SIZE * SIZE / 2 * (200 - 50) / 255
    assert scalar["example_score"] == pytest.approx(1 / (1 + np.exp(-difference)), rel=1e-4)


@row(37)
def _(kit: Kit) -> None:
    (old,) = kit.explain("--shape", "ai-platform")["explanations"][0]["attributions_by_label"]
    (new,) = kit.explain("--shape", "vertex")["explanations"][0]["attributions"]
    assert (old["output_name"], new["outputName"]) == ("probability", "probability")


@row(38)
def _(kit: Kit) -> None:
    document = hosted.ai_platform(input_baselines=[0, 1])
    (old,) = kit.explain("--shape", "ai-platform", metadata=document)["explanations"][0][
        "attributions_by_label"
    ]
    (new,) = kit.explain("--shape", "vertex", metadata=document)["explanations"][0]["attributions"]
    # Black gives a third to each class, white e^a / (2 e^a + 1) to the first.
    white = np.exp(WEIGHT * 3 * SIZE * SIZE / 2)
    expected = (1 / 3 + white / (2 * white + 1)) / 2
    assert old["baseline_score"] == new["baselineOutputValue"] == pytest.approx(expected, rel=1e-5)
    share = left_share(hosted.photo() / 255)
    assert old["example_score"] == new["instanceOutputValue"] == pytest.approx(share, rel=1e-5)


@row(39)
def _(kit: Kit) -> None:
    answer = kit.explain("--num-integral-steps", "4")
    (old,) = answer["explanations"][0]["attributions_by_label"]
    difference = old["example_score"] - old["baseline_score"]
    expected = abs(kit.raw().sum(dtype=float) - difference) / abs(difference)
    assert old["approx_error"] == pytest.approx(expected, rel=1e-2)
    (new,) = kit.explain("--num-integral-steps", "4", "--shape", "vertex")["explanations"][0]["attributions"]
    assert new["approximationError"] == old["approx_error"]


# Rules of thumb


@row(40)
def _(kit: Kit) -> None:
    assert _rules.large_error([("a", attributed(approx_error=0.05))]) is None
    assert _rules.large_error([("a", attributed(approx_error=np.nan))]) is None
    sentence = _rules.large_error([("a", attributed(approx_error=0.051)), ("b", attributed())])
    assert "1 of 2" in sentence
    assert "more steps" in sentence
    assert "another baseline" in sentence


@row(41)
def _(kit: Kit) -> None:
    assert _rules.close_scores([("a", attributed(score=0.6, baseline_score=0.5))]) is None
    sentence = _rules.close_scores([("a", attributed(score=0.54, baseline_score=0.5))])
    assert "another baseline" in sentence
    assert "may mean nothing" in sentence


@row(42)
def _(kit: Kit) -> None:
    fine = BaselineCheck(np.array([0.3, 0.4, 0.3]), 1 / 3, 0.07, 1, is_uninformative=True)
    loud = BaselineCheck(np.array([0.05, 0.9, 0.05]), 1 / 3, 0.57, 1, is_uninformative=False)
    assert _rules.informative_baseline(fine, "right") is None
    sentence = _rules.informative_baseline(loud, "right")
    assert "right" in sentence
    assert "0.90" in sentence
    assert "0.33" in sentence


@row(43)
def _(kit: Kit) -> None:
    white, black = np.ones((8, 8, 3)), np.zeros((8, 8, 3))
    on_white = np.ones((2, 8, 8, 3))
    on_white[:, 2:6, 2:6] = 0.2
    assert "2 of 2" in _rules.white_baseline([white], on_white)
    assert _rules.white_baseline([black], on_white) is None
    assert _rules.white_baseline([white], on_white * 0.5) is None


@row(44)
def _(kit: Kit) -> None:
    assert _rules.unstable_baseline(np.array([0.0, -0.04])) is None
    assert "0.60" in _rules.unstable_baseline(np.array([0.0, -0.6]))
    # One baseline explained from itself: the path has no length, so the map is exactly 0.
    config = load(None, [("data.path", kit.folder), ("model.path", kit.model("logits"))])
    loaded = explainer.load(config, explainer.Asked(is_baseline_explained=True, n_steps=3))
    picture = explainer.Picture("photo", hosted.photo(), hosted.photo().astype(np.float32) / 255)
    (found,) = explaining.explain(loaded, [picture])
    assert not any("explained itself" in warning for warning in found.warnings)
    loaded = replace(loaded, asked=replace(loaded.asked, baselines=("black", "white")))
    (found,) = explaining.explain(loaded, [picture])
    assert any("explained itself" in warning for warning in found.warnings)


@row(45)
def _(kit: Kit) -> None:
    rng = np.random.default_rng(0)
    busy = rng.integers(0, 256, (300, 300, 3), dtype=np.uint8)
    assert _rules.hard_for_xrai("xrai", "a", busy) is None
    assert "contrast is low" in _rules.hard_for_xrai("xrai", "a", np.full((300, 300, 3), 90, np.uint8))
    assert "tall or wide" in _rules.hard_for_xrai("xrai", "a", busy[:100])
    assert "very large" in _rules.hard_for_xrai("xrai", "a", np.broadcast_to(busy[:1, :1], (4001, 4001, 3)))
    assert _rules.hard_for_xrai("integrated_gradients", "a", busy[:100]) is None


@row(46)
def _(kit: Kit) -> None:
    assert _rules.wrong_prediction("a", "left", "left", "positive") is None
    assert _rules.wrong_prediction("a", "left", "right", "negative") is None
    sentence = _rules.wrong_prediction("a", "left", "right", "positive")
    assert "what spoke against left" in sentence
    assert "polarity=negative" in sentence


def left_share(image: np.ndarray) -> float:
    """The softmax of the first class, worked out in numpy."""
    logits = np.einsum("hwc,khwc->k", image, hosted.weights())
    return float(np.exp(logits[0]) / np.exp(logits).sum())


def score_difference(answer: dict[str, Any]) -> float:
    (found,) = answer["explanations"][0]["attributions_by_label"]
    return float(found["example_score"] - found["baseline_score"])


@pytest.mark.parametrize("number", range(1, 47), ids=str)
def test_row(number, kit):
    ROWS[number](kit)


def test_every_row_of_the_table_has_a_case():
    assert sorted(ROWS) == list(range(1, 47))
