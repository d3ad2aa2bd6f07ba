"""Simulated exits."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from levyjax.arrays import cast
from levyjax.checks import require_dtype, require_kind, require_whole
from levyjax.datasets import Result, along
from levyjax.engine import Ends, ExitCode, run_chunks
from levyjax.escape.problem import EscapeProblem, ExitProcess, faces
from levyjax.schedules import Schedule
from levyjax.solvers import Iteration, JumpAdapted, Solver
from levyjax.solvers.limits import require_resolution, require_solver, require_stable, require_start


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to simulate: nothing here changes the law, and only the solver and the dtype change the numbers.

    Args:
        solver: `JumpAdapted()`, `Euler(dt)`, or `Iteration()` for the optimizer itself.
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
        require_solver(self.solver)
        require_whole(self.num_trajectories, "num_trajectories")
        require_dtype(self.dtype)
        if not self.max_time > 0:
            raise ValueError(f"max_time must be positive, got {self.max_time}.")
        if self.chunk_size is not None:
            require_whole(self.chunk_size, "chunk_size")


@dataclasses.dataclass(frozen=True)
class ExitSamples(Result):
    """How n trajectories ended, in the order of their ids.

    Attributes:
        exit_step: (n,) number of steps taken.
        exit_code: (n,) an `ExitCode`: EXITED, CENSORED or NONFINITE.
        exit_position: (n, d) the last point: outside the basin for EXITED.
        exit_face: (n,) index into `face_names` for EXITED, -1 otherwise.
        face_names: names of the basin's faces.
        step_time: time that one step takes; None where that differs from step to step.
        seconds: wall-clock time of the simulation without compilation.
        partial: whether the simulation was interrupted; see `simulate`.
        clock: (n,) the times, where step_time is None.
    """

    _dims = along({"trajectory": "exit_time exit_step exit_code exit_face", "trajectory coordinate": "exit_position"})

    exit_step: UInt64[np.ndarray, " n"]
    exit_code: Int[np.ndarray, " n"]
    exit_position: Float[np.ndarray, "n d"]
    exit_face: Int[np.ndarray, " n"]
    face_names: tuple[str, ...]
    step_time: float | None
    seconds: float
    partial: bool = False
    clock: Float[np.ndarray, " n"] | None = None

    @property
    def exit_time(self) -> Float[np.ndarray, " n"]:
        """(n,) when it ended, in double precision: exit_step times step_time, or the solver's clock."""
        if self.step_time is None:
            assert self.clock is not None
            return self.clock
        return self.exit_step.astype(np.float64) * self.step_time

    @property
    def exited(self) -> Bool[np.ndarray, " n"]:
        """(n,) whether the trajectory left the basin."""
        return self.exit_code == ExitCode.EXITED

    def _variables(self) -> dict[str, Any]:
        kept = {name: value for name, value in super()._variables().items() if name != "clock"}
        return {"exit_time": self.exit_time, **kept}

    def count(self, code: ExitCode) -> int:
        """How many trajectories ended so."""
        return int((self.exit_code == code).sum())

    def __repr__(self) -> str:
        """How many ended how, and when those that left did."""
        n, times = len(self.exit_code), self.exit_time[self.exited]
        others = [code for code in ExitCode if code != ExitCode.EXITED and self.count(code)]
        ends = [f"{self.count(code)} {code.name.lower()}" for code in (ExitCode.EXITED, *others)]
        when = f"; exit times from {times.min():.4g} to {times.max():.4g}" if times.size else ""
        return f"ExitSamples({n} trajectories: {', '.join(ends)}{when}{', partial' * self.partial})"


def _max_steps(max_time: float, step_time: float | None) -> int | None:
    if math.isinf(max_time) or step_time is None:
        return None
    steps = math.floor(min(max_time / step_time * (1 + 1e-12), 2.0**62))  # more than the engine counts
    if steps < 1:
        raise ValueError(f"max_time = {max_time} is shorter than one step of {step_time}.")
    return steps


def _check_solver(problem: EscapeProblem, solver: Solver) -> float | None:
    step_time = solver.step_time(problem)
    if isinstance(solver, JumpAdapted):
        return None
    if step_time is None:
        raise ValueError("The iteration needs a learning_rate.")
    if not isinstance(solver, Iteration) and problem.dynamics.gradient_noise != "frozen":
        ratio = float(problem.dynamics.learning_rate) / float(step_time)
        if ratio < 0.999 or abs(ratio - round(ratio)) > 1e-3 * ratio:
            raise ValueError(
                f"A random gradient_noise is drawn once each learning_rate of time: learning_rate = "
                f"{float(problem.dynamics.learning_rate):g} must be a whole multiple of dt = {float(step_time):g}."
            )
    return float(step_time)


