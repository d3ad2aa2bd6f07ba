"""Exact laws of linear optimizers and of their SDEs on a parabola, under stable noise."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from levyjax.arrays import cast
from levyjax.claims.coupled import drawn_noise
from levyjax.dynamics import SGD, DrivingNoise, Dynamics, Momentum
from levyjax.noise import Independent, sde_noise_level
from levyjax.random import Counter

CURVATURE, START, TIME = 1.0, 1.5, 1.0
LEVEL = 0.5  # of the SDE's noise
_FRICTION = 2.0  # c
_PANELS = 40  # of an integral over the fixed time


@dataclasses.dataclass(frozen=True)
class Law:
    """x at the fixed time: mean + scale S, S symmetric stable of unit scale."""

    mean: float
    scale: float
    alpha: float

    def cosine(self, wave: float = 1.0) -> float:
        """E cos(wave x)."""
        return math.cos(wave * self.mean) * math.exp(-((abs(wave) * self.scale) ** self.alpha))


def linear_optimizers(h: float) -> dict[str, tuple[Any, float]]:
    """SGD, Momentum and Nesterov whose iteration takes h of their own time, and the iteration's time in levyjax's."""
    beta = 1 - _FRICTION * h
    return {
        "SGD": (SGD(h), h),
        "Momentum": (Momentum(h**2, beta), h**2),
        "Nesterov": (Momentum(h**2, beta, nesterov=True), h**2),
    }


class Responses(NamedTuple):
    """A linear optimizer's matrices on a parabola: the iteration's and the SDE's, and what a unit of noise adds."""

    matrix: np.ndarray
    push: np.ndarray
    generator: np.ndarray
    displaced: np.ndarray


def responses(dynamics: Dynamics) -> Responses:
    """Taken from `iterate`, `drift` and `displace` themselves."""
    with jax.enable_x64(True):
        dynamics, noise = cast((dynamics, Independent(1.0, [1.0])), jnp.float64)
        blank = dynamics.init(jnp.zeros((1, 1)))
        size = len(blank)
        basis = jnp.eye(size + 1)[:, None]
        state, unit = type(blank)(*basis[:size]), basis[size]
        counter = Counter(*jnp.zeros((4, size + 1), jnp.uint32))
        driving = DrivingNoise(drawn_noise(noise, unit), 1.0, counter, 1.0)
        moved = np.concatenate(dynamics.iterate(state, CURVATURE * state.x, driving))
        drift = np.concatenate(dynamics.drift(state, CURVATURE * state.x, noise))
        displaced = np.concatenate(dynamics.displace(blank, jnp.ones((1, 1))))
    return Responses(moved[:, :size], moved[:, size], drift[:, :size], displaced[:, 0])


def linear_laws(found: Responses, alpha: float, step: float, h: float) -> tuple[Law, Law]:
    """The exact laws of a linear optimizer's x and of its SDE's after the fixed time, on a parabola.

    x is a sum of independent noises, each by its response a: its scale is (sum |a_j|^alpha)^(1/alpha), and in the SDE
    (int |a(s)|^alpha ds)^(1/alpha).

    Args:
        found: of the optimizer.
        alpha: tail index.
        step: what an iteration takes of levyjax's time, the learning rate.
        h: what it takes of the SDE's own time.
    """
    count, level = round(TIME / h), iteration_level(alpha, h)
    state, response, total = np.eye(len(found.push))[0] * START, found.push, 0.0
    for _ in range(count):
        total += abs(response[0]) ** alpha
        state, response = found.matrix @ state, found.matrix @ response
    nodes, weights = np.polynomial.legendre.leggauss(8)
    width = count * step / _PANELS
    times = (np.arange(_PANELS)[:, None] + (nodes + 1) / 2).ravel() * width
    over_time = (scipy.linalg.expm(found.generator * times[:, None, None]) @ found.displaced)[:, 0]
    integral = float(np.tile(weights * width / 2, _PANELS) @ np.abs(over_time) ** alpha)
    mean = float(scipy.linalg.expm(found.generator * count * step)[0, 0]) * START
    iterated = Law(float(state[0]), level * total ** (1 / alpha), alpha)
    return iterated, Law(mean, level * sde_noise_level(alpha, step) * integral ** (1 / alpha), alpha)


def iteration_level(alpha: float, h: float) -> float:
    """Of an iteration whose SDE's noise is fixed."""
    return LEVEL * h ** (1 / alpha - 1)
