"""How far a spread of small jumps reaches towards the boundary of a basin."""

import numpy as np
from jaxtyping import Float

from levyjax.basins import Attraction
from levyjax.solvers.motion import gauge_along
from levyjax.solvers.steps import ExitProblem

_MOST_DIMENSIONS, _ENTRIES = 1000, 4_000_000  # for which slopes are taken, and how large the points may be together
_DIFFERENCE = 1e-5  # of a displacement, over which the gauge's slope is taken


def farthest(problem: ExitProblem, vectors: Float[np.ndarray, "d n"]) -> Float[np.ndarray, " n"]:
    """The larger gauge of v and -v: along v the boundary of a convex basin is at least s/this from depth s."""
    gauges = gauge_along(problem.basin, problem.landscape.minimum, np.concatenate([vectors, -vectors], axis=1))
    return gauges.reshape(2, -1).max(axis=0)


def squared_size(parts: np.ndarray) -> float:
    """One squared spread for those in several directions: the largest, or a quarter of their sum if that is more."""
    return np.maximum(parts.max(), parts.sum() / 4)


def widest(problem: ExitProblem, covariance: Float[np.ndarray, "d d"]) -> float:
    """The size of a spread, by its principal axes and by its symmetric root, whose columns no tie makes arbitrary."""
    sizes, axes = np.linalg.eigh(covariance)
    principal = axes * np.sqrt(np.maximum(sizes, 0))
    along_axes = max(squared_size(farthest(problem, root) ** 2) for root in (principal, principal @ axes.T))
    return max(along_axes, exposed(problem, covariance))


def exposed(problem: ExitProblem, covariance: Float[np.ndarray, "d d"]) -> float:
    """The largest squared gauge of one standard deviation in any direction, by ascent from the axes.

    The standard deviation that leads furthest out where the gauge has the slope g is C g/sqrt(g' C g), of a half-space
    n'x < h the right one at once: n'C n/h^2. A basin of attraction, whose gauge is a search, is seen along axes alone.
    """
    d, by_search = problem.dimension, isinstance(problem.basin, Attraction)
    if not 1 < d <= _MOST_DIMENSIONS or by_search or not covariance.any():
        return 0.0
    origin = problem.landscape.minimum
    sizes, axes = np.linalg.eigh(covariance)
    root = axes * np.sqrt(np.maximum(sizes, 0)) @ axes.T
    starts = np.concatenate([root, -root, np.eye(d), -np.eye(d)], axis=1)
    here = gauge_along(problem.basin, origin, starts)
    some = np.argsort(-here, kind="stable")[: max(_ENTRIES // d**2, 1)]
    some = some[here[some] > 0]
    starts, here = starts[:, some], here[some]
    steps = _DIFFERENCE * np.linalg.norm(starts, axis=0)
    beside = starts[:, :, None] + steps[:, None] * np.eye(d)[:, None, :]  # (d, starts, d)
    near = gauge_along(problem.basin, origin, beside.reshape(d, -1)).reshape(-1, d)
    slopes = ((near - here[:, None]) / steps[:, None]).T
    lengths = np.sqrt((slopes * (covariance @ slopes)).sum(axis=0))
    ahead = covariance @ slopes[:, lengths > 0] / lengths[lengths > 0]
    return float(gauge_along(problem.basin, origin, ahead).max(initial=0.0) ** 2) if ahead.size else 0.0
