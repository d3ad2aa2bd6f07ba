"""Four methods, one number: the mean exit time from the minimum by every method that applies, and who disagrees why.

The methods: the deterministic reference (one dimension, plain gradient descent), jump-adapted and Euler simulation,
the quasi-stationary rate, and the small-noise limit. A row compares one method with the first of its problem. It says
`agree` where they differ by no more than 3 standard errors of both together plus the 1% of bias that jump-adapted
steps may have; `explained` where a rule, computed from the problem and not from the difference, says that and why this
method gives another number here; else `unexplained`.

`python -m benchmarks.agreement [--quick] [--out DIR]` prints the rows as a table.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from levyjax.basins import Ball, Box
from levyjax.dynamics import SGD, Adam, Momentum
from levyjax.escape import (
    EscapeProblem,
    Plan,
    bias_constant,
    interval_reference,
    predict,
    quasi_stationary_rate,
    simulate,
)
from levyjax.landscapes import AsymmetricValley, DoubleWell, Quadratic, from_function
from levyjax.noise import Gaussian, Independent, Rotational
from levyjax.output import output_directory, table
from levyjax.solvers import Euler, JumpAdapted

from .common import save

BIAS, SIGMAS = 0.01, 3
STEP = 0.02  # of Euler, in the shorter of the relaxation time and the time of jumps as wide as the basin
SETTLED = 30.0  # kappa from which on a start at the minimum is one from the quasi-stationary law, to 0.05%
LEAST_REFERENCE = 1e-2  # of the noise level: below it the reference loses digits
COLUMNS = ("problem", "noise", "dynamics", "alpha", "noise_level", "kappa", "method")
COLUMNS += ("mean_exit_time", "standard_error", "difference", "verdict", "explanation")


class Case(NamedTuple):
    """A problem and the words for it."""

    name: str
    problem: EscapeProblem


class Found(NamedTuple):
    """A mean exit time by one method, the standard error as a part of it, and seconds without compilation."""

    method: str
    mean: float
    error: float
    seconds: float | None = None
    dt: float | None = None


def bump(x: Any) -> Any:
    """A user's function: neither even nor quadratic."""
    return jnp.cosh(2 * x[0]) / 4 + 0.1 * x[0] ** 3


def make(name: str, alpha: float, level: float) -> Case:
    """A problem by its name; unit noise, alpha = 2 for Gaussian noise."""
    line: Any = Gaussian([1.0]) if alpha == 2 else Independent(alpha, [1.0])
    plane = np.ones(2)
    parts: dict[str, tuple[Any, Any, Any, Any]] = {
        "quadratic": (Quadratic([1.0]), Box([-1.0], [1.0]), line, SGD()),
        "valley": (AsymmetricValley([1.0], [5.0]), Box([-1.0], [1.5]), line, SGD()),
        "double well": (DoubleWell(1.0, 0.5), Box([-0.9], [1.8]), line, SGD()),
        "function": (from_function(bump, [0.0]), Box([-1.0], [1.5]), line, SGD()),
        "ball": (Quadratic([1.0, 1.0]), Ball(1.0, 0 * plane), Rotational(alpha, plane), SGD()),
        "box": (Quadratic([1.0, 3.0]), Box(-plane, plane), Independent(alpha, plane), SGD()),
        "Adam": (Quadratic([1.0]), Box([-1.0], [2.0]), line, Adam(variant="frozen", preconditioner=[0.5])),
        "momentum": (Quadratic([1.0]), Box([-1.0], [1.0]), line, Momentum(0.1, 0.8)),
    }
    return Case(name, EscapeProblem(*parts[name], level))


def cases(quick: bool) -> Iterator[Case]:
    """Every problem at several alpha and noise levels; for Gaussian noise no small ones, where no exit is seen."""
    if quick:
        yield from (make("quadratic", 1.5, level) for level in (1.0, 0.2, 1e-3))
        yield from (make("double well", 1.5, 0.2), make("ball", 1.5, 1e-2))
        return
    for name in ("quadratic", "valley", "double well", "function", "ball", "box", "Adam", "momentum"):
        for alpha in (1.2, 1.5, 1.8):
            yield from (make(name, alpha, level) for level in (1.0, 0.3, 0.05, 1e-3))
    yield from (make(name, 2.0, level) for name in ("quadratic", "double well", "ball") for level in (1.0, 0.5))


def run(quick: bool) -> dict[str, Any]:
    """A row for each method of each problem."""
    rows = [row for case in cases(quick) for row in compare(case, quick)]
    verdicts = {word: sum(row["verdict"] == word for row in rows) for word in ("agree", "explained", "unexplained")}
    return {"rows": rows, "verdicts": verdicts, "work": {"bias": BIAS, "sigmas": SIGMAS}, "quick": quick}


def compare(case: Case, quick: bool) -> list[dict[str, Any]]:
    """All methods that apply, each against the first."""
    problem, (count, target, most_steps) = case.problem, (20_000, 5e-3, 4e8) if quick else (50_000, 3e-3, 1e9)
    prediction, reference, found = predict(problem), None, []
    on_line = problem.dimension == 1 and isinstance(problem.dynamics, SGD)
    if on_line and float(problem.noise_level) >= LEAST_REFERENCE:
        reference = interval_reference(problem, relative_error=1e-5, max_degree=12)
        found.append(Found("reference", float(reference.mean_exit_time()), reference.error))
    found.append(simulated("jump_adapted", problem, JumpAdapted(), count))
    dt = euler_step(problem)
    if found[0].mean / dt * count < most_steps:
        found.append(simulated("euler", problem, Euler(dt), count)._replace(dt=dt))
    if isinstance(problem.dynamics, Momentum):
        target *= 3  # at large noise its exits are counted, one by one
    rate = quasi_stationary_rate(problem, 1, relative_error=target)
    found.append(Found("quasi_stationary", 1 / rate.rate, rate.standard_error / rate.rate, rate.seconds))
    if prediction.rate is not None:
        error = prediction.rate_error / prediction.rate
        found.append(Found("limit", float(prediction.mean_exit_time), error))
    kappa = prediction.kappa
    return [row(case, kappa, one, found[0], *verdict(problem, kappa, reference, one, found[0])) for one in found]


