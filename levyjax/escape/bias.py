"""What the small-noise limit leaves out at first order: second jumps on the way back, or on the way out.

The limit counts jumps from rest. After a jump that stays inside the path takes a while to come back, and a second jump
from there leaves more easily; after one that leads out by the flow, a second one may bring it back, and the exit comes
later than the jump. Each is a part of the order of (exit rate)/(relaxation rate) of the exit rate, and a number:

    change of the rate into f = int nu(dy) int dt nu(dz) (1[f after z at x_y(t)] - 1[f without it]),

x_y(t) the noise-free path after a jump y from rest, nu the jumps' measure at the noise level.
"""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Int

from levyjax.arrays import padded_to
from levyjax.basins import Ball, Basin, Box, Ellipsoid, HalfSpace
from levyjax.escape.fate import JumpFates, Well
from levyjax.escape.first_jumps import FIRST_RAYS, FirstJumps, first_jumps, ray_chances, usual_jumps
from levyjax.escape.jumps import Rays
from levyjax.escape.problem import contains
from levyjax.interpret import interpreted
from levyjax.noise import StateDependent
from levyjax.noise.skewness import skewness
from levyjax.solvers.linear_motion import LinearMotion
from levyjax.solvers.motion import Fate, step_length

_SECONDS, _TRACED_SECONDS, _GROUPS = 1 << 15, 1 << 14, 8  # second jumps tried, in groups that tell their error
# their lengths, in the shortest that leaves from rest; half are close to it
_SHORTEST, _LONGEST, _CLOSE = 3e-3, 40.0, 3.0
_LABELS = 1 << 20
_DENSE = 1e-3  # of the way back: moments of second jumps are denser before it
_TIMES, _EARLY = 48, 1e-4  # when exits are looked at on the way back: how often, and how soon as a part of the way
_SOON = 0.01  # and how soon in the fastest relaxation time
_BACK = 12.0  # relaxation times
_TOGETHER = 1 << 17  # numbers of the points of several moments that are looked at in one call


def rate_changes(
    jump_fates: JumpFates, well: Well, level: Any, seed: int = 0
) -> dict[tuple[int, int], tuple[float, float]]:
    """How much more often each end, (fate, well), comes from rest in a well than the limit says, and the errors."""
    generator = np.random.default_rng(seed)
    line, by_gauge = on_the_line(jump_fates, well), _by_gauge(jump_fates, well)
    usual = usual_jumps(well, jump_fates.rays, level)
    skewed = skewness(jump_fates.problem.noise) is not None
    first = first_jumps(well, jump_fates.rays, level, usual, generator, in_pairs=line or by_gauge, skewed=skewed)
    if np.isfinite(usual).any():  # small jumps count, and all of their way back
        well = well.closer(float((first.length / well.shortest(jump_fates.rays)[first.ray]).min()))
    if line:
        return _by_intervals(jump_fates, well, first, level)
    if by_gauge:
        return {(int(Fate.LEAVES), -1): (_by_hazard(jump_fates, well, first, level), 0.0)}
    return _by_second_jumps(jump_fates, well, first, level, generator)


def _by_gauge(jump_fates: JumpFates, well: Well) -> bool:
    """Whether the rate of exits from any point is a formula: jumps that lie outside are all that leaves."""
    simple = isinstance(jump_fates.problem.basin, Box | Ball | Ellipsoid | HalfSpace)
    one_field = len(well.jumps.rest(np.zeros(1, int))) == 1
    return jump_fates.plain and simple and one_field and jump_fates.rays.maps is None


def why_unknown_if_skewed(jump_fates: JumpFates, level: Any) -> str | None:
    """Why the bias under skewed noise is not known, in a sentence; None where it is, or where the noise is symmetric.

    What its small jumps do like their length does not cancel, and is read off exact values at short lengths.
    """
    well, reason = jump_fates.wells[0], None
    if skewness(jump_fates.problem.noise) is None:
        return None
    if jump_fates.sample is not None:
        reason = "in so many dimensions on this landscape"
    elif not (on_the_line(jump_fates, well) or _by_gauge(jump_fates, well)):
        reason = "where exits are no jumps that lie outside of a box, ball, ellipsoid or half-space"
    elif (well.segments.fate == Fate.ELSEWHERE).any():
        reason = "where jumps lead to other wells inside"
    elif np.isfinite(usual_jumps(well, jump_fates.rays, level)).any():
        reason = "about a kink of the landscape's slope"
    return reason and f"How far skewed noise is from its small-noise limit is not worked out {reason}: simulate it."


def on_the_line(jump_fates: JumpFates, well: Well) -> bool:
    """Whether where a point leads is a matter of its place on a line alone."""
    one_field = len(well.jumps.rest(np.zeros(1, int))) == 1
    plain_noise = not isinstance(jump_fates.problem.noise, StateDependent)
    return one_field and plain_noise and len(jump_fates.points[0]) == 1 and jump_fates.rays.maps is None


