"""What made pictures are made of: which ones a finding asks for, the photos they start from, and where things are."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from audit.bonds import Bond, bonds
from audit.edits import CROP
from audit.interventions import WHOLE_BACKGROUND, Aim, Picture
from audit.properties import outside
from audit.properties._all import global_properties
from audit.types import FOREGROUND, AuditRun, Batch, Sample, Status
from pipelines.config import ModelConfig, RunConfig
from pipelines.discovered_regions import stored_regions
from pipelines.geometry import Geometry
from pipelines.images import DecodedImage, ImageFault, decode
from pipelines.inputs import load, outlines, settings_from
from pipelines.quiet import load_tensorflow
from pipelines.regions import RegionFinder, detectors
from pipelines.shards import read
from pipelines.storage import Run, digest, storing

LONGEST_SIDE = 1024
"""Larger photos are shrunk to it: pixels beyond are more than networks take, and filling them is slow."""


@dataclass(frozen=True)
class Recipe:
    """One kind of made picture that a finding asks for.

    Attributes:
        label: class whose verdict asks.
        confound: what is changed.
        change: intervention, by its name, or CROP.
        is_own: pictures of the class itself are changed, else those of classes that are not bound.
        is_discovered: nobody named it, so only the photos in which the run found it tell where it is.
        target: value of a global property; NaN for a thing.
        bond: of the property; None for a thing.
    """

    label: str
    confound: str
    change: str
    is_own: bool
    is_discovered: bool = False
    target: float = float("nan")
    bond: Bond | None = None


def recipes_of(finished: AuditRun) -> tuple[Recipe, ...]:
    """What the findings of a run ask to be made."""
    flagged = dict.fromkeys(
        (v.label, v.confound)
        for v in finished.verdicts
        if v.confound is not None and v.status in (Status.SUSPECT, Status.SPURIOUS)
    )
    discovered = finished.tables.get("discovered")
    unnamed = set() if discovered is None else set(discovered.loc[discovered["tested"], "confound"])
    bound = {(bond.label, bond.confound): bond for bond in bonds(finished.tables, 0.95)}
    found: list[Recipe] = []
    for label, confound in flagged:
        if confound == WHOLE_BACKGROUND:
            found.append(Recipe(label, confound, "swap_background", is_own=True))
        elif bond := bound.get((label, confound)):
            if bond.is_changeable:
                found.append(Recipe(label, confound, "normalise", True, False, bond.others, bond))
                found.append(Recipe(label, confound, "impose", False, False, bond.own, bond))
        else:
            found.append(Recipe(label, confound, "remove", True, confound in unnamed))
            found.append(Recipe(label, confound, "transplant", False, confound in unnamed))
            found.append(Recipe(label, confound, CROP, True, confound in unnamed))
    return tuple(found)


@dataclass(frozen=True)
class Sources:
    """The photos that pictures are made from, by class, in the order in which they are tried.

    Attributes:
        audited: those of the run.
        others: those of splits that were not audited; empty where there are none. They come first: a model that is
            trained on pictures made of audited photos must be audited on others.
    """

    audited: Mapping[str, Sequence[Sample]]
    others: Mapping[str, Sequence[Sample]]

    def of(self, recipe: Recipe) -> Mapping[str, Sequence[Sample]]:
        """Those that serve a recipe."""
        return self.audited if recipe.is_discovered or not self.others else self.others


def sources_of(finished: AuditRun, config: RunConfig) -> Sources:
    """The labelled photos of the run's dataset."""
    everything = config.data.model_copy(update={"splits": None})
    samples = [
        entry for entry in read(everything) if isinstance(entry, Sample) and entry.label in finished.classes
    ]
    splits = set(finished.tables["predictions"]["split"])
    by_label: tuple[dict[str, list[Sample]], dict[str, list[Sample]]] = ({}, {})
    for sample in sorted(samples, key=lambda s: digest([config.run.seed, s.sample_id])):
        by_label[sample.split not in splits].setdefault(str(sample.label), []).append(sample)
    return Sources(*by_label)


