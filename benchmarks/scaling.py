"""Trajectory-steps a second against the dimension and against the number of trajectories, beside jax.random in scan."""

import dataclasses
from typing import Any

from .common import interleaved, on_accelerator
from .rivals import Work, jax_scan, levyjax_engine

DIMENSIONS = (1, 2, 5, 10, 30, 100, 300, 1000)
LANES = (64, 256, 1024, 4096, 16384, 65536, 262144)
ACCELERATOR_DIMENSIONS, ACCELERATOR_LANES = (1, 10, 100, 1000), (4096, 65536, 1 << 20)
LEAST_STEPS, MOST_STEPS = 32, 4096  # multiples of 32, the engine's blocks


def run(quick: bool) -> dict[str, Any]:
    """Both sweeps, about the same number of increments at every point."""
    increments, repeats = (1 << 20, 2) if quick else (1 << 24, 5)
    dimensions, lanes = (DIMENSIONS[:7:3], LANES[:6:2]) if quick else (DIMENSIONS, LANES)
    if on_accelerator():  # fewer points, for every one of them is compiled; more work, for it takes microseconds a step
        increments, repeats, dimensions, lanes = 1 << 29, 3, ACCELERATOR_DIMENSIONS, ACCELERATOR_LANES
    sizes = {"lanes": 65536} if on_accelerator() else {}
    points = [("dimension", Work(dimension=dimension, **sizes)) for dimension in dimensions]
    points += [("trajectories", Work(lanes=count)) for count in lanes]
    rows = []
    for sweep, work in points:
        steps = increments // (work.lanes * work.dimension) // LEAST_STEPS * LEAST_STEPS
        work = dataclasses.replace(work, steps=min(max(steps, LEAST_STEPS), MOST_STEPS))
        rows += [{"sweep": sweep, **row} for row in compare(work, repeats)]
    return {"rows": rows, "work": dataclasses.asdict(Work()), "quick": quick}


def compare(work: Work, repeats: int) -> list[dict[str, Any]]:
    """levyjax and jax.random in scan on one size."""
    runs = {module.NAME: module.increments(work) for module in (levyjax_engine, jax_scan)}
    size = {"dimension": work.dimension, "trajectories": work.lanes, "steps": work.steps, "dtype": work.dtype}
    return [
        {
            "name": name,
            **size,
            "trajectory_steps_per_second": work.lanes * work.steps / min(seconds),
            "increments_per_second": work.increments / min(seconds),
            "seconds": seconds,
        }
        for name, seconds in interleaved(runs, repeats).items()
    ]
