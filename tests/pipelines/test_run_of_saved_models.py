"""One network as a Keras file, as its export, and behind its own decoding: the same audit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.cli import main
from pipelines.storage import Run
from tests.saved_models import files, write_functions
from tests.worlds import CLASSES, SIDE, UNCERTIFIED, World, draw_world, model_reading

TOLERANCE = 1e-3
"""Shares and effects: float32 maps of networks that add up in another order, some of them behind a resize that
is rounded in another place, differ by 1e-6 of their largest value; a share divides by sums that are smaller."""


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return draw_world(tmp_path_factory.mktemp("world"), n_per_class=12)


def write_decoding(path: Path, model: Any) -> Path:
    """A SavedModel of file bytes around a Keras model."""
    import tensorflow as tf

    def one(file):
        pixels = tf.io.decode_image(file, channels=3, expand_animations=False)
        return tf.ensure_shape(tf.image.resize(pixels, (SIDE, SIDE)), (SIDE, SIDE, 3))

    def scores(encoded):
        return {"scores": model(tf.map_fn(one, encoded, fn_output_signature=tf.float32))}

    return write_functions(path, holds=model, serving_default=(scores, files()))


def write_pair(path: Path, model: Any) -> Path:
    """The same as hosted explanations took it, with the metadata that names where attributions are taken."""
    import tensorflow as tf

    def one(file):
        pixels = tf.io.decode_image(file, channels=3, expand_animations=False)
        return tf.ensure_shape(tf.image.resize(pixels, (SIDE, SIDE)), (SIDE, SIDE, 3))

    def preprocess(encoded):
        return {"pixels": tf.map_fn(one, encoded, fn_output_signature=tf.float32)}

    pixels = tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32, name="pixels")
    write_functions(
        path,
        holds=model,
        serving_default=(lambda encoded: {"scores": model(preprocess(encoded)["pixels"])}, files()),
        xai_preprocess=(preprocess, files()),
        xai_model=(lambda pixels: {"scores": model(pixels)}, pixels),
    )
    image = {"inputTensorName": "pixels", "modality": "image"}
    image["featureValueDomain"] = {"minValue": 0, "maxValue": 255}
    output = {"outputTensorName": "scores", "indexDisplayNameMapping": list(CLASSES)}
    metadata = {"inputs": {"image": image}, "outputs": {"scores": output}}
    specification = {
        "parameters": {"integratedGradientsAttribution": {"stepCount": 10}},
        "metadata": metadata,
    }
    (path / "spec.json").write_text(json.dumps(specification))
    return path


def audited(world: World, model: Path, out: Path) -> Run:
    methods = "grad_cam,integrated_gradients"
    arguments = ["run", "--data", str(world.manifest), "--model", str(model), "--out", str(out)]
    settings = ["--set", "confounds.use=['annotated']", "--set", f"model.classes={world.folder}/classes.txt"]
    assert main([*arguments, "--methods", methods, "--workers", "0", *UNCERTIFIED, *settings]) == 0
    return Run(out)


@pytest.fixture(scope="module")
def expected(world, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("keras")
    model_reading("face").save(folder / "m.keras")
    return audited(world, folder / "m.keras", folder / "run")


@pytest.mark.parametrize("kind", ["export", "decoding"])
def test_an_exported_model_gets_the_tables_and_verdicts_of_its_keras_file(world, expected, tmp_path, kind):
    model = model_reading("face")
    if kind == "export":
        model.export(tmp_path / "m", verbose=False)
    else:
        write_decoding(tmp_path / "m", model)
    found = audited(world, tmp_path / "m", tmp_path / "run")
    assert "spurious" in set(found.table("verdicts")["status"])
    for name in ("predictions", "attributions", "confounds", "verdicts"):
        mine, theirs = found.table(name), expected.table(name)
        plain = [column for column in theirs if column not in ("reasons", "n_gradients")]
        pd.testing.assert_frame_equal(mine[plain], theirs[plain], rtol=TOLERANCE, atol=TOLERANCE)


def test_the_metadata_of_a_hosted_model_is_enough_for_an_audit(world, expected, tmp_path):
    model = write_pair(tmp_path / "m", model_reading("face"))
    arguments = ["run", "--data", str(world.manifest), "--model", str(model), "--out", str(tmp_path / "run")]
    arguments += ["--metadata", str(model / "spec.json"), "--workers", "0", *UNCERTIFIED]
    assert main([*arguments, "--set", "confounds.use=['annotated']"]) == 0
    found = Run(tmp_path / "run").table("verdicts").set_index("label")
    by_ig = expected.table("verdicts").query("method == 'integrated_gradients'").set_index("label")
    assert set(found["method"]) == {"integrated_gradients"}
    assert found["status"].to_dict() == by_ig["status"].to_dict()
    assert found["confound"].to_dict() == by_ig["confound"].to_dict()
    # Ten equal steps instead of an error budget: eleven nodes, and the score is linear in the pixels that it reads.
    assert set(Run(tmp_path / "run").table("attributions")["n_gradients"]) == {11}
    np.testing.assert_allclose(found["mass_inside"], by_ig["mass_inside"], atol=1e-3)
