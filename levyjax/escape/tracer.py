"""Fates of jumps by following them: along each ray, the lengths at which they change, and the wells they lead to."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from levyjax.arrays import padded_to
from levyjax.escape.jumps import NARROW, Jumps, Rays, Segments
from levyjax.escape.problem import EscapeProblem, face_of
from levyjax.interpret import interpreted
from levyjax.landscapes import Landscape
from levyjax.landscapes.base import has_potential
from levyjax.solvers.motion import Ends, Fate, at_rest, decay_rates, jump_maps
from levyjax.solvers.steps import Solver
from levyjax.solvers.traced_motion import TracedMotion

_REACH = (2e-3, 1024.0)  # lengths on a traced ray, in units of the shortest and longest way straight to the boundary
_LENGTHS = 4000  # all rays together
_FEWEST, _MOST = 32, 640  # on a ray
_FEW_EDGES = 24  # that are found to rounding; more of them to 1e-4
_FINE, _COARSE = (15, 7), (3, 6)  # parts of a bracket between two fates, and how often it is parted
_CHANGES = 4  # of the fate that are looked for within a bracket
_SAME = 0.02  # of the reach: rest points closer than this are one
MOST_WELLS = 12  # inside, between which a chain is worked out; on a plateau there is no end of them
_NEWTON, _FURTHER = 6, 300.0  # steps to a rest point; how much further from a saddle a point beside it starts


class Wells:
    """Points where the noise-free dynamics comes to rest, numbered as they are found; 0 is the minimum."""

    def __init__(self, problem: EscapeProblem, size: float) -> None:
        self.problem, self.size = problem, size
        self.points = [np.asarray(problem.landscape.minimum, float)]
        self.stable = [True]

    def number(self, points: Float[np.ndarray, "d n"]) -> Int[np.ndarray, " n"]:
        """The well of each point."""
        found = np.full(points.shape[1], -1)
        for index in range(points.shape[1]):
            away = [np.linalg.norm(points[:, index] - one) for one in self.points]
            nearest = int(np.argmin(away))
            if away[nearest] > _SAME * self.size and not self.too_many:
                self.points.append(self._polished(points[:, index]))
                self.stable.append(self._holds(self.points[-1]))
                nearest = len(self.points) - 1
            found[index] = nearest
        return found

    @property
    def too_many(self) -> bool:
        """Whether there are more than a chain is worked out for; no others are told apart then."""
        return len(self.points) > MOST_WELLS

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
        curvature = _expansion(self.problem.landscape, point)[1]
        return bool(decay_rates(curvature).min() > 1e-6 * np.linalg.norm(curvature, 2))


@interpreted
def _expansion(landscape: Landscape, point: Any) -> tuple[Any, Any]:
    """Gradient and Hessian, made symmetric where it is that of a potential."""
    matrix = jax.jacfwd(landscape.gradient)(point)
    return landscape.gradient(point), (matrix + matrix.T) / 2 if has_potential(landscape) else matrix


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
        at, index = np.nonzero((labels[:, :, 1:] != labels[:, :, :-1]).any(axis=0))
        before, after = (_Seen(labels[:, at, end], time[at, end]) for end in (index, index + 1))
        edge, more = self._changes(at, lengths[at, index], lengths[at, index + 1], before, after)
        returns = labels[0, :, :1] == Fate.RETURNS  # as all short jumps do: what is no longer is left out
        low = np.concatenate([np.where(returns, 0.0, lengths[:, :1]), lengths[:, 1:]], axis=1)
        high = np.concatenate([lengths[:, 1:], np.full((count, 1), np.inf)], axis=1)
        high[at, index] = edge
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
                wide = edge > low * (1 + NARROW)  # or a path that rests on a saddle, to rounding
                parts.append(before.chosen(wide).between(ray[wide], low[wide], edge[wide]))
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


def traced_segments(
    problem: EscapeProblem, solver: Solver | None, rays: Rays, wells: Wells, here: int
) -> tuple[Segments, Tracer]:
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


def _straight_ways(problem: EscapeProblem, jumps: Jumps, size: float) -> tuple[float, float]:
    """The least and the greatest length of a jump straight to the boundary, over rays that reach it."""
    maps = np.asarray(jump_maps(problem))
    maps = np.median(maps, axis=0)
    vectors = np.where(np.isfinite(maps), maps, 1.0)[:, None] * jumps.rays.directions
    norms = np.linalg.norm(vectors, axis=0)
    norms = norms[norms > 0]
    ways = size / norms
    return float(ways.min()) / 4, float(ways.max())
