"""The exit rate itself, at any noise level: a particle system in its quasi-stationary law, exits counted by measure.

N particles run with the jump-adapted solver; one that leaves takes the place of another that is inside (Fleming and
Viot). Their law tends to the quasi-stationary one, from which the exit time is exactly exponential with rate

    rate = E_q[nu(jumps longer than a floor that leave)] + rate of the other exits,

the first taken from the Lévy measure at every particle and every moment, the second counted. The floor keeps the
first bounded: with every jump in it, the integrand has infinite variance for alpha >= 2/3.

Where the noise-free flow carries a path out after its jump (noise in a momentum, Adam's overshoot), such exits are
counted, less the count of the jumps that would do so from rest at the minimum, whose rate is known. At small noise the
two counts are of the same jumps; at large noise the difference is weighted by how well they agree.

Every particle has a clock of its own, so that none waits for one that takes many short steps: what an empty place
receives is drawn from where the others are, with the weight of the time that they spend there.
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
from jaxtyping import Array, Bool, Float, Int32

from levyjax.arrays import add_to, cast, column, jit, matrix_of, pytree
from levyjax.basins import Box, Sublevel
from levyjax.datasets import Labelled
from levyjax.escape.gauge import found_rays
from levyjax.escape.problem import EscapeProblem
from levyjax.noise import ALL_RAYS, Independent, JumpRays, PerCoordinate, Rotational, has_jumps
from levyjax.random import Counter, Stream, first_counter, run_key, words
from levyjax.solvers.jump_adapted import JumpAdapted, Leg
from levyjax.solvers.limits import require_resolution
from levyjax.solvers.linear_motion import flow_reach
from levyjax.solvers.motion import jump_maps, kept_by_descent
from levyjax.stable import tail_constant

_FLOOR = 0.1  # of the way to the boundary: exits by shorter jumps are counted
_STEPS_PER_BLOCK = 8  # between two fillings of empty places
_FIRST_BLOCKS, _MOST_BLOCKS = 4, 1 << 10  # blocks a batch; in time a batch is about a mean exit time
_BURN_IN_EXITS = 4  # a particle
_LEAST_BATCHES, _MOST_BATCHES = 16, 1 << 14
_SETTLING = 3.0  # relaxation times
_RAYS, _OWN = Stream.GRADIENT, Stream.GRADIENT + 1  # a jump and the rays of its own step share their direction
_INTERVAL = 1.96
_RARE = 30


@dataclasses.dataclass(frozen=True)
class QuasiStationaryRate(Labelled):
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

    def _variables(self) -> dict[str, Any]:
        return {**super()._variables(), "rate_ci95": self.rate_ci95}

    @property
    def rate_ci95(self) -> tuple[float, float]:
        """The rate's 95% interval."""
        return self.rate - _INTERVAL * self.standard_error, self.rate + _INTERVAL * self.standard_error


class Particles(NamedTuple):
    """The particle system between two blocks; arrays (..., particles).

    pending: overshooting jumps after which a particle has neither left nor come to rest.
    """

    state: Any
    counter: Counter
    alive: Bool[Array, " particles"]
    pending: Int32[Array, " particles"]


class Tally(NamedTuple):
    """What each particle adds up; the first two in two parts each, as `add_to` does."""

    measure: Any  # exit measure times time
    time: Any  # lived
    counted: Array  # exits that the measure leaves out
    overshoots: Array  # jumps after which the flow would have left, had they come at rest; once it is over
    exits: Array  # all of them
    steps: Array


class Lookout(NamedTuple):
    """Where a particle was at a random moment, and how much time that moment stands for."""

    state: Any
    weight: Float[Array, " particles"]


