"""Whole paths of a few trajectories, for the eye."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from levyjax.arrays import cast
from levyjax.datasets import Result, along
from levyjax.engine import ExitCode
from levyjax.escape.problem import EscapeProblem, ExitProcess
from levyjax.escape.simulate import Plan
from levyjax.random import first_counter, run_key

_MOST = 1 << 26  # numbers that are held at once


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
        trajectories: the ids of the paths, below 2^32; default those from 0 on.

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
        x, steps, code = _run(process, run_key(key), jnp.asarray(ids, jnp.uint32), num_steps)
        return ExitPaths(np.asarray(x).transpose(2, 1, 0), np.asarray(steps), np.asarray(code))


@partial(jax.jit, static_argnames=("num_steps",))
def _run(process: ExitProcess, key: Any, ids: Array, num_steps: int) -> tuple[Array, Array, Array]:
    first, count = first_counter(key, ids), ids.size
    state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*leaf.shape[:-1], count)), process.start())

    def step(carry: tuple[Any, Array, Array], at: Array) -> tuple[tuple[Any, Array, Array], Array]:
        state, code, taken = carry
        running = code == ExitCode.RUNNING
        moved = process.step(state, first._replace(low=jnp.broadcast_to(at, first.low.shape)))
        state = jax.tree.map(lambda new, old: jnp.where(running, new, old), moved, state)
        finite = jnp.isfinite(process.record(state)).all(axis=0)
        status = jnp.where(finite, process.status(state), jnp.int32(ExitCode.NONFINITE))
        return (state, jnp.where(running, status, code), taken + running.astype(jnp.int32)), state.x

    start = state, jnp.full(count, jnp.int32(ExitCode.RUNNING)), jnp.zeros(count, jnp.int32)
    (_, code, taken), x = lax.scan(step, start, jnp.arange(num_steps, dtype=jnp.uint32))
    code = jnp.where(code == ExitCode.RUNNING, jnp.int32(ExitCode.CENSORED), code)
    return jnp.concatenate([state.x[None], x]), taken, code
