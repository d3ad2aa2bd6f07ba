"""`levyjax tails`: a tail index with a verdict, from a file of noise."""

import argparse
from pathlib import Path
from typing import Any

HELP = "audit the tails of noise in a file: stable, heavy-tailed, of finite variance, or undecided"

_CURVES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument(
        "data", metavar="DATA", help="the noise, .npy, .npz, .csv or .parquet: (n,) or (iterations, parameters)"
    )
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
    from levyjax.output import output_directory, write_json

    if args.seed < 0:
        raise ValueError(f"--seed {args.seed} is negative. Give 0 or more.")
    files = dict(_batch_size(text) for text in args.batch_size)
    folder = output_directory(args.out) if args.out else None
    from levyjax import tails

    data, center = tails.load(args.data), not args.no_center
    others = {size: tails.load(name) for size, name in files.items()} or None
    result = tails.audit(data, center=center, seed=args.seed, by_batch_size=others).to_json()
    if folder:
        write_json(folder / "tails.json", result)
        _write_figures(folder, data, result, center, args.seed)
    return result


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
    warnings = dict.fromkeys(text for estimate in result["estimates"].values() for text in estimate["warnings"])
    reasons = [f"- {reason}" for reason in result["reasons"]]
    parts = [f"verdict: {result['verdict']}", *reasons, "", table(rows)]
    parts += ["", table(sorted(laws, key=lambda law: -law["score"]))] if laws else []
    return "\n".join([*parts, *(f"warning: {text}" for text in warnings)])


def _batch_size(text: str) -> tuple[int, str]:
    size, _, name = text.partition("=")
    if not size.isdigit() or int(size) < 1 or not name:
        raise ValueError(f"--batch-size {text[:60]!r} is no batch size and file. Give S=FILE, as 100=noise.npy.")
    return int(size), name


def _write_figures(folder: Path, data: Any, result: dict[str, Any], center: bool, seed: int) -> None:
    """One PNG for each test, of the pooled values that the laws were fitted to."""
    import matplotlib

    matplotlib.use("Agg")
    from levyjax import plots, tails
    from levyjax.cli.figures import write_figure
    from levyjax.tails.large import part_of
    from levyjax.tails.values import check_values

    values = tails.pool(check_values(part_of(data)[0]), center=center, seed=seed).values
    tests = result["tests"]
    with plots.style():
        for name, axes in _figures(values, result["estimates"], tests):
            write_figure(folder / f"{name}.png", axes)


def _figures(values: Any, estimates: dict[str, Any], tests: dict[str, Any]) -> Any:
    """(name, axes) of every figure that the audit has the numbers for."""
    import numpy as np

    from levyjax import plots, tails

    hill = tails.hill_plot(values, center=False)
    yield (
        "hill",
        plots.hill_plot(
            hill.num_tail, hill.alpha, hill.interval, hill.moment, chosen=tests.get("far_tail", {}).get("num_tail")
        ),
    )
    if fits := _best_laws(values, tests):
        sizes = np.geomspace(np.quantile(np.abs(values), 0.1) + 1e-300, 2 * np.abs(values).max(), 300)
        curves = {name: (sizes, tails.tail_probability(fit, sizes)) for name, fit in fits.items()}
        yield "ccdf", plots.ccdf_with_laws(values - fits[next(iter(fits))].location, curves)
        levels = plots.plotted_levels(values.size)
        yield "qq", plots.quantile_plot(values, {n: tails.law_quantiles(f, levels) for n, f in list(fits.items())[:2]})
    if sweep := tests.get("block_length_sweep"):
        yield "block_length", plots.block_length_sweep(
            sweep["block_lengths"], sweep["alpha"], sweep["interval"],
            alpha=sweep["stable_alpha"], deficit=sweep["log_excess"],
        )  # fmt: skip
    if found := estimates.get("characteristic_function"):
        yield "characteristic_function", plots.characteristic_plot(values, found["alpha"], found["settings"]["scale"])
    if sums := tests.get("aggregation"):
        yield "aggregation", plots.aggregation_plot(sums["num_summed"], sums["alpha"], sums["interval"])


def _best_laws(values: Any, tests: dict[str, Any]) -> dict[str, Any]:
    """Legend entry -> fit of the best law and the best ones of other kinds, in order."""
    from levyjax.tails.laws import LawFit

    laws = sorted(tests.get("laws", {}).values(), key=lambda law: -law["score"])
    fits, kinds = {}, set()
    for law in laws:
        kind = law["name"].split("_")[0] + law["name"][-6:] * law["name"].endswith(("_heavy", "_finite"))
        if kind not in kinds and len(fits) < _CURVES:
            kinds.add(kind)
            fit = LawFit(**{key: value for key, value in law.items() if key != "score"})
            fits[_label(fit)] = fit
    return fits


def _label(fit: Any) -> str:
    """The law in the few words that a legend has room for."""
    name = fit.name.removesuffix("_heavy").removesuffix("_finite")
    number = {"stable": "α", "student_t": "ν", "generalised_normal": "p", "lognormal_scales": "τ"}.get(name)
    text = {"student_t": "Student t", "generalised_t": "generalised t", "generalised_normal": "generalised normal"}
    text |= {"lognormal_scales": "lognormal scales", "gaussian_mixture": "Gaussian mixture", "gaussian": "Gaussian"}
    if name == "generalised_t":
        return f"{text[name]}, index {fit.shape[1]:.2f}"
    return str(text.get(name, name)) + (f", {number} = {fit.shape:.3g}" if number else "")
