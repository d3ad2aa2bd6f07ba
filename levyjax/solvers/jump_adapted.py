"""The jump-adapted solver: large jumps one by one, small ones as Brownian motion, the flow between them exact."""

import itertools
import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32

from levyjax.arrays import Numbers, add_to, apply, column, concrete, freeze, materialized, parameter, pytree
from levyjax.noise.base import require_process
from levyjax.random import Counter, Stream
from levyjax.solvers.flows import Depth, LinearFlow, SteppedFlow, displacement_gauge
from levyjax.solvers.limits import LEAST_DEPTH, LEAST_ROOM, START_PART
from levyjax.solvers.linear_motion import flow_reach
from levyjax.solvers.make_flow import make_flow, nearest_saddle
from levyjax.solvers.motion import gauge_along, growth_at_rest, jump_maps, jump_slopes, kept_by_descent
from levyjax.solvers.steps import ExitProblem, Forces
from levyjax.stable import draw_words, exponential
from levyjax.stable.elementary import exp2, log2

_FLOW_RAYS = 2048
_LOG2_E = 1 / math.log(2)
# The jump threshold follows the point no closer to the boundary than this: where jumps move it at once, and where they
# push a momentum, which takes it there in time.
_LEAST_DEPTH_OF_A_PUSH = 0.1
# This solver has no radial factors and no mini-batches: their streams time and size its jumps, and aim them.
_EVENT, _AIM = Stream.RADIUS, Stream.GRADIENT


class JumpState(NamedTuple):
    """A trajectory between two jumps: the optimizer's state, and the time in two parts, (1, lanes) each.

    `time` is the whole time as rounded, `time_low` what rounding has taken away.
    """

    inner: Any
    time: Float[Array, "1 lanes"]
    time_low: Float[Array, "1 lanes"]

    @property
    def x(self) -> Array:
        """The point (d, lanes)."""
        return self.inner.x


class Interval(NamedTuple):
    """One step in its parts: the way to the next jump, and the jump."""

    time: Float[Array, " lanes"]
    depth: Depth  # at the start
    skips: Bool[Array, " lanes"]  # whether the way may be longer than the flow's own time
    moved: Any  # the state before the jump
    stays: Bool[Array, " lanes"]  # whether that is inside
    jump: Float[Array, "m lanes"]  # of L
    jumped: Any  # the state after it
    jumps: Bool[Array, " lanes"]  # whether there is one
    reach: Float[Array, " lanes"]  # how far it reaches at most, as a part of the way to the boundary


class Layout(NamedTuple):
    """What the solver works out once for a problem: the split of its noise at the minimum, and its flow.

    At depth s (1 at the minimum, 0 at the boundary) jumps are long that reach further than jump_part s; rates are
    s^-alpha times these, variances s^(2 - alpha) times, with the axis' own alpha.
    """

    least_depth: float
    least_room: float
    reaches: Float[Numbers, " axes"]  # of a jump of length 1 on each axis
    rates: Float[Numbers, " axes"]  # of long jumps
    shares: Float[Numbers, " axes"]  # of the axes in them, summed up
    rate: Any  # of all of them
    variances: Float[Numbers, " m"]
    ends: Any  # in one dimension: 1/distance from the minimum down and up to the boundary; else None
    flow: LinearFlow | SteppedFlow
    max_time: Any
    drift: Any = None  # (2, m) of the small jumps of skewed noise, as in `JumpSplit`
    deepest: Any = None  # the depth that counts at most, where a shorter jump leads to another well; None: 1


