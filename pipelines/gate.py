"""A rules file and one or two run folders -> the outcome of a release gate. It fails closed."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from audit import gate
from audit.errors import ConfigError
from audit.gate import GateReport, Level, Rule
from pipelines.compare import CompareConfig, compared, finished


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class WaiverConfig(_Section):
    """`waiver`: until when a broken rule does not fail the gate, and why."""

    until: date = Field(description="last day, YYYY-MM-DD")
    reason: str = Field(min_length=1, description="why; shown with the outcome")


class RuleConfig(_Section):
    """`[[rule]]`: one statistic and one line."""

    statistic: str = Field(description="status, mass_inside, accuracy, coverage, change.mass_inside, …")
    classes: list[str] | None = Field(None, min_length=1, description="all of the model by default")
    methods: list[str] | None = Field(None, min_length=1, description="all of the run by default")
    min: float | None = Field(None, allow_inf_nan=False, description="the least that passes")
    max: float | None = Field(None, allow_inf_nan=False, description="the most that passes")
    forbid: list[str] | None = Field(None, min_length=1, description="words that fail")
    level: Literal["error", "warn"] = Field("error", description="warn: shown, and the gate passes")
    waiver: WaiverConfig | None = None

    @model_validator(mode="after")
    def _has_one_line(self) -> "RuleConfig":
        given = [name for name in ("min", "max", "forbid") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected exactly one of min, max, forbid; found {' and '.join(given) or 'none'}"
            )
        return self

    def rule(self) -> Rule:
        """The value that `audit` takes."""
        waiver = None
        if self.waiver is not None:
            waiver = gate.Waiver(self.waiver.until.isoformat(), self.waiver.reason)
        return Rule(
            statistic=self.statistic,
            classes=tuple(self.classes or ()),
            methods=tuple(self.methods or ()),
            minimum=self.min,
            maximum=self.max,
            forbidden=tuple(self.forbid or ()),
            level=Level(self.level),
            waiver=waiver,
        )


@dataclass(frozen=True)
class Gate:
    """What was held against which rules, and how it came out.

    Attributes:
        run, reference: folders; the reference is None where there is none.
        rules_file: where the rules stand.
        report: the outcome.
    """

    run: Path
    reference: Path | None
    rules_file: Path
    report: GateReport


def read_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a TOML file, in its order.

    Raises:
        ConfigError: unreadable, no rule, an unknown key or a wrong value; the message names the rule and the key.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file; a gate needs a file with [[rule]] entries"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from None
    for key in values:
        if key != "rule":
            raise ConfigError(f"{path}: unknown key {key!r}; rules are written as [[rule]]")
    entries = values.get("rule", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{path}: expected [[rule]] with two brackets, found one rule that is no list")
    if not entries:
        raise ConfigError(
            f"{path}: expected at least one [[rule]], found none: a gate without rules would let all pass"
        )
    return tuple(_read_rule(entry, f"{path}: rule {number}") for number, entry in enumerate(entries, start=1))


def hold(run: Path, rules_file: Path, reference: Path | None, config: CompareConfig, today: date) -> Gate:
    """Holds a run against a rules file.

    Raises:
        ConfigError: the rules cannot be meant.
        RunError: a run is missing, not finished or of another schema.
    """
    rules = read_rules(rules_file)
    candidate = finished(run)
    comparison = compared(finished(reference), candidate, config) if reference else None
    try:
        report = gate.check(rules, candidate, comparison, today.isoformat())
    except ConfigError as error:
        raise ConfigError(f"{rules_file}: {error}") from None
    return Gate(run, reference, rules_file, report)


def today() -> date:
    """The day in UTC, by which waivers end: the same for everybody who runs the gate."""
    return datetime.now(UTC).date()


def _read_rule(values: dict[str, Any], where: str) -> Rule:
    # TOML has whole numbers where a rule wants any.
    numbers = {
        key: float(value) for key, value in values.items() if type(value) is int and key in ("min", "max")
    }
    try:
        return RuleConfig.model_validate(values | numbers).rule()
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    """The first fault as one sentence; a misspelt key before the one that it leaves missing."""
    fault = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    place = [str(part) for part in fault["loc"]]
    model: type[BaseModel] = WaiverConfig if place[:1] == ["waiver"] and len(place) > 1 else RuleConfig
    if fault["type"] == "extra_forbidden":
        return f"unknown key {'.'.join(place)!r}; {_nearest(place[-1], list(model.model_fields))}"
    if fault["type"] == "missing":
        return f"{'.'.join(place)!r} is needed"
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    if fault["type"].startswith("date"):
        return f"{'.'.join(place)}: expected a day without quotation marks such as 2027-01-31, found {fault['input']!r}"
    return f"{'.'.join(place)}: {fault['msg']}, found {fault['input']!r}"


def _nearest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
