"""Timing by the same rules everywhere: compiled before, blocked on, interleaved with the rival, the best of several."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from levyjax.environment import environment

RESULTS = Path(__file__).parent / "results"


def interleaved(runs: dict[str, Callable[[], Any]], repeats: int = 5) -> dict[str, list[float]]:
    """Seconds of each run, the runs taken in turn so that a drifting machine slows all of them alike."""
    for run in runs.values():
        jax.block_until_ready(run())
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            began = time.perf_counter()
            jax.block_until_ready(run())
            seconds[name].append(time.perf_counter() - began)
    return seconds


def save(name: str, results: dict[str, Any]) -> Path:
    """Write `results/NAME_DEVICE.json` with versions and device."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}_{jax.default_backend()}.json"
    path.write_text(json.dumps({**results, "environment": environment()}, indent=2) + "\n")
    return path
