"""The figure of a network's basin: how far each parameter has to jump."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from levyjax.plots.style import BLUE, ORANGE, panel

_SPREAD = 0.32  # of the points of a row, up and down


def ray_reach(
    reaches: Mapping[str, ArrayLike], shares: Mapping[str, float] | None = None, *, ax: Axes | None = None
) -> Axes:
    """How far jumps along single parameters have to go to leave a basin, a row of points for each array of parameters.

    An orange bar is the median. Rays that never leave are counted in the row's label.

    Args:
        reaches: name of a parameter array -> ways to the boundary along its rays, inf for none.
        shares: name -> the part of all exits that goes along its rays; default not shown.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: no array, or a way that is not positive.

    Example:
        >>> axes = ray_reach({"bias": [1.0, 2.0], "kernel": [3.0, np.inf]}, {"bias": 0.9, "kernel": 0.1})
        >>> [text.get_text() for text in axes.get_yticklabels()]
        ['bias\\n90% of exits', 'kernel\\n10% of exits\\n1 endless']
    """
    rows = finite_reaches(reaches)
    with panel(ax, height=0.9 + 0.42 * len(rows)) as axes:
        for row, ways in enumerate(rows.values()):
            height = row + _SPREAD * (2 * ((np.arange(ways.size) * 0.618034) % 1) - 1)
            axes.plot(ways, height, "o", color=BLUE, markersize=2.2, markeredgewidth=0, alpha=0.5)
            if ways.size:
                axes.plot([np.median(ways)] * 2, [row - 0.42, row + 0.42], "-", color=ORANGE, linewidth=2.0)
        labels = [_label(name, np.asarray(reaches[name]), shares) for name in rows]
        axes.set(
            xscale="log",
            xlabel="shortest jump of a parameter that leaves the basin",
            yticks=range(len(rows)),
            yticklabels=labels,
        )
        for which in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            which("{x:g}")
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
    return axes


def finite_reaches(reaches: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.float64]]:
    """The ways of the rays that leave, in ascending order."""
    if not reaches:
        raise ValueError("there is no array of parameters to draw: give the ways of one or more")
    arrays = {name: np.asarray(ways, float).ravel() for name, ways in reaches.items()}
    for name, ways in arrays.items():
        if not (ways > 0).all():
            raise ValueError(f"ways to the boundary must be positive, those of {name} go down to {ways.min()}")
    return {name: np.sort(ways[np.isfinite(ways)]) for name, ways in arrays.items()}


def _label(name: str, ways: NDArray[np.float64], shares: Mapping[str, float] | None) -> str:
    notes = [] if shares is None else [f"{100 * shares[name]:.0f}% of exits"]
    endless = int(np.isinf(ways).sum())
    notes += [f"{endless} endless"] if endless else []
    return "\n".join([name, *notes])
