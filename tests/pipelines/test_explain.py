"""The command `explain`: what it writes, prints and returns; rows of the table are in test_conformance."""

import json

import numpy as np
import pytest
from PIL import Image

from pipelines.cli import main
from pipelines.hosted import _rules
from tests.pipelines import hosted_models as hosted


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = hosted.save_pixels(tmp_path_factory.mktemp("model") / "model")
    hosted.written(folder / "explanation_metadata.json", hosted.ai_platform())
    return folder


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(hosted.png(hosted.photo()))
    return path


@pytest.fixture
def explain(model, tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder: exit code, lines on stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, of=model):
        code = main(["explain", *(str(one) for one in arguments), *(["--model", str(of)] if of else [])])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    return run


def test_without_further_wishes_a_picture_of_the_predicted_class_is_written(explain, photo, tmp_path):
    code, lines, _ = explain(photo)
    assert code == 0
    assert lines[0].startswith(f"{photo}: left by integrated_gradients: score ")
    assert Image.open(tmp_path / "explained" / "photo.integrated_gradients.0_left.jpg").size == (
        hosted.SIZE,
        hosted.SIZE,
    )


def test_each_method_and_class_gets_a_picture_of_its_own(explain, photo, tmp_path):
    code, _, _ = explain(
        photo, "--methods", "xrai,ig+smoothgrad", "--top-k", "2", "--out", "here", "--step-count", "2"
    )
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == [
        "photo.integrated_gradients_smoothgrad.0_left.jpg",
        "photo.integrated_gradients_smoothgrad.1_right.jpg",
        "photo.xrai.0_left.jpg",
        "photo.xrai.1_right.jpg",
    ]


def test_raw_maps_are_written_with_what_they_are_of(explain, photo, tmp_path):
    code, _, _ = explain(photo, "--raw", "maps.npz", "--top-k", "-1", "--score", "logit")
    assert code == 0
    raw = np.load(tmp_path / "maps.npz")
    assert raw["maps"].shape == (3, hosted.SIZE, hosted.SIZE)
    np.testing.assert_array_equal(raw["targets"], [0, 1, 2])
    # Logits are linear, so that each map sums to what its class gains over black.
    np.testing.assert_allclose(
        raw["maps"].sum(axis=(1, 2)), raw["scores"] - raw["baseline_scores"], rtol=1e-4
    )
    assert not (tmp_path / "explained").exists()
    assert explain(photo, "--raw", "maps.npy")[0] == 0
    np.testing.assert_allclose(np.load(tmp_path / "maps.npy").shape, (1, hosted.SIZE, hosted.SIZE))


def test_a_map_does_not_depend_on_the_images_beside_it(explain, photo, tmp_path):
    other = tmp_path / "other.png"
    other.write_bytes(hosted.png(hosted.photo(20, 240)))
    options = ("--methods", "ig+smoothgrad", "--noise-sigma", "0.1", "--step-count", "3", "--raw", "maps.npz")
    explain(photo, *options)
    alone = np.load(tmp_path / "maps.npz")["maps"]
    explain(other, photo, *options)
    np.testing.assert_allclose(np.load(tmp_path / "maps.npz")["maps"][1], alone[0], atol=1e-7)


def test_numbers_of_an_instance_are_the_pixels_of_its_picture(explain, photo, tmp_path):
    pixels = (hosted.photo() / 255).tolist()
    request = hosted.written(tmp_path / "request.json", [{"image": pixels}])
    explain("--instances", request, "--json", "numbers.json")
    explain(photo, "--json", "picture.json")
    numbers, picture = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("numbers", "picture")
    )
    scores = [
        one["explanations"][0]["attributions_by_label"][0]["example_score"] for one in (numbers, picture)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)


def test_one_unreadable_image_does_not_cost_the_others(explain, photo, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    code, lines, _ = explain(broken, photo)
    assert code == 0
    assert any(line.startswith("warning: left out: ") and "broken.png" in line for line in lines)
    code, _, error = explain(broken)
    assert code == 3
    assert "broken.png" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{photo}", "--picture", "colour_map=red"), ["'colour_map'", "'color_map'"]),
        (
            ("{photo}", "--picture", "clip_below_percentile=99.9", "--picture", "clip_above_percentile=90"),
            ["below < above"],
        ),
        (("{photo}", "--label-indices", "3"), ["label_indices", "3 outputs", "found 3"]),
        (("{photo}", "--label-indices", "one"), ["--label-indices", "'one'"]),
        (("{photo}", "--baseline", "2"), ["baseline", "0 (black) to 1 (white)", "found 2"]),
        (("{photo}", "--baseline", "blak"), ["'blak'", "'black'"]),
        (("{photo}", "--methods", "grad_cam", "--step-count", "5"), ["grad_cam", "n_steps"]),
        (("{photo}", "--methods", "ig,xrai", "--json", "a.json"), ["one method"]),
        (("{photo}", "--shape", "vertx"), ["'vertx'", "'vertex'"]),
        (("{photo}", "--raw", "maps.txt"), [".npy or .npz"]),
        ((), ["image files or --instances"]),
        (("{photo}", "--instances", "{photo}"), ["one of the two"]),
        (("{photo}", "--metadata", "none.json"), ["none.json", "no such file"]),
    ],
)
def test_a_wrong_command_line_is_one_sentence(explain, photo, arguments, words):
    code, _, error = explain(*(one.format(photo=photo) for one in arguments))
    assert code == 2
    plain = " ".join(error.replace("│", " ").split())
    for word in words:
        assert word in plain
    assert "Traceback" not in error


def test_the_json_may_be_of_the_other_service_than_the_metadata(explain, photo, tmp_path):
    assert explain(photo, "--json", "answer.json", "--shape", "vertex")[0] == 0
    assert "predictions" in json.loads((tmp_path / "answer.json").read_text())


@pytest.mark.parametrize(
    ("sigma", "share", "word"),
    [(None, 0.0, None), (0.1, 0.1, None), (0.1, 0.1 / 255, "25.5 would"), (0.0, 0.0, "is 0")],
)
def test_noise_in_units_of_a_wide_input_is_pointed_out(sigma, share, word):
    sentence = _rules.faint_noise(sigma, share)
    assert (sentence is None) if word is None else (word in sentence)


def test_a_baseline_of_one_in_255_is_pointed_out():
    assert _rules.nearly_black([0.0, 1.0]) is None
    assert "nearly black" in _rules.nearly_black([0.0, 1 / 255])
