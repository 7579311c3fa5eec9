"""Gradients of a run that samples, against one that makes every map; how they grow. Markdown to stdout.

    python -m benchmarks.sampling --out DIR [--images 10000] [--classes 8] [--set section.key=value ...]

Draws a dataset, trains a small network, audits it with a map of every sample and with --sample, and compares the
verdicts. Then the draws are made again from the stored scores of the first audit, for parts of its samples and of its
classes: a score does not depend on who is drawn beside it. An audit that is interrupted goes on when the same command
is given again. Takes half an hour.
"""

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import pandas as pd

from audit.types import Sample
from audit.verdicts import gather, judge
from benchmarks._audit_costs import audit, costs_of, options_of
from benchmarks._drawn_dataset import class_names, draw, train
from pipelines.config import RunConfig, validate
from pipelines.engine import in_random_order
from pipelines.sampling import GROWTH
from pipelines.storage import Run

SETTINGS = ["attributions.methods=['integrated_gradients']", "confounds.use=['annotated','background']"]
KINDS = ("seconds", "gradients", "forward passes")


def main() -> None:
    """Prints three Markdown tables."""
    options = options_of(__doc__, 10_000, classes=8)
    folder, settings = options.out / "photos", [*SETTINGS, *options.settings]
    draw(folder, options.images, options.classes)
    model = train(options.out / "model.keras", options.classes)
    whole, sampled = options.out / "whole", options.out / "sampled"
    audit(whole, folder, model, settings)
    audit(sampled, folder, model, settings, "--sample")
    print(_compared(whole, sampled))
    print(_growth(Run(whole), class_names(options.classes), options.images))


def _compared(whole: Path, sampled: Path) -> str:
    """Costs and verdicts of the two audits."""
    sums = [
        {kind: sum(phase[kind] for phase in costs_of(out).values()) for kind in KINDS}
        for out in (whole, sampled)
    ]
    lines = ["| | every map | sampled | ratio |", "|---|---|---|---|"]
    lines += [
        f"| {kind} | {sums[0][kind]:,.0f} | {sums[1][kind]:,.0f} | {sums[1][kind] / sums[0][kind]:.1%} |"
        for kind in KINDS
    ]
    spent = [Run(out).manifest()["n_gradients"] for out in (whole, sampled)]
    lines += [f"| gradients of maps | {spent[0]:,} | {spent[1]:,} | {spent[1] / spent[0]:.1%} |", ""]
    lines += ["| class | maps | of | verdict, every map | sampled |", "|---|---|---|---|---|"]
    counts = Run(sampled).manifest()["sampling"]
    first, second = (Run(out).table("verdicts").set_index("label") for out in (whole, sampled))
    for label, found in counts.items():
        words = [
            f"{rows.loc[label, 'status']} {rows.loc[label, 'confound'] or ''}" for rows in (first, second)
        ]
        lines.append(f"| {label} | {found['attributed']} | {found['of']} | {' | '.join(words)} |")
    return "\n".join([*lines, ""])


def _growth(whole: Run, labels: Sequence[str], n_images: int) -> str:
    """Maps and their gradients against the number of images and of classes."""
    config = validate(whole.manifest()["config"], str(whole.path))
    tables = whole.all_tables()
    lines = [
        "| images | classes | maps | gradients of maps | of those of every map | verdicts on maps alone that agree |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_drawn(config, tables, labels, n_images // part) for part in (16, 8, 4, 2, 1)]
    lines += [_drawn(config, tables, labels[:k], n_images) for k in (2, 4, 8, 16) if k < len(labels)]
    return "\n".join(lines)


def _drawn(config: RunConfig, tables: dict[str, pd.DataFrame], labels: Sequence[str], n_images: int) -> str:
    """A row: what would be drawn of the first images, of some classes."""
    predictions = tables["predictions"].head(n_images)
    predictions = predictions[predictions["label"].isin(labels)]
    samples = [Sample(row.sample_id, row.path, row.label) for row in predictions.itertuples()]
    order: dict[str, list[str]] = {label: [] for label in labels}
    for sample in in_random_order(config.run.seed, samples):
        order[str(sample.label)].append(sample.sample_id)
    drawn = {label: order[label][: config.run.first_draw] for label in labels}
    open_ones = set(labels)
    while open_ones:
        seen = _seen(tables, predictions, [one for label in labels for one in drawn[label]])
        evidence = gather(
            seen, list(labels), config.attributions.methods, config.verdicts.limits(), was_sampled=True
        )
        open_ones = {
            known.label
            for known in evidence
            if not known.is_settled and len(drawn[known.label]) < len(order[known.label])
        }
        for label in open_ones:
            drawn[label] = order[label][: ceil(GROWTH * len(drawn[label]))]
    whole, found = (
        int(tables["attributions"].query("sample_id in @ids")["n_gradients"].sum())
        for ids in (set(predictions["sample_id"]), {one for ids in drawn.values() for one in ids})
    )
    every = _seen(tables, predictions, [one for label in labels for one in order[label]])
    fixed = gather(every, list(labels), config.attributions.methods, config.verdicts.limits())
    agree = [one.status is other.status for one, other in zip(judge(evidence), judge(fixed), strict=True)]
    cells = [f"{len(predictions):,}", f"{len(labels)}", f"{sum(map(len, drawn.values())):,}", f"{found:,}"]
    return f"| {' | '.join(cells)} | {found / whole:.1%} | {sum(agree)} of {len(agree)} |"


def _seen(
    tables: dict[str, pd.DataFrame], predictions: pd.DataFrame, drawn: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """The score tables as they are when these samples have been drawn, in that order."""
    places = {sample_id: place for place, sample_id in enumerate(drawn)}
    attributions = tables["attributions"][tables["attributions"]["sample_id"].isin(places)]
    confounds = tables["confounds"][tables["confounds"]["sample_id"].isin(predictions["sample_id"])]
    left = ~confounds["sample_id"].isin(places)
    confounds = confounds.assign(mass_inside=confounds["mass_inside"].mask(left))
    attributions, confounds = (
        rows.sort_values("sample_id", key=lambda ids: ids.map(places), kind="stable", ignore_index=True)
        for rows in (attributions, confounds)
    )
    return {"predictions": predictions, "attributions": attributions, "confounds": confounds}


if __name__ == "__main__":
    main()
