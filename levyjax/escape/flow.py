"""What the noise-free dynamics does after a jump: how fast it relaxes, and whether it carries the path out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from levyjax.arrays import column
from levyjax.basins import Attraction, Sublevel
from levyjax.dynamics import SGD, Adam, Momentum, RMSProp, flow
from levyjax.escape.problem import EscapeProblem

_BISECTIONS, _DOUBLINGS = 24, 32
_FAR = 64.0  # what lies beyond is 64^-alpha of the rate at most
_MAX_FLOW_STEPS = 20_000
_STEP = 0.02  # of the fastest relaxation
_RELAXED = 12.0  # e-foldings of the slowest one


def relaxation_spectrum(problem: EscapeProblem, maps: Float[Array, "samples d"]) -> np.ndarray:
    """Eigenvalues (negated) of the linearised noise-free dynamics at the minimum, complex where it turns.

    For SGD these are the Hessian's eigenvalues, those within rounding of 0 as 0; for RMSProp those of Q^-1 H; for Adam
    at rest those of dx = -(Q^-1 m + weight_decay x) dt, dm = b1 (H x - m) dt, with 1/Q the median of `maps` (its
    `jump_maps`); for momentum the same with 1/Q = 1/(1 - beta), b1 = (1 - beta)/eta, for Nesterov's with
    -(H x + beta Q^-1 m) in dx.
    """
    hessian = np.asarray(problem.landscape.hessian())
    dynamics = problem.dynamics
    if isinstance(dynamics, SGD):
        values = np.linalg.eigvalsh(hessian)
        rounding = len(values) * np.finfo(values.dtype).eps * np.abs(values).max()
        return np.where(np.abs(values) <= rounding, 0, values)
    inverse_q = np.diag(np.median(np.asarray(maps), axis=0))
    if isinstance(dynamics, RMSProp):
        return np.linalg.eigvals(inverse_q @ hessian)
    identity = np.eye(len(hessian))
    b1 = float(dynamics.rate() if isinstance(dynamics, Momentum) else dynamics.rates()[0])
    at_once = float(dynamics.weight_decay) * identity if isinstance(dynamics, Adam) else 0 * identity
    if isinstance(dynamics, Momentum) and dynamics.nesterov:
        at_once, inverse_q = hessian, float(dynamics.beta) * inverse_q
    return -np.linalg.eigvals(np.block([[-at_once, -inverse_q], [b1 * hessian, -b1 * identity]]))


def _leaves(problem: EscapeProblem, jumps: Float[Array, "d rays"], dt: Any, num_steps: Any) -> Bool[Array, " rays"]:
    """Whether the noise-free flow from rest at the minimum, after each jump, ever leaves the basin.

    With dt None the flow is momentum's iteration. A flow that blows up, where a landscape is too steep for the step so
    far out, tells nothing and counts as staying.
    """
    dynamics, gradient = problem.dynamics, problem.landscape.gradient

    def step(_: Array, carry: tuple[Any, Array]) -> tuple[Any, Array]:
        state, left = carry
        if dt is None:
            state = dynamics.coast(state, gradient(state.x))
        else:
            state = flow(dynamics, gradient, problem.noise, state, dt)
        return state, left | ~problem.basin.contains(state.x)

    origin = column(jnp.asarray(problem.landscape.minimum), jumps)
    state = dynamics.struck(origin, jumps) if dt is None else dynamics.thrown(origin, jumps, problem.noise)
    at_once = ~problem.basin.contains(state.x)
    state, left = lax.fori_loop(0, num_steps, step, (state, at_once))
    return at_once | (left & jnp.isfinite(state.x).all(axis=0))


@jax.jit
def _flow_out(problem: EscapeProblem, directions: Array, gauge: Array, dt: Any, num_steps: Array) -> Array:
    endless = gauge <= 0  # rays that never leave the basin themselves: searched to some times the others' length
    reach = 1 / jnp.where(endless, gauge.max() / _FAR, gauge)

    def leaves(length: Array) -> Array:
        return _leaves(problem, length * directions, dt, num_steps)

    def bisect(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        left = leaves(middle)
        return jnp.where(left, low, middle), jnp.where(left, middle, high)

    def farther(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        stays = ~leaves(high)
        return jnp.where(stays, high, low), jnp.where(stays, 2 * high, high)

    def nearer(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        left = leaves(high / 2)
        return jnp.where((low == 0) & ~left, high / 2, low), jnp.where((low == 0) & left, high / 2, high)

    below, above = leaves(reach * (1 - 1e-6)), leaves(reach * (1 + 1e-6))
    moved = below | (~above & ~endless)  # elsewhere the boundary itself is the edge

    def search(_: None) -> Array:
        bracket = jnp.where(below, 0, reach), jnp.where(below, reach, 2 * reach)
        for widen in (farther, nearer):
            bracket = lax.fori_loop(0, _DOUBLINGS, widen, bracket)
        return lax.fori_loop(0, _BISECTIONS, bisect, bracket)[1]

    shortest = lax.cond(moved.any(), search, lambda _: reach, None)
    return jnp.where(moved, 1 / jnp.where(moved, shortest, 1), gauge)


def _kept_by_descent(problem: EscapeProblem) -> bool:
    """Whether the basin is of a kind that gradient descent's flow never leaves, by its definition."""
    if not isinstance(problem.basin, Attraction | Sublevel):
        return False
    theirs, structure = jax.tree.flatten(problem.basin.landscape)
    ours, expected = jax.tree.flatten(problem.landscape)
    return structure == expected and all(map(np.array_equal, theirs, ours))


def flow_out_gauge(
    problem: EscapeProblem,
    directions: Float[Array, "d rays"],
    gauge: Float[Array, " rays"],
    spectrum: np.ndarray,
    iterated: bool = False,
) -> Float[Array, " rays"]:
    """1/t at the shortest jump by t times a direction from rest after which the noise-free flow ever leaves the basin.

    Equal to `gauge` where noise moves x itself and the flow keeps the basin (gradient descent in a sublevel set),
    larger where momentum overshoots or a gradient line crosses the boundary, smaller where noise enters a momentum that
    is pulled back on its way. With `iterated` the flow of momentum is its own iteration. The set of such jumps is taken
    to be a half-line on each ray.
    """
    if isinstance(problem.dynamics, SGD) and _kept_by_descent(problem):
        return gauge
    moving = np.real(spectrum)
    moving = moving[moving > 0]
    if moving.size == 0 or not (gauge > 0).any():
        return gauge
    fastest = float(np.abs(spectrum).max())
    if isinstance(problem.dynamics, Adam):
        fastest = max(fastest, float(problem.dynamics.rates()[0]))
    if isinstance(problem.dynamics, RMSProp):
        fastest = max(fastest, float(problem.dynamics.rate()))
    iterated &= isinstance(problem.dynamics, Momentum)
    dt = float(problem.dynamics.learning_rate) if iterated else _STEP / fastest
    num_steps = jnp.asarray(min(int(_RELAXED / float(moving.min()) / dt) + 1, _MAX_FLOW_STEPS))
    return _flow_out(problem, directions, gauge, None if iterated else jnp.asarray(dt), num_steps)
