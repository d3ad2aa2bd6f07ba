"""Where the noise-free dynamics goes from a state: exactly where it is linear, by an adaptive ODE solver elsewhere."""

import enum
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse.csgraph
from jax import lax
from jaxtyping import Array, Float, Int

from levyjax.arrays import Numbers, column, padded_to
from levyjax.basins import Attraction, Sublevel
from levyjax.dynamics import SGD, Kick
from levyjax.interpret import interpreted
from levyjax.landscapes import Flat, Quadratic
from levyjax.random import Counter
from levyjax.solvers.implicit import implicit_solver
from levyjax.solvers.steps import Euler, Iteration, Tamed, tamed

_RATIO, _FIRST, _LAST = 1.1, 1e-3, 16.0  # times on which a linear motion is looked at, in its fastest and slowest ones
_TURN, _TURNS_DECAY, _MOST_TURN_POINTS = 0.12, 3.0, 4000
_PARTS, _ROUNDS = 16, 4  # in which the time of the furthest reach is looked for
_HALVINGS = 12  # of the time in which the face of a path changes
_EVERY_STEP = 512  # of an iteration that is looked at
_LOOKS = 8  # inside a step of the ODE solver
_LOOKED_STEPS = 8  # of an iteration, where looks are dear
_NEAR = 0.005  # what can reach no further than this part of the way to the boundary has come back
_RESTS = 2e-5  # of a length within the slowest relaxation time: a state that moves less has come to rest
_STIFF = 300.0  # ratio of relaxation rates from which the solver is implicit
_RTOL, _ROUGH_RTOL = 1e-7, 1e-5  # of a step; of one whose path tells its fate and little else
_ATOL = 1e-2  # of these, of each entry's size
_HUGE = 1e9
_MOST_STEPS, _MOST_ITERATIONS = 4000, 20_000
_BLOCK = 1 << 17  # numbers
_LANES, _PATHS = 256, 1024  # followed at a time, step by step and by formula
_FEW_MODES = 4  # that move one coordinate: more of them are a matrix


class Fate(enum.IntEnum):
    """How the noise-free dynamics ends.

    RETURNS: at rest at the minimum; LEAVES: outside of the basin; ELSEWHERE: at rest at another point inside;
    BLOWS_UP: at infinity, inside; UNDECIDED: none of these within the steps allowed; STOPPED: at the time asked for.
    """

    RETURNS = 0
    LEAVES = 1
    ELSEWHERE = 2
    BLOWS_UP = 3
    UNDECIDED = 4
    STOPPED = 5


class Ends(NamedTuple):
    """Where n states lead.

    fate: (n,) a `Fate`.
    time: (n,) when that was.
    point: (d, n) where the boundary is crossed, or where it ended.
    state: the optimizer's state at the end, fields (d, n).
    """

    fate: Int[np.ndarray, " n"]
    time: Float[np.ndarray, " n"]
    point: Float[np.ndarray, "d n"]
    state: Any


class _Given(NamedTuple):
    """Noise of one step that is what it is said to be; beside it what an optimizer asks its noise for."""

    amount: Any
    noise: Any

    @property
    def scale(self) -> Any:
        return self.noise.scale

    @property
    def alpha(self) -> Any:
        return self.noise.alpha

    def increment(self, counter: Counter, dt: Any, stream: int = 0) -> Array:
        return self.amount


def step_length(problem: Any, solver: Any) -> float | None:
    """The time between the solver's steps where they are steps of one length; None in continuous time."""
    if isinstance(solver, Euler | Tamed | Iteration):
        return float(solver.step_time(problem))
    return None


