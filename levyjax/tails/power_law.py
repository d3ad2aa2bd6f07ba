"""A power law from some smallest value on, for whole numbers and for continuous values."""

from typing import Any

import numpy as np
import scipy  # its parts load when they are used

from levyjax.tails.values import TailEstimate, check_values

_FEWEST = 50  # values from x_min on that a chosen x_min leaves
_CANDIDATES = 40  # for x_min
_POINTS = 200  # at which distances are measured
_RESAMPLES = 200
_STEP = 1e-4  # of the differences of log zeta
_EXPONENTS = (1.001, 100.0)
_LAST_WHOLE = 2.0**53  # beyond which all numbers are whole


def power_law(data: Any, *, x_min: float | None = None, discrete: bool | None = None) -> TailEstimate:
    """Tail index of P(|X| >= x) ~ x^-alpha from x_min on; whole numbers have a law of their own.

    Continuous values have the density x^-(alpha + 1), whole numbers k the probabilities
    k^-(alpha + 1)/zeta(alpha + 1, x_min). The exponent of Clauset, Shalizi and Newman, and of the package `powerlaw`,
    is alpha + 1. No middle is taken away, and signs are dropped.

    Args:
        data: real numbers (n,), or (iterations, parameters) pooled.
        x_min: where the power law begins; default: of up to 40 of the values the one with the smallest distance of
            Kolmogorov and Smirnov between the values from there on and the fitted law, 50 values or more.
        discrete: whether the values are whole numbers; default: if all are.

    Returns:
        The estimate, with x_min, the number of values from there on (num_tail) and the distance in its settings. With
        x_min given the interval is that of the likelihood; chosen, it is of 200 resamples, each with its own choice.

    Raises:
        ValueError: the data are unusable, x_min leaves fewer than 2 values or all are equal there, or values are
            said to be discrete that are no whole numbers.

    Source:
        Clauset, Shalizi and Newman 2009.

    Example:
        >>> words = np.random.default_rng(0).zipf(2.5, 20_000)
        >>> bool(abs(power_law(words, x_min=1).alpha - 1.5) < 0.03)
        True
    """
    values = check_values(data).ravel()
    sizes = np.abs(values[values != 0])
    whole = bool((sizes == np.floor(sizes)).all() and sizes.min() < _LAST_WHOLE)
    if discrete is None:
        discrete = whole
    if discrete and not whole:
        raise ValueError("data holds values that are no whole numbers. Give whole numbers, or discrete=False.")
    if x_min is not None and not (x_min > 0 and (not discrete or x_min == int(x_min))):
        raise ValueError(f"x_min {x_min} does not fit. Give a number above 0, and a whole one for discrete data.")
    if x_min is not None:
        sizes = sizes[sizes >= x_min]
    levels, counts = np.unique(sizes, return_counts=True)
    above = np.cumsum(counts[::-1])[::-1]
    fewest = 2 if x_min is not None else _FEWEST
    allowed = np.flatnonzero(above >= fewest) if levels.size else levels
    allowed = allowed[allowed < levels.size - 1]
    if allowed.size == 0:
        raise ValueError(
            f"data holds {sizes.size} usable values of {levels.size} sizes. Give {fewest} or more values "
            "from x_min on that are not all equal."
        )
    lows = np.array([x_min], dtype=float) if x_min is not None else levels[_spread(above, allowed, _CANDIDATES)]
    points = levels[_spread(above, np.arange(levels.size), _POINTS)]
    alpha, low, distance, num_tail = _fitted(levels, counts, lows, points, discrete)
    if x_min is not None:
        interval = _likelihood_interval(alpha, low, num_tail, discrete)
    else:
        rng = np.random.default_rng(0)
        drawn = (rng.multinomial(sizes.size, counts / sizes.size) for _ in range(_RESAMPLES))
        found = [_fitted(levels, again, lows, points, discrete)[0] for again in drawn]
        low_end, high_end = np.quantile(found, [0.025, 0.975])
        interval = float(low_end), float(high_end)
    settings = {"x_min": low, "discrete": discrete, "num_tail": num_tail, "distance": distance, "center": False}
    return TailEstimate(alpha, interval, "power_law", settings, values.size)


