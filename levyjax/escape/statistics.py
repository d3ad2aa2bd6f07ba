"""Statistics of exit times, in NumPy and SciPy: plain arrays in, numbers a JSON file can hold out.

The exit problem is a survival problem. A trajectory that has not left by the end of its run is *censored*: it says
that its exit time is longer than what is recorded, and leaving it out, or taking its time for an exit time, biases
every mean. So each function takes `times` and `exited` and uses both.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # its parts load when they are used
from numpy.typing import ArrayLike, NDArray

from levyjax.datasets import Result, along

__all__ = [
    "ExponentialFit",
    "SlopeFit",
    "SurvivalCurve",
    "binomial_interval",
    "exponential_fit",
    "exponential_fit_of_total",
    "kaplan_meier",
    "log_log_slope",
]


@dataclass(frozen=True)
class ExponentialFit(Result):
    """Rate and mean of an exponential law with exact intervals; None is a number that does not exist.

    Attributes:
        rate: exits per unit of time.
        rate_interval: its interval.
        mean: 1/rate.
        mean_interval: its interval; no upper end where nothing has exited.
        num_exited: trajectories that left.
        num_censored: trajectories that were still inside at the end.
    """

    rate: float | None
    rate_interval: tuple[float, float]
    mean: float | None
    mean_interval: tuple[float, float | None]
    num_exited: int
    num_censored: int


@dataclass(frozen=True)
class SurvivalCurve(Result):
    """P(Gamma > t) as a right-continuous step function with a pointwise confidence band; arrays of shape (m,).

    Attributes:
        times: where it steps down, from 0.
        survival: P(Gamma > t) from there on.
        low, high: its band.
    """

    _dims = along({"times": "times survival low high"})

    times: NDArray[np.float64]
    survival: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class SlopeFit(Result):
    """The line log y = intercept + slope log x.

    Attributes:
        slope: of log y against log x.
        intercept: log y at x = 1.
        slope_interval: its 95% interval.
        misfit_pvalue: small where the points do not lie on a line; None for two points.
    """

    slope: float
    intercept: float
    slope_interval: tuple[float, float]
    misfit_pvalue: float | None


def exponential_fit(times: ArrayLike, exited: ArrayLike | None = None, *, confidence: float = 0.95) -> ExponentialFit:
    """The maximum-likelihood exponential law of censored exit times, with its exact chi-square interval.

    With r exits in a total observed time T the estimate is rate = r / T. If all have exited, 2 rate T has the
    chi-square law with 2r degrees of freedom and the interval is exact. If some are censored at a fixed time, r is
    random too, as in a Poisson process seen for a time T: the lower end keeps 2r degrees of freedom and the upper
    end takes 2r + 2 (Garwood 1936), so that the interval covers *at least* what it states. (That is a theorem for a
    fixed T. Here T varies with the exits; simulation at n = 5 to 1000 and censoring times of 0.002 to 4 times the mean
    found no coverage of the 95% interval below 95%, within its errors of 0.15%.) With no exit at all there is no
    estimate and no lower end; the upper end is the same one, 2 degrees of freedom: 3.7 over T at 95%.

    Args:
        times: shape (n,), exit or censoring times, in the time unit of the answer; finite, not negative.
        exited: shape (n,), bool, False where the trajectory was still inside at `times`; None: all have exited.
        confidence: probability that the interval covers the truth.

    Returns:
        `ExponentialFit`. Rates are per unit of time, `mean = 1 / rate`. All censored: `rate` and `mean` are None, the
        intervals [0, bound] and [1 / bound, None].

    Raises:
        ValueError: empty, NaN, infinite or negative times, shapes that differ, or a total time of zero.

    Source:
        Epstein and Sobel (1953) for the estimate and its chi-square law; Garwood (1936) for 2r and 2r + 2.

    Example:
        >>> fit = exponential_fit([1.0, 2.0, 4.0, 5.0], [True, True, True, False])
        >>> fit.rate, fit.mean
        (0.25, 4.0)
        >>> [round(end, 4) for end in fit.rate_interval]
        [0.0516, 0.7306]
        >>> exponential_fit([5.0, 5.0], [False, False]).rate_interval[1] > 0.29
        True
    """
    times, exited = checked_times(times, exited)
    check_confidence(confidence)
    r = int(exited.sum())
    return exponential_fit_of_total(float(times.sum()), r, times.size - r, confidence=confidence)


def exponential_fit_of_total(
    total: float, num_exited: int, num_censored: int, *, confidence: float = 0.95
) -> ExponentialFit:
    """`exponential_fit` from all that it needs of the times: their sum, and how many of them are exits."""
    if total == 0.0:
        raise ValueError("all times are 0: no rate fits; check that the trajectories start inside the basin")
    if not 0.0 < total < np.inf:
        raise ValueError(f"the total time must be a positive number, not {total}")
    _check_counts(num_exited=num_exited, num_censored=num_censored)
    if min(num_exited, num_censored) < 0 or num_exited + num_censored == 0:
        raise ValueError(
            f"{num_exited} exited and {num_censored} censored trajectories: give at least one, none below 0"
        )
    check_confidence(confidence)
    r, tail = num_exited, (1 - confidence) / 2
    dof_high = 2 * r if num_censored == 0 else 2 * r + 2
    high = float(scipy.special.chdtri(dof_high, tail) / (2 * total))
    if r == 0:
        return ExponentialFit(None, (0.0, high), None, (1 / high, None), 0, num_censored)
    low = float(scipy.special.chdtri(2 * r, 1 - tail) / (2 * total))
    return ExponentialFit(r / total, (low, high), total / r, (1 / high, 1 / low), r, num_censored)


def kaplan_meier(times: ArrayLike, exited: ArrayLike | None = None, *, confidence: float = 0.95) -> SurvivalCurve:
    """The Kaplan-Meier estimate of P(Gamma > t) with a pointwise band.

    The band is the exponential Greenwood (log-log) one, which stays inside [0, 1]. It is undefined where the curve
    is 1 or 0. There the lower end is the exact binomial bound of "nobody of those at risk has left", or 0, and the
    upper end is carried on from before: a survival function does not rise.

    Args:
        times: shape (n,), exit or censoring times; finite, not negative.
        exited: shape (n,), bool, False = censored at `times`; None: all have exited.
        confidence: pointwise coverage of the band.

    Returns:
        `SurvivalCurve` on 0 and the m - 1 distinct times, in increasing order; `survival[i]` holds from `times[i]` up
        to the next.

    Raises:
        ValueError: empty, NaN, infinite or negative times, or shapes that differ.

    Source:
        Kaplan and Meier (1958); Kalbfleisch and Prentice (1980) for the band.

    Example:
        >>> curve = kaplan_meier([1.0, 2.0, 2.0, 3.0], [True, True, False, True])
        >>> curve.times.tolist(), curve.survival.tolist()
        ([0.0, 1.0, 2.0, 3.0], [1.0, 0.75, 0.5, 0.0])
    """
    times, exited = checked_times(times, exited)
    check_confidence(confidence)
    grid, index = np.unique(times, return_inverse=True)
    at_risk = times.size - np.searchsorted(np.sort(times), grid, side="left")
    leaving = np.bincount(index, weights=exited, minlength=grid.size)
    survival = np.cumprod(1 - leaving / at_risk)
    # Greenwood's variance of log S, carried to log(-log S)
    low, high = np.zeros_like(survival), np.ones_like(survival)
    inner = (survival > 0) & (survival < 1)
    if inner.any():
        with np.errstate(divide="ignore"):  # where nobody is left
            variance = np.cumsum(leaving / (at_risk * (at_risk - leaving)))[inner]
        log_survival = np.log(survival[inner])
        factor = np.exp(-scipy.special.ndtri((1 - confidence) / 2) * np.sqrt(variance) / -log_survival)
        low[inner], high[inner] = np.exp(log_survival * factor), np.exp(log_survival / factor)
        high[survival == 0] = high[inner][-1]
    low[survival == 1] = ((1 - confidence) / 2) ** (1 / at_risk[survival == 1])
    if grid[0] > 0:
        grid, survival, low, high = (np.r_[first, a] for first, a in ((0, grid), (1, survival), (1, low), (1, high)))
    return SurvivalCurve(grid, survival, low, high)


def log_log_slope(
    x: ArrayLike,
    y: ArrayLike,
    sd_log: ArrayLike | None = None,
    *,
    y_interval: ArrayLike | None = None,
    confidence: float = 0.95,
) -> SlopeFit | None:
    """The slope of log y against log x by least squares weighted with known errors.

    The errors come from the sampling, not from the scatter about the line, so two points have an interval too. The
    mean of n exponential exit times has sd_log = 1 / sqrt(number of exits). Three and more points test the line:
    a power law that is only the limit of small noise shows as a small `misfit_pvalue`.

    Args:
        x: shape (n,), positive: noise levels, widths, learning rates.
        y: shape (n,), positive: mean exit times. Points without a number (all censored) are left out by the caller.
        sd_log: shape (n,) or a scalar, the standard errors of log y; or else
        y_interval: shape (n, 2), 95% intervals of y, from which the standard errors are read on the log scale.
        confidence: coverage of the slope's interval.

    Returns:
        `SlopeFit`, dimensionless slope, `intercept` the log of y at x = 1; None for fewer than 2 points.

    Raises:
        ValueError: values that are not positive and finite, shapes that differ, one x only, both or neither error.

    Source:
        Weighted least squares, `numpy.polyfit` with the covariance unscaled.

    Example:
        >>> fit = log_log_slope([0.01, 0.1], [2000.0, 20.0], sd_log=0.01)
        >>> round(fit.slope, 6), [round(end, 4) for end in fit.slope_interval]
        (-2.0, [-2.012, -1.988])
    """
    x, y = (np.atleast_1d(_real(a, name)) for a, name in ((x, "x"), (y, "y")))
    check_confidence(confidence)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"x and y must be two arrays of one length, not of shapes {x.shape} and {y.shape}")
    error = _log_errors(sd_log, y_interval, x.size)
    if not all(np.all((a > 0) & np.isfinite(a)) for a in (x, y, error)):
        raise ValueError("x, y and the errors must be positive and finite: leave all-censored points out")
    if x.size < 2:
        return None
    if np.ptp(x) == 0:
        raise ValueError(f"every x is {x[0]}: a slope needs two different ones")
    line, covariance = np.polyfit(np.log(x), np.log(y), 1, w=1 / error, cov="unscaled")
    half = float(-scipy.special.ndtri((1 - confidence) / 2) * np.sqrt(covariance[0, 0]))
    slope, intercept = (float(c) for c in line)
    square = float(np.sum(((np.log(y) - np.polyval(line, np.log(x))) / error) ** 2))
    misfit = float(scipy.special.chdtrc(x.size - 2, square)) if x.size > 2 else None
    return SlopeFit(slope, intercept, (slope - half, slope + half), misfit)


def binomial_interval(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact (Clopper-Pearson) interval of a probability from `successes` among `trials`.

    Args:
        successes: 0 to `trials`.
        trials: at least 1.
        confidence: least coverage, whatever the probability.

    Returns:
        The two ends, in [0, 1].

    Raises:
        ValueError: counts that are not 0 <= successes <= trials with trials >= 1.

    Source:
        Clopper and Pearson (1934), by `scipy.stats.binomtest`.

    Example:
        >>> [round(end, 4) for end in binomial_interval(0, 10)]
        [0.0, 0.3085]
    """
    check_confidence(confidence)
    _check_counts(successes=successes, trials=trials)
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} successes among {trials} trials: give 0 <= successes <= trials, trials >= 1")
    ends = scipy.stats.binomtest(int(successes), int(trials)).proportion_ci(confidence, method="exact")
    return float(ends.low), float(ends.high)


