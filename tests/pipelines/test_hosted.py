"""Metadata files and requests: what is read, and what each fault says. Rows of the table are in test_conformance."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from audit.classifier import Preprocessing
from audit.errors import ConfigError
from pipelines.explanation_metadata import config_overrides, in_pixels, noise_share, read, service
from pipelines.hosted._requests import read_request

NAMES = ["hat", "shoe"]
SPEC = {
    "parameters": {"xraiAttribution": {"stepCount": "20"}, "topK": 2},
    "metadata": {
        "inputs": {"myImage": {"inputTensorName": "x", "modality": "IMAGE", "inputBaselines": [0]}},
        "outputs": {"myScores": {"outputTensorName": "y", "indexDisplayNameMapping": NAMES}},
    },
}
SNAKE = {
    "parameters": {"xrai_attribution": {"step_count": 20}, "top_k": 2},
    "metadata": {
        "inputs": {"myImage": {"input_tensor_name": "x", "modality": "image", "input_baselines": [0]}},
        "outputs": {"myScores": {"output_tensor_name": "y", "index_display_name_mapping": NAMES}},
    },
}
GREY_TO_ONE = Preprocessing((2.0, 2.0, 2.0), (-1.0, -1.0, -1.0))


def written(folder: Path, document: object, name: str = "spec.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(document))
    return path


def changed(**image: object) -> dict:
    document = json.loads(json.dumps(SPEC))
    document["metadata"]["inputs"]["myImage"] |= image
    return document


def test_both_spellings_of_a_spec_mean_the_same_and_names_stay_as_they_are(tmp_path):
    camel, snake = read(written(tmp_path, SPEC)), read(written(tmp_path, SNAKE))
    assert camel == snake
    assert (camel.input.name, camel.output.name, camel.output.class_names) == (
        "myImage",
        "myScores",
        ("hat", "shoe"),
    )
    assert (camel.method.name, camel.method.n_steps, camel.top_k) == ("xrai", 20, 2)


def test_the_metadata_of_a_spec_alone_is_read_too(tmp_path):
    found = read(written(tmp_path, SPEC["metadata"]))
    assert (found.service, found.method, found.input.tensor) == ("vertex", None, "x")


def test_what_a_file_implies_for_an_audit(tmp_path):
    document = changed(featureValueDomain={"minValue": 0, "maxValue": 255}, inputBaselines=[0, 255])
    assert config_overrides(read(written(tmp_path, document))) == [
        ("model.value_range", [0.0, 255.0]),
        ("model.is_range_described", True),
        ("model.classes", NAMES),
        ("attributions.methods", ["xrai"]),
        (
            "attributions.parameters",
            {
                "xrai": {"baseline": [0.0, 1.0], "n_steps": 20},
                # The user may name another method: baselines are the input's.
                "integrated_gradients": {"baseline": [0.0, 1.0]},
                "guided_integrated_gradients": {"baseline": [0.0, 1.0]},
            },
        ),
    ]


def test_an_audit_takes_the_settings_that_a_file_implies(tmp_path):
    from audit.attributions._names import build
    from pipelines.config import load

    parameters = {
        "integratedGradientsAttribution": {
            "stepCount": 5,
            "smoothGradConfig": {"noisySampleCount": 4},
            "blurBaselineConfig": {"maxBlurSigma": 3.5},
        }
    }
    overrides = config_overrides(read(written(tmp_path, {**SPEC, "parameters": parameters})))
    config = load(None, [("data.path", tmp_path), ("model.path", tmp_path / "m.keras"), *overrides])
    method = build(config.attributions.methods[0], config.attributions.parameters, 0.05)
    assert (method.n_samples, method.method.n_steps, method.method.baseline) == (4, 5, ("blurred:3.5",))
    assert method.sigma == pytest.approx(0.1 / 255)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], ["object", "list"]),
        ({"inputs": {}}, ["inputs", "a name for each entry"]),
        ({**SPEC, "parameter": {}}, ["'parameter'", "'parameters'"]),
        (changed(input_tensor_name="z"), ["input_tensor_name", "two spellings"]),
        (changed(visualisation={}), ["'visualisation'", "'visualization'"]),
        (changed(indicesTensorName="i"), ["'indicesTensorName'", "not supported", "images"]),
        (changed(inputBaselines=[[1, 2]]), ["input_baselines[0]", "shape"]),
        (changed(inputBaselines=["black"]), ["input_baselines[0]", "number"]),
        (changed(featureValueDomain={"originalMean": 1}), ["original_stddev", "go together"]),
        (changed(visualization={"clipPercentLowerbound": 1, "clip_below_percentile": 2}), ["means the same"]),
        (changed(visualization={"polarity": True}), ["polarity", "text"]),
        (changed(visualization={"shadeWithinOutlines": 1}), ["shade_within_outlines", "true or false"]),
        (changed(visualization={"overlayType": "GREY"}), ["overlay_type", "'GREY'", "nearest"]),
        (
            {**SPEC, "parameters": {"outputIndices": [-1], "xraiAttribution": {}}},
            ["output_indices", "from 0"],
        ),
        (
            {**SPEC, "parameters": {"integratedGradients": {}}},
            ["'integratedGradients'", "integrated_gradients_attribution"],
        ),
    ],
)
def test_a_fault_of_a_file_is_named_with_its_place(tmp_path, document, words):
    path = written(tmp_path, document)
    with pytest.raises(ConfigError) as caught:
        read(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", '{"framework": NaN}', "[" * 100_000])
def test_a_file_that_is_no_json_is_one_sentence(tmp_path, text):
    path = tmp_path / "explanation_metadata.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"cannot be read as JSON"):
        read(path)


@pytest.mark.parametrize("name", ["ai-platform", "AI_Platform", "vertex"])
def test_a_service_is_found_by_its_name_in_either_spelling(name):
    assert hasattr(service(name), "answer")


def test_an_unknown_service_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"ai_platform, vertex; found 'vertx'. Did you mean 'vertex'"):
        service("vertx")


def test_a_baseline_counts_in_units_of_the_input():
    assert in_pixels(-1.0, GREY_TO_ONE) == 0.0
    assert in_pixels(0.0, GREY_TO_ONE) == 0.5
    assert noise_share(0.2, GREY_TO_ONE) == pytest.approx(0.1)
    with pytest.raises(ConfigError, match=r"-1 \(black\) to 1 \(white\), found 2 to 2"):
        in_pixels(2.0, GREY_TO_ONE)


def test_a_baseline_of_channels_that_are_scaled_differently_is_a_colour():
    scaling = Preprocessing((4.0, 2.0, 1.0), (-1.0, -1.0, 0.0), is_reversed=True)
    found = in_pixels(0.0, scaling)
    np.testing.assert_allclose(found.ravel(), [0.0, 0.5, 0.25])  # RGB of an input in BGR


PICTURE = base64.b64encode(b"a file").decode()


@pytest.mark.parametrize(
    "instance",
    [
        {"b64": PICTURE},
        {"image": {"b64": PICTURE}},
        {"image": [{"b64": PICTURE}]},
        {"image": PICTURE},
        {"key": "7", "bytes": {"b64": PICTURE}},
        {"image": {"b64": PICTURE}, "other": 3},
        [{"b64": PICTURE}],
    ],
)
def test_a_picture_is_found_however_clients_wrapped_it(tmp_path, instance):
    found = read_request(written(tmp_path, {"instances": [instance]}), "image")
    assert [one.content for one in found.instances] == [b"a file"]


def test_instances_may_be_a_list_or_a_line_each(tmp_path):
    one = json.dumps({"image": {"b64": PICTURE}})
    (tmp_path / "list.json").write_text(f"[{one}, {one}]")
    (tmp_path / "lines.json").write_text(f"{one}\n{one}\n")
    for name in ("list.json", "lines.json"):
        assert len(read_request(tmp_path / name, "image").instances) == 2


@pytest.mark.parametrize(
    "line",
    [
        {"image": {"b64": PICTURE}},
        {"b64": PICTURE},
        {"key": "7", "data": {"b64": PICTURE}},
        {"image": PICTURE, "other": 3},
    ],
)
def test_a_file_of_one_line_holds_one_instance(tmp_path, line):
    (one,) = read_request(written(tmp_path, line), "image").instances
    assert one.content == b"a file"


def test_a_request_may_override_the_baselines_of_the_input(tmp_path):
    inputs = {"image": {"modality": "image", "inputBaselines": [0.25]}}
    override = {"metadata": {"inputs": inputs}}
    document = {"instances": [{"b64": PICTURE}], "explanationSpecOverride": override}
    assert read_request(written(tmp_path, document), "image").baselines == (0.25,)


def test_an_entry_of_noise_without_a_sigma_has_the_default(tmp_path):
    config = {"featureNoiseSigma": {"noiseSigma": [{"name": "myImage"}]}}
    parameters = {"integratedGradientsAttribution": {"smoothGradConfig": config}}
    assert read(written(tmp_path, {**SPEC, "parameters": parameters})).method.noise_sigma == 0.1


def test_the_command_line_wins_over_the_request(tmp_path):
    from pipelines.commands.explain import _asked

    override = {"parameters": {"integratedGradientsAttribution": {"stepCount": 9, "smoothGradConfig": {}}}}
    document = {"instances": [{"b64": PICTURE}], "label_indices": [2, 0], "baselines": [0]}
    request = read_request(written(tmp_path, {**document, "explanationSpecOverride": override}), "image")
    nothing = {"methods": (), "n_steps": None, "noise_sigma": None, "n_noisy": None, "blur_sigma": None}
    nothing |= {"baselines": (), "top_k": None, "indices": None}
    plain = _asked(None, request, **nothing)
    assert (plain.indices, plain.baselines, plain.n_steps) == ((2, 0), (0,), 9)
    assert _asked(None, request, **nothing | {"top_k": 1}).indices is None
    assert _asked(None, request, **nothing | {"blur_sigma": 2.0}).baselines == ()
    other = _asked(None, request, **nothing | {"methods": ("xrai",)})
    assert (other.methods, other.n_steps, other.noise_sigma) == (("xrai",), None, None)


@pytest.mark.parametrize("shape", [(2, 4, 3), (1, 2, 4, 3), (1, 1, 3)])
def test_numbers_are_taken_as_they_are(tmp_path, shape):
    document = {"instances": [{"image": np.ones(shape).tolist()}]}
    (one,) = read_request(written(tmp_path, document), "image").instances
    assert one.content.shape == shape[-3:]


@pytest.mark.parametrize("index", [1e400, 0.5, True, None])
def test_an_output_index_that_is_no_whole_number_is_refused(tmp_path, index):
    text = json.dumps({**SPEC, "parameters": {"outputIndices": [index]}}).replace("Infinity", "1e400")
    (tmp_path / "spec.json").write_text(text)
    with pytest.raises(ConfigError, match="output_indices: expected a list of class indices"):
        read(tmp_path / "spec.json")


def test_a_request_may_override_the_parameters(tmp_path):
    override = {"parameters": {"xraiAttribution": {"stepCount": 9}, "outputIndices": [1]}}
    document = {"instances": [{"b64": PICTURE}], "explanationSpecOverride": override}
    found = read_request(written(tmp_path, document), "image")
    assert (found.method.name, found.method.n_steps, found.label_indices) == ("xrai", 9, (1,))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"instances": []}, ["instances", "at least one"]),
        ({"instances": [{"b64": "no base64!"}]}, ["instances[0]", "base64"]),
        ({"instances": [{"a": 1, "b": 2}]}, ["instances[0]", "'image'", "a, b"]),
        ({"instances": [[[1, 2], [3, 4]]]}, ["instances[0]", "(height, width, 3)"]),
        ({"instances": [{"b64": PICTURE}], "label_indices": [-1]}, ["label_indices", "from 0"]),
        ({"instances": [{"b64": PICTURE}], "topk": 1}, ["'topk'", "'top_k'"]),
    ],
)
def test_a_fault_of_a_request_is_named(tmp_path, document, words):
    with pytest.raises(ConfigError) as caught:
        read_request(written(tmp_path, document), "image")
    for word in words:
        assert word in str(caught.value)
