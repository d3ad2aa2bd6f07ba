"""Figures of gradient noise as optimizers apply it: estimates side by side, and second moments by layer."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from levyjax.plots.style import GREY, MARKERS, PALETTE, legend_above, panel

_STEP = 0.22  # between the rows of one group


def tail_indices(
    names: Sequence[str],
    estimates: Mapping[str, Sequence[tuple[float, tuple[float, float]]]],
    *,
    ax: Axes | None = None,
) -> Axes:
    """Estimated tail indices with their intervals: a row for each noise, a colour for each estimator.

    Args:
        names: of the noises, from the top.
        estimates: name of an estimator -> (estimate, interval) of each noise.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: an estimator has not as many estimates as there are names.

    Example:
        >>> axes = tail_indices(["raw", "averaged"], {"pooled": [(1.8, (1.7, 1.9)), (1.95, (1.9, 2.0))]})
        >>> [text.get_text() for text in axes.get_yticklabels()]
        ['raw', 'averaged']
    """
    for estimator, found in estimates.items():
        if len(found) != len(names):
            raise ValueError(f"{estimator} has {len(found)} estimates for {len(names)} noises: give one for each")
    with panel(ax, height=1.0 + 0.34 * len(names)) as axes:
        axes.axvline(2.0, color=GREY, linewidth=0.8, linestyle="--")
        for place, (estimator, found) in enumerate(estimates.items()):
            heights = np.arange(len(names)) + _STEP * (place - (len(estimates) - 1) / 2)
            middle = np.array([alpha for alpha, _ in found])
            ends = np.array([interval for _, interval in found]).T
            errors = np.maximum(0, np.abs(ends - middle))
            style = {"color": PALETTE[place], "fmt": MARKERS[place], "markersize": 4, "elinewidth": 1.2}
            axes.errorbar(middle, heights, xerr=errors, label=estimator, **style)
        axes.set(xlabel="estimated tail index", yticks=range(len(names)), yticklabels=list(names))
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        legend_above(axes, 1)
    return axes


def layer_moments(moments: Mapping[str, Mapping[str, float]], *, ax: Axes | None = None) -> Axes:
    """Second moments by parameter array, on a log scale: a colour for each noise.

    Args:
        moments: name of a noise -> name of an array -> mean square of its noise.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Example:
        >>> axes = layer_moments({"raw": {"bias": 1e-3, "kernel": 1e-5}})
        >>> [text.get_text() for text in axes.get_yticklabels()], axes.get_xscale()
        (['bias', 'kernel'], 'log')
    """
    arrays = list(next(iter(moments.values())))
    with panel(ax, height=1.0 + 0.34 * len(arrays)) as axes:
        for place, (noise, values) in enumerate(moments.items()):
            look = {"color": PALETTE[place], "marker": MARKERS[place], "markersize": 4.5, "linestyle": "none"}
            axes.plot([values[name] for name in arrays], range(len(arrays)), label=noise, **look)
        axes.set(xscale="log", xlabel="mean square of the noise", yticks=range(len(arrays)), yticklabels=arrays)
        axes.set_ylim(len(arrays) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        legend_above(axes, 1)
    return axes
