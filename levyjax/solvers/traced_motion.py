"""Where noise-free dynamics goes when it is followed: by an adaptive ODE solver, or iteration by iteration."""

from copy import copy
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from levyjax.arrays import Numbers, bisected, padded_to
from levyjax.basins import Attraction, Basin
from levyjax.solvers.implicit import implicit_solver
from levyjax.solvers.motion import (
    Ends,
    Fate,
    at_rest,
    drift_of,
    flat_of,
    gauge_along,
    kept_by_descent,
    like,
    linearised,
    modes_of,
    off_zero,
    one_step,
    real_and_imaginary,
    step_length,
)
from levyjax.solvers.steps import Euler, ExitProblem, Iteration, Solver, Tamed

_LOOKS = 8  # inside a step of the ODE solver
_LOOKED_STEPS = 8  # of an iteration, where looks are dear
_NEAR = 0.005  # what can reach no further than this part of the way to the boundary has come back
_SMALL = 0.003  # of where a path comes from
_RESTS = 2e-5  # of a length within the slowest relaxation time: a state that moves less has come to rest
_STIFF = 300.0  # ratio of relaxation rates from which the solver is implicit
_RTOL, _ROUGH_RTOL = 1e-7, 1e-5  # of a step; of one whose path tells its fate and little else
_ATOL = 1e-2  # of these, of each entry's size
_HUGE = 1e9
_MOST_STEPS, _MOST_ITERATIONS = 4000, 20_000
_LANES = 256  # followed at a time


