"""A folder with one folder of images per class, with or without folders of splits above them.

    photos/t-shirt/1.jpg            photos/train/t-shirt/1.jpg

Masks are found in `data.masks` (a folder that mirrors the images), beside an image as `1_mask.png` or
`1.mask.png`, or in a folder `masks` beside the folder of the images. Folders of a class may hold folders;
links are followed inside the dataset. A folder of a split that has no class folders carries no labels and is
left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from audit.errors import DatasetError
from audit.types import Outline, Sample
from pipelines.config import DataConfig
from pipelines.readers._annotations import (
    IMAGE_SUFFIXES,
    METADATA,
    Fault,
    Root,
    finish,
    mask_file,
    mirrored_mask,
    root_of,
)

__all__ = ["ImageFolder"]

_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing", "dev"})
# Names of folders that other formats use for something else than a class.
_NO_CLASSES = frozenset(
    {
        "images",
        "masks",
        "annotations",
        "labels",
        "imagesets",
        "jpegimages",
        "segmentationclass",
        "segmentationobject",
    }
)
_MASK_ENDINGS = ("_mask.png", ".mask.png")


@dataclass(frozen=True)
class ImageFolder:
    """Reads a folder per class.

    Attributes:
        config: `path` is the folder; `masks` the folder of masks, if they do not lie beside the images.
    """

    config: DataConfig

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether `path` has two or more class folders with images, and no folder of another format."""
        if not path.is_dir() or any(True for name in METADATA for _ in path.glob(f"*/{name}")):
            return False
        classes = [folder for _, _, folder in _class_folders(_images_folder(path))]
        named = [folder for folder in classes if folder.name.lower() not in _NO_CLASSES]
        return len(named) == len(classes) > 1 and any(_has_image(folder) for folder in classes)

    def __call__(self) -> Iterator[Sample | Fault]:
        """One sample for each file with an image's ending; whether it is an image shows when it is decoded.

        Raises:
            DatasetError: no such folder, an empty one, or one without class folders.
        """
        root = root_of(self.config.path, self.config)
        if not root.path.is_dir():
            raise DatasetError(
                f"{root.path}: expected a folder with one folder of images per class, found no such folder"
            )
        images = _images_folder(root.path)
        classes = _class_folders(images)
        if not classes:
            found = "an empty folder" if not any(root.path.iterdir()) else "no folders of classes"
            raise DatasetError(f"{root.path}: expected one folder of images per class, found {found}")
        return finish(self._samples(root, images, classes), self.config)

    def _samples(self, root: Root, images: Path, classes: list[tuple[str, str, Path]]) -> Iterator[Sample]:
        for split, label, folder in classes:
            for path, mask in _images_with_masks(folder, root):
                outline = mask_file(mask, self.config) if mask else Outline()
                if self.config.masks:
                    outline = mask_file(
                        mirrored_mask(self.config.masks, path.relative_to(images)), self.config
                    )
                elif mask is None:
                    sibling = mirrored_mask(images.parent / "masks", path.relative_to(images))
                    outline = mask_file(sibling, self.config) if sibling.exists() else Outline()
                yield Sample(root.sample_id(path), str(path), label, split, outline)


def _images_folder(path: Path) -> Path:
    """`path`, or its folder `images` where only folders such as `masks` lie beside that."""
    names = {folder.name.lower() for folder in _folders(path)}
    is_beside_masks = names <= _NO_CLASSES and bool(_folders(path / "images"))
    return path / "images" if is_beside_masks else path


def _class_folders(images: Path) -> list[tuple[str, str, Path]]:
    """(split, class, folder), sorted."""
    first = _folders(images)
    is_split = bool(first) and all(folder.name.lower() in _SPLITS for folder in first)
    if is_split and any(_folders(folder) for folder in first):
        return [(split.name, folder.name, folder) for split in first for folder in _folders(split)]
    return [("", folder.name, folder) for folder in first]


def _folders(path: Path) -> list[Path]:
    """The visible folders in `path`, sorted; none where it is no folder."""
    if not path.is_dir():
        return []
    return sorted(entry for entry in path.iterdir() if _is_visible(entry) and entry.is_dir())


def _is_visible(path: Path) -> bool:
    return not path.name.startswith((".", "__MACOSX"))


def _has_image(folder: Path) -> bool:
    return any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in folder.rglob("*"))


def _images_with_masks(
    folder: Path, root: Root, above: tuple[Path, ...] = ()
) -> Iterator[tuple[Path, Path | None]]:
    """The images in and below `folder`, each with the mask that lies beside it."""
    real = _inside(root, folder).resolve()
    if real in above:  # a link to a folder above it
        return
    entries = sorted(entry for entry in folder.iterdir() if _is_visible(entry))
    images = [entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES and not entry.is_dir()]
    names = {path.name for path in images}
    owned = {path.stem + ending for path in images for ending in _MASK_ENDINGS}
    for path in images:
        if path.name not in owned:
            masks = (path.stem + ending for ending in _MASK_ENDINGS)
            mask = next((folder / name for name in masks if name in names), None)
            yield _inside(root, path), _inside(root, mask) if mask else None
    for entry in entries:
        if entry.is_dir():
            yield from _images_with_masks(entry, root, (*above, real))


def _inside(root: Root, path: Path) -> Path:
    """`path`, unless a link leads out of the dataset."""
    return root.locate(str(path.relative_to(root.path)), str(root.path))
