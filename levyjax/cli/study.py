"""The cells of a run, predicted and simulated: what `levyjax predict` and `levyjax escape` print."""

import importlib.util
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from levyjax.config import Cell, RunConfig, cells
from levyjax.config.build import build_plan, build_problem
from levyjax.config.sweeps import coordinates
from levyjax.environment import environment
from levyjax.escape import (
    EscapeProblem,
    ExitSamples,
    predict,
    simulate,
)
from levyjax.output import progress, to_json, write_bytes
from levyjax.records import write_record
from levyjax.sweep.rows import check_work, exits_row, rate_of, rate_row, slopes

_BESIDE = ("results.nc", "survival.png", "exit_time_scaling.png")  # what a folder has beside record and samples


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
                **coordinates(config, cell),
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
        check_work(problem, plan, prediction, cell)
    rows, all_samples = [], []
    rates_only, interrupted = config.run.method == "quasi_stationary", False
    with progress(None if rates_only else plan.num_trajectories * len(problems), "exits") as bar:
        for (cell, problem), prediction in zip(problems, predictions, strict=True):
            if rates_only:
                row = rate_row(rate_of(problem, plan, config), prediction)
                bar.update(row["exited"])
            else:
                samples = simulate(problem, plan, config.run.seed, on_progress=bar.update, keep_partial=True)
                row = exits_row(samples, prediction)
                interrupted = samples.partial
                if folder is not None:
                    all_samples.append(samples)
            rows.append({**coordinates(config, cell), **row})
            if interrupted:
                break
    result: dict[str, Any] = {"cells": rows, "slopes": slopes(rows, ("alpha", "learning_rate"))}
    if interrupted:
        result["interrupted"] = True
    if folder is not None:
        _write(folder, config, result, all_samples)
    return result


def _write(folder: Path, config: RunConfig, result: dict[str, Any], all_samples: list[ExitSamples]) -> None:
    """Samples, record and figures, each file whole or absent.

    The record of an earlier run goes first and the new one comes when the samples are there: a folder never has the
    record of one run beside the samples of another.
    """
    (folder / "record.json").unlink(missing_ok=True)
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
    written = {f"samples_{index:04d}.npz" for index in range(len(all_samples))}
    for path in (*folder.glob("samples_[0-9]*.npz"), *(folder / name for name in _BESIDE)):
        if path.name not in written:
            path.unlink(missing_ok=True)
    record = {"config": config.to_dict(), "environment": environment(), "x64": config.run.dtype == "float64"}
    faces = all_samples[0].face_names if all_samples else None
    _write_dataset(folder, config, result, all_samples)
    write_record(folder / "record.json", record | {"backend": jax.default_backend(), "face_names": faces, **result})
    from levyjax.cli.figures import write_figures

    write_figures(folder, result, all_samples)


def _write_dataset(folder: Path, config: RunConfig, result: dict[str, Any], all_samples: list[ExitSamples]) -> None:
    """`results.nc`, all rows and samples for xarray, where the extra "io" is installed."""
    if not all(importlib.util.find_spec(name) for name in ("h5netcdf", "h5py")):
        return
    from levyjax.sweep.export import cell_data, write_netcdf

    rows, axes = result["cells"], ("alpha", "noise_level", "learning_rate")
    shape = (max(len(samples.exit_step) for samples in all_samples), config.dimension) if all_samples else (0, 0)
    attributes = {"title": "levyjax escape", "tables": json.dumps(json.loads(to_json(config.to_dict())))}
    attributes["environment"] = json.dumps(json.loads(to_json(environment())))
    cells = cell_data(rows, lambda index: all_samples[index], [axes] * len(rows), shape, attributes)
    buffer = io.BytesIO()
    write_netcdf(buffer, cells, len(rows))
    write_bytes(folder / "results.nc", buffer.getvalue())