@pytree
class System:
    """What stays the same while the particles run.

    basin: where rays from any point have a formula: the basin, or the interval that it is; None where there is none.
    limit: the exit measure at the minimum, of which a random ray's is an estimate; None where rays are not random.
    overshoots: lengths (2 ends, 2 signs, d) of the jumps of L from rest at the minimum after which the noise-free flow
        leaves, those that leave by themselves apart where they are measured; None where there are none.
    """

    problem: Any
    solver: Any
    basin: Any
    limit: Any
    overshoots: Any


def _chords(problem: EscapeProblem, solver: JumpAdapted) -> Any:
    ends = solver.layout.ends
    if problem.dynamics.noise_in_momentum or not has_jumps(problem.noise):
        return None  # no jump leaves the basin at once, or by its map
    if ends is None:
        return None if isinstance(problem.basin, Sublevel) else problem.basin
    center, (below, above) = float(problem.landscape.minimum[0]), np.asarray(ends)
    with np.errstate(divide="ignore"):
        return Box(center - 1 / np.array([below]), center + 1 / np.array([above]))


def _overshoots(problem: EscapeProblem, measured: bool) -> Float[Array, "ends signs d"] | None:
    """Lengths of jumps that leave by the linearised flow; those of other flows are about the same."""
    if kept_by_descent(problem) or not isinstance(problem.noise, Independent | PerCoordinate):
        return None
    if not has_jumps(problem.noise):
        return None
    rays = found_rays(problem, jump_maps(problem)[:1])  # +A_j for every j, then -A_j
    straight = np.asarray(rays.gauge) if measured else np.zeros(rays.gauge.shape)
    columns = matrix_of(problem.noise.scale)
    flowing = np.maximum(flow_reach(problem, np.concatenate([columns, -columns], axis=1)), straight)
    if (flowing <= straight * (1 + 1e-6)).all():
        return None
    with np.errstate(divide="ignore"):
        return jnp.asarray(1 / (float(problem.noise_level) * np.stack([flowing, straight]).reshape(2, 2, -1)))


def make_system(problem: EscapeProblem, solver: JumpAdapted) -> System:
    """The particles' common part."""
    with jax.enable_x64(True):
        solver = solver.prepare(problem)
        basin, limit = _chords(problem, solver), None
        if basin is not None and (isinstance(problem.noise, Rotational) or problem.dimension > ALL_RAYS):
            rays = found_rays(problem, jump_maps(problem))
            limit = float(rays.contributions(float(problem.noise_level)).sum())
        return System(problem, solver, basin, limit, _overshoots(problem, basin is not None))


def _overshoot_rate(system: System) -> float:
    """Overshooting jumps per unit of time."""
    if system.overshoots is None:
        return 0.0
    alpha, ends = np.asarray(system.problem.noise.alpha, np.float64), np.asarray(system.overshoots, np.float64)
    return float((tail_constant(alpha) / alpha * (ends[0] ** -alpha - ends[1] ** -alpha)).sum())


def _is_overshoot(system: System, leg: Leg) -> Bool[Array, " lanes"]:
    if system.overshoots is None:
        return jnp.zeros_like(leg.jumps)
    least, most = (column(end.T, leg.jump) for end in system.overshoots)  # (d, signs, 1)
    lengths = jnp.stack([leg.jump, -leg.jump], axis=1)
    return leg.jumps & ((lengths > least) & (lengths < most)).any(axis=(0, 1))


def _exit_measure(system: System, state: Any, longest: Array, rays: JumpRays) -> tuple[Array, Array]:
    """nu of the jumps longer than `longest` (rays, lanes) that leave: at the minimum, and what these states add."""
    problem, dynamics = system.problem, system.problem.dynamics
    wide = jax.tree.map(lambda leaf: leaf[:, None], state)
    vectors = dynamics.displace(wide._replace(x=0 * wide.x), problem.noise_level * rays.vectors).x

    def both(origin: Array) -> Array:
        sides = [
            jnp.clip(system.basin.gauge(origin, sign * vectors), 0, 1 / longest) ** rays.alpha for sign in (1.0, -1.0)
        ]
        return (rays.weight * (sides[0] + sides[1])).sum(axis=0)

    least = both(jnp.asarray(problem.landscape.minimum))
    return least if system.limit is None else system.limit, both(wide.x) - least


