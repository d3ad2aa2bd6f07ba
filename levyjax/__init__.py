"""levyjax: Lévy-driven SDEs of stochastic-gradient methods, their exits, and the tails of real gradient noise."""

import importlib

__version__ = "0.1.0"

# What a first notebook needs -> the package that defines it. Packages load on first use, so that `import levyjax` and
# `levyjax --help` stay fast and the configuration layer works without jax.
_PUBLIC = {
    **dict.fromkeys(("DoubleWell", "MultiWell", "Quadratic", "Separable", "from_drift", "from_function"), "landscapes"),
    **dict.fromkeys(("Attraction", "Ball", "Box", "Ellipsoid", "HalfSpace", "Sublevel"), "basins"),
    **dict.fromkeys(("Empirical", "Gaussian", "Independent", "PerCoordinate", "Rotational", "StateDependent"), "noise"),
    **dict.fromkeys(("Adam", "Momentum", "RMSProp", "SGD", "add_stable_noise", "from_optax"), "dynamics"),
    **dict.fromkeys(("Euler", "Iteration", "JumpAdapted", "Tamed"), "solvers"),
    **dict.fromkeys(("EscapeProblem", "Plan", "exit_rate", "predict", "quasi_stationary_rate"), "escape"),
    **dict.fromkeys(("simulate", "simulate_paths", "transition_rates"), "escape"),
    **dict.fromkeys(("audit", "estimate"), "tails"),
    **dict.fromkeys(("NoiseRecorder", "exits_under", "gradient_noise", "noise_models"), "training"),
}
_MODULES = (
    "basins", "claims", "config", "dynamics", "engine", "escape", "landscapes", "noise", "plots",
    "random", "records", "schedules", "solvers", "stable", "sweep", "tails", "training",
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