def _spread(above: np.ndarray, allowed: np.ndarray, most: int) -> np.ndarray:
    """Up to `most` of the allowed places, evenly in the logarithm of how many values are from there on."""
    if allowed.size <= most:
        return allowed
    wanted = np.geomspace(above[allowed[0]], above[allowed[-1]], most)
    return allowed[np.unique(np.searchsorted(-above[allowed], -wanted).clip(max=allowed.size - 1))]


def _fitted(
    levels: np.ndarray, counts: np.ndarray, lows: np.ndarray, points: np.ndarray, discrete: bool
) -> tuple[float, float, float, int]:
    """alpha, x_min, distance and number of values at the candidate of the smallest distance."""
    above = np.append(np.cumsum(counts[::-1])[::-1], 0)
    sums = np.append(np.cumsum((counts * np.log(levels))[::-1])[::-1], 0.0)
    start, place = np.searchsorted(levels, lows), np.searchsorted(levels, points)
    there = above[start] > 1
    lows, start = lows[there], start[there]
    mean_log = sums[start] / above[start]
    exponent = _exponents(mean_log, lows, discrete)
    shares = above[place] / above[start][:, None], above[place + 1] / above[start][:, None]
    law = _survival(points, exponent[:, None], lows[:, None], discrete)
    beyond = _survival(points + 1, exponent[:, None], lows[:, None], discrete) if discrete else law
    apart = np.maximum(np.abs(shares[0] - law), np.abs(shares[1] - beyond))
    distance = np.where(points >= lows[:, None], apart, 0.0).max(axis=1)
    best = int(np.argmin(distance))
    return float(exponent[best] - 1), float(lows[best]), float(distance[best]), int(above[start[best]])


def _survival(points: np.ndarray, exponent: np.ndarray, lows: np.ndarray, discrete: bool) -> np.ndarray:
    """P(X >= x) under the law from x_min on."""
    if discrete:
        return scipy.special.zeta(exponent, np.maximum(points, lows)) / scipy.special.zeta(exponent, lows)
    return np.maximum(points / lows, 1.0) ** (1 - exponent)


def _exponents(mean_log: np.ndarray, lows: np.ndarray, discrete: bool) -> np.ndarray:
    """The exponents of the largest likelihood: in closed form, or by Newton's method on the slope of log zeta."""
    excess = np.maximum(mean_log - np.log(lows), 1e-12)
    if not discrete:
        return 1 + 1 / excess
    exponent = np.clip(1 + 1 / (mean_log - np.log(lows - 0.5)), *_EXPONENTS)
    for _ in range(12):
        slope, curvature = _derivatives(exponent, lows)
        exponent = np.clip(exponent - (slope + mean_log) / curvature, (1 + exponent) / 2, _EXPONENTS[1])
    return exponent


def _derivatives(exponent: np.ndarray, lows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first two derivatives of log zeta(exponent, x_min) along the exponent."""
    step = _STEP * (exponent - 1)
    left, here, right = (np.log(scipy.special.zeta(exponent + move, lows)) for move in (-step, 0.0, step))
    return (right - left) / (2 * step), np.maximum(right - 2 * here + left, 1e-300) / step**2


def _likelihood_interval(alpha: float, low: float, num_tail: int, discrete: bool) -> tuple[float, float]:
    if not discrete:
        low_end, high_end = alpha * scipy.stats.chi2.ppf([0.025, 0.975], 2 * num_tail) / (2 * num_tail)
        return float(low_end), float(high_end)
    curvature = float(_derivatives(np.array([alpha + 1]), np.array([low]))[1][0])
    factor = np.exp(1.959964 / (alpha * np.sqrt(num_tail * curvature)))
    return alpha / float(factor), alpha * float(factor)
