"""One trajectory of a sweep or a run once more, step by step."""

import dataclasses
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from levyjax.arrays import cast
from levyjax.config.build import build_plan, build_problem
from levyjax.datasets import Result, along
from levyjax.engine import ExitCode, observe_on
from levyjax.escape import EscapeProblem, Plan
from levyjax.escape.paths import point_of
from levyjax.escape.problem import ExitProcess
from levyjax.sweep.store import ChunkStore

_WINDOW = 1024  # steps between two looks from the host
_LAST = 20  # points that are kept


@dataclasses.dataclass(frozen=True)
class Replay(Result):
    """How one trajectory went.

    Attributes:
        exit_step: steps taken.
        exit_code: an `ExitCode`; NONFINITE at the first step after which a number is not finite.
        exit_position: (d,) the last point.
        last_steps: (k,) the steps of `last_points`.
        last_points: (k, d) the points before the end, and that of the end.
    """

    _dims = along({"coordinate": "exit_position", "last_steps": "last_steps", "last_steps coordinate": "last_points"})

    exit_step: int
    exit_code: ExitCode
    exit_position: Float[np.ndarray, " d"]
    last_steps: np.ndarray
    last_points: Float[np.ndarray, "k d"]


def replay(problem: EscapeProblem, plan: Plan, key: Any, trajectory: int, max_steps: int | None = None) -> Replay:
    """Run one trajectory of `simulate` again and keep its last points.

    Args:
        problem: what leaves what.
        plan: by which solver; `num_trajectories` plays no part.
        key: the integer seed or `jax.random.key` of the simulation.
        trajectory: its id.
        max_steps: stop after so many; default when it ends, or at the plan's max_time.

    Returns:
        The end and the last 20 points. Unlike a simulation, which looks every few steps, it finds the very step at
        which a number ceases to be finite.
    """
    if not 0 <= trajectory < 2**63:
        raise ValueError(f"trajectory = {trajectory} is refused: give an id from 0 on.")
    with jax.enable_x64(True):
        solver = plan.solver.prepare(problem, plan.max_time)
    step_time = solver.step_time(problem)
    limit = np.inf if step_time is None else np.floor(plan.max_time / float(step_time) * (1 + 1e-12))
    limit = min(limit, np.inf if max_steps is None else max_steps)
    with jax.enable_x64(plan.dtype == "float64"):
        process = cast(ExitProcess(problem, solver), jnp.dtype(plan.dtype))
        points, step, code = [(0, np.asarray(process.start().x)[:, 0])], 0, ExitCode.RUNNING
        for part in observe_on(
            process, key, [trajectory], 1, point_of, _WINDOW, max_steps=None if np.isinf(limit) else int(limit)
        ):
            before, step, code = step, int(part.step[0]), ExitCode(int(part.code[0]))
            new = range(max(step - before - _LAST, 0), step - before)
            points = [*points, *((before + 1 + i, part.seen[i, :, 0]) for i in new)][-_LAST:]
    steps, last = zip(*points, strict=True)
    return Replay(step, code, last[-1], np.array(steps), np.array(last))


def replay_stored(folder: str | os.PathLike[str], trajectory: int, cell: int = 0) -> dict[str, Any]:
    """A trajectory of a run's or a sweep's folder, beside what its chunk has.

    Raises:
        ValueError: there is no such cell or trajectory.
    """
    store = ChunkStore.open(folder)
    if not 0 <= cell < len(store.config.cells):
        raise ValueError(f"--cell {cell} is refused: the sweep has cells 0 to {len(store.config.cells) - 1}.")
    chosen = store.config.cells[cell]
    total = chosen.config.run.num_trajectories
    if chosen.config.run.method == "quasi_stationary":
        raise ValueError(f"cell {cell} is a quasi-stationary rate, which has no trajectories.")
    if not 0 <= trajectory < total:
        raise ValueError(f"--trajectory {trajectory} is refused: the cell has trajectories 0 to {total - 1}.")
    found = replay(
        build_problem(chosen.config, chosen.cell), build_plan(chosen.config), chosen.config.run.seed, trajectory
    )
    chunk = trajectory // store.config.chunk_size
    stored = _stored(store, found, cell, chunk, trajectory - store.config.bounds(cell, chunk)[0])
    return {**chosen.coordinates, "cell": cell, "trajectory": trajectory, **_described(found), **stored}


def _described(found: Replay) -> dict[str, Any]:
    last = [{"step": int(step), "x": x} for step, x in zip(found.last_steps, found.last_points, strict=True)]
    return {
        "exit_code": found.exit_code.name,
        "exit_step": found.exit_step,
        "exit_position": found.exit_position,
        "last_points": last,
    }


def _stored(store: ChunkStore, found: Replay, cell: int, chunk: int, index: int) -> dict[str, Any]:
    """What the chunk has, and whether it is the same to the last bit; a simulation sees NaN a few steps later."""
    try:
        arrays = store.read(cell, chunk)
    except FileNotFoundError:
        return {"stored": None, "same_bits": None}
    code, step, x = (arrays[name][index] for name in ("exit_code", "exit_step", "exit_position"))
    same = code == found.exit_code
    if code != ExitCode.NONFINITE:
        same = same and step == found.exit_step and x.tobytes() == found.exit_position.tobytes()
    stored = {"exit_code": ExitCode(int(code)).name, "exit_step": int(step), "exit_position": x}
    return {"stored": stored, "same_bits": bool(same)}
