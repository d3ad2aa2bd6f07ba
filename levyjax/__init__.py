"""levyjax: Lévy-driven SDEs of stochastic-gradient methods, their exits, and the tails of real gradient noise."""

import importlib

__version__ = "0.1.0"

# Public name -> the module that defines it. Modules load on first use, so that `import levyjax` and
# `levyjax --help` stay fast and the configuration layer works without jax.
_PUBLIC = {
    "EscapeProblem": "escape", "Plan": "escape", "predict": "escape", "simulate": "escape",
    "add_stable_noise": "dynamics",
}  # fmt: skip
_MODULES = (
    "basins", "claims", "config", "dynamics", "engine", "escape", "landscapes", "noise", "plots",
    "random", "records", "schedules", "solvers", "stable", "tails", "training",
)  # fmt: skip

__all__ = ["__version__", *_PUBLIC, *_MODULES]


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f"levyjax.{name}")
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"levyjax.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'levyjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