def one_step(problem: Any, solver: Any, state: Any, amount: Any) -> Any:
    """The solver's next state, long after the start, with the noise of the step moving the point by `amount`."""
    late = jnp.ones(state.x.shape[1:], jnp.uint32)
    counter = Counter(0 * late, late, 0 * late, 0 * late)
    gradient = problem.landscape.gradient(state.x)
    noise = _Given(amount, problem.noise)
    if isinstance(solver, Iteration):
        learning_rate = problem.dynamics.learning_rate
        return problem.dynamics.iterate(state, gradient, Kick(noise, -1 / learning_rate, counter, 1.0))
    if isinstance(solver, Tamed):
        gradient = tamed(gradient, solver.dt)
    return problem.dynamics.sde_step(state, gradient, Kick(noise, 1.0, counter, solver.dt))


def displaced(problem: Any, solver: Any, state: Any, amount: Any) -> Any:
    """The state after a jump that moves the noise epsilon A L by `amount`: at once, or in the solver's next step."""
    if not isinstance(solver, Euler | Tamed | Iteration):
        return problem.dynamics.displace(state, amount)
    return one_step(problem, solver, state, amount)


def at_rest(problem: Any, points: Any) -> Any:
    """The optimizer at rest at these points (d, *batch)."""
    return _at_rest(problem.dynamics, problem.noise, points)


@interpreted
def _at_rest(dynamics: Any, noise: Any, points: Any) -> Any:
    return dynamics.rest(jnp.asarray(points), noise)


def jump_maps(problem: Any) -> Any:
    """What multiplies a jump of A L on its way into x at rest, (samples, d)."""
    if getattr(problem.dynamics, "gradient_noise", "frozen") != "frozen":
        return problem.dynamics.jump_maps(problem.noise)  # it may draw samples
    return _jump_maps(problem.dynamics, problem.noise)


@interpreted
def _jump_maps(dynamics: Any, noise: Any) -> Any:
    return dynamics.jump_maps(noise)


@interpreted
def hessian_of(landscape: Any) -> Any:
    """The Hessian at the minimum, (d, d)."""
    return landscape.hessian()


def _flat(state: Any) -> Any:
    parts = list(state)
    return np.concatenate(parts) if all(isinstance(part, np.ndarray) for part in parts) else jnp.concatenate(parts)


def _like(rest: Any, flat: Any) -> Any:
    rows = np.cumsum([leaf.shape[0] for leaf in rest])[:-1].tolist()
    return type(rest)(*(np.split if isinstance(flat, np.ndarray) else jnp.split)(flat, rows))


def linearised(problem: Any, solver: Any, point: Any) -> np.ndarray:
    """Minus the derivative of the state's velocity at rest at a point; of a step, its derivative itself."""
    return _derivative(problem, solver, np.asarray(point))


@interpreted
def _derivative(problem: Any, solver: Any, point: Array) -> Array:
    rest = at_rest(problem, point)
    rest = _off_zero(rest)

    def motion(flat: Array) -> Array:
        state = _like(rest, flat)
        if not isinstance(solver, Euler | Tamed | Iteration):
            return -_velocity(problem, state)
        return _flat(one_step(problem, solver, state, 0 * state.x))

    return jax.jacfwd(motion)(_flat(rest))


def _off_zero(state: Any) -> Any:
    """The state with averages that are not quite 0: sqrt(v) has no derivative there, on a coordinate without noise."""
    return type(state)(state.x, *(jnp.where(jnp.abs(leaf) < 1e-100, 1e-150, leaf) for leaf in state[1:]))


def _velocity(problem: Any, state: Any) -> Array:
    return _flat(problem.dynamics.drift(state, problem.landscape.gradient(state.x), problem.noise))


@interpreted
def _drift(problem: Any, state: Any) -> Any:
    return problem.dynamics.drift(state, problem.landscape.gradient(state.x), problem.noise)


def velocity_about(problem: Any, point: Any) -> Callable[[Array], Array]:
    """The state's velocity as a function of its displacement from rest at a point, all fields in one vector."""
    rest = at_rest(problem, jnp.asarray(point))
    return lambda offset: _velocity(problem, _like(rest, _flat(rest) + offset))


@interpreted
def jump_slopes(problem: Any, point: Array) -> Array:
    """What one unit of the noise A L does to the state at rest at a point, (n, d)."""
    rest = at_rest(problem, point)
    return jax.jacfwd(lambda amount: _flat(problem.dynamics.displace(rest, amount)))(0 * point)


