"""Work and precision: the error of a mean exit time or a rate against the seconds it took, by exact values.

Two problems on (-1, 1) at alpha = 1.5: no drift (kappa = 0), where Getoor's formula gives the mean exit time from the
centre, 1/Gamma(1 + alpha) in units of noise_level^-alpha; and kappa = 10, by the reference solver.
"""

import math
from typing import Any

import numpy as np

from levyjax.basins import Box
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, Plan, simulate
from levyjax.escape.quasi_stationary import quasi_stationary_rate
from levyjax.escape.reference import interval_reference
from levyjax.landscapes import Flat, Quadratic
from levyjax.noise import Independent
from levyjax.solvers import Euler, JumpAdapted

from .common import quickest

ALPHA = 1.5
STEPS = (0.1, 0.03, 0.01, 0.003, 0.001)  # of Euler, in mean exit times
PARTS = (0.5, 0.25, 0.12, 0.06)  # of the jump-adapted solver


def problem(kappa: float) -> EscapeProblem:
    """F = kappa x^2/2 with unit noise; no drift at 0."""
    landscape = Quadratic([kappa]) if kappa > 0 else Flat([0.0])
    return EscapeProblem(landscape, Box([-1.0], [1.0]), Independent(ALPHA, [1.0]), SGD(), 1.0)


def exact(kappa: float) -> tuple[float, float | None]:
    """Mean exit time from the centre and exit rate; the rate only where there is a drift."""
    if kappa == 0:
        return 1 / math.gamma(1 + ALPHA), None
    reference = interval_reference(problem(kappa))
    return float(reference.mean_exit_time()), float(reference.rate)


def run(quick: bool) -> dict[str, Any]:
    """Every method at several settings, for each problem."""
    count, target = (20_000, 1e-2) if quick else (1_000_000, 1e-3)
    steps, parts = (STEPS[:3], PARTS[:3]) if quick else (STEPS, PARTS)
    rows = []
    for kappa in (0.0, 10.0):
        mean, rate = exact(kappa)
        # Euler's drift needs dt kappa well below 1, so that its steps are in units of the shorter of the two times.
        unit = min(mean, 1 / kappa if kappa else mean)
        rows += [timed("euler", kappa, part * unit, Euler(part * unit), count, mean) for part in steps]
        rows += [timed("jump_adapted", kappa, part, JumpAdapted(part, part), count, mean) for part in parts]
        if rate is not None:
            rows += [particles(kappa, rate, error) for error in ((target,) if quick else (4 * target, target))]
    return {"rows": rows, "work": {"alpha": ALPHA, "dimension": 1, "dtype": "float32"}, "quick": quick}


def timed(name: str, kappa: float, setting: float, solver: Any, count: int, exact: float) -> dict[str, Any]:
    """The mean exit time of `count` trajectories by one solver."""
    plan = Plan(solver, num_trajectories=count)
    samples = quickest(lambda: simulate(problem(kappa), plan, 0))
    times = samples.exit_time
    error, sigma = times.mean() / exact - 1, times.std() / np.sqrt(count) / exact
    return row(name, kappa, setting, samples.seconds, float(error), float(sigma), float(samples.exit_step.sum()))


def particles(kappa: float, exact: float, target: float) -> dict[str, Any]:
    """The quasi-stationary rate to a target."""
    found = quickest(lambda: quasi_stationary_rate(problem(kappa), 0, relative_error=target))
    error, sigma = found.rate / exact - 1, float(found.standard_error / exact)
    return row("quasi_stationary", kappa, target, found.seconds, error, sigma, float(found.steps))


def row(
    name: str, kappa: float, setting: float, seconds: float, error: float, sigma: float, steps: float
) -> dict[str, Any]:
    """The columns; setting is dt, the parts, or the error asked for."""
    return {
        "name": name,
        "kappa": kappa,
        "setting": setting,
        "seconds": seconds,
        "steps": steps,
        "error": error,
        "standard_error": sigma,
    }
