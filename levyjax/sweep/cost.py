"""What a sweep will cost, said before it starts."""

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from levyjax.config.build import build_plan, build_problem
from levyjax.config.grid import SweepCell, SweepConfig
from levyjax.escape import simulate
from levyjax.sweep.rows import checked_problem

_PILOT_TRAJECTORIES, _PILOT_STEPS = 4096, 512
_PILOTS = 4  # programs that are tried; others count as their mean
_MOST_CHECKED = 20  # cells; a prediction takes from 10 ms to a second


def check_hardest(config: SweepConfig) -> None:
    """Refuse a sweep that would not end, before it starts: looks at the 20 cells of least noise, and of those of the
    same noise at the largest alpha first. The other cells are looked at when their turn comes.

    Raises:
        ValueError: a cell would not end; the message says why and what to do.
    """
    hardest = sorted(config.cells, key=lambda place: (place.cell.noise_level, -np.max(place.cell.alpha or 0.0)))
    for place in hardest[:_MOST_CHECKED]:
        checked_problem(place)


def cost(config: SweepConfig) -> dict[str, Any]:
    """Cells, chunks, trajectory-steps, seconds on this machine, and bytes.

    Steps are those of the theory's mean exit time, or of max_time where that comes first; jump_adapted takes about as
    many at every noise level, which a pilot counts. A cell of which none of these is known, or a quasi-stationary one,
    is not counted. Seconds are steps over the speed of a short pilot of the first cell of each kind of run, without
    compilation.

    Returns:
        "cells", "chunks", "trajectories", "trajectory_steps", "cells_of_unknown_cost", "pilot_steps_per_second",
        "seconds", "disk_bytes" (before compression: there is none) and "host_bytes" (of one cell, when gathered).

    Raises:
        ValueError: a cell would not end.
    """
    steps = [_steps(place) for place in config.cells]
    kinds: dict[str, list[int]] = {}
    for index, place in enumerate(config.cells):
        kinds.setdefault(_kind(place), []).append(index)
    firsts = [members[0] for members in kinds.values()]
    tried = [index for index in firsts if config.cells[index].config.run.method != "quasi_stationary"]
    pilots = {index: _pilot(config.cells[index]) for index in tried[:_PILOTS]}
    mean = float(np.mean([pilot.speed for pilot in pilots.values()])) if pilots else None
    seconds = 0.0
    for members in kinds.values():
        pilot = pilots.get(members[0])
        for index in members:
            if steps[index] is None and pilot is not None and pilot.steps is not None:
                steps[index] = pilot.steps * config.cells[index].config.run.num_trajectories
        known = sum(steps[index] or 0.0 for index in members)
        seconds += known / (pilot.speed if pilot is not None else mean or math.inf)
    sizes = [_bytes(place) for place in config.cells]
    return {
        "cells": len(config.cells),
        "chunks": sum(config.num_chunks(index) for index in range(len(config.cells))),
        "trajectories": sum(place.config.run.num_trajectories for place in config.cells),
        "trajectory_steps": sum(count or 0.0 for count in steps),
        "cells_of_unknown_cost": steps.count(None),
        "pilot_steps_per_second": mean,
        "seconds": seconds,
        "disk_bytes": sum(sizes),
        "host_bytes": 3 * max(sizes),
    }


def _kind(place: SweepCell) -> str:
    """What has a compiled program of its own, up to shapes."""
    config = place.config
    tables = (config.landscape, config.basin, config.dynamics, config.noise)
    return repr((*(part.kind for part in tables), config.run.method, config.run.dtype, config.dimension))


def _steps(place: SweepCell) -> float | None:
    """Expected steps of all trajectories of a cell."""
    problem, plan, prediction = checked_problem(place)
    if place.config.run.method == "quasi_stationary":
        return None
    expected = prediction.mean_exit_steps
    step_time = plan.solver.step_time(problem)
    limit = math.inf if step_time is None else plan.max_time / float(step_time)
    steps = min(math.inf if expected is None else expected, limit)
    return steps * plan.num_trajectories if math.isfinite(steps) else None


class _Pilot(NamedTuple):
    """Trajectory-steps a second of a short run, and the mean steps to an exit where its length does not set them."""

    speed: float
    steps: float | None


def _pilot(place: SweepCell) -> _Pilot:
    problem, plan = build_problem(place.config, place.cell), build_plan(place.config)
    step_time = plan.solver.step_time(problem)
    most = plan.max_time if step_time is None else min(plan.max_time, _PILOT_STEPS * float(step_time))
    plan = dataclasses.replace(plan, num_trajectories=_PILOT_TRAJECTORIES, max_time=most)
    samples = simulate(problem, plan, place.config.run.seed)
    steps = samples.exit_step.astype(np.float64)
    return _Pilot(float(steps.sum()) / samples.seconds, float(steps.mean()) if step_time is None else None)


def _bytes(place: SweepCell) -> int:
    """Of a cell's chunks on disk: step, time, code, face and position."""
    run = place.config.run
    if run.method == "quasi_stationary":
        return 4096
    width = {"float32": 4, "float64": 8}[run.dtype]
    return run.num_trajectories * (8 + 8 + 1 + 4 + width * place.config.dimension)
