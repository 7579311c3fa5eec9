"""A finished run built by hand: photographs of scikit-image, drawn masks and maps, numbers put down here."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data

from audit import tables
from audit.types import BACKGROUND, FOREGROUND, AuditRun, ClassVerdict, Exemplar, Status, Suggestion
from tests.reports.chain_tables import chain_tables, demonstrations

SIZE = 224
METHODS = ("grad_cam", "integrated_gradients")
NAN = math.nan


def ellipse(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    """bool (SIZE, SIZE); centre and radii as shares of the picture."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1


def bump(cx: float, cy: float, width: float) -> np.ndarray:
    """float32 (SIZE, SIZE), one smooth hill."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    return np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2)).astype(np.float32)


def grainy(hill: np.ndarray, seed: int) -> np.ndarray:
    """A hill as signed grain, as path methods give it."""
    return (hill * np.random.default_rng(seed).normal(0.3, 1.0, hill.shape)).astype(np.float32)


PHOTOS: dict[str, tuple[str, np.ndarray, tuple[float, float], dict[str, np.ndarray]]] = {
    # class: (photograph, foreground, where the model looks, regions)
    "t-shirt": (
        "astronaut",
        ellipse(0.43, 0.72, 0.3, 0.26),
        (0.44, 0.23),
        {"face": ellipse(0.44, 0.22, 0.1, 0.15)},
    ),
    "mug": ("coffee", ellipse(0.5, 0.5, 0.27, 0.33), (0.5, 0.47), {}),
    "cat": ("chelsea", ellipse(0.5, 0.55, 0.42, 0.42), (0.52, 0.4), {}),
}


def exemplar(label: str, number: int, role: str) -> Exemplar:
    name, foreground, (x, y), regions = PHOTOS[label]
    picture = np.asarray(Image.fromarray(getattr(data, name)()).resize((SIZE, SIZE)))
    turned = number % 2 == 1

    def way(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array[:, ::-1]) if turned else array

    hill = bump(x + 0.02 * number, y + 0.01 * number, 0.09 + 0.01 * number)
    return Exemplar(
        sample_id=f"{label}/{number:04d}.jpg",
        label=label,
        predicted="cat" if (label, number) == ("mug", 0) else label,
        role=role,
        image=way(picture),
        foreground=way(np.where(foreground, FOREGROUND, BACKGROUND).astype(np.uint8)),
        regions={region: way(mask) for region, mask in regions.items()},
        maps={"grad_cam": way(hill), "integrated_gradients": way(grainy(hill, number))},
    )


def verdict(label: str, method: str, status: Status, **changes: Any) -> ClassVerdict:
    blank = dict.fromkeys(
        (
            "necessity",
            "necessity_low",
            "necessity_high",
            "sufficiency",
            "sufficiency_low",
            "sufficiency_high",
        ),
        NAN,
    )
    values: dict[str, Any] = {
        "confound": None,
        "n": 120,
        "mass_inside": 0.61,
        "mass_inside_low": 0.57,
        "mass_inside_high": 0.65,
        "lift": NAN,
        "association": NAN,
        "q_value": NAN,
        "n_needed": NAN,
        "reasons": (),
        **blank,
        **changes,
    }
    return ClassVerdict(label=label, method=method, status=status, **values)


VERDICTS = (
    verdict(
        "cat",
        "grad_cam",
        Status.SOUND,
        mass_inside=0.744,
        mass_inside_low=0.713,
        mass_inside_high=0.776,
        reasons=(
            "74 % of the mass is on the cat, more than the 55 % of its area.",
            "No confound has a lift of 1.5 or more.",
        ),
    ),
    verdict("cat", "integrated_gradients", Status.SOUND, reasons=("No confound has a lift of 1.5 or more.",)),
    verdict(
        "mug",
        "grad_cam",
        Status.UNDECIDED,
        n=8,
        mass_inside=0.52,
        mass_inside_low=0.31,
        mass_inside_high=0.73,
        n_needed=34,
        reasons=("Only 8 samples could be measured; 10 are asked for.",),
    ),
    verdict(
        "mug",
        "integrated_gradients",
        Status.UNDECIDED,
        n=0,
        mass_inside=NAN,
        mass_inside_low=NAN,
        mass_inside_high=NAN,
        reasons=("No map of this class has mass.",),
    ),
    verdict(
        "t-shirt",
        "grad_cam",
        Status.SUSPECT,
        confound="face",
        mass_inside=0.112,
        mass_inside_low=0.083,
        mass_inside_high=0.144,
        lift=9.42,
        association=0.983,
        q_value=0.0004,
        reasons=(
            "A face has 9.4 times the mass its area explains.",
            "It is in 118 of 120 t-shirt photos and in 0 of 128 others.",
            "No intervention was run, so this is a suspicion and not a proof.",
        ),
    ),
    verdict(
        "t-shirt",
        "integrated_gradients",
        Status.SUSPECT,
        confound="face",
        mass_inside=0.273,
        mass_inside_low=0.24,
        mass_inside_high=0.31,
        lift=4.1,
        association=0.983,
        q_value=0.012,
        reasons=("A face has 4.1 times the mass its area explains.",),
    ),
)

SUGGESTIONS = (
    Suggestion(
        "t-shirt",
        "add without confound",
        "face",
        2,
        120,
        34,
        "Add about 34 t-shirt photos without a visible face (now 2 of 120); 118 for an association of 50 %.",
        ("t-shirt/0000.jpg", "t-shirt/0077.jpg"),
    ),
    Suggestion(
        "mug",
        "add with confound",
        "face",
        0,
        8,
        20,
        "Add about 20 mug photos with a visible face (now 0 of 8).",
        ("mug/0000.jpg",),
    ),
    Suggestion(
        "cat",
        "add with confound",
        "face",
        0,
        120,
        40,
        "Add about 40 cat photos with a visible face (now 0 of 120).",
        (),
    ),
    Suggestion(
        "t-shirt",
        "add without confound",
        "text",
        90,
        120,
        7,
        "Add about 7 t-shirt photos without text (now 90 of 120).",
        (),
    ),
)

MANIFEST: dict[str, Any] = {
    "fingerprint": "3f1c9a52d07be841",
    "started": "2026-11-03T06:12:44+00:00",
    "seconds": 192.4,
    "n_gradients": 31744,
    "methods": list(METHODS),
    "counts": {"samples": 251, "audited": 248, "quarantined": 3},
    "quarantine": {"unreadable image": 2, "unknown label": 1},
    "warnings": [
        "Accuracy of the class 'mug' is 38 %, near chance: do value_range and the class order fit the model?"
    ],
    "versions": {"rightreasons": "0.1.0", "keras": "3.15.0", "numpy": "2.4.0", "python": "3.11.9"},
    "model": {
        "path": "models/garments.keras",
        "digest": "9d3e" * 16,
        "head": "softmax",
        "feature_layer": "top_conv",
    },
    "data": {"path": "photos/manifest.csv", "reader": "manifest", "n_splits": 1},
    "config": {
        "attributions": {"methods": list(METHODS), "polarity": "positive", "parameters": {}},
        "verdicts": {"q": 0.05, "minimum_samples": 10, "delta": 0.05, "minimum_change": 0.1},
        "run": {"workers": 2, "seed": 0, "cache": None},
    },
    "classes": {
        "cat": {"n": 120, "n_correct": 117, "accuracy": 0.975, "area_inside": 0.553},
        "mug": {"n": 8, "n_correct": 3, "accuracy": 0.375, "area_inside": 0.281},
        "t-shirt": {"n": 120, "n_correct": 120, "accuracy": 1.0, "area_inside": 0.247},
    },
}


def attribution_row(shown: Exemplar, method: str, mass: float) -> dict[str, Any]:
    row: dict[str, Any] = {
        column.name: NAN for column in tables.ATTRIBUTIONS.columns if column.kind == "float64"
    }
    words = {
        "sample_id": shown.sample_id,
        "method": method,
        "target": shown.label,
        "status": "ok",
        "reason": "",
    }
    return {**row, **words, "mass_inside": mass, "n_gradients": 50, "shared_interest_case": None}


def run_tables(exemplars: tuple[Exemplar, ...]) -> dict[str, Any]:
    predictions = [
        {
            "sample_id": shown.sample_id,
            "path": f"photos/{shown.sample_id}",
            "label": shown.label,
            "split": "test",
            "predicted": shown.predicted,
            "confidence": 0.93,
            "margin": 0.9,
            "entropy": 0.2,
            "correct": shown.predicted == shown.label,
            "digest": "ab" * 32,
        }
        for shown in exemplars
    ]
    attributions = [
        attribution_row(shown, method, 0.071 + 0.1 * number)
        for shown in exemplars
        for number, method in enumerate(METHODS)
    ]
    confounds = [
        {
            "sample_id": shown.sample_id,
            "method": method,
            "confound": region,
            "present": True,
            "mass_inside": 0.81,
            "area_inside": 0.05,
            "lift": 16.2,
            "edge_mass_inside": 0.11,
            "untrained_mass_inside": NAN,
        }
        for shown in exemplars
        for method in METHODS
        for region in shown.regions
    ]
    quarantine = [
        {
            "sample_id": "mug/0009.jpg",
            "path": "photos/mug/0009.jpg",
            "label": "mug",
            "reason": "unreadable image",
            "detail": "expected a picture, found 0 bytes",
        },
        {
            "sample_id": "mug/0010.jpg",
            "path": "photos/mug/0010.jpg",
            "label": "mug",
            "reason": "unreadable image",
            "detail": "truncated after 4096 of 81234 bytes",
        },
        {
            "sample_id": "cup/0001.jpg",
            "path": "photos/cup/0001.jpg",
            "label": "cup",
            "reason": "unknown label",
            "detail": "expected one of cat, mug, t-shirt",
        },
    ]
    return {
        "predictions": tables.frame(tables.PREDICTIONS, predictions),
        "attributions": tables.frame(tables.ATTRIBUTIONS, attributions),
        "confounds": tables.frame(tables.CONFOUNDS, confounds),
        "quarantine": tables.frame(tables.QUARANTINE, quarantine),
    }


@pytest.fixture(scope="session")
def audit_run() -> AuditRun:
    """Three classes of four that the model knows: one suspect by face, one undecided, one sound."""
    exemplars = tuple(
        exemplar(label, number, "worst" if number < 3 else "typical")
        for label in PHOTOS
        for number in range(5)
    )
    return AuditRun(
        name="garments-2026-11-03",
        manifest=MANIFEST,
        classes=("cat", "mug", "shoe", "t-shirt"),
        tables=run_tables(exemplars) | chain_tables(demonstrations(exemplars)),
        verdicts=VERDICTS,
        suggestions=SUGGESTIONS,
        exemplars=exemplars,
        demonstrations=demonstrations(exemplars),
    )


def renamed(run: AuditRun, label: str, name: str) -> AuditRun:
    """The run with a class of another name, everywhere a page shows it, and as part of its sample ids."""

    def new(text: str) -> str:
        return text.replace(label, name)

    named = {
        key: frame.assign(
            **{
                c: frame[c].map(new, na_action="ignore")
                for c in (
                    "sample_id",
                    "path",
                    "label",
                    "predicted",
                    "predicted_control",
                    "description",
                    "text",
                )
                if c in frame
            },
            **{
                c: frame[c].where(frame[c] != "face", name)
                for c in ("confound", "kind", "property", "check", "method")
                if c in frame
            },
        )
        for key, frame in run.tables.items()
    }
    entries = {new(key): value for key, value in run.manifest["classes"].items()}
    return dataclasses.replace(
        run,
        manifest={**run.manifest, "classes": entries, "warnings": [name], "data": {"path": name}},
        classes=tuple(new(text) for text in run.classes),
        tables=named,
        verdicts=tuple(
            dataclasses.replace(
                v, label=new(v.label), confound=v.confound and name, reasons=tuple(map(new, v.reasons))
            )
            for v in run.verdicts
        ),
        suggestions=tuple(
            dataclasses.replace(
                s, label=new(s.label), confound=name, text=new(s.text), exemplars=tuple(map(new, s.exemplars))
            )
            for s in run.suggestions
        ),
        exemplars=tuple(
            dataclasses.replace(
                e,
                sample_id=new(e.sample_id),
                label=new(e.label),
                predicted=new(e.predicted),
                regions=dict.fromkeys((name,) if e.regions else (), next(iter(e.regions.values()), None)),
            )
            for e in run.exemplars
        ),
        demonstrations=tuple(
            dataclasses.replace(d, sample_id=new(d.sample_id), label=new(d.label), confound=name)
            for d in run.demonstrations
        ),
    )
