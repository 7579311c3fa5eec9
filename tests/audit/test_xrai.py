"""XRAI: the published algorithm on its vectors and on hand-worked grids, its cache, its statuses."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest

from audit.attributions import _felzenszwalb as felzenszwalb
from audit.attributions._merge import rank
from audit.attributions._segments import Segments, atomised, digest, dilated, segments
from audit.attributions.xrai import XRAI
from audit.classifier import Head
from audit.errors import ConfigError
from audit.parallel import map_images
from audit.types import MapStatus
from pipelines.segment_cache import SegmentCache

VECTORS = [f"xrai_{number:02d}.npz" for number in range(0, 24, 2)]
ALGORITHMS = ("full", "fast")


@dataclass(frozen=True)
class LinearClassifier:
    """logit = sum(weights * image): every path method is exact on it."""

    weights: np.ndarray
    n_classes: int = 2
    head: Head = Head.BINARY
    batch_size: int = 8
    callers: int = 1

    def logits(self, images):
        scores = (images.astype(np.float64) * self.weights).sum(axis=(1, 2, 3))
        return np.stack([-scores, scores], axis=1)

    def probabilities(self, images):
        return 1.0 / (1.0 + np.exp(-self.logits(images)))

    def scores(self, images, targets):
        return self.logits(images)[np.arange(len(images)), targets]

    def directional_gradients(self, images, directions, targets):
        signs = np.where(targets == 1, 1.0, -1.0)[:, None, None]
        return self.scores(images, targets), ((directions * self.weights).sum(-1) * signs).astype(np.float32)


class CountingDict(dict):
    """A cache that counts what is written to it."""

    n_written = 0

    def __setitem__(self, key, value):
        self.n_written += 1
        super().__setitem__(key, value)

    def update(self, other):
        for key, value in other.items():
            self[key] = value


def photograph(shape=(40, 48), seed=0):
    """Smooth blobs with noise, float32 (H, W, 3) in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = np.stack([np.sin(x / (4 + c)) * np.cos(y / (7 - c)) for c in range(3)], axis=-1)
    return (0.5 + 0.35 * waves + 0.1 * rng.random((*shape, 3))).clip(0, 1).astype(np.float32)


def published(image, base, algorithm):
    """Map and ranks of the reference package for a base (H, W, 3)."""
    reference = pytest.importorskip("saliency.core.xrai", reason="the extra `benchmarks` is not installed")
    parameters = reference.XRAIParameters(algorithm=algorithm, return_xrai_segments=True)
    method = reference.XRAI()
    output = method.GetMaskWithDetails(image, None, base_attribution=base, extra_parameters=parameters)
    return output.attribution_mask, output.segments


def classifier_of(shape, seed=1):
    return LinearClassifier(np.random.default_rng(seed).normal(size=(*shape, 3)) / 100)


def explain(method, classifier, images):
    n = len(images)
    return method(classifier, images, np.ones(n, np.int64), np.arange(n, dtype=np.uint64))


# The published algorithm.