@interpreted
def _velocities(problem: Any, flats: Array) -> Array:
    """Of states (n, states)."""
    rest = at_rest(problem, jnp.asarray(problem.landscape.minimum))
    return _velocity(problem, _like(rest, flats))


class Modes(NamedTuple):
    """The linear motion about a point, in modes: state = rest + Re(from_modes (factor * to_modes offset)).

    values: (n,) decay rates, complex where a mode turns; of a step, minus the logarithm of its factor over its length.
    """

    to_modes: np.ndarray
    from_modes: np.ndarray
    values: np.ndarray
    step: float | None

    @property
    def rates(self) -> np.ndarray:
        """Decay rates (n,), those within rounding of 0 as 0."""
        real = np.real(self.values)
        return np.where(np.abs(real) <= 1e-12 * max(np.abs(self.values).max(), 1e-300), 0, real)

    def slowest(self) -> float:
        """The slowest relaxation's rate; 0 where some direction does not relax."""
        return max(float(self.rates.min()), 0.0)

    def fastest(self) -> float:
        return float(np.abs(self.values).max())


def modes_of(system: np.ndarray, step: float | None) -> Modes:
    """Of x' = -system x, or of x -> system x each step."""
    count, label = scipy.sparse.csgraph.connected_components(system != 0, directed=False)
    if count == 1:
        return _coupled_modes(system, step)
    # parts that do not touch each other have modes of their own, with exact zeros elsewhere
    to_modes, from_modes = np.zeros((2, *system.shape), complex)
    values = np.zeros(len(system), complex)
    for part in range(count):
        here = np.flatnonzero(label == part)
        own = _coupled_modes(system[np.ix_(here, here)], step)
        to_modes[np.ix_(here, here)], from_modes[np.ix_(here, here)] = own.to_modes, own.from_modes
        values[here] = own.values
    return Modes(to_modes, from_modes, values, step)


def _coupled_modes(system: np.ndarray, step: float | None) -> Modes:
    if step is None and np.allclose(system, system.T, rtol=1e-13, atol=0):
        values, vectors = np.linalg.eigh(system)
        return Modes(vectors.T.astype(complex), vectors.astype(complex), values.astype(complex), None)
    system, units = scipy.linalg.matrix_balance(system, permute=False)  # entries of a state have units of their own
    values, vectors = np.linalg.eig(system)
    if np.linalg.cond(vectors) > 1e7:  # critical damping: modes of a system that differs by one part in 1e7
        nudge = np.random.default_rng(0).normal(size=system.shape) * 1e-7
        values, vectors = np.linalg.eig(system * (1 + nudge))
    vectors = units @ vectors
    if step is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = -np.log(values.astype(complex)) / step
        values = np.where(np.isfinite(values), values, 700 / step)
    return Modes(np.linalg.inv(vectors).astype(complex), vectors.astype(complex), values.astype(complex), step)


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
    for place in np.argsort(-turns):  # the fastest are looked at most closely, the others once these have died away
        turn, rate = turns[place], rates[place]
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

    place: Any
    real: Any
    imaginary: Any

    def __call__(self, real: Array, imaginary: Array) -> Array:
        """The real part of the displacement (d, *batch) by modes (n, *batch)."""
        if self.place is None:
            return jnp.tensordot(self.real, real, axes=1) - jnp.tensordot(self.imaginary, imaginary, axes=1)
        parts = [
            column(weight, real) * real[place] - column(other, real) * imaginary[place]
            for place, weight, other in zip(self.place, self.real, self.imaginary, strict=True)
        ]
        return sum(parts[1:], parts[0])


