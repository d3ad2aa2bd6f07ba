"""How a point moves between large jumps: the noise-free flow and, with it, the small jumps as Brownian motion."""

from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from levyjax.arrays import Numbers, apply, column, materialized, total
from levyjax.basins import Sublevel
from levyjax.dynamics import flow
from levyjax.landscapes import Quadratic
from levyjax.solvers.small_jumps import (
    Groups,
    Turning,
    correlated,
    relaxed,
    summed,
)
from levyjax.solvers.steps import ExitProblem
from levyjax.stable import normal

_DRIFT_PART = 0.2  # of the fastest relaxation time: a step's length where the jump threshold has to follow the point
SKIP_SPREAD = 0.2  # of the depth: up to this spread of the small jumps a step lasts until the next large jump
_CALM_PART = 1.0  # the same where the small jumps do not matter: two Runge-Kutta steps, each to 3e-4
# over the spread as a part of the depth: small jumps come at once, amid a step, with (k t)^2/6 too little left
_SPREAD_PART = 0.07
_OUTWARD_PART, _SHORTEST_PART = 0.25, 0.02
_SETTLED = 0.1
_AHEAD = 0.4  # of the rate there that a step heeds: it seldom comes so far, and two half-steps follow that
_LOOKS = (1, 1 / 16, 1 / 256)  # parts of the longest step
_EXPONENTS = 100  # of the powers of two by which velocities are divided

Reach = Callable[[Float[Array, "d lanes"]], Float[Array, " lanes"]]  # of displacements from the minimum


class Depth(NamedTuple):
    """How deep points are inside for the jumps: 1 at the minimum, 0 at the boundary; `power` is depth^alpha.

    `room` is the way that is left to the boundary, which is less where a jump does not take the point there at once.
    Where each axis has its own alpha, `power` is that of the largest, which makes steps no longer than they may be, and
    `powers` (axes, lanes) are all of them.
    """

    depth: Float[Array, " lanes"]
    power: Float[Array, " lanes"]
    room: Float[Array, " lanes"]
    powers: Any = None