@pytree
class JumpAdapted:
    """Steps from large jump to large jump; the cost of an exit hardly grows as the noise shrinks.

    At depth s in the basin, jumps that reach further than jump_part s of the way to the boundary are drawn one by
    one, the shorter ones are Brownian motion of the same variance (Asmussen and Rosinski 2001), and the flow between
    is exact (gradient descent on a quadratic) or takes Runge-Kutta steps. The exit is tested before and right after
    each jump. A step ends at the next large jump, or sooner where the small jumps would carry the point more than
    step_part s; near the minimum, where they do not matter, it lasts until the next large jump. Where rays to the
    boundary pass a saddle in less than half of their length, s is at most twice the shortest such part: a jump across
    it leads to another well, or out.

    On (-1, 1), F = k x^2/2, mean exit times are within 1% for alpha from 1.2 to 1.9 at any noise level. Not for
    alpha below 1 at large noise (5% at alpha = 0.8, kappa = 1), where Brownian motion is a poor picture of the small
    jumps. Distances to the boundary are taken from the basin's gauge, which is exact for a convex basin's lower bound.
    Adam starts with its averages settled: its bias corrections are not resolved, nor is a random gradient_noise.

    Args:
        jump_part: which jumps are large, in (0, 1).
        step_part: how far small jumps carry in a step, in (0, 1).

    Raises:
        ValueError: a part outside (0, 1).

    Source:
        Asmussen and Rosinski 2001 for the split; the threshold that follows the depth is ours.
    """

    jump_part: Any = 0.25
    step_part: Any = 0.25
    layout: Any = None

    def __post_init__(self) -> None:
        for name in ("jump_part", "step_part"):
            part = parameter(getattr(self, name), name, ndim=(0,))
            if concrete(part) and not 0 < float(part) < 1:
                raise ValueError(f"{name} must be in (0, 1), got {float(part)}.")
            freeze(self, **{name: part})

    def prepare(self, problem: ExitProblem, max_time: Any = math.inf) -> "JumpAdapted":
        """The solver with its layout for a problem; call it under `jax.enable_x64(True)`.

        Raises:
            ValueError: the problem has a random gradient noise, noise that is no process, a basin that rays come back
                to, or an optimizer that is unstable at a drift's attractor.
        """
        require_process(problem.noise, everywhere_alike=True)
        float(problem.noise_level)  # a schedule has none, and says so
        if not getattr(problem.basin, "star_shaped", True):
            raise ValueError(
                "The jump-adapted solver needs a basin that rays leave once and for all; take Euler's steps."
            )
        if problem.dynamics.gradient_noise != "frozen":
            raise ValueError("The jump-adapted solver needs gradient_noise = 'frozen'; use Euler for a random one.")
        if (growth := growth_at_rest(problem, None)) > 0:
            raise ValueError(
                f"{type(problem.dynamics).__name__} is unstable at this drift's attractor, from which it grows away at "
                f"a rate of {growth:.3g} without noise: the jump-adapted solver needs a point of rest; take Euler's "
                "steps."
            )
        split = problem.noise.split(partial(_reach_of_jumps, problem), float(self.jump_part))
        rate = split.rates.sum()
        shares = np.cumsum(split.rates) / np.where(rate > 0, rate, 1)
        ends = None
        if problem.dimension == 1:
            ends = gauge_along(problem.basin, problem.landscape.minimum, np.array([[-1.0, 1.0]]))
        room = _least_room(problem)
        flow = make_flow(problem, split.variances, _largest_drift(split.drift, _least_depth(problem, room)))
        layout = Layout(
            _least_depth(problem, room),
            room,
            split.reaches,
            split.rates,
            shares,
            rate,
            split.variances,
            ends,
            flow,
            np.asarray(max_time, float),
            split.drift,
            nearest_saddle(problem),
        )
        return JumpAdapted(self.jump_part, self.step_part, layout)

    def init(self, problem: ExitProblem, x: Float[Array, "d lanes"]) -> JumpState:
        zero = jnp.zeros((1, *x.shape[1:]), x.dtype)
        return JumpState(problem.dynamics.rest(x, problem.noise), zero, zero)

    def depth(self, problem: ExitProblem, x: Float[Array, "d lanes"]) -> Depth:
        """How deep points are inside."""
        reach = self._reach(problem, x - column(problem.landscape.minimum, x))
        room = jnp.clip(1 - reach, jnp.asarray(self.layout.least_room, x.dtype), 1)
        depth = jnp.maximum(room, jnp.asarray(self.layout.least_depth, x.dtype))
        if self.layout.deepest is not None:
            depth = jnp.minimum(depth, jnp.asarray(self.layout.deepest, x.dtype))
        alpha = jnp.asarray(problem.noise.alpha, depth.dtype)
        powers = None if alpha.ndim == 0 else exp2(column(alpha, depth[None]) * log2(depth))
        return Depth(depth, exp2(alpha.max() * log2(depth)), room, powers)

    def _long_jumps(self, depth: Depth) -> tuple[Array, Array]:
        """The mean time to a long jump, and the axes' shares in them, summed up: (axes, lanes)."""
        layout = self.layout
        if depth.powers is None:
            return depth.power / layout.rate, column(layout.shares, depth.depth[None])
        rates = column(layout.rates, depth.powers) / depth.powers
        so_far = jnp.stack(list(itertools.accumulate(rates)))  # in a fixed order
        return 1 / so_far[-1], so_far / so_far[-1]

    def _reach(self, problem: ExitProblem, offset: Float[Array, "d lanes"]) -> Float[Array, " lanes"]:
        ends = self.layout.ends
        return (
            displacement_gauge(problem, offset)
            if ends is None
            else jnp.maximum(-offset[0] * ends[0], offset[0] * ends[1])
        )

    def step(self, problem: ExitProblem, state: JumpState, counter: Counter) -> JumpState:
        left = (self.layout.max_time - state.time[0]) - state.time_low[0]
        interval = self.advance(problem, state.inner, counter, left)
        inner = jax.tree.map(
            lambda after, before: jnp.where(interval.jumps, after, before), interval.jumped, interval.moved
        )
        return JumpState(inner, *add_to(state.time, state.time_low, interval.time))

    def step_time(self, problem: Forces) -> None:
        return None

    def clock(self, state: JumpState) -> tuple[Array, ...]:
        return state.time, state.time_low

    def expired(self, state: JumpState) -> Bool[Array, " lanes"]:
        return state.time[0] >= self.layout.max_time

    def advance(self, problem: ExitProblem, inner: Any, counter: Counter, horizon: Any) -> Interval:
        """Move until the next large jump, or for as long as a step may last, at most `horizon`."""
        layout = self.layout
        depth = self.depth(problem, inner.x)
        event = draw_words(counter, 2, _EVENT, inner.x.dtype)
        mean_wait, shares = self._long_jumps(depth)
        wait = exponential(tuple(word[0] for word in event)) * mean_wait
        longest = layout.flow.longest(problem, inner, depth, self.step_part, partial(self._reach, problem))
        skips = jnp.isinf(longest)
        longest, wait, depth = materialized((jnp.minimum(longest, horizon), wait, depth))
        time = jnp.minimum(wait, longest)
        moved = materialized(self._move(problem, inner, counter, time, depth, skips))
        axis = self._axis(shares, event)
        alpha = jnp.asarray(problem.noise.alpha, time.dtype)
        alpha = alpha if alpha.ndim == 0 else _pick(alpha, axis)
        size = exp2(_LOG2_E / alpha * exponential(tuple(word[1] for word in event)))
        reach = self.jump_part * depth.depth * size
        jump = reach / _pick(layout.reaches, axis) * problem.noise.jump_direction(counter, axis, _AIM)
        jumped = problem.dynamics.displace(moved, problem.noise_level * apply(problem.noise.scale, jump))
        stays = problem.basin.contains(moved.x)
        return Interval(time, depth, skips, moved, stays, jump, jumped, (wait <= longest) & stays, reach)

    def partway(self, problem: ExitProblem, inner: Any, counter: Counter, interval: Interval, part: Array) -> Any:
        """A state as likely as any after this part of a leg's time; `inner` is the state at its start."""
        return self._move(problem, inner, counter, part * interval.time, interval.depth, interval.skips)

    def _move(self, problem: ExitProblem, inner: Any, counter: Counter, time: Array, depth: Depth, skips: Array) -> Any:
        flow = self.layout.flow
        width = max(flow.width(), self.layout.variances.shape[0])
        bits = draw_words(counter, width, Stream.NOISE, inner.x.dtype)
        powers = depth.power if depth.powers is None else depth.powers
        variances = column(self.layout.variances, inner.x) * depth.depth**2 / powers
        return flow.move(problem, inner, time, depth, variances, bits, skips, self._drift(depth, powers))

    def _drift(self, depth: Depth, powers: Array) -> Any:
        """Of the small jumps of L, (m, lanes); None where they have none."""
        if self.layout.drift is None:
            return None
        whole, logarithmic = (column(part, depth.depth[None]) for part in self.layout.drift)
        return whole * jnp.where(logarithmic == 0, depth.depth / powers, 1) + logarithmic * jnp.log(depth.depth)

    def _axis(self, shares: Float[Array, "axes _"], event: Any) -> Int32[Array, " lanes"]:
        """The axis of a long jump, by its share in them."""
        uniform = (event[0][0] >> jnp.uint32(8)).astype(shares.dtype) * 2.0**-24
        return (uniform >= shares[:-1]).sum(axis=0, dtype=jnp.int32)


