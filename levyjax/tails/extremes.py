"""Estimators from the largest values alone, which take no law for granted but a power-law tail."""

import dataclasses
import math
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

from levyjax.datasets import Result, along
from levyjax.tails import columns
from levyjax.tails.values import TailEstimate, centred, check_values, tied_threshold

_BIASED_FROM = {"hill": 1.35, "moment": 0.0}  # estimates on stable data from which intervals fail to cover
_COVERED = {
    "hill": "Hill's index takes the largest values for an exact power law: on stable data of index 1.8 its 95% "
    "interval covered the index in 83% (n = 1000) and 18% (n = 10,000) of 1000 samples (docs/tail_estimators.md).",
    "moment": "The moment estimator is from the largest values alone: on stable data of index 1.1 to 1.8 its 95% "
    "interval covered the index in 86% to 91% (n = 1000) and 94% to 96% (n = 10,000) of 1000 samples "
    "(docs/tail_estimators.md).",
}


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
    return _from_extremes("hill", data, num_tail, center)


def moment(data: Any, *, num_tail: int | None = None, center: bool = True) -> TailEstimate:
    """Tail index by the moment estimator, which also tells tails lighter than any power (then it is inf).

    Args:
        data: real numbers (n,), or (iterations, parameters) pooled.
        num_tail: k, how many of the largest |x| are used, 2 or more; default n/50 and at least 10.
        center: take the middle (the mean of the middle half of the values) away first.

    Returns:
        The estimate, 1/gamma; inf where the extreme-value index gamma is not positive.

    Raises:
        ValueError: the data are unusable or k does not fit.

    Source:
        Dekkers, Einmahl and de Haan 1989; the interval from their asymptotic variance.

    Example:
        >>> gaussian = np.random.default_rng(0).normal(size=10_000)
        >>> bool(moment(gaussian).interval[0] > 2)
        True
    """
    return _from_extremes("moment", data, num_tail, center)


@dataclasses.dataclass(frozen=True)
class HillPlot(Result):
    """Hill's and the moment estimate over a ladder of k.

    Attributes:
        num_tail: k, (m,), rising.
        alpha: Hill's index at each, (m,).
        interval: its 95% intervals, (m, 2).
        moment: the moment estimate at each, (m,), inf where its index is not positive.
    """

    _dims = along({"num_tail": "num_tail alpha interval moment"})

    num_tail: np.ndarray
    alpha: np.ndarray
    interval: np.ndarray
    moment: np.ndarray


def hill_plot(data: Any, *, num_points: int = 60, center: bool = True) -> HillPlot:
    """Hill's index against k, from 10 of the largest |x| to half of them: a power-law tail shows as a flat stretch.

    Args:
        data: real numbers (n,), or (iterations, parameters) pooled.
        num_points: of the ladder at most.
        center: take the middle (the mean of the middle half of the values) away first.

    Returns:
        The ladder and the estimates, for `levyjax.plots.hill_plot`.

    Raises:
        ValueError: the data are unusable.

    Source:
        Hill 1975; Dekkers, Einmahl and de Haan 1989.

    Example:
        >>> plot = hill_plot(1 + np.random.default_rng(0).pareto(1.2, size=10_000), center=False)
        >>> bool(np.ptp(plot.alpha[plot.num_tail > 500]) < 0.2)
        True
    """
    values = centred(check_values(data).ravel(), center)
    logs = np.sort(np.log(np.abs(values[values != 0])))[::-1]
    counts = np.unique(np.geomspace(min(10, logs.size // 2), logs.size // 2, num_points).astype(int))
    sums, squares = np.cumsum(logs), np.cumsum(logs**2)
    base = logs[counts]
    first = sums[counts - 1] / counts - base
    second = squares[counts - 1] / counts - 2 * base * sums[counts - 1] / counts + base**2
    with np.errstate(divide="ignore", invalid="ignore"):
        alpha = 1 / np.maximum(first, 1e-300)
        gamma = first + 1 - 0.5 / (1 - first**2 / second)
        moments = np.where(gamma > 0, 1 / gamma, math.inf)
    ends = alpha * scipy.stats.chi2.ppf([[0.025], [0.975]], 2 * counts) / (2 * counts)
    return HillPlot(counts, alpha, ends.T, moments)


def _from_extremes(method: str, data: Any, num_tail: int | None, center: bool) -> TailEstimate:
    values = centred(check_values(data).ravel(), center)
    nonzero = values[values != 0]
    k = max(10, nonzero.size // 50) if num_tail is None else num_tail
    if k != int(k) or not 2 <= k < nonzero.size:
        raise ValueError(f"num_tail {k} does not fit {nonzero.size} nonzero values. Give 2 or more, and below it.")
    with np.errstate(divide="ignore", invalid="ignore"):
        found = getattr(columns, method)(nonzero[:, None], np, num_tail=int(k))
    alpha, low, high = (float(part[0]) if not np.isnan(part[0]) else math.inf for part in found)
    warnings = [_COVERED[method]] if _BIASED_FROM[method] < alpha < 4 else []
    sizes = np.abs(nonzero)
    threshold = np.partition(sizes, sizes.size - int(k) - 1)[sizes.size - int(k) - 1]
    warnings += tied_threshold(int((sizes == threshold).sum()), int(k))
    return TailEstimate(
        alpha, (low, high), method, {"num_tail": int(k), "center": center}, values.size, tuple(warnings)
    )
