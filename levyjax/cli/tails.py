"""`levyjax tails`: a tail index with a verdict, from a file of noise."""

import argparse
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HELP = "audit the tails of noise in a file: stable, heavy-tailed, of finite variance, or undecided"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument(
        "data", metavar="DATA",
        help="the noise, (n,) or (iterations, parameters): .npy, .npz, .safetensors, .csv, .txt, .dat or .parquet",
    )  # fmt: skip
    parser.add_argument("--key", metavar="K", help="which array of an .npz or .safetensors file with several")
    parser.add_argument(
        "--column", metavar="C", action="append",
        help="title, or number from 1, of the column to read; give it again for more",
    )  # fmt: skip
    parser.add_argument("--weights", metavar="C", help="column that says how often each value of --column occurs")
    parser.add_argument("--no-center", action="store_true", help="do not centre: the noise has mean 0 by construction")
    parser.add_argument("--seed", type=int, default=0, help="of the shuffling (default 0)")
    parser.add_argument(
        "--batch-size", metavar="S=FILE", nargs="+", default=[],
        help="noise of the same network at batch sizes S, for a test of how it falls with S",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", help="write DIR/tails.json and figures")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Reads the file and audits it."""
    from levyjax.output import output_directory
    from levyjax.records import write_record

    if args.seed < 0:
        raise ValueError(f"--seed {args.seed} is negative. Give 0 or more.")
    files = dict(_batch_size(text) for text in args.batch_size)
    folder = None if args.out is None else output_directory(args.out)
    from levyjax import tails
    from levyjax.tails.order import written_out

    which = {"key": args.key, "column": args.column}
    data, weights, center = *_values(args), not args.no_center
    others = {size: tails.load(name, **which) for size, name in files.items()} or None
    with _reading(data.size) as on_progress:
        audited = tails.audit(
            data, center=center, seed=args.seed, by_batch_size=others, weights=weights, on_progress=on_progress
        )
    result = audited.to_json()
    if folder:
        result = write_record(folder / "tails.json", result)
        drawn = data if weights is None else written_out(data, weights, args.seed)[0]
        _write_figures(folder, drawn, result, center, args.seed)
    return result


def _values(args: argparse.Namespace) -> tuple[Any, Any]:
    """The values, and how often each occurs if there is a column of that."""
    from levyjax import tails
    from levyjax.tails.io import load_table

    if args.weights is None:
        return tails.load(args.data, key=args.key, column=args.column), None
    if args.column is None or len(args.column) > 1:
        raise ValueError("--weights goes with one --column, that of the values. Name both.")
    return load_table(args.data, args.column[0], args.weights, key=args.key)


@contextlib.contextmanager
def _reading(size: int) -> Iterator[Callable[[float], None] | None]:
    """A bar for data of which a part is taken, which are read twice for that."""
    from levyjax.output import progress
    from levyjax.tails.large import LARGE

    if size <= LARGE:
        yield None
        return
    with progress(size, "values read") as bar:
        bar.unit_scale = True

        def on_progress(done: float) -> None:
            bar.update(done * size)
            if bar.n > 0.999 * size:
                bar.set_description("fitting laws")

        yield on_progress


def render(result: dict[str, Any]) -> str:
    """The verdict, its reasons, the estimates and the laws."""
    from levyjax.output import table

    rows = [
        {"estimate": name, "alpha": estimate["alpha"], "interval95": estimate["interval"], "n": estimate["n"]}
        for name, estimate in result["estimates"].items()
    ]
    laws = [
        {"law": name, **{key: law[key] for key in ("score", "held_out", "anderson_darling", "p_value")}}
        for name, law in result["tests"].get("laws", {}).items()
    ]
    reasons = [f"- {reason}" for reason in result["reasons"]]
    parts = [f"verdict: {result['verdict']}", *reasons, "", table(rows)]
    parts += ["", table(sorted(laws, key=lambda law: -law["score"]))] if laws else []
    return "\n".join([*parts, *_warnings(result["estimates"])])


def _warnings(estimates: dict[str, Any]) -> list[str]:
    """A line for each warning, with the estimates that have it."""
    texts = dict.fromkeys(text for estimate in estimates.values() for text in estimate["warnings"])
    names = {text: [name for name in estimates if text in estimates[name]["warnings"]] for text in texts}
    return [f"warning: {', '.join(names[text])}: {text}" for text in texts]


def _batch_size(text: str) -> tuple[int, str]:
    size, _, name = text.partition("=")
    if not (size.isdecimal() and size.isascii() and len(size) < 10) or int(size) < 1 or not name:
        raise ValueError(f"--batch-size {text[:60]!r} is no batch size and file. Give S=FILE, as 100=noise.npy.")
    return int(size), name


def _write_figures(folder: Path, data: Any, result: dict[str, Any], center: bool, seed: int) -> None:
    """The pooled values that the laws were fitted to, and one PNG for each test of them."""
    import matplotlib

    matplotlib.use("Agg")
    from levyjax import plots, tails
    from levyjax.output import write_array
    from levyjax.plots.results import Choice
    from levyjax.plots.results.tails import VALUES, figures_of
    from levyjax.plots.style import write_figure
    from levyjax.tails.large import part_of
    from levyjax.tails.values import check_values

    values = tails.pool(check_values(part_of(data)[0]), center=center, seed=seed).values
    write_array(folder / VALUES, values)
    with plots.style():
        for kind, draw in figures_of(result["estimates"], result["tests"], values).items():
            write_figure(folder / f"{kind.replace('-', '_')}.png", draw(Choice()))
