"""The fate of a jump: where the noise-free dynamics leads after a jump from rest, and how often each end comes.

Rates, exit faces, validity and mean exit times all ask it. A jump is a length along a ray; on each ray the lengths fall
into segments of one fate.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Float, Int

from levyjax.arrays import padded_to
from levyjax.escape.problem import face_of
from levyjax.interpret import interpreted
from levyjax.noise import Rotational, StateDependent
from levyjax.noise.spectral import isotropic_measure_of, measure_of
from levyjax.solvers.motion import (
    Ends,
    Fate,
    LinearMotion,
    Modes,
    TracedMotion,
    at_rest,
    displaced,
    gauge_along,
    jump_maps,
    linear_motion,
    linearised,
    modes_of,
    step_length,
)
from levyjax.solvers.steps import Euler, Iteration, Tamed

_TRACED_RAYS, _LINEAR_RAYS = 512, 1 << 15  # that are followed, step by step and by formula, for a continuum
_MOVING_RAYS = 128  # the same with a preconditioner that moves, to see whether the flow matters
_PLAIN = 1e-3  # by which a length may miss the boundary that it is taken for
_REACH = (2e-3, 1024.0)  # lengths on a traced ray, in units of the shortest and longest way straight to the boundary
_LENGTHS = 4000  # all rays together
_FEWEST, _MOST = 32, 640  # on a ray
_FEW_EDGES = 24  # that are found to rounding; more of them to 1e-4
_FINE, _COARSE = (15, 7), (3, 6)  # parts of a bracket between two fates, and how often it is parted
_CHANGES = 4  # of the fate that are looked for within a bracket
_SAME = 0.02  # of the reach: rest points closer than this are one
_WELLS, _NEWTON, _FURTHER = 12, 6, 300.0
_MOST_SEEN = 16
_NARROW = 1e-6  # of a length: what `_order` can tell apart
_FOLLOWED_DIMENSIONS = 16  # in which the jumps on every ray are followed; in more of them a sample is
_SAMPLE, _FEWEST_SAMPLED, _SAMPLE_WORK = 128, 64, 16_000  # jumps followed, for an answer and at most; times dimension
_NEAREST, _SAMPLE_TIMES, _SAMPLE_STIFF = 0.3, 10.0, 1000.0  # of the way out; relaxation times; ratio of rates


@dataclasses.dataclass(frozen=True)
class Rays:
    """Where jumps of A L go: beyond r along ray i at rate weights[i] (level/r)^alpha[i].

    directions: (d, rays) of A L, without the optimizer's map.
    weights, alpha: (rays,).
    maps: (rays, d) the optimizer's map that each ray belongs to; None where it has one alone.
    replicates, circles: as in `SpectralMeasure`.
    """

    directions: np.ndarray
    weights: np.ndarray
    alpha: np.ndarray
    maps: Any
    replicates: int
    circles: int = 0


def jump_rays(problem: Any, most: int) -> Rays:
    """The rays of a problem's noise, at most about `most` of them where they stand for a continuum."""
    noise = problem.noise.driver if isinstance(problem.noise, StateDependent) else problem.noise
    many = isinstance(noise, Rotational)
    measure: Any = isotropic_measure_of(most)(noise.alpha, noise.scale) if many else measure_of(noise)
    directions = np.asarray(measure.directions)
    weights, alpha = (np.broadcast_to(np.asarray(one, float), directions.shape[1:]) for one in measure[1:3])
    maps = np.asarray(jump_maps(problem))
    if len(maps) == 1:
        return Rays(directions, weights, alpha, None, int(measure.replicates), int(measure.circles))
    maps = maps[:: max(len(maps) * directions.shape[1] // _MOVING_RAYS, 1)]
    count = len(maps)
    return Rays(
        np.tile(directions, count),
        np.tile(weights, count) / count,
        np.tile(alpha, count),
        np.repeat(maps, directions.shape[1], axis=0),
        count,
        int(measure.circles),
    )


class Jumps:
    """What jumps from rest at a point do: the state right after one, and straight ways to the boundary."""

    def __init__(self, problem: Any, solver: Any, rays: Rays, point: Any = None) -> None:
        self.problem, self.solver, self.rays = problem, solver, rays
        self.point = np.asarray(problem.landscape.minimum if point is None else point)

    def rest(self, ray: Int[np.ndarray, " n"]) -> Any:
        """The state before a jump on each of these rays."""
        state = at_rest(self.problem, np.repeat(self.point[:, None], len(ray), axis=1))
        if self.rays.maps is None:
            return state
        epsilon = float(getattr(self.problem.dynamics, "epsilon", 0.0))
        return state._replace(v=(1 / self.rays.maps[ray].T - epsilon) ** 2)

    def states(self, ray: Int[np.ndarray, " n"], length: Float[np.ndarray, " n"]) -> Any:
        """The states right after jumps of these lengths."""
        amount = self.rays.directions[:, ray] * length
        return self.kicked(self.rest(ray), amount)

    def kicked(self, state: Any, amount: Float[np.ndarray, "d n"]) -> Any:
        """The states after jumps of A L from these ones."""
        state = jax.tree.map(lambda leaf: padded_to(np.asarray(leaf), 64), state)
        moved = _kicked(self.problem, self.solver, state, padded_to(amount, 64))
        return jax.tree.map(lambda leaf: leaf[:, : amount.shape[1]], moved)


@interpreted
def _kicked(problem: Any, solver: Any, state: Any, amount: Any) -> Any:
    if isinstance(problem.noise, StateDependent) and problem.noise.kind == "marcus":
        amount = problem.noise.flow(state.x, amount) - state.x
    return displaced(problem, solver, state, amount)


class Segments(NamedTuple):
    """Lengths of one fate: from `low` to `high` along `ray`.

    well: which rest point it leads to (`Fate.ELSEWHERE`); face: through which face (`Fate.LEAVES`); else -1.
    time: until then, of a length in between.
    """

    ray: Int[np.ndarray, " segments"]
    low: Float[np.ndarray, " segments"]
    high: Float[np.ndarray, " segments"]
    fate: Int[np.ndarray, " segments"]
    well: Int[np.ndarray, " segments"]
    face: Int[np.ndarray, " segments"]
    time: Float[np.ndarray, " segments"]

    def rates(self, rays: Rays, level: Any) -> Float[np.ndarray, " segments"]:
        """Jumps into each segment per unit of time; `level` is a number or one for each ray."""
        level = np.broadcast_to(np.asarray(level, float), rays.alpha.shape)[self.ray]
        alpha, weights = rays.alpha[self.ray], rays.weights[self.ray]
        with np.errstate(divide="ignore"):
            return weights * ((level / self.low) ** alpha - (level / self.high) ** alpha)

    def chosen(self, which: np.ndarray) -> "Segments":
        return Segments(*(part[which] for part in self))


def linear_segments(motion: LinearMotion, jumps: Jumps) -> tuple[Segments, bool]:
    """The lengths that leave under a linear motion, by records of how far its paths reach; and whether some leave late.

    The path after a jump twice as long is twice as far from rest at every time.
    """
    rays = np.arange(jumps.rays.directions.shape[1])
    if jumps.rays.maps is not None:
        raise ValueError("A preconditioner that moves makes no linear motion.")
    found = motion.reaches(jumps.states(rays, np.ones(len(rays))))
    with np.errstate(divide="ignore"):
        low, high = 1 / found.gauge, 1 / found.before
    late = found.time > 0
    carried = bool((found.gauge[late] > found.before[late] * (1 + 1e-9)).any())
    fate = np.full(len(low), Fate.LEAVES, int)
    return Segments(found.path, low, high, fate, fate * 0 - 1, found.face, found.time), carried


class Wells:
    """Points where the noise-free dynamics comes to rest, numbered as they are found; 0 is the minimum."""

    def __init__(self, problem: Any, size: float) -> None:
        self.problem, self.size = problem, size
        self.points = [np.asarray(problem.landscape.minimum, float)]
        self.stable = [True]

    def number(self, points: Float[np.ndarray, "d n"]) -> Int[np.ndarray, " n"]:
        """The well of each point."""
        found = np.full(points.shape[1], -1)
        for place in range(points.shape[1]):
            away = [np.linalg.norm(points[:, place] - one) for one in self.points]
            nearest = int(np.argmin(away))
            if away[nearest] > _SAME * self.size:
                self.points.append(self._polished(points[:, place]))
                self.stable.append(self._holds(self.points[-1]))
                nearest = len(self.points) - 1
            found[place] = nearest
        return found

    def _polished(self, point: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        """The rest point itself, by Newton's steps; the point as it is where these lead away."""
        near = point
        for _ in range(_NEWTON):
            slope, curvature = _expansion(self.problem.landscape, near)
            near = near - np.linalg.lstsq(curvature, slope, rcond=1e-10)[0]
        close = np.isfinite(near).all() and np.linalg.norm(near - point) < _SAME * self.size
        return near if close else point

    def _holds(self, point: Float[np.ndarray, " d"]) -> bool:
        """Whether what comes close to a rest point stays there: it is no saddle, and no point of a flat valley."""
        curvatures = np.linalg.eigvalsh(_expansion(self.problem.landscape, point)[1])
        return bool(curvatures.min() > 1e-6 * np.abs(curvatures).max())


@interpreted
def _expansion(landscape: Any, point: Any) -> tuple[Any, Any]:
    """Gradient and Hessian."""
    matrix = jax.jacfwd(landscape.gradient)(point)
    return landscape.gradient(point), (matrix + matrix.T) / 2


class _Seen(NamedTuple):
    """What was seen of jumps: (fate, well, face), and when that was."""

    labels: Int[np.ndarray, "3 n"]
    time: Float[np.ndarray, " n"]

    def chosen(self, which: np.ndarray) -> "_Seen":
        return _Seen(self.labels[:, which], self.time[which])

    def between(self, ray: np.ndarray, low: np.ndarray, high: np.ndarray) -> Segments:
        fate, well, face = self.labels
        return Segments(ray, low, high, fate, well, face, self.time)


class Tracer:
    """Fates of jumps by following them."""

    def __init__(self, motion: TracedMotion, jumps: Jumps, wells: Wells, here: int) -> None:
        self.motion, self.jumps, self.wells, self.here = motion, jumps, wells, here
        self.rough = jumps.rays.directions.shape[1] > _FEW_EDGES

    def ends(self, state: Any) -> tuple[Ends, Int[np.ndarray, "3 n"]]:
        """Where states lead, and (fate, well, face) of each as seen from this well."""
        ends = self.motion.follow(state, rough=self.rough)
        return ends, self.labels(ends)

    def _beside(self, points: Float[np.ndarray, "d n"], well: Int[np.ndarray, " n"]) -> Ends:
        """Where points lead that lie too close to a saddle to move: as those do that are further off on their side."""
        saddles = np.array(self.wells.points)[well].T
        moved = saddles + _FURTHER * (points - saddles)
        return self.motion.follow(at_rest(self.jumps.problem, moved))

    def labels(self, ends: Ends, last: bool = False) -> Int[np.ndarray, "3 n"]:
        fate = ends.fate.copy()
        well, face = np.full(len(fate), -1), np.full(len(fate), -1)
        elsewhere = fate == Fate.ELSEWHERE
        well[fate == Fate.RETURNS] = self.here
        if elsewhere.any():
            well[elsewhere] = self.wells.number(ends.point[:, elsewhere])
        held = np.array(self.wells.stable)[well]
        back = elsewhere & (well == self.here)
        fate[back] = Fate.RETURNS
        stuck = elsewhere & ~held & ~back
        fate[stuck] = Fate.UNDECIDED
        leaves = fate == Fate.LEAVES
        if leaves.any():
            # the face as seen from the landscape's minimum, the same for all wells
            origin = self.jumps.problem.landscape.minimum
            points = ends.point[:, leaves]
            padded = padded_to(points, 64)
            face[leaves] = face_of(self.jumps.problem.basin, origin, padded)[: points.shape[1]]
        if stuck.any() and not last:
            again = self.labels(self._beside(ends.point[:, stuck], well[stuck]), True)
            fate[stuck], well[stuck], face[stuck] = again
        well[~np.isin(fate, (Fate.ELSEWHERE, Fate.RETURNS))] = -1
        return np.stack([fate, well, face])

    def segments(self, lengths: Float[np.ndarray, "rays lengths"]) -> Segments:
        """The fates along every ray, between lengths that are looked at, with the places where they change."""
        count, looks = lengths.shape
        ray = np.repeat(np.arange(count), looks)
        ends, labels = self.ends(self.jumps.states(ray, lengths.ravel()))
        labels, time = labels.reshape(3, count, looks), ends.time.reshape(count, looks)
        at, place = np.nonzero((labels[:, :, 1:] != labels[:, :, :-1]).any(axis=0))
        before, after = (_Seen(labels[:, at, end], time[at, end]) for end in (place, place + 1))
        edge, more = self._changes(at, lengths[at, place], lengths[at, place + 1], before, after)
        returns = labels[0, :, :1] == Fate.RETURNS  # as all short jumps do: what is no longer is left out
        low = np.concatenate([np.where(returns, 0.0, lengths[:, :1]), lengths[:, 1:]], axis=1)
        high = np.concatenate([lengths[:, 1:], np.full((count, 1), np.inf)], axis=1)
        high[at, place] = edge
        fate, well, face = (part.ravel() for part in labels)
        cells = Segments(ray, low.ravel(), high.ravel(), fate, well, face, time.ravel())
        joined = Segments(*(np.concatenate(parts) for parts in zip(cells, *more, strict=True)))
        return joined.chosen(joined.high > joined.low)

    def _changes(self, ray: np.ndarray, low: np.ndarray, high: np.ndarray, before: _Seen, after: _Seen) -> Any:
        """Where the fate changes first within brackets of two fates, and the segments from there to their ends."""
        first, parts = high.copy(), []
        for turn in range(_CHANGES):
            edge, there = self._edges(ray, low, high, before, after)
            if turn == 0:
                first = edge
            else:
                parts.append(before.between(ray, low, edge))
            # a third fate in between: the same again from there on
            more = (there.labels != after.labels).any(axis=0) & (edge < high) & (turn < _CHANGES - 1)
            parts.append(after.chosen(~more).between(ray[~more], edge[~more], high[~more]))
            ray, low, high = ray[more], edge[more], high[more]
            before, after = there.chosen(more), after.chosen(more)
        return first, parts

    def _edges(
        self, ray: np.ndarray, low: np.ndarray, high: np.ndarray, before: _Seen, after: _Seen
    ) -> tuple[np.ndarray, _Seen]:
        """The length at which the fate changes first, within each bracket, and what comes just beyond."""
        low, high, there = low.copy(), high.copy(), after
        if not len(ray):
            return high, there
        number, rounds = _FINE if len(ray) <= _FEW_EDGES else _COARSE
        parts = np.arange(1, number + 1) / (number + 1)
        pairs = np.arange(len(ray))
        for _ in range(rounds):
            inner = low[:, None] + (high - low)[:, None] * parts
            ends, labels = self.ends(self.jumps.states(np.repeat(ray, number), inner.ravel()))
            labels = labels.reshape(3, len(ray), number)
            same = (labels == before.labels[:, :, None]).all(axis=0)
            first = np.where(same.all(axis=1), number, np.argmin(same, axis=1))
            edges = np.concatenate([low[:, None], inner, high[:, None]], axis=1)
            low, high = edges[pairs, first], edges[pairs, first + 1]
            seen = np.minimum(first, number - 1)
            new = _Seen(labels[:, pairs, seen], ends.time.reshape(len(ray), number)[pairs, seen])
            there = _Seen(*(np.where(first < number, one, old) for one, old in zip(new, there, strict=True)))
        return high, there


def traced_segments(problem: Any, solver: Any, rays: Rays, wells: Wells, here: int) -> tuple[Segments, Tracer]:
    """The fates of jumps from rest in a well."""
    point = wells.points[here]
    motion = TracedMotion(problem, solver, wells.size, point)
    jumps = Jumps(problem, solver, rays, point)
    tracer = Tracer(motion, jumps, wells, here)
    count = rays.directions.shape[1]
    number = int(np.clip(_LENGTHS // count, _FEWEST, _MOST))
    shortest, longest = _straight_ways(problem, jumps, wells.size)
    lengths = np.geomspace(_REACH[0] * shortest, _REACH[1] * longest, number)
    segments = tracer.segments(np.tile(lengths, (count, 1)))
    silent = ~(rays.directions != 0).any(axis=0)
    return segments.chosen(~silent[segments.ray]), tracer


def _straight_ways(problem: Any, jumps: Jumps, size: float) -> tuple[float, float]:
    """The least and the greatest length of a jump straight to the boundary, over rays that reach it."""
    maps = np.asarray(jump_maps(problem))
    maps = np.median(maps, axis=0)
    vectors = np.where(np.isfinite(maps), maps, 1.0)[:, None] * jumps.rays.directions
    norms = np.linalg.norm(vectors, axis=0)
    norms = norms[norms > 0]
    ways = size / norms
    return float(ways.min()) / 4, float(ways.max())


def basin_size(problem: Any, rays: Rays) -> float:
    """About how far the boundary is from the minimum, along the noise's rays and others."""
    origin = np.asarray(problem.landscape.minimum)
    units = [rays.directions / np.maximum(np.linalg.norm(rays.directions, axis=0), 1e-300)]
    dimension = len(origin)
    if dimension > 1:
        units += [np.eye(dimension), -np.eye(dimension)]
        draws = np.random.default_rng(0).normal(size=(dimension, 64))
        units.append(draws / np.linalg.norm(draws, axis=0))
    gauge = gauge_along(problem.basin, origin, np.concatenate(units, axis=1))
    gauge = gauge[(gauge > 0) & np.isfinite(gauge)]
    return float(1 / gauge.max()) if gauge.size else 1.0


def modes_at(problem: Any, solver: Any, point: Any) -> Modes:
    """The linearised noise-free motion at rest at a point."""
    return modes_of(linearised(problem, solver, point), step_length(problem, solver))


class Well:
    """A point of rest with the fates of all jumps from it."""

    def __init__(self, segments: Segments, motion: Any, jumps: Jumps, tracer: Tracer | None) -> None:
        self.segments, self.motion, self.jumps, self.tracer = segments, motion, jumps, tracer
        self._shortest: Any = None

    def ends(self, state: Any) -> tuple[Ends, Int[np.ndarray, "3 n"]]:
        """Where states lead, with (fate, well, face) of each."""
        if self.tracer is not None:
            return self.tracer.ends(state)
        ends = self.motion.follow(state)
        nowhere = np.full(len(ends.fate), -1)
        return ends, np.stack([ends.fate, np.where(ends.fate == Fate.RETURNS, 0, nowhere), nowhere])

    def labels(self, state: Any) -> Int[np.ndarray, "2 n"]:
        """(fate, well) of where states lead."""
        if self.tracer is not None:
            return self.tracer.ends(state)[1][:2]
        leaves = self.motion.leaves(state)
        return np.stack([np.where(leaves, Fate.LEAVES, Fate.RETURNS), np.where(leaves, -1, 0)]).astype(int)

    def fates_of(self, ray: Int[np.ndarray, " n"], length: Float[np.ndarray, " n"]) -> Int[np.ndarray, "2 n"]:
        """(fate, well) of jumps from rest, by the segments."""
        here = self.tracer.here if self.tracer is not None else 0
        wide = self.segments.chosen(self.segments.high > self.segments.low * (1 + _NARROW))
        keys = _order(wide.ray, wide.low)
        order = np.argsort(keys)
        place = order[np.maximum(np.searchsorted(keys[order], _order(ray, length), side="right") - 1, 0)]
        found = wide.chosen(place)
        inside = (found.ray == ray) & (found.low <= length) & (length < found.high)
        return np.stack([np.where(inside, found.fate, Fate.RETURNS), np.where(inside, found.well, here)])

    def shortest(self, rays: Rays) -> Float[np.ndarray, " rays"]:
        """The shortest jump along each ray that does not come back; where all do, about that of the others."""
        if self._shortest is None:
            away = self.segments.fate != Fate.RETURNS
            found = np.full(rays.directions.shape[1], np.inf)
            np.minimum.at(found, self.segments.ray[away], self.segments.low[away])
            size = np.linalg.norm(rays.directions, axis=0)
            finite = np.isfinite(found)
            usual = np.median(found[finite] * size[finite]) if finite.any() else 1.0
            self._shortest = np.where(finite, found, usual / np.where(size > 0, size, 1.0))
        return self._shortest


def _order(ray: np.ndarray, length: np.ndarray) -> np.ndarray:
    """A number that sorts by ray first, then by length."""
    with np.errstate(divide="ignore"):
        return 2000.0 * ray + np.clip(np.log(length), -700, 700)


class Outlook(NamedTuple):
    """What jumps from rest lead to, from the minimum and from every well that they lead to inside.

    plain: whether the jumps that leave are those that lie outside, and all others come back.
    sample: where that was looked at for a sample alone.
    """

    problem: Any
    solver: Any
    rays: Rays
    wells: list[Well]
    points: list[np.ndarray]
    plain: bool
    complete: bool
    sample: "Sample | None" = None


class Sample(NamedTuple):
    """Jumps of the sizes that leave, and down to a part of them, that were followed.

    count: how many, 0 if that would take too long.
    astray: how many jumps do not go where the straight way says, as a part of those that leave.
    most: an upper bound of that, at 95%.
    """

    count: int
    astray: float
    most: float


def look_out(problem: Any, solver: Any, rays: Rays | None = None) -> Outlook:
    """The fates of all jumps, along the noise's rays or given ones; under `jax.enable_x64(True)`.

    They depend neither on the noise level nor, as lengths, on the tail index: a sweep over those looks once.
    """
    solver = solver if isinstance(solver, Euler | Tamed | Iteration) else None
    moving = rays is None and len(np.asarray(jump_maps(problem))) > 1
    motion = None if moving or isinstance(problem.noise, StateDependent) else linear_motion(problem, solver)
    rays = rays or jump_rays(problem, _TRACED_RAYS if motion is None else _LINEAR_RAYS)
    sampled = motion is None and len(problem.landscape.minimum) > _FOLLOWED_DIMENSIONS
    law = (rays.alpha, rays.weights, np.asarray(problem.noise_level)) if sampled else ()
    key = None if moving else _key(problem, solver, rays, law)
    if key in _SEEN:
        return _SEEN[key]._replace(problem=problem, rays=rays)
    if motion is not None:
        jumps = Jumps(problem, solver, rays)
        segments, carried = linear_segments(motion, jumps)
        made = Outlook(problem, solver, rays, [Well(segments, motion, jumps, None)], [motion.origin], not carried, True)
    else:
        made = _sampled(problem, solver, rays) if sampled else _traced(problem, solver, rays)
    if key is not None:
        while len(_SEEN) >= _MOST_SEEN:
            _SEEN.pop(next(iter(_SEEN)))
        _SEEN[key] = made
    return made


_SEEN: dict[Any, Outlook] = {}


def _key(problem: Any, solver: Any, rays: Rays, more: tuple = ()) -> Any:
    """What fates depend on; None where it cannot be compared."""
    noise = problem.noise if isinstance(problem.noise, StateDependent) else np.asarray(problem.noise.scale)
    leaves, structure = jax.tree.flatten((problem.landscape, problem.basin, problem.dynamics, solver, noise))
    arrays = [np.asarray(leaf) for leaf in (*leaves, rays.directions, *more)]
    key = structure, type(problem.noise), tuple((one.shape, one.dtype.str, one.tobytes()) for one in arrays)
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _traced(problem: Any, solver: Any, rays: Rays) -> Outlook:
    found = Wells(problem, basin_size(problem, rays))
    wells: list[Well] = []
    while len(wells) < min(len(found.points), _WELLS):
        here = len(wells)
        if not found.stable[here]:
            wells.append(wells[0])  # a saddle: nothing rests there
            continue
        segments, tracer = traced_segments(problem, solver, rays, found, here)
        wells.append(Well(segments, tracer.motion, tracer.jumps, tracer))
    plain = _is_plain(problem, wells[0], rays)
    return Outlook(problem, solver, rays, wells, found.points, plain, len(wells) == len(found.points))


def _sampled(problem: Any, solver: Any, rays: Rays) -> Outlook:
    """The fates that the straight ways say, and a sample of them followed: in many dimensions all would take hours."""
    wells = Wells(problem, basin_size(problem, rays))
    motion, jumps = TracedMotion(problem, solver, wells.size), Jumps(problem, solver, rays)
    tracer = Tracer(motion, jumps, wells, 0)
    gauge = _straight(problem, rays)
    leave = np.flatnonzero((gauge > 0) & (rays.directions != 0).any(axis=0))
    way = 1 / gauge[leave]
    origin = np.asarray(problem.landscape.minimum)
    beyond = motion.origin[:, None] + rays.directions[:, leave] * way * 1.001
    face = face_of(problem.basin, origin, beyond)
    zero = np.zeros(len(leave))
    none, returns = np.full(len(leave), -1), np.full(len(leave), int(Fate.RETURNS))
    back = Segments(leave, zero, way, returns, np.zeros(len(leave), int), none, zero)
    out = Segments(leave, way, zero + np.inf, np.full(len(leave), int(Fate.LEAVES)), none, face, zero)
    segments = Segments(*(np.concatenate(pair) for pair in zip(back, out, strict=True)))
    well = Well(segments, motion, jumps, tracer)
    sample = _follow_some(problem, well, rays, leave, way)
    return Outlook(problem, solver, rays, [well], wells.points[:1], True, True, sample)


def _follow_some(problem: Any, well: Well, rays: Rays, leave: np.ndarray, way: np.ndarray) -> Sample:
    """Jumps drawn by their law, no shorter than a part of the way out, and whether they go where the way says."""
    modes = well.motion.modes
    moving = modes.rates[modes.rates > 0]
    count = min(_SAMPLE, _SAMPLE_WORK // len(problem.landscape.minimum))
    if not len(leave) or count < _FEWEST_SAMPLED or modes.fastest() > _SAMPLE_STIFF * moving.min(initial=np.inf):
        return Sample(0, 0.0, math.inf)
    generator = np.random.default_rng(0)
    alpha = rays.alpha[leave]
    level = np.broadcast_to(np.asarray(problem.noise_level, float), alpha.shape)
    exits = rays.weights[leave] * (level / way) ** alpha
    tried = exits * _NEAREST**-alpha
    place = generator.choice(len(leave), count, p=tried / tried.sum())
    length = _NEAREST * way[place] * generator.uniform(size=count) ** (-1 / alpha[place])
    stop = np.full(count, _SAMPLE_TIMES / moving.min())
    fate = well.motion.follow(well.jumps.states(leave[place], length), stop, stiff=False).fate
    wrong = int((fate != np.where(length > way[place], Fate.LEAVES, Fate.RETURNS)).sum())
    ratio = float(tried.sum() / exits.sum())
    most = float(scipy.special.betaincinv(wrong + 1, count - wrong, 0.95)) if wrong < count else 1.0
    return Sample(count, ratio * wrong / count, ratio * most)


def _straight(problem: Any, rays: Rays) -> Float[np.ndarray, " rays"]:
    """The gauge of each ray; of a Marcus jump, that of the way that it takes."""
    origin = np.asarray(problem.landscape.minimum)
    if isinstance(problem.noise, StateDependent):
        return np.asarray(problem.noise.way_out(problem.basin, jnp.asarray(origin), jnp.asarray(rays.directions))[1])
    maps = rays.maps.T if rays.maps is not None else np.asarray(jump_maps(problem))[0][:, None]
    return gauge_along(problem.basin, origin, maps * rays.directions)


def _is_plain(problem: Any, well: Well, rays: Rays) -> bool:
    """Whether what leaves from the minimum are the jumps that lie outside, to what the search can tell."""
    if not getattr(problem.basin, "star_shaped", True):
        return False
    segments = well.segments
    if np.isin(segments.fate, (Fate.ELSEWHERE, Fate.BLOWS_UP, Fate.UNDECIDED)).any():
        return False
    leaves = segments.fate == Fate.LEAVES
    first = np.full(rays.directions.shape[1], np.inf)
    np.minimum.at(first, segments.ray[leaves], segments.low[leaves])
    last = np.zeros(len(first))
    np.maximum.at(last, segments.ray[~leaves], segments.high[~leaves])
    straight = _straight(problem, rays)
    with np.errstate(divide="ignore", invalid="ignore"):
        same = np.where(straight > 0, np.abs(first * straight - 1) < _PLAIN, ~np.isfinite(first))
        whole = (last <= first * (1 + _PLAIN)) | ~np.isfinite(first)
    return bool(same.all() and whole.all())
