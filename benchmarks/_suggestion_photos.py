"""One cell of the benchmark of suggestions on real photographs: faces bound to one of two garments.

Every garment exists with a face and without, on the same canvas, so the photos that a network is tested on have all
four groups of class and face alike. The network is a published body that stays as it is, with a linear head: its
training has one answer, so that what a rule gains is the photos' doing and no seed's. Garments are divided by garment,
never by picture: no garment is in two sets. A cell's outcome is one JSON file, so an interrupted sweep goes on.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._planted_cells import INTERVENTIONS
from benchmarks._risk_cells import audit_quietly
from benchmarks._suggestion_rules import OURS, RANDOM, RULES, Views, picked, suggested

CLASSES = ("longsleeve", "t-shirt")
"""In the head's order; the face is bound to the second."""
LEARNED, AUDITED, POOL, TESTED = "learned", "audited", "pool", "tested"
N_GARMENTS = {LEARNED: 110, AUDITED: 60, POOL: 240, TESTED: 96}
"""Garments of a class in each set."""
SHARES = {LEARNED: (0.05, 0.95), AUDITED: (0.05, 0.95), POOL: (0.05, 0.9)}
"""P(face | class); those of TESTED are seen with a face and without."""
BUDGETS = (20, 40)
N_RANDOM = 10
"""Draws of random photos, whose accuracies are averaged."""
CONFOUNDS = ("faces", "border", "global")
"""What audits look for; what finds nothing here is left out for its time."""
_BATCH = 32


@dataclass(frozen=True)
class Garments:
    """All garments, each in two pictures.

    Attributes:
        labels: int64 (N,), index into CLASSES.
        paths: (2, N) of str: without a face, with one.
        masks: (N,) of str.
        features: float32 (2, N, 1280), what the body makes of the pictures.
    """

    labels: np.ndarray
    paths: np.ndarray
    masks: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class Part:
    """One set of garments: their rows, and which of them wear a face."""

    rows: np.ndarray
    has_face: np.ndarray


def garments(data: Path, out: Path) -> Garments:
    """The garments below a folder of data; what the body makes of them is computed once and kept."""
    folder = data.absolute() / "garments_face"
    bare = pd.read_csv(folder / "manifest_noface.csv")
    name = bare["label"] + "/" + bare["path"].str.rsplit("/", n=1).str[-1]
    paths = np.stack([(str(folder / "images" / kind) + "/" + name).to_numpy() for kind in ("noface", "face")])
    stored = out / "photographs" / "features.npy"
    if not stored.exists():
        stored.parent.mkdir(parents=True, exist_ok=True)
        seen = _features(body(data), paths.reshape(-1).tolist())
        np.save(stored, seen.reshape(*paths.shape, -1))
    return Garments(
        labels=np.array([CLASSES.index(label) for label in bare["label"]]),
        paths=paths,
        masks=(str(folder) + "/" + bare["mask_path"]).to_numpy(),
        features=np.load(stored),
    )


def body(data: Path) -> Any:
    """Pictures float32 (B, 224, 224, 3) in [0, 255] -> means of the last feature map, (B, 1280)."""
    import keras

    whole = keras.saving.load_model(data / "models" / "efficientnet_lite0.keras", compile=False)
    return keras.Model(whole.inputs, whole.get_layer("avgpool").output)


def _features(network: Any, paths: Sequence[str]) -> np.ndarray:
    """What the network makes of pictures that are stretched to its input without averaging, as the audit does."""
    import tensorflow as tf

    ask = tf.function(lambda images: network(images, training=False))
    parts = []
    for start in range(0, len(paths), _BATCH):
        read = [
            tf.io.decode_jpeg(tf.io.read_file(path), channels=3) for path in paths[start : start + _BATCH]
        ]
        parts.append(
            ask(tf.stack([tf.image.resize(image, network.input_shape[1:3]) for image in read])).numpy()
        )
    return np.concatenate(parts)


def divided(labels: np.ndarray, seed: int) -> dict[str, Part]:
    """The sets of a seed, disjoint, each in a random order; exactly round(share * n) of a class wear a face."""
    rng = np.random.default_rng([seed, 51])
    taken: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in N_GARMENTS}
    for label in range(len(CLASSES)):
        order, start = rng.permutation(np.flatnonzero(labels == label)), 0
        for name, n in N_GARMENTS.items():
            share = SHARES[name][label] if name in SHARES else 0.0
            taken[name].append((order[start : start + n], np.arange(n) < round(share * n)))
            start += n
    parts = {}
    for name, pairs in taken.items():
        rows, has_face = (np.concatenate(column) for column in zip(*pairs, strict=True))
        shuffled = rng.permutation(len(rows))
        parts[name] = Part(rows[shuffled], has_face[shuffled])
    return parts


