"""Noise-free dynamics of any optimizer: its steps and velocities, its linearisation, and how its paths end."""

import enum
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used
from jaxtyping import Array, Float, Int

from levyjax.arrays import components
from levyjax.basins import Attraction, Basin, Sublevel
from levyjax.dynamics import DrivingNoise, Dynamics
from levyjax.interpret import interpreted
from levyjax.landscapes import Landscape
from levyjax.landscapes.base import beside, has_potential
from levyjax.noise import StateDependent
from levyjax.random import Counter
from levyjax.solvers.steps import Euler, ExitProblem, Iteration, Solver, Tamed, tamed

_ROUNDED = 1e-12  # of a matrix's largest entry: what is not symmetric by rounding


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


def step_length(problem: ExitProblem, solver: Solver | None) -> float | None:
    """The time between the solver's steps where they are steps of one length; None in continuous time."""
    if isinstance(solver, Euler | Tamed | Iteration):
        return float(solver.step_time(problem))
    return None


def one_step(problem: ExitProblem, solver: Euler | Tamed | Iteration, state: Any, amount: Any) -> Any:
    """The solver's next state, long after the start, with the noise of the step moving the point by `amount`."""
    late = jnp.ones(state.x.shape[1:], jnp.uint32)
    counter = Counter(0 * late, late, 0 * late, 0 * late)
    gradient = problem.landscape.gradient(state.x)
    noise = _Given(amount, problem.noise)
    if isinstance(solver, Iteration):
        learning_rate = problem.dynamics.learning_rate
        return problem.dynamics.iterate(state, gradient, DrivingNoise(noise, -1 / learning_rate, counter, 1.0))
    if isinstance(solver, Tamed):
        gradient = tamed(gradient, solver.dt)
    return problem.dynamics.sde_step(state, gradient, DrivingNoise(noise, 1.0, counter, solver.dt))


def displaced(problem: ExitProblem, solver: Solver | None, state: Any, amount: Any) -> Any:
    """The state after a jump that moves the noise epsilon A L by `amount`: at once, or in the solver's next step."""
    if not isinstance(solver, Euler | Tamed | Iteration):
        return problem.dynamics.displace(state, amount)
    return one_step(problem, solver, state, amount)


def displaced_at_once(problem: ExitProblem, state: Any, amount: Any) -> Any:
    """The state after a jump that moves the noise epsilon A L by `amount`, in continuous time."""
    return _displaced(problem.dynamics, state, amount)


@interpreted
def _displaced(dynamics: Dynamics, state: Any, amount: Any) -> Any:
    return dynamics.displace(state, amount)


def at_rest(problem: ExitProblem, points: Any) -> Any:
    """The optimizer at rest at these points (d, *batch)."""
    return _at_rest(problem.dynamics, problem.noise, points)


@interpreted
def _at_rest(dynamics: Dynamics, noise: Any, points: Any) -> Any:
    return dynamics.rest(jnp.asarray(points), noise)


def jump_maps(problem: ExitProblem) -> Any:
    """What multiplies a jump of A L on its way into x at rest, (samples, d)."""
    if problem.dynamics.gradient_noise != "frozen":
        return problem.dynamics.jump_maps(problem.noise)  # it may draw samples
    return _jump_maps(problem.dynamics, problem.noise)


@interpreted
def _jump_maps(dynamics: Dynamics, noise: Any) -> Any:
    return dynamics.jump_maps(noise)


@interpreted
def hessian_of(landscape: Landscape) -> Any:
    """The Hessian at the minimum, or the negative Jacobian of a drift at its attractor, which is not symmetric."""
    return landscape.hessian()


def decay_rates(matrix: Float[np.ndarray, "d d"]) -> Float[np.ndarray, " d"]:
    """The real parts of a matrix's eigenvalues, in increasing order: of a Hessian, or minus a drift's Jacobian."""
    if np.allclose(matrix, matrix.T, rtol=0, atol=_ROUNDED * np.abs(matrix).max(initial=0)):
        return np.linalg.eigvalsh(matrix)
    return np.sort(np.real(np.linalg.eigvals(matrix)))


def growth_at_rest(problem: ExitProblem, solver: Solver | None) -> float:
    """How fast the motion grows away from the attractor of a drift that is no gradient; 0 where it comes to rest.

    Momentum and averages are late, and a drift that turns may have moved on before they heed it.
    """
    if has_potential(problem.landscape):
        return 0.0
    minimum = problem.landscape.minimum
    return max(-float(modes_of(linearised(problem, solver, minimum), step_length(problem, solver)).rates.min()), 0.0)


def flat_of(state: Any) -> Any:
    parts = list(state)
    return np.concatenate(parts) if all(isinstance(part, np.ndarray) for part in parts) else jnp.concatenate(parts)


