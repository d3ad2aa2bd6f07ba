"""Mean exit times without jumps: alpha = 2 and Gaussian noise, where a formula is known."""

import jax.numpy as jnp
import numpy as np
from scipy.special import gammaln

from levyjax.basins import Ball
from levyjax.escape.problem import EscapeProblem
from levyjax.landscapes import Flat
from levyjax.noise import Rotational

_NODES = 200_001


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


def brownian_interval(problem: EscapeProblem, noise_level: float) -> tuple[float, float] | None:
    """Mean exit time and probability of leaving above, for dX = -F' dt + noise_level A dB on an interval.

    Args:
        problem: one-dimensional, with Gaussian noise or alpha = 2 and plain gradient drift.
        noise_level: of the SDE.

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
    nodes = np.linspace(low, high, _NODES)
    potential = 2 * np.asarray(problem.landscape.value(jnp.asarray(nodes)[None])) / variance
    step = nodes[1] - nodes[0]
    from_low = _cumulative_log(potential, step)
    from_high = _cumulative_log(potential[::-1], step)[::-1]
    at = int(np.clip(round((float(start_point(problem)[0]) - low) / step), 1, _NODES - 2))
    log_speed = np.log(2 / variance) - potential
    below = _cumulative_log(from_low[: at + 1] + log_speed[: at + 1], step)[-1]
    above = _cumulative_log(from_high[at:] + log_speed[at:], step)[-1]
    total = from_low[-1]
    with np.errstate(over="ignore"):
        mean = np.exp(from_high[at] - total + below) + np.exp(from_low[at] - total + above)
    return float(mean), float(np.exp(from_low[at] - total))


def driftless_ball(problem: EscapeProblem, noise_level: float) -> float | None:
    """Exact mean exit time of noise alone from an interval or a ball; None where the formula does not apply.

    Source:
        Getoor 1961: the rotation-invariant stable process of index alpha leaves the ball of radius r from x after
        (r^2 - |x|^2)^(alpha/2) Gamma(d/2)/(2^alpha Gamma(1 + alpha/2) Gamma((d + alpha)/2)) on average, which in one
        dimension is (r^2 - x^2)^(alpha/2)/Gamma(1 + alpha). At alpha = 2 that is (r^2 - |x|^2)/(2d): N(0, 2t).
    """
    if not isinstance(problem.landscape, Flat):
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
        radius_squared, offset = (high - low) ** 2 / 4, start - (high + low) / 2
    elif isinstance(problem.basin, Ball):
        radius_squared, offset = float(problem.basin.radius) ** 2, start - np.asarray(problem.basin.center)
    else:
        return None
    if not np.isfinite(radius_squared):
        return None
    if alpha == 2:
        variance = 2 * float(scale[0] @ scale[0]) * noise_level**2
        return float((radius_squared - (offset**2).sum()) / (dimension * variance))
    size = noise_level * np.sqrt(scale[0] @ scale[0])
    constant = gammaln(dimension / 2) - gammaln(1 + alpha / 2) - gammaln((dimension + alpha) / 2)
    return float(((radius_squared - (offset**2).sum()) / (2 * size) ** 2) ** (alpha / 2) * np.exp(constant))
