"""Other estimators of the tail index: log-moment, characteristic function, Hill; and the scale of stable values."""

import math
from typing import Any

import numpy as np
from scipy import stats

from levyjax.tails.values import TailEstimate, centred, check_values, common_warnings, log_abs

_FREQUENCIES = np.linspace(0.1, 1.0, 10)
_Z = 1.959964  # 95% of a normal law lies within


def log_moment(data: Any, *, center: bool = True) -> TailEstimate:
    """Tail index from the variance of log|X|, which for a symmetric stable law is pi^2 (1/(6 alpha^2) + 1/12).

    Args:
        data: real numbers (n,), or (iterations, parameters) pooled.
        center: take the middle (the mean of the middle half of the values) away first.

    Returns:
        The estimate; inf, with a warning, where log|X| varies less than for any index.

    Raises:
        ValueError: the data are unusable.

    Source:
        Ma and Nikias 1995. Interval: delta method from the fourth moment of log|X|.

    Example:
        >>> cauchy = np.random.default_rng(0).standard_cauchy(10_000)
        >>> bool(abs(log_moment(cauchy).alpha - 1) < 0.1)
        True
    """
    data = check_values(data).ravel()
    values, zeros = centred(data, center), int((data == 0).sum())
    logs, nonzero = log_abs(values)
    squares = (logs[nonzero] - logs[nonzero].mean()) ** 2
    half = 6 / math.pi**2 * _Z * squares.std(ddof=1) / math.sqrt(squares.size)
    inverse_square = 6 * squares.mean() / math.pi**2 - 0.5
    alpha, low, high = (_inverse_root(inverse_square + shift) for shift in (0.0, half, -half))
    settings = {"center": center, "zeros": zeros}
    warnings = common_warnings(values, zeros, alpha, center)
    return TailEstimate(alpha, (low, high), "log_moment", settings, squares.size, tuple(warnings))


def characteristic_function(data: Any) -> TailEstimate:
    """Tail index of a stable law by regression of log(-log|E exp(itX)|^2) on log t: the slope is alpha.

    Neither a shift nor a skew of the data enters, since |E exp(itX)| does not depend on them.

    Args:
        data: real numbers (n,), or (iterations, parameters) pooled.

    Returns:
        The estimate, with the fitted scale of exp(-|scale t|^alpha) as `settings["scale"]`, in the unit of the data.

    Raises:
        ValueError: the data are unusable, or half of them are equal.

    Source:
        Koutrouvelis 1980; the frequencies 0.1, 0.2, ..., 1.0 over the scale: Kogon and Williams 1998. Interval: delta
        method from the covariance of the empirical characteristic function.

    Example:
        >>> gaussian = np.random.default_rng(0).normal(size=10_000)
        >>> bool(abs(characteristic_function(gaussian).alpha - 2) < 0.02)
        True
    """
    values = check_values(data).ravel()
    unit = np.abs(values).max()
    # Half the interquartile range is the scale within 5% for alpha from 1 to 2 (2 and 1.908 at the ends).
    scale = float(np.subtract(*np.quantile(values / unit, [0.75, 0.25]))) / 2
    if scale == 0:
        raise ValueError("data has half of its values equal, so it has no spread to go by. Leave the zeros out.")
    standard = (values - np.median(values)) / unit
    for _ in range(2):  # the second time with the frequencies in units of the fitted scale
        alpha, error, factor = _regression(standard / scale)
        scale *= factor
    warnings = common_warnings(values, 0, alpha, center=False)
    settings = {"scale": scale * unit, "frequencies": _FREQUENCIES.tolist()}
    interval = (alpha - _Z * error, alpha + _Z * error)
    return TailEstimate(alpha, interval, "characteristic_function", settings, values.size, tuple(warnings))


