"""Figures of what `levyjax train --out` writes."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from levyjax.plots.learning import learning_curves
from levyjax.plots.results.base import Figures, offered
from levyjax.plots.style import style
from levyjax.plots.tails import ccdf
from levyjax.plots.training import alpha_along_training, loss_along_path
from levyjax.tails import load

KINDS = {
    "alpha": "estimated tail indices along training by layer, beside Gaussian noise of the same scales",
    "learning": "loss and accuracy along training",
    "noise-ccdf": "the tail of the captured gradient noise, by iteration",
    "loss-path": "the loss on the line and on a least path between two points of the run",
}
_METHOD = "as_published"
_MOST_CURVES = 5


def of_record(path: Path, record: dict[str, Any]) -> Figures:
    """The figures of a training run; `path` is its record."""
    monitors = record["monitors"]
    tails, way = monitors.get("tails", []), monitors.get("path", {})
    files = [(row["iteration"], path.parent / row["file"]) for row in record["noise"] if row.get("file")]
    kinds = {
        "alpha": (_iterations(tails) > 1, lambda choice: _alpha(tails)),
        "learning": (len(record["metrics"]) > 1, lambda choice: _learning(record["metrics"])),
        "noise-ccdf": (any(file.is_file() for _, file in files), lambda choice: _noise(files)),
        "loss-path": ("line" in way, lambda choice: loss_along_path(loss_ways(way))),
    }
    return Figures("levyjax train", KINDS, offered(kinds))


def alpha_by_layer(
    tails: Sequence[dict[str, Any]], method: str = _METHOD
) -> tuple[list[int], dict[str, list[float]], dict[str, list[float]]]:
    """The iterations, and by layer the estimates of a method and those for Gaussian noise of the same scales; NaN
    where a layer was not looked at.

    Args:
        tails: of the monitor of tails: {"iteration", "layer", "alpha", "gaussian"}.
        method: which estimator.
    """
    iterations = sorted({row["iteration"] for row in tails})
    alpha = {row["layer"]: [math.nan] * len(iterations) for row in tails}
    gaussian = {layer: list(values) for layer, values in alpha.items()}
    for row in tails:
        place = iterations.index(row["iteration"])
        for into, given in ((alpha, row["alpha"]), (gaussian, row["gaussian"])):
            value = given.get(method)
            into[row["layer"]][place] = math.nan if value is None else value
    return iterations, alpha, gaussian


def loss_ways(way: dict[str, Any]) -> dict[str, tuple[list[float], list[float]]]:
    """Legend entry -> places and losses on the line and on the least path."""
    return {name.replace("_", " "): (way[name]["places"], way[name]["losses"]) for name in ("line", "least_path")}


def _iterations(tails: Any) -> int:
    return len({row["iteration"] for row in tails}) if isinstance(tails, list) else 0


def _alpha(tails: Sequence[dict[str, Any]]) -> Axes:
    with style(figure_figsize=(4.4, 3.0)):
        return alpha_along_training(*alpha_by_layer(tails), ax=plt.figure().subplots())


def _learning(metrics: Sequence[dict[str, Any]]) -> Axes:
    columns = {name: [row[name] for row in metrics] for name in metrics[0]}
    with style(figure_figsize=(6.6, 2.5)):
        left, right = plt.figure().subplots(1, 2)
        learning_curves(columns["iteration"], columns["train_loss"], columns["test_loss"], log=True, ax=left)
        accuracy = columns["train_accuracy"], columns["test_accuracy"]
        learning_curves(columns["iteration"], *accuracy, ylabel="accuracy", ax=right)
    return left


def _noise(files: Sequence[tuple[int, Path]]) -> Axes:
    """Each capture in units of its own scale, all parameters together; an even choice where there are many."""
    there = [(iteration, file) for iteration, file in files if file.is_file()]
    chosen = [there[k] for k in np.unique(np.linspace(0, len(there) - 1, _MOST_CURVES).round().astype(int))]
    axes = None
    with style():
        for iteration, file in chosen:
            values = np.asarray(load(file)).ravel()
            unit = float(np.median(np.abs(values[values != 0])))
            axes = ccdf(values / unit, label=f"iteration {iteration}", unit="medians of $|X|$", ax=axes)
    assert axes is not None
    return axes
