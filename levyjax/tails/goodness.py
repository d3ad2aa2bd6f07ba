"""How well a fitted law fits: Anderson and Darling's distance, and the number of values far out."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

LOG_SIZES = np.linspace(-25.0, 60.0, 6_801)


_FAR_OUT = (10, 40)  # values expected beyond the levels at which the values are counted


def goodness(z: np.ndarray, logpdf: Callable[[np.ndarray], np.ndarray], name: str, shape: Any) -> tuple[float, float]:
    """A^2 of values against a fitted law, and a p value: of A^2 and of two counts far out, the least of them times 3.

    Args:
        z: (n,), location and scale taken off.
        logpdf: the law's log density, symmetric around 0.
        name: of the law, for the critical values.
        shape: its shape parameters.

    Returns:
        (A^2, p).

    Source:
        Anderson and Darling 1954. The counts are of values beyond the levels where 10 and 40 are expected, which A^2
        hardly notices if they are missing.
    """
    tail = np.interp(np.log(np.maximum(np.abs(z), 1e-10)), LOG_SIZES, log_tail(logpdf))  # log P(X > |z|)
    distance = anderson_darling(z, tail)
    expected = [count for count in _FAR_OUT if count < z.size / 10]
    counts = [int((tail < math.log(count / 2 / z.size)).sum()) for count in expected]
    tails = [_two_sided(found, count) for found, count in zip(counts, expected, strict=True)]
    return distance, min(1.0, 3 * min(p_value(distance, name, shape), *tails, 1.0))


def anderson_darling(z: np.ndarray, log_tail: np.ndarray) -> float:
    """A^2, a squared distance of two distribution functions that gives the tails the weight of the centre.

    Args:
        z: (n,).
        log_tail: log P(X > |z|) of each, under a law symmetric around 0.

    Returns:
        A^2; its mean is 1 for a law without fitted parameters.

    Example:
        >>> z = np.random.default_rng(0).normal(size=1_000)
        >>> bool(anderson_darling(z, scipy.stats.norm.logsf(np.abs(z))) < 4)
        True
    """
    order = np.argsort(z)
    z, log_tail = z[order], log_tail[order]
    log_head = np.log1p(-np.exp(log_tail))
    log_below, log_above = np.where(z > 0, [log_head, log_tail], [log_tail, log_head])
    odd = 2 * np.arange(1, z.size + 1) - 1
    return float(-z.size - (odd * (log_below + log_above[::-1])).mean())


def _two_sided(found: int, expected: float) -> float:
    law = scipy.stats.poisson(expected)
    return float(min(1.0, 2 * min(law.cdf(found), law.sf(found - 1))))


def log_tail(logpdf: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """log P(X > e^v) on the grid of v: the density summed from the far end, so that small tails are exact."""
    with np.errstate(over="ignore", under="ignore"):
        mass = np.exp(logpdf(np.exp(LOG_SIZES)) + LOG_SIZES)
    pieces = (mass[1:] + mass[:-1]) / 2 * (LOG_SIZES[1] - LOG_SIZES[0])
    tail = np.append(np.cumsum(pieces[::-1])[::-1], 0.0)
    return np.log(np.maximum(tail / tail[0] / 2, 1e-300))


def p_value(distance: float, name: str, shape: Any) -> float:
    """P(A^2 > distance) where the law is true and its parameters were fitted.

    From the quantiles below of the nearest shape, log P in straight lines between and beyond them. They are from 1500
    samples of 1000 values each, so that a P of 0.05 is known to 11%, one of 0.01 to 26%; smaller ones are a guess.
    """
    rows = _NULL[name.removesuffix("_heavy").removesuffix("_finite")]
    log_shape = np.log(np.atleast_1d(shape)) if name != "gaussian_mixture" else np.empty(0)
    quantiles = min(rows, key=lambda row: float(np.abs(np.log(row[0]) - log_shape).max(initial=0.0)))[1]
    logs = np.log(_LEVELS)
    if distance <= quantiles[0]:
        return 1.0 - 0.5 * distance / quantiles[0]
    if distance <= quantiles[-1]:
        return float(np.exp(np.interp(distance, quantiles, logs)))
    slope = (logs[-1] - logs[1]) / (quantiles[-1] - quantiles[1])
    return float(np.exp(max(logs[-1] + slope * (distance - quantiles[-1]), -700.0)))


_LEVELS = (0.5, 0.25, 0.1, 0.05, 0.02, 0.01)
_NULL: dict[str, list[tuple[tuple[float, ...], tuple[float, ...]]]] = {
    "stable": [
        ((0.6,), (0.442, 0.775, 1.304, 1.765, 2.344, 2.793)),
        ((1.2,), (0.305, 0.465, 0.691, 0.865, 1.151, 1.393)),
        ((1.6,), (0.282, 0.391, 0.533, 0.635, 0.779, 0.913)),
        ((1.9,), (0.305, 0.42, 0.56, 0.656, 0.803, 0.892)),
    ],
    "stable_and_gaussian": [
        ((1.2, 0.5, 1.0), (0.271, 0.396, 0.555, 0.69, 0.861, 1.019)),
        ((1.6, 0.5, 2.0), (0.242, 0.338, 0.466, 0.567, 0.726, 0.812)),
    ],
    "student_t": [
        ((1.2,), (0.331, 0.517, 0.818, 1.06, 1.365, 1.697)),
        ((3.0,), (0.278, 0.394, 0.528, 0.615, 0.778, 0.908)),
    ],
    "generalised_t": [
        ((1.0, 2.5), (0.368, 0.608, 0.974, 1.367, 1.788, 2.239)),
        ((3.0, 2.0), (0.255, 0.363, 0.518, 0.661, 0.891, 1.036)),
        ((2.0, 6.0), (0.246, 0.333, 0.462, 0.532, 0.678, 0.789)),
    ],
    "generalised_normal": [
        ((0.5,), (0.496, 0.844, 1.443, 1.944, 2.731, 3.182)),
        ((1.0,), (0.337, 0.494, 0.712, 0.879, 1.142, 1.272)),
        ((3.0,), (0.325, 0.477, 0.722, 0.896, 1.218, 1.416)),
    ],
    "lognormal_scales": [
        ((0.5,), (0.281, 0.384, 0.541, 0.658, 0.83, 0.961)),
        ((1.0,), (0.397, 0.65, 1.066, 1.377, 1.962, 2.299)),
    ],
    "gaussian_mixture": [
        ((), (0.561, 1.017, 1.647, 2.133, 2.83, 3.271)),
    ],
    "gaussian": [
        ((2.0,), (0.339, 0.46, 0.622, 0.792, 0.935, 1.037)),
    ],
}
