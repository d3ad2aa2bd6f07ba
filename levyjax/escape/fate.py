"""The fate of a jump: where the noise-free dynamics leads after a jump from rest, and how often each end comes.

Rates, exit faces, validity and mean exit times all ask it. A jump is a length along a ray; on each ray the lengths fall
into segments of one fate.
"""

import math
from copy import copy
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used
from jaxtyping import Float, Int

from levyjax.escape.jumps import NARROW, Jumps, Rays, Segments, basin_size, jump_rays, linear_segments
from levyjax.escape.problem import EscapeProblem, face_of
from levyjax.escape.tracer import Tracer, Wells, traced_segments
from levyjax.interpret import interpreted
from levyjax.landscapes import Landscape
from levyjax.landscapes.drift import LINEAR
from levyjax.noise import StateDependent
from levyjax.solvers.linear_motion import LinearMotion, linear_motion
from levyjax.solvers.motion import (
    Ends,
    Fate,
    Modes,
    decay_rates,
    gauge_along,
    has_way_out,
    hessian_of,
    jump_maps,
    kept_by_descent,
    linearised,
    modes_of,
    step_length,
)
from levyjax.solvers.steps import Euler, Iteration, Solver, Tamed
from levyjax.solvers.traced_motion import TracedMotion

_TRACED_RAYS, _LINEAR_RAYS = 512, 1 << 15  # that are followed, step by step and by formula, for a continuum
_ROUNDED, _NEAR_REST = 1e-14, 1e-3  # a curvature that is rounding, over the slope so far out, as a part of the way
_PLAIN = 1e-3  # by which a length may miss the boundary that it is taken for
_MOST_SEEN = 16
_FOLLOWED_DIMENSIONS = 16  # in which the jumps on every ray are followed; in more of them a sample is
_SAMPLE, _FEWEST_SAMPLED, _SAMPLE_WORK = 128, 64, 16_000  # jumps followed, for an answer and at most; times dimension
_SEEN_BY_ROUNDING = 1e-4  # a share below it may be the search's own
_NEAREST, _SAMPLE_TIMES, _SAMPLE_STIFF = 0.3, 10.0, 1000.0  # of the way out; relaxation times; ratio of rates


def modes_at(problem: EscapeProblem, solver: Solver | None, point: Any) -> Modes:
    """The linearised noise-free motion at rest at a point."""
    return modes_of(linearised(problem, solver, point), step_length(problem, solver))


def slowest_at_rest(problem: EscapeProblem, solver: Solver | None) -> float:
    """The slowest relaxation's rate at the minimum; 0 where the curvature there is none, or rounding.

    That of x^4 at the point where it is looked at is 1e-24: beside the slope a little further out it is nothing.
    """
    slowest = modes_at(problem, solver, problem.landscape.minimum).slowest()
    if slowest == 0 or isinstance(problem.landscape, LINEAR):
        return slowest
    gentlest = float(decay_rates(np.asarray(hessian_of(problem.landscape))).min())
    return slowest if gentlest > _ROUNDED * _pull(problem) else 0.0


def _pull(problem: EscapeProblem) -> float:
    """The slope over the distance, near the minimum but beyond what rounds there, at most."""
    minimum, axes = np.asarray(problem.landscape.minimum, np.float64), np.eye(problem.dimension)
    axes = np.concatenate([axes, -axes], axis=1)
    gauge = gauge_along(problem.basin, minimum, axes)
    away = _NEAR_REST / gauge[gauge > 0].max(initial=1e-300) if (gauge > 0).any() else _NEAR_REST
    slopes = np.asarray(_slopes(problem.landscape, minimum[:, None] + away * axes))
    pulls = np.linalg.norm(slopes, axis=0) / away
    return float(pulls[np.isfinite(pulls)].max(initial=0.0))


@interpreted
def _slopes(landscape: Landscape, points: Any) -> Any:
    return landscape.gradient(points)


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
        wide = self.segments.chosen(self.segments.high > self.segments.low * (1 + NARROW))
        keys = _order(wide.ray, wide.low)
        order = np.argsort(keys)
        place = order[np.maximum(np.searchsorted(keys[order], _order(ray, length), side="right") - 1, 0)]
        found = wide.chosen(place)
        inside = (found.ray == ray) & (found.low <= length) & (length < found.high)
        return np.stack([np.where(inside, found.fate, Fate.RETURNS), np.where(inside, found.well, here)])

    def closer(self, shortest: float) -> "Well":
        """The same, with jumps followed back until they are small beside one so many times the shortest way out."""
        closer = copy(self)
        closer.motion, closer.tracer = self.motion.closer(shortest), copy(self.tracer)
        if closer.tracer is not None:
            closer.tracer.motion = closer.motion
        return closer

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


