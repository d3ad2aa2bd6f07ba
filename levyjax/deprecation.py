"""Public names that were renamed or moved: the old one still works, with a warning."""

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` that gives the new name's object for an old name."""
    return _getter(module, {old: (module, new) for old, new in names.items()})


def moved(module: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` that gives what now is in other modules."""
    return _getter(module, {name: (new, name) for name, new in modules.items()})


def _getter(module: str, known: Mapping[str, tuple[str, str]]) -> Callable[[str], Any]:
    def get(name: str) -> Any:
        if name not in known:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(f"{module}.{name} is now {'.'.join(known[name])}.", DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(known[name][0]), known[name][1])

    return get
