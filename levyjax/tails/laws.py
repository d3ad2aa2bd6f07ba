"""Symmetric laws fitted by maximum likelihood, how well each fits, and how well each foretells values it has not seen.

The laws stand for the answers the audit can give: stable (alpha < 2), infinite variance but not stable (generalised t
with a tail index below 2, a mixture of stable and Gaussian), finite variance (generalised t above 2, a Gaussian with
lognormal scales, Gaussian mixtures).
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

from levyjax.datasets import Result
from levyjax.tails import density
from levyjax.tails.fitting import Logpdf, maximise
from levyjax.tails.goodness import LOG_SIZES, goodness, log_tail
from levyjax.tails.mixture import fit_mixture, mixture_logpdf
from levyjax.tails.values import centred, check_values

_LOG_SCALES = np.linspace(-6.0, 6.0, 61)  # in standard deviations; fine enough for tau up to 3
_LOG_SCALE_WEIGHTS = np.exp(-(_LOG_SCALES**2) / 2) / np.exp(-(_LOG_SCALES**2) / 2).sum()
_FOLDS = 5
LOG_NORMAL_MEAN = -(np.euler_gamma + math.log(2)) / 2  # E log|N(0, 1)|


@dataclasses.dataclass(frozen=True)
class LawFit(Result):
    """A symmetric law fitted by maximum likelihood.

    Attributes:
        name: "stable", "stable_and_gaussian", "student_t", "generalised_t", "generalised_normal", "lognormal_scales",
            "gaussian_mixture" or "gaussian".
        shape: alpha; (alpha, part of the values that are stable, standard deviation of the others over the scale); nu;
            (p, tail index); the exponent; tau (sd of the log scale); ((weight, relative scale), ...); 2.
        location: in the unit of the data.
        scale: in the unit of the data.
        log_likelihood: of all values.
        held_out: log-likelihood of all values, each under the law fitted to four fifths of the others; nan if not
            asked for.
        anderson_darling: the distance of the fitted law, with weight on the tails.
        p_value: of that distance and of the number of values far out, for a law with fitted parameters.
    """

    name: str
    shape: Any
    location: float
    scale: float
    log_likelihood: float
    held_out: float
    anderson_darling: float
    p_value: float


def _stable(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return density.stable_logpdf(x, 2 * float(scipy.special.expit(shape[0])))


def _stable_and_gaussian(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Stable with a probability, else N(0, ratio^2)."""
    log_ratio = shape[2]
    stable = _stable(x, shape) - np.logaddexp(0.0, -shape[1])
    return np.logaddexp(stable, _normal(x * math.exp(-log_ratio)) - log_ratio - np.logaddexp(0.0, shape[1]))