def _look(system: System, state: Any, leg: Leg, counter: Counter) -> Lookout:
    """A state at one random moment of a step, with weights that make it stand for the whole step.

    Half of the moments of a long step are drawn from its beginning, where the point still moves.
    """
    problem, solver = system.problem, system.solver
    uniform, tiny = _uniform(counter, 0, state.x.dtype), jnp.finfo(state.x.dtype).tiny
    early = jnp.minimum(_SETTLING / jnp.maximum(solver.layout.flow.slowest * leg.time, tiny), 1)
    moment = jnp.where(uniform < 0.5, 2 * uniform * early, 2 * uniform - 1)
    weight = 2 / (1 + jnp.where(moment < early, 1 / early, 0))
    return Lookout(solver.partway(problem, state, counter, leg, moment), weight * leg.time)


def _measured(system: System, seen: Lookout, inside: Array, leg: Leg, counter: Counter) -> Float[Array, " lanes"]:
    """The exit measure integrated over a step, from its value at the minimum and at one random moment."""
    problem, solver = system.problem, system.solver
    rays = problem.noise.jump_rays(counter, _RAYS)
    part = jnp.maximum(solver.jump_part * leg.depth.depth, _FLOOR)
    reaches = solver.layout.reaches
    longest = part / (column(reaches, seen.state.x) if rays.axis is None else reaches[rays.axis])
    least, more = _exit_measure(system, seen.state, longest, rays)
    return leg.time * least + seen.weight * jnp.where(inside, more, -least)


def _uniform(counter: Counter, which: int, dtype: Any) -> Float[Array, " lanes"]:
    """A uniform variate for the moment in a step (0), or for a choice between moments (1)."""
    word = words(counter, 1, _OWN)[which]
    return (word[0] >> jnp.uint32(8)).astype(dtype) * 2.0**-24


def _one_of(before: Lookout, now: Lookout, uniform: Array) -> Lookout:
    """One moment for both, drawn by the time they stand for."""
    weight = before.weight + now.weight
    later = uniform * weight < now.weight
    state = jax.tree.map(lambda new, old: jnp.where(later, new, old), now.state, before.state)
    return Lookout(state, weight)


def _step(system: System, particles: Particles, tally: Tally, before: Lookout) -> tuple[Particles, Tally, Lookout]:
    """One step of every particle that lives."""
    state, counter, alive, pending = particles
    problem, solver = system.problem, system.solver
    leg = solver.advance(problem, state, counter, jnp.inf)
    leaves = leg.jumps & ~problem.basin.contains(leg.jumped.x)
    exits = alive & (leaves | ~leg.stays)
    seen = _look(system, state, leg, counter)
    inside = problem.basin.contains(seen.state.x)
    if system.basin is None:
        measure, counted = jnp.zeros_like(leg.time), exits
    else:
        measure = _measured(system, seen, inside, leg, counter)
        counted = exits & ~(leaves & (leg.reach > _FLOOR))
    after = jax.tree.map(lambda jumped, moved: jnp.where(leg.jumps, jumped, moved), leg.jumped, leg.moved)
    state = jax.tree.map(lambda new, old: jnp.where(alive & ~exits, new, old), after, state)
    now = seen._replace(weight=jnp.where(alive & inside, seen.weight, 0))
    seen = _one_of(before, now, _uniform(counter, 1, state.x.dtype))
    counter = counter._replace(low=counter.low + alive.astype(jnp.uint32))
    over = exits | (alive & leg.skips)
    resolved = jnp.where(over, pending, 0)
    pending = pending - resolved + (alive & _is_overshoot(system, leg)).astype(jnp.int32)
    resolved, pending = resolved + jnp.where(exits, pending, 0), jnp.where(exits, 0, pending)
    events = zip(tally[2:], (counted, resolved, exits, alive), strict=True)
    tally = Tally(
        add_to(tally.measure[0], tally.measure[1], jnp.where(alive, measure, 0)),
        add_to(tally.time[0], tally.time[1], jnp.where(alive, leg.time, 0)),
        *(total + event.astype(jnp.int32) for total, event in events),
    )
    return Particles(state, counter, alive & ~exits, pending), tally, seen


