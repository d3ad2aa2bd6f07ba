"""Rows of results: one cell's exits or rate beside its prediction, and the slopes over the noise level."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from levyjax.config import Cell, RunConfig
from levyjax.config.build import build_plan, build_problem
from levyjax.config.grid import SweepCell
from levyjax.escape import (
    EscapeProblem,
    ExitCode,
    ExitSamples,
    Plan,
    Prediction,
    exponential_fit,
    exponentiality_test,
    log_log_slope,
    predict,
)
from levyjax.escape.quasi_stationary import QuasiStationaryRate
from levyjax.schedules import Schedule

_MAX_INCREMENTS = 1e14  # days of computing: more than that is a mistake in the run file, not a wish

DESCRIPTIONS = {
    "cell": "place in the run or the sweep",
    "alpha": "tail index of the noise",
    "noise_level": "epsilon, which multiplies the noise",
    "learning_rate": "of the optimizer",
    "num_trajectories": "trajectories, or particles of a quasi-stationary rate",
    "exited": "trajectories that left the basin",
    "censored": "trajectories still inside at max_time",
    "nonfinite": "trajectories that left the finite numbers",
    "nonfinite_ids": "the ids of these, at most 100",
    "mean_exit_time": "mean exit time, censored ones taken into account",
    "mean_exit_steps": "the same in steps of the solver",
    "rate": "exits per unit of time",
    "predicted_rate": "the rate that the small-noise theory gives",
    "ratio": "mean exit time times predicted rate, or rate over predicted rate for a quasi-stationary one",
    "ks_pvalue": "of the test that exit times are exponential",
    "seconds": "wall-clock time without compilation",
    "steps_per_second": "steps of all trajectories in a second",
}
"""What the entries of a row are."""


_STEADY = ("mean_exit_time", "mean_exit_time_ci95", "mean_exit_steps", "rate", "rate_ci95", "ratio", "ks_pvalue")
Build = Callable[[RunConfig, Cell], EscapeProblem]


class CellProblem(NamedTuple):
    """What a cell is: the problem, how it is simulated, and what the theory says."""

    problem: EscapeProblem
    plan: Plan
    prediction: Prediction


def cell_problem(place: SweepCell, build: Build = build_problem) -> CellProblem:
    """The objects of a cell."""
    problem, plan = build(place.config, place.cell), build_plan(place.config)
    return CellProblem(problem, plan, predict(problem, plan.solver))


def checked_problem(place: SweepCell, build: Build = build_problem) -> CellProblem:
    """The objects of a cell; refuses what would not end: no exits at all, or more steps than anyone can wait for.

    Raises:
        ValueError: how many steps it would take, and what to do.
    """
    problem, plan, prediction = found = cell_problem(place, build)
    limited = bool(np.isfinite(plan.max_time))
    advice = "Give a shorter max_time or longer steps." if limited else "Give max_time, or a larger noise_level."
    where = f"noise_level = {place.cell.noise_level}"
    if prediction.rate == 0 and not limited:
        raise ValueError(f"{where}: no path can leave this basin. {advice}")
    steps = np.inf if prediction.rate == 0 else prediction.mean_exit_steps
    step_time = plan.solver.step_time(problem)
    if steps is None or step_time is None:
        return found
    steps = min(steps, plan.max_time / float(step_time))
    increments = steps * plan.num_trajectories * problem.dimension
    if increments > _MAX_INCREMENTS:
        raise ValueError(
            f"{where}: about {steps:.1e} steps an exit, {increments:.0e} increments in all, would not end. {advice}"
        )
    return found


def row(ends: ExitSamples | QuasiStationaryRate, cell: CellProblem) -> dict[str, Any]:
    """What is said of a cell, beside its coordinates: the same entries for exits and for a rate without times."""
    if not isinstance(ends, ExitSamples):
        return rate_row(ends, cell.prediction)
    found = exits_row(ends, cell.prediction)
    # under a noise level that changes exit times are not exponential, and have no one rate
    return found | dict.fromkeys(_STEADY) if isinstance(cell.problem.noise_level, Schedule) else found


def rate_row(result: QuasiStationaryRate, prediction: Prediction) -> dict[str, Any]:
    """A row like that of `exits_row` for a rate without times."""
    return {
        "num_trajectories": result.particles,
        "exited": result.exits,
        "censored": 0,
        "nonfinite": 0,
        "mean_exit_time": None,
        "mean_exit_time_ci95": None,
        "mean_exit_steps": None,
        "rate": result.rate,
        "rate_ci95": result.rate_ci95,
        "predicted_rate": prediction.rate,
        "ratio": None if not prediction.rate else result.rate / prediction.rate,
        "ks_pvalue": None,
        "seconds": result.seconds,
        "steps_per_second": result.steps / result.seconds if result.seconds else None,
    }


def exits_row(samples: ExitSamples, prediction: Prediction) -> dict[str, Any]:
    nonfinite = samples.count(ExitCode.NONFINITE)
    finite = samples.exit_code != ExitCode.NONFINITE
    times, exited = samples.exit_time[finite], samples.exited[finite]
    row: dict[str, Any] = {
        "num_trajectories": len(samples.exit_code),
        "exited": samples.count(ExitCode.EXITED),
        "censored": samples.count(ExitCode.CENSORED),
        "nonfinite": nonfinite,
    }
    fit = exponential_fit(times, exited) if finite.any() else None
    mean = fit.mean if fit else None
    test = exponentiality_test(times, exited, resolution=samples.step_time or 0.0) if finite.any() else None
    steps = float(samples.exit_step.sum(dtype=np.float64))
    return row | {
        "mean_exit_time": mean,
        "mean_exit_time_ci95": fit.mean_interval if fit else None,
        "mean_exit_steps": _mean_steps(samples, mean),
        "rate": fit.rate if fit else None,
        "rate_ci95": fit.rate_interval if fit else None,
        "predicted_rate": prediction.rate,
        "ratio": None if mean is None or prediction.rate is None else mean * prediction.rate,
        "ks_pvalue": test.pvalue if test else None,
        "seconds": samples.seconds,
        "steps_per_second": steps / samples.seconds if samples.seconds else None,
    }


def _mean_steps(samples: ExitSamples, mean: float | None) -> float | None:
    """Steps an exit; where steps differ, all steps over all exits."""
    if mean is None:
        return None
    if samples.step_time is None:
        return float(samples.exit_step.sum(dtype=np.float64)) / samples.count(ExitCode.EXITED)
    return mean / samples.step_time


def slopes(rows: Sequence[dict[str, Any]], axes: Sequence[str]) -> list[dict[str, Any]]:
    """The slope of the mean exit time against the noise level, for each combination of the other axes."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(repr([row[name] for name in axes]), []).append(row)
    found = []
    for members in groups.values():
        known = [row for row in members if row["rate"] and row["exited"] > 0]
        levels = [row["noise_level"] for row in known]
        fit = None
        if len(set(levels)) > 1:
            # A quasi-stationary rate has an error of its own; exit times are exponential.
            errors = [
                np.ptp(row["rate_ci95"]) / 3.92 / row["rate"]
                if row["mean_exit_time"] is None
                else row["exited"] ** -0.5
                for row in known
            ]
            fit = log_log_slope(levels, [1 / row["rate"] for row in known], errors)
        slope = {"slope": fit.slope if fit else None, "slope_ci95": fit.slope_interval if fit else None}
        found.append({name: members[0][name] for name in axes} | slope)
    return found
