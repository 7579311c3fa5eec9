import math
from dataclasses import replace

import numpy as np
import pytest

from audit.pool import Ask, asks, choose, copies, trait_of
from audit.pool_reading import (
    Known,
    Look,
    Without,
    confound_axes,
    moved,
    presence_auroc,
    read_classes,
    told_presence,
)
from audit.pool_views import brought_to, taken_out
from audit.properties.brightness import Brightness
from audit.suggestions import REPRESENTATIVE, WITH, WITHOUT
from audit.types import ClassVerdict, Status, Suggestion

FACE = trait_of("shirt", "face")
CLASSES = ("hat", "shirt", "shoes")


def verdict(label, confound="face", status=Status.SPURIOUS):
    numbers = dict.fromkeys(
        (
            n
            for n in ClassVerdict.__dataclass_fields__
            if n not in ("label", "method", "status", "confound", "reasons")
        ),
        math.nan,
    )
    return ClassVerdict(
        label=label, method="grad_cam", status=status, confound=confound, reasons=(), **numbers
    )


def wish(label, kind, n, confound="face"):
    return Suggestion(label, kind, confound, 0, 10, n, "", ())


def look(features, *, shows=None, without=None, hashes=None, digests=None, probabilities=None):
    features = np.asarray(features, float)
    n = len(features)
    return Look(
        digests=tuple(digests or (f"{id(features)}-{i}" for i in range(n))),
        # Random hashes differ in some 32 bits.
        hashes=np.random.default_rng(n).integers(2**63, size=n).astype(np.uint64)
        if hashes is None
        else np.array(hashes, np.uint64),
        probabilities=np.tile([0.2, 0.3, 0.5], (n, 1))
        if probabilities is None
        else np.asarray(probabilities, float),
        features=features,
        without={
            FACE: Without(
                features if without is None else np.asarray(without, float),
                np.tile([0.2, 0.3, 0.5], (n, 1)),
                np.full(n, np.nan) if shows is None else np.asarray(shows, float),
            )
        },
    )


def test_each_side_of_a_confound_is_asked_for_once():
    found = asks([verdict("shirt")], [wish("shirt", WITHOUT, 4), wish("shoes", WITH, 6)], CLASSES)
    assert found == (
        Ask("shirt", WITHOUT, "face", ("shirt",), 4),
        Ask("shirt", WITH, "face", ("hat", "shoes"), 6),
    )


def test_classes_bound_to_the_same_confound_are_not_wanted_with_it():
    verdicts = [verdict("shirt"), verdict("hat")]
    wishes = [wish("shirt", WITHOUT, 4), wish("hat", WITHOUT, 2), wish("shoes", WITH, 6)]
    found = asks(verdicts, wishes, CLASSES)
    assert [(a.label, a.kind, a.wanted) for a in found] == [
        ("shirt", WITHOUT, ("shirt",)),
        ("shirt", WITH, ("shoes",)),
        ("hat", WITHOUT, ("hat",)),
    ]


def test_what_moves_the_model_more_gets_more_of_the_budget():
    verdicts = [
        replace(verdict("shirt"), necessity=0.6, sufficiency=0.2),
        replace(verdict("shirt", "text"), necessity=-0.1, sufficiency=0.2),
        verdict("hat", "text", Status.SUSPECT),
    ]
    wishes = [wish("shirt", WITHOUT, 9), wish("shirt", WITHOUT, 9, "text"), wish("hat", WITHOUT, 9, "text")]
    assert [(a.confound, a.effect) for a in asks(verdicts, wishes, CLASSES)] == [
        ("face", 0.6),
        ("text", 0.2),
        ("text", 0.2),  # not measured there: the least that was
    ]
    features = np.tile([1.0, 0.0], (40, 1)) + np.eye(40, 2)
    pool = look(features, shows=np.zeros(40), without=features)
    other = trait_of("shirt", "text")
    pool = replace(pool, without={FACE: pool.without[FACE], other: pool.without[FACE]})
    known = labelled()
    seen = known.look.without[FACE]
    known = replace(known, look=replace(known.look, without={FACE: seen, other: seen}))
    choice = choose(asks(verdicts[:2], wishes[:2], CLASSES), known, pool, np.zeros(40, bool), 8)
    # Nine of either would do; three parts in four are of the thing that moves three times as much.
    assert [c.ask.confound for c in choice.chosen].count("face") == 6


def test_a_background_cannot_be_looked_for_and_an_undecided_class_asks_for_its_own_kind():
    wishes = [wish("shirt", WITHOUT, 4, "background"), wish("hat", REPRESENTATIVE, 3, "")]
    assert asks([verdict("shirt", "background")], wishes, CLASSES) == (
        Ask("hat", REPRESENTATIVE, "", ("hat",), 3),
    )


