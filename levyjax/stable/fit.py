"""Maximum likelihood for the alpha-stable law, on its exact density.

The variables are log(2 - alpha), log scale, loc (in units of the scale at the start) and, if it is estimated,
arctanh beta: they keep the parameters inside, and near the Gaussian law the log-likelihood is smooth in log(2 - alpha).
Every step is Levenberg and Marquardt's with the outer product of the scores for the information, so each needs one
evaluation of the density and its first derivatives, for all data sets at once; it starts at McCulloch's (1986) quantile
ratios. The information reported is the observed one, from central differences of the mean score at the maximum.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from levyjax.arrays import padded_to
from levyjax.datasets import Result, along
from levyjax.input import as_array
from levyjax.stable.kernel import logpdf_and_slopes

_LEAST = 0.3
_GAP = 1e-4  # the largest alpha short of 2 that is told from it
_STEEPEST = 5.0  # arctanh beta from which on beta is 1
_STEPS = 60
_PART = 1e-3  # of a standard error, to which the maximum is found
_ROUNDING = 1e-6  # of a score
_NORMAL = 1.959963984540054
_DROP = _NORMAL**2 / 2

Evaluate = Callable[[np.ndarray], tuple[np.ndarray, ...]]

# McCulloch's (q95 - q05)/(q75 - q25) and (q75 - q25)/scale of symmetric laws
_ALPHAS = np.arange(4, 21) / 10
_RATIOS = np.array(
    [115.037, 44.635, 23.612, 14.894, 10.479, 7.928, 6.314, 5.223, 4.451, 3.886, 3.466, 3.15, 2.914, 2.739, 2.61, 2.513,
     2.439]
)  # fmt: skip
_WIDTHS = np.array(
    [3.0179, 2.5677, 2.3242, 2.1801, 2.0911, 2.0352, 2.0, 1.9777, 1.9631, 1.9528, 1.9447, 1.9379, 1.9315, 1.9255,
     1.9195, 1.9136, 1.9077]
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class StableFit(Result):
    """Maximum likelihood estimates in S0 with 95% intervals; arrays of shape () or (batch,).

    Attributes:
        alpha: tail index, in [0.3, 2].
        beta: skewness; the given number where it was held.
        loc: location.
        scale: sigma.
        alpha_ci95: low and high on a last axis of 2; at an end of the range one-sided.
        beta_ci95: as alpha_ci95; the number itself where beta was held.
        loc_ci95: as alpha_ci95.
        scale_ci95: as alpha_ci95.
        log_likelihood: of all values.
        converged: whether the scores vanish to 0.001 standard errors, or push against an end of a range.
    """

    _dims = along({"row": "alpha beta loc scale alpha_ci95 beta_ci95 loc_ci95 scale_ci95 log_likelihood converged"})

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


def _start(data: np.ndarray) -> tuple[np.ndarray, ...]:
    """alpha, location and scale from five quantiles a row."""
    q05, q25, q50, q75, q95 = np.quantile(data, [0.05, 0.25, 0.5, 0.75, 0.95], axis=-1)
    quartiles = np.maximum(q75 - q25, np.finfo(data.dtype).tiny)
    alpha = np.interp(-(q95 - q05) / quartiles, -_RATIOS, _ALPHAS)
    alpha = np.clip(alpha, 0.4, 1.98)
    return alpha, q50, quartiles / np.interp(alpha, _ALPHAS, _WIDTHS)


def _decode(theta: Array, held: float | None) -> tuple[Array, ...]:
    alpha = 2 - jnp.exp(theta[0])
    return alpha, (jnp.tanh(theta[3]) if held is None else jnp.asarray(held, theta.dtype)), theta[2], jnp.exp(theta[1])


def _scores(theta: Array, z: Array, held: float | None) -> tuple[Array, Array]:
    """Log densities (n,) of standardized data, and the scores (parameters, n) in the variables above."""
    alpha, beta, loc, scale = _decode(theta, held)
    y = (z - loc) / scale
    value, slope, by_alpha, *by_beta = logpdf_and_slopes(y, alpha, None if held == 0 else beta)
    rows = [by_alpha * (alpha - 2), -1 - y * slope, -slope / scale]
    if held is None:
        rows.append(by_beta[0] * (1 - beta * beta))
    return value - jnp.log(scale), jnp.stack(rows)


@functools.partial(jax.jit, static_argnums=3)
def _evaluate(theta: Array, z: Array, count: Array, held: float | None) -> tuple[Array, Array, Array]:
    """Of every data set, its first `count` values: the mean log density and scores, the mean of their products."""
    weight = (jnp.arange(z.shape[1], dtype=jnp.int32) < count).astype(z.dtype) / count.astype(z.dtype)

    def one(pair: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        value, rows = _scores(*pair, held)
        return value @ weight, rows @ weight, (rows * weight) @ rows.T

    return jax.vmap(lambda *pair: one(pair))(theta, z) if held == 0 else lax.map(one, (theta, z))


def _bounds(number: int) -> tuple[np.ndarray, np.ndarray]:
    low = np.array([math.log(_GAP), -math.inf, -math.inf, -_STEEPEST])
    return low[:number], np.array([math.log(2 - _LEAST), math.inf, math.inf, _STEEPEST])[:number]


def _stuck(theta: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Which variables are at an end of their range and would go on."""
    low, high = _bounds(theta.shape[1])
    return ((theta <= low) & (score < 0)) | ((theta >= high) & (score > 0))