@dataclass(frozen=True)
class Workbench:
    """What making a picture takes; no model is needed."""

    run: Run
    config: RunConfig
    finished: AuditRun

    def picture(
        self, sample: Sample, recipe: Recipe, target: tuple[int, int]
    ) -> tuple[Batch, Picture] | None:
        """A sample at a size (height, width), or None where it cannot be read."""
        config = self.config.model_copy(update={"model": _stretched(self.config.model)})
        settings = settings_from(config, target, (recipe.confound,))
        index = {name: number for number, name in enumerate(self.finished.classes)}
        batch, _, _ = load([sample], index, self._finder, settings)
        if batch is None:
            return None
        image, foreground = batch.images[0], batch.foreground[0]
        if recipe.bond is not None:
            (around,) = outside(batch.foreground)
            aim = Aim(global_properties()[recipe.confound], recipe.target)
            return batch, Picture(image, foreground, around, aim)
        region = batch.regions[recipe.confound][0]
        if recipe.is_discovered:
            region = self._discovered(sample, recipe, target) & (foreground != FOREGROUND)
        return batch, Picture(image, foreground, region)

    def outlines(self, sample: Sample, recipe: Recipe) -> tuple[np.ndarray, np.ndarray] | None:
        """Where object and thing lie on the upright photo, in its own pixels: uint8 (H, W), bool (H, W).

        None where photo or annotation cannot be read.
        """
        try:
            decoded = _decoded(sample, self.config)
            target = decoded.pixels.shape[0], decoded.pixels.shape[1]
            geometry = Geometry(decoded.stored_size, decoded.orientation, target, "stretch", False)
            foreground, (region,) = outlines(sample, decoded, geometry, self._finder, (recipe.confound,))
        except ImageFault:
            return None
        return foreground, self._discovered(sample, recipe, target) if recipe.is_discovered else region

    def is_turned(self, sample: Sample) -> bool:
        """Whether the photo's EXIF data say that it is to be turned; False where it cannot be read."""
        data = self.config.data.model_copy(update={"exif": "apply"})
        try:
            return _decoded(sample, self.config.model_copy(update={"data": data})).orientation != 1
        except ImageFault:
            return False

    def shows(self, batch: Batch, picture: Picture, recipe: Recipe) -> bool:
        """Whether the picture shows the confound."""
        if recipe.bond is None:
            return bool(picture.region.any())
        prop = global_properties()[recipe.confound]
        value = prop.measure(np.rint(picture.image * 255).astype(np.uint8), batch.facts[0], picture.region)
        return not isinstance(value, str) and bool(recipe.bond.has(np.array([value]))[0])

    @functools.cached_property
    def _finder(self) -> RegionFinder:
        return region_finder(self.run, self.config)

    def _discovered(self, sample: Sample, recipe: Recipe, target: tuple[int, int]) -> np.ndarray:
        """Where the run found it: bool of the target's size; nowhere where the model's input is a part of the photo."""
        found = stored_regions(self.run.path).get(sample.sample_id, {}).get(recipe.confound)
        if found is None or self.config.model.resize != "stretch":
            return np.zeros(target, dtype=bool)
        sheet = Image.fromarray(found.astype(np.uint8) * 255)
        return np.asarray(sheet.resize((target[1], target[0]), Image.Resampling.NEAREST)) > 0


def region_finder(run: Run, config: RunConfig) -> RegionFinder:
    """Finds regions as the run does, with its cache."""
    if any(one == "faces" or one.endswith(".keras") for one in config.confounds.use):
        load_tensorflow()  # these detectors are networks
    cache = config.run.cache or run.path / "cache"
    with storing(cache):
        cache.mkdir(parents=True, exist_ok=True)
    return RegionFinder(
        detectors(config.confounds), cache / "regions.db", f"{config.data.exif} {config.data.alpha}"
    )


def size_of(sample: Sample, config: RunConfig) -> tuple[int, int] | None:
    """Height and width of the upright photo, its long side at most LONGEST_SIDE; None where it cannot be read."""
    try:
        height, width = _decoded(sample, config).pixels.shape[:2]
    except ImageFault:
        return None
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _decoded(sample: Sample, config: RunConfig) -> DecodedImage:
    return decode(
        Path(sample.image_path),
        exif=config.data.exif,
        alpha=config.data.alpha,
        max_pixels=config.data.max_pixels,
    )


def _stretched(model: ModelConfig) -> ModelConfig:
    """The whole photo, shrunk without holes: these pictures are for training, not for the audited model's input."""
    return model.model_copy(update={"resize": "stretch", "antialias": True})