class JumpFates(NamedTuple):
    """What jumps from rest lead to, from the minimum and from every well that they lead to inside.

    plain: whether the jumps that leave are those that lie outside, and all others come back.
    sample: where that was looked at for a sample alone.
    """

    problem: EscapeProblem
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
    astray: how many jumps do not go where the straight way says, as a part of those that leave: of those followed, or
        by the motion linearised at the minimum if that is more.
    most: an upper bound of that, at 95%.
    """

    count: int
    astray: float
    most: float


def follow_jumps(problem: EscapeProblem, solver: Solver | None, rays: Rays | None = None) -> JumpFates:
    """The fates of all jumps, along the noise's rays or given ones; under `jax.enable_x64(True)`.

    They depend neither on the noise level nor, as lengths, on the tail index: a sweep over those looks once.
    """
    solver = solver if isinstance(solver, Euler | Tamed | Iteration) else None
    moving = rays is None and len(np.asarray(jump_maps(problem))) > 1
    motion = None if moving or isinstance(problem.noise, StateDependent) else linear_motion(problem, solver)
    rays = rays or jump_rays(problem, _TRACED_RAYS if motion is None else _LINEAR_RAYS)
    sampled = motion is None and len(problem.landscape.minimum) > _FOLLOWED_DIMENSIONS and has_way_out(problem)
    law = (rays.alpha, rays.weights, np.asarray(problem.noise_level)) if sampled else ()
    key = None if moving else _key(problem, solver, rays, law)
    if key in _SEEN:
        return _SEEN[key]._replace(problem=problem, rays=rays)
    if motion is not None:
        jumps = Jumps(problem, solver, rays)
        segments, carried = linear_segments(motion, jumps)
        made = JumpFates(
            problem, solver, rays, [Well(segments, motion, jumps, None)], [motion.origin], not carried, True
        )
    else:
        made = _sampled(problem, solver, rays) if sampled else _traced(problem, solver, rays)
    if key is not None:
        while len(_SEEN) >= _MOST_SEEN:
            _SEEN.pop(next(iter(_SEEN)))
        _SEEN[key] = made
    return made


_SEEN: dict[Any, JumpFates] = {}


def _key(problem: EscapeProblem, solver: Solver | None, rays: Rays, more: tuple = ()) -> Any:
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


def _traced(problem: EscapeProblem, solver: Solver | None, rays: Rays) -> JumpFates:
    found = Wells(problem, basin_size(problem, rays))
    wells: list[Well] = []
    while len(wells) < len(found.points) and not (wells and found.too_many):
        here = len(wells)
        if not found.stable[here]:
            wells.append(wells[0])  # a saddle: nothing rests there
            continue
        segments, tracer = traced_segments(problem, solver, rays, found, here)
        wells.append(Well(segments, tracer.motion, tracer.jumps, tracer))
    plain = _is_plain(problem, wells[0], rays)
    return JumpFates(problem, solver, rays, wells, found.points, plain, len(wells) == len(found.points))


def _sampled(problem: EscapeProblem, solver: Solver | None, rays: Rays) -> JumpFates:
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
    sample = sample._replace(astray=max(sample.astray, _linearised_share(problem, solver, jumps, segments)))
    return JumpFates(problem, solver, rays, [well], wells.points[:1], True, True, sample)


def _linearised_share(problem: EscapeProblem, solver: Solver | None, jumps: Jumps, straight: Segments) -> float:
    """How many more or fewer jumps leave by the motion linearised at the minimum, as a part of those that do.

    A sample of some hundred jumps does not see a few percent; on a landscape that is nearly quadratic this does.
    """
    rays = jumps.rays
    if isinstance(problem.noise, StateDependent) or rays.maps is not None or kept_by_descent(problem):
        return 0.0
    linear, _ = linear_segments(LinearMotion(problem, solver), jumps)
    level = np.broadcast_to(np.asarray(problem.noise_level, float), rays.alpha.shape)
    leave, known = (float(one.rates(rays, level)[one.fate == Fate.LEAVES].sum()) for one in (linear, straight))
    share = abs(leave / known - 1) if known > 0 else 0.0
    return share if share > _SEEN_BY_ROUNDING else 0.0


def _follow_some(problem: EscapeProblem, well: Well, rays: Rays, leave: np.ndarray, way: np.ndarray) -> Sample:
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


def _straight(problem: EscapeProblem, rays: Rays) -> Float[np.ndarray, " rays"]:
    """The gauge of each ray; of a Marcus jump, that of the way that it takes."""
    origin = np.asarray(problem.landscape.minimum)
    if isinstance(problem.noise, StateDependent):
        return np.asarray(problem.noise.way_out(problem.basin, jnp.asarray(origin), jnp.asarray(rays.directions))[1])
    maps = rays.maps.T if rays.maps is not None else np.asarray(jump_maps(problem))[0][:, None]
    return gauge_along(problem.basin, origin, maps * rays.directions)


def _is_plain(problem: EscapeProblem, well: Well, rays: Rays) -> bool:
    """Whether what leaves from the minimum are the jumps that lie outside, to what the search can tell."""
    if not getattr(problem.basin, "star_shaped", True) or not has_way_out(problem):
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
