"""Exit rates of an iteration whose noise is one draw a step: the probability that a single draw leaves."""

import math

import jax.numpy as jnp
import numpy as np

from levyjax.arrays import column
from levyjax.basins import Box
from levyjax.dynamics import SGD, Momentum
from levyjax.escape.flow import flow_out_gauge, relaxation_spectrum
from levyjax.escape.gauge import ExitRays
from levyjax.escape.prediction import Prediction, crossing_reason, face_shares, refused, step_reasons
from levyjax.escape.problem import EscapeProblem
from levyjax.escape.validity import limit_reasons
from levyjax.noise import Pareto, StudentT
from levyjax.solvers import Iteration
from levyjax.stable import tail_constant

_MOST_RAYS = 4096


def one_draw(problem: EscapeProblem, solver: Iteration) -> Prediction:
    """Noise of the iteration alone: the probability of a draw that leaves by itself from the minimum."""
    noise, dynamics = problem.noise, problem.dynamics
    if not isinstance(dynamics, SGD | Momentum):
        return refused(f"No exit rate is known for the iteration of {type(dynamics).__name__} under draws of this law.")
    maps, step_time = dynamics.jump_maps(noise), float(dynamics.learning_rate)
    directions = column(maps[0], noise.rays()) * noise.rays()
    gauge = problem.basin.gauge(jnp.asarray(problem.landscape.minimum), directions)
    spectrum = relaxation_spectrum(problem, maps)
    step = -(-gauge.shape[0] // _MOST_RAYS)
    flowing = flow_out_gauge(problem, directions[:, ::step], gauge[::step], spectrum, True)
    crossed = bool((jnp.abs(flowing - gauge[::step]) > gauge[::step] * 1e-5).any())
    reasons = [crossing_reason(problem)] if crossed else []
    if crossed and step > 1:
        return refused(f"{reasons[0]}, and {gauge.shape[0]} rays are too many to follow through the flow.")
    gauge = flowing if crossed else gauge
    with np.errstate(divide="ignore"):
        chances = noise.chances(1 / (step_time * float(problem.noise_level) * np.asarray(gauge)))
    total = float(chances.sum())
    if total == 0:
        return refused("No single draw leaves this basin: it takes several, and no formula is given for that.")
    slowest = max(float(np.real(spectrum).min()), 0.0)
    kappa, limits = _draw_limits(problem, chances, slowest * step_time)
    steps = step_reasons(problem, solver)
    rays = ExitRays(directions, chances, 0.0, gauge, 0)
    mean, shares = step_time / total, face_shares(problem, rays, chances)
    crossing = [f"{reason}: the rate counts every draw after which the noise-free flow leaves." for reason in reasons]
    return Prediction(
        total / step_time, 0.0, mean, 1 / total, shares, kappa, not limits and not steps, (*limits, *steps, *crossing)
    )


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
    return kappa, limit_reasons(index, kappa, math.inf if apart else 2 * constant * slowest / float(chances.sum()))
