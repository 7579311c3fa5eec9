import numpy as np
import pytest

from benchmarks._suggestion_photos import (
    CLASSES,
    N_GARMENTS,
    SHARES,
    divided,
    group_accuracies,
    head,
)
from benchmarks._suggestion_rules import MARGIN, RANDOM, UNCERTAINTY, Views, picked

LABELS = np.repeat([0, 1], 506)


def test_no_garment_is_in_two_sets_and_faces_are_bound_exactly():
    parts = divided(LABELS, seed=3)
    rows = np.concatenate([part.rows for part in parts.values()])
    assert len(set(rows.tolist())) == len(rows) == 1012
    for name, part in parts.items():
        for label in range(len(CLASSES)):
            faces = part.has_face[LABELS[part.rows] == label]
            assert len(faces) == N_GARMENTS[name]
            assert faces.sum() == round(SHARES[name][label] * len(faces) if name in SHARES else 0)


def test_a_seed_gives_one_division():
    first, again, other = divided(LABELS, 3), divided(LABELS, 3), divided(LABELS, 4)
    assert first["pool"].rows.tolist() == again["pool"].rows.tolist() != other["pool"].rows.tolist()


def test_the_head_is_the_one_of_least_penalised_cross_entropy():
    labels = np.array([0, 0, 1, 1])
    kernel, bias = head(np.array([[-1.0], [-1.0], [1.0], [1.0]]), labels)
    weight = kernel[0, 1] - kernel[0, 0]
    # Where weight^2 / 2 plus four times log(1 + exp(-weight)) is least: weight = 4 / (1 + exp(weight)).
    assert weight == pytest.approx(4 / (1 + np.exp(weight)), abs=1e-3)
    np.testing.assert_allclose(kernel[:, 0], -kernel[:, 1])
    np.testing.assert_allclose(bias, 0, atol=1e-4)


def test_the_groups_are_class_and_face():
    labels = np.array([0, 0, 1, 1])
    # The one feature is the network's answer: without a face it is wrong once for each class, with one for all of 0.
    tested = np.array([[[-1.0], [1.0], [1.0], [-1.0]], [[1.0], [1.0], [1.0], [1.0]]])
    weights = (np.array([[-1.0, 1.0]]), np.zeros(2))
    assert group_accuracies(weights, tested, labels).tolist() == [[0.5, 0.5], [0.0, 1.0]]


def test_each_rule_takes_what_its_name_says():
    chances = np.array([[0.4, 0.3, 0.3], [0.45, 0.45, 0.1], [0.9, 0.1, 0.0]])
    views, rng = Views(chances, np.eye(3), np.eye(3)), np.random.default_rng(0)
    assert picked(UNCERTAINTY, 2, views, rng).tolist() == [0, 1]
    assert picked(MARGIN, 2, views, rng).tolist() == [1, 0]
    assert sorted(picked(RANDOM, 3, views, rng).tolist()) == [0, 1, 2]
