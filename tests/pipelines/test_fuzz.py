"""A short run of the fuzzing script; the long one is `python -m benchmarks.fuzz`."""

import pytest

from benchmarks.fuzz import damaged, damaged_json, formats, fuzz, fuzz_pictures, pictures


@pytest.mark.parametrize("form", formats(), ids=lambda form: form.name)
def test_damaged_annotations_give_samples_faults_or_one_sentence(tmp_path, form):
    outcomes = fuzz(form, 250, seed=1, folder=tmp_path)
    assert outcomes["failed"] == 0
    assert outcomes["read"] + outcomes["refused"] == 250
    assert outcomes["read"] > 0  # damage that nothing survives would test the first line of each parser alone


@pytest.mark.parametrize(("name", "valid"), pictures().items(), ids=list(pictures()))
def test_damaged_pictures_are_decoded_or_refused(tmp_path, name, valid):
    outcomes = fuzz_pictures(name, valid, 100, seed=1, folder=tmp_path)
    assert outcomes["failed"] == 0
    assert outcomes["refused"] > 0
    assert outcomes["read"] + outcomes["refused"] == 100


def test_damage_is_damage():
    import random

    form = next(form for form in formats() if form.name == "coco")
    copies = {damaged(form.valid, random.Random(i)) for i in range(50)}
    documents = {damaged_json(form.valid, random.Random(i)) for i in range(50)}
    assert len(copies | documents) > 90
