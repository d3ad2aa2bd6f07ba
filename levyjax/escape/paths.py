"""Whole paths of a few trajectories, for the eye."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from levyjax.arrays import cast
from levyjax.checks import require_kind
from levyjax.datasets import Result, along
from levyjax.engine import observe_on
from levyjax.escape.problem import EscapeProblem, ExitProcess
from levyjax.escape.simulate import Plan

_MOST = 1 << 26  # numbers that are held at once
_PART = 1 << 10  # steps of one compiled call, for whole blocks of lanes


@dataclasses.dataclass(frozen=True)
class ExitPaths(Result):
    """Points of paths from the start to the exit or the last step.

    Attributes:
        x: (n, d, num_steps + 1); after the exit a path stays where it left.
        exit_step: (n,) the step of the exit, or num_steps.
        exit_code: (n,) an `ExitCode`: EXITED, CENSORED (at num_steps or the plan's max_time) or NONFINITE.
    """

    _dims = along({"trajectory coordinate step": "x", "trajectory": "exit_step exit_code"})

    x: Float[np.ndarray, "n d steps"]
    exit_step: Int[np.ndarray, " n"]
    exit_code: Int[np.ndarray, " n"]

    def tracks(self) -> list[Float[np.ndarray, "d steps"]]:
        """The paths, each as long as it lasted: what `plots.basin_with_paths` draws."""
        return [x[:, : step + 1] for x, step in zip(self.x, self.exit_step, strict=True)]


def simulate_paths(
    problem: EscapeProblem, plan: Plan, num_steps: int, key: Any, *, trajectories: Sequence[int] | None = None
) -> ExitPaths:
    """The first steps of a few trajectories; path i has the random numbers of trajectory i of `simulate`.

    All points are kept, so this is for figures; exit times of many trajectories are `simulate`'s.

    Args:
        problem: what leaves what.
        plan: the solver, the number of paths and the dtype; the other fields as in `simulate`, if they matter.
        num_steps: of the solver, at most.
        key: an integer seed or a `jax.random.key`.
        trajectories: the ids of the paths; default those from 0 on.

    Raises:
        ValueError: num_steps below 1, or more than 2^26 numbers to hold.

    Example:
        >>> from levyjax.basins import Box
        >>> from levyjax.dynamics import SGD
        >>> from levyjax.landscapes import Quadratic
        >>> from levyjax.noise import Independent
        >>> from levyjax.solvers import Euler
        >>> problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(), 0.5)
        >>> paths = simulate_paths(problem, Plan(Euler(0.1), num_trajectories=3), 200, key=0)
        >>> paths.x.shape, float(abs(paths.tracks()[0][0, -1])) > 1
        ((3, 1, 201), True)
    """
    require_kind(problem, EscapeProblem, "problem")
    require_kind(plan, Plan, "plan")
    ids = np.arange(plan.num_trajectories) if trajectories is None else np.asarray(trajectories)
    if num_steps < 1 or num_steps * ids.size * problem.dimension > _MOST:
        raise ValueError(
            f"num_steps must be at least 1, and paths x steps x dimensions at most 2^26, got {ids.size} "
            f"paths of {num_steps} steps in {problem.dimension} dimensions."
        )
    with jax.enable_x64(True):
        solver = plan.solver.prepare(problem, plan.max_time)
    with jax.enable_x64(plan.dtype == "float64"):
        process = cast(ExitProcess(problem, solver), jnp.dtype(plan.dtype))
        looks = min(num_steps, _PART)
        parts = list(observe_on(process, key, ids, 1, point_of, looks, max_steps=num_steps, devices=plan.devices))
        start = np.broadcast_to(np.asarray(process.start().x), (problem.dimension, ids.size))
    x = np.concatenate([start[None], *(part.seen for part in parts)])[: num_steps + 1]
    x = np.pad(x, ((0, num_steps + 1 - len(x)), (0, 0), (0, 0)), mode="edge")  # where all have left
    return ExitPaths(x.transpose(2, 1, 0), parts[-1].step.astype(np.int64), parts[-1].code)


def point_of(state: Any) -> Float[Array, "d lanes"]:
    """Where lanes are."""
    return state.x
