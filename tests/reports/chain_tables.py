"""The tables behind the verdicts of the hand-made run, and pictures of its interventions: numbers put down here."""

import math
from typing import Any

import numpy as np

from audit import tables
from audit.types import Demonstration, Exemplar

NAN = math.nan


def three(name: str, mean: float, low: float, high: float) -> dict[str, float]:
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def object_row(
    label: str, method: str, n: int, mass: tuple[float, float, float], area: float
) -> dict[str, Any]:
    return {
        "label": label,
        "method": method,
        "n": n,
        **three("mass_inside", *mass),
        "area_inside": area,
        "edge_mass_inside": 0.187,
        "untrained_mass_inside": 0.223,
        "n_untrained": 30,
        **three("excess", mass[0] - area, mass[1] - area, mass[2] - area),
    }


def screen_row(label: str, confound: str, n_with: int, **changes: Any) -> dict[str, Any]:
    return {
        "label": label,
        "method": "grad_cam",
        "confound": confound,
        "n_class": 120,
        "n_with": n_with,
        "n_others": 128,
        "n_others_with": 0,
        "share": n_with / 120,
        "others_share": 0.0,
        **three("association", n_with / 120, 0.937, 0.996),
        "n": n_with,
        "mass_inside": 0.471,
        "area_inside": 0.05,
        "edge_mass_inside": 0.08,
        "untrained_mass_inside": 0.061,
        "n_untrained": 28,
        "lift": 9.42,
        **three("excess", 0.391, 0.352, 0.43),
        "q_value": 0.0004,
        "draws_mass": True,
        "is_bound": True,
        **changes,
    }


def effect_rows(
    label: str, confound: str, kind: str, link: str, outcome: str, mean: float, fills: dict[str, float]
) -> list[dict[str, Any]]:
    shared = {"label": label, "confound": confound, "kind": kind, "link": link}
    whole = {
        **shared,
        "fill": "",
        "n_tried": 41.0,
        "n": 37.0,
        "before": 0.962,
        "after": 0.337,
        "control": 0.948,
        "turned": 0.27,
        "control_turned": 0.97,
        **three("effect", mean, mean - 0.062, mean + 0.062),
        "q_value": 0.0021,
        "outcome": outcome,
        "text": f"With {kind} the {label} probability moves by {round(100 * mean)} points.",
    }
    margin = 0.062 if len(fills) == 1 else 0.1  # one fill is the whole
    unknown = {key: NAN for key, value in whole.items() if isinstance(value, float) and key not in shared}
    return [whole] + [
        {
            **whole,
            **unknown,
            "fill": fill,
            **three("effect", size, size - margin, size + margin),
            "outcome": None,
            "text": None,
        }
        for fill, size in fills.items()
    ]


def bond_row(label: str, name: str, **changes: Any) -> dict[str, Any]:
    quantiles = dict(zip(tables.spread_names("class"), (0.51, 0.58, 0.63, 0.71, 0.8), strict=True))
    quantiles |= dict(zip(tables.spread_names("others"), (0.2, 0.29, 0.36, 0.44, 0.57), strict=True))
    return {
        "label": label,
        "property": name,
        "n_class": 120,
        "n_others": 128,
        **three("separation", 0.83, 0.77, 0.88),
        "category": None,
        "share": NAN,
        "others_share": NAN,
        **quantiles,
        "is_changeable": True,
        "follow_q": 0.41,
        **changes,
    }


def discovered_row(label: str, confound: str) -> dict[str, Any]:
    return {
        "label": label,
        "confound": confound,
        "description": "small red smooth patch at the bottom right",
        "known": False,
        "tested": False,
        "reason": "it draws hardly more mass than its area",
        "n": 60,
        **three("share", 0.42, 0.3, 0.55),
        "n_elsewhere": 90,
        **three("elsewhere", 0.03, 0.01, 0.09),
        "lift": 2.31,
        "p_value": 0.003,
        "exemplars": [f"{label}/0001.jpg", f"{label}/0088.jpg"],
    }


