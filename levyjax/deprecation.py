"""Public names that were renamed: the old one still works, with a warning."""

import importlib
import warnings
from collections.abc import Callable
from typing import Any


def renamed(module: str, names: dict[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` that gives the new name's object for an old name."""

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(f"{module}.{name} is now {names[name]}.", DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(module), names[name])

    return get
