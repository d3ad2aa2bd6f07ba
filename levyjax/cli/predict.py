"""`levyjax predict`: the exit rate of a run by theory, with the measure of its validity."""

import argparse
from typing import Any

HELP = "exit rate, mean exit time and exit face of each cell by theory, and whether the theory holds there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("run_file", metavar="RUN.toml", help="the run")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Predicts every cell of the run."""
    from levyjax.config import load
    from levyjax.config.grid import whole_cells

    config = load(args.run_file)
    from levyjax.sweep.rows import cell_problem  # imports jax

    return {
        "cells": [{**place.coordinates, **_row(cell_problem(place).prediction)} for place in whole_cells(config).cells]
    }


def _row(prediction: Any) -> dict[str, Any]:
    """A prediction, as the command's contract has it."""
    faces = [{"face": face, "probability": share} for face, share in prediction.exit_probabilities.items()]
    return {
        "rate": prediction.rate,
        "mean_exit_time": prediction.mean_exit_time,
        "mean_exit_steps": prediction.mean_exit_steps,
        "exit_probabilities": faces,
        "kappa": prediction.kappa,
        "valid": prediction.valid,
        "reasons": list(prediction.reasons),
    }


def render(result: dict[str, Any]) -> str:
    """The cells as a table, and below it why a prediction is not valid."""
    from levyjax.output import table

    columns = ("alpha", "noise_level", "learning_rate", "rate", "mean_exit_time", "mean_exit_steps", "kappa", "valid")
    reasons = dict.fromkeys(reason for cell in result["cells"] for reason in cell["reasons"])
    return "\n".join([table(result["cells"], columns), *(f"- {reason}" for reason in reasons)])
