"""Mean exit times over a grid of starts."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from levyjax.arrays import parameter
from levyjax.checks import require_kind
from levyjax.datasets import Result, along
from levyjax.escape.problem import EscapeProblem
from levyjax.escape.simulate import Plan, simulate


@dataclasses.dataclass(frozen=True)
class ExitProfile(Result):
    """Mean exit times by where the paths start.

    Attributes:
        starts: (n, d).
        mean_exit_time: (n,) over all trajectories of a start; NaN where some did not exit.
        standard_error: (n,) of that mean.
        exited: (n,) the part of the trajectories that exited.
    """

    _dims = along({"start coordinate": "starts", "start": "mean_exit_time standard_error exited"})

    starts: Float[np.ndarray, "n d"]
    mean_exit_time: Float[np.ndarray, " n"]
    standard_error: Float[np.ndarray, " n"]
    exited: Float[np.ndarray, " n"]


def exit_profile(problem: EscapeProblem, starts: Any, plan: Plan, key: Any) -> ExitProfile:
    """Simulate exits from each of many starts, with one compiled program and the same random numbers for all.

    Args:
        problem: what leaves what; its own start is not used.
        starts: (n, d), each in the basin.
        plan: as for `simulate`, for each start.
        key: an integer seed or a `jax.random.key`.

    Raises:
        ValueError: a start that is not in the basin, or of another dimension.

    Example:
        >>> from levyjax.basins import Box
        >>> from levyjax.dynamics import SGD
        >>> from levyjax.landscapes import Quadratic
        >>> from levyjax.noise import Independent
        >>> from levyjax.solvers import JumpAdapted
        >>> problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(), 1.0)
        >>> profile = exit_profile(problem, [[0.0], [0.9]], Plan(JumpAdapted(), 256), key=0)
        >>> bool(profile.mean_exit_time[0] > profile.mean_exit_time[1])
        True
    """
    require_kind(problem, EscapeProblem, "problem")
    require_kind(plan, Plan, "plan")
    starts = np.asarray(starts, np.float64)
    if starts.ndim != 2 or len(starts) == 0:
        raise ValueError(f"starts must be (n, d), one row for each start, got shape {starts.shape}.")
    problems = [dataclasses.replace(problem, start=parameter(start, "start", ndim=(1,))) for start in starts]
    rows = []
    for one in problems:
        samples = simulate(one, plan, key)
        times, exited = samples.exit_time, samples.exited.mean()
        mean = times.mean() if exited == 1 else np.nan
        rows.append((mean, times.std() / np.sqrt(len(times)), exited))
    mean, error, exited = np.array(rows).T
    return ExitProfile(starts, mean, np.where(exited == 1, error, np.nan), exited)
