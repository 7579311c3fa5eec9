"""Maps of as many samples of a class as its verdict needs: drawn in random order, in rounds, until they suffice.

Everything that needs no map is measured on every sample first: predictions, which things a picture shows, properties.
Then each class gets maps of `run.first_draw` samples, and of half as many more in each round, until what maps say of
the object and of each confound is for sure on one side of its line (`Evidence.is_settled`) or no sample is left. The
intervals that this is read from, and the verdict's own, hold at whatever moment one stops (`audit.sampling`).
Interventions come later and are bounded anyway; their error control does not depend on when maps were enough.

A round follows from the rows of the rounds before it, so an interrupted run goes on with the same rounds.
"""

import time
from collections.abc import Iterator, Sequence
from math import ceil
from operator import attrgetter

import pandas as pd

from audit import tables as schema
from audit.types import Sample
from audit.verdicts import gather
from pipelines.engine import (
    ShardRecord,
    Work,
    attribute_samples,
    in_random_order,
    rows_a_call,
)
from pipelines.execute import Tasks
from pipelines.incremental import origins_of, recall, remember
from pipelines.memory import key_of, records_of, rows_from_bytes, rows_to_bytes
from pipelines.shards import Shard, cut
from pipelines.storage import Run, digest

GROWTH = 1.5
"""How many times as many samples a class has after each round: few rounds, and little more maps than needed."""
_TABLES = (schema.ATTRIBUTIONS, schema.CONFOUNDS)


class Draws:
    """The rounds of a run: which samples are drawn next, and the tables in the end."""

    def __init__(
        self,
        run: Run,
        work: Work,
        classes: Sequence[str],
        samples: Sequence[Sample],
        tables: dict[str, pd.DataFrame],
    ) -> None:
        self._run, self._work, self._classes, self._tables = run, work, classes, tables
        audited = set(tables["predictions"]["sample_id"])
        self._order: dict[str, list[Sample]] = {}
        for sample in in_random_order(work.config.run.seed, samples):
            if sample.sample_id in audited:
                self._order.setdefault(str(sample.label), []).append(sample)
        self._n_drawn = dict.fromkeys(self._order, 0)
        self._n_shards = 0
        run.begin_sampling(digest(work.config.verdicts.model_dump(mode="json")))

    def rounds(self) -> Iterator[tuple[Shard, ...]]:
        """The shards of each round; the caller brings them to their end before the next."""
        open_ones = set(self._order)
        while drawn := self._next(open_ones):
            shards = cut(drawn, [], self._work.config.run.shard_size)
            first = self._n_shards
            self._n_shards += len(shards)
            yield tuple(Shard(first + shard.index, shard.samples) for shard in shards)
            open_ones = self._open()

    def tables(self) -> dict[str, pd.DataFrame]:
        """The score tables, stored as the run's: rows of drawn samples first, in the order of drawing."""
        # What lies behind these shards is of rounds to come, where an interrupted run had come further.
        parts = [self._run.attributed.read(index) for index in range(self._n_shards)]
        drawn = {table.name: schema.joined(table, [part[table.name] for part in parts]) for table in _TABLES}
        left = self._tables["confounds"]
        left = left[~left["sample_id"].isin(drawn["attributions"]["sample_id"])]
        merged = {
            "attributions": drawn["attributions"],
            "confounds": schema.joined(schema.CONFOUNDS, [drawn["confounds"], left]),
        }
        for name, rows in merged.items():
            self._run.write_table(name, rows)
        return self._tables | merged

    def counts(self) -> dict[str, dict[str, int]]:
        """By class, samples with a map and samples that were audited; for the manifest."""
        return {
            label: {"attributed": self._n_drawn[label], "of": len(order)}
            for label, order in sorted(self._order.items())
        }

    def _next(self, labels: set[str]) -> list[Sample]:
        """The samples that are drawn next, of these classes."""
        drawn: list[Sample] = []
        for label in sorted(labels):
            before = self._n_drawn[label]
            after = max(self._work.config.run.first_draw, ceil(GROWTH * before))
            self._n_drawn[label] = min(after, len(self._order[label]))
            drawn += self._order[label][before : self._n_drawn[label]]
        return drawn

    def _open(self) -> set[str]:
        """Classes of which maps do not say enough yet."""
        config = self._work.config
        evidence = gather(
            self.tables(),
            self._classes,
            config.attributions.methods,
            config.verdicts.limits(),
            was_sampled=True,
        )
        return {known.label for known in evidence if known.label in self._order and not known.is_settled}


def attribute_shard(work: Work, shard: Shard) -> ShardRecord:
    """Makes the maps of a shard of drawn samples, and stores what they show."""
    started = time.monotonic()
    folder = Run(work.out).attributed
    folder.begin(shard.index)
    folder.write(shard.index, attribute_drawn(work, shard.samples))
    return ShardRecord(shard.index, len(shard.samples), 0, time.monotonic() - started, rows_a_call(work))


def attribute_drawn(work: Work, samples: Sequence[Sample]) -> dict[str, pd.DataFrame]:
    """The rows of drawn samples, in their order; what the run or an earlier one knows is not computed again."""
    origins = origins_of(work)
    keys = {s.sample_id: key_of("maps", origins[s.sample_id]) for s in samples if s.sample_id in origins}
    remembered = recall(work, keys.values())
    known = {s: _unpacked(remembered[key]) for s, key in keys.items() if key in remembered}
    left = [sample for sample in samples if sample.sample_id not in known]
    made = (
        attribute_samples(work, left) if left else {table.name: schema.frame(table, []) for table in _TABLES}
    )
    by_sample = {name: dict(list(rows.groupby("sample_id"))) for name, rows in made.items()}
    fresh = {
        sample.sample_id: {
            name: parts[sample.sample_id] for name, parts in by_sample.items() if sample.sample_id in parts
        }
        for sample in left
    }
    remember(work, {keys[s]: _packed(rows) for s, rows in fresh.items() if s in keys and rows})
    known |= fresh
    return {
        table.name: schema.joined(
            table, [known[s.sample_id][table.name] for s in samples if table.name in known[s.sample_id]]
        )
        for table in _TABLES
    }


def no_maps(_sample: Sample, _detail: str) -> dict[str, pd.DataFrame]:
    """What is known of a sample on whose maps workers die: nothing."""
    return {table.name: schema.frame(table, []) for table in _TABLES}


SAMPLING = Tasks(attribute_shard, attribute_drawn, no_maps, attrgetter("attributed"))
"""The tasks of this phase."""


def _packed(rows: dict[str, pd.DataFrame]) -> bytes:
    """Rows of both tables in one list, each with the name of its own."""
    return rows_to_bytes({"table": name, **row} for name, part in rows.items() for row in records_of(part))


def _unpacked(value: bytes) -> dict[str, pd.DataFrame]:
    """The tables of `_packed`."""
    rows = rows_from_bytes(value)
    return {
        table.name: schema.frame(table, [row for row in rows if row["table"] == table.name])
        for table in _TABLES
    }