def _to_point(matrix: np.ndarray) -> _ToPoint:
    most = int((matrix != 0).sum(axis=1).max())
    if most > min(_FEW_MODES, matrix.shape[1] // 4):
        return _ToPoint(None, *_split(matrix))
    place = np.argsort(matrix == 0, axis=1, kind="stable")[:, :most].T
    return _ToPoint(place, *_split(np.take_along_axis(matrix, place.T, axis=1).T))


_Pair = tuple[Array, Array]  # real and imaginary parts


@interpreted
def _scan(basin: Any, origin: Array, to_point: _ToPoint, amplitudes: _Pair, factors: _Pair) -> tuple[Array, Array]:
    """Gauge and face, (times, paths), of paths of these amplitudes (n, paths), for factors (times, n)."""

    def look(some: _Pair) -> tuple[Array, Array]:
        return _gauge_and_face(basin, origin, _offsets(to_point, amplitudes, some))

    found = lax.map(look, _in_blocks(amplitudes, factors))
    return jax.tree.map(lambda part: part.reshape(-1, part.shape[-1]), found)


@partial(interpreted, calls=32)
def _furthest(basin: Any, origin: Array, to_point: _ToPoint, amplitudes: _Pair, factors: _Pair) -> Array:
    """The largest gauge of linear paths over the times, (paths,)."""

    def look(most: Array, some: _Pair) -> tuple[Array, None]:
        return jnp.maximum(most, basin.gauge(origin, _offsets(to_point, amplitudes, some)).max(axis=0)), None

    return lax.scan(look, jnp.zeros_like(amplitudes[0][0]), _in_blocks(amplitudes, factors))[0]


@partial(interpreted, calls=_ROUNDS)
def _looks(basin: Any, origin: Array, to_point: _ToPoint, amplitudes: _Pair, factors: _Pair) -> tuple[Array, Array]:
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


def _gauge_and_face(basin: Any, origin: Array, offset: Array) -> tuple[Array, Array]:
    gauge = basin.gauge(origin, offset)
    point = column(origin, offset) + offset * jnp.where(gauge > 0, 1.001 / jnp.where(gauge > 0, gauge, 1), 0)
    return gauge, basin.face(origin, point)


def _split(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.real(values).copy(), np.imag(values).copy()


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


class LinearMotion:
    """The exact motion of a linear optimizer on a quadratic landscape, in continuous time or in steps."""

    def __init__(self, problem: Any, solver: Any) -> None:
        self.problem, self.solver = problem, solver
        self.origin = np.asarray(problem.landscape.minimum)
        self.modes = modes_of(linearised(problem, solver, self.origin), step_length(problem, solver))
        self.rest = np.asarray(_flat(at_rest(problem, self.origin)))
        self.times = _times(self.modes)
        self._to_point = _to_point(self.modes.from_modes[: len(self.origin)])

    def _amplitudes(self, state: Any) -> np.ndarray:
        offset = np.asarray(_flat(state)) - self.rest[:, None]
        return self.modes.to_modes @ offset

    def _factors(self, times: np.ndarray) -> np.ndarray:
        """exp(-values t), (n, *times)."""
        values = self.modes.values.reshape((-1,) + (1,) * np.ndim(times))
        with np.errstate(under="ignore"):
            return np.exp(-np.where(np.real(values) * times > 700, 700, values * times))

    def state_at(self, state: Any, times: Float[np.ndarray, " n"]) -> Any:
        """The states after these times, one for each."""
        flat = np.real(self.modes.from_modes @ (self._amplitudes(state) * self._factors(times)))
        return _like(state, self.rest[:, None] + flat)

    def reaches(self, state: Any) -> Reaches:
        """From states about rest, fields (d, paths): how far out their paths come, and when."""
        amplitudes = self._amplitudes(state)
        count = amplitudes.shape[1]
        padded = _split(padded_to(amplitudes, 64))
        origin, basin = self.origin, self.problem.basin
        factors = _split(padded_to(self._factors(self.times), 64).T)
        gauge, face = (
            np.asarray(part)[: len(self.times), :count]
            for part in _scan(basin, origin, self._to_point, padded, factors)
        )
        record = np.maximum.accumulate(gauge, axis=0)
        time, path = np.nonzero(np.diff(record, axis=0, prepend=0.0) > 0)
        before = np.concatenate([np.zeros((1, count)), record[:-1]])[time, path]
        found = [path, before, record[time, path], self.times[time], face[time, path]]
        if len(self.times) > 1 and self.modes.step is None:
            parted = self._parted(found, np.where(time > 0, face[time - 1, path], found[4]), time, amplitudes)
            more = self._refined(gauge, padded)
            found = [np.concatenate(parts) for parts in zip(found, parted, more, strict=True)]
        largest = np.zeros(count)
        path, before, reach, when, side = found
        np.maximum.at(largest, path, reach)
        return Reaches(path, before, reach, when, side, largest)

    def _parted(self, found: list, earlier: np.ndarray, time: np.ndarray, amplitudes: np.ndarray) -> tuple:
        """Records that end where the face changes, between two times that are looked at; shortens those after it."""
        path, before, reach, _, face = found
        changes = np.flatnonzero((earlier != face) & (before > 0))
        if not changes.size:
            return tuple(part[:0] for part in found)
        padded = _split(padded_to(amplitudes[:, path[changes]], 64))
        low, high = self.times[time[changes] - 1], self.times[time[changes]]
        there = reach[changes].copy()
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            factors = _split(self._factors(padded_to(middle[None], padded[0].shape[1])))
            values, faces = _looks(self.problem.basin, self.origin, self._to_point, padded, factors)
            same = faces[0, : len(changes)] == earlier[changes]
            low, high = np.where(same, middle, low), np.where(same, high, middle)
            there = np.where(same, values[0, : len(changes)], there)
        there = np.clip(there, before[changes], reach[changes])
        parted = path[changes], before[changes].copy(), there, low, earlier[changes]
        before[changes] = there
        return parted

    def _refined(self, gauge: np.ndarray, padded: Any) -> tuple[np.ndarray, ...]:
        """What the times between those looked at add to the largest gauge of each path."""
        paths = np.arange(gauge.shape[1])
        place = np.argmax(gauge, axis=0)
        so_far = gauge[place, paths]
        low = self.times[np.maximum(place - 1, 0)]
        high = self.times[np.minimum(place + 1, len(self.times) - 1)]
        best, when = so_far.copy(), self.times[place]
        side = np.zeros(gauge.shape[1], int)
        width = padded[0].shape[1]
        for _ in range(_ROUNDS):
            looks = low + (high - low) * np.linspace(0, 1, _PARTS + 1)[:, None]
            factors = _split(self._factors(padded_to(looks, width)))
            values, faces = _looks(self.problem.basin, self.origin, self._to_point, padded, factors)
            values = values[:, : len(paths)]
            top = np.argmax(values, axis=0)
            better = values[top, paths] > best
            best = np.where(better, values[top, paths], best)
            when, side = np.where(better, looks[top, paths], when), np.where(better, faces[top, paths], side)
            low, high = looks[np.maximum(top - 1, 0), paths], looks[np.minimum(top + 1, _PARTS), paths]
        more = np.flatnonzero(best > so_far)
        return more, so_far[more], best[more], when[more], side[more]

    def leaves(self, state: Any) -> Any:
        """Whether paths from these states leave, (n,), by the times looked at alone."""
        amplitudes = self._amplitudes(state)
        factors = _split(padded_to(self._factors(self.times), 64).T)
        found = []
        for first in range(0, amplitudes.shape[1], _PATHS):
            padded = _split(padded_to(amplitudes[:, first : first + _PATHS], 64))
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


def is_linear(problem: Any, solver: Any) -> bool:
    """Whether the optimizer's noise-free motion is linear in its state: on a quadratic, tried at a few states."""
    if not isinstance(problem.landscape, Quadratic | Flat) or isinstance(solver, Tamed):
        return False
    if isinstance(problem.dynamics, SGD):
        return True
    rest = at_rest(problem, problem.landscape.minimum)
    center = np.asarray(_flat(rest))
    draws = np.random.default_rng(0).normal(size=(8, *center.shape))
    # What is not 0 at rest, a preconditioner, has to stay as it is while the point moves.
    moves = [True, *(not np.asarray(leaf).any() for leaf in rest[1:])]
    size = np.concatenate([np.full(leaf.shape, float(one)) for leaf, one in zip(rest, moves, strict=True)])
    moved = [center + draw * size for draw in draws] + [center + draw * size / 2 for draw in draws]
    values = _velocities(problem, np.stack([center, *moved]).T).T
    whole, half = values[1:9] - values[0], values[9:] - values[0]
    scale = np.abs(whole).max(axis=0) + 1e-300
    return bool((np.abs(whole - 2 * half) <= 1e-9 * scale + 1e-12 * np.abs(values[0])).all())


def linear_motion(problem: Any, solver: Any = None) -> LinearMotion | None:
    """The noise-free motion as a solver takes it, where it is linear; under `jax.enable_x64(True)`."""
    solver = solver if isinstance(solver, Euler | Tamed | Iteration) else None
    if is_linear(problem, solver) and getattr(problem.basin, "star_shaped", True):
        return LinearMotion(problem, solver)
    return None


class TracedMotion:
    """The motion followed step by step: any optimizer, any landscape, any basin."""

    def __init__(self, problem: Any, solver: Any, size: float = 1.0, point: Any = None) -> None:
        self.problem, self.solver = problem, solver
        self.origin = np.asarray(problem.landscape.minimum if point is None else point)
        self.modes = modes_of(linearised(problem, solver, self.origin), step_length(problem, solver))
        self.rest = at_rest(problem, self.origin)
        self.kept = kept_by_descent(problem)  # what starts inside stays inside
        self.by_definition = self.kept and isinstance(
            problem.basin, Attraction
        )  # and where it rests tells whether it did
        self.reach, self.sizes = self._reach(size), self._sizes(size)

    def _reach(self, size: float) -> np.ndarray:
        """How far each mode of amplitude 1 can ever reach, as a part of the way to the boundary, or of its size."""
        vectors = self.modes.from_modes[: len(self.origin)]
        parts = np.concatenate([np.real(vectors), np.imag(vectors)], axis=1)
        reach = np.linalg.norm(parts, axis=0) / size
        if self.by_definition:
            reach = np.linalg.norm(parts, axis=0) / float(self.problem.basin.near)
        elif getattr(self.problem.basin, "star_shaped", True):
            both = np.concatenate([parts, -parts], axis=1)
            gauge = gauge_along(self.problem.basin, self.origin, both)
            reach = np.maximum(reach, gauge.reshape(2, -1).max(axis=0))
        return reach.reshape(2, -1).sum(axis=0)

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
        averages[np.abs(averages) < 1e-100] = 0  # what `_off_zero` has made of 0
        return Ends(fate, time, point, _like(self.rest, flat))

    def _some(
        self, leaves: list[np.ndarray], stop: np.ndarray, stiff: bool, tolerance: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        width = stop.shape[0]
        leaves, stop = [padded_to(leaf, _LANES) for leaf in leaves], padded_to(stop, _LANES)  # one program
        watched = _Watch(
            self.origin,
            np.concatenate([np.asarray(leaf) for leaf in self.rest]),
            _split(self.modes.to_modes),
            self.reach,
            self.sizes,
            np.asarray(max(self.modes.slowest(), 1e-6 * self.modes.fastest(), 1e-300)),
            np.asarray(self.modes.fastest()),
        )
        state = type(self.rest)(*leaves)
        if self.modes.step is None:
            way = stiff, not self.kept, not self.by_definition
            found = _trace(self.problem, watched, state, stop, tolerance, *way)
        else:
            found = _iterate(self.problem, self.solver, watched, state, stop, np.asarray(self.modes.step))
        fate, time, point, flat = (np.asarray(part)[..., :width] for part in found)
        if self.by_definition:  # what comes to rest elsewhere was outside from the start
            away = np.isin(fate, (Fate.ELSEWHERE, Fate.BLOWS_UP)) & ~self._comes_back(point)
            fate, time = np.where(away, Fate.LEAVES, fate), np.where(away, 0.0, time)
            point = np.where(away, leaves[0][:, :width], point)
        return fate, time, point, flat

    def _comes_back(self, point: np.ndarray) -> np.ndarray:
        """Whether points at rest are the minimum, as closely as it is known."""
        return np.linalg.norm(point - self.origin[:, None], axis=0) < 0.5 * float(self.problem.basin.near)

    def _sizes(self, size: float) -> np.ndarray:
        """How large each entry of the state becomes, for tolerances: the point as far as the basin reaches."""
        draws = np.random.default_rng(0).normal(size=(len(self.origin), 16))
        points = self.origin[:, None] + size * draws / np.linalg.norm(draws, axis=0)
        moved = _drift(self.problem, at_rest(self.problem, points))
        sizes = [np.full(self.origin.shape, size)]
        for leaf, rate in zip(self.rest[1:], moved[1:], strict=True):
            made = np.abs(np.asarray(rate)).max() / self.modes.fastest()
            sizes.append(np.full(leaf.shape, max(float(np.abs(np.asarray(leaf)).max()), float(made), 1e-300)))
        return np.concatenate(sizes)

    def state_at(self, state: Any, times: Float[np.ndarray, " n"]) -> Any:
        """The states after these times, one for each; ended ones where they ended."""
        return self.follow(state, times).state


@interpreted
def gauge_along(basin: Any, origin: Array, directions: Array) -> Array:
    return basin.gauge(origin, directions)


def kept_by_descent(problem: Any) -> bool:
    """Whether the basin is of a kind that gradient descent's flow never leaves, by its definition."""
    if not isinstance(problem.basin, Attraction | Sublevel) or len(at_rest(problem, problem.landscape.minimum)) > 1:
        return False
    theirs, structure = jax.tree.flatten(problem.basin.landscape)
    ours, expected = jax.tree.flatten(problem.landscape)
    return structure == expected and all(map(np.array_equal, theirs, ours))


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


def _crossing(basin: Any, inside: Array, outside: Array) -> Array:
    """A point just outside on the way from a point inside to one outside."""

    def bisect(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = (ends[0] + ends[1]) / 2
        stays = basin.contains(middle)
        return jnp.where(stays, middle, ends[0]), jnp.where(stays, ends[1], middle)

    return lax.fori_loop(0, 30, bisect, (inside, outside))[1]


@partial(jax.jit, static_argnames=("stiff", "watches", "begins"))
def _trace(
    problem: Any, watch: _Watch, state: Any, stop: Array, tolerance: Array, stiff: bool, watches: bool, begins: bool
) -> Any:
    """Paths in continuous time, each with steps of its own.

    watches: whether they leave is looked at within every step; begins: whether they are inside is, before the first.
    """
    import diffrax  # half a second, for what is followed step by step alone

    dynamics, landscape, basin, noise = problem.dynamics, problem.landscape, problem.basin, problem.noise
    sizes = watch.sizes

    def velocity(time: Any, scaled: Array, args: Any) -> Array:
        state_now = _off_zero(_like(state, watch.rest + scaled * sizes))
        return _flat(dynamics.drift(state_now, landscape.gradient(state_now.x), noise)) / sizes

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

    def place(scaled: Array) -> Array:
        """The points of scaled states (..., n, lanes)."""
        size = sizes[: problem.dimension, None]
        return jnp.asarray(watch.origin[:, None] + scaled[..., : problem.dimension, :] * size)

    def go_on(now: _Path) -> Array:
        return (now.fate < 0).any() & (now.count < _MOST_STEPS)

    def body(now: _Path) -> _Path:
        step = jnp.minimum(now.step, stop - now.time)
        over = step < now.step
        after, ratio, looks, carry, speed, dense = jax.vmap(advance, (0, 0, 1, 0), (1, 0, 2, 0, 0, 0))(
            now.time, step, now.flat, now.solver
        )
        good = (now.fate < 0) & (ratio <= 1)
        points = jnp.moveaxis(place(looks), 0, 1)
        stays = inside(points)  # (looks, lanes)
        leaves = good & ~stays.all(axis=0)
        first = jnp.argmin(stays, axis=0)
        earlier = jnp.take_along_axis(points, jnp.maximum(first - 1, 0)[None, None], axis=1)[:, 0]
        before = jnp.where(first == 0, now.point, earlier)
        outside = jnp.take_along_axis(points, first[None, None], axis=1)[:, 0]
        part = (first.astype(step.dtype) + 1) / _LOOKS

        def closer(_: None) -> tuple[Array, Array, Array]:
            """The same, looked at more closely between the last point inside and the first outside."""
            parts = (first.astype(step.dtype) + jnp.linspace(1 / _LOOKS, 1, _LOOKS)[:, None]) / _LOOKS
            between = place(jax.vmap(seen, (0, 0, 0, 1), 2)(now.time, step, dense, parts))
            between = jnp.moveaxis(between, 0, 1)
            soonest = jnp.argmin(inside(between).at[-1].set(False), axis=0)
            just = jnp.take_along_axis(between, jnp.maximum(soonest - 1, 0)[None, None], axis=1)[:, 0]
            beyond = jnp.take_along_axis(between, soonest[None, None], axis=1)[:, 0]
            when = jnp.take_along_axis(parts, soonest[None], axis=0)[0]
            return jnp.where(soonest == 0, before, just), beyond, when

        before, outside, part = lax.cond(leaves.any(), closer, lambda _: (before, outside, part), None)
        time = jnp.where(good, now.time + step, now.time)
        flat = jnp.where(good, after, now.flat)
        point = place(flat)
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

    start = (_flat(state) - watch.rest[:, None]) / sizes[:, None]
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
def _iterate(problem: Any, solver: Any, watch: _Watch, state: Any, stop: Array, step: Any) -> Any:
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
        now = _like(state, flat)
        after = _flat(one_step(problem, solver, now, 0 * now.x))
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
            (time >= stop, Fate.STOPPED),
            (outside & jnp.isfinite(after).all(axis=0), Fate.LEAVES),
        ):
            fate = jnp.where(running & happens, jnp.int32(what), fate)
        return jnp.where(running, after, flat), jnp.where(running, time, left), fate, count + 1

    flat = _flat(state)
    fate = jnp.where(basin.contains(state.x), -1, jnp.int32(Fate.LEAVES))
    fate = jnp.where((fate < 0) & (stop <= 0), jnp.int32(Fate.STOPPED), fate)
    flat, left, fate, _ = lax.while_loop(go_on, body, (flat, jnp.zeros_like(stop), fate, jnp.int32(0)))
    fate = jnp.where(fate < 0, jnp.int32(Fate.UNDECIDED), fate)
    point = flat[: problem.dimension]
    if seldom:
        fate = jnp.where((fate == Fate.ELSEWHERE) & ~basin.contains(point), jnp.int32(Fate.LEAVES), fate)
    return fate, left, point, flat


def flow_reach(problem: Any, vectors: Float[np.ndarray, "d n"]) -> Float[np.ndarray, " n"]:
    """How far the noise-free flow takes a point after the noise has moved it by each vector, the basin's gauge at most.

    By the motion linearised at the minimum. A jump of A L that reaches 1/r leads out if it is r times as long; the
    straight way to the boundary counts, too.
    """
    motion = LinearMotion(problem, None)
    rest = at_rest(problem, np.repeat(motion.origin[:, None], vectors.shape[1], axis=1))
    return motion.reaches(_displaced(problem.dynamics, rest, vectors)).largest


@interpreted
def _displaced(dynamics: Any, state: Any, amount: Any) -> Any:
    return dynamics.displace(state, amount)
