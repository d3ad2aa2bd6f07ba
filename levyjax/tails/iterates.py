"""The tail index that a step size gives to the iterates of linear regression on a stream of Gaussian data."""

import itertools
import math
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

_PANELS, _NODES = 20, 8  # errors of alpha up to 5e-6, against 80 panels
_TAIL = 1e-17  # of the probability, left out at either end
_LARGEST = 500.0


def critical_learning_rate(batch_size: int, dimension: int) -> float:
    """2b/(b + d + 1): from here on the stationary law of the iterates has no variance.

    |(I - (eta/b) H) e_1|^2 has the mean 1 - 2 eta + eta^2 (b + d + 1)/b, for E H = b I and E H^2 = b (b + d + 1) I.

    Args:
        batch_size: b.
        dimension: d.

    Raises:
        ValueError: a size below 1.

    Source:
        Gürbüzbalaban, Simsekli and Zhu 2021, proposition 5.

    Example:
        >>> critical_learning_rate(2, 5)
        0.5
    """
    _check_sizes(batch_size, dimension)
    return 2 * batch_size / (batch_size + dimension + 1)


def iterate_tail_index(learning_rate: float, batch_size: int, dimension: int) -> float:
    """The tail index of x <- x - (eta/b) sum_i a_i (a_i'x - y_i), with b fresh a_i ~ N(0, I_d) a step, at stationarity.

    It solves E|(I - (eta/b) H) e_1|^alpha = 1, H = sum_i a_i a_i'. With h = H_11 and given the first coordinates,
    |(I - s H) e_1|^2 = (1 - s h)^2 + s^2 h W: h is chi-square with b degrees of freedom, W with d - 1. So the mean is a
    two-dimensional integral.

    Args:
        learning_rate: eta.
        batch_size: b.
        dimension: d.

    Returns:
        alpha > 0, of the distribution function: P(|x| > u) ~ c u^-alpha. Above 2 it is of a law with a variance.

    Raises:
        ValueError: a learning rate that is not positive, or so large that there is no stationary law, or so small that
            alpha is above 500; a size below 1.

    Source:
        Kesten 1973; Gürbüzbalaban, Simsekli and Zhu 2021, theorem 2 with its rotation-invariant case.

    Example:
        >>> round(iterate_tail_index(0.5, 2, 5), 6)
        2.0
    """
    _check_sizes(batch_size, dimension)
    if not learning_rate > 0 or not math.isfinite(learning_rate):
        raise ValueError(f"learning_rate must be positive, got {learning_rate}.")
    log_size, weights = _contraction(learning_rate / batch_size, batch_size, dimension)
    if weights @ log_size >= 0:
        raise ValueError(
            f"At learning_rate = {learning_rate:g} the iterates grow without end (E log|(I - (eta/b) H) e_1| is not "
            "negative): there is no stationary law; take a smaller one."
        )

    def log_mean(alpha: float) -> float:
        shifted = alpha * log_size
        top = shifted.max()
        return float(top + np.log(weights @ np.exp(shifted - top)))

    low = high = 1.0
    while log_mean(low) >= 0:
        low /= 2
    while log_mean(high) <= 0:
        high *= 2
        if high > _LARGEST:
            raise ValueError(f"At learning_rate = {learning_rate:g} the tail index is above {_LARGEST:g}.")
    found: Any = scipy.optimize.brentq(log_mean, low, high, xtol=1e-12)
    return float(found)


def _check_sizes(batch_size: int, dimension: int) -> None:
    for name, size in (("batch_size", batch_size), ("dimension", dimension)):
        if size != int(size) or size < 1:
            raise ValueError(f"{name} must be a whole number of 1 or more, got {size}.")


def _contraction(scale: float, batch_size: int, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """log|(I - s H) e_1| at the nodes of a quadrature, and their weights."""
    h, first = _chi_square_nodes(batch_size, 1 / scale)
    if dimension == 1:
        return np.log(np.abs(1 - scale * h)), first
    w, second = _chi_square_nodes(dimension - 1)
    square = (1 - scale * h[:, None]) ** 2 + scale**2 * h[:, None] * w
    return np.log(square).ravel() / 2, (first[:, None] * second).ravel()


def _chi_square_nodes(degrees: int, split: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for a mean over chi-square, Gauss-Legendre in the logarithm; a panel ends at `split`."""
    law: Any = scipy.stats.chi2(degrees)
    low, high = math.log(max(law.ppf(_TAIL), 1e-300)), math.log(law.isf(_TAIL * 1e-60))
    edges = [low, high] if split is None or not low < math.log(split) < high else [low, math.log(split), high]
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    logs, parts = [], []
    for start, end in itertools.pairwise(edges):
        # panels that narrow towards both ends, where a split makes a logarithmic singularity
        grid = start + (end - start) * (1 - np.cos(np.pi * np.arange(_PANELS + 1) / _PANELS)) / 2
        half = np.diff(grid)[:, None] / 2
        logs.append((grid[:-1, None] + half * (1 + nodes)).ravel())
        parts.append((half * weights).ravel())
    log_value, width = np.concatenate(logs), np.concatenate(parts)
    value = np.exp(log_value)
    density = np.exp(law.logpdf(value) + log_value) * width
    return value, density / density.sum()
