"""`levyjax bench`: the benchmarks of a checkout, as JSON and figures. An installed wheel has none."""

import argparse
import importlib
import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from levyjax.cli.lists import Items

HELP = "time levyjax and its rivals, and write JSON and figures (needs a checkout)"

_PACKAGE = "levyjax_benchmarks"  # what the folder is imported as: `benchmarks` may be somebody else's


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("--out", metavar="DIR", default="results", help="the folder for the results (default results)")
    parser.add_argument("--quick", action="store_true", help="small runs: about three minutes on two cores")
    parser.add_argument("--only", metavar="TOPIC", nargs="+", action=Items, help="run these topics only")
    parser.add_argument("--list", action="store_true", help="list the topics and stop")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Runs the topics, one after the other; one that fails does not stop the others."""
    package = benchmarks()
    topics = select(package.TOPICS, args.only)
    if args.list:
        return {"topics": [{"topic": name, "about": package.TOPICS[name]} for name in topics]}
    from levyjax.output import output_directory, progress

    folder = output_directory(args.out)
    import matplotlib

    matplotlib.use("Agg")
    rows = []
    with progress(len(topics), "benchmarks") as bar:
        for name in topics:
            bar.set_postfix_str(name)
            rows.append(_run_topic(name, folder, args.quick))
            bar.update()
    return {"topics": rows}


def render(result: dict[str, Any]) -> str:
    """The topics as a table."""
    from levyjax.output import table

    return table(result["topics"])


def failure(result: dict[str, Any]) -> str | None:
    """Which topics failed, as a sentence; None where none did."""
    bad = [row for row in result["topics"] if row.get("error")]
    if not bad:
        return None
    names = ", ".join(row["topic"] for row in bad)
    return f"failed: {names}; the first by {bad[0]['error']}"


def benchmarks() -> ModuleType:
    """The package of benchmarks: the folder beside the package in a checkout, or in the current directory.

    Raises:
        ValueError: there is none.
    """
    if _PACKAGE in sys.modules:
        return sys.modules[_PACKAGE]
    for root in (Path(__file__).parents[2], Path.cwd()):
        folder = root / "benchmarks"
        if (folder / "rivals" / "__init__.py").is_file():
            spec = importlib.util.spec_from_file_location(
                _PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
            )
            assert spec is not None
            assert spec.loader is not None
            module = sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise ValueError("there are no benchmarks here: they come with a checkout of levyjax, run the command inside one.")


def select(topics: dict[str, str], only: list[str] | None) -> list[str]:
    """The topics asked for, in the order of the list.

    Raises:
        ValueError: a topic that does not exist.
    """
    for name in only or ():
        if name not in topics:
            raise ValueError(f"unknown topic {name[:60]!r}; the topics are {', '.join(topics)}.")
    return [name for name in topics if not only or name in only]


def _run_topic(name: str, folder: Path, quick: bool) -> dict[str, Any]:
    """One topic: its file and figure written, or what went wrong."""
    common = importlib.import_module(f"{_PACKAGE}.common")
    began = time.perf_counter()
    row: dict[str, Any] = {"topic": name, "seconds": None, "file": None, "figure": None, "error": None}
    try:
        result = importlib.import_module(f"{_PACKAGE}.{name}").run(quick)
        path = common.save(name, result, folder)
        row |= {"file": path.name, "figure": _draw(name, result, path)}
    except Exception as error:
        row["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
    return {**row, "seconds": time.perf_counter() - began}


def _draw(name: str, result: dict[str, Any], path: Path) -> str | None:
    """The topic's figure beside its file, if it has one."""
    from levyjax.plots import benchmarks as figures
    from levyjax.plots.style import write_figure

    plot = figures.FIGURES.get(name)
    if plot is None:
        return None
    target = path.with_suffix(".png")
    write_figure(target, plot(result))
    return target.name
