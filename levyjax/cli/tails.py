"""`levyjax tails`: a tail index with a verdict, from a file of noise."""

import argparse
from pathlib import Path
from typing import Any

HELP = "audit the tails of noise in a file: stable, heavy-tailed, of finite variance, or undecided"

_CURVES = 4
_UNIT = "medians of $|X|$"


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
    from levyjax.output import output_directory
    from levyjax.records import write_record

    if args.seed < 0:
        raise ValueError(f"--seed {args.seed} is negative. Give 0 or more.")
    files = dict(_batch_size(text) for text in args.batch_size)
    folder = None if args.out is None else output_directory(args.out)
    from levyjax import tails

    data, center = tails.load(args.data), not args.no_center
    others = {size: tails.load(name) for size, name in files.items()} or None
    result = tails.audit(data, center=center, seed=args.seed, by_batch_size=others).to_json()
    if folder:
        result = write_record(folder / "tails.json", result)
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
    chosen = tests.get("far_tail", {}).get("num_tail")
    yield "hill", plots.hill_plot(hill.num_tail, hill.alpha, hill.interval, hill.moment, chosen=chosen)
    median = float(np.median(np.abs(values)))
    if fits := _best_laws(tests, median):
        x = values / median
        sizes = np.geomspace(np.quantile(np.abs(x), 0.1) + 1e-300, 2 * np.abs(x).max(), 300)
        curves = {name: (sizes, tails.tail_probability(fit, sizes)) for name, fit in fits.items()}
        yield "ccdf", plots.ccdf_with_laws(x - fits[next(iter(fits))].location, curves, unit=_UNIT)
        levels = plots.plotted_levels(x.size)
        quantiles = {name: tails.law_quantiles(fit, levels) for name, fit in list(fits.items())[:2]}
        yield "qq", plots.quantile_plot(x, quantiles, unit=_UNIT)
    sweep, sums = tests.get("block_length_sweep", {}), tests.get("aggregation", {})
    if _finite(sweep):
        yield "block_length", plots.block_length_sweep(
            sweep["block_lengths"], sweep["alpha"], sweep["interval"],
            alpha=sweep["stable_alpha"], deficit=sweep["log_excess"],
        )  # fmt: skip
    if found := estimates.get("characteristic_function"):
        yield "characteristic_function", plots.characteristic_plot(values, found["alpha"], found["settings"]["scale"])
    if _finite(sums):
        yield "aggregation", plots.aggregation_plot(sums["num_summed"], sums["alpha"], sums["interval"])


def _finite(test: dict[str, Any]) -> bool:
    """Whether a test has estimates over a ladder, all of them and their intervals finite."""
    return bool(test) and None not in [*test["alpha"], *(end for ends in test["interval"] for end in ends)]


def _best_laws(tests: dict[str, Any], unit: float) -> dict[str, Any]:
    """Legend entry -> fit of the best law and the best ones of other kinds, in order, to values in another unit."""
    from levyjax.tails.laws import LawFit

    laws = sorted(tests.get("laws", {}).values(), key=lambda law: -law["score"])
    fits, kinds = {}, set()
    for law in laws:
        kind = law["name"].split("_")[0] + law["name"][-6:] * law["name"].endswith(("_heavy", "_finite"))
        if kind not in kinds and len(fits) < _CURVES:
            kinds.add(kind)
            place = {"location": law["location"] / unit, "scale": law["scale"] / unit}
            fit = LawFit(**{key: value for key, value in law.items() if key != "score"} | place)
            fits[_label(fit)] = fit
    return fits


def _label(fit: Any) -> str:
    """The law in the few words that a legend has room for."""
    name = fit.name.removesuffix("_heavy").removesuffix("_finite")
    if name in ("gaussian", "gaussian_mixture"):
        return {"gaussian": "Gaussian", "gaussian_mixture": "Gaussian mixture"}[name]
    if name == "generalised_t":
        return f"generalised t, index {fit.shape[1]:.2f}"
    symbol = {"stable": "α", "student_t": "ν", "generalised_normal": "p", "lognormal_scales": "τ"}[name]
    title = {"student_t": "Student t"}.get(name, name.replace("_", " "))
    return f"{title}, {symbol} = {fit.shape:.3g}"
