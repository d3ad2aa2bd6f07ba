"""Exit times under a noise level that changes slowly: the integrated rate."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from levyjax.datasets import Result, along
from levyjax.escape.fate import modes_at
from levyjax.escape.predict import predict
from levyjax.escape.problem import EscapeProblem
from levyjax.schedules import Schedule

_LEVELS = 9  # at which rates are worked out, over the range of the schedule
_POINTS = 4001  # of the integral over time
_SLOW = 0.02  # of the rate: by how much it may change in a relaxation time
_LEAST = 1e-3  # of the highest noise level: below it nothing leaves in the time that is left


@dataclasses.dataclass(frozen=True)
class AnnealedSurvival(Result):
    """P(T > t) = exp(-int_0^t rate(s) ds) at times t, and whether it holds.

    Attributes:
        times: (n,) t.
        survival: (n,) the probability of being inside at t.
        rate: (n,) the exit rate at the noise level of t.
        valid: whether the rates are valid at all levels, and change slowly beside the relaxation.
        reasons: why not.
    """

    _dims = along({"time": "times survival rate"})

    times: Float[np.ndarray, " n"]
    survival: Float[np.ndarray, " n"]
    rate: Float[np.ndarray, " n"]
    valid: bool
    reasons: tuple[str, ...]


def annealed_survival(
    problem: EscapeProblem, times: Any, rates: Callable[[EscapeProblem], float] | None = None
) -> AnnealedSurvival:
    """The law of exit times under a schedule: that of a rate that follows the noise level.

    At each moment the path has forgotten how loud the noise was a relaxation time ago, so that the rate is that of a
    fixed noise level. It is worked out at nine levels and interpolated between them, log by log.

    Args:
        problem: whose noise level is a schedule of time, for the SDE.
        times: (n,), not negative and increasing, in the SDE's time.
        rates: gives the exit rate of a problem with a fixed noise level, such as
            `lambda p: quasi_stationary_rate(p, relative_error=0.01).rate` where the noise is too loud for the limit;
            default `predict`'s.

    Returns:
        The probability of being inside at each time, and whether the law holds.

    Raises:
        ValueError: the noise level is no schedule of time, times that are not increasing, or no rate at a noise level.

    Source:
        Between large jumps the path is near the minimum, so that at small noise the rate of jumps that leave is that of
        their moment, at any speed of change; the bias of the limit, and exits that the flow makes later, lag by about a
        relaxation time.

    Example:
        >>> from levyjax import schedules
        >>> from levyjax.basins import Box
        >>> from levyjax.dynamics import SGD
        >>> from levyjax.landscapes import Quadratic
        >>> from levyjax.noise import Independent
        >>> slow = schedules.exponential(0.02, 2000.0)
        >>> problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(), slow)
        >>> found = annealed_survival(problem, [0.0, 1000.0, 1e5])
        >>> found.survival.round(3).tolist(), found.valid
        ([1.0, 0.452, 0.222], True)
    """
    level = problem.noise_level
    if not isinstance(level, Schedule) or level.of != "time":
        raise ValueError(
            "annealed_survival is for a noise level that is a schedule of time, such as schedules.exponential; for a "
            "fixed one take predict, and simulate for one of steps."
        )
    times = np.asarray(times, np.float64)
    if times.ndim != 1 or not times.size or not (times >= 0).all() or not (np.diff(times) > 0).all():
        raise ValueError(f"times must be numbers from 0 on in increasing order, got {times.tolist()[:4]}.")
    with jax.enable_x64(True):
        grid = _grid(level, times)
        levels = np.broadcast_to(np.asarray(level(grid), np.float64), grid.shape)
    if not (np.isfinite(levels).all() and (levels >= 0).all()):
        raise ValueError(f"The schedule gives {float(levels.min()):.3g} within these times: it must not be negative.")
    found, reasons = _rates_at(problem, levels, rates)
    reasons += _haste(problem, grid, found)
    gone = np.concatenate([[0.0], np.cumsum((found[1:] + found[:-1]) / 2 * np.diff(grid))])
    survival = np.exp(-np.interp(times, grid, gone))
    return AnnealedSurvival(times, survival, np.interp(times, grid, found), not reasons, tuple(reasons))


def _grid(level: Schedule, times: np.ndarray) -> np.ndarray:
    """Times from 0 on, evenly and closer together at the beginning, with those asked for."""
    last = times[-1]
    if last == 0:
        return np.array([0.0, 1e-300])
    even, early = np.linspace(0, last, _POINTS), np.geomspace(1e-6 * last, last, _POINTS)
    return np.unique(np.concatenate([even, early, times]))


def _rates_at(
    problem: EscapeProblem, levels: np.ndarray, rates: Callable[[EscapeProblem], float] | None
) -> tuple[np.ndarray, list[str]]:
    """The rate at each of the levels, by interpolation, and why it may not hold."""
    high = float(levels.max())
    low = max(float(levels.min()), _LEAST * high)
    nodes = np.geomspace(low, high, _LEVELS) if low < high else np.array([high])
    reasons: dict[str, float] = {}
    found = []
    for node in nodes:
        fixed = dataclasses.replace(problem, noise_level=node)
        if rates is not None:
            found.append(float(rates(fixed)))
            continue
        prediction = predict(fixed)
        if prediction.rate is None:
            raise ValueError(f"At noise_level = {node:.3g} there is no rate. {prediction.reasons[0]}")
        found.append(prediction.rate)
        if not prediction.valid:
            reasons[prediction.reasons[0]] = node
    said = [f"At noise_level = {node:.3g}: {reason}" for reason, node in list(reasons.items())[-1:]]
    with np.errstate(divide="ignore"):
        at = np.exp(np.interp(np.log(levels), np.log(nodes), np.log(found)))
    return np.where(levels >= low, at, 0.0), said


def _haste(problem: EscapeProblem, grid: np.ndarray, rates: np.ndarray) -> list[str]:
    """Why the rate does not follow the noise level: it changes too fast where exits happen."""
    with jax.enable_x64(True):
        slowest = modes_at(problem, None, np.asarray(problem.landscape.minimum)).slowest()
    if slowest == 0:
        return ["There is no restoring drift in some direction: exits have no rate that follows the noise level."]
    change = np.abs(np.diff(rates)) / np.diff(grid) / slowest  # in a relaxation time
    exits = (rates[1:] + rates[:-1]) / 2 * np.diff(grid)
    share = float((change * np.diff(grid)).sum() / exits.sum()) if exits.any() else 0.0
    if share <= _SLOW:
        return []
    return [
        f"The rate changes by {100 * share:.2g}% within a relaxation time, {1 / slowest:.3g}, where exits happen: it "
        "is that of noise some time ago."
    ]
