"""The limit's bias where the boundary of a basin passes through saddles, on which the drift vanishes."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from levyjax.basins import Attraction, Sublevel
from levyjax.escape.gauge import ExitRays
from levyjax.escape.problem import EscapeProblem
from levyjax.escape.validity import MAX_BIAS
from levyjax.interpret import interpreted
from levyjax.landscapes import Landscape
from levyjax.noise.skewness import skewness
from levyjax.solvers.motion import decay_rates
from levyjax.stable import tail_constant

_AT_REST = 0.02  # of the gradient that the curvature at the minimum would make so far out: below it b is a saddle
_MATTERS = 0.02  # of all exits: rays with fewer are left out


def saddle_bias(alpha: float, kappa: float) -> float:
    """How much sooner exits across a saddle come than in the limit, as a part of the rate.

    At a boundary that the drift crosses, a jump that falls short is taken back at once, and the bias is of the order of
    1/kappa. On a saddle the drift vanishes: a jump that falls a little short, or a little beyond, stays near, and later
    jumps take the path across. That is of the order of kappa^(-1/alpha) for alpha above 1.

    Args:
        alpha: tail index in (0, 2).
        kappa: with the saddle's growth rate, |F''| across the boundary, as the relaxation rate.

    Returns:
        alpha delta int_0^(1/delta) min(1, (2 C_alpha/alpha) z^-alpha) dz, delta = (alpha kappa)^(-1/alpha).

    Source:
        Close to the saddle dX = k X dt + epsilon dL, so exp(-k t) X tends to y + epsilon (alpha k)^(-1/alpha) Z from y,
        Z standard stable: the path ends beyond with probability P(Z > z), z in units of delta times the width. A path
        that crosses at all ends beyond with at least 1/2, by symmetry, so it crosses with at most twice that, of which
        the tail is taken. The density of landing points at the saddle, C_alpha, over the rate, C_alpha/alpha, makes the
        factor alpha. Simulated on a double well at alpha = 1.5, kappa = 50 and 200, the excess of the rate is 12.7% and
        4.1%, both +- 0.8%; this formula says 12.1% and 5.0%.

    Example:
        >>> round(saddle_bias(1.5, 50.0), 3)
        0.121
    """
    constant = 2 * float(tail_constant(alpha)) / alpha
    delta = (alpha * kappa) ** (-1 / alpha)
    certain = constant ** (1 / alpha)  # up to here the bound is 1
    if delta * certain >= 1:
        return float(alpha)
    ratio = math.log(1 / (delta * certain))
    power = ratio if abs(1 - alpha) < 1e-9 else math.expm1((1 - alpha) * ratio) / (1 - alpha)
    return alpha * delta * (certain + constant * certain ** (1 - alpha) * power)


def saddle_reasons(problem: EscapeProblem, rays: ExitRays, level: Any, rate: float) -> list[str]:
    """Why saddles on the boundary keep the limit off, in a sentence; nothing where there are none or they do not."""
    parts = np.asarray(rays.contributions(level))
    alphas = np.broadcast_to(np.asarray(rays.alpha, float), parts.shape)
    matter = np.flatnonzero((parts > _MATTERS * parts.sum()) & (alphas < 2))
    if isinstance(problem.basin, Sublevel) or not matter.size:
        return []
    growth = _growth(problem, rays.directions[:, matter], rays.gauge[matter])
    reaches = (np.broadcast_to(level, parts.shape) * np.asarray(rays.gauge))[matter] ** alphas[matter]
    if problem.dimension > 1 and isinstance(problem.basin, Attraction):  # noise of all columns leads across
        reaches = [rate * alpha / float(tail_constant(alpha)) for alpha in alphas[matter]]
    biases = [
        saddle_bias(alpha, rising / reach) if rising > 0 else 0.0
        for alpha, rising, reach in zip(alphas[matter], growth, reaches, strict=True)
    ]
    if skewness(problem.noise) is not None and any(biases):
        return ["A saddle lies on the boundary, and how far skewed noise is from its limit there is not worked out."]
    bias = float(np.dot(parts[matter], biases) / parts.sum())
    if bias <= MAX_BIAS:
        return []
    return [
        f"The drift vanishes at a saddle on the boundary, where the limit is reached more slowly: at this noise level "
        f"exits come about {100 * bias:.2g}% sooner than the small-noise limit given here."
    ]


def _growth(problem: EscapeProblem, directions: Float[Array, "d rays"], gauge: Float[Array, " rays"]) -> np.ndarray:
    """The growth rate of what leads away from the saddle that each ray's end belongs to; 0 where there is none."""
    landscape = problem.landscape
    away = np.asarray(directions) / np.asarray(gauge)
    points, growth = np.asarray(landscape.minimum)[:, None] + away, np.zeros(gauge.shape[0])
    if isinstance(problem.basin, Attraction):
        points, resting = np.asarray(problem.basin.saddle(jnp.asarray(points))), np.ones(gauge.shape[0], bool)
    else:
        resting = _at_rest(landscape, points, away)
    if resting.any():
        curvatures = _curvatures(landscape, points[:, resting])
        growth[resting] = [max(-decay_rates(np.asarray(one))[0], 0.0) for one in curvatures]
    return growth


@interpreted
def _at_rest(landscape: Landscape, points: Float[Array, "d n"], away: Float[Array, "d n"]) -> Bool[Array, " n"]:
    """Whether the drift vanishes at points that lie so far away from the minimum."""
    slope, pull = landscape.gradient(points), landscape.hessian() @ away
    return (slope**2).sum(axis=0) < _AT_REST**2 * (pull**2).sum(axis=0)


@interpreted
def _curvatures(landscape: Landscape, points: Float[Array, "d n"]) -> Float[Array, "n d d"]:
    return jax.vmap(jax.jacfwd(landscape.gradient), in_axes=1)(points)
