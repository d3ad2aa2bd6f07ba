"""Figures that set measured numbers beside predicted ones: scaling with the noise level, ratios with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation, LogLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike, NDArray

from levyjax.plots.style import BLUE, GREY, INK, ORANGE, legend, panel

_THEORY, _BOUND = "theory", "no exit: lower bound"
_MARKERS = "osDv^P"
_FEW_DECADES = 300  # that an axis spans, below which its numbers are written out
Interval = tuple[float | None, float | None] | None


@dataclass(frozen=True)
class ScalingPoints:
    """Measured means with errors of shape (2, m), below and above, and lower bounds where nothing has exited."""

    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    errors: NDArray[np.float64]
    bound_x: NDArray[np.float64]
    bound: NDArray[np.float64]


@dataclass(frozen=True)
class ForestPoints:
    """Ratios by row from the top, NaN where there is none; an open end reaches the edge; `off` excludes `expected`."""

    ratio: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    off: NDArray[np.bool_]


def exit_time_scaling(
    noise_levels: ArrayLike,
    mean_times: Sequence[float | None],
    intervals: Sequence[Interval],
    predicted: Sequence[float | None] | None = None,
    censored: ArrayLike | None = None,
    *,
    label: str | None = None,
    unit: str = "SDE time",
    ax: Axes | None = None,
) -> Axes:
    """Mean exit times against the noise level, log-log, with the theory dashed in the same colour.

    A cell in which every trajectory was censored has no mean, only a lower bound: it is a hollow point at the bound,
    with an arrow to where the mean is. Repeated calls with one `ax` overlay several tail indices.

    Args:
        noise_levels: shape (m,), the SDE's epsilon.
        mean_times: m means, None where all were censored.
        intervals: m pairs (low, high) of the means, high None where there is only a bound.
        predicted: m predicted means; None where there is no prediction.
        censored: shape (m,), bool, the cells that are bounds; default those without a mean.
        label: legend entry, for instance "α = 1.5".
        unit: what the times are measured in, for the axis.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: lengths that differ, or a point with neither a mean nor a lower bound.

    Source:
        `levyjax.escape.statistics.exponential_fit` makes the means and the intervals.

    Example:
        >>> axes = exit_time_scaling([0.1, 0.01], [30.0, None], [(28.0, 32.0), (900.0, None)], [31.0, 1000.0])
        >>> axes.get_xscale(), axes.get_yscale()
        ('log', 'log')
    """
    points = scaling_points(noise_levels, mean_times, intervals, censored)
    with panel(ax) as axes:
        before = set(axes.get_legend_handles_labels()[1]) - {_THEORY, _BOUND}
        marker = _MARKERS[len(before) % len(_MARKERS)]
        marks = axes.errorbar(
            points.x, points.mean, points.errors, fmt=marker, capsize=2, elinewidth=1.0, markersize=4.5, label=label
        )
        color = marks[0].get_color()
        if points.bound.size:
            axes.errorbar(
                points.bound_x, points.bound, points.bound, lolims=True, fmt=marker, color=color, elinewidth=1.0,
                capsize=2.5, markersize=4.5, markerfacecolor="white",
            )  # fmt: skip
            once(axes, _BOUND, marker="o", markerfacecolor="white", linestyle="none", markersize=4.5)
        if predicted is not None:
            axes.plot(*theory_line(noise_levels, predicted), "--", color=color, linewidth=1.1, zorder=1)
            once(axes, _THEORY, linestyle="--", linewidth=1.1)
        axes.set(xscale="log", yscale="log", xlabel=r"noise level $\varepsilon$", ylabel=f"mean exit time ({unit})")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        _write_out(axes)
        legend(axes, last=(_THEORY, _BOUND))
    return axes


def ratio_forest(
    labels: Sequence[str],
    ratios: Sequence[float | None],
    intervals: Sequence[Interval],
    expected: float = 1.0,
    *,
    xlabel: str = "measured / predicted",
    ax: Axes | None = None,
) -> Axes:
    """Ratios as dots with intervals, one row each, against an expected value.

    An interval that leaves the expected value out is orange and its dot hollow; one with an open end ends in an
    arrow; a row without a number says so. The axis is logarithmic when the intervals span more than a factor of 3.

    Args:
        labels: m row labels, from the top.
        ratios: m ratios, None where there is none.
        intervals: m pairs (low, high) or None; an end is None where it does not exist.
        expected: the value all ratios should have.
        xlabel: what the ratio is.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: lengths that differ, no row at all, or low above high.

    Source:
        The forest plot of meta-analysis.

    Example:
        >>> axes = ratio_forest(["α = 1.2", "α = 1.5"], [1.01, 0.93], [(0.98, 1.04), (0.91, 0.96)])
        >>> [text.get_text() for text in axes.get_yticklabels()]
        ['α = 1.2', 'α = 1.5']
    """
    points = forest_points(labels, ratios, intervals, expected)
    rows = np.arange(len(labels))
    with panel(ax, height=0.62 + 0.24 * len(labels)) as axes:
        low, high, log = _forest_limits(points, expected)
        axes.axvline(expected, color=INK, linestyle="--", linewidth=0.9, zorder=0)
        for row, ratio, left, right, off in zip(rows, points.ratio, points.low, points.high, points.off, strict=True):
            color = ORANGE if off else BLUE
            if np.isnan(ratio) and np.isnan(left) and np.isnan(right):
                axes.annotate(
                    "no estimate", (expected, row), (4, 0), textcoords="offset points", va="center", color=GREY
                )
                continue
            ends = [low if np.isneginf(left) else left, high if np.isposinf(right) else right]
            axes.plot(ends, [row, row], "-", color=color, linewidth=1.3, solid_capstyle="butt")
            if np.isneginf(left):
                axes.plot(low, row, "<", color=color, markersize=4.5, clip_on=False)
            if np.isposinf(right):
                axes.plot(high, row, ">", color=color, markersize=4.5, clip_on=False)
            axes.plot(ratio, row, "o", color=color, markersize=4.8, markerfacecolor="white" if off else color)
        axes.set(yticks=rows, yticklabels=list(labels), ylim=(len(labels) - 0.4, -0.6), xlabel=xlabel, xlim=(low, high))
        axes.tick_params(axis="y", length=0)
        if log:
            axes.set(xscale="log", xlim=(low, high))
            axes.set_xticks(_round_numbers(low, high))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.locator_params(axis="x", nbins=6)
    axes.tick_params(axis="y", which="both", length=0)
    axes.grid(False, axis="y")
    return axes


def scaling_points(
    noise_levels: ArrayLike,
    mean_times: Sequence[float | None],
    intervals: Sequence[Interval],
    censored: ArrayLike | None = None,
) -> ScalingPoints:
    """The numbers `exit_time_scaling` draws: measured cells and bounded cells, each in order of the noise level."""
    x, mean = numbers(noise_levels), numbers(mean_times)
    low, high = _ends(intervals)
    if not x.shape == mean.shape == low.shape:
        raise ValueError(f"{x.size} noise levels, {mean.size} means and {low.size} intervals: give one of each a cell")
    bounded = np.isnan(mean) if censored is None else np.asarray(censored, dtype=bool)
    if bounded.shape != x.shape:
        raise ValueError(f"censored must have shape {x.shape}, not {bounded.shape}")
    if np.isnan(np.where(bounded, low, mean)).any():
        raise ValueError("a cell needs a mean, or else the lower end of its interval as a bound: leave it out")
    order = np.argsort(x)
    seen, unseen = order[~bounded[order]], order[bounded[order]]
    errors = np.stack([mean - low, high - mean])[:, seen]
    return ScalingPoints(x[seen], mean[seen], np.nan_to_num(errors).clip(0), x[unseen], low[unseen])


def theory_line(
    noise_levels: ArrayLike, predicted: Sequence[float | None]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predicted means in order of the noise level, without the cells that have no prediction."""
    x, y = numbers(noise_levels), numbers(predicted)
    if x.shape != y.shape:
        raise ValueError(f"{x.size} noise levels and {y.size} predictions: give one of each a cell")
    order = np.argsort(x)
    order = order[~np.isnan(y[order])]
    return x[order], y[order]


