"""The symmetric stable density from a table: exact values once, then some 50 ns a value for any index.

The table holds log f over t = arcsinh(x/width(alpha)) and logit(alpha/2), both of which make it smooth: the width takes
care of the sharp peak of small indices, the logit of the tail that vanishes as alpha approaches 2.
"""

import functools
import math

import numpy as np
from scipy import special
from scipy.interpolate import BSpline, CubicSpline, make_interp_spline

LOWEST, HIGHEST = 0.4, 1.9995  # of the index
_LAST = 8.0  # largest t of the table
_STEP = 0.02
_FAR = 30.0  # from here on the tail series is as exact as the integral
# Double-exponential nodes s = exp(t - exp(-t)) with trapezoidal weights; the integral runs over s in (0, inf).
_T = np.linspace(-3.5, 7.0, 136)
_NODES = np.exp(_T - np.exp(-_T))
_WEIGHTS = _NODES * (1 + np.exp(-_T)) * (_T[1] - _T[0])


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
        Zolotarev 1986; see `exact_density`.

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
        result[far] = np.log(_series(x[far], alpha))
    return result


def exact_density(x: np.ndarray, alpha: float) -> np.ndarray:
    """The density at x >= 0, float64 (n,), to 1e-7: what the table is made of.

    f(x) = Re int_0^inf exp(iux - u^alpha) du / pi along the ray u = s exp(i theta), where both factors decay without
    oscillating much; beyond 30 the series in 1/x.
    """
    near = x[x <= _FAR]
    theta = 0.7 * min(math.pi / (2 * alpha), math.pi / 2)
    step = 1 / (1 + near)  # the integrand lives on u of about 1/x
    powers = _NODES**alpha
    size = np.outer(near * step, -math.sin(theta) * _NODES) - np.outer(step**alpha, math.cos(alpha * theta) * powers)
    phase = np.outer(near * step, math.cos(theta) * _NODES) - np.outer(step**alpha, math.sin(alpha * theta) * powers)
    density = np.empty_like(x)
    density[x <= _FAR] = (np.exp(size) * np.cos(phase + theta)) @ _WEIGHTS * step / math.pi
    density[x > _FAR] = _series(x[x > _FAR], alpha)
    return density


def _series(x: np.ndarray, alpha: float) -> np.ndarray:
    """sum_k (-1)^(k+1) Gamma(alpha k + 1)/k! sin(k pi alpha/2) x^(-alpha k - 1) / pi."""
    k = np.arange(1, 13)
    terms = np.exp(special.gammaln(alpha * k + 1) - special.gammaln(k + 1)) * np.sin(k * math.pi * alpha / 2)
    series = np.polynomial.Polynomial(np.append(0.0, -((-1.0) ** k) * terms))
    return series(x**-alpha) / (math.pi * x)


def _width(alpha: float) -> float:
    """sqrt(-f(0)/f''(0)), the width of the peak."""
    return math.exp((special.gammaln(1 / alpha) - special.gammaln(3 / alpha)) / 2)


@functools.lru_cache(maxsize=8)
def _pieces(alpha: float) -> np.ndarray:
    """Coefficients of the cubic pieces of log f in t at one index, (4, pieces)."""
    return _table()(logit(alpha))


@functools.lru_cache(maxsize=1)
def _table() -> BSpline:
    t = np.arange(round(_LAST / _STEP) + 1) * _STEP
    places = np.linspace(logit(LOWEST), logit(HIGHEST), 130)
    alphas = 2 * special.expit(places)
    logs = np.log([exact_density(_width(alpha) * np.sinh(t), alpha) for alpha in alphas])
    return make_interp_spline(places, np.moveaxis(CubicSpline(t, logs, axis=1).c, 2, 0))
