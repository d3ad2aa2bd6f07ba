"""Mean exit times without jumps: alpha = 2 and Gaussian noise, where a formula is known."""

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used

from levyjax.basins import Ball
from levyjax.escape.problem import EscapeProblem
from levyjax.landscapes import Flat
from levyjax.noise import Rotational
from levyjax.noise.base import has_jumps, line_scale
from levyjax.noise.skewness import skewness
from levyjax.solvers.motion import hessian_of

_NODES = 200_001
_ONE_LOOK = 0.5826  # -zeta(1/2)/sqrt(2 pi)


def interval(problem: EscapeProblem) -> tuple[float, float]:
    """The ends of a one-dimensional basin, as seen from the minimum."""
    origin = jnp.asarray(problem.landscape.minimum)
    with np.errstate(divide="ignore"):
        reach = 1 / np.asarray(problem.basin.gauge(origin, jnp.array([[-1.0, 1.0]])))
    return float(origin[0] - reach[0]), float(origin[0] + reach[1])


def start_point(problem: EscapeProblem) -> np.ndarray:
    """Where trajectories start."""
    return np.asarray(problem.landscape.minimum if problem.start is None else problem.start)


def _cumulative_log(log_values: np.ndarray, step: float) -> np.ndarray:
    """log of the trapezoid rule's running integral of exp(log_values), from 0 at the first node."""
    panels = np.logaddexp(log_values[1:], log_values[:-1]) + np.log(step / 2)
    return np.concatenate([[-np.inf], np.logaddexp.accumulate(panels)])


def brownian_interval(problem: EscapeProblem, noise_level: float, beyond: float = 0.0) -> tuple[float, float] | None:
    """Mean exit time and probability of leaving above, for dX = -F' dt + noise_level A dB on an interval.

    Args:
        problem: one-dimensional, with Gaussian noise or alpha = 2 and plain gradient drift.
        noise_level: of the SDE.
        beyond: how much further out both ends are taken to be.

    Returns:
        (mean exit time from the start, probability of the upper end), or None on an unbounded interval.

    Source:
        The backward equation (D/2) u'' - F' u' = -1, u = 0 at the ends, D the variance per unit of time, solved by
        its scale function exp(2 F/D) (Gardiner 2009, section 5.5); trapezoid rule in logarithms, so that barriers of
        hundreds of noise levels do not overflow. Relative error about (node spacing/width of the barrier)^2.
    """
    low, high = interval(problem)
    if not (np.isfinite(low) and np.isfinite(high)):
        return None
    variance = noise_level**2 * float(problem.noise.covariance_rate()[0, 0])
    nodes = np.linspace(low - beyond, high + beyond, _NODES)
    potential = 2 * np.asarray(problem.landscape.value(jnp.asarray(nodes)[None])) / variance
    step = nodes[1] - nodes[0]
    from_low = _cumulative_log(potential, step)
    from_high = _cumulative_log(potential[::-1], step)[::-1]
    at = int(np.clip(round((float(start_point(problem)[0]) - nodes[0]) / step), 1, _NODES - 2))
    log_speed = np.log(2 / variance) - potential
    below = _cumulative_log(from_low[: at + 1] + log_speed[: at + 1], step)[-1]
    above = _cumulative_log(from_high[at:] + log_speed[at:], step)[-1]
    total = from_low[-1]
    with np.errstate(over="ignore"):
        mean = np.exp(from_high[at] - total + below) + np.exp(from_low[at] - total + above)
    return float(mean), float(np.exp(from_low[at] - total))


