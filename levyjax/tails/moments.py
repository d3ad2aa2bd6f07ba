"""Estimators of the tail index from log moments, fractional moments, quantiles and the characteristic function."""

import math
from typing import Any

import numpy as np

from levyjax.tails import columns
from levyjax.tails.density import LOWEST
from levyjax.tails.values import TailEstimate, centred, check_values, common_warnings, log_abs

_KOUTROUVELIS = {  # index -> frequencies at n = 200, 800, 1600, with step pi/25
    1.9: (9, 9, 10), 1.5: (11, 11, 11), 1.3: (22, 16, 14), 1.1: (24, 18, 15), 0.9: (28, 22, 18), 0.7: (30, 24, 20),
    0.5: (86, 68, 56),
}  # fmt: skip
_GAUSSIAN_SIDE = 1.88


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
    values, zeros = _nonzero(data, center)
    return _estimate("log_moment", columns.log_moment(values[:, None], np), values, center, zeros)


def fractional_moment(data: Any, *, power: float = 0.2, center: bool = True) -> TailEstimate:
    """Tail index from E|X|^p E|X|^-p, which for a symmetric stable law is (2/alpha) tan(pi p/2) / sin(pi p/alpha).

    Args:
        data: real numbers (n,), or (iterations, parameters) pooled.
        power: p in (0, 0.25); the index must be above 2p for the interval to hold.
        center: take the middle (the mean of the middle half of the values) away first.

    Returns:
        The estimate; inf, with a warning, where the product is smaller than for any index.

    Raises:
        ValueError: the data are unusable or the power does not fit.

    Source:
        Ma and Nikias 1995 (fractional lower-order moments). Interval: delta method.

    Example:
        >>> cauchy = np.random.default_rng(0).standard_cauchy(10_000)
        >>> bool(abs(fractional_moment(cauchy).alpha - 1) < 0.1)
        True
    """
    if not 0 < power < 0.25:
        raise ValueError(f"power {power} does not fit. Give a number above 0 and below 0.25.")
    values, zeros = _nonzero(data, center)
    found = columns.fractional_moment(values[:, None], np, power)
    return _estimate("fractional_moment", found, values, center, zeros, {"power": power})


def mcculloch(data: Any) -> TailEstimate:
    """Tail index from quantiles, (q95 - q5)/(q75 - q25), which no shift or scale changes.

    Args:
        data: real numbers (n,), or (iterations, parameters) pooled; symmetric.

    Returns:
        The estimate. Ratios below the Gaussian one are carried on in a straight line, to indices above 2.

    Raises:
        ValueError: the data are unusable, or half of them are equal.

    Source:
        McCulloch 1986. The table is computed here from the density, and the interval from the variance of quantiles.

    Example:
        >>> cauchy = np.random.default_rng(0).standard_cauchy(10_000)
        >>> bool(abs(mcculloch(cauchy).alpha - 1) < 0.1)
        True
    """
    values = _scaled(data)
    _refuse_ties(values)
    return _estimate("mcculloch", columns.mcculloch(values[:, None], np), values, None, 0)


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
    return _regressed("characteristic_function", data, columns.STEP, columns.COUNT)


def koutrouvelis(data: Any) -> TailEstimate:
    """As `characteristic_function`, at frequencies k pi/25 over the scale, as many as Koutrouvelis found best.

    Args:
        data: real numbers (n,), or (iterations, parameters) pooled.

    Returns:
        The estimate, with the number of frequencies and the fitted scale in the settings.

    Raises:
        ValueError: the data are unusable, or half of them are equal.

    Source:
        Koutrouvelis 1980, table I: by index and sample size; here the nearest entry to a first estimate.

    Example:
        >>> cauchy = np.random.default_rng(0).standard_cauchy(10_000)
        >>> estimate = koutrouvelis(cauchy)
        >>> bool(abs(estimate.alpha - 1) < 0.1), estimate.settings["num_frequencies"]
        (True, 15)
    """
    first = characteristic_function(data)
    counts = _KOUTROUVELIS[min(_KOUTROUVELIS, key=lambda index: abs(index - first.alpha))]
    place = min(range(3), key=lambda j: abs((200, 800, 1600)[j] - first.n))
    return _regressed("koutrouvelis", data, math.pi / 25, counts[place])


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


def near_two(alpha: float) -> list[str]:
    """A warning of estimates near 2, where the laws of the estimators change."""
    if not _GAUSSIAN_SIDE < alpha <= 2:
        return []
    return [
        "The index is near 2, where 95% intervals covered that of stable data in 90% to 99.6% of 1000 samples "
        "(docs/tail_estimators.md)."
    ]


def lowest(alpha: float) -> list[str]:
    """A warning of estimates at the low end of the tables."""
    if alpha > LOWEST:
        return []
    return [f"The index is at {LOWEST}, the least that this method knows: it may be smaller."]


def _scaled(data: Any) -> np.ndarray:
    values = check_values(data).ravel()
    return values / np.abs(values).max()


def _nonzero(data: Any, center: bool) -> tuple[np.ndarray, int]:
    """The values that are not zero, centred, and how many zeros there were."""
    raw = check_values(data).ravel()
    values = centred(raw, center)
    return values, int((raw == 0).sum())


def _refuse_ties(values: np.ndarray) -> None:
    if np.ptp(np.quantile(values, [0.25, 0.75])) == 0:
        raise ValueError("data has half of its values equal, so it has no spread to go by. Leave the zeros out.")


def _regressed(method: str, data: Any, step: float, count: int) -> TailEstimate:
    raw = check_values(data).ravel()
    unit = np.abs(raw).max()
    values = raw / unit
    _refuse_ties(values)
    *found, scale = columns.kogon_williams(values[:, None], np, step, count)
    settings = {"scale": float(scale[0] * unit), "num_frequencies": count, "frequency_step": step}
    return _estimate(method, found, values, None, 0, settings)


def _estimate(
    method: str, found: Any, values: np.ndarray, center: bool | None, zeros: int, settings: dict[str, Any] | None = None
) -> TailEstimate:
    alpha, low, high = (float(part[0]) for part in found)
    warnings = common_warnings(values, zeros, alpha, bool(center)) + near_two(alpha)
    if method == "mcculloch" and alpha <= LOWEST:
        low, warnings = 0.0, warnings + lowest(alpha)
    settings = dict(settings or {}) | ({} if center is None else {"center": center, "zeros": zeros})
    return TailEstimate(alpha, (low, high), method, settings, values.size - zeros, tuple(warnings))
