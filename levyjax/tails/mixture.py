"""Mixtures of Gaussians of one centre: what pooled finite-variance noise of several scales is."""

import math

import numpy as np

_BINS = 500
_SMALLEST = 1e-3  # of the values' median size: smaller scales would follow single values
_MOST_PARTS = 6
_STEPS = 400
_ENOUGH = 1e-6  # growth of the mean log-likelihood in a step at which the steps end


def mixture_logpdf(x: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Log density of sum_k weight_k N(0, scale_k^2) at x, parts (k, 2) of weights and scales."""
    weights, scales = parts.T
    exponents = np.log(weights / scales) - (x[..., None] / scales) ** 2 / 2
    largest = exponents.max(axis=-1)
    return largest + np.log(np.exp(exponents - largest[..., None]).sum(axis=-1)) - math.log(2 * math.pi) / 2


def fit_mixture(z: np.ndarray) -> np.ndarray:
    """Weights and scales (k, 2) by expectation-maximisation on binned |z|, of a median near 1.

    Two to six parts, as many as lower -2 log-likelihood + (2k - 1) log n.
    """
    squares, counts = _binned(z)
    best, least = None, math.inf
    for k in range(2, _MOST_PARTS + 1):
        levels = np.quantile(np.abs(z), 1 - 0.5 ** np.arange(k)[::-1] / (1 + (k - 1) * 0.3))
        first = np.stack([np.full(k, 1 / k), np.maximum(levels, 10 * _SMALLEST)], axis=1)
        parts, likelihood = _improve(squares, counts, first * [1.0, 1.0] + [0.0, 1e-9])
        criterion = -2 * likelihood * z.size + (2 * k - 1) * math.log(z.size)
        if criterion >= least:
            break
        best, least = parts, criterion
    assert best is not None
    return best


def _binned(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean square of every bin of log|z| that holds values, and the part of the values it holds."""
    logs = np.log(np.maximum(np.abs(z), _SMALLEST))
    index = ((logs - logs.min()) * (_BINS / (np.ptp(logs) + 1e-9))).astype(np.intp)
    counts = np.bincount(index, minlength=_BINS)
    squares = np.bincount(index, z * z, minlength=_BINS)
    kept = counts > 0
    return squares[kept] / counts[kept], counts[kept] / z.size


def _improve(squares: np.ndarray, counts: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, float]:
    before = likelihood = -math.inf
    weights, scales = parts.T
    halves = squares[:, None] / 2
    for _ in range(_STEPS):
        exponents = np.log(weights / scales) - halves / scales**2
        largest = exponents.max(axis=1, keepdims=True)
        shares = np.exp(exponents - largest)
        total = shares @ np.ones(weights.size)
        likelihood = float(counts @ (largest[:, 0] + np.log(total))) - math.log(2 * math.pi) / 2
        if likelihood - before < _ENOUGH:
            break
        before = likelihood
        expected = counts / total
        weights = np.maximum(expected @ shares, 1e-12)
        scales = np.sqrt(np.maximum((expected * squares) @ shares / weights, _SMALLEST**2))
    return np.stack([weights, scales], axis=1), likelihood