def checked_times(times: ArrayLike, exited: ArrayLike | None) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    times = _real(times, "times")
    if times.ndim != 1 or times.size == 0:
        raise ValueError(f"times must be a 1-d array with at least one entry, not of shape {times.shape}")
    if not np.isfinite(times).all():
        raise ValueError(
            f"{np.count_nonzero(~np.isfinite(times))} of {times.size} times are NaN or infinite: "
            "leave trajectories that became NONFINITE out, and give a censored one the time it was censored at"
        )
    if times.min() < 0:
        raise ValueError(f"times must not be negative, the smallest is {times.min()}")
    exited = np.ones(times.shape, dtype=bool) if exited is None else np.asarray(exited)
    if exited.shape != times.shape:
        raise ValueError(f"times and exited must have one shape, not {times.shape} and {exited.shape}")
    if exited.dtype != np.bool_:
        raise ValueError(f"exited must be an array of bool, not of {exited.dtype}; compare exit codes with EXITED")
    return times, exited


def _real(values: ArrayLike, name: str) -> NDArray[np.float64]:
    kind = np.asarray(values).dtype.kind
    if kind not in "biuf" and np.size(values):
        raise ValueError(f"{name} must be real numbers, not of {np.asarray(values).dtype}")
    return np.asarray(values, dtype=np.float64)


def _check_counts(**counts: float) -> None:
    for name, count in counts.items():
        if not (np.ndim(count) == 0 and abs(count) < np.inf and count == int(count)):
            raise ValueError(f"{name} must be a whole number, not {count}")


def check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}; 0.95 is the usual one")


def _log_errors(sd_log: ArrayLike | None, y_interval: ArrayLike | None, size: int) -> NDArray[np.float64]:
    if (sd_log is None) == (y_interval is None):
        raise ValueError("give the errors once: sd_log or y_interval")
    if sd_log is not None:
        sd_log = np.asarray(sd_log, dtype=np.float64)
        if sd_log.ndim and sd_log.shape != (size,):
            raise ValueError(f"sd_log must be a scalar or of shape ({size},), not {sd_log.shape}")
        return np.broadcast_to(sd_log, (size,))
    ends = np.asarray(y_interval, dtype=np.float64)
    if ends.shape != (size, 2) or not np.all((ends > 0) & np.isfinite(ends)):
        raise ValueError(f"y_interval must hold {size} rows [low, high] of positive numbers")
    return np.log(ends[:, 1] / ends[:, 0]) / (2 * -scipy.special.ndtri(0.025))
