import io

import imagehash
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage import data

import audit.duplicates
from audit import tables
from audit.duplicates import MOST_BITS, find_duplicates, near_pairs, perceptual_hashes

PHOTOS = {name: getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket", "cat")}


def hash_of(picture: Image.Image) -> int:
    return int(perceptual_hashes(np.asarray(picture.convert("RGB"))[None] / 255)[0])


def bits_apart(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def as_jpeg(picture: Image.Image) -> Image.Image:
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=40)
    return Image.open(stored)


@pytest.mark.parametrize("name", PHOTOS)
def test_hashes_are_those_of_a_library_but_for_the_way_of_shrinking(name):
    picture = Image.fromarray(PHOTOS[name])
    theirs = int(str(imagehash.phash(picture)), 16)
    # The library shrinks by another filter; of 64 bits a few lie at the median, where that decides.
    assert bits_apart(hash_of(picture), theirs) <= 4


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture.resize((150, 110)),
        as_jpeg,
        lambda picture: Image.fromarray((np.asarray(picture) * 0.8).astype(np.uint8)),
    ],
    ids=["smaller", "compressed", "darker"],
)
def test_a_picture_stays_a_near_duplicate_of_itself(name, change):
    picture = Image.fromarray(PHOTOS[name])
    assert bits_apart(hash_of(picture), hash_of(change(picture))) <= MOST_BITS


def test_different_photographs_are_far_apart():
    hashes = [hash_of(Image.fromarray(PHOTOS[name])) for name in ("astronaut", "coffee", "chelsea", "rocket")]
    apart = [bits_apart(one, other) for one in hashes for other in hashes if one != other]
    assert min(apart) > 2 * MOST_BITS


def test_pairs_by_hand():
    hashes = np.array([0b0000, 0b0011, 0b1111, 0b0001], dtype=np.uint64)
    one, other, bits = near_pairs(hashes, 1)
    assert list(zip(one, other, bits, strict=True)) == [(0, 3, 1), (1, 3, 1)]


@pytest.mark.parametrize("costs", [0, 1e9], ids=["that share a part", "all, in blocks"])
def test_pairs_are_those_of_every_pair_however_they_are_looked_for(costs, monkeypatch):
    monkeypatch.setattr(audit.duplicates, "_SHARING_COSTS", costs)
    monkeypatch.setattr(audit.duplicates, "_SHARING_AT_ONCE", 1000)
    rng = np.random.default_rng(0)
    # More pairs than one block holds.
    hashes = rng.integers(0, 2**12, 3000, dtype=np.uint64)
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    one, other, bits = near_pairs(hashes, 1)
    expected = np.argwhere(np.triu(apart <= 1, k=1))
    np.testing.assert_array_equal(np.stack([one, other], axis=1), expected)
    np.testing.assert_array_equal(bits, apart[one, other])
    one, other, _ = near_pairs(hashes[:50], 1, hashes[50:])
    np.testing.assert_array_equal(np.stack([one, other], axis=1), np.argwhere(apart[:50, 50:] <= 1))


@pytest.mark.parametrize("turned", range(7))
def test_a_hash_is_found_by_one_of_which_up_to_so_many_bits_are_turned_wherever_they_are(turned):
    rng = np.random.default_rng(turned)
    hashes = rng.integers(2**64, size=2000, dtype=np.uint64)
    masks = [sum(1 << int(bit) for bit in rng.choice(64, turned, replace=False)) for _ in hashes]
    one, other, bits = near_pairs(hashes, 4, hashes ^ np.array(masks, dtype=np.uint64))
    expected = np.arange(2000 if turned <= 4 else 0)
    np.testing.assert_array_equal([one, other], [expected, expected])
    np.testing.assert_array_equal(bits, np.full(len(expected), turned))


def run_of(*rows: tuple[str, str, str, str, int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(id, label, split, digest, hash)."""
    columns = ["sample_id", "label", "split", "digest"]
    predictions = pd.DataFrame([row[:4] for row in rows], columns=columns)
    features = pd.DataFrame(
        [(row[0], f"{row[4]:016x}") for row in rows], columns=["sample_id", "picture_hash"]
    )
    return predictions, features


def test_a_leak_a_redundant_sample_and_two_labels_are_told_apart():
    found = find_duplicates(
        *run_of(
            ("a", "shoes", "train", "d1", 0),
            ("b", "shoes", "train", "d1", 0),  # the same file once more
            ("c", "shoes", "test", "d2", 0b11),  # nearly the same picture in another split
            ("d", "shoes", "test", "d3", 2**64 - 1),
            ("e", "t-shirt", "test", "d4", 2**64 - 2),
            ("f", "t-shirt", "test", "d5", 2**32 - 1),  # like nothing else
        )
    ).set_index("sample_id")
    assert list(found.index) == ["c", "d", "e", "a", "b"]
    assert found["leaks"].to_dict() == {"a": True, "b": True, "c": True, "d": False, "e": False}
    # d and e carry two labels: neither makes the other redundant.
    assert [name for name in found.index if found.loc[name, "redundant"]] == ["b"]
    assert found.loc["c", ["original", "nearest", "distance"]].tolist() == ["c", "a", 2]
    assert found.loc["b", "reason"] == "the same file as a; a leak: the picture is in the splits test, train"
    assert found.loc["e", "reason"] == (
        "nearly the same picture as d (1 of 64 bits differ); it carries the labels shoes, t-shirt"
    )


def test_pictures_that_are_all_the_same_are_one_group_whose_pairs_are_not_gone_through():
    n = 20_000  # 200 million pairs
    found = find_duplicates(*run_of(*((f"s{i:05}", "shoes", "test", f"d{i}", 7) for i in range(n))))
    assert set(found["original"]) == {"s00000"}
    assert found["redundant"].sum() == n - 1
    assert found["nearest"].tolist() == ["s00001"] + ["s00000"] * (n - 1)
    assert set(found["distance"]) == {0}


def test_the_nearest_is_the_first_of_the_nearest():
    found = find_duplicates(
        *run_of(
            ("a", "hat", "", "1", 0b11),
            ("b", "hat", "", "2", 0b0),
            ("c", "hat", "", "3", 0b1),
            ("d", "hat", "", "4", 0b1),
        )
    ).set_index("sample_id")
    assert found["nearest"].to_dict() == {"a": "c", "b": "c", "c": "d", "d": "c"}
    assert found["distance"].to_dict() == {"a": 1, "b": 1, "c": 0, "d": 0}


def test_without_a_pair_the_table_is_empty_and_whole():
    found = find_duplicates(*run_of(("a", "shoes", "", "d1", 0), ("b", "shoes", "", "d2", 2**40 - 1)))
    assert len(found) == 0
    tables.check(found, tables.DUPLICATES)
