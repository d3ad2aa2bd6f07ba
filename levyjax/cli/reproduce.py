"""`levyjax reproduce`: every claim put to the test, as a report."""

import argparse
from typing import Any

from levyjax.cli.lists import Items

HELP = "put the claims of the paper and its relatives to the test and write a report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("--out", metavar="DIR", help="the folder for report.html and results.json")
    parser.add_argument("--list", action="store_true", help="say which claims there are, and run nothing")
    parser.add_argument("--resume", action="store_true", help="keep what the folder already has of the same run")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small experiments: a few minutes on two cores")
    size.add_argument("--full", action="store_true", help="16 times as many trajectories, for an accelerator")
    parser.add_argument(
        "--only", metavar="ID", nargs="+", action=Items, help="run these claims only, and keep the others that DIR has"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default 0)")
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="processes that share the claims (default 2 with --quick on a CPU, else 1)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Runs the experiments and writes the report."""
    from levyjax.output import output_directory, progress

    if args.list:
        from levyjax.claims.reproduce import select  # imports jax

        names = ("id", "statement", "source", "rule")
        return {"claims": [{name: getattr(claim, name) for name in names} for claim in select(args.only)]}
    if args.out is None:
        raise ValueError("--out DIR is missing: the folder for the report. (--list needs none.)")
    if args.seed < 0:
        raise ValueError(f"--seed {args.seed} must not be negative.")
    folder = output_directory(args.out)
    from levyjax.claims.reproduce import reproduce, select  # imports jax

    with progress(len(select(args.only)), "claims") as bar:
        return reproduce(
            folder,
            quick=args.quick,
            full=args.full,
            seed=args.seed,
            only=args.only,
            jobs=_default_jobs(args.quick) if args.jobs is None else args.jobs,
            resume=args.resume,
            on_claim=lambda _: bar.update(),
        )


def _default_jobs(quick: bool) -> int:
    """Small experiments leave half of two cores idle; an accelerator's memory goes to the first process that asks."""
    import importlib.util
    import os

    plugins = ("jax_cuda12_plugin", "jax_cuda13_plugin", "libtpu", "jax_rocm60_plugin", "jax_rocm7_plugin")
    accelerator = any(importlib.util.find_spec(name) for name in plugins)
    return 2 if quick and not accelerator and (os.cpu_count() or 1) > 1 else 1


def render(result: dict[str, Any]) -> str:
    """The claims with their verdicts as a table."""
    from levyjax.output import table

    if "verdict" not in result["claims"][0]:
        return "\n\n".join(f"{claim['id']}: {claim['statement']}\n  {claim['source']}" for claim in result["claims"])
    return table(result["claims"], ("id", "verdict", "expected", "measured", "ci95", "seconds"))
