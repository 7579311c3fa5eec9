"""The examples run, and the pages that they made are those in docs/."""

import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent


def example(name):
    return runpy.run_path(str(ROOT / "examples" / f"{name}.py"))


def test_the_gallery_in_docs_is_the_one_that_the_example_draws(tmp_path):
    example("gallery")["main"](tmp_path)
    page = (tmp_path / "gallery.md").read_text()
    assert page == (ROOT / "docs" / "gallery.md").read_text()
    pictures = set(re.findall(r"\((gallery/.*?)\)", page))
    assert pictures == {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "gallery").iterdir()}
    stored = ROOT / "docs"
    assert {path.relative_to(stored).as_posix() for path in (stored / "gallery").iterdir()} == pictures
    sizes = {name: Image.open(tmp_path / name).size for name in pictures}
    assert {name: Image.open(stored / name).size for name in pictures} == sizes


@pytest.mark.slow
def test_the_migrated_model_answers_as_the_service_did(tmp_path):
    assert example("hosted_migration")["main"](tmp_path) == 0
    answer = json.loads((tmp_path / "answer.json").read_text())
    found = [one["attributions_by_label"][0] for one in answer["explanations"]]
    assert [one["label_name"] for one in found] == ["circle", "square"]
    sums = np.load(tmp_path / "maps.npz")["maps"].sum(axis=(1, 2), dtype=np.float64)
    for one, total in zip(found, sums, strict=True):
        difference = one["example_score"] - one["baseline_score"]
        assert one["approx_error"] == pytest.approx(abs(total - difference) / abs(difference), rel=1e-3)
    assert Image.open(tmp_path / "instance-0.png").size == (64, 64)
