"""Small pictures for the gallery: drawn while a batch is scored, read again for the report.

Maps are not stored, and attributing again would cost as much as the run, so a worker draws its samples while it has
their maps. Where only `report.thumbnails` of the samples are drawn, a sample's own id decides, so workers, parts and a
resumed run agree. The exemplars of a report are drawn in any case.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from audit.metrics import to_mass
from audit.scoring import Outcome
from audit.types import AuditRun, Batch
from pipelines.storage import Run
from reports import sheets
from reports.sheets import Sheet, Small


class Album:
    """Collects small pictures and stores a sheet whenever one is full, so that memory holds one sheet at most."""

    def __init__(self, run: Run, polarity: str) -> None:
        self._run, self._polarity = run, polarity
        self._tiles: list[Small] = []
        self._shape = (0, 0)

    def add(self, batch: Batch, outcome: Outcome, digests: Mapping[str, str], is_drawn: np.ndarray) -> None:
        """Draws the chosen (bool (B,)) samples of a batch."""
        for row in np.flatnonzero(is_drawn):
            sample_id = batch.sample_ids[row]
            self._shape = (batch.images.shape[1], batch.images.shape[2])
            self._tiles.append(
                sheets.small(
                    (sample_id, digests[sample_id]),
                    np.round(batch.images[row] * 255).astype(np.uint8),
                    batch.foreground[row],
                    {name: region[row] for name, region in batch.regions.items()},
                    {
                        name: to_mass(maps.maps[row], self._polarity)
                        for name, maps in outcome.attributions.items()
                    },
                )
            )
            if len(self._tiles) == sheets.N_TILES:
                self.close()

    def close(self) -> None:
        """Stores what is not stored yet."""
        if self._tiles:
            self._run.write_sheet(sheets.join(self._tiles, self._shape))
            self._tiles = []


def sheets_of(run: Run, finished: AuditRun) -> tuple[Sheet, ...]:
    """The stored sheets of a run, and sheets of the exemplars that are on none of them."""
    stored = tuple(run.read_sheets())
    # A tile without a digest is of another picture: it came with its sheet from an earlier run.
    drawn = {
        sample_id
        for sheet in stored
        for sample_id, digest in zip(sheet.sample_ids, sheet.digests, strict=True)
        if digest
    }
    return stored + tuple(exemplar_sheets(finished, drawn))


def exemplar_sheets(finished: AuditRun, drawn: Iterable[str] = ()) -> list[Sheet]:
    """Sheets of the exemplars that are not drawn yet."""
    left = set(drawn)
    polarity = finished.manifest["config"]["attributions"]["polarity"]
    digests = dict(finished.tables["predictions"][["sample_id", "digest"]].to_numpy())
    tiles = [
        sheets.small(
            (exemplar.sample_id, digests[exemplar.sample_id]),
            exemplar.image,
            exemplar.foreground,
            exemplar.regions,
            {name: to_mass(map_, polarity) for name, map_ in exemplar.maps.items()},
        )
        for exemplar in finished.exemplars
        if exemplar.sample_id in digests and exemplar.sample_id not in left
    ]
    return sheets.cut(tiles, finished.exemplars[0].image.shape[:2]) if tiles else []


def shares(counts: Mapping[str, int], n_pictures: int) -> dict[str, float]:
    """The share of each class's samples that gets a picture, so that about `n_pictures` do: small classes whole.

    Args:
        counts: samples by class.
        n_pictures: how many pictures there may be; classes share them alike, and what a small class leaves over goes
            to the larger ones.
    """
    left, found = n_pictures, {}
    by_size = sorted(counts.items(), key=lambda entry: entry[1])
    for position, (label, n) in enumerate(by_size):
        taken = min(n, left // (len(by_size) - position))
        found[label] = taken / n
        left -= taken
    return found
