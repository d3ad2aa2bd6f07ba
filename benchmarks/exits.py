"""Exits a second: the engine, which refills its lanes, against vmap(while_loop), which waits for the slowest lane.

Exit times are about exponential, so that the slowest of n lanes takes about ln(n) + 0.58 mean exit times. Efficiency is
the part of the lane-steps that move a trajectory: the engine counts them; a lane of the rival takes as many as the
longest of its batch.
"""

import dataclasses
import time
from typing import Any

import numpy as np

from levyjax.engine import run as run_lanes
from levyjax.escape import predict

from .common import on_accelerator
from .rivals import Work, jax_scan, levyjax_engine

WORK = Work(dimension=2, noise_level=0.2, lanes=4096)
PER_LANE, PER_LANE_ACCELERATOR = 64, 1024  # trajectories for each lane of the rival


def run(quick: bool) -> dict[str, Any]:
    """Both on the same problem; the mean exit times have to agree within their errors."""
    lanes, batches = WORK.lanes, 2 if quick else 16
    count = lanes * (PER_LANE_ACCELERATOR if on_accelerator() else PER_LANE) // (4 if quick else 1)
    rows = [engine_row(count, 2 if quick else 5), while_row(batches)]
    difference = rows[0]["mean_steps"] - rows[1]["mean_steps"]
    sigma = np.hypot(rows[0]["mean_steps_error"], rows[1]["mean_steps_error"])
    for row in rows:
        row["difference_in_standard_errors"] = float(difference / sigma)
        row["levyjax_over_this"] = rows[0]["exits_per_second"] / row["exits_per_second"]
    predicted = predict(levyjax_engine.problem(WORK)).mean_exit_time / WORK.dt
    return {"rows": rows, "work": dataclasses.asdict(WORK), "predicted_mean_steps": float(predicted), "quick": quick}


def engine_row(count: int, repeats: int) -> dict[str, Any]:
    """The engine on all trajectories in one call."""
    process = levyjax_engine.process(WORK)
    ends = run_lanes(process, 0, count)
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        ends = run_lanes(process, 0, count)
        seconds.append(time.perf_counter() - began)
    steps = ends.step.astype(np.int64)
    return row("levyjax", steps, seconds, float(steps.sum() / ends.lane_steps))


def while_row(batches: int) -> dict[str, Any]:
    """vmap(while_loop) batch after batch."""
    batch = jax_scan.exits(WORK)
    batch(0)
    began = time.perf_counter()
    parts = [batch(seed + 1)[0] for seed in range(batches)]
    seconds = time.perf_counter() - began
    efficiency = float(np.mean([part.mean() / part.max() for part in parts]))
    steps = np.concatenate(parts).astype(np.int64)
    return row("vmap(while_loop), jax.random", steps, [seconds], efficiency)


def row(name: str, steps: np.ndarray, seconds: list[float], efficiency: float) -> dict[str, Any]:
    """The columns of one way."""
    return {
        "name": name,
        "exits": steps.size,
        "exits_per_second": steps.size / min(seconds),
        "trajectory_steps_per_second": int(steps.sum()) / min(seconds),
        "mean_steps": float(steps.mean()),
        "mean_steps_error": float(steps.std() / np.sqrt(steps.size)),
        "seconds": seconds,
        "efficiency": efficiency,
    }
