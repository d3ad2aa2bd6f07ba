"""Where a linear noise-free motion goes, exactly: optimizers of a fixed preconditioner on quadratic landscapes."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from levyjax.arrays import column, padded_to
from levyjax.basins import Basin
from levyjax.interpret import interpreted
from levyjax.landscapes.drift import LINEAR
from levyjax.solvers.motion import (
    Ends,
    Fate,
    Modes,
    at_rest,
    displaced_at_once,
    flat_of,
    like,
    linearised,
    modes_of,
    real_and_imaginary,
    step_length,
    velocities,
)
from levyjax.solvers.steps import Euler, ExitProblem, Iteration, Solver, Tamed

_RATIO, _FIRST, _LAST = 1.1, 1e-3, 16.0  # times on which a linear motion is looked at, in its fastest and slowest ones
_TURN, _TURNS_DECAY, _MOST_TURN_POINTS = 0.12, 3.0, 4000
_PARTS, _ROUNDS = 16, 4  # in which the time of the furthest reach is looked for
_BETWEEN = 0.01  # how much further out a path may come between two times than at them, more than enough
_HALVINGS = 12  # of the time in which the face of a path changes
_EVERY_STEP = 512  # of an iteration that is looked at
_BLOCK = 1 << 17  # numbers
_PATHS = 1024  # followed at a time
_FEW_MODES = 4  # that move one coordinate: more of them are a matrix


def _times(modes: Modes) -> np.ndarray:
    """When a linear motion is looked at: 0 first, then often enough that nothing happens in between."""
    rates, moving = modes.rates, modes.rates[modes.rates > 0]
    if moving.size == 0:
        return np.zeros(1)
    fastest, last = modes.fastest(), _LAST / moving.min()
    if modes.step is not None:
        most = min(max(last / modes.step, 1), 1e12)
        first = np.arange(_EVERY_STEP + 1)
        later = np.geomspace(_EVERY_STEP, max(most, _EVERY_STEP + 1), 200).round()
        steps = np.unique(np.concatenate([first, later, later + 1]))
        return steps[steps <= max(most, 2)] * modes.step
    count = math.ceil(math.log(max(last * fastest / _FIRST, 2)) / math.log(_RATIO))
    times = [np.zeros(1), np.geomspace(_FIRST / fastest, last, count + 1)]
    turns, until = np.abs(np.imag(modes.values)), 0.0
    for index in np.argsort(-turns):  # the fastest are looked at most closely, the others once these have died away
        turn, rate = turns[index], rates[index]
        if turn > 0.1 * rate > 0:
            first, points = until * turn / _TURN, math.ceil(_TURNS_DECAY / rate * turn / _TURN)
            own = np.arange(math.ceil(first), min(points, math.ceil(first) + _MOST_TURN_POINTS) + 1) * _TURN / turn
            times.append(own)
            until = max(until, own.max(initial=0.0))
    return np.unique(np.concatenate(times))


class _ToPoint(NamedTuple):
    """The map from modes to the point's displacement: a matrix, or for few modes an entry their places and weights.

    place: None, or (k, d) modes of each entry; real, imaginary: (d, n), or (k, d) weights.
    """

    index: Any
    real: Any
    imaginary: Any

    def __call__(self, real: Array, imaginary: Array) -> Array:
        """The real part of the displacement (d, *batch) by modes (n, *batch)."""
        if self.index is None:
            return jnp.tensordot(self.real, real, axes=1) - jnp.tensordot(self.imaginary, imaginary, axes=1)
        parts = [
            column(weight, real) * real[index] - column(other, real) * imaginary[index]
            for index, weight, other in zip(self.index, self.real, self.imaginary, strict=True)
        ]
        return sum(parts[1:], parts[0])


def _to_point(matrix: np.ndarray) -> _ToPoint:
    most = int((matrix != 0).sum(axis=1).max())
    if most > min(_FEW_MODES, matrix.shape[1] // 4):
        return _ToPoint(None, *real_and_imaginary(matrix))
    index = np.argsort(matrix == 0, axis=1, kind="stable")[:, :most].T
    return _ToPoint(index, *real_and_imaginary(np.take_along_axis(matrix, index.T, axis=1).T))


_Pair = tuple[Array, Array]  # real and imaginary parts


@interpreted
def _scan(basin: Basin, origin: Array, to_point: _ToPoint, amplitudes: _Pair, factors: _Pair) -> tuple[Array, Array]:
    """Gauge and face, (times, paths), of paths of these amplitudes (n, paths), for factors (times, n)."""

    def look(some: _Pair) -> tuple[Array, Array]:
        return _gauge_and_face(basin, origin, _offsets(to_point, amplitudes, some))

    found = lax.map(look, _in_blocks(amplitudes, factors))
    return jax.tree.map(lambda part: part.reshape(-1, part.shape[-1]), found)


@partial(interpreted, calls=32)
def _furthest(basin: Basin, origin: Array, to_point: _ToPoint, amplitudes: _Pair, factors: _Pair) -> Array:
    """The largest gauge of linear paths over the times, (paths,)."""

    def look(most: Array, some: _Pair) -> tuple[Array, None]:
        return jnp.maximum(most, basin.gauge(origin, _offsets(to_point, amplitudes, some)).max(axis=0)), None

    return lax.scan(look, jnp.zeros_like(amplitudes[0][0]), _in_blocks(amplitudes, factors))[0]


@partial(interpreted, calls=_ROUNDS)
def _looks(basin: Basin, origin: Array, to_point: _ToPoint, amplitudes: _Pair, factors: _Pair) -> tuple[Array, Array]:
    """The same at times of each path's own, factors (n, times, paths)."""
    several = (amplitudes[0][:, None], amplitudes[1][:, None])
    return _gauge_and_face(basin, origin, _displacement(to_point, several, factors))


