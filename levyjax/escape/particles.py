"""A particle system in its quasi-stationary law, whose exits are counted by measure.

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

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int32

from levyjax.arrays import add_to, column, jit, matrix_of, pytree
from levyjax.basins import Basin, Box, Sublevel
from levyjax.escape.gauge import found_rays
from levyjax.escape.problem import EscapeProblem
from levyjax.noise import Independent, PerCoordinate, Rotational
from levyjax.noise.base import JumpRays, has_jumps
from levyjax.noise.independent import ALL_RAYS
from levyjax.noise.skewness import side_weights, skewness
from levyjax.random import Counter, Stream, first_counter, words
from levyjax.solvers.jump_adapted import Interval, JumpAdapted
from levyjax.solvers.linear_motion import flow_reach
from levyjax.solvers.motion import jump_maps, kept_by_descent
from levyjax.stable import tail_constant

_FLOOR = 0.1  # of the way to the boundary: exits by shorter jumps are counted
_STEPS_PER_BLOCK = 8  # between two fillings of empty places
_SETTLING = 3.0  # relaxation times
_RAYS, _OWN = Stream.GRADIENT, Stream.GRADIENT + 1  # a jump and the rays of its own step share their direction


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


class WeightedState(NamedTuple):
    """Where a particle was at a random moment, and how much time that moment stands for."""

    state: Any
    weight: Float[Array, " particles"]


@pytree
class System:
    """What stays the same while the particles run.

    basin: where rays from any point have a formula: the basin, or the interval that it is; None where there is none.
    limit: the exit measure at the minimum, of which a random ray's is an estimate; None where rays are not random.
    overshoots: lengths (2 ends, 2 signs, m) of the jumps of L from rest at the minimum after which the noise-free flow
        leaves, those that leave by themselves apart where they are measured; None where there are none.
    """

    problem: EscapeProblem
    solver: JumpAdapted
    basin: Basin | None
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


def _overshoots(problem: EscapeProblem, measured: bool) -> Float[Array, "ends signs m"] | None:
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
        if basin is not None and (
            isinstance(problem.noise, Rotational) or np.shape(problem.noise.scale)[-1] > ALL_RAYS
        ):
            rays = found_rays(problem, jump_maps(problem))
            limit = float(rays.contributions(float(problem.noise_level)).sum())
        return System(problem, solver, basin, limit, _overshoots(problem, basin is not None))


def overshoot_rate(system: System) -> float:
    """Overshooting jumps per unit of time."""
    if system.overshoots is None:
        return 0.0
    alpha, ends = np.asarray(system.problem.noise.alpha, np.float64), np.asarray(system.overshoots, np.float64)
    rates, beta = tail_constant(alpha) / alpha * (ends[0] ** -alpha - ends[1] ** -alpha), skewness(system.problem.noise)
    return float(rates.sum() if beta is None else (rates.ravel() * np.asarray(side_weights(beta))).sum())


def _is_overshoot(system: System, interval: Interval) -> Bool[Array, " lanes"]:
    if system.overshoots is None:
        return jnp.zeros_like(interval.jumps)
    least, most = (column(end.T, interval.jump) for end in system.overshoots)  # (m, signs, 1)
    lengths = jnp.stack([interval.jump, -interval.jump], axis=1)
    return interval.jumps & ((lengths > least) & (lengths < most)).any(axis=(0, 1))


def _exit_measure(system: System, state: Any, longest: Array, rays: JumpRays) -> tuple[Array, Array]:
    """nu of the jumps longer than `longest` (rays, lanes) that leave: at the minimum, and what these states add."""
    problem, dynamics = system.problem, system.problem.dynamics
    wide = jax.tree.map(lambda leaf: leaf[:, None], state)
    vectors = dynamics.displace(wide._replace(x=0 * wide.x), problem.noise_level * rays.vectors).x

    basin: Any = system.basin  # there is one where this is asked

    def both(origin: Array) -> Array:
        sides = [jnp.clip(basin.gauge(origin, sign * vectors), 0, 1 / longest) ** rays.alpha for sign in (1.0, -1.0)]
        if rays.beta is not None:
            sides = [(1 + rays.beta) * sides[0], (1 - rays.beta) * sides[1]]
        return (rays.weight * (sides[0] + sides[1])).sum(axis=0)

    least = both(jnp.asarray(problem.landscape.minimum))
    return least if system.limit is None else system.limit, both(wide.x) - least


def _random_moment(system: System, state: Any, interval: Interval, counter: Counter) -> WeightedState:
    """A state at one random moment of a step, with weights that make it stand for the whole step.

    Half of the moments of a long step are drawn from its beginning, where the point still moves.
    """
    problem, solver = system.problem, system.solver
    uniform, tiny = _uniform(counter, 0, state.x.dtype), jnp.finfo(state.x.dtype).tiny
    early = jnp.minimum(_SETTLING / jnp.maximum(solver.layout.flow.slowest * interval.time, tiny), 1)
    moment = jnp.where(uniform < 0.5, 2 * uniform * early, 2 * uniform - 1)
    weight = 2 / (1 + jnp.where(moment < early, 1 / early, 0))
    return WeightedState(solver.partway(problem, state, counter, interval, moment), weight * interval.time)


def _measured(
    system: System, seen: WeightedState, inside: Array, interval: Interval, counter: Counter
) -> Float[Array, " lanes"]:
    """The exit measure integrated over a step, from its value at the minimum and at one random moment."""
    problem, solver = system.problem, system.solver
    rays = problem.noise.jump_rays(counter, _RAYS)
    part = jnp.maximum(solver.jump_part * interval.depth.depth, _FLOOR)
    reaches = solver.layout.reaches
    longest = part / (column(reaches, seen.state.x) if rays.axis is None else reaches[rays.axis])
    least, more = _exit_measure(system, seen.state, longest, rays)
    return interval.time * least + seen.weight * jnp.where(inside, more, -least)


def _uniform(counter: Counter, which: int, dtype: Any) -> Float[Array, " lanes"]:
    """A uniform variate for the moment in a step (0), or for a choice between moments (1)."""
    word = words(counter, 1, _OWN)[which]
    return (word[0] >> jnp.uint32(8)).astype(dtype) * 2.0**-24


def _one_of(before: WeightedState, now: WeightedState, uniform: Array) -> WeightedState:
    """One moment for both, drawn by the time they stand for."""
    weight = before.weight + now.weight
    later = uniform * weight < now.weight
    state = jax.tree.map(lambda new, old: jnp.where(later, new, old), now.state, before.state)
    return WeightedState(state, weight)


def _step(
    system: System, particles: Particles, tally: Tally, before: WeightedState
) -> tuple[Particles, Tally, WeightedState]:
    """One step of every particle that lives."""
    state, counter, alive, pending = particles
    problem, solver = system.problem, system.solver
    interval = solver.advance(problem, state, counter, jnp.inf)
    leaves = interval.jumps & ~problem.basin.contains(interval.jumped.x)
    exits = alive & (leaves | ~interval.stays)
    seen = _random_moment(system, state, interval, counter)
    inside = problem.basin.contains(seen.state.x)
    if system.basin is None:
        measure, counted = jnp.zeros_like(interval.time), exits
    else:
        measure = _measured(system, seen, inside, interval, counter)
        counted = exits & ~(leaves & (interval.reach > _FLOOR))
    after = jax.tree.map(
        lambda jumped, moved: jnp.where(interval.jumps, jumped, moved), interval.jumped, interval.moved
    )
    state = jax.tree.map(lambda new, old: jnp.where(alive & ~exits, new, old), after, state)
    now = seen._replace(weight=jnp.where(alive & inside, seen.weight, 0))
    seen = _one_of(before, now, _uniform(counter, 1, state.x.dtype))
    counter = counter._replace(low=counter.low + alive.astype(jnp.uint32))
    over = exits | (alive & interval.skips)
    resolved = jnp.where(over, pending, 0)
    pending = pending - resolved + (alive & _is_overshoot(system, interval)).astype(jnp.int32)
    resolved, pending = resolved + jnp.where(exits, pending, 0), jnp.where(exits, 0, pending)
    events = zip(tally[2:], (counted, resolved, exits, alive), strict=True)
    tally = Tally(
        add_to(tally.measure[0], tally.measure[1], jnp.where(alive, measure, 0)),
        add_to(tally.time[0], tally.time[1], jnp.where(alive, interval.time, 0)),
        *(total + event.astype(jnp.int32) for total, event in events),
    )
    return Particles(state, counter, alive & ~exits, pending), tally, seen


def _fill(particles: Particles, seen: WeightedState) -> Particles:
    """Every particle that left goes to where another was at a random moment."""
    state, counter, alive, pending = particles
    total = jnp.cumsum(seen.weight)
    uniform = _uniform(counter, 1, seen.weight.dtype)
    chosen = jnp.searchsorted(total, uniform * total[-1], side="right")
    state = jax.tree.map(lambda old, new: jnp.where(alive, old, new[..., chosen]), state, seen.state)
    return Particles(state, counter, alive | (total[-1] > 0), pending)


@jit
def batch(system: System, particles: Particles, num_blocks: Any) -> tuple[Particles, Tally]:
    """What the particles do in so many blocks."""
    clock = jnp.zeros_like(particles.state.x[0])
    count = jnp.zeros(clock.shape, jnp.int32)

    def step(_: Array, carry: tuple[Particles, Tally, WeightedState]) -> tuple[Particles, Tally, WeightedState]:
        return _step(system, *carry)

    def block(_: Array, carry: tuple[Particles, Tally]) -> tuple[Particles, Tally]:
        particles, tally, seen = lax.fori_loop(
            0, _STEPS_PER_BLOCK, step, (*carry, WeightedState(carry[0].state, clock))
        )
        return _fill(particles, seen), tally

    return lax.fori_loop(
        0, num_blocks, block, (particles, Tally((clock, clock), (clock, clock), count, count, count, count))
    )


@partial(jax.jit, static_argnames="num_particles")
def start_particles(system: System, key: tuple[Any, Any], num_particles: int) -> Particles:
    problem = system.problem
    start = problem.landscape.minimum if problem.start is None else problem.start
    x = jnp.broadcast_to(jnp.asarray(start)[:, None], (problem.dimension, num_particles))
    counter = first_counter(key, jnp.arange(num_particles, dtype=jnp.uint32))
    return Particles(
        problem.dynamics.rest(x, problem.noise), counter, counter.low == 0, jnp.zeros(num_particles, jnp.int32)
    )