def hill(data: Any, *, num_tail: int | None = None, center: bool = True) -> TailEstimate:
    """Tail index of P(|X| > x) ~ x^-alpha from the largest values: no stable law assumed, no upper limit of 2.

    Args:
        data: real numbers (n,), or (iterations, parameters) pooled.
        num_tail: k, how many of the largest |x| are used, 2 or more; default n/50 and at least 10.
        center: take the middle (the mean of the middle half of the values) away first.

    Returns:
        The estimate; the interval is exact if the tail is a power law from the k-th value on.

    Raises:
        ValueError: the data are unusable or k does not fit.

    Source:
        Hill 1975. This is the index of the distribution function, not of the density (which is larger by 1).

    Example:
        >>> pareto = 1 + np.random.default_rng(0).pareto(1.2, size=10_000)
        >>> bool(abs(hill(pareto, num_tail=1_000, center=False).alpha - 1.2) < 0.1)
        True
    """
    values = centred(check_values(data).ravel(), center)
    sizes = np.abs(values[values != 0])
    k = max(10, sizes.size // 50) if num_tail is None else num_tail
    if k != int(k) or not 2 <= k < sizes.size:
        raise ValueError(f"num_tail {k} does not fit {sizes.size} nonzero values. Give an integer from 2 to below it.")
    sizes = np.partition(sizes, sizes.size - k - 1)[sizes.size - k - 1 :]
    mean = float(np.log(sizes[1:] / sizes[0]).mean())
    alpha = 1 / mean if mean > 0 else math.inf
    low, high = (float(q) for q in alpha * stats.chi2.ppf([0.025, 0.975], 2 * k) / (2 * k))
    return TailEstimate(alpha, (low, high), "hill", {"num_tail": int(k), "center": center}, values.size)


def stable_scale(data: Any, alpha: float) -> np.ndarray:
    """Scale of symmetric stable values of known index: exp(E log|X| - gamma_E (1/alpha - 1)).

    Args:
        data: centred real numbers; the first axis is averaged over, (n,) or (n, parameters).
        alpha: tail index in (0, 2].

    Returns:
        The scale of exp(-|scale w|^alpha), a float64 array () or (parameters,); 0 where every value is zero.

    Raises:
        ValueError: alpha is not in (0, 2].

    Source:
        E log|X| = gamma_E (1/alpha - 1) + log scale, Ma and Nikias 1995. At alpha = 2 the law is
        N(0, 2 scale^2).

    Example:
        >>> gaussian = np.random.default_rng(0).normal(size=(10_000, 2)) * [1.0, 10.0]
        >>> (stable_scale(gaussian, 2.0) * np.sqrt(2)).round()
        array([ 1., 10.])
    """
    if not 0 < alpha <= 2:
        raise ValueError(f"alpha {alpha} is no tail index of a stable law. Give a number in (0, 2].")
    logs, nonzero = log_abs(np.asarray(data, dtype=np.float64))
    counts = nonzero.sum(axis=0)
    mean = logs.sum(axis=0) / np.maximum(counts, 1)
    return np.where(counts > 0, np.exp(mean - np.euler_gamma * (1 / alpha - 1)), 0.0)


def _inverse_root(value: float) -> float:
    return float(value**-0.5) if value > 0 else math.inf


def _regression(values: np.ndarray) -> tuple[float, float, float]:
    """Slope, its standard error and the scale of log(-log|phi(t)|^2) = log 2 + alpha log(scale t)."""
    x = np.log(_FREQUENCIES)
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    y = np.empty_like(x)
    influence = np.zeros_like(values)
    for j, t in enumerate(_FREQUENCIES):
        cosine, sine = np.cos(t * values), np.sin(t * values)
        real, imaginary = cosine.mean(), sine.mean()
        power = real**2 + imaginary**2
        y[j] = np.log(-np.log(power))
        influence += weights[j] * 2 * (real * cosine + imaginary * sine - power) / (power * np.log(power))
    alpha = float(weights @ y)
    intercept = y.mean() - alpha * x.mean()
    return alpha, float(influence.std() / math.sqrt(values.size)), math.exp((intercept - math.log(2)) / alpha)
