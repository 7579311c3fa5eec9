"""The pictures of a few interventions: which are chosen, and that they are those whose scores the table holds."""

import numpy as np
import pytest

from audit import tables as schema
from pipelines import demonstrations
from pipelines.config import ModelConfig, ReportConfig
from pipelines.history import _OWN_ENTRIES
from pipelines.models import load_classifier
from pipelines.storage import Run
from tests.pipelines.test_intervene import finished, run, world

__all__ = ["finished", "world"]


def row(sample_id, after, control=0.5, *, confound="face", kind="remove", fill="mean", label="t-shirt"):
    return {
        "sample_id": sample_id,
        "confound": confound,
        "kind": kind,
        "fill": fill,
        "label": label,
        "score_before": 0.9,
        "score_after": after,
        "score_control": control,
        "predicted_after": label,
        "predicted_control": label,
        "reason": "",
    }


def choose(*rows, n=1, confounds=4):
    config = ReportConfig(demonstrations=n, demonstrated_confounds=confounds)
    return demonstrations.choose(schema.frame(schema.INTERVENTIONS, rows), config)


def test_the_samples_nearest_to_the_median_effect_are_shown_not_the_best():
    # Effects -0.4, -0.3, -0.1: the median is -0.3.
    rows = [row("a", 0.1), row("b", 0.2), row("c", 0.4)]
    assert choose(*rows) == [("b", "face", "remove", "mean")]
    assert [key[0] for key in choose(*rows, n=2)] == ["b", "a"]


def test_a_sample_is_shown_once_with_the_fill_that_is_nearest():
    rows = [row("a", 0.2), row("a", 0.3, fill="blur"), row("b", 0.1), row("b", 0.45, fill="blur")]
    # Effects -0.3, -0.2, -0.4, -0.05: the median is -0.25, both rows of a are as near; names decide.
    assert choose(*rows, n=2) == [("a", "face", "remove", "blur"), ("b", "face", "remove", "mean")]


def test_a_row_without_a_control_is_not_shown():
    assert choose(row("a", 0.1, control=np.nan)) == []


def test_a_class_shows_the_confounds_that_move_it_most_in_either_direction():
    rows = [
        row("a", 0.5, confound="cap"),
        row("b", 0.9, confound="shoe"),
        row("c", 0.2),
        row("a", 0.3, confound="tint", label="shoes"),
    ]
    assert [key[1] for key in choose(*rows, confounds=2)] == ["tint", "shoe", "face"]


def test_nothing_is_shown_where_nothing_is_asked_for():
    assert choose(row("a", 0.1), n=0) == []


def test_pictures_have_the_scores_of_their_rows(finished, world):
    stored = Run(finished)
    rows = stored.table("interventions").set_index(["sample_id", "confound", "kind", "fill"])
    shown = stored.read_demonstrations()
    classifier = load_classifier_of(world)
    assert {d.kind for d in shown} >= {"remove", "transplant"}
    for picture in shown:
        known = rows.loc[demonstrations.key_of(picture)]
        images = np.stack([picture.image, picture.after, picture.control]).astype(np.float32) / 255
        target = ("shoes", "t-shirt").index(picture.label)
        scores = classifier.probabilities(images)[:, target]
        # Pictures are stored in 256 steps, the run asked about floats.
        expected = known[["score_before", "score_after", "score_control"]].to_numpy(dtype=float)
        np.testing.assert_allclose(scores, expected, atol=0.03)


def load_classifier_of(world):
    path, classes = world.folder / "reads_face.keras", world.folder / "classes.txt"
    return load_classifier(ModelConfig(path=path, classes=classes), batch_size=8, callers=1).classifier


def test_the_thing_is_on_the_picture_it_is_taken_from_and_not_on_the_one_it_is_brought_to(finished):
    shown = Run(finished).read_demonstrations()
    assert all(d.region.any() for d in shown if d.kind == "remove")
    assert not any(d.region.any() for d in shown if d.kind == "transplant")


def test_a_run_that_is_finished_again_draws_nothing_again(finished, world):
    before = sorted(path.stat().st_mtime_ns for path in Run(finished).demonstrations.iterdir())
    assert before
    assert run(world, finished) == 0
    assert sorted(path.stat().st_mtime_ns for path in Run(finished).demonstrations.iterdir()) == before


def test_without_interventions_the_pictures_of_them_go(finished, world):
    assert run(world, finished, "--set", "interventions.use=[]") == 0
    assert Run(finished).read_demonstrations() == ()


@pytest.mark.parametrize("name", ["demonstrations", "discovered"])
def test_the_folder_is_known_to_retention(name):
    assert name in _OWN_ENTRIES
