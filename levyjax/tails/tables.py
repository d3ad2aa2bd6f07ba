"""Quantiles of the symmetric stable law against its index, for the estimator that compares quantiles."""

import functools

import numpy as np

from levyjax.tails.density import stable_logpdf

_LEVELS = np.array([0.75, 0.95])
_LOG_SIZES = np.linspace(-25.0, 60.0, 17_001)


@functools.lru_cache(maxsize=1)
def quantile_ratio_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices, log (q95 - q5)/(q75 - q25) of their laws in rising order, and n times the variance of a sample's.

    The index goes on in a straight line beyond 2, up to 3, so that a ratio below the Gaussian one says so.

    Source:
        McCulloch 1986 gives the ratio as a table; the variance is the one of sample quantiles, p (1 - q) / (f f).
    """
    alphas = np.append(np.linspace(0.4, 1.99, 120), 1.9995)
    rows = [_ratio(alpha) for alpha in alphas]
    ratios, variances = (np.array(column) for column in zip(*rows, strict=True))
    slope = (ratios[-1] - ratios[-9]) / (alphas[-1] - alphas[-9])
    alphas, ratios = np.append(alphas, 3.0), np.append(ratios, ratios[-1] + slope * (3.0 - alphas[-1]))
    return alphas[::-1], ratios[::-1], np.append(variances, variances[-1])[::-1]


def _ratio(alpha: float) -> tuple[float, float]:
    """log q95/q75 of the law, and n times the variance of the sample's log ratio of spreads."""
    quantiles = _quantiles(alpha)
    densities = np.exp(stable_logpdf(quantiles, alpha))
    # The spread q_p - q_(1-p) of a symmetric law has variance 2 (2p - 1)(1 - p)/(f f n) times what follows.
    upper = np.concatenate([1 - _LEVELS[::-1], _LEVELS])
    covariance = np.minimum.outer(upper, upper) - np.outer(upper, upper)
    inner = np.array([0.0, -1.0, 1.0, 0.0]) / densities[0] / (2 * quantiles[0])
    outer = np.array([-1.0, 0.0, 0.0, 1.0]) / densities[1] / (2 * quantiles[1])
    weights = outer - inner
    return float(np.log(quantiles[1] / quantiles[0])), float(weights @ covariance @ weights)


def _quantiles(alpha: float) -> np.ndarray:
    """x with P(X < x) = 0.75 and 0.95."""
    x = np.exp(_LOG_SIZES)
    mass = np.exp(stable_logpdf(x, alpha)) * x
    below = 0.5 + np.append(0.0, np.cumsum((mass[1:] + mass[:-1]) / 2)) * (_LOG_SIZES[1] - _LOG_SIZES[0])
    return np.exp(np.interp(_LEVELS, below, _LOG_SIZES))
