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

from levyjax.arrays import cast, column, pytree
from levyjax.basins import Box, Sublevel
from levyjax.dynamics import SGD
from levyjax.escape.predict import unit_rate
from levyjax.escape.problem import EscapeProblem
from levyjax.noise import JumpRays, Rotational
from levyjax.random import Counter, Stream, run_key, trajectory_key, words
from levyjax.solvers.jump_adapted import JumpAdapted, Leg

_FLOOR = 0.1  # of the way to the boundary: exits by shorter jumps are counted
_EXITS_PER_ROUND = 0.1  # of the particles between two replacements
_ROUNDS_PER_BATCH = 20
_BURN_IN_BATCHES = 2  # four mean exit times
_LEAST_BATCHES, _MOST_BATCHES = 16, 1 << 14
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
    """What a round adds up over its particles."""

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
    if float(problem.noise.alpha) == 2 or (ends is None and isinstance(problem.basin, Sublevel)):
        return None
    if ends is None:
        return problem.basin
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
    vectors = dynamics.displace(wide, problem.noise_level * rays.vectors).x - wide.x

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


def _step(system: System, carry: tuple[Any, Counter, Array, Array, Tally]) -> tuple[Any, Counter, Array, Array, Tally]:
    """One step of every particle that lives and has not reached the end of the round."""
    state, counter, clock, alive, tally = carry
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
        tally.counted + counted,
        tally.exits + exits,
        tally.steps + running,
    )
    return state, counter, clock, alive & ~exits, tally


def _replace(state: Any, alive: Bool[Array, " particles"], counter: Counter, index: Array) -> Any:
    """Every particle that left takes the state of one that lives, drawn uniformly."""
    uniform = _uniform(counter._replace(low=jnp.broadcast_to(index, counter.low.shape)), 1, jnp.float32)
    living = jnp.argsort(~alive, stable=True)
    chosen = (uniform * alive.sum()).astype(jnp.int32)
    source = jnp.where(alive, jnp.arange(alive.shape[0]), living[chosen])
    return jax.tree.map(lambda leaf: leaf[..., source], state)


def _round(system: System, particles: Particles, _: None) -> tuple[Particles, Tally]:
    """Let time pass for every particle, then replace those that left."""
    clock = jnp.zeros_like(particles.state.x[0])
    count = jnp.zeros(clock.shape, jnp.int32)
    alive = jnp.ones(clock.shape, bool)

    def unfinished(carry: Any) -> Array:
        return (carry[3] & (carry[2] < system.length)).any()

    carry = (particles.state, particles.counter, clock, alive, Tally(clock, clock, count, count, count))
    state, counter, _, alive, tally = lax.while_loop(unfinished, partial(_step, system), carry)
    state = _replace(state, alive, counter, particles.round)
    return Particles(state, counter, particles.round + 1), jax.tree.map(lambda leaf: leaf.sum(), tally)


@partial(jax.jit, static_argnames="num_rounds")
def _batch(system: System, particles: Particles, num_rounds: int) -> tuple[Particles, Tally]:
    particles, tallies = lax.scan(partial(_round, system), particles, length=num_rounds)
    return particles, jax.tree.map(lambda leaf: leaf.sum(), tallies)


def _start(system: System, key: Any, num_particles: int) -> Particles:
    problem = system.problem
    start = problem.landscape.minimum if problem.start is None else problem.start
    x = jnp.broadcast_to(jnp.asarray(start)[:, None], (problem.dimension, num_particles))
    index = jnp.arange(num_particles, dtype=jnp.uint32)
    low = jnp.zeros_like(index)
    counter = Counter(*trajectory_key(run_key(key), index, low), low, low)
    return Particles(problem.dynamics.rest(x, problem.noise), counter, jnp.uint32(0))


class _Ledger:
    """The batches so far, and the rate with its error that they give."""

    def __init__(self) -> None:
        self.rows: list[np.ndarray] = []

    def add(self, tally: Tally) -> None:
        self.rows.append(np.array([float(leaf) for leaf in tally]))

    def totals(self) -> Tally:
        return Tally(*np.sum(self.rows, axis=0))

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
        return float(rate), error


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
        max_time: stop after this much of the SDE's time.
        solver: how particles move; default `JumpAdapted()`.
        dtype: "float32" or "float64".
        on_progress: called with the rate and its standard error after every batch.

    Returns:
        The rate with its standard error.

    Raises:
        ValueError: relative_error not positive, fewer than 2 particles, or what `JumpAdapted` refuses.

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
    began, lived, steps, exits = time.perf_counter(), 0.0, 0.0, 0.0
    ledger, settled = _Ledger(), 0
    while True:
        particles, tally = _batch(system, particles, _ROUNDS_PER_BATCH)
        lived, steps, exits = lived + float(tally.time), steps + float(tally.steps), exits + float(tally.exits)
        out_of_time = lived / num_particles >= max_time
        if settled < _BURN_IN_BATCHES and not out_of_time:
            ratio = _EXITS_PER_ROUND * num_particles * _ROUNDS_PER_BATCH / (float(tally.exits) + 1)
            settled = settled + 1 if settled or 0.7 < ratio < 1.5 else 0
            if not settled:
                system = dataclasses.replace(system, length=system.length * min(max(ratio, 1 / 8), 8))
            continue
        ledger.add(tally)
        rate, error = ledger.rate()
        if on_progress is not None:
            on_progress(rate, error)
        done = len(ledger.rows) >= _LEAST_BATCHES and error <= relative_error * rate
        if done or out_of_time or len(ledger.rows) >= _MOST_BATCHES:
            seconds = time.perf_counter() - began
            counted = int(ledger.totals().counted)
            return QuasiStationaryRate(
                rate, error, done, int(exits), counted, num_particles, lived / num_particles, int(steps), seconds
            )
