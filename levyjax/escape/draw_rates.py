"""Exit rates of an iteration whose noise is one draw a step: the probability that a single draw leaves."""

import math

import jax.numpy as jnp
import numpy as np

from levyjax.arrays import column
from levyjax.basins import Box
from levyjax.escape.ends import Ends
from levyjax.escape.fate import follow_jumps
from levyjax.escape.gauge import ExitRays
from levyjax.escape.jumps import Rays, Segments
from levyjax.escape.passage import Complement
from levyjax.escape.prediction import Prediction, crossing_reason, face_shares, refused, step_reasons
from levyjax.escape.problem import EscapeProblem
from levyjax.escape.validity import NO_DRIFT, bias_constant, limit_reasons, next_order
from levyjax.noise import Pareto, StudentT
from levyjax.solvers import Iteration
from levyjax.solvers.motion import Fate
from levyjax.stable import tail_constant

_MOST_RAYS = 4096
_FAR = 1e6  # where a power tail is one


def one_draw(problem: EscapeProblem, solver: Iteration) -> Prediction:
    """Noise of the iteration alone: the probability of a draw that leaves by itself from the minimum."""
    if isinstance(problem.basin, Complement):
        return refused("First passage to a set has no formula here for draws of the iteration; simulate it.")
    noise, dynamics = problem.noise, problem.dynamics
    if not dynamics.is_linear:
        return refused(f"No exit rate is known for the iteration of {type(dynamics).__name__} under draws of this law.")
    step_time, directions = float(dynamics.learning_rate), np.asarray(noise.rays())
    every = -(-directions.shape[1] // _MOST_RAYS)
    jump_fates = follow_jumps(problem, solver, _tails(problem, directions, every, step_time))
    well = jump_fates.wells[0]
    if not jump_fates.plain and every > 1:
        return refused(f"{crossing_reason(problem)}, and {directions.shape[1]} rays are too many to follow.")
    if (well.segments.fate == Fate.UNDECIDED).any():
        return refused("Some draws can't be followed to their end in the steps allowed; simulate it.")
    if not np.isin(well.segments.fate, (Fate.RETURNS, Fate.LEAVES)).all():
        return refused("Some draws lead to other wells inside, or to infinity; simulate it.")
    if jump_fates.plain:
        vectors = column(dynamics.jump_maps(noise)[0], jnp.asarray(directions)) * directions
        gauge = problem.basin.gauge(jnp.asarray(problem.landscape.minimum), vectors)
        with np.errstate(divide="ignore"):
            chances = noise.chances(1 / (step_time * float(problem.noise_level) * np.asarray(gauge)))
        shares = {}
        if chances.sum() > 0:
            shares, _ = face_shares(problem, ExitRays(vectors, chances, 0.0, gauge, 0), chances)
    else:
        chances, shares = _by_segments(problem, well.segments, step_time * float(problem.noise_level))
    total = float(chances.sum())
    if total == 0:
        return refused("No single draw leaves this basin: it takes several, and no formula is given for that.")
    kappa, limits = _draw_limits(problem, chances, well.motion.modes.slowest() * step_time)
    steps, mean = step_reasons(problem, solver), step_time / total
    note = (
        []
        if jump_fates.plain
        else [f"{crossing_reason(problem)}: the rate counts every draw after which the noise-free flow leaves."]
    )
    said, valid = (*limits, *steps, *note), not limits and not steps
    # draws of finite variance do not leave one by one at any noise level that is known, and are not valid
    level = np.asarray(step_time * float(problem.noise_level))
    shift = Ends(jump_fates, level).shift() if noise.tail_index is not None else 0.0
    return Prediction(total / step_time, 0.0, mean, 1 / total, shares, kappa, valid, said, shift)


def _tails(problem: EscapeProblem, directions: np.ndarray, every: int, step_time: float) -> Rays:
    """Every so many of the draws' rays with their power tails, per unit of time; any weights where there are none."""
    some, index = directions[:, ::every], problem.noise.tail_index
    ones = np.ones(some.shape[1])
    if index is None:
        return Rays(some, ones, ones, None, 0)
    beyond = problem.noise.chances(np.full(directions.shape[1], _FAR))[::every]
    return Rays(some, beyond * _FAR**index / step_time, index * ones, None, 0)


def _by_segments(problem: EscapeProblem, segments: Segments, unit: float) -> tuple[np.ndarray, dict[str, float]]:
    """The chance of a draw that leaves, by ray, and the faces, where `unit` is the length of a draw of 1."""
    leaving = segments.chosen(segments.fate == Fate.LEAVES)
    count = np.asarray(problem.noise.rays()).shape[1]
    chances = np.zeros(len(leaving.ray))
    for place, (low, high) in enumerate(zip(leaving.low, leaving.high, strict=True)):
        beyond = [problem.noise.chances(np.full(count, length / unit))[leaving.ray[place]] for length in (low, high)]
        chances[place] = beyond[0] - beyond[1]
    names = problem.basin.face_names(problem.dimension)
    by_face = np.bincount(leaving.face, weights=chances, minlength=len(names))
    by_ray = np.bincount(leaving.ray, weights=chances, minlength=count)
    return by_ray, dict(zip(names, (by_face / max(by_face.sum(), 1e-300)).tolist(), strict=True))


def _draw_limits(problem: EscapeProblem, chances: np.ndarray, slowest: float) -> tuple[float | None, list[str]]:
    """kappa as that of the stable noise whose jumps leave as often, and why the one-draw law does not hold.

    `slowest` is the slowest relaxation an iteration.
    """
    index = problem.noise.tail_index
    if index is None or index >= 2:
        return None, [
            "The draws have a finite variance: that one of them leaves alone is the way out only as the noise level "
            "tends to 0, and it is not known here how small is small enough."
        ]
    constant = float(tail_constant(index)) / index
    kappa = constant * slowest / float(chances.max())
    apart = isinstance(problem.basin, Box) and isinstance(problem.noise, Pareto | StudentT)
    apart = apart and problem.noise.scale.ndim == 1
    crowded = math.inf if apart else 2 * constant * slowest / float(chances.sum())
    if kappa == 0:
        return 0.0, [NO_DRIFT]
    bias = bias_constant(index) / min(kappa, crowded)
    return kappa, limit_reasons(min(kappa, crowded), (bias, next_order(index) * bias))
