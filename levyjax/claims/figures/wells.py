"""Figures of landscapes with wells: where iterates are, and what moves them out."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike, NDArray

from levyjax.plots.style import GREY, legend, legend_above, panel


def position_density(
    positions: Mapping[str, ArrayLike], edges: ArrayLike, minima: Sequence[float] = (), *, ax: Axes | None = None
) -> Axes:
    """Densities of iterates on the line, one outline a sample, on a logarithmic axis.

    Args:
        positions: label to iterates of any shape.
        edges: shape (bins + 1,), rising.
        minima: where vertical lines are drawn.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: fewer than two edges, or edges that do not rise.

    Example:
        >>> axes = position_density({"plain": [0.1, 0.4, 0.6]}, [0.0, 0.5, 1.0], [0.5])
        >>> axes.get_yscale()
        'log'
    """
    heights = {label: histogram_density(x, edges) for label, x in positions.items()}
    edges = np.asarray(edges, float)
    seen = np.concatenate(list(heights.values()))
    floor = 0.5 * seen[seen > 0].min()
    with panel(ax) as axes:
        for minimum in minima:
            axes.axvline(minimum, color=GREY, linestyle=":", linewidth=0.9, zorder=0)
        for look, (label, height) in enumerate(heights.items()):
            axes.stairs(np.maximum(height, floor), edges, baseline=floor, label=label, color=f"C{look}", linewidth=1.1)
        axes.set(yscale="log", xlabel="position of the iterate", ylabel="density", xlim=(edges[0], edges[-1]))
        axes.set_ylim(bottom=floor)
        legend_above(axes, columns=2)
    return axes


def histogram_density(positions: ArrayLike, edges: ArrayLike) -> NDArray[np.float64]:
    """Part of the positions in each bin, per unit of length; those outside all bins count in the whole."""
    positions, edges = np.ravel(np.asarray(positions, float)), np.asarray(edges, float)
    if edges.ndim != 1 or edges.size < 2 or not np.all(np.diff(edges) > 0):
        raise ValueError(f"edges must be two or more numbers that rise, got {edges.tolist()}.")
    if positions.size == 0:
        raise ValueError("positions must hold at least one number, got none.")
    return np.histogram(positions, edges)[0] / np.diff(edges) / positions.size


def factor_panel(
    values: ArrayLike,
    means: Mapping[str, ArrayLike],
    intervals: Mapping[str, ArrayLike],
    predicted: Mapping[str, ArrayLike],
    *,
    xlabel: str,
    log: bool = False,
    ylabel: str = "mean exit time",
    ylog: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """What several noises make of one thing that varies alone, laws dashed in the same colour.

    Args:
        values: shape (m,), what varies.
        means: label to m measured numbers, mean times by default.
        intervals: label to their 95% intervals (m, 2).
        predicted: label to m numbers of a law.
        xlabel: what varies.
        log: whether its axis is logarithmic: a power law is a straight line there, an exponential one otherwise.
        ylabel, ylog: the other axis, logarithmic by default.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Example:
        >>> axes = factor_panel([1.0, 2.0], {"a": [3.0, 4.0]}, {"a": [[2, 4], [3, 5]]}, {"a": [3, 4]}, xlabel="width")
        >>> axes.get_xscale(), axes.get_yscale()
        ('linear', 'log')
    """
    values = np.asarray(values, float)
    with panel(ax) as axes:
        for index, (label, mean) in enumerate(means.items()):
            mean, ends = np.asarray(mean, float), np.asarray(intervals[label], float)
            errors = np.stack([mean - ends[:, 0], ends[:, 1] - mean])
            axes.errorbar(values, mean, errors, fmt="os^D"[index % 4], color=f"C{index}", capsize=2, label=label)
            axes.plot(values, np.asarray(predicted[label], float), "--", color=f"C{index}", linewidth=1.0, zorder=1)
        axes.plot([], [], "--", color=GREY, linewidth=1.0, label="law")
        axes.set(yscale="log" if ylog else "linear", xlabel=xlabel, ylabel=ylabel)
        if log:
            axes.set_xscale("log")
            axes.set_xticks(values, [f"{value:g}" for value in values])
            axes.xaxis.set_minor_locator(NullLocator())
        legend(axes, last=("law",))
    return axes
