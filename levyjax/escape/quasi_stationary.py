"""The exit rate itself, at any noise level: a particle system in its quasi-stationary law, exits counted by measure.

N particles run with the jump-adapted solver; one that leaves takes the place of another that is inside (Fleming and
Viot). Their law tends to the quasi-stationary one, from which the exit time is exactly exponential with rate

    rate = E_q[nu(jumps longer than a floor that leave)] + rate of the other exits,

the first taken from the Lévy measure at every particle and every moment, the second counted. The floor keeps the
first bounded: with every jump in it, the integrand has infinite variance for alpha >= 2/3.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, UInt32

from levyjax.arrays import cast, column, jit, pytree
from levyjax.basins import Box, Sublevel
from levyjax.dynamics import SGD, Momentum
from levyjax.escape.predict import unit_rate
from levyjax.escape.problem import EscapeProblem
from levyjax.noise import JumpRays, Rotational
from levyjax.random import Counter, Stream, run_key, trajectory_key, words
from levyjax.solvers.jump_adapted import JumpAdapted, Leg

_FLOOR = 0.1  # of the way to the boundary: exits by shorter jumps are counted
_EXITS_PER_ROUND = 0.1  # of the particles between two replacements
_ROUNDS_PER_BATCH = 10
_BURN_IN_BATCHES = 4  # of a mean exit time each
_LEAST_BATCHES, _MOST_BATCHES = 16, 1 << 14
_NARROWING, _NARROWEST = 4, 32
_SETTLING = 3.0  # relaxation times
_RAYS, _OWN = Stream.GRADIENT, Stream.GRADIENT + 1  # a jump and the rays of its own step share their direction
_INTERVAL = 1.96
_RARE = 30


@dataclasses.dataclass(frozen=True)
class QuasiStationaryRate:
    """The exit rate from the quasi-stationary law, with what its error rests on.

    Attributes:
        rate: exits per unit of the SDE's time.
        standard_error: of the rate, by batches; the worth of rare counted exits included.
        converged: whether the standard error is below the one asked for.
        exits: exits that happened.
        counted: those of them that entered the rate as counts, not by their measure.
        particles: how many.
        time: the SDE's time that each particle ran, burn-in included.
        steps: steps of all particles.
        seconds: wall-clock time without compilation.
    """

    rate: float
    standard_error: float
    converged: bool
    exits: int
    counted: int
    particles: int
    time: float
    steps: int
    seconds: float

    @property
    def rate_ci95(self) -> tuple[float, float]:
        """The rate's 95% interval."""
        return self.rate - _INTERVAL * self.standard_error, self.rate + _INTERVAL * self.standard_error


class Particles(NamedTuple):
    """The particle system between two rounds."""

    state: Any
    counter: Counter
    round: UInt32[Array, ""]


class Tally(NamedTuple):
    """What each particle adds up."""

    measure: Array  # exit measure times time
    time: Array  # lived
    counted: Array  # exits that the measure leaves out
    exits: Array  # all of them
    steps: Array


@pytree
class System:
    """What stays the same while the particles run.

    basin: where rays from any point have a formula: the basin, or the interval that it is; None where there is none.
    limit: the exit measure at the minimum, of which a random ray's is an estimate; None where rays are not random.
    length: time of a round.
    """

    problem: Any
    solver: Any
    basin: Any
    limit: Any
    length: Any


def _chords(problem: EscapeProblem, solver: JumpAdapted) -> Any:
    ends = solver.layout.ends
    if isinstance(problem.dynamics, Momentum) or float(problem.noise.alpha) == 2:
        return None  # no jump leaves the basin at once
    if ends is None:
        return None if isinstance(problem.basin, Sublevel) else problem.basin
    center, (below, above) = float(problem.landscape.minimum[0]), np.asarray(ends)
    with np.errstate(divide="ignore"):
        return Box(center - 1 / np.array([below]), center + 1 / np.array([above]))


def make_system(problem: EscapeProblem, solver: JumpAdapted) -> System:
    """The particles' common part, with a first guess of the length of a round; rather too short than too long."""
    with jax.enable_x64(True):
        solver = solver.prepare(problem)
        basin, limit = _chords(problem, solver), None
        if basin is not None and isinstance(problem.noise, Rotational) and isinstance(problem.dynamics, SGD):
            limit = float(problem.noise_level) ** float(problem.noise.alpha) * float(unit_rate(problem))
        fastest = float(solver.layout.rate) / 4 + float(solver.layout.flow.diffusion)
        return System(problem, solver, basin, limit, _EXITS_PER_ROUND / fastest)


