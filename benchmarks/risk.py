"""Does the estimated risk rank errors better than 1 - confidence? Drawn and real photos; Markdown on stdout.

    python -m benchmarks.risk --out DIR [--seeds 0 1 2]              drawn photos; goes on where it was
    python -m benchmarks.risk --out DIR --minutes 7                  starts no cell after so many minutes
    python -m benchmarks.risk --out DIR --data DATA                  real photographs too (`_risk_real`)
    python -m benchmarks.risk --out DIR --only-report                the tables again from what is stored

A network learns photos in which a cue is bound to one class (`_risk_cells`; real ones: a face, `_risk_real`). It is
audited on photos like those (usual), and on photos of which half of every class show the cue (shifted), real ones also
where none does, or the other class. Risks are estimated with labels, out of fold, and without labels, by the estimate
that was fitted on the usual photos. Seed 0 of the drawn photos and the given networks were looked at while the estimate
was made; the summary leaves seed 0 out.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audit import statistics
from audit.risk import RiskModel, expected_accuracy, predict_risks
from audit.risk_quality import CONFIDENT, Ranking, ranking
from audit.types import Interval
from benchmarks._planted_cells import Settings, Studio
from benchmarks._planted_models import Forge
from benchmarks._planted_world import CLASSES
from benchmarks._risk_cells import N_PHOTOS, SHIFTED, USUAL, RiskCell, audit_quietly, work
from benchmarks._risk_real import FOLDERS, OWN, RealCell, Wardrobe, audit_photos, real_cells

CUES = ("corner patch", "border", "caption", "face", "colour cast", "darkness")
STRENGTHS = (0.95, 1.0, 0.8)
CONFOUNDS = ("faces", "text", "border", "corner_mark", "global")
LEVEL = 0.95
GARMENTS = "garments, ten classes"
"""An audit of real photographs in which no confound is known."""


@dataclass(frozen=True)
class Outcome:
    """One estimate of risk on one set of photos.

    Attributes:
        name: of the cell.
        scenario: which photos, with labels or without.
        n_pulls: confounds that the audit proved and that can be told on any photo.
        all, confident: over all predictions, and over those above CONFIDENT.
        expected: accuracy that was expected, with interval; NaN throughout with labels.
        accuracy: the true one.
    """

    name: str
    scenario: str
    n_pulls: int
    all: Ranking
    confident: Ranking
    expected: tuple[float, float, float]
    accuracy: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cells that are missing and prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of cells; finished ones are kept")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="of worlds and trainings")
    parser.add_argument("--cues", nargs="*", default=list(CUES), help="which cues")
    parser.add_argument("--strengths", type=float, nargs="*", default=list(STRENGTHS), help="P(cue | class)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start nothing after so long")
    parser.add_argument("--data", type=Path, help="folder of real photographs and models")
    parser.add_argument("--only-report", action="store_true", help="no cell is run")
    chosen = parser.parse_args(arguments)
    cells = [
        RiskCell(cue, strength, seed)
        for seed in chosen.seeds
        for strength in chosen.strengths
        for cue in chosen.cues
    ]
    if not chosen.only_report:
        _run(cells, chosen.out, chosen.data, time.monotonic() + 60 * chosen.minutes)
    print(report(chosen.out, cells))
    return 0


def _run(cells: Sequence[RiskCell], out: Path, data: Path | None, until: float) -> None:
    """What is missing, real photographs first, as long as there is time."""
    if data:
        _run_real(out, data, sorted({cell.seed for cell in cells}), until)
    forge, studios = Forge(len(CLASSES)), dict[int, Studio]()
    for cell in cells:
        if (out / cell.folder / "finished").exists() or time.monotonic() > until:
            continue
        started = time.monotonic()
        settings = Settings(out, CONFOUNDS, n_audited=2 * N_PHOTOS)
        studio = studios.setdefault(cell.seed, Studio(cell.seed, settings, forge))
        work(cell, studio)
        studio.forget(cell.cue)
        print(f"{cell.folder}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def _run_real(out: Path, data: Path, seeds: Sequence[int], until: float) -> None:
    garments = _garments(out)
    if not (garments / "finished").exists():
        audit_quietly(
            {
                "data": {
                    "reader": "manifest",
                    "path": str((data / "garments" / "manifest.csv").absolute()),
                    "splits": ["test"],
                },
                "model": {"path": str((data / "models" / "garments10_lite0.keras").absolute())},
                "interventions": {"use": []},
                "confounds": {"use": []},
            },
            garments,
        )
        (garments / "finished").touch()
    wardrobe = Wardrobe(data, out)
    for cell in real_cells(seeds):
        for photos in (USUAL, *FOLDERS):
            if time.monotonic() < until:
                audit_photos(cell, wardrobe, photos)


def _garments(out: Path) -> Path:
    return out / "real" / "garments_ten_classes"


def report(out: Path, cells: Sequence[RiskCell]) -> str:
    """The tables of everything that is finished."""
    drawn = [outcome for cell in cells for outcome in _of_cell(out, cell)]
    real = list(_of_garments(out))
    for cell in real_cells(sorted({cell.seed for cell in cells})):
        real += _of_real(out, cell)
    held_out = [o for o in drawn if not o.name.endswith("seed 0")]
    of_heads = [o for o in real if o.name.startswith(OWN)]
    return "\n".join(
        [
            *_summary("Drawn, seeds not looked at", held_out),
            "",
            *_summary("Real, our own networks", of_heads),
            "",
            *_rows("Drawn", drawn),
            "",
            *_rows("Real", real),
        ]
    )


def _of_cell(out: Path, cell: RiskCell) -> Iterator[Outcome]:
    """The four estimates of one network."""
    folder = out / cell.folder
    if not (folder / "finished").exists():
        return
    name = f"{cell.cue}, {cell.strength:g}, seed {cell.seed}"
    model, own = _own(folder / USUAL, name, f"{USUAL}, labelled")
    yield own
    yield _own(folder / SHIFTED, name, f"{SHIFTED}, labelled")[1]
    yield _predicted(model, folder / SHIFTED, name, f"{SHIFTED}, unlabelled")


def _of_garments(out: Path) -> Iterator[Outcome]:
    if (_garments(out) / "finished").exists():
        yield _own(_garments(out), GARMENTS, f"{USUAL}, labelled")[1]


def _of_real(out: Path, cell: RealCell) -> Iterator[Outcome]:
    """The estimates of one network that reads, or does not read, faces."""
    finished = [one for one in (USUAL, *FOLDERS) if (cell.folder(out, one) / "finished").exists()]
    if USUAL not in finished:
        return
    model, own = _own(cell.folder(out, USUAL), cell.title, f"{USUAL}, labelled")
    yield own
    for photos in finished[1:]:
        yield _own(cell.folder(out, photos), cell.title, f"{photos}, labelled")[1]
        yield _predicted(model, cell.folder(out, photos), cell.title, f"{photos}, unlabelled")


def _own(folder: Path, name: str, scenario: str) -> tuple[RiskModel, Outcome]:
    """The estimate of a run, and its out-of-fold risks."""
    from pipelines import risks

    tables = _tables(folder)
    model, own = risks.fit(tables, _limits())
    return model, _outcome(name, scenario, model, tables, own["risk"].to_numpy(), statistics.NOT_MEASURED)


def _predicted(model: RiskModel, folder: Path, name: str, scenario: str) -> Outcome:
    """What an estimate says of another run's photos without their labels."""
    from pipelines import risks

    tables = _tables(folder)
    evidence = risks.evidence_of(tables)
    own = predict_risks(model, evidence)["risk"].to_numpy()
    return _outcome(name, scenario, model, tables, own, expected_accuracy(model, evidence, own, LEVEL))