def _fill(particles: Particles, seen: Lookout) -> Particles:
    """Every particle that left goes to where another was at a random moment."""
    state, counter, alive, pending = particles
    total = jnp.cumsum(seen.weight)
    uniform = _uniform(counter, 1, seen.weight.dtype)
    chosen = jnp.searchsorted(total, uniform * total[-1], side="right")
    state = jax.tree.map(lambda old, new: jnp.where(alive, old, new[..., chosen]), state, seen.state)
    return Particles(state, counter, alive | (total[-1] > 0), pending)


@jit
def _batch(system: System, particles: Particles, num_blocks: Any) -> tuple[Particles, Tally]:
    """What the particles do in so many blocks."""
    clock = jnp.zeros_like(particles.state.x[0])
    count = jnp.zeros(clock.shape, jnp.int32)

    def step(_: Array, carry: tuple[Particles, Tally, Lookout]) -> tuple[Particles, Tally, Lookout]:
        return _step(system, *carry)

    def block(_: Array, carry: tuple[Particles, Tally]) -> tuple[Particles, Tally]:
        particles, tally, seen = lax.fori_loop(0, _STEPS_PER_BLOCK, step, (*carry, Lookout(carry[0].state, clock)))
        return _fill(particles, seen), tally

    return lax.fori_loop(
        0, num_blocks, block, (particles, Tally((clock, clock), (clock, clock), count, count, count, count))
    )


@partial(jax.jit, static_argnames="num_particles")
def _start(system: System, key: tuple[Any, Any], num_particles: int) -> Particles:
    problem = system.problem
    start = problem.landscape.minimum if problem.start is None else problem.start
    x = jnp.broadcast_to(jnp.asarray(start)[:, None], (problem.dimension, num_particles))
    counter = first_counter(key, jnp.arange(num_particles, dtype=jnp.uint32))
    return Particles(
        problem.dynamics.rest(x, problem.noise), counter, counter.low == 0, jnp.zeros(num_particles, jnp.int32)
    )


class _Ledger:
    """Totals of the batches, and the rate with its error that those after the burn-in give."""

    def __init__(self, overshoot_rate: float) -> None:
        self.overshoot_rate = overshoot_rate
        self.burn_in: list[np.ndarray] = []
        self.rows: list[np.ndarray] = []

    def add(self, tally: Tally, settled: bool) -> Tally:
        """Two neighbours become one batch where there are many: the longer, the more independent."""
        row = np.array([sum(np.asarray(leaf, np.float64).sum() for leaf in jax.tree.leaves(part)) for part in tally])
        (self.rows if settled else self.burn_in).append(row)
        if len(self.rows) == 4 * _LEAST_BATCHES:
            self.rows = [one + other for one, other in zip(self.rows[::2], self.rows[1::2], strict=True)]
        return Tally(*row)

    def totals(self, everything: bool = False) -> Tally:
        """Over the batches that count, or those of the burn-in too."""
        return Tally(*np.sum(self.rows + self.burn_in * everything, axis=0))

    def rate(self) -> tuple[float, float]:
        """The ratio of exits to time, and its standard error over batches.

        The surplus of overshoots over their known number is a control variate, by least squares over the batches.
        Batches cannot know about exits too rare to have happened: with n counted exits, or n not matched by an
        overshoot, fewer than _RARE, the worth of sqrt(n + 1) of them is added in squares.
        """
        batches, total = Tally(*np.array(self.rows).T), self.totals()
        surplus = batches.overshoots - self.overshoot_rate * batches.time
        exits, unmatched = batches.measure + batches.counted, total.counted
        rate = exits.sum() / total.time
        if surplus.any():
            slope = (exits - rate * batches.time) @ surplus / (surplus @ surplus)
            exits = exits - min(max(slope, 0.0), 1.0) * surplus
            rate, unmatched = exits.sum() / total.time, np.abs(batches.counted - batches.overshoots).sum()
        residual = exits - rate * batches.time
        count = len(self.rows)
        error = math.sqrt(residual @ residual * count / max(count - 1, 1)) / total.time
        if unmatched < _RARE:
            error = math.hypot(error, math.sqrt(unmatched + 1) / total.time)
        return float(rate), float(error)


