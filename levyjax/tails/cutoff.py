"""The power law with an exponential cutoff from a threshold on: what a power law becomes where something ends it."""

import dataclasses
import math
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

from levyjax.tails.power_law import Tails, rejected
from levyjax.tails.values import TailEstimate, check_values, tied_threshold

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
_FAR = 45.0  # exponents from which on the density is 0
_INDICES = 0.0, 100.0  # that are looked for
_LOG_RATES = math.log(1e-9), math.log(1e3)
_NO_CUTOFF = 1e-3  # of log-likelihood, up to which the one found is none
_ALLOWED = 1.920729  # of log-likelihood, by which a value within a 95% interval may fall short: chi-squared/2
_CANDIDATES = 40  # thresholds tried
_COMPARED = 1000  # places at which a law is compared with the data


def truncated_power_law(data: Any, x_min: float | None = None) -> TailEstimate:
    """Index of the density x^-(1 + alpha) exp(-x/cutoff) from a threshold x_min on, chosen or given.

    Among up to 40 thresholds the one is chosen from which on the fitted law is nearest to the data, by Kolmogorov and
    Smirnov's distance. The middle is not taken away; exact zeros are left out.

    Args:
        data: real numbers (n,), or (iterations, parameters) pooled; their sizes |x| are used. Fractions, or whole
            numbers of which few equal the threshold.
        x_min: the smallest size that is used; None chooses it, with 50 values or more from there on.

    Returns:
        The estimate. alpha, from 0 on, is the index below the cutoff: all moments exist. The interval is where the
        log-likelihood, the cutoff fitted anew, falls short of its maximum by at most 1.92; with x_min chosen it also
        takes in that from the outer half of these values on. The settings say the
        threshold, the cutoff in the unit of the data (inf for none), the number of values from there on, the distance,
        by how much the log-likelihood is above that of the power law without cutoff (`log_likelihood_ratio`), and the
        `p_value` of that under the power law.

    Raises:
        ValueError: the data are unusable, or the threshold leaves too few values.

    Source:
        Clauset, Shalizi and Newman 2009; `truncated_power_law` of Alstott, Bullmore and Plenz 2014, whose exponent is
        larger by 1.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> pareto, ends = rng.random(20_000) ** (-1 / 1.5), rng.exponential(10.0, 20_000)
        >>> estimate = truncated_power_law(pareto[ends > pareto - 1], 1.0)  # density x^-2.5 exp(-x/10)
        >>> estimate.settings["p_value"] < 1e-6
        True
    """
    values = check_values(data).ravel()
    tails = Tails.of(np.abs(values[values != 0]), counts=False)
    if x_min is None:
        places = tails.candidates(_CANDIDATES)
        fits = [_Fit.of(tails, place, float(tails.sizes[place])) for place in places]
    else:
        fits = [_Fit.of(tails, np.searchsorted(tails.sizes, tails.checked(x_min)), float(x_min))]
    best = min(fits, key=lambda fit: fit.distance)
    low, high = best.interval()
    if x_min is None:
        place = tails.leaving(best.num_tail / 2)
        further = _Fit.of(tails, place, float(tails.sizes[place])).interval()
        low, high = min(low, further[0]), max(high, further[1])
    settings = {
        "x_min": best.x_min,
        "cutoff": best.x_min / best.rate if best.ratio > _NO_CUTOFF else math.inf,
        "num_tail": best.num_tail,
        "distance": best.distance,
        "log_likelihood_ratio": best.ratio,
        "p_value": float(scipy.stats.chi2.sf(2 * best.ratio, 1)),
    }
    warnings = tied_threshold(int((tails.sizes == best.x_min) @ tails.number), best.num_tail)
    if rejected(settings):
        warnings.append(
            f"From x_min = {best.x_min:g} on the values follow no power law with an exponential cutoff (Kolmogorov and "
            f"Smirnov's distance is {best.distance:.2g} for {best.num_tail} values)."
        )
    return TailEstimate(best.alpha, (low, high), "truncated_power_law", settings, values.size, tuple(warnings))