def _maximize(theta: np.ndarray, evaluate: Evaluate, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The maxima, the mean log densities there, and whether the scores vanish."""
    tolerance = max(_PART / math.sqrt(n), _ROUNDING)
    value, score, information = evaluate(theta)
    damping, done = np.full(len(theta), 1e-3), np.zeros(len(theta), bool)
    identity = np.eye(theta.shape[1])
    for _ in range(_STEPS):
        free = ~_stuck(theta, score)
        sizes = np.einsum("bii->bi", information)
        done |= (np.abs(score * free) <= tolerance * np.sqrt(sizes) + 1e-12).all(1)
        if (done | (damping > 1e7)).all():
            break
        matrix = information * free[:, None, :] * free[:, :, None]
        matrix += (damping[:, None] * sizes + 1e-12 + ~free)[:, :, None] * identity
        move = np.clip(np.linalg.solve(matrix, (score * free)[:, :, None])[:, :, 0], -1.5, 1.5)
        proposed = np.where(done[:, None], theta, np.clip(theta + move, *_bounds(theta.shape[1])))
        new = evaluate(proposed)
        better = new[0] >= value
        theta = np.where(better[:, None], proposed, theta)
        value, score = np.where(better, new[0], value), np.where(better[:, None], new[1], score)
        information = np.where(better[:, None, None], new[2], information)
        damping = np.where(better, damping / 10, damping * 10 + 1e-3)
    return theta, value, done


def _information(theta: np.ndarray, evaluate: Evaluate, step: float) -> np.ndarray:
    """The observed information of one value, (batch, parameters, parameters), by differences of the scores."""
    columns = []
    for shift in step * np.eye(theta.shape[1]):
        columns.append((evaluate(theta - shift)[1] - evaluate(theta + shift)[1]) / (2 * step))
    matrix = np.stack(columns, axis=2)
    return (matrix + matrix.transpose(0, 2, 1)) / 2


def _deviations(information: np.ndarray, at_end: np.ndarray) -> np.ndarray:
    """Standard deviations of the variables; of those at an end of their range, none, and the others' given them."""
    result = np.full(at_end.shape, np.nan)
    for row, (matrix, end) in enumerate(zip(information, at_end, strict=True)):
        kept = np.flatnonzero(~end)
        variances = np.diag(np.linalg.pinv(matrix[np.ix_(kept, kept)]))
        result[row, kept] = np.sqrt(np.where(variances > 0, variances, np.nan))
    return result


def _check(data: Any) -> np.ndarray:
    array = as_array(data)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"data must be real numbers, got dtype {array.dtype}.")
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
        and arctanh beta. At an end of a range (alpha = 2 or 0.3, beta = 1 or -1) the interval is one-sided: as far as
        the log-likelihood, the others fixed, is within 1.92 of its maximum, to a 40th of the variable's range.

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
    wide = array.dtype == np.float64
    with jax.enable_x64(wide):
        result = _fit(rows, None if beta is None else float(beta), 1e-4 if wide else 1e-2)
    return result if array.ndim == 2 else StableFit(**{key: np.asarray(part[0]) for key, part in vars(result).items()})