class TracedMotion:
    """The motion followed step by step: any optimizer, any landscape, any basin."""

    def __init__(self, problem: ExitProblem, solver: Solver | None, size: float = 1.0, point: Any = None) -> None:
        self.problem, self.solver = problem, solver
        self.origin = np.asarray(problem.landscape.minimum if point is None else point)
        self.modes = modes_of(linearised(problem, solver, self.origin), step_length(problem, solver))
        self.rest = at_rest(problem, self.origin)
        self.kept = kept_by_descent(problem)  # what starts inside stays inside
        basin = problem.basin
        # where it rests tells whether it started inside; how near to the minimum that is
        self.near = float(basin.near) if self.kept and isinstance(basin, Attraction) else None
        self.reach, self.sizes = self._reach(size), self._sizes(size)

    def _reach(self, size: float) -> np.ndarray:
        """How far each mode of amplitude 1 can ever reach, as a part of the way to the boundary, or of its size."""
        vectors = self.modes.from_modes[: len(self.origin)]
        parts = np.concatenate([np.real(vectors), np.imag(vectors)], axis=1)
        reach = np.linalg.norm(parts, axis=0) / size
        if self.near is not None:
            reach = np.linalg.norm(parts, axis=0) / self.near
        elif getattr(self.problem.basin, "star_shaped", True):
            both = np.concatenate([parts, -parts], axis=1)
            gauge = gauge_along(self.problem.basin, self.origin, both)
            reach = np.maximum(reach, gauge.reshape(2, -1).max(axis=0))
        return reach.reshape(2, -1).sum(axis=0)

    def closer(self, shortest: float) -> "TracedMotion":
        """The same, with paths followed until they are small beside this part of the way to the boundary."""
        closer = copy(self)
        closer.reach = self.reach * max(_NEAR / (_SMALL * shortest), 1.0)
        return closer

    def follow(self, state: Any, stop: Any = None, stiff: bool | None = None, rough: bool = False) -> Ends:
        """Where these states lead; or where they are at the times `stop`, had they not ended before.

        `stiff` says whether the solver is implicit, default where the rates say so; `rough` whether 1e-5 will do.
        """
        moving = self.modes.rates[self.modes.rates > 0]
        if stiff is None:
            stiff = bool(self.modes.fastest() > _STIFF * moving.min(initial=np.inf))
        count = state.x.shape[1]
        stop = np.full(count, np.inf) if stop is None else np.asarray(stop, float)
        # lanes go on until the last of them ends: those that take about as long are followed together
        away = np.linalg.norm(np.asarray(state.x) - self.origin[:, None], axis=0)
        order = np.lexsort((away, stop))
        tolerance = np.asarray(_ROUGH_RTOL if rough else _RTOL)
        parts = []
        for first in range(0, count, _LANES):
            some = order[first : first + _LANES]
            parts.append(self._some([np.asarray(leaf)[:, some] for leaf in state], stop[some], stiff, tolerance))
        back = np.argsort(order)
        found = (np.concatenate(columns, axis=-1)[..., back] for columns in zip(*parts, strict=True))
        fate, time, point, flat = found
        averages = flat[len(self.origin) :]
        averages[np.abs(averages) < 1e-100] = 0  # what `off_zero` has made of 0
        return Ends(fate, time, point, like(self.rest, flat))

    def _some(
        self, leaves: list[np.ndarray], stop: np.ndarray, stiff: bool, tolerance: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        width = stop.shape[0]
        leaves, stop = [padded_to(leaf, _LANES) for leaf in leaves], padded_to(stop, _LANES)  # one program
        watched = _Watch(
            self.origin,
            np.concatenate([np.asarray(leaf) for leaf in self.rest]),
            real_and_imaginary(self.modes.to_modes),
            self.reach,
            self.sizes,
            np.asarray(max(self.modes.slowest(), 1e-6 * self.modes.fastest(), 1e-300)),
            np.asarray(self.modes.fastest()),
        )
        state = type(self.rest)(*leaves)
        if isinstance(self.solver, Euler | Tamed | Iteration):
            found = _iterate(self.problem, self.solver, watched, state, stop, np.asarray(self.modes.step))
        else:
            way = stiff, not self.kept, self.near is None
            found = _trace(self.problem, watched, state, stop, tolerance, *way)
        fate, time, point, flat = (np.asarray(part)[..., :width] for part in found)
        if self.near is not None:  # what comes to rest elsewhere was outside from the start
            away = np.isin(fate, (Fate.ELSEWHERE, Fate.BLOWS_UP)) & ~self._comes_back(point)
            fate, time = np.where(away, Fate.LEAVES, fate), np.where(away, 0.0, time)
            point = np.where(away, leaves[0][:, :width], point)
        return fate, time, point, flat

    def _comes_back(self, point: np.ndarray) -> np.ndarray:
        """Whether points at rest are the minimum, as closely as it is known."""
        return np.linalg.norm(point - self.origin[:, None], axis=0) < 0.5 * (self.near or 0.0)

    def _sizes(self, size: float) -> np.ndarray:
        """How large each entry of the state becomes, for tolerances: the point as far as the basin reaches."""
        draws = np.random.default_rng(0).normal(size=(len(self.origin), 16))
        points = self.origin[:, None] + size * draws / np.linalg.norm(draws, axis=0)
        moved = drift_of(self.problem, at_rest(self.problem, points))
        sizes = [np.full(self.origin.shape, size)]
        for leaf, rate in zip(self.rest[1:], moved[1:], strict=True):
            made = np.abs(np.asarray(rate)).max() / self.modes.fastest()
            sizes.append(np.full(leaf.shape, max(float(np.abs(np.asarray(leaf)).max()), float(made), 1e-300)))
        return np.concatenate(sizes)

    def state_at(self, state: Any, times: Float[np.ndarray, " n"]) -> Any:
        """The states after these times, one for each: ended ones where they ended, but on to rest if they came back."""
        ends = self.follow(state, times)
        back = np.flatnonzero(ends.fate == Fate.RETURNS)
        if not len(back):
            return ends.state
        flat, rest = np.array(flat_of(ends.state)), np.asarray(flat_of(self.rest))[:, None]
        flat[:, back] = rest + self.modes.later(flat[:, back] - rest, (times - ends.time)[back])
        return like(self.rest, flat)


class _Watch(NamedTuple):
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


def _returned(watch: _Watch, offset: Array) -> Array:
    real, imaginary = watch.to_modes[0] @ offset, watch.to_modes[1] @ offset
    ever = (watch.reach[:, None] * jnp.sqrt(real**2 + imaginary**2)).sum(axis=0)
    return jnp.asarray(ever < _NEAR)


def _crossing(basin: Basin, inside: Array, outside: Array) -> Array:
    """A point just outside on the way from a point inside to one outside."""
    return bisected(basin.contains, inside, outside, 30)[1]


@partial(jax.jit, static_argnames=("stiff", "watches", "begins"))
def _trace(
    problem: ExitProblem,
    watch: _Watch,
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
            (jnp.abs(flat).max(axis=0) > _HUGE, Fate.BLOWS_UP),
            (now.step < 1e-13 / watch.fastest, Fate.UNDECIDED),
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
def _iterate(
    problem: ExitProblem, solver: Euler | Tamed | Iteration, watch: _Watch, state: Any, stop: Array, step: Any
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
            (jnp.abs(after - watch.rest[:, None]) / watch.sizes[:, None]).max(axis=0) > _HUGE
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
