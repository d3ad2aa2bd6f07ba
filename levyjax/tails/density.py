"""The symmetric stable density from a table: exact values once, then some 50 ns a value for any index.

The table holds log f over t = arcsinh(x/width(alpha)) and logit(alpha/2), both of which make it smooth: the width takes
care of the sharp peak of small indices, the logit of the tail that vanishes as alpha approaches 2.
"""

import functools
import math
from collections.abc import Callable

import jax
import numpy as np
import scipy  # its parts load when they are used

from levyjax import stable

LOWEST, HIGHEST = 0.4, 1.9995  # of the index
_LAST = 8.0  # largest t of the table
_STEP = 0.02


def logit(alpha: float) -> float:
    """The coordinate of the index in the table, log(alpha/(2 - alpha))."""
    return math.log(alpha / (2 - alpha))


def stable_logpdf(x: np.ndarray, alpha: float) -> np.ndarray:
    """Log density of the symmetric stable law with characteristic function exp(-|w|^alpha).

    Args:
        x: any shape, float64.
        alpha: index; outside [0.4, 1.9995] the nearest of these ends is taken.

    Returns:
        float64 of x's shape, within 1e-6 where the two parts of a law near alpha = 2 do not meet (3e-5 there).

    Source:
        `levyjax.stable.logpdf`, splined; beyond the table the series in 1/x.

    Example:
        >>> float(stable_logpdf(np.array([0.0]), 1.0)[0].round(6)) == round(-math.log(math.pi), 6)
        True
    """
    alpha = min(max(alpha, LOWEST), HIGHEST)
    pieces = _pieces(alpha)
    x = np.abs(np.asarray(x, dtype=np.float64))
    t = np.arcsinh(x / _width(alpha))
    place = np.minimum((t / _STEP).astype(np.intp), pieces.shape[1] - 1)
    c3, c2, c1, c0 = pieces[:, place]
    rest = t - place * _STEP
    result = ((c3 * rest + c2) * rest + c1) * rest + c0
    far = t > _LAST
    if far.any():
        result[far] = np.log(np.maximum(_series(x[far], alpha), np.finfo(float).tiny))
    return result


def _series(x: np.ndarray, alpha: float) -> np.ndarray:
    """sum_k (-1)^(k+1) Gamma(alpha k + 1)/k! sin(k pi alpha/2) x^(-alpha k - 1) / pi."""
    k = np.arange(1, 13)
    terms = np.exp(scipy.special.gammaln(alpha * k + 1) - scipy.special.gammaln(k + 1)) * np.sin(
        k * math.pi * alpha / 2
    )
    series = np.polynomial.Polynomial(np.append(0.0, -((-1.0) ** k) * terms))
    return series(x**-alpha) / (math.pi * x)


def _width(alpha: float) -> float:
    """sqrt(-f(0)/f''(0)), the width of the peak."""
    return math.exp((scipy.special.gammaln(1 / alpha) - scipy.special.gammaln(3 / alpha)) / 2)


@functools.lru_cache(maxsize=8)
def _pieces(alpha: float) -> np.ndarray:
    """Coefficients of the cubic pieces of log f in t at one index, (4, pieces)."""
    return _table()(logit(alpha))


@functools.lru_cache(maxsize=1)
def _table() -> Callable[[float], np.ndarray]:
    t = np.arange(round(_LAST / _STEP) + 1) * _STEP
    places = np.linspace(logit(LOWEST), logit(HIGHEST), 130)
    alphas = 2 * scipy.special.expit(places)
    x = np.array([_width(alpha) * np.sinh(t) for alpha in alphas])
    with jax.enable_x64(True):
        logs = np.asarray(stable.logpdf(x, alphas[:, None]))
    pieces = scipy.interpolate.CubicSpline(t, logs, axis=1).c
    return scipy.interpolate.make_interp_spline(places, np.moveaxis(pieces, 2, 0))