def _fit(rows: np.ndarray, held: float | None, step: float) -> StableFit:
    alpha, centre, unit = _start(rows)
    z = ((rows - centre[:, None]) / unit[:, None]).astype(rows.dtype)
    padded, count = padded_to(padded_to(z), axis=0), np.int32(z.shape[1])  # few programs

    def evaluate(theta: np.ndarray) -> tuple[np.ndarray, ...]:
        found = _evaluate(padded_to(theta.astype(z.dtype), axis=0), padded, count, held)
        return tuple(np.asarray(part, np.float64)[: len(z)] for part in found)

    start = np.stack([np.log(2 - alpha), 0 * alpha, 0 * alpha] + ([0 * alpha] if held is None else []), axis=1)
    theta, value, done = _maximize(start, evaluate, z.shape[1])
    low, high = _bounds(theta.shape[1])
    at_end = (theta <= low) | (theta >= high)
    half = _NORMAL * _deviations(_information(theta, evaluate, step) * z.shape[1], at_end)
    ends = np.stack([theta - half, theta + half], axis=2)
    for variable in (0, 3)[: theta.shape[1] - 2]:
        stopped = np.flatnonzero(at_end[:, variable])
        if stopped.size:
            dropped = _dropped(theta, variable, value - _DROP / z.shape[1], evaluate)
            at_low = theta[stopped, variable] <= low[variable]
            ends[stopped, variable, 0] = np.where(at_low, -math.inf, dropped[stopped])
            ends[stopped, variable, 1] = np.where(at_low, dropped[stopped], math.inf)
    return _summary(theta, ends, value, done, held, centre, unit, z.shape[1])


def _dropped(theta: np.ndarray, variable: int, level: np.ndarray, evaluate: Evaluate) -> np.ndarray:
    """How far a variable may go from its end before the mean log density, the others fixed, is below a level."""
    low, high = (bound[variable] for bound in _bounds(theta.shape[1]))
    down = theta[:, variable] >= high
    found, going = theta[:, variable].copy(), np.ones(len(theta), bool)
    for part in np.linspace(0, 1, 41)[1:]:
        moved = theta.copy()
        moved[:, variable] = np.where(down, high + part * (low - high), low + part * (high - low))
        found = np.where(going, moved[:, variable], found)
        going &= evaluate(moved)[0] > level
        if not going.any():
            break
    return found


def _summary(
    theta: np.ndarray,
    ends: np.ndarray,
    value: np.ndarray,
    done: np.ndarray,
    held: float | None,
    centre: np.ndarray,
    unit: np.ndarray,
    n: int,
) -> StableFit:
    low, high = _bounds(theta.shape[1])
    alpha = np.where(theta[:, 0] <= low[0], 2.0, 2 - np.exp(theta[:, 0]))
    skew, skew_ends = np.full(len(alpha), held or 0.0), np.full((len(alpha), 2), held or 0.0)
    if held is None:
        stopped = np.abs(theta[:, 3]) >= high[3]
        skew, skew_ends = np.where(stopped, np.sign(theta[:, 3]), np.tanh(theta[:, 3])), np.tanh(ends[:, 3])
    return StableFit(
        alpha=alpha,
        beta=skew,
        loc=centre + theta[:, 2] * unit,
        scale=np.exp(theta[:, 1]) * unit,
        alpha_ci95=np.clip(2 - np.exp(ends[:, 0, ::-1]), 0, 2),
        beta_ci95=skew_ends,
        loc_ci95=centre[:, None] + ends[:, 2] * unit[:, None],
        scale_ci95=np.exp(ends[:, 1]) * unit[:, None],
        log_likelihood=(value - np.log(unit)) * n,
        converged=done,
    )
