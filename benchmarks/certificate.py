"""Which faults does the trust certificate catch, and do sound methods pass? Markdown on standard output.

    python -m benchmarks.certificate --data DIR [--images 16] [--values FILE.csv]

Limits were set on the model `garments10_lite0` and on the small network of tests/audit/test_certificate.py;
the other models are the test of them.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from audit.attributions import AttributionMethod
from audit.attributions._smoothgrad import SmoothGrad
from audit.attributions.blur_integrated_gradients import BlurIntegratedGradients
from audit.attributions.grad_cam import GradCam
from audit.attributions.grad_cam_plus_plus import GradCamPlusPlus
from audit.attributions.gradient import Gradient
from audit.attributions.integrated_gradients import IntegratedGradients
from audit.certificate import DEFAULT_LIMITS, certify
from audit.classifier import Classifier, Preprocessing
from audit.keras_network import KerasNetwork
from audit.types import BACKGROUND, FOREGROUND
from tests.audit import broken

MODELS = {
    "garments10_lite0": "garments/manifest.csv",
    "tshirt_longsleeve_reads_faces": "garments_face/manifest_balanced.csv",
    "tshirt_longsleeve_reads_garments": "garments_face/manifest_balanced.csv",
    "tshirt_shoes_sees_faces_uses_garments": "garments_face_easy/manifest_shortcut.csv",
}
"""Model -> the manifest its sample is drawn from."""


@dataclass(frozen=True)
class Case:
    """A model, methods by (fault, method) name, and the foreground."""

    classifier: Classifier
    methods: Mapping[str, AttributionMethod]
    foreground: np.ndarray


def sample(root: Path, manifest: str, classes: Sequence[str], n_images: int) -> tuple[np.ndarray, ...]:
    """Images, labels and foreground of the test split, classes in turn."""
    path = root / manifest
    table = pd.read_csv(path)
    table = table[(table["split"] == "test") & table["label"].isin(classes)].sort_values("path")
    table = table.assign(turn=table.groupby("label").cumcount()).sort_values(["turn", "label"], kind="stable")
    step = max(len(table) // (4 * n_images), 1)
    chosen = table[table["turn"] % step == 0].head(n_images)
    images = [_pixels(path.parent / name, "RGB") for name in chosen["path"]]
    masks = [_pixels(path.parent / name, "L") for name in chosen["mask_path"]]
    labels = np.array([classes.index(label) for label in chosen["label"]], dtype=np.int64)
    foreground = np.where(np.stack(masks) > 0.5, FOREGROUND, BACKGROUND).astype(np.uint8)
    return np.stack(images), labels, foreground


def cases(
    classifier: Classifier, foreground: np.ndarray, base: Mapping[str, AttributionMethod]
) -> Iterator[Case]:
    """The sound case, every fault of explainers, of the model and of the annotations."""
    first = classifier.feature_layers[1]
    faults: dict[str, AttributionMethod] = {f"sound|{name}": method for name, method in base.items()}
    for name, method in base.items():
        changes = broken.ALTERATIONS | (broken.ABSOLUTE if "integrated" in name else {})
        faults |= {f"{fault}|{name}": broken.Altered(method, change) for fault, change in changes.items()}
        faults |= {
            f"{fault}|{name}": broken.Misled(method, change) for fault, change in broken.MISLEADINGS.items()
        }
    faults |= {f"{fault}|no model": method for fault, method in broken.WITHOUT_MODEL.items()}
    special: dict[str, dict[str, AttributionMethod]] = {
        "first layer": {"grad_cam": GradCam(layer=first), "grad_cam_plus_plus": GradCamPlusPlus(layer=first)},
        "few steps": {
            "integrated_gradients": IntegratedGradients(n_steps=4),
            "blur_integrated_gradients": BlurIntegratedGradients(n_steps=2),
        },
    }
    for fault, made in special.items():
        faults |= {f"{fault}|{name}": method for name, method in made.items() if name in base}
    yield Case(classifier, faults, foreground)
    cheap = {name: base[name] for name in ("gradient", "grad_cam") if name in base}
    for fault, model in _broken_models(classifier).items():
        yield Case(model, {f"model: {fault}|{name}": method for name, method in cheap.items()}, foreground)
    for fault, masks in _broken_masks(foreground).items():
        yield Case(classifier, {f"masks: {fault}|{name}": method for name, method in cheap.items()}, masks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with models/ and garments/")
    parser.add_argument("--images", type=int, default=16, help="images of each sample")
    parser.add_argument("--models", nargs="*", default=list(MODELS), help="which models")
    parser.add_argument("--methods", nargs="*", default=list(_methods()), help="which methods")
    parser.add_argument("--values", type=Path, help="CSV file for every row of every certificate")
    parser.add_argument("--sound", action="store_true", help="sound methods only")
    chosen = parser.parse_args(arguments)
    found = []
    for model in chosen.models:
        classifier, classes = load(chosen.data, model)
        images, labels, foreground = sample(chosen.data, MODELS[model], classes, chosen.images)
        seeds = np.arange(len(images), dtype=np.uint64)
        base = {name: broken.Remembered(_methods()[name]) for name in chosen.methods}
        every = cases(classifier, foreground, base)
        sound = Case(classifier, {f"sound|{name}": method for name, method in base.items()}, foreground)
        for case in [sound] if chosen.sound else every:
            started = time.perf_counter()
            rows = certify(
                case.classifier, case.methods, images, labels, seeds, case.foreground, DEFAULT_LIMITS
            )
            found.append(rows.assign(model=model))
            print(
                f"{model}: {len(case.methods)} cases, {time.perf_counter() - started:.0f} s", file=sys.stderr
            )
            if chosen.values:
                pd.concat(found, ignore_index=True).to_csv(chosen.values, index=False)
    print(_report(pd.concat(found, ignore_index=True)))
    return 0


def _methods() -> dict[str, AttributionMethod]:
    return {
        "gradient": Gradient(),
        "grad_cam": GradCam(),
        "grad_cam_plus_plus": GradCamPlusPlus(),
        "integrated_gradients": IntegratedGradients(),
        "blur_integrated_gradients": BlurIntegratedGradients(),
        "gradient+smoothgrad": SmoothGrad(Gradient()),
    }


def load(root: Path, name: str) -> tuple[Classifier, list[str]]:
    import keras

    model = keras.saving.load_model(root / "models" / f"{name}.keras", compile=False)
    names = root / "models" / f"{name}.classes.txt"
    classes = names.read_text().split()
    return Classifier(KerasNetwork(model), Preprocessing((255.0,) * 3, (0.0,) * 3)), classes


def _pixels(path: Path, mode: str) -> np.ndarray:
    with Image.open(path) as image:
        small = image.convert(mode).resize((224, 224), Image.Resampling.BILINEAR)
        return np.asarray(small, dtype=np.float32) / np.float32(255)


def _broken_models(classifier: Classifier) -> dict[str, Classifier]:
    network, options = classifier._network, {"head": classifier.head, "batch_size": classifier.batch_size}
    sound = classifier._preprocessing
    return {
        "random weights": classifier.randomised(classifier.weight_groups, 1234),
        "channels swapped": Classifier(network, replace(sound, is_reversed=True), **options),
        "dropout on": Classifier(broken.Restless(network), sound, **options),
    }


def _broken_masks(foreground: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "shifted": np.roll(foreground, (28, 28), axis=(1, 2)),
        "upside down": foreground[:, ::-1],
        "transposed": foreground.transpose(0, 2, 1),
        "another image's": np.roll(foreground, 1, axis=0),
    }


def _report(rows: pd.DataFrame) -> str:
    """Verdict of every case, then checks against faults."""
    parts = rows["method"].str.split("|", n=1, expand=True)
    rows = rows.assign(fault=parts[0], explainer=parts[1])
    verdicts = rows.groupby(["model", "fault", "explainer"], as_index=False)["passed"].all()
    sound = verdicts[verdicts["fault"] == "sound"]
    faulty = verdicts[verdicts["fault"] != "sound"]
    lines = ["Sound methods that pass:", "", "| model | " + " | ".join(sound["explainer"].unique()) + " |"]
    lines.append("|---|" + "---|" * sound["explainer"].nunique())
    for model, group in sound.groupby("model"):
        failed = rows[(rows["model"] == model) & (rows["fault"] == "sound") & ~rows["passed"]]
        cells = [
            "yes" if passed else "no: " + ", ".join(failed.loc[failed["explainer"] == name, "check"])
            for name, passed in zip(group["explainer"], group["passed"], strict=True)
        ]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    lines += ["", "Faults caught:", "", "| model | caught | of | share |", "|---|---|---|---|"]
    for model, group in faulty.groupby("model"):
        n_caught = int((~group["passed"]).sum())
        lines.append(f"| {model} | {n_caught} | {len(group)} | {n_caught / len(group):.1%} |")
    missed = faulty[faulty["passed"]]
    lines += [
        "",
        "Missed: "
        + (", ".join(f"{row.model}: {row.fault} ({row.explainer})" for row in missed.itertuples()) or "none"),
    ]
    failing = rows[(rows["fault"] != "sound")].assign(failed=lambda table: ~table["passed"])
    shares = failing.pivot_table(index="fault", columns="check", values="failed", aggfunc="mean")
    lines += [
        "",
        "Share of cases in which a check failed:",
        "",
        "| fault | " + " | ".join(shares.columns) + " |",
    ]
    lines.append("|---|" + "---|" * len(shares.columns))
    for fault, values in shares.iterrows():
        lines.append(f"| {fault} | " + " | ".join("" if np.isnan(v) else f"{v:.0%}" for v in values) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
