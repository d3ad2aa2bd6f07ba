"""What a run costs besides its steps: seconds until the first result, and the most memory it holds."""

import dataclasses
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax

from levyjax.basins import Ball, Box, Sublevel
from levyjax.dynamics import SGD, Adam, Momentum
from levyjax.escape import EscapeProblem, Plan, predict, simulate, simulate_summary
from levyjax.landscapes import DoubleWell, Quadratic
from levyjax.noise import Independent, Rotational
from levyjax.solvers import Euler, JumpAdapted

_MEBIBYTE = 1 << 20


def sgd(dimension: int = 10, noise_level: float = 0.3) -> EscapeProblem:
    """SGD in a box with independent noise."""
    ones = [1.0] * dimension
    box = Box([-1.0] * dimension, ones)
    return EscapeProblem(Quadratic(ones), box, Independent(1.5, ones), SGD(), noise_level)


def problems() -> dict[str, tuple[EscapeProblem, Any]]:
    """The standard problems with their solvers."""
    two = [1.0, 1.0]
    quadratic, ball = Quadratic([1.0, 0.1]), Ball(1.0, [0.0, 0.0])
    adam = Adam(0.1, variant="corrected")
    double = DoubleWell(1.0, 0.25)
    well = EscapeProblem(double, Sublevel(double, 0.2), Independent(1.5, [1.0]), SGD(), 0.3)
    return {
        "sgd, box, independent": (sgd(2), Euler(0.05)),
        "sgd, ball, rotational": (EscapeProblem(quadratic, ball, Rotational(1.5, two), SGD(), 0.3), Euler(0.05)),
        "adam, ball, independent": (EscapeProblem(quadratic, ball, Independent(1.5, two), adam, 0.3), Euler(0.05)),
        "sgd, sublevel of a double well": (well, Euler(0.05)),
        "sgd, box, jump-adapted": (sgd(2), JumpAdapted()),
        "momentum, box, jump-adapted": (dataclasses.replace(sgd(2), dynamics=Momentum(0.1)), JumpAdapted()),
        "adam, box, jump-adapted": (dataclasses.replace(sgd(2), dynamics=Adam()), JumpAdapted()),
    }


def run(quick: bool) -> dict[str, Any]:
    """First and second calls of every problem, then peak memory against the number of trajectories."""
    standard = list(problems().items())
    rows = [first_call(name, *pair) for name, pair in (standard[::4] if quick else standard)]
    rows += [memory(count) for count in ((64, 1 << 18) if quick else (64, 1 << 16, 1 << 18, 1 << 20))]
    rows += [memory(count, streamed=True) for count in ((1 << 18,) if quick else (10**6, 10**8))]
    return {"rows": rows, "quick": quick}


def first_call(name: str, problem: EscapeProblem, solver: Any) -> dict[str, Any]:
    """Seconds of predict and simulate with empty caches, and of simulate once more; the difference is compilation."""
    plan = Plan(solver, num_trajectories=256, max_time=100 if isinstance(solver, Euler) else float("inf"))
    jax.clear_caches()
    seconds = []
    for call in (lambda: predict(problem), lambda: simulate(problem, plan, 0), lambda: simulate(problem, plan, 0)):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    keys = ("predict_seconds", "first_seconds", "second_seconds")
    return {"kind": "first call", "name": name, **dict(zip(keys, seconds, strict=True))}


def memory(trajectories: int, streamed: bool = False) -> dict[str, Any]:
    """Peak memory of a run: the device's own count, or on a CPU that of a process for it alone."""
    row = {"kind": "memory, samples summed up" if streamed else "memory", "trajectories": trajectories}
    if "peak_bytes_in_use" not in (jax.local_devices()[0].memory_stats() or {}):
        return {**row, "mebibytes": child(trajectories, streamed), "of": "a process for it alone, compiler included"}
    measured_run(trajectories, streamed)
    peak = jax.local_devices()[0].memory_stats()["peak_bytes_in_use"] / _MEBIBYTE
    return {**row, "mebibytes": peak, "of": "the device, in this process so far"}


def measured_run(trajectories: int, streamed: bool) -> None:
    """What the memory is measured of: samples in d = 10, or the summary of short exits in d = 1."""
    if streamed:
        simulate_summary(sgd(1, 1.0), Plan(Euler(0.05), num_trajectories=trajectories), 0)
    else:
        simulate(sgd(), Plan(Euler(0.05), num_trajectories=trajectories, max_time=10), 0)


def child(trajectories: int, streamed: bool) -> float:
    """Peak resident memory, in MiB, of a fresh process that runs so many."""
    program = (
        "import importlib.util as u, sys\n"
        "spec = u.spec_from_file_location('startup', sys.argv[1])\n"
        "module = u.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "module.report(int(sys.argv[2]), sys.argv[3] == 'True')"
    )
    command = [sys.executable, "-c", program, str(Path(__file__)), str(trajectories), str(streamed)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def report(trajectories: int, streamed: bool) -> None:
    """What the child does: one run, then its own peak memory on stdout."""
    measured_run(trajectories, streamed)
    print(peak_memory())


def peak_memory() -> float:
    """Of this process, in MiB. Linux hands ru_maxrss on from the parent, so that its own file is read there."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MEBIBYTE
