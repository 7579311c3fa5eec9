"""Confounds that nobody named: attributed regions outside the foreground that recur in one class.

Regions come from maps of one class, on samples of that class and on samples of others; what they show is told by the
model's own features of them, so two regions are alike if the model sees them alike. Clusters of alike regions are
confounds if three things hold: common in the class, rarer elsewhere, and with more mass than their area explains.

This is a search: what it finds is a hypothesis for the interventions to test, never a verdict.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import PCA

from audit import statistics
from audit.attributed_regions import AttributedRegion
from audit.region_words import describe
from audit.types import Interval

UNCLUSTERED = -1
"""Cluster of a region that is like no others."""
_SAME = 1e-6
"""Unit embeddings that differ less are the same but for rounding."""


@dataclass(frozen=True)
class DiscoverySettings:
    """Limits of the search.

    Attributes:
        smallest_cluster: regions a cluster has at least.
        n_components: dimensions the embeddings are reduced to.
        common: share of the class's samples that must show the cluster.
        rarer: least difference of that share to the other classes', with its interval above 0.
        lift: least mean of mass share over area share.
        excess: least mean of mass share minus area share: what draws less is not worth a name.
        q: false discovery rate over all clusters looked at.
        n_exemplars: samples that are shown for a cluster.
        most: confounds kept at most, the most closely bound to the class first.
    """

    smallest_cluster: int = 5
    n_components: int = 16
    common: float = 0.3
    rarer: float = 0.2
    lift: float = 1.5
    excess: float = 0.05
    q: float = 0.05
    n_exemplars: int = 6
    most: int = 3

    def __post_init__(self) -> None:
        if self.smallest_cluster < 2:
            raise ValueError(f"smallest_cluster must be at least 2, got {self.smallest_cluster}")
        if self.n_components < 1:
            raise ValueError(f"n_components must be at least 1, got {self.n_components}")


@dataclass(frozen=True)
class DiscoveredConfound:
    """A kind of region that recurs in one class.

    Attributes:
        name: description in words: "small red smooth patch at the bottom right".
        known_as: the thing that annotations or detectors name there already, or None.
        share: share of the class's samples that show it, with interval.
        elsewhere: the same of the samples of other classes.
        association: the first minus the second, with interval.
        lift: mean mass share over mean area share of its regions in the class.
        p_value: of the association, times the number of clusters looked at.
        members: indices of its regions, of any class.
        exemplars: samples of the class, the most typical first.
    """

    name: str
    known_as: str | None
    share: Interval
    elsewhere: Interval
    association: Interval
    lift: float
    p_value: float
    members: tuple[int, ...]
    exemplars: tuple[int, ...]


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
    unit = _unit(embeddings)
    if np.ptp(unit, axis=0).max() < _SAME:
        return np.zeros(n, dtype=np.int64)
    axes = PCA(min(settings.n_components, *unit.shape), svd_solver="full").fit_transform(unit)
    for is_single in (False, True):  # only what does not fall into several clusters may be one
        found = HDBSCAN(
            min_cluster_size=settings.smallest_cluster, allow_single_cluster=is_single, copy=True
        ).fit(axes)
        if (found.labels_ >= 0).any():
            break
    return np.asarray(np.where(found.labels_ < 0, UNCLUSTERED, found.labels_), dtype=np.int64)


def discover(
    regions: Sequence[AttributedRegion],
    embeddings: np.ndarray,
    is_of_class: np.ndarray,
    settings: DiscoverySettings,
) -> tuple[DiscoveredConfound, ...]:
    """Clusters of regions that are common in a class, rarer elsewhere, and attributed; the closest bound first.

    Args:
        regions: of all samples; a sample may have any number, also none.
        embeddings: (len(regions), D), the model's features of each.
        is_of_class: bool (N,), of every sample looked at, with or without regions, whether it is of the class.
        settings: the limits.

    Returns:
        At most `most`, none of one name twice.
    """
    if not regions or is_of_class.all() or not is_of_class.any():
        return ()
    clusters = cluster(embeddings, settings)
    groups = [np.flatnonzero(clusters == number).tolist() for number in np.unique(clusters[clusters >= 0])]
    tested = [_Cluster.of(members, regions, is_of_class) for members in groups]
    q_values = statistics.false_discovery_rates(np.array([one.p_value for one in tested]))
    level = statistics.shared_level(settings.q, max(len(tested), 1))
    # What density takes apart and words do not is one thing, and is judged as one.
    by_name: dict[str, list[int]] = {}
    for one, q_value in zip(tested, q_values, strict=True):
        if q_value <= settings.q and one.association(level).low > 0:
            by_name.setdefault(one.known_as or one.name, []).extend(one.members)
    unions = [_Cluster.of(sorted(members), regions, is_of_class) for members in by_name.values()]
    found = [_confound(one, len(tested), embeddings, level, settings) for one in unions]
    kept = sorted(filter(None, found), key=lambda one: (-one.association.mean, one.members))
    return tuple(kept[: settings.most])


@dataclass(frozen=True)
class _Cluster:
    """Alike regions, and who shows them.

    Attributes:
        members: indices of the regions, of any class.
        own: the regions of the class, by index.
        n_with, n_class, n_others_with, n_others: samples.
    """

    members: tuple[int, ...]
    own: Mapping[int, AttributedRegion]
    n_with: int
    n_class: int
    n_others_with: int
    n_others: int

    @classmethod
    def of(
        cls, members: Sequence[int], regions: Sequence[AttributedRegion], is_of_class: np.ndarray
    ) -> "_Cluster":
        """The cluster of those regions; a sample counts once, however many of its regions are in it."""
        shows = np.zeros(len(is_of_class), dtype=bool)
        shows[[regions[index].sample for index in members]] = True
        own = {index: regions[index] for index in members if is_of_class[regions[index].sample]}
        n_with, n_class = int((shows & is_of_class).sum()), int(is_of_class.sum())
        n_others_with, n_others = int((shows & ~is_of_class).sum()), int((~is_of_class).sum())
        return cls(tuple(members), own, n_with, n_class, n_others_with, n_others)

    @property
    def p_value(self) -> float:
        """Of the exact test that the cluster is no more frequent in the class than elsewhere."""
        table = [
            [self.n_with, self.n_class - self.n_with],
            [self.n_others_with, self.n_others - self.n_others_with],
        ]
        return float(stats.fisher_exact(table, alternative="greater").pvalue)

    def association(self, level: float) -> Interval:
        """Share of the class's samples that show it minus that of the others."""
        return statistics.proportion_difference(
            self.n_with, self.n_class, self.n_others_with, self.n_others, level
        )

    @property
    def name(self) -> str:
        """What the class's regions look like."""
        return describe([one.facts for one in self.own.values()], [one.beside for one in self.own.values()])

    @property
    def known_as(self) -> str | None:
        """The name that at least half of the class's regions carry already."""
        counts = Counter(one.named for one in self.own.values() if one.named is not None)
        best = min(counts, key=lambda name: (-counts[name], name), default=None)
        return best if best is not None and 2 * counts[best] >= len(self.own) else None