def forest_points(
    labels: Sequence[str], ratios: Sequence[float | None], intervals: Sequence[Interval], expected: float = 1.0
) -> ForestPoints:
    """The numbers `ratio_forest` draws; of an interval with one end the other one is infinite."""
    ratio = numbers(ratios)
    low, high = _ends(intervals)
    if not len(labels) == ratio.size == low.size or ratio.size == 0:
        raise ValueError(f"{len(labels)} labels, {ratio.size} ratios, {low.size} intervals: give one of each a row")
    if (low > high).any():
        raise ValueError("an interval has its low end above its high end")
    given = np.array([interval is not None for interval in intervals])
    low = np.where(given & np.isnan(low) & ~np.isnan(high), -np.inf, low)
    high = np.where(given & np.isnan(high) & ~np.isnan(low), np.inf, high)
    return ForestPoints(ratio, low, high, (low > expected) | (high < expected))


def numbers(values: ArrayLike | Sequence[float | None]) -> NDArray[np.float64]:
    """A 1-d array in which None has become NaN."""
    return np.array([np.nan if value is None else value for value in np.atleast_1d(np.asarray(values))], dtype=float)


def _ends(intervals: Sequence[Interval]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pairs = [(None, None) if interval is None else interval for interval in intervals]
    return numbers([pair[0] for pair in pairs]), numbers([pair[1] for pair in pairs])


def _forest_limits(points: ForestPoints, expected: float) -> tuple[float, float, bool]:
    seen = np.concatenate([points.ratio, points.low, points.high, [expected]])
    seen = seen[np.isfinite(seen)]
    low, high = seen.min(), seen.max()
    if low > 0 and high > 3 * low:
        margin = (high / low) ** 0.08
        return low / margin, high * margin, True
    margin = max(0.08 * (high - low), 0.01 * abs(expected)) or 0.1
    return low - margin, high + margin, False


def _round_numbers(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis: few digits times powers of 10, the powers alone where the range is wide."""
    digits = (1, 2, 3, 5) if high < 30 * low else (1, 3) if high < 1000 * low else (1,)
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    return [digit * 10.0**power for power in powers for digit in digits if low <= digit * 10.0**power <= high]


def _write_out(axes: Axes) -> None:
    """Plain numbers up a logarithmic axis that has few powers of ten."""
    low, high = axes.get_ylim()
    if high < _FEW_DECADES * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(LogLocator())
        axes.yaxis.set_major_formatter(LogFormatterSciNotation())


def once(axes: Axes, label: str, **look) -> None:
    """A legend entry that explains a sign, in grey, once however often the axes are drawn on."""
    if label not in axes.get_legend_handles_labels()[1]:
        axes.plot([], [], color=GREY, label=label, **look)