@dataclasses.dataclass(frozen=True)
class _Fit:
    """The law from one threshold on: of t = log(x/x_min), with a density proportional to exp(-alpha t - rate e^t)."""

    x_min: float
    num_tail: int
    means: tuple[float, float]  # of t and e^t
    alpha: float
    rate: float  # x_min over the cutoff
    distance: float

    @classmethod
    def of(cls, tails: Tails, place: Any, x_min: float) -> "_Fit":
        num_tail = int(tails.above[place])
        sizes, number = tails.sizes[place:] / x_min, tails.number[place:]
        means = float(number @ np.log(sizes)) / num_tail, float(number @ sizes) / num_tail
        found = scipy.optimize.minimize(
            _loss, np.array([1 / means[0], math.log(1e-2)]), args=(means,), jac=True, bounds=[_INDICES, _LOG_RATES],
            method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-9},
        )  # fmt: skip
        alpha, rate = float(found.x[0]), math.exp(found.x[1])
        return cls(float(x_min), num_tail, means, alpha, rate, _distance(tails, int(place), x_min, alpha, rate))

    @property
    def ratio(self) -> float:
        """By how much the log-likelihood is above that of the law without cutoff."""
        own = _loss(np.array([self.alpha, math.log(self.rate)]), self.means)[0]
        return max(0.0, self.num_tail * (math.log(self.means[0]) + 1 - own))

    def interval(self) -> tuple[float, float]:
        """Where the log-likelihood, the rate fitted anew, is within 1.92 of its maximum."""

        def beyond(alpha: float) -> float:
            profile = scipy.optimize.minimize_scalar(
                lambda log_rate: _loss(np.array([alpha, log_rate]), self.means)[0], bounds=_LOG_RATES, method="bounded"
            )
            return self.num_tail * (float(profile.fun) - least) - _ALLOWED

        least = _loss(np.array([self.alpha, math.log(self.rate)]), self.means)[0]
        low = _INDICES[0] if beyond(_INDICES[0]) < 0 else scipy.optimize.brentq(beyond, _INDICES[0], self.alpha)
        high = _INDICES[1] if beyond(_INDICES[1]) < 0 else scipy.optimize.brentq(beyond, self.alpha, _INDICES[1])
        return float(low), float(high)


def _log_mass(alpha: float, rate: float) -> tuple[float, np.ndarray, np.ndarray]:
    """log of the integral of exp(-alpha t - rate e^t) over t > 0; t and the law's weights there."""
    end = min(math.log1p(_FAR / rate), _FAR / max(alpha, 1e-9))
    t = (_NODES + 1) * (end / 2)
    exponents = -alpha * t - rate * np.exp(t)
    top = exponents[0]
    parts = np.exp(exponents - top) * _WEIGHTS * (end / 2)
    total = parts.sum()
    return float(top + math.log(total)), t, parts / total


def _loss(at: np.ndarray, means: tuple[float, float]) -> tuple[float, np.ndarray]:
    """Minus the mean log density of t = log(x/x_min), whose mean and that of e^t are given, and its slopes."""
    alpha, rate = float(at[0]), math.exp(at[1])
    log_mass, t, weights = _log_mass(alpha, rate)
    slopes = np.array([means[0] - weights @ t, rate * (means[1] - weights @ np.exp(t))])
    return alpha * means[0] + rate * means[1] + log_mass, slopes


def _distance(tails: Tails, place: int, x_min: float, alpha: float, rate: float) -> float:
    """Kolmogorov and Smirnov's distance between law and data from the threshold on."""
    end = min(math.log1p(_FAR / rate), _FAR / max(alpha, 1e-9))
    t = np.linspace(0.0, end, 2_000)
    density = np.exp(-alpha * t - rate * np.expm1(t))
    beyond = np.append(np.cumsum(((density[1:] + density[:-1]) / 2)[::-1])[::-1], 0.0)
    shown = slice(place, None, max(1, (tails.sizes.size - place) // _COMPARED))
    survival = np.interp(np.log(tails.sizes[shown] / x_min), t, beyond / beyond[0])
    above, number, total = tails.above[shown], tails.number[shown], tails.above[place]
    return float(max(np.abs(survival - above / total).max(), np.abs(survival - (above - number) / total).max()))
