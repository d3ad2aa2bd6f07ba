"""Measured points on the curves that a theory draws through them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from levyjax.plots.comparisons import Interval, numbers, once
from levyjax.plots.style import MARKERS, PALETTE, legend, panel


@dataclass(frozen=True)
class CurvePoints:
    """Points with errors of shape (2, m), below and above, and upper bounds where an interval reaches 0."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    errors: NDArray[np.float64]
    bound_x: NDArray[np.float64]
    bound: NDArray[np.float64]


def points_on_curve(
    x: ArrayLike,
    y: Sequence[float],
    intervals: Sequence[Interval] | None = None,
    curve: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    curve_label: str = "theory",
    label: str | None = None,
    xlabel: str = "",
    ylabel: str = "",
    log: str = "",
    hollow: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Points with intervals, and a theory's curve in the same colour; a further call with `ax` adds a series.

    On a logarithmic y-axis a point whose interval reaches 0 is an upper bound: a hollow point at the interval's upper
    end with an arrow down.

    Args:
        x: (m,).
        y: m measured values.
        intervals: m pairs (low, high); default none.
        curve: the theory's (x, y); default none.
        curve_label: what the curves are, one legend entry for all.
        label: legend entry of the series.
        xlabel, ylabel: of the axes.
        log: which axes are logarithmic: "", "x", "y" or "xy".
        hollow: open markers.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: lengths that differ, or another `log`.

    Example:
        >>> axes = points_on_curve([1, 2], [1.1, 3.9], [(1.0, 1.2), (3.8, 4.0)], ([1, 2], [1, 4]), label="squares")
        >>> axes.get_legend().get_texts()[0].get_text()
        'squares'
    """
    if log not in ("", "x", "y", "xy"):
        raise ValueError(f"log must be '', 'x', 'y' or 'xy', got {log!r}.")
    points = curve_points(x, y, intervals, "y" in log)
    with panel(ax) as axes:
        series = len(axes.containers)
        marker, color = MARKERS[series % len(MARKERS)], PALETTE[series % len(PALETTE)]
        look = {"fmt": marker, "color": color, "capsize": 2, "elinewidth": 1.0, "markersize": 4.5}
        inside = "white" if hollow else color
        axes.errorbar(points.x, points.y, points.errors, label=label, markerfacecolor=inside, **look)
        if points.bound.size:
            axes.plot(points.bound_x, points.bound, marker, color=color, markerfacecolor="white", markersize=4.5)
            for point in zip(points.bound_x, points.bound, strict=True):
                arrow = {"arrowstyle": "->", "color": color, "linewidth": 0.9}
                axes.annotate("", point, (0, -14), "data", "offset points", arrowprops=arrow | {"arrowstyle": "<-"})
        if curve is not None:
            axes.plot(*curve, "--", color=color, linewidth=1.1, zorder=1)
            once(axes, curve_label, linestyle="--", linewidth=1.1)
        axes.set(xlabel=xlabel or axes.get_xlabel(), ylabel=ylabel or axes.get_ylabel())
        _scale(axes, log)
        legend(axes, last=(curve_label,))
    return axes


def curve_points(
    x: ArrayLike, y: Sequence[float], intervals: Sequence[Interval] | None, positive: bool = False
) -> CurvePoints:
    """The numbers `points_on_curve` draws; with `positive` those not known to be above 0 are bounds."""
    at, value = numbers(x), numbers(y)
    pairs = np.array([(one, one) for one in value] if intervals is None else intervals, float)
    if not at.shape == value.shape == pairs.shape[:1]:
        raise ValueError(f"{at.size} x, {value.size} y and {len(pairs)} intervals: give one of each a point")
    low, high = pairs.T
    seen = low > 0 if positive else np.ones(at.shape, bool)
    errors = np.stack([value - low, high - value])[:, seen].clip(0)
    return CurvePoints(at[seen], value[seen], errors, at[~seen], high[~seen])


def _scale(axes: Axes, log: str) -> None:
    """Logarithmic axes with their numbers written out along x, however few powers of ten there are."""
    if "x" in log:
        axes.set(xscale="log")
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(LogLocator(subs=_digits(low, high)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    if "y" in log:
        axes.set(yscale="log")


def _digits(low: float, high: float) -> tuple[int, ...]:
    """The first digits that tick a logarithmic axis: fewer on a longer one."""
    return (1, 2, 3, 5, 7) if high < 10 * low else (1, 2, 5) if high < 100 * low else (1,)
