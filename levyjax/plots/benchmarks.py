"""Figures of the benchmarks: `plot(result, *, ax=None) -> Axes`, the result as `levyjax bench` writes it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator

from levyjax.plots.style import BLUE, GREEN, GREY, INK, ORANGE, legend, panel, style

Result = Mapping[str, Any]
Row = Mapping[str, Any]

_METHODS = {
    "euler": ("Euler", ORANGE, "s"),
    "jump_adapted": ("jump-adapted", BLUE, "o"),
    "quasi_stationary": ("quasi-stationary", GREEN, "D"),
}
_OWN = "levyjax"


def increments(result: Result, *, case: str = "float32", ax: Axes | None = None) -> Axes:
    """Increments a second as bars on a log axis, the fastest at the top, each with its number.

    Args:
        result: of the topic `increments`.
        case: which case of it.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: no row of this case has a rate.

    Example:
        >>> row = {"case": "float32", "name": "levyjax", "increments_per_second": 1e8}
        >>> increments({"rows": [row]}).get_xscale()
        'log'
    """
    rows = [row for row in result["rows"] if row["case"] == case and row.get("increments_per_second")]
    if not rows:
        raise ValueError(f"no rival has a rate for the case {case!r}")
    rows.sort(key=lambda row: row["increments_per_second"])
    rates = np.array([row["increments_per_second"] for row in rows]) / 1e6
    with panel(ax, height=0.8 + 0.27 * len(rows)) as axes:
        colors = [BLUE if row["name"] == _OWN else GREY for row in rows]
        axes.barh(range(len(rows)), rates, color=colors, height=0.62)
        for index, rate in enumerate(rates):
            axes.annotate(f" {rate:.3g}", (rate, index), va="center", fontsize=7, color=INK)
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.set(xscale="log", xlabel="million increments per second")
        axes.set_xlim(0.4 * rates.min(), 3 * rates.max())
        axes.tick_params(axis="y", length=0)
    return axes


def scaling(result: Result, *, sweep: str = "dimension", ax: Axes | None = None) -> Axes:
    """Trajectory-steps a second against the dimension, or with sweep="trajectories" against their number, log-log.

    Args:
        result: of the topic `scaling`.
        sweep: "dimension" or "trajectories".
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: there is no such sweep in the result.

    Example:
        >>> sizes = {"sweep": "dimension", "dimension": 10, "trajectories": 64}
        >>> scaling({"rows": [{"name": "levyjax", "trajectory_steps_per_second": 1e7, **sizes}]}).get_xlabel()
        'dimension'
    """
    rows = [row for row in result["rows"] if row["sweep"] == sweep]
    if not rows:
        raise ValueError(f"the result has no sweep {sweep!r}")
    with panel(ax) as axes:
        for name, marker in zip(dict.fromkeys(row["name"] for row in rows), "osDv^P", strict=False):
            x, y = _columns([row for row in rows if row["name"] == name], sweep, "trajectory_steps_per_second")
            color = BLUE if name == _OWN else GREY
            axes.plot(x, y, marker=marker, color=color, label=name)
        axes.set(xscale="log", yscale="log", ylabel="trajectory-steps per second")
        axes.set_xlabel("dimension" if sweep == "dimension" else "trajectories")
        _whole_decades(axes)
        legend(axes)
    return axes


def exits(result: Result, *, ax: Axes | None = None) -> Axes:
    """Exits a second as bars, with the part of the work that moved a trajectory.

    Args:
        result: of the topic `exits`.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Example:
        >>> exits({"rows": [{"name": "levyjax", "exits_per_second": 1e5, "efficiency": 0.8}]}).get_xscale()
        'log'
    """
    rows = list(result["rows"])[::-1]
    rates = np.array([row["exits_per_second"] for row in rows])
    with panel(ax, height=0.8 + 0.4 * len(rows)) as axes:
        axes.barh(range(len(rows)), rates, color=[BLUE if row["name"] == _OWN else GREY for row in rows], height=0.6)
        for index, rate in enumerate(rates):
            axes.annotate(f" {rate:.3g}", (rate, index), va="center", fontsize=7, color=INK)
        labels = [f"{row['name']}\nefficiency {row['efficiency']:.2f}" for row in rows]
        axes.set_yticks(range(len(rows)), labels)
        axes.set(xscale="log", xlabel="exits per second")
        axes.set_xlim(0.3 * rates.min(), 5 * rates.max())
        axes.tick_params(axis="y", length=0)
    return axes


def cost(result: Result, *, quantity: str = "seconds", ax: Axes | None = None) -> Axes:
    """What a mean exit time to 1% costs against the noise level: Euler's steps grow without bound, jumps do not.

    Full marks are measured; hollow ones on a dotted line are computed from the exact mean exit time.

    Args:
        result: of the topic `cost`.
        quantity: "seconds" or "steps".
        ax: axes to draw on; new ones by default.

    Returns:
        The axes, small noise on the right.

    Example:
        >>> row = {"name": "euler", "noise_level": 0.1, "seconds": 1.0, "steps": 1e6, "measured": True}
        >>> cost({"rows": [row]}).get_yscale()
        'log'
    """
    with panel(ax) as axes:
        for name, (label, color, marker) in _METHODS.items():
            rows = [row for row in result["rows"] if row["name"] == name and row[quantity] is not None]
            done = [row for row in rows if row["measured"]]
            axes.plot(*_columns(done, "noise_level", quantity), marker=marker, color=color, label=label)
            # The dotted line starts at the last measured point.
            last = sorted(done, key=lambda row: row["noise_level"])[:1]
            far = _columns([row for row in rows if not row["measured"]] + last, "noise_level", quantity)
            if len(rows) > len(done):
                axes.plot(*far, ":", color=color, marker=marker, markerfacecolor="white", zorder=1)
        axes.set(xscale="log", yscale="log", xlabel=r"noise level $\varepsilon$")
        axes.set_ylabel("seconds to 1% error" if quantity == "seconds" else "trajectory-steps to 1% error")
        axes.invert_xaxis()
        _wide_decades(axes)
        legend(axes, loc="upper left")
    return axes


def work_precision(result: Result, *, kappa: float = 10.0, ax: Axes | None = None) -> Axes:
    """The relative error against seconds, log-log; below and to the left is better.

    A mark is at the larger of the deviation from the exact value and the standard error, whose whisker it carries.

    Args:
        result: of the topic `work_precision`.
        kappa: which problem of it.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: there is no such problem in the result.

    Example:
        >>> row = {"name": "euler", "kappa": 10.0, "seconds": 1.0, "error": 0.02, "standard_error": 0.001}
        >>> work_precision({"rows": [row]}).get_xlabel()
        'seconds'
    """
    rows = [row for row in result["rows"] if row["kappa"] == kappa]
    if not rows:
        raise ValueError(f"the result has no problem with kappa = {kappa}")
    with panel(ax) as axes:
        for name, (label, color, marker) in _METHODS.items():
            own = sorted((row for row in rows if row["name"] == name), key=lambda row: row["seconds"])
            if own:
                x, error, sigma = (
                    np.array([row[key] for row in own]) for key in ("seconds", "error", "standard_error")
                )
                y = np.maximum(np.abs(error), sigma)
                low = np.minimum(sigma, 0.9 * y)
                axes.errorbar(x, y, (low, sigma), fmt=marker + "-", color=color, capsize=2, elinewidth=0.8, label=label)
        axes.set(xscale="log", yscale="log", xlabel="seconds", ylabel="relative error", title=rf"$\kappa$ = {kappa:g}")
        _whole_decades(axes)
        legend(axes)
    return axes


def scalings(result: Result) -> Axes:
    """Both sweeps side by side in a new figure; returns the first panel."""
    return _side_by_side([partial(scaling, result, sweep=sweep) for sweep in ("dimension", "trajectories")])


def costs(result: Result) -> Axes:
    """Seconds and steps side by side in a new figure; returns the first panel."""
    return _side_by_side([partial(cost, result, quantity=quantity) for quantity in ("seconds", "steps")])


def work_precisions(result: Result) -> Axes:
    """Every problem of the result side by side in a new figure; returns the first panel."""
    kappas = dict.fromkeys(row["kappa"] for row in result["rows"])
    return _side_by_side([partial(work_precision, result, kappa=kappa) for kappa in kappas])


FIGURES: dict[str, Callable[[Result], Axes]] = {
    "increments": increments,
    "scaling": scalings,
    "exits": exits,
    "cost": costs,
    "work_precision": work_precisions,
}
"""The figure of each topic that has one."""


def _columns(rows: Iterable[Row], x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    """Two columns, in the order of the first."""
    pairs = sorted((row[x], row[y]) for row in rows)
    return np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])


def _wide_decades(axes: Axes) -> None:
    """No minor ticks where an axis spans many decades."""
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _side_by_side(draws: Sequence[Callable[..., Axes]]) -> Axes:
    """A new figure with a panel for each function."""
    with style(figure_figsize=(3.5 * len(draws), 2.7)):
        panels = plt.subplots(1, len(draws), squeeze=False)[1][0]
        for draw, axes in zip(draws, panels, strict=True):
            draw(ax=axes)
    return panels[0]


def _whole_decades(axes: Axes) -> None:
    """Limits at powers of ten, so that every log axis has two labels, and no labels between them."""
    for axis, limits, change in (
        (axes.xaxis, axes.get_xlim(), axes.set_xlim),
        (axes.yaxis, axes.get_ylim(), axes.set_ylim),
    ):
        low, high = np.log10(limits)
        change(10.0 ** np.floor(low + 0.05), 10.0 ** np.ceil(high - 0.05))
        axis.set_minor_formatter(NullFormatter())
