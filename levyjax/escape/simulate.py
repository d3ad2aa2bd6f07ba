"""Simulated exits."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from levyjax.arrays import cast
from levyjax.engine import ExitCode, run
from levyjax.escape.problem import EscapeProblem, ExitProcess, faces
from levyjax.solvers import Iteration, Solver


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to simulate: nothing here changes the law, and only the solver and the dtype change the numbers.

    Args:
        solver: `Euler(dt)`, or `Iteration()` for the optimizer itself.
        num_trajectories: how many exits to sample.
        max_time: censoring time, in the SDE's time (learning_rate times iterations); inf for none.
        dtype: "float32" or "float64".
        chunk_size: trajectories on the devices at once; default by memory.
        devices: default all local devices.
    """

    solver: Solver
    num_trajectories: int = 4096
    max_time: float = math.inf
    dtype: str = "float32"
    chunk_size: int | None = None
    devices: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        if self.num_trajectories < 1:
            raise ValueError(f"num_trajectories must be at least 1, got {self.num_trajectories}.")
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {self.dtype!r}.")
        if not self.max_time > 0:
            raise ValueError(f"max_time must be positive, got {self.max_time}.")
        if self.chunk_size is not None and self.chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1, got {self.chunk_size}.")


@dataclasses.dataclass(frozen=True)
class ExitSamples:
    """How n trajectories ended, in the order of their ids.

    Attributes:
        exit_step: (n,) number of steps taken.
        exit_code: (n,) an `ExitCode`: EXITED, CENSORED or NONFINITE.
        exit_position: (n, d) the last point: outside the basin for EXITED.
        exit_face: (n,) index into `face_names` for EXITED, -1 otherwise.
        face_names: names of the basin's faces.
        step_time: time that one step takes.
        seconds: wall-clock time of the simulation without compilation.
    """

    exit_step: UInt64[np.ndarray, " n"]
    exit_code: Int[np.ndarray, " n"]
    exit_position: Float[np.ndarray, "n d"]
    exit_face: Int[np.ndarray, " n"]
    face_names: tuple[str, ...]
    step_time: float
    seconds: float

    @property
    def exit_time(self) -> Float[np.ndarray, " n"]:
        """(n,) exit_step times step_time, in double precision."""
        return self.exit_step.astype(np.float64) * self.step_time

    @property
    def exited(self) -> Bool[np.ndarray, " n"]:
        """(n,) whether the trajectory left the basin."""
        return self.exit_code == ExitCode.EXITED

    def count(self, code: ExitCode) -> int:
        """How many trajectories ended so."""
        return int((self.exit_code == code).sum())


def _max_steps(max_time: float, step_time: float) -> int | None:
    if math.isinf(max_time):
        return None
    steps = math.floor(max_time / step_time * (1 + 1e-12))
    if steps < 1:
        raise ValueError(f"max_time = {max_time} is shorter than one step of {step_time}.")
    return steps


def _check_solver(problem: EscapeProblem, solver: Solver) -> float:
    step_time = solver.step_time(problem)
    if step_time is None:
        raise ValueError("The iteration needs a learning_rate.")
    if not isinstance(solver, Iteration) and getattr(problem.dynamics, "gradient_noise", "frozen") != "frozen":
        ratio = float(problem.dynamics.learning_rate) / float(step_time)
        if ratio < 0.999 or abs(ratio - round(ratio)) > 1e-3 * ratio:
            raise ValueError(
                f"A random gradient_noise is drawn once each learning_rate of time: learning_rate = "
                f"{float(problem.dynamics.learning_rate):g} must be a whole multiple of dt = {float(step_time):g}."
            )
    return float(step_time)


def simulate(
    problem: EscapeProblem, plan: Plan, key: Any, on_progress: Callable[[int], None] | None = None
) -> ExitSamples:
    """Simulate first exits; trajectory i is the same to the last bit for any chunk size and number of devices.

    Args:
        problem: what leaves what.
        plan: by which solver, how many, how long.
        key: an integer seed or a `jax.random.key`.
        on_progress: called with the number of newly ended trajectories.

    Returns:
        Step, time, code, point and face of every exit.

    Raises:
        ValueError: the solver needs what the problem has not got, or max_time is shorter than a step.

    Example:
        >>> from levyjax.basins import Box
        >>> from levyjax.dynamics import SGD
        >>> from levyjax.landscapes import Quadratic
        >>> from levyjax.noise import Independent
        >>> from levyjax.solvers import Euler
        >>> problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(), 0.1)
        >>> samples = simulate(problem, Plan(Euler(0.05), num_trajectories=256), key=0)
        >>> samples.count(ExitCode.EXITED)
        256
    """
    step_time = _check_solver(problem, plan.solver)
    max_steps = _max_steps(plan.max_time, step_time)
    with jax.enable_x64(plan.dtype == "float64"):
        process = cast(ExitProcess(problem, plan.solver), jnp.dtype(plan.dtype))
        ends = run(
            process,
            key,
            plan.num_trajectories,
            max_steps,
            chunk_size=plan.chunk_size,
            devices=plan.devices,
            on_progress=on_progress,
        )
        face = np.where(ends.code == ExitCode.EXITED, faces(problem, ends.x), -1)
    names = problem.basin.face_names(problem.dimension)
    return ExitSamples(ends.step, ends.code, ends.x, face, names, step_time, ends.seconds)