def of_steps(
    mean: float,
    law: Callable[[float, float], tuple[float, float] | None],
    problem: EscapeProblem,
    noise_level: float,
    step_time: float,
) -> float:
    """About how much longer the mean exit time is, as a part of it, where exits are looked for once a step.

    Args:
        mean: in continuous time.
        law: the same, with anything else, at another noise level and with the boundary so much further out.
        problem: with Gaussian noise.
        noise_level: of the SDE.
        step_time: of a step.

    Source:
        Looking at a Brownian path once a step is as having the boundary 0.5826 standard deviations of a step further
        out (Chernoff 1965; Broadie, Glasserman and Kou 1997), and descent in steps of eta on a curvature k widens the
        law at rest to 1/(1 - eta k/2) of the variance. Both are counted as if they were alone.
    """
    covariance = np.asarray(problem.noise.covariance_rate()) * noise_level**2 * step_time
    curvature = float(np.linalg.eigvalsh(hessian_of(problem.landscape)).max())
    wider = law(noise_level, _ONE_LOOK * float(np.sqrt(np.linalg.eigvalsh(covariance).max())))
    louder = law(noise_level / math.sqrt(max(1 - step_time * curvature / 2, 1e-3)), 0.0)
    if mean == 0 or wider is None or louder is None:
        return math.inf
    return abs(wider[0] / mean - 1) + abs(louder[0] / mean - 1)


def noise_of_steps(alpha: float, mean: float, step_time: float) -> float:
    """About the same for stable noise alone: an excursion between two looks is missed, and an exit seen at its step.

    Both ends are known, sqrt(step/mean) at alpha = 2 and step/mean below 1, with factors near 1; between is measured.
    """
    return 1.2 * (step_time / mean) ** min(1 / alpha, 1.0)


def driftless_ball(problem: EscapeProblem, noise_level: float, beyond: float = 0.0) -> float | None:
    """Exact mean exit time of noise alone from an interval or a ball; None where the formula does not apply.

    `beyond` is how much further out the boundary is taken to be.

    Source:
        Getoor 1961: the rotation-invariant stable process of index alpha leaves the ball of radius r from x after
        (r^2 - |x|^2)^(alpha/2) Gamma(d/2)/(2^alpha Gamma(1 + alpha/2) Gamma((d + alpha)/2)) on average, which in one
        dimension is (r^2 - x^2)^(alpha/2)/Gamma(1 + alpha). At alpha = 2 that is (r^2 - |x|^2)/(2d): N(0, 2t).
    """
    if not isinstance(problem.landscape, Flat) or (skewness(problem.noise) is not None and has_jumps(problem.noise)):
        return None
    dimension, alphas = problem.dimension, np.unique(np.asarray(problem.noise.alpha))
    if alphas.size > 1:
        return None
    alpha = float(alphas[0])
    scale = np.asarray(problem.noise.scale)
    scale = np.diag(scale) if scale.ndim == 1 else scale
    isotropic = np.allclose(scale @ scale.T, scale[0] @ scale[0] * np.eye(dimension), rtol=1e-12)
    coordinates_free = dimension == 1 or alpha == 2 or isinstance(problem.noise, Rotational)
    if not (isotropic and coordinates_free):
        return None
    start = start_point(problem)
    if dimension == 1:
        low, high = interval(problem)
        radius, offset = (high - low) / 2, start - (high + low) / 2
    elif isinstance(problem.basin, Ball):
        radius, offset = float(problem.basin.radius), start - np.asarray(problem.basin.center)
    else:
        return None
    if not np.isfinite(radius):
        return None
    radius_squared = (radius + beyond) ** 2
    if alpha == 2:
        variance = 2 * float(scale[0] @ scale[0]) * noise_level**2
        return float((radius_squared - (offset**2).sum()) / (dimension * variance))
    size = noise_level * (line_scale(problem.noise) if dimension == 1 else np.sqrt(scale[0] @ scale[0]))
    constant = (
        scipy.special.gammaln(dimension / 2)
        - scipy.special.gammaln(1 + alpha / 2)
        - scipy.special.gammaln((dimension + alpha) / 2)
    )
    return float(((radius_squared - (offset**2).sum()) / (2 * size) ** 2) ** (alpha / 2) * np.exp(constant))