def _in_blocks(amplitudes: _Pair, factors: _Pair) -> _Pair:
    """Factors (times, n), a power of two of them, as (blocks, times, n): so many that a block stays in the cache."""
    times, n = factors[0].shape
    most = max(_BLOCK // max(n * amplitudes[0].shape[1], 1), 1)
    blocks = max(times >> (most.bit_length() - 1), 1)
    return factors[0].reshape(blocks, -1, n), factors[1].reshape(blocks, -1, n)


def _offsets(to_point: _ToPoint, amplitudes: _Pair, factors: _Pair) -> Array:
    """Displacements (d, times, paths)."""
    several = (amplitudes[0][:, None], amplitudes[1][:, None])
    return _displacement(to_point, several, (factors[0].T[:, :, None], factors[1].T[:, :, None]))


def _displacement(to_point: _ToPoint, amplitudes: _Pair, factors: _Pair) -> Array:
    real = amplitudes[0] * factors[0] - amplitudes[1] * factors[1]
    imaginary = amplitudes[0] * factors[1] + amplitudes[1] * factors[0]
    return to_point(real, imaginary)


def _gauge_and_face(basin: Basin, origin: Array, offset: Array) -> tuple[Array, Array]:
    gauge = basin.gauge(origin, offset)
    point = column(origin, offset) + offset * jnp.where(gauge > 0, 1.001 / jnp.where(gauge > 0, gauge, 1), 0)
    return gauge, basin.face(origin, point)


class Reaches(NamedTuple):
    """How far linear paths reach: record k of path `path[k]` is a gauge of `gauge[k]`, up from `before[k]`, at a time.

    A path from a state s times as far from rest leaves where the first of its records is beyond 1/s.
    """

    path: Int[np.ndarray, " records"]
    before: Float[np.ndarray, " records"]
    gauge: Float[np.ndarray, " records"]
    time: Float[np.ndarray, " records"]
    face: Int[np.ndarray, " records"]
    largest: Float[np.ndarray, " paths"]


class _Looks(NamedTuple):
    """Where paths are at some times: how far out, and by which face."""

    path: np.ndarray
    time: np.ndarray
    gauge: np.ndarray
    face: np.ndarray


def _records(looks: list[_Looks], count: int) -> Reaches:
    """The looks at which a path is further out than at any time before."""
    path, time, gauge, face = (np.concatenate(parts) for parts in zip(*looks, strict=True))
    order = np.lexsort((gauge, time, path))
    path, time, gauge, face = path[order], time[order], gauge[order], face[order]
    largest = np.zeros(count)
    np.maximum.at(largest, path, gauge)
    # one running maximum over all paths: of each gauge's rank, above all those of the path before
    values, rank = np.unique(gauge, return_inverse=True)
    highest = np.maximum.accumulate(path * len(values) + rank)
    earlier = np.concatenate([[-1], highest[:-1]]) - path * len(values)
    before = np.where(earlier >= 0, values[np.maximum(earlier, 0)], 0.0)
    up = gauge > before
    return Reaches(path[up], before[up], gauge[up], time[up], face[up], largest)


class LinearMotion:
    """The exact motion of a linear optimizer on a quadratic landscape, in continuous time or in steps."""

    def __init__(self, problem: ExitProblem, solver: Solver | None) -> None:
        self.problem, self.solver = problem, solver
        self.origin = np.asarray(problem.landscape.minimum)
        self.modes = modes_of(linearised(problem, solver, self.origin), step_length(problem, solver))
        self.rest = np.asarray(flat_of(at_rest(problem, self.origin)))
        self.times = _times(self.modes)
        self._to_point = _to_point(self.modes.from_modes[: len(self.origin)])

    def _amplitudes(self, state: Any) -> np.ndarray:
        offset = np.asarray(flat_of(state)) - self.rest[:, None]
        return self.modes.to_modes @ offset

    def state_at(self, state: Any, times: Float[np.ndarray, " n"]) -> Any:
        """The states after these times, one for each."""
        rest = self.rest[:, None]
        return like(state, rest + self.modes.later(np.asarray(flat_of(state)) - rest, times))

    def reaches(self, state: Any) -> Reaches:
        """From states about rest, fields (d, paths): how far out their paths come, and when."""
        amplitudes = self._amplitudes(state)
        count = amplitudes.shape[1]
        padded = real_and_imaginary(padded_to(amplitudes, 64))
        origin, basin = self.origin, self.problem.basin
        factors = real_and_imaginary(padded_to(self.modes.factors(self.times), 64).T)
        gauge, face = (
            np.asarray(part)[: len(self.times), :count]
            for part in _scan(basin, origin, self._to_point, padded, factors)
        )
        record = np.maximum.accumulate(gauge, axis=0)
        time, path = np.nonzero(np.diff(record, axis=0, prepend=0.0) > 0)
        looks = [_Looks(path, self.times[time], gauge[time, path], face[time, path])]
        if len(self.times) > 1 and self.modes.step is None:
            looks += [self._changes(gauge, record, face, amplitudes), self._peaks(gauge, record, amplitudes)]
        return _records(looks, count)

    def _changes(self, gauge: np.ndarray, record: np.ndarray, face: np.ndarray, amplitudes: np.ndarray) -> _Looks:
        """The last moment of a face that changes on the way to a record, between two times that are looked at."""
        time, path = np.nonzero((face[1:] != face[:-1]) & (gauge[1:] > record[:-1]))
        low, high, earlier = self.times[time], self.times[time + 1], face[time, path]
        there = gauge[time, path]
        if not len(path):
            return _Looks(path, low, there, earlier)
        padded = real_and_imaginary(padded_to(amplitudes[:, path], 64))
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            factors = real_and_imaginary(self.modes.factors(padded_to(middle[None], padded[0].shape[1])))
            values, faces = _looks(self.problem.basin, self.origin, self._to_point, padded, factors)
            same = faces[0, : len(path)] == earlier
            low, high = np.where(same, middle, low), np.where(same, high, middle)
            there = np.where(same, values[0, : len(path)], there)
        return _Looks(path, low, there, earlier)

    def _peaks(self, gauge: np.ndarray, record: np.ndarray, amplitudes: np.ndarray) -> _Looks:
        """The furthest points between the times that are looked at, wherever a path may set a record there."""
        around = np.pad(gauge, ((1, 1), (0, 0)), constant_values=-np.inf)
        top = (gauge >= around[:-2]) & (gauge >= around[2:]) & (gauge > 0)
        index, path = np.nonzero(top & (gauge >= (1 - _BETWEEN) * record))
        low, high = self.times[np.maximum(index - 1, 0)], self.times[np.minimum(index + 1, len(self.times) - 1)]
        found = [_Looks(path[:0], low[:0], gauge[:0, 0], path[:0])]
        for first in range(0, len(path), _PATHS):
            some = slice(first, first + _PATHS)
            found.append(self._top(path[some], low[some], high[some], amplitudes))
        return _Looks(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    def _top(self, path: np.ndarray, low: np.ndarray, high: np.ndarray, amplitudes: np.ndarray) -> _Looks:
        """The furthest points of paths between two times of each."""
        padded, each = real_and_imaginary(padded_to(amplitudes[:, path], 64)), np.arange(len(path))
        best, when, side = np.zeros(len(path)), low, np.zeros(len(path), int)
        for _ in range(_ROUNDS):
            looks = low + (high - low) * np.linspace(0, 1, _PARTS + 1)[:, None]
            factors = real_and_imaginary(self.modes.factors(padded_to(looks, padded[0].shape[1])))
            values, faces = _looks(self.problem.basin, self.origin, self._to_point, padded, factors)
            top = np.argmax(values[:, : len(path)], axis=0)
            better = values[top, each] > best
            best = np.where(better, values[top, each], best)
            when, side = np.where(better, looks[top, each], when), np.where(better, faces[top, each], side)
            low, high = looks[np.maximum(top - 1, 0), each], looks[np.minimum(top + 1, _PARTS), each]
        return _Looks(path, when, best, side)

    def leaves(self, state: Any) -> Any:
        """Whether paths from these states leave, (n,), by the times looked at alone."""
        amplitudes = self._amplitudes(state)
        factors = real_and_imaginary(padded_to(self.modes.factors(self.times), 64).T)
        found = []
        for first in range(0, amplitudes.shape[1], _PATHS):
            padded = real_and_imaginary(padded_to(amplitudes[:, first : first + _PATHS], 64))
            found.append(_furthest(self.problem.basin, self.origin, self._to_point, padded, factors))
        return np.concatenate(found)[: amplitudes.shape[1]] > 1

    def follow(self, state: Any) -> Ends:
        """Whether paths from these states leave, when and where."""
        found = self.reaches(state)
        leaving = np.flatnonzero(found.gauge > 1)
        first = np.full(len(found.largest), np.inf)
        np.minimum.at(first, found.path[leaving], found.time[leaving])
        leaves = np.isfinite(first)
        after = self.state_at(state, np.where(leaves, first, 0.0))
        fate = np.where(leaves, Fate.LEAVES, Fate.RETURNS).astype(int)
        return Ends(fate, np.where(leaves, first, 0.0), np.asarray(after.x), after)


def is_linear(problem: ExitProblem, solver: Solver | None) -> bool:
    """Whether the optimizer's noise-free motion is linear in its state: under a linear drift, tried at a few states."""
    if not isinstance(problem.landscape, LINEAR) or isinstance(solver, Tamed):
        return False
    if problem.dynamics.is_gradient_flow:
        return True
    rest = at_rest(problem, problem.landscape.minimum)
    center = np.asarray(flat_of(rest))
    draws = np.random.default_rng(0).normal(size=(8, *center.shape))
    # What is not 0 at rest, a preconditioner, has to stay as it is while the point moves.
    moves = [True, *(not np.asarray(leaf).any() for leaf in rest[1:])]
    size = np.concatenate([np.full(leaf.shape, float(one)) for leaf, one in zip(rest, moves, strict=True)])
    moved = [center + draw * size for draw in draws] + [center + draw * size / 2 for draw in draws]
    values = velocities(problem, np.stack([center, *moved]).T).T
    whole, half = values[1:9] - values[0], values[9:] - values[0]
    scale = np.abs(whole).max(axis=0) + 1e-300
    return bool((np.abs(whole - 2 * half) <= 1e-9 * scale + 1e-12 * np.abs(values[0])).all())


def linear_motion(problem: ExitProblem, solver: Any = None) -> LinearMotion | None:
    """The noise-free motion as a solver takes it, where it is linear; under `jax.enable_x64(True)`."""
    solver = solver if isinstance(solver, Euler | Tamed | Iteration) else None
    if is_linear(problem, solver) and getattr(problem.basin, "star_shaped", True):
        return LinearMotion(problem, solver)
    return None


def flow_reach(problem: ExitProblem, vectors: Float[np.ndarray, "d n"]) -> Float[np.ndarray, " n"]:
    """How far the noise-free flow takes a point after the noise has moved it by each vector, the basin's gauge at most.

    By the motion linearised at the minimum. A jump of A L that reaches 1/r leads out if it is r times as long; the
    straight way to the boundary counts, too.
    """
    motion = LinearMotion(problem, None)
    rest = at_rest(problem, np.repeat(motion.origin[:, None], vectors.shape[1], axis=1))
    return motion.reaches(displaced_at_once(problem, rest, vectors)).largest
