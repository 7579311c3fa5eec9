"""What readers of multi-object annotations share: which object is the label, and what the others are then.

The label of a sample comes from `data.manifest` (path,label; matched by file name), else it is the image's only class,
else the class that covers the largest summed area. The foreground is the union of the objects of that label; every
other class of the image is a region by its name. `data.labels` renames labels and classes alike.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from audit.errors import DatasetError
from audit.types import Outline, Sample
from pipelines.config import DataConfig
from pipelines.images import ImageFault, Size
from pipelines.readers._annotations import Fault, fault_of, mask_file, mirrored_mask, read_rows


@dataclass(frozen=True)
class Thing:
    """One annotated object.

    Attributes:
        name: its class, as the dataset names it.
        outline: where it lies.
        area: its size, in any unit that is the same for all objects of the image.
    """

    name: str
    outline: Outline
    area: float


@dataclass(frozen=True)
class Labels:
    """Rows of a manifest by the image's path and by its bare file name."""

    by_path: Mapping[str, Mapping[str, str]]
    by_name: Mapping[str, list[Mapping[str, str]]]

    def row(self, file_name: str) -> Mapping[str, str] | None:
        """The row of an image; None where the manifest leaves it out.

        Raises:
            DatasetError: rows of that name disagree on the label.
        """
        if file_name in self.by_path:
            return self.by_path[file_name]
        rows = self.by_name.get(PurePosixPath(file_name).name, [])
        if len({row["label"] for row in rows}) > 1:
            found = " and ".join(sorted({row["label"] for row in rows}))
            raise DatasetError(f"data.manifest: expected one label for {file_name!r}, found {found}")
        return rows[0] if rows else None


def labels_of(config: DataConfig) -> Labels | None:
    """The labels of `data.manifest`, or None where none is given."""
    if config.manifest is None:
        return None
    rows = read_rows(config.manifest, ("path", "label"))
    by_name: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        by_name[PurePosixPath(row["path"]).name].append(row)
    return Labels({row["path"]: row for row in rows}, by_name)


def with_objects(
    sample: Sample,
    things: Sequence[Thing],
    classes: Collection[str],
    size: Size | None,
    config: DataConfig,
    where: str,
) -> Sample | Fault:
    """A sample with its objects: those of its label as foreground, the others as regions.

    Args:
        sample: without outlines; its label may be None, then the objects say it.
        things: the image's objects.
        classes: the dataset's class names; a label among them that no object has is known to be absent.
        size: (width, height) that the annotation states, or None.
        config: renames labels, and may replace the foreground by a mask file.
        where: the annotation, for messages.
    """
    label = sample.label or leading(things, config.labels)
    if not label:
        detail = f"{where}: the image has no objects; name its label in data.manifest"
        return fault_of(sample, ImageFault("missing label", detail))
    parts: dict[str, list[Outline]] = defaultdict(list)
    for thing in things:
        parts[config.labels.get(thing.name, thing.name)].append(thing.outline)
    outlines = {name: united(found, size) for name, found in sorted(parts.items())}
    known = {config.labels.get(name, name) for name in classes}
    own = config.labels.get(label, label)
    absent = Outline(is_known=True, size=size) if own in known else Outline()
    foreground = outlines.pop(own, absent)
    if config.masks:
        mask = mirrored_mask(config.masks, PurePosixPath(sample.sample_id))
        foreground = mask_file(mask, config)
    return replace(sample, label=label, foreground=foreground, regions=outlines)


def leading(things: Iterable[Thing], labels: Mapping[str, str]) -> str | None:
    """A name of the class with the largest summed area, the first by name of equals; None without objects."""
    areas: dict[str, float] = defaultdict(float)
    names: dict[str, str] = {}
    for thing in things:
        own = labels.get(thing.name, thing.name)
        areas[own] += thing.area
        names[own] = thing.name
    return names[min(areas, key=lambda name: (-areas[name], name))] if areas else None


def united(outlines: Sequence[Outline], size: Size | None) -> Outline:
    """The union of outlines of one image, known also where it is empty.

    Masks are united by their values, so all of them have to be values of one file.
    """
    masks = [outline.mask for outline in outlines if outline.mask]
    values = tuple(value for mask in masks for value in mask.foreground)
    return Outline(
        boxes=tuple(box for outline in outlines for box in outline.boxes),
        polygons=tuple(polygon for outline in outlines for polygon in outline.polygons),
        run_lengths=tuple(lengths for outline in outlines for lengths in outline.run_lengths),
        mask=replace(masks[0], foreground=values) if masks else None,
        is_known=True,
        size=size,
        is_relative=any(outline.is_relative for outline in outlines),
    )