def displacement_gauge(problem: ExitProblem, offset: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
    """How far displacements from the minimum reach: the basin's gauge, by its cheapest formula.

    In a sublevel set it is the square root of the height, which is the gauge where F is quadratic.
    """
    origin = jnp.asarray(problem.landscape.minimum)
    if isinstance(problem.basin, Sublevel) and not isinstance(problem.landscape, Quadratic):
        x = column(origin, offset) + offset
        rise = problem.landscape.value(x) - problem.landscape.value(origin[:, None])[0]
        return jnp.sqrt(jnp.maximum(rise, 0) / problem.basin.height)
    return problem.basin.gauge(origin, offset)


def _rest(problem: ExitProblem, state: Any) -> Any:
    """The state at rest at the minimum."""
    return problem.dynamics.rest(column(jnp.asarray(problem.landscape.minimum), state.x) + 0 * state.x, problem.noise)


class Apart(NamedTuple):
    """Small jumps that move every mode by itself; `mixing` is (V' epsilon A)^2, or its diagonal."""

    mixing: Any

    def amount(self, decay: Numbers, time: Array, shrunk: Array, variances: Array, draws: Array) -> Array:
        """What they add to the modes in `time`."""
        return jnp.sqrt(apply(self.mixing, variances) * shrunk) * draws[: shrunk.shape[0]]


class Alike(NamedTuple):
    """Small jumps that move several modes at once, all of which relax at one rate; `columns` are V' epsilon A."""

    columns: Any

    def amount(self, decay: Numbers, time: Array, shrunk: Array, variances: Array, draws: Array) -> Array:
        """What they add to the modes in `time`."""
        return jnp.sqrt(shrunk) * apply(self.columns, jnp.sqrt(variances) * draws[: variances.shape[0]])


class Together(NamedTuple):
    """Small jumps that move several modes at once, which relax at rates of their own."""

    groups: Groups
    parts: Any  # (size, size, groups, axes): covariance per unit of time

    def amount(self, decay: Numbers, time: Array, shrunk: Array, variances: Array, draws: Array) -> Array:
        """What they add to the modes in `time`."""
        covariance = summed(self.parts, variances) * relaxed(decay, time, self.groups)
        return self.groups.scatter(correlated(covariance, self.groups.gather(draws[: decay.shape[0]])))


class LinearFlow(NamedTuple):
    """Gradient descent on a quadratic landscape, exact over any time; coordinates along the Hessian's eigenvectors."""

    basis: Any  # (d, d) eigenvectors in columns, or None for the axes
    decay: Float[Numbers, " d"]
    noise: Apart | Alike | Together
    diffusion: Any  # squared reach per unit of time of the small jumps, at depth 1
    least_power: Any  # depth^alpha from which on a step may last until the next large jump
    slowest: Any
    columns: Any = None  # (d, m) of V' epsilon A, where the small jumps have a drift

    def width(self) -> int:
        """How many normal variates a step takes."""
        return self.decay.shape[0]

    @property
    def fastest(self) -> Array:
        """The fastest relaxation's rate."""
        return self.decay.max()

    def longest(
        self, problem: ExitProblem, state: Any, depth: Depth, step_part: Any, reach: Reach
    ) -> Float[Array, " lanes"]:
        """How long a step may last."""
        short = jnp.minimum(step_part**2 * depth.power / self.diffusion, _DRIFT_PART / self.decay.max())
        return jnp.where(depth.power >= self.least_power, jnp.inf, short)

    def move(
        self,
        problem: ExitProblem,
        state: Any,
        time: Array,
        depth: Depth,
        variances: Array,
        bits: Any,
        skips: Any,
        drift: Any = None,
    ) -> Any:
        """The state after `time`, small jumps of the given variances and drift (m, lanes) per unit of time included."""
        center = column(problem.landscape.minimum, state.x)
        offset = state.x - center
        modes = offset if self.basis is None else apply(self.basis.T, offset)
        decay = column(self.decay, state.x)
        shrunk = jnp.where(decay > 0, -jnp.expm1(-2 * decay * time) / (2 * jnp.where(decay > 0, decay, 1)), time)
        modes = jnp.exp(-decay * time) * modes + self.noise.amount(self.decay, time, shrunk, variances, normal(bits))
        if drift is not None:
            passed = jnp.where(decay > 0, -jnp.expm1(-decay * time) / jnp.where(decay > 0, decay, 1), time)
            modes = modes + passed * apply(self.columns, drift)
        return state._replace(x=center + (modes if self.basis is None else apply(self.basis, modes)))


class LookAhead(NamedTuple):
    """How far a unit of time's small jumps may carry a point at depth 1, along axes that suit the landscape."""

    axes: Float[Numbers, "d d"]  # in columns
    sizes: Float[Numbers, " d"]

    def corner(self, offset: Float[Array, "d lanes"]) -> Float[Array, "d lanes"]:
        """The displacement by all of them, away from the minimum."""
        out = jnp.where(apply(self.axes.T, offset) < 0, -1, 1)
        return apply(self.axes, out * column(self.sizes, offset))


class SteppedFlow(NamedTuple):
    """Any optimizer on any landscape: short Runge-Kutta steps; near the minimum the linearised motion over any time."""

    to_modes: Any  # (n, n) real and imaginary part: rows of the inverse of the eigenvectors of the linearised flow
    from_modes: Any
    decay: Float[Numbers, " n"]
    turn: Float[Numbers, " n"]
    reach: Float[Numbers, " n"]  # how far a mode of amplitude 1 ever reaches
    noise: Turning  # what the small jumps add
    shift: Float[Numbers, " n"]  # of their stationary mean from rest
    zone: Any  # reach up to which the flow is linear
    diffusion: Any
    spread: Any  # squared reach of the small jumps, stationary and at depth 1
    least_power: Any
    slowest: Any
    fastest: Any
    look_ahead: Any  # how far small jumps carry, on whose corner stiffness is looked for; None: nowhere
    drive: Any = None  # (2, n, m) real and imaginary part: what a unit of L adds to the modes, if small jumps drift
    drift_power: Any = None  # depth^alpha from which on their drift hardly moves the point of rest

    def width(self) -> int:
        return self.decay.shape[0]

    def _modes(self, problem: ExitProblem, state: Any) -> tuple[Array, Array]:
        rest = _rest(problem, state)
        offset = jnp.concatenate([now - then for now, then in zip(state, rest, strict=True)])
        offset = materialized(offset)
        return apply(self.to_modes[0], offset), apply(self.to_modes[1], offset)

    def _settled(self, problem: ExitProblem, state: Any) -> Bool[Array, " lanes"]:
        """Whether what is not 0 at rest, a preconditioner, is close to its value there."""
        pairs = list(zip(state, _rest(problem, state), strict=True))[1:]
        near = [((then == 0) | (jnp.abs(now - then) <= _SETTLED * then)).all(axis=0) for now, then in pairs]
        return jnp.stack([jnp.ones(state.x.shape[1:], bool), *near]).all(axis=0)

    def longest(
        self, problem: ExitProblem, state: Any, depth: Depth, step_part: Any, reach: Reach
    ) -> Float[Array, " lanes"]:
        real, imaginary = self._modes(problem, state)
        ever = total(column(self.reach, real) * jnp.sqrt(real**2 + imaginary**2))
        skips = (ever <= self.zone) & (depth.power >= self.least_power) & self._settled(problem, state)
        velocity, rate = self._rate(problem, state)
        offset, tiny = state.x - column(problem.landscape.minimum, state.x), jnp.finfo(rate.dtype).tiny
        if self.look_ahead is not None:
            # how stiff the flow is further out, where the small jumps of a step may carry the point; those of a shorter
            # step carry it less far, so that the step is the longest that its own look allows
            longest = jnp.minimum(step_part**2 * depth.power / self.diffusion, _DRIFT_PART / rate)
            corner = self.look_ahead.corner(offset) * depth.depth / jnp.sqrt(depth.power)
            looks = []
            for part in _LOOKS:
                further = state._replace(x=state.x + corner * jnp.sqrt(part * longest))
                least = rate if part == 1 else _DRIFT_PART / (part * longest)
                looks.append(jnp.maximum(least, _AHEAD * self._rate(problem, further)[1]))
            rate = jnp.maximum(rate, reduce(jnp.fmin, looks))  # a look that overflows is one too far out
        ahead = offset + velocity.x * (0.01 / rate)
        outward = jnp.maximum(reach(ahead) - (1 - depth.room), tiny) * rate / 0.01
        calm = self.spread <= SKIP_SPREAD**2 * depth.power
        if self.drift_power is not None:
            calm = calm & (depth.power >= self.drift_power)
        careful = jnp.minimum(step_part**2 * depth.power / self.diffusion, _DRIFT_PART / rate)
        lively = _SPREAD_PART * jnp.sqrt(depth.power / self.spread)
        short = jnp.maximum(_OUTWARD_PART * depth.room / outward, _SHORTEST_PART / rate)
        short = jnp.minimum(short, jnp.where(calm, jnp.minimum(_CALM_PART, lively) / rate, careful))
        return jnp.where(skips, jnp.inf, short)

    def _rate(self, problem: ExitProblem, state: Any) -> tuple[Any, Float[Array, " lanes"]]:
        """The flow's velocity, and the rate at which it changes, no slower than the linearised flow's fastest.

        It is NaN where the numbers overflow all the same: a step of length 0 would never end.
        """
        velocity, change = self._motion(problem, state)
        # both by one power of two, so that squares do not overflow far out
        largest = jnp.stack([jnp.abs(part).max(axis=0) for part in velocity]).max(axis=0)
        unit = jnp.ldexp(jnp.ones_like(largest), -jnp.clip(jnp.frexp(largest)[1], -_EXPONENTS, _EXPONENTS))
        norm, change_norm = (
            total(jnp.stack([total((unit * part) ** 2) for part in parts]))
            for parts in materialized((velocity, change))
        )
        rate = jnp.sqrt(change_norm / jnp.maximum(norm, jnp.finfo(norm.dtype).tiny))
        return velocity, jnp.maximum(self.fastest, jnp.where(jnp.isinf(rate), jnp.nan, rate))

    def _motion(self, problem: ExitProblem, state: Any) -> tuple[Any, Any]:
        """The flow's velocity and its rate of change along the flow."""

        def velocity(state: Any) -> Any:
            return problem.dynamics.drift(state, problem.landscape.gradient(state.x), problem.noise)

        now = velocity(state)
        return now, jax.jvp(velocity, (state,), (now,))[1]

    def move(
        self,
        problem: ExitProblem,
        state: Any,
        time: Any,
        depth: Depth,
        variances: Any,
        bits: Any,
        skips: Any,
        drift: Any = None,
    ) -> Any:
        draws = materialized(normal(bits))
        short = jnp.where(skips, 0, time)
        gradient, dynamics, noise = problem.landscape.gradient, problem.dynamics, problem.noise
        moved = jnp.sqrt(variances * short) * draws[: variances.shape[0]]
        amount = problem.noise_level * apply(noise.scale, moved if drift is None else moved + drift * short)

        def half(index: Array, state: Any) -> Any:
            flowed = flow(dynamics, gradient, noise, state, short / 2)
            return dynamics.displace(flowed, jnp.where(index == 0, amount, 0))

        stepped = jax.lax.fori_loop(0, 2, half, state)  # two copies in a row would be compiled into one another
        skipped = self._skip(problem, state, time, depth, draws, drift)
        return jax.tree.map(lambda far, near: jnp.where(skips, far, near), skipped, stepped)

    def _skip(self, problem: ExitProblem, state: Any, time: Array, depth: Depth, draws: Array, drift: Any) -> Any:
        """The linearised motion over any time."""
        real, imaginary = self._modes(problem, state)
        decay, turn = column(self.decay, real), column(self.turn, real)
        size, angle = jnp.exp(-decay * time), turn * jnp.minimum(time, 40 / jnp.maximum(decay, 1e-30))
        cosine, sine = size * jnp.cos(angle), size * jnp.sin(angle)
        real, imaginary = materialized((cosine * real + sine * imaginary, cosine * imaginary - sine * real))
        if drift is not None:  # (1 - exp(-(k + i w) t))/(k + i w) times what drives the modes
            gone, norm = -jnp.expm1(-decay * time) + 2 * size * jnp.sin(angle / 2) ** 2, decay**2 + turn**2
            norm = jnp.where(norm > 0, norm, 1)
            passed = jnp.where(decay > 0, (gone * decay + sine * turn) / norm, time)
            turned = jnp.where(decay > 0, (sine * decay - gone * turn) / norm, 0)
            push, pull = apply(self.drive[0], drift), apply(self.drive[1], drift)
            real, imaginary = real + passed * push - turned * pull, imaginary + passed * pull + turned * push
        offset = apply(self.from_modes[0], real) - apply(self.from_modes[1], imaginary)
        powers = depth.power[None] if depth.powers is None else depth.powers
        offset = offset + self.noise.amount(time, depth.depth**2 / powers, draws[: self.width()])
        drifted = jnp.expm1(-self.slowest * time) ** 2 * depth.depth**2 / depth.power
        offset = offset + drifted * column(self.shift, offset)
        rest = _rest(problem, state)
        rows = np.cumsum([leaf.shape[0] for leaf in rest])[:-1].tolist()
        return type(rest)(*(leaf + part for leaf, part in zip(rest, jnp.split(offset, rows), strict=True)))
