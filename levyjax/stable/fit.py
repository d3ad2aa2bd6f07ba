"""Maximum likelihood for the alpha-stable law, on its exact density.

The variables are log(2 - alpha), log scale, loc (in units of the scale at the start) and, if it is estimated,
arctanh beta: they keep the parameters inside, and near the Gaussian law the log-likelihood is smooth in log(2 - alpha).
Every step is Levenberg and Marquardt's with the outer product of the scores for the information, so each needs one
evaluation of the density and its first derivatives; it starts at McCulloch's (1986) quantile ratios. The information
reported is the observed one, from central differences of the mean score at the maximum.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from levyjax.stable.law import kernel, symmetric_logpdf_and_slopes

_LEAST = 0.3
_GAP = 1e-4  # the largest alpha short of 2 that is told from it
_STEPS = 60
_NORMAL = 1.959963984540054

# McCulloch's nu = (q95 - q05)/(q75 - q25) and the interquartile range in scales, symmetric law, computed with `ppf`.
_ALPHA_GRID = np.array([0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0])


@dataclasses.dataclass(frozen=True)
class StableFit:
    """Maximum likelihood estimates in S0 with 95% intervals; arrays of shape () or (batch,).

    Attributes:
        alpha: tail index, in [0.3, 2].
        beta: skewness; the given number where it was held.
        loc: location.
        scale: sigma.
        alpha_ci95: low and high on a last axis of 2; at alpha = 2 the interval is one-sided, [low, 2].
        beta_ci95: as alpha_ci95; the number itself where beta was held.
        loc_ci95: as alpha_ci95.
        scale_ci95: as alpha_ci95.
        log_likelihood: of all values.
        converged: whether the score vanished (or alpha reached an end of its range).
    """

    alpha: np.ndarray
    beta: np.ndarray
    loc: np.ndarray
    scale: np.ndarray
    alpha_ci95: np.ndarray
    beta_ci95: np.ndarray
    loc_ci95: np.ndarray
    scale_ci95: np.ndarray
    log_likelihood: np.ndarray
    converged: np.ndarray


@functools.cache
def _quantile_table() -> tuple[np.ndarray, np.ndarray]:
    from levyjax.stable.quantiles import ppf

    quantiles = np.asarray(ppf(np.array([0.75, 0.95])[:, None], _ALPHA_GRID))
    return quantiles[1] / quantiles[0], 2 * quantiles[0]


def _start(data: np.ndarray) -> tuple[np.ndarray, ...]:
    """alpha, location and scale from five quantiles a row."""
    q05, q25, q50, q75, q95 = np.quantile(data, [0.05, 0.25, 0.5, 0.75, 0.95], axis=-1)
    ratios, widths = _quantile_table()
    quartiles = np.maximum(q75 - q25, np.finfo(data.dtype).tiny)
    alpha = np.interp(-(q95 - q05) / quartiles, -ratios, _ALPHA_GRID)
    alpha = np.clip(alpha, 0.4, 1.98)
    return alpha, q50, quartiles / np.interp(alpha, _ALPHA_GRID, widths)


def _decode(theta: Array, held: float | None) -> tuple[Array, ...]:
    alpha = 2 - jnp.exp(theta[0])
    return alpha, (jnp.tanh(theta[3]) if held is None else jnp.asarray(held, theta.dtype)), theta[2], jnp.exp(theta[1])


def _scores(theta: Array, z: Array, held: float | None) -> tuple[Array, Array]:
    """Mean log density of standardized data, and the scores (parameters, n) in the variables above."""
    alpha, beta, loc, scale = _decode(theta, held)
    y = (z - loc) / scale
    if held == 0:
        value, slope, by_alpha = symmetric_logpdf_and_slopes(y, alpha)
        more = []
    else:
        zero = jnp.zeros_like(y)

        def logpdf(y: Array, alpha: Array, beta: Array) -> Array:
            return kernel("logpdf", "S0", y, zero, alpha, beta)

        ones = [jnp.ones_like(part) for part in (y, alpha, beta)]
        value, slope = jax.jvp(lambda y: logpdf(y, alpha, beta), (y,), (ones[0],))
        _, by_alpha = jax.jvp(lambda alpha: logpdf(y, alpha, beta), (alpha,), (ones[1],))
        more = []
        if held is None:
            _, by_beta = jax.jvp(lambda beta: logpdf(y, alpha, beta), (beta,), (ones[2],))
            more = [by_beta * (1 - beta * beta)]
    rows = [by_alpha * (alpha - 2), -1 - y * slope, -slope / scale, *more]
    return value.mean() - jnp.log(scale), jnp.stack(rows)


def _clip(theta: Array) -> Array:
    low, high = math.log(_GAP), math.log(2 - _LEAST)
    theta = theta.at[0].set(jnp.clip(theta[0], low, high))
    return theta if theta.shape[0] == 3 else theta.at[3].set(jnp.clip(theta[3], -6, 6))


def _maximize(theta: Array, z: Array, held: float | None) -> tuple[Array, Array, Array]:
    """The maximum, its mean log density and whether the score vanished there."""
    tolerance = 1e-6 if theta.dtype == jnp.float64 else 1e-4

    def evaluate(theta: Array) -> tuple[Array, Array, Array]:
        value, rows = _scores(theta, z, held)
        return value, rows.mean(1), rows @ rows.T / z.size

    def free(theta: Array, score: Array) -> Array:
        """Scores that do not push against an end of alpha's range."""
        stuck = ((theta[0] <= math.log(_GAP) + 1e-6) & (score[0] < 0)) | (
            (theta[0] >= math.log(2 - _LEAST) - 1e-6) & (score[0] > 0)
        )
        return jnp.ones_like(score).at[0].set(jnp.where(stuck, 0, 1))

    def step(state: Any) -> Any:
        theta, value, score, information, damping, _, count = state
        mask = free(theta, score)
        matrix = information * mask[:, None] * mask + jnp.diag(damping * jnp.diag(information) + 1e-12 + 1 - mask)
        move = jnp.clip(jnp.linalg.solve(matrix, score * mask), -1.5, 1.5)
        proposed = _clip(theta + move)
        new = evaluate(proposed)
        better = new[0] >= value - 1e-12
        kept = [
            jnp.where(better, a, b) for a, b in zip((proposed, *new), (theta, value, score, information), strict=True)
        ]
        damping = jnp.clip(jnp.where(better, damping / 10, damping * 10 + 1e-3), 0, 1e8)
        error = jnp.sqrt(1 / jnp.maximum(jnp.diag(kept[3]), 1e-30))
        done = (count > 0) & (jnp.max(jnp.abs(kept[2] * free(kept[0], kept[2])) * error) < tolerance)
        return *kept, damping, done | (damping >= 1e7), count + 1

    def going(state: Any) -> Array:
        return ~state[5] & (state[6] < _STEPS)

    size, dtype = theta.size, theta.dtype
    nothing = (jnp.asarray(-jnp.inf, dtype), jnp.zeros(size, dtype), jnp.eye(size, dtype=dtype))  # the first step stays
    start = (theta, *nothing, jnp.asarray(1e-3, dtype), jnp.asarray(False), jnp.asarray(0))
    end = lax.while_loop(going, step, start)
    return end[0], end[1], end[5]


