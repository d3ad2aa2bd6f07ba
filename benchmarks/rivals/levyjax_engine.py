"""levyjax itself: bits, transform, gradient, update and exit test in one compiled loop."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from levyjax.arrays import cast
from levyjax.basins import Box
from levyjax.dynamics import SGD
from levyjax.engine import run
from levyjax.escape import EscapeProblem
from levyjax.escape.problem import ExitProcess
from levyjax.landscapes import Quadratic, from_function
from levyjax.noise import Gaussian, Independent, Rotational
from levyjax.solvers import Euler

from . import Run, Work, numpy_loop

NAME, SHARE = "levyjax", 1


def bowl(x: jax.Array) -> jax.Array:
    """A user's landscape: F = |x|^2/2 as a function of one point."""
    return 0.5 * jnp.sum(x**2)


def _landscape(work: Work) -> Any:
    if work.gradient == "function":
        return from_function(bowl, np.zeros(work.dimension))
    return Quadratic(np.ones(work.dimension) if work.gradient == "diagonal" else numpy_loop.hessian(work.dimension))


def problem(work: Work) -> EscapeProblem:
    """The work as levyjax's problem."""
    ones = np.ones(work.dimension)
    noises = {
        "independent": lambda: Independent(work.alpha, ones),
        "rotational": lambda: Rotational(work.alpha, ones),
        "gaussian": lambda: Gaussian(ones),
    }
    box = Box(-work.bound * ones, work.bound * ones)
    return EscapeProblem(_landscape(work), box, noises[work.noise](), SGD(), work.noise_level)


def process(work: Work) -> ExitProcess:
    """What the engine's lanes run, in the dtype of the work."""
    with jax.enable_x64(work.dtype == "float64"):
        return cast(ExitProcess(problem(work), Euler(work.dt)), jnp.dtype(work.dtype))


def increments(work: Work, *, seed: int = 0) -> Run:
    """The work as a function."""
    ready = process(work)

    def whole() -> np.ndarray:
        with jax.enable_x64(work.dtype == "float64"):
            return run(ready, seed, work.lanes, work.steps).record.T

    return whole