def _student_t(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    nu = math.exp(shape[0])
    constant = scipy.special.gammaln((nu + 1) / 2) - scipy.special.gammaln(nu / 2) - math.log(nu * math.pi) / 2
    return constant - (nu + 1) / 2 * np.log1p(x * x / nu)


def _generalised_t(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """(1 + |x|^p/q)^-(q + 1/p) with the tail index pq: Student t at p = 2, generalised normal for large q."""
    p = math.exp(shape[0])
    q = math.exp(shape[1]) / p
    constant = math.log(p / 2) - math.log(q) / p - scipy.special.betaln(1 / p, q)
    with np.errstate(divide="ignore"):
        power = p * np.log(np.abs(x)) - math.log(q)
    return constant - (q + 1 / p) * np.logaddexp(0.0, power)


def _generalised_normal(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    exponent = math.exp(shape[0])
    with np.errstate(over="ignore"):
        return math.log(exponent / 2) - scipy.special.gammaln(1 / exponent) - np.abs(x) ** exponent


def _lognormal_scales(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Of exp(tau g) z, g and z standard normal: a sum over g, splined in log|x| (sharp at 0, long in the tail)."""
    u = np.log(np.maximum(np.abs(x), 1e-6))
    grid = np.linspace(math.log(1e-6), max(1.0, float(u.max())), 200)
    logs = math.exp(shape[0]) * _LOG_SCALES
    exponents = -np.exp(2 * np.minimum(grid[:, None] - logs, 300.0)) / 2 - logs + np.log(_LOG_SCALE_WEIGHTS)
    return (
        scipy.interpolate.make_interp_spline(grid, scipy.special.logsumexp(exponents, axis=1))(u)
        - math.log(2 * math.pi) / 2
    )


@dataclasses.dataclass(frozen=True)
class _Law:
    """Log density, and start and bounds of the shape parameters, as logarithms (logit of alpha/2 for stable)."""

    logpdf: Logpdf
    start: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    shape: Callable[[np.ndarray], Any] = lambda at: math.exp(at[0])


def _law(logpdf: Logpdf, start: Any, low: Any, high: Any) -> _Law:
    start, low, high = (tuple(np.log(np.atleast_1d(ends)).tolist()) for ends in (start, low, high))
    shape = (lambda at: math.exp(at[0])) if len(start) == 1 else (lambda at: tuple(np.exp(at).tolist()))
    return _Law(logpdf, start, low, high, shape)


_LAWS = {
    "stable": _Law(
        _stable, (density.logit(1.6),), (density.logit(density.LOWEST),), (density.logit(density.HIGHEST),),
        lambda at: 2 * float(scipy.special.expit(at[0])),
    ),
    "stable_and_gaussian": _Law(
        _stable_and_gaussian,
        (density.logit(1.4), 0.0, 0.0),
        (density.logit(density.LOWEST), -3.0, math.log(0.1)),
        (density.logit(1.95), 3.0, math.log(10.0)),
        lambda at: (2 * float(scipy.special.expit(at[0])), float(scipy.special.expit(at[1])), math.exp(at[2])),
    ),
    "student_t": _law(_student_t, 3.0, 0.2, 500.0),
    "student_t_heavy": _law(_student_t, 1.9, 0.2, 2.0),
    "student_t_finite": _law(_student_t, 2.1, 2.0, 500.0),
    "generalised_t": _law(_generalised_t, (2.0, 3.0), (0.3, 0.2), (12.0, 200.0)),
    "generalised_t_heavy": _law(_generalised_t, (2.0, 1.9), (0.3, 0.2), (12.0, 2.0)),
    "generalised_t_finite": _law(_generalised_t, (2.0, 2.1), (0.3, 2.0), (12.0, 200.0)),
    "generalised_normal": _law(_generalised_normal, 1.3, 0.2, 12.0),
    "lognormal_scales": _law(_lognormal_scales, 0.5, 0.01, 3.0),
}  # fmt: skip
LAWS = (  # what `fit_law` can fit
    "stable",
    "stable_and_gaussian",
    "student_t",
    "generalised_t",
    "generalised_normal",
    "lognormal_scales",
    "gaussian_mixture",
    "gaussian",
)


def fit_law(data: Any, name: str, *, held_out: bool = False) -> LawFit:
    """Fits a symmetric law by maximum likelihood: location, scale and shape.

    Args:
        data: real numbers (n,), or (iterations, parameters) pooled. For `held_out` in random order.
        name: "stable", "stable_and_gaussian" (a mixture of the two with one centre), "student_t", "generalised_t",
            "generalised_normal", "lognormal_scales", "gaussian_mixture" (of two to six parts with one centre, as many
            as the Bayesian information criterion asks for) or "gaussian".
        held_out: find the held-out log-likelihood too, by five more fits.

    Returns:
        The fit; the shape stays within the range the density is computed for (stable: 0.4 to 1.9995).

    Raises:
        ValueError: the data are unusable, half of them are equal, or the name is unknown.

    Source:
        Densities: Zolotarev 1986 (stable); McDonald and Newey 1988 (generalised t); Nadarajah 2005 (generalised
        normal, exp(-|x/scale|^exponent)).

    Example:
        >>> t3 = np.random.default_rng(0).standard_t(3, size=5_000)
        >>> bool(abs(fit_law(t3, "student_t").shape - 3) < 0.5)
        True
    """
    if name not in (*_LAWS, "gaussian_mixture", "gaussian"):
        raise ValueError(f"law {name!r} is unknown. Give one of {', '.join(LAWS)}.")
    values = Standardized.of(data)
    fitted = fit_standard(values.z, name)
    law = in_units(values, name, fitted)
    return with_held_out(values, law, fitted) if held_out else law


@dataclasses.dataclass(frozen=True, eq=False)
class Standardized:
    """Values (x - middle)/unit of a median size of 1, and the unit and middle that lead back."""

    z: np.ndarray
    middle: float
    unit: float

    @staticmethod
    def of(data: Any, *, center: bool = True) -> "Standardized":
        """Around the middle, or around 0; refuses data of which half are equal."""
        raw = check_values(data).ravel()
        size = float(np.abs(raw).max())
        values = centred(raw, center, keep_zeros=False)
        unit = float(np.median(np.abs(values)))
        if unit == 0:
            raise ValueError("data has half of its values equal, so no density fits it. Leave the zeros out.")
        return Standardized(values / unit, size * float(np.median(raw / size - values)), unit * size)


def in_units(values: Standardized, name: str, fitted: "StandardFit") -> LawFit:
    """The fit in the unit of the data, with its goodness."""
    distance, p_value = goodness((values.z - fitted.location) / fitted.scale, fitted.logpdf, name, fitted.shape)
    return LawFit(
        name=name,
        shape=fitted.shape,
        location=values.middle + values.unit * fitted.location,
        scale=fitted.scale * values.unit,
        log_likelihood=fitted.log_likelihood - values.z.size * math.log(values.unit),
        held_out=math.nan,
        anderson_darling=distance,
        p_value=p_value,
    )


def with_held_out(values: Standardized, law: LawFit, fitted: "StandardFit") -> LawFit:
    """The fit with its held-out log-likelihood."""
    total = _held_out(values.z, law.name, fitted) - values.z.size * math.log(values.unit)
    return dataclasses.replace(law, held_out=total)


@dataclasses.dataclass(frozen=True)
class StandardFit:
    """A fit to values of a median size near 1: what `maximise` found, and the density of the law itself."""

    at: np.ndarray
    location: float
    scale: float
    shape: Any
    log_likelihood: float
    covariance: np.ndarray | None
    logpdf: Callable[[np.ndarray], np.ndarray]


@np.errstate(over="ignore", invalid="ignore")  # of values beyond 1e154, where squares are infinite
def fit_standard(z: np.ndarray, name: str, start: np.ndarray | None = None) -> StandardFit:
    """Fits one law to centred values (n,) of a median size near 1, from the given parameters on (a mixture: anew)."""
    if name == "gaussian_mixture":
        parts = fit_mixture(z)
        logpdf = functools.partial(mixture_logpdf, parts=parts)
        shape = tuple((float(weight), float(scale)) for weight, scale in parts)
        return StandardFit(parts, 0.0, 1.0, shape, float(logpdf(z).sum()), None, logpdf)
    if name == "gaussian":
        return _fit_gaussian(z)
    law = _LAWS[name]
    begin = _begin(z, name, law) if start is None else start
    at, total, covariance = maximise(law.logpdf, z, begin, np.array(law.low), np.array(law.high))
    shape = law.shape(at[2:])
    return StandardFit(at, float(at[0]), math.exp(at[1]), shape, total, covariance, lambda x: law.logpdf(x, at[2:]))


def _begin(z: np.ndarray, name: str, law: _Law) -> np.ndarray:
    """Where the search starts; for lognormal scales by the mean and the variance of log|z|."""
    if name != "lognormal_scales":
        return np.array([0.0, 0.0, *law.start])
    logs = np.log(np.abs(z[z != 0]))
    tau = math.sqrt(max(float(logs.var()) - math.pi**2 / 8, 0.01))
    return np.array([0.0, float(logs.mean()) - LOG_NORMAL_MEAN, math.log(tau)])


def _fit_gaussian(z: np.ndarray) -> StandardFit:
    location, scale = float(z.mean()), float(z.std())
    total = -z.size * (math.log(2 * math.pi) / 2 + math.log(scale) + 0.5)
    return StandardFit(np.empty(0), location, scale, 2.0, total, None, _normal)


def _normal(x: np.ndarray) -> np.ndarray:
    return -x * x / 2 - math.log(2 * math.pi) / 2


def _held_out(z: np.ndarray, name: str, fitted: StandardFit) -> float:
    """Each fifth of the values under the fit to the other four.

    The search starts at the fit to all values, which Newton's steps leave. A mixture's slow ones would not: it would
    foretell what it has seen, by up to 9 in log-likelihood of 10,000 stable values. So it is fitted anew.
    """
    total = 0.0
    for fold in range(_FOLDS):
        out = np.arange(z.size) % _FOLDS == fold
        other = fit_standard(z[~out], name, fitted.at)
        total += float(other.logpdf((z[out] - other.location) / other.scale).sum()) - out.sum() * math.log(other.scale)
    return total


def tail_probability(fit: LawFit, sizes: Any) -> np.ndarray:
    """P(|X - location| > u) under a fitted law.

    Args:
        fit: of `fit_law`.
        sizes: u > 0, in the unit of the data.

    Returns:
        float64 of the shape of sizes.

    Example:
        >>> cauchy = fit_law(np.random.default_rng(0).standard_cauchy(10_000), "student_t")
        >>> bool(abs(tail_probability(cauchy, 100.0) - 0.0064) < 0.002)
        True
    """
    logs = np.log(np.asarray(sizes, dtype=np.float64) / fit.scale)
    return 2 * np.exp(np.interp(logs, LOG_SIZES, log_tail(_logpdf_of(fit))))


def law_quantiles(fit: LawFit, probabilities: Any) -> np.ndarray:
    """Quantiles of a fitted law, in the unit of the data.

    Args:
        fit: of `fit_law`.
        probabilities: in (0, 1).

    Returns:
        float64 of their shape.

    Example:
        >>> gaussian = fit_law(np.random.default_rng(0).normal(size=10_000), "gaussian")
        >>> bool(abs(law_quantiles(gaussian, 0.975) - 1.96) < 0.05)
        True
    """
    p = np.asarray(probabilities, dtype=np.float64)
    tail = np.log(np.minimum(p, 1 - p))
    falling = log_tail(_logpdf_of(fit))
    sizes = np.exp(np.interp(-tail, -falling, LOG_SIZES))
    return fit.location + fit.scale * np.sign(p - 0.5) * np.where(p == 0.5, 0.0, sizes)


def _logpdf_of(fit: LawFit) -> Callable[[np.ndarray], np.ndarray]:
    """The log density of a fit, of location 0 and scale 1."""
    if fit.name == "gaussian":
        return _normal
    if fit.name == "gaussian_mixture":
        return functools.partial(mixture_logpdf, parts=np.array(fit.shape))
    shape = np.log(np.atleast_1d(fit.shape))
    if fit.name in ("stable", "stable_and_gaussian"):
        shape[0] = density.logit(np.atleast_1d(fit.shape)[0])
    if fit.name == "stable_and_gaussian":
        shape[1] = scipy.special.logit(fit.shape[1])
    return lambda x: _LAWS[fit.name].logpdf(x, np.asarray(shape))