def labelled():
    """Twenty shirts and twenty shoes: the first feature tells the garment, the second the face."""
    garment = np.repeat([1.0, -1.0], 20) + np.linspace(-0.2, 0.2, 40)
    face = np.repeat([1.0, 0.0], 20)
    features = np.stack([garment, 5 * face], axis=1)
    without = np.stack([garment, np.zeros(40)], axis=1)
    return Known(look(features, shows=face, without=without), ("shirt",) * 20 + ("shoes",) * 20, CLASSES)


SHOWN = np.repeat([1.0, 0.0], 20)

# Garment, face: two shirts and two shoes, one of each with a face.
POOL = np.array([[1.0, 0.0], [1.0, 5.0], [-1.0, 0.0], [-1.0, 5.0]])


def test_the_class_is_read_with_the_confound_left_out():
    pool = look(POOL, shows=[0, 1, 0, 1], without=POOL * [1, 0])
    names, chances = read_classes(FACE, labelled(), pool)
    assert names == ("shirt", "shoes")
    assert list(chances.argmax(axis=1)) == [0, 0, 1, 1]


def test_without_a_detector_what_the_confound_moves_is_left_out_of_the_features():
    known, pool = labelled(), look(POOL)
    (axis,) = confound_axes(known.look.features, known.look.without[FACE].features, SHOWN)
    np.testing.assert_allclose(np.abs(axis), [0, 1], atol=1e-12)
    # Rounding of what was left out must not be taken for a difference.
    pool = replace(pool, features=pool.features + np.array([0.0, 1e-4]))
    _, chances = read_classes(FACE, known, pool)
    assert list(chances.argmax(axis=1)) == [0, 0, 1, 1]
    assert presence_auroc(known.look.features, known.look.without[FACE]) == 1.0


def test_a_thing_bound_to_a_class_is_told_from_the_class():
    known = labelled()  # every shirt shows a face, and nothing else does
    shows = told_presence(known.look.features, known.look.without[FACE], POOL)
    assert shows.tolist() == [0, 1, 0, 1]


def test_only_what_contradicts_the_confound_is_chosen():
    wishes = (Ask("shirt", WITHOUT, "face", ("shirt",), 5), Ask("shirt", WITH, "face", ("hat", "shoes"), 5))
    pool = look(POOL, shows=[0, 1, 0, 1], without=POOL * [1, 0])
    choice = choose(wishes, labelled(), pool, np.zeros(4, bool), 10)
    assert [(c.row, c.label, c.ask.kind, c.shows) for c in choice.chosen] == [
        (0, "shirt", WITHOUT, 0.0),
        (3, "shoes", WITH, 1.0),
    ]
    assert list(choice.n_found.values()) == [1, 1]


def test_copies_are_not_chosen():
    wishes = (Ask("shirt", WITHOUT, "face", ("shirt",), 5),)
    pool = look(POOL, shows=[0, 1, 0, 1], without=POOL * [1, 0])
    choice = choose(wishes, labelled(), pool, np.array([True, False, False, False]), 10)
    assert choice.chosen == ()
    assert choice.n_duplicates == 1


def test_a_copy_is_the_same_file_or_a_like_hash_of_what_looks_alike():
    there = look([[1.0, 0.0], [0.0, 1.0]], hashes=[0, 2**64 - 1], digests=["a", "b"])
    pool = look(
        [[0.0, 1.0], [1.0, 0.01], [0.0, 1.0], [0.5, 0.5], [0.5, 0.5]],
        hashes=[2**32 - 1, 0b111, 0b111, 2**32, 2**40 - 1],
        digests=["a", "c", "d", "e", "e"],
    )
    # Same file; hash 3 bits off and alike; hash 3 bits off but unlike; new; the same new file again.
    assert list(copies(pool, there)) == [True, True, False, False, True]


def test_the_choice_is_spread_instead_of_taking_the_likeliest_of_a_heap():
    heap = np.tile([1.3, 0.0], (10, 1)) + np.linspace(0, 0.001, 10)[:, None]
    features = np.vstack([heap, [[1.0, 1.0]]])
    pool = look(features, shows=np.zeros(11), without=features * [1, 0])
    choice = choose((Ask("shirt", WITHOUT, "face", ("shirt",), 2),), labelled(), pool, np.zeros(11, bool), 2)
    assert 10 in [c.row for c in choice.chosen]


@pytest.mark.parametrize(("n", "expected"), [(3, [1, 2]), (6, [2, 4]), (9, [2, 6]), (99, [2, 6])])
def test_the_budget_is_shared_in_proportion_and_what_is_left_goes_to_the_others(n, expected):
    # One part in three is asked for shirts, of which there are two; six shoes with a face.
    features = np.vstack([np.tile([1.0, 0.0], (2, 1)), np.tile([-1.0, 5.0], (6, 1))]) + np.eye(8, 2)
    shows = [0, 0, 1, 1, 1, 1, 1, 1]
    pool = look(features, shows=shows, without=np.where(np.array(shows)[:, None], [-1.0, 0.0], [1.0, 0.0]))
    wishes = (Ask("shirt", WITHOUT, "face", ("shirt",), 1), Ask("shirt", WITH, "face", ("hat", "shoes"), 2))
    choice = choose(wishes, labelled(), pool, np.zeros(8, bool), n)
    kinds = [c.ask.kind for c in choice.chosen]
    assert [kinds.count(WITHOUT), kinds.count(WITH)] == expected


