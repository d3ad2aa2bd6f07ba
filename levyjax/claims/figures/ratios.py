"""Ratios of several models to one truth, in groups of rows."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from levyjax.plots.comparisons import Interval
from levyjax.plots.style import INK, MARKERS, PALETTE, panel

_SPREAD = 0.7  # of a group's rows, of the way to the next group


def grouped_ratios(
    groups: Sequence[str],
    series: Mapping[str, Sequence[tuple[float | None, Interval]]],
    *,
    band: tuple[float, float] | None = None,
    xlabel: str = "ratio",
    ax: Axes | None = None,
) -> Axes:
    """Ratios with intervals on a logarithmic axis: a group of rows for each label, a colour for each model.

    Where there is no ratio, an arrow starts at the lower end of the interval.

    Args:
        groups: labels, from the top.
        series: model -> a ratio and its interval for each group; None for no ratio, and an interval's high end None
            where there is none.
        band: ratios that count as right, shaded; default none.
        xlabel: of the axis.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: a model with more or fewer ratios than there are groups, or no group.

    Example:
        >>> axes = grouped_ratios(["a", "b"], {"model": [(1.1, (0.9, 1.3)), (None, (20.0, None))]})
        >>> axes.get_xscale(), [text.get_text() for text in axes.get_yticklabels()]
        ('log', ['a', 'b'])
    """
    if not groups or any(len(rows) != len(groups) for rows in series.values()):
        raise ValueError(f"{len(groups)} groups: give one or more, and a ratio of every model for each.")
    offsets = np.linspace(-_SPREAD / 2, _SPREAD / 2, max(len(series), 2))
    with panel(ax, height=0.8 + 0.16 * len(groups) * len(series)) as axes:
        if band is not None:
            axes.axvspan(*band, color=INK, alpha=0.08, linewidth=0)
        axes.axvline(1.0, color=INK, linewidth=0.8)
        for index, (name, rows) in enumerate(series.items()):
            look = {"color": PALETTE[index % len(PALETTE)], "markersize": 4}
            marker = MARKERS[index % len(MARKERS)]
            axes.plot([], [], marker, label=name, **look)
            for group, (ratio, interval) in enumerate(rows):
                _mark(axes, group + offsets[index], ratio, interval, marker, look)
        axes.set(xscale="log", xlabel=xlabel, yticks=range(len(groups)), yticklabels=list(groups))
        axes.set_ylim(len(groups) - 0.45, -0.55)
        axes.xaxis.set_major_locator(LogLocator(subs=(1,) if np.ptp(np.log10(axes.get_xlim())) > 2 else (1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
    return axes


def _mark(axes: Axes, row: float, ratio: float | None, interval: Interval, marker: str, look: dict) -> None:
    low, high = interval if interval is not None else (None, None)
    if ratio is not None:
        axes.plot([ratio], [row], marker, **look)
        if low is not None and high is not None:
            axes.plot([low, high], [row, row], "-", color=look["color"], linewidth=1.1)
    elif low is not None:
        axes.plot([low], [row], ">", markerfacecolor="white", **look)
