"""What a mean exit time to 1% costs against the noise level: Euler, jump-adapted, and the quasi-stationary rate.

Problem: F = x^2/2 on (-1, 1), alpha = 1.5. An Euler run takes mean exit time / dt steps an exit, which grows without
bound as the noise shrinks; where one exit takes too long its cost is computed from the exact mean exit time and the
measured steps a second, and the row says `measured: false`. 10^4 exits give 1%; the quasi-stationary rate is asked for
1% and gives far less, for it does not stop before its least number of batches. Errors are against the reference
solver, and below noise level 1e-3, where that loses digits, against the small-noise law.
"""

from typing import Any

import numpy as np

from levyjax.basins import Box
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, Plan, predict, simulate
from levyjax.escape.quasi_stationary import quasi_stationary_rate
from levyjax.escape.reference import interval_reference
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent
from levyjax.solvers import Euler, JumpAdapted

from .common import quickest

NOISE_LEVELS = (0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4, 1e-5, 1e-6)
ALPHA, DT, TARGET = 1.5, 0.05, 0.01
EXITS = round(1 / TARGET**2)
LEAST_REFERENCE = 1e-3  # of the noise level


def problem(noise_level: float) -> EscapeProblem:
    """One dimension, where an exact reference exists."""
    return EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(ALPHA, [1.0]), SGD(), noise_level)


def run(quick: bool) -> dict[str, Any]:
    """A row for each method and noise level."""
    levels = NOISE_LEVELS[1::3] if quick else NOISE_LEVELS
    most_steps = 2e8 if quick else 2e10
    rows = []
    for level in levels:
        exact, rate = truth(level)
        rows += [
            euler(level, exact, most_steps, rows),
            exits("jump_adapted", level, exact, JumpAdapted()),
            quasi_stationary(level, rate),
        ]
    shape = {"alpha": ALPHA, "dt": DT, "dimension": 1, "dtype": "float32", "target": TARGET}
    return {"rows": rows, "work": shape, "quick": quick}


def truth(level: float) -> tuple[float, float]:
    """Mean exit time from the minimum, and exit rate."""
    if level < LEAST_REFERENCE:
        prediction = predict(problem(level))
        return float(prediction.mean_exit_time), float(prediction.rate)
    reference = interval_reference(problem(level))
    return float(reference.mean_exit_time()), float(reference.rate)


def euler(level: float, exact: float, most_steps: float, before: list[dict]) -> dict[str, Any]:
    """Measured if it can be done, else from the exact mean and the fastest measured steps a second."""
    needed = EXITS * exact / DT
    if needed <= most_steps:
        return exits("euler", level, exact, Euler(DT))
    speed = max((row["steps"] / row["seconds"] for row in before if row["name"] == "euler"), default=None)
    return row("euler", level, needed, needed / speed if speed else None, None, None, measured=False)


def exits(name: str, level: float, exact: float, solver: Any) -> dict[str, Any]:
    """The mean of simulated exits."""
    plan = Plan(solver, num_trajectories=EXITS)
    samples = quickest(lambda: simulate(problem(level), plan, 0))
    times = samples.exit_time
    error = float(times.mean() / exact - 1)
    steps, sigma = float(samples.exit_step.sum()), float(times.std() / np.sqrt(times.size) / exact)
    return row(name, level, steps, samples.seconds, error, sigma)


def quasi_stationary(level: float, rate: float) -> dict[str, Any]:
    """The rate by particles."""
    found = quickest(lambda: quasi_stationary_rate(problem(level), 0, relative_error=TARGET))
    error, sigma = found.rate / rate - 1, float(found.standard_error / rate)
    return row("quasi_stationary", level, float(found.steps), found.seconds, error, sigma)


def row(
    name: str, level: float, steps: float, seconds: float | None, error: Any, sigma: Any, measured: bool = True
) -> dict[str, Any]:
    """The columns; error against the exact value, standard_error of the estimate, both relative."""
    return {
        "name": name,
        "noise_level": level,
        "steps": steps,
        "steps_per_exit": steps / EXITS,
        "seconds": seconds,
        "seconds_per_exit": None if seconds is None else seconds / EXITS,
        "error": error,
        "standard_error": sigma,
        "measured": measured,
    }
