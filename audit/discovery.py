"""Confounds that nobody named: attributed regions outside the foreground that recur in one class.

Regions come from the attribution maps; what they show is told by the model's own features of them, so two regions
are alike if the model sees them alike. Clusters of alike regions are confounds if three things hold: common in a
class, rarer elsewhere, and with more mass than their area explains. Each gets a description in words.

This is a search: what it finds is a hypothesis for the interventions to test, never a verdict.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, stats
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import PCA

from audit import statistics
from audit.types import FOREGROUND, Interval

UNCLUSTERED = -1
"""Cluster of a region that is like no others."""


@dataclass(frozen=True)
class RegionFacts:
    """What a region looks like.

    Attributes:
        centre: (x, y) as shares of width and height, in [0, 1].
        size: share of the image's pixels.
        colour: mean (red, green, blue), in [0, 1].
        roughness: mean absolute step of luma between neighbours inside the region, in [0, 1].
        direction: share of that in steps from left to right, in [0, 1]; 0.5 without a direction, NaN without steps.
    """

    centre: tuple[float, float]
    size: float
    colour: tuple[float, float, float]
    roughness: float
    direction: float


@dataclass(frozen=True)
class AttributedRegion:
    """One attributed region of one sample.

    Attributes:
        sample: index of the sample.
        label: index of its class.
        embedding: (D,), the model's features of the region.
        mass_share, area_share: the region's shares of the image's mass and pixels, in [0, 1].
        facts: what it looks like.
        overlaps: share of the region that lies on each named thing, by name.
    """

    sample: int
    label: int
    embedding: np.ndarray
    mass_share: float
    area_share: float
    facts: RegionFacts
    overlaps: Mapping[str, float]


@dataclass(frozen=True)
class DiscoverySettings:
    """Limits of the search.

    Attributes:
        smallest_cluster: regions a cluster has at least.
        n_components: dimensions the embeddings are reduced to.
        common: share of a class's samples that must show the cluster.
        rarer: least difference of that share to the other classes', with its interval above 0.
        lift: least mean of mass share over area share.
        q: false discovery rate over all clusters and classes looked at.
        n_exemplars: samples that are shown for a cluster.
    """

    smallest_cluster: int = 5
    n_components: int = 16
    common: float = 0.3
    rarer: float = 0.2
    lift: float = 1.5
    q: float = 0.05
    n_exemplars: int = 6

    def __post_init__(self) -> None:
        if self.smallest_cluster < 2:
            raise ValueError(f"smallest_cluster must be at least 2, got {self.smallest_cluster}")
        if self.n_components < 1:
            raise ValueError(f"n_components must be at least 1, got {self.n_components}")


@dataclass(frozen=True)
class DiscoveredConfound:
    """A kind of region that recurs in one class.

    Attributes:
        label: the class it belongs to.
        cluster: number of the cluster.
        name: description in words: "bottom right, small, red, smooth".
        share: share of the class's samples that show it, with interval.
        association: that share minus the other classes', with interval.
        lift: mean mass share over mean area share of its regions in the class.
        q_value: of the association, adjusted for everything that was looked at.
        samples: the samples of the class that show it.
        exemplars: the most typical of them, best first.
    """

    label: int
    cluster: int
    name: str
    share: Interval
    association: Interval
    lift: float
    q_value: float
    samples: tuple[int, ...]
    exemplars: tuple[int, ...]


def attributed_regions(
    mass: np.ndarray,
    foreground: np.ndarray,
    *,
    held: float = 0.6,
    n_largest: int = 3,
    smallest: float = 0.002,
) -> list[np.ndarray]:
    """Connected regions outside the foreground that hold most of the mass there.

    Pixels are taken from the heaviest on until they hold `held` of the mass outside the foreground; of their
    connected parts those with the most mass are returned.

    Args:
        mass: (H, W), non-negative.
        foreground: uint8 (H, W) of BACKGROUND, FOREGROUND, IGNORE; where nothing is annotated all counts as outside.
        held: share of the outside mass, in (0, 1].
        n_largest: regions returned at most.
        smallest: smaller parts are left out, as a share of the image's pixels.

    Returns:
        bool (H, W) masks, heaviest first; none where there is no mass outside.
    """
    if mass.shape != foreground.shape:
        raise ValueError(f"mass {mass.shape} and foreground {foreground.shape} must have one shape (H, W)")
    outside = np.where(foreground == FOREGROUND, 0.0, mass).astype(np.float64)
    total = outside.sum()
    if not total > 0:
        return []
    order = np.sort(outside, axis=None)[::-1]
    least = order[min(int(np.searchsorted(np.cumsum(order), held * total)), order.size - 1)]
    parts, n_parts = ndimage.label((outside >= least) & (outside > 0), structure=np.ones((3, 3)))
    numbers = np.arange(1, n_parts + 1)
    areas = np.bincount(parts.ravel(), minlength=n_parts + 1)[1:]
    masses = ndimage.sum_labels(outside, parts, numbers)
    heaviest = [index for index in np.argsort(-masses, kind="stable") if areas[index] >= smallest * mass.size]
    return [parts == numbers[index] for index in heaviest[:n_largest]]


def describe_region(image: np.ndarray, region: np.ndarray) -> RegionFacts:
    """What the region looks like.

    Args:
        image: float (H, W, 3) in [0, 1].
        region: bool (H, W), at least one pixel.

    Raises:
        ValueError: the region is empty, or the shapes differ.
    """
    if image.shape[:2] != region.shape or not region.any():
        raise ValueError(
            f"expected a region of shape {image.shape[:2]} with at least one pixel, found {region.shape}"
        )
    rows, columns = np.nonzero(region)
    height, width = region.shape
    red, green, blue = (float(value) for value in image[region].mean(axis=0))
    grey = image @ np.array([0.299, 0.587, 0.114])
    across = np.abs(np.diff(grey, axis=1))[region[:, 1:] & region[:, :-1]]
    down = np.abs(np.diff(grey, axis=0))[region[1:] & region[:-1]]
    # A step where there is no neighbour inside is not known; a region of one pixel has no texture.
    means = [float(steps.mean()) if len(steps) else 0.0 for steps in (across, down)]
    return RegionFacts(
        centre=(float((columns.mean() + 0.5) / width), float((rows.mean() + 0.5) / height)),
        size=float(region.mean()),
        colour=(red, green, blue),
        roughness=sum(means) / 2,
        direction=means[0] / sum(means) if sum(means) > 0 else math.nan,
    )


def cluster(embeddings: np.ndarray, settings: DiscoverySettings) -> np.ndarray:
    """Numbers of the clusters of alike regions.

    Embeddings are brought to length 1, since the model's features say what by direction and how much by length,
    then to a few principal axes, and clustered by density; the result does not depend on a seed.

    Args:
        embeddings: (N, D), finite.
        settings: `smallest_cluster`, `n_components`.

    Returns:
        int64 (N,), 0 and up; UNCLUSTERED for a region like no others.

    Source: Campello, Moulavi, Sander. Density-Based Clustering Based on Hierarchical Density Estimates. PAKDD 2013.
    """
    n = len(embeddings)
    if n < 2 * settings.smallest_cluster:
        return np.full(n, UNCLUSTERED, dtype=np.int64)
    reduced = _reduced(embeddings, settings.n_components)
    found = HDBSCAN(min_cluster_size=settings.smallest_cluster, allow_single_cluster=False, copy=True).fit(
        reduced
    )
    return np.asarray(np.where(found.labels_ < 0, UNCLUSTERED, found.labels_), dtype=np.int64)


def discover(
    regions: Sequence[AttributedRegion], labels: np.ndarray, settings: DiscoverySettings
) -> tuple[DiscoveredConfound, ...]:
    """Clusters of regions that are common in a class, rarer elsewhere, and attributed; strongest first.

    Args:
        regions: of all samples; a sample may have any number, also none.
        labels: int (N,), the class of every sample looked at, with or without regions.
        settings: the limits.

    Returns:
        Sorted by association, then by class and cluster. A sample counts once for a cluster, however many of its
        regions are in it.
    """
    if not regions:
        return ()
    embeddings = np.stack([region.embedding for region in regions])
    clusters = cluster(embeddings, settings)
    numbers = [int(number) for number in np.unique(clusters) if number != UNCLUSTERED]
    pairs = list(itertools.product(numbers, (int(label) for label in np.unique(labels))))
    shown = {number: _shown(regions, clusters == number, len(labels)) for number in numbers}
    p_values = np.array([_p_more_frequent(shown[number], labels == label) for number, label in pairs])
    q_values = statistics.false_discovery_rates(p_values)
    level = statistics.shared_level(settings.q, len(pairs))
    found = []
    for (number, label), q_value in zip(pairs, q_values, strict=True):
        is_label = labels == label
        members = [int(index) for index in np.flatnonzero(clusters == number)]
        members = [index for index in members if is_label[regions[index].sample]]
        one = _judged(shown[number], is_label, level, settings)
        if one is None or q_value > settings.q:
            continue
        lift = _lift([regions[index] for index in members])
        if not lift >= settings.lift:
            continue
        samples = _most_typical(regions, members, embeddings)
        name = describe([regions[index] for index in members])
        found.append(
            DiscoveredConfound(
                label,
                number,
                name,
                *one,
                lift,
                float(q_value),
                tuple(sorted(samples)),
                samples[: settings.n_exemplars],
            )
        )
    return tuple(sorted(found, key=lambda one: (-one.association.mean, one.label, one.cluster)))


def _reduced(embeddings: np.ndarray, n_components: int) -> np.ndarray:
    """Unit embeddings on their first principal axes, (N, d)."""
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    unit = np.divide(embeddings, length, out=np.zeros_like(embeddings, dtype=np.float64), where=length > 0)
    n_axes = min(n_components, *unit.shape)
    return np.asarray(PCA(n_axes, svd_solver="full").fit_transform(unit))


def _shown(regions: Sequence[AttributedRegion], is_member: np.ndarray, n_samples: int) -> np.ndarray:
    """Whether each sample has a region of the cluster, bool (N,)."""
    shown = np.zeros(n_samples, dtype=np.bool_)
    shown[[region.sample for region, is_one in zip(regions, is_member, strict=True) if is_one]] = True
    return shown


def _p_more_frequent(shown: np.ndarray, is_label: np.ndarray) -> float:
    """p value of the exact test that the cluster is no more frequent in the class than elsewhere; NaN if untestable."""
    if is_label.all() or not is_label.any():
        return math.nan
    table = [
        [(shown & is_label).sum(), (~shown & is_label).sum()],
        [(shown & ~is_label).sum(), (~shown & ~is_label).sum()],
    ]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)


def _judged(
    shown: np.ndarray, is_label: np.ndarray, level: float, settings: DiscoverySettings
) -> tuple[Interval, Interval] | None:
    """Share in the class and difference to the others, if both pass the limits."""
    hits, n = int((shown & is_label).sum()), int(is_label.sum())
    other_hits, other_n = int((shown & ~is_label).sum()), int((~is_label).sum())
    share = statistics.proportion_interval(hits, n, level)
    association = statistics.proportion_difference(hits, n, other_hits, other_n, level)
    passes = share.mean >= settings.common and association.mean >= settings.rarer and association.low > 0
    return (share, association) if passes else None


def _lift(members: Sequence[AttributedRegion]) -> float:
    """Mean mass share over mean area share; NaN where the regions have no area."""
    area = sum(region.area_share for region in members)
    return sum(region.mass_share for region in members) / area if area > 0 else math.nan


def _most_typical(
    regions: Sequence[AttributedRegion], members: Sequence[int], embeddings: np.ndarray
) -> tuple[int, ...]:
    """The samples of the members, those nearest to the members' mean direction first."""
    own = embeddings[list(members)]
    length = np.linalg.norm(own, axis=1, keepdims=True)
    unit = np.divide(own, length, out=np.zeros_like(own, dtype=np.float64), where=length > 0)
    distance = np.linalg.norm(unit - unit.mean(axis=0), axis=1)
    order = [regions[members[index]].sample for index in np.argsort(distance, kind="stable")]
    return tuple(dict.fromkeys(order))


