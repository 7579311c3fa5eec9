"""Do suggested photos mend a network, and faster than other choices? Markdown on stdout.

    python -m benchmarks.suggestions --out DIR [--seeds 0 1 2 3] [--seconds 420]    goes on where it was
    python -m benchmarks.suggestions --out DIR --only-report           the tables from what is stored

    python -m benchmarks.suggestions --out DIR --counts                are the suggested counts enough? also resumable
    python -m benchmarks.suggestions --out DIR --data DATA --seeds 0 1 2 3 4 5 6 7      on real photographs instead

Photos are drawn and small networks trained as in `benchmarks.planted`; a cell is one seed and cue, see
`_suggestion_cells`. Of the real ones, shirts with faces, a cell is one division of them, see `_suggestion_photos`; with
their two classes uncertainty and margin are one rule. Every rule takes as many photos out of the same pool; the network
is then trained on with the old photos and those. The gain is that of the accuracy in the worst group of class and cue,
over the same training without any photo added. Intervals (95 %) come from drawing cells with replacement; the rules of
a cell stay together.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._suggestion_rules import OURS, RANDOM, RULES

CUES_USED = ("corner patch", "border", "caption", "colour cast", "darkness")
N_DRAWS = 5000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cells that are missing, for so long, and prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of cells; finished ones are kept")
    parser.add_argument(
        "--seeds", type=int, nargs="*", default=[1, 2, 3], help="seed 0 was looked at while it was made"
    )
    parser.add_argument("--cues", nargs="*", default=list(CUES_USED))
    parser.add_argument("--seconds", type=float, default=1e9, help="no cell is begun after so many")
    parser.add_argument("--counts", action="store_true", help="whether suggested counts are enough, instead")
    parser.add_argument(
        "--data", type=Path, help="folder of real photographs and models; then no photo is drawn"
    )
    parser.add_argument("--only-report", action="store_true", help="no cell is run")
    chosen = parser.parse_args(arguments)
    if chosen.data is not None and not chosen.only_report:
        _run_photos(chosen.out, chosen.seeds, chosen.data, chosen.seconds)
    elif not chosen.only_report:
        _run(chosen.out, chosen.seeds, chosen.cues, chosen.seconds, is_counting=chosen.counts)
    folder = chosen.out / ("suggestions" if chosen.data is None else "photographs")
    outcomes, counts = (
        [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"*/{name}"))]
        for name in ("outcome.json", "counts.json")
    )
    whole = [one for one in outcomes if len(one["rules"]) == len(RULES)]
    print(report(whole) if whole else "no cell is finished")
    if chosen.data is None:
        print(counts_report(counts))
    return 0


def _run(out: Path, seeds: Sequence[int], cues: Sequence[str], seconds: float, *, is_counting: bool) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from benchmarks._planted_cells import Settings, Studio
    from benchmarks._planted_models import Forge
    from benchmarks._planted_world import CLASSES
    from benchmarks._suggestion_cells import counts_suffice, outcome
    from benchmarks.planted import CONFOUNDS

    clock, forge = time.monotonic(), Forge(len(CLASSES))
    for seed in seeds:
        studio = Studio(seed, Settings(out, CONFOUNDS), forge)
        for cue in cues:
            if time.monotonic() - clock > seconds:
                return
            found = (counts_suffice if is_counting else outcome)(studio, cue)
            studio.forget(cue)
            print(f"{time.monotonic() - clock:.0f} s: {found}", file=sys.stderr, flush=True)


def _run_photos(out: Path, seeds: Sequence[int], data: Path, seconds: float) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from benchmarks._suggestion_photos import garments, outcome

    clock, known = time.monotonic(), garments(data, out)
    for seed in seeds:
        if time.monotonic() - clock > seconds:
            return
        found = outcome(known, seed, data, out)
        print(f"{time.monotonic() - clock:.0f} s: {found}", file=sys.stderr, flush=True)


def report(outcomes: Sequence[dict[str, Any]]) -> str:
    """The tables."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(outcomes), (N_DRAWS, len(outcomes)))
    before = np.array([one["before"] for one in outcomes])
    lines = [f"{len(outcomes)} cells; worst-group accuracy before: {before.mean():.3f}.", ""]
    for budget in outcomes[0]["rules"][OURS]:
        gains = {
            rule: np.array([one["rules"][rule][budget]["worst"] for one in outcomes]) - before
            for rule in RULES
        }
        counter = {
            rule: np.mean([one["rules"][rule][budget]["counterexamples"] for one in outcomes])
            for rule in RULES
        }
        others = [rule for rule in RULES if rule != OURS]
        best = max(others, key=lambda rule: gains[rule].mean())
        lines += [
            f"{budget} photos added:",
            "",
            "| rule | contradict the cue | gain, points | gain per photo, points | suggest minus this, points |",
            "|---|---|---|---|---|",
        ]
        for rule in RULES:
            ahead = gains[OURS] - gains[rule]
            name = f"{rule} (best other)" if rule == best else rule
            lines.append(
                f"| {name} | {counter[rule]:.0%} | {_points(gains[rule], draws)} | "
                f"{100 * gains[rule].mean() / int(budget):.2f} | {'' if rule == OURS else _points(ahead, draws)} |"
            )
        lines += ["", _ratio(gains[OURS], gains[RANDOM], draws), ""]
    return "\n".join(lines)


def _ratio(ours: np.ndarray, random: np.ndarray, draws: np.ndarray) -> str:
    """The gain over that of random, where random gains anything."""
    if random.mean() <= 0:
        return "Random photos gain nothing here, so there is no ratio to their gain."
    means = random[draws].mean(axis=1)
    ratios = np.divide(ours[draws].mean(axis=1), means, out=np.full(len(means), np.inf), where=means > 0)
    # Without interpolation, which has no answer beside an infinite value.
    low, high = np.quantile(ratios, [0.025, 0.975], method="inverted_cdf")
    return f"Gain over that of random: {ours.mean() / random.mean():.1f} times ({low:.1f} to {high:.1f})."


def _points(values: np.ndarray, draws: np.ndarray) -> str:
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return f"{100 * values.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def counts_report(outcomes: Sequence[dict[str, Any]]) -> str:
    """How often the suggested counts are enough."""
    from audit.statistics import proportion_interval

    asked = [one for one in outcomes if one["added"]]
    if not asked:
        return "No cell was asked whether the suggested counts are enough."
    lines = [
        f"{len(asked)} of {len(outcomes)} audits ask for photos. With exactly these added, beside networks that "
        "learned for as long from photos in which the cue tells nothing:",
        "",
        "| | sound | verdicts | what the cue truly moves, by redrawing: median, most |",
        "|---|---|---|---|",
    ]
    for name, key, truth in (("added", "after", "truth"), ("never bound", "unbound", "unbound_truth")):
        statuses = [one[key]["status"] for one in asked]
        sound = proportion_interval(statuses.count("sound"), len(statuses), 0.95)
        told = ", ".join(f"{status} {statuses.count(status)}" for status in sorted(set(statuses)))
        left = [max(abs(one[truth][link]) for link in ("necessity", "sufficiency")) for one in asked]
        lines.append(
            f"| {name} | {sound.mean:.0%} ({sound.low:.0%} to {sound.high:.0%}) | {told} | "
            f"{100 * float(np.median(left)):.0f} points, {100 * max(left):.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