@functools.partial(jax.jit, static_argnums=2)
def _fit(theta: Array, z: Array, held: float | None) -> tuple[Array, ...]:
    def one(theta: Array, z: Array) -> tuple[Array, ...]:
        best, value, done = _maximize(theta, z, held)
        h = 1e-4 if theta.dtype == jnp.float64 else 1e-2

        shifts = h * jnp.eye(best.size, dtype=best.dtype)
        scores = lax.map(lambda shift: _scores(best + shift, z, held)[1].mean(1), jnp.concatenate([shifts, -shifts]))
        columns = (scores[: best.size] - scores[best.size :]) / (2 * h)
        information = -(columns + columns.T) / 2 * z.size
        return best, value * z.size, done, information

    return jax.vmap(one)(theta, z)


def _deviations(information: np.ndarray, at_end: np.ndarray) -> np.ndarray:
    """Standard deviations of the variables; of alpha at an end of its range, none, and the others' given it."""
    result = np.full(information.shape[:-1], np.nan)
    for row, (matrix, end) in enumerate(zip(information, at_end, strict=True)):
        kept = np.arange(1 if end else 0, len(matrix))
        variances = np.diag(np.linalg.pinv(matrix[np.ix_(kept, kept)]))
        result[row, kept] = np.sqrt(np.where(variances > 0, variances, np.nan))
    return result