def _largest_drift(drift: Any, least_depth: float) -> Any:
    """The largest drift of each axis over depths s, over s^(1 - alpha); None where there is none."""
    return None if drift is None else np.maximum(np.abs(drift[0]), np.abs(drift[0] + drift[1] * math.log(least_depth)))


def _pick(values: Float[Array, " axes"], axis: Int32[Array, " lanes"]) -> Float[Array, " lanes"]:
    """The value of each lane's axis."""
    index = jnp.arange(values.shape[0], dtype=jnp.int32)[:, None]
    return jnp.where(index == axis, column(values, index), 0).sum(axis=0)


def _reach_of_jumps(problem: ExitProblem, rays: Float[np.ndarray, "d rays"]) -> Float[np.ndarray, " rays"]:
    """How far jumps of A L reach, 1 for one that leaves: straight away, or later by the flow.

    Where rays stand for a continuum, the flow is asked about some of them, for by how much it takes them further.
    """
    maps = np.asarray(jump_maps(problem))[0][:, None]
    vectors = float(problem.noise_level) * np.asarray(rays)
    straight = gauge_along(problem.basin, problem.landscape.minimum, maps * vectors)
    if kept_by_descent(problem):
        return straight
    every = -(-rays.shape[1] // _FLOW_RAYS)
    some = np.arange(0, rays.shape[1], every)
    flowing = flow_reach(problem, vectors[:, some])
    if every == 1:
        return np.maximum(straight, flowing)
    return straight * np.maximum(flowing.max() / straight[some].max(), 1)


def _least_room(problem: ExitProblem) -> float:
    """How close to the boundary points are followed: less than usual for a start beside it."""
    if problem.start is None:
        return LEAST_DEPTH
    minimum, start = (np.asarray(one, np.float64) for one in (problem.landscape.minimum, problem.start))
    room = 1 - float(gauge_along(problem.basin, minimum, (start - minimum)[:, None])[0])
    return min(LEAST_DEPTH, max(START_PART * room, LEAST_ROOM))


def _least_depth(problem: ExitProblem, room: float) -> float:
    """By whether a jump moves the point itself."""
    moved = jump_slopes(problem, np.asarray(problem.landscape.minimum))[: problem.dimension]
    return room if moved.any() else _LEAST_DEPTH_OF_A_PUSH
