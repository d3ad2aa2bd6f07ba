"""`levyjax escape`: exit times of a run by simulation, beside the theory."""

import argparse
import importlib.util
import io
import threading
from typing import Any

from levyjax.output import output_directory, progress, table, write_bytes

HELP = "simulate the exits of each cell and compare them with the theory"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("run_file", metavar="RUN.toml", help="the run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", metavar="DIR", help="also write the samples, the record and the figures there")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Simulates every cell of the run: a sweep of whole cells, by one worker.

    Returns:
        The cells and slopes; after KeyboardInterrupt "interrupted" and those that there are, the last of them with
        fewer trajectories.
    """
    from levyjax.config import load
    from levyjax.config.grid import whole_cells

    config = load(args.run_file)
    folder = None if args.out is None else output_directory(args.out)
    from levyjax.sweep import ChunkStore  # imports jax
    from levyjax.sweep.rows import checked_problem, slopes
    from levyjax.sweep.run import run_cells

    if folder is not None:  # what draws figures takes half a second to import: meanwhile programs are compiled
        threading.Thread(target=importlib.import_module, args=("levyjax.plots.results",), daemon=True).start()
    sweep = whole_cells(config)
    made = [checked_problem(place) for place in sweep.cells]
    store = None if folder is None else ChunkStore.create_run(folder, sweep)
    rates_only = config.run.method == "quasi_stationary"
    rows, interrupted = [], False
    with progress(None if rates_only else config.run.num_trajectories * len(made), "exits") as bar:
        for row, partial in run_cells(sweep, made, store, bar.update):
            rows.append(row)
            interrupted |= partial
    result: dict[str, Any] = {"cells": rows, "slopes": slopes(rows, ("alpha", "learning_rate"))}
    if interrupted:
        result["interrupted"] = True
    if store is not None:
        faces = None if rates_only else made[0].problem.basin.face_names(config.dimension)
        _write(store, config, faces, result)
    return result


def _write(store: Any, config: Any, faces: Any, result: dict[str, Any]) -> None:
    """The record, `results.nc` where the extra "io" is installed, and the figures; each file whole or absent."""
    import jax

    from levyjax.environment import environment
    from levyjax.sweep.export import cell_data, write_netcdf

    record = {"config": config.to_dict(), "environment": environment(), "x64": config.run.dtype == "float64"}
    record |= {"backend": jax.default_backend(), "face_names": faces, **result}
    store.finish(record)
    if all(importlib.util.find_spec(name) for name in ("h5netcdf", "h5py")):
        buffer = io.BytesIO()
        write_netcdf(buffer, cell_data(store, result["cells"]), len(result["cells"]))
        write_bytes(store.folder / "results.nc", buffer.getvalue())
    from levyjax.plots.results.exits import of_store
    from levyjax.plots.style import write_figure

    figures = of_store(store)
    for kind, name in (("survival", "survival.png"), ("scaling", "exit_time_scaling.png")):
        if kind in figures.kinds:
            write_figure(store.folder / name, figures.draw(kind))


def render(result: dict[str, Any]) -> str:
    """The cells as a table, and the slopes of the exit time against the noise level."""
    columns = ("alpha", "noise_level", "learning_rate", "exited", "censored", "nonfinite", "mean_exit_time")
    columns += ("mean_exit_time_ci95", "rate", "predicted_rate", "ratio", "ks_pvalue", "seconds")
    return "\n\n".join([table(result["cells"], columns), *slope_tables(result["slopes"])])


def slope_tables(slopes: list[dict[str, Any]]) -> list[str]:
    """The slopes that there are as a table; none where no combination has two noise levels."""
    known = [row for row in slopes if row["slope"] is not None]
    return [table(known)] if known else []