def _confound(
    found: _Cluster, n_tested: int, embeddings: np.ndarray, level: float, settings: DiscoverySettings
) -> DiscoveredConfound | None:
    """A cluster as a confound of the class, if it passes the limits."""
    association = found.association(level)
    is_common = found.n_with >= settings.common * found.n_class
    if not is_common or association.mean < settings.rarer or not association.low > 0:
        return None
    mass = float(np.mean([one.mass_share for one in found.own.values()]))
    area = float(np.mean([one.area_share for one in found.own.values()]))
    if mass < settings.lift * area or mass - area < settings.excess:
        return None
    return DiscoveredConfound(
        name=found.name,
        known_as=found.known_as,
        share=statistics.proportion_interval(found.n_with, found.n_class, level),
        elsewhere=statistics.proportion_interval(found.n_others_with, found.n_others, level),
        association=association,
        lift=mass / area,
        p_value=min(1.0, found.p_value * n_tested),
        members=found.members,
        exemplars=_most_typical(found.own, embeddings)[: settings.n_exemplars],
    )


def _unit(embeddings: np.ndarray) -> np.ndarray:
    """Rows of length 1; zeros stay."""
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    zeros = np.zeros_like(embeddings, dtype=np.float64)
    return np.asarray(np.divide(embeddings, length, out=zeros, where=length > 0))


def _most_typical(own: Mapping[int, AttributedRegion], embeddings: np.ndarray) -> tuple[int, ...]:
    """The samples of the regions, those nearest to their mean direction first."""
    unit = _unit(embeddings[list(own)])
    distance = np.linalg.norm(unit - unit.mean(axis=0), axis=1)
    # Rounded, so that rounding errors do not order what is equally near.
    order = np.argsort(np.round(distance, 6), kind="stable")
    samples = [one.sample for one in own.values()]
    return tuple(dict.fromkeys(samples[index] for index in order))
