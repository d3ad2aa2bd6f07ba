"""`levyjax escape`: exit times of a run by simulation, beside the theory."""

import argparse
import importlib
import threading
from typing import Any

HELP = "simulate the exits of each cell and compare them with the theory"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("run_file", metavar="RUN.toml", help="the run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", metavar="DIR", help="also write the samples, the record and the figures there")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Simulates every cell of the run."""
    from levyjax.config import load
    from levyjax.output import output_directory

    config = load(args.run_file)
    folder = None if args.out is None else output_directory(args.out)
    from levyjax.cli.study import escape_cells  # imports jax

    if folder is not None:  # what draws figures takes half a second to import: meanwhile programs are compiled
        threading.Thread(target=importlib.import_module, args=("levyjax.plots.results",), daemon=True).start()
    return escape_cells(config, folder)


def render(result: dict[str, Any]) -> str:
    """The cells as a table, and the slopes of the exit time against the noise level."""
    from levyjax.output import table

    columns = ("alpha", "noise_level", "learning_rate", "exited", "censored", "nonfinite", "mean_exit_time")
    columns += ("mean_exit_time_ci95", "rate", "predicted_rate", "ratio", "ks_pvalue", "seconds")
    return "\n\n".join([table(result["cells"], columns), *slope_tables(result["slopes"])])


def slope_tables(slopes: list[dict[str, Any]]) -> list[str]:
    """The slopes that there are as a table; none where no combination has two noise levels."""
    from levyjax.output import table

    known = [row for row in slopes if row["slope"] is not None]
    return [table(known)] if known else []
