"""The phase between scoring and intervening: confounds that nobody named, class by class.

For each class, its map is made on samples of it and on as many of others; `audit.discovery` finds what recurs. What it
keeps becomes a confound like a detected one: rows of the table `confounds`, and regions that interventions take away.

Where the photos of a class have no foreground, nothing tells its object from what stands beside it: both are common in
the class, rare elsewhere, and the model had better look at the object. So what is found there is listed, and not
accused. A detector or an annotation that names the thing settles it.
"""

import dataclasses
import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd

from audit import tables as schema
from audit.attributed_regions import RegionSettings
from audit.discovery import DiscoveredConfound, DiscoverySettings, discover
from audit.errors import ConfigError
from audit.scoring import Scoring, score_confounds
from audit.types import Batch, Sample
from pipelines.config import ConfoundsConfig, RunConfig
from pipelines.discovered_regions import packed_rows
from pipelines.engine import ShardRecord, Work, attribute, load_batches, rows_a_call, sample_seeds, workshop
from pipelines.execute import Crew, Tasks, execute
from pipelines.incremental import origins_of, recall, remember
from pipelines.memory import key_of, records_of, rows_from_bytes, rows_to_bytes
from pipelines.progress import Progress
from pipelines.readers._annotations import Fault
from pipelines.seen_regions import Found, look
from pipelines.storage import Run, digest

DISCOVERED = "discovered"
"""The entry of `confounds.use` that asks for this phase."""

_MAY_BE_THE_OBJECT = (
    "no foreground tells the object from it, so it may be the object itself; annotate the object, or name the thing "
    "by a detector"
)


@dataclass(frozen=True)
class Search:
    """What is looked through for one class.

    Attributes:
        label: the class.
        own, others: samples of it, and of other classes.
        is_annotated: the foreground of `own` is known.
    """

    label: str
    own: tuple[Sample, ...]
    others: tuple[Sample, ...]
    is_annotated: bool


@dataclass(frozen=True)
class SearchShard:
    """The unit of resume of this phase: one class."""

    index: int
    samples: tuple[Search, ...]
    faults: tuple[Fault, ...] = ()


