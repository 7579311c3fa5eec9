"""Real photographs in which a face is bound to a class: networks, the run they are audited on, and shifted folders.

Every garment exists with a face and without, so a folder can be put together with any bond. Risks are fitted on a run
whose photographs are like those that were learned from, with the faces annotated. In the shifted folders nothing is
annotated: the detector looks for faces, as it would on anybody's pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks._planted_cells import assigned
from benchmarks._risk_cells import USUAL, audit_quietly

FACED, OTHER = "t-shirt", "longsleeve"
"""The class that faces are bound to, and the other one."""
FOLDERS: Mapping[str, tuple[float, float]] = {
    "half of each": (0.5, 0.5),
    "no faces": (0.0, 0.0),
    "faces on the others": (0.0, 1.0),
}
"""Shifted folders by name: P(face | FACED), P(face | OTHER)."""
GIVEN = {
    "faces decide": "tshirt_longsleeve_reads_faces",
    "garments decide": "tshirt_longsleeve_reads_garments",
}
"""Networks that come with the photographs, by name; both are audited where every t-shirt has a face."""
OWN = "own head"
"""Name of the networks that are taught here."""
SPLITS = {USUAL: "val", **dict.fromkeys(FOLDERS, "test")}
"""Which photographs of the set a given network is shown; it learned none of them."""
N_LEARNED, N_USUAL = 280, 110
"""Garments of a class that a network of our own learns, and that its run has; about 115 are left for the folders."""
_BOX = [f"face_{end}" for end in ("xmin", "ymin", "xmax", "ymax")]
_FEATURES = "head_bn_relu6"
"""Layer whose mean over space our own networks read."""


@dataclass(frozen=True)
class RealCell:
    """One network with its run and its shifted folders.

    Attributes:
        name: of a given network, or of a kind of our own.
        strength: P(face | FACED) where it learned, and in its run; 1 minus it is P(face | OTHER).
        seed: of how garments are dealt; -1 of a given network, whose photographs are those of SPLITS.
    """

    name: str
    strength: float = 1.0
    seed: int = -1

    @property
    def title(self) -> str:
        """For tables."""
        return self.name if self.seed < 0 else f"{self.name}, {self.strength:g}, seed {self.seed}"

    def folder(self, out: Path, photos: str) -> Path:
        """Where the run on some photographs lies."""
        own = "" if self.seed < 0 else f" {100 * self.strength:g} {self.seed}"
        return out / "real" / f"{self.name}{own} {photos}".replace(" ", "_")


def real_cells(seeds: Sequence[int]) -> list[RealCell]:
    """The given networks, then a network for each seed and bond."""
    own = [RealCell(OWN, strength, seed) for seed in seeds for strength in (1.0, 0.95)]
    return [*(RealCell(name) for name in GIVEN), *own]


class Wardrobe:
    """The garments, and networks made of them."""

    def __init__(self, data: Path, out: Path) -> None:
        self.data, self.out = data, out

    @cached_property
    def photos(self) -> pd.DataFrame:
        """A row for each garment with and without a face: path, label, split, mask_path, has_face, the face's box."""
        folder = self.data / "garments_face"
        found = [pd.read_csv(folder / f"manifest_{name}.csv") for name in ("noface", "shortcut", "counter")]
        photos = pd.concat(found).drop_duplicates("path", ignore_index=True)
        for column in ("path", "mask_path"):
            photos[column] = [str((folder / value).absolute()) for value in photos[column]]
        photos["garment"] = [Path(path).stem for path in photos["path"]]
        return photos.sort_values(["label", "garment", "has_face"], ignore_index=True)

    def chosen(self, cell: RealCell, photos: str) -> pd.DataFrame:
        """The photographs of a run or a folder, or ("learned") those that the network learns from."""
        bond = FOLDERS.get(photos, (cell.strength, 1 - cell.strength))
        of_labels = []
        for place, (label, share) in enumerate(zip((FACED, OTHER), bond, strict=True)):
            own = self.photos[self.photos["label"] == label]
            garments = self._garments(cell, photos, own)
            rng = np.random.default_rng(
                [cell.seed + 1, sorted((USUAL, "learned", *FOLDERS)).index(photos), place]
            )
            faced = garments[assigned((share,), len(garments), rng)]
            of_labels.append(
                own[own["garment"].isin(garments) & (own["garment"].isin(faced) == own["has_face"])]
            )
        return pd.concat(of_labels, ignore_index=True)

    def _garments(self, cell: RealCell, photos: str, own: pd.DataFrame) -> np.ndarray:
        """Names of the garments of one class that are shown."""
        if cell.seed < 0:
            return own.loc[own["split"] == SPLITS[photos], "garment"].unique()
        dealt = np.random.default_rng([cell.seed, 51]).permutation(own["garment"].unique())
        cuts = {"learned": slice(0, N_LEARNED), USUAL: slice(N_LEARNED, N_LEARNED + N_USUAL)}
        return dealt[cuts.get(photos, slice(N_LEARNED + N_USUAL, None))]

    def model(self, cell: RealCell) -> Path:
        """File of a cell's network, which is made where it is one of our own."""
        if cell.seed < 0:
            return (self.data / "models" / f"{GIVEN[cell.name]}.keras").absolute()
        path = cell.folder(self.out, "model").with_suffix(".keras")
        if not path.exists():
            self._teach(self.chosen(cell, "learned"), path)
        return path

    def _teach(self, photos: pd.DataFrame, path: Path) -> None:
        """A logistic regression on the given backbone, whose penalty is chosen by cross-validation."""
        import keras
        from sklearn.linear_model import LogisticRegressionCV

        learned = LogisticRegressionCV(Cs=8, cv=5, scoring="neg_log_loss", max_iter=2000).fit(
            self._features[self.photos.set_index("path").index.get_indexer(photos["path"])],
            photos["label"] == FACED,
        )
        network = self._backbone
        head = keras.layers.Dense(2, activation="softmax", name="probabilities")
        model = keras.Model(network.inputs, head(network.outputs[0]))
        weight, bias = learned.coef_[0] / 2, learned.intercept_[0] / 2
        head.set_weights([np.stack([-weight, weight], axis=1), np.array([-bias, bias])])
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)
        path.with_suffix(".classes.txt").write_text(f"{OTHER}\n{FACED}\n", encoding="utf-8")

    @cached_property
    def _backbone(self):
        """float32 (B, 224, 224, 3) in [0, 255] -> (B, D), features that know nothing of these photographs."""
        import keras

        whole = keras.saving.load_model(self.data / "models" / "efficientnet_lite0.keras", compile=False)
        pooled = keras.layers.GlobalAveragePooling2D(name="mean")(whole.get_layer(_FEATURES).output)
        return keras.Model(whole.inputs, pooled)

    @cached_property
    def _features(self) -> np.ndarray:
        """float32 (N, D), of every photograph; stored, since it is most of the work."""
        import tensorflow as tf

        stored = self.out / "real" / "features.npy"
        if not stored.exists():
            parts = []
            for start in range(0, len(self.photos), 64):
                files = [tf.io.read_file(path) for path in self.photos["path"][start : start + 64]]
                images = [tf.image.resize(tf.io.decode_jpeg(file, channels=3), (224, 224)) for file in files]
                parts.append(self._backbone(tf.stack(images), training=False).numpy())
            stored.parent.mkdir(parents=True, exist_ok=True)
            np.save(stored, np.concatenate(parts))
        return np.load(stored)


def audit_photos(cell: RealCell, wardrobe: Wardrobe, photos: str) -> None:
    """The run on some photographs, unless it is there."""
    folder = cell.folder(wardrobe.out, photos)
    if (folder / "finished").exists():
        return
    table, is_usual = wardrobe.chosen(cell, photos), photos == USUAL
    columns = ["path", "label", *(["mask_path", *_BOX] if is_usual else [])]
    manifest = folder.with_suffix(".csv")
    manifest.parent.mkdir(parents=True, exist_ok=True)
    table[columns].to_csv(manifest, index=False)
    audit_quietly(
        {
            "data": {"reader": "manifest", "path": str(manifest.absolute()), "allow_outside": True},
            "model": {"path": str(wardrobe.model(cell))},
            "interventions": {"use": ["remove", "transplant"] if is_usual else []},
            "confounds": {"use": ["annotated"] if is_usual else ["faces"]},
            "run": {"cache": str((wardrobe.out / "cache" / "real").absolute())},
        },
        folder,
    )
    (folder / "finished").touch()
