"""Training curves of many seeds as medians with bands."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike

from levyjax.plots.style import BAND, PALETTE, legend, panel

_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))


def curve_bands(
    iterations: ArrayLike,
    curves: Mapping[str, ArrayLike],
    *,
    ylabel: str = "training loss",
    log: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """The median over seeds of each curve, and the band that holds the middle 80% of them.

    Args:
        iterations: (records,).
        curves: label -> (records, seeds).
        ylabel: of the axis.
        log: whether the vertical axis is logarithmic.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: a curve with another number of records.

    Example:
        >>> axes = curve_bands([0, 10], {"SGD": [[2.0, 2.0], [1.0, 1.5]]})
        >>> axes.get_lines()[0].get_ydata().tolist()
        [2.0, 1.25]
    """
    x = np.asarray(iterations)
    with panel(ax) as axes:
        for index, (label, values) in enumerate(curves.items()):
            y = np.asarray(values, float)
            if y.ndim != 2 or len(y) != len(x):
                raise ValueError(f"the curves of {label} have shape {y.shape}: give ({len(x)}, seeds)")
            low, middle, high = np.quantile(y, [0.1, 0.5, 0.9], axis=1)
            color = PALETTE[index % len(PALETTE)]
            axes.fill_between(x, low, high, color=color, alpha=BAND, linewidth=0)
            axes.plot(x, middle, linestyle=_LINES[index % len(_LINES)], color=color, label=label)
        axes.set(xlabel="iteration", ylabel=ylabel)
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            low, high = axes.get_ylim()
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
        legend(axes)
    return axes