def _exit_measure(system: System, state: Any, longest: Array, rays: JumpRays) -> tuple[Array, Array]:
    """nu of the jumps longer than `longest` (rays, lanes) that leave: at the minimum, and what these states add."""
    problem = system.problem
    alpha, dynamics = problem.noise.alpha, problem.dynamics
    wide = jax.tree.map(lambda leaf: leaf[:, None], state)
    vectors = dynamics.displace(wide._replace(x=0 * wide.x), problem.noise_level * rays.vectors).x

    def both(origin: Array) -> Array:
        sides = [jnp.clip(system.basin.gauge(origin, sign * vectors), 0, 1 / longest) ** alpha for sign in (1.0, -1.0)]
        return (rays.weight * (sides[0] + sides[1])).sum(axis=0)

    least = both(jnp.asarray(problem.landscape.minimum))
    return least if system.limit is None else system.limit, both(wide.x) - least


def _measured(system: System, state: Any, leg: Leg, counter: Counter) -> Float[Array, " lanes"]:
    """The exit measure integrated over a step, from its value at the minimum and at one random moment.

    Half of the moments of a long step are drawn from its beginning, where the point still moves.
    """
    problem, solver = system.problem, system.solver
    rays = problem.noise.jump_rays(counter, _RAYS)
    part = jnp.maximum(solver.jump_part * leg.depth.depth, _FLOOR)
    longest = part / column(solver.layout.reaches, state.x)
    uniform, tiny = _uniform(counter, 0, state.x.dtype), jnp.finfo(state.x.dtype).tiny
    early = jnp.minimum(_SETTLING / jnp.maximum(solver.layout.flow.slowest * leg.time, tiny), 1)
    moment = jnp.where(uniform < 0.5, 2 * uniform * early, 2 * uniform - 1)
    weight = 2 / (1 + jnp.where(moment < early, 1 / early, 0))
    at = solver.partway(problem, state, counter, leg, moment)
    least, more = _exit_measure(system, at, longest, rays)
    return leg.time * (least + weight * jnp.where(problem.basin.contains(at.x), more, -least))


def _uniform(counter: Counter, which: int, dtype: Any) -> Float[Array, " lanes"]:
    """A uniform variate for the moment in a step (0), or for who takes an empty place (1)."""
    word = words(counter, which + 1, _OWN)[0][which]
    return (word >> jnp.uint32(8)).astype(dtype) * 2.0**-24


class _Course(NamedTuple):
    """Every particle on its way through a round; arrays (..., particles)."""

    state: Any
    counter: Counter
    clock: Array
    alive: Array
    tally: Tally


def _step(system: System, course: _Course) -> _Course:
    """One step of every particle that lives and has not reached the end of the round."""
    state, counter, clock, alive, tally = course
    problem, solver = system.problem, system.solver
    running = alive & (clock < system.length)
    left = system.length - clock
    leg = solver.advance(problem, state, counter, left)
    leaves = leg.jumps & ~problem.basin.contains(leg.jumped.x)
    exits = running & (leaves | ~leg.stays)
    if system.basin is None:
        measure, counted = jnp.zeros_like(clock), exits
    else:
        measure = _measured(system, state, leg, counter)
        counted = exits & ~(leaves & (leg.reach > _FLOOR))
    after = jax.tree.map(lambda jumped, moved: jnp.where(leg.jumps, jumped, moved), leg.jumped, leg.moved)
    state = jax.tree.map(lambda new, old: jnp.where(running & ~exits, new, old), after, state)
    clock = jnp.where(running, jnp.where(leg.time >= left, system.length, clock + leg.time), clock)
    counter = counter._replace(low=counter.low + running.astype(jnp.uint32))
    time = jnp.where(running, leg.time, 0)
    tally = Tally(
        tally.measure + jnp.where(running, measure, 0),
        tally.time + time,
        tally.counted + counted.astype(jnp.int32),
        tally.exits + exits.astype(jnp.int32),
        tally.steps + running.astype(jnp.int32),
    )
    return _Course(state, counter, clock, alive & ~exits, tally)


