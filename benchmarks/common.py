"""Timing by the same rules everywhere: compiled before, blocked on, interleaved with the rival, the best of several."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from levyjax.environment import environment
from levyjax.records import write_record

from .rivals import Run, Work

T = TypeVar("T")


def on_accelerator() -> bool:
    """Whether sizes have to fill an accelerator."""
    return jax.default_backend() != "cpu"


def seconds_of(run: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call, until its result is there."""
    began = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - began


def interleaved(runs: dict[str, Run], repeats: int) -> dict[str, list[float]]:
    """Seconds of each run, the runs taken in turn so that a drifting machine slows all of them alike."""
    for run in runs.values():
        jax.block_until_ready(run())
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            seconds[name].append(seconds_of(run))
    return seconds


def quickest(run: Callable[[], T], budget: float = 1.0, most: int = 5) -> T:
    """The result with the least `seconds` among several runs, if they are short; compilation is not in them."""
    results: list[Any] = []
    while not results or (len(results) < most and sum(result.seconds for result in results) < budget):
        results.append(run())
    return min(results, key=lambda result: result.seconds)


def law_error(work: Work, points: np.ndarray) -> float:
    """Last points against their exact law: the largest of three deviations, in standard deviations.

    With H = 1 a coordinate is stable, of scale kick (1 + r + r^2 + ...)^(1/alpha) with r = (1 - dt)^alpha, so that
    E cos(w x) is known. Coordinates that share a radius are not independent: of those, the first is taken alone.
    """
    alpha = 2.0 if work.noise == "gaussian" else work.alpha
    ratio = (1 - work.dt) ** alpha
    scale = work.kick * ((1 - ratio**work.steps) / (1 - ratio)) ** (1 / alpha)
    x = np.asarray(points, np.float64)[0 if work.noise == "rotational" else slice(None)] / scale
    deviations = []
    for w in (0.3, 1.0, 3.0):
        mean, square = np.exp(-(w**alpha)), (1 + np.exp(-((2 * w) ** alpha))) / 2
        deviations.append(abs(np.cos(w * x).mean() - mean) * np.sqrt(x.size / (square - mean**2)))
    return float(max(deviations))


def save(topic: str, result: dict[str, Any], folder: Path) -> Path:
    """Write `TOPIC_BACKEND.json` with versions and device; nothing in it names the machine."""
    path = Path(folder) / f"{topic}_{jax.default_backend()}.json"
    write_record(path, {"topic": topic, **result, "environment": environment()})
    return path