def intervention_row(shown: Demonstration, after: float, control: float) -> dict[str, Any]:
    return {
        "sample_id": shown.sample_id,
        "confound": shown.confound,
        "kind": shown.kind,
        "fill": shown.fill,
        "label": shown.label,
        "score_before": 0.987,
        "score_after": after,
        "score_control": control,
        "predicted_after": "mug",
        "predicted_control": shown.label,
        "reason": "",
    }


def certificate_row(method: str, check: str, value: float, *, passed: bool) -> dict[str, Any]:
    reason = "Rank correlation of the maps of every two images."
    return {
        "method": method,
        "check": check,
        "value": value,
        "limit": 0.9,
        "passed": passed,
        "reason": reason,
    }


def demonstrations(exemplars: tuple[Exemplar, ...]) -> tuple[Demonstration, ...]:
    """The face taken out of two t-shirt photos."""
    made = []
    for shown in [e for e in exemplars if e.regions][:2]:
        (region,) = shown.regions.values()
        after = np.where(region[..., None], np.uint8(128), shown.image)
        control = np.where(np.roll(region, 90, axis=0)[..., None], np.uint8(128), shown.image)
        words = (shown.sample_id, shown.label, next(iter(shown.regions)), "remove", "mean")
        made.append(Demonstration(*words, shown.image, after, control, shown.foreground, region))
    return tuple(made)


def chain_tables(shown: tuple[Demonstration, ...]) -> dict[str, Any]:
    """The tables `objects`, `screens`, `effects`, `bonds`, `discovered`, `interventions` and `certificate`."""
    objects = [
        object_row("t-shirt", "grad_cam", 120, (0.112, 0.083, 0.144), 0.247),
        object_row("t-shirt", "integrated_gradients", 120, (0.273, 0.24, 0.31), 0.247),
        object_row("cat", "grad_cam", 120, (0.744, 0.713, 0.776), 0.553),
    ]
    screens = [
        screen_row("t-shirt", "face", 118),
        screen_row(
            "t-shirt", "face", 118, method="integrated_gradients", lift=4.1, mass_inside=0.205, q_value=0.012
        ),
        screen_row("t-shirt", "caption", 6, lift=1.1, mass_inside=0.055, draws_mass=False, is_bound=False),
        screen_row(
            "cat", "face", 2, n_others=128, lift=0.8, mass_inside=0.04, draws_mass=False, is_bound=False
        ),
    ]
    effects = [
        *effect_rows("t-shirt", "face", "remove", "necessity", "proof", 0.611, {"blur": 0.55, "mean": 0.67}),
        *effect_rows("t-shirt", "face", "transplant", "sufficiency", "open", 0.074, {"pasted": 0.074}),
        *effect_rows(
            "t-shirt", "brightness", "normalise", "necessity", "none", 0.012, {"whole picture": 0.012}
        ),
        *effect_rows("cat", "face", "remove", "necessity", "too few", 0.01, {}),
    ]
    bonds = [
        bond_row("t-shirt", "brightness"),
        bond_row(
            "t-shirt",
            "file_type",
            category="PNG",
            share=0.75,
            others_share=0.25,
            is_changeable=False,
            follow_q=0.034,
            **dict.fromkeys((*tables.spread_names("class"), *tables.spread_names("others")), NAN),
        ),
    ]
    checks = [
        certificate_row("grad_cam", "image_sensitivity", 0.412, passed=True),
        certificate_row("integrated_gradients", "image_sensitivity", 0.957, passed=False),
        certificate_row("integrated_gradients", "repeatability", 0.0, passed=True),
    ]
    rows = {
        tables.OBJECTS: objects,
        tables.SCREENS: screens,
        tables.EFFECTS: effects,
        tables.BONDS: bonds,
        tables.DISCOVERED: [discovered_row("t-shirt", "small red patch")],
        tables.INTERVENTIONS: [intervention_row(d, 0.314 + 0.1 * i, 0.971) for i, d in enumerate(shown)],
        tables.CERTIFICATE: checks,
    }
    return {table.name: tables.frame(table, found) for table, found in rows.items()}