def _check(data: Any) -> np.ndarray:
    array = np.asarray(data)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(f"data must be (n,) or (batch, n) and not empty, got shape {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError("data has NaN or infinite values. Leave them out.")
    if array.shape[-1] < 10:
        raise ValueError(f"data needs at least 10 values a set, got {array.shape[-1]}.")
    rows = np.atleast_2d(array)
    if (np.quantile(rows, 0.75, axis=1) == np.quantile(rows, 0.25, axis=1)).any():
        raise ValueError("data has half of its values equal, so no density fits it. Leave the repeated values out.")
    return array


def fit(data: Any, *, beta: float | None = 0.0) -> StableFit:
    """Fits alpha, scale, location and perhaps beta (S0) by maximum likelihood, many data sets at once.

    Args:
        data: real numbers (n,), or (batch, n): a fit each.
        beta: a number holds the skewness there; None estimates it (slower: no table serves the skewed law).

    Returns:
        Estimates and 95% intervals from the observed information. They are symmetric in log(2 - alpha), log scale, loc
        and arctanh beta. At alpha = 2, a boundary, alpha's interval is one-sided: what the likelihood does not reject
        at 5% (a drop of 1.92 below its maximum, found on a grid).

    Raises:
        ValueError: data are empty, not finite, fewer than 10, or half equal; or beta is out of range.

    Source:
        DuMouchel 1973; Nolan 2001, "Maximum likelihood estimation and diagnostics for stable distributions".

    Example:
        >>> rng = np.random.default_rng(0)
        >>> result = fit(rng.standard_cauchy(2000))
        >>> bool(result.alpha_ci95[0] < 1 < result.alpha_ci95[1])
        True
    """
    if beta is not None and not -1 <= beta <= 1:
        raise ValueError(f"beta must be in [-1, 1] or None, got {beta}.")
    array = _check(data)
    rows = np.atleast_2d(array)
    dtype = jnp.result_type(float) if array.dtype == np.float64 else jnp.float32
    alpha, centre, unit = _start(rows)
    z = (rows - centre[:, None]) / unit[:, None]
    held = None if beta is None else float(beta)
    start = np.stack([np.log(2 - alpha), 0 * alpha, 0 * alpha] + ([0 * alpha] if held is None else []), axis=1)
    outputs = _fit(jnp.asarray(start, dtype), jnp.asarray(z, dtype), held)
    theta, value, done, information = (np.asarray(out, np.float64) for out in outputs)
    result = _summary(theta, value, done > 0, information, held, centre, unit, z)
    return result if array.ndim == 2 else StableFit(**{key: part[0] for key, part in vars(result).items()})


def _summary(
    theta: np.ndarray,
    value: np.ndarray,
    done: np.ndarray,
    information: np.ndarray,
    held: float | None,
    centre: np.ndarray,
    unit: np.ndarray,
    z: np.ndarray,
) -> StableFit:
    gaussian = theta[:, 0] <= math.log(_GAP) + 1e-6
    at_end = gaussian | (theta[:, 0] >= math.log(2 - _LEAST) - 1e-6)
    half = _NORMAL * _deviations(information, at_end)
    low, high = theta - half, theta + half
    alpha = np.where(gaussian, 2.0, 2 - np.exp(theta[:, 0]))
    alpha_ci = np.stack([2 - np.exp(high[:, 0]), 2 - np.exp(low[:, 0])], -1)
    for row in np.flatnonzero(gaussian):
        alpha_ci[row] = (_profile_low(theta[row], z[row], held), 2.0)
    scale_ci = np.exp(np.stack([low[:, 1], high[:, 1]], -1)) * unit[:, None]
    loc_ci = centre[:, None] + np.stack([low[:, 2], high[:, 2]], -1) * unit[:, None]
    if held is None:
        skew, skew_ci = np.tanh(theta[:, 3]), np.tanh(np.stack([low[:, 3], high[:, 3]], -1))
    else:
        skew, skew_ci = np.full_like(alpha, held), np.full((*alpha.shape, 2), held)
    log_likelihood = value - z.shape[1] * np.log(unit)
    loc, scale = centre + theta[:, 2] * unit, np.exp(theta[:, 1]) * unit
    return StableFit(alpha, skew, loc, scale, np.clip(alpha_ci, 0, 2), skew_ci, loc_ci, scale_ci, log_likelihood, done)


def _profile_low(theta: np.ndarray, z: np.ndarray, held: float | None) -> float:
    """The alpha below a maximum at 2 where the log-likelihood, scale and loc fixed, has dropped by 1.92."""
    gaps = np.geomspace(2 * _GAP, 1.0, 40)
    best = _total(jnp.asarray(theta), jnp.asarray(z), held)
    for gap in gaps:
        moved = np.concatenate([[np.log(gap)], theta[1:]])
        if float(_total(jnp.asarray(moved), jnp.asarray(z), held)) < float(best) - 1.92:
            return 2 - float(gap)
    return 1.0


@functools.partial(jax.jit, static_argnums=2)
def _total(theta: Array, z: Array, held: float | None) -> Array:
    return _scores(theta, z, held)[0] * z.size
