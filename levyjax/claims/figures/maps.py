"""Which of two processes leaves sooner, over a plane of two parameters."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike
from matplotlib.axes import Axes

from levyjax.plots.style import GREY, INK, panel

_MAP = "PuOr"  # a diverging map that colour-blind readers tell apart
_DECADES = 2.0  # where its colours end


class MeasuredCell(NamedTuple):
    """One measured point of a map: where it is, and log10 of the ratio there (None: not measured)."""

    x: float
    y: float
    log_ratio: float | None
    bound: bool = False  # whether the ratio is only known to be beyond this


def sooner_map(
    x: ArrayLike | None,
    y: ArrayLike | None,
    log_ratio: ArrayLike | None,
    cells: Sequence[MeasuredCell] = (),
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    colorbar: str = "",
    ax: Axes | None = None,
) -> Axes:
    """log10 of a ratio of two times as colours, its predicted zero as a line, and measured cells as squares.

    Squares have the colour of what was measured, so that one which disagrees with the prediction behind it stands out;
    those that are bounds have a dot, those without a number a cross.

    Args:
        x: (m,) positive values of the horizontal parameter, or None where nothing is predicted.
        y: (n,) values of the vertical parameter.
        log_ratio: (n, m) predicted log10 of the ratio.
        cells: what was measured.
        xlabel, ylabel, title: texts.
        colorbar: label of the colour scale; none is drawn without it.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Example:
        >>> axes = sooner_map([1, 10], [0, 1], [[1.0, 1.0], [-1.0, -1.0]], [MeasuredCell(1, 0, 0.9)],
        ...                   xlabel="condition number", ylabel="alignment")
        >>> axes.get_xscale()
        'log'
    """
    colours = {"cmap": _MAP, "vmin": -_DECADES, "vmax": _DECADES}
    with panel(ax) as axes:
        drawn = None
        if x is not None and y is not None and log_ratio is not None:
            x, y, log_ratio = np.asarray(x), np.asarray(y), np.asarray(log_ratio)
            drawn = axes.pcolormesh(x, y, log_ratio, shading="gouraud", rasterized=True, **colours)
            if log_ratio.min() < 0 < log_ratio.max():
                axes.contour(x, y, log_ratio, levels=[0.0], colors=INK, linewidths=1.2)
        known = [cell for cell in cells if cell.log_ratio is not None]
        if known:
            where = [cell.x for cell in known], [cell.y for cell in known]
            shown = {"c": [cell.log_ratio for cell in known], "s": 26, "marker": "s", "edgecolors": INK}
            drawn = axes.scatter(*where, linewidths=0.7, zorder=3, clip_on=False, **shown, **colours)
        for marks, marker in (
            ([cell for cell in known if cell.bound], "."),
            ([cell for cell in cells if cell.log_ratio is None], "x"),
        ):
            colour = "white" if marker == "." else GREY
            axes.scatter(
                [cell.x for cell in marks], [cell.y for cell in marks], s=9, marker=marker, c=colour, zorder=4,
                linewidths=0.8, clip_on=False,
            )  # fmt: skip
        axes.set(xscale="log", xlabel=xlabel, ylabel=ylabel, title=title)
        if colorbar and drawn is not None:
            bar = axes.figure.colorbar(drawn, ax=axes, extend="both")
            bar.set_label(colorbar)
    axes.grid(False)
    return axes
