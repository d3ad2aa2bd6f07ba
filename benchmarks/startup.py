"""What a run costs besides its steps: seconds to the first result, programs compiled, and the most memory it holds."""

import dataclasses
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from levyjax import stable
from levyjax.basins import Ball, Box, Sublevel
from levyjax.dynamics import SGD, Adam, Momentum, from_optax
from levyjax.escape import EscapeProblem, Plan, predict, simulate, simulate_summary
from levyjax.landscapes import DoubleWell, Quadratic
from levyjax.noise import Independent, Rotational
from levyjax.solvers import Euler, Iteration, JumpAdapted

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
    rows += [*commands(1 if quick else 5), *other_sizes(), optax_grid(2 if quick else 18)]
    rows += [memory(count) for count in ((64, 1 << 18) if quick else (64, 1 << 16, 1 << 18, 1 << 20))]
    rows += [memory(count, streamed=True) for count in ((1 << 18,) if quick else (10**6, 10**8))]
    return {"rows": rows, "quick": quick}


def first_call(name: str, problem: EscapeProblem, solver: Any) -> dict[str, Any]:
    """Seconds of predict and simulate with empty caches, and of simulate once more; the difference is compilation."""
    plan = Plan(solver, num_trajectories=256, max_time=100 if isinstance(solver, Euler) else float("inf"))
    jax.clear_caches()
    seconds, programs = [], []
    for call in (lambda: predict(problem), lambda: simulate(problem, plan, 0), lambda: simulate(problem, plan, 0)):
        found = timed(call)
        seconds.append(found[0])
        programs.append(found[1])
    keys = ("predict_seconds", "first_seconds", "second_seconds")
    counts = {"predict_programs": programs[0], "simulate_programs": programs[1]}
    return {"kind": "first call", "name": name, **dict(zip(keys, seconds, strict=True)), **counts}


def timed(call: Callable[[], Any]) -> tuple[float, int]:
    """Seconds of a call, and how many programs it compiles."""
    names: list[str] = []

    def on_event(event: str, seconds: float, fun_name: str = "", **_: Any) -> None:
        if event.endswith("backend_compile_duration"):
            names.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(on_event)
    try:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began, len(names)
    finally:
        jax.monitoring.unregister_event_duration_listener(on_event)


def commands(repeats: int) -> list[dict[str, Any]]:
    """`levyjax predict` and `escape` on the run file of the first five minutes, in processes of their own."""
    page = (Path(__file__).parents[1] / "docs" / "start.md").read_text(encoding="utf-8")
    run_file = re.search(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[1]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run.toml").write_text(run_file)
        of_escape = ["escape", "run.toml"]
        for command in (["predict", "run.toml"], of_escape, [*of_escape, "--out", "results"], ["--version"]):
            for kept in (False, True):
                own = {"JAX_COMPILATION_CACHE_DIR": str(folder / "programs")} if kept else {"LEVYJAX_NO_CACHE": "1"}
                outer = {key: value for key, value in os.environ.items() if key != "JAX_COMPILATION_CACHE_DIR"}
                environment = {**outer, **own, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2"}
                seconds = []
                for _ in range(repeats + kept):  # the first fills the cache
                    began = time.perf_counter()
                    program = [sys.executable, "-c", "from levyjax.cli import main; raise SystemExit(main())", *command]
                    subprocess.run(program, check=True, capture_output=True, cwd=folder, env=environment)
                    seconds.append(time.perf_counter() - began)
                row = {"kind": "command, programs kept" if kept else "command", "name": " ".join(command)}
                rows.append({**row, "seconds": sorted(seconds[kept:])[(len(seconds) - kept) // 2]})
    return rows


def other_sizes() -> list[dict[str, Any]]:
    """A structure seen before at other numbers of trajectories, and a fit of data of other lengths."""
    problem, rows = sgd(2), []
    for count in (512, 400, 300, 1000, 2048, 5000):
        seconds, programs = timed(lambda count=count: simulate(problem, Plan(JumpAdapted(), count), 0))
        rows.append({"kind": "trajectories", "name": str(count), "seconds": seconds, "programs": programs})
    for length in (1000, 1010, 900, 600):
        data = np.random.default_rng(length).standard_cauchy(length)
        seconds, programs = timed(lambda data=data: stable.fit(data))
        rows.append({"kind": "fit", "name": str(length), "seconds": seconds, "programs": programs})
    return rows


def optax_grid(cells: int) -> dict[str, Any]:
    """A grid of learning rates and momenta of an optax optimizer."""

    def grid() -> None:
        for rate in np.geomspace(0.01, 0.1, cells):
            dynamics = from_optax(optax.adam, hyperparameters={"learning_rate": rate, "b1": 0.9 - rate})
            problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), dynamics, 1.0)
            simulate(problem, Plan(Iteration(), num_trajectories=256, max_time=100.0), 0)

    seconds, programs = timed(grid)
    return {"kind": "optax grid", "name": f"{cells} cells", "seconds": seconds, "programs": programs}


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