def like(rest: Any, flat: Any) -> Any:
    rows = np.cumsum([leaf.shape[0] for leaf in rest])[:-1].tolist()
    return type(rest)(*(np.split if isinstance(flat, np.ndarray) else jnp.split)(flat, rows))


def linearised(problem: ExitProblem, solver: Solver | None, point: Any) -> np.ndarray:
    """Minus the derivative of the state's velocity at rest at a point; of a step, its derivative itself.

    Where the landscape's slope has a kink at the point, the mean of its two sides.
    """
    one, other = (_derivative(problem, solver, side) for side in beside(np.asarray(point, np.float64)))
    return (one + other) / 2


@interpreted
def _derivative(problem: ExitProblem, solver: Solver | None, point: Array) -> Array:
    rest = at_rest(problem, point)
    rest = off_zero(rest)

    def motion(flat: Array) -> Array:
        state = like(rest, flat)
        if not isinstance(solver, Euler | Tamed | Iteration):
            return -_velocity(problem, state)
        return flat_of(one_step(problem, solver, state, 0 * state.x))

    return jax.jacfwd(motion)(flat_of(rest))


def off_zero(state: Any) -> Any:
    """The state with averages that are not quite 0: sqrt(v) has no derivative there, on a coordinate without noise."""
    return type(state)(state.x, *(jnp.where(jnp.abs(leaf) < 1e-100, 1e-150, leaf) for leaf in state[1:]))


def _velocity(problem: ExitProblem, state: Any) -> Array:
    return flat_of(problem.dynamics.drift(state, problem.landscape.gradient(state.x), problem.noise))


@interpreted
def drift_of(problem: ExitProblem, state: Any) -> Any:
    return problem.dynamics.drift(state, problem.landscape.gradient(state.x), problem.noise)


def velocity_about(problem: ExitProblem, point: Any) -> Callable[[Array], Array]:
    """The state's velocity as a function of its displacement from rest at a point, all fields in one vector."""
    rest = at_rest(problem, jnp.asarray(point))
    return lambda offset: _velocity(problem, like(rest, flat_of(rest) + offset))


@interpreted
def jump_slopes(problem: ExitProblem, point: Array) -> Array:
    """What one unit of the noise A L does to the state at rest at a point, (n, d)."""
    rest = at_rest(problem, point)
    return jax.jacfwd(lambda amount: flat_of(problem.dynamics.displace(rest, amount)))(0 * point)


@interpreted
def velocities(problem: ExitProblem, flats: Array) -> Array:
    """Of states (n, states)."""
    rest = at_rest(problem, jnp.asarray(problem.landscape.minimum))
    return _velocity(problem, like(rest, flats))


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

    def factors(self, times: np.ndarray) -> np.ndarray:
        """exp(-values t), (n, *times)."""
        values = self.values.reshape((-1,) + (1,) * np.ndim(times))
        with np.errstate(under="ignore"):
            return np.exp(-np.where(np.real(values) * times > 700, 700, values * times))

    def later(self, offset: Float[np.ndarray, "n lanes"], times: Float[np.ndarray, " lanes"]) -> np.ndarray:
        """Offsets from rest after these times, one for each."""
        return np.real(self.from_modes @ ((self.to_modes @ offset) * self.factors(times)))

    def slowest(self) -> float:
        """The slowest relaxation's rate; 0 where some direction does not relax."""
        return max(float(self.rates.min()), 0.0)

    def fastest(self) -> float:
        return float(np.abs(self.values).max())


def modes_of(system: np.ndarray, step: float | None) -> Modes:
    """Of x' = -system x, or of x -> system x each step."""
    label = components(system)
    if not label.any():
        return _coupled_modes(system, step)
    # parts that do not touch each other have modes of their own, with exact zeros elsewhere
    to_modes, from_modes = np.zeros((2, *system.shape), complex)
    values = np.zeros(len(system), complex)
    for part in range(label.max() + 1):
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


@interpreted
def gauge_along(basin: Basin, origin: Array, directions: Array) -> Array:
    return basin.gauge(origin, directions)


def has_way_out(problem: ExitProblem) -> bool:
    """Whether the way of a jump from rest to the boundary can be looked at in a reasonable time.

    A Marcus jump takes many short steps, and each would ask a basin of attraction where it leads.
    """
    curved = isinstance(problem.noise, StateDependent) and problem.noise.kind == "marcus"
    return not (curved and isinstance(problem.basin, Attraction))


def kept_by_descent(problem: ExitProblem) -> bool:
    """Whether the basin is of a kind that gradient descent's flow never leaves, by its definition."""
    if not isinstance(problem.basin, Attraction | Sublevel) or len(at_rest(problem, problem.landscape.minimum)) > 1:
        return False
    theirs, structure = jax.tree.flatten(problem.basin.landscape)
    ours, expected = jax.tree.flatten(problem.landscape)
    return structure == expected and all(map(np.array_equal, theirs, ours))


def real_and_imaginary(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.real(values).copy(), np.imag(values).copy()
