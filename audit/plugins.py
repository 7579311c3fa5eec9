"""The files of a folder become choices: the file name is what users type, `__all__` names the one public class."""

import importlib
import pkgutil
from difflib import get_close_matches
from types import ModuleType
from typing import Any

from audit.errors import ConfigError


def names(package: ModuleType) -> tuple[str, ...]:
    """The choices a package offers, sorted; a file that starts with an underscore is a helper, not a choice."""
    return tuple(
        sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name[0] != "_")
    )


def find(package: ModuleType, name: str) -> Any:
    """The public class in the file `name` of `package`.

    Raises:
        ConfigError: there is no such file; the message names the nearest one.
    """
    choices = names(package)
    if name not in choices:
        kind = package.__name__.rpartition(".")[2]
        near = get_close_matches(name, choices, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{kind}: expected one of {', '.join(choices)}; found {name!r}.{hint}")
    module = importlib.import_module(f"{package.__name__}.{name}")
    (public,) = module.__all__
    return getattr(module, public)