def describe(members: Sequence[AttributedRegion]) -> str:
    """Words for what regions have in common: a named thing, or place, size, colour and texture.

    What they do not have in common is left out: place, if fewer than half of them lie in one of nine fields;
    colour, if fewer than half of them have one name.
    """
    named = _named_thing(members)
    facts = [member.facts for member in members]
    places = [place_name(*fact.centre) for fact in facts]
    colours = [colour_name(fact.colour) for fact in facts]
    words = [
        *([f"on the {named}"] if named else []),
        _most_common(places) or "anywhere",
        size_name(float(np.median([fact.size for fact in facts]))),
        *filter(None, [_most_common(colours)]),
        _most_common([texture_name(fact.roughness, fact.direction) for fact in facts]) or "mixed texture",
    ]
    return ", ".join(words)


def _named_thing(members: Sequence[AttributedRegion]) -> str | None:
    """The named thing that covers at least half of the regions' area on average."""
    names = sorted({name for member in members for name in member.overlaps})
    shares = {name: float(np.mean([member.overlaps.get(name, 0.0) for member in members])) for name in names}
    best = max(shares, key=lambda name: shares[name], default=None)
    return best if best is not None and shares[best] >= 0.5 else None


def _most_common(words: Sequence[str]) -> str | None:
    """The word of at least half of them, the first in the alphabet of equals; None if there is none."""
    counts = {word: words.count(word) for word in sorted(set(words))}
    best = max(counts, key=lambda word: counts[word])
    return best if 2 * counts[best] >= len(words) else None


