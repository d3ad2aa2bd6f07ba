"""The cells of a run, predicted and simulated: what `levyjax predict` and `levyjax escape` print."""

import io
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import jax
import numpy as np

from levyjax.config import Cell, RunConfig, cells
from levyjax.config.build import build_plan, build_problem
from levyjax.environment import environment
from levyjax.escape import (
    EscapeProblem,
    ExitCode,
    ExitSamples,
    Plan,
    Prediction,
    QuasiStationaryRate,
    exponential_fit,
    exponentiality_test,
    log_log_slope,
    predict,
    quasi_stationary_rate,
    simulate,
)
from levyjax.output import progress, write_bytes, write_json

_MAX_INCREMENTS = 1e14  # days of computing: more than that is a mistake in the run file, not a wish


def _named(config: RunConfig, cell: Cell) -> dict[str, Any]:
    learning_rate = cell.learning_rate if config.uses_learning_rate else None
    return {"alpha": cell.alpha, "noise_level": cell.noise_level, "learning_rate": learning_rate}


def _problems(config: RunConfig) -> Iterator[tuple[Cell, EscapeProblem]]:
    for cell in cells(config):
        yield cell, build_problem(config, cell)


def predict_cells(config: RunConfig) -> list[dict[str, Any]]:
    """The prediction for each cell, as the command's contract has it."""
    solver = build_plan(config).solver
    rows = []
    for cell, problem in _problems(config):
        prediction = predict(problem, solver)
        faces = [{"face": face, "probability": share} for face, share in prediction.exit_probabilities.items()]
        rows.append(
            {
                **_named(config, cell),
                "rate": prediction.rate,
                "mean_exit_time": prediction.mean_exit_time,
                "mean_exit_steps": prediction.mean_exit_steps,
                "exit_probabilities": faces,
                "kappa": prediction.kappa,
                "valid": prediction.valid,
                "reasons": list(prediction.reasons),
            }
        )
    return rows


def _check_work(problem: EscapeProblem, plan: Plan, prediction: Prediction, cell: Cell) -> None:
    """Refuse what would not end: no exits at all, or more steps than anyone can wait for."""
    if np.isfinite(plan.max_time):
        return
    advice = "Give max_time, or a larger noise_level."
    if prediction.rate == 0:
        raise ValueError(f"noise_level = {cell.noise_level}: no path can leave this basin. {advice}")
    if prediction.mean_exit_steps is None:
        return
    increments = prediction.mean_exit_steps * plan.num_trajectories * problem.dimension
    if increments > _MAX_INCREMENTS:
        raise ValueError(
            f"noise_level = {cell.noise_level}: about {prediction.mean_exit_steps:.1e} steps an exit, "
            f"{increments:.0e} increments in all, would not end. {advice}"
        )


def escape_cells(config: RunConfig, folder: Path | None = None) -> dict[str, Any]:
    """Simulated exits of each cell beside the prediction, and slopes over the noise level, as the contract has it.

    Args:
        config: the run.
        folder: where to write samples, record and figures; default nowhere.

    Returns:
        The cells and slopes; after KeyboardInterrupt "interrupted" and those that there are, the last of them with
        fewer trajectories.

    Raises:
        ValueError: a cell that would not end.
    """
    plan = build_plan(config)
    problems = list(_problems(config))
    predictions = [predict(problem, plan.solver) for _, problem in problems]
    for (cell, problem), prediction in zip(problems, predictions, strict=True):
        _check_work(problem, plan, prediction, cell)
    rows, all_samples = [], []
    rates_only, interrupted = config.run.method == "quasi_stationary", False
    with progress(None if rates_only else plan.num_trajectories * len(problems), "exits") as bar:
        for (cell, problem), prediction in zip(problems, predictions, strict=True):
            if rates_only:
                row = _rate_row(_rate(problem, plan, config), prediction)
                bar.update(row["exited"])
            else:
                samples = simulate(problem, plan, config.run.seed, on_progress=bar.update, keep_partial=True)
                row = _row(samples, prediction)
                interrupted = samples.partial
                if folder is not None:
                    all_samples.append(samples)
            rows.append({**_named(config, cell), **row})
            if interrupted:
                break
    result = {"cells": rows, "slopes": _slopes(rows)} | ({"interrupted": True} if interrupted else {})
    if folder is not None:
        _write(folder, config, result, all_samples)
    return result


def _rate(problem: EscapeProblem, plan: Plan, config: RunConfig) -> QuasiStationaryRate:
    return quasi_stationary_rate(
        problem,
        config.run.seed,
        relative_error=config.run.relative_error,
        num_particles=plan.num_trajectories,
        max_time=plan.max_time,
        dtype=plan.dtype,
    )


def _rate_row(result: QuasiStationaryRate, prediction: Prediction) -> dict[str, Any]:
    """A row of `_row` for a rate without times."""
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
        "steps_per_second": result.steps / result.seconds,
    }


def _row(samples: ExitSamples, prediction: Prediction) -> dict[str, Any]:
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
        "steps_per_second": steps / samples.seconds,
    }


def _mean_steps(samples: ExitSamples, mean: float | None) -> float | None:
    """Steps an exit; where steps differ, all steps over all exits."""
    if mean is None:
        return None
    if samples.step_time is None:
        return float(samples.exit_step.sum(dtype=np.float64)) / samples.count(ExitCode.EXITED)
    return mean / samples.step_time


def _slopes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The slope of the mean exit time against the noise level, for each alpha and learning rate."""

    def group(row: dict[str, Any]) -> tuple[float, float]:
        return (row["alpha"] or 0, row["learning_rate"] or 0)

    slopes = []
    for _, members in groupby(sorted(rows, key=group), key=group):
        members = list(members)
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
        slopes.append(
            {
                "alpha": members[0]["alpha"],
                "learning_rate": members[0]["learning_rate"],
                "slope": fit.slope if fit else None,
                "slope_ci95": fit.slope_interval if fit else None,
            }
        )
    return slopes


def _write(folder: Path, config: RunConfig, result: dict[str, Any], all_samples: list[ExitSamples]) -> None:
    """Samples, record and figures, each file whole or absent."""
    for index, samples in enumerate(all_samples):
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            exit_step=samples.exit_step,
            exit_time=samples.exit_time,
            exit_code=samples.exit_code.astype(np.int8),
            exit_position=samples.exit_position,
            exit_face=samples.exit_face.astype(np.int32),
        )
        write_bytes(folder / f"samples_{index:04d}.npz", buffer.getvalue())
    record = {"config": config.to_dict(), "environment": environment(), "x64": config.run.dtype == "float64"}
    faces = all_samples[0].face_names if all_samples else None
    write_json(folder / "record.json", record | {"backend": jax.default_backend(), "face_names": faces, **result})
    from levyjax.cli.figures import write_figures

    write_figures(folder, result, all_samples)