def test_what_copies_leave_of_a_budget_goes_to_the_others():
    # Ten copies of one shirt without a face, and ten different shoes with one.
    spread = np.linspace(1, 10, 10)
    features = np.vstack([np.tile([1.0, 0.0], (10, 1)), np.stack([-spread, np.full(10, 5.0)], axis=1)])
    shows = np.repeat([0, 1], 10)
    hashes = [0] * 10 + [2**64 - 2**row for row in range(0, 60, 6)]
    pool = look(features, shows=shows, hashes=hashes, without=np.sign(features[:, :1]) * [1.0, 0.0])
    wishes = (Ask("shirt", WITHOUT, "face", ("shirt",), 5), Ask("shirt", WITH, "face", ("hat", "shoes"), 5))
    choice = choose(wishes, labelled(), pool, np.zeros(20, bool), 10)
    kinds = [chosen.ask.kind for chosen in choice.chosen]
    assert (kinds.count(WITHOUT), kinds.count(WITH)) == (1, 9)
    assert len({chosen.row for chosen in choice.chosen}) == 10


def test_what_does_not_move_the_model_is_of_little_use():
    known = labelled()
    # In shirts with a face the odds of shirt fall from 4 to 1 to 1 to 4: by 2 log 4.
    chances, without = np.tile([0.0, 0.8, 0.2], (40, 1)), np.tile([0.0, 0.2, 0.8], (40, 1))
    seen = replace(known.look.without[FACE], probabilities=without)
    known = replace(known, look=replace(known.look, probabilities=chances, without={FACE: seen}))
    pool = look(POOL[[3, 3, 3]], shows=[1, 1, 1], probabilities=[[0, 0.8, 0.2], [0, 0.5, 0.5], [0, 0.2, 0.8]])
    seen = replace(pool.without[FACE], probabilities=without[:3])
    use = moved(FACE, "shirt", known, replace(pool, without={FACE: seen}))
    np.testing.assert_allclose(use, [1.0, 0.5, 0.0], atol=1e-9)


def test_what_is_wrong_comes_before_what_is_undecided():
    features = np.vstack([np.tile([1.0, 0.0], (4, 1)), np.tile([-1.0, 0.0], (4, 1))]) + np.eye(8, 2)
    pool = look(features, shows=np.zeros(8), without=features)
    # Two shirts are asked for, and a hundred shoes, which the model calls all eight: first come both shirts.
    wishes = (Ask("shirt", WITHOUT, "face", ("shirt",), 2), Ask("shoes", REPRESENTATIVE, "", ("shoes",), 100))
    choice = choose(wishes, labelled(), pool, np.zeros(8, bool), 3)
    assert [c.ask.label for c in choice.chosen].count("shirt") == 2


def test_representative_photos_are_those_the_model_calls_so():
    chances = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]]
    pool = look(np.eye(3, 2), probabilities=chances)
    choice = choose((Ask("hat", REPRESENTATIVE, "", ("hat",), 3),), labelled(), pool, np.zeros(3, bool), 3)
    assert sorted(c.row for c in choice.chosen) == [0, 2]


def test_a_thing_is_taken_out_and_the_object_left_alone():
    image = np.full((20, 20, 3), 0.5, np.float32)
    region, protected = np.zeros((2, 20, 20), bool)
    region[2:8, 2:8] = True
    image[region] = (1.0, 0.0, 0.0)
    protected[12:, :] = True
    without = taken_out(image, region, protected)
    np.testing.assert_allclose(without, 0.5, atol=1e-6)
    assert image[3, 3, 0] == 1.0
    assert taken_out(image, region & False, protected) is image


@pytest.mark.parametrize(
    ("rows", "columns", "margin"),
    [
        (slice(40, 60), slice(40, 60), 6),  # a face of 20 by 20 goes with its hair: 0.3 of its thickness
        (slice(0, 4), slice(0, 100), 2),  # a strip of 4 by 100: a tenth of the root of 400
    ],
)
def test_more_is_taken_out_around_what_is_thick(rows, columns, margin):
    region = np.zeros((100, 100), bool)
    region[rows, columns] = True
    image = np.random.default_rng(0).uniform(size=(100, 100, 3)).astype(np.float32)
    changed = (taken_out(image, region, np.zeros((100, 100), bool)) != image).any(axis=2)
    below, feather = changed[rows.stop :, 50], 1
    assert below[:margin].all()
    assert not below[margin + feather + 1 :].any()


def test_a_property_is_brought_to_its_value():
    image = np.full((8, 8, 3), 0.25, np.float32)
    np.testing.assert_allclose(brought_to(image, Brightness(), 0.5, None).mean(), 0.5, atol=0.01)
    assert brought_to(image, Brightness(), math.nan, None) is image
