"""From the name a user writes to the method: aliases, `+smoothgrad`, parameters.

The spellings are those of the field's papers and packages and of the hosted services; a name that is no alias
must be the name of a file in this folder.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import audit.attributions
from audit.attributions import AttributionMethod
from audit.attributions._smoothgrad import SmoothGrad
from audit.errors import ConfigError
from audit.plugins import find

SUFFIX = "smoothgrad"

_COPIES_OF_A_PATH = 4
"""Noisy copies around a method that walks a path, unless parameters say otherwise: each copy takes about 40
gradients, and the walk averages gradients already. The hosted services took 3 by default."""

_ALIASES = {
    "gradient": (
        "gradients",
        "saliency",
        "vanilla",
        "vanilla_gradient",
        "vanilla_gradients",
        "input_gradient",
    ),
    "integrated_gradients": ("ig", "integrated_gradient", "integrated_gradients_attribution"),
    "blur_integrated_gradients": ("blur_ig", "big", "blurig", "blur_integrated_gradient"),
    "guided_integrated_gradients": ("guided_ig", "gig", "guidedig", "guided_integrated_gradient"),
    "grad_cam": ("gradcam",),
    "grad_cam_plus_plus": (
        "gradcam++",
        "grad_cam++",
        "gradcam_plus_plus",
        "gradcampp",
        "grad_cam_pp",
        "gradcam_pp",
    ),
    "xrai": ("xrai_attribution",),
    SUFFIX: ("sg", "smooth_grad"),
}
_CANONICAL = {alias: name for name, aliases in _ALIASES.items() for alias in (name, *aliases)}

# How Vertex AI spells a method: integratedGradientsAttribution.
_CAMEL = {"integratedgradientsattribution": "integrated_gradients", "xraiattribution": "xrai"}


def canonical(name: str) -> str:
    """The name under which a method's results are stored: `Blur-IG+SG` is
    `blur_integrated_gradients+smoothgrad`.

    Raises:
        ConfigError: no method is called that; the message names the nearest one.
    """
    method, is_smoothed = _parsed(name)
    return f"{method}+{SUFFIX}" if is_smoothed else method


def build(name: str, parameters: Mapping[str, Mapping[str, Any]], error_budget: float) -> AttributionMethod:
    """The method a user names, with the user's parameters.

    Args:
        name: a file of this folder or an alias, `+smoothgrad` behind it or not; `smoothgrad` alone is around
            the gradient.
        parameters: fields of methods by the method's name in any spelling; those of `smoothgrad` stand under
            its name.
        error_budget: for methods that have a field of that name, unless their parameters say otherwise.

    Raises:
        ConfigError: the method or a parameter is unknown, or a value is out of range.
    """
    method_name, is_smoothed = _parsed(name)
    wanted = _by_canonical_name(parameters)
    method = _made(find(audit.attributions, method_name), method_name, wanted, error_budget)
    if not is_smoothed:
        return method
    given = _checked(SUFFIX, wanted.get(SUFFIX, {}), _field_names(SmoothGrad) - {"method"})
    defaults = {"n_samples": _COPIES_OF_A_PATH} if hasattr(method, "error_budget") else {}
    return SmoothGrad(method, **{**defaults, **given})


def plain(name: str) -> str:
    """The method without noisy copies around it."""
    return _parsed(name)[0]


def _parsed(name: str) -> tuple[str, bool]:
    """The method's file and whether it is smoothed."""
    parts = [_one(part, name) for part in _without_plus_plus(name).split("+")]
    if parts == [SUFFIX]:
        return "gradient", True
    if len(parts) == 1:
        return parts[0], False
    if len(parts) == 2 and parts[1] == SUFFIX and parts[0] != SUFFIX:
        return parts[0], True
    raise ConfigError(f"attributions: expected a method, or a method and +{SUFFIX}; found {name!r}")


def _without_plus_plus(name: str) -> str:
    """`grad-cam++` with its pluses in words, so that a plus only joins."""
    return name.replace("++", "_plus_plus")


def _one(part: str, name: str) -> str:
    """The file of one part of a name."""
    plain = part.strip().lower().replace("-", "_").replace(" ", "_")
    found = _CAMEL.get(plain) or _CANONICAL.get(plain, plain)
    if not found:
        raise ConfigError(f"attributions: expected a method, or a method and +{SUFFIX}; found {name!r}")
    if found != SUFFIX:
        find(audit.attributions, found)
    return found


def _by_canonical_name(parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Parameters by canonical name; two spellings of one method are a contradiction."""
    named: dict[str, Mapping[str, Any]] = {}
    for spelling, given in parameters.items():
        name = _one(_without_plus_plus(spelling), spelling)
        if name in named:
            raise ConfigError(
                f"attributions.parameters: {name} is given twice, the second time as {spelling!r}"
            )
        named[name] = given
    return named


def _made(
    kind: Any, name: str, wanted: Mapping[str, Mapping[str, Any]], error_budget: float
) -> AttributionMethod:
    """A method of class `kind` from its fields."""
    fields = _field_names(kind)
    defaults = {"error_budget": error_budget} if "error_budget" in fields else {}
    method: AttributionMethod = kind(**{**defaults, **_checked(name, wanted.get(name, {}), fields)})
    return method


def _field_names(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind) if field.init}


def _checked(name: str, given: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    """The parameters of a method; lists, as TOML has them, become tuples."""
    unknown = sorted(set(given) - known)
    if unknown:
        expected = ", ".join(sorted(known)) or "none (it has no parameters)"
        raise ConfigError(f"attributions.parameters.{name}: expected {expected}; found {', '.join(unknown)}")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
