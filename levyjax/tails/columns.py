"""The estimators' formulas, over the columns of a matrix: in NumPy for one sample, compiled by JAX for millions.

Each takes x (n, columns), centred, and `xp` (numpy or jax.numpy), and returns the index and the two ends of its 95%
interval, (columns,) each: inf where the data show no growth, nan for a column that never varies.
"""

import functools
import math
from typing import Any

import numpy as np

from levyjax.tails.tables import quantile_ratio_table

Z = 1.959964  # 95% of a normal law lies within
STEP, COUNT = 0.1, 10  # the frequencies 0.1, 0.2, ..., 1.0 of Kogon and Williams


def log_moment(x: Any, xp: Any) -> tuple[Any, Any, Any]:
    """1/alpha^2 = 6 Var log|X| / pi^2 - 1/2, with the error of a variance."""
    logs, alive, count = _logs(x, xp)
    squares = xp.where(alive, (logs - logs.sum(axis=0) / count) ** 2, 0.0)
    variance = squares.sum(axis=0) / count
    spread = xp.sqrt(xp.where(alive, (squares - variance) ** 2, 0.0).sum(axis=0) / count)
    value, half = 6 * variance / math.pi**2 - 0.5, 6 / math.pi**2 * Z * spread / xp.sqrt(count)
    return tuple(_root(value + shift, xp) for shift in (0.0 * half, half, -half))


def fractional_moment(x: Any, xp: Any, power: float = 0.2) -> tuple[Any, Any, Any]:
    """sin(y)/y = tan(pi p/2) / (pi p/2 E|X|^p E|X|^-p) at y = pi p/alpha, whatever the scale."""
    logs, alive, count = _logs(x, xp)
    up, down = (xp.where(alive, xp.exp(sign * power * logs), 0.0) for sign in (1.0, -1.0))
    mean_up, mean_down = up.sum(axis=0) / count, down.sum(axis=0) / count
    influence = xp.where(alive, up / mean_up + down / mean_down - 2.0, 0.0)
    error = Z * xp.sqrt((influence**2).sum(axis=0)) / count
    log_sinc = math.log(math.tan(math.pi * power / 2) / (math.pi * power / 2)) - xp.log(mean_up * mean_down)
    return tuple(
        _inverse(_inverse_sinc(log_sinc + shift, xp) / (math.pi * power), xp) for shift in (0.0 * error, -error, error)
    )


def hill(x: Any, xp: Any, num_tail: int) -> tuple[Any, Any, Any]:
    """k over the sum of log(|x|_(j)/|x|_(k+1)); exact chi-squared ends for a power law."""
    from scipy import stats

    spacings = _spacings(x, xp, num_tail)
    alpha = 1 / spacings.mean(axis=0)
    low, high = (stats.chi2.ppf([0.025, 0.975], 2 * num_tail) / (2 * num_tail)).tolist()
    return alpha, alpha * low, alpha * high


def moment(x: Any, xp: Any, num_tail: int) -> tuple[Any, Any, Any]:
    """1/alpha = M1 + 1 - 1/(2 (1 - M1^2/M2)), M1 and M2 the moments of the log spacings."""
    spacings = _spacings(x, xp, num_tail)
    first, second = spacings.mean(axis=0), (spacings**2).mean(axis=0)
    gamma = first + 1 - 0.5 / (1 - first**2 / second)
    g = xp.minimum(gamma, 0.0)
    light = (
        (1 - g) ** 2
        * (1 - 2 * g)
        * (4 - 8 * (1 - 2 * g) / (1 - 3 * g) + (5 - 11 * g) * (1 - 2 * g) / ((1 - 3 * g) * (1 - 4 * g)))
    )
    half = Z * xp.sqrt(xp.where(gamma < 0, light, 1 + gamma**2) / num_tail)
    return tuple(_inverse(value, xp) for value in (gamma, gamma + half, gamma - half))


def mcculloch(x: Any, xp: Any) -> tuple[Any, Any, Any]:
    """The index whose law has the data's (q95 - q5)/(q75 - q25), and the error of that ratio under this law."""
    alphas, log_ratios, variances = (xp.asarray(part, dtype=x.dtype) for part in quantile_ratio_table())
    levels = xp.asarray([0.05, 0.25, 0.75, 0.95], dtype=x.dtype)
    lowest, lower, upper, highest = xp.quantile(x, levels, axis=0)
    ratio = xp.log((highest - lowest) / (upper - lower))
    alpha = xp.interp(ratio, log_ratios, alphas)
    half = Z * xp.sqrt(xp.interp(ratio, log_ratios, variances) / x.shape[0])
    return alpha, *(xp.interp(ratio + shift, log_ratios, alphas) for shift in (half, -half))


