"""Made pictures that contradict a finding: a confound taken or cropped away or brought in, another background.

    OUT/images/<change>/…png    the pictures, in the size of the photos they were made from; a crop in its own
    OUT/masks/<change>/…png     the labelled object, 255; only where it is annotated
    OUT/origins/<change>/…png   where each pixel comes from: 0 the photo, 80 made up or mixed, 255 the donor's photo
    OUT/manifest.csv            label, mask, what was made from what (of a crop also which part); every row has
                                the split `counterfactual`

They lie in a folder of their own and say what they are, so that nobody trains or audits on them unawares.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from audit import plugins
from audit.edits import CROP, crop_without, lies_on
from audit.errors import ConfigError, RunError
from audit.interventions import Donors, Picture, Variant
from audit.interventions._fills import FILLS
from audit.types import FOREGROUND, IGNORE, Sample
from pipelines.config import RunConfig, validate
from pipelines.counterfactual_sources import Recipe, Workbench, recipes_of, size_of, sources_of
from pipelines.judge import load as load_run
from pipelines.progress import Progress
from pipelines.storage import Run, digest, storing, write_text

SPLIT = "counterfactual"
MARKER = "MADE_PICTURES.txt"
_NOTE = (
    "The pictures in this folder were made by `rightreasons suggest --counterfactuals` from photos of a dataset:\n"
    "a confound taken away, cropped away or brought in, or the background of another class. They are no photos.\n"
    "manifest.csv says what was made from what, origins/ where each pixel comes from. Running the command again\n"
    "replaces all of it.\n"
)
_MADE = ("images", "masks", "origins")
OWN, FILLED, DONATED = 0, 80, 255
"""Values of an origins picture."""
N_DONORS = 6
COLUMNS = (  # crop: x0 y0 x1 y1 as shares of the photo's width and height
    "path",
    "label",
    "split",
    "mask_path",
    "sample_id",
    "made_from",
    "made_from_path",
    "donors",
    "change",
    "fill",
    "confound",
    "asked_for",
    "origins_path",
    "crop",
)


def make_counterfactuals(run: Run, out: Path, n: int, *, progress: Progress) -> tuple[int, tuple[str, ...]]:
    """Writes made pictures for every finding of a run.

    Args:
        run: a finished run; its dataset must be where it was, its model is not needed.
        out: a new or empty folder, or one that this function made.
        n: pictures of each kind and finding at most.
        progress: where progress is told.

    Returns:
        How many were made, and sentences that a reader needs.

    Raises:
        RunError: no class is flagged for something that can be changed.
        ConfigError: `out` holds something else, or lies inside the dataset.
    """
    finished = load_run(run)
    config = validate(finished.manifest["config"], where=f"{run.path}/manifest.json")
    recipes = recipes_of(finished)
    if not recipes:
        raise RunError(
            f"{run.path}: expected a class that is flagged for something pixels can change, found none"
        )
    _prepare(out, config)
    sources, bench = sources_of(finished, config), Workbench(run, config, finished)
    rows: list[dict[str, str]] = []
    notes: list[str] = []
    with progress.bar("making pictures", len(recipes) * n) as bar:
        for recipe in recipes:
            made = []
            for row in _made(recipe, sources.of(recipe), bench, out):
                made.append(row)
                bar.advance(1)
                if len(made) == n:
                    break
            rows += made
            notes.append(
                f"{len(made)} made by {recipe.change}, for {recipe.label} and its {recipe.confound}."
            )
    _write_manifest(rows, out)
    if any(sources.of(recipe) is sources.audited for recipe in recipes):
        notes.append(
            "Some are made from audited photos, since there are no others or only these show where the thing is: audit "
            "a model that is trained on them on other photos."
        )
    return len(rows), tuple(notes)


def _made(
    recipe: Recipe, samples: Mapping[str, Sequence[Sample]], bench: Workbench, out: Path
) -> Iterator[dict[str, str]]:
    """One row after the other, its files written, as long as there are photos."""
    import audit.interventions as interventions

    if recipe.change == CROP:
        yield from _cropped(recipe, samples.get(recipe.label, ()), bench, out)
        return
    bound = {v.label for v in bench.finished.verdicts if v.confound == recipe.confound}
    others = [name for name in samples if name not in bound] or [
        name for name in samples if name != recipe.label
    ]
    subjects = samples.get(recipe.label, ()) if recipe.is_own else _in_turn(samples, others)
    plugin = plugins.find(interventions, recipe.change)
    for number, sample in enumerate(subjects):
        size = size_of(sample, bench.config)
        found = bench.picture(sample, recipe, size) if size else None
        if found is None or size is None:
            continue
        batch, picture = found
        needs = recipe.is_own and recipe.change != "swap_background"
        if recipe.change != "swap_background" and bench.shows(batch, picture, recipe) != needs:
            continue
        fill = tuple(FILLS)[number % len(FILLS)]
        change = plugin(fills=(fill,)) if recipe.change == "remove" else plugin()
        seed = int(digest(sample.sample_id)[:8], 16)
        # One at a time: of several donors nothing would tell whose pixels were taken.
        for donor_id, donor in _donors(recipe, samples, others, bench, size, number):
            # The control of a swapped background is not stored, but the intervention wants a donor for it.
            lent = () if donor is None else (donor,)
            variant = change(picture, Donors(own=lent, other=lent), seed)[0]
            if variant.after is not None:
                yield _stored(recipe, sample, picture, variant, (donor_id, donor), out)
                break


def _cropped(
    recipe: Recipe, subjects: Sequence[Sample], bench: Workbench, out: Path
) -> Iterator[dict[str, str]]:
    """The same by cropping the thing away, where the object is annotated and a crop holds it without the thing."""
    for sample in subjects:
        size = size_of(sample, bench.config) if sample.foreground.is_annotated else None
        found = bench.picture(sample, recipe, size) if size else None
        outlined = bench.outlines(sample, recipe) if found is not None and found[1].region.any() else None
        if found is None or outlined is None or lies_on(outlined[0] == FOREGROUND, outlined[1]):
            continue
        whole = found[1]
        crop = crop_without(whole.foreground == FOREGROUND, whole.region)
        if crop is not None:
            part = Picture(crop.of(whole.image), crop.of(whole.foreground), crop.of(whole.region))
            row = _stored(recipe, sample, part, Variant("", part.image, None), ("", None), out)
            yield row | {"crop": " ".join(f"{side:.4f}" for side in crop.box)}


def _in_turn(samples: Mapping[str, Sequence[Sample]], labels: Sequence[str]) -> Iterator[Sample]:
    """Samples of several classes, one of each after the other."""
    longest = max((len(samples[label]) for label in labels), default=0)
    for place in range(longest):
        yield from (samples[label][place] for label in labels if place < len(samples[label]))


def _donors(
    recipe: Recipe,
    samples: Mapping[str, Sequence[Sample]],
    others: Sequence[str],
    bench: Workbench,
    size: tuple[int, int],
    number: int,
) -> Iterator[tuple[str, Picture | None]]:
    """Pictures that lend pixels, with their ids, brought to the size of the one that is changed; one None without."""
    if recipe.change not in ("transplant", "swap_background"):
        yield "", None
        return
    pool = (
        list(samples.get(recipe.label, ()))
        if recipe.change == "transplant"
        else list(_in_turn(samples, others))
    )
    n_found = 0
    for step in range(len(pool)):
        donor = pool[(number + step) % len(pool)]
        made = bench.picture(donor, recipe, size)
        if made is not None and (recipe.change == "swap_background" or made[1].region.any()):
            yield donor.sample_id, made[1]
            n_found += 1
        if n_found == N_DONORS:
            return


def _stored(
    recipe: Recipe,
    sample: Sample,
    picture: Picture,
    variant: Variant,
    lent: tuple[str, Picture | None],
    out: Path,
) -> dict[str, str]:
    """The files of one made picture, and its row."""
    assert variant.after is not None
    donor_id, donor = lent
    origins = origins_of(picture.image, variant.after, None if donor is None else donor.image)
    stem = f"{digest([sample.sample_id, recipe.change, recipe.confound, recipe.label])[:16]}.png"
    places = {kind: Path(kind) / recipe.change / stem for kind in _MADE}
    contents = {"images": _stored_pixels(variant.after), "origins": origins}
    if (picture.foreground != IGNORE).any():
        contents["masks"] = np.where(picture.foreground == FOREGROUND, 255, 0).astype(np.uint8)
    for kind, pixels in contents.items():
        path = out / places[kind]
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return {
        "path": places["images"].as_posix(),
        "label": str(sample.label),
        "split": SPLIT,
        "mask_path": places["masks"].as_posix() if "masks" in contents else "",
        "sample_id": f"{recipe.change}:{recipe.confound}:{recipe.label}:{sample.sample_id}",
        "made_from": sample.sample_id,
        "made_from_path": sample.image_path,
        "donors": donor_id,
        "change": recipe.change,
        "fill": variant.fill,
        "confound": recipe.confound,
        "asked_for": recipe.label,
        "origins_path": places["origins"].as_posix(),
        "crop": "",
    }


def origins_of(image: np.ndarray, after: np.ndarray, donor: np.ndarray | None) -> np.ndarray:
    """Where each pixel of a changed picture comes from: uint8 (H, W) of OWN, FILLED, DONATED.

    A pixel is the donor's where it equals the donor's at the same place, as stored in 8 bits: laying one picture on
    another rounds. One that was moved there, mixed at a soft edge or made up counts as FILLED.
    """
    own, made = _stored_pixels(image), _stored_pixels(after)
    found = np.full(image.shape[:2], FILLED, dtype=np.uint8)
    if donor is not None:
        found[(made == _stored_pixels(donor)).all(axis=-1)] = DONATED
    found[(made == own).all(axis=-1)] = OWN
    return found


def _stored_pixels(image: np.ndarray) -> np.ndarray:
    """uint8 of float [0, 1]."""
    return np.asarray(np.rint(image * 255), dtype=np.uint8)


def _prepare(out: Path, config: RunConfig) -> None:
    """Makes the folder ready: new, empty, or rid of what an earlier call made there."""
    import shutil

    data = config.data.path if config.data.path.is_dir() else config.data.path.parent
    if out.resolve().is_relative_to(data.resolve()):
        raise ConfigError(
            f"--counterfactuals: expected a folder outside of the dataset {data}, found {out}; made pictures must not "
            "mix with photos"
        )
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARKER).is_file())):
        raise ConfigError(
            f"--counterfactuals: expected a new or empty folder, found {out} with files of something else"
        )
    with storing(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / MARKER).write_text(_NOTE, encoding="utf-8")
        for name in _MADE:
            shutil.rmtree(out / name, ignore_errors=True)


def _write_manifest(rows: Sequence[Mapping[str, str]], out: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / "manifest.csv", text.getvalue())