def settings_of(config: ConfoundsConfig) -> tuple[DiscoverySettings, RegionSettings]:
    """The limits of the search, as `confounds.parameters.discovered` gives them.

    Raises:
        ConfigError: an unknown limit, or one out of range.
    """
    given = config.parameters.get(DISCOVERED, {})
    kinds = (DiscoverySettings, RegionSettings)
    known = [{field.name for field in dataclasses.fields(kind)} for kind in kinds]
    if unknown := sorted(given.keys() - known[0] - known[1]):
        raise ConfigError(
            f"confounds.parameters.discovered: unknown {', '.join(unknown)}; known: "
            f"{', '.join(sorted(known[0] | known[1]))}"
        )
    try:
        search, cut = (
            kind(**{name: given[name] for name in names & given.keys()})
            for kind, names in zip(kinds, known, strict=True)
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(f"confounds.parameters.discovered: {error}") from None
    return search, cut


def discover_confounds(
    run: Run,
    work: Work,
    samples: Sequence[Sample],
    tables: Mapping[str, pd.DataFrame],
    crew: Crew,
    progress: Progress,
) -> dict[str, pd.DataFrame]:
    """Brings the search to its end and stores its tables; what is stored already is reused.

    Args:
        samples: those that were audited.
        tables: the score tables of the run.

    Returns:
        The score tables, `confounds` with the rows of what was discovered.
    """
    shards = plan_searches(work.config, samples)
    run.begin_discovery(_fingerprint(work.config, shards))
    sizes = {shard.index: len(shard.samples[0].own) + len(shard.samples[0].others) for shard in shards}
    finished = run.discovered.finished()
    n_done = sum(size for index, size in sizes.items() if index in finished)
    if n_done < sum(sizes.values()):
        with progress.bar("discovering", sum(sizes.values()), n_done) as bar:
            execute(work, shards, crew, lambda record: bar.advance(sizes[record.index]), DISCOVERING)
    return dict(tables) | _merge(run, tables[schema.CONFOUNDS.name])


def plan_searches(config: RunConfig, samples: Sequence[Sample]) -> tuple[SearchShard, ...]:
    """One shard for each class with enough samples for a confound to be tried; which samples, the seed and ids say.

    Annotated samples go first: where enough of a class are, the others tell less and are left out.
    """
    seed, n, fewest = config.run.seed, config.confounds.discover_per_class, config.interventions.minimum_shown
    hashes = sample_seeds(seed, [f"discover:{sample.sample_id}" for sample in samples])
    by_label: dict[str, list[Sample]] = {}
    for _, sample in sorted(zip(hashes.tolist(), samples, strict=True), key=lambda pair: pair[0]):
        by_label.setdefault(str(sample.label), []).append(sample)
    searches = []
    for label in sorted(by_label):
        annotated = [sample for sample in by_label[label] if sample.foreground.is_annotated]
        is_annotated = len(annotated) >= fewest
        own = (annotated if is_annotated else by_label[label])[:n]
        others = _evenly([found for other, found in by_label.items() if other != label], n)
        if min(len(own), len(others)) >= fewest:
            searches.append(Search(label, tuple(own), tuple(others), is_annotated))
    return tuple(SearchShard(index, (search,)) for index, search in enumerate(searches))


def _fingerprint(config: RunConfig, shards: Sequence[SearchShard]) -> str:
    """Digest of everything that the search depends on, beyond the run's own fingerprint."""
    searches = [search for shard in shards for search in shard.samples]
    looked_at = [
        (search.label, search.is_annotated, [sample.sample_id for sample in (*search.own, *search.others)])
        for search in searches
    ]
    return digest({"limits": config.confounds.parameters.get(DISCOVERED, {}), "searches": looked_at})


def discover_shard(work: Work, shard: SearchShard) -> ShardRecord:
    """Searches for one class, and stores its tables."""
    started = time.monotonic()
    folder = Run(work.out).discovered
    folder.begin(shard.index)
    folder.write(shard.index, search_classes(work, shard.samples))
    return ShardRecord(shard.index, len(shard.samples), 0, time.monotonic() - started, rows_a_call(work))


def search_classes(work: Work, searches: Sequence[Search]) -> dict[str, pd.DataFrame]:
    """The tables `discovered`, `discovered_regions` and `confounds` of some classes, names still by class."""
    parts = [_search(work, search) for search in searches]
    return {
        table.name: schema.joined(table, [part[table.name] for part in parts])
        for table in schema.DISCOVERY_TABLES
    }


def no_search(_search: Search, _detail: str) -> dict[str, pd.DataFrame]:
    """What is known of a class on which workers die: nothing was discovered."""
    return {table.name: schema.frame(table, []) for table in schema.DISCOVERY_TABLES}


DISCOVERING = Tasks(discover_shard, search_classes, no_search, attrgetter("discovered"))
"""The tasks of this phase."""


def _evenly(groups: Sequence[Sequence[Sample]], n: int) -> list[Sample]:
    """`n` samples, as many of each group as can be."""
    ranked = [
        (rank, number, sample) for number, group in enumerate(groups) for rank, sample in enumerate(group)
    ]
    return [sample for _, _, sample in sorted(ranked, key=lambda entry: entry[:2])[:n]]


def _search(work: Work, search: Search) -> dict[str, pd.DataFrame]:
    """The tables of one class."""
    limits, cut = settings_of(work.config.confounds)
    found = look(work, search.label, (*search.own, *search.others), cut)
    own = {sample.sample_id for sample in search.own}
    is_own = np.array([sample_id in own for sample_id in found.sample_ids], dtype=bool)
    things = discover(found.regions, found.embeddings, is_own, limits)
    tested = {
        thing.name: _masks(thing, found) for thing in things if search.is_annotated and not thing.known_as
    }
    rows = [_row(search, thing, found, is_own) for thing in things]
    return {
        schema.DISCOVERED.name: schema.frame(schema.DISCOVERED, rows),
        schema.DISCOVERED_REGIONS.name: schema.frame(schema.DISCOVERED_REGIONS, list(packed_rows(tested))),
        schema.CONFOUNDS.name: _measured(work, search, found.sample_ids, tested),
    }


def _masks(thing: DiscoveredConfound, found: Found) -> dict[str, np.ndarray]:
    """bool (H, W) of each sample that shows the thing, by sample id."""
    masks: dict[str, np.ndarray] = {}
    for index in thing.members:
        region = found.regions[index]
        sample_id = found.sample_ids[region.sample]
        masks[sample_id] = masks[sample_id] | region.mask if sample_id in masks else region.mask
    return masks


def _row(search: Search, thing: DiscoveredConfound, found: Found, is_own: np.ndarray) -> dict[str, Any]:
    """A row of the table `discovered`."""
    if thing.known_as:
        reason = f"{thing.known_as} is a confound of this run already"
    else:
        reason = "" if search.is_annotated else _MAY_BE_THE_OBJECT
    return {
        "label": search.label,
        "confound": thing.known_as or thing.name,
        "description": thing.name,
        "known": thing.known_as is not None,
        "tested": not reason,
        "reason": reason,
        "n": int(is_own.sum()),
        "share": thing.share.mean,
        "share_low": thing.share.low,
        "share_high": thing.share.high,
        "n_elsewhere": int((~is_own).sum()),
        "elsewhere": thing.elsewhere.mean,
        "elsewhere_low": thing.elsewhere.low,
        "elsewhere_high": thing.elsewhere.high,
        "lift": thing.lift,
        "p_value": thing.p_value,
        "exemplars": [found.sample_ids[sample] for sample in thing.exemplars],
    }


def _measured(
    work: Work, search: Search, sample_ids: Sequence[str], tested: Mapping[str, Mapping[str, np.ndarray]]
) -> pd.DataFrame:
    """Rows of `confounds`: every method by every thing, also where it is not present.

    The mass is that of the run's own maps, not of those that were searched.
    """
    showing = {sample_id for masks in tested.values() for sample_id in masks}
    by_id = {sample.sample_id: sample for sample in (*search.own, *search.others)}
    keys = _mass_keys(work, tested)
    remembered = recall(work, (key for some in keys.values() for key in some.values()))
    is_known = {s: all(key in remembered for key in some.values()) for s, some in keys.items()}
    known = [s for s in sample_ids if is_known.get(s, False)]
    rows = [
        {**row, "confound": name}
        for sample_id in known
        for name, key in keys[sample_id].items()
        for row in rows_from_bytes(remembered[key])
    ]
    parts = [schema.frame(schema.CONFOUNDS, rows)]
    left = [by_id[s] for s in sample_ids if s in showing and not is_known.get(s, False)]
    for batch, _, _ in load_batches(work, left) if left else ():
        if batch is not None:
            parts.append(_mass_on(work, batch, tested))
            _remember_mass(work, parts[-1], keys)
    unknown = {column.name: np.nan for column in schema.CONFOUNDS.columns if column.kind == "float64"}
    absent = [
        {"sample_id": sample_id, "method": method, "confound": name, "present": False, **unknown}
        for method in work.config.attributions.methods
        for name in tested
        for sample_id in sample_ids
        if sample_id not in showing
    ]
    made = schema.joined(schema.CONFOUNDS, [*parts, schema.frame(schema.CONFOUNDS, absent)])
    return made.sort_values(["confound", "method", "sample_id"], kind="stable", ignore_index=True)


def _mass_on(work: Work, batch: Batch, tested: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """Rows of `confounds` of a batch: every method by every thing, each wherever it was found."""
    shop = workshop(work)
    outcome = attribute(work, shop, batch, shop.classifier.probabilities(batch.images))
    nowhere = np.zeros(batch.foreground.shape[1:], dtype=bool)
    regions = {
        name: np.stack([masks.get(sample_id, nowhere) for sample_id in batch.sample_ids])
        for name, masks in tested.items()
    }
    scoring = Scoring(shop.classes, work.config.attributions.polarity)
    return score_confounds(dataclasses.replace(batch, regions=regions), outcome, scoring)


def _mass_keys(work: Work, tested: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, str]]:
    """By what the mass on each thing is remembered, by sample and thing: its pixels on that sample, not its name."""
    origins = origins_of(work)
    showing = {sample_id for masks in tested.values() for sample_id in masks} & origins.keys()
    return {
        sample_id: {
            name: key_of("mass", origins[sample_id], _bits(masks.get(sample_id)))
            for name, masks in tested.items()
        }
        for sample_id in showing
    }


def _bits(mask: np.ndarray | None) -> str:
    return "nowhere" if mask is None else hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()


def _remember_mass(work: Work, rows: pd.DataFrame, keys: Mapping[str, Mapping[str, str]]) -> None:
    """Keeps the rows of each sample and thing without the thing's name."""
    remember(
        work,
        {
            keys[sample_id][name]: rows_to_bytes(records_of(group.drop(columns="confound")))
            for (sample_id, name), group in rows.groupby(["sample_id", "confound"], sort=False)
            if sample_id in keys
        },
    )


def _merge(run: Run, confounds: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables of all classes, no name twice, stored as the run's; returns `confounds`."""
    taken = set(confounds["confound"])
    parts: dict[str, list[pd.DataFrame]] = {table.name: [] for table in schema.DISCOVERY_TABLES}
    for index in sorted(run.discovered.finished()):
        frames = run.discovered.read(index)
        found = frames[schema.DISCOVERED.name]
        renamed = {name: _free_name(name, taken) for name in found.loc[~found["known"], "confound"]}
        taken |= set(renamed.values())
        for name, table_frame in frames.items():
            names = table_frame["confound"].map(lambda one, renamed=renamed: renamed.get(one, one))
            parts[name].append(table_frame.assign(confound=names.astype("str")))
    parts[schema.CONFOUNDS.name].insert(0, confounds)
    merged = {table.name: schema.joined(table, parts[table.name]) for table in schema.DISCOVERY_TABLES}
    for name, table_frame in merged.items():
        run.write_table(name, table_frame)
    return {schema.CONFOUNDS.name: merged[schema.CONFOUNDS.name]}


def _free_name(name: str, taken: Iterable[str]) -> str:
    """The name, or the name with the first number that makes it one of its own."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free