def simulate(
    problem: EscapeProblem,
    plan: Plan,
    key: Any,
    on_progress: Callable[[int], None] | None = None,
    *,
    first_id: int = 0,
    keep_partial: bool = False,
) -> ExitSamples:
    """Simulate first exits; trajectory i is the same to the last bit for any chunk size and number of devices.

    An interrupted simulation can be used: with `keep_partial`, KeyboardInterrupt (from the keyboard or `on_progress`)
    ends it with the trajectories that were started. Those that still run are censored where they stand. To drop them
    would bias every mean towards short times, for long exits are the ones more often under way at a given moment. To
    censor them does not: when a lane started a trajectory depends on those before it, not on its own exit, so its
    censoring time is independent of its exit time, which is what `exponential_fit` and `kaplan_meier` ask for.

    Args:
        problem: what leaves what.
        plan: by which solver, how many, how long.
        key: an integer seed or a `jax.random.key`.
        on_progress: called with the number of newly ended trajectories.
        first_id: id of the first trajectory; its exit is the same as in a simulation that began with trajectory 0.
        keep_partial: return what there is when interrupted, marked `partial`; default raise.

    Returns:
        Step, time, code, point and face of every exit.

    Raises:
        ValueError: the solver needs what the problem has not got, a noise level that changes comes without max_time,
            max_time is shorter than a step, steps of an SDE are too long for the curvature at the minimum, or the dtype
            rounds the coordinates too coarsely.
        KeyboardInterrupt: interrupted without `keep_partial`, or before the first step.

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
    return joined(list(simulate_chunks(problem, plan, key, on_progress, first_id=first_id, keep_partial=keep_partial)))


def simulate_chunks(
    problem: EscapeProblem,
    plan: Plan,
    key: Any,
    on_progress: Callable[[int], None] | None = None,
    *,
    first_id: int = 0,
    keep_partial: bool = False,
) -> Iterator[ExitSamples]:
    """What `simulate` returns, chunk by chunk, in memory that does not grow with the number of trajectories."""
    require_kind(problem, EscapeProblem, "problem")
    require_kind(plan, Plan, "plan")
    require_whole(first_id, "first_id", 0)
    step_time = _check_solver(problem, plan.solver)
    if isinstance(problem.noise_level, Schedule) and math.isinf(plan.max_time):
        raise ValueError(
            "Under a noise level that changes a trajectory may never leave, so that its simulation would not end: give "
            "a max_time."
        )
    max_steps = _max_steps(plan.max_time, step_time)
    require_stable(problem, plan.solver)
    require_resolution(problem, plan.solver, plan.dtype)
    if isinstance(plan.solver, JumpAdapted):
        require_start(problem)
    with jax.enable_x64(True):
        solver = plan.solver.prepare(problem, plan.max_time)
    with jax.enable_x64(plan.dtype == "float64"):
        process = cast(ExitProcess(problem, solver), jnp.dtype(plan.dtype))
    chunks = run_chunks(
        process,
        key,
        plan.num_trajectories,
        max_steps,
        first_id=first_id,
        chunk_size=plan.chunk_size,
        devices=plan.devices,
        narrowing=step_time is not None,
        on_progress=on_progress,
        keep_partial=keep_partial,
    )
    while True:
        with jax.enable_x64(plan.dtype == "float64"):  # not while the caller has the chunk
            ends = next(chunks, None)
            if ends is None:
                return
            samples = _samples(problem, ends, step_time)
        yield samples


def _samples(problem: EscapeProblem, ends: Ends, step_time: float | None) -> ExitSamples:
    x, parts = np.split(ends.record, [problem.dimension], axis=1)
    clock = None if step_time is not None else parts.sum(axis=1, dtype=np.float64)
    face = np.where(ends.code == ExitCode.EXITED, faces(problem, x), -1)
    names = problem.basin.face_names(problem.dimension)
    return ExitSamples(ends.step, ends.code, x, face, names, step_time, ends.seconds, ends.interrupted, clock)


def joined(parts: list[ExitSamples]) -> ExitSamples:
    """Samples of one problem, one after the other."""
    first, last = parts[0], parts[-1]
    names = ("exit_step", "exit_code", "exit_position", "exit_face")
    names += () if first.clock is None else ("clock",)
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    seconds = sum(part.seconds for part in parts)
    return ExitSamples(
        **arrays, face_names=first.face_names, step_time=first.step_time, seconds=seconds, partial=last.partial
    )