def place_name(x: float, y: float) -> str:
    """One of nine fields of the image: "top left", "centre", "bottom right"."""
    column = ("left", "", "right")[min(int(3 * x), 2)]
    row = ("top", "", "bottom")[min(int(3 * y), 2)]
    return " ".join(filter(None, (row, column))) or "centre"


def size_name(share: float) -> str:
    """ "tiny" (below 1 % of the pixels), "small" (5 %), "medium" (20 %) or "large"."""
    return next(
        (name for limit, name in ((0.01, "tiny"), (0.05, "small"), (0.2, "medium")) if share < limit), "large"
    )


def texture_name(roughness: float, direction: float) -> str:
    """ "smooth" (mean step below 0.02), "striped" (steps mostly along one axis) or "fine texture"."""
    if roughness < 0.02:
        return "smooth"
    return "striped" if abs(direction - 0.5) > 0.25 else "fine texture"


_HUES = (
    (20, "red"),
    (45, "orange"),
    (70, "yellow"),
    (165, "green"),
    (200, "cyan"),
    (260, "blue"),
    (290, "purple"),
    (340, "pink"),
    (361, "red"),
)
"""Upper ends of the hues' names, in degrees of the HSV circle."""


def colour_name(colour: tuple[float, float, float]) -> str:
    """A basic colour term for (red, green, blue) in [0, 1].

    Source: the eleven basic terms of Berlin, Kay. Basic Color Terms. 1969, and cyan; limits in HSV are our own.
    """
    red, green, blue = colour
    value, chroma = max(colour), max(colour) - min(colour)
    if value < 0.15:
        return "black"
    if chroma / value < 0.18:
        return "white" if value > 0.85 else "grey"
    if value == red:
        hue = (60 * (green - blue) / chroma) % 360
    elif value == green:
        hue = 60 * (blue - red) / chroma + 120
    else:
        hue = 60 * (red - green) / chroma + 240
    name = next(word for limit, word in _HUES if hue < limit)
    if name in ("red", "orange", "yellow") and 10 <= hue < 70 and value < 0.65:
        return "brown"
    return "pink" if name == "red" and value > 0.8 and chroma / value < 0.5 else name
