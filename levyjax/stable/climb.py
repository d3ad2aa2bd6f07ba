"""Maxima of many log-likelihoods within ranges, by Levenberg and Marquardt's steps; saddles are left."""

import math
from collections.abc import Callable

import numpy as np

_STEPS = 200
_PART = 1e-3  # of a standard error, to which the maximum is found
_ROUNDING = 1e-6  # of a score
_SADDLE = -0.05  # a curvature, beside the scores' own size, below which it is not rounding
_CLIMBS = 4  # the last of which is only looked at

Evaluate = Callable[[np.ndarray], tuple[np.ndarray, ...]]
"""Variables (batch, m) to the mean log densities, scores (batch, m) and the mean products of the scores."""


def _stuck(theta: np.ndarray, score: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Which variables are held, or at an end of their range and would go on."""
    return (low == high) | ((theta <= low) & (score < 0)) | ((theta >= high) & (score > 0))


def _maximize(
    theta: np.ndarray, evaluate: Evaluate, low: np.ndarray, high: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Where the climb ends, the mean log densities and the products of the scores there, and whether scores vanish."""
    tolerance = max(_PART / math.sqrt(n), _ROUNDING)
    value, score, information = evaluate(theta)
    damping, done = np.full(len(theta), 1e-3), np.zeros(len(theta), bool)
    identity = np.eye(theta.shape[1])
    for _ in range(_STEPS):
        free = ~_stuck(theta, score, low, high)
        sizes = np.einsum("bii->bi", information)
        done |= (np.abs(score * free) <= tolerance * np.sqrt(sizes) + 1e-12).all(1)
        if (done | (damping > 1e7)).all():
            break
        matrix = information * free[:, None, :] * free[:, :, None]
        matrix += (damping[:, None] * sizes + 1e-12 + ~free)[:, :, None] * identity
        move = np.clip(np.linalg.solve(matrix, (score * free)[:, :, None])[:, :, 0], -1.5, 1.5)
        proposed = np.where(done[:, None], theta, np.clip(theta + move, low, high))
        new = evaluate(proposed)
        better = new[0] >= value
        theta = np.where(better[:, None], proposed, theta)
        value, score = np.where(better, new[0], value), np.where(better[:, None], new[1], score)
        information = np.where(better[:, None, None], new[2], information)
        damping = np.where(better, damping / 10, damping * 10 + 1e-3)
    return theta, value, information, done


def climb(
    theta: np.ndarray, evaluate: Evaluate, low: np.ndarray, high: np.ndarray, n: int, step: float, without: Callable
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The maxima of mean log densities.

    Args:
        theta: where to start, (batch, m).
        evaluate: as `Evaluate`.
        low: ends of the ranges, (batch, m); the same in `high` for a variable that is held.
        high: the other ends.
        n: number of values of each data set.
        step: of the differences of the scores that give the observed information.
        without: which variables (batch, m) have no standard deviation at some point.

    Returns:
        The points, the mean log densities and the observed information of one value there, and whether they are maxima.
    """
    theta, value, products, done = _maximize(theta, evaluate, low, high, n)
    information, saddle = products, ~done
    for climb_number in range(1, _CLIMBS + 1):
        information = _information(theta, evaluate, low == high, step)
        bend, way = _least_bend(information, products, without(theta))
        saddle = done & (bend < _SADDLE)
        if climb_number == _CLIMBS or not saddle.any():
            break
        aside = [np.clip(theta + sign * saddle[:, None] * way, low, high) for sign in (1, -1)]
        values = [evaluate(one)[0] for one in aside]
        theta = np.where((values[0] >= values[1])[:, None], *aside)
        theta, value, products, done = _maximize(theta, evaluate, low, high, n)
    return theta, value, information, done & ~saddle


def _least_bend(information: np.ndarray, products: np.ndarray, at_end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least curvature downwards beside the scores' size, and a short way along it."""
    size = np.sqrt(np.einsum("bii->bi", products) + 1e-12)
    scaled = information / size[:, :, None] / size[:, None, :] * ~at_end[:, None, :] * ~at_end[:, :, None]
    scaled = np.nan_to_num(scaled) + at_end[:, :, None] * np.eye(at_end.shape[1])
    values, vectors = np.linalg.eigh(scaled)
    return values[:, 0], 0.1 * vectors[:, :, 0] * ~at_end / np.maximum(size, 0.1)


def _information(theta: np.ndarray, evaluate: Evaluate, held: np.ndarray, step: float) -> np.ndarray:
    """The observed information of one value, (batch, 4, 4), by differences of the scores; 0 for what is held."""
    matrix = np.zeros((*theta.shape, theta.shape[1]))
    for variable in np.flatnonzero(~held[0]):
        shift = step * np.eye(theta.shape[1])[variable]
        matrix[:, :, variable] = (evaluate(theta - shift)[1] - evaluate(theta + shift)[1]) / (2 * step)
    return (matrix + matrix.transpose(0, 2, 1)) / 2