def _outcome(
    name: str, scenario: str, model: RiskModel, tables: dict, numbers: np.ndarray, expected: Interval
) -> Outcome:
    from pipelines import risks

    wrong = risks.is_wrong(tables["predictions"], tables["features"])
    confidence = tables["features"]["confidence"].to_numpy()
    sure = confidence > CONFIDENT
    return Outcome(
        name,
        scenario,
        len(model.pulls),
        ranking(wrong, numbers, confidence, LEVEL),
        ranking(wrong[sure], numbers[sure], confidence[sure], LEVEL),
        (expected.mean, expected.low, expected.high),
        float(1 - wrong.mean()),
    )


def _tables(folder: Path) -> dict:
    """What an estimate needs of a run; verdicts of another version do not matter."""
    from pipelines.storage import Run

    run = Run(folder)
    names = ("predictions", "features", "things", "probabilities", "properties", "interventions")
    return {name: run.table(name) for name in names if run.has_table(name)}


def _limits():
    from pipelines.config import VerdictsConfig

    return VerdictsConfig().limits()


def _summary(title: str, outcomes: Sequence[Outcome]) -> list[str]:
    """Means over cells, with an interval over cells."""
    lines = [
        f"| {title} | confound proved | cells | AUROC of 1 - confidence | of risk | gain | AURC of 1 - confidence "
        "| of risk | confident errors | gain among the confident | expected accuracy covers |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for scenario in dict.fromkeys(outcome.scenario for outcome in outcomes):
        for is_proved in (True, False):
            found = [o for o in outcomes if o.scenario == scenario and (o.n_pulls > 0) is is_proved]
            if found:
                lines.append(_summary_line(scenario, is_proved, found))
    return lines


def _summary_line(scenario: str, is_proved: bool, found: Sequence[Outcome]) -> str:
    gain = _mean([o.all.gain.mean for o in found])
    sure = _mean([o.confident.gain.mean for o in found])
    n_confident = sum(o.confident.n_wrong for o in found)
    covered = [o.expected[1] <= o.accuracy <= o.expected[2] for o in found if not np.isnan(o.expected[0])]
    columns = [
        scenario,
        "yes" if is_proved else "no",
        str(len(found)),
        *(
            _share(float(np.mean(known)) if (known := _known(found, name)) else np.nan)
            for name in ("auroc_of_confidence", "auroc")
        ),
        gain,
        *(f"{np.mean([getattr(o.all, name) for o in found]):.3f}" for name in ("aurc_of_confidence", "aurc")),
        str(n_confident),
        sure,
        f"{sum(covered)} of {len(covered)}" if covered else "",
    ]
    return f"| {' | '.join(columns)} |"


def _known(found: Sequence[Outcome], name: str) -> list[float]:
    """A figure of the cells that have both errors and right predictions."""
    values = [getattr(one.all, name).mean for one in found]
    return [value for value in values if not np.isnan(value)]


def _mean(values: Sequence[float]) -> str:
    """Mean and interval over cells."""
    known = np.array(values)
    found = statistics.paired_difference(known, np.zeros(len(known)), LEVEL)
    return _difference(found)


def _difference(found: Interval) -> str:
    """A difference with its interval, which a single cell or error does not have; empty where nothing was measured."""
    if np.isnan(found.mean):
        return ""
    mean = f"{found.mean:+.3f}"
    return mean if np.isnan(found.low) else f"{mean} ({found.low:+.3f} to {found.high:+.3f})"


def _share(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _rows(title: str, outcomes: Sequence[Outcome]) -> list[str]:
    """One line an estimate."""
    lines = [
        f"| {title} | photos | n | wrong | confounds proved | AUROC of 1 - confidence | of risk | gain "
        "| confident: n, wrong, gain | expected accuracy | true |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for o in outcomes:
        mean, low, high = o.expected
        lines.append(
            f"| {o.name} | {o.scenario} | {o.all.n} | {o.all.n_wrong} | {o.n_pulls} "
            f"| {_share(o.all.auroc_of_confidence.mean)} | {_share(o.all.auroc.mean)} | {_difference(o.all.gain)} "
            f"| {o.confident.n}, {o.confident.n_wrong}, {_difference(o.confident.gain)} "
            f"| {'' if np.isnan(mean) else f'{mean:.2f} ({low:.2f} to {high:.2f})'} | {o.accuracy:.2f} |"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
