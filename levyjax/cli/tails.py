"""`levyjax tails`: a tail index with a verdict, from a file of noise."""

import argparse
from typing import Any

HELP = "audit the tails of noise in a .npy, .npz or .csv file: stable, heavy-tailed, of finite variance, or undecided"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("data", metavar="DATA", help="the noise: (n,) or (iterations, parameters), real numbers")
    parser.add_argument("--no-center", action="store_true", help="do not centre: the noise has mean 0 by construction")
    parser.add_argument("--seed", type=int, default=0, help="of the shuffling (default 0)")
    parser.add_argument("--out", metavar="DIR", help="write the result to DIR/tails.json too")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Reads the file and audits it."""
    from levyjax.output import output_directory, write_json

    if args.seed < 0:
        raise ValueError(f"--seed {args.seed} is negative. Give 0 or more.")
    folder = output_directory(args.out) if args.out else None
    from levyjax import tails

    result = tails.audit(tails.load(args.data), center=not args.no_center, seed=args.seed).to_json()
    if folder:
        write_json(folder / "tails.json", result)
    return result


def render(result: dict[str, Any]) -> str:
    """The verdict, its reasons and the estimates."""
    from levyjax.output import table

    rows = [
        {"estimate": name, "alpha": estimate["alpha"], "interval95": estimate["interval"], "n": estimate["n"]}
        for name, estimate in result["estimates"].items()
    ]
    warnings = dict.fromkeys(text for estimate in result["estimates"].values() for text in estimate["warnings"])
    reasons = [f"- {reason}" for reason in result["reasons"]]
    return "\n".join(
        [f"verdict: {result['verdict']}", *reasons, "", table(rows), *(f"warning: {text}" for text in warnings)]
    )