class _Line(NamedTuple):
    """The line in intervals (low, high) of one end, (fate, well)."""

    low: np.ndarray
    high: np.ndarray
    end: np.ndarray


def _line(well: Well, rays: Rays) -> _Line:
    segments, at = well.segments, float(well.jumps.point[0])
    unit = rays.directions[0, segments.ray]
    with np.errstate(invalid="ignore"):
        ends = at + unit * np.stack([segments.low, segments.high])
    end = np.stack([segments.fate, segments.well])
    return _Line(ends.min(axis=0), ends.max(axis=0), end)


def _by_intervals(jump_fates: JumpFates, well: Well, first: FirstJumps, level: Any) -> dict[tuple[int, int], Any]:
    """The changes in one dimension, from the rates into every interval along the ways back and on."""
    line, rays = _line(well, jump_fates.rays), jump_fates.rays
    ends = sorted({(int(one), int(other)) for one, other in line.end.T})
    states = well.jumps.states(first.ray, first.length)
    fates = well.ends(states)
    until, labels = fates[0].time, fates[1][:2]
    step = step_length(jump_fates.problem, jump_fates.solver)
    level = np.broadcast_to(np.asarray(level, float), rays.alpha.shape)

    def rates(x: np.ndarray) -> np.ndarray:
        """Into each end, from each of these points: (ends, points)."""
        total = np.zeros((len(ends), len(x)))
        for ray in range(len(rays.weights)):
            unit = rays.directions[0, ray]
            if unit == 0 or rays.weights[ray] == 0:
                continue
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                near, far = (line.low, line.high) if unit > 0 else (line.high, line.low)
                way = np.maximum((np.stack([near, far])[:, :, None] - x) / unit, 0.0)
                own = way[0] == 0  # the interval that the point is in, or one on its other side
                beyond = np.where(way > 0, (level[ray] / way) ** rays.alpha[ray], 0.0)
                into = rays.weights[ray] * np.where(own, 0.0, beyond[0] - beyond[1])
            for index, end in enumerate(ends):
                total[index] += into[(line.end == np.array(end)[:, None]).all(axis=0)].sum(axis=0)
        return total

    returns = labels[0] == Fate.RETURNS
    at_rest = rates(well.jumps.point[:1])
    extra = np.zeros((len(ends), len(until)))
    for weight, points in _on_the_way(well.motion, states, returns, until, step):
        extra += weight * (rates(points[0]) - np.where(returns, at_rest, 0.0))
    own = (np.array(ends).T[:, :, None] == labels[:, None, :]).all(axis=0)
    extra = np.where(own, 0.0, extra)
    return _changes_of(ends, extra, first, own & ~returns, labels, until)


def _on_the_way(
    motion: Any, states: Any, returns: np.ndarray, until: np.ndarray, step: float | None
) -> Iterator[tuple[Float[np.ndarray, " n"], Float[np.ndarray, "d n"]]]:
    """Moments of each way back or on, closer to each other at its start: weights in an integral over time, and points.

    returns: which come back, and are at rest some time after `until`.
    """
    rates = motion.modes.rates
    slowest = rates[rates > 0].min()
    span = np.where(returns, np.maximum(until, _BACK / slowest), until)
    early = min(_EARLY, _SOON / (motion.modes.fastest() * max(span.max(initial=0.0), 1e-300)))
    edges = np.concatenate([[0.0], np.geomspace(early, 1, _TIMES)])
    now, passed = states, np.zeros(len(span))
    for low, high in itertools.pairwise(edges):
        time, weight = span * (low + high) / 2, span * (high - low)
        if step is not None:  # a second jump comes with the next step, after its drift
            counts = np.floor(np.multiply.outer([low, high], span) / step + 1e-9)
            time, weight = (np.floor(counts.mean(axis=0)) + 1) * step, (counts[1] - counts[0]) * step
        now, passed = motion.state_at(now, time - passed), time
        yield weight, np.asarray(now.x)


def _changes_of(
    ends: list, extra: np.ndarray, first: FirstJumps, loses: np.ndarray, labels: np.ndarray, until: np.ndarray
) -> dict:
    """Sums over first jumps; what goes elsewhere is taken from where the first jump led."""
    total = np.maximum(extra, 0).sum(axis=0)
    bound = np.where(total > 0, _bounded(total) / np.where(total > 0, total, 1), 1.0)
    moves = ~((labels[0] == Fate.LEAVES) & (until == 0)) & (labels[0] != Fate.UNDECIDED)
    extra = extra * bound
    extra = np.where(loses, extra - extra.sum(axis=0), extra)
    change = (extra * first.rate * moves).sum(axis=1)
    return {end: (float(value), 0.0) for end, value in zip(ends, change, strict=True) if end[0] != Fate.RETURNS}


