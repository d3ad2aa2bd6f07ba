"""Jumps from rest: along which rays they come how often, the state right after one, and lengths of one fate."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from levyjax.arrays import padded_to
from levyjax.escape.problem import EscapeProblem
from levyjax.interpret import interpreted
from levyjax.noise import Rotational, StateDependent
from levyjax.noise.spectral import isotropic_measure_of, measure_of
from levyjax.solvers.linear_motion import LinearMotion
from levyjax.solvers.motion import Fate, at_rest, displaced, gauge_along, jump_maps
from levyjax.solvers.steps import Solver

_MOVING_RAYS = 128  # the same with a preconditioner that moves, to see whether the flow matters
NARROW = 1e-6  # of a length: segments that are no wider do not count


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


def jump_rays(problem: EscapeProblem, most: int) -> Rays:
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

    def __init__(self, problem: EscapeProblem, solver: Solver | None, rays: Rays, point: Any = None) -> None:
        self.problem, self.solver, self.rays = problem, solver, rays
        self.point = np.asarray(problem.landscape.minimum if point is None else point)

    def rest(self, ray: Int[np.ndarray, " n"]) -> Any:
        """The state before a jump on each of these rays."""
        state = at_rest(self.problem, np.repeat(self.point[:, None], len(ray), axis=1))
        if self.rays.maps is None:
            return state
        return self.problem.dynamics.with_jump_map(state, self.rays.maps[ray].T)

    def states(self, ray: Int[np.ndarray, " n"], length: Float[np.ndarray, " n"]) -> Any:
        """The states right after jumps of these lengths."""
        amount = self.rays.directions[:, ray] * length
        return self.displaced(self.rest(ray), amount)

    def displaced(self, state: Any, amount: Float[np.ndarray, "d n"]) -> Any:
        """The states after jumps of A L from these ones."""
        state = jax.tree.map(lambda leaf: padded_to(np.asarray(leaf), 64), state)
        moved = _displaced(self.problem, self.solver, state, padded_to(amount, 64))
        return jax.tree.map(lambda leaf: leaf[:, : amount.shape[1]], moved)


@interpreted
def _displaced(problem: EscapeProblem, solver: Solver | None, state: Any, amount: Any) -> Any:
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
        with np.errstate(divide="ignore", invalid="ignore"):
            rates = weights * ((level / self.low) ** alpha - (level / self.high) ** alpha)
        return np.where(weights > 0, rates, 0.0)  # to the side of a skewed channel on which there are no jumps

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


def basin_size(problem: EscapeProblem, rays: Rays) -> float:
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
