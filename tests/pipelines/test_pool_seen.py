"""What was looked at is chosen from in mapped files as it would be in memory."""

from dataclasses import replace

import numpy as np
import pytest

import audit.pool
import audit.pool_reading
from audit import tables as schema
from audit.pool import Ask, choose, copies, trait_of
from audit.pool_reading import Known, Look
from audit.suggestions import REPRESENTATIVE, WITH, WITHOUT
from audit.types import Sample
from pipelines.pool_looks import looked, packed
from pipelines.pool_seen import read_looks
from pipelines.storage import Run

FACE, TINT = trait_of("shirt", "face"), trait_of("shoes", "tint")
CLASSES = ("shirt", "shoes")
WISHES = (
    Ask("shirt", WITHOUT, "face", ("shirt",), 10),
    Ask("shirt", WITH, "face", ("shoes",), 10),
    Ask("shoes", WITHOUT, "tint", ("shoes",), 10),
    Ask("shirt", REPRESENTATIVE, "", ("shirt",), 10),
)


def row(sample_id, trait, features, *, digest="", shows=np.nan, chances=(0.5, 0.5), picture_hash=0):
    return {
        "sample_id": sample_id,
        "trait": trait,
        "digest": digest or sample_id,
        "picture_hash": f"{picture_hash:016x}",
        "shows": shows,
        "features": packed(np.asarray(features, float)),
        "probabilities": packed(np.asarray(chances, float)),
    }


def stored(folder, *shards):
    store = looked(Run(folder))
    for index, rows in enumerate(shards):
        looks, nothing = schema.frame(schema.LOOKS, rows), schema.frame(schema.QUARANTINE, [])
        store.write(index, {schema.LOOKS.name: looks, schema.QUARANTINE.name: nothing})
    return store


def pictures(*names, label=None):
    return [Sample(name, name, label) for name in names]


def test_looks_come_back_in_the_order_of_the_samples_without_those_that_could_not_be_read(tmp_path):
    store = stored(
        tmp_path,
        # As a worker writes them: pictures without traits last, whatever their place.
        [row("a", "", [1, 2], picture_hash=7), row("a", FACE, [1, 0], shows=1.0), row("b", "", [3, 4])],
        [row("p3", "", [7, 8]), row("p3", FACE, [7, 0], shows=0.0), row("c", "", [5, 6])],
        [row("p4", FACE, [9, 0], shows=1.0, chances=(0.25, 0.75)), row("p4", "", [9, 10], chances=(0, 1))],
    )
    samples = (
        pictures("a", "lost", label="shirt"),
        pictures("b", "c", label="shoes"),
        pictures("p1", "p2", "p3", "p4"),
    )
    seen = read_looks(store, [FACE], samples)
    assert [one.sample_id for one in seen.labelled] == ["a"]
    assert seen.known.features.tolist() == [[1, 2]]
    assert seen.known.hashes.tolist() == [7]
    assert seen.known.without[FACE].features.tolist() == [[1, 0]]
    assert seen.dataset.digests == ("a", "b", "c")
    assert seen.dataset.features.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert [one.sample_id for one in seen.unlabelled] == ["p3", "p4"]
    assert seen.pool.features.tolist() == [[7, 8], [9, 10]]
    assert seen.pool.probabilities.tolist() == [[0.5, 0.5], [0, 1]]
    assert seen.pool.without[FACE].features.tolist() == [[7, 0], [9, 0]]
    assert seen.pool.without[FACE].probabilities.tolist() == [[0.5, 0.5], [0.25, 0.75]]
    assert seen.pool.without[FACE].shows.tolist() == [0, 1]
    assert seen.n_unreadable == 2


def test_features_of_a_pool_lie_in_files_that_have_no_name(tmp_path):
    store = stored(
        tmp_path, [row("a", "", [1, 2]), row("a", FACE, [1, 2]), row("p", "", [3, 4]), row("p", FACE, [3, 4])]
    )
    before = sorted(store.path.iterdir())
    seen = read_looks(store, [FACE], (pictures("a", label="shirt"), [], pictures("p")))
    assert isinstance(seen.pool.features, np.memmap)
    assert isinstance(seen.pool.without[FACE].features, np.memmap)
    assert seen.known.features.dtype == np.float32
    assert sorted(store.path.iterdir()) == before


def test_a_pool_of_which_nothing_could_be_read_is_empty(tmp_path):
    seen = read_looks(stored(tmp_path, []), [FACE], (pictures("a", label="shirt"), [], pictures("p")))
    assert (seen.unlabelled, len(seen.pool.features), seen.n_unreadable) == ((), 0, 1)


def drawn(number, rng):
    """What a new picture shows: an even one is of a shirt."""
    face, tint = rng.random(2) < 0.5
    features = rng.normal(0, 0.5, 6)
    features[:3] += 2 - 4 * (number % 2), 3 * face, 3 * tint
    chances = (0.9, 0.1) if number % 2 == 0 else (0.1, 0.9)
    return features, face, tint, {"picture_hash": int(rng.integers(2**63)), "chances": chances}


