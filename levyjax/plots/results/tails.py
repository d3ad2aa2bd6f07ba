"""Figures of what `levyjax tails` writes: of its JSON, and of the pooled values beside it."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from levyjax import tails
from levyjax.plots.audit import (
    aggregation_plot,
    ccdf_with_laws,
    characteristic_plot,
    hill_plot,
    plotted_levels,
    quantile_plot,
)
from levyjax.plots.comparisons import ratio_forest
from levyjax.plots.results.base import Draw, Figures
from levyjax.plots.tails import block_length_sweep
from levyjax.records import read_record
from levyjax.tails.laws import LawFit, law_quantiles

KINDS = {
    "hill": "Hill's and the moment estimate against the number of largest values",
    "ccdf": "the tail of the data beside the best laws",
    "qq": "quantiles of the data against those of the best laws",
    "block-length": "the block estimator against the block length K1, with what two laws say",
    "characteristic-function": "the empirical characteristic function, a straight line for a stable law",
    "aggregation": "the index of sums against how many are summed",
    "estimates": "all estimates with their intervals",
}
VALUES = "pooled.npy"
"""The file of the pooled values that the laws were fitted to."""

_CURVES = 4
_UNIT = "medians of $|X|$"


def of_folder(folder: Path) -> Figures:
    """The figures of `levyjax tails --out`."""
    record = read_record(folder / "tails.json", ("estimates", "tests"))
    values = np.load(folder / VALUES, allow_pickle=False) if (folder / VALUES).is_file() else None
    return Figures("levyjax tails", KINDS, figures_of(record["estimates"], record["tests"], values))


def of_record(path: Path, record: dict[str, Any]) -> Figures:
    """The figures of what `levyjax tails --json` prints, which has no data, or of the `tails.json` of a folder."""
    if (path.parent / VALUES).is_file() and path.name == "tails.json":
        return of_folder(path.parent)
    return Figures("levyjax tails", KINDS, figures_of(record["estimates"], record["tests"]))


def figures_of(
    estimates: dict[str, Any], tests: dict[str, Any], values: NDArray[np.float64] | None = None
) -> dict[str, Draw]:
    """Every figure that an audit has the numbers for.

    Args:
        estimates: of the audit, as JSON has them.
        tests: likewise.
        values: (n,), the pooled values; without them there are fewer figures.
    """
    kinds: dict[str, Draw] = {}
    if values is not None:
        kinds |= _of_values(values, estimates, tests)
    sweep, sums = tests.get("block_length_sweep", {}), tests.get("aggregation", {})
    if _finite(sweep):
        kinds["block-length"] = lambda choice: block_length_sweep(
            sweep["block_lengths"], sweep["alpha"], sweep["interval"],
            alpha=sweep["stable_alpha"], deficit=sweep["log_excess"],
        )  # fmt: skip
    if _finite(sums):
        kinds["aggregation"] = lambda choice: aggregation_plot(sums["num_summed"], sums["alpha"], sums["interval"])
    if any(estimate["alpha"] is not None for estimate in estimates.values()):
        kinds["estimates"] = lambda choice: _estimates(estimates)
    return kinds


def _of_values(values: NDArray[np.float64], estimates: dict[str, Any], tests: dict[str, Any]) -> dict[str, Draw]:
    kinds: dict[str, Draw] = {"hill": lambda choice: _hill(values, tests.get("far_tail", {}).get("num_tail"))}
    unit = float(np.median(np.abs(values)))
    if fits := best_laws(tests, unit):
        kinds["ccdf"] = lambda choice: _ccdf(values / unit, fits)
        kinds["qq"] = lambda choice: _quantiles(values / unit, fits)
    if found := estimates.get("characteristic_function"):
        kinds["characteristic-function"] = lambda choice: characteristic_plot(
            values, found["alpha"], found["settings"]["scale"]
        )
    return kinds


def _hill(values: NDArray[np.float64], chosen: int | None) -> Axes:
    plot = tails.hill_plot(values, center=False)
    return hill_plot(plot.num_tail, plot.alpha, plot.interval, plot.moment, chosen=chosen)


def _ccdf(x: NDArray[np.float64], fits: dict[str, LawFit]) -> Axes:
    sizes = np.geomspace(np.quantile(np.abs(x), 0.1) + 1e-300, 2 * np.abs(x).max(), 300)
    curves = {name: (sizes, tails.tail_probability(fit, sizes)) for name, fit in fits.items()}
    return ccdf_with_laws(x - fits[next(iter(fits))].location, curves, unit=_UNIT)


def _quantiles(x: NDArray[np.float64], fits: dict[str, LawFit]) -> Axes:
    levels = plotted_levels(x.size)
    return quantile_plot(x, {name: law_quantiles(fit, levels) for name, fit in list(fits.items())[:2]}, unit=_UNIT)


def _estimates(estimates: dict[str, Any]) -> Axes:
    """All of them, orange where the interval excludes 2."""
    known = {name: one for name, one in estimates.items() if one["alpha"] is not None}
    names = [name.replace("_", " ") for name in known]
    intervals = [tuple(one["interval"]) for one in known.values()]
    return ratio_forest(names, [one["alpha"] for one in known.values()], intervals, 2.0, xlabel="estimated tail index")


def _finite(test: dict[str, Any]) -> bool:
    """Whether a test has estimates over a ladder, all of them and their intervals finite."""
    return bool(test) and None not in [*test["alpha"], *(end for ends in test["interval"] for end in ends)]


def best_laws(tests: dict[str, Any], unit: float) -> dict[str, LawFit]:
    """Legend entry -> fit of the best law and the best ones of other kinds, in order, to values in another unit."""
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
    if name == "stable_and_gaussian":
        return f"stable and Gaussian, α = {fit.shape[0]:.3g}"
    if name == "generalised_t":
        return f"generalised t, index {fit.shape[1]:.2f}"
    symbol = {"stable": "α", "student_t": "ν", "generalised_normal": "p", "lognormal_scales": "τ"}[name]
    title = {"student_t": "Student t"}.get(name, name.replace("_", " "))
    return f"{title}, {symbol} = {fit.shape:.3g}"