def quasi_stationary_rate(
    problem: EscapeProblem,
    key: Any = 0,
    *,
    relative_error: float = 1e-3,
    num_particles: int = 2048,
    max_time: float = math.inf,
    max_seconds: float = 120.0,
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
        max_seconds: stop after this much wall-clock time, compilation apart, with what there is: `converged` is False.
        solver: how particles move; default `JumpAdapted()`.
        dtype: "float32" or "float64".
        on_progress: called with the rate and its standard error after every batch.

    Returns:
        The rate with its standard error.

    Raises:
        ValueError: relative_error or max_time not positive, fewer than 2 particles, max_time too short to settle,
            coordinates too large for the dtype, or what `JumpAdapted` refuses.

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
    for name, value in (("max_time", max_time), ("max_seconds", max_seconds)):
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}.")
    if num_particles < 2:
        raise ValueError(f"num_particles must be at least 2, got {num_particles}.")
    require_resolution(problem, solver, dtype)
    system = make_system(problem, solver or JumpAdapted())
    with jax.enable_x64(dtype == "float64"):
        return _run(
            cast(system, jnp.dtype(dtype)), key, relative_error, num_particles, (max_time, max_seconds), on_progress
        )


def _run(
    system: System, key: Any, relative_error: float, num_particles: int, most: tuple[float, float], on_progress: Any
) -> QuasiStationaryRate:
    particles, blocks = _start(system, run_key(key), num_particles), _FIRST_BLOCKS
    jax.block_until_ready(_batch(system, particles, 0))  # compiles
    began, ledger, left, done = time.perf_counter(), _Ledger(_overshoot_rate(system)), 0.0, False
    before = began
    for _ in range(_MOST_BATCHES):
        settled = left >= _BURN_IN_EXITS * num_particles
        particles, tally = _batch(system, particles, blocks)
        row = ledger.add(tally, settled)
        left += float(row.exits)
        now = time.perf_counter()
        out_of_time = ledger.totals(True).time / num_particles >= most[0] or now - began >= most[1]
        affordable = int(blocks * (began + most[1] - now) / (now - before)) if math.isfinite(most[1]) else _MOST_BLOCKS
        before = now
        if settled:
            rate, error = ledger.rate()
            if on_progress is not None:
                on_progress(rate, error)
            done = len(ledger.rows) >= _LEAST_BATCHES and error <= relative_error * rate
        else:
            wanted = round(blocks * min(num_particles / (row.exits + 1), 8))
            blocks = max(min(wanted, _MOST_BLOCKS, affordable), 1)
        if done or out_of_time:
            break
    if len(ledger.rows) < 2:
        raise ValueError(
            f"max_time = {most[0]:g} or max_seconds = {most[1]:g} is too short: the particles have not settled."
        )
    rate, error = ledger.rate()
    total, seconds = ledger.totals(True), time.perf_counter() - began
    counted = int(ledger.totals().counted)
    lived = float(total.time) / num_particles
    return QuasiStationaryRate(
        rate, error, done, int(total.exits), counted, num_particles, lived, int(total.steps), seconds
    )