def head(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (D, 2) and bias (2,) of the softmax head of least cross entropy with a penalty on its squares.

    There is one such head. Of the weights that give the same probabilities those of the classes are opposite, so that
    either class's logit can be attributed.
    """
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1.0, max_iter=5000).fit(features.astype(np.float64), labels)
    half, bias = fitted.coef_[0] / 2, fitted.intercept_[0] / 2
    return np.stack([-half, half], axis=1).astype(np.float32), np.array([-bias, bias], np.float32)


def group_accuracies(
    weights: tuple[np.ndarray, np.ndarray], tested: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """(2, 2): accuracy by face (without, with) and class, of features (2, N, D) of the same N garments."""
    is_right = (tested @ weights[0] + weights[1]).argmax(axis=-1) == labels
    return np.stack([is_right[:, labels == label].mean(axis=1) for label in range(len(CLASSES))], axis=1)


class Cell:
    """One division of the garments, its network and its audit."""

    def __init__(self, known: Garments, seed: int, out: Path) -> None:
        self.known, self.seed, self.folder = known, seed, out / "photographs" / str(seed)
        self.parts = divided(known.labels, seed)

    def shown(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Features (N, D) and labels of a set, with or without a face as it was drawn."""
        part = self.parts[name]
        return self.known.features[part.has_face.astype(int), part.rows], self.known.labels[part.rows]

    def groups(self, added: np.ndarray) -> np.ndarray:
        """`group_accuracies` after learning from the photos of LEARNED and some rows of the pool."""
        (features, labels), (pool, pool_labels) = self.shown(LEARNED), self.shown(POOL)
        weights = head(np.concatenate([features, pool[added]]), np.concatenate([labels, pool_labels[added]]))
        rows = self.parts[TESTED].rows
        return group_accuracies(weights, self.known.features[:, rows], self.known.labels[rows])

    def audit(self, data: Path) -> None:
        """Writes network, manifest and pool, and audits, unless that was done."""
        if (self.folder / "audited").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        save(head(*self.shown(LEARNED)), data, self.folder / "model.keras")
        part = self.parts[AUDITED]
        labels = [CLASSES[label] for label in self.known.labels[part.rows]]
        rows = zip(self._paths(AUDITED), labels, self.known.masks[part.rows], strict=True)
        _write(self.folder / "audited.csv", [("path", "label", "mask_path"), *rows])
        _write(self.folder / "pool.csv", [("path",), *((path,) for path in self._paths(POOL))])
        cache = self.folder.parent / "cache"
        audit_quietly(
            {
                "data": {
                    "reader": "manifest",
                    "path": str((self.folder / "audited.csv").absolute()),
                    "allow_outside": True,
                },
                "model": {"path": str((self.folder / "model.keras").absolute())},
                "interventions": {"use": list(INTERVENTIONS)},
                "confounds": {"use": list(CONFOUNDS)},
                "run": {"workers": 0, "seed": self.seed, "cache": str(cache.absolute())},
            },
            self.folder / "run",
        )
        (self.folder / "audited").touch()

    def _paths(self, name: str) -> list[str]:
        part = self.parts[name]
        return list(self.known.paths[part.has_face.astype(int), part.rows])

    def choices(self, rule: str, budget: int) -> list[np.ndarray]:
        """Rows of the pool that a rule takes; of the random rule several draws."""
        if rule == OURS:
            place = {path: row for row, path in enumerate(self._paths(POOL))}
            found = suggested(budget, self.folder / "pool.csv", self.folder / "run")
            return [np.array([place[path] for path in found], np.int64)]
        (learned, labels), (pool, _) = self.shown(LEARNED), self.shown(POOL)
        kernel, bias = head(learned, labels)
        odds = np.exp(pool @ kernel + bias)
        views = Views(odds / odds.sum(axis=1, keepdims=True), pool, learned)
        draws = range(N_RANDOM if rule == RANDOM else 1)
        return [
            picked(rule, budget, views, np.random.default_rng([self.seed, 52, number])) for number in draws
        ]


def outcome(known: Garments, seed: int, data: Path, out: Path) -> dict[str, Any]:
    """Everything about one seed; what is stored of it is not made again."""
    cell = Cell(known, seed, out)
    stored = cell.folder / "outcome.json"
    result: dict[str, Any] = (
        json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {"rules": {}}
    )
    cell.audit(data)
    pool = cell.parts[POOL]
    is_counter = pool.has_face != (known.labels[pool.rows] == 1)
    if "before" not in result:
        groups = cell.groups(np.empty(0, np.int64))
        result |= {"seed": seed, "statuses": statuses(cell.folder / "run"), "before": float(groups.min())}
        result |= {"groups": groups.tolist(), "pool_counterexamples": float(is_counter.mean())}
        stored.write_text(json.dumps(result), encoding="utf-8")
    for rule in [rule for rule in RULES if rule not in result["rules"]]:
        found = {}
        for budget in BUDGETS:
            taken = cell.choices(rule, budget)
            found[str(budget)] = {
                "worst": float(np.mean([cell.groups(rows).min() for rows in taken])),
                "n": len(taken[0]),
                "counterexamples": float(np.mean([is_counter[rows] for rows in taken]))
                if len(taken[0])
                else 0.0,
            }
        result["rules"][rule] = found
        stored.write_text(json.dumps(result), encoding="utf-8")
    return result


def statuses(run: Path) -> dict[str, str]:
    """Status and confound of each class's verdict."""
    from pipelines.storage import Run

    rows = Run(run).table("verdicts")
    named = rows["confound"].fillna("")
    return {
        label: f"{status} {confound}".strip()
        for label, status, confound in zip(rows["label"], rows["status"], named, strict=True)
    }


def save(weights: tuple[np.ndarray, np.ndarray], data: Path, path: Path) -> None:
    """Body and head as one `.keras` file, with the class names beside it."""
    import keras

    network = body(data)
    layer = keras.layers.Dense(len(CLASSES), activation="softmax", name="probabilities")
    whole = keras.Model(network.inputs, layer(network.outputs[0]))
    layer.set_weights(list(weights))
    whole.save(path)
    path.with_name(f"{path.stem}.classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")


def _write(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