def kogon_williams(x: Any, xp: Any, step: float = STEP, count: int = COUNT) -> tuple[Any, Any, Any, Any]:
    """The slope of log(-log|phi(t)|^2) against log t at t = step, 2 step, ... over the scale; and the scale.

    Half the interquartile range is the scale within 5% for alpha from 1 to 2; a second round uses the fitted scale.
    """
    quarters = xp.quantile(x, xp.asarray([0.25, 0.5, 0.75], dtype=x.dtype), axis=0)
    scale = (quarters[2] - quarters[0]) / 2
    for _ in range(2):
        alpha, error, factor = regression((x - quarters[1]) / scale, xp, step, count)
        scale = scale * factor
    return alpha, alpha - Z * error, alpha + Z * error, scale


def regression(x: Any, xp: Any, step: float, count: int) -> tuple[Any, Any, Any]:
    """Slope, its standard error and the scale of log(-log|phi(t)|^2) = log 2 + alpha log(scale t).

    exp(i k t x) is the k-th power of exp(i t x): two trigonometric functions a value, and products. The error is the
    larger of two: from the scatter of the values, and of a stable law of this index, since a sample without its few
    large values shows too little scatter.
    """
    places, weights = regression_weights(step, count)
    slope, level, influence = 0.0, 0.0, xp.zeros_like(x)
    first_cosine, first_sine = xp.cos(step * x), xp.sin(step * x)
    cosine, sine = xp.ones_like(x), xp.zeros_like(x)
    for weight in weights:
        cosine, sine = cosine * first_cosine - sine * first_sine, sine * first_cosine + cosine * first_sine
        real, imaginary = cosine.mean(axis=0), sine.mean(axis=0)
        power = xp.clip(real**2 + imaginary**2, 1e-12, 1 - 1e-6)
        y = xp.log(-xp.log(power))
        slope, level = slope + weight * y, level + y / count
        influence = influence + weight * 2 * (real * cosine + imaginary * sine - power) / (power * xp.log(power))
    squares = xp.maximum((influence**2).mean(axis=0), slope_variance(slope, xp, step, weights))
    error = xp.sqrt(squares / x.shape[0])
    return slope, error, xp.exp((level - slope * float(places.mean()) - math.log(2)) / slope)


def slope_variance(alpha: Any, xp: Any, step: float, weights: list[float]) -> Any:
    """n times the variance of the slope under the symmetric stable law of scale 1, alpha (columns,)."""
    t = (step * np.arange(1, len(weights) + 1))[:, None]
    index = xp.clip(xp.asarray(alpha), 1e-3, 2.0)  # a slope below 0 is that of no law
    far, near, place = (xp.asarray(part[..., None], dtype=index.dtype) for part in (t + t.T, np.abs(t - t.T), t[:, 0]))
    power = place**index
    phi = xp.exp(-power)
    covariance = (xp.exp(-(far**index)) + xp.exp(-(near**index))) / 2 - phi * phi[:, None]
    slopes = xp.asarray(np.array(weights)[:, None], dtype=index.dtype) / (phi * power)
    return xp.maximum((covariance * slopes * slopes[:, None]).sum(axis=(0, 1)), 0.0)


def regression_weights(step: float, count: int) -> tuple[np.ndarray, list[float]]:
    """log t, and the weights that give the slope against it by least squares."""
    places = np.log(step * np.arange(1, count + 1))
    centred = places - places.mean()
    return places, (centred / (centred**2).sum()).tolist()


def _logs(x: Any, xp: Any) -> tuple[Any, Any, Any]:
    """log|x| with 0 in place of log 0, where x is not zero, and how many of a column are not (nan for none)."""
    alive = x != 0
    logs = xp.log(xp.where(alive, xp.abs(x), 1.0))
    count = alive.sum(axis=0).astype(x.dtype)
    return logs, alive, xp.where(count > 0, count, xp.nan)


def _spacings(x: Any, xp: Any, num_tail: int) -> Any:
    """log of the k largest |x| of each column over the next one."""
    largest = xp.sort(xp.abs(x), axis=0)[x.shape[0] - num_tail - 1 :]
    return xp.log(largest[1:] / largest[0])


def _root(value: Any, xp: Any) -> Any:
    return xp.where(value <= 0, xp.inf, xp.where(value <= 0, 1.0, value) ** -0.5)


def _inverse(value: Any, xp: Any) -> Any:
    return xp.where(value <= 0, xp.inf, 1 / xp.where(value <= 0, 1.0, value))


def _inverse_sinc(log_value: Any, xp: Any) -> Any:
    """y in (0, pi) with log(sin(y)/y) as given, by Newton's method in y^2; 0 where sin(y)/y would be above 1."""
    square = xp.clip(-6 * log_value, 0.0, 8.0)
    for _ in range(12):
        y = xp.sqrt(xp.maximum(square, 1e-12))
        value = xp.log(xp.sin(y) / y) - log_value
        slope = (1 / xp.tan(y) - 1 / y) / (2 * y)
        square = xp.clip(square - value / slope, 1e-12, 9.86)
    return xp.where(log_value < 0, xp.sqrt(square), 0.0)


@functools.cache
def compiled(name: str, settings: tuple[tuple[str, Any], ...]) -> Any:
    """One of these functions, compiled for JAX arrays with its settings."""
    import jax
    import jax.numpy as jnp

    return jax.jit(functools.partial(globals()[name], xp=jnp, **dict(settings)))
