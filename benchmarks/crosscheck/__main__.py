"""Looks at so many random problems, of a chosen kind if wanted, and prints what went wrong."""

import argparse
import sys
from pathlib import Path

from levyjax.output import output_directory

from ..common import save
from . import markdown, result_of
from .draw import STARTS
from .search import LONG, PER_STRUCTURE, PROBES, Tally, search

KINDS = ("landscape", "basin", "noise", "scale", "dynamics", "view")


def main() -> None:
    """Search, print, and save where a folder is given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crosscheck", description=__doc__)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(PROBES), default=list(LONG))
    parser.add_argument("--per-structure", type=int, default=PER_STRUCTURE)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="after these no structure is begun")
    parser.add_argument("--structure-seconds", type=float, default=float("inf"), help="that one structure may take")
    parser.add_argument("--tries", type=int, default=30, help="of the shrinker, for each kind of failure")
    parser.add_argument("--dimension", type=int, nargs="+", help="one of these")
    for kind in KINDS:
        parser.add_argument(f"--{kind}")
    parser.add_argument("--start", choices=STARTS)
    parser.add_argument("--skewed", action="store_true", default=None, help="noise that jumps more to one side")
    parser.add_argument("--out", help="a folder for the result")
    given = parser.parse_args()
    fixed = {
        name: value for name in ("dimension", "start", "skewed", *KINDS) if (value := getattr(given, name)) is not None
    }
    ways = given.per_structure, _tell, given.processes, given.seconds, given.structure_seconds
    tally = search(given.problems, given.seed, tuple(given.only), *ways, **fixed)
    result = result_of(tally, tries=given.tries) | {"seed": given.seed, "kept_to": fixed}
    print(markdown(result))
    if given.out:
        save("crosscheck", result, Path(output_directory(given.out)))


def _tell(tally: Tally) -> None:
    print(
        f"\r{tally.problems} problems, {tally.structures} structures, {len(tally.failures)} failed",
        end="",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    main()