def _bounded(extra: np.ndarray) -> np.ndarray:
    """A chance of at most 1 from an expected number."""
    return np.where(extra > 0, -np.expm1(-np.maximum(extra, 0)), np.maximum(extra, -1))


def _by_hazard(jump_fates: JumpFates, well: Well, first: FirstJumps, level: Any) -> float:
    """The change of the exit rate, from the rates of exits along the ways back."""
    states = well.jumps.states(first.ray, first.length)
    extra = expected_exits(jump_fates, well, states, level)
    inside = contains(jump_fates.problem.basin, states.x)
    return float((first.rate * np.where(inside, _bounded(extra), 0.0)).sum())


def expected_exits(jump_fates: JumpFates, well: Well, states: Any, level: Any) -> Float[np.ndarray, " n"]:
    """How many more exits by a second jump are expected on the ways back than at rest in as much time."""
    problem, rays = jump_fates.problem, jump_fates.rays
    level = np.broadcast_to(np.asarray(level, float), rays.alpha.shape)
    some = np.arange(len(rays.weights))
    share = np.ones(len(some))
    if len(some) > 2 * FIRST_RAYS:
        chance = ray_chances(well, rays, level)
        generator = np.random.default_rng(1)
        some = generator.choice(len(some), 2 * FIRST_RAYS, p=chance)
        share = 1 / (2 * FIRST_RAYS * chance[some])
    step = step_length(problem, jump_fates.solver)
    directions, alpha = rays.directions[:, some], rays.alpha[some]
    strength = share * rays.weights[some] * level[some] ** alpha

    def exits(points: np.ndarray) -> np.ndarray:
        """The rate of exits from each of these points."""
        return _exits(problem.basin, padded_to(points, 64), directions, strength, alpha)[: points.shape[1]]

    at_rest = exits(np.asarray(well.jumps.rest(np.zeros(1, int)).x))
    total = np.zeros(states.x.shape[1])
    ends, fates = well.ends(states)
    moments = list(_on_the_way(well.motion, states, fates[0] == Fate.RETURNS, ends.time, step))
    together = max(_TOGETHER // states.x.size, 1)  # moments whose points are looked at in one call
    for begin in range(0, len(moments), together):
        some_moments = moments[begin : begin + together]
        rates = exits(np.concatenate([points for _, points in some_moments], axis=1))
        excess = rates.reshape(len(some_moments), -1) - at_rest
        total += (np.stack([weight for weight, _ in some_moments]) * excess).sum(axis=0)
    return total


@interpreted
def _exits(basin: Basin, points: Any, directions: Any, strength: Any, alpha: Any) -> Any:
    """The rate of jumps that lie outside, along rays (d, rays), from each of some points inside (d, n)."""

    def add(total: Any, ray: Any) -> tuple[Any, None]:
        direction, factor, power = ray
        gauge = basin.gauge(points, jnp.broadcast_to(direction[:, None], points.shape))
        return total + factor * jnp.where(gauge > 0, gauge, 0.0) ** power, None

    total = lax.scan(add, jnp.zeros_like(points[0]), (directions.T, strength, alpha))[0]
    return jnp.where(basin.contains(points), total, 0.0)


def _by_second_jumps(
    jump_fates: JumpFates, well: Well, first: FirstJumps, level: Any, generator: np.random.Generator
) -> dict[tuple[int, int], tuple[float, float]]:
    """The changes, from second jumps at random moments of the ways back and on, followed to their end."""
    states = well.jumps.states(first.ray, first.length)
    ends, fates = well.ends(states)
    keep = ~((fates[0] == Fate.LEAVES) & (ends.time == 0)) & (fates[0] != Fate.UNDECIDED)
    extra = _second(jump_fates, well, states, ends.time, fates, first, level, generator)
    moved = np.abs(np.stack([value.mean(axis=1) for value in extra.values()])).sum(axis=0) / 2
    bound = np.where(moved > 0, _bounded(moved) / np.where(moved > 0, moved, 1), 1.0)
    found = {}
    for end, value in extra.items():
        groups = ((first.rate * bound)[:, None] * value)[keep].sum(axis=0)
        found[end] = float(groups.mean()), float(groups.std(ddof=1) / np.sqrt(_GROUPS))
    return {end: value for end, value in found.items() if end[0] != Fate.RETURNS}


class SecondJumps(NamedTuple):
    """Second jumps and when they come, several for each first one: (first jumps, draws).

    share: of the way back; chance: the density of what was drawn, in the share and in the logarithm of the length.
    """

    share: Float[np.ndarray, "first draws"]
    ray: Int[np.ndarray, "first draws"]
    length: Float[np.ndarray, "first draws"]
    chance: Float[np.ndarray, "first draws"]


def _second_jumps(well: Well, rays: Rays, level: Any, first: FirstJumps, generator: Any) -> SecondJumps:
    """Draws that are the same for the same place on each ray, so that opposite first jumps balance."""
    index = np.concatenate([np.arange(n) for n in np.diff(np.flatnonzero(np.diff(first.ray, prepend=-1, append=-1)))])
    tried = _SECONDS if isinstance(well.motion, LinearMotion) else _TRACED_SECONDS
    shape = (int(index.max()) + 1, int(np.clip(tried // len(index) // _GROUPS, 2, 128)) * _GROUPS)

    def stratified() -> np.ndarray:
        parts = (np.arange(shape[1]) + generator.uniform(size=shape)) / shape[1]
        return generator.permuted(parts, axis=1)

    edge = np.log1p(1 / _DENSE)
    share = _DENSE * np.expm1(edge * stratified())  # from 0 to 1, denser at the beginning
    chance = ray_chances(well, rays, level)
    ray = np.searchsorted(np.cumsum(chance)[:-1], stratified())
    whole, near = np.log(_LONGEST / _SHORTEST), 2 * np.log(_CLOSE)
    part, close = stratified(), stratified() < 0.5
    length = np.where(close, np.exp(near * (part - 0.5)), _SHORTEST * np.exp(whole * part))
    is_close = np.abs(np.log(length)) <= near / 2
    density = 0.5 / whole + 0.5 * is_close / near
    density = density * chance[ray] / (edge * (_DENSE + share))
    length = length * well.shortest(rays)[ray]
    return SecondJumps(*(one[index] for one in (share, ray, length, density)))


def _second(
    jump_fates: JumpFates,
    well: Well,
    states: Any,
    until: np.ndarray,
    fates: np.ndarray,
    first: FirstJumps,
    level: Any,
    generator: Any,
) -> dict[tuple[int, int], np.ndarray]:
    """For each state, the expected change in how often it comes to each end, by one jump on its way."""
    problem, rays = jump_fates.problem, jump_fates.rays
    count = states.x.shape[1]
    level = np.broadcast_to(np.asarray(level, float), rays.alpha.shape)
    step = step_length(problem, jump_fates.solver)
    rates = well.motion.modes.rates
    span = np.where(fates[0] == Fate.RETURNS, _BACK / rates[rates > 0].min(), until)
    if not isinstance(well.motion, LinearMotion):
        span = np.where(fates[0] == Fate.RETURNS, np.minimum(span, np.maximum(until * 1.5, 1e-300)), span)
    draws = _second_jumps(well, rays, level, first, generator)
    lane = np.repeat(np.arange(count), draws.share.shape[1])
    ray, length, chance = draws.ray.ravel(), draws.length.ravel(), draws.chance.ravel()
    time = span[lane] * draws.share.ravel()
    if step is not None:
        time = np.floor(time / step) * step
    spread_states = type(states)(*(np.asarray(leaf)[:, lane] for leaf in states))
    later = well.motion.state_at(spread_states, time)
    after = well.labels(well.jumps.displaced(later, rays.directions[:, ray] * length))
    from_rest = well.fates_of(ray, length)
    alpha = rays.alpha[ray]
    often = rays.weights[ray] * level[ray] ** alpha * alpha * length**-alpha  # of a logarithm of the length
    weight = span[lane] * often / chance / draws.share.shape[1]
    returns = fates[0][lane] == Fate.RETURNS
    without = np.where(returns, from_rest, fates[:2][:, lane])
    found: dict[tuple[int, int], np.ndarray] = {}
    group = np.tile(np.arange(draws.share.shape[1]) % _GROUPS, count)
    for sign, ends in ((1.0, after), (-1.0, without)):
        label = (ends[0] + 1) * _LABELS + ends[1] + 1
        for one in np.unique(label):
            here = label == one
            end = int(one) // _LABELS - 1, int(one) % _LABELS - 1
            found.setdefault(end, np.zeros((count, _GROUPS)))
            np.add.at(found[end], (lane[here], group[here]), sign * _GROUPS * weight[here])
    return found


def expected_changes(jump_fates: JumpFates, well: Well, state: Any, level: Any) -> float:
    """The chance that a second jump takes a path from this state out before it has come to rest."""
    if _by_gauge(jump_fates, well):
        return float(_bounded(expected_exits(jump_fates, well, state, level))[0])
    first = FirstJumps(np.zeros(1, int), np.ones(1), np.ones(1))
    ends, fates = well.ends(state)
    extra = _second(jump_fates, well, state, ends.time, fates, first, level, np.random.default_rng(0))
    leaves = extra.get((int(Fate.LEAVES), -1))
    return 0.0 if leaves is None else float(_bounded(leaves.mean(axis=1))[0])
