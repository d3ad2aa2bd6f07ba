"""The loops that follow noise-free paths to their ends: in continuous time, and in steps of one length."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from levyjax.arrays import Numbers, bisected
from levyjax.basins import Attraction, Basin
from levyjax.solvers.implicit import implicit_solver
from levyjax.solvers.motion import Fate, flat_of, like, off_zero, one_step
from levyjax.solvers.steps import Euler, ExitProblem, Iteration, Tamed

_LOOKS = 8  # inside a step of the ODE solver
_LOOKED_STEPS = 8  # of an iteration, where looks are dear
NEAR = 0.005  # what can reach no further than this part of the way to the boundary has come back
_RESTS = 2e-5  # of a length within the slowest relaxation time: a state that moves less has come to rest
_ATOL = 1e-2  # of these, of each entry's size
_HUGE = 1e9
_LEAST_STEP = 1e-13  # of the time so far
_MOST_STEPS, _MOST_ITERATIONS = 4000, 20_000


class Watch(NamedTuple):
    """What a path is compared with on its way."""

    origin: Numbers
    rest: Numbers
    to_modes: Any
    reach: Numbers
    sizes: Numbers
    slowest: Numbers
    fastest: Numbers


class _Path(NamedTuple):
    """Paths under way; `inside` is the last point known to be inside, `point` where the path is or has left."""

    time: Array
    step: Array
    flat: Array
    fate: Array  # -1 while it runs
    left: Array  # when
    inside: Array
    point: Array
    solver: Any
    count: Array


def _returned(watch: Watch, offset: Array) -> Array:
    real, imaginary = watch.to_modes[0] @ offset, watch.to_modes[1] @ offset
    ever = (watch.reach[:, None] * jnp.sqrt(real**2 + imaginary**2)).sum(axis=0)
    return jnp.asarray(ever < NEAR)


def _crossing(basin: Basin, inside: Array, outside: Array) -> Array:
    """A point just outside on the way from a point inside to one outside."""
    return bisected(basin.contains, inside, outside, 30)[1]


@partial(jax.jit, static_argnames=("stiff", "watches", "begins"))
def trace(
    problem: ExitProblem,
    watch: Watch,
    state: Any,
    stop: Array,
    tolerance: Array,
    stiff: bool,
    watches: bool,
    begins: bool,
) -> Any:
    """Paths in continuous time, each with steps of its own.

    watches: whether they leave is looked at within every step; begins: whether they are inside is, before the first.
    """
    import diffrax  # half a second, for what is followed step by step alone

    dynamics, landscape, basin, noise = problem.dynamics, problem.landscape, problem.basin, problem.noise
    sizes = watch.sizes

    def velocity(time: Any, scaled: Array, args: Any) -> Array:
        state_now = off_zero(like(state, watch.rest + scaled * sizes))
        return flat_of(dynamics.drift(state_now, landscape.gradient(state_now.x), noise)) / sizes

    term = diffrax.ODETerm(velocity)
    solver: Any = implicit_solver() if stiff else diffrax.Tsit5()
    order = 5.0

    def advance(time: Array, step: Array, scaled: Array, carry: Any) -> Any:
        after, error, dense, carry, result = solver.step(term, time, time + step, scaled, None, carry, False)
        looks = seen(time, step, dense, jnp.linspace(1 / _LOOKS, 1, _LOOKS))
        scale = tolerance * (_ATOL + jnp.maximum(jnp.abs(scaled), jnp.abs(after)))
        ratio = jnp.sqrt(jnp.mean((error / scale) ** 2))
        ratio = jnp.where(diffrax.is_okay(result) & jnp.isfinite(ratio), ratio, jnp.inf)
        return after, ratio, looks, carry, jnp.abs(velocity(time, after, None)).max(), dense

    def seen(time: Array, step: Array, dense: Any, parts: Array) -> Array:
        """The path at parts of a step."""
        path = solver.interpolation_cls(t0=time, t1=time + step, **dense)
        return jax.vmap(lambda part: path.evaluate(time + part * step))(parts)

    def inside(x: Array) -> Array:
        return basin.contains(x) if watches else jnp.isfinite(x).all(axis=0)

    def points_of(scaled: Array) -> Array:
        """The points of scaled states (..., n, lanes)."""
        size = sizes[: problem.dimension, None]
        return jnp.asarray(watch.origin[:, None] + scaled[..., : problem.dimension, :] * size)

    def go_on(now: _Path) -> Array:
        return (now.fate < 0).any() & (now.count < _MOST_STEPS)

    def body(now: _Path) -> _Path:
        # a step of every path, and the points on it that are looked at
        step = jnp.minimum(now.step, stop - now.time)
        over = step < now.step
        after, ratio, looks, carry, speed, dense = jax.vmap(advance, (0, 0, 1, 0), (1, 0, 2, 0, 0, 0))(
            now.time, step, now.flat, now.solver
        )
        good = (now.fate < 0) & (ratio <= 1)
        points = jnp.moveaxis(points_of(looks), 0, 1)
        stays = inside(points)  # (looks, lanes)
        # the first point outside, and the last one inside before it
        leaves = good & ~stays.all(axis=0)
        first = jnp.argmin(stays, axis=0)
        earlier = jnp.take_along_axis(points, jnp.maximum(first - 1, 0)[None, None], axis=1)[:, 0]
        before = jnp.where(first == 0, now.point, earlier)
        outside = jnp.take_along_axis(points, first[None, None], axis=1)[:, 0]
        part = (first.astype(step.dtype) + 1) / _LOOKS

        def closer(_: None) -> tuple[Array, Array, Array]:
            """The same, looked at more closely between the last point inside and the first outside."""
            parts = (first.astype(step.dtype) + jnp.linspace(1 / _LOOKS, 1, _LOOKS)[:, None]) / _LOOKS
            between = points_of(jax.vmap(seen, (0, 0, 0, 1), 2)(now.time, step, dense, parts))
            between = jnp.moveaxis(between, 0, 1)
            soonest = jnp.argmin(inside(between).at[-1].set(False), axis=0)
            just = jnp.take_along_axis(between, jnp.maximum(soonest - 1, 0)[None, None], axis=1)[:, 0]
            beyond = jnp.take_along_axis(between, soonest[None, None], axis=1)[:, 0]
            when = jnp.take_along_axis(parts, soonest[None], axis=0)[0]
            return jnp.where(soonest == 0, before, just), beyond, when

        before, outside, part = lax.cond(leaves.any(), closer, lambda _: (before, outside, part), None)
        time = jnp.where(good, now.time + step, now.time)
        flat = jnp.where(good, after, now.flat)
        point = points_of(flat)
        # how paths end: what comes last of these counts
        fate = now.fate
        returned = good & _returned(watch, flat * sizes[:, None])
        rests = good & (speed < _RESTS * watch.slowest)
        for happens, what in (
            (jnp.abs(flat[: problem.dimension]).max(axis=0) > _HUGE, Fate.BLOWS_UP),
            (now.step < _LEAST_STEP * (now.time + _LEAST_STEP / watch.fastest), Fate.UNDECIDED),
            (rests, Fate.ELSEWHERE),
            (returned, Fate.RETURNS),
            (good & over & (time >= stop), Fate.STOPPED),
            (leaves, Fate.LEAVES),
        ):
            fate = jnp.where((now.fate < 0) & happens, jnp.int32(what), fate)
        fate = jnp.where(now.fate < 0, fate, now.fate)
        left = jnp.where(leaves, now.time + step * part, time)
        # the next step's length, by the error of this one
        factor = jnp.clip(0.9 * jnp.maximum(ratio, 1e-8) ** (-1 / order), 0.2, 5.0)
        factor = jnp.where(jnp.isfinite(factor), factor, 0.2)
        running = now.fate < 0
        kept = jax.tree.map(lambda new, old: jnp.where(_lanes_first(good, new), new, old), carry, now.solver)
        return _Path(
            jnp.where(running, time, now.time),
            jnp.where(running & ~(good & over), jnp.minimum(step, now.step) * factor, now.step),
            jnp.where(running, flat, now.flat),
            fate,
            jnp.where(running, left, now.left),
            jnp.where(leaves, before, now.inside),
            jnp.where(running, jnp.where(leaves, outside, point), now.point),
            kept,
            now.count + 1,
        )

    start = (flat_of(state) - watch.rest[:, None]) / sizes[:, None]
    step = jnp.full(stop.shape, 1e-3) / watch.fastest
    zero = jnp.zeros_like(stop)
    carry = jax.vmap(lambda time, step, flat: solver.init(term, time, time + step, flat, None), (0, 0, 1))(
        zero, step, start
    )
    starts = basin.contains(state.x) if begins else inside(state.x)
    fate = jnp.where(starts, -1, jnp.int32(Fate.LEAVES))
    fate = jnp.where((fate < 0) & (stop <= 0), jnp.int32(Fate.STOPPED), fate)
    path = _Path(zero, step, start, fate, zero, state.x, state.x, carry, jnp.int32(0))
    end = lax.while_loop(go_on, body, path)
    fate = jnp.where(end.fate < 0, jnp.int32(Fate.UNDECIDED), end.fate)
    moved = (fate == Fate.LEAVES) & (end.left > 0)
    crossing = jnp.where(moved, _crossing(basin, end.inside, end.point), end.point) if watches else end.point
    return fate, end.left, crossing, watch.rest[:, None] + end.flat * sizes[:, None]


def _lanes_first(chosen: Array, like: Array) -> Array:
    return chosen.reshape(chosen.shape + (1,) * (jnp.ndim(like) - 1))


@jax.jit
def iterate(
    problem: ExitProblem, solver: Euler | Tamed | Iteration, watch: Watch, state: Any, stop: Array, step: Any
) -> Any:
    """Paths in steps of one length.

    Where each look at a point is a descent of its own, in a basin of attraction, only the first steps, every one at a
    power of two and the end are looked at: what crosses the boundary and comes back between two looks stays unseen.
    """
    basin, seldom = problem.basin, isinstance(problem.basin, Attraction)

    def inside(flat: Array, count: Array) -> Array:
        point = flat[: problem.dimension]
        if not seldom:
            return basin.contains(point)
        looked = (count < _LOOKED_STEPS) | ((count & (count - 1)) == 0)
        return lax.cond(looked, basin.contains, lambda x: jnp.isfinite(x).all(axis=0), point)

    def go_on(carry: Any) -> Array:
        return (carry[2] < 0).any() & (carry[-1] < _MOST_ITERATIONS)

    def body(carry: Any) -> Any:
        flat, left, fate, count = carry
        now = like(state, flat)
        after = flat_of(one_step(problem, solver, now, 0 * now.x))
        running = fate < 0
        time = (count.astype(step.dtype) + 1) * step
        moved = (jnp.abs(after - flat) / watch.sizes[:, None]).max(axis=0)
        outside = ~inside(after, count)
        lost = ~jnp.isfinite(after).all(axis=0) | (
            (jnp.abs(after - watch.rest[:, None]) / watch.sizes[:, None])[: problem.dimension].max(axis=0) > _HUGE
        )
        for happens, what in (
            (lost, Fate.BLOWS_UP),
            (moved < _RESTS * watch.slowest * step, Fate.ELSEWHERE),
            (_returned(watch, after - watch.rest[:, None]), Fate.RETURNS),
            (time >= due, Fate.STOPPED),
            (outside & jnp.isfinite(after).all(axis=0), Fate.LEAVES),
        ):
            fate = jnp.where(running & happens, jnp.int32(what), fate)
        return jnp.where(running, after, flat), jnp.where(running, time, left), fate, count + 1

    due = stop - 1e-6 * step  # a difference of times is rounded
    flat = flat_of(state)
    fate = jnp.where(basin.contains(state.x), -1, jnp.int32(Fate.LEAVES))
    fate = jnp.where((fate < 0) & (due <= 0), jnp.int32(Fate.STOPPED), fate)
    flat, left, fate, _ = lax.while_loop(go_on, body, (flat, jnp.zeros_like(stop), fate, jnp.int32(0)))
    fate = jnp.where(fate < 0, jnp.int32(Fate.UNDECIDED), fate)
    point = flat[: problem.dimension]
    if seldom:
        fate = jnp.where((fate == Fate.ELSEWHERE) & ~basin.contains(point), jnp.int32(Fate.LEAVES), fate)
    return fate, left, point, flat
