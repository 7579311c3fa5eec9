"""What a rule of a gate may say, and what cannot be meant."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from audit.errors import ConfigError
from audit.tables import VERDICTS
from audit.types import AuditRun, ChangeKind, Comparison, Status

CHANGE, CERTIFICATE = "change", "certificate"
RISK, RISK_AUROC = "risk", "risk_auroc"
WORDS = ("status", "confound")
_OF_VERDICT = tuple(column.name for column in VERDICTS.columns if column.kind in ("float64", "int64"))
_OF_CLASS = ("accuracy", "samples", "quarantined", "coverage")
STATISTICS = (*WORDS, *_OF_VERDICT, *_OF_CLASS, RISK, RISK_AUROC, CERTIFICATE, CHANGE)
"""What a rule may be on; `certificate.` and `change.` go on with the name of a check or of a statistic."""


class Level(StrEnum):
    """What a broken rule does."""

    ERROR = "error"
    WARN = "warn"


@dataclass(frozen=True)
class Waiver:
    """Until when a broken rule does not fail the gate, and why.

    Attributes:
        until: the last day, as YYYY-MM-DD.
        reason: whoever reads the outcome sees it.
    """

    until: str
    reason: str


@dataclass(frozen=True)
class Rule:
    """One rule; exactly one of minimum, maximum and forbidden is given.

    Attributes:
        statistic: see the text of `audit/gate.py`.
        classes, methods: what it is about; empty is all.
        minimum, maximum: the line, which itself is allowed; None where it is not this.
        forbidden: words that must not occur.
        level: what a broken rule does.
        waiver: until when it does not.
    """

    statistic: str
    classes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    forbidden: tuple[str, ...] = ()
    level: Level = Level.ERROR
    waiver: Waiver | None = None

    @property
    def text(self) -> str:
        """The rule as a person would say it: `mass_inside >= 0.4`."""
        if self.minimum is not None:
            return f"{self.statistic} >= {self.minimum:g}"
        if self.maximum is not None:
            return f"{self.statistic} <= {self.maximum:g}"
        return f"{self.statistic} is not {' or '.join(self.forbidden)}"


def require_meaning(number: int, rule: Rule, run: AuditRun, comparison: Comparison | None) -> None:
    """A rule about nothing that exists is an error, not a pass.

    Raises:
        ConfigError: names the rule, what it says and the nearest name that exists.
    """
    head, _, rest = rule.statistic.partition(".")
    where = f"rule {number}"
    if head not in STATISTICS or (rest and head not in (CHANGE, CERTIFICATE)) or rule.statistic.endswith("."):
        raise ConfigError(f"{where}: {_unknown('statistic', rule.statistic, STATISTICS)}")
    if head == CHANGE and comparison is None:
        raise ConfigError(
            f"{where}: {rule.statistic} needs the run to compare with; name it with --reference RUN"
        )
    known = classes_of(rule, run, comparison)
    for kind, asked, choices in (
        ("class", rule.classes, known),
        ("method", rule.methods, run.manifest["methods"]),
    ):
        for name in asked:
            if name not in choices:
                raise ConfigError(f"{where}: {_unknown(kind, name, choices)}")
    _require_operator(where, rule, head, rest)


def _require_operator(where: str, rule: Rule, head: str, rest: str) -> None:
    """Words are forbidden, numbers have a line, changes may have either."""
    takes_words = head in WORDS or head == CHANGE
    takes_numbers = not takes_words or bool(rest)
    if rule.forbidden and not takes_words:
        raise ConfigError(f"{where}: {rule.statistic} is a number; expected min or max, found forbid")
    if not rule.forbidden and not takes_numbers:
        raise ConfigError(f"{where}: {rule.statistic} is a word; expected forbid, found min or max")
    known: dict[str, Sequence[str]] = {"status": tuple(Status), CHANGE: tuple(ChangeKind)}
    words = known.get(head, rule.forbidden)
    for word in rule.forbidden:
        if word not in words:
            raise ConfigError(f"{where}: forbid: {_unknown(head, word, [str(name) for name in words])}")


def _unknown(kind: str, found: str, choices: Sequence[str]) -> str:
    near = get_close_matches(found, choices, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(choices)}"
    return f"unknown {kind} {found!r}; {hint}"


def classes_of(rule: Rule, run: AuditRun, comparison: Comparison | None) -> tuple[str, ...]:
    """Classes that a rule may be about: a change also of those that only the reference has."""
    others = tuple(comparison.kinds) if comparison and rule.statistic.startswith(CHANGE) else ()
    return tuple(dict.fromkeys((*run.classes, *others)))