@pytest.mark.data
@pytest.mark.parametrize("name", VECTORS)
def test_maps_and_ranks_equal_the_published_ones(data, name):
    vector = np.load(data / "reference" / "xrai" / name)
    found, ranks = rank(vector["base_attribution"], segments(vector["image"]), str(vector["algorithm"]))
    assert found.dtype == np.float32
    assert np.abs(found - vector["attribution"]).max() <= 1e-5
    np.testing.assert_array_equal(ranks, vector["segment_rank"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", [(64, 64), (90, 50)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_maps_and_ranks_equal_those_of_the_reference_package(algorithm, shape, dtype):
    image = photograph(shape) if dtype == np.float32 else (255 * photograph(shape)).astype(np.uint8)
    base = np.random.default_rng(2).normal(size=(*shape, 3)).astype(np.float32)
    wanted, wanted_ranks = published(image, base, algorithm)
    found, ranks = rank(base, segments(image), algorithm)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_array_equal(ranks, wanted_ranks)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_coarsely_rounded_base_is_ranked_as_by_the_reference_package_in_spite_of_many_ties(algorithm):
    image = photograph((64, 64), seed=3)
    base = np.random.default_rng(4).integers(-1, 2, (64, 64)).astype(np.float32) / 10
    _, wanted_ranks = published(image, np.repeat(base[..., None], 3, axis=-1), algorithm)
    np.testing.assert_array_equal(rank(base, segments(image), algorithm)[1], wanted_ranks)


def test_of_several_channels_the_largest_counts():
    base = np.random.default_rng(0).normal(size=(40, 48, 3)).astype(np.float32)
    found = segments(photograph())
    np.testing.assert_array_equal(rank(base, found)[0], rank(base.max(axis=-1), found)[0])


# The merge, worked by hand: three overlapping masks on a 4 x 4 grid.
#   values   left: columns 0-1     middle: columns 1-2   top: row 0
#   4 4 0 0  ##..                  .##.                  ####
#   4 1 1 0  ##..                  .##.                  ....
#   4 1 1 0  ##..                  .##.                  ....
#   4 1 1 0  ##..                  .##.                  ....

VALUES = np.array([[4, 4, 0, 0], [4, 1, 1, 0], [4, 1, 1, 0], [4, 1, 1, 0]], np.float32)
LEFT = np.array([[True, True, False, False]] * 4)
MIDDLE = np.array([[False, True, True, False]] * 4)
TOP = np.array([[True] * 4] + [[False] * 4] * 3)


def segments_of(*masks):
    """Segments of given masks: pixels alike in all masks are one atom."""
    stacked = np.stack(masks).reshape(len(masks), -1)
    signatures, atoms = np.unique(stacked, axis=1, return_inverse=True)
    held, holders = np.nonzero(signatures.T)
    starts = np.searchsorted(held, np.arange(signatures.shape[1] + 1))
    return Segments(atoms.reshape(masks[0].shape).astype(np.int32), holders, starts)


def test_full_takes_the_mask_whose_new_pixels_have_the_highest_mean():
    # Means: left 23/8, middle 10/8, top 8/4. Left first; of what is left middle has 3/4, top 0/2.
    # Column 3 below row 0 is in no mask: mean 0, last.
    found, ranks = rank(VALUES, segments_of(MIDDLE, TOP, LEFT), "full", min_new_pixels=1)
    np.testing.assert_array_equal(ranks, [[1, 1, 2, 3], [1, 1, 2, 4], [1, 1, 2, 4], [1, 1, 2, 4]])
    np.testing.assert_allclose(found[0], [2.875, 2.875, 0.75, 0.0])
    assert found.sum() == pytest.approx(VALUES.sum())


def test_fast_takes_the_masks_by_their_own_means():
    # Left 23/8, then top 8/4 (new: 0/2), then middle 10/8 (new: 3/3), which then outranks top.
    found, ranks = rank(VALUES, segments_of(MIDDLE, TOP, LEFT), "fast", min_new_pixels=1)
    np.testing.assert_array_equal(ranks, [[1, 1, 3, 3], [1, 1, 2, 4], [1, 1, 2, 4], [1, 1, 2, 4]])
    np.testing.assert_allclose(found[:, 2], [0, 1, 1, 1])


def test_a_mask_that_adds_too_few_pixels_is_not_taken():
    # After left (8 pixels) middle would add 4 and top 2: the rest, mean 3/8, comes last.
    found, ranks = rank(VALUES, segments_of(MIDDLE, TOP, LEFT), "full", min_new_pixels=5)
    np.testing.assert_array_equal(ranks, np.where(LEFT, 1, 2))
    np.testing.assert_allclose(found[:, 2:], 0.375)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_of_equal_masks_the_first_ranks_first(algorithm):
    left, right = LEFT, ~LEFT
    flat = np.full((4, 4), 0.1, np.float32)
    assert rank(flat, segments_of(left, right), algorithm, min_new_pixels=1)[1][0].tolist() == [1, 1, 2, 2]
    assert rank(flat, segments_of(right, left), algorithm, min_new_pixels=1)[1][0].tolist() == [2, 2, 1, 1]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_masks_below_the_smallest_size_leave_one_region(algorithm):
    found, ranks = rank(VALUES, segments_of(MIDDLE, TOP, LEFT), algorithm)
    assert (ranks == 1).all()
    np.testing.assert_allclose(found, 26 / 16)


def test_a_base_of_another_shape_or_that_is_not_finite_is_refused():
    found = segments_of(MIDDLE, TOP, LEFT)
    with pytest.raises(ValueError, match="must agree"):
        rank(np.zeros((4, 5)), found)
    with pytest.raises(ValueError, match="not finite"):
        rank(np.full((4, 4), np.nan), found)
    with pytest.raises(ValueError, match="full, fast"):
        rank(VALUES, found, "best")


# Segments.


def test_a_pixel_grows_to_a_euclidean_disk_cut_at_the_border():
    words = np.zeros((12, 13), np.uint64)
    words[1, 12] = 1 << 63
    words[6, 4] = 5
    y, x = np.mgrid[:12, :13]
    near_corner, near_centre = (y - 1) ** 2 + (x - 12) ** 2 <= 25, (y - 6) ** 2 + (x - 4) ** 2 <= 25
    expected = np.where(near_corner, np.uint64(1 << 63), np.uint64(0))
    expected |= np.where(near_centre, np.uint64(5), np.uint64(0))
    np.testing.assert_array_equal(dilated(words, 5), expected)


def test_masks_are_the_grown_labels_without_repeats_and_gaps():
    halves = np.repeat([[0] * 5 + [2] * 5], 3, axis=0)  # label 1 does not occur
    whole = np.zeros((3, 10), int)
    masks = atomised([halves, halves, whole], radius=1).masks()
    columns = [mask[0].astype(int).tolist() for mask in masks]
    assert columns == [[1] * 6 + [0] * 4, [0] * 4 + [1] * 6, [1] * 10]


def test_more_masks_than_a_word_has_bits_keep_apart():
    labels = np.arange(13 * 13).reshape(13, 13)
    masks = atomised([labels], radius=0).masks()
    np.testing.assert_array_equal(masks.reshape(169, 169), np.eye(169, dtype=bool))


def test_every_pixel_lies_in_a_mask_and_a_constant_image_is_one_segment():
    assert segments(photograph()).masks().any(axis=0).all()
    assert segments(np.full((20, 30, 3), 0.5, np.float32)).masks().tolist() == np.ones((1, 20, 30)).tolist()


def test_the_compiled_segmentation_gives_the_labels_of_scikit_image():
    pytest.importorskip("numba", reason="the extra `fast` is not installed")
    rng = np.random.default_rng(5)
    drawn = np.kron(rng.integers(0, 3, (8, 8, 3)), np.ones((9, 9, 1)))  # flat areas, many equal costs
    for image in (photograph((70, 60)).astype(np.float64), drawn):
        wanted = felzenszwalb.plain_label_maps(image, (1, 50, 1200), 0.8, 40)
        found = felzenszwalb.compiled_label_maps(image, (1, 50, 1200), 0.8, 40)
        np.testing.assert_array_equal(found, wanted)


def test_the_digest_tells_pixels_shapes_and_types_apart():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    others = (image + 1, image.reshape(4, 2, 3), image.astype(np.int8))
    assert len({digest(image), *map(digest, others)}) == 4
    assert digest(image) == digest(np.asfortranarray(image))


# The method.


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_map_sums_to_the_mean_score_difference_of_the_baselines(algorithm):
    images = np.stack([photograph(seed=0), photograph(seed=1)])
    classifier = classifier_of((40, 48))
    found = explain(XRAI(algorithm), classifier, images)
    ends = np.stack([np.zeros((40, 48, 3)), np.ones((40, 48, 3))])
    differences = classifier.logits(images)[:, 1] - classifier.logits(ends)[:, 1].mean()
    np.testing.assert_allclose(found.maps.sum(axis=(1, 2)), differences, rtol=1e-4)
    assert found.maps.dtype == np.float32
    assert found.maps.shape == (2, 40, 48)
    assert (found.approx_error < 1e-3).all()


def test_a_map_does_not_depend_on_its_neighbours_or_on_the_call():
    images = np.stack([photograph(seed=seed) for seed in range(3)])
    classifier = classifier_of((40, 48))
    before = images.copy()
    together = explain(XRAI(), classifier, images)
    again = explain(XRAI(), classifier, images)
    alone = explain(XRAI(), classifier, images[2:])
    np.testing.assert_array_equal(together.maps, again.maps)
    np.testing.assert_array_equal(together.maps[2], alone.maps[0])
    np.testing.assert_array_equal(images, before)


def test_a_constant_image_is_empty_and_leaves_the_others_alone():
    images = np.stack([np.full((40, 48, 3), 0.25, np.float32), photograph()])
    found = explain(XRAI(), classifier_of((40, 48)), images)
    assert found.status[0] is MapStatus.EMPTY
    assert (found.maps[0] == 0).all()
    assert np.isnan(found.approx_error[0])
    assert found.status[1] is not MapStatus.EMPTY
    assert found.maps[1].any()


def test_a_model_that_ignores_the_image_gives_an_empty_map():
    found = explain(XRAI(), LinearClassifier(np.zeros((40, 48, 3))), photograph()[None])
    assert found.status.tolist() == [MapStatus.EMPTY]
    assert (found.maps == 0).all()


def test_a_second_model_on_the_same_images_does_not_segment_again():
    cache = CountingDict()
    images = np.stack([photograph(seed=0), photograph(seed=1), photograph(seed=0)])
    method = XRAI(cache=cache)
    explain(method, classifier_of((40, 48), seed=1), images)
    assert cache.n_written == 2
    warm = explain(method, classifier_of((40, 48), seed=2), images)
    assert cache.n_written == 2
    cold = explain(XRAI(), classifier_of((40, 48), seed=2), images)
    np.testing.assert_array_equal(warm.maps, cold.maps)


def test_what_the_cache_holds_is_what_is_used():
    image = photograph()
    halves = atomised([np.repeat([[0] * 24 + [1] * 24], 40, axis=0)], radius=0)
    found = explain(XRAI(cache={digest(image): halves}), classifier_of((40, 48)), image[None])
    assert len(np.unique(found.maps)) == 2


def test_an_unknown_algorithm_or_baseline_is_a_configuration_error():
    with pytest.raises(ConfigError, match="full or fast, found 'exact'"):
        XRAI(algorithm="exact")
    with pytest.raises(ConfigError, match="baseline"):
        XRAI(baseline="purple")


# Threads and the cache on disk.


def test_map_images_keeps_the_order_and_refuses_unequal_columns():
    assert map_images(lambda a, b: a - b, np.arange(3), [1, 1, 1]) == [-1, 0, 1]
    assert map_images(len, []) == []
    with pytest.raises(ValueError, match="shorter"):
        map_images(lambda a, b: a, [1, 2], [1])


def test_segments_survive_the_disk_and_pickle(tmp_path):
    cache, found = SegmentCache(tmp_path / "segments"), segments(photograph())
    cache["ab12"] = found
    for copy in (SegmentCache(tmp_path / "segments")["ab12"], pickle.loads(pickle.dumps(found))):
        for name in ("atoms", "holders", "starts"):
            np.testing.assert_array_equal(getattr(copy, name), getattr(found, name))
            assert getattr(copy, name).dtype == np.int32
    assert list(cache) == ["ab12"]
    assert len(cache) == 1
    del cache["ab12"]
    assert "ab12" not in cache


def test_a_damaged_file_counts_as_missing_and_is_written_anew(tmp_path):
    cache, found = SegmentCache(tmp_path), segments(photograph())
    cache["ab12"] = found
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(file.read_bytes()[:100])
    assert cache.get("ab12") is None
    cache["ab12"] = found
    np.testing.assert_array_equal(cache["ab12"].atoms, found.atoms)
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".npz"]


def test_a_key_cannot_leave_the_folder(tmp_path):
    with pytest.raises(KeyError):
        SegmentCache(tmp_path / "inner")["../../etc"]
