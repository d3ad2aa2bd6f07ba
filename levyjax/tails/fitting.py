"""Maximum likelihood by the scores of the single values: a few steps, with standard errors."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

_DIFFERENCE = 1e-4
_LARGEST_STEP = 0.5
_ENOUGH = 1e-3  # of log-likelihood that a further step may still promise
_LARGEST_SCORE = 1e100  # of a value that the law all but rules out
_FARTHEST = 1e100  # beyond, squares overflow
_STEPS = 25
_BY_SCORES = 12  # steps, after which the curvature is found by differences
_CURVATURE_STEP = 1e-3

Logpdf = Callable[[np.ndarray, Any], np.ndarray]


def maximise(
    logpdf: Logpdf, values: np.ndarray, start: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray]:
    """Location, log scale and shape parameters of largest likelihood.

    Steps solve (sum of s s') step = sum of s, with s the score of one value: Newton's step for a true law and many
    values (Berndt, Hall, Hall and Hausman 1974). Where the law is far from true a few values dominate that sum, and
    after 12 steps the curvature takes its place. A step that does not help is halved; a parameter at its bound stays
    there while its score points outwards.

    Args:
        logpdf: log density of (values, shape parameters), symmetric around 0 with scale 1.
        values: (n,), of a median size near 1.
        start: (2 + m,): location, log scale, m shape parameters.
        low: least shape parameters, (m,).
        high: largest shape parameters, (m,).

    Returns:
        The parameters, the log-likelihood and the covariance (2 + m, 2 + m), with zeros for a parameter at its bound.
    """
    low, high = np.concatenate([[-np.inf, -np.inf], low]), np.concatenate([[np.inf, np.inf], high])
    at = np.clip(start, low, high)
    total = _total(logpdf, values, at)
    for index in range(_STEPS):
        scores = _scores(logpdf, values, at)
        scores = np.clip(np.nan_to_num(scores), -_LARGEST_SCORE, _LARGEST_SCORE)  # nan: no density reaches the value
        gradient, information = scores.sum(axis=0), scores.T @ scores
        if index >= _BY_SCORES:
            information = _curvature(logpdf, values, at)
        free = ~(((at <= low) & (gradient < 0)) | ((at >= high) & (gradient > 0)))
        step = _step(gradient, information, free)
        promised = float(step @ gradient) / 2
        better, reached = _search(functools.partial(_total, logpdf, values), at, total, step, (low, high))
        if reached <= total:
            break
        at, total = better, reached
        if promised < _ENOUGH:
            break
    covariance = np.zeros((at.size, at.size))
    inner = free & (at > low) & (at < high)
    covariance[np.ix_(inner, inner)] = np.linalg.pinv(information[np.ix_(inner, inner)])
    return at, total, covariance


def _total(logpdf: Logpdf, values: np.ndarray, at: np.ndarray) -> float:
    return float(logpdf((values - at[0]) * np.exp(-at[1]), at[2:]).sum()) - values.size * float(at[1])


def _curvature(logpdf: Logpdf, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Minus the second derivatives of the log-likelihood, their eigenvalues made positive."""
    h = _CURVATURE_STEP * np.eye(at.size)
    total = functools.partial(_total, logpdf, values)
    matrix = np.array(
        [[total(at + a + b) - total(at + a - b) - total(at - a + b) + total(at - a - b) for a in h] for b in h]
    )
    sizes, directions = np.linalg.eigh(matrix / (4 * _CURVATURE_STEP**2))
    sizes = np.maximum(np.abs(sizes), 1e-9 * np.abs(sizes).max())
    return (directions * sizes) @ directions.T


def _step(gradient: np.ndarray, information: np.ndarray, free: np.ndarray) -> np.ndarray:
    step = np.zeros_like(gradient)
    inner = information[np.ix_(free, free)]
    inner = inner + 1e-9 * np.diag(np.diag(inner) + 1e-9)
    step[free] = np.linalg.solve(inner, gradient[free])
    return step * min(1.0, _LARGEST_STEP / float(np.abs(step).max() + 1e-300))


def _search(
    total_at: Callable[[np.ndarray], float],
    at: np.ndarray,
    total: float,
    step: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, float]:
    """The step, or a half, a quarter, ... of it, and the log-likelihood it reaches."""
    for _ in range(12):
        trial = np.clip(at + step, *bounds)
        reached = total_at(trial)
        if reached > total:
            return trial, reached
        step = step / 2
    return at, total


def _scores(logpdf: Logpdf, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """d log f / d parameters of every value, (n, 2 + m), by central differences."""
    with np.errstate(all="ignore"):
        return _differences(logpdf, values, at)


def _differences(logpdf: Logpdf, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    scale = np.exp(at[1])
    z = np.clip((values - at[0]) / scale, -_FARTHEST, _FARTHEST)
    h = _DIFFERENCE * (1 + np.abs(z))
    slope = (logpdf(z + h, at[2:]) - logpdf(z - h, at[2:])) / (2 * h)
    scores = np.empty((z.size, at.size))
    scores[:, 0] = -slope / scale
    scores[:, 1] = -1 - z * slope
    for j in range(2, at.size):
        shift = np.where(np.arange(2, at.size) == j, _DIFFERENCE, 0.0)
        scores[:, j] = (logpdf(z, at[2:] + shift) - logpdf(z, at[2:] - shift)) / (2 * _DIFFERENCE)
    return scores
