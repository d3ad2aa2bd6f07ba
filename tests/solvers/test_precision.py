"""float32 and float64 leave alike, by every method: the same random numbers, so that exits can be compared in pairs.

A mean difference may be 4 standard errors of its pairs and a part of 1e-5; chance makes it more with probability 6e-5.
"""

import math

import numpy as np
import pytest

from levyjax.basins import Ball, Box
from levyjax.dynamics import SGD, Adam, Momentum
from levyjax.engine import ExitCode
from levyjax.escape import EscapeProblem, ExitSamples, Plan, quasi_stationary_rate, simulate
from levyjax.landscapes import DoubleWell, Quadratic
from levyjax.noise import Independent, Rotational
from levyjax.solvers import Euler, Iteration, JumpAdapted, Tamed

PART = 1e-5
SQUARE = Box([-1.0, -0.7], [1.0, 1.5])
STIFF = Quadratic([[2.0, 0.5], [0.5, 1.0]])


def in_square(dynamics, noise_level=0.1, alpha=1.4):
    return EscapeProblem(STIFF, SQUARE, Independent(alpha, [1.0, 0.5]), dynamics, noise_level)


CASES = {
    "euler, sgd": (in_square(SGD()), Euler(0.05)),
    "euler, adam": (in_square(Adam(0.1, variant="corrected")), Euler(0.05)),
    "euler, ball": (EscapeProblem(STIFF, Ball(1.0, [0.0, 0.0]), Rotational(1.2, [1.0, 1.0]), SGD(), 0.1), Euler(0.05)),
    "tamed, double well": (
        EscapeProblem(DoubleWell(1.0, 1.0), Box([0.0], [3.0]), Independent(1.5, [1.0]), SGD(), 0.1),
        Tamed(0.02),
    ),
    "jump_adapted, sgd": (in_square(SGD(), 0.01), JumpAdapted()),
    "jump_adapted, momentum": (in_square(Momentum(0.5), 0.05), JumpAdapted()),
    "iteration, sgd": (in_square(SGD(0.05), 0.3), Iteration()),
    "iteration, adam": (in_square(Adam(0.1), 1.0), Iteration()),
}
SMALL = ("euler, sgd", "tamed, double well", "jump_adapted, sgd", "iteration, sgd")
# Steps that adapt to a momentum differ in number where a comparison falls differently: from there on, pairs part.
PARTING = {"jump_adapted, momentum": 0.1}


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def both(problem: EscapeProblem, solver, count: int) -> tuple[ExitSamples, ExitSamples]:
    single, double = (simulate(problem, Plan(solver, count, 1e4, dtype), 0) for dtype in ("float32", "float64"))
    return single, double


@pytest.mark.parametrize(
    ("name", "count"), [*((name, 1024) for name in SMALL), *(slow(name, 200_000) for name in CASES)]
)
def test_exits(name, count):
    single, double = both(*CASES[name], count)
    assert single.exit_position.dtype == np.float32
    assert double.exit_position.dtype == np.float64
    assert double.count(ExitCode.EXITED) > 0.99 * count
    difference = single.exit_time - double.exit_time
    error = 4 * difference.std() / math.sqrt(count) + PART * double.exit_time.mean()
    assert abs(difference.mean()) <= error
    part = PARTING.get(name, 0.001)
    for values in ("exit_step", "exit_code", "exit_face"):
        assert (getattr(single, values) != getattr(double, values)).mean() <= part, values


@pytest.mark.parametrize(("dynamics", "relative_error"), [(SGD(), 0.01), slow(SGD(), 0.001), slow(Adam(), 0.001)])
def test_quasi_stationary_rates(dynamics, relative_error):
    """Not in pairs: within 4 standard errors of the two."""
    problem = in_square(dynamics, 0.05)
    single, double = (
        quasi_stationary_rate(problem, 0, relative_error=relative_error, num_particles=1024, dtype=dtype)
        for dtype in ("float32", "float64")
    )
    assert single.converged
    assert double.converged
    assert abs(single.rate - double.rate) < 4 * math.hypot(single.standard_error, double.standard_error)
