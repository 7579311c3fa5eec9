"""JSON objects whose keys and values are checked; a fault names the key, what was expected, and the nearest key."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from audit.errors import ConfigError


@dataclass(frozen=True)
class Block:
    """An object of a file; keys are in snake_case, whichever way the file spells them.

    Attributes:
        values: what it holds.
        where: file and place, for messages.
    """

    values: Mapping[str, Any]
    where: str

    def fault(self, key: str, problem: str) -> ConfigError:
        """An error about one key."""
        return ConfigError(f"{self.where}: {key}: {problem}")

    def block(
        self, key: str, known: Collection[str], refused: Mapping[str, str] | None = None
    ) -> "Block | None":
        """The object under a key, see `block_of`; None where it is absent."""
        if self.values.get(key) is None:
            return None
        return block_of(self.values[key], f"{self.where}.{key}", known, refused)

    def named(self, key: str) -> dict[str, Any]:
        """The objects under a key by the names that a user gave them; they stay as they are spelled."""
        found = self.values.get(key)
        if not isinstance(found, dict) or not found:
            raise self.fault(key, f"expected an object with a name for each entry, found {_shown(found)}")
        return found

    def text(self, key: str) -> str | None:
        """A text that is not empty; None where it is absent."""
        found = self.values.get(key)
        if found is not None and (not isinstance(found, str) or not found):
            raise self.fault(key, f"expected a text, found {_shown(found)}")
        return found

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty where it is absent."""
        found = self.values.get(key)
        if found is None:
            return ()
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise self.fault(key, f"expected a list of texts, found {_shown(found)}")
        return tuple(found)

    def word(
        self, key: str, choices: Collection[str], aliases: Mapping[str, str] | None = None
    ) -> str | None:
        """One of some words, in any case; None where it is absent."""
        found = self.text(key)
        if found is None:
            return None
        plain = (aliases or {}).get(found.lower(), found.lower())
        if plain not in choices:
            near = get_close_matches(plain, choices, n=1, cutoff=0.0)[0]
            raise self.fault(
                key, f"expected one of {', '.join(choices)}; found {found!r}, the nearest is {near!r}"
            )
        return plain

    def number(self, key: str, low: float = -math.inf, high: float = math.inf) -> float | None:
        """A finite number in [low, high]; None where it is absent."""
        found = self.values.get(key)
        if found is None:
            return None
        is_number = isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
        if not is_number or not low <= found <= high:
            limits = "" if (low, high) == (-math.inf, math.inf) else f" in [{low:g}, {high:g}]"
            raise self.fault(key, f"expected a number{limits}, found {_shown(found)}")
        return float(found)

    def count(self, key: str, low: int, high: int) -> int | None:
        """A whole number in [low, high]; None where it is absent. JSON of protocol buffers may write it as a text."""
        found = self.values.get(key)
        if isinstance(found, str) and found.lstrip("-").isdigit():
            found = int(found)
        if found is not None and (
            isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high
        ):
            raise self.fault(key, f"expected a whole number in [{low}, {high}], found {_shown(found)}")
        return found

    def switch(self, key: str) -> bool | None:
        """True or false; None where it is absent."""
        found = self.values.get(key)
        if found is not None and not isinstance(found, bool):
            raise self.fault(key, f"expected true or false, found {_shown(found)}")
        return found

    def pair(self, key: str, low: int) -> tuple[int, int] | None:
        """Two whole numbers of at least `low`; None where they are absent."""
        found = self.values.get(key)
        if found is None:
            return None
        if (
            not isinstance(found, list | tuple)
            or len(found) != 2
            or not all(_is_whole(n, low) for n in found)
        ):
            raise self.fault(key, f"expected two whole numbers of at least {low}, found {_shown(found)}")
        return int(found[0]), int(found[1])


def block_of(
    found: Any, where: str, known: Collection[str], refused: Mapping[str, str] | None = None
) -> Block:
    """An object of a file with its keys in snake_case.

    Args:
        found: what the file holds there.
        where: file and place.
        known: keys that may occur.
        refused: keys that the service knew and that cannot be honoured here, with the reason.

    Raises:
        ConfigError: not an object, a key is unknown, refused or there in two spellings.
    """
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: expected an object, found {_shown(found)}")
    values: dict[str, Any] = {}
    for key, value in found.items():
        plain = snake(key)
        near = get_close_matches(plain, known, n=1, cutoff=0.0)[0]
        if plain in (refused or {}):
            reason = (refused or {})[plain]
            raise ConfigError(f"{where}: {key!r} is not supported: {reason}; the nearest key is {near!r}")
        if plain not in known:
            raise ConfigError(f"{where}: unknown key {key!r}; the nearest supported one is {near!r}")
        if plain in values:
            raise ConfigError(f"{where}: {plain!r} is there in two spellings; keep one")
        values[plain] = value
    return Block(values, where)


def snake(key: str) -> str:
    """`inputTensorName` as `input_tensor_name`."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).lower()


def _is_whole(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _shown(value: Any) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
