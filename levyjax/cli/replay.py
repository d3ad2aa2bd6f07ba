"""`levyjax replay`: one trajectory of a run or a sweep once more, with its last points."""

import argparse
from typing import Any

HELP = "run one trajectory of a run or a sweep again and show its last points"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("folder", metavar="DIR", help="the folder of the run or the sweep")
    parser.add_argument("--trajectory", metavar="ID", type=int, required=True, help="its id in the cell")
    parser.add_argument("--cell", metavar="K", type=int, default=0, help="the cell, counted from 0; default 0")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Runs the trajectory."""
    from levyjax.sweep.replay import replay_stored  # imports jax

    return replay_stored(args.folder, args.trajectory, args.cell)


def render(result: dict[str, Any]) -> str:
    """How it ended, and its last points as a table."""
    from levyjax.output import table

    same = {True: "as stored, to the last bit", False: "NOT as stored", None: "not stored yet"}[result["same_bits"]]
    head = f"trajectory {result['trajectory']} of cell {result['cell']}: {result['exit_code']}"
    return f"{head} at step {result['exit_step']} ({same})\n\n" + table(result["last_points"])