def fastest(problem: EscapeProblem) -> float:
    """The largest curvature, or the rate of the optimizer's averages if that is larger."""
    rates, dynamics = np.linalg.eigvalsh(np.asarray(problem.landscape.hessian())), problem.dynamics
    own = dynamics.rate() if isinstance(dynamics, Momentum) else getattr(dynamics, "rates", lambda: (0.0,))()[0]
    return max(float(rates.max()), float(own))


def widest(problem: EscapeProblem) -> float:
    """What one unit of L moves along an axis, as a part of the way to the boundary."""
    maps = np.asarray(problem.dynamics.jump_maps(problem.noise))[0]
    moved = float(problem.noise_level) * np.diag(maps * np.asarray(problem.noise.scale))
    rays = jnp.asarray(np.concatenate([moved, -moved], axis=1))
    return float(problem.basin.gauge(jnp.asarray(problem.landscape.minimum), rays).max())


def euler_step(problem: EscapeProblem) -> float:
    """A small part of the shorter of the times in which the drift and the noise cross the basin."""
    return STEP * min(1 / fastest(problem), widest(problem) ** -float(problem.noise.alpha))


def simulated(method: str, problem: EscapeProblem, solver: Any, count: int) -> Found:
    """The mean of exit times."""
    samples = simulate(problem, Plan(solver, count), 0)
    times = samples.exit_time
    return Found(method, float(times.mean()), float(times.std() / math.sqrt(count) / times.mean()), samples.seconds)


def agree(value: float, error: float, other: float, other_error: float) -> bool:
    """Within the bias and the standard errors, which are relative."""
    return abs(value / other - 1) <= BIAS + SIGMAS * math.hypot(error, other_error)


def verdict(problem: EscapeProblem, kappa: float | None, reference: Any, one: Found, first: Found) -> tuple[str, str]:
    """A word and, where it is `explained`, the rule."""
    known = one.method == "quasi_stationary" and reference is not None
    if known and not agree(one.mean, one.error, 1 / reference.rate, reference.error):
        return "unexplained", ""  # near the mean from the minimum it would be by chance
    if agree(one.mean, one.error, first.mean, first.error):
        return "agree", ""
    reason = RULES.get(one.method, lambda *_: "")(problem, kappa, reference, one, first)
    return ("explained", reason) if reason else ("unexplained", "")


def start_matters(problem: EscapeProblem, kappa: float | None, reference: Any, one: Found, first: Found) -> str:
    """The quasi-stationary law lies closer to the boundary than the minimum; the reference knows by how much."""
    if reference is not None:
        longer = float(reference.mean_exit_time()) * reference.rate - 1
        return f"not from the minimum: the reference's mean from there is {100 * longer:.1f}% longer"
    if reference is None and (kappa or 0) < SETTLED and one.mean < first.mean:
        return f"not from the minimum, which matters below kappa = {SETTLED:g}"
    return ""


def excursions_missed(problem: EscapeProblem, kappa: float | None, reference: Any, one: Found, first: Found) -> str:
    """An exit between two steps is missed: the walls seem farther by about 0.6 of a step's noise (Broadie et al.)."""
    part = 0.6 * widest(problem) * float(one.dt) ** (1 / float(problem.noise.alpha))
    if one.mean > first.mean and 2 * part > BIAS:
        return f"misses excursions: a step's noise moves the walls by about {100 * part:.1f}%"
    return ""


def kappa_too_small(problem: EscapeProblem, kappa: float | None, reference: Any, one: Found, first: Found) -> str:
    """The limit's bias is c/kappa to first order."""
    needed = bias_constant(float(problem.noise.alpha)) / BIAS
    if kappa is not None and kappa < 2 * needed:
        return f"the limit's bias is c/kappa: below 1% from kappa = {needed:.0f} on"
    return ""


RULES = {"quasi_stationary": start_matters, "euler": excursions_missed, "limit": kappa_too_small}


def row(case: Case, kappa: float | None, one: Found, first: Found, word: str, reason: str) -> dict[str, Any]:
    """The columns; standard_error and difference are relative, the interval is 3 standard errors wide each way."""
    problem, spread = case.problem, SIGMAS * one.error * one.mean
    return {
        "problem": case.name,
        "noise": type(problem.noise).__name__.lower(),
        "dynamics": type(problem.dynamics).__name__,
        "alpha": float(problem.noise.alpha),
        "noise_level": float(problem.noise_level),
        "kappa": kappa,
        "method": one.method,
        "mean_exit_time": one.mean,
        "interval": [one.mean - spread, one.mean + spread],
        "standard_error": one.error,
        "difference": one.mean / first.mean - 1,
        "verdict": word,
        "explanation": reason,
        "seconds": one.seconds,
    }


def text(result: dict[str, Any]) -> str:
    """The rows as a plain table, and how many there are of each verdict."""
    counts = ", ".join(f"{count} {word}" for word, count in result["verdicts"].items())
    return f"{table(result['rows'], COLUMNS)}\n{counts}"


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser(description="four methods, one number")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", default="results")
    arguments = parser.parse_args()
    result = run(arguments.quick)
    print(text(result))
    save("agreement", result, Path(output_directory(arguments.out)))


if __name__ == "__main__":
    main()