def rows_of(sample, features, face, tint, more):
    """The picture as it is, and without either; nothing looks for a tint in the pool."""
    is_known = sample.label is not None
    return [
        row(sample.sample_id, "", features, **more),
        row(sample.sample_id, FACE, features * [1, 0, 1, 1, 1, 1], shows=float(face), **more),
        row(sample.sample_id, TINT, features * [1, 1, 0, 1, 1, 1], shows=float(tint), **more)
        if is_known
        else row(sample.sample_id, TINT, features, **more),
    ]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Forty labelled pictures; a pool of 200 new ones, 20 near copies of labelled ones, 10 of its own files again."""
    rng = np.random.default_rng(0)
    labelled = [Sample(f"labelled {i}", f"labelled {i}", CLASSES[i % 2]) for i in range(40)]
    known = [drawn(i, rng) for i in range(40)]
    new = [drawn(i, rng) for i in range(200)]
    near = [(*one[:3], one[3] | {"picture_hash": one[3]["picture_hash"] ^ 5}) for one in known[:20]]
    again = [(*one[:3], one[3] | {"digest": f"pool {i}"}) for i, one in enumerate(new[:10])]
    pool = pictures(*(f"pool {i}" for i in range(230)))
    pairs = zip([*labelled, *pool], [*known, *new, *near, *again], strict=True)
    rows = [one for sample, shown in pairs for one in rows_of(sample, *shown)]
    shards = [rows[start : start + 30] for start in range(0, len(rows), 30)]
    return read_looks(stored(tmp_path_factory.mktemp("run"), *shards), [FACE, TINT], (labelled, [], pool))


def in_memory(look):
    """The same as plain arrays."""
    without = {
        trait: replace(
            one,
            features=np.array(one.features, np.float32),
            probabilities=np.array(one.probabilities, np.float32),
        )
        for trait, one in look.without.items()
    }
    return Look(
        look.digests,
        look.hashes,
        np.array(look.probabilities, np.float32),
        np.array(look.features, np.float32),
        without,
    )


def chosen_from(seen, pool, n=24):
    known = Known(seen.known, tuple(one.label for one in seen.labelled), CLASSES)
    return choose(WISHES, known, pool, copies(pool, seen.dataset), n)


def rows_and_asks(choice):
    return [(one.row, one.ask, one.label) for one in choice.chosen]


def test_the_choice_out_of_mapped_files_is_that_out_of_memory_bit_for_bit(seen):
    found, plain = chosen_from(seen, seen.pool), chosen_from(seen, in_memory(seen.pool))
    assert len(found.chosen) == 24
    assert found.n_duplicates == 30
    assert rows_and_asks(found) == rows_and_asks(plain)
    assert [one.likely for one in found.chosen] == [one.likely for one in plain.chosen]
    assert found.n_found == plain.n_found
    assert (found.reading, found.presence) == (plain.reading, plain.presence)


def test_the_choice_does_not_depend_on_how_many_rows_are_read_at_once(seen, monkeypatch):
    whole = chosen_from(seen, seen.pool)
    monkeypatch.setattr(audit.pool_reading, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(audit.pool, "_TO_COMPARE", 3)
    found = chosen_from(seen, seen.pool)
    assert rows_and_asks(found) == rows_and_asks(whole)
    # A product of matrices may round otherwise where they have other shapes.
    np.testing.assert_allclose(
        [one.likely for one in found.chosen], [one.likely for one in whole.chosen], rtol=1e-12
    )


def test_of_too_many_that_fit_the_likeliest_are_kept(seen, monkeypatch):
    free = chosen_from(seen, seen.pool, 4)
    ask = WISHES[0]
    assert free.n_found[ask] > 8
    monkeypatch.setattr(audit.pool, "MOST_FITTING", 8)
    bounded = chosen_from(seen, seen.pool, 4)
    assert bounded.n_found == free.n_found
    known = Known(seen.known, tuple(one.label for one in seen.labelled), CLASSES)
    is_copy = copies(seen.pool, seen.dataset)
    likely = np.where(is_copy, 0.0, audit.pool._fitting(ask, known, seen.pool).likely)
    best = set(np.argsort(-likely)[:8].tolist())
    assert {one.row for one in bounded.chosen if one.ask == ask} <= best
    assert not {one.row for one in free.chosen if one.ask == ask} <= best


def test_of_equally_good_ones_the_digests_draw():
    likely = np.array([0.9, 0.4, 0.9, 0.9, 1.0])
    assert audit.pool._best(likely, likely, ("d", "a", "b", "c", "e"), 3).tolist() == [2, 3, 4]
    assert audit.pool._best(likely, likely, ("d", "a", "b", "c", "e"), 4).tolist() == [0, 2, 3, 4]
