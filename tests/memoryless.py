"""The cheapest process there is, and a small exit problem, for tests of the engine and its counters."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from levyjax.arrays import pytree
from levyjax.basins import Box
from levyjax.engine import ExitCode
from levyjax.escape import EscapeProblem
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent
from levyjax.random import Counter, words


class Walk(NamedTuple):
    """Where a memoryless trajectory stands: whether it has left, and a sum that remembers every step."""

    left: Any
    total: Any


@pytree
class Memoryless:
    """Leaves with the same probability at every step: as cheap a process as there is, with exponential exits."""

    probability: Any

    def start(self):
        return Walk(jnp.zeros((1, 1), jnp.float32), jnp.zeros((1, 1), jnp.float32))

    def step(self, state: Walk, counter: Counter) -> Walk:
        uniform = (words(counter, 1)[0] >> jnp.uint32(8)).astype(jnp.float32) * jnp.float32(2.0**-24)
        return Walk((uniform < self.probability).astype(jnp.float32), state.total * jnp.float32(0.9) + uniform)

    def status(self, state: Walk):
        return jnp.where(state.left[0] > 0, jnp.int32(ExitCode.EXITED), jnp.int32(ExitCode.RUNNING))

    def record(self, state: Walk):
        return state.total


def memoryless(mean_steps):
    return Memoryless(jnp.float32(1 / mean_steps))


def problem_of(dynamics, dimension=2, noise_level=0.2, alpha=1.5):
    ones = [1.0] * dimension
    return EscapeProblem(
        Quadratic(ones), Box([-1.0] * dimension, ones), Independent(alpha, ones), dynamics, noise_level
    )
