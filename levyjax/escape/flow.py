"""What the noise-free dynamics does after a jump: how fast it relaxes, and whether it carries the path out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from levyjax.arrays import column
from levyjax.dynamics import flow
from levyjax.escape.problem import EscapeProblem

_BISECTIONS = 30
_MAX_FLOW_STEPS = 20_000
_STEP = 0.02  # of the fastest relaxation
_RELAXED = 12.0  # e-foldings of the slowest one


def relaxation_rates(problem: EscapeProblem, maps: Float[Array, "samples d"]) -> Array:
    """Real parts (negated) of the eigenvalues of the linearised noise-free dynamics at the minimum, ascending.

    For SGD these are the Hessian's eigenvalues; for Adam at rest those of dx = -Q^-1 m dt, dm = b1 (H x - m) dt, with
    1/Q the median of `maps` (its `jump_maps`).
    """
    hessian = problem.landscape.hessian()
    dynamics = problem.dynamics
    if not hasattr(dynamics, "rates"):
        return jnp.linalg.eigvalsh(hessian)
    inverse_q = jnp.diag(jnp.median(maps, axis=0))
    b1 = dynamics.rates()[0]
    identity = jnp.eye(hessian.shape[0])
    system = np.block([[0 * identity, -inverse_q], [b1 * hessian, -b1 * identity]])
    return jnp.sort(jnp.asarray(-np.real(np.linalg.eigvals(np.asarray(system)))))


def _leaves(problem: EscapeProblem, points: Float[Array, "d rays"], dt: Any, num_steps: Any) -> Bool[Array, " rays"]:
    """Whether the noise-free flow from rest at each point ever leaves the basin."""

    def step(_: Array, carry: tuple[Any, Array]) -> tuple[Any, Array]:
        state, left = carry
        state = flow(problem.dynamics, problem.landscape.gradient, problem.noise, state, dt)
        return state, left | ~problem.basin.contains(state.x)

    state = problem.dynamics.rest(points, problem.noise)
    return lax.fori_loop(0, num_steps, step, (state, ~problem.basin.contains(points)))[1]


@jax.jit
def _flow_out(problem: EscapeProblem, directions: Array, gauge: Array, dt: Array, num_steps: Array) -> Array:
    origin = column(jnp.asarray(problem.landscape.minimum), directions)
    reach = jnp.where(gauge > 0, 1 / jnp.where(gauge > 0, gauge, 1), 0)

    def bisect(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        left = _leaves(problem, origin + middle * directions, dt, num_steps)
        return jnp.where(left, low, middle), jnp.where(left, middle, high)

    edge = reach * (1 - 1e-6)
    unsafe = (gauge > 0) & _leaves(problem, origin + edge * directions, dt, num_steps)

    def search(_: None) -> Array:
        return lax.fori_loop(0, _BISECTIONS, bisect, (jnp.zeros_like(reach), edge))[1]

    shortest = lax.cond(unsafe.any(), search, lambda _: edge, None)
    return jnp.where(unsafe, 1 / jnp.where(unsafe, shortest, 1), gauge)


def flow_out_gauge(
    problem: EscapeProblem, directions: Float[Array, "d rays"], gauge: Float[Array, " rays"], rates: Array
) -> Float[Array, " rays"]:
    """1/t at the shortest jump x* + t direction from which the noise-free flow ever leaves the basin.

    Equal to `gauge` where the flow keeps the basin (gradient descent in a sublevel set); larger where momentum
    overshoots or a gradient line crosses the boundary. The set of such jumps is taken to be a half-line on each ray.
    """
    moving = np.asarray(rates)[np.asarray(rates) > 0]
    if moving.size == 0:
        return gauge
    fastest = max(float(moving.max()), float(getattr(problem.dynamics, "rates", lambda: (0.0,))()[0]))
    dt = _STEP / fastest
    num_steps = min(int(_RELAXED / float(moving.min()) / dt) + 1, _MAX_FLOW_STEPS)
    return _flow_out(problem, directions, gauge, jnp.asarray(dt), jnp.asarray(num_steps))