def _replace(state: Any, alive: Bool[Array, " particles"], counter: Counter, index: Array) -> Any:
    """Every particle that left takes the state of one that lives, drawn uniformly."""
    uniform = _uniform(counter._replace(low=jnp.broadcast_to(index, counter.low.shape)), 1, jnp.float32)
    living = jnp.argsort(~alive, stable=True)
    chosen = (uniform * alive.sum().astype(jnp.float32)).astype(jnp.int32)
    source = jnp.where(alive, jnp.arange(alive.shape[0]), living[chosen])
    return jax.tree.map(lambda leaf: leaf[..., source], state)


def _running(system: System, course: _Course) -> Bool[Array, " particles"]:
    return course.alive & (course.clock < system.length)


def _narrowed(system: System, course: _Course, width: int, enough: int) -> _Course:
    """Step the first `width` of the running particles until `enough` of them are left."""
    chosen = jnp.argsort(~_running(system, course), stable=True)[:width]
    part = jax.tree.map(lambda leaf: leaf[..., chosen], course)
    part = lax.while_loop(lambda part: _running(system, part).sum() > enough, partial(_step, system), part)
    return jax.tree.map(lambda whole, new: whole.at[..., chosen].set(new), course, part)


def _finish(system: System, course: _Course) -> _Course:
    """Step until every particle is dead or at the end; the last, those near the boundary, in narrow batches."""
    widths = [course.clock.shape[0]]
    while widths[-1] // _NARROWING >= _NARROWEST:
        widths.append(widths[-1] // _NARROWING)
    for width, enough in zip(widths, [*widths[1:], 0], strict=True):
        course = _narrowed(system, course, width, enough)
    return course


def _round(system: System, particles: Particles, _: None) -> tuple[Particles, Tally]:
    """Let time pass for every particle, then replace those that left."""
    clock = jnp.zeros_like(particles.state.x[0])
    count = jnp.zeros(clock.shape, jnp.int32)
    tally = Tally(clock, clock, count, count, count)
    course = _Course(particles.state, particles.counter, clock, jnp.ones(clock.shape, bool), tally)
    course = _finish(system, course)
    state = _replace(course.state, course.alive, course.counter, particles.round)
    return Particles(state, course.counter, particles.round + 1), course.tally


@partial(jit, static_argnames="num_rounds")
def _batch(system: System, particles: Particles, num_rounds: int) -> tuple[Particles, Tally]:
    particles, tallies = lax.scan(partial(_round, system), particles, length=num_rounds)
    return particles, jax.tree.map(lambda leaf: leaf.sum(axis=0), tallies)


def _start(system: System, key: Any, num_particles: int) -> Particles:
    problem = system.problem
    start = problem.landscape.minimum if problem.start is None else problem.start
    x = jnp.broadcast_to(jnp.asarray(start)[:, None], (problem.dimension, num_particles))
    index = jnp.arange(num_particles, dtype=jnp.uint32)
    low = jnp.zeros_like(index)
    counter = Counter(*trajectory_key(run_key(key), index, low), low, low)
    return Particles(problem.dynamics.rest(x, problem.noise), counter, jnp.uint32(0))


class _Ledger:
    """Totals of the batches, and the rate with its error that those after the burn-in give."""

    def __init__(self) -> None:
        self.burn_in: list[np.ndarray] = []
        self.rows: list[np.ndarray] = []

    def add(self, tally: Tally, settled: bool) -> Tally:
        """Two neighbours become one batch where there are many: the longer, the more independent."""
        row = np.array([np.asarray(leaf, np.float64).sum() for leaf in tally])
        (self.rows if settled else self.burn_in).append(row)
        if len(self.rows) == 4 * _LEAST_BATCHES:
            self.rows = [one + other for one, other in zip(self.rows[::2], self.rows[1::2], strict=True)]
        return Tally(*row)

    def totals(self, everything: bool = False) -> Tally:
        """Over the batches that count, or those of the burn-in too."""
        return Tally(*np.sum(self.rows + self.burn_in * everything, axis=0))

    def rate(self) -> tuple[float, float]:
        """The ratio of exits to time, and its standard error over batches.

        Batches cannot know about exits too rare to have happened: with n counted exits, fewer than _RARE, the worth of
        sqrt(n + 1) of them is added in squares.
        """
        total, batches = self.totals(), np.array(self.rows)
        exits = batches[:, 0] + batches[:, 2]
        rate = exits.sum() / total.time
        residual = exits - rate * batches[:, 1]
        count = len(batches)
        error = math.sqrt((residual**2).sum() * count / max(count - 1, 1)) / total.time
        if total.counted < _RARE:
            error = math.hypot(error, math.sqrt(total.counted + 1) / total.time)
        return float(rate), float(error)


def quasi_stationary_rate(
    problem: EscapeProblem,
    key: Any = 0,
    *,
    relative_error: float = 1e-3,
    num_particles: int = 2048,
    max_time: float = math.inf,
    solver: JumpAdapted | None = None,
    dtype: str = "float32",
    on_progress: Callable[[float, float], None] | None = None,
) -> QuasiStationaryRate:
    """The rate at which trajectories that have long been inside leave: exact at any noise level.

    The exit time from the quasi-stationary law is exponential with this rate. From the minimum the mean is longer,
    by 15-19% without drift and less than 1% at kappa = 10 and above.

    Args:
        problem: what leaves what; its start is where the particles start.
        key: an integer seed or a `jax.random.key`.
        relative_error: run until the standard error is this part of the rate.
        num_particles: at least 1000 are advised; the bias falls as 1/num_particles.
        max_time: stop after this much of the SDE's time; ValueError where that is not enough to settle.
        solver: how particles move; default `JumpAdapted()`.
        dtype: "float32" or "float64".
        on_progress: called with the rate and its standard error after every batch.

    Returns:
        The rate with its standard error.

    Raises:
        ValueError: relative_error not positive, fewer than 2 particles, max_time too short to settle, or what
            `JumpAdapted` refuses.

    Source:
        Fleming and Viot 1979; Burdzy, Holyst and March 2000 for the particle system; the bounded split of the exit
        measure is ours.

    Example:
        >>> from levyjax.basins import Box
        >>> from levyjax.dynamics import SGD
        >>> from levyjax.landscapes import Quadratic
        >>> from levyjax.noise import Independent
        >>> problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(), 1e-4)
        >>> result = quasi_stationary_rate(problem, relative_error=0.01)
        >>> round(result.rate / 3.9895e-7, 2)
        1.0
    """
    if not relative_error > 0:
        raise ValueError(f"relative_error must be positive, got {relative_error}.")
    if num_particles < 2:
        raise ValueError(f"num_particles must be at least 2, got {num_particles}.")
    system = make_system(problem, solver or JumpAdapted())
    with jax.enable_x64(dtype == "float64"):
        return _run(cast(system, jnp.dtype(dtype)), key, relative_error, num_particles, max_time, on_progress)


def _run(
    system: System, key: Any, relative_error: float, num_particles: int, max_time: float, on_progress: Any
) -> QuasiStationaryRate:
    particles = _start(system, key, num_particles)
    jax.block_until_ready(_batch(system, particles, _ROUNDS_PER_BATCH))  # compiles
    began, ledger, settled, done = time.perf_counter(), _Ledger(), 0, False
    for _ in range(_MOST_BATCHES):
        particles, tallies = _batch(system, particles, _ROUNDS_PER_BATCH)
        row = ledger.add(tallies, settled == _BURN_IN_BATCHES)
        out_of_time = ledger.totals(True).time / num_particles >= max_time
        if settled < _BURN_IN_BATCHES:
            ratio = _EXITS_PER_ROUND * num_particles * _ROUNDS_PER_BATCH / (row.exits + 1)
            settled = settled + 1 if settled or 0.7 < ratio < 1.5 else 0
            if not settled:
                system = dataclasses.replace(system, length=system.length * min(max(ratio, 1 / 8), 8))
        else:
            rate, error = ledger.rate()
            if on_progress is not None:
                on_progress(rate, error)
            done = len(ledger.rows) >= _LEAST_BATCHES and error <= relative_error * rate
        if done or out_of_time:
            break
    if len(ledger.rows) < 2:
        raise ValueError(f"max_time = {max_time:g} is too short: the particles have not settled.")
    rate, error = ledger.rate()
    total, seconds = ledger.totals(True), time.perf_counter() - began
    counted = int(ledger.totals().counted)
    lived = float(total.time) / num_particles
    return QuasiStationaryRate(
        rate, error, done, int(total.exits), counted, num_particles, lived, int(total.steps), seconds
    )
