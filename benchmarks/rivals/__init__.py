"""The same trajectories by other means, each as its expert would write them.

A rival is a module with `NAME`, `SHARE` (which part of the steps it is given: slow ones get fewer, rates are by the
steps taken) and `increments(work)`, which compiles and returns a function that runs the whole of the work and returns
the last points of shape (dimension, lanes). It raises `Unavailable`, one sentence, where it cannot run.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

Run = Callable[[], Any]

MODULES = (
    "levyjax_engine",
    "c_program",
    "c_avx2",
    "numba_loop",
    "jax_scan",
    "jax_logarithms",
    "diffrax_path",
    "numpy_loop",
    "scipy_draws",
)


class Unavailable(Exception):
    """Why a rival cannot run here, as a sentence."""


@dataclass(frozen=True)
class Work:
    """Euler steps of dx = -H x dt + noise_level dL from 0, stopped outside the box |x_i| < bound.

    noise: "independent", "rotational" or "gaussian" (the last N(0, 2 dt) a coordinate and step, whatever alpha is).
    gradient: "diagonal" (H = 1), "matrix" (H a full matrix) or "function" (H = 1 by differentiating a user's function).
    """

    lanes: int = 4096
    dimension: int = 10
    steps: int = 256
    alpha: float = 1.5
    dt: float = 0.05
    noise_level: float = 1e-6
    bound: float = 1.0
    dtype: str = "float32"
    noise: str = "independent"
    gradient: str = "diagonal"

    @property
    def increments(self) -> int:
        """How many one-dimensional increments of L it takes."""
        return self.lanes * self.dimension * self.steps

    @property
    def kick(self) -> float:
        """What an increment over one unit of time is multiplied by."""
        return self.noise_level * self.dt ** (1 / (2.0 if self.noise == "gaussian" else self.alpha))


def rivals() -> list[ModuleType]:
    """All rivals, levyjax first."""
    return [importlib.import_module(f"{__name__}.{name}") for name in MODULES]


def refuse_other_than(work: Work, name: str, **allowed: tuple[str, ...]) -> None:
    """Raise `Unavailable` unless the fields of the work have one of the values that a rival is written for."""
    for field, values in allowed.items():
        if getattr(work, field) not in values:
            raise Unavailable(f"{name} is written for {field} = {' or '.join(values)} only.")
