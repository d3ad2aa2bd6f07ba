"""`levyjax plot`: figures of results on disk."""

import argparse
import re
from pathlib import Path
from typing import Any

from levyjax.cli.lists import Items

HELP = "draw a figure of a result: what escape, sweep, tails, train or bench has written"

_FORMATS = (".png", ".svg", ".pdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("result", metavar="RESULT", nargs="?", help="the folder or the JSON file of the result")
    parser.add_argument("--kind", metavar="KIND", help="which figure; --list names those that RESULT has")
    parser.add_argument("--out", metavar="FIGURE", help="the file: .png, .svg or .pdf; default KIND.png here")
    parser.add_argument("--list", action="store_true", help="list the kinds of RESULT, or of all results, and stop")
    parser.add_argument(
        "--cell", metavar="K", action=Items, item=int, nargs="+", default=[], help="cells to draw, counted from 0"
    )
    parser.add_argument("--x", metavar="AXIS", help="of a phase diagram; default the first that varies")
    parser.add_argument("--y", metavar="AXIS", help="likewise; default the second")
    parser.add_argument(
        "--where", metavar="AXIS=VALUE", nargs="+", default=[],
        help="where a phase diagram holds the other axes; default at their first values",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Draws the figure, or lists what can be drawn."""
    if args.list and args.result is None:
        return {"kinds": _all_kinds()}
    if args.result is None:
        raise ValueError("give a RESULT, a folder or a JSON file. See `levyjax plot --list`.")
    where = dict(_condition(text) for text in args.where)
    path = None if args.kind is None else _figure_path(args.out or f"{args.kind[:60]}.png")
    import matplotlib

    matplotlib.use("Agg")
    from levyjax.plots.results import Choice, open_result

    result = open_result(args.result)
    if args.list:
        kinds = [{"kind": kind, "result": result.source, "shows": result.about[kind]} for kind in result.kinds]
        return {"kinds": kinds}
    if args.kind is None or path is None:
        raise ValueError(f"--kind is missing. This result of {result.source} has {', '.join(result.kinds) or 'none'}.")
    choice = Choice(tuple(args.cell), args.x, args.y, where)
    axes = result.draw(args.kind, choice)
    from levyjax.plots.style import write_figure

    write_figure(path, axes)
    return {"written": str(path), "kind": args.kind, "result": result.source}


def render(result: dict[str, Any]) -> str:
    """The file that was written, or the kinds as a table."""
    from levyjax.output import table

    if "written" in result:
        return f"{result['written']}: {result['kind']} of {result['result']}"
    return table(result["kinds"]) if result["kinds"] else "no figure can be made of this result"


def _all_kinds() -> list[dict[str, str]]:
    from levyjax.plots.results import KINDS

    return [
        {"kind": kind, "result": source, "shows": text}
        for source, kinds in KINDS.items()
        for kind, text in kinds.items()
    ]


def _figure_path(text: str) -> Path:
    path = Path(text)
    if path.suffix not in _FORMATS:
        raise ValueError(f"--out {text[-60:]!r} is refused: give a name that ends in .png, .svg or .pdf.")
    if not path.parent.is_dir():
        raise ValueError(f"--out {text[-60:]!r} is refused: its folder does not exist.")
    return path


def _condition(text: str) -> tuple[str, str]:
    if not re.fullmatch(r"[\w.]+=.+", text):
        raise ValueError(f"--where {text[:60]!r} is refused: give AXIS=VALUE, as alpha=1.5.")
    name, _, value = text.partition("=")
    return name, value
